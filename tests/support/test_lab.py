# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IReactorTime, IReactorUDP
from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol, ServerFactory
from twisted.logger import Logger
from zope.interface.verify import verifyObject

from tests.support.addresses import in_front_of_nat
from tests.support.lab import START, Lab, VirtualReactor, rtcp, rtp
from tests.support.messages import answer, request, wire
from tests.support.networks import NETWORKS


class Forwarder(DatagramProtocol):
    """Sends what comes from inside to V and what comes from outside to P, one second later."""

    def __init__(self, program):
        self.program = program

    def datagramReceived(self, datagram, addr):
        self.program.forward(datagram, addr)


class Program(Service):
    """A program to be tested: two SIP sockets, and a media socket that echoes."""

    log = Logger()

    def __init__(self, lab, delay=1.0):
        self.lab = lab
        self.delay = delay
        self.ports = {}

    def startService(self):
        super().startService()
        for host in ("10.0.0.1", "203.0.113.1"):
            self.ports[host] = self.lab.reactor.listenUDP(5060, Forwarder(self), interface=host)
        self.media = self.lab.reactor.listenUDP(7070, Forwarder(self), interface="203.0.113.1")

    def forward(self, datagram, addr):
        if datagram == rtp():
            self.media.write(datagram, ("10.0.0.10", 40000))
            return
        side, to = ("203.0.113.1", self.lab.v) if addr == self.lab.p.address else ("10.0.0.1", self.lab.p)
        self.lab.reactor.callLater(self.delay, self.ports[side].write, datagram, to.address)

    async def stop(self):
        for port in (*self.ports.values(), self.media):
            await port.stopListening()

    def stopService(self):
        super().stopService()
        return Deferred.fromCoroutine(self.stop())


@pytest.fixture
def lab():
    opened = Lab(Program)
    opened.start()
    return opened


OPTIONS = request("OPTIONS", "sip:bob@sip.provider.test")


def test_the_reactor_is_one():
    """The virtual reactor has the methods of time and of UDP."""
    reactor = VirtualReactor()
    assert verifyObject(IReactorTime, reactor)
    assert verifyObject(IReactorUDP, reactor)
    assert reactor.seconds() == START


