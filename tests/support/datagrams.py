# SPDX-License-Identifier: MIT
"""UDP without a network: a fake that behaves like Twisted's, and the loopback that it is verified against.

`MemoryNetwork` offers `listenUDP` as a reactor does, `peer` for the other ends, and nothing else
that a provider under test would see; TCP, which both networks have too, is in streams.py. What the
fake promises:

- A datagram is never delivered inside the `write` that sends it, as with a real socket: it is queued,
  and delivered in order by the outermost `Peer.send`, by `flush`, by reading what a peer received,
  or, when a clock is given, by the clock at the present instant (`clock.advance(0)`).
- A datagram for an address where nobody listens is dropped and kept in `lost`.
- `stopListening` stops reception at once and frees the address with the next delivery, not before:
  Twisted closes the socket in the next turn of the reactor.
- An exception of the protocol under test comes out of `send`, `flush` or the clock: no test overlooks it.

The two networks have one test suite, test_datagrams.py.
"""

from __future__ import annotations

import ipaddress
import os
from collections import deque
from collections.abc import Callable
from errno import EADDRINUSE, EADDRNOTAVAIL, EMSGSIZE
from typing import Any, NamedTuple

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import (
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    IReactorUDP,
    ISystemHandle,
    IUDPTransport,
)
from twisted.internet.protocol import AbstractDatagramProtocol, DatagramProtocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from tests.support.loopbackstreams import LoopbackStreams
from tests.support.memorysocket import MemorySocket
from tests.support.streams import MemoryStreams

MAXIMUM = 65507
"""The longest payload of a UDP datagram over IPv4, bytes."""

HostPort = tuple[str, int]


class Datagram(NamedTuple):
    """One datagram on its way."""

    data: bytes
    source: HostPort
    destination: HostPort


class Peer:
    """The other end: sends, and keeps what it receives."""

    def __init__(self, network: MemoryNetwork | LoopbackNetwork, address: HostPort) -> None:
        self.address = address
        self.react: Callable[[Datagram], None] | None = None
        """Called with each datagram that comes in; for peers that answer by themselves."""
        self._network = network
        self._received: list[Datagram] = []

    @property
    def received(self) -> list[Datagram]:
        """Everything that has arrived so far, oldest first."""
        self._network.flush()
        return self._received

    def take(self) -> list[Datagram]:
        """Return what arrived since the last `take` and forget it."""
        taken = list(self.received)
        self._received.clear()
        return taken

    def send(self, data: bytes, destination: HostPort) -> None:
        """Send one datagram and let everything that follows from it happen."""
        self._network.carry(Datagram(data, self.address, destination))
        self._network.flush()

    def arrived(self, datagram: Datagram) -> None:
        """Take a datagram from the network."""
        self._received.append(datagram)
        if self.react is not None:
            self.react(datagram)


