# SPDX-License-Identifier: MIT
"""TC09 to TC11, TC14 and TC15: a call out, its media, its end, and its change."""

from __future__ import annotations

import pytest

from tests.support.calls import call_to_m, hang_up, media, registered
from tests.support.lab import Lab, rtcp, rtp
from tests.support.messages import SDP, Dialog, Message, answer, uri_in, values
from tests.support.networks import BOTH, DATAGRAMS, EVERYWHERE, MIXED

pytestmark = MIXED

INVITE = """
    INVITE sip:bob@sip.provider.test SIP/2.0
    v: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
    Max-Forwards: 70
    f: "Alice" <sip:alice@sip.provider.test>;tag=a1
    t: <sip:bob@sip.provider.test>
    i: call1@10.0.0.10
    CSeq: 1 INVITE
    m: <sip:alice@10.0.0.10:5062>
    Allow: INVITE, ACK, BYE
    X-Foo: bar
    Supported: 100rel, replaces
    c: application/sdp
    l: {length}

    v=0
    o=alice 1 1 IN IP4 10.0.0.10
    s=-
    c=IN IP4 10.0.0.10
    t=0 0
    a=foo
    m=audio 40000 RTP/AVP 0 8 101
    a=rtpmap:0 PCMU/8000
    a=sendrecv
    """

ANSWER = """\
v=0
o=bob 1 1 IN IP4 203.0.113.60
s=-
c=IN IP4 203.0.113.60
t=0 0
m=audio 50000 RTP/AVP 0
a=rtpmap:0 PCMU/8000
"""

BOB = "<sip:bob@203.0.113.60:5090>"
RECORD_ROUTE = "Record-Route: <sip:203.0.113.50;lr>"


def invited(lab: Lab) -> Message:
    """Let P, registered, call bob; return the INVITE as it is at V."""
    registered(lab)
    lab.p.send(INVITE)
    lab.p.sees("SIP/2.0 100 Trying")
    return lab.v.receive()


def answered(lab: Lab) -> tuple[Dialog, Dialog]:
    """Let bob, behind V, answer the call of P; return P's and bob's side of the dialog."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "200 OK", RECORD_ROUTE, f"Contact: {BOB}", tag="b1", body=ANSWER))
    caller = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    lab.p.send(caller.request("ACK"), to=caller.next_hop)
    lab.v.sees(f"ACK {uri_in(BOB)} SIP/2.0")
    return caller, Dialog.of_callee(invitation, tag="b1")


@EVERYWHERE
def test_tc09_outgoing_invite(lab):
    """Contact and session description point to us; compact forms, order and other lines are the phone's."""
    registered(lab)
    lab.p.send(INVITE)
    invitation = lab.v.sees("""
        INVITE sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
        Max-Forwards: 69
        From: "Alice" <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>
        Call-ID: call1@10.0.0.10
        CSeq: 1 INVITE
        Contact: <sip:alice@203.0.113.1>
        Allow: INVITE, ACK, BYE
        X-Foo: bar
        Supported: 100rel, replaces
        Content-Type: application/sdp
        no Record-Route

        v=0
        o=alice 1 1 IN IP4 203.0.113.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        a=foo
        m=audio 7070 RTP/AVP 0 8 101
        a=rtpmap:0 PCMU/8000
        a=sendrecv
        """)
    assert int(values(invitation, "Content-Length")[0]) == len(invitation.body)
    lab.p.sees("""
        SIP/2.0 100 Trying
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
        From: "Alice" <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>
        Call-ID: call1@10.0.0.10
        CSeq: 1 INVITE
        """)


def test_tc09_what_is_not_rewritten_is_not_touched(lab):
    """Line by line, only the headers that have to change differ from what the phone sent."""
    registered(lab)
    sent = lab.p.send(INVITE).decode().split("\r\n")
    lab.p.sees("SIP/2.0 100 Trying")
    arrived = lab.v.datagram().data.decode().split("\r\n")
    own = next(line for line in arrived if line.startswith("Via: "))
    via = "v: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1"
    changes = {
        "Max-Forwards: 70": "Max-Forwards: 69",
        "m: <sip:alice@10.0.0.10:5062>": "m: <sip:alice@203.0.113.1>",
        "o=alice 1 1 IN IP4 10.0.0.10": "o=alice 1 1 IN IP4 203.0.113.1",
        "c=IN IP4 10.0.0.10": "c=IN IP4 203.0.113.1",
        "m=audio 40000 RTP/AVP 0 8 101": "m=audio 7070 RTP/AVP 0 8 101",
    }
    changed = {lab.written(before): lab.written(after) for before, after in changes.items()}
    changed[lab.written(via)] = lab.expected(via)
    without_length = [line for line in arrived if line != own and not line.startswith("l:")]
    assert without_length == [changed.get(line, line) for line in sent if not line.startswith("l:")]


