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
    check_line,
    host_text,
    parameters,
    spelling,
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
]

Rule = Callable[..., re.Match[bytes] | None]

_folding = re.compile(rb"[ \t]*\r?\n[ \t]+")
_parameter = re.compile(
    rb"%b;%b(%b)(?:%b=%b(%b|[^\x00-\x20\x7f;,\"<>]*+))?" % (SWS, SWS, TOKEN, SWS, SWS, QUOTED_STRING)
).finditer
_BLANKS = b" \t\r\n"


class CSeq(NamedTuple):
    """The value of CSeq (section 20.16)."""

    number: int
    method: str


class Field:
    """One header field: its line or lines, and what has been done to it."""

    __slots__ = ("_value", "at", "changes", "name", "parsed", "raw", "reason")

    name: bytes
    """Canonical: lower case, long form."""
    raw: bytes
    """The complete header line as it is now, with folding and line end."""
    at: int
    """Where the field starts in the original message, -1 for one that was inserted."""
    parsed: re.Match[bytes] | None
    """What its rule matched in `raw`, if it did."""
    changes: list[Edit] | None
    """What was done to it, in order, each in the positions of its moment; None for nothing."""
    reason: str
    """Why it was inserted; only there if it was."""

    def __init__(self, name: bytes, raw: bytes, at: int = -1, parsed: re.Match[bytes] | None = None) -> None:
        self.name = name
        self.raw = raw
        self.at = at
        self.parsed = parsed
        self.changes = None
        self._value: bytes | None = None

    @property
    def value(self) -> bytes:
        """What the field says: folding undone to single blanks, nothing around it."""
        value = self._value
        if value is None:
            value = self.raw[self.raw.index(b":") + 1 :].strip(_BLANKS)
            self._value = value = _folding.sub(b" ", value) if b"\n" in value else value
        return value

    @property
    def value_span(self) -> tuple[int, int]:
        """Where in `raw` the value stands; an empty one directly after the colon."""
        colon = self.raw.index(b":") + 1
        end = max(colon, len(self.raw.rstrip(_BLANKS)))
        return end - len(self.raw[colon:end].lstrip(_BLANKS)), end

    @property
    def value_at(self) -> int:
        """Where in `raw` the value starts."""
        return self.value_span[0]

    def elements(self) -> list[Element]:
        """Return the values of the field, comma lists split. Raises ParseError."""
        kind = _KINDS.get(self.name, Item)
        return list(kind.read(self)) if self.parsed is None else [kind(self, self.parsed)]

    def edit(self, start: int, end: int, replacement: bytes, reason: str) -> None:
        """Replace ``raw[start:end]``; the elements that somebody holds move with their bytes.

        Raises ValueError when the line end would go or another one come: one field stays one field.
        """
        raw = self.raw
        if not 0 <= start <= end < len(raw):
            raise ValueError(f"{start} to {end} is not in a field of {len(raw)} bytes")
        check_line(replacement)
        if self.changes is None:
            self.changes = []
        self.changes.append(Edit(start, end, replacement, reason))
        self.raw = raw[:start] + replacement + raw[end:]
        self.parsed = self._value = None

    @property
    def edits(self) -> list[Edit]:
        """What was done to the field, in positions of its original bytes."""
        done: list[Edit] = []
        for change in self.changes or ():
            done = compose(done, [change])
        return done

    @property
    def original_length(self) -> int:
        """How many bytes the field had when it was received."""
        return len(self.raw) - sum(map(_growth, self.changes or ()))

    def copy(self) -> Field:
        """Return an independent field in the same state."""
        twin = Field(self.name, self.raw, self.at, self.parsed)
        if self.changes is not None:
            twin.changes = list(self.changes)
        if self.at < 0:
            twin.reason = self.reason
        return twin

    def __repr__(self) -> str:
        return f"<Field {self.raw!r}>"


