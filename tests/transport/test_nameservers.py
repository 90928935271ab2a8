# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import CancelledError, succeed
from twisted.internet.error import CannotListenError, ConnectionRefusedError
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, globalLogPublisher
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.python.failure import Failure

from siproxd_tw.transport.nameservers import GIVE_UP, NameServers
from tests.support.nameserver import LoopbackServer, NameServer

ONE, TWO, THREE = ("192.0.2.1", 53), ("192.0.2.2", 53), ("192.0.2.3", 53)


class Port:
    """A UDP port that sends into a list."""

    def __init__(self, reactor, protocol, interface):
        self.reactor, self.protocol, self.interface = reactor, protocol, interface

    def write(self, data, address):
        if self.interface == "" and address[0] in self.reactor.without_route:
            raise OSError(101, "Network is unreachable")
        self.reactor.sent.append((self, data, address))

    def stopListening(self):
        self.reactor.ports.remove(self)
        return succeed(None)


class Reactor(MemoryReactorClock):
    """Time, datagrams and connections of the test."""

    def __init__(self):
        super().__init__()
        self.ports = []
        self.sent = []
        self.without_route = ()
        self.without_families = ()

    def listenUDP(self, port, protocol, interface=""):
        assert port == 0
        if interface in self.without_families:
            raise CannotListenError(interface, port, OSError(97, "no such family"))
        self.ports.append(Port(self, protocol, interface))
        return self.ports[-1]

    def asked(self):
        """Who was asked since the last time."""
        sent, self.sent = self.sent, []
        return [address for _, _, address in sent]


class Bed:
    """Two name servers, and what the test lets them say."""

    def __init__(self, *servers):
        self.reactor = Reactor()
        self.numbers = iter(range(1, 1000))
        self.names = NameServers(
            self.reactor,
            servers or ("192.0.2.1", "192.0.2.2"),
            randomness=lambda size: next(self.numbers).to_bytes(size, "big"),
        )

    def ask(self, name="a.test"):
        """Ask, and note what comes of it."""
        seen = []
        self.names.lookupAddress(name).addBoth(
            lambda result: seen.append(getattr(result, "value", result)) and None
        )
        return seen

    def say(self, server, number=1, source=None, name="a.test", **changes):
        """Let `server` answer question `number`; on each socket, for who listens elsewhere is not asked."""
        message = answer(number, name, **changes)
        for port in list(self.reactor.ports):
            port.protocol.datagramReceived(message, source or server)


def answer(number=1, name="a.test", kind=dns.A, rcode=dns.OK, trunc=0, is_answer=1, host="192.0.2.100"):
    """The bytes of an answer."""
    message = dns.Message(number, answer=is_answer, rCode=rcode, trunc=trunc)
    message.queries = [dns.Query(name, kind)]
    if rcode == dns.OK and not trunc:
        message.answers = [dns.RRHeader(name, dns.A, dns.IN, 60, dns.Record_A(host))]
    return message.toStr()


def hosts(result):
    return [each.payload.dottedQuad() for each in result[0]]


@pytest.fixture
def bed():
    """One question's world; sockets and timers that stay behind fail the test."""
    it = Bed()
    yield it
    assert it.reactor.ports == []
    assert it.reactor.getDelayedCalls() == []


def test_the_question(bed):
    """It is a recursive one with a random number, from a port of its own, to the first server."""
    seen = bed.ask()
    port, data, server = bed.reactor.sent[0]
    assert data == (
        b"\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00"  # number 1, recursion desired, one question
        b"\x01a\x04test\x00\x00\x01\x00\x01"
    )
    assert (port.interface, server) == ("", ONE)
    bed.say(ONE)
    assert hosts(seen[0]) == ["192.0.2.100"]


