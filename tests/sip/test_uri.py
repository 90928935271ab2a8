# SPDX-License-Identifier: MIT
"""URIs: taken apart, written again, and compared as RFC 3261 section 19.1.4 has it."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.uri import ADDR_SPEC, SIPURI, URI, OtherURI, host_port, parse_uri


def sip(text: bytes) -> SIPURI:
    """Parse a URI that must be a SIP one."""
    uri = parse_uri(text)
    assert isinstance(uri, SIPURI)
    return uri


def test_all_parts_of_a_sip_uri() -> None:
    """Section 19.1.1: each part is found, as it was written where that matters."""
    assert sip(b"SIPS:%61lice:se:cret@Example.COM:5061;transport=tcp;lr?Subject=x&Route=y") == SIPURI(
        *("sips", b"%61lice", b"se:cret", "example.com", 5061),
        *(b";transport=tcp;lr", b"?Subject=x&Route=y"),
    )


def test_the_least_sip_uri() -> None:
    """A host is enough; a user that is not there differs from an empty one."""
    assert sip(b"sip:example.com") == SIPURI("sip", None, None, "example.com", None)
    assert sip(b"sip:@example.com").user == b""


@pytest.mark.parametrize(
    ("text", "user"),
    [
        (b"sip:user;par=u%40example.net@example.com", b"user;par=u%40example.net"),  # RFC 4475 3.1.1.9
        (b"sip:1_unusual.URI~(to-be!sure)&isn't+it$/crazy?,/;;*@example.com", None),
        (b"sip:*21#@pbx.example", b"*21#"),
        ("sip:bj\u00f6rn@example.com".encode(), "bj\u00f6rn".encode()),
        (b"sip:null-%00-null@example.com", b"null-%00-null"),
    ],
)
def test_users_may_look_odd(text: bytes, user: bytes | None) -> None:
    """Semicolon and question mark belong to the user when an ``@`` follows; phones send the rest."""
    assert sip(text).user == (text[4 : text.index(b"@")] if user is None else user)


def test_an_ipv6_host_loses_its_brackets_and_keeps_its_port_apart() -> None:
    """RFC 5118 sections 4.3 and 4.4: what is inside of the brackets is never a port."""
    assert (sip(b"sip:[2001:db8::9:1]:5070").host, sip(b"sip:[2001:db8::9:1]:5070").port) == (
        "2001:db8::9:1",
        5070,
    )
    assert sip(b"sip:[2001:db8::9:1:5070]").port is None


def test_parameters_are_asked_for_by_name() -> None:
    """Names have no case and may be escaped; a parameter without a value is not a missing one."""
    uri = sip(b"sip:example.com;Transport=TCP;lr;%6daddr=192.0.2.1;x=a=b")
    assert uri.param(b"transport") == b"TCP"
    assert uri.param(b"lr") == b""
    assert uri.param(b"maddr") == b"192.0.2.1"
    assert uri.param(b"x") == b"a=b"
    assert uri.param(b"ttl") is None


@pytest.mark.parametrize("host", [b"192.0.2.1", b"[2001:db8::1]"])
def test_a_host_may_be_an_address(host: bytes) -> None:
    """Then nothing needs to be looked up."""
    assert sip(b"sip:" + host).is_address
    assert not sip(b"sip:phone.example").is_address


def test_other_schemes_are_a_scheme_and_a_text() -> None:
    """A proxy passes them on and answers 416 where it would have to understand them."""
    assert parse_uri(b"TEL:+49-30-1234;phone-context=x") == OtherURI("tel", b"+49-30-1234;phone-context=x")
    assert bytes(parse_uri(b"urn:service:sos")) == b"urn:service:sos"


@pytest.mark.parametrize(
    ("text", "position"),
    [
        (b"", 0),
        (b"*", 0),
        (b"alice@example.com", 0),
        (b"sip:", 0),
        (b"sip:alice@", 0),
        (b"sip:alice@exa mple.com", 0),
        (b"sip:example.com:65536", 0),
        (b"sip:2001:db8::10", 0),  # RFC 5118 section 4.2
        (b"sip:example.com;a>b", 0),
        (b"sip:a@[2001:db8]", 6),
        (b"<sip:example.com>", 0),
        (b"1tel:1", 0),
        (b"tel:", 0),
    ],
)
def test_what_is_no_uri_is_refused_with_its_position(text: bytes, position: int) -> None:
    """In particular a broken SIP URI is not taken for a URI of another scheme."""
    with pytest.raises(ParseError) as caught:
        parse_uri(text)
    assert (caught.value.header, caught.value.position) == ("URI", position)


WRITTEN = st.from_regex(
    re.compile(
        rb"\A(sips?:([!#-;=?A-~]{1,8}(:[!#-;A-~]{0,4})?@)?(example\.com|192\.0\.2\.1|\[2001:db8::1\])"
        rb"(:[1-9][0-9]{0,3})?(;[a-z]{1,3}(=[a-z0-9]{1,3})?){0,3}(\?[a-z]{1,3}=[a-z]{1,3})?|tel:[0-9]{1,9})\Z"
    )
)


@given(WRITTEN)
def test_a_uri_is_written_as_it_was_read(text: bytes) -> None:
    """Nothing is lost between reading and writing; here scheme and host have no capitals."""
    assert bytes(parse_uri(text)) == text


@given(WRITTEN)
def test_a_uri_matches_itself_and_users_compare(text: bytes) -> None:
    """Comparison is reflexive, whatever the parts are."""
    uri = parse_uri(text)
    assert uri.matches(uri)
    if isinstance(uri, SIPURI):
        assert uri.same_user(uri)


@given(st.one_of(st.binary(max_size=40), st.binary(max_size=40).map(lambda data: b"sip:" + data)))
def test_any_bytes_are_a_uri_or_a_parse_error(data: bytes) -> None:
    """The rule for whole header lines and the parser for single URIs agree on what is one."""
    try:
        uri = parse_uri(data)
    except ParseError as error:
        assert re.fullmatch(URI, data) is None or b"[" in data, error
    else:
        assert re.fullmatch(URI, data) is not None
        assert parse_uri(bytes(uri)).matches(uri)


@given(st.binary(max_size=30).map(lambda data: b"sip:" + data))
def test_a_uri_without_brackets_is_a_uri(data: bytes) -> None:
    """The narrower rule of header fields without angle brackets accepts nothing that is no URI."""
    if re.fullmatch(ADDR_SPEC, data) is not None:
        assert re.fullmatch(URI, data) is not None


# Section 19.1.4 itself: the pairs of its examples.
@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"sip:%61lice@atlanta.com;transport=TCP", b"sip:alice@AtLanTa.CoM;Transport=tcp"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;newparam=5"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;security=on"),
        (
            b"sip:biloxi.com;transport=tcp;method=REGISTER?to=sip:bob%40biloxi.com",
            b"sip:biloxi.com;method=REGISTER;transport=tcp?to=sip:bob%40biloxi.com",
        ),
        (
            b"sip:alice@atlanta.com?subject=project%20x&priority=urgent",
            b"sip:alice@atlanta.com?priority=urgent&subject=project%20x",
        ),
        (b"sip:a@[2001:db8::1]", b"sip:a@[2001:DB8:0::1]"),
        (b"sip:a%3Bb@example.com", b"sip:a%3bb@example.com"),
    ],
)
def test_equivalent_uris_match(one: bytes, other: bytes) -> None:
    """Equivalent is equivalent in both directions."""
    assert sip(one).matches(sip(other))
    assert sip(other).matches(sip(one))


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (b"SIP:ALICE@AtLanTa.CoM;Transport=udp", b"sip:alice@AtLanTa.CoM;Transport=UDP"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:5060"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com;transport=udp"),
        (b"sip:bob@biloxi.com", b"sip:bob@biloxi.com:6000;transport=tcp"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com?Subject=next%20meeting"),
        (b"sip:bob@phone21.boxesbybob.com", b"sip:bob@192.0.2.4"),
        (b"sip:carol@chicago.com;security=on", b"sip:carol@chicago.com;security=off"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;user=phone"),
        (b"sip:carol@chicago.com", b"sip:carol@chicago.com;maddr=192.0.2.1"),
        (b"sip:carol@chicago.com", b"sips:carol@chicago.com"),
        (b"sip:carol@chicago.com", b"sip:carol:x@chicago.com"),
        (b"sip:carol@chicago.com", b"sip:chicago.com"),
        (b"sip:a%3Bb@example.com", b"sip:a;b@example.com"),  # ";" is reserved: its escape is something else
        (b"sip:a%25b@example.com", b"sip:a%2525b@example.com"),
        (b"sip:alice@example.com?route=a&route=b", b"sip:alice@example.com?route=b"),
    ],
)
def test_different_uris_do_not_match(one: bytes, other: bytes) -> None:
    """Defaults are not filled in, and case counts in the user."""
    assert not sip(one).matches(sip(other))
    assert not sip(other).matches(sip(one))


def test_a_sip_uri_never_matches_another_scheme() -> None:
    """Even where both name the same number."""
    assert not sip(b"sip:+4930123@example.com;user=phone").matches(parse_uri(b"tel:+4930123"))
    assert parse_uri(b"tel:+4930123").matches(parse_uri(b"TEL:+4930123"))


def test_the_same_user_at_another_place() -> None:
    """What a registrar needs: escapes do not matter, case and everything else in the user does."""
    assert sip(b"sip:%61lice@192.0.2.1;ob").same_user(sip(b"sips:alice@example.com"))
    assert not sip(b"sip:alice@example.com").same_user(sip(b"sip:Alice@example.com"))
    assert sip(b"sip:example.com").same_user(sip(b"sip:example.org"))


def test_host_and_port_are_written_together() -> None:
    """IPv6 needs brackets, with and without a port."""
    assert host_port("192.0.2.1", None) == b"192.0.2.1"
    assert host_port("example.com", 5061) == b"example.com:5061"
    assert host_port("2001:db8::1", None) == b"[2001:db8::1]"
    assert host_port("2001:db8::1", 5060) == b"[2001:db8::1]:5060"


def test_a_uri_prints_as_text() -> None:
    """For log lines; octets that are no UTF-8 are shown, not lost."""
    assert str(sip(b"sip:a\xff@example.com")) == "sip:a\\xff@example.com"
    assert str(parse_uri(b"tel:+49")) == "tel:+49"