@DATAGRAMS
def test_tc09_retransmission(lab):
    """The phone's retransmission gets the 100 again; ours, by timer A, has every byte of the first."""
    registered(lab)
    sent = lab.p.send(INVITE)
    first = lab.v.datagram().data
    trying = lab.p.datagram().data
    lab.p.send(sent)
    assert lab.p.datagram().data == trying
    lab.v.nothing()
    lab.advance(0.5)
    assert lab.v.datagram().data == first
    assert len(lab.media_ports()) == 4


@EVERYWHERE
def test_tc10_answer(lab):
    """183 and 200 point the phone to us, with the port of the same stream, and our Record-Route is last."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "100 Trying"))
    lab.p.nothing()
    for status in ("183 Session Progress", "200 OK"):
        lab.v.send(answer(invitation, status, RECORD_ROUTE, f"Contact: {BOB}", tag="b1", body=ANSWER))
        lab.p.sees(f"""
            SIP/2.0 {status}
            Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKinv1
            Record-Route: <sip:203.0.113.50;lr>, <sip:siproxd@10.0.0.1:5060;lr>
            From: "Alice" <sip:alice@sip.provider.test>;tag=a1
            To: <sip:bob@sip.provider.test>;tag=b1
            Call-ID: call1@10.0.0.10
            CSeq: 1 INVITE
            Contact: <sip:bob@203.0.113.60:5090>
            Content-Type: application/sdp

            v=0
            o=bob 1 1 IN IP4 10.0.0.1
            s=-
            c=IN IP4 10.0.0.1
            t=0 0
            m=audio 7072 RTP/AVP 0
            a=rtpmap:0 PCMU/8000
            """)


@EVERYWHERE
def test_tc10_ack_of_the_answer(lab):
    """The ACK takes our Route off, follows the rest to V, and nobody answers it."""
    invitation = invited(lab)
    lab.v.send(answer(invitation, "200 OK", RECORD_ROUTE, f"Contact: {BOB}", tag="b1", body=ANSWER))
    lab.p.receive()
    lab.p.send("""
        ACK sip:bob@203.0.113.60:5090 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKack1
        Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:203.0.113.50;lr>
        Max-Forwards: 70
        From: "Alice" <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>;tag=b1
        Call-ID: call1@10.0.0.10
        CSeq: 1 ACK
        """)
    lab.v.sees("""
        ACK sip:bob@203.0.113.60:5090 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKack1
        Route: <sip:203.0.113.50;lr>
        Max-Forwards: 69
        CSeq: 1 ACK
        """)
    lab.advance(40)
    lab.p.nothing()
    lab.v.nothing()


def test_tc10_forked_answers(lab):
    """Early media of one fork, the answer of another: one port for the phone, the last answer counts."""
    invitation = invited(lab)
    early = SDP.audio("203.0.113.61", 52000, user="mail")
    lab.v.send(answer(invitation, "183 Session Progress", f"Contact: {BOB}", tag="m1", body=early))
    assert media(lab.p.sees("SIP/2.0 183 Session Progress")) == ["10.0.0.1:7072"]
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.61:52000"]
    lab.v.send(answer(invitation, "200 OK", RECORD_ROUTE, f"Contact: {BOB}", tag="b1", body=ANSWER))
    accepted = lab.p.sees("""
        SIP/2.0 200 OK
        To: <sip:bob@sip.provider.test>;tag=b1
        """)
    assert media(accepted) == ["10.0.0.1:7072"]
    alice = Dialog.of_caller(accepted)
    lab.p.send(alice.request("ACK"), to=alice.next_hop)
    lab.v.sees("ACK … SIP/2.0")
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.60:50000"]
    hang_up(lab, lab.p, alice, lab.v)
    assert lab.media_ports() == set()


@EVERYWHERE
def test_tc11_media(lab):
    """RTP and RTCP of the call of TC10 pass both ways, and each side sees one address of ours only."""
    answered(lab)
    phone, remote = "10.0.0.10:40000", "203.0.113.60:50000"
    assert lab.relayed(remote, "203.0.113.1:7070") == [f"10.0.0.1:7072 > {phone}"]
    assert lab.relayed(phone, "10.0.0.1:7072") == [f"203.0.113.1:7070 > {remote}"]
    phone, remote = "10.0.0.10:40001", "203.0.113.60:50001"
    assert lab.relayed(remote, "203.0.113.1:7071", rtcp()) == [f"10.0.0.1:7073 > {phone}"]
    assert lab.relayed(phone, "10.0.0.1:7073", rtcp()) == [f"203.0.113.1:7071 > {remote}"]


@BOTH
def test_tc11_large_packets(lab):
    """A packet of 1600 bytes stays one of 1600 bytes."""
    answered(lab)
    packet = rtp(payload=bytes(1588))
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072", packet) == [
        "203.0.113.1:7070 > 203.0.113.60:50000"
    ]


@EVERYWHERE
def test_tc14_bye_from_remote(lab):
    """A BYE for the masqueraded Contact reaches the phone; after its 200 the ports are free."""
    _, bob = answered(lab)
    assert bob.target == lab.written("sip:alice@203.0.113.1")
    lab.v.send("""
        BYE sip:alice@203.0.113.1 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKbye
        Max-Forwards: 68
        From: <sip:bob@sip.provider.test>;tag=b1
        To: "Alice" <sip:alice@sip.provider.test>;tag=a1
        Call-ID: call1@10.0.0.10
        CSeq: 2 BYE
        """)
    bye = lab.p.sees("""
        BYE sip:alice@10.0.0.10:5062 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKbye
        Max-Forwards: 67
        From: <sip:bob@sip.provider.test>;tag=b1
        To: "Alice" <sip:alice@sip.provider.test>;tag=a1
        CSeq: 2 BYE
        """)
    lab.p.send(answer(bye, "200 OK"))
    lab.v.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKbye
        CSeq: 2 BYE
        no Record-Route
        """)
    assert lab.media_ports() == set()


