# SPDX-License-Identifier: MIT
"""Which server has a registration or a dialog, so that the rest of it goes there too.

A domain may have many servers and its DNS answer a new order each time; but the challenge that
one of them has sent, the registration that it keeps and the dialog that runs through it are known
to that one only. So it is remembered until it fails, by Call-ID and by address of record.
"""

from __future__ import annotations

from typing import NamedTuple

from siproxd_tw.interfaces import Destination, Hop
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Affinity", "keys_of"]

#: Seconds that a server is remembered after its last answer: session timers (RFC 4028), subscriptions and
#: registrations are refreshed more often.
LIFE = 7200.0

#: Entries at most; the oldest go first.
MOST = 200_000

Key = tuple[bytes, str, Destination]


class _Kept(NamedTuple):
    hop: Hop
    until: float


class Affinity:
    """What is remembered; asks nobody and forgets by itself."""

    def __init__(self) -> None:
        self._kept: dict[Key, _Kept] = {}
        self._servers: dict[str, float] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def find(self, request: Request, destination: Destination, now: float) -> Hop | None:
        """Return the server that serves this call, else this user, at `destination`."""
        for key in keys_of(request, destination):
            kept = self._kept.get(key)
            if kept is not None and kept.until >= now:
                return kept.hop
        return None

    def note(
        self, request: Request, destination: Destination, hop: Hop, now: float, call_id: bytes = b""
    ) -> None:
        """Take note that `hop` has answered `request`; a registration binds its user to it.

        `call_id` is the Call-ID by which the call is known here, where `request` has another one by now.
        """
        call, user = keys_of(request, destination, call_id)
        self._keep(call, _Kept(hop, now + LIFE))
        if request.method == "REGISTER":
            self._keep(user, _Kept(hop, now + LIFE))
            self._servers.pop(hop.address.host, None)
            self._servers[hop.address.host] = now + LIFE

    def failed(self, request: Request, destination: Destination, hop: Hop, call_id: bytes = b"") -> None:
        """Forget `hop` for the call and the user of `request`; `call_id` as for `note`."""
        for key in keys_of(request, destination, call_id):
            kept = self._kept.get(key)
            if kept is not None and kept.hop == hop:
                del self._kept[key]

    def is_server(self, host: str) -> bool:
        """Return whether one of our users is registered at the server with IP address `host`."""
        return host in self._servers

    def expire(self, now: float) -> None:
        """Forget what is old; both tables are in the order of last use, so only old entries are looked at."""
        while self._kept and next(iter(self._kept.values())).until < now:
            del self._kept[next(iter(self._kept))]
        while self._servers and next(iter(self._servers.values())) < now:
            del self._servers[next(iter(self._servers))]

    def _keep(self, key: Key, kept: _Kept) -> None:
        self._kept.pop(key, None)
        while len(self._kept) >= MOST:
            del self._kept[next(iter(self._kept))]
        self._kept[key] = kept


def keys_of(request: Request, destination: Destination, call_id: bytes = b"") -> tuple[Key, Key]:
    """Return what `request` is remembered under: its Call-ID, and the user whom it is from."""
    sender = (request.to if request.method == "REGISTER" else request.from_).uri
    user = sender.user if isinstance(sender, SIPURI) else None
    host = sender.host if isinstance(sender, SIPURI) else ""
    return (call_id or request.call_id, "", destination), (user or b"", "@" + host, destination)