def test_the_four_questions(bed):
    """Addresses of both families, services and pointers."""
    for lookup in ("Address", "IPV6Address", "Service", "NamingAuthorityPointer"):
        getattr(bed.names, f"lookup{lookup}")("a.test").addErrback(
            lambda failure: failure.trap(CancelledError)
        )
    assert [data[-3] for _, data, _ in bed.reactor.sent] == [dns.A, dns.AAAA, dns.SRV, dns.NAPTR]
    bed.names.stop()


def test_a_dead_first_server(bed):
    """After half a second the second one is asked too, and then comes first for half a minute."""
    seen = bed.ask()
    assert bed.reactor.asked() == [ONE]
    bed.reactor.advance(0.5)
    assert bed.reactor.asked() == [TWO]
    bed.say(TWO)
    assert hosts(seen[0]) == ["192.0.2.100"]
    for seconds, first in ((0, TWO), (29, TWO), (1, ONE)):
        bed.reactor.advance(seconds)
        bed.ask()
        assert bed.reactor.asked() == [first]
        bed.names.stop()


def test_a_slow_first_server(bed):
    """An answer counts also when another server was asked meanwhile."""
    seen = bed.ask()
    bed.reactor.advance(0.6)
    bed.say(ONE)
    assert hosts(seen[0]) == ["192.0.2.100"]
    assert [each.host for each in bed.names.servers()] == ["192.0.2.1", "192.0.2.2"]


def test_nobody_answers(bed):
    """The servers are asked in turn, and the question fails in time for another one within 5 s."""
    seen = bed.ask()
    bed.reactor.pump([0.1] * 23)
    assert bed.reactor.asked() == [ONE, TWO, ONE, TWO]
    assert seen == []
    bed.reactor.advance(0.1)
    assert isinstance(seen[0], DNSQueryTimeoutError)
    assert GIVE_UP * 2 < 5


def test_a_black_hole_and_a_server_that_fails(bed):
    """A server that cannot answer is passed over at once; one that keeps silent is waited for."""
    seen = bed.ask()
    bed.say(ONE, rcode=dns.ESERVER)
    assert bed.reactor.asked() == [ONE, TWO]
    bed.reactor.advance(0.5)
    assert bed.reactor.asked() == [TWO]
    bed.say(TWO)
    assert hosts(seen[0]) == ["192.0.2.100"]


@pytest.mark.parametrize("rcode", [dns.ESERVER, dns.EREFUSED, dns.ENOTIMP, dns.EFORMAT])
def test_all_servers_fail(bed, rcode):
    """When none is left the question has failed."""
    seen = bed.ask()
    bed.say(ONE, rcode=rcode)
    bed.say(TWO, rcode=rcode)
    assert isinstance(seen[0], DNSServerError)


def test_no_such_name(bed):
    """That is an answer: no other server is asked."""
    seen = bed.ask()
    bed.say(ONE, rcode=dns.ENAME)
    assert isinstance(seen[0], DNSNameError)
    assert seen[0].args[0].rCode == dns.ENAME
    assert bed.reactor.asked() == [ONE]


@pytest.mark.parametrize(
    "forged",
    [
        {"number": 2},
        {"name": "b.test"},
        {"kind": dns.AAAA},
        {"is_answer": 0},
        {"source": ("192.0.2.66", 53)},
        {"source": ("192.0.2.1", 5353)},
    ],
)
def test_answers_that_are_none(bed, forged):
    """Of the right number, to the very question, from the server that was asked: all of it, or nothing."""
    seen = bed.ask()
    bed.say(ONE, **forged, host="192.0.2.66")
    assert seen == []
    bed.say(ONE)
    assert hosts(seen[0]) == ["192.0.2.100"]


@given(st.one_of(st.binary(max_size=60), st.binary(max_size=40).map(lambda tail: answer()[:24] + tail)))
def test_any_datagram(data):
    """Whatever comes is an answer or nothing, and never an exception."""
    bed = Bed()
    bed.ask()
    bed.reactor.ports[0].protocol.datagramReceived(data, ONE)
    bed.names.stop()
    assert bed.reactor.getDelayedCalls() == []


