# SPDX-License-Identifier: MIT
"""Where a party is, as it said and as its packets show, and who is believed when the two differ.

A `Latch` is for one socket. What a packet from elsewhere means is the matter of a policy; `comedia`
is the one for parties behind NAT. No sockets and no clock here: `now` comes in as an argument.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from siproxd_tw.interfaces import Address

__all__ = ["Action", "Judgement", "Latch", "Policy", "comedia"]

QUIET = 2.0
"""Seconds without a packet after which a source may be replaced by another one."""


class Action(Enum):
    """What to do about a packet from an address that is not the one a latch is on."""

    LATCH = "latch"
    MOVE = "move"
    IGNORE = "ignore"


class Judgement(NamedTuple):
    """An action and why; the reason is also the name of a counter."""

    action: Action
    reason: str


@dataclass(eq=False, slots=True)
class Latch:
    """Where the party at the other end of one socket is: as it said, and as its packets show."""

    announced: Address | None = None
    """The address in its session description, the last one that was not a hold."""
    held: bool = False
    """Whether it wants nothing to be sent at the moment."""
    source: Address | None = None
    """Where its packets come from; None until one has come."""
    superseded: Address | None = None
    """Where they came from before it announced another address; late packets are no reason to go back."""
    superseded_until: float = 0.0
    packets: int = 0
    """Packets from `source`, counted by whoever receives them."""
    octets: int = 0
    window: int | None = 0
    """The number of packets when learning was allowed anew; learning ends when it has grown."""
    heard_at: float = 0.0
    """When `packets` was last seen to have grown."""
    _heard_packets: int = 0

    @property
    def target(self) -> Address | None:
        """Where to send: to the source, else to the announced address; None: nowhere."""
        return None if self.held else self.source or self.announced

    @property
    def is_learning(self) -> bool:
        """Whether any source is as good as the present one."""
        return self.source is None or self.window == self.packets

    def agree(self, address: Address | None, now: float) -> None:
        """Take the address that the party announces in an accepted offer or answer, and learn anew.

        In a call that runs as in a new one (RFC 3264 section 8.3.1).
        """
        if address != self.announced:
            if self.source != address:
                self.superseded = self.source if self.announced else None
                self.superseded_until = now + QUIET
                self.source = None
            self.announced = address
        self.held = False
        self.window = self.packets

    def hold(self) -> None:
        """Send nothing until the next `agree`; what was learnt stays, it mostly ends as it began."""
        self.held = True
        self.window = self.packets

    def heard(self, now: float) -> float:
        """Look at the count and return when it last grew, as far as anybody has looked."""
        if self.packets != self._heard_packets:
            self._heard_packets = self.packets
            self.heard_at = now
        return self.heard_at

    def follow(self, source: Address, now: float) -> None:
        """Be on `source` from now on."""
        self.source = source
        self.superseded = None
        self.window = None
        self.heard_at = now


Policy = Callable[[Latch, Address, float], Judgement]
"""Says what a packet from an address means that a latch is not on."""


def comedia(latch: Latch, source: Address, now: float) -> Judgement:
    """Trust the first packet after each accepted description (symmetric RTP, RFC 4961).

    The announced address always wins; any other one must come first, or find the present
    source silent.
    """
    if source == latch.announced:
        return Judgement(Action.LATCH if latch.source is None else Action.MOVE, "announced")
    if source == latch.superseded and now < latch.superseded_until:
        return Judgement(Action.IGNORE, "superseded source")
    if latch.source is None:
        return Judgement(Action.LATCH, "first packet")
    if latch.is_learning:
        return Judgement(Action.MOVE, "first packet after an answer")
    if now - latch.heard(now) >= QUIET:
        return Judgement(Action.MOVE, "the source fell silent")
    return Judgement(Action.IGNORE, "foreign source")
