# SPDX-License-Identifier: MIT
"""The fake streams and the real ones behave alike, as far as anybody may rely on it."""

from __future__ import annotations

from errno import ENETUNREACH

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import (
    CannotListenError,
    ConnectionDone,
    ConnectionRefusedError,
    NoRouteError,
    TimeoutError,
    UserError,
)
from twisted.internet.interfaces import IConnector, IListeningPort, IReactorTCP, ITCPTransport
from twisted.internet.protocol import ClientFactory, Factory, Protocol
from zope.interface.verify import verifyObject

from tests.support.datagrams import LoopbackNetwork, MemoryNetwork
from tests.support.streams import WINDOW, MemoryReactor

GATEWAY, PHONE = "127.0.0.1", "127.0.0.9"
MESSAGE = b"OPTIONS sip:a SIP/2.0\r\nl: 2\r\n\r\nhi"


class Noting(Protocol):
    """Notes what happens to it."""

    def __init__(self):
        self.data = []
        self.lost = None
        self.events = []

    def dataReceived(self, data):
        self.data.append(data)

    def connectionLost(self, reason):
        self.lost = reason

    def pauseProducing(self):
        self.events.append("pause")

    def resumeProducing(self):
        self.events.append("resume")

    def stopProducing(self):
        self.events.append("stop")


class Server(Factory):
    """Keeps what it has made."""

    noisy = False

    def __init__(self, room=10):
        self.made = []
        self.room = room

    def buildProtocol(self, addr):
        if len(self.made) == self.room:
            return None
        self.made.append(Noting())
        return self.made[-1]


class Client(ClientFactory):
    """Makes one connection."""

    noisy = False

    def __init__(self):
        self.protocol = Noting()
        self.failed = self.ended = None

    def buildProtocol(self, addr):
        return self.protocol

    def clientConnectionFailed(self, connector, reason):
        self.failed = reason

    def clientConnectionLost(self, connector, reason):
        self.ended = reason


@pytest.fixture(params=["memory", "loopback"])
def network(request):
    if request.param == "memory":
        yield MemoryNetwork()
        return
    from twisted.internet import reactor  # noqa: TID251

    real = LoopbackNetwork(reactor)
    yield real
    pytest_twisted.blockon(Deferred.fromCoroutine(real.close()))


@pytest.fixture
def server(network):
    """A listening gateway, and where."""
    factory = Server()
    port = network.listenTCP(0, factory, interface=GATEWAY)
    host = port.getHost()
    yield factory, (host.host, host.port)
    closed = port.stopListening()
    if closed is not None:
        pytest_twisted.blockon(Deferred.fromCoroutine(network.until(lambda: bool(closed.called))))


async def connected(network, server):
    factory, here = server
    peer = network.connect((PHONE, 0), to=here)
    await network.until(lambda: bool(factory.made) and peer.open)
    return peer, factory.made[-1]


@pytest_twisted.ensureDeferred
async def test_somebody_connects(network, server):
    """Bytes go both ways, and both ends know each other's address."""
    peer, protocol = await connected(network, server)
    there = protocol.transport.getPeer()
    assert (there.host, there.port) == peer.address
    assert (there.type, protocol.transport.getHost().port) == ("TCP", peer.remote[1])
    peer.send(MESSAGE[:9])
    peer.send(MESSAGE[9:])
    await network.until(lambda: b"".join(protocol.data) == MESSAGE)
    protocol.transport.write(MESSAGE)
    protocol.transport.writeSequence([b"\r\n", MESSAGE])
    await network.until(lambda: len(peer.messages()) == 2)
    assert peer.received == MESSAGE + b"\r\n" + MESSAGE
    assert (peer.take(), peer.take()) == ([MESSAGE, MESSAGE], [])


@pytest_twisted.ensureDeferred
async def test_what_is_sent_before_the_connection_is_there(network, server):
    """It goes out as soon as there is one."""
    peer = network.connect((PHONE, 0), to=server[1])
    peer.send(MESSAGE)
    await network.until(lambda: bool(server[0].made) and b"".join(server[0].made[0].data) == MESSAGE)


@pytest_twisted.ensureDeferred
async def test_the_peer_closes(network, server):
    """What it sent before comes in first; the reason is that of Twisted."""
    peer, protocol = await connected(network, server)
    peer.send(MESSAGE)
    peer.close()
    await network.until(lambda: protocol.lost is not None)
    assert b"".join(protocol.data) == MESSAGE
    assert protocol.lost.check(ConnectionDone)
    await network.until(lambda: peer.lost)
    assert not peer.open


