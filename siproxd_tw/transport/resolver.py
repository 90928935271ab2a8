# SPDX-License-Identifier: MIT
"""Host names to addresses by the system's resolver: /etc/hosts, DNS, mDNS, whatever nsswitch.conf says.

The `locator` asks it for what the DNS does not know: names without a dot, search domains, mDNS.

- An IP address in text form never leaves this file: the answer is there at once.
- A name is looked up in Twisted's thread pool. All who ask for it meanwhile share that look-up;
  nobody waits longer than `TIMEOUT`, and what arrives later than that still goes into the cache.
- Only text that is a host name is ever looked up: getaddrinfo() takes ``127.1`` or ``0x7f000001`` for
  an address, and raises for labels that are too long.
- Cache and look-ups are bounded, as names come out of messages that anybody may send.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from socket import AF_INET, AF_INET6, inet_ntop, inet_pton

from twisted.internet.address import IPv4Address
from twisted.internet.address import IPv6Address as IPv6Peer
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import (
    IAddress,
    IHostnameResolver,
    IHostResolution,
    IReactorTime,
    IResolutionReceiver,
)
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.interfaces import IStatus, ResolutionFailed

__all__ = ["DEFAULT_PORTS", "SystemResolver", "ip_literal", "is_host_name", "not_a_name"]

DEFAULT_PORTS = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "WS": 80, "WSS": 443}
"""Where to send when no port is named (RFC 3261 section 19.1.2, RFC 7118 section 5)."""

TIMEOUT = 5.0
"""Seconds that anybody waits for a name."""
KEEP_FOUND = 60.0
"""Seconds that addresses are kept; the system's resolver does not tell what the DNS allows."""
KEEP_FAILED = 5.0
"""Seconds for which a name that failed is not looked up again."""
LONGEST_LOOKUP = 120.0
"""Seconds after which a look-up is given up for lost; the C library's own limits are shorter."""
MOST_NAMES = 1024
"""Names in the cache; the oldest goes first."""
MOST_LOOKUPS = 64
"""Look-ups at the same time; each one may hold a thread for as long as the C library likes."""

_LABEL = r"[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*({_LABEL})\.?")
_NUMBER = re.compile(r"[0-9]+|0[xX][0-9A-Fa-f]*")


def ip_literal(host: str) -> str | None:
    """Return the IP address that `host` is, without brackets and in its shortest form; None for a name."""
    # inet_pton() takes the one dotted form without leading zeros, in a tenth of the time of ipaddress.
    try:
        if ":" not in host:
            inet_pton(AF_INET, host)
            return host
        if host[0] == "[" and host[-1] == "]":
            host = host[1:-1]
        short = inet_ntop(AF_INET6, inet_pton(AF_INET6, host))
    except (OSError, ValueError):
        return None
    # Of the addresses with IPv4 inside there is another form, and ours is that of ipaddress.
    return str(IPv6Address(short)) if "." in short else short


def is_host_name(host: str) -> bool:
    """Return whether `host` is one by RFC 1123 section 2.1, with the underscores that the DNS allows.

    A last label that is a number makes it an attempt at an address.
    """
    found = _HOST_NAME.fullmatch(host) if len(host) <= 254 else None
    return found is not None and not _NUMBER.fullmatch(found[1])


def not_a_name(host: str) -> ResolutionFailed:
    """Return the failure of a `host` that is neither a name nor an address, in a line fit for a log."""
    return ResolutionFailed(f"{host[:80]!r} is not a host name")


Hosts = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Known:
    """An answer in the cache."""

    until: float
    hosts: Hosts
    why: str = ""
    """Why there are no hosts."""


@implementer(IResolutionReceiver)
@dataclass(eq=False, slots=True)
class _LookUp:
    """One query of the system's resolver and everybody who waits for it."""

    resolver: SystemResolver
    name: str
    started: float
    hosts: list[str] = field(default_factory=list)
    waiting: list[Deferred[Sequence[str]]] = field(default_factory=list)

    def is_lost(self, now: float) -> bool:
        """Whether no answer can be expected any more."""
        return now - self.started > LONGEST_LOOKUP

    def resolutionBegan(self, resolutionInProgress: IHostResolution) -> None:
        """See IResolutionReceiver."""

    def addressResolved(self, address: IAddress) -> None:
        """See IResolutionReceiver."""
        if not isinstance(address, (IPv4Address, IPv6Peer)) or address.host in self.hosts:
            return
        if not address.host.startswith("fe80:"):  # a link-local one is nothing without its interface
            self.hosts.append(address.host)

    def resolutionComplete(self) -> None:
        """See IResolutionReceiver."""
        self.hosts.sort(key=lambda host: ":" in host)
        self.resolver._completed(self)


