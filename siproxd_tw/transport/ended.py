# SPDX-License-Identifier: MIT
"""Why connections end: the words that counters, the log and `ISendReport.unsent` have for it."""

from __future__ import annotations

from enum import Enum

from twisted.internet.error import ConnectionRefusedError, TCPTimedOutError, TimeoutError
from twisted.python.failure import Failure

__all__ = ["Ended", "failed_to_connect"]


class Ended(Enum):
    """A reason; few, as each is a counter."""

    REFUSED = "refused"
    TIMED_OUT = "timed out"
    UNREACHABLE = "unreachable"
    HANDSHAKE = "handshake failed"
    DISTRUSTED = "certificate refused"
    LOST = "lost"
    CLOSED = "closed by the peer"
    BROKEN = "lost its framing"
    SILENT = "no message"
    IDLE = "idle"
    DEAD = "no pong"
    STALLED = "reads nothing"
    STOPPED = "stopped"


def failed_to_connect(reason: Failure) -> tuple[Ended, str]:
    """Return why an attempt to connect has failed, and what Twisted says about it."""
    text = reason.getErrorMessage()
    if reason.check(ConnectionRefusedError):
        return Ended.REFUSED, text
    if reason.check(TimeoutError, TCPTimedOutError):
        return Ended.TIMED_OUT, text
    return Ended.UNREACHABLE, text