@pytest_twisted.ensureDeferred
async def test_the_peer_resets(network, server):
    """Not a clean end."""
    peer, protocol = await connected(network, server)
    peer.abort()
    await network.until(lambda: protocol.lost is not None)
    assert not protocol.lost.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_the_gateway_closes(network, server):
    """What was written arrives, also what is written while it closes; nothing happens inside the call."""
    peer, protocol = await connected(network, server)
    protocol.transport.write(MESSAGE)
    protocol.transport.loseConnection()
    protocol.transport.write(b"not too late")
    assert protocol.lost is None
    await network.until(lambda: peer.lost and protocol.lost is not None)
    assert peer.received == MESSAGE + b"not too late"
    protocol.transport.write(b"too late")
    assert protocol.lost.check(ConnectionDone)


@pytest_twisted.ensureDeferred
async def test_the_gateway_resets(network, server):
    """Both ends learn it, and not inside the call."""
    peer, protocol = await connected(network, server)
    protocol.transport.abortConnection()
    assert protocol.lost is None
    await network.until(lambda: peer.lost and protocol.lost is not None)


@pytest_twisted.ensureDeferred
async def test_reading_in_small_pieces_and_not_at_all(network, server):
    """`bufferSize` bounds a piece, and a paused end gets nothing until it is resumed."""
    peer, protocol = await connected(network, server)
    protocol.transport.bufferSize = 1000
    protocol.transport.pauseProducing()
    peer.send(b"x" * 5000)
    network.flush()
    assert protocol.data == []
    protocol.transport.resumeProducing()
    await network.until(lambda: sum(map(len, protocol.data)) == 5000)
    assert max(map(len, protocol.data)) <= 1000


@pytest_twisted.ensureDeferred
async def test_a_peer_that_reads_nothing(network, server):
    """The producer is paused, and goes on when the peer does."""
    peer, protocol = await connected(network, server)
    protocol.transport.registerProducer(protocol, True)
    peer.stop_reading()
    for _ in range(200):
        protocol.transport.write(b"x" * WINDOW)
    await network.until(lambda: "pause" in protocol.events)
    assert set(protocol.events) == {"pause"}
    peer.read_on()
    await network.until(lambda: protocol.events[-1] == "resume")
    await network.until(lambda: len(peer.received) == 200 * WINDOW)
    protocol.transport.abortConnection()
    await network.until(lambda: protocol.events[-1] == "stop")


@pytest_twisted.ensureDeferred
async def test_a_connection_that_is_not_wanted(network):
    """A factory without a protocol closes it."""
    port = network.listenTCP(0, Server(room=0), interface=GATEWAY)
    peer = network.connect((PHONE, 0), to=(GATEWAY, port.getHost().port))
    await network.until(lambda: peer.lost)
    closed = port.stopListening()
    await network.until(lambda: bool(closed.called))


@pytest_twisted.ensureDeferred
async def test_nobody_listens(network, server):
    """Who connects to a closed port is refused, in both directions."""
    port = network.listenTCP(0, Server(), interface=GATEWAY)
    here = (GATEWAY, port.getHost().port)
    closed = port.stopListening()
    await network.until(lambda: bool(closed.called))
    peer = network.connect((PHONE, 0), to=here)
    await network.until(lambda: peer.lost)
    factory = Client()
    network.connectTCP(*here, factory, timeout=1, bindAddress=(GATEWAY, 0))
    assert factory.failed is None
    await network.until(lambda: factory.failed is not None)
    assert factory.failed.check(ConnectionRefusedError)


@pytest_twisted.ensureDeferred
async def test_the_gateway_connects(network):
    """To a listener, from the address that it binds; the end comes to protocol and factory."""
    listener = network.listen((PHONE, 0))
    heard = []
    listener.react = lambda peer, data: (heard.append(data), peer.send(b"\r\n"))
    factory = Client()
    connector = network.connectTCP(*listener.address, factory, timeout=1, bindAddress=(GATEWAY, 0))
    await network.until(lambda: factory.protocol.transport is not None and bool(listener.peers))
    assert (connector.state, factory.protocol.transport.getHost().host) == ("connected", GATEWAY)
    (peer,) = listener.peers
    assert peer.remote == (GATEWAY, factory.protocol.transport.getHost().port)
    factory.protocol.transport.write(MESSAGE)
    await network.until(lambda: factory.protocol.data == [b"\r\n"])
    assert heard == [MESSAGE] == listener.take()
    peer.close()
    await network.until(lambda: factory.ended is not None)
    assert factory.protocol.lost.check(ConnectionDone)
    listener.close()


