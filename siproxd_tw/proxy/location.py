# SPDX-License-Identifier: MIT
"""The location service: which phone is behind which address (RFC 3261 section 10).

A `Binding` is kept per phone, contact and address of record. Outside, a phone is known by the
masqueraded URI of its binding, which no two live bindings share.

Every question is answered from an index of its own, in a time that depends on the answer and not on how
many are registered, also when all of them come from one host, have one user or one contact.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Hashable, Iterator
from heapq import heappop, heappush
from typing import TypeVar

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.bindings import GRACE, Binding, host_key
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.uri import SIPURI

__all__ = ["GRACE", "Binding", "Location"]

#: Seconds that one bucket of the calendar of expiries is wide: of the order of a tick.
WIDTH = 4

_Key = TypeVar("_Key", bound=Hashable)

#: What an index holds for a key: nearly always one binding, else all of them, the newest last. A dict,
#: so that one of 50,000 is taken out as fast as one of two.
_Held = Binding | dict[Binding, None]


class Location:
    """All bindings."""

    def __init__(self) -> None:
        self._bindings: dict[Binding, None] = {}
        self._by_aor: dict[tuple[bytes, str], _Held] = {}
        self._by_user: dict[bytes, _Held] = {}
        self._by_mask: dict[bytes, _Held] = {}
        self._by_contact: dict[tuple[bytes, str, str], _Held] = {}
        self._hosts: dict[str, int] = {}
        self._local_domains: dict[str, int] = {}
        self._calendar: dict[int, dict[Binding, None]] = {}
        self._dates: list[int] = []

    def __len__(self) -> int:
        return len(self._bindings)

    def __iter__(self) -> Iterator[Binding]:
        return iter(list(self._bindings))

    # entering

    def add(self, binding: Binding) -> None:
        """Enter `binding` as the newest; one that is entered already is indexed anew."""
        self.remove(binding)
        self._bindings[binding] = None
        _put(self._by_aor, (binding.user, host_key(binding.aor.host)), binding)
        _put(self._by_user, binding.user, binding)
        _put(self._by_mask, binding.masked_user, binding)
        _put(self._by_contact, _contact_key(binding), binding)
        for host in _hosts(binding):
            self._hosts[host] = self._hosts.get(host, 0) + 1
        if binding.local:
            domain = binding.aor.host
            self._local_domains[domain] = self._local_domains.get(domain, 0) + 1
        self._note_date(binding)

    def renew(self, binding: Binding, expires: float) -> None:
        """Let `binding`, which is entered, live until `expires`; it stays as old as it is."""
        if _date(binding.expires) != _date(expires):
            self._forget_date(binding)
            binding.expires = expires
            self._note_date(binding)
        binding.expires = expires

    def remove(self, binding: Binding) -> None:
        """Take `binding` out, if it is there; it must be as it was when it was entered."""
        if binding not in self._bindings:
            return
        del self._bindings[binding]
        _take(self._by_aor, (binding.user, host_key(binding.aor.host)), binding)
        _take(self._by_user, binding.user, binding)
        _take(self._by_mask, binding.masked_user, binding)
        _take(self._by_contact, _contact_key(binding), binding)
        for host in _hosts(binding):
            _count_down(self._hosts, host)
        if binding.local:
            _count_down(self._local_domains, binding.aor.host)
        self._forget_date(binding)

    def _note_date(self, binding: Binding) -> None:
        date = _date(binding.expires)
        page = self._calendar.get(date)
        if page is None:
            self._calendar[date] = page = {}
            heappush(self._dates, date)
        page[binding] = None

    def _forget_date(self, binding: Binding) -> None:
        date = _date(binding.expires)
        page = self._calendar[date]
        del page[binding]
        if not page:
            del self._calendar[date]
            if len(self._dates) > 2 * len(self._calendar) + 1000:  # dates that nobody waits for any more
                self._dates = sorted(self._calendar)

    def expire(self, now: float) -> list[Binding]:
        """Remove and return the bindings whose time and grace are over; looks at no others but a few."""
        old: list[Binding] = []
        today = int(now) // WIDTH
        while self._dates and self._dates[0] < today:
            for binding in list(self._calendar.get(heappop(self._dates), ())):
                old.append(binding)
                self.remove(binding)
        for binding in list(self._calendar.get(today, ())):
            if binding.expires + GRACE < now:
                old.append(binding)
                self.remove(binding)
        return old

    # finding

    def knows_host(self, host: str) -> bool:
        """Return whether a registered phone is at IP address `host`, or registers from there."""
        return host_key(host) in self._hosts

    def is_local_domain(self, host: str) -> bool:
        """Return whether we are the registrar of somebody at `host`."""
        return host in self._local_domains

    def masked(self, uri: SIPURI, now: float) -> Binding | None:
        """Return the live binding that `uri` stands for outside; its host has been checked."""
        held = self._by_mask.get(unescape(uri.user or b""))
        if held is None:
            return None
        if isinstance(held, Binding):
            return held if held.expires + GRACE >= now else None
        return next((b for b in held if b.expires + GRACE >= now), None)

    def of(self, aor: SIPURI, now: float) -> list[Binding]:
        """Return the live bindings of an address of record, newest last."""
        return _live(self._by_aor.get((unescape(aor.user or b""), host_key(aor.host))), now)

    def holds_alone(self, binding: Binding) -> bool:
        """Return whether `binding` is entered, as the only one of its address of record."""
        return self._by_aor.get((binding.user, host_key(binding.aor.host))) is binding

    def with_user(self, user: bytes, now: float) -> list[Binding]:
        """Return the live bindings whose address of record has `user`, whatever its host."""
        return _live(self._by_user.get(user), now)

    def behind(self, contact: SIPURI, aor: SIPURI | None, source: Address) -> Binding | None:
        """Return the binding that a Contact in a message from `source` means.

        Same user and host as the binding's contact (port and parameters may differ), and not from behind
        another NAT; of several, one whose address of record the message is from, then the newest.
        """
        user = unescape(contact.user or b"")
        host = host_key(contact.host)
        if aor is not None:
            held = self._by_aor.get((unescape(aor.user or b""), host_key(aor.host)))
            if held is not None:
                mine = _at(held, contact, user, host, source)
                if mine is not None:
                    return mine
        by_contact = self._by_contact
        held = by_contact.get((user, host, host_key(source.host))) or by_contact.get((user, host, ""))
        if held is None or isinstance(held, Binding):
            return held
        return next(reversed(held))

    # masqueraded users

    def mask_for(
        self, aor: SIPURI, contact: SIPURI, host: str, port: int | None, taken: Callable[[bytes], bool]
    ) -> SIPURI:
        """Choose the URI that is to stand for a phone outside.

        The user of the address of record (siproxd's form) while no other phone has it and
        it is not `taken`, which gets it unescaped; otherwise with a token behind it.
        """
        user = aor.user or b""
        masked, attempt = user, 0
        while unescape(masked) in self._by_mask or taken(unescape(masked)):
            seed = b"%b\0%b\0%d" % (bytes(aor), bytes(contact), attempt)
            masked = user + b"~" + hashlib.blake2b(seed, digest_size=4).hexdigest().encode()
            attempt += 1
        return SIPURI("sip", masked or None, None, host, port)

    def shares_mask(self, binding: Binding) -> bool:
        """Return whether another phone has the same mask, as in a file of siproxd's."""
        held = self._by_mask.get(binding.masked_user)
        return held is not None and held is not binding and (isinstance(held, Binding) or len(held) > 1)


def _contact_key(binding: Binding) -> tuple[bytes, str, str]:
    """User and host of the contact, and where only that leads there, the host that it is met at."""
    contact = binding.contact
    met = binding.source.host if binding.is_behind_nat and binding.source is not None else ""
    return unescape(contact.user or b""), host_key(contact.host), host_key(met)


def _hosts(binding: Binding) -> tuple[str, ...]:
    host = host_key(binding.contact.host)
    if not binding.is_behind_nat or binding.source is None:
        return (host,)
    return host, host_key(binding.source.host)


def _date(expires: float) -> int:
    return int(expires + GRACE) // WIDTH


def _put(index: dict[_Key, _Held], key: _Key, binding: Binding) -> None:
    held = index.get(key)
    if held is None:
        index[key] = binding
    elif isinstance(held, Binding):
        index[key] = {held: None, binding: None}
    else:
        held[binding] = None


def _take(index: dict[_Key, _Held], key: _Key, binding: Binding) -> None:
    held = index[key]
    if isinstance(held, Binding):
        del index[key]
        return
    del held[binding]
    if len(held) == 1:
        index[key] = next(iter(held))


def _count_down(counts: dict[str, int], key: str) -> None:
    counts[key] -= 1
    if not counts[key]:
        del counts[key]


def _live(held: _Held | None, now: float) -> list[Binding]:
    if held is None:
        return []
    if isinstance(held, Binding):
        return [held] if held.expires + GRACE >= now else []
    return [binding for binding in held if binding.expires + GRACE >= now]


def _at(held: _Held, contact: SIPURI, user: bytes, host: str, source: Address) -> Binding | None:
    """Of one account's bindings, return that with this contact; of several by its port, then the newest."""
    found = None
    for binding in (held,) if isinstance(held, Binding) else reversed(held):
        known = binding.contact
        if unescape(known.user or b"") != user:
            continue
        if binding.source != source and not (
            host_key(known.host) == host and (not binding.is_behind_nat or _is_from(source, binding, host))
        ):
            continue
        if known.port == contact.port:
            return binding
        found = found or binding
    return found


def _is_from(source: Address, binding: Binding, host: str) -> bool:
    """Whether `source` can be the phone of `binding`, which is met at another host than its contact's."""
    met = host_key(source.host)
    return met == host or (binding.source is not None and met == host_key(binding.source.host))
