# SPDX-License-Identifier: MIT
"""REGISTERs that a phone repeats: nearly all of them.

A refresh has the same To, the same Contact line and the same way as the REGISTER before. What that one was
read as is known; to read it again and to compare it with every other phone costs five times as much.
"""

from __future__ import annotations

from typing import NamedTuple

from siproxd_tw.interfaces import Address, Flow
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.location import Location
from siproxd_tw.sip.message import Request

__all__ = ["Known", "Refreshes"]

#: Entries beyond one for each registration, at which those of phones that have gone are forgotten.
SPARE = 1000

Key = tuple[bytes, bytes, Address, str, bool]


class Known(NamedTuple):
    """What a REGISTER with one contact was read as."""

    binding: Binding
    host: str
    """Ours, in the masqueraded Contact."""
    transport: str
    shown: bytes
    """The masqueraded Contact."""
    asked: int | None
    """The seconds that the Contact itself asks for."""


class Refreshes:
    """Finds what is known; forgets what the location service has no more."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._known: dict[Key, Known] = {}

    def __len__(self) -> int:
        return len(self._known)

    @staticmethod
    def key(request: Request, flow: Flow) -> Key | None:
        """Return what makes `request` the same as another one; None for one with other than one contact."""
        contacts = request.all(b"contact")
        if len(contacts) != 1:
            return None
        relayed = len(request.all(b"via")) > 1
        return request.to.uri_text, contacts[0].raw, flow.remote, flow.transport.name, relayed

    def find(self, key: Key | None, host: str, transport: str) -> Known | None:
        """Return what is known of a REGISTER that goes out with `host` and `transport` in its Contact."""
        known = self._known.get(key) if key is not None else None
        if known is None or known.host != host or known.transport != transport:
            return None
        binding, location = known.binding, self._location
        alone = location.holds_alone(binding) and not location.shares_mask(binding)
        return known if alone and binding.masked.host == host else None

    def remember(self, key: Key | None, known: Known) -> None:
        """Keep what a REGISTER was read as; it counts from the moment on at which its binding is entered."""
        if key is None:
            return
        if len(self._known) > len(self._location) + SPARE:
            holds = self._location.holds_alone
            self._known = {key: known for key, known in self._known.items() if holds(known.binding)}
        self._known[key] = known
