# SPDX-License-Identifier: MIT
"""Header fields and the values in them: read from the bytes, and still right after any edit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import Edit, apply
from siproxd_tw.sip.field import Field
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import NameAddr, Via
from tests.sip.examples import PIECES, field, via

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


@given(PIECES, st.sampled_from([b"Via", b"Contact", b"To", b"Route", b"Supported"]))
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


@pytest.mark.parametrize("end", [b"\r\n", b"\n", b" \r\n", b" \n"])
def test_an_empty_last_parameter_does_not_reach_beyond_its_line(end: bytes) -> None:
    """What is appended to it goes before the line end."""
    field = Field(b"via", b"Via: SIP/2.0/UDP 10.0.0.10;branch=" + end)
    [top] = field.elements()
    field.edit(top.end, top.end, b";received=192.0.2.9", "test")
    assert field.raw == b"Via: SIP/2.0/UDP 10.0.0.10;branch=;received=192.0.2.9" + end


_VIA_EDITS = st.lists(
    st.tuples(
        st.integers(4, 70),
        st.integers(0, 12),
        st.sampled_from(
            [
                b";received=192.0.2.9",
                b";rport=5070",
                b"",
                b";",
                b"x",
                b"=",
                b" ",
                b"\r\n ",
                b'"',
                b",SIP/2.0/UDP b",
            ]
        ),
    ),
    max_size=4,
)


@given(
    st.sampled_from(
        [
            b"Via: SIP/2.0/UDP host.example:5060;branch=z9hG4bK7;rport;x=y",
            b"Via: SIP/2.0/UDP h;rport;BRANCH=z9;received=192.0.2.1",
            b'Via: SIP / 2.0 / UDP h ; a = "b;c" ; branch=z9, SIP/2.0/TCP i;branch=z8',
        ]
    ),
    _VIA_EDITS,
    st.booleans(),
)
def test_an_element_that_was_edited_says_what_a_new_one_would(
    text: bytes, edits: list[tuple[int, int, bytes]], look: bool
) -> None:
    """Whatever was kept of what it had read before the edits, and whether somebody looked in between."""
    line = field(text)
    held = line.elements()[0]
    assert isinstance(held, Via)
    for at, length, new in edits:
        start = min(at, len(line.raw) - 3)
        line.edit(start, min(start + length, len(line.raw) - 3), new, "test")
        if look:
            _ = held.end
    try:
        others = Field(line.name, line.raw).elements()
    except ParseError:
        return
    for other in others:
        if isinstance(other, Via) and (other.start, other.end) == (held.start, held.end):
            assert parts(held) == parts(other)


def parts(via: Via) -> list[object]:
    """Everything that a Via says."""
    names = (b"branch", b"rport", b"received", b"x", b"a")
    said = (via.text, via.transport, via.sent_by, via.sent_by_span, via.branch, via.received, via.rport)
    return [said, [via.param(name) for name in names], [via.param_span(name) for name in names]]


def test_parameters_can_be_set() -> None:
    """Where they are, whatever their case, or at the end; each with its reason, and the element goes on."""
    top = via(b"Via: SIP/2.0/UDP host:5060;RPORT ;branch=z9hG4bK7;rportx")
    top.set_params([(b"rport", b"5070", "rport"), (b"received", b"192.0.2.7", "received")])
    assert top.field.raw == (
        b"Via: SIP/2.0/UDP host:5060;rport=5070 ;branch=z9hG4bK7;rportx;received=192.0.2.7\r\n"
    )
    assert (top.rport, top.received, top.branch) == (5070, "192.0.2.7", b"z9hG4bK7")
    assert top.sent_by == ("host", 5060)
    assert [(edit.replacement, edit.reason) for edit in top.field.edits] == [
        *((b";rport=5070", "rport"), (b";received=192.0.2.7", "received")),
    ]
    assert top.text == top.field.raw[5:-2]


@pytest.mark.parametrize("value", [b"", b"a;b", b"a,b", b"a b", b'"a"', b"a\r\nTo: x", b"<"])
def test_only_values_can_be_set(value: bytes) -> None:
    """Nothing that would be more than the value of this parameter, or less."""
    top = via(b"Via: SIP/2.0/UDP host")
    with pytest.raises(ValueError, match="not a parameter"):
        top.set_params([(b"x", value, "test")])
    assert top.field.raw == b"Via: SIP/2.0/UDP host\r\n"


def test_whether_a_value_is_alone() -> None:
    """In its field; a parameter more does not make it two."""
    one = via(b"Via: SIP/2.0/UDP a")
    one.field.edit(one.end, one.end, b";received=192.0.2.7", "test")
    assert one.alone
    assert one.survives()
    assert not field(b"Via: SIP/2.0/UDP a, SIP/2.0/UDP b").elements()[0].alone
