# SPDX-License-Identifier: MIT
"""A resolver without a network: knows the names that the test gives it, and waits when told to.

It passes the suite of the real one, tests/transport/test_resolver.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from siproxd_tw.interfaces import Address, IResolver, ResolutionFailed
from siproxd_tw.transport.resolver import DEFAULT_PORTS, ip_literal, is_host_name


@implementer(IResolver)
class MemoryResolver:
    """Answers from `names`: a name and its address, or its addresses, best first.

    Unlike the real one it forgets at once: a change of `names` counts from the next question on.
    """

    def __init__(self, names: Mapping[str, str | Sequence[str]] | None = None) -> None:
        self.names: dict[str, str | Sequence[str]] = dict(names or {})
        self.asked: list[tuple[str, int | None, str]] = []
        """Every question, IP addresses too."""
        self.waiting: list[tuple[str, Deferred[Sequence[Address]]]] = []
        """The names, in lower case, whose answers `release` gives, oldest first."""
        self._ports: dict[Deferred[Sequence[Address]], int] = {}
        self._holding = False

    def hold(self) -> None:
        """From now on leave questions for names unanswered."""
        self._holding = True

    def release(self, name: str | None = None) -> None:
        """Answer what waits for `name`, or everything and from then on at once again."""
        self._holding = self._holding and name is not None
        for waited, deferred in list(self.waiting):
            if name in (None, waited):
                self.waiting.remove((waited, deferred))
                self._answer(waited, self._ports.pop(deferred)).chainDeferred(deferred)

    def resolve(self, host: str, port: int | None, transport: str) -> Deferred[Sequence[Address]]:
        """See IResolver."""
        self.asked.append((host, port, transport))
        number = DEFAULT_PORTS.get(transport, 5060) if port is None else port
        literal = ip_literal(host)
        if literal is not None:
            return succeed([Address(literal, number)])
        if not is_host_name(host):
            return fail(ResolutionFailed(f"{host[:80]!r} is not a host name"))
        if not self._holding:
            return self._answer(host.lower(), number)
        deferred: Deferred[Sequence[Address]] = Deferred(self._cancelled)
        self.waiting.append((host.lower(), deferred))
        self._ports[deferred] = number
        return deferred

    def _answer(self, name: str, port: int) -> Deferred[Sequence[Address]]:
        found = self.names.get(name, ())
        hosts = [found] if isinstance(found, str) else found
        if not hosts:
            return fail(ResolutionFailed(f"{name} has no IPv4 address"))
        return succeed([Address(each, port) for each in hosts])

    def _cancelled(self, deferred: Deferred[Sequence[Address]]) -> None:
        self.waiting = [each for each in self.waiting if each[1] is not deferred]
        del self._ports[deferred]
