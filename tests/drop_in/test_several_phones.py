# SPDX-License-Identifier: MIT
"""The same user at two providers, several phones of one account, several lines of one phone.

siproxd knows a phone by its user name. Here each binding has a name of its own outside:
siproxd's wherever that is unambiguous, another one where it is not.
"""

from __future__ import annotations

import pytest

from tests.support.calls import hang_up, is_reachable, media, registered
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, request, uri_in
from tests.support.networks import BOTH

pytestmark = BOTH


def test_n7_one_user_at_two_providers(lab):
    """Extension 100 of one provider and extension 100 of the other are two phones, each with its calls."""
    one = registered(lab, lab.p, "100@sip.provider.test", "<sip:100@10.0.0.10:5062>")
    other = registered(lab, lab.q, "100@sip.other.test", "<sip:100@10.0.0.11>", registrar=lab.w)
    assert one == lab.written("<sip:100@203.0.113.1>")
    assert other != one
    assert is_reachable(lab, lab.p, uri_in(one), "sip:100@10.0.0.10:5062")
    assert is_reachable(lab, lab.q, uri_in(other), "sip:100@10.0.0.11")


def test_n7_their_lifetimes_are_their_own(lab):
    """A lifetime granted to one of them is not the other's."""
    one = registered(lab, lab.p, "100@sip.provider.test", "<sip:100@10.0.0.10:5062>", expires=60)
    other = registered(lab, lab.q, "100@sip.other.test", "<sip:100@10.0.0.11>", 600, registrar=lab.w)
    lab.advance(50)
    assert is_reachable(lab, lab.p, uri_in(one), "sip:100@10.0.0.10:5062")
    lab.advance(50)
    assert is_reachable(lab, lab.q, uri_in(other), "sip:100@10.0.0.11")
    lab.w.send(request("OPTIONS", uri_in(one), "From: <sip:carol@sip.other.test>;tag=w1", "Call-ID: late"))
    lab.p.nothing()
    lab.q.forget()  # the user alone is the last resort, as it is siproxd's
    lab.w.forget()


def test_n7_three_phones_of_one_account(lab):
    """Each phone of an account registers, refreshes and is called as itself."""
    r = lab.party("R", "10.0.0.12", 5060)
    phones = {lab.p: "sip:100@10.0.0.10:5062", lab.q: "sip:100@10.0.0.11", r: "sip:100@10.0.0.12"}
    masked = {p: registered(lab, p, "100@sip.provider.test", f"<{uri}>") for p, uri in phones.items()}
    assert len(set(masked.values())) == 3
    for phone, uri in phones.items():
        assert registered(lab, phone, "100@sip.provider.test", f"<{uri}>") == masked[phone]
    for phone, uri in phones.items():
        assert is_reachable(lab, phone, uri_in(masked[phone]), uri)


def test_n7_two_lines_of_one_phone(lab):
    """Two accounts on one phone, even with the same Contact user, stay two lines."""
    lines = {
        "100@sip.provider.test": "sip:line@10.0.0.10:5062;line=1",
        "101@sip.provider.test": "sip:line@10.0.0.10:5062;line=2",
    }
    masked = {aor: registered(lab, lab.p, aor, f"<{uri}>") for aor, uri in lines.items()}
    assert masked == {aor: lab.written(f"<sip:{aor.split('@')[0]}@203.0.113.1>") for aor in lines}
    for aor, uri in lines.items():
        assert is_reachable(lab, lab.p, uri_in(masked[aor]), uri)


def test_n7_a_line_calls_as_itself(lab):
    """The Contact of an outgoing request is that of the line that sends it, seen by its From."""
    one = registered(lab, lab.p, "100@sip.provider.test", "<sip:line@10.0.0.10:5062>")
    two = registered(lab, lab.p, "200@sip.other.test", "<sip:line@10.0.0.10:5062>", registrar=lab.w)
    for aor, masked in (("100@sip.provider.test", one), ("200@sip.other.test", two)):
        who, contact = f"From: <sip:{aor}>;tag=a1", "Contact: <sip:line@10.0.0.10:5062>"
        lab.p.send(request("OPTIONS", "sip:bob@sip.provider.test", who, contact, f"Call-ID: {aor}"))
        lab.v.sees(f"""
            OPTIONS sip:bob@sip.provider.test SIP/2.0
            Contact: {masked}
            """)


