# SPDX-License-Identifier: MIT
from __future__ import annotations

import gc
from errno import ENETUNREACH

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorUDP, IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from tests.support.datagrams import LoopbackNetwork, MemoryNetwork, MemoryPort

GATEWAY, PHONE = "127.0.0.1", "127.0.0.9"


class Echo(DatagramProtocol):
    """Sends everything back and notes what it saw; asked to, sends it on to itself first."""

    def __init__(self):
        self.seen = []
        self.stopped = False

    def datagramReceived(self, datagram, addr):
        before = len(self.seen)
        self.seen.append((datagram, addr))
        self.transport.write(datagram, addr)
        assert len(self.seen) == before + 1  # nothing arrives while we send

    def stopProtocol(self):
        self.stopped = True


@pytest.fixture(params=["memory", "loopback"])
def network(request):
    if request.param == "memory":
        yield MemoryNetwork()
        return
    from twisted.internet import reactor  # noqa: TID251

    real = LoopbackNetwork(reactor)
    yield real
    pytest_twisted.blockon(Deferred.fromCoroutine(real.close()))


def test_the_fake_provides_what_twisted_has():
    """The fake port and the fake reactor have the methods that the interfaces name."""
    network = MemoryNetwork()
    assert verifyObject(IReactorUDP, network)
    port = network.listenUDP(5060, Echo(), interface="10.0.0.1")
    assert verifyObject(IUDPTransport, port)
    assert verifyObject(IListeningPort, port)


@pytest_twisted.ensureDeferred
async def test_there_and_back(network):
    """A datagram reaches the port with its source, the answer comes from the port's address."""
    echo, peer = Echo(), network.peer(PHONE, 40000)
    port = network.listenUDP(0, echo, interface=GATEWAY)
    here = (GATEWAY, port.getHost().port)
    peer.send(b"one", here)
    peer.send(b"two", here)
    await network.until(lambda: len(peer.received) == 2)
    assert echo.seen == [(b"one", peer.address), (b"two", peer.address)]
    assert [(d.data, d.source, d.destination) for d in peer.take()] == [
        (b"one", here, peer.address),
        (b"two", here, peer.address),
    ]
    assert peer.received == []
    closed = port.stopListening()
    await network.until(lambda: bool(closed.called))


@pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")  # Twisted leaves it to the collector
@pytest_twisted.ensureDeferred
async def test_a_taken_address_is_refused_until_its_socket_is_closed(network):
    """The address is free when the Deferred of stopListening has fired, and the protocol was stopped."""
    echo = Echo()
    port = network.listenUDP(0, echo, interface=GATEWAY)
    number = port.getHost().port
    with pytest.raises(CannotListenError):
        network.listenUDP(number, Echo(), interface=GATEWAY)
    closed = port.stopListening()
    with pytest.raises(CannotListenError):
        network.listenUDP(number, Echo(), interface=GATEWAY)
    await network.until(lambda: bool(closed.called))
    assert echo.stopped and echo.transport is None
    again = network.listenUDP(number, Echo(), interface=GATEWAY)
    closed = again.stopListening()
    await network.until(lambda: bool(closed.called))
    gc.collect()


@pytest_twisted.ensureDeferred
async def test_nothing_arrives_after_stop(network):
    """A stopped port hears nothing, not even what was on its way."""
    echo, peer = Echo(), network.peer(PHONE, 40000)
    port = network.listenUDP(0, echo, interface=GATEWAY)
    here = (GATEWAY, port.getHost().port)
    closed = port.stopListening()
    peer.send(b"late", here)
    await network.until(lambda: bool(closed.called))
    assert echo.seen == []


@pytest_twisted.ensureDeferred
async def test_long_datagrams(network):
    """What is longer than maxPacketSize is cut, what is longer than UDP allows is refused."""
    echo, peer = Echo(), network.peer(PHONE, 40000)
    port = network.listenUDP(0, echo, interface=GATEWAY, maxPacketSize=10)
    peer.send(bytes(20), (GATEWAY, port.getHost().port))
    await network.until(lambda: len(peer.received) == 1)
    assert peer.received[0].data == bytes(10)
    with pytest.raises(MessageLengthError):
        port.write(bytes(65508), peer.address)
    closed = port.stopListening()
    await network.until(lambda: bool(closed.called))


@pytest_twisted.ensureDeferred
async def test_write_wants_an_address_of_its_family(network):
    """Names and addresses of the other family raise, as in Twisted."""
    port = network.listenUDP(0, Echo(), interface=GATEWAY)
    for host in ("phone.example", "::1"):
        with pytest.raises(InvalidAddressError):
            port.write(b"x", (host, 5060))
    closed = port.stopListening()
    await network.until(lambda: bool(closed.called))


def test_nobody_there():
    """What is sent to nobody is dropped and can be looked at."""
    network = MemoryNetwork()
    port = network.listenUDP(5060, Echo(), interface="10.0.0.1")
    port.write(b"x", ("10.0.0.2", 9))
    network.flush()
    assert [(d.data, d.destination) for d in network.lost] == [(b"x", ("10.0.0.2", 9))]


