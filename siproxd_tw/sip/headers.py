# SPDX-License-Identifier: MIT
"""Header fields as they were received, and typed views of their values (RFC 3261 section 7.3 and 20).

A `Field` owns the bytes of its header line. An `Element` is one value in it: it knows where in
``field.raw`` it stands and reads what it is asked for from there. Nothing is ever written from
elements: whoever changes something changes bytes of the field, and the elements follow.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import ClassVar, NamedTuple, Self

from siproxd_tw.edits import Edit, compose
from siproxd_tw.sip.grammar import (
    HOST,
    LWS,
    PORT,
    QUOTED_STRING,
    SWS,
    TOKEN,
    ParseError,
    host_text,
    parameters,
)
from siproxd_tw.sip.uri import ADDR_SPEC, SIPURI, URI, OtherURI, parse_uri

__all__ = [
    "USUAL_ADDRESS",
    "USUAL_VIA",
    "CSeq",
    "Element",
    "Field",
    "Item",
    "NameAddr",
    "Via",
    "field_error",
    "spelling",
]

Rule = Callable[..., re.Match[bytes] | None]

_folding = re.compile(rb"[ \t]*\r?\n[ \t]+")
_value_at = re.compile(rb"[^:]*+:[ \t\r\n]*+").match
_parameter = re.compile(
    rb"%b;%b(%b)(?:%b=%b(%b|[^\x00-\x20\x7f;,\"<>]*+))?" % (SWS, SWS, TOKEN, SWS, SWS, QUOTED_STRING)
)


class CSeq(NamedTuple):
    """The value of CSeq (section 20.16)."""

    number: int
    method: str


class Field:
    """One header field: its line or lines, and what has been done to it."""

    __slots__ = ("_value", "at", "edits", "name", "parsed", "raw", "reason")

    name: bytes
    """Canonical: lower case, long form."""
    raw: bytes
    """The complete header line as it is now, with folding and line end."""
    at: int
    """Where the field starts in the original message, -1 for one that was inserted."""
    edits: list[Edit] | None
    """What was done to it, in positions of its original bytes; None for nothing."""
    parsed: list[Element] | re.Match[bytes] | None
    """Its elements, or what its rule matched as long as nobody has asked for them."""
    reason: str
    """Why it was inserted; only there if it was."""

    def __init__(self, name: bytes, raw: bytes, at: int = -1, match: re.Match[bytes] | None = None) -> None:
        self.name = name
        self.raw = raw
        self.at = at
        self.edits = None
        self._value: bytes | None = None
        self.parsed = match

    @property
    def value(self) -> bytes:
        """What the field says: folding undone to single blanks, nothing around it."""
        value = self._value
        if value is None:
            value = self.raw[self.raw.index(b":") + 1 :].strip(b" \t\r\n")
            self._value = value = _folding.sub(b" ", value) if b"\n" in value else value
        return value

    @property
    def value_at(self) -> int:
        """Where in `raw` the value starts; for an empty value, where one would go."""
        found = _value_at(self.raw)
        assert found is not None  # every field has a colon
        return found.end() if self.value else self.raw.index(b":") + 1

    @property
    def value_end(self) -> int:
        """Where in `raw` the value ends."""
        return max(self.value_at, len(self.raw.rstrip(b" \t\r\n")))

    def elements(self) -> list[Element]:
        """Return the values of the field, comma lists split. Raises ParseError."""
        known = self.parsed
        if isinstance(known, list):
            return known
        kind = _KINDS.get(self.name, Item)
        elements = list(kind.read(self)) if known is None else [kind(self, known)]
        self.parsed = elements
        return elements

    def edit(self, start: int, end: int, replacement: bytes, reason: str) -> None:
        """Replace ``raw[start:end]`` and let the elements move with their bytes."""
        if not 0 <= start <= end <= len(self.raw):
            raise ValueError(f"{start} to {end} is not in a field of {len(self.raw)} bytes")
        new = Edit(start, end, replacement, reason)
        self.edits = [new] if self.edits is None else compose(self.edits, [new])
        self.raw = self.raw[:start] + replacement + self.raw[end:]
        self._value = None
        if isinstance(self.parsed, list):
            for element in self.parsed:
                element.follow(start, end, len(replacement) - (end - start))
        if b"," in replacement or not isinstance(self.parsed, list):
            self.parsed = None

    def forget(self, element: Element) -> None:
        """Take `element`, whose bytes are gone, off the list of elements."""
        if isinstance(self.parsed, list):
            self.parsed.remove(element)

    @property
    def original_length(self) -> int:
        """How many bytes the field had when it was received."""
        done = self.edits or ()
        return len(self.raw) - sum(len(edit.replacement) - (edit.end - edit.start) for edit in done)

    def copy(self) -> Field:
        """Return an independent field in the same state."""
        twin = Field(self.name, self.raw, self.at)
        twin.edits = None if self.edits is None else list(self.edits)
        twin._value = self._value
        if self.at < 0:
            twin.reason = self.reason
        if isinstance(self.parsed, re.Match):
            twin.parsed = self.parsed
        return twin

    def __repr__(self) -> str:
        return f"<Field {self.raw!r}>"


class Element:
    """One value of a header field, from `start` to `end` of ``field.raw``, without blanks around it."""

    __slots__ = ("_match", "_params", "end", "field", "start")

    field: Field
    start: int
    end: int
    pattern: ClassVar[re.Pattern[bytes]]
    expected: ClassVar[str] = "a value"

    def __init__(self, field: Field, match: re.Match[bytes]) -> None:
        self.field = field
        self._match: re.Match[bytes] | None = match
        self._params: dict[bytes, tuple[int, int, bytes]] | None = None
        self.start, self.end = self._span(match)

    @classmethod
    def read(cls, field: Field) -> Iterator[Self]:
        """Read the elements of `field` one after the other, and check each."""
        raw, at = field.raw, field.raw.index(b":") + 1
        while True:
            match = cls.pattern.match(raw, at)
            if match is None:
                at = len(raw) - len(raw[at:].lstrip(b" \t\r\n"))
                raise field_error(field, f"expected {cls.expected}", at)
            element = cls(field, match)
            element.check()
            yield element
            at = match.end()
            if at == len(raw):
                return
            if raw[at] != 0x2C:
                raise field_error(field, f"expected a comma or the end of the line after {cls.expected}", at)
            at += 1

    def check(self) -> None:
        """Check what `pattern` leaves open. Raises ParseError."""

    def follow(self, start: int, end: int, growth: int) -> None:
        """Take note that ``raw[start:end]`` was replaced by something `growth` bytes longer."""
        self._match = self._params = None
        if end <= self.start and not start == end == self.start:
            self.start += growth
            self.end += growth
        elif start <= self.end:
            self.start = min(self.start, start)
            self.end = max(self.end, end) + growth

    @property
    def text(self) -> bytes:
        """The element as it stands in the field."""
        return self.field.raw[self.start : self.end]

    def param(self, name: bytes) -> bytes | None:
        """Return the value of a parameter as written, b"" for one without a value, None without it."""
        found = self._parameters().get(name.lower())
        return None if found is None else found[2]

    def param_span(self, name: bytes) -> tuple[int, int] | None:
        """Return where in ``field.raw`` a parameter stands, its semicolon included."""
        found = self._parameters().get(name.lower())
        return None if found is None else found[:2]

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return match.start("first"), match.end("params")

    def _matched(self) -> re.Match[bytes]:
        match = self._match
        if match is None:
            self._match = match = self.pattern.fullmatch(self.field.raw, self.start, self.end)
            if match is None:
                raise field_error(self.field, f"expected {self.expected}", self.start)
        return match

    def _parameters(self) -> dict[bytes, tuple[int, int, bytes]]:
        known = self._params
        if known is None:
            match = self._matched()
            self._params = known = {}
            for found in _parameter.finditer(self.field.raw, *match.span("params")):
                span = (found.start(), found.end(), found[2] or b"")
                known.setdefault(found[1].lower(), span)
        return known

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text!r}>"


def field_error(field: Field, reason: str, at: int, status: int = 400) -> ParseError:
    """Make the error for position `at` of ``field.raw``."""
    return ParseError(reason, spelling(field.name), max(field.at, 0) + at, status)


def _via(sws: bytes, lws: bytes) -> bytes:
    """Return the rule ``via-parm``, with these blanks between its parts."""
    return (rb"(?P<first>(?P<name>%b)%b/%b(?P<version>%b)%b/%b(?P<transport>%b))%b") % (
        *(TOKEN, sws, sws, TOKEN, sws, sws, TOKEN, lws),
    ) + rb"(?P<host>%b)(?:%b:%b(?P<port>%b))?(?P<params>%b)" % (HOST, sws, sws, PORT, parameters(sws))


def _address(sws: bytes, bare: bytes) -> bytes:
    """Return the rule ``( name-addr / addr-spec ) *( SEMI generic-param )``.

    A display name without quotes may hold more than tokens (phones send names of people with any
    letters), but no comma, semicolon, quote or bracket.
    """
    display = rb'(?P<display>%b%b|[^"<>,;\x00-\x08\x0b\x0c\x0e-\x1f]*+)' % (QUOTED_STRING, sws)
    return rb"(?:(?P<first>%b<(?P<uri>%b)>)|(?P<bare>%b))(?P<params>%b)" % (
        *(display, URI, bare, parameters(sws)),
    )


USUAL_VIA = re.compile(rb" ?%b\r\n" % _via(b"", b" ")).fullmatch
"""A complete Via line, after the colon, the way nearly everybody writes it; holds no IPv6 check."""

USUAL_ADDRESS = re.compile(rb" ?%b\r\n" % _address(b"", ADDR_SPEC)).fullmatch
"""The same for one name-addr or addr-spec; not for ``Contact: *``."""


class Via(Element):
    """One ``via-parm`` (section 20.42)."""

    __slots__ = ()
    pattern = re.compile(SWS + _via(SWS, LWS) + SWS)
    expected = "SIP/2.0/transport, blank, host"

    def check(self) -> None:
        """Check that an IPv6 reference is one."""
        try:
            host_text(self._matched()["host"])
        except ParseError as error:
            raise field_error(self.field, error.reason, self._matched().start("host")) from None

    @property
    def transport(self) -> str:
        """The transport in upper case: "UDP"."""
        return self._matched()["transport"].decode("ascii").upper()

    @property
    def host(self) -> str:
        """The host of sent-by, lower case, IPv6 without brackets."""
        return host_text(self._matched()["host"])

    @property
    def port(self) -> int | None:
        """The port of sent-by, None when it is not written."""
        port = self._matched()["port"]
        return None if port is None else int(port)

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Host and port together, as they are compared (section 17.2.3)."""
        return self.host, self.port

    @property
    def sent_by_span(self) -> tuple[int, int]:
        """Where in ``field.raw`` host and port stand."""
        match = self._matched()
        return match.start("host"), match.end("host" if match["port"] is None else "port")

    @property
    def branch(self) -> bytes | None:
        """The branch parameter, None without one."""
        return self.param(b"branch")

    @property
    def received(self) -> str | None:
        """The received parameter; IPv6 without brackets, which some write (RFC 5118 section 4.5)."""
        value = self.param(b"received")
        return None if value is None else value.decode("ascii", "backslashreplace").strip("[]").lower()

    @property
    def rport(self) -> int | None:
        """The value of rport (RFC 3581); None when it is absent or has no value."""
        value = self.param(b"rport") or b""
        return int(value) if value.isdigit() and len(value) < 6 else None


