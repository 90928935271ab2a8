# SPDX-License-Identifier: MIT
"""Messages: read on demand, edited in place, every byte outside of the edits untouched."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import Edit, apply
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import CSeq
from siproxd_tw.sip.message import (
    REASONS,
    Message,
    Request,
    Response,
    ack_for,
    cancel_for,
    response_to,
)
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import parse_uri
from tests.support.vectors import HERE, load

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


# Reading


def test_what_a_request_says() -> None:
    """Typed values of a request with compact forms, lists and odd blanks."""
    request = invite()
    assert (request.method, request.uri_text) == ("INVITE", b"sip:bob@example.com")
    assert request.uri == parse_uri(b"sip:bob@example.com")
    assert (request.call_id, request.cseq) == (b"a84b4c76e66710@10.0.0.10", CSeq(314159, "INVITE"))
    assert (request.from_tag, request.to_tag) == (b"1928", b"")
    assert (request.from_.display, request.to.uri_text) == (b'"Alice"', b"sip:bob@example.com")
    assert (request.max_forwards, request.content_type, request.body) == (70, b"application/sdp", b"v=0\n")


def test_what_a_response_says() -> None:
    """Typed values of a response."""
    response = ringing()
    assert (response.status, response.reason, response.to_tag) == (180, b"Ringing", b"b-1")
    assert (response.max_forwards, response.content_type, response.contacts()) == (None, b"", [])


def test_values_of_one_name_are_collected_over_all_fields() -> None:
    """One line with two values is the same as two lines (section 7.3.1)."""
    request = invite()
    assert [via.branch for via in request.vias()] == [b"z9hG4bKa", b"z9hG4bKb", b"z9hG4bKc"]
    assert request.top_via.host == "10.0.0.10"
    assert [route.uri_text for route in request.routes()] == [
        *(b"sip:10.0.0.1;lr", b"sip:proxy.example.com;lr"),
    ]
    assert [contact.param(b"q") for contact in request.contacts()] == [None, b"0.5"]
    assert [route.uri_text for route in ringing().record_routes()] == [b"sip:10.0.0.1;lr"]
    assert len(request.all(b"via")) == 2


def test_fields_are_found_by_their_canonical_name() -> None:
    """However they are spelt in the message."""
    request = invite()
    from_ = request.first(b"from")
    assert from_ is not None
    assert from_.raw == b'f: "Alice" <sip:alice@example.com>;tag=1928\r\n'
    assert request.value(b"x-unknown") == b"a,,;b"
    assert (request.first(b"date"), request.value(b"date"), request.all(b"date")) == (None, None, [])


@pytest.mark.parametrize(
    ("value", "number"), [(b"70", 70), (b"0", 0), (b"-1", -1), (b"300", 300), (b"70 hops", None)]
)
def test_max_forwards_is_given_as_written(value: bytes, number: int | None) -> None:
    """What a value out of range means is for the proxy to say."""
    request = invite()
    field = request.first(b"max-forwards")
    assert field is not None
    request.replace_value(field, value, "test")
    assert request.max_forwards == number


def test_a_value_that_is_gone_is_a_parse_error() -> None:
    """Asking for the top Via of a message without one is not an attribute of None."""
    response = ringing()
    response.remove_element(response.top_via, "our own")
    with pytest.raises(ParseError, match="Via"):
        _ = response.top_via


# Editing


def test_a_message_that_nobody_edited_is_the_bytes_received() -> None:
    """Not even equal bytes: the same object, nothing is copied."""
    assert bytes(invite()) == INVITE
    assert invite().edits() == []


def test_everything_a_proxy_does_to_a_request() -> None:
    """Each change shows up as one edit; all other bytes are those received (section 16.6)."""
    request = invite()
    request.set_uri(b"sip:bob@10.0.0.20:5062;ob", "target")
    field = request.first(b"max-forwards")
    assert field is not None
    request.replace_value(field, b"69", "hop")
    request.remove_element(request.routes()[0], "our own route")
    request.insert(b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0", "our Via", before=b"via")
    request.insert(b"Record-Route: <sip:192.0.2.1;lr>", "stay on the path", after=b"via")
    for contact in request.contacts():
        request.replace_uri(contact, b"sip:alice@192.0.2.1:5060", "masquerade")
    request.edit_body([Edit(2, 3, b"00", "media")])

    expected = INVITE
    for old, new in (
        (b"INVITE sip:bob@example.com", b"INVITE sip:bob@10.0.0.20:5062;ob"),
        (b"Via: SIP/2.0/UDP 10", b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0\r\nVia: SIP/2.0/UDP 10"),
        (b"Route: <sip:10.0.0.1;lr>, ", b"Record-Route: <sip:192.0.2.1;lr>\r\nRoute: "),
        (b"0070", b"69"),
        (b"<sip:alice@10.0.0.10>", b"<sip:alice@192.0.2.1:5060>"),
        (b"<sip:alice@10.0.0.11>", b"<sip:alice@192.0.2.1:5060>"),
        (b"Length:   4", b"Length:   5"),
        (b"v=0\n", b"v=00\n"),
    ):
        assert expected.count(old) == 1
        expected = expected.replace(old, new)
    assert bytes(request) == expected
    assert [edit.reason for edit in request.edits()] == [
        *("target", "our Via", "stay on the path", "our own route", "hop", "masquerade", "masquerade"),
        *("the body has another length", "media"),
    ]
    check_record(request)


def test_removing_values_takes_one_comma_with_each() -> None:
    """First, last and middle of a list; the last one left takes the field with it."""
    request = invite()
    request.insert(b"Supported: path,  outbound , gruu,timer", "test", after=b"x-unknown")
    for index, left in ((1, b"path,  gruu,timer"), (0, b"gruu,timer"), (1, b"gruu")):
        request.remove_element(request.elements(b"supported")[index], "test")
        assert request.value(b"supported") == left
    request.remove_element(request.elements(b"supported")[0], "test")
    assert request.first(b"supported") is None
    assert bytes(request) == INVITE
    assert request.edits() == []


def test_removing_the_values_of_a_field_one_by_one_removes_the_field() -> None:
    """Values fetched before the first removal stay valid for the others."""
    request = invite()
    for route in request.routes():
        request.remove_element(route, "not routed")
    assert request.first(b"route") is None
    assert bytes(request) == INVITE.replace(b"Route: <sip:10.0.0.1;lr>, <sip:proxy.example.com;lr>\r\n", b"")
    check_record(request)


def test_the_top_via_of_one_line_with_several_is_taken_off_and_on() -> None:
    """Whatever was asked for before, the first value of the first field is the top one."""
    response = parse(RINGING.replace(b"Via: ", b"Via: SIP/2.0/UDP ours;branch=z9hG4bK0,"))
    assert response.top_via.host == "ours"
    response.remove_element(response.top_via, "our own")
    assert response.top_via.host == "10.0.0.10"
    assert bytes(response) == RINGING
    response.replace_value(response.top_via.field, b"SIP/2.0/UDP new", "test")
    assert response.top_via.host == "new"
    check_record(response)


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


def test_an_empty_value_gets_its_value_after_the_colon() -> None:
    """There is no value to replace, but a place for one."""
    request = parse(INVITE.replace(b"a,,;b", b""))
    field = request.first(b"x-unknown")
    assert field is not None
    request.replace_value(field, b"now", "test")
    assert b"\r\nX-Unknown:now \r\n" in bytes(request)
    check_record(request)


def test_a_bare_uri_gets_brackets_when_the_new_one_needs_them() -> None:
    """Otherwise its parameters would become those of the header field (section 20)."""
    request = invite()
    request.replace_uri(request.to, b"sip:bob@192.0.2.1;line=1", "masquerade")
    assert request.value(b"to") == b"<sip:bob@192.0.2.1;line=1>"
    request.replace_uri(request.to, b"sip:bob@example.com", "undo")
    assert request.value(b"to") == b"<sip:bob@example.com>"
    check_record(request)


def test_the_status_can_be_replaced() -> None:
    """Number and phrase, nothing else of the line."""
    response = ringing()
    response.set_status(480, b"Temporarily Unavailable", "policy")
    assert lines_of(response)[0] == b"SIP/2.0 480 Temporarily Unavailable"
    assert (response.status, response.reason) == (480, b"Temporarily Unavailable")
    check_record(response)


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


# Built messages


def test_a_response_copies_the_lines_of_the_request() -> None:
    """Section 8.2.6.2: Via, From, To, Call-ID and CSeq byte by byte and in order, the To with a tag."""
    response = response_to(invite(), 486, to_tag=b"x-1", headers=[b"Retry-After: 5"])
    assert lines_of(response) == [
        b"SIP/2.0 486 Busy Here",
        b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa;rport",
        b"v: SIP/2.0/UDP 10.0.1.1;branch=z9hG4bKb, SIP/2.0/TCP 10.0.2.1;branch=z9hG4bKc",
        b'f: "Alice" <sip:alice@example.com>;tag=1928',
        b"To: sip:bob@example.com;tag=x-1",
        b"CALL-ID:\ta84b4c76e66710@10.0.0.10  ",
        b"CSeq: 314159 INVITE",
        b"Retry-After: 5",
        b"Content-Length: 0",
    ]
    assert (response.status, response.to_tag, response.edits()) == (486, b"x-1", [])
    assert bytes(parse(bytes(response))) == bytes(response) == response.original


def test_a_tag_that_is_there_stays() -> None:
    """Within a dialog the To tag is the dialog's."""
    request = parse(INVITE.replace(b"To: sip:bob@example.com", b"To: <sip:bob@example.com> ; tag = z"))
    assert isinstance(request, Request)
    assert b"\r\nTo: <sip:bob@example.com> ; tag = z\r\n" in bytes(response_to(request, 481, to_tag=b"x-1"))


