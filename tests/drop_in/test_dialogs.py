# SPDX-License-Identifier: MIT
"""What keeps a call up, its dialog, is not disturbed by us."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from tests.support.calls import call_from_w, call_to_m, hang_up, media, registered
from tests.support.lab import Lab, Party, rtp
from tests.support.messages import SDP, Dialog, Message, answer, invite, request, uri_in, values
from tests.support.networks import MIXED

pytestmark = MIXED

CAROL = "<sip:carol@203.0.113.60:5090>"
HOPS = "<sip:10.99.0.7;lr>, <sip:203.0.113.50;lr;ftag=a1>"


@dataclass
class Proxied:
    """A call over a chain of proxies of the provider, whose address V has."""

    alice: Dialog
    carol: Dialog


@pytest.fixture
def proxied(lab: Lab) -> Proxied:
    """Let P call Carol; the provider adds two Record-Routes, one of them of a network of its own."""
    registered(lab)
    lab.p.send(invite("sip:carol@sip.provider.test", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.v.receive()
    described = SDP.audio("203.0.113.60", 50000, user="carol")
    lab.v.send(answer(invitation, "200 OK", f"Record-Route: {HOPS}", f"Contact: {CAROL}", body=described))
    accepted = lab.p.sees(f"""
        SIP/2.0 200 OK
        Record-Route: {HOPS}, <sip:siproxd@10.0.0.1:5060;lr>
        Contact: {CAROL}
        """)
    alice, carol = Dialog.of_caller(accepted), Dialog.of_callee(invitation)
    assert alice.next_hop == lab.inside
    lab.p.send(alice.request("ACK"), to=alice.next_hop)
    lab.v.sees("""
        ACK sip:carol@203.0.113.60:5090 SIP/2.0
        Route: <sip:203.0.113.50;lr;ftag=a1>, <sip:10.99.0.7;lr>
        """)
    return Proxied(alice, carol)


def exchanged(by: Party, dialog: Dialog, other: Party, method: str, *headers: str) -> tuple[Message, Message]:
    """Send a request in a dialog and answer it; return it and its 200 as they arrived."""
    by.send(dialog.request(method, *headers), to=dialog.next_hop)
    arrived = other.sees(f"{method} … SIP/2.0")
    other.send(answer(arrived, "200 OK"))
    return arrived, by.sees("SIP/2.0 200 OK")


def test_n31_requests_of_the_phone_follow_the_route_set(lab, proxied):
    """Every later request of the phone leaves by the provider's route set, addressed to Carol's Contact."""
    for method in ("UPDATE", "INFO", "MESSAGE", "REFER", "BYE"):
        lab.p.send(proxied.alice.request(method), to=proxied.alice.next_hop)
        arrived = lab.v.sees(f"""
            {method} sip:carol@203.0.113.60:5090 SIP/2.0
            Route: <sip:203.0.113.50;lr;ftag=a1>, <sip:10.99.0.7;lr>
            """)
        lab.v.send(answer(arrived, "200 OK"))
        lab.p.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


def test_n31_requests_to_the_phone_find_it(lab, proxied):
    """Every later request of Carol's, addressed to the Contact that she saw, reaches the phone."""
    assert proxied.carol.target == lab.written("sip:alice@203.0.113.1")
    for method in ("UPDATE", "INFO", "NOTIFY", "BYE"):
        arrived, _ = exchanged(lab.v, proxied.carol, lab.p, method)
        assert bytes(arrived).startswith(
            lab.written(f"{method} sip:alice@10.0.0.10:5062 SIP/2.0\r\n").encode()
        )
    assert lab.media_ports() == set()


def test_n31_ten_minutes(lab, proxied):
    """After ten minutes of talking both directions of signalling and media are as they were."""
    for minute in range(10):
        lab.advance(60)
        lab.relayed("10.0.0.10:40000", "10.0.0.1:7072", rtp(minute))
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40000"]
    exchanged(lab.v, proxied.carol, lab.p, "OPTIONS")
    exchanged(lab.p, proxied.alice, lab.v, "BYE")
    assert lab.media_ports() == set()


