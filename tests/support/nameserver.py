# SPDX-License-Identifier: MIT
"""A name server with the records that a test gives it: as a client in memory, or on a loopback address.

In memory it has the lookup methods of twisted.internet.interfaces.IResolver, like NameServers.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, DeferredList, fail, maybeDeferred, succeed
from twisted.names import common, dns, server
from twisted.names.error import DNSNameError

RECORDS = {
    "A": dns.Record_A,
    "AAAA": dns.Record_AAAA,
    "CNAME": dns.Record_CNAME,
    "SRV": dns.Record_SRV,
    "NAPTR": dns.Record_NAPTR,
}
KINDS = {dns.A: "A", dns.AAAA: "AAAA", dns.SRV: "SRV", dns.NAPTR: "NAPTR", dns.CNAME: "CNAME"}


class NameServer(common.ResolverBase):
    """Answers by `zone`: lines of name, TTL, type and data, as in a zone file.

    `soa` is the negative TTL that it tells; None: it tells none.
    """

    def __init__(self, zone: str = "", soa: int | None = None) -> None:
        super().__init__()
        self.records: dict[str, list[dns.RRHeader]] = {}
        self.soa = soa
        self.glue = False
        """Whether the addresses of SRV targets are in the additional section."""
        self.asked: list[tuple[str, str]] = []
        """Names and types, in the order of the questions."""
        self.error: Exception | None = None
        """What every question fails with."""
        self.silent: set[str] = set()
        """The types that get no answer, ever."""
        self.waiting: list[tuple[str, int, Deferred[Any]]] = []
        """Questions without an answer yet."""
        self.holding = False
        self.add(zone)

    def add(self, zone: str) -> None:
        """Have the records of `zone` in place of all that their names had."""
        lines = [line.split() for line in zone.splitlines() if line.strip()]
        for name in {words[0] for words in lines}:
            self.records[name.lower()] = []
        for name, ttl, kind, *data in lines:
            values: list[Any] = ["" if word == "." else word.strip('"') for word in data]
            if kind == "NAPTR":
                values[2:5] = [value.encode() for value in values[2:5]]
            payload = RECORDS[kind](*values, ttl=int(ttl))
            header = dns.RRHeader(name, payload.TYPE, dns.IN, int(ttl), payload, auth=True)
            self.records[name.lower()].append(header)

    def questions(self) -> list[tuple[str, str]]:
        """Return what was asked since the last time."""
        asked, self.asked = self.asked, []
        return asked

    def release(self) -> None:
        """Answer what waits, and from now on at once again."""
        self.holding = False
        waiting, self.waiting = self.waiting, []
        for name, kind, deferred in waiting:
            if KINDS[kind] in self.silent:
                self.waiting.append((name, kind, deferred))
            else:
                self._answer(name, kind).chainDeferred(deferred)

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object = None) -> Deferred[Any]:
        text = name.decode().lower()
        self.asked.append((text, KINDS[type]))
        if self.holding or KINDS[type] in self.silent:
            deferred: Deferred[Any] = Deferred()
            self.waiting.append((text, type, deferred))
            return deferred
        return self._answer(text, type)

    def _answer(self, name: str, kind: int) -> Deferred[Any]:
        if self.error is not None:
            return fail(self.error)
        soa = dns.Record_SOA(minimum=self.soa or 0, ttl=3600)
        authority = [] if self.soa is None else [dns.RRHeader("test", dns.SOA, dns.IN, 3600, soa)]
        if name not in self.records:
            message = dns.Message(rCode=dns.ENAME)
            message.authority = authority
            return fail(DNSNameError(message))
        answers: list[dns.RRHeader] = []
        for _ in range(4):
            own = self.records.get(name, [])
            answers += [each for each in own if each.type in (kind, dns.CNAME)]
            if not own or own[0].type != dns.CNAME:
                break
            name = own[0].payload.name.name.decode()
        targets = [each.payload.target.name.decode() for each in answers if each.type == dns.SRV]
        additional = (
            [each for target in targets for each in self.records.get(target, [])] if self.glue else []
        )
        return succeed((answers, [] if answers else authority, additional))


class LoopbackServer:
    """A NameServer on UDP and TCP of 127.0.0.1; `port` is its port, `stop` gives it back."""

    def __init__(self, reactor: Any, names: NameServer, host: str = "127.0.0.1") -> None:
        factory = server.DNSServerFactory(clients=[names])
        factory.noisy = False
        self._streams = reactor.listenTCP(0, _Closing(factory, self), interface=host)
        self.port: int = self._streams.getHost().port
        self._datagrams = reactor.listenUDP(
            self.port, dns.DNSDatagramProtocol(factory, reactor), interface=host
        )
        self.connections: list[Any] = []

    def stop(self) -> Deferred[Any]:
        """Close everything."""
        for each in self.connections:
            each.transport.abortConnection()
        return DeferredList([maybeDeferred(each.stopListening) for each in (self._streams, self._datagrams)])


class _Closing:
    """The factory of `LoopbackServer`, which knows its connections."""

    def __init__(self, factory: Any, owner: LoopbackServer) -> None:
        self._factory = factory
        self._owner = owner

    def __getattr__(self, name: str) -> Any:
        return getattr(self._factory, name)

    def buildProtocol(self, addr: Any) -> Any:
        protocol = self._factory.buildProtocol(addr)
        self._owner.connections.append(protocol)
        return protocol
