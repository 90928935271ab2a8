# SPDX-License-Identifier: MIT
"""RFC 3261 section 16.6 on one message: Max-Forwards, branches and loops, Via, Record-Route, User-Agent."""

from __future__ import annotations

import pytest

from siproxd_tw.edits import apply
from siproxd_tw.interfaces import Side
from siproxd_tw.proxy.forwarding import (
    add_content_length,
    add_record_route,
    add_via,
    append_record_route,
    branch_for,
    count_down,
    hops_left,
    passed_before,
    remove_record_routes,
    set_user_agent,
)
from siproxd_tw.sip.message import Message, Request
from siproxd_tw.sip.parser import parse
from tests.support.messages import request, values, wire

KEY = b"k" * 32


def message(method: str = "INVITE", *headers: str, uri: str = "sip:bob@sip.provider.test") -> Request:
    if not any(header.lower().startswith(("via", "v:")) for header in headers):
        headers = ("Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa", *headers)
    parsed = parse(wire(request(method, uri, *headers)))
    assert isinstance(parsed, Request)
    return parsed


def lines(message: Message, name: bytes) -> list[bytes]:
    """Return the lines of one header, checking that the edits explain them."""
    assert apply(message.original, message.edits()) == bytes(message)
    return [field.raw for field in message.all(name)]


def own(host: str, port: int | None) -> bool:
    return host in ("10.0.0.1", "203.0.113.1") and port in (None, 5060)


# Max-Forwards


@pytest.mark.parametrize(
    ("value", "left"), [("70", 70), ("0", 0), ("255", 255), ("256", 70), ("-1", 70), ("00007", 7)]
)
def test_hops_left(value: str, left: int) -> None:
    """0 to 255 as written; everything else is read as if it were absent."""
    assert hops_left(message("INVITE", f"Max-Forwards: {value}")) == left
    assert hops_left(message("INVITE", "Max-Forwards")) == 70


@pytest.mark.parametrize(
    ("header", "after"),
    [
        ("Max-Forwards: 70", b"Max-Forwards: 69\r\n"),
        ("Max-Forwards: 1", b"Max-Forwards: 0\r\n"),
        ("Max-Forwards: 1000", b"Max-Forwards: 69\r\n"),
        ("max-forwards :\t 10 ", b"max-forwards :\t 9 \r\n"),
    ],
)
def test_count_down_changes_the_number_only(header: str, after: bytes) -> None:
    """Name, blanks and place of the header stay as they are."""
    copy = message("INVITE", header)
    names = [field.name for field in copy.fields]
    count_down(copy)
    assert lines(copy, b"max-forwards") == [after]
    assert [field.name for field in copy.fields] == names


def test_without_max_forwards_counting_starts_at_70() -> None:
    """A request that has none gets one (16.6 step 3), below the Vias."""
    copy = message("INVITE", "Max-Forwards")
    count_down(copy)
    assert lines(copy, b"max-forwards") == [b"Max-Forwards: 70\r\n"]
    names = [field.name for field in copy.fields]
    assert names.index(b"max-forwards") == names.index(b"via") + 1


# branches


def test_a_retransmission_has_the_same_branch() -> None:
    """The branch is a function of the request: also of its CANCEL and ACK, which name the same Via."""
    invite = branch_for(message(), Side.INSIDE, KEY)
    assert invite.startswith(b"z9hG4bK")
    assert invite == branch_for(message(), Side.INSIDE, KEY)
    assert invite == branch_for(message("CANCEL"), Side.INSIDE, KEY)


