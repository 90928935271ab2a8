# SPDX-License-Identifier: MIT
"""The location service: which phone is behind which address (RFC 3261 section 10).

A `Binding` is kept per phone, contact and address of record. Outside, a phone is known
by the masqueraded URI of its binding, which no two live bindings share. The table is
written in siproxd's registration file format: `dumps` and `loads`.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from siproxd_tw.interfaces import Address
from siproxd_tw.sip.grammar import ParseError, unescape
from siproxd_tw.sip.uri import SIPURI, parse_uri

__all__ = ["GRACE", "Binding", "Location", "dumps", "loads"]

#: Seconds that a binding outlives its expiry: a refresh that is late by a
#: retransmission or two must find it (siproxd's value).
GRACE = 5.0

_Key = TypeVar("_Key", bytes, str)

#: Rows of siproxd's table; its reader warns about a file with fewer.
SLOTS = 512


@dataclass(slots=True, eq=False)
class Binding:
    """One phone that can be reached."""

    contact: SIPURI
    """Where the phone is, as its REGISTER said."""
    contact_text: bytes
    """The same, byte for byte: what it is un-masked to."""
    aor: SIPURI
    """The address of record: the URI of To."""
    masked: SIPURI
    """The URI that stands for the phone outside."""
    expires: float
    """Seconds since 1970."""
    source: Address | None = None
    """Where the REGISTER came from; unknown after a restart."""
    instance: bytes = b""
    """The ``+sip.instance`` of the contact, if it has one (RFC 5626)."""
    local: bool = False
    """Whether we are the registrar ourselves."""

    @property
    def user(self) -> bytes:
        """The user of the address of record, unescaped."""
        return unescape(self.aor.user or b"")

    @property
    def masked_user(self) -> bytes:
        """The user of the masqueraded URI, unescaped."""
        return unescape(self.masked.user or b"")

    @property
    def destination(self) -> tuple[str, int | None]:
        """Host and port to send requests for the phone to.

        Its contact, unless the REGISTER came from another host: then the phone is behind
        a NAT of its own and only the source address leads to it.
        """
        if self.source is not None and self.contact.host != self.source.host:
            return self.source
        return self.contact.host, self.contact.port

    def is_same_phone(self, contact: SIPURI, source: Address | None, instance: bytes) -> bool:
        """Return whether a REGISTER with these values comes from this binding's phone.

        An instance id decides where both have one; else the same host, since a phone
        that restarts comes back with another port, not with another address.
        """
        if instance and self.instance:
            return instance == self.instance
        if source is not None and source == self.source:
            return True
        return contact.host == self.contact.host and unescape(contact.user or b"") == unescape(
            self.contact.user or b""
        )


class Location:
    """All bindings, found by user and by host in constant time."""

    def __init__(self) -> None:
        self._bindings: dict[int, Binding] = {}
        self._by_user: dict[bytes, list[Binding]] = {}
        self._by_host: dict[str, list[Binding]] = {}
        self._local_domains: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._bindings)

    def __iter__(self) -> Iterator[Binding]:
        return iter(list(self._bindings.values()))

    def add(self, binding: Binding) -> None:
        """Enter `binding`; one that is entered already is indexed anew."""
        self.remove(binding)
        self._bindings[id(binding)] = binding
        if binding.local:
            self._local_domains[binding.aor.host] += 1
        for user in {binding.user, binding.masked_user}:
            self._by_user.setdefault(user, []).append(binding)
        for host in _hosts(binding):
            self._by_host.setdefault(host, []).append(binding)

    def remove(self, binding: Binding) -> None:
        """Take `binding` out, if it is there; it must be as it was when it was entered."""
        if self._bindings.pop(id(binding), None) is None:
            return
        if binding.local:
            self._local_domains[binding.aor.host] -= 1
            if not self._local_domains[binding.aor.host]:
                del self._local_domains[binding.aor.host]
        for user in {binding.user, binding.masked_user}:
            _discard(self._by_user, user, binding)
        for host in _hosts(binding):
            _discard(self._by_host, host, binding)

    def expire(self, now: float) -> list[Binding]:
        """Remove and return the bindings whose time and grace are over."""
        old = [b for b in self._bindings.values() if b.expires + GRACE < now]
        for binding in old:
            self.remove(binding)
        return old

    def knows_host(self, host: str) -> bool:
        """Return whether a registered phone is at IP address `host`."""
        return host in self._by_host

    def is_local_domain(self, host: str) -> bool:
        """Return whether we are the registrar of somebody at `host`."""
        return self._local_domains[host] > 0

    def masked(self, uri: SIPURI, now: float) -> Binding | None:
        """Return the live binding that `uri` stands for outside; its host has been checked."""
        user = unescape(uri.user or b"")
        for binding in self._by_user.get(user, ()):
            if binding.masked_user == user and binding.expires + GRACE >= now:
                return binding
        return None

    def of(self, aor: SIPURI, now: float) -> list[Binding]:
        """Return the live bindings of an address of record, newest last."""
        user = unescape(aor.user or b"")
        found = self._by_user.get(user, ())
        return [b for b in found if b.aor.host == aor.host and b.user == user and b.expires + GRACE >= now]

    def with_user(self, user: bytes, now: float) -> list[Binding]:
        """Return the live bindings whose address of record has `user`, whatever its host."""
        return [b for b in self._by_user.get(user, ()) if b.user == user and b.expires + GRACE >= now]

    def behind(self, contact: SIPURI, aor: SIPURI | None, source: Address) -> Binding | None:
        """Return the binding that a Contact in a phone's message means.

        Same user and host as the binding's contact (port and parameters may differ); of
        several, the one whose address of record the message is from, then any.
        """
        user = unescape(contact.user or b"")
        found = [
            b
            for b in self._by_host.get(contact.host, ())
            if b.contact.host == contact.host and unescape(b.contact.user or b"") == user
        ] or [b for b in self._by_host.get(source.host, ()) if b.source == source and b.contact == contact]
        if aor is not None and len(found) > 1:
            found = [b for b in found if b.aor.host == aor.host and b.aor.same_user(aor)] or found
        return found[-1] if found else None

    def mask_for(
        self, aor: SIPURI, contact: SIPURI, host: str, port: int | None, taken: Callable[[bytes], bool]
    ) -> SIPURI:
        """Choose the URI that is to stand for a phone outside.

        The user of the address of record (siproxd's form) while no other phone has it and
        it is not `taken`, which gets it unescaped; otherwise with a token behind it.
        """
        user = aor.user or b""
        masked, attempt = user, 0
        while taken(unescape(masked)) or self._is_masked(unescape(masked)):
            seed = b"%b\0%b\0%d" % (bytes(aor), bytes(contact), attempt)
            masked = user + b"~" + hashlib.blake2b(seed, digest_size=4).hexdigest().encode()
            attempt += 1
        return SIPURI("sip", masked or None, None, host, port)

    def shares_mask(self, binding: Binding) -> bool:
        """Return whether another phone has the same mask, as in a file of siproxd's."""
        user = binding.masked_user
        return any(b is not binding and b.masked_user == user for b in self._by_user.get(user, ()))

    def _is_masked(self, user: bytes) -> bool:
        return any(binding.masked_user == user for binding in self._by_user.get(user, ()))


def _hosts(binding: Binding) -> set[str]:
    hosts = {binding.contact.host}
    if binding.source is not None:
        hosts.add(binding.source.host)
    return hosts


def _discard(index: dict[_Key, list[Binding]], key: _Key, binding: Binding) -> None:
    index[key].remove(binding)
    if not index[key]:
        del index[key]


def dumps(bindings: Iterable[Binding]) -> bytes:
    """Write siproxd's registration file: per slot its state, then contact, masked URI and AOR."""
    lines: list[bytes] = []
    for b in bindings:
        lines += (b"****:1:%d" % b.expires, b.contact_text, bytes(b.masked), bytes(b.aor))
    lines += [b"****:0:0"] * (SLOTS - len(lines) // 4)
    return b"\n".join(lines) + b"\n"


def loads(text: bytes) -> tuple[list[Binding], list[str]]:
    """Read a registration file, siproxd's or ours; return the bindings and what was wrong with it.

    A damaged record costs that record only.
    """
    bindings: list[Binding] = []
    problems: list[str] = []
    lines = text.split(b"\n")
    at = 0
    while at < len(lines):
        number, line = at + 1, lines[at].rstrip(b"\r")
        at += 1
        if not line.startswith(b"****:1:"):
            if line and not line.startswith(b"****:0:"):
                problems.append(f"line {number}: expected a slot that starts with ****:")
            continue
        record = [text.rstrip(b"\r") for text in lines[at : at + 3]]
        try:
            bindings.append(_binding(line, record))
            at += 3
        except ValueError as error:
            problems.append(f"line {number}: {error}")
            while at < len(lines) and not lines[at].startswith(b"****:"):
                at += 1
    return bindings, problems


def _binding(head: bytes, record: list[bytes]) -> Binding:
    if len(record) < 3 or any(text.startswith(b"****:") for text in record):
        raise ValueError("expected three URIs after an active slot")
    seconds = head[len(b"****:1:") :].strip()
    if not seconds.isdigit() or len(seconds) > 18:
        raise ValueError(f"expected seconds since 1970, not {seconds[:40]!r}")
    contact, masked, aor = (_sip_uri(text) for text in record)
    # Who is registered with us is masked by a domain (or the one of his address of record), others by
    # our address at that time.
    local = masked.host == aor.host or not masked.is_address
    return Binding(contact, record[0], aor, masked, float(seconds), local=local)


def _sip_uri(text: bytes) -> SIPURI:
    try:
        uri = parse_uri(text)
    except ParseError as error:
        raise ValueError(f"not a SIP URI: {text[:40]!r} ({error.reason})") from error
    if not isinstance(uri, SIPURI):
        raise ValueError(f"expected a sip: URI, not {text[:40]!r}")
    return uri
