# SPDX-License-Identifier: MIT
"""The way from a destination to its servers: RFC 3263 section 4 and RFC 2782, once through.

Decisions where the RFCs leave a choice:

- Without NAPTR records the services are asked for in the order UDP, TCP, TLS: what siproxd's users expect
  and what nearly every provider offers. All that is found is in the result, so that there is a next one
  when one fails. Only when there is no service at all the addresses of the domain count, by UDP.
- NAPTR and SRV are asked for at the same time: forwarders in home routers often never answer the one.
  Silence counts as "no such record" then; what was known before still counts, see `dnscache`.
- A service whose SRV target is the root is not there, and no address takes its place (RFC 2782).
- IPv4 addresses come before IPv6 addresses of the same server: of the two paths the one that is tested.
- /etc/hosts is asked before the DNS, and the system's resolver (search domains, mDNS) behind it, unless
  the DNS kept silent: the system would ask the same servers and hold a thread for half a minute. Names
  without a dot and below ``.local`` are the system's alone.
- A name is asked for in lower case and without a dot behind it, and so it stands in `Hop.name`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import TypeVar

from twisted.internet.defer import Deferred, FirstError, ensureDeferred, gatherResults

from siproxd_tw.interfaces import Address, Destination, Hop, ResolutionFailed
from siproxd_tw.transport.dnscache import NO_ANSWER, TOO_MANY
from siproxd_tw.transport.dnsrecords import Answer, Kind, Service, canonical, in_order
from siproxd_tw.transport.followedname import ResolveHost
from siproxd_tw.transport.resolver import DEFAULT_PORTS

__all__ = ["ADDRESSES", "Abilities", "Plan", "Search", "Sources", "transport_of"]

RECHECK_SYSTEM = 5.0
"""Seconds for which an answer of /etc/hosts or of the system's resolver, which has a cache, counts."""
SHORTEST = 1.0
"""Seconds for which an answer counts at least."""
MOST_HOPS = 32
"""Servers in an answer."""
MOST_SERVICES = 4
"""SRV names of one domain that NAPTR records lead to."""
ADDRESSES = "ANY"
"""In place of a transport: what is asked for are addresses, not servers."""

SERVICES = {"UDP": "_sip._udp.", "TCP": "_sip._tcp.", "TLS": "_sips._tcp."}
"""What stands before the domain in an SRV name (RFC 3263 section 4.1), in the order of preference."""
POINTERS = {"SIP+D2U": "UDP", "SIP+D2T": "TCP", "SIPS+D2T": "TLS"}
"""The transports of the services that NAPTR records name."""

T = TypeVar("T")
Hosts = Sequence[str]
Abilities = tuple[Collection[str], Collection[int]]
"""The transports, as Via spells them, and the address families, 4 and 6, that can be used."""
Group = tuple[tuple[int, tuple[Hop, ...]], ...]
"""What has one priority: weights and the addresses of a server."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer to one destination."""

    until: float
    abilities: Abilities
    groups: tuple[Group, ...] = ()
    hops: tuple[Hop, ...] = ()
    """All of them, if there is nothing to choose between; else empty."""
    why: str = ""
    """Why there is no server."""

    def ordered(self, random: Callable[[], float]) -> tuple[Hop, ...]:
        """Return the servers, equal ones in a new order."""
        if self.hops:
            return self.hops
        return tuple(hop for group in self.groups for hops in in_order(group, random) for hop in hops)


@dataclass(frozen=True, slots=True)
class Sources:
    """Whom a search asks."""

    seconds: Callable[[], float]
    """The clock."""
    dns: Callable[[str, Kind], Deferred[Answer]]
    """The `ask` of a DNSCache."""
    hosts: Callable[[str], Sequence[str]]
    """The `addresses` of a HostsFile."""
    system: ResolveHost
    """The `resolve` of a SystemResolver."""


def transport_of(destination: Destination) -> str:
    """Return the transport that `destination` settles, empty when the DNS has to.

    ``sips:`` is TLS, also where TCP or, by mistake, UDP is named: it is what the ``s`` promises.
    """
    named = destination.transport.upper()
    if not destination.secure:
        return named
    return "WSS" if named in ("WS", "WSS") else "TLS" if named else ""