class Element:
    """One value of a header field, from `start` to `end` of ``field.raw``, without blanks around it.

    It stays what it is when other parts of the field are edited, and shows the edits of its own bytes.
    """

    __slots__ = ("_end", "_match", "_seen", "_start", "field")

    field: Field
    pattern: ClassVar[re.Pattern[bytes]]
    expected: ClassVar[str] = "a value"

    def __init__(self, field: Field, match: re.Match[bytes]) -> None:
        self.field = field
        self._match: re.Match[bytes] | None = match
        self._start, self._end = self._span(match)
        self._seen = len(field.changes or ())

    @classmethod
    def read(cls, field: Field) -> Iterator[Self]:
        """Read the elements of `field` one after the other, and check each."""
        raw, at = field.raw, field.raw.index(b":") + 1
        while True:
            match = cls.pattern.match(raw, at)
            if match is None:
                at = len(raw) - len(raw[at:].lstrip(_BLANKS))
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

    @property
    def start(self) -> int:
        """Where in ``field.raw`` the element starts."""
        self._follow()
        return self._start

    @property
    def end(self) -> int:
        """Where in ``field.raw`` the element ends, its parameters included."""
        self._follow()
        return self._end

    @property
    def text(self) -> bytes:
        """The element as it stands in the field."""
        return self.field.raw[self.start : self.end]

    def param(self, name: bytes) -> bytes | None:
        """Return the value of a parameter as written, b"" for one without a value, None without it."""
        text = self._matched()["params"]
        if b'"' in text:
            return next((value for _, key, value in self._parameters() if key == name), None)
        for item in text.split(b";"):
            key, _, value = item.partition(b"=")
            if key == name or key.strip(_BLANKS).lower() == name:
                return value.strip(_BLANKS)
        return None

    def param_span(self, name: bytes) -> tuple[int, int] | None:
        """Return where in ``field.raw`` a parameter stands, its semicolon included."""
        return next((span for span, key, _ in self._parameters() if key == name), None)

    def _parameters(self) -> Iterator[tuple[tuple[int, int], bytes, bytes]]:
        for found in _parameter(self.field.raw, *self._matched().span("params")):
            yield found.span(), found[1].lower(), found[2] or b""

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return match.start("first"), match.end("params")

    def _matched(self) -> re.Match[bytes]:
        """Return the match in the field as it is now. Raises ParseError when an edit broke it."""
        self._follow()
        match = self._match
        if match is None:
            self._match = match = self.pattern.fullmatch(self.field.raw, self._start, self._end)
            if match is None:
                raise field_error(self.field, f"expected {self.expected}", self._start)
        return match

    def _follow(self) -> None:
        """Take note of what has happened to the field since the last look."""
        changes = self.field.changes
        if changes is None or self._seen == len(changes):
            return
        for change in changes[self._seen :]:
            if change.end <= self._start and not change.start == change.end == self._start:
                self._start += _growth(change)
                self._end += _growth(change)
            elif change.start <= self._end:
                self._start = min(self._start, change.start)
                self._end = max(self._end, change.end) + _growth(change)
        self._seen = len(changes)
        self._match = None

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text!r}>"


def _growth(edit: Edit) -> int:
    return len(edit.replacement) - (edit.end - edit.start)


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

    A display name without quotes may hold more than tokens: phones send names of people in any letters,
    and one escapes the quotes it forgot to write. Comma, semicolon, quote and bracket stay excluded.
    """
    words = rb'(?:[^"<>,;\\\x00-\x08\x0b\x0c\x0e-\x1f]++|\\[^\r\n])*+'
    display = rb"(?P<display>%b%b|%b)" % (QUOTED_STRING, SWS, words)
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
        """The value of rport (RFC 3581 section 5); None when it is absent or has no value."""
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
    def uri_span(self) -> tuple[int, int]:
        """Where in ``field.raw`` the URI stands, without the brackets."""
        match = self._matched()
        return match.span("bare" if match["uri"] is None else "uri")

    @property
    def uri_start(self) -> int:
        """Where in ``field.raw`` the URI starts."""
        return self.uri_span[0]

    @property
    def uri_end(self) -> int:
        """Where in ``field.raw`` the URI ends."""
        return self.uri_span[1]

    @property
    def uri_text(self) -> bytes:
        """The URI as written."""
        match = self._matched()
        return match["uri"] or match["bare"]

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