@pytest.mark.parametrize(
    "other",
    [
        message("INVITE", "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKb"),
        message("INVITE", "Via: SIP/2.0/UDP 10.0.0.11:5062;branch=z9hG4bKa"),
        message("INVITE", "Via: SIP/2.0/UDP 10.0.0.10:5063;branch=z9hG4bKa"),
        message("INVITE", uri="sip:carol@sip.provider.test"),
        message("INVITE", "Call-ID: c2"),
        message("INVITE", "CSeq: 2 INVITE"),
        message("INVITE", "From: <sip:alice@sip.provider.test>;tag=a2"),
        message("INVITE", "To: <sip:bob@sip.provider.test>;tag=b"),
        message("INVITE", "Proxy-Authorization: Digest username=x"),
        message("INVITE", "Route: <sip:203.0.113.9;lr>"),
    ],
    ids=lambda other: other.original.decode()[:60],
)
def test_another_request_has_another_branch(other: Request) -> None:
    """Whatever tells two requests apart changes the branch (16.6 step 8)."""
    assert branch_for(other, Side.INSIDE, KEY) != branch_for(message(), Side.INSIDE, KEY)


def test_the_branch_depends_on_side_secret_and_attempt() -> None:
    """A spiral, another run of the program and a second try have branches of their own."""
    branches = {
        branch_for(message(), Side.INSIDE, KEY),
        branch_for(message(), Side.OUTSIDE, KEY),
        branch_for(message(), Side.INSIDE, b"j" * 32),
        branch_for(message(), Side.INSIDE, KEY, attempt=1),
    }
    assert len(branches) == 4


# loops


def once_more(
    first: Request,
    *,
    uri: str = "sip:bob@sip.provider.test",
    sent_from: str = "203.0.113.1:5060",
    branch: bytes | None = None,
) -> Request:
    """Return `first` after it went through us and another proxy, which sent it back to `uri`."""
    ours = branch_for(first, Side.INSIDE, KEY) if branch is None else branch
    return message(
        "INVITE",
        "Via: SIP/2.0/UDP 203.0.113.50;branch=z9hG4bKelse",
        f"Via: SIP/2.0/UDP {sent_from};branch={ours.decode()}",
        "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa",
        uri=uri,
    )


def test_a_request_that_comes_back_unchanged_is_recognised() -> None:
    """By the branch of our Via on it (16.3 step 4), with the address from which it was sent."""
    assert passed_before(once_more(message()), KEY, own) == {"203.0.113.1"}
    assert passed_before(once_more(message(), sent_from="10.0.0.1"), KEY, own) == {"10.0.0.1"}
    assert passed_before(message(), KEY, own) == set()


def test_a_spiral_is_not_the_same_request() -> None:
    """A call from phone to phone by way of the provider comes back with another Request-URI."""
    assert passed_before(once_more(message(), uri="sip:bob@203.0.113.1"), KEY, own) == set()


def test_somebody_elses_branch_says_nothing() -> None:
    """Only our own Vias do, and only with our secret."""
    assert passed_before(once_more(message()), b"j" * 32, own) == set()
    assert passed_before(once_more(message()), KEY, lambda host, port: False) == set()
    assert passed_before(once_more(message(), sent_from="203.0.113.1:5070"), KEY, own) == set()
    assert passed_before(once_more(message(), branch=b"z9hG4bKforged."), KEY, own) == set()


def test_every_one_of_several_passages_is_named() -> None:
    """A request that went in and out unchanged has two Vias of ours."""
    ours = branch_for(message(), Side.INSIDE, KEY).decode()
    twice = message(
        "INVITE",
        f"Via: SIP/2.0/UDP 10.0.0.1:5060;branch={ours}, SIP/2.0/UDP 203.0.113.1;branch={ours}",
        "Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKold.spiral",
    )
    assert passed_before(twice, KEY, own) == {"10.0.0.1", "203.0.113.1"}


# Via


def test_our_via_goes_on_top() -> None:
    """Above the phone's, port always written; rport when it is asked for."""
    copy = message("INVITE", "v: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa")
    add_via(copy, "203.0.113.1", 5060, b"z9hG4bKx", transport="UDP", flags=b";rport")
    assert lines(copy, b"via") == [
        b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKx;rport\r\n",
        b"v: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa\r\n",
    ]
    assert copy.top_via.sent_by == ("203.0.113.1", 5060)


