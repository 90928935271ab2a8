# SPDX-License-Identifier: MIT
"""One transport and its table of connections, over streams in memory and on the loopback."""

from __future__ import annotations

import os
import socket
from errno import ENETUNREACH

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface.verify import verifyObject

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, IStatus, ITransport, Side
from siproxd_tw.transport import stream
from siproxd_tw.transport.ports import AddressInUse, CannotListen
from siproxd_tw.transport.stream import StreamTransport
from tests.support.streambed import ANY_PORT, OK, OPTIONS, PHONE, Bed, loopback_bed, memory_bed, message

#: Twisted drops the socket that it could not bind without closing it; garbage collection does, and complains.
UNCLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture(params=["memory", "loopback"])
def bed(request):
    """One transport, and peers of it."""
    made = memory_bed() if request.param == "memory" else loopback_bed()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def memory():
    """The same in memory only, where time can be moved."""
    made = memory_bed()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


def test_it_provides_its_interfaces():
    """It has what ITransport and IStatus name, before it listens."""
    bed = memory_bed()
    transport = StreamTransport(
        "TCP", ANY_PORT, Side.OUTSIDE, bed.report, TransportConfig(), reactor=bed.reactor
    )
    assert verifyObject(ITransport, transport)
    assert verifyObject(IStatus, transport)
    assert (transport.name, transport.reliable, transport.side) == ("TCP", True, Side.OUTSIDE)
    assert not transport.listening
    bed.transport = transport
    transport.send(OPTIONS, bed.flow(PHONE))
    assert transport.status()["send_errors"] == {"stopped": 1}
    assert bed.reactor.getDelayedCalls() == []


# Connections that others make


@pytest_twisted.ensureDeferred
async def test_there_and_back(bed: Bed):
    """A message comes with transport and peer; the answer leaves by the connection that it came by."""
    transport = bed.start()
    bed.report.react = lambda data, _, remote: transport.send(OK, bed.flow(remote))
    phone = await bed.connected()
    phone.send(OPTIONS)
    await bed.until(lambda: phone.messages() == [OK])
    assert bed.report.messages == [(OPTIONS, transport, Address(*phone.address))]
    assert isinstance(bed.report.messages[0][2], Address)
    status = transport.status()
    assert (status["received"], status["sent"], status["accepted"], status["connections"]) == (1, 1, 1, 1)


@pytest_twisted.ensureDeferred
async def test_each_answer_goes_to_its_own_connection(bed: Bed):
    """Two phones at one host, several messages at once, cut anywhere."""
    transport = bed.start()
    bed.report.react = lambda data, _, remote: transport.send(OK + b"\r\n" + data, bed.flow(remote))
    one, two = await bed.connected(), await bed.connected()
    first, second = message("INFO sip:1 SIP/2.0", body="x" * 3000), message("INFO sip:2 SIP/2.0")
    one.send(first[:1000])
    two.send(second + second[:7])
    one.send(first[1000:] + first)
    two.send(second[7:])
    await bed.until(lambda: len(one.messages()) == len(two.messages()) == 4)
    assert one.messages() == [OK, first] * 2
    assert two.messages() == [OK, second] * 2


@pytest_twisted.ensureDeferred
async def test_requests_to_a_phone_use_its_connection(bed: Bed):
    """Nobody connects to a phone behind its NAT."""
    transport = bed.start()
    phone = await bed.connected()
    assert transport.reaches(Address(*phone.address))
    assert not transport.reaches(Address("127.0.0.9", 1))
    transport.send(OPTIONS, bed.flow(phone, "phone.example"))  # without TLS the name is nothing
    await bed.until(lambda: phone.messages() == [OPTIONS])
    assert transport.status()["connected"] == 0


@pytest_twisted.ensureDeferred
async def test_a_ping_is_answered(bed: Bed):
    """RFC 5626 section 4.4.1; it is no message."""
    bed.start()
    phone = await bed.connected()
    phone.send(b"\r\n\r\n")
    await bed.until(lambda: phone.received == b"\r\n")
    phone.send(b"\r\n" + OPTIONS)
    await bed.until(lambda: bed.report.data == [OPTIONS])
    assert phone.received == b"\r\n"


