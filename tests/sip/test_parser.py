# SPDX-License-Identifier: MIT
"""From bytes to messages: the torture messages of the RFCs and sloppy datagrams."""

from __future__ import annotations

import random
import re
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip import parser
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.parser import parse
from tests.support.vectors import HERE, Vector, load

OPTIONS = (
    b"OPTIONS sip:bob@example.com SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa;rport\r\n"
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


def refusal(data: bytes) -> ParseError:
    """Parse what must be refused."""
    with pytest.raises(ParseError) as caught:
        parse(data)
    return caught.value


# The messages of RFC 4475 and RFC 5118. "intact": passed on byte by byte, for the proxy core to decide about;
# a number: refused with that status; "dropped": refused without an answer.

VERDICTS: dict[str, str | int] = {
    "wsinv": "intact",
    "intmeth": "intact",
    "esc01": "intact",
    "escnull": "intact",
    "esc02": "intact",
    "lwsdisp": "intact",
    "longreq": "intact",
    "dblreq": "intact",  # its first message is; the rest of the datagram is ignored (section 18.3)
    "semiuri": "intact",
    "transports": "intact",
    "mpart01": "intact",
    "unreason": "intact",
    "noreason": "intact",
    "badinv01": "dropped",  # its only Via is broken: nobody to answer
    "clerr": 400,
    "ncl": 400,
    "scalar02": 400,
    "scalarlg": "dropped",
    "quotbal": 400,
    "ltgtruri": 400,
    "lwsruri": 400,
    "lwsstart": 400,
    "trws": 400,
    "escruri": 400,
    "baddate": 400,
    "regbadct": 400,
    "badaspec": 400,
    "baddn": 400,
    "badvers": 505,
    "mismatch01": 400,
    "mismatch02": 501,
    "bigcode": "dropped",
    "badbranch": "intact",  # an empty branch is one of RFC 2543 to the transaction layer
    "insuf": "dropped",  # without Call-ID, From and To there is no response that anybody could match
    "unkscm": "intact",
    "novelsc": "intact",
    "unksm2": "intact",
    "bext01": "intact",
    "invut": "intact",
    "regaut01": "intact",
    "multi01": 400,
    "mcl01": 400,
    "bcast": "intact",
    "zeromf": "intact",
    "cparam01": "intact",
    "cparam02": "intact",
    "regescrt": "intact",
    "sdp01": "intact",
    "inv2543": "intact",
    "test": "dropped",  # in the archive of the RFC, not in its text: no version, no Via, no CSeq
    "ipv6-good": "intact",
    "ipv6-bad": 400,
    "port-ambiguous": "intact",
    "port-unambiguous": "intact",
    "via-received-param-with-delim": "intact",
    "via-received-param-no-delim": "intact",
    "ipv6-in-sdp": "intact",
    "mult-ip-in-header": "intact",
    "mult-ip-in-sdp": "intact",
    "ipv4-mapped-ipv6": "intact",
    "ipv6-bug-abnf-3-colons": "intact",
    "ipv6-correct-abnf-2-colons": "intact",
}


def on_the_wire(data: bytes) -> bytes:
    """Give a message of RFC 5118 its CRLFs, and a Content-Length that fits: those in the RFC do not."""
    data = data.replace(b"\n", b"\r\n")
    body = data.partition(b"\r\n\r\n")[2]
    return re.sub(rb"(?<=\nContent-Length: )\d+", b"%d" % len(body), data)


def torture() -> list[Vector]:
    """Read the messages of both RFCs."""
    wire = [replace(vector, data=on_the_wire(vector.data)) for vector in load(HERE, "rfc5118")]
    return load(HERE, "rfc4475") + wire


def verdict(vector: Vector) -> str | int:
    """Look up what is to become of a message."""
    return VERDICTS[vector.name.rpartition("/")[2].removesuffix(".dat")]


def test_every_message_of_the_rfcs_has_a_verdict() -> None:
    """Neither a message nor a verdict is left over."""
    assert sorted(VERDICTS) == sorted(v.name.rpartition("/")[2].removesuffix(".dat") for v in torture())


@pytest.mark.parametrize("vector", torture(), ids=str)
def test_messages_of_the_rfcs_are_decided_as_the_rfcs_say(vector: Vector) -> None:
    """Valid ones come out as they went in, others name header, position and the status to answer."""
    expected = verdict(vector)
    if expected == "intact":
        message = parse(vector.data)
        assert vector.data.startswith(bytes(message))
        assert bytes(message) == vector.data or vector.name == "rfc4475/dblreq.dat"
        assert message.edits() == []
        return
    error = refusal(vector.data)
    assert error.status == (None if expected == "dropped" else expected)
    assert (error.request is None) == (expected == "dropped")
    assert error.header
    assert 0 <= error.position <= len(vector.data)


@pytest.mark.parametrize("vector", torture(), ids=str)
def test_messages_of_the_rfcs_give_typed_values(vector: Vector) -> None:
    """What was accepted can be asked for everything; nothing fails later."""
    if verdict(vector) != "intact":
        return
    message = parse(vector.data)
    assert message.call_id
    assert message.cseq.number < 2**31
    assert message.from_.uri
    assert message.to.uri
    assert all(via.host for via in message.vias())
    assert all(a.uri for a in [*message.contacts(), *message.routes(), *message.record_routes()])
    if isinstance(message, Request):
        assert message.uri


@pytest.mark.parametrize("vector", [v for v in torture() if isinstance(verdict(v), int)], ids=str)
def test_refused_messages_of_the_rfcs_can_be_answered(vector: Vector) -> None:
    """The answer is a message that can be read, or repeats exactly the line that could not be."""
    error = refusal(vector.data)
    assert error.status is not None
    response = response_to(error.request, error.status, to_tag=b"x")
    assert response.top_via.host
    assert response.call_id
    assert response.cseq.method


# Positions


@pytest.mark.parametrize(
    ("old", "new", "header", "at", "status"),
    [
        (b"OPTIONS sip", b"OPTI(NS sip", "start line", b"OPTI(", None),
        (b"sip:bob@example.com SIP", b"sip:bob@example.com:x SIP", "start line", b"sip:bob", 400),
        (b"sip:bob@example.com SIP", b"sip:[::1::] SIP", "start line", b"[::1", 400),
        (b" SIP/2.0\r\n", b"\r\n", "start line", b"sip:bob", 400),
        (b" SIP/2.0\r\n", b" SIP/3.0\r\n", "start line", b"SIP/3.0", 505),
        (b"10.0.0.10:5060;", b"10.0.0.10:5060:;", "Via", b":;", None),
        (b";tag=1928", b";tag=1928;", "From", b";\r\n", 400),
        (b"To: <sip:bob@example.com>", b"To: <sip:bob@example.com>, <sip:x@y>", "To", b"<sip:x", 400),
        (b"To: <sip:bob@example.com>", b"To: *", "To", b"*", 400),
        (b"To: <sip:bob@example.com>", b"To: sip:bob@[::1::]", "To", b"[::1", 400),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1", "CSeq", b"1\r\nContent", 400),
        (b"CSeq: 1 OPTIONS", b"CSeq: 2147483648 OPTIONS", "CSeq", b"2147483648", 400),
        (b"CSeq: 1 OPTIONS", b"CSeq: 1 options", "CSeq", b"options", 400),
        (b"Call-ID: a84b", b"Call-ID: a84b c", "Call-ID", b"a84b", 400),
        (b"Length: 5", b"Length: five", "Content-Length", b"five", 400),
        (b"Length: 5", b"Length: 6", "Content-Length", b"6\r\n", 400),
        (b"Length: 5", b"Length: 5\r\nl: 4", "Content-Length", b"l: 4", 400),
        (b"Content-Length: 5", b"Content-Length", "head", b"Content-Length", 400),
        (b"Content-Length: 5", b"Content Length: 5", "head", b"Content", 400),
        (b"Content-Length: 5", b"Max-Forwards: many", "Max-Forwards", b"many", 400),
        (b"Content-Length: 5", b"Date: Sat, 13 Nov 2010 23:29:00 EST", "Date", b"Sat", 400),
        (b"Content-Length: 5", b"Contact: sip:a@b?c", "Contact", b"?c", 400),
        (b"Content-Length: 5", b"Route: a@b", "Route", b"a@b", 400),
        (b"Content-Length: 5", b"Record-Route:", "Record-Route", b"\r\n\r\n", 400),
        (b"Content-Length: 5", b"CSeq: 1 OPTIONS", "CSeq", b"CSeq: 1 OPTIONS\r\n\r\n", 400),
    ],
)
def test_an_error_names_header_position_and_answer(
    old: bytes, new: bytes, header: str, at: bytes, status: int | None
) -> None:
    """The position is where the trouble starts, counted from the start of the message."""
    data = changed(old, new)
    error = refusal(data)
    assert (error.header, error.status) == (header, status)
    assert error.position == data.index(at) + (2 if at == b"\r\n\r\n" else 0)


def test_skipped_lines_count_in_positions() -> None:
    """Positions are those of the datagram that arrived."""
    data = changed(b"CSeq: 1", b"CSeq: one")
    assert refusal(b"\r\n\r\n" + data).position == data.index(b"one") + 4


@pytest.mark.parametrize("name", [b"Via", b"From", b"To", b"Call-ID", b"CSeq"])
def test_a_mandatory_header_must_be_there(name: bytes) -> None:
    """Section 8.1.1: without one of these there is nothing to answer with either."""
    error = refusal(changed(b"\r\n%b: " % name, b"\r\nX-%b: " % name))
    assert (error.header, error.status, error.request) == (name.decode(), None, None)
    assert "missing" in error.reason


def test_an_ack_is_never_answered() -> None:
    """Section 17.1.1.3: there is no response to an ACK, not even to a broken one."""
    error = refusal(changed(b"Length: 5", b"Length: 6").replace(b"OPTIONS", b"ACK"))
    assert (error.status, error.request) == (None, None)


def test_a_response_is_never_answered() -> None:
    """All that can be done about it is to drop it."""
    error = refusal(changed(b"Length: 5", b"Length: 6", OK))
    assert (error.header, error.status, error.request) == ("Content-Length", None, None)


@pytest.mark.parametrize(
    "line", [b"SIP/2.0 99 Low", b"SIP/2.0 700 High", b"SIP/2.0 2000 Long", b"SIP/3.0 200 OK"]
)
def test_a_status_line_that_is_none_is_dropped(line: bytes) -> None:
    """Section 7.2, RFC 4475 section 3.1.2.19."""
    error = refusal(changed(b"SIP/2.0 200 OK", line, OK))
    assert (error.header, error.status) == ("start line", None)


def test_a_line_says_the_same_wherever_it_is() -> None:
    """Lines are read once and known again; their place, and what may be twice, is that of each message."""
    for _ in range(2):
        message = parse(changed(b"To: ", b"X-Other: 1\r\nTo: "))
        to = message.first(b"to")
        assert to is not None
        assert to.at == message.original.index(b"To: ")
        assert parse(OPTIONS).to.field.at == OPTIONS.index(b"To: ")
        error = refusal(changed(b"To: <sip:bob@example.com>", b"To: <sip:bob@example.com>\r\n" * 2 + b"X: y"))
        assert (error.header, error.position) == ("To", OPTIONS.index(b"To: ") + 27)
        assert parse(changed(b"Content-Length: 5", b"Max-Forwards: x\r\nContent-Length: 5", OK)).body
        assert refusal(changed(b"Content-Length: 5", b"Max-Forwards: x\r\nContent-Length: 5")).header


def test_what_is_remembered_is_bounded() -> None:
    """However many names and lines strangers make up, and however long they are."""
    for number in range(5000):
        parse(changed(b"tag=1928", b"tag=%d\r\nX-%d: %d" % (number, number, number)))
    parse(changed(b"tag=1928", b"tag=" + b"x" * 60000))
    parse(changed(b"Content-Length: 5", b"X: 1\r\n" * 5000 + b"Content-Length: 5"))
    kept = parser._REQUESTS._kept
    assert 100 < len(kept) <= 4096
    assert max(map(len, kept)) <= 200
    assert parser._places_kept.cache_info().currsize <= 1024


def test_a_start_line_is_one_line() -> None:
    """What continues it would be nobody's."""
    for message in (OPTIONS, OK):
        assert refusal(changed(b"\r\nVia", b"\r\n folded\r\nVia", message)).header == "start line"


@pytest.mark.parametrize("line", [b"X: y\rZ: z", b"X: y\r\r\nZ: z", b"\rX: y", b"X: y\r"])
def test_a_bare_carriage_return_ends_no_line(line: bytes) -> None:
    """It may hide a header field from whoever reads it otherwise."""
    assert refusal(changed(b"Content-Length: 5", line + b"\r\nContent-Length: 5")).header == "head"


# What is tolerated


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"\r\n", b"\n"),
        (b"OPTIONS sip", b"\r\n\r\nOPTIONS sip"),
        (b"SIP/2.0\r\n", b"sip/2.0\r\n"),
        (b"Call-ID:", b"cAlL-iD \t:"),
        (b"Via: ", b"v:"),
        (b";branch", b"\r\n\t;\r\n branch"),
        (b"From: ", b'From: \\"x\\" '),
        (b"Length: 5", b"Length: 5\r\nContent-Length: 05"),
        (b"Length: 5", b"Length: 5\r\nMax-Forwards: -1"),
        (b"Length: 5", b"Length: 5\r\nMax-Forwards: 300"),
        (b"Length: 5", b"Length: 5\r\nExpires: soon"),
        (b"Length: 5", b"Length: 5\r\nContact: *"),
        (b"Content-Length: 5\r\n", b""),
        (b"CSeq: 1 ", b"CSeq: 2147483647  "),
        (b"@10.0.0.10\r\n", b"\r\n"),
    ],
)
def test_sloppy_messages_are_taken_as_they_are(old: bytes, new: bytes) -> None:
    """What everybody understands is passed on, unchanged but for empty lines before it."""
    data = OPTIONS.replace(old, new)
    assert data != OPTIONS
    message = parse(data)
    assert bytes(message) == data.lstrip(b"\r\n")
    assert (message.cseq.method, message.top_via.branch, message.body) == ("OPTIONS", b"z9hG4bKa", b"hello")


