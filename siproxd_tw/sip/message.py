# SPDX-License-Identifier: MIT
"""Requests and responses, and those that follow from others: answers, ACK, CANCEL (RFC 3261 section 7).

A message that is made here repeats the lines of the one it follows from and is its own original.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Self

from siproxd_tw.sip.genericmessage import Message
from siproxd_tw.sip.grammar import REASONS, ParseError, canonical_name, check_line
from siproxd_tw.sip.headers import Field
from siproxd_tw.sip.lines import Places
from siproxd_tw.sip.uri import SIPURI, OtherURI, parse_uri

__all__ = ["REASONS", "Message", "Request", "Response", "ack_for", "cancel_for", "local_tag", "response_to"]


class Request(Message):
    """A request (section 7.1)."""

    __slots__ = ("method", "uri_text")

    method: str
    """The method; methods are compared with case."""
    uri_text: bytes
    """The Request-URI as written."""

    @classmethod
    def build(cls, method: str, uri: bytes, headers: Sequence[bytes], body: bytes = b"") -> Self:
        """Make a request of header lines without line ends; Content-Length is added when it is absent."""
        start = b"%b %b SIP/2.0" % (method.encode(), uri)
        check_line(start)
        lines, names = [start + b"\r\n"], [b""]
        _append(lines, names, headers)
        request = cls(*_assemble(lines, names, body))
        request.method, request.uri_text = method, uri
        return request

    @property
    def uri(self) -> SIPURI | OtherURI:
        """The Request-URI, taken apart."""
        return parse_uri(self.uri_text)

    def set_uri(self, new: bytes, reason: str) -> None:
        """Replace the Request-URI."""
        start = self.start_line.raw.index(b" ") + 1
        self.edit(self.start_line, start, start + len(self.uri_text), new, reason)
        self.uri_text = new

    def copy(self) -> Self:
        """Return an independent request in the same state."""
        twin = super().copy()
        twin.method, twin.uri_text = self.method, self.uri_text
        return twin

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.uri_text.decode('utf-8', 'backslashreplace')}>"


class Response(Message):
    """A response (section 7.2)."""

    __slots__ = ("status",)

    status: int
    """The status code, 100 to 699."""

    @classmethod
    def build(cls, status: int, phrase: bytes, headers: Sequence[bytes], body: bytes = b"") -> Self:
        """Make a response of header lines without line ends; Content-Length is added when it is absent."""
        check_line(phrase)
        lines, names = [b"SIP/2.0 %d %b\r\n" % (status, phrase)], [b""]
        _append(lines, names, headers)
        response = cls(*_assemble(lines, names, body))
        response.status = status
        return response

    @property
    def reason(self) -> bytes:
        """The reason phrase as written."""
        return self.start_line.raw[12:].strip(b" \t\r\n")

    def set_status(self, status: int, reason_phrase: bytes, reason: str) -> None:
        """Replace status code and reason phrase."""
        end = len(self.start_line.raw.rstrip(b"\r\n"))
        self.edit(self.start_line, 8, end, b"%d %b" % (status, reason_phrase), reason)
        self.status = status

    def copy(self) -> Self:
        """Return an independent response in the same state."""
        twin = super().copy()
        twin.status = self.status
        return twin

    def __repr__(self) -> str:
        return f"<Response {self.status} {self.reason.decode('utf-8', 'backslashreplace')}>"


def response_to(
    request: Request,
    status: int,
    phrase: bytes | None = None,
    *,
    to_tag: bytes = b"",
    headers: Sequence[bytes] = (),
    body: bytes = b"",
) -> Response:
    """Make the response to `request` (section 8.2.6).

    Its Via, From, To, Call-ID and CSeq are the lines of the request, in their order; `to_tag` goes to a To
    that has none, except in a 100, which has the Timestamp instead. `headers` are lines without line ends.
    """
    text = REASONS.get(status, b"Unknown") if phrase is None else phrase
    check_line(text)
    copied, only_once = (_IN_100, _ONCE_IN_100) if status == 100 else (_IN_ANSWERS, _ONCE)
    lines, names = [b"SIP/2.0 %d %b\r\n" % (status, text)], [b""]
    for name, line in request.header_lines():
        if name in copied and (name not in only_once or name not in names):
            if name == b"to" and to_tag and status != 100:
                line = _tagged(request, line, to_tag)
            lines.append(line if line[-2:] == b"\r\n" else line.rstrip(b"\r\n") + b"\r\n")
            names.append(name)
    _append(lines, names, headers)
    response = Response(*_assemble(lines, names, body))
    response.status = status
    return response


_ONCE = frozenset({b"from", b"to", b"call-id", b"cseq"})
_ONCE_IN_100 = _ONCE | {b"timestamp"}
_IN_ANSWERS = _ONCE | {b"via"}
_IN_100 = _ONCE_IN_100 | {b"via"}


def local_tag(request: Request, secret: bytes) -> bytes:
    """Return the To tag that our own answers to `request` carry.

    It is the same for every retransmission and for the ACK, so that a refusal without
    a transaction is consistent (RFC 3261 8.2.7). The request may be malformed: only its
    Via has to be readable.
    """
    seed = b"\0".join(
        (request.value(b"call-id") or b"", request.value(b"from") or b"", request.top_via.branch or b"")
    )
    return hashlib.blake2b(seed, digest_size=8, key=secret).hexdigest().encode()


def ack_for(request: Request, response: Response) -> Request:
    """Make the ACK of `request`, as it was sent, for a `response` of 300 or more (section 17.1.1.3)."""
    return _same_hop(request, b"ACK", response.first(b"to"))


def cancel_for(request: Request) -> Request:
    """Make the CANCEL of `request`, as it was sent (section 9.1)."""
    return _same_hop(request, b"CANCEL", None)


_OF_THE_SAME_HOP = frozenset({b"from", b"to", b"call-id", b"route"})


def _same_hop(request: Request, method: bytes, to: Field | None) -> Request:
    lines = [
        *(b"%b %b SIP/2.0\r\n" % (method, request.uri_text), b"Via: %b\r\n" % request.top_via.text),
        b"Max-Forwards: 70\r\n",
    ]
    names = [b"", b"via", b"max-forwards"]
    for name, line in request.header_lines():
        if name in _OF_THE_SAME_HOP:
            if name == b"to" and to is not None:
                line = to.raw
            lines.append(line if line[-2:] == b"\r\n" else line.rstrip(b"\r\n") + b"\r\n")
            names.append(name)
    lines.append(b"CSeq: %d %b\r\n" % (request.cseq.number, method))
    names.append(b"cseq")
    made = Request(*_assemble(lines, names, b""))
    made.method, made.uri_text = method.decode(), request.uri_text
    return made


def _tagged(request: Request, line: bytes, tag: bytes) -> bytes:
    """Return the To line with a tag; one that cannot be read, in a request refused for it, stays."""
    match = request.match_of(b"to")
    if match is not None and not match["params"]:
        end: int = match.end("params")
    else:
        try:
            to = request.to
            end = to.end
        except ParseError:
            return line
        if to.tag is not None:
            return line
    return line[:end] + b";tag=" + tag + b"\r\n"


def _append(lines: list[bytes], names: list[bytes], headers: Sequence[bytes]) -> None:
    """Append header lines that come without line ends."""
    for line in headers:
        check_line(line)
        lines.append(line + b"\r\n")
        names.append(canonical_name(line[: line.index(b":")].rstrip(b" \t")))


def _assemble(
    lines: list[bytes], names: list[bytes], body: bytes
) -> tuple[bytes, list[bytes], tuple[bytes, ...], Places, tuple[None, ...]]:
    """Make the arguments of a message that is its own original, of its start line and header lines."""
    if b"content-length" not in names:
        lines.append(b"Content-Length: %d\r\n" % len(body))
        names.append(b"content-length")
    lines += (b"\r\n", body)
    known = tuple(names)
    return b"".join(lines), lines, known, Places(known), (None,) * len(known)
