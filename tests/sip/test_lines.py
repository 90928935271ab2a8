# SPDX-License-Identifier: MIT
"""Messages edited in place: every byte outside of the edits is untouched, and copies go their own way."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import Edit
from siproxd_tw.sip.genericmessage import Message
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from tests.sip.examples import INVITE, RINGING, check_record, invite, lines_of, ringing

# Reading


def test_fields_are_found_by_their_canonical_name() -> None:
    """However they are spelt in the message."""
    request = invite()
    from_ = request.first(b"from")
    assert from_ is not None
    assert from_.raw == b'f: "Alice" <sip:alice@example.com>;tag=1928\r\n'
    assert request.value(b"x-unknown") == b"a,,;b"
    assert (request.first(b"date"), request.value(b"date"), request.all(b"date")) == (None, None, [])


# Editing


def test_a_message_that_nobody_edited_is_the_bytes_received() -> None:
    """Not even equal bytes: the same object, nothing is copied."""
    assert bytes(invite()) == INVITE
    assert invite().edits() == []


@pytest.mark.parametrize(
    ("where", "line"),
    [
        ({}, 14),
        ({"before": b"via"}, 1),
        ({"after": b"via"}, 3),
        ({"before": b"cseq"}, 8),
        ({"after": b"content-length"}, 14),
        ({"before": b"date"}, 1),
        ({"after": b"date"}, 1),
    ],
    ids=[
        "at the end",
        "before the first",
        "after the last",
        "in between",
        "after the end",
        "none",
        "no such",
    ],
)
def test_where_a_line_is_inserted(where: dict[str, bytes], line: int) -> None:
    """By name; where no field has that name, directly after the start line."""
    request = invite()
    request.insert(b"X-New: 1", "test", **where)  # type: ignore[arg-type]
    assert lines_of(request).index(b"X-New: 1") == line
    check_record(request)


def test_a_line_is_inserted_next_to_a_field() -> None:
    """For whoever has the field in hand."""
    request = invite()
    second = request.all(b"via")[1]
    request.insert(b"X-Before: 1", "test", before=second)
    request.insert(b"X-After: 1", "test", after=second)
    assert lines_of(request)[2:5] == [b"X-Before: 1", second.raw.rstrip(), b"X-After: 1"]
    check_record(request)


def test_what_was_inserted_is_found_first() -> None:
    """The new top Via is the top Via, also under its compact name."""
    request = invite()
    assert request.top_via.branch == b"z9hG4bKa"
    field = request.insert(b"v: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0", "ours", before=b"via")
    assert request.top_via.branch == b"z9hG4bK0"
    request.remove(field, "not ours")
    assert request.top_via.branch == b"z9hG4bKa"
    assert request.edits() == []


def test_a_line_to_insert_is_one_line() -> None:
    """Text from elsewhere cannot smuggle in a header field (nor in a request line)."""
    request = invite()
    for line in (b"X-New: 1\r\nX-Newer: 2", b"X-New: 1\r\n", b"X-New: \r1", b"no colon"):
        with pytest.raises(ValueError, match=r"line end|subsection not found"):
            request.insert(line, "test")
    with pytest.raises(ValueError, match="line end"):
        request.set_uri(b"sip:x SIP/2.0\r\nX-New: 1", "test")
    assert bytes(request) == INVITE
    request.insert(b"X-New: 1,\r\n 2", "folded")
    assert request.value(b"x-new") == b"1, 2"


def test_an_empty_value_gets_its_value_after_the_colon() -> None:
    """There is no value to replace, but a place for one."""
    request = parse(INVITE.replace(b"a,,;b", b""))
    field = request.first(b"x-unknown")
    assert field is not None
    request.replace_value(field, b"now", "test")
    assert b"\r\nX-Unknown:now \r\n" in bytes(request)
    check_record(request)


def test_edits_of_the_body_correct_every_content_length() -> None:
    """In the spelling and at the place where it is; twice where a gateway wrote it twice."""
    request = parse(INVITE.replace(b"X-Unknown: a,,;b", b"l : 0004"))
    request.edit_body([Edit(0, 4, b"v=0\r\n", "line end"), Edit(4, 4, b"s=-\r\n", "session")])
    request.edit_body([Edit(5, 10, b"", "no session")])
    assert request.body == b"v=0\r\n"
    assert (request.value(b"content-length"), lines_of(request)[12]) == (b"5", b"l : 5")
    check_record(request)


def test_edits_that_keep_the_length_keep_the_content_length() -> None:
    """Its leading zeros are nobody's business then."""
    request = parse(INVITE.replace(b"Content-Length:   4", b"Content-Length: 004"))
    request.edit_body([Edit(2, 3, b"1", "version")])
    assert bytes(request) == request.original.replace(b"v=0", b"v=1")