@pytest_twisted.ensureDeferred
async def test_the_gateway_gives_up(network):
    """An attempt that is stopped fails at once."""
    listener = network.listen((PHONE, 0))
    factory = Client()
    connector = network.connectTCP(*listener.address, factory, timeout=1, bindAddress=(GATEWAY, 0))
    connector.disconnect()
    assert factory.failed.check(UserError)
    network.flush()
    assert factory.protocol.transport is None


@pytest_twisted.ensureDeferred
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_a_taken_address(network, server):
    """It is refused."""
    with pytest.raises(CannotListenError):
        network.listenTCP(server[1][1], Server(), interface=GATEWAY)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("clean", [True, False])
async def test_the_gateway_connects_to_itself(network, server, clean):
    """Both ends are its own."""
    factory = Client()
    network.connectTCP(*server[1], factory, timeout=1, bindAddress=(GATEWAY, 0))
    await network.until(lambda: bool(server[0].made) and server[0].made[0].transport is not None)
    (accepted,) = server[0].made
    await network.until(lambda: factory.protocol.transport is not None)
    assert accepted.transport.getPeer() == factory.protocol.transport.getHost()
    factory.protocol.transport.write(b"there")
    accepted.transport.write(b"and back")
    await network.until(lambda: (accepted.data, factory.protocol.data) == ([b"there"], [b"and back"]))
    end = factory.protocol.transport
    (end.loseConnection if clean else end.abortConnection)()
    await network.until(lambda: accepted.lost is not None and factory.ended is not None)
    assert bool(accepted.lost.check(ConnectionDone)) == clean


def test_the_fake_has_what_twisted_has():
    """The methods that the interfaces name."""
    network = MemoryNetwork()
    assert verifyObject(IReactorTCP, network)
    factory = Server()
    assert verifyObject(IListeningPort, network.listenTCP(5060, factory, interface="10.0.0.1"))
    network.connect(("10.0.0.9", 0), to=("10.0.0.1", 5060))
    network.flush()
    assert verifyObject(ITCPTransport, factory.made[0].transport)
    assert verifyObject(IConnector, network.connectTCP("10.0.0.9", 1, Client()))


def test_a_black_hole():
    """An attempt ends by its time-out, and what is written to one is never read."""
    reactor = MemoryReactor()
    listener = reactor.network.listen(("10.0.0.9", 5060))
    early = Client()
    reactor.connectTCP("10.0.0.9", 5060, early, timeout=1)
    reactor.network.flush()
    reactor.network.black_holes.add("10.0.0.9")
    early.protocol.transport.write(b"never read")
    factory = Client()
    reactor.connectTCP("10.0.0.9", 5060, factory, timeout=0.5)
    reactor.advance(0.4)
    assert factory.failed is None
    reactor.advance(0.2)
    assert factory.failed.check(TimeoutError)
    assert listener.peers[0].received == b""
    assert len(listener.peers) == 1


def test_errors_of_the_network():
    """A test may make a host unreachable."""
    network = MemoryNetwork()
    network.errors["10.0.0.9"] = OSError(ENETUNREACH, "unreachable")
    factory = Client()
    network.connectTCP("10.0.0.9", 5060, factory)
    network.flush()
    assert factory.failed.check(NoRouteError)


def test_only_own_addresses():
    """As for datagrams."""
    network = MemoryNetwork("10.0.0.1")
    with pytest.raises(CannotListenError):
        network.listenTCP(5060, Server(), interface="10.0.0.2")


def test_everything_is_kept_for_the_story():
    """What streams carry is in `carried`, beside the datagrams."""
    network = MemoryNetwork()
    factory = Server()
    network.listenTCP(5060, factory, interface="10.0.0.1")
    peer = network.connect(("10.0.0.9", 0), to=("10.0.0.1", 5060))
    peer.send(b"a")
    factory.made[0].transport.write(b"b")
    here = ("10.0.0.1", 5060)
    assert network.carried == [(b"a", peer.address, here), (b"b", here, peer.address)]
