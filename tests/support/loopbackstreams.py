# SPDX-License-Identifier: MIT
"""Streams on real sockets with the same other side as those in memory, which are verified against them."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.python.failure import Failure

from tests.support.streampeer import HostPort, StreamListener, StreamPeer


class _LoopbackProtocol(Protocol):
    def __init__(self, peer: StreamPeer) -> None:
        self._peer = peer

    def connectionMade(self) -> None:
        here = self.transport.getHost()
        self._peer.address = (here.host, here.port)
        self._peer.made(self.transport)

    def dataReceived(self, data: bytes) -> None:
        self._peer.arrived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._peer.open, self._peer.lost = False, True


class _LoopbackConnecting(ClientFactory):
    noisy = False

    def __init__(self, peer: StreamPeer) -> None:
        self._peer = peer

    def buildProtocol(self, addr: Any) -> Protocol:
        return _LoopbackProtocol(self._peer)

    def clientConnectionFailed(self, connector: Any, reason: Failure) -> None:
        self._peer.lost = True


class _LoopbackListening(Factory):
    noisy = False

    def __init__(self, network: Any, listener: StreamListener) -> None:
        self._network = network
        self._listener = listener

    def buildProtocol(self, addr: Any) -> Protocol:
        peer = StreamPeer(self._network, self._listener.address, (addr.host, addr.port))
        self._network.stream_peers.append(peer)
        self._listener.accepted(peer)
        return _LoopbackProtocol(peer)


class LoopbackStreams:
    """The same on real sockets; the streams of a `LoopbackNetwork`."""

    _reactor: Any

    def __init__(self) -> None:
        self.stream_peers: list[StreamPeer] = []
        self._listeners: list[StreamListener] = []
        self._closing: list[Deferred[None]] = []

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Any:
        """Bind a socket of the gateway."""
        return self._reactor.listenTCP(port, factory, backlog=backlog, interface=interface)

    def connectTCP(
        self, host: str, port: int, factory: Any, timeout: float = 30, bindAddress: Any = None
    ) -> Any:
        """Connect from the gateway."""
        return self._reactor.connectTCP(host, port, factory, timeout=timeout, bindAddress=bindAddress)

    def connect(self, source: HostPort, to: HostPort) -> StreamPeer:
        """Connect to the gateway; port 0 in `source` is best, as others are blocked for a minute."""
        peer = StreamPeer(self, source, tuple(to))  # type: ignore[arg-type]
        self.stream_peers.append(peer)
        self._reactor.connectTCP(*to, _LoopbackConnecting(peer), timeout=2, bindAddress=source)
        return peer

    def listen(self, address: HostPort) -> StreamListener:
        """Let the gateway connect to `address`, whose port should be 0."""
        listener = StreamListener(self, address)
        listener.port = self._reactor.listenTCP(
            address[1], _LoopbackListening(self, listener), interface=address[0]
        )
        listener.address = (address[0], listener.port.getHost().port)
        self._listeners.append(listener)
        return listener

    def forget(self, listener: StreamListener) -> None:
        """Let nobody connect to it any more."""
        self._listeners.remove(listener)
        self._closing.append(listener.port.stopListening() or succeed(None))

    async def close_streams(self) -> None:
        """Close the peers' connections and sockets."""
        for listener in list(self._listeners):
            self.forget(listener)
        for closed in self._closing:
            await closed
        for peer in self.stream_peers:
            if peer.open:
                peer.end.abortConnection()
        await self.until(lambda: not any(peer.open for peer in self.stream_peers))  # type: ignore[attr-defined]