def test_n7_a_phone_that_moved(lab):
    """A phone that registers again from another port is the same phone: its old place is forgotten."""
    before = registered(lab, lab.p, "100@sip.provider.test", "<sip:100@10.0.0.10:5062>")
    moved = lab.party("P2", "10.0.0.10", 5099)
    after = registered(lab, moved, "100@sip.provider.test", "<sip:100@10.0.0.10:5099>")
    assert after == before == lab.written("<sip:100@203.0.113.1>")
    assert is_reachable(lab, moved, "sip:100@203.0.113.1", "sip:100@10.0.0.10:5099")
    lab.p.nothing()


def rung_at(lab: Lab, caller: Party, uri: str, phone: Party, port: int) -> tuple[Dialog, Message, Message]:
    """Let `caller` call `uri`, which rings at `phone` only, and answer there; all with one Call-ID."""
    host = caller.address[0]
    who, body = f"From: <sip:{caller.name}@{host}>;tag={caller.name}", SDP.audio(host, port)
    lab_contact = f"<sip:{caller.name}@{host}>"
    caller.send(invite(uri, who, "Call-ID: same", contact=lab_contact, body=body))
    caller.sees("SIP/2.0 100 Trying")
    invitation = phone.receive()
    contact = f"Contact: <{phone_uri(invitation)}>"
    phone.send(answer(invitation, "200 OK", contact, tag=phone.name, body=SDP.audio(phone.address[0], port)))
    accepted = caller.sees("SIP/2.0 200 OK")
    dialog = Dialog.of_caller(accepted)
    caller.send(dialog.request("ACK"))
    phone.sees("ACK … SIP/2.0")
    return dialog, invitation, accepted


def phone_uri(invitation: Message) -> str:
    """Return the Request-URI of a request."""
    return bytes(invitation).split()[1].decode()


def test_n7_media_never_crosses(lab):
    """Two calls for the same user at two providers, even with one Call-ID, have media of their own."""
    one = registered(lab, lab.p, "100@sip.provider.test", "<sip:100@10.0.0.10:5062>")
    other = registered(lab, lab.q, "100@sip.other.test", "<sip:100@10.0.0.11>", registrar=lab.w)
    first = rung_at(lab, lab.v, uri_in(one), lab.p, 40000)
    second = rung_at(lab, lab.w, uri_in(other), lab.q, 40000)
    ways = []
    for _, invitation, accepted in (first, second):
        (inside,), (outside,) = media(invitation), media(accepted)
        ways.append((inside, outside))
    assert not {*ways[0]} & {*ways[1]}
    assert lab.relayed("203.0.113.50:40000", ways[0][1]) == [f"{ways[0][0]} > 10.0.0.10:40000"]
    assert lab.relayed("203.0.113.51:40000", ways[1][1]) == [f"{ways[1][0]} > 10.0.0.11:40000"]
    hang_up(lab, lab.v, first[0], lab.p)
    assert lab.relayed("10.0.0.11:40000", ways[1][0]) == [f"{ways[1][1]} > 203.0.113.51:40000"]
    hang_up(lab, lab.w, second[0], lab.q)
    assert lab.media_ports() == set()


@pytest.mark.parametrize("escaped", ["sip:%61lice@203.0.113.1", "sip:alice@203.0.113.1:5060;transport=udp"])
def test_the_masqueraded_uri_in_another_spelling(lab, escaped):
    """Escapes, the default port and parameters that the provider adds do not hide the phone."""
    registered(lab)
    assert is_reachable(lab, lab.p, escaped, "sip:alice@10.0.0.10:5062")


def test_a_user_is_case_sensitive(lab):
    """ALICE is not alice (RFC 3261 section 19.1.4)."""
    registered(lab)
    assert not is_reachable(lab, lab.p, "sip:ALICE@203.0.113.1")