def test_a_100_has_no_tag_and_the_timestamp() -> None:
    """Section 8.2.6.1."""
    request = invite()
    request.insert(b"Timestamp: 54.2", "test")
    assert b"tag=x" not in bytes(response_to(request, 100, to_tag=b"x"))
    assert response_to(request, 100).value(b"timestamp") == b"54.2"
    assert response_to(request, 180).first(b"timestamp") is None


def test_a_response_with_a_body_and_a_phrase_of_its_own() -> None:
    """Content-Length is that of the body; a Content-Length among the headers is not doubled."""
    response = response_to(invite(), 299, b"Fine", headers=[b"Content-Type: text/plain"], body=b"ok")
    assert bytes(response).endswith(b"Content-Type: text/plain\r\nContent-Length: 2\r\n\r\nok")
    assert response.reason == b"Fine"
    assert response_to(invite(), 299).reason == b"Unknown"
    assert len(response_to(invite(), 200, headers=[b"l: 0"]).all(b"content-length")) == 1


def test_the_answer_to_a_broken_request_copies_what_is_there() -> None:
    """A To that cannot be read is returned as it is, without a guess at its tag (RFC 4475 3.1.2.6)."""
    broken = next(vector for vector in load(HERE, "rfc4475") if vector.name.endswith("/quotbal.dat"))
    with pytest.raises(ParseError) as caught:
        parse(broken.data)
    assert caught.value.status is not None
    response = response_to(caught.value.request, caught.value.status, to_tag=b"x")
    assert lines_of(response) == [
        b"SIP/2.0 400 Bad Request",
        b'To: "Mr. J. User <sip:j.user@example.com>',
        b"From: sip:caller@example.net;tag=93334",
        b"Call-ID: quotbal.aksdj",
        b"CSeq: 8 INVITE",
        b"Via: SIP/2.0/UDP 192.0.2.59:5050;branch=z9hG4bKkdjuw39234",
        b"Content-Length: 0",
    ]


