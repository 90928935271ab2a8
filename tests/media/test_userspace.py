# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs

from siproxd_tw.interfaces import Address, Side
from siproxd_tw.media.allocator import NoPortFree, PortAllocator
from siproxd_tw.media.latch import Latch, comedia
from siproxd_tw.media.session import Leg, Stream
from siproxd_tw.media.userspace import PortPair, RelayPort, Sockets, StreamPorts
from tests.support.datagrams import MemoryNetwork, MemorySocket
from tests.support.mediabed import RTCP, rtp

PHONE, REMOTE, STRANGER = ("10.0.0.10", 40000), ("203.0.113.60", 50000), ("192.0.2.66", 666)


@pytest.fixture
def network():
    return MemoryNetwork(clock=Clock())


def make(latch: Latch) -> RelayPort:
    """Make a port for RTP at a time that stands still."""
    return RelayPort(latch, True, lambda: 0.0, comedia)


def listen(network, leg: Leg, dscp: int = 0) -> PortPair:
    return PortPair.listen(leg, network.listenUDP, dscp, make)


def stream(network) -> StreamPorts:
    """Open a stream whose two parties have announced themselves."""
    legs = Leg(Side.INSIDE, "10.0.0.1", 7072), Leg(Side.OUTSIDE, "203.0.113.1", 7070)
    ports = StreamPorts(Stream(0, legs, True), (listen(network, legs[0]), listen(network, legs[1])))
    for leg, party in zip(legs, (PHONE, REMOTE), strict=True):
        leg.rtp.agree(Address(*party), 0)
        leg.rtcp.agree(Address(party[0], party[1] + 1), 0)
    ports.refresh()
    return ports


def heard(network, ports: StreamPorts) -> RelayPort:
    """Let the remote party be heard once; return the port that it sends to."""
    network.peer(*REMOTE).send(rtp(), ("203.0.113.1", 7070))
    network.peer(*PHONE)
    return ports.pairs[1].rtp


class TestRelayPort:
    def test_the_walk_of_a_packet(self, network, monkeypatch):
        """A packet from the known source is counted and sent on; nothing looks into it or asks anybody."""
        port = heard(network, stream(network))
        for name in ("classify", "Address"):
            monkeypatch.setattr(f"siproxd_tw.media.userspace.{name}", None)
        monkeypatch.setattr(RelayPort, "_learn", None)
        before = port.latch.octets
        network.peer(*REMOTE).send(b"anything", ("203.0.113.1", 7070))
        assert [d.data for d in network.peer(*PHONE).received][-1] == b"anything"
        assert (port.latch.packets, port.latch.octets - before) == (2, 8)

    def test_no_log_above_debug(self, network):
        """Not even learning says more than a line for those who look for it."""
        ports = stream(network)
        with capturedLogs() as events:
            heard(network, ports)
            network.peer(*STRANGER).send(rtp(), ("203.0.113.1", 7070))
        assert [event["log_level"] for event in events] == [LogLevel.debug]

    def test_a_send_that_fails(self, network):
        """It is counted where the packet came in, and the next one is sent."""
        port = heard(network, stream(network))
        network.errors[PHONE] = OSError(1, "not permitted")
        network.peer(*REMOTE).send(rtp(), ("203.0.113.1", 7070))
        network.errors.clear()
        network.peer(*REMOTE).send(rtp(), ("203.0.113.1", 7070))
        assert (port.errors, port.latch.packets) == (1, 3)
        assert len(network.peer(*PHONE).received) == 1

    def test_a_datagram_that_is_too_long_to_send(self, network):
        """What came in over IPv6 may be longer than IPv4 can carry: lost and counted."""
        port = heard(network, stream(network))
        port.datagramReceived(bytes(65520), REMOTE)
        assert port.errors == 1

    def test_an_empty_datagram(self, network):
        """It is nothing, wherever it comes from."""
        port = heard(network, stream(network))
        for peer in (REMOTE, STRANGER):
            network.peer(*peer).send(b"", ("203.0.113.1", 7070))
        assert port.latch.packets == 1 and not port.dropped

    def test_closed(self, network):
        """A packet that was read before the end and comes after it goes nowhere and teaches nothing."""
        ports = stream(network)
        port = heard(network, ports)
        for pair in ports.pairs:
            pair.close()
        for source in (REMOTE, STRANGER):
            port.datagramReceived(rtp(), source)
        network.flush()
        port.datagramReceived(rtp(), REMOTE)
        assert len(network.peer(*PHONE).received) == 0 and port.latch.packets == 1

    def test_rtcp_has_its_own_latch(self, network):
        """The source of RTP says nothing about that of RTCP."""
        ports = stream(network)
        heard(network, ports)
        network.peer(*STRANGER).send(RTCP, ("203.0.113.1", 7071))
        assert ports.pairs[1].rtcp.latch.source == STRANGER
        assert ports.pairs[1].rtp.latch.source == REMOTE

    def test_the_way_back_follows(self, network):
        """When the source of one leg is learnt, the other leg sends there."""
        ports = stream(network)
        network.peer(*STRANGER).send(rtp(), ("203.0.113.1", 7070))
        network.peer(*PHONE).send(rtp(), ("10.0.0.1", 7072))
        assert [d.source for d in network.peer(*STRANGER).received] == [("203.0.113.1", 7070)]
        assert ports.pairs[0].rtp.target == STRANGER