def test_a_message_without_content_length_gets_none() -> None:
    """It is legal in a datagram (section 18.3), so there is no reason to add it."""
    request = parse(INVITE.replace(b"Content-Length:   4\r\n", b""))
    request.edit_body([Edit(4, 4, b"s=-\n", "session")])
    assert request.first(b"content-length") is None
    assert bytes(request).endswith(b"\r\n\r\nv=0\ns=-\n")
    check_record(request)


def test_no_edits_of_the_body_are_no_edit() -> None:
    """A description that needs no change does not make the message a changed one."""
    request = invite()
    request.edit_body([])
    assert bytes(request) is request.original


def test_a_head_without_its_empty_line_gets_one_with_the_first_edit() -> None:
    """As received it stays as it is; a message that we wrote in must be one that can be read."""
    message = parse(RINGING[:-2])
    assert bytes(message) == RINGING[:-2]
    message.insert(b"X-New: 1", "test")
    assert bytes(message) == RINGING[:-2] + b"X-New: 1\r\n\r\n"
    check_record(message)


def test_a_copy_is_independent() -> None:
    """Edits before the copy are in both, edits after it in one (forking needs that)."""
    request = invite()
    request.set_uri(b"sip:bob@10.0.0.20", "target")
    request.insert(b"X-Both: 1", "test")
    request.remove(request.all(b"via")[1], "test")
    request.edit_body([Edit(3, 4, b"\r\n", "line end")])
    before = bytes(request)
    twin = request.copy()
    assert (bytes(twin), twin.edits(), twin.method) == (before, request.edits(), "INVITE")
    twin.set_uri(b"sip:bob@10.0.0.21", "second target")
    twin.remove(twin.all(b"x-both")[0], "test")
    twin.edit_body([Edit(0, 0, b"x", "test")])
    request.replace_element(request.top_via, b"SIP/2.0/UDP host", "test")
    assert (twin.top_via.branch, request.uri_text) == (b"z9hG4bKa", b"sip:bob@10.0.0.20")
    check_record(twin)
    check_record(request)
    assert isinstance(ringing().copy(), Response)
    assert ringing().copy().status == 180


def test_copies_share_no_field() -> None:
    """Whoever still holds a field or value of the one cannot change the other by it, nor by mistake."""
    request = invite()
    held = request.contacts()[0]
    request.set_params(held, [(b"q", b"0.1", "before the copy")])
    twin = request.copy()
    request.replace_uri(held, b"sip:a@192.0.2.1", "after it")
    theirs = twin.contacts()[0]
    assert (theirs.uri_text, theirs.param(b"q")) == (b"sip:alice@10.0.0.10", b"0.1")
    with pytest.raises(ValueError, match="another message"):
        twin.edit(held.field, 0, 1, b"x", "test")
    with pytest.raises(ValueError, match="another message"):
        twin.set_params(held, [(b"q", b"1", "test")])
    with pytest.raises(ValueError, match="not in this message"):
        twin.remove(held.field, "test")
    ours = request.insert(b"X-New: 1", "test")
    with pytest.raises(ValueError, match="not in this message"):
        twin.remove(ours, "test")
    check_record(request)
    check_record(twin)


