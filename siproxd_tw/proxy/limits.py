# SPDX-License-Identifier: MIT
"""How fast one peer outside may begin something: a bucket of tokens for each.

A bound on the rate of this moment and nothing else. Nobody is banned, nobody is counted against: a phone
with an old password and a provider after an outage are heard again a moment later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from ipaddress import IPv6Address

from siproxd_tw.interfaces import Flow, Refused, Side

__all__ = ["Limits"]

#: Requests per second that one peer may go on with. A site with 100 lines does not begin 50 calls a second;
#: a scanner tries hundreds.
RATE = 50.0

#: Requests that may come at once: what a peer sends again after we were away.
BURST = 200

#: Peers that are remembered; the one that was not heard for longest is forgotten first, and then is new.
MOST_PEERS = 10_000

#: Seconds that a bucket must be further from full than it can be to show that the clock was set back.
_SET_BACK = 1.0

_INSIDE = Side.INSIDE
_NETWORK = 8  # bytes of an IPv6 address: a /64 is one site, and has more addresses than a table has rows


class Limits:
    """Counts requests that begin something, by source address; of IPv6 by its /64."""

    def __init__(
        self,
        rate: float = RATE,
        burst: int = BURST,
        most_peers: int = MOST_PEERS,
        *,
        is_known_peer: Callable[[str], bool] = lambda host: False,
    ) -> None:
        """Take requests per second, and how many may come at once.

        `is_known_peer` says of an IP address whether it has no bound: a server that has our registrations.
        """
        self._interval = 1.0 / rate
        self._tolerance = (burst - 1) * self._interval
        self._most = most_peers
        self._is_known_peer = is_known_peer
        # When the bucket of each peer is full again; who was heard last stands last. An ordinary dict
        # would look through the gaps at its beginning each time that it forgets somebody.
        self._full: OrderedDict[str | bytes, float] = OrderedDict()

    def __len__(self) -> int:
        """Return how many peers are remembered."""
        return len(self._full)

    def admit(self, flow: Flow, now: float) -> None:
        """Count one request that begins something; refuse it in silence when there were too many."""
        if flow.side is _INSIDE:
            return
        host = flow.remote.host
        peer = _network_of(host) if ":" in host else host
        full = self._full.pop(peer, now)
        wait = full - now
        if wait < 0.0 or wait > self._tolerance + self._interval + _SET_BACK:
            wait = 0.0  # full since long, or the clock was set back
        if wait > self._tolerance and not self._is_known_peer(host):
            self._full[peer] = full
            raise Refused(None, "too many requests")
        self._full[peer] = now + min(wait, self._tolerance) + self._interval
        if len(self._full) > self._most:
            self._full.popitem(last=False)


def _network_of(host: str) -> str | bytes:
    """Return the /64 of an IPv6 address; an IPv4 address in IPv6 clothes is itself."""
    try:
        address = IPv6Address(host.partition("%")[0])
    except ValueError:
        return host
    mapped = address.ipv4_mapped
    return str(mapped) if mapped is not None else address.packed[:_NETWORK]