def test_a_message_crosses(lab):
    """What a party sends gets a Via, arrives when its time has come, and is compared with a trace."""
    lab.p.send(OPTIONS)
    lab.v.nothing()
    lab.advance(1)
    seen = lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP1
        """)
    assert lab.reactor.seconds() == START + 1
    lab.v.send(bytes(seen))
    lab.advance(60)
    assert lab.p.datagram().data == bytes(seen)
    lab.close()


def test_a_literal_message_crosses(lab):
    """A message written out in a test may be indented, and may lack a Via."""
    lab.p.send("""
        MESSAGE sip:bob@sip.provider.test SIP/2.0
        From: <sip:alice@sip.provider.test>;tag=1
        To: <sip:bob@sip.provider.test>
        Call-ID: c9
        CSeq: 1 MESSAGE

        Hello,
        Bob
        """)
    lab.advance(1)
    lab.v.sees("""
        MESSAGE sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP1
        Call-ID: c9
        Content-Length: 13

        Hello,
        Bob
        """)
    lab.close()


def test_each_new_request_has_its_own_branch(lab):
    """A second request is no retransmission of the first, unless its bytes are sent again."""
    first, second = lab.p.send(OPTIONS), lab.p.send(OPTIONS)
    assert first != second
    assert lab.p.send(first) == first
    lab.advance(1)
    assert [lab.v.datagram().data for _ in range(3)] == [first, second, first]
    lab.close()


def test_nothing_arrived(lab):
    """Waiting for a message that does not come tells everything that was seen instead."""
    lab.p.send(OPTIONS)
    with pytest.raises(
        AssertionError, match=r"V \(203.0.113.50:5060\) received nothing more(.|\n)*OPTIONS sip:bob"
    ):
        lab.v.receive()


def test_another_message_arrived(lab):
    """A message that is not as the trace says is shown with what is different."""
    lab.p.send(OPTIONS)
    lab.advance(1)
    with pytest.raises(AssertionError, match=r"Max-Forwards: 70\n +instead of 69(.|\n)*\| OPTIONS"):
        lab.v.sees("OPTIONS … SIP/2.0\nMax-Forwards: 69")


def test_no_message_arrived(lab):
    """What is not SIP, and what does not come from the proxy, is not taken for an answer."""
    lab.v.send(b"nonsense")
    lab.advance(1)
    with pytest.raises(AssertionError, match="received no message but b'nonsense'"):
        lab.p.receive()
    lab.w.send(OPTIONS, to=lab.p.address)
    with pytest.raises(AssertionError, match="sent this by another"):
        lab.p.receive()


def test_something_arrived(lab):
    """`nothing` fails on a message; `forget` takes it as read."""
    lab.p.send(OPTIONS)
    lab.advance(1)
    with pytest.raises(AssertionError, match="OPTIONS sip:bob"):
        lab.v.nothing()
    lab.v.forget()
    lab.v.nothing()
    lab.close()


def test_time_passes_timer_by_timer(lab):
    """A timer that a timer starts is due at its own time, not at the end of the step."""
    seen = []

    def again():
        seen.append(lab.reactor.seconds() - START)
        if len(seen) < 3:
            lab.reactor.callLater(2, again)

    lab.reactor.callLater(1, again)
    lab.advance(10)
    assert seen == [1, 3, 5]
    assert lab.reactor.seconds() == START + 10
    lab.close()


def test_time_stands_still(lab):
    """A timer that starts itself without delay is found, instead of a test that never ends."""

    def again():
        lab.reactor.callLater(0, again)

    again()
    with pytest.raises(AssertionError, match="time stands still"):
        lab.advance(0)


def test_media(lab):
    """A packet for a media socket shows which way it took; the socket is listed while it is open."""
    assert lab.media_ports() == {"203.0.113.1:7070"}
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070") == ["203.0.113.1:7070 > 10.0.0.10:40000"]
    assert lab.relayed("203.0.113.60:50000", "203.0.113.1:7070", rtcp()) == []
    lab.reactor.getDelayedCalls()[0].cancel()
    lab.close()
    assert lab.media_ports() == set()


def test_a_router_in_front():
    """What is sent to host_outbound reaches the gateway, SIP and media."""
    lab = Lab(Program, addresses=in_front_of_nat("198.51.100.7"))
    lab.start()
    lab.v.send(OPTIONS, to=("198.51.100.7", 5060))
    lab.advance(1)
    lab.p.sees("OPTIONS … SIP/2.0")
    assert lab.relayed("203.0.113.60:50000", "198.51.100.7:7070") == ["203.0.113.1:7070 > 10.0.0.10:40000"]
    lab.close()


def test_a_timer_left_is_found(lab):
    """The audit names the timer."""
    lab.reactor.callLater(9, print, "left")
    with pytest.raises(AssertionError, match="timers left"):
        lab.close()


def test_a_socket_left_is_found(lab):
    """The audit names the socket."""
    lab.reactor.listenUDP(7072, DatagramProtocol(), interface="10.0.0.1")
    with pytest.raises(AssertionError, match=r"sockets left.*10\.0\.0\.1:7072"):
        lab.close()


@pytest.mark.logs_failures
def test_a_failure_nobody_handled_is_found(lab):
    """The failure of a Deferred that was thrown away counts as logged."""
    fail(ValueError("lost"))
    with pytest.raises(AssertionError, match=r"logged above warning(.|\n)*ValueError: lost"):
        lab.close()


def test_a_loud_log_is_found(lab):
    """An error in the log fails a test, a warning does not; both can be looked at."""
    Program.log.warn("low on {what}", what="ports")
    assert lab.logged() == ["low on ports"]
    Program.log.error("out of {what}", what="ports")
    with pytest.raises(AssertionError, match="out of ports"):
        lab.close()


def test_an_unread_message_is_found(lab):
    """A message that arrived somewhere unexpected does not stay unnoticed."""
    lab.p.send(OPTIONS)
    lab.advance(1)
    with pytest.raises(AssertionError, match=r"V .*received"):
        lab.close()


def test_a_program_that_does_not_stop_is_found(lab):
    """A stop must come to its end without time passing; an unaudited close still stops it."""
    lab.service.stopService, stop = lambda: Deferred(), lab.service.stopService
    with pytest.raises(AssertionError, match="does not stop"):
        lab.close()
    lab.service.stopService = stop
    lab.close(audit=False)


def test_what_is_heard_after_closing_is_not_ours(lab):
    """A closed laboratory has left the log."""
    lab.close()
    Program.log.error("somebody else")
    assert lab.logged() == []
    assert "somebody else" not in lab.story()


class Echo(Protocol):
    """Answers every message with the same bytes."""

    def dataReceived(self, data):
        self.transport.write(data)


class Greeter(Protocol):
    """Says something as soon as there is a connection."""

    def connectionMade(self):
        via = "Via: SIP/2.0/TCP 203.0.113.1;branch=z9hG4bK1"
        self.transport.write(wire(request("OPTIONS", "sip:v", via)))


class StreamProgram(Service):
    """Listens for connections inside and makes one to V."""

    def __init__(self, lab):
        self.lab = lab

    def startService(self):
        super().startService()
        server, client = ServerFactory(), ClientFactory()
        server.protocol, client.protocol = Echo, Greeter
        self.port = self.lab.reactor.listenTCP(5060, server, interface="10.0.0.1")
        self.made = self.lab.reactor.connectTCP("203.0.113.50", 5060, client, bindAddress=("203.0.113.1", 0))

    def stopService(self):
        super().stopService()
        self.made.disconnect()
        return self.port.stopListening()


def test_parties_with_connections():
    """A phone speaks by its own connection, a server also by those that were made to it."""
    lab = Lab(StreamProgram, on=NETWORKS["tcp"])
    lab.start()
    sent = lab.p.send(OPTIONS)
    assert b"\r\nVia: SIP/2.0/TCP 10.0.0.10:5062;branch=z9hG4bKP1\r\n" in sent
    assert lab.p.datagram().data == sent
    assert lab.p.source[0] == "10.0.0.10" and lab.p.source != lab.p.address
    ping = lab.v.sees("OPTIONS sip:v SIP/2.0")
    lab.v.send(answer(ping, "200 OK"))
    assert lab.v.connection is None, "a response goes by the connection of its request"
    lab.p.connection.close()
    lab.close()
