# SPDX-License-Identifier: MIT
"""The gateway's end of streams in memory: connections, listening sockets and attempts to connect.

What they promise stands in streams.py.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    ConnectionAborted,
    ConnectionDone,
    ConnectionLost,
    ConnectionRefusedError,
    TimeoutError,
    UserError,
    getConnectError,
)
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IListeningPort,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory
from twisted.python.failure import Failure
from zope.interface import implementer

from tests.support.memorysocket import MemorySocket
from tests.support.streampeer import HostPort, StreamPeer

WINDOW = 64 * 1024
"""Bytes that a peer which does not read has room for."""


@implementer(ITCPTransport, ISystemHandle)
class MemoryStream:
    """The gateway's end of a connection."""

    def __init__(self, network: Any, local: HostPort, peer: StreamPeer, protocol: Any) -> None:
        self.bufferSize = 64 * 1024
        self.connected = True
        self.disconnecting = False
        self.handle = MemorySocket()
        self.no_delay = self.keep_alive = False
        self.connector: MemoryConnector | None = None
        self.protocol = protocol
        self._network = network
        self._local = local
        self._peer = peer
        self._out = bytearray()
        self._in = bytearray()
        self._missed = bytearray()  # what a peer that does not read has got
        self._peer_reads = True
        self._reading = True
        self._eof = self._aborting = False
        self._delivering = self._arriving = False
        self._producer: Any = None
        self._paused = False

    def begin(self) -> None:
        """Tell both ends."""
        self._network.streams.append(self)
        self._peer.made(_FarEnd(self))
        self.protocol.makeConnection(self)

    # What the program under test does with it

    def write(self, data: bytes) -> None:
        """Queue some bytes, also while it closes; after the end, drop them."""
        assert isinstance(data, bytes), "Twisted takes bytes only"
        if not self.connected or self._aborting:
            return
        self._network.note(data, self._local, self._peer.address)
        self._out += data
        if len(self._out) > self.bufferSize and self._producer is not None:
            self._paused = True
            self._producer.pauseProducing()
        self._deliver_later()

    def writeSequence(self, data: Any) -> None:
        """Queue all of it."""
        self.write(b"".join(data))

    def loseConnection(self) -> None:
        """Close when everything was delivered."""
        if self.connected and not self.disconnecting:
            self.disconnecting = True
            self._deliver_later()

    def abortConnection(self) -> None:
        """Reset the connection; the other end learns it."""
        if not self.connected:
            return
        self.disconnecting = self._aborting = True
        self._out.clear()
        self._network.later(lambda: self._end(ConnectionAborted()))

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """Pause and resume `producer` as the peer reads."""
        assert self._producer is None, "there is a producer already"
        assert streaming
        self._producer = producer
        if not self.connected:
            producer.stopProducing()

    def unregisterProducer(self) -> None:
        """Forget the producer."""
        self._producer = None
        self._paused = False
        self._deliver_later()

    def pauseProducing(self) -> None:
        """Give no more bytes to the protocol."""
        self._reading = False

    def resumeProducing(self) -> None:
        """Go on with it."""
        self._reading = True
        self._arrive_later()

    def stopProducing(self) -> None:
        """Close."""
        self.loseConnection()

    def getHost(self) -> Any:
        """Return our address."""
        return _address(self._local)

    def getPeer(self) -> Any:
        """Return the address of the other end."""
        return _address(self._peer.address)

    def getHandle(self) -> MemorySocket:
        """Return something with setsockopt."""
        return self.handle

    def setTcpNoDelay(self, enabled: bool) -> None:
        """Note it."""
        self.no_delay = enabled

    def getTcpNoDelay(self) -> bool:
        """Return what was noted."""
        return self.no_delay

    def setTcpKeepAlive(self, enabled: bool) -> None:
        """Note it."""
        self.keep_alive = enabled

    def getTcpKeepAlive(self) -> bool:
        """Return what was noted."""
        return self.keep_alive

    def loseWriteConnection(self) -> None:
        """Nobody needs it here."""
        raise NotImplementedError

    # What the other end does with it

    def note_peer(self, data: bytes) -> None:
        """Keep for the story what the other end sends."""
        self._network.note(data, self._peer.address, self._local)

    def carry(self, data: bytes) -> None:
        """Take bytes from the other end."""
        if self.connected:
            self._in += data
            self._arrive_later()

    def finish(self) -> None:
        """Take note that the other end has closed."""
        self._eof = True
        self._arrive_later()

    def reset(self) -> None:
        """Take note that the other end has reset the connection."""
        self._network.later(lambda: self._end(ConnectionLost()))

    def let_peer_read(self, reads: bool) -> None:
        """Take note of whether the other end reads."""
        self._peer_reads = reads
        if reads:
            missed, self._missed = bytes(self._missed), bytearray()
            self._peer.arrived(missed)
            self._deliver_later()

    # The network in between

    def _deliver_later(self) -> None:
        if not self._delivering and self.connected:
            self._delivering = True
            self._network.later(self._deliver)

    def _deliver(self) -> None:
        self._delivering = False
        if not self.connected or self._network.is_black_hole(self._peer.address):
            return
        room = len(self._out) if self._peer_reads else min(len(self._out), WINDOW - len(self._missed))
        data = bytes(self._out[:room])
        del self._out[:room]
        if self._peer_reads:
            if data:
                self._peer.arrived(data)
        else:
            self._missed += data
        if self._out:
            return
        if self._paused and self._producer is not None:
            self._paused = False
            self._producer.resumeProducing()
        elif self.disconnecting and not self._out:
            self._end(ConnectionDone())

    def _arrive_later(self) -> None:
        if not self._arriving and self.connected and self._reading:
            self._arriving = True
            self._network.later(self._arrive)

    def _arrive(self) -> None:
        self._arriving = False
        if not self.connected or not self._reading:
            return
        data = bytes(self._in[: self.bufferSize])
        del self._in[: self.bufferSize]
        if data:
            self.protocol.dataReceived(data)
        elif self._eof:
            self._end(ConnectionDone())
        if self._in or self._eof:
            self._arrive_later()

    def _end(self, why: Exception) -> None:
        if not self.connected:
            return
        self.connected = False
        self._network.streams.remove(self)
        self._peer.ended(isinstance(why, ConnectionDone))
        if self._producer is not None:
            producer, self._producer = self._producer, None
            producer.stopProducing()
        reason = Failure(why)
        self.protocol.connectionLost(reason)
        if self.connector is not None:
            self.connector.ended(reason)


