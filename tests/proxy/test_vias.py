# SPDX-License-Identifier: MIT
"""One Via outside, and all of them again inside."""

from __future__ import annotations

import pytest

from siproxd_tw.edits import apply
from siproxd_tw.proxy.vias import hide, restore
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import server_key

REQUEST = (
    b"INVITE sip:bob@sip.other.test SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKp,\r\n"
    b"  SIP / 2.0 / TCP pbx.test ;branch=z9hG4bKq\r\n"
    b"From: <sip:alice@sip.provider.test>;tag=a1\r\n"
    b"v:SIP/2.0/UDP 10.0.0.99\r\n"
    b"To: <sip:bob@sip.other.test>\r\n"
    b"Call-ID: c1\r\n"
    b"CSeq: 1 INVITE\r\n"
    b"\r\n"
)
OURS = b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKours;rport\r\n"
VIAS = (
    b"Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKp;received=10.0.0.98,\r\n"
    b"  SIP / 2.0 / TCP pbx.test ;branch=z9hG4bKq\r\n"
    b"v:SIP/2.0/UDP 10.0.0.99\r\n"
)


def received() -> Request:
    """Return a request that two proxies inside have passed on, with what we add on arrival."""
    message = parse(REQUEST)
    assert isinstance(message, Request)
    message.edit(
        message.top_via.field, message.top_via.end, message.top_via.end, b";received=10.0.0.98", "18.2.1"
    )
    return message


def response(*lines: bytes) -> Response:
    """Return a response that has just lost our Via, as the core gives it."""
    message = parse(b"SIP/2.0 200 OK\r\n" + b"".join(lines) + b"\r\nbody")
    assert isinstance(message, Response)
    message.remove_element(message.top_via, "our Via (16.7 step 3)")
    return message


def test_no_via_of_the_inside_leaves() -> None:
    """What goes outside has our Via only; the request as received keeps its own for the responses."""
    request = received()
    copy = request.copy()
    hide(copy)
    assert copy.first(b"via") is None
    copy.insert(OURS.rstrip(), "Via (16.6 step 8)", before=b"via")
    assert bytes(copy) == REQUEST.replace(
        REQUEST[REQUEST.index(b"Via") : REQUEST.index(b"From")], OURS
    ).replace(b"v:SIP/2.0/UDP 10.0.0.99\r\n", b"")
    assert copy.top_via.branch == b"z9hG4bKours"
    assert server_key(copy, "INVITE") == (b"z9hG4bKours", "203.0.113.1", 5060, "INVITE")
    assert apply(copy.original, copy.edits()) == bytes(copy)
    assert len(request.vias()) == 3


REST = [
    b"From: <sip:alice@sip.provider.test>;tag=a1\r\n",
    b"To: <sip:bob@sip.other.test>;tag=b1\r\n",
    b"Call-ID: c1\r\n",
    b"CSeq: 1 INVITE\r\n",
]


@pytest.mark.parametrize("place", range(5))
def test_the_vias_come_back_where_ours_was(place: int) -> None:
    """Byte for byte and in order, wherever the server has put the Via among its header fields."""
    lines = [*REST[:place], OURS, *REST[place:]]
    message = response(*lines)
    restore(message, received())
    expected = [*REST[:place], VIAS, *REST[place:]]
    assert bytes(message) == b"SIP/2.0 200 OK\r\n" + b"".join(expected) + b"\r\nbody"
    assert apply(message.original, message.edits()) == bytes(message)
    assert message.top_via.sent_by == ("10.0.0.10", 5062)


def test_a_compact_via_and_other_edits_do_not_matter() -> None:
    """The place is found by what was taken out, not by what has happened to other fields."""
    message = response(REST[0], b"v" + OURS[3:], *REST[1:])
    message.insert(b"X: 1", "something", before=b"from")
    message.replace_value(message.fields[2], b"<sip:b@b>;tag=b1", "something")
    restore(message, received())
    assert bytes(message).startswith(b"SIP/2.0 200 OK\r\nX: 1\r\n" + REST[0] + VIAS + b"To: <sip:b@b>;tag=b1")


def test_a_response_that_never_had_one() -> None:
    """An answer that was made here without Via gets them in front."""
    message = Response.build(200, b"OK", [line.rstrip() for line in REST])
    restore(message, received())
    assert bytes(message).startswith(b"SIP/2.0 200 OK\r\n" + VIAS + REST[0])
