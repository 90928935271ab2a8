# SPDX-License-Identifier: MIT
"""What holds for any octets that come from the network as SIP.

`fuzz_one` takes octets and raises whatever is wrong. A test gives it damaged torture messages of the
RFCs in each run of the suite, and ``make fuzz`` whatever atheris comes upon.

1. Reading raises ParseError and nothing else, and such an error can be answered or dropped.
2. A message that was read is, octet by octet, what came in; each of its values can be read.
3. Edits do what they say, touch nothing else, and can be listed; a copy is independent.
4. A stream gives the same messages however it is split.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import pairwise
from zlib import crc32

from siproxd_tw.edits import Edit, apply
from siproxd_tw.proxy import callids, vias
from siproxd_tw.sip.digest import parse_credentials
from siproxd_tw.sip.framing import Framer, KeepAlive
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import Element, Field, NameAddr, Via
from siproxd_tw.sip.message import Request, Response, ack_for, cancel_for, response_to
from siproxd_tw.sip.multipart import description_span
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import local_tag, server_key
from siproxd_tw.sip.uri import SIPURI

__all__ = ["fuzz_one", "mutated"]

_Message = Request | Response

#: Fields whose values are checked when the message is read: they cannot fail later.
CHECKED = frozenset({b"via", b"from", b"to", b"contact", b"route", b"record-route"})

#: Fields that have one value, which is no element: they are read by properties of the message.
SINGLE = frozenset({b"call-id", b"cseq", b"max-forwards", b"content-length", b"date"})

LISTS = (b"via", b"contact", b"route", b"record-route", b"supported", b"refer-to")

VALUES = (b"", b"x", b"<sip:a@b;c>;d", b'"quoted, \\" text"', b"a,b", b"\xff\x00:;", b"folded\r\n text")


def fuzz_one(data: bytes) -> None:
    """Check all of the above for `data`; raises AssertionError, or what should not have been raised."""
    chance = random.Random(crc32(data))
    check_stream(data, chance)
    try:
        message = parse(data)
    except ParseError as error:
        check_error(error, data)
        return
    stripped = data.lstrip(b"\r\n")
    assert bytes(message) == message.original == stripped[: len(message.original)]
    assert message.edits() == []
    read_everything(message)
    check_answers(message)
    check_copy(message, chance)
    check_lists(message, chance)
    check_edits(message.copy(), chance)
    check_rewriting(message)
    assert bytes(message) == message.original


def check_error(error: ParseError, data: bytes) -> None:
    """Check that a refusal says where, and can be answered exactly when it has a status."""
    assert 0 <= error.position <= len(data), error.position
    assert str(error)
    assert (error.status is None) == (error.request is None)
    if error.request is not None:
        assert error.status is not None
        answer = response_to(error.request, error.status, to_tag=local_tag(error.request, b"secret"))
        assert answer.top_via.host


def read_everything(message: _Message) -> None:
    """Ask for every value; those that were checked must be there, of others a ParseError may say why not."""
    assert message.call_id
    assert 0 <= message.cseq.number < 2**31
    assert message.cseq.method
    assert message.max_forwards is None or isinstance(message.max_forwards, int)
    assert isinstance(message.content_type, bytes)
    assert message.top_via.text == message.vias()[0].text
    assert message.from_tag == (message.from_.tag or b"")
    assert message.to_tag == (message.to.tag or b"")
    for field in message.fields:
        read_field(field, message)
    span = description_span(message)
    assert span is None or 0 <= span[0] <= span[1] <= len(message.body)
    if isinstance(message, Request):
        assert bytes(message.uri)
        assert message.uri.matches(message.uri)
        server_key(message, "INVITE")
        assert local_tag(message, b"secret")
    else:
        assert 100 <= message.status <= 699
        assert isinstance(message.reason, bytes)


def read_field(field: Field, message: _Message) -> None:
    """Read one field and its elements."""
    start, end = field.value_span
    assert 0 < start <= end < len(field.raw)
    assert message.first(field.name) is not None
    assert message.original[field.at : field.at + len(field.raw)] == field.raw
    assert field.value == b" ".join(field.value.splitlines()) or b"\n" not in field.raw
    if field.name in SINGLE:
        return
    try:
        elements = field.elements()
    except ParseError as error:
        assert field.name not in CHECKED, error
        return
    for element in elements:
        read_element(element)
    for one, other in pairwise(elements):
        assert one.end <= other.start
    if field.name in (b"authorization", b"proxy-authorization"):
        try:
            parse_credentials(field.value)
        except ParseError as error:
            assert str(error)


def read_element(element: Element) -> None:
    """Read what one value consists of."""
    assert element.text == element.field.raw[element.start : element.end]
    for name in (b"tag", b"q", b"lr", b"expires", b"x"):
        span = element.param_span(name)
        assert (element.param(name) is None) == (span is None)
        assert span is None or element.start <= span[0] < span[1] <= element.end
    if isinstance(element, Via):
        assert element.transport
        assert element.sent_by == (element.host, element.port)
        assert element.rport is None or 0 <= element.rport <= 99999
        assert element.branch is None or isinstance(element.received, str | None)
        start, end = element.sent_by_span
        assert element.start <= start < end <= element.end
    elif isinstance(element, NameAddr) and not element.is_wildcard:
        assert element.uri_text == element.field.raw[slice(*element.uri_span)]
        uri = element.uri
        assert isinstance(element.display, bytes)
        assert uri.matches(uri)
        if isinstance(uri, SIPURI):
            assert uri.headers == b"" or element.uri_text.endswith(uri.headers)
            assert uri.param(b"transport") is None or uri.params


def check_answers(message: _Message) -> None:
    """Make what follows from a message; it can be read again."""
    if isinstance(message, Request):
        again = parse(bytes(response_to(message, 404, to_tag=b"t")))
        assert (again.call_id, again.cseq, again.from_tag) == (
            message.call_id,
            message.cseq,
            message.from_tag,
        )
        for request in (cancel_for(message), ack_for(message, response_to(message, 486, to_tag=b"t"))):
            assert request.top_via.text == message.top_via.text
            assert request.call_id == message.call_id


def check_copy(message: _Message, chance: random.Random) -> None:
    """Check that a copy is the same, and that what happens to it does not happen to the message."""
    copy = message.copy()
    assert bytes(copy) == bytes(message)
    for field in list(copy.fields):
        copy.remove(field, "fuzz")
    copy.insert(b"X: 1", "fuzz")
    assert_listed(copy)
    assert bytes(message) == message.original


def check_lists(message: _Message, chance: random.Random) -> None:
    """Replace and remove one value of each list; the others stay what they are."""
    for name in LISTS:
        for act in (replace_one, remove_one):
            copy = message.copy()
            field = copy.first(name)
            try:
                elements = field.elements() if field is not None else []
            except ParseError:
                continue
            if elements:
                act(copy, elements, chance.randrange(len(elements)))
                assert_listed(copy)


def replace_one(message: _Message, elements: list[Element], at: int) -> None:
    """Replace the value `at`, and look at all of them afterwards."""
    texts = [element.text for element in elements]
    new = b"SIP/2.0/UDP x" if isinstance(elements[at], Via) else b"<sip:x@y>"
    message.replace_element(elements[at], new, "fuzz")
    texts[at] = new
    assert [element.text for element in elements] == texts
    assert [element.text for element in elements[at].field.elements()] == texts


def remove_one(message: _Message, elements: list[Element], at: int) -> None:
    """Remove the value `at`, and look at the others afterwards."""
    field = elements[at].field
    texts = [element.text for element in elements]
    others = elements[:at] + elements[at + 1 :]
    del texts[at]
    message.remove_element(elements[at], "fuzz")
    assert [element.text for element in others] == texts
    if others:
        assert [element.text for element in field.elements()] == texts
    else:
        assert field not in message.fields


def check_edits(message: _Message, chance: random.Random) -> None:
    """Change a message in many ways, one after the other."""
    for _ in range(chance.randrange(1, 8)):
        before = bytes(message)
        try:
            chance.choice(EDITS)(message, chance)
        except ValueError:  # a line end where none may be
            assert bytes(message) == before
        assert_listed(message)
    again = message.copy()
    assert bytes(again) == bytes(message)
    assert again.edits() == message.edits()


def change_value(message: _Message, chance: random.Random) -> None:
    """Change the value of any field."""
    if message.fields:
        message.replace_value(chance.choice(message.fields), chance.choice(VALUES), "fuzz")


def change_octets(message: _Message, chance: random.Random) -> None:
    """Change any octets of a field, its line end excepted."""
    if message.fields:
        field = chance.choice(message.fields)
        start = chance.randrange(field.raw.index(b":") + 1, len(field.raw))
        end = chance.randrange(start, len(field.raw))
        message.edit(field, start, end, chance.choice([*VALUES, b"line\r\nend"]), "fuzz")


def insert_line(message: _Message, chance: random.Random) -> None:
    """Insert a header line somewhere."""
    line = chance.choice([b"Via: SIP/2.0/UDP x", b"v:SIP/2.0/UDP x", b"X-New :", b"X: a\r\nb"])
    near = chance.choice([b"via", b"x", None, *message.fields])
    if chance.random() < 0.5:
        message.insert(line, "fuzz", before=near)
    else:
        message.insert(line, "fuzz", after=near)


def remove_field(message: _Message, chance: random.Random) -> None:
    """Remove a whole field."""
    if message.fields:
        message.remove(chance.choice(message.fields), "fuzz")


def change_start(message: _Message, chance: random.Random) -> None:
    """Change the Request-URI or the status."""
    if isinstance(message, Request):
        message.set_uri(chance.choice([b"sip:x@y", b"tel:1"]), "fuzz")
    else:
        message.set_status(500, chance.choice([b"", b"Why"]), "fuzz")


def change_body(message: _Message, chance: random.Random) -> None:
    """Replace a part of the body."""
    start = chance.randrange(len(message.body) + 1)
    end = chance.randrange(start, len(message.body) + 1)
    message.edit_body([Edit(start, end, chance.choice(VALUES), "fuzz")])


EDITS: Sequence[Callable[[_Message, random.Random], None]] = (
    change_value,
    change_octets,
    insert_line,
    remove_field,
    change_start,
    change_body,
)


def check_rewriting(message: _Message) -> None:
    """Let the rewriting of header fields that nobody has checked meet them."""
    if not isinstance(message, Request):
        return
    copy = message.copy()
    callids.outward(copy, copy.from_tag)
    callids.inward(copy, copy.from_tag)
    assert_listed(copy)
    vias.hide(copy)
    assert_listed(copy)
    response = parse(bytes(response_to(message, 200, to_tag=b"t")))
    assert isinstance(response, Response)
    lines = b"".join(field.raw.rstrip(b"\r\n") + b"\r\n" for field in message.all(b"via"))
    for field in response.all(b"via"):
        response.remove(field, "fuzz")
    vias.restore(response, message)
    assert lines in bytes(response)
    assert [via.text for via in response.vias()] == [via.text for via in message.vias()]
    assert_listed(response)


def assert_listed(message: _Message) -> None:
    """Check that the edits are all that has happened."""
    assert apply(message.original, message.edits()) == bytes(message)


# streams


def check_stream(data: bytes, chance: random.Random) -> None:
    """Feed a stream at once, in pieces, and octet by octet if it is short."""
    whole = feed([data])
    cuts = sorted(chance.randrange(len(data) + 1) for _ in range(chance.randrange(1, 6)))
    edges = [0, *cuts, len(data)]
    assert feed([data[start:end] for start, end in pairwise(edges)]) == whole
    if len(data) <= 300:
        assert feed([data[at : at + 1] for at in range(len(data))]) == whole
    at = 0
    for item in whole:
        if isinstance(item, bytes):
            at = data.index(item, at) + len(item)


def feed(pieces: Sequence[bytes]) -> list[object]:
    """Return what comes out of a stream, errors in a form that can be compared."""
    stream = Framer()
    found: list[object] = []
    for piece in pieces:
        for item in stream.feed(piece):
            assert not found or not isinstance(found[-1], tuple), "nothing comes after an error"
            if isinstance(item, ParseError):
                assert stream.broken
                assert (item.status is None) == (item.request is None)
                found.append((item.reason, item.header, item.position, item.status))
            else:
                assert isinstance(item, bytes | KeepAlive)
                found.append(item)
    found.append((stream.broken,))
    return found


# where the octets come from


def mutated(seed: bytes, other: bytes, chance: random.Random) -> bytes:
    """Return `seed` with a few octets flipped, cut, repeated, or replaced by some of `other`."""
    data = bytearray(seed)
    for _ in range(chance.randrange(1, 6)):
        at, length = chance.randrange(len(data) + 1), chance.randrange(24)
        start = chance.randrange(len(other))
        data[at : at + length] = chance.choice(
            [
                b"",
                bytes([chance.randrange(256)]),
                bytes(data[at : at + 2 * length]),
                other[start : start + chance.randrange(60)],
                chance.choice(TOKENS),
            ]
        )
    return bytes(data)


TOKENS = (
    *(
        b"\r\n",
        b"\n",
        b"\r",
        b"\r\n ",
        b"\r\n\r\n",
        b" ",
        b",",
        b";",
        b":",
        b"<",
        b">",
        b'"',
        b"\\",
        b"@",
        b"?",
    ),
    *(b"%", b"[", b"]", b"[::1]", b"\x00", b"\xff", b"Via: ", b"v:", b"l:0\r\n", b"Content-Length: 9999\r\n"),
    *(b"Refer-To: <sip:a@b?Replaces=c%40d%3Bto-tag%3D1%3Bfrom-tag%3D2>\r\n", b"m:*\r\n", b"tel:", b"sips:"),
    *(b"Replaces: c@d;to-tag=1;from-tag=2\r\n", b"Contact: <sip:a@b>, sip:c@d\r\n", b"SIP/2.0", b"-siproxd"),
)
