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

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import (
    CannotListenError,
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
    IReactorTCP,
    IReactorTime,
    ISystemHandle,
    ITCPTransport,
)
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.sip.framing import Framer
from tests.support.memorysocket import MemorySocket

WINDOW = 64 * 1024
"""Bytes that a peer which does not read has room for."""

HostPort = tuple[str, int]


class StreamPeer:
    """The other end of one connection: sends, and keeps what it receives."""

    def __init__(self, network: Any, address: HostPort, remote: HostPort) -> None:
        self.address = address
        """Where this end is."""
        self.remote = remote
        """Where the gateway's end is."""
        self.open = False
        self.lost = False
        """Whether there is no connection any more, or has never been one."""
        self.react: Callable[[bytes], None] | None = None
        """Called with each message that comes in; for peers that answer by themselves."""
        self.end: Any = _Early()
        """What carries the bytes; has write, loseConnection, abortConnection, pause- and resumeProducing."""
        self._network = network
        self._received = bytearray()
        self._framer = Framer()
        self._messages: list[bytes] = []
        self._taken = 0

    @property
    def received(self) -> bytes:
        """Every byte that has arrived so far."""
        self._network.flush()
        return bytes(self._received)

    def messages(self) -> list[bytes]:
        """Return every complete message that has arrived so far; keep-alives are none."""
        self._network.flush()
        return list(self._messages)

    def take(self) -> list[bytes]:
        """Return the messages that arrived since the last `take`."""
        taken = self.messages()[self._taken :]
        self._taken += len(taken)
        return taken

    def send(self, data: bytes) -> None:
        """Send some bytes and let everything that follows from it happen."""
        self.end.write(data)
        self._network.flush()

    def close(self) -> None:
        """Close the connection in the usual way."""
        self.end.loseConnection()
        self._network.flush()

    def abort(self) -> None:
        """Reset the connection."""
        self.end.abortConnection()
        self._network.flush()

    def stop_reading(self) -> None:
        """Take nothing in any more."""
        self.end.pauseProducing()

    def read_on(self) -> None:
        """Take in again."""
        self.end.resumeProducing()
        self._network.flush()

    def arrived(self, data: bytes) -> None:
        """Take some bytes from the network."""
        self._received += data
        new = [item for item in self._framer.feed(data) if isinstance(item, bytes)]
        self._messages += new
        for message in new if self.react is not None else ():
            self.react(message)

    def made(self, end: Any) -> None:
        """Take note that there is a connection now, and do what was to be done."""
        early, self.end, self.open = self.end, end, True
        for name, args in early.done:
            getattr(end, name)(*args)

    def ended(self, clean: bool) -> None:
        """Take note of the end of the connection."""
        self.open, self.lost = False, True


class _Early:
    """Keeps what a peer does before its connection is there."""

    def __init__(self) -> None:
        self.done: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.done.append((name, args))


class StreamListener:
    """A server, or a phone, that the gateway can connect to."""

    def __init__(self, network: Any, address: HostPort) -> None:
        self.address = address
        self.peers: list[StreamPeer] = []
        """The connections that were made, oldest first."""
        self.react: Callable[[StreamPeer, bytes], None] | None = None
        """Called with each message that comes in on any of them."""
        self.port: Any = None
        self._network = network

    def accepted(self, peer: StreamPeer) -> None:
        """Take a new connection."""
        self.peers.append(peer)
        peer.react = lambda data: self.react(peer, data) if self.react is not None else None

    def take(self) -> list[bytes]:
        """Return the messages that arrived on all connections since the last `take`."""
        self._network.flush()
        return [message for peer in self.peers for message in peer.take()]

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        self._network.forget(self)


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


def _address(address: HostPort) -> IPv4Address | IPv6Address:
    return (IPv6Address if ":" in address[0] else IPv4Address)("TCP", *address)