def talk(lab: Lab, seconds: int) -> None:
    """Let time pass while both sides speak."""
    for _ in range(seconds // 30):
        lab.advance(30)
        lab.relayed("10.0.0.10:40000", "10.0.0.1:7072")
        lab.relayed("203.0.113.60:50000", "203.0.113.1:7070")


def test_n32_session_timer(lab, proxied):
    """Refreshes every 15 minutes pass both ways, with the session timer's headers as they are."""
    for _ in range(2):
        talk(lab, 900)
        refresh = "Session-Expires: 1800;refresher=uac", "Min-SE: 90", "Supported: timer"
        arrived, _ = exchanged(lab.v, proxied.carol, lab.p, "UPDATE", *refresh)
        assert [values(arrived, header.split(":")[0])[0] for header in refresh] == [
            header.split(": ")[1] for header in refresh
        ]
        assert not arrived.body
        exchanged(lab.p, proxied.alice, lab.v, "UPDATE", "Session-Expires: 1800;refresher=uas")
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40000"]


def test_n32_a_dialog_outlives_the_registration(lab):
    """A call that lasts longer than the phone's registration is refreshed and ended like any other."""
    registered(lab, expires=120)
    call = call_to_m(lab)
    talk(lab, 900)
    exchanged(lab.m, call.callee, lab.p, "UPDATE")
    hang_up(lab, lab.m, call.callee, lab.p)
    assert lab.media_ports() == set()


def test_n32_interval_too_small(lab):
    """A 422 tells the phone the Min-SE that the provider wants."""
    registered(lab)
    lab.p.send(invite("sip:bob@sip.provider.test", "Session-Expires: 90", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    lab.v.send(answer(lab.v.receive(), "422 Session Interval Too Small", "Min-SE: 1800"))
    lab.v.sees("ACK … SIP/2.0")
    lab.p.sees("""
        SIP/2.0 422 Session Interval Too Small
        Min-SE: 1800
        """)


WEIRD = [
    "sip:alice@10.0.0.10:5062;line=x7f;user=phone",
    "sip:al%69ce%20x@10.0.0.10:5062;ob",
    "sip:+41-44;ext=1@10.0.0.10:5062;uniq=ABC%41",
    "sip:alice:secret@10.0.0.10:5062;transport=UDP;LR;x=%3B%22",
    "sip:alice@10.0.0.10:05062;z=1;a=2",
    "SIP:Alice@10.0.0.10:5062",
    "sip:10.0.0.10:5062;line=3",
]


@pytest.mark.parametrize("uri", WEIRD)
def test_n33_the_phone_gets_its_registered_contact(lab, uri):
    """A request for the masqueraded URI has the phone's registered Contact, byte for byte, as Request-URI."""
    masked = registered(lab, contact=f"<{uri}>")
    assert masked == lab.written("<sip:alice@203.0.113.1>")
    lab.w.send(request("OPTIONS", uri_in(masked), "From: <sip:carol@sip.other.test>;tag=w1"))
    assert lab.p.datagram().data.startswith(lab.written(f"OPTIONS {uri} SIP/2.0\r\n").encode())


@pytest.mark.parametrize("uri", WEIRD)
def test_n33_the_phone_gets_its_contact_of_the_dialog(lab, uri):
    """A request in a dialog has the Contact that the phone gave in that dialog, not the registered one."""
    registered(lab)
    lab.p.send(
        invite("sip:bob@sip.provider.test", contact=f'"A" <{uri}>;q=1', body=SDP.audio("10.0.0.10", 40000))
    )
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.v.receive()
    (shown,) = values(invitation, "Contact")
    assert lab.outside[0] in shown and lab.p.address[0] not in shown
    assert shown.startswith('"A" <') and shown.endswith(">;q=1")
    bob = Dialog.of_callee(invitation)
    described = SDP.audio("203.0.113.60", 50000, user="bob")
    lab.v.send(answer(invitation, "200 OK", "Contact: <sip:bob@203.0.113.60:5090>", body=described))
    alice = Dialog.of_caller(lab.p.receive())
    lab.p.send(alice.request("ACK"))
    lab.m.sees("ACK … SIP/2.0")
    lab.v.send(bob.request("BYE"))
    assert lab.p.datagram().data.startswith(lab.written(f"BYE {uri} SIP/2.0\r\n").encode())


def test_n33_the_phone_s_contact_as_callee(lab):
    """So it is for a call that came in."""
    registered(lab, contact="<sip:alice@10.0.0.10:5062;line=A%42>")
    call = call_from_w(lab, contact="sip:alice@10.0.0.10:5062;line=A%42")
    lab.w.send(call.caller.request("BYE"), to=call.caller.next_hop)
    bye = lab.p.sees("BYE sip:alice@10.0.0.10:5062;line=A%42 SIP/2.0")
    lab.p.send(answer(bye, "200 OK"))
    lab.w.sees("SIP/2.0 200 OK")


def test_delayed_offer(lab):
    """An INVITE without an offer: the 200 has it, the ACK answers it, and media passes."""
    registered(lab)
    lab.w.send(
        request(
            "INVITE",
            "sip:alice@203.0.113.1",
            "From: <sip:carol@sip.other.test>;tag=w1",
            "Contact: <sip:carol@203.0.113.51>",
        )
    )
    lab.w.sees("SIP/2.0 100 Trying")
    invitation = lab.p.receive()
    contact = "Contact: <sip:alice@10.0.0.10:5062>"
    lab.p.send(answer(invitation, "200 OK", contact, body=SDP.audio("10.0.0.10", 40000)))
    accepted = lab.w.sees("SIP/2.0 200 OK")
    (outside,) = media(accepted)
    assert outside.startswith("203.0.113.1:")
    carol = Dialog.of_caller(accepted)
    lab.w.send(carol.request("ACK", body=SDP.audio("203.0.113.51", 51000, user="carol")))
    (inside,) = media(lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0"))
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > 203.0.113.51:51000"]
    assert lab.relayed("203.0.113.51:51000", outside) == [f"{inside} > 10.0.0.10:40000"]


def test_offer_in_prack(lab):
    """An offer in a PRACK and its answer in the PRACK's 200 are rewritten like any other."""
    registered(lab)
    lab.p.send(invite("sip:bob@sip.provider.test", "Supported: 100rel", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.v.receive()
    described = SDP.audio("203.0.113.60", 50000, user="bob")
    reliable = "Require: 100rel", "RSeq: 1", "Contact: <sip:bob@203.0.113.60:5090>"
    lab.v.send(answer(invitation, "183 Session Progress", *reliable, body=described))
    alice = Dialog.of_caller(lab.p.sees("SIP/2.0 183 Session Progress"))
    changed = SDP.audio("10.0.0.10", 40000, version=2)
    lab.p.send(alice.request("PRACK", "RAck: 1 1 INVITE", body=changed), to=alice.next_hop)
    prack = lab.m.sees("PRACK sip:bob@203.0.113.60:5090 SIP/2.0")
    assert media(prack) == ["203.0.113.1:7070"]
    lab.m.send(answer(prack, "200 OK", body=SDP.audio("203.0.113.60", 50010, user="bob", version=2)))
    assert media(lab.p.sees("SIP/2.0 200 OK")) == ["10.0.0.1:7072"]
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.60:50010"]


def test_offer_in_update(lab):
    """So are those of an UPDATE."""
    registered(lab)
    call = call_to_m(lab)
    (before,) = media(call.answered)
    moved = SDP.audio("203.0.113.60", 50020, user="dora", version=2)
    lab.m.send(call.callee.request("UPDATE", body=moved), to=call.callee.next_hop)
    update = lab.p.sees("UPDATE sip:alice@10.0.0.10:5062 SIP/2.0")
    assert media(update) == [before]
    lab.p.send(answer(update, "200 OK", body=SDP.audio("10.0.0.10", 40000, version=2)))
    assert media(lab.m.sees("SIP/2.0 200 OK")) == media(call.offered)
    assert lab.relayed("10.0.0.10:40000", before) == [f"{media(call.offered)[0]} > 203.0.113.60:50020"]
