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
from collections.abc import Callable
from typing import NamedTuple, NoReturn

from siproxd_tw.sip.grammar import (
    HEADER_NAMES,
    METHODS,
    TOKEN,
    ParseError,
    canonical_name,
    is_token,
    spelling,
)
from siproxd_tw.sip.headers import USUAL_ADDRESS, USUAL_VIA, Field, field_error
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

_request_line = re.compile(rb"(%b) (%b) (?i:SIP/2\.0)\r?\n" % (TOKEN, URI)).fullmatch
_status_line = re.compile(rb"(?i:SIP/2\.0) ([1-6]\d\d)(?: [^\r\n]*+)?\r?\n").fullmatch
_line_of_head = re.compile(rb"[^\r\n]*+\r?\n(?:[ \t][^\r\n]*+\r?\n)*+").match
_version = re.compile(rb"(?i:SIP)/(\d+\.\d+)[ \t]*\r?\n")
_METHOD_NAMES = {name.encode(): name for name in METHODS}


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
    lines, gap = _split_head(data)
    start = lines[0]
    request_line = _request_line(start)
    status_line = None if request_line is not None else _status_line(start)
    if request_line is None and status_line is None:
        _refuse_start_line(start)
    known = _IN_REQUESTS if status_line is None else _IN_RESPONSES
    try:
        fields, first, body_at = _read_fields(data, lines, known)
    except ParseError:
        if b"\n " not in data and b"\n\t" not in data:
            raise
        # To the quick way of splitting, the continuation of a folded line is a line without a colon.
        lines, gap = _split_folded_head(data)
        fields, first, body_at = _read_fields(data, lines, known)
    body_at += len(gap)
    end = _end_of_body(data, body_at, first.get(b"content-length"))
    original = data if end == len(data) else data[:end]
    parts = (original, Field(b"", start, 0), fields, original[body_at:], gap, first)
    if status_line is not None:
        _check_cseq(first[b"cseq"])
        response = Response(*parts)
        response.status = int(status_line[1])
        return response
    assert request_line is not None
    request = Request(*parts)
    method, request.uri_text = request_line.groups()
    request.method = _METHOD_NAMES.get(method) or method.decode("ascii")
    _check_request_uri(request.uri_text, len(method) + 1)
    _check_cseq(first[b"cseq"], method)
    return request


def _split_head(data: bytes) -> tuple[list[bytes], bytes]:
    """Return the lines of the head with their line ends, and the empty line."""
    end = data.find(b"\r\n\r\n")
    if end >= 0:
        head = data[: end + 2]
        lines = head.splitlines(keepends=True)
        if len(lines) == head.count(b"\n") == head.count(b"\r"):  # no line ends in a bare CR or LF
            return lines, b"\r\n"
    return _split_folded_head(data)


def _split_folded_head(data: bytes) -> tuple[list[bytes], bytes]:
    """Do the same with any mixture of folding and line ends.

    A datagram that ends with a header line is a message as well: what is missing is clear.
    """
    lines: list[bytes] = []
    at = 0
    while not data.startswith((b"\r\n", b"\n"), at):
        if at == len(data) and len(lines) > 1:
            return lines, b""
        line = _line_of_head(data, at)
        if line is None:
            raise ParseError("expected a line that ends, and an empty line after the last", "head", at)
        lines.append(line[0])
        at = line.end()
    if not lines:
        raise ParseError("expected a start line", "start line", 0)
    return lines, b"\r\n" if data[at] == 0x0D else b"\n"


def _read_fields(
    data: bytes, lines: list[bytes], known: _Known
) -> tuple[list[Field], dict[bytes, Field], int]:
    """Return all header fields, the first of each name that has a rule, and where the head ends."""
    fields: list[Field] = []
    first: dict[bytes, Field] = {}
    at = len(lines[0])
    # An IPv6 reference matches the usual forms by its letters only: have the elements look at it.
    careful = b"[" in data
    for line in lines[1:]:
        spelt = line.partition(b":")[0]
        name, usual = known.get(spelt) or _unusual_name(line, at, known)
        if usual is None:
            fields.append(Field(name, line, at))
        else:
            match = usual(line, len(spelt) + 1)
            field = Field(name, line, at, match)
            fields.append(field)
            if match is None or careful:
                _check_field(field)
            if name not in first:
                first[name] = field
            elif not _RULES[name].repeatable and not _same_length(field, first[name]):
                raise ParseError("expected this header field only once", spelling(name), at)
        at += len(line)
    if not first.keys() >= _MANDATORY:
        missing = next(name for name in _MANDATORY if name not in first)
        raise ParseError("the header field is missing", spelling(missing), at)
    return fields, first, at


def _unusual_name(line: bytes, at: int, known: _Known) -> tuple[bytes, _Match | None]:
    spelt, colon, _ = line.partition(b":")
    stripped = spelt.rstrip(b" \t")
    if not colon or not is_token(stripped):
        raise ParseError("expected the name of a header field and a colon", "head", at)
    name = canonical_name(stripped)
    return known.get(name) or (name, None)


def _same_length(field: Field, other: Field) -> bool:
    """Return whether these are Content-Lengths that agree: some gateways repeat it."""
    return field.name == b"content-length" and int(field.value) == int(other.value)


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
    if b"[" not in text and b"?" not in text:
        return
    try:
        uri = parse_uri(text)
    except ParseError as error:
        raise ParseError(error.reason, "start line", at + error.position) from None
    if isinstance(uri, SIPURI) and uri.headers:
        # Section 19.1.1, table 1: they are not allowed in a Request-URI.
        raise ParseError("expected a Request-URI without headers", "start line", at + text.index(uri.headers))


def _check_cseq(field: Field, method: bytes | None = None) -> None:
    assert field.parsed is not None
    digits, named = field.parsed.groups()
    if len(digits) > 9 and int(digits) > MAX_CSEQ:
        raise field_error(field, "expected a number below 2**31", field.parsed.start(1))
    if method is not None and named != method:
        # RFC 4475 section 3.1.2.18: 501 for a method that we do not know either.
        status = 400 if method in _METHOD_NAMES else 501
        raise field_error(field, "expected the method of the start line", field.parsed.start(2), status)


def _end_of_body(data: bytes, body_at: int, field: Field | None) -> int:
    if field is None:
        return len(data)
    assert field.parsed is not None
    end = body_at + int(field.parsed[1])
    if end > len(data):
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
    start, fields = line[0], []
    while (following := _line_of_head(data, line.end())) and following[0] not in (b"\r\n", b"\n"):
        line = following
        name = line[0].partition(b":")[0].rstrip(b" \t")
        if b":" in line[0] and is_token(name):
            fields.append(Field(canonical_name(name), line[0], line.start()))
    request = Request(data, Field(b"", start, 0), fields, b"")
    request.method, request.uri_text = method.decode("ascii"), rest.split(b" ")[0].rstrip(b"\r\n")
    try:
        request.vias()
    except ParseError:
        return None
    return request if all(request.first(name) is not None for name in _MANDATORY) else None