def test_our_via_without_rport_and_with_ipv6() -> None:
    """An IPv6 address stands in brackets."""
    copy = message()
    add_via(copy, "2001:db8::1", 5070, b"z9hG4bKx", transport="TCP")
    assert lines(copy, b"via")[0] == b"Via: SIP/2.0/TCP [2001:db8::1]:5070;branch=z9hG4bKx\r\n"


# Record-Route


def test_record_route_of_a_request_goes_first() -> None:
    """The callee's route set begins with the last proxy (12.1.1)."""
    copy = message("INVITE", "Record-Route: <sip:203.0.113.50;lr>")
    add_record_route(copy, "10.0.0.1", 5060)
    assert lines(copy, b"record-route") == [
        b"Record-Route: <sip:siproxd@10.0.0.1:5060;lr>\r\n",
        b"Record-Route: <sip:203.0.113.50;lr>\r\n",
    ]
    alone = message()
    add_record_route(alone, "10.0.0.1", 5060)
    assert lines(alone, b"record-route") == [b"Record-Route: <sip:siproxd@10.0.0.1:5060;lr>\r\n"]


def test_record_route_of_a_response_goes_last() -> None:
    """The caller reverses the list, so that its next request comes to us first."""
    copy = message("INVITE", "Record-Route: <sip:203.0.113.50;lr>, <sip:203.0.113.51;lr>")
    append_record_route(copy, "10.0.0.1", 5060)
    assert [element.uri_text for element in copy.record_routes()][-1] == b"sip:siproxd@10.0.0.1:5060;lr"
    alone = message()
    append_record_route(alone, "10.0.0.1", 5060)
    assert lines(alone, b"record-route") == [b"Record-Route: <sip:siproxd@10.0.0.1:5060;lr>\r\n"]


def test_our_record_routes_are_taken_out_wherever_they_are() -> None:
    """Alone in a line, in the middle of a list, twice; those of others stay in order."""
    copy = message(
        "INVITE",
        "Record-Route: <sip:siproxd@10.0.0.1:5060;lr>",
        "Record-Route: <sip:p2.test;lr>,<sip:x@203.0.113.1;lr>, <sip:siproxd@10.0.0.1>,<sip:p1.test;lr>",
        "Record-Route: <sip:siproxd@10.0.0.1:5060;lr>;x=1, <sip:siproxd@10.0.0.1:5070;lr>",
    )
    remove_record_routes(copy, lambda uri: own(uri.host, uri.port))
    assert lines(copy, b"record-route") == [
        b"Record-Route: <sip:p2.test;lr>,<sip:p1.test;lr>\r\n",
        b"Record-Route: <sip:siproxd@10.0.0.1:5070;lr>\r\n",
    ]


# User-Agent


def test_ua_string() -> None:
    """It replaces what the phone says of itself, is added when the phone says nothing, and then stays."""
    copy = message("INVITE", "User-agent:  Phone/1.0 (x)")
    set_user_agent(copy, "Gateway")
    assert lines(copy, b"user-agent") == [b"User-agent:  Gateway\r\n"]
    silent = message()
    set_user_agent(silent, "Gateway")
    assert lines(silent, b"user-agent") == [b"User-Agent: Gateway\r\n"]
    before = bytes(silent)
    set_user_agent(silent, "Gateway")
    assert bytes(silent) == before


@pytest.mark.parametrize("body", ["", "v=0"])
def test_content_length_for_streams(body: str) -> None:
    """Added when it is missing (16.6 step 9), and never twice."""
    without = parse(wire(request("MESSAGE", "sip:b@h", "Via: SIP/2.0/UDP h;branch=z9hG4bKa", body=body)))
    for field in without.all(b"content-length"):
        without.remove(field, "test")
    add_content_length(without)
    add_content_length(without)
    assert values(without, "Content-Length") == [str(len(without.body))]
