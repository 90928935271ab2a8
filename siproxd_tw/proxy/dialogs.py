# SPDX-License-Identifier: MIT
"""The dialogs that phones are in: where a request inside a dialog has to go.

Outside, a phone's Contact is masqueraded. What comes back inside a dialog must carry
the Contact that the phone gave in *that* dialog, byte for byte (RFC 3261 12.2.1.1),
even if its registration has changed or ended since. So it is remembered, by Call-ID
and the phone's tag.
"""

from __future__ import annotations

from dataclasses import dataclass

from siproxd_tw.interfaces import Flow

__all__ = ["Dialogs", "Party"]

#: Seconds without any message after which a dialog is forgotten. Session timers and
#: subscriptions refresh within an hour or so; a call without either may be long.
LIFE = 86_400.0

#: Seconds without any message after which a phone that only rings is forgotten. Its provisional responses
#: come each minute (RFC 3261 13.3.1.1); when another phone takes the call, no message says that it is over.
EARLY = 600.0

#: Seconds that a party is still known after BYE: late retransmissions find it (64*T1).
LINGER = 32.0


@dataclass(slots=True)
class Party:
    """A phone as one party of a dialog."""

    contact: bytes
    """Its Contact URI as it wrote it."""
    flow: Flow
    """Where its messages come from."""
    until: float
    """When this is forgotten, in seconds of the clock."""
    heard: float = 0.0
    """When its Contact was learnt."""
    life: float = LIFE
    """Seconds that it stays known after it was asked for."""
    over: bool = False
    """Whether the dialog has ended: nothing prolongs the rest of its time."""


class Dialogs:
    """What is remembered of dialogs; forgets by itself."""

    def __init__(self) -> None:
        self._parties: dict[tuple[bytes, bytes], Party] = {}

    def __len__(self) -> int:
        return len(self._parties)

    def remember(
        self, call_id: bytes, tag: bytes, contact: bytes, flow: Flow, now: float, status: int = 0
    ) -> None:
        """Note that the phone with `tag` is at `contact`: its remote target (12.1, 12.2).

        `status` is that of the response that says so, 0 for a request. A response does not bring back
        what is over: where ACKs are lost, a 2xx still comes after the BYE. A request does: an INVITE
        that was challenged comes again with credentials.
        """
        known = self._parties.get((call_id, tag)) if status else None
        if known is not None and known.over:
            return
        life = EARLY if 100 <= status < 200 and (known is None or known.life == EARLY) else LIFE
        self._parties[call_id, tag] = Party(contact, flow, now + life, now, life)

    def find(self, call_id: bytes, tag: bytes, now: float) -> Party | None:
        """Return the phone with `tag` in `call_id`; being asked for keeps it known."""
        party = self._parties.get((call_id, tag))
        if party is None or party.until < now:
            return None
        if not party.over:
            party.until = now + party.life
        return party

    def ended(self, call_id: bytes, tags: tuple[bytes, bytes], now: float) -> None:
        """Note that the dialog between these tags is over; it lingers for retransmissions."""
        for tag in tags:
            party = self._parties.get((call_id, tag))
            if party is not None:
                party.until = min(party.until, now + LINGER)
                party.over = True

    def expire(self, now: float) -> None:
        """Forget what is over."""
        for key in [key for key, party in self._parties.items() if party.until < now]:
            del self._parties[key]
