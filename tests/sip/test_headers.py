# SPDX-License-Identifier: MIT
"""Header fields and the values in them: read from the bytes, and still right after an edit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import Edit, apply
from siproxd_tw.sip.grammar import ParseError, canonical_name
from siproxd_tw.sip.headers import USUAL_ADDRESS, USUAL_VIA, Element, Field, NameAddr, Via
from siproxd_tw.sip.uri import OtherURI, parse_uri


def field(line: bytes, at: int = 100) -> Field:
    """Make a field as it arrived at position `at` of a message."""
    return Field(canonical_name(line[: line.index(b":")].strip()), line + b"\r\n", at)


def via(line: bytes) -> Via:
    """Read the only Via of a line."""
    (element,) = field(line).elements()
    assert isinstance(element, Via)
    return element


def address(line: bytes) -> NameAddr:
    """Read the only address of a line."""
    (element,) = field(line).elements()
    assert isinstance(element, NameAddr)
    return element


# Fields


@pytest.mark.parametrize(
    ("line", "value", "at"),
    [
        (b"Subject: lunch", b"lunch", 9),
        (b"Subject:lunch", b"lunch", 8),
        (b"s  :\t lunch \t", b"lunch", 6),
        (b"Subject: I know you're there,\r\n pick up", b"I know you're there, pick up", 9),
        (b"Subject:\r\n\tlunch  \r\n  at noon", b"lunch at noon", 11),
        (b"Subject:", b"", 8),
        (b"Subject:  ", b"", 8),
    ],
)
def test_the_value_is_unfolded_and_stripped(line: bytes, value: bytes, at: int) -> None:
    """Folding is one blank, blanks around the value are not part of it (section 7.3.1)."""
    assert (field(line).value, field(line).value_at) == (value, at)


def test_the_line_itself_stays_as_it_was() -> None:
    """Reading changes nothing."""
    line = b"vIa :\r\n SIP / 2.0 / UDP  host ;branch = x"
    read = field(line)
    assert read.elements()
    assert (read.name, read.raw) == (b"via", line + b"\r\n")


def test_an_edit_is_recorded_in_positions_of_the_original_line() -> None:
    """Two edits, the second in positions after the first, come back as two of the original."""
    line = field(b"Contact: <sip:alice@10.0.0.1:5060>;q=0.5")
    line.edit(20, 28, b"192.0.2.1", "masquerade")
    line.edit(line.raw.index(b"0.5"), line.raw.index(b"0.5") + 3, b"1", "preference")
    assert line.raw == b"Contact: <sip:alice@192.0.2.1:5060>;q=1\r\n"
    assert line.edits == [Edit(20, 28, b"192.0.2.1", "masquerade"), Edit(37, 40, b"1", "preference")]
    assert line.original_length == 42


def test_an_edit_outside_of_the_line_is_refused() -> None:
    """A mistake of the caller does not silently give other bytes."""
    with pytest.raises(ValueError, match="not in a field"):
        field(b"Subject: x").edit(5, 90, b"", "")


@pytest.mark.parametrize("text", [b"x\r\nVia: y", b"\n", b"x\r", b"x\r\n", b"\r\n\r\n v=0"])
def test_an_edit_cannot_make_a_second_header_field(text: bytes) -> None:
    """Nor a body: whatever a message is rewritten with, its fields stay those that are known."""
    line = field(b"Subject: lunch")
    with pytest.raises(ValueError, match="line end"):
        line.edit(9, 14, text, "")
    with pytest.raises(ValueError, match="not in a field"):
        line.edit(9, len(line.raw), b"", "")
    line.edit(9, 14, b"late\r\n lunch", "folding is none")
    assert line.value == b"late lunch"


def test_a_copy_goes_its_own_way() -> None:
    """What happens to the copy is not seen in the field, and the other way round."""
    line = field(b"Subject: lunch")
    line.edit(9, 14, b"dinner", "later")
    twin = line.copy()
    twin.edit(9, 15, b"tea", "earlier")
    line.edit(0, 7, b"s", "short")
    assert (line.raw, twin.raw) == (b"s: dinner\r\n", b"Subject: tea\r\n")
    assert apply(b"Subject: lunch\r\n", twin.edits) == twin.raw


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


# Lists


def test_any_comma_list_can_be_split() -> None:
    """Fields that have no type of their own; quotes and angle brackets keep commas."""
    line = field(b'X-List: a , "b, c";d="e,f",<sip:x,y@example.com>;z, , g')
    assert [element.text for element in line.elements()] == [
        *(b"a", b'"b, c";d="e,f"', b"<sip:x,y@example.com>;z", b"g"),
    ]


@pytest.mark.parametrize("line", [b"Supported:", b"k: ", b"Allow: ,"])
def test_a_list_may_be_empty(line: bytes) -> None:
    """Section 20.37 has it for Supported."""
    assert field(line).elements() == []


# Elements and edits


def test_elements_move_with_the_edits_before_them() -> None:
    """Whoever changes the first Contact can go on with the second."""
    line = field(b"Contact: <sip:a@10.0.0.1>, <sip:b@10.0.0.22>;q=1, sip:c@10.0.0.3")
    for contact in line.elements():
        assert isinstance(contact, NameAddr)
        new = b"sip:" + contact.uri_text[4:5] + b"@gateway.example"
        line.edit(contact.uri_start, contact.uri_end, new, "masquerade")
        assert contact.uri_text == new
    assert line.raw == (
        b"Contact: <sip:a@gateway.example>, <sip:b@gateway.example>;q=1, sip:c@gateway.example\r\n"
    )


def test_an_element_shows_what_was_done_to_it() -> None:
    """A parameter that was appended is one of its parameters."""
    top = via(b"Via: SIP/2.0/UDP 192.0.2.1;rport")
    line = top.field
    span = top.param_span(b"rport")
    assert span is not None
    line.edit(*span, b";rport=5070", "RFC 3581")
    line.edit(top.end, top.end, b";received=192.0.2.7", "RFC 3261 18.2.1")
    assert (top.rport, top.received) == (5070, "192.0.2.7")
    assert top.text == b"SIP/2.0/UDP 192.0.2.1;rport=5070;received=192.0.2.7"


def test_an_element_that_was_edited_to_pieces_says_so() -> None:
    """There is no half-read value."""
    top = via(b"Via: SIP/2.0/UDP 192.0.2.1")
    top.field.edit(top.start, top.end, b"nonsense", "")
    with pytest.raises(ParseError, match="expected SIP/2"):
        _ = top.host


# What the grammar and its short cuts accept

_PIECES = st.lists(
    st.one_of(
        st.sampled_from(
            [b"SIP/2.0/UDP ", b"192.0.2.1", b"a.example", b"[::1]", b":5060", b"sip:", b"a@", b"tag"]
        ),
        st.sampled_from(
            [b";", b"=", b",", b'"', b"<", b">", b"\\", b"?", b"*", b" ", b"\r\n ", b"\t", b"%41"]
        ),
        st.sampled_from([b"branch", b"x", b"\xc3\xbc", b"\x00"]),
    ),
    max_size=14,
).map(b"".join)


@given(_PIECES)
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


@given(_PIECES, st.sampled_from([b"Via", b"Contact", b"To", b"Route", b"Supported"]))
def test_elements_tile_their_field(value: bytes, name: bytes) -> None:
    """Whatever is accepted: elements are in order, and between them is only a comma and blanks."""
    line = field(name + b":" + value)
    try:
        elements = line.elements()
    except ParseError as error:
        assert 100 <= error.position <= 100 + len(line.raw)
        return
    at = len(name) + 1
    for element in elements:
        assert line.raw[at : element.start].strip(b" \t\r\n,") == b""
        at = element.end
        if isinstance(element, NameAddr) and not element.is_wildcard:
            assert bytes(element.uri)
    assert line.raw[at:].strip(b" \t\r\n,") == b""


@pytest.mark.parametrize("port", [1, 5060, 9999, 10000, 59999, 60000, 60901, 64999, 65500, 65530, 65535])
def test_any_port_is_read_again_after_an_edit(port: int) -> None:
    """Ports above 59999 too: whoever sends from there has received and rport noted in its Via."""
    top = via(b"Via: SIP/2.0/UDP 10.0.0.10:%d;branch=z9hG4bK7;rport" % port)
    assert top.port == port
    top.field.edit(top.end, top.end, b";received=192.0.2.9", "test")
    assert (top.port, top.branch, top.received) == (port, b"z9hG4bK7", "192.0.2.9")


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b" \r\n", b" \n"])
def test_an_empty_last_parameter_does_not_reach_beyond_its_line(end: bytes) -> None:
    """What is appended to it goes before the line end."""
    field = Field(b"via", b"Via: SIP/2.0/UDP 10.0.0.10;branch=" + end)
    [top] = field.elements()
    field.edit(top.end, top.end, b";received=192.0.2.9", "test")
    assert field.raw == b"Via: SIP/2.0/UDP 10.0.0.10;branch=;received=192.0.2.9" + end