class NameAddr(Element):
    """One ``name-addr`` or ``addr-spec`` with the parameters of the header field (section 20.10)."""

    __slots__ = ()
    pattern = re.compile(SWS + _address(SWS, rb"\*|" + ADDR_SPEC) + SWS)
    expected = "an address"

    def check(self) -> None:
        """Check IPv6 references, and that ``*`` stands alone and in a Contact only."""
        if self.is_wildcard:
            raw = self.field.raw
            if self.field.name != b"contact" or raw[self.field.raw.index(b":") + 1 :].strip() != b"*":
                raise field_error(
                    self.field, "expected an address, * only stands alone in Contact", self.start
                )
            return
        try:
            parse_uri(self.uri_text)
        except ParseError as error:
            raise field_error(self.field, error.reason, self.uri_start + error.position) from None

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return max(match.start("first"), match.start("bare")), match.end("params")

    @property
    def display(self) -> bytes:
        """The display name as written, with its quotes; b"" without one."""
        return (self._matched()["display"] or b"").rstrip(b" \t\r\n")

    @property
    def bracketed(self) -> bool:
        """Whether the URI stands in angle brackets."""
        return self._matched()["uri"] is not None

    @property
    def uri_start(self) -> int:
        """Where in ``field.raw`` the URI starts, behind the bracket."""
        return self._matched().start("uri" if self.bracketed else "bare")

    @property
    def uri_end(self) -> int:
        """Where in ``field.raw`` the URI ends, before the bracket."""
        return self._matched().end("uri" if self.bracketed else "bare")

    @property
    def uri_text(self) -> bytes:
        """The URI as written."""
        return self._matched()["uri"] or self._matched()["bare"]

    @property
    def uri(self) -> SIPURI | OtherURI:
        """The URI, taken apart."""
        return parse_uri(self.uri_text)

    @property
    def tag(self) -> bytes | None:
        """The tag parameter, None without one."""
        return self.param(b"tag")

    @property
    def is_wildcard(self) -> bool:
        """Whether this is ``Contact: *``."""
        return self._matched()["bare"] == b"*"


