# SPDX-License-Identifier: MIT
"""A resolver without a network: knows the names that the test gives it, and waits when told to.

It passes the suite of the real one, tests/support/test_resolver.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Destination, Hop, IResolver, ResolutionFailed
from siproxd_tw.transport.resolver import DEFAULT_PORTS, ip_literal, is_host_name, not_a_name
from siproxd_tw.transport.search import transport_of


@implementer(IResolver)
class MemoryResolver:
    """Answers from `names`, a name and its address or its addresses, and from `services`.

    `services` has the servers of domains, best first, as SRV gives them; they count when a destination
    has no port, and where it names a transport, those by that one. `Hop.name` is filled in.
    Unlike the real one it forgets at once: a change of both counts from the next question on. A server
    that has failed comes last until it is taken out of `dead`.
    """

    def __init__(
        self,
        names: Mapping[str, str | Sequence[str]] | None = None,
        services: Mapping[str, Sequence[Hop]] | None = None,
    ) -> None:
        self.names: dict[str, str | Sequence[str]] = dict(names or {})
        self.services: dict[str, Sequence[Hop]] = dict(services or {})
        self.asked: list[str | Destination] = []
        """Every question, IP addresses too: of `resolve` the host, of `locate` the destination."""
        self.waiting: list[tuple[str, Deferred[Any]]] = []
        """The names, in lower case, whose answers `release` gives, oldest first."""
        self.failures: list[tuple[Hop, float]] = []
        """What `failed` was told, with the seconds."""
        self.dead: list[Hop] = []
        self._questions: dict[Deferred[Any], Destination | None] = {}
        self._holding = False

    def hold(self) -> None:
        """From now on leave questions for names unanswered."""
        self._holding = True

    def release(self, name: str | None = None) -> None:
        """Answer what waits for `name`, or everything and from then on at once again."""
        self._holding = self._holding and name is not None
        for waited, deferred in list(self.waiting):
            if name in (None, waited) and deferred in self._questions:
                self.waiting.remove((waited, deferred))
                self._answer(waited, self._questions.pop(deferred)).chainDeferred(deferred)

    def resolve(self, host: str) -> Deferred[Sequence[str]]:
        """See IResolver."""
        self.asked.append(host)
        literal = ip_literal(host)
        return succeed((literal,)) if literal is not None else self._ask(host, None)

    def locate(self, destination: Destination) -> Deferred[Sequence[Hop]]:
        """See IResolver."""
        self.asked.append(destination)
        literal = ip_literal(destination.host)
        if literal is not None:
            return succeed(self._hops(destination, [literal], ""))
        return self._ask(destination.host, destination)

    def failed(self, hop: Hop, seconds: float = 30.0) -> None:
        """See IResolver."""
        self.failures.append((hop, seconds))
        self.dead = [*(each for each in self.dead if each != hop), hop]

    def _ask(self, host: str, destination: Destination | None) -> Deferred[Any]:
        if not is_host_name(host):
            return fail(not_a_name(host))
        name = host.lower().removesuffix(".")
        if not self._holding:
            return self._answer(name, destination)
        deferred: Deferred[Any] = Deferred(self._cancelled)
        self.waiting.append((name, deferred))
        self._questions[deferred] = destination
        return deferred

    def _answer(self, name: str, destination: Destination | None) -> Deferred[Any]:
        found: Sequence[Any] = ()
        if destination is not None and destination.port is None:
            wanted = transport_of(destination) or ("TLS" if destination.secure else "")
            offered = [hop for hop in self.services.get(name, ()) if wanted in ("", hop.transport)]
            found = [hop._replace(name=hop.name or name) for hop in offered]
        if not found:
            known = self.names.get(name, ())
            found = sorted([known] if isinstance(known, str) else known, key=lambda host: ":" in host)
            found = found if destination is None else self._hops(destination, found, name)
        if not found:
            return fail(ResolutionFailed(f"{name} has no IPv4 or IPv6 address"))
        return succeed([*(each for each in found if each not in self.dead), *filter(self.dead.count, found)])

    @staticmethod
    def _hops(destination: Destination, hosts: Sequence[str], name: str) -> list[Hop]:
        transport = transport_of(destination) or ("TLS" if destination.secure else "UDP")
        port = DEFAULT_PORTS.get(transport, 5060) if destination.port is None else destination.port
        return [Hop(transport, Address(host, port), name) for host in hosts]

    def _cancelled(self, deferred: Deferred[Any]) -> None:
        self.waiting = [each for each in self.waiting if each[1] is not deferred]
        del self._questions[deferred]
