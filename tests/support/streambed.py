# SPDX-License-Identifier: MIT
"""A stream transport between networks, in memory or on the loopback, and what it reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred
from zope.interface import implementer

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, Flow, ISendReport, Side
from siproxd_tw.transport.stream import StreamTransport
from tests.support.datagrams import LoopbackNetwork
from tests.support.streams import MemoryReactor, StreamPeer

ANY_PORT = Address("127.0.0.1", 0)
PHONE = ("127.0.0.9", 0)


def message(start: str = "OPTIONS sip:a@b SIP/2.0", *headers: str, body: str = "") -> bytes:
    """Return a message with as much of a head as framing needs."""
    lines = [start, *headers, f"Content-Length: {len(body)}", "", body]
    return "\r\n".join(lines).encode()


OPTIONS = message()
OK = message("SIP/2.0 200 OK")


@implementer(ISendReport)
class Report:
    """An ISendReport that notes everything; `react` is called with what was received."""

    def __init__(self) -> None:
        self.messages: list[tuple[bytes, Any, Address]] = []
        self.errors: list[tuple[Any, Address]] = []
        self.failed: list[tuple[Flow, str]] = []
        self.react: Callable[[bytes, Any, Address], None] = lambda *_: None
        self.react_to_error: Callable[[Any, Any, Address], None] = lambda *_: None

    @property
    def data(self) -> list[bytes]:
        """The bytes of all messages."""
        return [data for data, _, _ in self.messages]

    def received(self, data: bytes, transport: Any, remote: Address) -> None:
        self.messages.append((data, transport, remote))
        self.react(data, transport, remote)

    def broken(self, error: Any, transport: Any, remote: Address) -> None:
        self.errors.append((error, remote))
        self.react_to_error(error, transport, remote)

    def unsent(self, flow: Flow, reason: str) -> None:
        self.failed.append((flow, reason))


class Bed:
    """The networks, the clock, and one transport."""

    def __init__(self, network: Any, reactor: Any) -> None:
        self.network = network
        self.reactor = reactor
        self.report = Report()
        self.transport: StreamTransport
        self._transports: list[Any] = []

    def start(
        self,
        name: str = "TCP",
        local: Address = ANY_PORT,
        side: Side = Side.INSIDE,
        *,
        kind: type[StreamTransport] = StreamTransport,
        tls: Any = None,
        dscp: int = 0,
        **config: Any,
    ) -> StreamTransport:
        """Let a transport listen."""
        settings = config.pop("config", None) or TransportConfig(**config)
        transport = kind(name, local, side, self.report, settings, reactor=self.reactor, tls=tls, dscp=dscp)
        self._transports.append(transport)
        transport.listen()
        self.transport = transport
        return transport

    def flow(self, remote: Any, name: str = "", fallback: Any = None) -> Flow:
        """Return the flow to a peer or an address."""
        there = remote.address if isinstance(remote, StreamPeer) else remote
        back = None if fallback is None else Address(*fallback)
        return Flow(self.transport, Address(*there), self.transport.side, name, back)

    async def connected(self, source: tuple[str, int] = PHONE) -> StreamPeer:
        """Connect a peer to the transport, and wait until it knows."""
        before = self.transport.status()["connections"]
        peer = self.network.connect(source, to=self.transport.local)
        await self.until(lambda: peer.open and self.transport.status()["connections"] != before)
        return peer

    async def until(self, condition: Callable[[], object]) -> None:
        """Let everything happen that is due now; `condition` must become true."""
        if isinstance(self.reactor, MemoryReactor):
            self.settle()
        await self.network.until(lambda: bool(condition()))

    def settle(self) -> None:
        """Let everything happen that is due now, in memory."""
        for _ in range(1000):
            self.network.flush()
            if not any(call.getTime() <= self.reactor.seconds() for call in self.reactor.getDelayedCalls()):
                return
            self.reactor.advance(0)
        raise AssertionError("that never ends")

    def advance(self, seconds: float) -> None:
        """Let time pass, in memory, timer by timer."""
        end = self.reactor.seconds() + seconds
        self.settle()
        while (calls := self.reactor.getDelayedCalls()) and min(c.getTime() for c in calls) <= end:
            self.reactor.advance(min(call.getTime() for call in calls) - self.reactor.seconds())
            self.settle()
        self.reactor.advance(end - self.reactor.seconds())

    async def close(self) -> None:
        """Stop all transports and look at what they leave."""
        for transport in self._transports:
            stopped: Deferred[None] = transport.stop()
            await self.until(lambda stopped=stopped: stopped.called)
            assert transport.status()["connections"] == 0
        if isinstance(self.network, LoopbackNetwork):
            await self.network.close()
        else:
            assert not self.network.stream_ports
            assert not self.network.streams
            assert not self.reactor.getDelayedCalls()


def memory_bed() -> Bed:
    """Everything in memory."""
    reactor = MemoryReactor()
    return Bed(reactor.network, reactor)


def loopback_bed() -> Bed:
    """Everything on real sockets."""
    from twisted.internet import reactor  # noqa: TID251

    return Bed(LoopbackNetwork(reactor), reactor)
