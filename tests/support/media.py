# SPDX-License-Identifier: MIT
"""A media relay without media: notes who offers what to whom, and rewrites the c= line as a relay would.

Whoever is met at an IPv6 address is shown one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import Exchange, IMediaRelay, MediaUnavailable, Side

__all__ = ["RELAY", "RELAY6", "MemoryRelay"]

RELAY = {Side.INSIDE: b"10.0.0.1", Side.OUTSIDE: b"203.0.113.1"}
"""Where descriptions point to after their rewriting, by the side that they go to."""

RELAY6 = {Side.INSIDE: b"fd00::1", Side.OUTSIDE: b"2001:db8::1"}
"""The same where signalling meets the receiver over IPv6."""

_connection = re.compile(rb"c=IN (IP[46]) (\S+)")


@implementer(IMediaRelay)
class MemoryRelay:
    """Notes each call in `journal` as "offer a1 > b1, inside > outside", and whole in `calls`."""

    def __init__(self, journal: list[str] | None = None) -> None:
        self.journal = [] if journal is None else journal
        self.calls: list[tuple[str, Exchange]] = []
        self.full = ""
        """Unless empty, why offers fail."""
        self.waiting: list[Callable[[], None]] = []
        """What `release` lets go on, oldest first."""
        self._holding = False

    def hold(self) -> None:
        """From now on answer nothing until `release`."""
        self._holding = True

    def release(self) -> None:
        """Answer everything that waits, and from then on at once again."""
        self._holding = False
        waiting, self.waiting = self.waiting, []
        for each in waiting:
            each()

    def offer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay."""
        self._note("offer", exchange)
        if self.full:
            return self._later(fail(MediaUnavailable(self.full)))
        return self._later(succeed(_edits(exchange, sdp)))

    def answer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay."""
        self._note("answer", exchange)
        return self._later(succeed(_edits(exchange, sdp)))

    def withdraw(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        self._note("withdraw", exchange)
        return self._later(succeed(None))

    def delete(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        self._note("delete", exchange)
        return self._later(succeed(None))

    def query(self, call_id: bytes) -> Deferred[Sequence[Mapping[str, object]]]:
        """See IMediaRelay."""
        return succeed([{"what": what} for what, exchange in self.calls if exchange.call_id == call_id])

    def _note(self, what: str, exchange: Exchange) -> None:
        self.calls.append((what, exchange))
        tags = f"{exchange.sender.decode()} > {exchange.receiver.decode() or '?'}"
        self.journal.append(f"{what} {tags}, {exchange.sender_side.value} > {exchange.receiver_side.value}")

    def _later(self, result: Deferred[Any]) -> Deferred[Any]:
        if not self._holding:
            return result
        held: Deferred[Any] = Deferred()
        self.waiting.append(lambda: result.chainDeferred(held) and None)
        return held


def _edits(exchange: Exchange, sdp: bytes) -> list[Edit]:
    is_ipv6 = ":" in exchange.receiver_at
    kind, host = (b"IP6", RELAY6) if is_ipv6 else (b"IP4", RELAY)
    edits = []
    for found in _connection.finditer(sdp):
        if found[1] != kind:
            edits.append(Edit(found.start(1), found.end(1), kind, "media"))
        edits.append(Edit(found.start(2), found.end(2), host[exchange.receiver_side], "media"))
    return edits