def test_responses_are_not_judged_by_what_nobody_needs_of_them() -> None:
    """A Date or a Max-Forwards in a response serves nothing here, so it breaks nothing."""
    data = changed(b"Content-Length: 5", b"Date: today\r\nMax-Forwards: x\r\nContent-Length: 5", OK)
    assert bytes(parse(data)) == data


def test_bytes_behind_the_body_are_ignored() -> None:
    """Section 18.3: Content-Length cuts the datagram."""
    message = parse(OPTIONS + b"INVITE sip:x@y SIP/2.0\r\n")
    assert (bytes(message), message.original, message.body) == (OPTIONS, OPTIONS, b"hello")


def test_without_content_length_the_body_is_the_rest() -> None:
    """Section 18.3, over UDP."""
    message = parse(changed(b"Content-Length: 5\r\n", b"") + b", world")
    assert message.body == b"hello, world"


def test_a_datagram_may_end_with_its_head() -> None:
    """The missing empty line is not missed (RFC 5118 prints one such); half a line is."""
    head = changed(b"Content-Length: 5\r\n\r\nhello", b"")
    assert bytes(parse(head)) == head
    assert refusal(head[:-1]).header == "head"


def test_the_longest_datagram_is_read() -> None:
    """There is no line limit: a Via, a body or an unknown header may fill it."""
    for old, new in (
        (b";rport", b";rport;x=" + b"y" * 65000),
        (b"Content-Length: 5\r\n\r\n", b"\r\n" + b"z" * 65000),
        (b"Content-Length: 5", b"X-Long: " + b"w" * 65000),
        (b"Content-Length: 5", b"Supported: " + b"a," * 32000),
        (b"Content-Length: 5", b"X-Folded: a" + b"\r\n a" * 16000),
    ):
        data = changed(old, new)
        assert bytes(parse(data)) == data