def test_tc14_bye_from_the_phone(lab):
    """A BYE of the phone follows the route of its dialog, and frees the ports as well."""
    alice, _ = answered(lab)
    lab.p.send(alice.request("BYE"), to=alice.next_hop)
    bye = lab.v.sees("""
        BYE sip:bob@203.0.113.60:5090 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP…
        Route: <sip:203.0.113.50;lr>
        Max-Forwards: 69
        """)
    lab.v.send(answer(bye, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


@BOTH
def test_tc14_the_end_of_one_call_is_not_that_of_another(lab):
    """Two calls of one phone end one by one."""
    registered(lab)
    first, second = call_to_m(lab, "one", 40000), call_to_m(lab, "two", 40010)
    assert len(lab.media_ports()) == 8
    hang_up(lab, lab.p, first.caller, lab.m)
    (inside,), (outside,) = media(second.answered), media(second.offered)
    assert lab.relayed("10.0.0.10:40010", inside) == [f"{outside} > 203.0.113.60:50000"]
    hang_up(lab, lab.m, second.callee, lab.p)
    assert lab.media_ports() == set()


def test_tc15_reinvite_from_remote(lab):
    """The remote party's media moves: the phone keeps the port that it knows and reaches the new place."""
    _, bob = answered(lab)
    moved = SDP.audio("203.0.113.51", 51000, user="bob", version=2)
    lab.v.send(bob.request("INVITE", f"Contact: {BOB}", body=moved))
    lab.v.sees("SIP/2.0 100 Trying")
    reinvite = lab.p.sees("INVITE sip:alice@10.0.0.10:5062 SIP/2.0")
    assert media(reinvite) == ["10.0.0.1:7072"]
    description = SDP.audio("10.0.0.10", 40000, version=2)
    lab.p.send(answer(reinvite, "200 OK", "Contact: <sip:alice@10.0.0.10:5062>", body=description))
    accepted = lab.v.sees("SIP/2.0 200 OK")
    assert media(accepted) == ["203.0.113.1:7070"]
    lab.v.send(bob.request("ACK"))
    lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0")
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.51:51000"]
    assert lab.relayed("203.0.113.51:51000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40000"]


@BOTH
@pytest.mark.parametrize("status", ["488 Not Acceptable Here", "491 Request Pending", "401 Unauthorized"])
def test_tc15_refused_reinvite(lab, status):
    """A re-INVITE that the phone refuses changes nothing: media goes on where it went before."""
    _, bob = answered(lab)
    moved = SDP.audio("203.0.113.51", 51000, user="bob", version=2)
    lab.v.send(bob.request("INVITE", f"Contact: {BOB}", body=moved))
    lab.v.sees("SIP/2.0 100 Trying")
    lab.p.send(answer(lab.p.receive(), status))
    lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.v.sees(f"SIP/2.0 {status}")
    lab.v.send(bob.request("ACK", "Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKV1"))
    lab.p.nothing()
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.60:50000"]
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40000"]


def test_tc15_reinvite_from_the_phone(lab):
    """A phone that moves its media keeps the ports too; the remote party notices nothing of the address."""
    alice, _ = answered(lab)
    moved = SDP.audio("10.0.0.10", 40020, version=2)
    lab.p.send(alice.request("INVITE", "Contact: <sip:alice@10.0.0.10:5062>", body=moved), to=alice.next_hop)
    lab.p.sees("SIP/2.0 100 Trying")
    reinvite = lab.v.sees(f"""
        INVITE {uri_in(BOB)} SIP/2.0
        Contact: <sip:alice@203.0.113.1>
        """)
    assert media(reinvite) == ["203.0.113.1:7070"]
    lab.v.send(answer(reinvite, "200 OK", f"Contact: {BOB}", body=ANSWER))
    assert media(lab.p.sees("SIP/2.0 200 OK")) == ["10.0.0.1:7072"]
    lab.p.send(alice.request("ACK"), to=alice.next_hop)
    lab.v.sees(f"ACK {uri_in(BOB)} SIP/2.0")
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["10.0.0.1:7072 > 10.0.0.10:40020"]
