# SPDX-License-Identifier: MIT
"""TC12 and TC13: a call from outside, and the phone's answer to it."""

from __future__ import annotations

from tests.support.calls import call_from_w, hang_up, media, registered
from tests.support.messages import SDP, answer
from tests.support.networks import BOTH, EVERYWHERE

pytestmark = EVERYWHERE


def test_tc12_incoming_invite(lab):
    """A call for the masqueraded URI reaches the phone under its own Contact, with every parameter."""
    registered(lab, contact="<sip:alice@10.0.0.10:5062;uniq=ABC>")
    lab.w.send("""
        INVITE sip:alice@203.0.113.1 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Record-Route: <sip:203.0.113.51;lr>
        Max-Forwards: 65
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>
        Call-ID: call2
        CSeq: 1 INVITE
        Contact: <sip:carol@203.0.113.60:5090>
        Content-Type: application/sdp

        v=0
        o=carol 1 1 IN IP4 203.0.113.60
        s=-
        c=IN IP4 203.0.113.60
        t=0 0
        m=audio 50000 RTP/AVP 0
        """)
    lab.p.sees("""
        INVITE sip:alice@10.0.0.10:5062;uniq=ABC SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:203.0.113.51;lr>
        Max-Forwards: 64
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>
        Call-ID: call2
        CSeq: 1 INVITE
        Contact: <sip:carol@203.0.113.60:5090>

        v=0
        o=carol 1 1 IN IP4 10.0.0.1
        s=-
        c=IN IP4 10.0.0.1
        t=0 0
        m=audio 7070 RTP/AVP 0
        """)
    lab.w.sees("""
        SIP/2.0 100 Trying
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        """)


@BOTH
def test_tc12_max_forwards_is_added(lab):
    """A request without Max-Forwards goes on with 70."""
    registered(lab)
    lab.w.send("""
        OPTIONS sip:alice@203.0.113.1 SIP/2.0
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>
        Call-ID: c2
        CSeq: 1 OPTIONS
        """)
    lab.p.sees("""
        OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0
        Max-Forwards: 70
        """)


def test_tc13_answer_to_it(lab):
    """The phone's answer leaves without our Via and Record-Route, with the masqueraded Contact."""
    registered(lab, contact="<sip:alice@10.0.0.10:5062;uniq=ABC>")
    lab.w.send("""
        INVITE sip:alice@203.0.113.1 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Via: SIP/2.0/UDP 192.0.2.9:5077;branch=z9hG4bKm1
        Record-Route: <sip:203.0.113.51;lr>
        Max-Forwards: 65
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>
        Call-ID: call2
        CSeq: 1 INVITE
        Contact: <sip:carol@203.0.113.60:5090>
        Content-Type: application/sdp

        v=0
        o=carol 1 1 IN IP4 203.0.113.60
        s=-
        c=IN IP4 203.0.113.60
        t=0 0
        m=audio 50000 RTP/AVP 0
        """)
    lab.w.sees("SIP/2.0 100 Trying")
    invitation = lab.p.receive()
    lab.p.send(
        answer(
            invitation,
            "200 OK",
            "Contact: <sip:alice@10.0.0.10:5062;uniq=ABC>",
            tag="p1",
            body=SDP.audio("10.0.0.10", 40000),
        )
    )
    accepted = lab.w.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Via: SIP/2.0/UDP 192.0.2.9:5077;branch=z9hG4bKm1
        Record-Route: <sip:203.0.113.51;lr>
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>;tag=p1
        Call-ID: call2
        CSeq: 1 INVITE
        Contact: <sip:alice@203.0.113.1>

        v=0
        o=alice 1 1 IN IP4 203.0.113.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        m=audio … RTP/AVP 0 8 101
        a=rtpmap:0 PCMU/8000
        """)
    (outside,) = media(accepted)
    assert lab.relayed("203.0.113.60:50000", outside) == ["10.0.0.1:7070 > 10.0.0.10:40000"]
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7070") == [f"{outside} > 203.0.113.60:50000"]


def test_call_in_has_the_same_life(lab):
    """A call from outside: media both ways, and the phone hangs up."""
    registered(lab)
    call = call_from_w(lab)
    (inside,), (outside,) = media(call.offered), media(call.answered)
    assert lab.relayed("203.0.113.51:51000", outside) == [f"{inside} > 10.0.0.10:40000"]
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > 203.0.113.51:51000"]
    hang_up(lab, lab.p, call.callee, lab.w)
    assert lab.media_ports() == set()
