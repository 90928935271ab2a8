# SPDX-License-Identifier: MIT
"""From bytes to messages (RFC 3261 sections 7, 16.3 step 1 and 18.3).

1. The head is read once, line by line. A header field that the proxy relies on must match its rule;
   all others only need a name and a colon.
2. A rule has a usual form, one regular expression that nearly every line matches, and the complete
   grammar in `siproxd_tw.sip.headers`, which has the last word.
3. Either there is a message whose typed values can be read without errors, or a ParseError that
   knows header, position, and what to answer to whom.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, NamedTuple, NoReturn

from siproxd_tw.sip.grammar import (
    BRACKET,
    HEADER_NAMES,
    LF,
    METHOD_NAMES,
    QUESTION,
    TOKEN,
    ParseError,
    canonical_name,
    is_token,
    spelling,
)
from siproxd_tw.sip.headers import USUAL_ADDRESS, USUAL_VIA, Field, field_error, value_of
from siproxd_tw.sip.lines import Places
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.uri import SIPURI, URI, parse_uri

__all__ = ["note_request", "parse"]

MAX_CSEQ = 2**31 - 1
"""Section 8.1.1.5."""


_Match = Callable[..., re.Match[bytes] | None]


class _Rule(NamedTuple):
    """What a header field must look like."""

    usual: _Match
    """Matches what follows the colon, line end included."""
    expected: str
    """Its complete grammar in words; empty when that is left to the elements of the field."""
    repeatable: bool = False
    """Whether there may be several of them."""
    requests_only: bool = False


def _line(pattern: bytes) -> _Match:
    return re.compile(rb"[ \t\r\n]*+" + pattern + rb"[ \t\r\n]*+").fullmatch


# RFC 1123 dates, and nothing but GMT (section 20.17).
_DATE = rb"(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT"

_RULES = {
    b"via": _Rule(USUAL_VIA, "", repeatable=True),
    b"from": _Rule(USUAL_ADDRESS, ""),
    b"to": _Rule(USUAL_ADDRESS, ""),
    b"contact": _Rule(USUAL_ADDRESS, "", repeatable=True),
    b"route": _Rule(USUAL_ADDRESS, "", repeatable=True),
    b"record-route": _Rule(USUAL_ADDRESS, "", repeatable=True),
    b"call-id": _Rule(_line(rb"([^\x00-\x20\x7f]++)"), "one word without blanks"),
    b"cseq": _Rule(_line(rb"(\d{1,10})[ \t\r\n]++(%b)" % TOKEN), "a number, a blank and a method"),
    # Any number, because a value out of range is read as if it were absent (RFC 4475 section 3.1.2.4);
    # what is not a number at all is refused.
    b"max-forwards": _Rule(_line(rb"(-?\d{1,18})"), "a number", requests_only=True),
    b"content-length": _Rule(_line(rb"(\d{1,18})"), "a number of bytes"),
    b"date": _Rule(_line(_DATE), "a date in GMT", repeatable=True, requests_only=True),
}

# From a name as it is spelt to the canonical one and what to match its line with.
_Known = dict[bytes, tuple[bytes, _Match | None]]
_IN_REQUESTS: _Known = {
    spelt: (name, _RULES[name].usual if name in _RULES else None) for spelt, name in HEADER_NAMES.items()
}
_IN_RESPONSES: _Known = _IN_REQUESTS | {
    spelt: (name, None)
    for spelt, name in HEADER_NAMES.items()
    if name in _RULES and _RULES[name].requests_only
}
_MANDATORY = dict.fromkeys((b"via", b"from", b"to", b"call-id", b"cseq")).keys()

# What a line says does not depend on the message that it is in, and most lines of a phone are the same in
# all its messages: who it is, what it can do, how many hops it allows. They are read once: an INVITE with 14
# lines costs 12 us instead of 19. Those that differ in each message are not kept, nor long ones; all that
# strangers can fill are 4096 lines of 200 bytes.
_MOST_KEPT = 4096
_LONGEST_KEPT = 200
_NEVER_AGAIN = frozenset(
    {
        *(b"via", b"call-id", b"cseq", b"date", b"timestamp", b"session-id", b"rack", b"rseq"),
        *(b"authorization", b"proxy-authorization", b"www-authenticate", b"proxy-authenticate"),
    }
)

_Read = tuple[bytes, re.Match[bytes] | None]
"""The name of a header line, and what its rule has matched, if it has one and the line its usual form."""
_Head = tuple[tuple[bytes, ...], Sequence[re.Match[bytes] | None], Places]
"""Names, matches, and the first place of each name, as `Message` takes them."""
_START: _Read = (b"", None)


class _Reader:
    """The header lines of requests, or of responses, which have to obey fewer rules."""

    def __init__(self, known: _Known) -> None:
        self.known = known
        ruled = {name for name, usual in known.values() if usual is not None}
        self.once = frozenset(name for name in ruled if not _RULES[name].repeatable)
        self._kept: dict[bytes, _Read] = {}

    def read(self, lines: list[bytes], size: int) -> _Head:
        """Read start line and header lines, `size` bytes. Raises ParseError, without the right position."""
        found: list[Any] = [*map(self._kept.get, lines)]
        found[0] = _START
        for index, read in enumerate(found):
            if read is None:
                found[index] = self._read(lines[index])
        names: tuple[bytes, ...]
        names, matches = zip(*found, strict=False)
        where = (_places_kept if size <= _LARGEST_HEAD_KEPT else _places)(names, self.once)
        return names, matches, where

    def _read(self, line: bytes) -> _Read:
        spelt = line.partition(b":")[0]
        name, usual = self.known.get(spelt) or _unusual_name(line, 0, self.known)
        match = None
        if usual is not None:
            match = usual(line, len(spelt) + 1)
            if match is None or BRACKET in line:
                _check_field(Field(name, line, 0, match))
        if line[-1] != LF:
            raise ParseError("expected a line that ends", "head", 0)
        read = (name, match)
        if name not in _NEVER_AGAIN and len(line) <= _LONGEST_KEPT:
            if len(self._kept) >= _MOST_KEPT:
                self._kept.clear()
            self._kept[line] = read
        return read


def _places(names: tuple[bytes, ...], once: frozenset[bytes]) -> Places:
    """Return the first place of each name. Raises ParseError when one is missing, or there too often."""
    where = Places(names)
    if not where.keys() >= _MANDATORY or where.repeated & once:
        raise ParseError("not the header fields of a message", "head", 0)
    return where


# The names of a phone's headers and their order are the same each time, too: 0.2 us instead of 2.
_places_kept = lru_cache(1024)(_places)
_LARGEST_HEAD_KEPT = 4096

_REQUESTS = _Reader(_IN_REQUESTS)
_RESPONSES = _Reader(_IN_RESPONSES)

_request_line = re.compile(rb"(%b) (%b) (?i:SIP/2\.0)\r?\n" % (TOKEN, URI)).fullmatch
_status_line = re.compile(rb"(?i:SIP/2\.0) ([1-6]\d\d)(?: [^\r\n]*+)?\r?\n").fullmatch
_line_of_head = re.compile(rb"[^\r\n]*+\r?\n(?:[ \t][^\r\n]*+\r?\n)*+").match
_version = re.compile(rb"(?i:SIP)/(\d+\.\d+)[ \t]*\r?\n")


def parse(data: bytes) -> Request | Response:
    """Read the message that one datagram holds.

    Empty lines before it are skipped. A Content-Length shorter than the rest of the datagram cuts it, a
    longer one is an error, and without one the body goes to the end (section 18.3). Raises ParseError.
    """
    skipped = 0
    if data[:1] in (b"\r", b"\n"):
        skipped = len(data) - len(data.lstrip(b"\r\n"))
        data = data[skipped:]
    try:
        return _read(data)
    except ParseError as error:
        note_request(error, data)
        error.position += skipped
        raise


def _read(data: bytes) -> Request | Response:
    try:
        lines, gap, body_at = _split_head(data)
        line = lines[0]
        start = _start_line_kept(line) if len(line) <= _LONGEST_KEPT else _start_line(line)
        names, matches, where = (_RESPONSES if start.status else _REQUESTS).read(lines, body_at)
    except ParseError:  # folded, or with other line ends, or wrong
        lines, gap, body_at = _split_any_head(data)
        start = _start_line(lines[0])
        names, matches, where = _read_strictly(lines, _RESPONSES if start.status else _REQUESTS)
    end = len(data)
    if b"content-length" in where:
        end = _end_of_body(data, body_at, lines, where[b"content-length"], matches)
    original = data if end == len(data) else data[:end]
    if start.method:
        _check_request_uri(start.uri, len(start.method) + 1)
    _check_cseq(lines, where[b"cseq"], matches, start.method)
    lines += (gap, original[body_at:])
    if start.status:
        response = Response(original, lines, names, where, matches)
        response.status = start.status
        return response
    request = Request(original, lines, names, where, matches)
    request.method, request.uri_text = start.name, start.uri
    return request


class _StartLine(NamedTuple):
    """What a start line says."""

    method: bytes
    name: str
    uri: bytes
    status: int
    """0 in a request."""


def _start_line(line: bytes) -> _StartLine:
    request = _request_line(line)
    if request is not None:
        method, uri = request.groups()
        return _StartLine(method, METHOD_NAMES.get(method) or method.decode("ascii"), uri, 0)
    status = _status_line(line)
    if status is None:
        _refuse_start_line(line)
    return _StartLine(b"", "", b"", int(status[1]))


_start_line_kept = lru_cache(_MOST_KEPT)(_start_line)


def _split_head(data: bytes) -> tuple[list[bytes], bytes, int]:
    """Return the lines of the usual head with their ends, the empty line, and where the body is."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        raise ParseError("expected an empty line", "head", 0)
    return data[: end + 2].splitlines(keepends=True), b"\r\n", end + 4