@pytest.mark.parametrize(
    "filler",
    [
        *(b'"' * 30000, b"<" * 60000, b"\\" * 60000, b'"\\' * 30000, b"a " * 30000, b";a=" * 20000),
        *(b"\r\n " * 20000, b"sip:" * 15000, b"a." * 30000, b"[" * 60000, b"," * 60000, b"@" * 60000),
        *(b"%" * 60000, b"a:" * 30000),
    ],
    ids=lambda filler: repr(filler[:3]),
)
@pytest.mark.timeout(20)
def test_no_line_is_expensive(filler: bytes) -> None:
    """The rules never go back over what they have read: 64 kB of anything costs about the same."""
    for name in (b"Via", b"Contact", b"CSeq", b"Date"):
        for start in (b"", b"SIP/2.0/UDP a", b'"x" <sip:a@b>'):
            data = changed(b"Content-Length: 5", b"%b: %b%b" % (name, start, filler))
            try:
                parse(data)
            except ParseError as error:
                assert error.header


@pytest.mark.timeout(20)
def test_many_lines_are_not_expensive() -> None:
    """As many header fields as a datagram holds, read and edited: names that differ, and one name."""
    names = b"".join(b"x%d:\r\n" % number for number in range(6000))
    for lines in (names, b"v:SIP/2.0/UDP a\r\n" * 3500):
        message = parse(changed(b"Content-Length: 5", lines + b"X-A: 1\r\nX-A: 2\r\nContent-Length: 5"))
        assert len(message.all(b"x-a")) == 2
        for field in message.all(b"via"):
            message.remove(field, "test")
        last = message.insert(b"Via: SIP/2.0/UDP a", "test", before=b"from")
        for _ in range(3500):
            last = message.insert(b"Via: SIP/2.0/UDP a", "test", after=last)
        assert len(message.vias()) == 3501
        assert bytes(parse(bytes(message))) == bytes(message)


