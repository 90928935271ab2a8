# SPDX-License-Identifier: MIT
"""Requests and responses, and those that follow from others: answers, ACK, CANCEL (RFC 3261 section 7).

A message that is made here repeats the lines of the one it follows from and is its own original.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self, cast

from siproxd_tw.sip.genericmessage import Message
from siproxd_tw.sip.grammar import REASONS, ParseError, canonical_name, check_line
from siproxd_tw.sip.headers import Field, NameAddr
from siproxd_tw.sip.uri import SIPURI, OtherURI, parse_uri

__all__ = ["REASONS", "Message", "Request", "Response", "ack_for", "cancel_for", "response_to"]


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
        request = cls(*_assemble(b"%b %b SIP/2.0\r\n" % (method.encode(), uri), headers, body))
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
        response = cls(*_assemble(b"SIP/2.0 %d %b\r\n" % (status, phrase), headers, body))
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
    copied = _DIALOG_FIELDS | {b"timestamp"} if status == 100 else _DIALOG_FIELDS
    lines: list[bytes] = []
    for field in request.fields:
        if field.name == b"via" or (field.name in copied and field is request.first(field.name)):
            line = field.raw
            if field.name == b"to" and to_tag and status != 100:
                line = _tagged(field, to_tag)
            lines.append(line.rstrip(b"\r\n"))
    text = REASONS.get(status, b"Unknown") if phrase is None else phrase
    return Response.build(status, text, [*lines, *headers], body)


def ack_for(request: Request, response: Response) -> Request:
    """Make the ACK of `request`, as it was sent, for a `response` of 300 or more (section 17.1.1.3)."""
    return _same_hop(request, "ACK", response.first(b"to"))


def cancel_for(request: Request) -> Request:
    """Make the CANCEL of `request`, as it was sent (section 9.1)."""
    return _same_hop(request, "CANCEL", request.first(b"to"))


_DIALOG_FIELDS = frozenset({b"from", b"to", b"call-id", b"cseq"})


def _same_hop(request: Request, method: str, to: Field | None) -> Request:
    lines = [b"Via: " + request.top_via.text, b"Max-Forwards: 70"]
    for field in request.fields:
        if field.name == b"to":
            field = to or field
        if field.name in (b"from", b"to", b"call-id", b"route"):
            lines.append(field.raw.rstrip(b"\r\n"))
    lines.append(b"CSeq: %d %b" % (request.cseq.number, method.encode()))
    return Request.build(method, request.uri_text, lines)


def _tagged(field: Field, tag: bytes) -> bytes:
    """Return the To line with a tag; one that cannot be read, in a request refused for it, stays."""
    try:
        to = cast(NameAddr, field.elements()[0])
    except ParseError:
        return field.raw
    return field.raw if to.tag is not None else field.raw[: to.end] + b";tag=" + tag


def _assemble(start: bytes, headers: Sequence[bytes], body: bytes) -> tuple[bytes, Field, list[Field], bytes]:
    """Make the arguments of a message that is its own original."""
    check_line(start.removesuffix(b"\r\n"))
    at = len(start)
    fields: list[Field] = []
    for line in headers:
        check_line(line)
        fields.append(Field(canonical_name(line[: line.index(b":")].rstrip(b" \t")), line + b"\r\n", at))
        at += len(line) + 2
    if not any(field.name == b"content-length" for field in fields):
        fields.append(Field(b"content-length", b"Content-Length: %d\r\n" % len(body), at))
    original = b"".join([start, *[field.raw for field in fields], b"\r\n", body])
    return original, Field(b"", start, 0), fields, body
