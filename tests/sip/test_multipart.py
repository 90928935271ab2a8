# SPDX-License-Identifier: MIT
"""Finding the session description among the parts of a body."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip.multipart import description_span, part_span
from siproxd_tw.sip.parser import parse

SDP = b"v=0\r\no=- 1 1 IN IP4 10.0.0.10\r\ns=-\r\nm=audio 40000 RTP/AVP 0\r\n"
LOCATION = b"Content-Type: application/pidf+xml\r\nContent-ID: <alice@10.0.0.10>\r\n\r\n<presence/>"
ISUP = b"Content-Type: application/ISUP;version=nxv3\r\nContent-Transfer-Encoding: binary\r\n\r\n" + bytes(
    range(256)
)
PLAIN = b"Content-Type: application/sdp\r\n\r\n" + SDP


def multipart(*parts: bytes, boundary: bytes = b"b1", end: bytes = b"\r\n--b1--\r\n") -> bytes:
    """Put parts together."""
    return b"\r\n".join(b"--" + boundary + b"\r\n" + part for part in parts) + end


def found(body: bytes, boundary: bytes = b"b1") -> bytes | None:
    """Return what the span of the description covers."""
    span = part_span(body, boundary, b"application/sdp")
    return None if span is None else body[slice(*span)]


def message(kind: str, body: bytes, *headers: str):
    """Return an INVITE with a body."""
    head = [
        "INVITE sip:b@h SIP/2.0",
        "Via: SIP/2.0/UDP h;branch=z9hG4bK1",
        "From: <sip:a@h>;tag=1",
        "To: <sip:b@h>",
        "Call-ID: c",
        "CSeq: 1 INVITE",
        f"Content-Type: {kind}",
        *headers,
        f"Content-Length: {len(body)}",
    ]
    return parse("\r\n".join(head).encode() + b"\r\n\r\n" + body)


@pytest.mark.parametrize("parts", [(PLAIN,), (LOCATION, PLAIN), (PLAIN, ISUP), (LOCATION, PLAIN, ISUP)])
def test_between_other_parts(parts):
    """Text before and bytes behind do not matter, nor does what is before the first and behind the last."""
    body = multipart(*parts)
    assert found(body) == SDP
    assert found(b"This is a preamble\r\n" + body + b"This is an epilogue") == SDP
    assert found(body.replace(b"\r\n", b"\n")) == SDP.replace(b"\r\n", b"\n")


@pytest.mark.parametrize(
    "head",
    [
        b"content-type:Application/SDP; charset=utf-8\r\nContent-Disposition: session",
        b"Content-Disposition: session;\r\n handling=required\r\nContent-Type:\r\n application/sdp",
        b"Content-Transfer-Encoding: 8bit\r\nContent-Type: application/sdp",
    ],
)
def test_other_spellings(head):
    """Case, parameters, order and folding of the part's header fields make no difference."""
    assert found(multipart(head + b"\r\n\r\n" + SDP)) == SDP


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"v=0",
        multipart(LOCATION, ISUP),
        multipart(SDP),
        multipart(b"Content-Type: application/sdp"),
        multipart(b"Content-Type: application/sdp\r\nContent-Transfer-Encoding: base64\r\n\r\ndj0w"),
        multipart(b"Content-Type: application/sdp\r\nContent-Encoding: gzip\r\n\r\n\x1f\x8b"),
        multipart(PLAIN, end=b""),
        multipart(PLAIN, end=b"\r\n--b1\r\n"),
        multipart(PLAIN, end=b"\r\n--b2--\r\n"),
        multipart(PLAIN, boundary=b"b12", end=b"\r\n--b1--\r\n"),
        b"--b1--\r\n" + multipart(PLAIN),
    ],
)
def test_none(body):
    """No such part, one that is encoded, or a body that is not whole."""
    assert found(body) is None


def test_lookalikes():
    """A boundary inside a line, a longer one, and one with something behind it delimit nothing."""
    odd = SDP + b"a=x --b1\r\n--b12\r\n--b1 x\r\n--b1-\r\na=y\r\n"
    inner = multipart(PLAIN, boundary=b"b11", end=b"\r\n--b11--\r\n")
    nested = b'Content-Type: multipart/alternative; boundary="b11"\r\n\r\n' + inner
    assert found(multipart(nested, PLAIN.replace(SDP, odd))) == odd
    assert found(multipart(nested)) is None


def test_the_first_of_two():
    """Of two descriptions the first one counts."""
    assert found(multipart(PLAIN, PLAIN.replace(b"40000", b"50000"))) == SDP


@given(st.binary(max_size=80), st.binary(max_size=80))
def test_whatever_the_other_parts_are(before, behind):
    """Parts of any bytes, as long as the boundary is not in them."""
    other = b"Content-Type: application/octet-stream\r\n\r\n"
    if b"--b1" not in before + behind:
        assert found(multipart(other + before, PLAIN, other + behind)) == SDP


@given(st.lists(st.sampled_from([b"--b1", b"--", b"\r\n", b"\n", b" ", PLAIN, b"b1", b"x"]), max_size=12))
def test_any_pieces(pieces):
    """Whatever is put together, what is found lies inside and has no delimiter in it."""
    text = found(b"".join(pieces))
    assert text is None or b"\n--b1\r\n" not in text


def test_no_expensive_body():
    """64 kB of almost-delimiters are read in no time."""
    assert found(b"\r\n--b1 \t" * 8000) is None
    assert found(b"\r\n--b1" + b" " * 60000 + b"x") is None
    assert found(b"--b1\r\n" * 10000) is None


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/sdp", True),
        ("multipart/mixed;boundary=b1", True),
        ('Multipart/Related; type="application/sdp" ; BOUNDARY = "b1"', True),
        ('multipart/mixed;boundary="b\\1"', True),
        ("multipart/mixed", False),
        ("multipart/mixed;boundary=", False),
        ("multipart/signed;boundary=b1", False),
        ("text/plain;boundary=b1", False),
    ],
)
def test_in_a_message(kind, expected):
    """The header field says what the body is."""
    body = SDP if kind == "application/sdp" else multipart(LOCATION, PLAIN)
    span = description_span(message(kind, body))
    assert (span is not None and body[slice(*span)] == SDP) is expected


def test_nothing_in_an_encoded_or_empty_body():
    """What is packed is not opened."""
    assert (
        description_span(message("multipart/mixed;boundary=b1", multipart(PLAIN), "Content-Encoding: gzip"))
        is None
    )
    assert description_span(message("application/sdp", b"")) is None