def _split_any_head(data: bytes) -> tuple[list[bytes], bytes, int]:
    """Do the same with any mixture of folding and line ends; has the last word.

    A datagram that ends with a header line is a message as well: what is missing is clear.
    """
    lines: list[bytes] = []
    at = 0
    while not data.startswith((b"\r\n", b"\n"), at):
        if at == len(data) and len(lines) > 1:
            return lines, b"", at
        line = _line_of_head(data, at)
        if line is None:
            raise ParseError("expected a line that ends, and an empty line after the last", "head", at)
        lines.append(line[0])
        at = line.end()
    if not lines:
        raise ParseError("expected a start line", "start line", 0)
    gap = b"\r\n" if data[at] == 0x0D else b"\n"
    return lines, gap, at + len(gap)


def _read_strictly(lines: list[bytes], expected: _Reader) -> _Head:
    """Read the lines of a head one after the other; the first ParseError has the right position."""
    names, where = [b""], dict[bytes, int]()
    matches: list[re.Match[bytes] | None] = [None]
    at = len(lines[0])
    for index, line in enumerate(lines[1:], 1):
        spelt = line.partition(b":")[0]
        name, usual = expected.known.get(spelt) or _unusual_name(line, at, expected.known)
        field = Field(name, line, at, None if usual is None else usual(line, len(spelt) + 1))
        if usual is not None and (field.parsed is None or BRACKET in line):
            _check_field(field)
        if name in where and name in expected.once and not _same_length(field, lines[where[name]]):
            raise ParseError("expected this header field only once", spelling(name), at)
        names.append(name)
        matches.append(field.parsed)
        where.setdefault(name, index)
        at += len(line)
    if not where.keys() >= _MANDATORY:
        missing = next(name for name in _MANDATORY if name not in where)
        raise ParseError("the header field is missing", spelling(missing), at)
    return tuple(names), matches, Places(tuple(names))


