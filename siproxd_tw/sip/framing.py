# SPDX-License-Identifier: MIT
"""Where the messages of a stream begin and end (RFC 3261 sections 7.5 and 18.3).

- A message ends where its Content-Length says, which is mandatory in a stream. Nothing else of it is
  read: whoever gets the bytes decides whether they are worth parsing.
- What comes out depends on the bytes alone and not on how the network split them.
- Time and memory are bounded by the bytes that came in and by the size of one message.
"""

from __future__ import annotations

import re
from enum import Enum

from siproxd_tw.sip.grammar import ParseError, is_token
from siproxd_tw.sip.parser import note_request

__all__ = ["MAX_MESSAGE", "Framer", "KeepAlive"]

MAX_MESSAGE = 65536
"""The longest message of a stream, in bytes; what a datagram can hold, so that any message fits through."""

_end_of_head = re.compile(rb"\n\r?\n").search
_content_lengths = re.compile(
    rb"\n(?:Content-Length|l)[ \t]*+:([^\r\n]*+(?:\r?\n[ \t][^\r\n]*+)*+)", re.IGNORECASE
).findall


class KeepAlive(Enum):
    """What may stand between the messages of a stream: empty lines (RFC 3261 7.5, RFC 5626 3.5.1)."""

    PING = "ping"
    """The second one of two: answer with one (RFC 5626 section 5.4)."""
    PONG = "pong"
    """One that came alone while a pong was expected."""
    LINE = "line"
    """Any other: the keep-alive of a phone that expects no answer, or the first half of a ping."""


class Framer:
    """Cuts a stream into messages and keep-alives.

    When the end of a message cannot be known, a ParseError is the last thing to come out of it, with the
    request at fault if there is one, and the stream is `broken`.
    """

    broken: str
    """Why the stream cannot be read any further; empty as long as it can."""
    expects_pong: bool
    """Set it when a ping is sent; the pong clears it. Two empty lines together are still a ping."""

    def __init__(self, max_message: int = MAX_MESSAGE) -> None:
        self.broken = ""
        self.expects_pong = False
        self._max_message = max_message
        self._buffer = bytearray()
        self._searched = 0  # there is no end of a head before this
        self._needed = 0  # the size of the message, once its head is here
        self._half_ping = False

    def feed(self, data: bytes) -> list[bytes | KeepAlive | ParseError]:
        """Take the next bytes of the stream and return what is complete with them, in order."""
        found: list[bytes | KeepAlive | ParseError] = []
        if self.broken:
            return found
        buffer = self._buffer
        if not buffer and self._is_one_message(data):
            self._half_ping = False
            return [data]
        buffer += data
        try:
            while buffer and (item := self._next(buffer)) is not None:
                found.append(item)
        except ParseError as error:
            self.broken = str(error)
            buffer.clear()
            found.append(error)
        return found

    def _is_one_message(self, data: bytes) -> bool:
        """Return whether `data` is one whole message: mostly it is, and then it need not be copied."""
        end = _end_of_head(data)
        if end is None or len(data) > self._max_message or not is_token(data[:1]):
            return False
        lengths = _content_lengths(data, 0, end.end())
        if len(lengths) != 1:
            return False
        digits = lengths[0].strip(b" \t\r\n")
        return digits.isdigit() and len(digits) < 10 and end.end() + int(digits) == len(data)

    def _next(self, buffer: bytearray) -> bytes | KeepAlive | None:
        if not self._needed:
            if buffer[0] in b"\r\n":
                return self._empty_line(buffer)
            self._half_ping = False
            self._needed = self._size_of_message(buffer)
        if not 0 < self._needed <= len(buffer):
            return None
        data = bytes(buffer[: self._needed])
        del buffer[: self._needed]
        self._needed = self._searched = 0
        return data

    def _empty_line(self, buffer: bytearray) -> KeepAlive | None:
        """Take one empty line off the front of the buffer; half a line has to wait."""
        length = 1 if buffer[0] == 0x0A else 2
        if len(buffer) < length:
            return None
        if buffer[length - 1] != 0x0A:
            raise ParseError("expected a line feed after a carriage return", "start line", 0, None)
        del buffer[:length]
        if self._half_ping:
            self._half_ping = False
            return KeepAlive.PING
        if self.expects_pong and not buffer.startswith((b"\r", b"\n")):
            self.expects_pong = False
            return KeepAlive.PONG
        self._half_ping = True
        return KeepAlive.LINE

    def _size_of_message(self, buffer: bytearray) -> int:
        """Return the size of the message at the front of the buffer, 0 while its head is incomplete."""
        if not is_token(bytes(buffer[:1])):  # not SIP: TLS, STUN and the like
            raise ParseError("expected a SIP message", "start line", 0, None)
        found = _end_of_head(buffer, max(0, self._searched - 3))
        self._searched = len(buffer)
        head_size = len(buffer) if found is None else found.end()
        if head_size > self._max_message:
            raise ParseError(f"no end within {self._max_message} bytes", "head", self._max_message, None)
        if found is None:
            return 0
        return head_size + self._body_size(bytes(buffer[:head_size]))

    def _body_size(self, head: bytes) -> int:
        values = [value.strip(b" \t\r\n") for value in _content_lengths(head)]
        try:
            if not values or not all(value.isdigit() for value in values):
                raise ParseError("expected a number of bytes", "Content-Length", len(head))
            sizes = {value.lstrip(b"0").rjust(10, b"0") for value in values}
            if len(sizes) > 1:
                raise ParseError("expected one number of bytes", "Content-Length", len(head))
            size = int(min(sizes)[:20])
            if len(head) + size > self._max_message:
                raise ParseError(f"more than {self._max_message} bytes", "Content-Length", len(head), 513)
        except ParseError as error:
            note_request(error, head)
            raise
        return size