class _FarEnd:
    """The other end's half of a `MemoryStream`."""

    def __init__(self, stream: MemoryStream) -> None:
        self._stream = stream

    def write(self, data: bytes) -> None:
        self._stream.note_peer(data)
        self._stream.carry(data)

    def loseConnection(self) -> None:
        self._stream.finish()

    def abortConnection(self) -> None:
        self._stream.reset()

    def pauseProducing(self) -> None:
        self._stream.let_peer_read(False)

    def resumeProducing(self) -> None:
        self._stream.let_peer_read(True)


class _Mirror(StreamPeer):
    """What one end of the gateway's is to the other, where it connects to itself."""

    other: MemoryStream | None = None
    early = b""

    def arrived(self, data: bytes) -> None:
        if self.other is None:
            self.early += data
        else:
            self.other.carry(data)

    def ended(self, clean: bool) -> None:
        if self.other is not None:
            (self.other.finish if clean else self.other.reset)()


@implementer(IListeningPort, ISystemHandle)
class MemoryStreamPort:
    """A listening socket of the gateway; `listenTCP` makes it."""

    def __init__(self, network: Any, address: HostPort, factory: Factory) -> None:
        self.address = address
        self.factory = factory
        self.handle = MemorySocket()
        self._network = network
        self._listening = False

    def startListening(self) -> None:
        """Bind and accept."""
        self._network.bind_stream(self)
        self._listening = True
        self.factory.doStart()

    def stopListening(self) -> Deferred[None] | None:
        """Accept no more; the Deferred fires when the address is free."""
        if not self._listening:
            return None
        self._listening = False
        closed: Deferred[None] = Deferred()
        self._network.later(lambda: self._close(closed))
        return closed

    def _close(self, closed: Deferred[None]) -> None:
        del self._network.stream_ports[self.address]
        self.factory.doStop()
        closed.callback(None)

    def getHost(self) -> Any:
        """Return the address that this port is bound to."""
        return _address(self.address)

    def getHandle(self) -> MemorySocket:
        """Return something with setsockopt."""
        return self.handle

    def accept(self, peer: StreamPeer) -> MemoryStream | None:
        """Let a peer in, or close it as the factory wants."""
        protocol = self.factory.buildProtocol(_address(peer.address)) if self._listening else None
        if protocol is None:
            peer.ended(clean=True)
            return None
        stream = MemoryStream(self._network, peer.remote, peer, protocol)
        stream.begin()
        return stream