@implementer(IListeningPort, IUDPTransport, ISystemHandle)
class MemoryPort:
    """A bound socket of the program under test; `MemoryNetwork.listenUDP` makes it."""

    def __init__(
        self, network: MemoryNetwork, address: HostPort, protocol: AbstractDatagramProtocol, size: int
    ) -> None:
        self.address = address
        self.protocol = protocol
        self.reading = False
        self.handle = MemorySocket()
        self._network = network
        self._size = size
        self._connected: HostPort | None = None
        self._broadcast = False

    def startListening(self) -> None:
        """Bind, hand this transport to the protocol, and receive."""
        self._network.bind(self)
        self.reading = True
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None] | None:
        """Receive nothing more; the Deferred fires when the address is free."""
        if not self.reading:
            return None
        self.reading = False
        closed: Deferred[None] = Deferred()
        self._network.later(lambda: self._close(closed))
        return closed

    def _close(self, closed: Deferred[None]) -> None:
        self._network.unbind(self)
        self.protocol.doStop()
        closed.callback(None)

    def write(self, packet: bytes, addr: HostPort | None = None) -> None:
        """Queue one datagram, or raise what a socket of Twisted would."""
        destination = addr or self._connected
        assert destination is not None and self._connected in (None, destination)
        host = destination[0]
        if not isIPAddress(host) and not isIPv6Address(host):
            raise InvalidAddressError(host, "write() only accepts IP addresses, not hostnames")
        if isIPv6Address(host) != (":" in self.address[0]):
            raise InvalidAddressError(host, "address of the other family")
        if destination in self._network.errors or host in self._network.errors:
            raise self._network.errors.get(destination) or self._network.errors[host]
        if len(packet) > MAXIMUM:
            raise MessageLengthError(os.strerror(EMSGSIZE))
        if self.address not in self._network.bound:
            raise AttributeError("socket")  # what Twisted's port does after it was closed
        self._network.carry(Datagram(bytes(packet), self._network.source_of(self, host), destination))

    def arrived(self, datagram: Datagram) -> None:
        """Give a datagram to the protocol, cut to the size that it listens with."""
        if self.reading and self._connected in (None, datagram.source):
            self.protocol.datagramReceived(datagram.data[: self._size], datagram.source)

    def connect(self, host: str, port: int) -> None:
        """Send to and receive from one address only."""
        if self._connected:
            raise RuntimeError("already connected, reconnecting is not currently supported")
        self._connected = (host, port)

    def getHost(self) -> IPv4Address | IPv6Address:
        """Return the address that this port is bound to."""
        kind = IPv6Address if ":" in self.address[0] else IPv4Address
        return kind("UDP", *self.address)

    def getHandle(self) -> MemorySocket:
        """Return something with setsockopt."""
        return self.handle

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Note it."""
        self._broadcast = enabled

    def getBroadcastAllowed(self) -> bool:
        """Return what was noted."""
        return self._broadcast


@implementer(IReactorUDP)
class MemoryNetwork(MemoryStreams):
    """One network with one gateway on it (every `listenUDP` and `listenTCP`) and any number of peers.

    `own` are the gateway's addresses; with none given it has every address that it asks for.
    Change `addresses` to take one from it or to give it another one.
    """

    def __init__(self, *own: str, clock: IReactorTime | None = None) -> None:
        super().__init__()
        self.addresses: set[str] | None = set(own) or None
        self.bound: dict[HostPort, MemoryPort] = {}
        """The gateway's open sockets."""
        self.lost: list[Datagram] = []
        """Sent to where nobody is."""
        self.carried: list[Datagram] = []
        """Every datagram that was sent, also the lost ones, and everything written to a stream."""
        self.errors: dict[HostPort | str, OSError] = {}
        """Destinations, or whole hosts, that the gateway cannot send to, and what it gets instead."""
        self.lose: Callable[[Datagram], bool] | None = None
        """Says of a datagram whether it gets lost on the way; it is kept in `lost`."""
        self._peers: dict[HostPort, Peer] = {}
        self._queue: deque[Callable[[], None]] = deque()
        self._flushing = False
        self._clock = clock
        self._wake: IDelayedCall | None = None

    def listenUDP(
        self, port: int, protocol: AbstractDatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryPort:
        """Bind a socket of the gateway; raises CannotListenError when that cannot be."""
        host = interface or "0.0.0.0"
        number = port or next(n for n in range(49152, 65536) if not self._taken((host, n)))
        listening = MemoryPort(self, (host, number), protocol, maxPacketSize)
        listening.startListening()
        return listening

    def peer(self, host: str, port: int) -> Peer:
        """Return the other end with this address; always the same one."""
        if (host, port) in self.bound:
            raise ValueError(f"{host}:{port} is the gateway's")
        return self._peers.setdefault((host, port), Peer(self, (host, port)))

    async def until(self, condition: Callable[[], bool]) -> None:
        """Deliver everything; `condition` must be true then."""
        self.flush()
        assert condition(), "that never happened"

    def flush(self) -> None:
        """Deliver what is queued and what follows from it; inside a delivery, do nothing."""
        if self._flushing:
            return
        self._flushing = True
        try:
            while self._queue:
                self._queue.popleft()()
        finally:
            self._flushing = False
            if self._wake is not None and self._wake.active():
                self._wake.cancel()

    def later(self, step: Callable[[], None]) -> None:
        """Do `step` after what is queued already."""
        self._queue.append(step)
        idle = self._wake is None or not self._wake.active()
        if self._clock is not None and idle and not self._flushing:
            self._wake = self._clock.callLater(0, self.flush)

    def note(self, data: bytes, source: HostPort, destination: HostPort) -> None:
        """Take note of what goes by a stream."""
        self.carried.append(Datagram(data, source, destination))

    def carry(self, datagram: Datagram) -> None:
        """Take a datagram on its way."""
        self.carried.append(datagram)
        self.later(lambda: self._deliver(datagram))

    def _deliver(self, datagram: Datagram) -> None:
        host, port = datagram.destination
        any_address = "::" if ":" in host else "0.0.0.0"
        wildcard = self.bound.get((any_address, port)) if self._is_own(host) else None
        receiver = self.bound.get((host, port)) or self._peers.get((host, port)) or wildcard
        if receiver is None or (self.lose is not None and self.lose(datagram)):
            self.lost.append(datagram)
        else:
            receiver.arrived(datagram)

    def _is_own(self, host: str) -> bool:
        if self.addresses is not None:
            return host in self.addresses
        return not any(host == there for there, _ in self._peers)

    def bind(self, port: MemoryPort) -> None:
        """Give `port` its address."""
        host, number = port.address
        if self._taken(port.address):
            raise CannotListenError(host, number, OSError(EADDRINUSE, os.strerror(EADDRINUSE)))
        if self.addresses is not None and host not in self.addresses | {"0.0.0.0", "::"}:
            raise CannotListenError(host, number, OSError(EADDRNOTAVAIL, os.strerror(EADDRNOTAVAIL)))
        self.bound[port.address] = port

    def _taken(self, address: HostPort) -> bool:
        host, number = address
        any_address = "::" if ":" in host else "0.0.0.0"
        if host != any_address:
            places = ((host, number), (any_address, number))
            return any(place in self.bound or place in self._peers for place in places)
        return any(
            number == port and ((":" in there) == (":" in any_address))
            for there, port in [*self.bound, *self._peers]
        )

    def unbind(self, port: MemoryPort) -> None:
        """Take its address back."""
        del self.bound[port.address]

    def source_of(self, port: MemoryPort, towards: str) -> HostPort:
        """Return the source address of what `port` sends: its own, or the nearest one of the gateway's."""
        host, number = port.address
        if host not in ("0.0.0.0", "::") or not self.addresses:
            return port.address
        family = [own for own in self.addresses if (":" in own) == (":" in towards)]
        return max(family, key=lambda own: (_common_bits(own, towards), own), default=host), number


def _common_bits(one: str, other: str) -> int:
    first, second = ipaddress.ip_address(one), ipaddress.ip_address(other)
    return first.max_prefixlen - (int(first) ^ int(second)).bit_length()


class _LoopbackPeer(DatagramProtocol):
    def __init__(self, peer: Peer) -> None:
        self.peer = peer

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        self.peer.arrived(Datagram(datagram, addr, self.peer.address))


class LoopbackNetwork(LoopbackStreams):
    """The same on real sockets; use addresses of 127.0.0.0/8 only, and `close` it at the end."""

    def __init__(self, reactor: Any) -> None:
        super().__init__()
        self._reactor = reactor
        self._peers: dict[HostPort, tuple[Peer, Any]] = {}

    def listenUDP(
        self, port: int, protocol: AbstractDatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> Any:
        """Bind a socket of the gateway."""
        return self._reactor.listenUDP(port, protocol, interface=interface, maxPacketSize=maxPacketSize)

    def peer(self, host: str, port: int) -> Peer:
        """Bind a socket that plays the other end; always the same one for the same address."""
        if (host, port) not in self._peers:
            peer = Peer(self, (host, port))
            bound = self._reactor.listenUDP(port, _LoopbackPeer(peer), interface=host, maxPacketSize=65536)
            self._peers[host, port] = peer, bound
        return self._peers[host, port][0]

    def carry(self, datagram: Datagram) -> None:
        """Send a datagram of a peer's."""
        self._peers[datagram.source][1].write(datagram.data, datagram.destination)

    def flush(self) -> None:
        """Do nothing: the kernel delivers, see `until`."""

    async def until(self, condition: Callable[[], bool]) -> None:
        """Let the reactor run until `condition` is true, two seconds at most."""
        for _ in range(400):
            if condition():
                return
            await deferLater(self._reactor, 0.005, lambda: None)
        raise AssertionError("that never happened")

    async def close(self) -> None:
        """Close the peers' sockets."""
        await self.close_streams()
        for _, port in self._peers.values():
            await (port.stopListening() or succeed(None))
        self._peers.clear()
