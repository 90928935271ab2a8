# SPDX-License-Identifier: MIT
"""Via and addresses: every part of them, and what is refused."""

from __future__ import annotations

import pytest
from hypothesis import given

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import USUAL_ADDRESS, USUAL_VIA, Element, Field, Via
from siproxd_tw.sip.uri import OtherURI, parse_uri
from tests.sip.examples import PIECES, address, field, via

# Via


def test_all_parts_of_a_via() -> None:
    """Section 20.42, with the parameters of RFC 3581."""
    top = via(b"Via: SIP/2.0/udp Phone.Example:5062;branch=z9hG4bK7;received=192.0.2.9;rport=49152;hidden")
    assert (top.transport, top.host, top.port, top.sent_by) == (
        *("UDP", "phone.example", 5062),
        ("phone.example", 5062),
    )
    assert (top.branch, top.received, top.rport) == (b"z9hG4bK7", "192.0.2.9", 49152)
    assert (top.param(b"hidden"), top.param(b"maddr")) == (b"", None)
    assert top.field.raw[slice(*top.sent_by_span)] == b"Phone.Example:5062"


def test_an_empty_rport_asks_and_does_not_answer() -> None:
    """RFC 3581 section 3: the parameter is there, its value is not."""
    top = via(b"v: SIP/2.0/UDP 192.0.2.1;rport;branch=z9hG4bK7")
    assert (top.param(b"rport"), top.rport, top.port, top.received) == (b"", None, None, None)


@pytest.mark.parametrize("value", [b"99999999", b"abc", b"-1", b""])
def test_an_rport_that_is_no_port_is_none(value: bytes) -> None:
    """What the last hop wrote there is not to be trusted."""
    assert via(b"Via: SIP/2.0/UDP 192.0.2.1;rport=" + value).rport is None


@pytest.mark.parametrize("received", [b"2001:db8::9:255", b"[2001:DB8::9:255]"])
def test_received_may_have_brackets_or_not(received: bytes) -> None:
    """RFC 5118 section 4.5: both are out there."""
    top = via(b"Via: SIP/2.0/UDP [2001:db8::9:1];received=" + received + b";branch=z9hG4bKas3")
    assert (top.host, top.received) == ("2001:db8::9:1", "2001:db8::9:255")


def test_several_vias_in_one_folded_line() -> None:
    """RFC 4475 section 3.1.1.1: blanks anywhere, and each Via knows its own bytes."""
    line = field(
        b"v:  SIP  / 2.0  / TCP     spindle.example.com   ;\r\n  branch  =   z9hG4bK9ikj8  ,\r\n"
        b" SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239"
    )
    first, second = line.elements()
    assert isinstance(first, Via)
    assert isinstance(second, Via)
    assert (first.transport, first.host, first.branch) == ("TCP", "spindle.example.com", b"z9hG4bK9ikj8")
    assert (second.transport, second.host, second.branch) == ("UDP", "192.168.255.111", b"z9hG4bK30239")
    assert second.text == b"SIP  /    2.0   / UDP  192.168.255.111   ; branch=\r\n z9hG4bK30239"


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"Via: SIP/2.0/UDP 192.0.2.15;;,;,,", 27),  # RFC 4475 section 3.1.2.1
        (b"Via: SIP/2.0/UDP a, ,SIP/2.0/UDP b", 20),
        (b"Via: SIP/2.0/UDP a:99999", 23),
        (b"Via: SIP/2.0/UDP 2001:db8::1", 21),
        (b"Via: SIP/2.0/UDP [2001:db8]", 17),
        (b"Via: SIP/2.0 a", 5),
        (b"Via: SIP/2.0/UDP", 5),
        (b"Via:", 6),
    ],
)
def test_a_broken_via_is_refused_where_it_breaks(line: bytes, at: int) -> None:
    """The position counts from the start of the message, in which the field starts at 100."""
    with pytest.raises(ParseError) as caught:
        field(line).elements()
    assert (caught.value.header, caught.value.position, caught.value.status) == ("Via", 100 + at, 400)


@pytest.mark.parametrize("blanks", [b" \r\n ", b"\r\n\t", b"  ", b"\t"])
def test_blanks_before_a_value_are_not_part_of_it(blanks: bytes) -> None:
    """Neither a second one nor folding, in whatever kind of field."""
    assert via(b"Via:" + blanks + b"SIP/2.0/UDP a").text == b"SIP/2.0/UDP a"
    assert address(b"To:" + blanks + b"<sip:a@b>").text == b"<sip:a@b>"
    assert address(b"To:" + blanks + b"Bob <sip:a@b>").display == b"Bob"


# Addresses


def test_all_parts_of_a_name_addr() -> None:
    """Section 20.10; the parameters inside of the brackets are those of the URI."""
    contact = address(
        b'm: "Alice \\"A\\"" <sip:alice@192.0.2.1;ob>;expires=60;+sip.instance="<urn:uuid:1,2;3>"'
    )
    assert (contact.display, contact.uri_text) == (rb'"Alice \"A\""', b"sip:alice@192.0.2.1;ob")
    assert (contact.param(b"expires"), contact.param(b"ob")) == (b"60", None)
    assert contact.param(b"+sip.instance") == b'"<urn:uuid:1,2;3>"'
    assert contact.field.raw[contact.uri_start : contact.uri_end] == contact.uri_text
    assert contact.uri == parse_uri(b"sip:alice@192.0.2.1;ob")
    assert contact.bracketed