@implementer(IConnector)
class MemoryConnector:
    """An attempt of the gateway to connect, and what came of it; `connectTCP` makes it."""

    def __init__(self, network: Any, to: HostPort, source: HostPort, factory: ClientFactory) -> None:
        self.state = "disconnected"
        self.transport: MemoryStream | None = None
        self._network = network
        self._to = to
        self._source = source
        self._factory = factory
        self._timer: IDelayedCall | None = None

    def begin(self, timeout: float, clock: IReactorTime | None) -> None:
        """Try, for `timeout` seconds at most."""
        self.state = "connecting"
        self._factory.doStart()
        self._factory.startedConnecting(self)
        if clock is not None:
            self._timer = clock.callLater(timeout, lambda: self._fail(TimeoutError()))
        self._network.later(self._try)

    def _try(self) -> None:
        if self.state != "connecting" or self._network.is_black_hole(self._to):
            return
        error = self._network.errors.get(self._to) or self._network.errors.get(self._to[0])
        listener = self._network.listeners.get(self._to)
        port = self._network.stream_ports.get(self._to)
        if error is not None:
            self._fail(getConnectError((error.errno, error.strerror)))
        elif listener is not None:
            peer = StreamPeer(self._network, self._to, self._source)
            listener.accepted(peer)
            self._connect(peer)
        elif port is not None:
            self._connect_to_ourselves(port)
        else:
            self._fail(ConnectionRefusedError())

    def _connect(self, peer: StreamPeer) -> MemoryStream:
        self._stop_timer()
        self.state = "connected"
        protocol = self._factory.buildProtocol(_address(self._to))
        self.transport = MemoryStream(self._network, self._source, peer, protocol)
        self.transport.connector = self
        self.transport.begin()
        return self.transport

    def _connect_to_ourselves(self, port: MemoryStreamPort) -> None:
        there = _Mirror(self._network, self._to, self._source)
        here = _Mirror(self._network, self._source, self._to)
        here.other = self._connect(there)
        there.other = port.accept(here)
        if there.other is None:
            here.other.finish()
        elif there.early:
            there.other.carry(there.early)

    def _fail(self, why: Exception) -> None:
        if self.state != "connecting":
            return
        self._stop_timer()
        self.state = "disconnected"
        self._factory.clientConnectionFailed(self, Failure(why))
        self._factory.doStop()

    def ended(self, reason: Failure) -> None:
        """Take note of the end of the connection."""
        self.state = "disconnected"
        self._factory.clientConnectionLost(self, reason)
        self._factory.doStop()

    def _stop_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()

    def stopConnecting(self) -> None:
        """Give up."""
        self._fail(UserError())

    def disconnect(self) -> None:
        """Give up, or close."""
        if self.state == "connecting":
            self.stopConnecting()
        elif self.transport is not None:
            self.transport.loseConnection()

    def connect(self) -> None:
        """Nobody needs it here."""
        raise NotImplementedError

    def getDestination(self) -> Any:
        """Return where it connects to."""
        return _address(self._to)


def _address(address: HostPort) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in address[0] else IPv4Address)("TCP", *address)