@pytest_twisted.ensureDeferred
async def test_a_stream_without_framing(bed: Bed):
    """It is reported with its request, and closed after the answer; what came before is taken."""
    transport = bed.start()
    bed.report.react_to_error = lambda error, _, remote: transport.send(OK, bed.flow(remote))
    phone = await bed.connected()
    bad = (
        b"OPTIONS sip:a SIP/2.0\r\nVia: SIP/2.0/TCP 10.0.0.9;branch=z9hG4bKa\r\nFrom: <sip:a>;tag=1\r\n"
        b"To: <sip:a>\r\nCall-ID: 1\r\nCSeq: 1 OPTIONS\r\n\r\n"
    )
    phone.send(OPTIONS + bad + OPTIONS)
    await bed.until(lambda: phone.lost)
    assert phone.messages() == [OK]
    assert bed.report.data == [OPTIONS]
    ((error, remote),) = bed.report.errors
    assert (error.request.method, error.status, remote) == ("OPTIONS", 400, phone.address)
    await bed.until(lambda: transport.status()["ended"] == {"lost its framing": 1})


@pytest_twisted.ensureDeferred
async def test_a_flood_on_one_connection_takes_turns(bed: Bed):
    """Not everything that is there is dealt with at once; nothing gets lost, and the end comes last."""
    bed.start()
    phone = await bed.connected()
    many = [message(f"INFO sip:{number} SIP/2.0") for number in range(2000)]
    phone.send(b"".join(many))
    phone.close()
    await bed.until(lambda: len(bed.report.data) == 2000)
    assert bed.report.data == many
    await bed.until(lambda: bed.transport.status()["ended"] == {"closed by the peer": 1})


@pytest_twisted.ensureDeferred
async def test_too_many_from_one_host(bed: Bed, monkeypatch):
    """The next one is closed at once; when one has gone there is room again."""
    monkeypatch.setitem(stream.MOST_FROM_HOST, Side.OUTSIDE, 2)
    transport = bed.start(side=Side.OUTSIDE)
    first, _ = await bed.connected(), await bed.connected()
    refused = bed.network.connect(PHONE, to=transport.local)
    await bed.until(lambda: refused.lost)
    assert transport.status()["refused"] == 1
    first.close()
    await bed.until(lambda: transport.status()["connections"] == 1)
    await bed.connected()


@pytest_twisted.ensureDeferred
async def test_too_many_altogether(bed: Bed, monkeypatch):
    """Whoever connects is refused while there is still room for connections that we make, up to the limit."""
    monkeypatch.setattr(stream, "MOST_CONNECTIONS", 2)
    monkeypatch.setattr(stream, "RESERVED", 1)
    transport = bed.start()
    await bed.connected()
    refused = bed.network.connect(PHONE, to=transport.local)
    await bed.until(lambda: refused.lost)
    server = bed.network.listen(("127.0.0.8", 0))
    transport.send(OPTIONS, bed.flow(server.address))
    await bed.until(lambda: server.take() == [OPTIONS])
    flow = bed.flow(("127.0.0.7", 5060))
    transport.send(OPTIONS, flow)
    await bed.until(lambda: bed.report.failed == [(flow, "no connection can be made")])


@pytest.mark.logs_failures
@pytest_twisted.ensureDeferred
async def test_a_bug_behind_it(bed: Bed, logged):
    """An exception out of the report is logged once with the peer, then counted; the connection lives on."""

    def fail(*_):
        raise RuntimeError("a bug")

    bed.start()
    bed.report.react = fail
    phone = await bed.connected()
    phone.send(OPTIONS * 3)
    await bed.until(lambda: len(bed.report.data) == 3)
    failures = [event for event in logged if event["log_level"] is LogLevel.critical]
    assert [str(event["peer"]) for event in failures] == [f"127.0.0.9:{phone.address[1]}"]
    assert bed.transport.status()["failures"] == 3
    assert phone.open


# Connections that we make


