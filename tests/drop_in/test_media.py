# SPDX-License-Identifier: MIT
"""TC16 to TC19: what becomes of session descriptions, and of the port pool."""

from __future__ import annotations

import pytest

from tests.support.addresses import in_front_of_nat, one_armed
from tests.support.calls import call_to_m, hang_up, media, registered
from tests.support.lab import Lab
from tests.support.messages import SDP, Message, answer, invite, values
from tests.support.networks import BOTH, IPV4, MIXED, on

pytestmark = MIXED


def offered(lab: Lab, body: str, call_id: str = "c1") -> Message:
    """Let P, registered, offer `body` to bob at V; return the INVITE as it is at V."""
    lab.p.send(invite("sip:bob@sip.provider.test", f"Call-ID: {call_id}", body=body))
    lab.p.sees("SIP/2.0 100 Trying")
    return lab.v.sees("INVITE sip:bob@sip.provider.test SIP/2.0")


def sees_body(message: Message, expected: str) -> None:
    """Compare the body of `message` line by line."""
    lines = [line.strip() for line in expected.strip().splitlines()]
    assert bytes(message.body).decode().splitlines() == lines


@IPV4
def test_tc16_hold_in_the_session(lab):
    """`c=IN IP4 0.0.0.0` of the session means hold and stays; origin and port are ours."""
    registered(lab)
    invitation = offered(
        lab,
        """
        v=0
        o=- 1 1 IN IP4 10.0.0.10
        s=-
        c=IN IP4 0.0.0.0
        t=0 0
        m=audio 40000 RTP/AVP 0
        a=sendonly
        """,
    )
    sees_body(
        invitation,
        """
        v=0
        o=- 1 1 IN IP4 203.0.113.1
        s=-
        c=IN IP4 0.0.0.0
        t=0 0
        m=audio 7070 RTP/AVP 0
        a=sendonly
        """,
    )


@IPV4
def test_tc16_hold_of_one_stream(lab):
    """A stream's own 0.0.0.0 stays, the session's address is ours; port 0 stays 0."""
    registered(lab)
    invitation = offered(
        lab,
        """
        v=0
        o=- 1 1 IN IP4 10.0.0.10
        s=-
        c=IN IP4 10.0.0.10
        t=0 0
        m=audio 40000 RTP/AVP 0
        c=IN IP4 0.0.0.0
        m=audio 0 RTP/AVP 0
        m=video 40010/2 RTP/AVP 96
        """,
    )
    held, rejected, video = media(invitation)
    assert held == "0.0.0.0:7070"
    assert rejected == "203.0.113.1:0"
    assert video.startswith("203.0.113.1:70") and video.endswith("/2")
    assert b"c=IN IP4 203.0.113.1\r\nt=0 0" in invitation.body


@BOTH
@pytest.mark.parametrize("direction", ["a=sendonly", "a=inactive", "a=recvonly"])
def test_tc16_hold_and_resume(lab, direction):
    """Holding a call and taking it back keeps the ports and, at the end, the media."""
    registered(lab)
    call = call_to_m(lab)
    before, version = media(call.offered), 2
    for extra in (direction, "a=sendrecv"):
        description = SDP.audio("10.0.0.10", 40000, version=version, extra=extra)
        contact = "Contact: <sip:alice@10.0.0.10:5062>"
        lab.p.send(call.caller.request("INVITE", contact, body=description), to=call.caller.next_hop)
        lab.p.sees("SIP/2.0 100 Trying")
        reinvite = lab.m.sees("INVITE … SIP/2.0")
        assert media(reinvite) == before
        assert f"{extra}\r\n".encode() in reinvite.body
        described = SDP.audio("203.0.113.60", 50000, user="dora", version=version)
        lab.m.send(answer(reinvite, "200 OK", "Contact: <sip:dora@203.0.113.60:5090>", body=described))
        lab.p.sees("SIP/2.0 200 OK")
        lab.p.send(call.caller.request("ACK"), to=call.caller.next_hop)
        lab.m.sees("ACK … SIP/2.0")
        version += 1
    (outside,), (inside,) = before, media(call.answered)
    assert lab.relayed("203.0.113.60:50000", outside) == [f"{inside} > 10.0.0.10:40000"]
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > 203.0.113.60:50000"]