def _unusual_name(line: bytes, at: int, known: _Known) -> tuple[bytes, _Match | None]:
    spelt, colon, _ = line.partition(b":")
    stripped = spelt.rstrip(b" \t")
    if not colon or not is_token(stripped):
        raise ParseError("expected the name of a header field and a colon", "head", at)
    name = canonical_name(stripped)
    return known.get(name) or (name, None)


def _same_length(field: Field, other: bytes) -> bool:
    """Return whether these are Content-Lengths that agree: some gateways repeat it."""
    return field.name == b"content-length" and int(field.value) == int(value_of(other))


def _check_field(field: Field) -> None:
    """Check a field that is not in its usual form, or has an IPv6 reference."""
    rule = _RULES[field.name]
    if rule.expected:
        if field.parsed is None:
            raise field_error(field, f"expected {rule.expected}", field.value_at)
        return
    elements = field.elements()
    for element in elements:
        element.check()
    if len(elements) > 1 and not rule.repeatable:
        raise field_error(field, "expected only one address", elements[1].start)


def _check_request_uri(text: bytes, at: int) -> None:
    if BRACKET not in text and QUESTION not in text:
        return
    try:
        uri = parse_uri(text)
    except ParseError as error:
        raise ParseError(error.reason, "start line", at + error.position) from None
    if isinstance(uri, SIPURI) and uri.headers:
        # Section 19.1.1, table 1: they are not allowed in a Request-URI.
        raise ParseError("expected a Request-URI without headers", "start line", at + text.index(uri.headers))


