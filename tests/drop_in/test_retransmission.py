# SPDX-License-Identifier: MIT
"""Copies of messages, early, late and in the wrong order, change nothing."""

from __future__ import annotations

import pytest

from siproxd_tw.sip.parser import parse
from tests.support.calls import registered
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite

BOB = "sip:bob@sip.provider.test"
VIA = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1"
ROUTE = "Record-Route: <sip:203.0.113.50;lr>"
BOB_AT = "Contact: <sip:bob@203.0.113.60:5090>"
ALICE_AT = "Contact: <sip:alice@10.0.0.10:5062>"
BODY = SDP.audio("203.0.113.60", 50000, user="bob")


class Recorded:
    """A call in which every message is sent several times, and what everybody heard of it."""

    def __init__(self, lab: Lab, copies: int) -> None:
        self.lab = lab
        self.copies = copies
        self.sent: list[tuple[Party, bytes]] = []
        self.heard: dict[str, list[bytes]] = {"P": [], "V": []}
        """The different datagrams that each party got, in the order of their first arrival."""

    def says(self, party: Party, message: str | bytes) -> None:
        """Send a message as often as it is to be sent; the first to speak settles the bytes."""
        for _ in range(self.copies):
            message = party.send(message)
        self.sent.append((party, bytes(message)))
        for hearer in (self.lab.p, self.lab.v):
            while hearer.unread():
                data = hearer.datagram().data
                if data not in self.heard[hearer.name]:
                    self.heard[hearer.name].append(data)

    def last(self, party: Party) -> Message:
        """Return the message that `party` heard last for the first time."""
        return parse(self.heard[party.name][-1])

    def repeats(self) -> None:
        """Send everything once more, the newest first; nobody may hear anything that they do not know."""
        known = {name: list(heard) for name, heard in self.heard.items()}
        for party, data in reversed(list(self.sent)):
            self.says(party, data)
            self.sent.pop()
            assert self.heard == known, f"after {party.name} repeated {data[:60]!r}"


def recorded(lab: Lab, copies: int) -> Recorded:
    """Go through a call with early media, a refused re-INVITE from V, and a BYE from P."""
    registered(lab)
    call = Recorded(lab, copies)
    call.says(lab.p, invite(BOB, VIA, body=SDP.audio("10.0.0.10", 40000)))
    invitation = call.last(lab.v)
    call.says(lab.v, answer(invitation, "183 Session Progress", BOB_AT, body=BODY))
    call.says(lab.v, answer(invitation, "200 OK", BOB_AT, ROUTE, body=BODY))
    caller, callee = Dialog.of_caller(call.last(lab.p)), Dialog.of_callee(invitation)
    call.says(lab.p, caller.request("ACK"))
    call.says(lab.v, callee.request("INVITE", BOB_AT, body=BODY))
    call.says(lab.p, answer(call.last(lab.p), "488 Not Acceptable Here"))
    call.says(lab.v, callee.request("ACK", "Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKV1"))
    call.says(lab.p, caller.request("BYE"))
    call.says(lab.v, answer(call.last(lab.v), "200 OK"))
    assert lab.media_ports() == set()
    return call


def test_n19_every_message_three_times(laboratory):
    """A network that triples everything changes no byte of what anybody receives, and no port."""
    once, thrice = recorded(laboratory(), 1).heard, recorded(laboratory(), 3).heard
    assert [data.split(b"\r\n")[0] for data in once["P"]] == [
        b"SIP/2.0 100 Trying",
        b"SIP/2.0 183 Session Progress",
        b"SIP/2.0 200 OK",
        b"INVITE sip:alice@10.0.0.10:5062 SIP/2.0",
        b"ACK sip:alice@10.0.0.10:5062 SIP/2.0",
        b"SIP/2.0 200 OK",
    ]
    assert thrice == once


def test_n19_late_copies_in_the_wrong_order(lab):
    """Copies that arrive when the call is over tell nobody anything new, and take no port."""
    call = recorded(lab, 1)
    call.repeats()
    assert lab.media_ports() == set()


def test_n19_late_copies_of_a_running_call(lab):
    """Copies of all that was said before, after every step, and an offer that counts stays the last one."""
    registered(lab)
    call = Recorded(lab, 1)
    call.says(lab.p, invite(BOB, VIA, body=SDP.audio("10.0.0.10", 40000)))
    call.repeats()
    invitation = call.last(lab.v)
    for status in ("183 Session Progress", "200 OK"):
        call.says(lab.v, answer(invitation, status, BOB_AT, ROUTE, body=BODY))
        accepted = call.last(lab.p)
        call.repeats()
    caller, callee = Dialog.of_caller(accepted), Dialog.of_callee(invitation)
    call.says(lab.p, caller.request("ACK"))
    call.repeats()
    call.says(lab.v, callee.request("INVITE", BOB_AT, body=SDP.audio("203.0.113.60", 50010, user="bob")))
    reinvite = call.last(lab.p)
    call.repeats()
    call.says(lab.p, answer(reinvite, "200 OK", ALICE_AT, body=SDP.audio("10.0.0.10", 40010, version=2)))
    call.repeats()
    call.says(lab.v, callee.request("ACK"))
    call.repeats()
    assert lab.relayed("10.0.0.10:40010", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.60:50010"]
    assert lab.relayed("203.0.113.60:50010", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40010"]


@pytest.mark.parametrize("copies", [1, 2])
def test_n19_no_port_is_taken_twice(lab, copies):
    """However often an INVITE comes, its call has four sockets: RTP and RTCP on both sides."""
    registered(lab)
    for _ in range(copies):
        lab.p.send(invite(BOB, VIA, body=SDP.audio("10.0.0.10", 40000)))
    assert len(lab.media_ports()) == 4
    lab.p.forget()
    lab.v.forget()