@on("udp", "tcp-udp", "ipv4-ipv6")
def test_tc17_auth_round(lab):
    """An INVITE that is challenged gives its ports back, and its late echoes do not touch the next one."""
    registered(lab)
    lab.p.send(invite("sip:bob@sip.provider.test", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    first = lab.v.sees("""
        INVITE sip:bob@sip.provider.test SIP/2.0
        CSeq: 1 INVITE
        """)
    assert lab.media_ports()
    challenge = answer(first, "407 Proxy Authentication Required", 'Proxy-Authenticate: Digest realm="x"')
    lab.v.send(challenge)
    lab.v.sees(f"""
        ACK sip:bob@sip.provider.test SIP/2.0
        Via: {values(first, "Via")[0]}
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>;tag=t1
        CSeq: 1 ACK
        """)
    lab.p.sees("""
        SIP/2.0 407 Proxy Authentication Required
        Proxy-Authenticate: Digest realm="x"
        """)
    assert lab.media_ports() == set()
    lab.p.send("""
        ACK sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        Max-Forwards: 70
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>;tag=t1
        Call-ID: c1
        CSeq: 1 ACK
        """)
    lab.v.nothing()

    credentials = 'Proxy-Authorization: Digest username="alice", realm="x"'
    again = invite(
        "sip:bob@sip.provider.test", "CSeq: 2 INVITE", credentials, body=SDP.audio("10.0.0.10", 40000)
    )
    lab.p.send(again)
    lab.p.sees("SIP/2.0 100 Trying")
    second = lab.v.sees(f"""
        INVITE sip:bob@sip.provider.test SIP/2.0
        CSeq: 2 INVITE
        {credentials}
        """)
    assert values(second, "Via")[0] != values(first, "Via")[0]
    ports = lab.media_ports()
    lab.v.send(challenge)
    lab.v.sees("""
        ACK sip:bob@sip.provider.test SIP/2.0
        CSeq: 1 ACK
        """)
    lab.p.nothing()
    assert lab.media_ports() == ports
    lab.advance(0.5)
    assert bytes(lab.v.receive()) == bytes(second)


@on("tcp", "udp-tls")
def test_tc17_auth_round_by_a_connection(lab):
    """By a connection nothing comes twice; the INVITE that follows the challenge has ports of its own."""
    registered(lab)
    first = offered(lab, SDP.audio("10.0.0.10", 40000))
    lab.v.send(answer(first, "407 Proxy Authentication Required", 'Proxy-Authenticate: Digest realm="x"'))
    lab.v.sees(f"""
        ACK sip:bob@sip.provider.test SIP/2.0
        Via: {values(first, "Via")[0]}
        CSeq: 1 ACK
        """)
    lab.p.sees("SIP/2.0 407 Proxy Authentication Required")
    assert lab.media_ports() == set()
    lab.p.send(invite("sip:bob@sip.provider.test", "CSeq: 2 INVITE", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    second = lab.v.sees("INVITE sip:bob@sip.provider.test SIP/2.0")
    assert values(second, "Via")[0] != values(first, "Via")[0]
    lab.v.send(answer(first, "407 Proxy Authentication Required"))
    lab.p.nothing()
    assert len(lab.media_ports()) == 4


TWO_STREAMS = """
    v=0
    o=- 1 1 IN IP4 10.0.0.10
    s=-
    t=0 0
    m=audio 40000 RTP/AVP 0
    c=IN IP4 10.0.0.10
    a=x
    m=video 40010 RTP/AVP 96
    c=IN IP4 10.0.0.10
    b=AS:64
    """


def test_tc18_two_streams(lab):
    """Audio and video with a c= each: both are ours, with a port pair each."""
    registered(lab)
    invitation = offered(lab, TWO_STREAMS)
    audio, video = media(invitation)
    assert audio == "203.0.113.1:7070"
    assert video.startswith("203.0.113.1:70") and video != audio
    assert {audio, video} < lab.media_ports()
    assert b"m=video" in invitation.body and b"b=AS:64\r\n" in invitation.body
    assert len(lab.media_ports()) == 8


@on("udp", "tcp")
@pytest.mark.parametrize(
    ("addresses", "bound"), [(in_front_of_nat, "203.0.113.1"), (one_armed, "10.0.0.1")], ids=["two", "one"]
)
def test_tc18_two_streams_with_host_outbound(laboratory, addresses, bound):
    """With host_outbound every c= shows that address; the sockets are on the one that the gateway has."""
    lab = laboratory("host_outbound = 198.51.100.7", addresses=addresses("198.51.100.7"))
    registered(lab)
    invitation = offered(lab, TWO_STREAMS)
    assert values(invitation, "Via")[0].startswith(
        f"SIP/2.0/{lab.v.transport} 198.51.100.7:5060;branch=z9hG4bK"
    )
    assert values(invitation, "Contact") == [f"<sip:alice@198.51.100.7{lab.on.parameter('203.0.113.1')}>"]
    assert b"o=- 1 1 IN IP4 198.51.100.7\r\n" in invitation.body
    audio, video = media(invitation)
    assert audio == "198.51.100.7:7070"
    assert video.startswith("198.51.100.7:70") and video != audio
    assert {f"{bound}:{stream.partition(':')[2]}" for stream in (audio, video)} < lab.media_ports()


@on("udp", "tcp")
@pytest.mark.parametrize(
    ("addresses", "bound"), [(in_front_of_nat, "203.0.113.1"), (one_armed, "10.0.0.1")], ids=["two", "one"]
)
def test_tc18_a_call_behind_a_router(laboratory, addresses, bound):
    """A whole call with host_outbound: media passes both ways, and ends."""
    lab = laboratory("host_outbound = 198.51.100.7", addresses=addresses("198.51.100.7"))
    registered(lab)
    call = call_to_m(lab)
    (outside,), (inside,) = media(call.offered), media(call.answered)
    here = f"{bound}:{outside.partition(':')[2]}"
    assert inside.startswith("10.0.0.1:")
    assert lab.relayed("203.0.113.60:50000", outside) == [f"{inside} > 10.0.0.10:40000"]
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{here} > 203.0.113.60:50000"]
    hang_up(lab, lab.m, call.callee, lab.p)
    assert lab.media_ports() == set()


@BOTH
def test_tc19_no_port_is_left(laboratory):
    """The call that finds no port is refused with 503, said in the log, and leaves the others alone."""
    lab = laboratory("rtp_port_low = 7070", "rtp_port_high = 7073")
    registered(lab)
    first, second = call_to_m(lab, "one", 40000), call_to_m(lab, "two", 40010)
    assert {*media(first.offered), *media(second.offered)} == {"203.0.113.1:7070", "203.0.113.1:7072"}
    running = lab.media_ports()
    lab.p.send(invite("sip:bob@sip.provider.test", "Call-ID: three", body=SDP.audio("10.0.0.10", 40020)))
    refused = lab.p.sees("""
        SIP/2.0 503 Service Unavailable
        To: <sip:bob@sip.provider.test>;tag=…
        Call-ID: three
        """)
    lab.v.nothing()
    assert not refused.body
    assert lab.media_ports() == running
    (warning,) = lab.logged()
    assert "port" in warning

    hang_up(lab, lab.p, first.caller, lab.m)
    fourth = call_to_m(lab, "four", 40030)
    assert media(fourth.offered) == media(first.offered)
    (inside,), (outside,) = media(second.answered), media(second.offered)
    assert lab.relayed("10.0.0.10:40010", inside) == [f"{outside} > 203.0.113.60:50000"]


BOB = "sip:bob@sip.provider.test"


def test_n26_a_description_with_company(lab):
    """An emergency call brings its location along: the description is relayed, the location stays."""
    registered(lab)
    location = "Content-Type: application/pidf+xml\n\n<presence entity='sip:alice@10.0.0.10'/>"
    content = "Content-Type: multipart/mixed;boundary=b1"

    def parts(sdp):
        return f"--b1\n{location}\n--b1\nContent-Type: application/sdp\n\n{sdp}\n--b1--\n"

    lab.p.send(invite(BOB, content, body=parts(SDP.audio("10.0.0.10", 40000))))
    offered = lab.v.sees(f"INVITE {BOB} SIP/2.0\n\n{parts(SDP.audio('203.0.113.1', 7070))}")
    lab.p.sees("SIP/2.0 100 …")
    lab.v.send(answer(offered, "180 Ringing"))
    lab.p.sees("SIP/2.0 180 …")
    contact = "Contact: <sip:bob@203.0.113.50>"
    lab.v.send(answer(offered, "200 OK", contact, content, body=parts(SDP.audio("203.0.113.60", 50000))))
    lab.p.sees(f"SIP/2.0 200 OK\n\n{parts(SDP.audio('10.0.0.1', 7072))}")
    assert lab.relayed("10.0.0.10:40000", "10.0.0.1:7072") == ["203.0.113.1:7070 > 203.0.113.60:50000"]
