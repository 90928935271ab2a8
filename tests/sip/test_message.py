# SPDX-License-Identifier: MIT
"""Start lines, and the messages that follow from others: responses, ACK and CANCEL."""

from __future__ import annotations

import pytest

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import CSeq
from siproxd_tw.sip.message import REASONS, Request, ack_for, cancel_for, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import parse_uri
from tests.sip.examples import INVITE, check_record, invite, lines_of, ringing
from tests.support.vectors import HERE, load


def test_the_request_uri_can_be_replaced() -> None:
    """Nothing else of the line, and it is read anew."""
    request = invite()
    request.set_uri(b"sips:bob@10.0.0.20;ob", "target")
    assert lines_of(request)[0] == b"INVITE sips:bob@10.0.0.20;ob SIP/2.0"
    request.set_uri(b"tel:1", "another target")
    assert (request.uri_text, request.uri) == (b"tel:1", parse_uri(b"tel:1"))
    check_record(request)


def test_the_status_can_be_replaced() -> None:
    """Number and phrase, nothing else of the line."""
    response = ringing()
    response.set_status(480, b"Temporarily Unavailable", "policy")
    assert lines_of(response)[0] == b"SIP/2.0 480 Temporarily Unavailable"
    assert (response.status, response.reason) == (480, b"Temporarily Unavailable")
    check_record(response)


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


def test_a_response_is_made_of_whole_lines() -> None:
    """Neither a phrase nor a header can bring another header field with it."""
    with pytest.raises(ValueError, match="line end"):
        response_to(invite(), 500, b"Oops\r\nX-New: 1")
    with pytest.raises(ValueError, match="line end"):
        response_to(invite(), 500, headers=[b"Warning: 399 x\r\nX-New: 1"])


def test_standard_phrases() -> None:
    """Registered status codes have a text; none holds a line end."""
    assert REASONS[486] == b"Busy Here"
    assert all(100 <= status < 700 and phrase.isascii() for status, phrase in REASONS.items())


def test_messages_print_as_one_line() -> None:
    """For logs and for failing tests."""
    assert repr(invite()) == "<Request INVITE sip:bob@example.com>"
    assert repr(ringing()) == "<Response 180 Ringing>"