def test_methods_are_any_token() -> None:
    """RFC 4475 section 3.1.1.2: an unknown method is a method, with its case."""
    message = parse(OPTIONS.replace(b"OPTIONS", b"!Interesting-Method%56"))
    assert isinstance(message, Request)
    assert (message.method, message.cseq.method) == ("!Interesting-Method%56",) * 2


@pytest.mark.parametrize(("line", "phrase"), [(b"SIP/2.0 200 ", b""), (b"SIP/2.0 200", b"")])
def test_a_phrase_may_be_missing(line: bytes, phrase: bytes) -> None:
    """RFC 4475 section 3.1.1.13; without the blank before it as well."""
    message = parse(changed(b"SIP/2.0 200 OK", line, OK))
    assert isinstance(message, Response)
    assert (message.status, message.reason) == (200, phrase)


_SEEDS = [v.data for v in torture()] + [OPTIONS, OK]


@given(st.binary(max_size=200))
def test_random_bytes_are_a_parse_error(data: bytes) -> None:
    """Nothing but a ParseError ever comes out of the parser, and random bytes are never a message."""
    assert refusal(data).request is None


@given(st.sampled_from(_SEEDS), st.randoms(use_true_random=False))
def test_damaged_messages_are_messages_or_parse_errors(data: bytes, chance: random.Random) -> None:
    """Flipped, cut and repeated bytes: what still is a message comes out as it went in."""
    damaged = bytearray(data)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(damaged))
        length = chance.randrange(20)
        damaged[at : at + length] = chance.choice(
            [b"", bytes([chance.randrange(256)]), data[at : at + 2 * length], b"\r\n", b",", b'"']
        )
    try:
        message = parse(bytes(damaged))
    except ParseError as error:
        assert (error.request is None) == (error.status is None)
        if error.request is not None:
            assert response_to(error.request, error.status or 0).top_via.host
        return
    assert bytes(damaged).lstrip(b"\r\n").startswith(bytes(message))
    assert message.call_id
    assert message.vias()[0].host
    assert message.from_.uri
    assert message.to.uri
    assert all(a.is_wildcard or a.uri for a in message.contacts())
