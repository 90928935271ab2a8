# SPDX-License-Identifier: MIT
"""Who has which RTP port: pairs of an even port for RTP and the odd one above it for RTCP.

Books only, no sockets: who binds a pair and finds it taken by another program says so with
`in_use_elsewhere` and gets another one. Each local address has the whole range. Which pair
comes next is the business of an order; `sequential` is siproxd's: one pointer for
all addresses, which continues after the pair allocated last and wraps around.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

__all__ = ["NoPortFree", "Order", "PortAllocator", "sequential"]

Order = Callable[[int, int], Iterable[int]]
"""From the number of pairs and the place of the last one: all places, the preferred first."""

ELSEWHERE = 30.0
"""Seconds for which a pair that another program has is not tried again."""


class NoPortFree(Exception):
    """The range has no pair left on an address; says which and how many there are."""


def sequential(pairs: int, last: int) -> Iterable[int]:
    """Prefer the pair after the last one, round robin."""
    return ((last + step) % pairs for step in range(1, pairs + 1))


class PortAllocator:
    """The pairs of one port range on any number of local addresses.

    A pair that was released is kept aside for `quarantine` seconds, so that late packets of
    one call do not come into the next; when nothing else is left, it is given out all the same.
    """

    def __init__(self, low: int, high: int, *, quarantine: float = 4.0, order: Order = sequential) -> None:
        self._low = low
        self._pairs = (high - low) // 2 + 1
        self._quarantine = quarantine
        self._order = order
        self._last = -1
        self._used: dict[str, set[int]] = {}
        self._released: dict[tuple[str, int], float] = {}
        self._elsewhere: dict[tuple[str, int], float] = {}

    def allocate(self, hosts: Sequence[str], now: float) -> list[int]:
        """Return one RTP port on each of `hosts`; raises NoPortFree and takes none when one is missing."""
        before = self._last
        taken: list[int] = []
        for host in hosts:
            port = self._take(host, now)
            if port is None:
                for owner, useless in zip(hosts, taken, strict=False):
                    self._used[owner].discard(useless)
                self._last = before
                raise self._exhausted(host)
            taken.append(port)
        return taken

    def in_use_elsewhere(self, host: str, port: int, now: float) -> int:
        """Put aside a pair that cannot be bound and return another one; raises NoPortFree."""
        self._used[host].discard(port)
        self._elsewhere[host, port] = now + ELSEWHERE
        another = self._take(host, now)
        if another is None:
            raise self._exhausted(host)
        return another

    def release(self, host: str, port: int, now: float) -> None:
        """Take a pair back whose sockets are closed."""
        self._used[host].remove(port)
        self._released[host, port] = now + self._quarantine

    def figures(self, hosts: Iterable[str]) -> dict[str, dict[str, int]]:
        """Return how many pairs are used and free on `hosts` and wherever else one is used."""
        shown = {*hosts, *(host for host, ports in self._used.items() if ports)}
        counts = {host: len(self._used.get(host, ())) for host in sorted(shown)}
        return {host: {"used": used, "free": self._pairs - used} for host, used in counts.items()}

    def _exhausted(self, host: str) -> NoPortFree:
        last = self._low + 2 * (self._pairs - 1)
        used = len(self._used.get(host, ()))
        return NoPortFree(f"no RTP port of {self._low}-{last} is free on {host}, {used} in use")

    def _take(self, host: str, now: float) -> int | None:
        """Take the first pair in order that is free; of those kept aside, the one that has rested longest."""
        used = self._used.setdefault(host, set())
        resting: list[tuple[float, int]] = []
        for place in self._order(self._pairs, self._last):
            port = self._low + 2 * place
            if port in used or self._elsewhere.get((host, port), now) > now:
                continue
            until = self._released.get((host, port), now)
            if until <= now:
                return self._give(host, port)
            resting.append((until, port))
        return self._give(host, min(resting)[1]) if resting else None

    def _give(self, host: str, port: int) -> int:
        self._used[host].add(port)
        self._released.pop((host, port), None)
        self._elsewhere.pop((host, port), None)
        self._last = (port - self._low) // 2
        return port
