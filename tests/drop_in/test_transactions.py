# SPDX-License-Identifier: MIT
"""What siproxd, being stateless, leaves to others: retransmission, CANCEL, ACK, time-outs."""

from __future__ import annotations

from tests.support.calls import registered
from tests.support.lab import Lab
from tests.support.messages import SDP, Dialog, Message, answer, invite, request, values
from tests.support.networks import on

pytestmark = on("udp", "ipv4-ipv6")

BOB = "sip:bob@sip.provider.test"
VIA = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1"
BOB_AT = "Contact: <sip:bob@203.0.113.60:5090>"
ALICE_AT = "Contact: <sip:alice@10.0.0.10:5062>"
BODY = SDP.audio("203.0.113.60", 50000, user="bob")


def invited(lab: Lab) -> Message:
    """Let P, registered, call bob; return the INVITE at V."""
    registered(lab)
    lab.p.send(invite(BOB, VIA, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    return lab.v.sees(f"INVITE {BOB} SIP/2.0")


def rung(lab: Lab) -> Message:
    """Let it ring at bob's."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "180 Ringing"))
    lab.p.sees("SIP/2.0 180 Ringing")
    return invitation


def ack_of(refusal: Message) -> str:
    """Return what P sends for a response to its INVITE that is no 2xx (RFC 3261 section 17.1.1.3)."""
    return request("ACK", BOB, VIA, f"To: {values(refusal, 'To')[0]}")


CANCEL = request("CANCEL", BOB, VIA)


def test_a_retransmitted_request_gets_its_response_again(lab):
    """The server transaction answers a retransmission itself, byte by byte as before."""
    registered(lab)
    sent = lab.p.send(request("OPTIONS", BOB))
    lab.v.send(answer(lab.v.receive(), "200 OK"))
    response = lab.p.datagram().data
    lab.p.send(sent)
    assert lab.p.datagram().data == response
    lab.v.nothing()


def test_a_retransmitted_invite_gets_the_last_provisional_again(lab):
    """While it rings, a retransmission of the INVITE gets the 180 and goes no further."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "180 Ringing"))
    ringing = lab.p.datagram().data
    lab.p.send(invite(BOB, VIA, body=SDP.audio("10.0.0.10", 40000)))
    assert lab.p.datagram().data == ringing
    lab.v.nothing()


def test_a_lost_invite_is_sent_again(lab):
    """Timer A repeats the INVITE with doubling intervals until something is heard."""
    invitation = invited(lab)
    for interval in (0.5, 1.0, 2.0):
        lab.advance(interval - 0.01)
        lab.v.nothing()
        lab.advance(0.01)
        assert bytes(lab.v.receive()) == bytes(invitation)
    lab.v.send(answer(invitation, "180 Ringing"))
    lab.p.sees("SIP/2.0 180 Ringing")
    lab.advance(60)
    lab.v.nothing()


def test_a_refusal_is_acknowledged_hop_by_hop(lab):
    """We ACK a 503 to V, also a repeated one; the phone's own ACK ends here."""
    invitation = invited(lab)
    refusal = lab.v.send(answer(invitation, "503 Service Unavailable", "Retry-After: 5"))
    ack = lab.v.sees(f"""
        ACK {BOB} SIP/2.0
        Via: {values(invitation, "Via")[0]}
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>;tag=t1
        Call-ID: c1
        CSeq: 1 ACK
        no Contact
        """)
    lab.v.send(refusal)
    assert bytes(lab.v.receive()) == bytes(ack)
    refused = lab.p.sees("""
        SIP/2.0 503 Service Unavailable
        Retry-After: 5
        """)
    lab.p.send(ack_of(refused))
    lab.advance(60)
    lab.p.nothing()
    lab.v.nothing()
    assert lab.media_ports() == set()


def test_a_refusal_is_repeated_until_it_is_acknowledged(lab):
    """Timer G: the phone gets its 486 again until its ACK is here."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "486 Busy Here"))
    lab.v.sees("ACK … SIP/2.0")
    refused = lab.p.receive()
    lab.advance(0.5)
    assert bytes(lab.p.receive()) == bytes(refused)
    lab.advance(1.0)
    assert bytes(lab.p.receive()) == bytes(refused)
    lab.p.send(ack_of(refused))
    lab.advance(60)
    lab.p.nothing()


def test_every_200_passes(lab):
    """A 200 to an INVITE and its ACK are end to end: repeated by their senders, passed on each time."""
    invitation = invited(lab)
    route = "Record-Route: <sip:203.0.113.50;lr>"
    accepted = lab.v.send(answer(invitation, "200 OK", route, BOB_AT, body=BODY))
    first = lab.p.receive()
    caller = Dialog.of_caller(first)
    ack = lab.p.send(caller.request("ACK"))
    passed_on = lab.v.datagram().data
    lab.advance(1)
    lab.v.send(accepted)
    assert bytes(lab.p.receive()) == bytes(first)
    lab.p.send(ack)
    assert lab.v.datagram().data == passed_on


def test_nobody_answers_upstream(lab):
    """A provider that is silent for 32 seconds costs the caller a 408, and us no port."""
    invited(lab)
    lab.advance(31)
    lab.p.nothing()
    lab.advance(1.2)
    refused = lab.p.sees("""
        SIP/2.0 408 Request Timeout
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
        To: <sip:bob@sip.provider.test>;tag=…
        """)
    lab.p.send(ack_of(refused))
    lab.v.forget()
    lab.advance(60)
    lab.v.nothing()
    assert lab.media_ports() == set()


def test_cancel(lab):
    """CANCEL is answered here and sent on as our own; the 487 comes back the usual way."""
    invitation = rung(lab)
    lab.p.send(CANCEL)
    lab.p.sees("""
        SIP/2.0 200 …
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
        CSeq: 1 CANCEL
        """)
    cancel = lab.v.sees(f"""
        CANCEL {BOB} SIP/2.0
        Via: {values(invitation, "Via")[0]}
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>
        Call-ID: c1
        CSeq: 1 CANCEL
        """)
    lab.v.send(answer(cancel, "200 OK"))
    lab.p.nothing()
    lab.v.send(answer(invitation, "487 Request Terminated"))
    lab.v.sees(f"""
        ACK {BOB} SIP/2.0
        Via: {values(invitation, "Via")[0]}
        """)
    refused = lab.p.sees("""
        SIP/2.0 487 Request Terminated
        CSeq: 1 INVITE
        """)
    lab.p.send(ack_of(refused))
    lab.v.nothing()
    assert lab.media_ports() == set()


def test_cancel_before_anything_was_heard(lab):
    """A CANCEL waits for a provisional response before it is sent on (RFC 3261 section 9.1)."""
    invitation = invited(lab)
    lab.p.send(CANCEL)
    lab.p.sees("""
        SIP/2.0 200 …
        CSeq: 1 CANCEL
        """)
    lab.v.nothing()
    lab.v.send(answer(invitation, "100 Trying"))
    cancel = lab.v.sees(f"CANCEL {BOB} SIP/2.0")
    lab.v.send(answer(cancel, "200 OK"))
    lab.v.send(answer(invitation, "487 Request Terminated"))
    lab.v.sees(f"ACK {BOB} SIP/2.0")
    lab.p.send(ack_of(lab.p.sees("SIP/2.0 487 Request Terminated")))
    assert lab.media_ports() == set()


def test_cancel_crosses_the_answer(lab):
    """When bob answers just before he hears of the CANCEL, the call is up, and ends by BYE."""
    invitation = rung(lab)
    lab.p.send(CANCEL)
    lab.p.sees("""
        SIP/2.0 200 …
        CSeq: 1 CANCEL
        """)
    cancel = lab.v.sees(f"CANCEL {BOB} SIP/2.0")
    lab.v.send(answer(invitation, "200 OK", BOB_AT, body=BODY))
    lab.v.send(answer(cancel, "481 Call/Transaction Does Not Exist"))
    accepted = lab.p.sees("""
        SIP/2.0 200 OK
        CSeq: 1 INVITE
        """)
    caller = Dialog.of_caller(accepted)
    lab.p.send(caller.request("ACK"), to=caller.next_hop)
    lab.m.sees("ACK … SIP/2.0")
    lab.p.send(caller.request("BYE"), to=caller.next_hop)
    lab.m.send(answer(lab.m.sees("BYE … SIP/2.0"), "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


def test_cancel_from_outside(lab):
    """A caller outside gives up: the phone stops ringing."""
    registered(lab)
    via, who = (
        "Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1",
        "From: <sip:carol@sip.other.test>;tag=w1",
    )
    uri = "sip:alice@203.0.113.1"
    lab.w.send(
        invite(uri, via, who, contact="<sip:carol@203.0.113.51>", body=SDP.audio("203.0.113.51", 51000))
    )
    lab.w.sees("SIP/2.0 100 Trying")
    invitation = lab.p.receive()
    lab.p.send(answer(invitation, "180 Ringing"))
    lab.w.sees("SIP/2.0 180 Ringing")
    lab.w.send(request("CANCEL", uri, via, who))
    lab.w.sees("""
        SIP/2.0 200 …
        CSeq: 1 CANCEL
        """)
    cancel = lab.p.sees(f"""
        CANCEL sip:alice@10.0.0.10:5062 SIP/2.0
        Via: {values(invitation, "Via")[0]}
        """)
    lab.p.send(answer(cancel, "200 OK"))
    lab.p.send(answer(invitation, "487 Request Terminated"))
    lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.w.sees("SIP/2.0 487 Request Terminated")
    assert lab.media_ports() == set()


def test_cancel_of_nothing(lab):
    """A CANCEL for which there is no INVITE gets 481."""
    registered(lab)
    lab.p.send(CANCEL)
    lab.p.sees("""
        SIP/2.0 481 …
        CSeq: 1 CANCEL
        """)
    lab.v.nothing()


def test_cancelled_reinvite_leaves_the_call(lab):
    """Cancelling a re-INVITE takes back that offer, not the call's media."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "200 OK", BOB_AT, body=BODY))
    caller = Dialog.of_caller(lab.p.receive())
    lab.p.send(caller.request("ACK"))
    lab.m.sees("ACK … SIP/2.0")
    again = SDP.audio("10.0.0.10", 40020, version=2)
    lab.p.send(caller.request("INVITE", VIA.replace("inv1", "inv2"), ALICE_AT, body=again))
    lab.p.sees("SIP/2.0 100 Trying")
    reinvite = lab.m.receive()
    lab.m.send(answer(reinvite, "180 Ringing"))
    lab.p.sees("SIP/2.0 180 Ringing")
    caller.cseq -= 1
    lab.p.send(caller.request("CANCEL", VIA.replace("inv1", "inv2")))
    lab.p.sees("""
        SIP/2.0 200 …
        CSeq: 2 CANCEL
        """)
    lab.m.send(answer(lab.m.sees("CANCEL … SIP/2.0"), "200 OK"))
    lab.m.send(answer(reinvite, "487 Request Terminated"))
    lab.m.sees("ACK … SIP/2.0")
    lab.p.sees("SIP/2.0 487 Request Terminated")
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40000"]


def test_timer_c(lab):
    """A call that rings for more than three minutes without a word is cancelled (RFC 3261 section 16.8)."""
    invitation = rung(lab)
    lab.advance(179)
    lab.v.nothing()
    lab.advance(21)
    cancel = lab.v.sees(f"CANCEL {BOB} SIP/2.0")
    lab.v.forget()  # timer E repeats the CANCEL
    lab.v.send(answer(cancel, "200 OK"))
    lab.v.send(answer(invitation, "487 Request Terminated"))
    lab.v.sees(f"ACK {BOB} SIP/2.0")
    assert lab.p.receive().status in (408, 487)
    assert lab.media_ports() == set()


def test_timer_c_starts_again(lab):
    """Each sign of life, a 180 or 183, gives the callee three more minutes."""
    invitation = rung(lab)
    for _ in range(4):
        lab.advance(150)
        lab.v.nothing()
        lab.v.send(answer(invitation, "183 Session Progress"))
        lab.p.sees("SIP/2.0 183 Session Progress")


def test_timer_c_and_nobody_there(lab):
    """When the CANCEL finds nobody either, the caller gets its final response all the same."""
    rung(lab)
    lab.advance(200)
    lab.v.sees(f"CANCEL {BOB} SIP/2.0")
    lab.advance(40)
    lab.v.forget()
    assert lab.p.receive().status in (408, 487)
    lab.p.forget()
    assert lab.media_ports() == set()


def test_a_response_to_nothing_is_dropped(lab):
    """A response that belongs to no transaction of ours goes nowhere, whatever its Via says."""
    invitation = invited(lab)
    stray = answer(invitation, "200 OK", BOB_AT, body=BODY).replace("branch=z9hG4bK", "branch=z9hG4bKz", 1)
    lab.v.send(stray)
    lab.v.send(answer(invitation, "200 OK", f"Via: {values(invitation, 'Via')[1]}"))
    lab.p.nothing()
    lab.v.nothing()


def test_a_late_180_does_not_follow_the_200(lab):
    """Messages that overtake one another on the way do not make a call ring that is up."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "200 OK", BOB_AT, body=BODY))
    lab.p.sees("SIP/2.0 200 OK")
    lab.v.send(answer(invitation, "180 Ringing"))
    lab.p.nothing()