class Search:
    """One walk through the DNS for `destination`, with what can be used at the moment."""

    def __init__(self, sources: Sources, destination: Destination, abilities: Abilities) -> None:
        self.destination = destination
        self.abilities = abilities
        self._name = canonical(destination.host)
        self._sources = sources
        self._until = float("inf")
        """When the first of the answers that were used is outdated."""
        self._denied: set[str] = set()
        """The transports of which SRV says that they are not there."""
        self._silence = False
        """Whether a question was not answered in time."""

    async def plan(self) -> Plan:
        """Return the servers of the destination (RFC 3263 sections 4.1 and 4.2)."""
        groups = await self._groups()
        self._until = max(self._until, self._sources.seconds() + SHORTEST)
        groups = _bounded(groups)
        if not groups:
            return Plan(self._until, self.abilities, why=self._why())
        certain = all(len(group) == 1 for group in groups)
        hops = tuple(hop for group in groups for _, hops in group for hop in hops) if certain else ()
        return Plan(self._until, self.abilities, tuple(groups), hops)

    async def _groups(self) -> list[Group]:
        destination, transport = self.destination, transport_of(self.destination)
        if destination.port is None:
            for services in await self._services(transport):
                found = await _all(ensureDeferred(self._by_srv(*each)) for each in services)
                if any(found):
                    return [group for groups in found for group in groups]
        transport = transport or ("TLS" if destination.secure else "UDP")
        if transport in self._denied:
            return []
        port = DEFAULT_PORTS.get(transport, 5060) if destination.port is None else destination.port
        hosts = await self._hosts(self._name, {})
        return [((0, self._hops(transport, hosts, port)),)] if hosts else []

    async def _services(self, transport: str) -> list[list[tuple[str, str]]]:
        """Return transports with their SRV names, best first; the second list is for when the first fails."""
        if transport:
            return [[(transport, SERVICES[transport] + self._name)]] if transport in SERVICES else []
        wanted = [
            each
            for each in SERVICES
            if each in self.abilities[0] and (each == "TLS" or not self.destination.secure)
        ]
        services = [(each, SERVICES[each] + self._name) for each in wanted]
        pointers, *_ = await _all(
            [self._ask(self._name, Kind.NAPTR), *(self._ask(name, Kind.SRV) for _, name in services)]
        )
        pointed = [
            (POINTERS[each.service], each.replacement)
            for each in pointers.pointers
            if POINTERS.get(each.service) in wanted
        ]
        # Where NAPTR leads to nothing, the usual names are still better than no call.
        return [list(dict.fromkeys(pointed))[:MOST_SERVICES], services]

    async def _by_srv(self, transport: str, name: str) -> list[Group]:
        """Return the servers of one service, one group for each priority."""
        answer = await self._ask(name, Kind.SRV)
        services = [each for each in answer.services if each.target]
        if answer.services and not services:
            self._denied.add(transport)
        targets = list(dict.fromkeys(each.target for each in services))
        found = await _all(ensureDeferred(self._hosts(each, answer.additional)) for each in targets)
        hosts = dict(zip(targets, found, strict=True))
        groups: list[Group] = []
        for _, equals in groupby(services, _priority):
            group = tuple(
                (each.weight, self._hops(transport, hosts[each.target], each.port))
                for each in equals
                if hosts[each.target]
            )
            if group:
                groups.append(group)
        return groups

    def _hops(self, transport: str, hosts: Iterable[str], port: int) -> tuple[Hop, ...]:
        return tuple(Hop(transport, Address(host, port), self._name) for host in hosts)

    # addresses

    async def _hosts(self, name: str, additional: Mapping[tuple[str, Kind], tuple[str, ...]]) -> Hosts:
        """Return the addresses of `name` that can be used, IPv4 first."""
        known = self._sources.hosts(name)
        if known:
            self._outdated(self._sources.seconds() + RECHECK_SYSTEM)
            return self._usable(known)
        if "." not in name or name.endswith(".local"):
            return await self._system(name)
        kinds = [kind for kind, family in ((Kind.A, 4), (Kind.AAAA, 6)) if family in self.abilities[1]]
        missing = [kind for kind in kinds if (name, kind) not in additional]
        answers = await _all(self._ask(name, kind) for kind in missing)
        found = dict(zip(missing, answers, strict=True))
        hosts = [
            host
            for kind in kinds
            for host in (found[kind].addresses if kind in found else additional[name, kind])
        ]
        if hosts or any(each.failure in (NO_ANSWER, TOO_MANY) for each in answers):
            return hosts
        return await self._system(name)

    async def _system(self, name: str) -> Hosts:
        self._outdated(self._sources.seconds() + RECHECK_SYSTEM)
        try:
            return self._usable(await self._sources.system(name))
        except ResolutionFailed:
            return ()

    def _usable(self, hosts: Hosts) -> Hosts:
        return [host for host in hosts if (6 if ":" in host else 4) in self.abilities[1]]

    # the DNS

    def _ask(self, name: str, kind: Kind) -> Deferred[Answer]:
        return self._sources.dns(name, kind).addCallback(self._note)

    def _note(self, answer: Answer) -> Answer:
        self._outdated(answer.until)
        self._silence = self._silence or answer.failure == NO_ANSWER
        return answer

    def _outdated(self, until: float) -> None:
        self._until = min(self._until, until)

    def _why(self) -> str:
        name = self.destination.host
        if self._denied:
            return f"{name} says that it has no SIP by {' and '.join(sorted(self._denied))}"
        if self._silence:
            return f"{name} cannot be found: {NO_ANSWER}"
        family = " or ".join(f"IPv{each}" for each in sorted(self.abilities[1]))
        return f"{name} has no {family} address" if family else "there is no address on our side"


def _priority(service: Service) -> int:
    return service.priority


async def _all(deferreds: Iterable[Deferred[T]]) -> list[T]:
    """Return the results of all of them."""
    try:
        return await gatherResults(list(deferreds), consumeErrors=True)
    except FirstError as error:
        assert error.subFailure.value is not None
        raise error.subFailure.value from None


def _bounded(groups: Iterable[Group]) -> list[Group]:
    """Return the groups with each server once, and no more than `MOST_HOPS` in all."""
    seen: set[Hop] = set()
    bounded: list[Group] = []
    for group in groups:
        kept = []
        for weight, hops in group:
            new = tuple(hop for hop in hops if hop not in seen)[: MOST_HOPS - len(seen)]
            seen.update(new)
            if new:
                kept.append((weight, new))
        if kept:
            bounded.append(tuple(kept))
    return bounded
