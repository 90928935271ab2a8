# SPDX-License-Identifier: MIT
"""The rules of RFC 3261 section 25 that everything else is made of."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip import grammar
from siproxd_tw.sip.grammar import ParseError


@pytest.mark.parametrize(
    ("written", "name"),
    [
        (b"Via", b"via"),
        (b"VIA", b"via"),
        (b"vIa", b"via"),
        (b"v", b"via"),
        (b"V", b"via"),
        (b"i", b"call-id"),
        (b"l", b"content-length"),
        (b"cSeQ", b"cseq"),
        (b"X-Phone", b"x-phone"),
        (b"z", b"z"),
    ],
)
def test_a_header_has_one_name_however_it_is_spelt(written: bytes, name: bytes) -> None:
    """Case and compact forms are spellings of the same name (section 7.3.1 and 7.3.3)."""
    assert grammar.canonical_name(written) == name


def test_every_registered_compact_form_is_known() -> None:
    """The letters in IANA's registry of header fields, and what they stand for."""
    registered = """
        a Accept-Contact, b Referred-By, c Content-Type, d Request-Disposition, e Content-Encoding, f From,
        i Call-ID, j Reject-Contact, k Supported, l Content-Length, m Contact, n Identity-Info, o Event,
        r Refer-To, s Subject, t To, u Allow-Events, v Via, x Session-Expires, y Identity"""
    assert dict(entry.split() for entry in registered.lower().encode().split(b",")) == grammar.COMPACT_FORMS


@given(st.sampled_from(sorted(grammar.HEADER_NAMES)), st.lists(st.booleans(), min_size=40))
def test_mixing_the_case_of_a_known_name_changes_nothing(spelt: bytes, capitals: list[bool]) -> None:
    """The table of spellings is a short cut and no second opinion."""
    letters = zip(spelt.decode(), capitals, strict=False)
    mixed = "".join(letter.upper() if capital else letter.lower() for letter, capital in letters)
    assert grammar.canonical_name(mixed.encode()) == grammar.HEADER_NAMES[spelt]


@pytest.mark.parametrize(
    ("written", "host"),
    [
        (b"Example.COM", "example.com"),
        (b"192.0.2.1", "192.0.2.1"),
        (b"[2001:DB8::1]", "2001:db8::1"),
        (b"[::ffff:192.0.2.1]", "::ffff:192.0.2.1"),
        (b"[2001:db8:::192.0.2.1]", "2001:db8::192.0.2.1"),  # RFC 5118 section 4.10: meant as two colons
    ],
)
def test_a_host_is_lower_case_text_without_brackets(written: bytes, host: str) -> None:
    """There is one form to compare and to look up."""
    assert grammar.host_text(written) == host


@pytest.mark.parametrize("written", [b"[1:2]", b"[::1::]", b"[:::::]", b"[1.2.3.4]", b"[2001:db8::12345]"])
def test_brackets_without_an_ipv6_address_are_refused(written: bytes) -> None:
    """What looks like a literal address must be one: nobody could resolve it."""
    with pytest.raises(ParseError, match="IPv6"):
        grammar.host_text(written)


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("192.0.2.1", True),
        ("255.255.255.255", True),
        ("256.0.2.1", False),
        ("192.0.2", False),
        ("192.0.2.01", False),
        ("2001:db8::1", True),
        ("2001:db8:1", False),
        ("example.com", False),
        ("fe80", False),
    ],
)
def test_addresses_are_told_from_names(host: str, literal: bool) -> None:
    """A name made of digits and dots stays a name."""
    assert grammar.is_ip_address(host) is literal


@pytest.mark.parametrize(
    ("host", "good"),
    [
        (b"a.example", True),
        (b"a.example.", True),
        (b"asterisk_1", True),
        (b"x" * 63 + b".example", True),
        (b"x" * 64 + b".example", False),
        (b"a..example", False),
        (b".example", False),
        (b"ex ample", False),
        (b"2001:db8::1", False),
        (b"", False),
    ],
)
def test_names_that_cannot_be_looked_up_are_no_hosts(host: bytes, good: bool) -> None:
    """RFC 1035 allows 63 octets between two dots and none of them empty; resolvers fail on others."""
    assert (re.fullmatch(grammar.HOST, host) is not None) is good


@pytest.mark.parametrize(
    ("port", "good"),
    [
        *((b"0", True), (b"5060", True), (b"05060", True), (b"65535", True)),
        *((b"65536", False), (b"99999", False), (b"", False), (b"-1", False)),
    ],
)
def test_ports_have_sixteen_bits(port: bytes, good: bool) -> None:
    """A number that no socket takes is no port."""
    assert (re.fullmatch(grammar.PORT, port) is not None) is good


def test_unescape_undoes_what_is_an_escape() -> None:
    """A per cent sign that escapes nothing is itself; ``%00`` is an octet like others."""
    assert grammar.unescape(b"a%6C%69ce%00%zz%4") == b"alice\x00%zz%4"


@given(st.binary())
def test_unescape_undoes_escaping(octets: bytes) -> None:
    """Whatever the user part holds can be written as escapes and read back."""
    assert grammar.unescape(b"".join(b"%%%02X" % octet for octet in octets)) == octets


def test_unquote_returns_what_is_said() -> None:
    r"""Quotes and the backslash of a quoted-pair are writing, not text."""
    assert grammar.unquote(rb'"a \"b\" \\"') == rb'a "b" \ '.rstrip()
    assert grammar.unquote(b"token") == b"token"


def test_an_error_says_where_and_what() -> None:
    """The text is for the log, the attributes are for the answer."""
    error = ParseError("expected a host", "Via", 42)
    assert str(error) == "Via at 42: expected a host"
    assert (error.status, error.request) == (400, None)


def test_names_are_printed_as_people_know_them() -> None:
    """For error texts."""
    assert [grammar.spelling(name) for name in (b"call-id", b"cseq", b"via", b"record-route")] == [
        *("Call-ID", "CSeq", "Via", "Record-Route"),
    ]


@pytest.mark.parametrize("text", [b"x\r\ny", b"\n", b"x\r", b"\rx", b"x\r\n", b"\r\n\r\n x"])
def test_a_line_end_is_told_from_folding(text: bytes) -> None:
    """What would start a new header field is refused, a folded value is not."""
    with pytest.raises(ValueError, match="line end"):
        grammar.check_line(text)
    grammar.check_line(b"x\r\n y\n\tz")