class Item(Element):
    """One value of a list that is not taken apart further: option tags, methods, and so on."""

    __slots__ = ()
    pattern = re.compile(rb'%b(?P<first>(?:[^,"<]++|%b|<[^>]*+>|["<])*+)(?P<params>)' % (SWS, QUOTED_STRING))

    @classmethod
    def read(cls, field: Field) -> Iterator[Self]:
        """Read the items; empty ones are no elements."""
        return (item for item in super().read(field) if item.end > item.start)

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return match.start("first"), match.start("first") + len(match["first"].rstrip(b" \t\r\n"))


_KINDS: dict[bytes, type[Element]] = {b"via": Via} | dict.fromkeys(
    (
        *(b"from", b"to", b"contact", b"route", b"record-route", b"path", b"service-route"),
        *(b"refer-to", b"referred-by", b"reply-to", b"diversion", b"remote-party-id"),
        *(b"p-asserted-identity", b"p-preferred-identity", b"p-associated-uri", b"p-called-party-id"),
        *(b"history-info", b"alert-info", b"call-info", b"error-info"),
    ),
    NameAddr,
)


def spelling(name: bytes) -> str:
    """Return `name` the way it is printed for people: Call-ID, CSeq, Max-Forwards."""
    special = {b"call-id": "Call-ID", b"cseq": "CSeq", b"www-authenticate": "WWW-Authenticate"}
    return special.get(name) or name.decode("ascii", "backslashreplace").title()
