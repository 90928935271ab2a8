# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from siproxd_tw.sip.parser import parse
from tests.support.messages import (
    SDP,
    Dialog,
    answer,
    differences,
    invite,
    media,
    register,
    request,
    values,
    wire,
)

ARRIVED = parse(
    wire("""
    INVITE sip:alice@10.0.0.10:5062 SIP/2.0
    v: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc, SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
    Record-Route: <sip:siproxd@10.0.0.1:5060;lr>,<sip:a,b@203.0.113.50;lr>
    Record-Route: <sip:203.0.113.51;lr>
    Max-Forwards: 69
    From: "C, C" <sip:carol@sip.other.test>;tag=w1
    To: <sip:alice@sip.provider.test>
    Call-ID: call2
    CSeq: 7 INVITE
    m: <sip:carol@203.0.113.51:5090;x=1>
    Content-Type: application/sdp

    v=0
    o=- 1 1 IN IP4 203.0.113.60
    s=-
    c=IN IP4 203.0.113.60
    t=0 0
    m=audio 50000 RTP/AVP 0
    m=video 0 RTP/AVP 96
    c=IN IP4 203.0.113.61
    """)
)


def test_wire_is_a_message_with_its_length():
    """Text becomes CRLF lines, and the length is that of the body unless the text has its own."""
    assert wire("OPTIONS sip:a SIP/2.0\nTo: x\n\nab\n") == (
        b"OPTIONS sip:a SIP/2.0\r\nTo: x\r\nContent-Length: 4\r\n\r\nab\r\n"
    )
    assert wire("OPTIONS sip:a SIP/2.0\nl: 9\n\nab\n").count(b"9") == 1
    assert wire("OPTIONS sip:a SIP/2.0\nl: {length}\n\nab\n").endswith(b"l: 4\r\n\r\nab\r\n")


def test_templates_give_way():
    """A header that is given replaces the template's, in any case and form; a bare name removes it."""
    text = request("OPTIONS", "sip:bob@x;a=b", "max-forwards: 0", "t: <sip:z>", "From", "X-Foo: 1")
    assert text.splitlines() == [
        "OPTIONS sip:bob@x;a=b SIP/2.0",
        "Call-ID: c1",
        "CSeq: 1 OPTIONS",
        "max-forwards: 0",
        "t: <sip:z>",
        "X-Foo: 1",
        "",
    ]
    assert "Contact" not in register("a@b", "", "Contact")
    assert register("a@b", "*").startswith("REGISTER sip:b SIP/2.0\n")
    assert parse(
        b"INVITE sip:b SIP/2.0\r\nVia: SIP/2.0/UDP a\r\n"
        + wire(invite("sip:b", body=SDP.audio("10.0.0.10", 40000))).split(b"\r\n", 1)[1]
    ).content_type == (b"application/sdp")


def test_a_trace_that_fits():
    """Lists and lines, long and compact names, spaces after commas are all one; … is some text."""
    assert not differences(
        ARRIVED,
        """
        INVITE sip:alice@10.0.0.10:5062 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:a,b@203.0.113.50;lr>, <sip:203.0.113.51;lr>
        Contact: <sip:carol@203.0.113.51:5090;x=1>
        no Expires

        v=0
        o=…
        s=-
        c=IN IP4 203.0.113.60
        t=0 0
        m=audio 50000 RTP/AVP 0
        m=video 0 RTP/AVP 96
        c=IN IP4 203.0.113.61
        """,
    )


@pytest.mark.parametrize(
    "wrong",
    [
        "INVITE sip:alice@10.0.0.10 SIP/2.0",
        "INVITE … SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bKabc",
        "INVITE … SIP/2.0\nRecord-Route: <sip:203.0.113.51;lr>, …",
        "INVITE … SIP/2.0\nCSeq: 7 INVITE…",
        "INVITE … SIP/2.0\nExpires: 3600",
        "INVITE … SIP/2.0\nExpires: …",
        "INVITE … SIP/2.0\nno Contact",
        "INVITE … SIP/2.0\n\nv=0",
        "INVITE … SIP/2.0\n\n" + "…\n" * 7,
        "SIP/2.0 200 OK",
    ],
    ids=[
        "uri",
        "too few",
        "order",
        "at least one",
        "absent",
        "any",
        "present",
        "body",
        "lines of the body",
        "kind",
    ],
)
def test_a_trace_that_does_not_fit(wrong):
    """Each kind of difference is seen, one of them at a time."""
    assert len(differences(ARRIVED, wrong)) == 1


def test_media_of_each_line():
    """The media's own c= line counts for it, the session's for the others."""
    assert media(ARRIVED) == ["203.0.113.60:50000", "203.0.113.61:0"]


def test_answer():
    """A response has the request's Vias, routes, From, Call-ID and CSeq, and a tag in To."""
    response = parse(wire(answer(ARRIVED, "180 Ringing", "Server: x")))
    for name in ("Via", "Record-Route", "From", "Call-ID", "CSeq"):
        assert values(response, name) == values(ARRIVED, name)
    assert values(response, "To") == ["<sip:alice@sip.provider.test>;tag=t1"]
    assert values(response, "Server") == ["x"]


def test_both_ends_of_a_dialog():
    """Caller and callee have the same dialog from two sides, with the route set in opposite order."""
    callee = Dialog.of_callee(ARRIVED)
    response = answer(ARRIVED, "200 OK", "Contact: <sip:alice@10.0.0.10:5062;line=1>")
    caller = Dialog.of_caller(parse(wire(response)))
    assert callee.next_hop == ("10.0.0.1", 5060)
    assert caller.next_hop == ("203.0.113.51", 5060)
    assert caller.routes == callee.routes[::-1]
    assert caller.request("ACK", "Max-Forwards: 1").splitlines() == [
        "ACK sip:alice@10.0.0.10:5062;line=1 SIP/2.0",
        "Route: <sip:203.0.113.51;lr>",
        "Route: <sip:a,b@203.0.113.50;lr>",
        "Route: <sip:siproxd@10.0.0.1:5060;lr>",
        'From: "C, C" <sip:carol@sip.other.test>;tag=w1',
        "To: <sip:alice@sip.provider.test>;tag=t1",
        "Call-ID: call2",
        "CSeq: 7 ACK",
        "Max-Forwards: 1",
        "",
    ]
    assert "CSeq: 8 BYE\n" in caller.request("BYE")
    bye = callee.request("BYE")
    assert bye.startswith("BYE sip:carol@203.0.113.51:5090;x=1 SIP/2.0\n")
    assert 'From: <sip:alice@sip.provider.test>;tag=t1\nTo: "C, C" <sip:carol@sip.other.test>;tag=w1\n' in bye