@pytest_twisted.ensureDeferred
async def test_a_connection_is_made_and_kept(bed: Bed):
    """Messages wait for it in order; the next ones use it, and what comes back is received from there."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.8", 0))
    server.react = lambda peer, data: peer.send(OK)
    flow, other = bed.flow(server.address), bed.flow(server.address, "provider.example")
    many = [message(f"INFO sip:{number} SIP/2.0") for number in range(20)]
    for each in many:
        transport.send(each, flow)
    assert not transport.reaches(flow.remote)
    await bed.until(lambda: len(bed.report.data) == 20)
    transport.send(OPTIONS, other)
    await bed.until(lambda: len(bed.report.data) == 21)
    (peer,) = server.peers
    assert peer.messages() == [*many, OPTIONS]
    assert peer.remote[0] == "127.0.0.1" and peer.remote[1] != transport.local.port
    assert bed.report.messages[0] == (OK, transport, flow.remote)
    assert transport.reaches(flow.remote)
    assert bed.report.failed == []


@pytest_twisted.ensureDeferred
async def test_refused(bed: Bed):
    """Every flow of what waited is told once, later and not from within send."""
    transport = bed.start()
    listener = bed.network.listen(("127.0.0.8", 0))
    listener.close()
    await bed.until(lambda: True)
    one, two = bed.flow(listener.address), bed.flow(listener.address, "provider.example")
    for _ in range(3):
        transport.send(OPTIONS, one)
        transport.send(OPTIONS, two)
    assert bed.report.failed == []
    await bed.until(lambda: len(bed.report.failed) == 2)
    assert bed.report.failed == [(one, "refused"), (two, "refused")]
    assert transport.status()["send_errors"] == {"refused": 2}
    assert transport.status()["connections"] == 0


def test_nobody_answers(memory: Bed):
    """An attempt lasts as long as configured."""
    transport = memory.start(tcp_connect_timeout=0.5)
    memory.network.black_holes.add("127.0.0.8")
    flow = memory.flow(("127.0.0.8", 5060))
    transport.send(OPTIONS, flow)
    memory.advance(0.4)
    assert memory.report.failed == []
    memory.advance(0.2)
    assert memory.report.failed == [(flow, "timed out")]


def test_no_way(memory: Bed):
    """Other errors of the network are told as well."""
    transport = memory.start()
    memory.network.errors["127.0.0.8"] = OSError(ENETUNREACH, "unreachable")
    flow = memory.flow(("127.0.0.8", 5060))
    transport.send(OPTIONS, flow)
    memory.settle()
    assert memory.report.failed == [(flow, "unreachable")]


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "remote", [("provider.example", 5060), ("fd00::1", 5060), ("127.0.0.8", 0), ("127.0.0.8", 65536)]
)
async def test_destinations_that_are_none(bed: Bed, remote):
    """Names, the other address family and impossible ports."""
    transport = bed.start()
    flow = bed.flow(remote)
    transport.send(OPTIONS, flow)
    await bed.until(lambda: bed.report.failed == [(flow, "no connection can be made")])


@pytest_twisted.ensureDeferred
async def test_a_response_goes_where_via_says_when_the_connection_is_gone(bed: Bed):
    """RFC 3261 section 18.2.2: to the source's address and the port of sent-by."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.9", 0))
    phone = await bed.connected()
    flow = bed.flow(phone, fallback=server.address)
    transport.send(OK, flow)
    await bed.until(lambda: phone.messages() == [OK])
    phone.close()
    await bed.until(lambda: not transport.reaches(flow.remote))
    transport.send(OK, flow)
    transport.send(OK, flow)
    await bed.until(lambda: server.peers and server.peers[0].messages() == [OK, OK])
    assert len(server.peers) == 1


@pytest_twisted.ensureDeferred
async def test_a_response_that_goes_nowhere(bed: Bed):
    """Then it is lost, and its flow told."""
    transport = bed.start()
    listener = bed.network.listen(("127.0.0.9", 0))
    listener.close()
    flow = bed.flow(("127.0.0.9", 1), fallback=listener.address)
    transport.send(OK, flow)
    await bed.until(lambda: bed.report.failed == [(flow, "refused")])


