# SPDX-License-Identifier: MIT
"""What a REGISTER asks for, in the terms of the location service (RFC 3261 section 10.2).

The same reading serves both roles: the REGISTER is passed on to a registrar outside, or it is answered here.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import intern

from siproxd_tw.interfaces import Address, Flow, Refused
from siproxd_tw.proxy.bindings import Binding, sharing
from siproxd_tw.proxy.location import Location
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Registration", "delta_seconds", "read"]

#: A qvalue (RFC 3261 section 25.1).
_is_q = re.compile(rb"0(?:\.[0-9]{0,3})?|1(?:\.0{0,3})?").fullmatch


@dataclass(slots=True, eq=False)
class Registration:
    """What a REGISTER asks for."""

    aor: SIPURI
    wanted: list[tuple[Binding, int]]
    """For each contact the binding it will be, and the seconds asked for."""
    everything: bool = False
    """Whether all bindings of the address of record are to go (``Contact: *``)."""
    call_id: bytes = b""
    cseq: int = 0
    named: list[Binding] = field(default_factory=list)
    """A binding for each contact in the order of the message, also for one that is listed twice."""
    shown: bytes = b""
    """The masqueraded Contact, where there is just one."""
    overtaken_by: list[Registration] = field(default_factory=list)
    """Those that were sent later and answered earlier: they have the last word."""

    @property
    def bindings(self) -> list[Binding]:
        """The bindings that it is about."""
        return [binding for binding, _ in self.wanted]

    def enter(self, location: Location, lifetimes: dict[Binding, int], now: float) -> bool:
        """Make `location` what this REGISTER wants, each contact for so many seconds from `now`.

        Returns whether anything has changed.
        """
        if self.shown and self._renews(location, lifetimes, now):
            return True
        changed = False
        for old in location.of(self.aor, now):
            if self.replaces(old):
                location.remove(old)
                changed = True
        for binding, _ in self._due():
            seconds = lifetimes[binding]
            if seconds > 0:
                binding.expires, binding.since = now + seconds, now
                location.add(binding)
                changed = True
        return changed

    def _renews(self, location: Location, lifetimes: dict[Binding, int], now: float) -> bool:
        """Let a binding that is repeated live longer, which needs no comparing with others."""
        due = self._due()
        if len(due) != 1 or not location.holds_alone(due[0][0]) or not lifetimes[due[0][0]]:
            return False
        binding = due[0][0]
        location.renew(binding, now + lifetimes[binding])
        binding.since, binding.call_id, binding.cseq = now, self.call_id, self.cseq
        return True

    def replaces(self, old: Binding) -> bool:
        """Return whether `old`, of this address of record, goes when this is granted.

        Without ``*`` that is what comes back as another binding, and the contacts of which zero seconds
        are asked for. The contacts of one REGISTER stand side by side.
        """
        if self.everything:
            return not any(old in newer.bindings for newer in self.overtaken_by)
        return any(
            old.is_same_phone(binding) if seconds else old.is_same_contact(binding)
            for binding, seconds in self._due()
        )

    def _due(self) -> list[tuple[Binding, int]]:
        """What is wanted and has not been said anything newer about."""
        if not self.overtaken_by:
            return self.wanted
        if any(newer.everything for newer in self.overtaken_by):
            return []
        newer = [binding for registration in self.overtaken_by for binding in registration.bindings]
        return [(b, seconds) for b, seconds in self.wanted if not any(b.is_same_phone(n) for n in newer)]


def read(
    request: Request,
    flow: Flow,
    now: float,
    *,
    default_expires: int,
    masked: Callable[[Binding, Registration, bool], None],
    local: bool,
    path: tuple[bytes, ...] = (),
) -> Registration:
    """Read what `request`, which came by `flow`, asks for.

    `masked` gives each binding its mask: it gets the registration with the bindings before it, and whether
    anything but the end of the binding is asked for. A contact that is listed twice counts as it stands
    last. Raises Refused when the address of record is none.
    """
    aor = request.to.uri
    if not isinstance(aor, SIPURI):
        raise Refused(404, "address of record is not a SIP URI", phrase="To must be a SIP URI")
    registration = Registration(sharing(aor), [], call_id=request.call_id, cseq=request.cseq.number)
    source = Address(intern(flow.remote.host), flow.remote.port)
    relayed = len(request.vias()) > 1
    for contact in request.contacts():
        if contact.is_wildcard:
            registration.everything = True
        uri = contact.uri if not contact.is_wildcard else None
        if not isinstance(uri, SIPURI):
            continue
        instance = contact.param(b"+sip.instance") or b""
        binding = Binding(
            contact=sharing(uri),
            contact_text=contact.uri_text,
            aor=registration.aor,
            masked=registration.aor,
            expires=now,
            source=source,
            instance=instance,
            local=local,
            transport=flow.transport.name,
            side=flow.side,
            q=_q(contact.param(b"q")),
            reg_id=(contact.param(b"reg-id") or b"") if instance else b"",
            call_id=registration.call_id,
            cseq=registration.cseq,
            path=path,
            relayed=relayed,
        )
        seconds = _asked(request, contact, default_expires)
        twin = next((b for b in registration.bindings if b.is_same_contact(binding)), None)
        if twin is None:
            masked(binding, registration, seconds > 0)
        else:
            binding.show_as(twin.masked)
            registration.wanted = [(b, s) for b, s in registration.wanted if b is not twin]
        registration.wanted.append((binding, seconds))
        registration.named.append(binding)
    return registration


def _q(text: bytes | None) -> float:
    return float(text) if text is not None and _is_q(text) else 1.0


def _asked(request: Request, contact: NameAddr, default: int) -> int:
    """Seconds asked for: the parameter, the header, or the default (10.2.1.1)."""
    for text in (contact.param(b"expires"), request.value(b"expires")):
        seconds = delta_seconds(text)
        if seconds is not None:
            return seconds
    return default


def delta_seconds(text: bytes | None) -> int | None:
    """Read delta-seconds; beyond 2**32-1, which nobody may ask for (20.19), that is what is meant.

    None for what is no number.
    """
    if text is None or not text.isdigit():
        return None
    return min(int(text.lstrip(b"0")[:11] or b"0"), 2**32 - 1)