def test_without_brackets_the_parameters_are_the_header_fields() -> None:
    """Section 20: a URI without brackets ends before the first semicolon (RFC 4475 section 3.3.12)."""
    to = address(b"To: sip:watson@example.com;tag=12;x")
    assert (to.uri_text, to.tag, to.param(b"x"), to.bracketed) == (
        *(b"sip:watson@example.com", b"12", b""),
        False,
    )


@pytest.mark.parametrize(
    ("line", "display"),
    [
        (b"To: Dr. Watson <sip:w@example.com>", b"Dr. Watson"),
        (b"To: J\xc3\xbcrgen (home) <sip:w@example.com>", b"J\xc3\xbcrgen (home)"),
        (b"To: bob@example.com <sip:w@example.com>", b"bob@example.com"),
        (b'To: "<sip:x@example.org>, \xc3\xbc" <sip:w@example.com>', b'"<sip:x@example.org>, \xc3\xbc"'),
        (b'To: \\"arik\\" <sip:w@example.com>', b'\\"arik\\"'),  # Nero SIPPS
        (b'To:"caller"<sip:w@example.com>', b'"caller"'),  # RFC 4475 section 3.1.1.6
        (b"To:<sip:w@example.com>", b""),
    ],
)
def test_display_names(line: bytes, display: bytes) -> None:
    """Names without quotes are taken as phones send them, as long as the URI is clear."""
    assert (address(line).display, address(line).uri_text) == (display, b"sip:w@example.com")


def test_parameters_in_quotes_are_not_searched_for_separators() -> None:
    """A semicolon, a comma or a tag inside of a quoted string is text."""
    from_ = address(b'From: <sip:a@example.com>;x=";tag=no,";TAG=yes')
    assert (from_.tag, from_.param(b"x")) == (b"yes", b'";tag=no,"')
    assert from_.field.raw[slice(*(from_.param_span(b"tag") or (0, 0)))] == b";TAG=yes"


def test_schemes_that_we_do_not_know_pass() -> None:
    """RFC 4475 section 3.3.4."""
    assert address(b"To: <isbn:2983792873>").uri == OtherURI("isbn", b"2983792873")
    assert address(b"From: tel:+4930;tag=1").tag == b"1"


def test_the_wildcard_stands_alone_in_contact() -> None:
    """Section 10.2.2: ``*`` is neither an address nor a value among others."""
    assert address(b"Contact: *").is_wildcard
    assert not address(b"Contact: <sip:a@example.com>").is_wildcard
    for line in (b"Contact: *, <sip:a@example.com>", b"Contact: *;expires=0", b"To: *", b"Route: *"):
        with pytest.raises(ParseError, match="alone in Contact"):
            field(line).elements()


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b'To: "Mr. J. User <sip:j.user@example.com>', 4),  # RFC 4475 sections 3.1.2.6, .13, .14 and .15
        (b"Contact: sip:user@example.com?Route=%3Csip:sip.example.com%3E", 29),
        (b'To: "Watson, Thomas" < sip:t.watson@example.org >', 4),
        (b"From: Bell, Alexander <sip:a.g.bell@example.com>;tag=43", 6),
        (b'Contact: "Joe" <sip:joe@example.org>;;;;', 36),
        (b"Contact: <sip:joe@example.org", 9),
        (b"Contact: sip:joe@example.org>", 28),
        (b"Contact: <sip:joe@[::g]>", 9),
        (b"Contact: <sip:joe@[1:2]>", 18),
        (b"Contact: <>", 9),
        (b"Contact: sip:a@example.com,", 29),
    ],
)
def test_a_broken_address_is_refused_where_it_breaks(line: bytes, at: int) -> None:
    """The position is that of the value, or of the first byte behind what could be read."""
    with pytest.raises(ParseError) as caught:
        field(line).elements()
    assert caught.value.position == 100 + at


# What the grammar and its short cuts accept


@given(PIECES)
def test_the_usual_forms_accept_nothing_that_the_grammar_refuses(value: bytes) -> None:
    """The short cuts of the parser agree with the elements, in what they accept and in what they see."""
    for name, usual in ((b"Via", USUAL_VIA), (b"Contact", USUAL_ADDRESS)):
        line = field(name + b": " + value)
        match = usual(line.raw, len(name) + 1)
        if match is None:
            continue
        shortcut: list[Element] = Field(line.name, line.raw, line.at, match).elements()
        try:
            elements = line.elements()
        except ParseError as error:
            assert "IPv6" in error.reason  # left open by the usual forms
            continue
        assert [(e.text, e.param(b"tag")) for e in shortcut] == [(e.text, e.param(b"tag")) for e in elements]


@pytest.mark.parametrize("port", [1, 5060, 9999, 10000, 59999, 60000, 60901, 64999, 65500, 65530, 65535])
def test_any_port_is_read_again_after_an_edit(port: int) -> None:
    """Ports above 59999 too: whoever sends from there has received and rport noted in its Via."""
    top = via(b"Via: SIP/2.0/UDP 10.0.0.10:%d;branch=z9hG4bK7;rport" % port)
    assert top.port == port
    top.field.edit(top.end, top.end, b";received=192.0.2.9", "test")
    assert (top.port, top.branch, top.received) == (port, b"z9hG4bK7", "192.0.2.9")