@pytest_twisted.ensureDeferred
async def test_requests_in_flight_are_told_when_the_connection_is_lost(bed: Bed):
    """Nobody will answer them; responses that went out are nobody's matter."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.8", 0))
    one, two = bed.flow(server.address), bed.flow(server.address, fallback=("127.0.0.8", 9))
    for _ in range(3):
        transport.send(OPTIONS, one)
        transport.send(OK, two)
    await bed.until(lambda: server.peers and len(server.peers[0].messages()) == 6)
    server.peers[0].abort()
    await bed.until(lambda: bed.report.failed == [(one, "lost")])
    assert not transport.reaches(one.remote)
    transport.send(OPTIONS, one)
    await bed.until(lambda: len(server.peers) == 2 and server.peers[1].messages() == [OPTIONS])


def test_old_requests_are_not_told(memory: Bed):
    """After timers B and F nobody waits for an answer any more (RFC 3261 section 17.1)."""
    transport = memory.start()
    server = memory.network.listen(("127.0.0.8", 5060))
    transport.send(OPTIONS, memory.flow(server.address))
    memory.advance(33)
    server.peers[0].close()
    memory.settle()
    assert memory.report.failed == []
    assert transport.status()["ended"] == {"closed by the peer": 1}


@pytest.mark.logs_failures
def test_a_bug_in_what_is_told(memory: Bed):
    """It does not stop the others from being told."""
    transport = memory.start()
    failing = memory.report.unsent
    memory.report.unsent = lambda flow, reason: (failing(flow, reason), 1 / 0)
    for port in (1, 2):
        transport.send(OPTIONS, memory.flow(("127.0.0.8", port)))
    memory.settle()
    assert len(memory.report.failed) == 2
    assert transport.status()["failures"] == 2


# RFC 5923


def test_nobody_gets_many_aliases(memory: Bed):
    """Each request may name another port; the table does not grow with that."""
    transport = memory.start()
    memory.network.connect(PHONE, to=transport.local)
    memory.settle()
    (connection,) = transport._connections
    for port in range(1, 1000):
        transport.alias(connection.remote, Address("127.0.0.9", port))
    assert len(transport._table) == stream.MOST_NAMES
    assert transport.reaches(connection.remote)


@pytest_twisted.ensureDeferred
async def test_an_alias_of_a_connection(bed: Bed):
    """A proxy that says alias is met at its port by the connection that it has made."""
    transport = bed.start()
    proxy = await bed.connected()
    advertised = Address("127.0.0.9", 5080)
    assert not transport.reaches(advertised)
    transport.alias(Address(*proxy.address), advertised)
    assert transport.reaches(advertised)
    transport.send(OPTIONS, bed.flow(advertised))
    await bed.until(lambda: proxy.messages() == [OPTIONS])
    proxy.close()
    await bed.until(lambda: not transport.reaches(advertised))


@pytest_twisted.ensureDeferred
async def test_nobody_gets_the_requests_of_others_by_an_alias(bed: Bed):
    """Not those for another host, nor those for which there is a connection of our own or of its owner."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.9", 0))
    transport.send(OPTIONS, bed.flow(server.address))
    await bed.until(lambda: server.peers and server.peers[0].messages() == [OPTIONS])
    owner, thief = await bed.connected(), await bed.connected()
    for wanted in (("127.0.0.8", 5060), server.address, owner.address):
        transport.alias(Address(*thief.address), Address(*wanted))
    transport.alias(Address("127.0.0.9", 1), Address("127.0.0.9", 5060))  # from nobody that is there
    assert not transport.reaches(Address("127.0.0.8", 5060))
    assert not transport.reaches(Address("127.0.0.9", 5060))
    transport.send(OPTIONS, bed.flow(server.address))
    transport.send(OPTIONS, bed.flow(owner))
    await bed.until(lambda: len(server.peers[0].messages()) == 2 and owner.messages() == [OPTIONS])
    assert thief.messages() == []


@pytest_twisted.ensureDeferred
async def test_the_last_one_has_the_alias(bed: Bed):
    """A proxy that has restarted left a connection that only seems to live; its end takes nothing away."""
    transport = bed.start()
    advertised = Address("127.0.0.9", 5080)
    old, new = await bed.connected(), await bed.connected()
    for each in (old, new):
        transport.alias(Address(*each.address), advertised)
    old.close()
    await bed.until(lambda: transport.status()["connections"] == 1)
    transport.send(OPTIONS, bed.flow(advertised))
    await bed.until(lambda: new.messages() == [OPTIONS])


@given(
    st.lists(
        st.one_of(
            st.sampled_from([OPTIONS, OK, b"\r\n", b"\r\n\r\n", OPTIONS[:20], b"\0", b"l: 99999999\r\n\r\n"]),
            st.binary(max_size=20),
        ),
        max_size=8,
    ),
    st.booleans(),
)
def test_nothing_that_comes_in_raises(pieces, answering):
    """Whatever somebody sends, in whatever pieces; the transport serves the next one."""
    bed = memory_bed()
    transport = bed.start()
    if answering:
        bed.report.react = lambda data, _, remote: transport.send(OK, bed.flow(remote))
        bed.report.react_to_error = lambda error, _, remote: transport.send(OK, bed.flow(remote))
    peer = bed.network.connect(PHONE, to=transport.local)
    for piece in pieces:
        peer.send(piece)
    bed.report.messages.clear()
    phone = bed.network.connect(PHONE, to=transport.local)
    phone.send(OPTIONS)
    assert bed.report.data == [OPTIONS]
    assert transport.status()["failures"] == 0
    assert bed.report.failed == []


# Beginning and end


