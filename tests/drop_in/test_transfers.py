# SPDX-License-Identifier: MIT
"""Transfers in all combinations of inside and outside, with one Call-ID on both sides and with two.

Three people: the transferor speaks with the transferee, then with the target, and connects
them: by a REFER to the transferee whose Refer-To is the target's Contact as the transferor knows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import product
from urllib.parse import quote, unquote

import pytest

from tests.support.calls import registered
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, uri_in, values
from tests.support.networks import BOTH, DATAGRAMS

pytestmark = BOTH

INSIDE = {"alice": "10.0.0.10:5062", "bob": "10.0.0.11:5060", "fred": "10.0.0.12:5060"}
OUTSIDE = {"carol": "203.0.113.51:5060", "dora": "203.0.113.60:5090", "erin": "203.0.113.61:5060"}


@dataclass
class Person:
    """Somebody with a phone."""

    name: str
    at: str
    party: Party

    @property
    def contact(self) -> str:
        """The Contact URI of the phone."""
        return f"sip:{self.name}@{self.at}"

    def called_by(self, caller: Person) -> str:
        """Return the URI that `caller` has on a list; outside, phones here are known by their masks."""
        return self.contact if self.name in OUTSIDE else f"sip:{self.name}@203.0.113.1"

    def send(self, text: str, uri: str) -> None:
        """Send a request by the proxy inside, and from outside to where `uri` says."""
        host, _, port = uri.partition("@")[2].partition(";")[0].partition(":")
        self.party.send(text, to=None if self.name in INSIDE else (host, int(port or 5060)))


def people(lab: Lab, sides: str) -> list[Person]:
    """Return a person for each letter: i for one inside, who is registered at the provider, o for outside."""
    inside, outside = iter(INSIDE.items()), iter(OUTSIDE.items())
    known = {party.address: party for party in (lab.p, lab.q, lab.w, lab.m)}
    found: list[Person] = []
    for side in sides:
        name, at = next(inside if side == "i" else outside)
        host, _, port = at.partition(":")
        party = known.get((host, int(port))) or lab.party(name, host, int(port))
        found.append(Person(name, at, party))
        if side == "i":
            registered(lab, party, f"{name}@sip.provider.test", f"<sip:{name}@{at}>")
    return found


def call(caller: Person, callee: Person, call_id: str) -> tuple[Dialog, Dialog]:
    """Let one call the other; return the caller's dialog and the callee's."""
    if caller.name in OUTSIDE and callee.name in OUTSIDE:  # without us
        ends = f"<sip:{caller.name}@x.test>;tag=f-{call_id}", f"<sip:{callee.name}@x.test>;tag=t-{call_id}"
        return (
            Dialog(call_id, *ends, callee.contact, (), 1),
            Dialog(call_id, *ends[::-1], caller.contact, (), 100),
        )
    uri = callee.called_by(caller)
    headers = f"From: <sip:{caller.name}@x.test>;tag=f-{call_id}", f"Call-ID: {call_id}@{caller.name}.test"
    caller.send(invite(uri, *headers, contact=f"<{caller.contact}>", body=SDP.audio("10.0.0.9", 4000)), uri)
    return accepted(caller, callee, call_id)


def accepted(caller: Person, callee: Person, call_id: str) -> tuple[Dialog, Dialog]:
    """Let the callee accept the INVITE that is on its way."""
    offered = callee.party.sees("INVITE … SIP/2.0")
    caller.party.sees("SIP/2.0 100 …")
    theirs = Dialog.of_callee(offered, tag=f"t-{call_id}")
    body = SDP.audio("10.0.0.9", 5000)
    callee.party.send(
        answer(offered, "200 OK", f"Contact: <{callee.contact}>", tag=f"t-{call_id}", body=body)
    )
    mine = Dialog.of_caller(caller.party.sees("SIP/2.0 200 OK"))
    caller.party.send(mine.request("ACK"), to=mine.next_hop)
    callee.party.sees("ACK … SIP/2.0")
    return mine, theirs


def tag(value: str) -> str:
    return value.partition(";tag=")[2]


def replaces(dialog: Dialog) -> str:
    """Return how the other party's dialog is named, as far as this party knows."""
    return f"{dialog.call_id};to-tag={tag(dialog.remote)};from-tag={tag(dialog.local)}"


def named(dialog: Dialog) -> str:
    """Return how this party itself knows its dialog."""
    return f"{dialog.call_id};to-tag={tag(dialog.local)};from-tag={tag(dialog.remote)}"


