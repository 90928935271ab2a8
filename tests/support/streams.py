# SPDX-License-Identifier: MIT
"""TCP without a network: a fake that behaves like Twisted's, and the loopback that it is verified against.

`MemoryNetwork` and `LoopbackNetwork` of tests/support/datagrams.py have both halves by inheritance: the
gateway's, `listenTCP` and `connectTCP` as of a reactor, and the others':

    phone = network.connect(("10.0.0.10", 0), to=("10.0.0.1", 5060))   # a phone connects to the gateway
    phone.send(b"OPTIONS ...")
    phone.take()                                                       # the messages that came, framed
    phone.close()

    provider = network.listen(("203.0.113.50", 5060))                  # the gateway may connect to this
    provider.peers[0].take()

What the fake promises, beyond what `MemoryNetwork` promises of datagrams:

- Nothing happens inside of a call that writes, connects or closes; `network.flush()` delivers, and
  whatever asks a peer what it has received does that first.
- The bytes of a direction arrive in order, in pieces of at most `bufferSize` at the gateway.
- A peer that has stopped reading takes `WINDOW` bytes more; then what the gateway writes piles up, and
  its producer is paused until the peer reads on.
- Where nobody listens a connection is refused. To hosts or addresses in `network.black_holes` nothing
  gets through, and an attempt ends by its time-out, if the network has a clock.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import EADDRINUSE, EADDRNOTAVAIL
from typing import Any

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTCP, IReactorTime
from twisted.internet.task import Clock
from zope.interface import implementer

from tests.support.memorystream import WINDOW, MemoryConnector, MemoryStream, MemoryStreamPort
from tests.support.streampeer import HostPort, StreamListener, StreamPeer

__all__ = ["WINDOW", "MemoryReactor", "MemoryStreamPort", "MemoryStreams", "StreamListener", "StreamPeer"]


@implementer(IReactorTCP)
class MemoryStreams:
    """The streams of a `MemoryNetwork`, which has the queue, the clock and the addresses."""

    errors: dict[Any, OSError]
    addresses: set[str] | None
    later: Callable[[Callable[[], None]], None]
    note: Callable[[bytes, HostPort, HostPort], None]
    _clock: IReactorTime | None

    def __init__(self) -> None:
        self.stream_ports: dict[HostPort, MemoryStreamPort] = {}
        """The gateway's listening sockets."""
        self.streams: list[MemoryStream] = []
        """The gateway's ends of connections that are there."""
        self.listeners: dict[HostPort, StreamListener] = {}
        self.black_holes: set[HostPort | str] = set()
        """Addresses, or whole hosts, that never answer."""
        self._next_port = 32768

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryStreamPort:
        """Bind a socket of the gateway; raises CannotListenError when that cannot be."""
        host = interface or "0.0.0.0"
        listening = MemoryStreamPort(self, (host, port or self._free_port()), factory)
        listening.startListening()
        return listening

    def connectTCP(
        self,
        host: str,
        port: int,
        factory: Any,
        timeout: float = 30,
        bindAddress: Any = None,
    ) -> MemoryConnector:
        """Connect from the gateway."""
        source, number = bindAddress or ("0.0.0.0", 0)
        connector = MemoryConnector(self, (host, port), (source, number or self._free_port()), factory)
        connector.begin(timeout, self._clock)
        return connector

    def connect(self, source: HostPort, to: HostPort) -> StreamPeer:
        """Connect to the gateway from `source`, whose port may be 0; `open` or `lost` tell the outcome."""
        host, port = source
        peer = StreamPeer(self, (host, port or self._free_port()), tuple(to))  # type: ignore[arg-type]
        self.later(lambda: self._arrive_at(peer))
        return peer

    def listen(self, address: HostPort) -> StreamListener:
        """Let the gateway connect to `address`, whose port may be 0."""
        listener = StreamListener(self, (address[0], address[1] or self._free_port()))
        assert listener.address not in self.listeners
        self.listeners[listener.address] = listener
        return listener

    def forget(self, listener: StreamListener) -> None:
        """Let nobody connect to it any more."""
        del self.listeners[listener.address]

    def is_black_hole(self, address: HostPort) -> bool:
        """Return whether nothing gets through to `address`."""
        return address in self.black_holes or address[0] in self.black_holes

    def bind_stream(self, port: MemoryStreamPort) -> None:
        """Give `port` its address."""
        host, number = port.address
        if port.address in self.stream_ports:
            raise CannotListenError(host, number, OSError(EADDRINUSE, os.strerror(EADDRINUSE)))
        if self.addresses is not None and host not in self.addresses:
            raise CannotListenError(host, number, OSError(EADDRNOTAVAIL, os.strerror(EADDRNOTAVAIL)))
        self.stream_ports[port.address] = port

    def _arrive_at(self, peer: StreamPeer) -> None:
        port = self.stream_ports.get(peer.remote)
        if port is None:
            peer.lost = True
        else:
            port.accept(peer)

    def _free_port(self) -> int:
        self._next_port += 1
        return self._next_port


class MemoryReactor(Clock):
    """Time and networks, neither of them real: what a program gets for a reactor."""

    def __init__(self, network: Any = None) -> None:
        super().__init__()
        from tests.support.datagrams import MemoryNetwork

        self.network = network or MemoryNetwork(clock=self)
        self.listenUDP = self.network.listenUDP
        self.listenTCP = self.network.listenTCP
        self.connectTCP = self.network.connectTCP