@pytest_twisted.ensureDeferred
async def test_stopped(bed: Bed, logged):
    """When stop() fires, the address is free and no connection is left; nobody is told of anything."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.8", 0))
    phone = await bed.connected()
    transport.send(OPTIONS, bed.flow(server.address))
    await bed.until(lambda: server.take() == [OPTIONS])
    transport.send(OK, bed.flow(phone))
    stopped = transport.stop()
    assert not transport.listening
    transport.send(OPTIONS, bed.flow(phone))
    await bed.until(lambda: stopped.called and phone.lost and server.peers[0].lost)
    assert phone.messages() == [OK]
    assert transport.status()["connections"] == 0
    assert bed.report.failed == []
    assert [event for event in logged if event["log_level"] > LogLevel.info] == []

    again = bed.start(local=transport.local)
    assert again.local == transport.local
    await bed.connected()


@pytest_twisted.ensureDeferred
async def test_it_can_listen_again(bed: Bed):
    """The same one, stopped twice in between."""
    transport = bed.start()
    first, second = transport.stop(), transport.stop()
    await bed.until(lambda: first.called and second.called)
    transport.listen()
    phone = await bed.connected()
    phone.send(OPTIONS)
    await bed.until(lambda: bed.report.data == [OPTIONS])


def test_stopped_while_it_connects(memory: Bed):
    """The attempt is given up."""
    transport = memory.start()
    memory.network.black_holes.add("127.0.0.8")
    transport.send(OPTIONS, memory.flow(("127.0.0.8", 5060)))
    stopped = transport.stop()
    memory.settle()
    assert stopped.called
    assert memory.report.failed == []


def test_stopped_with_something_to_tell(memory: Bed):
    """Nothing is told any more, and no timer is left."""
    transport = memory.start()
    transport.send(OPTIONS, memory.flow(("127.0.0.8", 0)))
    transport.stop()
    memory.settle()
    assert memory.report.failed == []


@pytest_twisted.ensureDeferred
async def test_nothing_comes_after_stop(bed: Bed):
    """Messages that are there already are not passed on."""
    transport = bed.start()
    stopped = []
    bed.report.react = lambda *_: stopped.append(transport.stop())
    phone = await bed.connected()
    phone.send(OPTIONS * 100)
    await bed.until(lambda: stopped and stopped[0].called)
    assert bed.report.data == [OPTIONS]


@pytest_twisted.ensureDeferred
@UNCLOSED
async def test_a_port_in_use(bed: Bed):
    """The second one on a port gets one line with address and port, and is as before."""
    first = bed.start()
    second = StreamTransport(
        "TCP", first.local, Side.INSIDE, bed.report, TransportConfig(), reactor=bed.reactor
    )
    with pytest.raises(AddressInUse, match=f"^cannot listen on TCP {first.local}: in use by ") as caught:
        second.listen()
    assert caught.value.__context__ is None
    assert not second.listening


@pytest_twisted.ensureDeferred
@UNCLOSED
async def test_an_address_that_is_not_there():
    """A real socket on an address that no interface has is refused with that reason; nothing stays open."""
    bed = loopback_bed()
    kept, said = [], r"TCP 192\.0\.2\.254:0: no interface has this address"
    before = len(os.listdir("/dev/fd"))
    for _ in range(20):
        with pytest.raises(CannotListen, match=said) as caught:
            bed.start(local=Address("192.0.2.254", 0))
        kept.append(caught.value)
    assert len(os.listdir("/dev/fd")) == before


@pytest_twisted.ensureDeferred
async def test_ipv6():
    """Both ways."""
    bed = loopback_bed()
    transport = bed.start(local=Address("::1", 0))
    server = bed.network.listen(("::1", 0))
    phone = await bed.connected(("::1", 0))
    phone.send(OPTIONS)
    transport.send(OPTIONS, bed.flow(server.address))
    await bed.until(lambda: bed.report.data == [OPTIONS] and server.take() == [OPTIONS])
    assert bed.report.messages[0][2] == Address(*phone.address)
    await bed.close()


def test_socket_options(memory: Bed):
    """Both kinds of connections are marked, without Nagle's delay, and watched by the kernel."""
    transport = memory.start(dscp=26)
    server = memory.network.listen(("127.0.0.8", 5060))
    memory.network.connect(PHONE, to=transport.local)
    transport.send(OPTIONS, memory.flow(server.address))
    memory.settle()
    assert len(memory.network.streams) == 2
    for each in memory.network.streams:
        assert each.handle.options == {
            (socket.IPPROTO_IP, socket.IP_TOS): 26 << 2,
            (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 32_000,
        }
        assert (each.no_delay, each.keep_alive, each.bufferSize) == (True, True, 16384)


@pytest.mark.parametrize("dscp", [-1, 64])
def test_a_dscp_that_is_none(dscp):
    """A DSCP has six bits."""
    with pytest.raises(ValueError, match=f"DSCP {dscp} is not in 0..63"):
        memory_bed().start(dscp=dscp)
