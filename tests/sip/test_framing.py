# SPDX-License-Identifier: MIT
"""Streams cut anywhere: messages, keep-alives, and what breaks the framing."""

from __future__ import annotations

import time
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip.framing import MAX_MESSAGE, Framer, KeepAlive
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import response_to
from tests.support.vectors import HERE, Vector, load

OPTIONS = (
    b"OPTIONS sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/TCP 10.0.0.10:5060;branch=z9hG4bKa;rport\r\n"
    b"From: <sip:alice@example.com>;tag=1928\r\n"
    b"To: <sip:bob@example.com>\r\n"
    b"Call-ID: a84b4c76e66710@10.0.0.10\r\n"
    b"CSeq: 1 OPTIONS\r\n"
    b"Content-Length: 5\r\n"
    b"\r\n"
    b"hello"
)
OK = OPTIONS.replace(b"OPTIONS sip:bob@example.com SIP/2.0", b"SIP/2.0 200 OK")


def changed(old: bytes, new: bytes, message: bytes = OPTIONS) -> bytes:
    """Return the message with one thing replaced."""
    assert message.count(old) == 1
    return message.replace(old, new)


def feed(data: bytes, *cuts: int) -> list[bytes | KeepAlive | ParseError]:
    """Feed a new stream with `data`, cut at the given places; return all that came out."""
    stream = Framer()
    edges = [0, *sorted(cuts), len(data)]
    items: list[bytes | KeepAlive | ParseError] = []
    for start, end in pairwise(edges):
        items += stream.feed(data[start:end])
    return items


def shown(items: list[bytes | KeepAlive | ParseError]) -> list[object]:
    """Return what was read in a form that can be compared."""
    return [str(item) if isinstance(item, ParseError) else item for item in items]


UNPARSABLE = changed(b"CSeq: 1", b"CSeq: x")
PIPELINE = OPTIONS + OK + b"\r\n\r\n" + UNPARSABLE + b"\r\n" + OPTIONS


def test_messages_in_one_stream() -> None:
    """Pipelined messages and a ping; what cannot be parsed is no matter of framing."""
    lines = [KeepAlive.LINE, KeepAlive.PING]
    assert feed(PIPELINE) == [OPTIONS, OK, *lines, UNPARSABLE, KeepAlive.LINE, OPTIONS]


def test_what_comes_out_is_bytes() -> None:
    """Never a view of the buffer, which goes on changing."""
    assert [type(item) for item in feed(OPTIONS + OPTIONS, 3)] == [bytes, bytes]


def test_a_stream_cut_at_every_byte() -> None:
    """Wherever it is cut in two, the same comes out; and byte by byte as well."""
    whole = feed(PIPELINE)
    for cut in range(len(PIPELINE) + 1):
        assert feed(PIPELINE, cut) == whole
    assert feed(PIPELINE, *range(len(PIPELINE))) == whole


@pytest.mark.parametrize("vector", load(HERE, "rfc4475"), ids=str)
def test_messages_of_the_rfc_whole_byte_by_byte_and_with_a_tail(vector: Vector) -> None:
    """In a stream, too, one message does not spoil the next."""
    whole, bytewise = Framer(), Framer()
    items = whole.feed(vector.data + OPTIONS)
    dripped: list[bytes | KeepAlive | ParseError] = []
    for index in range(len(vector.data + OPTIONS)):
        dripped += bytewise.feed((vector.data + OPTIONS)[index : index + 1])
    assert shown(dripped) == shown(items)
    assert bytewise.broken == whole.broken
    if not whole.broken:
        taken = b"".join(item for item in items if isinstance(item, bytes))
        assert (vector.data + OPTIONS).startswith(taken)


@given(
    st.lists(st.sampled_from([OPTIONS, OK, b"\r\n", b"\r\n\r\n", b"\n", changed(b"To:", b"2:")]), max_size=5),
    st.binary(max_size=3),
    st.lists(st.integers(0, 2500), max_size=8),
)
def test_what_comes_out_of_a_stream_does_not_depend_on_its_cuts(
    parts: list[bytes], junk: bytes, cuts: list[int]
) -> None:
    """Messages, pings and errors are a function of the bytes alone, with junk at the end as well."""
    data = b"".join(parts) + junk
    assert shown(feed(data, *(cut for cut in cuts if cut <= len(data)))) == shown(feed(data))


def test_a_body_may_look_like_anything() -> None:
    """Only Content-Length says where it ends."""
    body = b"\r\n\r\nContent-Length: 7\r\n\r\n"
    data = changed(b"Content-Length: 5\r\n\r\nhello", b"l: %d\r\n\r\n%b" % (len(body), body))
    assert feed(data + data) == [data, data]