def referred(by: Person, dialog: Dialog, whom: Person, to: str) -> tuple[str, str]:
    """Send a REFER; return the URI and the Replaces that arrive with it."""
    if by.name in OUTSIDE and whom.name in OUTSIDE:
        return taken_apart(to)
    by.party.send(dialog.request("REFER", f"Refer-To: <{to}>"), to=dialog.next_hop)
    refer: Message = whom.party.sees("REFER … SIP/2.0")
    whom.party.send(answer(refer, "202 Accepted", f"Contact: <{whom.contact}>"))
    by.party.sees("SIP/2.0 202 Accepted")
    return taken_apart(uri_in(values(refer, "Refer-To")[0]))


def taken_apart(text: str) -> tuple[str, str]:
    """Return the URI that is to be called, and the Replaces to call it with."""
    uri, _, headers = text.partition("?")
    found = re.fullmatch("Replaces=([^&]*)&Require=replaces", headers)
    return uri, unquote(found[1]) if found else ""


@pytest.fixture(params=["obscure_loops = 0", "obscure_loops = 1"])
def office(laboratory, request):
    """A gateway with one Call-ID on both sides, and one with two."""
    return laboratory(request.param)


COMBINATIONS = ["".join(sides) for sides in product("io", repeat=3) if "".join(sides) != "ooo"]


@pytest.mark.parametrize("begun", ["by the transferor", "by the others"])
@pytest.mark.parametrize("sides", COMBINATIONS)
def test_n36_attended_transfer(office, sides, begun):
    """The target can be called where the transferee is sent, and is told which call is replaced."""
    transferor, transferee, target = people(office, sides)
    if begun == "by the transferor":
        first, _ = call(transferor, transferee, "c1")
        second, of_target = call(transferor, target, "c2")
    else:
        _, first = call(transferee, transferor, "c1")
        of_target, second = call(target, transferor, "c2")
    to = f"{second.target}?Replaces={quote(replaces(second), safe='')}&Require=replaces"
    uri, replaced = referred(transferor, first, transferee, to)
    transferee_sends(office, transferee, target, uri, replaced, named(of_target))


def transferee_sends(
    lab: Lab, transferee: Person, target: Person, uri: str, replaced: str, expected: str
) -> None:
    if transferee.name in OUTSIDE and target.name in OUTSIDE:
        assert uri == lab.written(target.contact)  # they meet without us
        assert replaced == expected
        return
    lines = (f"From: <sip:{transferee.name}@x.test>;tag=f3", "Call-ID: c3", f"Replaces: {replaced}")
    text = invite(uri, *lines, contact=f"<{transferee.contact}>", body=SDP.audio("10.0.0.9", 4000))
    transferee.send(text, uri)
    invitation = target.party.sees("INVITE … SIP/2.0")
    assert values(invitation, "Replaces") == [expected]
    transferee.party.sees("SIP/2.0 100 …")
    target.party.send(answer(invitation, "486 Busy Here"))
    target.party.sees("ACK … SIP/2.0")
    transferee.party.sees("SIP/2.0 486 Busy Here")


@pytest.mark.parametrize("sides", COMBINATIONS)
def test_n36_blind_transfer(office, sides):
    """The transferee gets through to whom it is sent, by the Contact that the transferor has of it."""
    transferor, transferee, target = people(office, sides)
    first, _ = call(transferor, transferee, "c1")
    known = target.contact if transferor.name in INSIDE else target.called_by(transferor)
    uri, replaced = referred(transferor, first, transferee, known)
    assert not replaced
    if transferee.name in OUTSIDE and target.name in OUTSIDE:
        assert uri == office.written(target.contact)
        return
    lines = (f"From: <sip:{transferee.name}@x.test>;tag=f3", "Call-ID: c3")
    text = invite(uri, *lines, contact=f"<{transferee.contact}>", body=SDP.audio("10.0.0.9", 4000))
    transferee.send(text, uri)
    accepted(transferee, target, "c3")


@pytest.mark.parametrize("by_caller", [True, False])
@pytest.mark.parametrize("sides", ["io", "oi", "ii"])
def test_dialogs_with_two_call_ids(office, sides, by_caller):
    """Each party sees one Call-ID from the first request to the BYE, whoever sends it."""
    caller, callee = people(office, sides)
    mine, theirs = call(caller, callee, "c1")
    assert mine.call_id == "c1@" + caller.name + ".test"
    sender, receiver = (caller, callee) if by_caller else (callee, caller)
    dialog, other = (mine, theirs) if by_caller else (theirs, mine)
    for method in ("UPDATE", "INFO", "BYE"):
        sender.party.send(dialog.request(method), to=dialog.next_hop)
        arrived = receiver.party.sees(f"""
            {method} … SIP/2.0
            Call-ID: {other.call_id}
            """)
        receiver.party.send(answer(arrived, "200 OK"))
        sender.party.sees(f"""
            SIP/2.0 200 OK
            Call-ID: {dialog.call_id}
            """)