def test_an_answer_that_comes_twice(bed):
    """What is still in the socket when the question has its answer is nothing to anybody."""
    seen = bed.ask()
    protocol = bed.reactor.ports[0].protocol
    for message in (answer(), answer(), answer(trunc=1), answer(rcode=dns.ESERVER)):
        protocol.datagramReceived(message, ONE)
    assert len(seen) == 1


def test_a_server_that_fails_twice(bed):
    """It is passed over once: what comes later from it does not count."""
    seen = bed.ask()
    protocol = bed.reactor.ports[0].protocol
    for message in (answer(rcode=dns.ESERVER), answer(rcode=dns.ESERVER), answer(host="192.0.2.66")):
        protocol.datagramReceived(message, ONE)
    assert bed.reactor.asked() == [ONE, TWO]
    bed.say(TWO)
    assert hosts(seen[0]) == ["192.0.2.100"]


def test_a_name_in_another_case(bed):
    """The echo of the question may be in another case."""
    seen = bed.ask("A.Test")
    bed.say(ONE, name="a.tEST")
    assert hosts(seen[0]) == ["192.0.2.100"]


def test_a_name_that_cannot_be_sent(bed):
    """What is no name fails and nothing goes out."""
    assert isinstance(bed.ask("a" * 64 + ".test")[0], DNSServerError)
    assert bed.reactor.sent == []


def test_no_route(bed):
    """A server that cannot be sent to is passed over at once."""
    bed.reactor.without_route = ("192.0.2.1",)
    seen = bed.ask()
    assert bed.reactor.asked() == [TWO]
    bed.say(TWO)
    assert hosts(seen[0]) == ["192.0.2.100"]


def test_no_route_at_all(bed):
    """With none left the question fails at once, with the reason."""
    bed.reactor.without_route = ("192.0.2.1", "192.0.2.2")
    seen = bed.ask()
    assert isinstance(seen[0], DNSServerError)
    assert "Network is unreachable" in str(seen[0])


def test_ipv6_servers():
    """They have sockets of their family; a link-local one answers from its address without the interface."""
    bed = Bed("[2001:DB8::1]:5353", "fe80::1%eth0")
    seen = bed.ask()
    assert bed.reactor.asked() == [("2001:db8::1", 5353)]
    assert bed.reactor.ports[0].interface == "::"
    bed.reactor.advance(0.5)
    assert bed.reactor.asked() == [("fe80::1%eth0", 53)]
    bed.say(("fe80::1", 53))
    assert hosts(seen[0]) == ["192.0.2.100"]
    assert bed.reactor.ports == bed.reactor.getDelayedCalls() == []


def test_a_machine_without_ipv6():
    """Such a server is passed over."""
    bed = Bed("2001:db8::1", "192.0.2.2")
    bed.reactor.without_families = ("::",)
    bed.ask()
    assert bed.reactor.asked() == [TWO]
    bed.names.stop()


def test_giving_up(bed):
    """Who cancels leaves nothing behind."""
    asked = bed.names.lookupAddress("a.test")
    asked.addErrback(lambda failure: failure.trap(CancelledError))
    asked.cancel()
    assert bed.reactor.ports == []


def test_stop(bed):
    """All questions end, and so do their sockets and timers."""
    seen = [*bed.ask(), bed.ask("b.test"), bed.ask("c.test")]
    bed.reactor.advance(0.5)
    assert len(bed.reactor.ports) == 6
    stopped = bed.names.stop()
    assert stopped.called
    assert all(isinstance(each[0], CancelledError) for each in seen)


def test_a_wrong_server_is_left_out():
    """It is said which one, and the others are asked."""
    events = []
    globalLogPublisher.addObserver(events.append)
    bed = Bed("ns.provider.test", "192.0.2.1:5353")
    globalLogPublisher.removeObserver(events.append)
    assert [(event["log_level"], str(event["error"])) for event in events] == [
        (LogLevel.error, "'ns.provider.test' is not the address of a name server")
    ]
    assert bed.names.servers() == [("192.0.2.1", 5353)]