class TestPortPair:
    @pytest.mark.parametrize("taken", [7070, 7071])
    def test_both_or_none(self, network, taken):
        """When one half cannot be bound the other one is not kept."""
        network.listenUDP(taken, DatagramProtocol(), interface="10.0.0.1")
        with pytest.raises(CannotListenError):
            listen(network, Leg(Side.INSIDE, "10.0.0.1", 7070))
        network.flush()
        assert list(network.bound) == [("10.0.0.1", taken)]

    def test_a_dscp_that_cannot_be_set(self, network, monkeypatch):
        """It is said, and media is relayed without it."""

        def refuse(self, level, option, value):
            raise OSError(1, "not permitted")

        monkeypatch.setattr(MemorySocket, "setsockopt", refuse)
        with capturedLogs() as events:
            listen(network, Leg(Side.INSIDE, "10.0.0.1", 7070), dscp=46)
        assert len(network.bound) == 2
        assert {event["log_level"] for event in events} == {LogLevel.warn}


class TestSockets:
    def sockets(self, network, high=7074):
        allocator = PortAllocator(7070, high)
        return allocator, Sockets(allocator, network.listenUDP, Clock(), 0, comedia)

    def test_open_and_close(self, network):
        """Ports are booked until their sockets are closed, not until somebody wishes them closed."""
        allocator, sockets = self.sockets(network)
        pairs = sockets.open([(Side.OUTSIDE, "203.0.113.1", True), (Side.INSIDE, "10.0.0.1", True)])
        assert [pair.leg.port for pair in pairs] == [7070, 7072]
        sockets.close(pairs)
        closed = sockets.closed()
        assert not closed.called and allocator.figures([])["10.0.0.1"] == {"used": 1, "free": 2}
        network.flush()
        assert closed.called and allocator.figures([]) == {}

    def test_nothing_is_left_when_a_later_pair_fails(self, network):
        """All pairs or none, in the books as in the network."""
        allocator, sockets = self.sockets(network, high=7072)
        for port in (7071, 7073):
            network.listenUDP(port, DatagramProtocol(), interface="10.0.0.1")
        with pytest.raises(NoPortFree):
            sockets.open([(Side.OUTSIDE, "203.0.113.1", True), (Side.INSIDE, "10.0.0.1", True)])
        network.flush()
        assert len(network.bound) == 2 and allocator.figures([]) == {}

    def test_nothing_to_open(self, network):
        """No stream, no socket."""
        _, sockets = self.sockets(network)
        assert sockets.open([]) == []
        assert sockets.closed().called