def test_what_siproxd_does_with_obscure_loops(laboratory):
    """The Call-ID outside is that inside with siproxd's mark."""
    lab = laboratory("obscure_loops = 1")
    caller, callee = people(lab, "io")
    _, theirs = call(caller, callee, "c1")
    assert theirs.call_id == "c1-siproxdf-c1@alice.test"


def test_n56_one_via_outside(laboratory):
    """A provider that wants one Via sees one, and the phone gets its own back."""
    lab = laboratory("single_via = 1")
    caller, callee = people(lab, "io")
    uri = callee.called_by(caller)
    caller.send(invite(uri, "Call-ID: c1", body=SDP.audio("10.0.0.10", 4000)), uri)
    offered = callee.party.sees("""
        INVITE … SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        """)
    sent = caller.party.sees("SIP/2.0 100 …")
    callee.party.send(answer(offered, "180 Ringing"))
    ringing = caller.party.sees("SIP/2.0 180 Ringing")
    assert values(ringing, "Via") == values(sent, "Via")
    callee.party.send(answer(offered, "486 Busy Here"))
    callee.party.sees("""
        ACK … SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        """)
    busy = caller.party.sees("SIP/2.0 486 Busy Here")
    assert values(busy, "Via") == values(sent, "Via")


VIA_OF_V = b"Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv"


def passed_on(lab: Lab, arrived: Message, uri: str) -> None:
    """Let the provider pass a request on as a proxy does that stays in the route set."""
    lines = [line for line in bytes(arrived).split(b"\r\n") if not line.startswith(b"Route:")]
    method = lines[0].split()[0]
    lines[0] = b" ".join([method, uri.encode(), b"SIP/2.0"])
    lab.v.send(
        b"\r\n".join([lines[0], VIA_OF_V + method, b"Record-Route: <sip:203.0.113.50;lr>", *lines[1:]])
    )


def passed_back(lab: Lab, arrived: Message) -> None:
    """Let the provider pass a response back, without its Via."""
    lines = bytes(arrived).split(b"\r\n")
    lab.v.send(b"\r\n".join(line for line in lines if not line.startswith(VIA_OF_V)))


MINE, OUTSIDE_ID, THEIRS = "c1", "c1-siproxda1", "c1-siproxda1-siproxda1"


@DATAGRAMS
@pytest.mark.parametrize("by_caller", [True, False])
def test_a_call_that_leaves_and_comes_back(laboratory, by_caller):
    """Its legs inside are two calls, each with one Call-ID; to the provider they are one, under a third."""
    lab = laboratory("obscure_loops = 1")
    alice, bob = people(lab, "ii")
    text = invite("sip:bob@sip.provider.test", f"Call-ID: {MINE}", body=SDP.audio("10.0.0.10", 4000))
    alice.party.send(text)
    outside = lab.v.sees(f"INVITE sip:bob@sip.provider.test SIP/2.0\nCall-ID: {OUTSIDE_ID}")
    passed_on(lab, outside, "sip:bob@203.0.113.1")
    alice.party.sees("SIP/2.0 100 …")
    lab.v.sees("SIP/2.0 100 …")
    offered = bob.party.sees(f"INVITE {bob.contact} SIP/2.0\nCall-ID: {THEIRS}")
    contact = f"Contact: <{bob.contact}>"
    bob.party.send(answer(offered, "200 OK", contact, body=SDP.audio("10.0.0.11", 5000)))
    passed_back(lab, lab.v.sees(f"SIP/2.0 200 OK\nCall-ID: {OUTSIDE_ID}"))
    mine = Dialog.of_caller(alice.party.sees(f"SIP/2.0 200 OK\nCall-ID: {MINE}"))
    alice.party.send(mine.request("ACK"), to=mine.next_hop)
    passed_on(lab, lab.v.sees(f"ACK {mine.target} SIP/2.0\nCall-ID: {OUTSIDE_ID}"), mine.target)
    bob.party.sees(f"ACK {bob.contact} SIP/2.0\nCall-ID: {THEIRS}")

    theirs = Dialog.of_callee(offered)
    sender, receiver = (alice, bob) if by_caller else (bob, alice)
    dialog, there, here = (mine, THEIRS, MINE) if by_caller else (theirs, MINE, THEIRS)
    sender.party.send(dialog.request("BYE"), to=dialog.next_hop)
    passed_on(lab, lab.v.sees(f"BYE {dialog.target} SIP/2.0\nCall-ID: {OUTSIDE_ID}"), dialog.target)
    bye = receiver.party.sees(f"BYE {receiver.contact} SIP/2.0\nCall-ID: {there}")
    receiver.party.send(answer(bye, "200 OK"))
    passed_back(lab, lab.v.sees(f"SIP/2.0 200 OK\nCall-ID: {OUTSIDE_ID}"))
    sender.party.sees(f"SIP/2.0 200 OK\nCall-ID: {here}")
    assert lab.media_ports() == set()