def test_a_field_is_removed_once() -> None:
    """Twice is a mistake of whoever does it."""
    request = invite()
    field = request.all(b"via")[0]
    request.remove(field, "test")
    with pytest.raises(ValueError, match="not in this message"):
        request.remove(field, "test")
    check_record(request)


# Properties

_NAMES = st.sampled_from([b"via", b"contact", b"route", b"x-unknown", b"supported", b"x-new", b"nowhere"])
_LINES = st.sampled_from([b"X-New: 1", b"Supported: a, b,c", b"Via: SIP/2.0/UDP n", b"Contact: <sip:n@n>, *"])
_TEXTS = st.sampled_from(
    [b"", b"x", b"SIP/2.0/UDP other;branch=1", b"<sip:x@other.example:9>;q=0.1", b"a ,b"]
)
_NUMBERS = st.integers(0, 50)
_OPERATIONS = st.lists(st.tuples(st.integers(0, 8), _NUMBERS, _NUMBERS, _NAMES, _LINES, _TEXTS))


def _operate(message: Message, which: int, one: int, two: int, name: bytes, line: bytes, text: bytes) -> None:
    """Carry out one operation, chosen by numbers, as far as the message still allows it."""
    field = message.fields[one % len(message.fields)] if message.fields else message.insert(b"A: b", "new")
    if which == 0:
        message.insert(line, "insert", before=name)
    elif which == 1:
        message.insert(line, "insert", after=name)
    elif which == 2:
        message.insert(line, "insert", before=field)
    elif which == 3:
        message.remove(field, "remove")
    elif which == 4:
        message.replace_value(field, text, "replace")
    elif which == 5:
        start, end = sorted((one % len(field.raw), two % len(field.raw)))
        message.edit(field, start, end, text, "edit")
    elif which == 6:
        start, end = sorted((one % (len(message.body) + 1), two % (len(message.body) + 1)))
        message.edit_body([Edit(start, end, text, "body")])
    elif which == 7 and isinstance(message, Request):
        message.set_uri(text, "target")
    elif which == 8:
        elements = [e for e in message.elements(name) if e.text] if name != b"x-unknown" else []
        if elements:
            message.remove_element(elements[one % len(elements)], "element")


@given(st.sampled_from([INVITE, RINGING, INVITE.replace(b"\r\n", b"\n")]), _OPERATIONS)
def test_the_recorded_edits_make_the_message(
    data: bytes, operations: list[tuple[int, int, int, bytes, bytes, bytes]]
) -> None:
    """The rewrite contract, after any sequence of operations and for the copy as well."""
    message = parse(data)
    for operation in operations:
        try:
            _operate(message, *operation)
        except (ParseError, ValueError):
            continue  # an earlier operation has broken what this one wants to read
        check_record(message)
        check_views(message)
    check_record(message.copy())
    check_views(message.copy())
    assert message.original == data


def check_views(message: Message) -> None:
    """All ways to the header fields agree, and agree with the bytes."""
    fields = message.fields
    assert list(message.header_lines()) == [(field.name, field.raw) for field in fields]
    assert bytes(message).startswith(b"".join([message.start_line.raw, *[field.raw for field in fields]]))
    some = {b"via", b"x-new", b"nowhere"}
    assert message.all_of(some) == [field for field in fields if field.name in some]
    assert message.all_of({b"nowhere"}) == []
    for name in {b"nowhere", b"x-new", *(field.name for field in fields)}:
        named = [field for field in fields if field.name == name]
        assert message.all(name) == named
        assert message.first(name) is (named[0] if named else None)
        if named and b":" in named[0].raw:  # nobody has cut it off
            assert message.value(name) == named[0].value