@pytest.mark.parametrize(
    ("data", "header", "status"),
    [
        (changed(b"Content-Length: 5\r\n", b""), "Content-Length", 400),
        (changed(b"Length: 5", b"Length: -5"), "Content-Length", 400),
        (changed(b"Length: 5", b"Length: 5\r\nl: 6"), "Content-Length", 400),
        (changed(b"Length: 5", b"Length:"), "Content-Length", 400),
        (changed(b"Length: 5", b"Length: 99999"), "Content-Length", 513),
        (changed(b"Length: 5", b"Length: " + b"9" * 5000), "Content-Length", 513),
        (changed(b"Content-Length: 5\r\n", b"", OK), "Content-Length", None),
        (b"X-Long: " + b"y" * 70000, "head", None),
        (b"\x16\x03\x01\x02\x00\x01", "start line", None),
        (b"GET / HTTP/1.1\r\n\r\n", "Content-Length", None),
        (b"\rOPTIONS", "start line", None),
    ],
    ids=["none", "negative", "two", "empty", "long", "absurd", "response", "head", "TLS", "HTTP", "CR"],
)
def test_a_stream_that_lost_its_framing_is_broken(data: bytes, header: str, status: int | None) -> None:
    """Nobody can know where the next message starts (section 20.14): one error, then nothing more."""
    stream = Framer()
    *before, error = stream.feed(OPTIONS + data)
    assert before == [OPTIONS]
    assert isinstance(error, ParseError)
    assert (error.header, error.status) == (header, status)
    assert stream.broken == str(error)
    assert stream.feed(OPTIONS) == []


def test_an_error_has_its_request() -> None:
    """A request without a length can still be answered."""
    (error,) = feed(changed(b"Content-Length: 5\r\n", b""))
    assert isinstance(error, ParseError)
    assert response_to(error.request, 400).top_via.host == "10.0.0.10"


def test_a_repeated_content_length_that_agrees_frames_the_message() -> None:
    """As in a datagram."""
    data = changed(b"Length: 5", b"Length: 5\r\nl : 005")
    assert feed(data + OPTIONS) == [data, OPTIONS]


def test_the_limit_is_the_size_of_the_whole_message() -> None:
    """A smaller one can be set; exactly that size still passes."""
    assert Framer(len(OPTIONS)).feed(OPTIONS)
    stream = Framer(len(OPTIONS) - 1)
    (error,) = stream.feed(OPTIONS)
    assert isinstance(error, ParseError)
    assert error.status == 513
    assert stream.broken


def test_pings_are_counted_in_pairs() -> None:
    """RFC 5626 section 3.5.1: two empty lines ask, one answers; a message in between starts anew."""
    assert feed(b"\r\n" * 4) == [KeepAlive.LINE, KeepAlive.PING] * 2
    assert feed(b"\r\n" + OPTIONS + b"\r\n") == [KeepAlive.LINE, OPTIONS, KeepAlive.LINE]


def test_a_pong_is_no_half_of_a_ping() -> None:
    """An empty line alone answers a ping of ours; the next one asks nothing of us."""
    stream = Framer()
    for _ in range(3):
        stream.expects_pong = True
        assert stream.feed(b"\r\n") == [KeepAlive.PONG]
        assert not stream.expects_pong
    assert stream.feed(b"\r\n") == [KeepAlive.LINE]


def test_a_ping_that_crosses_ours_is_no_pong() -> None:
    """Two empty lines together are a ping also when a pong is expected, which may still come."""
    stream = Framer()
    stream.expects_pong = True
    assert stream.feed(b"\r\n\r\n") == [KeepAlive.LINE, KeepAlive.PING]
    assert stream.feed(b"\r\n") == [KeepAlive.PONG]


def test_the_longest_message_may_come_byte_by_byte() -> None:
    """Each byte is looked at once: what is quadratic would search four gigabytes here."""
    longest = changed(b"Length: 5", b"Length: 5\r\nX: ".ljust(MAX_MESSAGE - len(OPTIONS) + 9, b"y"))
    assert len(longest) == MAX_MESSAGE
    stream, started = Framer(), time.process_time()
    found = [item for at in range(len(longest)) for item in stream.feed(longest[at : at + 1])]
    assert found == [longest]
    assert time.process_time() - started < 2


def test_thousands_of_messages_may_come_at_once() -> None:
    """What is left in the buffer is not copied for each of them."""
    many, started = b"\r\n".join([OPTIONS] * 4000), time.process_time()
    assert len(Framer().feed(many)) == 7999
    assert time.process_time() - started < 2