def _check_cseq(
    lines: list[bytes], index: int, matches: Sequence[re.Match[bytes] | None], method: bytes
) -> None:
    """Check the number, and in a request that it is about this `method`."""
    match = matches[index]
    assert match is not None
    digits, named = match.groups()
    if len(digits) > 9 and int(digits) > MAX_CSEQ:
        field = Field(b"cseq", lines[index], lines=lines, index=index)
        raise field_error(field, "expected a number below 2**31", match.start(1))
    if method and named != method:
        # RFC 4475 section 3.1.2.18: 501 for a method that we do not know either.
        status = 400 if method in METHOD_NAMES else 501
        field = Field(b"cseq", lines[index], lines=lines, index=index)
        raise field_error(field, "expected the method of the start line", match.start(2), status)


def _end_of_body(
    data: bytes, body_at: int, lines: list[bytes], index: int, matches: Sequence[re.Match[bytes] | None]
) -> int:
    match = matches[index]
    assert match is not None
    end = body_at + int(match[1])
    if end > len(data):
        field = Field(b"content-length", lines[index], lines=lines, index=index)
        raise field_error(field, f"only {len(data) - body_at} bytes of body arrived", field.value_at)
    return end


def _refuse_start_line(line: bytes) -> NoReturn:
    """Say what is wrong with a start line."""
    version = _version.search(line)
    if version is not None and version[1] != b"2.0":
        raise ParseError("expected SIP/2.0", "start line", version.start(), 505)
    if line[:4].upper() == b"SIP/":
        raise ParseError("expected SIP/2.0, a status code from 100 to 699 and a phrase", "start line", 0)
    words = line.rstrip(b"\r\n").split(b" ")
    if not is_token(words[0]):
        raise ParseError("expected a method or SIP/2.0", "start line", 0)
    at = len(words[0]) + 1
    if len(words) != 3 or version is None:
        raise ParseError("expected a method, a URI and SIP/2.0, one blank between them", "start line", at)
    raise ParseError("expected a URI", "start line", at)


def note_request(error: ParseError, data: bytes) -> None:
    """Tell `error` whom to answer; when nobody can be answered, or must not, only a drop is left."""
    error.request = _answerable(data)
    if error.request is None:
        error.status = None


def _answerable(data: bytes) -> Request | None:
    """Return as much of a broken request as its response needs (section 8.2.6)."""
    line = _line_of_head(data)
    method, blank, rest = (line[0] if line is not None else b"").partition(b" ")
    if line is None or not blank or not is_token(method) or method == b"ACK":  # nobody answers an ACK
        return None
    lines, names = [line[0]], [b""]
    while (following := _line_of_head(data, line.end())) and following[0] not in (b"\r\n", b"\n"):
        line = following
        name = line[0].partition(b":")[0].rstrip(b" \t")
        lines.append(line[0])
        names.append(canonical_name(name) if b":" in line[0] and is_token(name) else b"?")
    lines += (b"", data[line.end() :])
    request = Request(data, lines, tuple(names), Places(tuple(names)), (None,) * len(names))
    request.method, request.uri_text = method.decode("ascii"), rest.split(b" ")[0].rstrip(b"\r\n")
    try:
        request.vias()
    except ParseError:
        return None
    return request if all(request.first(name) is not None for name in _MANDATORY) else None
