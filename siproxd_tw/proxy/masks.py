# SPDX-License-Identifier: MIT
"""Which masqueraded URI a phone gets: the one that it has, else one that nobody else has.

A mask that is on its way to a registrar is as good as given: the registrar may know it already when
the next phone asks for one.
"""

from __future__ import annotations

from dataclasses import replace

from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.registration import Registration
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Masks"]


class Masks:
    """The masks that are given and those that are on their way."""

    def __init__(self, location: Location) -> None:
        self._location = location
        self._pending: dict[bytes, list[Binding]] = {}

    def choose(
        self,
        phone: Binding,
        beside: Registration,
        host: str,
        port: int | None,
        now: float,
        *,
        stays: bool = True,
    ) -> SIPURI:
        """Return the URI at `host` and `port` that stands for `phone` outside.

        No other contact `beside` it gets the same. A contact that does not stay has the mask of the very
        same contact only: the registrar takes away what has it.
        """
        here = {binding.masked_user for binding in beside.bindings}
        same = [
            old
            for old in self._location.of(phone.aor, now)
            if old.masked_user not in here
            and not self._location.shares_mask(old)
            and (old.is_same_phone(phone) if stays else old.is_same_contact(phone))
        ]
        if same:
            known = next((old for old in same if old.is_same_contact(phone)), same[-1])
            return _at(known.masked, host, port)

        def taken(user: bytes) -> bool:
            """Whether this REGISTER or another phone's, on its way, has that mask."""
            rivals = self._pending.get(user, ())
            return user in here or any(
                not (rival.is_of(phone.aor) and rival.is_same_phone(phone)) for rival in rivals
            )

        return self._location.mask_for(phone.aor, phone.contact, host, port, taken)

    def reserve(self, registration: Registration) -> None:
        """Keep the masks of `registration` from others until it is released."""
        for binding in registration.named:
            self._pending.setdefault(binding.masked_user, []).append(binding)

    def release(self, registration: Registration) -> None:
        """Let go of the masks of `registration`."""
        for binding in registration.named:
            rivals = [rival for rival in self._pending.get(binding.masked_user, ()) if rival is not binding]
            if rivals:
                self._pending[binding.masked_user] = rivals
            else:
                self._pending.pop(binding.masked_user, None)


def _at(masked: SIPURI, host: str, port: int | None) -> SIPURI:
    if masked.host == host and masked.port == port:
        return masked
    return replace(masked, host=host, port=port)
