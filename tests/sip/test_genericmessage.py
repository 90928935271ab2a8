# SPDX-License-Identifier: MIT
"""What a message says: typed values of its header fields, read when they are asked for, and after edits."""

from __future__ import annotations

import pytest

from siproxd_tw.edits import Edit
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import CSeq
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import parse_uri
from tests.sip.examples import INVITE, RINGING, check_record, invite, lines_of, ringing

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


def test_a_bare_uri_gets_brackets_when_the_new_one_needs_them() -> None:
    """Otherwise its parameters would become those of the header field (section 20)."""
    request = invite()
    request.replace_uri(request.to, b"sip:bob@192.0.2.1;line=1", "masquerade")
    assert request.value(b"to") == b"<sip:bob@192.0.2.1;line=1>"
    request.replace_uri(request.to, b"sip:bob@example.com", "undo")
    assert request.value(b"to") == b"<sip:bob@example.com>"
    check_record(request)


def test_parameters_are_set_in_the_message() -> None:
    """Also in a line with several values, and in one that was inserted; all that was held stays right."""
    request = invite()
    ours = request.insert(b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0", "ours", before=b"via")
    held = request.vias()
    for via in held:
        request.set_params(via, [(b"rport", b"5070", "rport"), (b"x", b"1", "x")])
    assert [via.param(b"x") for via in request.vias()] == [b"1"] * 4
    assert [via.rport for via in held] == [5070] * 4
    assert request.top_via.field is ours
    assert lines_of(request)[1:4] == [
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bK0;rport=5070;x=1",
        b"Via: SIP/2.0/UDP 10.0.0.10:5060;branch=z9hG4bKa;rport=5070;x=1",
        b"v: SIP/2.0/UDP 10.0.1.1;branch=z9hG4bKb;rport=5070;x=1,"
        b" SIP/2.0/TCP 10.0.2.1;branch=z9hG4bKc;rport=5070;x=1",
    ]
    check_record(request)


def test_the_first_branch_and_the_first_tag_count() -> None:
    """As every parameter that is there twice, in whatever spelling and place."""
    for params, value in (
        *((b"branch=a;branch=b", b"a"), (b"BRANCH=a;branch=b", b"a"), (b"x;branch=a", b"a")),
        *((b'branch="a";branch=b', b'"a"'), (b"branch=", b""), (b"branch;x", b""), (b"branch = a", b"a")),
    ):
        request = parse(INVITE.replace(b"branch=z9hG4bKa;rport", params))
        assert request.top_via.branch == value
        params = params.replace(b"branch", b"tag").replace(b"BRANCH", b"Tag")
        request = parse(INVITE.replace(b"tag=1928", params))
        assert request.from_tag == request.from_.tag == value


def test_values_are_read_again_after_each_change() -> None:
    """What was remembered of a field does not outlive its edit, its removal or another field before it."""
    request = invite()

    def said() -> tuple[object, ...]:
        return request.call_id, request.cseq, request.from_tag, request.to_tag, request.max_forwards

    assert said() == (b"a84b4c76e66710@10.0.0.10", (314159, "INVITE"), b"1928", b"", 70)
    assert request.content_type == b"application/sdp"
    for name, value in (
        *((b"call-id", b"c"), (b"cseq", b"1 NEWER"), (b"from", b"<sip:a@b>;tag=f")),
        *((b"to", b"<sip:a@b>;tag=t"), (b"max-forwards", b"x"), (b"content-type", b"text/plain")),
    ):
        field = request.first(name)
        assert field is not None
        request.replace_value(field, value, "test")
    assert said() == (b"c", (1, "NEWER"), b"f", b"t", None)
    assert request.content_type == b"text/plain"
    request.set_params(request.to, [(b"tag", b"t2", "test")])
    request.insert(b"Call-ID: d", "test", before=b"call-id")
    request.insert(b"From: <sip:a@b>", "test", before=b"from")
    request.remove(request.all(b"max-forwards")[0], "test")
    assert (request.call_id, request.from_tag, request.to_tag) == (b"d", b"", b"t2")
    assert request.max_forwards is None
    request.remove(request.all(b"from")[0], "test")
    assert request.from_tag == b"f"
