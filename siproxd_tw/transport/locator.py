# SPDX-License-Identifier: MIT
"""Where to send: the servers of a destination (RFC 3263), found by `search` and kept for the next message.

- An answer is kept until the first of the records behind it is outdated, so that a message costs one look
  into a dictionary. Records of equal priority are put in a new order for each message.
- All who ask for the same destination meanwhile share one search; nobody waits longer than `TIMEOUT`.
- A server that has failed comes last until its time is over, whatever its priority (RFC 3263 section 4.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from random import random as any_random
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Destination, Hop, IResolver, IStatus, ResolutionFailed
from siproxd_tw.transport.dnscache import KEEP_OLD, NO_ANSWER, DNSCache, DNSClient
from siproxd_tw.transport.dnsrecords import canonical
from siproxd_tw.transport.followedname import ResolveHost
from siproxd_tw.transport.resolver import DEFAULT_PORTS, ip_literal, is_host_name, not_a_name
from siproxd_tw.transport.search import ADDRESSES, Abilities, Plan, Search, Sources, transport_of
from siproxd_tw.transport.systemfiles import HostsFile

__all__ = ["TIMEOUT", "Locator"]

TIMEOUT = 5.0
"""Seconds that anybody waits for an answer."""
KEEP_FAILED = 5.0
"""Seconds until one that did not come in time is looked for again."""
BOTH: Abilities = ((), (4, 6))
"""The address families of a host that is no server: whoever asks knows which one is of use."""
MOST_DESTINATIONS = 2048
"""Answers that are kept; the oldest goes first."""
MOST_SEARCHES = 256
"""Searches at the same time."""
MOST_FAILED = 1024
"""Servers that are remembered to have failed."""


@dataclass(eq=False, slots=True)
class _Running:
    """A search that runs and everybody who waits for its plan."""

    search: Search
    plan: Deferred[Any] = field(default_factory=Deferred)
    waiting: list[Deferred[Sequence[Hop]]] = field(default_factory=list)


@implementer(IResolver, IStatus)
class Locator:
    """Asks /etc/hosts, `client` and `system`.

    `client` has the lookup methods of twisted.internet.interfaces.IResolver; if it has a `stop`, that
    is called in time. `system` is the `resolve` of a SystemResolver. `transports` and `families` say what can
    be used at the moment: names as Via spells them, and 4 and 6; both are asked for each message.
    `random` gives numbers from 0 up to but not including 1.
    """

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        client: DNSClient,
        system: ResolveHost,
        *,
        transports: Callable[[], Collection[str]],
        families: Callable[[], Collection[int]],
        hosts: HostsFile | None = None,
        random: Callable[[], float] = any_random,
    ) -> None:
        self._clock = clock
        self._client = client
        self._cache = DNSCache(clock, client)
        self._sources = Sources(clock.seconds, self._cache.ask, (hosts or HostsFile()).addresses, system)
        self._transports = transports
        self._families = families
        self._random = random
        self._plans: dict[Destination, Plan] = {}
        self._searches: dict[Destination, _Running] = {}
        self._failed: dict[tuple[str, Address], float] = {}
        self._counts: Counter[str] = Counter()

    def stop(self) -> Deferred[Any]:
        """End all searches with ResolutionFailed and free all sockets and timers; fires when that is done."""
        for running in list(self._searches.values()):
            running.plan.cancel()
        stop = getattr(self._client, "stop", None)
        return succeed(None) if stop is None else stop()

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {
            "destinations": len(self._plans),
            "searches": len(self._searches),
            "failed servers": [f"{name} {address}" for name, address in self._failed],
            **{key: self._counts[key] for key in ("found", "not found", "timed out", "refused")},
            "dns": self._cache.status(),
        }

    # addresses

    def resolve(self, host: str) -> Deferred[Sequence[str]]:
        """See IResolver; addresses of both families, whichever can be used."""
        literal = ip_literal(host)
        if literal is not None:
            return succeed((literal,))
        if not is_host_name(host):
            return fail(not_a_name(host))
        return self._ask(Destination(canonical(host), 0, ADDRESSES), BOTH).addCallback(_addresses)

    # servers

    def locate(self, destination: Destination) -> Deferred[Sequence[Hop]]:
        """See IResolver."""
        plan = self._plans.get(destination)
        if (
            plan is not None
            and self._clock.seconds() < plan.until
            and plan.abilities == (self._transports(), self._families())
        ):
            return self._answer(plan)
        literal = ip_literal(destination.host)
        if literal is not None:
            return succeed((_hop_of_literal(destination, literal),))
        if not is_host_name(destination.host):
            return fail(not_a_name(destination.host))
        return self._ask(destination, (self._transports(), self._families()))

    def failed(self, hop: Hop, seconds: float = 30.0) -> None:
        """See IResolver."""
        key = (hop.transport, hop.address)
        self._failed.pop(key, None)
        while len(self._failed) >= MOST_FAILED:
            del self._failed[next(iter(self._failed))]
        self._failed[key] = self._clock.seconds() + seconds

    def _answer(self, plan: Plan) -> Deferred[Sequence[Hop]]:
        if plan.why:
            return fail(ResolutionFailed(plan.why))
        hops = plan.hops or plan.ordered(self._random)
        return succeed(self._living_first(hops) if self._failed else hops)

    def _living_first(self, hops: Sequence[Hop]) -> Sequence[Hop]:
        now = self._clock.seconds()
        for key in [key for key, until in self._failed.items() if until <= now]:
            del self._failed[key]
        dead = [hop for hop in hops if (hop.transport, hop.address) in self._failed]
        return [*(hop for hop in hops if hop not in dead), *dead] if dead else hops

    # searches

    def _ask(self, destination: Destination, abilities: Abilities) -> Deferred[Sequence[Hop]]:
        """Return the answer of a search: one that is known, one that runs, or a new one."""
        plan = self._plans.get(destination)
        if plan is not None and self._clock.seconds() < plan.until and plan.abilities == abilities:
            return self._answer(plan)
        running = self._searches.get(destination)
        if running is None:
            if len(self._searches) >= MOST_SEARCHES:
                self._counts["refused"] += 1
                if plan is not None and self._still_serves(plan, abilities):
                    return self._answer(plan)
                return fail(ResolutionFailed(f"{destination.host}: too many other names are being looked up"))
            running = self._begin(destination, abilities)
        if destination not in self._searches:  # everything was known
            return self._answer(self._plans[destination])
        waiter: Deferred[Sequence[Hop]] = Deferred(running.waiting.remove)
        running.waiting.append(waiter)
        return waiter

    def _still_serves(self, plan: Plan, abilities: Abilities) -> bool:
        """Whether servers that are outdated are better than none: a flood of names cuts off no provider."""
        return not plan.why and plan.abilities == abilities and self._clock.seconds() < plan.until + KEEP_OLD

    def _begin(self, destination: Destination, abilities: Abilities) -> _Running:
        search = Search(self._sources, destination, abilities)
        running = self._searches[destination] = _Running(search)
        running.plan = ensureDeferred(search.plan())
        running.plan.addTimeout(TIMEOUT, self._clock, self._too_late)
        running.plan.addBoth(self._ended, running)
        return running

    def _too_late(self, _: object, __: float) -> Plan:
        self._counts["timed out"] += 1
        raise ResolutionFailed(NO_ANSWER)

    def _ended(self, result: Plan | Failure, running: _Running) -> None:
        destination = running.search.destination
        del self._searches[destination]
        if isinstance(result, Failure) and result.check(CancelledError):
            while running.waiting:
                running.waiting.pop(0).errback(ResolutionFailed(f"{destination.host}: the service ends"))
            return
        plan = self._keep(running.search, result)
        while running.waiting:  # whoever is told may cancel what others wait for
            self._answer(plan).chainDeferred(running.waiting.pop(0))

    def _keep(self, search: Search, result: Plan | Failure) -> Plan:
        if isinstance(result, Failure):
            why = f"{search.destination.host} cannot be found: {result.getErrorMessage()}"
            if not result.check(ResolutionFailed):
                self._log.failure("looking for {host}", failure=result, host=search.destination.host)
            result = Plan(self._clock.seconds() + KEEP_FAILED, search.abilities, why=why)
        self._counts["not found" if result.why else "found"] += 1
        self._plans.pop(search.destination, None)  # so that the oldest is the first in the dictionary
        while len(self._plans) >= MOST_DESTINATIONS:
            del self._plans[next(iter(self._plans))]
        self._plans[search.destination] = result
        return result


def _addresses(hops: Sequence[Hop]) -> Sequence[str]:
    return [hop.address.host for hop in hops]


def _hop_of_literal(destination: Destination, literal: str) -> Hop:
    transport = transport_of(destination) or ("TLS" if destination.secure else "UDP")
    port = destination.port
    return Hop(transport, Address(literal, DEFAULT_PORTS.get(transport, 5060) if port is None else port))