def test_the_ack_of_a_failure_repeats_the_invite_and_the_to_of_the_response() -> None:
    """Section 17.1.1.3: one Via, the same branch, number, Call-ID and From, and the route set."""
    ack = ack_for(invite(), response_to(invite(), 486, to_tag=b"x-1"))
    assert lines_of(ack) == [
        b"ACK sip:bob@example.com SIP/2.0",
        b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa;rport",
        b"Max-Forwards: 70",
        b"Route: <sip:10.0.0.1;lr>, <sip:proxy.example.com;lr>",
        b'f: "Alice" <sip:alice@example.com>;tag=1928',
        b"To: sip:bob@example.com;tag=x-1",
        b"CALL-ID:\ta84b4c76e66710@10.0.0.10  ",
        b"CSeq: 314159 ACK",
        b"Content-Length: 0",
    ]
    assert (ack.method, ack.cseq, ack.to_tag) == ("ACK", CSeq(314159, "ACK"), b"x-1")
    assert bytes(parse(bytes(ack))) == bytes(ack)


def test_a_cancel_repeats_the_request_without_its_extensions() -> None:
    """Section 9.1: as the ACK, with the To of the request and no Require."""
    request = invite()
    request.insert(b"Require: 100rel", "test")
    cancel = cancel_for(request)
    assert (cancel.method, cancel.cseq, cancel.to_tag) == ("CANCEL", CSeq(314159, "CANCEL"), b"")
    assert [via.branch for via in cancel.vias()] == [b"z9hG4bKa"]
    assert len(cancel.routes()) == 2
    assert cancel.first(b"require") is cancel.first(b"proxy-require") is None


def test_a_route_in_several_lines_is_copied_completely() -> None:
    """Sections 9.1 and 17.1.1.3 name the header field, not its first line."""
    request = invite()
    request.insert(b"Route: <sip:third.example;lr>", "test", after=b"route")
    assert len(cancel_for(request).routes()) == 3


def test_standard_phrases() -> None:
    """Registered status codes have a text; none holds a line end."""
    assert REASONS[486] == b"Busy Here"
    assert all(100 <= status < 700 and phrase.isascii() for status, phrase in REASONS.items())


def test_messages_print_as_one_line() -> None:
    """For logs and for failing tests."""
    assert repr(invite()) == "<Request INVITE sip:bob@example.com>"
    assert repr(ringing()) == "<Response 180 Ringing>"


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
    check_record(message.copy())
    assert message.original == data