def test_lost_on_the_way():
    """A test may lose datagrams by a rule."""
    network = MemoryNetwork()
    peer = network.peer("10.0.0.2", 9)
    port = network.listenUDP(5060, Echo(), interface="10.0.0.1")
    network.lose = lambda datagram: datagram.data == b"a"
    port.write(b"a", peer.address)
    port.write(b"b", peer.address)
    assert [d.data for d in peer.received] == [b"b"]
    assert [d.data for d in network.lost] == [b"a"]


def test_errors_of_the_network():
    """A test may make an address unreachable."""
    network = MemoryNetwork()
    port = network.listenUDP(5060, Echo(), interface="10.0.0.1")
    network.errors["10.0.0.2"] = OSError(ENETUNREACH, "unreachable")
    with pytest.raises(OSError, match="unreachable"):
        port.write(b"x", ("10.0.0.2", 9))
    port.write(b"x", ("10.0.0.3", 9))


def test_only_own_addresses_can_be_bound():
    """A gateway with known addresses cannot bind others; one that it loses cannot be bound again."""
    network = MemoryNetwork("10.0.0.1", "203.0.113.1")
    network.listenUDP(5060, Echo(), interface="10.0.0.1")
    with pytest.raises(CannotListenError):
        network.listenUDP(5060, Echo(), interface="10.0.0.77")
    network.addresses.discard("203.0.113.1")
    with pytest.raises(CannotListenError):
        network.listenUDP(5060, Echo(), interface="203.0.113.1")


def test_a_socket_on_all_addresses():
    """It hears what comes to each own address, sends from the nearest, and no one else gets its port."""
    network = MemoryNetwork("10.0.0.1", "203.0.113.1")
    echo = Echo()
    network.listenUDP(5060, echo)
    inside, outside = network.peer("10.0.0.9", 5060), network.peer("203.0.113.9", 5060)
    inside.send(b"in", ("10.0.0.1", 5060))
    outside.send(b"out", ("203.0.113.1", 5060))
    assert [data for data, _ in echo.seen] == [b"in", b"out"]
    assert inside.received[0].source == ("10.0.0.1", 5060)
    assert outside.received[0].source == ("203.0.113.1", 5060)
    with pytest.raises(CannotListenError):
        network.listenUDP(5060, Echo(), interface="10.0.0.1")


def test_peers_that_answer():
    """A peer that reacts to a datagram sends in its turn, and everything comes in order."""
    network = MemoryNetwork()
    echo = Echo()
    network.listenUDP(5060, echo, interface="10.0.0.1")
    peer = network.peer("10.0.0.2", 9)
    peer.react = lambda datagram: len(peer.received) < 3 and peer.send(datagram.data + b"!", datagram.source)
    peer.send(b"a", ("10.0.0.1", 5060))
    assert [data for data, _ in echo.seen] == [b"a", b"a!", b"a!!"]


def test_with_a_clock_datagrams_move_at_once_and_leave_no_timer():
    """What is sent in a timer arrives at the same instant, in a turn of its own."""
    clock = Clock()
    network = MemoryNetwork(clock=clock)
    echo = Echo()
    port = network.listenUDP(5060, echo, interface="10.0.0.1")
    clock.callLater(5, port.write, b"to ourselves", ("10.0.0.1", 5060))
    network.lose = lambda datagram: len(echo.seen) == 3
    clock.advance(5)
    assert len(echo.seen) == 3
    assert clock.getDelayedCalls() == []
    closed = port.stopListening()
    assert closed is not None and not closed.called
    clock.advance(0)
    assert closed.called and network.bound == {}


def test_errors_of_the_protocol_come_out():
    """An exception of the program under test is not swallowed, and the network stays usable."""

    class Broken(DatagramProtocol):
        def datagramReceived(self, datagram, addr):
            raise ZeroDivisionError

    network = MemoryNetwork()
    echo = Echo()
    network.listenUDP(1, Broken(), interface="10.0.0.1")
    network.listenUDP(2, echo, interface="10.0.0.1")
    peer = network.peer("10.0.0.2", 9)
    with pytest.raises(ZeroDivisionError):
        peer.send(b"x", ("10.0.0.1", 1))
    peer.send(b"y", ("10.0.0.1", 2))
    assert len(echo.seen) == 1


def test_write_after_close_fails_as_in_twisted():
    """A program that keeps a closed transport must notice."""
    network = MemoryNetwork()
    port = network.listenUDP(5060, Echo(), interface="10.0.0.1")
    assert isinstance(port, MemoryPort)
    port.stopListening()
    network.flush()
    with pytest.raises(AttributeError):
        port.write(b"x", ("10.0.0.2", 9))
    with pytest.raises(ValueError, match="gateway"):
        network.listenUDP(7, Echo(), interface="10.0.0.1")
        network.peer("10.0.0.1", 7)
