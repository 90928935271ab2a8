# SPDX-License-Identifier: MIT
"""An INVITE and a response with all the spellings that matter, single fields, and what is checked in them."""

from __future__ import annotations

from hypothesis import strategies as st

from siproxd_tw.edits import apply
from siproxd_tw.sip.field import Field
from siproxd_tw.sip.genericmessage import Message
from siproxd_tw.sip.grammar import canonical_name
from siproxd_tw.sip.headers import NameAddr, Via
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse

INVITE = (
    b"INVITE sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa;rport\r\n"
    b"v: SIP/2.0/UDP 10.0.1.1;branch=z9hG4bKb, SIP/2.0/TCP 10.0.2.1;branch=z9hG4bKc\r\n"
    b"Route: <sip:10.0.0.1;lr>, <sip:proxy.example.com;lr>\r\n"
    b"Max-Forwards: 0070\r\n"
    b'f: "Alice" <sip:alice@example.com>;tag=1928\r\n'
    b"To: sip:bob@example.com\r\n"
    b"CALL-ID:\ta84b4c76e66710@10.0.0.10  \r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"Contact: <sip:alice@10.0.0.10>,\r\n <sip:alice@10.0.0.11>;q=0.5\r\n"
    b"Content-Type: Application / SDP ;charset=utf-8\r\n"
    b"X-Unknown: a,,;b\r\n"
    b"Content-Length:   4\r\n"
    b"\r\n"
    b"v=0\n"
)
RINGING = (
    b"SIP/2.0 180 Ringing\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa\r\n"
    b"From: <sip:alice@example.com>;tag=1928\r\n"
    b"To: <sip:bob@example.com>;tag=b-1\r\n"
    b"Record-Route: <sip:10.0.0.1;lr>\r\n"
    b"Call-ID: a84b4c76e66710\r\n"
    b"CSeq: 314159 INVITE\r\n"
    b"\r\n"
)


def invite() -> Request:
    """Parse a new copy of the INVITE above."""
    message = parse(INVITE)
    assert isinstance(message, Request)
    return message


def ringing() -> Response:
    """Parse a new copy of the response above."""
    message = parse(RINGING)
    assert isinstance(message, Response)
    return message


def lines_of(message: Message) -> list[bytes]:
    """Return the lines of the head."""
    return bytes(message).partition(b"\r\n\r\n")[0].split(b"\r\n")


def check_record(message: Message) -> None:
    """Check the contract: the recorded edits make the message out of what was received."""
    edits = message.edits()
    assert apply(message.original, edits) == bytes(message)
    assert all(edit.reason for edit in edits)


def field(line: bytes, at: int = 100) -> Field:
    """Make a field as it arrived at position `at` of a message."""
    return Field(canonical_name(line[: line.index(b":")].strip()), line + b"\r\n", at)


def via(line: bytes) -> Via:
    """Read the only Via of a line."""
    (element,) = field(line).elements()
    assert isinstance(element, Via)
    return element


def address(line: bytes) -> NameAddr:
    """Read the only address of a line."""
    (element,) = field(line).elements()
    assert isinstance(element, NameAddr)
    return element


PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"SIP/2.0/UDP ", b"192.0.2.1", b"a.example", b"[::1]", b":5060", b"sip:", b"a@", b"tag"]
        ),
        st.sampled_from(
            [b";", b"=", b",", b'"', b"<", b">", b"\\", b"?", b"*", b" ", b"\r\n ", b"\t", b"%41"]
        ),
        st.sampled_from([b"branch", b"x", b"\xc3\xbc", b"\x00"]),
    ),
    max_size=14,
).map(b"".join)
"""Values of header fields that are sometimes right."""
