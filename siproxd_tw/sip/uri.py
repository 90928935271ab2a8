# SPDX-License-Identifier: MIT
"""Uniform resource identifiers (RFC 3261 section 19.1).

A SIP URI is taken apart, any other one is a scheme and a text. User and password stay as they were
written: an escape is undone when URIs are compared, never when they are passed on.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv6Address

from siproxd_tw.sip.grammar import (
    HOST,
    PERCENT,
    PORT,
    QUOTED_STRING,
    SWS,
    ParseError,
    host_text,
    is_ip_address,
    parameters,
    unescape,
)

__all__ = ["ADDR_SPEC", "SIPURI", "URI", "OtherURI", "address", "host_port", "parse_uri"]

# Octets that end a URI wherever it stands. Of the others, section 25.1 wants many to be escaped; phones
# send "#" and letters outside of ASCII plainly, and nothing becomes ambiguous by that.
_STOP = rb'\x00-\x20\x7f"<>'
_STOP_PARAMS = rb"\x00-\x20\x7f<>"  # doubango quotes the value of sigcomp-id
_SCHEME = rb"[A-Za-z][A-Za-z0-9+.-]*+"
_SIP = rb"[sS][iI][pP][sS]?:"

SIP_URI = rb"%b(?:[^@%b]*+@)?%b(?::%b)?(?:;[^?%b]*+)?(?:\?[^%b]*+)?" % (
    *(_SIP, _STOP, HOST, PORT, _STOP_PARAMS, _STOP),
)
URI = rb"(?:%b|(?!%b)%b:[^%b]++)" % (SIP_URI, _SIP, _SCHEME, _STOP)
"""Any URI where brackets or blanks enclose it; IPv6 references are still to be judged."""

ADDR_SPEC = rb"(?:%b(?:[^@;?,%b]*+@)?%b(?::%b)?|(?!%b)%b:[^;?,%b]++)" % (
    *(_SIP, _STOP, HOST, PORT),
    *(_SIP, _SCHEME, _STOP),
)
"""A URI without brackets in a header field: it ends before a comma, semicolon or "?" (section 20)."""


def address(sws: bytes, bare: bytes) -> bytes:
    """Return the rule ``( name-addr / addr-spec ) *( SEMI generic-param )``.

    A display name without quotes may hold more than tokens: phones send names of people in any letters,
    and one escapes the quotes it forgot to write. Comma, semicolon, quote and bracket stay excluded.
    """
    words = rb'(?:[^"<>,;\\\x00-\x08\x0b\x0c\x0e-\x1f]++|\\[^\r\n])*+'
    display = rb"(?P<display>%b%b|%b)" % (QUOTED_STRING, SWS, words)
    return rb"(?:(?P<first>%b<(?P<uri>%b)>)|(?P<bare>%b))(?P<params>%b)" % (
        *(display, URI, bare, parameters(sws, b"tag")),
    )


_sip_parts = re.compile(
    rb"(?P<scheme>%b)(?:(?P<user>[^:@%b]*+)(?::(?P<password>[^@%b]*+))?@)?"
    rb"(?P<host>%b)(?::(?P<port>%b))?(?P<params>;[^?%b]*+)?(?P<headers>\?[^%b]*+)?"
    % (_SIP, _STOP, _STOP, HOST, PORT, _STOP_PARAMS, _STOP)
).fullmatch
_other_parts = re.compile(rb"(?!%b)(?P<scheme>%b):(?P<text>[^%b]++)" % (_SIP, _SCHEME, _STOP)).fullmatch
_escaped = re.compile(rb"%[0-9A-Fa-f]{2}")
_RESERVED = b";/?:@&=+$,"

# Section 19.1.4: these make two URIs differ as soon as only one of them has the parameter. `transport` is
# in the examples of that section, not in its rules.
_DECISIVE = frozenset({b"user", b"ttl", b"method", b"maddr", b"transport"})
_CACHED_LENGTH = 200


@lru_cache(256)
def host_port(host: str, port: int | None) -> bytes:
    """Write `host` and `port` the way URIs and Via do: IPv6 in brackets, no port when it is None."""
    name = f"[{host}]" if ":" in host else host
    return (name if port is None else f"{name}:{port}").encode("ascii")


@dataclass(frozen=True, slots=True)
class SIPURI:
    """A ``sip:`` or ``sips:`` URI."""

    scheme: str
    """"sip" or "sips"."""
    user: bytes | None
    """As written, with its escapes; None when there is no ``@``."""
    password: bytes | None
    """As written; None when there is no colon in the userinfo."""
    host: str
    """Lower case; an IPv6 address without brackets."""
    port: int | None
    params: bytes = b""
    """The parameters as written, with the leading semicolon."""
    headers: bytes = b""
    """The headers as written, with the question mark."""

    def param(self, name: bytes) -> bytes | None:
        """Return the value of a parameter as written, b"" for one without a value, None without it."""
        if not self.params:
            return None
        wanted = name.lower()
        for text in self.params[1:].split(b";"):
            key, _, value = text.partition(b"=")
            if unescape(key).lower() == wanted:
                return value
        return None

    @property
    def is_address(self) -> bool:
        """Whether the host is an IP address and no name."""
        return is_ip_address(self.host)

    def same_user(self, other: SIPURI) -> bool:
        """Return whether both name the same user; escapes do not matter, case does."""
        return unescape(self.user or b"") == unescape(other.user or b"")

    def matches(self, other: SIPURI | OtherURI) -> bool:
        """Compare as section 19.1.4 wants it, IPv6 addresses by value (RFC 5954 section 4.2)."""
        return (
            isinstance(other, SIPURI)
            and (self.scheme, self.port) == (other.scheme, other.port)
            and _normal(self.user) == _normal(other.user)
            and _normal(self.password) == _normal(other.password)
            and _host_value(self.host) == _host_value(other.host)
            and _same_params(self.params, other.params)
            and _pairs(self.headers, b"&") == _pairs(other.headers, b"&")
        )

    def __bytes__(self) -> bytes:
        user = b"" if self.user is None else self.user
        if self.password is not None:
            user += b":" + self.password
        at = b"" if self.user is None else b"@"
        place = host_port(self.host, self.port)
        return b"%b:%b%b%b%b%b" % (self.scheme.encode(), user, at, place, self.params, self.headers)

    def __str__(self) -> str:
        return bytes(self).decode("utf-8", "backslashreplace")


@dataclass(frozen=True, slots=True)
class OtherURI:
    """A URI of another scheme (``tel:``, ``urn:``, ...), not taken apart."""

    scheme: str
    """Lower case."""
    text: bytes
    """What follows the colon, as written."""

    def matches(self, other: SIPURI | OtherURI) -> bool:
        """Compare octet by octet, the scheme without case."""
        return self == other

    def __bytes__(self) -> bytes:
        return self.scheme.encode() + b":" + self.text

    def __str__(self) -> str:
        return bytes(self).decode("utf-8", "backslashreplace")


def parse_uri(data: bytes) -> SIPURI | OtherURI:
    """Parse a URI; raises ParseError with the position in `data`."""
    # The same few users make most of the traffic: 0.1 us instead of 3. The bounds keep strangers from filling
    # the memory.
    return _parse_cached(data) if len(data) <= _CACHED_LENGTH else _parse(data)


def _parse(data: bytes) -> SIPURI | OtherURI:
    parts = _sip_parts(data)
    if parts is not None:
        scheme, user, password, host, port, params, headers = parts.groups()
        try:
            name = host_text(host)
        except ParseError as error:
            raise ParseError(error.reason, "URI", parts.start("host")) from None
        number = None if port is None else int(port)
        return SIPURI(
            scheme[:-1].decode().lower(), user, password, name, number, params or b"", headers or b""
        )
    other = _other_parts(data)
    if other is None:
        raise ParseError("expected a URI", "URI", 0)
    return OtherURI(other["scheme"].decode().lower(), other["text"])


_parse_cached = lru_cache(4096)(_parse)


def _normal(text: bytes | None) -> bytes | None:
    """Undo the escapes of characters that need none; the others differ from the character itself."""
    if text is None or PERCENT not in text:
        return text

    def plain(match: re.Match[bytes]) -> bytes:
        octet = bytes([int(match[0][1:], 16)])
        return match[0].upper() if octet in _RESERVED or octet == b"%" else octet

    return _escaped.sub(plain, text)


def _host_value(host: str) -> object:
    if ":" not in host:
        return host
    return IPv6Address(host)


def _pairs(text: bytes, separator: bytes) -> list[tuple[bytes, bytes]]:
    """Return the names and values of parameters or headers in a form to compare, sorted."""
    items = [item.partition(b"=") for item in text[1:].split(separator) if item]
    return sorted((unescape(key).lower(), (_normal(value) or b"").lower()) for key, _, value in items)


def _same_params(mine: bytes, theirs: bytes) -> bool:
    if mine == theirs:
        return True
    first, second = dict(_pairs(mine, b";")), dict(_pairs(theirs, b";"))
    if any(first[key] != second[key] for key in first.keys() & second.keys()):
        return False
    return not (first.keys() ^ second.keys()) & _DECISIVE