def test_the_servers_of_the_system(tmp_path):
    """Without servers in the configuration resolv.conf counts, as it is at each question."""
    conf = tmp_path / "resolv.conf"
    conf.write_text("nameserver 192.0.2.1\n")
    names = NameServers(Reactor(), resolv_conf=str(conf))
    assert names.servers() == [ONE]
    conf.write_text("nameserver 192.0.2.2\nnameserver 192.0.2.3\n")
    assert names.servers() == [TWO, THREE]


# by TCP


def by_tcp(bed):
    """Let the first server say that its answer was too long, and return the connection that is made."""
    bed.say(ONE, trunc=1)
    assert bed.reactor.ports == []
    host, port, factory = bed.reactor.tcpClients[0][:3]
    assert (host, port) == ONE
    return factory


def connected(factory):
    protocol, transport = factory.buildProtocol(None), StringTransport()
    transport.abortConnection = lambda: protocol.connectionLost(Failure(CancelledError()))
    protocol.makeConnection(transport)
    return protocol, transport


def test_a_truncated_answer(bed):
    """It is asked for again by TCP, and the answer may come in pieces."""
    seen = bed.ask()
    protocol, transport = connected(by_tcp(bed))
    question = transport.value()
    assert question[:2] == len(question[2:]).to_bytes(2, "big")
    assert question[2:] == bed.reactor.sent[0][1]
    whole = answer(trunc=0, host="192.0.2.101")
    for byte in len(whole).to_bytes(2, "big") + whole:
        assert seen == []
        protocol.dataReceived(bytes([byte]))
    assert hosts(seen[0]) == ["192.0.2.101"]


@pytest.mark.parametrize("how", ["refused", "closed", "too long"])
def test_no_answer_by_tcp(bed, how):
    """Then the next server is asked."""
    seen = bed.ask()
    factory = by_tcp(bed)
    bed.reactor.asked()
    if how == "refused":
        factory.clientConnectionFailed(None, Failure(ConnectionRefusedError()))
    else:
        protocol, transport = connected(factory)
        if how == "too long":
            protocol.dataReceived(b"\xff\xff" + bytes(100))
            assert transport.disconnecting
        protocol.connectionLost(Failure(ConnectionRefusedError()))
    assert bed.reactor.asked() == [TWO]
    bed.say(TWO)
    assert hosts(seen[0]) == ["192.0.2.100"]


# for real


@pytest_twisted.ensureDeferred
async def test_on_the_loopback_interface():
    """Against a real server by UDP and, for a large answer, by TCP; nothing stays behind."""
    from twisted.internet import reactor  # noqa: TID251

    many = "\n".join(f"large.test 60 A 192.0.2.{n}" for n in range(1, 101))
    server = LoopbackServer(reactor, NameServer(f"a.test 60 A 192.0.2.1\n{many}"))
    names = NameServers(reactor, [f"127.0.0.1:{server.port}"])
    try:
        assert hosts(await names.lookupAddress("a.test")) == ["192.0.2.1"]
        assert len((await names.lookupAddress("large.test"))[0]) == 100
        with pytest.raises(DNSNameError):
            await names.lookupAddress("nobody.test")
    finally:
        await names.stop()
        await server.stop()


@pytest_twisted.ensureDeferred
async def test_a_black_hole_on_the_loopback_interface():
    """With a first server that never answers the second one does within a second."""
    from twisted.internet import reactor  # noqa: TID251

    hole = NameServer()
    hole.silent = {"A"}
    servers = [LoopbackServer(reactor, each) for each in (hole, NameServer("a.test 60 A 192.0.2.1"))]
    names = NameServers(reactor, [f"127.0.0.1:{each.port}" for each in servers])
    began = reactor.seconds()
    try:
        assert hosts(await names.lookupAddress("a.test")) == ["192.0.2.1"]
        assert 0.4 < reactor.seconds() - began < 4
    finally:
        await names.stop()
        for each in servers:
            await each.stop()