@implementer(IStatus)
class SystemResolver:
    """Asks `name_resolver`, the `nameResolver` of a reactor; `clock` measures cache and time-out."""

    def __init__(self, name_resolver: IHostnameResolver, clock: IReactorTime) -> None:
        self._names = name_resolver
        self._clock = clock
        self._cache: dict[str, _Known] = {}
        self._lookups: dict[str, _LookUp] = {}
        self._counts: Counter[str] = Counter()

    def resolve(self, host: str) -> Deferred[Sequence[str]]:
        """Find the IP addresses of `host` as `IResolver.resolve` does, IPv4 first."""
        literal = ip_literal(host)
        if literal is not None:
            return succeed((literal,))
        if not is_host_name(host):
            return fail(not_a_name(host))
        return self._hosts(host.lower())

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {
            "cached": len(self._cache),
            "running": len(self._lookups),
            **{key: self._counts[key] for key in ("looked up", "failed", "timed out", "refused")},
        }

    def _hosts(self, name: str) -> Deferred[Sequence[str]]:
        now = self._clock.seconds()
        known = self._cache.get(name)
        if known is not None and now < known.until:
            return succeed(known.hosts) if known.hosts else fail(ResolutionFailed(known.why))
        running = self._lookups.get(name)
        if running is not None and not running.is_lost(now):
            return self._wait(running)
        if not self._has_room(now):
            self._counts["refused"] += 1
            return fail(ResolutionFailed(f"{name}: too many other names are being looked up"))
        self._counts["looked up"] += 1
        lookup = self._lookups[name] = _LookUp(self, name, now)
        waiter = self._wait(lookup)
        self._names.resolveHostName(lookup, name, 0, [IPv4Address, IPv6Peer], "UDP")
        return waiter

    def _has_room(self, now: float) -> bool:
        if len(self._lookups) >= MOST_LOOKUPS:
            self._lookups = {name: each for name, each in self._lookups.items() if not each.is_lost(now)}
        return len(self._lookups) < MOST_LOOKUPS

    def _wait(self, lookup: _LookUp) -> Deferred[Sequence[str]]:
        """Return a Deferred for the answer to `lookup`; one who gives up leaves the others waiting."""

        def late(_: Sequence[str] | Failure, timeout: float) -> Sequence[str]:
            self._counts["timed out"] += 1
            why = f"{lookup.name}: the name servers did not answer within {timeout:g} seconds"
            self._remember(lookup.name, (), why)
            raise ResolutionFailed(why)

        waiter: Deferred[Sequence[str]] = Deferred(lookup.waiting.remove)
        lookup.waiting.append(waiter)
        return waiter.addTimeout(TIMEOUT, self._clock, late)

    def _completed(self, lookup: _LookUp) -> None:
        """Keep the answer and hand it out."""
        if self._lookups.get(lookup.name) is lookup:
            del self._lookups[lookup.name]
        if not lookup.hosts:
            self._counts["failed"] += 1
        why = f"{lookup.name} has no address, or the name servers cannot be reached"
        self._remember(lookup.name, tuple(lookup.hosts), why)
        while lookup.waiting:  # whoever is told may cancel what others wait for
            waiter = lookup.waiting.pop(0)
            if lookup.hosts:
                waiter.callback(tuple(lookup.hosts))
            else:
                waiter.errback(ResolutionFailed(why))

    def _remember(self, name: str, hosts: Hosts, why: str) -> None:
        self._cache.pop(name, None)  # so that the oldest answer is the first in the dictionary
        while len(self._cache) >= MOST_NAMES:
            del self._cache[next(iter(self._cache))]
        self._cache[name] = _Known(self._clock.seconds() + (KEEP_FOUND if hosts else KEEP_FAILED), hosts, why)
