# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import socket
from collections.abc import Callable
from errno import EADDRINUSE, EAGAIN, ENETUNREACH, EPERM

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import Address, Flow, IStatus, ITransport, Side
from siproxd_tw.transport import ports
from siproxd_tw.transport.ports import AddressInUse, CannotListen
from siproxd_tw.transport.udp import BATCH, LARGEST_DATAGRAM, RECEIVE_BUFFER, UDPTransport
from tests.support.datagrams import LoopbackNetwork, MemoryNetwork

GATEWAY = Address("127.0.0.1", 5060)
ANY_PORT = Address("127.0.0.1", 0)
PHONE = Address("127.0.0.9", 5062)
ELSEWHERE = Address("192.0.2.254", 0)
"""An address that this machine does not have (RFC 5737)."""
OPTIONS = b"OPTIONS sip:127.0.0.1 SIP/2.0\r\n\r\n"


#: Twisted drops the socket that it could not bind without closing it; garbage collection does, and complains.
UNCLOSED = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


class Calls:
    """Keeps what is received; does `then` with each datagram."""

    def __init__(self, then: Callable[[bytes], None] = lambda data: None) -> None:
        self.all: list[tuple[bytes, ITransport, Address]] = []
        self.then = then

    def __call__(self, data, transport, remote):
        self.all.append((data, transport, remote))
        self.then(data)


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


@pytest.fixture(params=["memory", "loopback"])
def network(request):
    """The fake network, and the real one on loopback addresses."""
    if request.param == "memory":
        yield MemoryNetwork()
        return
    from twisted.internet import reactor  # noqa: TID251

    real = LoopbackNetwork(reactor)
    yield real
    pytest_twisted.blockon(Deferred.fromCoroutine(real.close()))


def start(network, received=None, local=ANY_PORT, **options) -> UDPTransport:
    transport = UDPTransport(local, Side.INSIDE, received or Calls(), **options)
    transport.listen(network.listenUDP)
    return transport


def to(transport, remote) -> Flow:
    return Flow(transport, remote, Side.INSIDE)


async def stop(network, transport) -> None:
    closed = transport.stop()
    network.flush()
    await closed


def test_it_provides_its_interfaces():
    """It has what ITransport and IStatus name, before it listens."""
    transport = UDPTransport(GATEWAY, Side.OUTSIDE, Calls())
    assert verifyObject(ITransport, transport)
    assert verifyObject(IStatus, transport)
    assert (transport.name, transport.reliable) == ("UDP", False)
    assert (transport.local, transport.side, transport.listening) == (GATEWAY, Side.OUTSIDE, False)
    assert transport.reaches(PHONE)


@pytest_twisted.ensureDeferred
async def test_there_and_back(network):
    """A datagram comes with transport and peer; an answer leaves by the address that was asked."""
    calls = Calls()
    transport = start(network, calls)
    phone = network.peer("127.0.0.9", 40010)
    phone.send(OPTIONS, transport.local)
    await network.until(lambda: calls.all)
    assert calls.all == [(OPTIONS, transport, Address("127.0.0.9", 40010))]
    assert isinstance(calls.all[0][2], Address)

    transport.send(b"SIP/2.0 200 OK\r\n\r\n", to(transport, calls.all[0][2]))
    await network.until(lambda: phone.received)
    assert phone.take() == [(b"SIP/2.0 200 OK\r\n\r\n", transport.local, ("127.0.0.9", 40010))]
    status = transport.status()
    assert (status["received"], status["sent"], status["send_errors"]) == (1, 1, {})
    await stop(network, transport)


@pytest_twisted.ensureDeferred
async def test_the_system_chooses_a_port(network):
    """With port 0 the transport says which one it got."""
    transport = start(network)
    assert transport.local.port > 1023
    assert transport.status()["local"] == str(transport.local)
    await stop(network, transport)


@pytest_twisted.ensureDeferred
async def test_every_size(network):
    """Empty datagrams, keep-alives and the longest one of all come in as they are."""
    calls = Calls()
    transport = start(network, calls)
    phone = network.peer("127.0.0.9", 40011)
    sizes = [b"", b"\0" * 4, b"\r\n\r\n", b"x" * 65507]
    for number, data in enumerate(sizes, 1):
        phone.send(data, transport.local)
        await network.until(lambda expected=number: len(calls.all) == expected)
    assert [data for data, _, _ in calls.all] == sizes
    await stop(network, transport)


@pytest_twisted.ensureDeferred
async def test_too_long_to_send(network):
    """A message that fits no datagram is counted as EMSGSIZE, and the socket goes on."""
    transport = start(network)
    phone = network.peer("127.0.0.9", 40012)
    transport.send(b"x" * 65508, to(transport, Address("127.0.0.9", 40012)))
    assert transport.status()["send_errors"] == {"EMSGSIZE": 1}
    transport.send(OPTIONS, to(transport, Address("127.0.0.9", 40012)))
    await network.until(lambda: phone.received)
    assert transport.status()["sent"] == 1
    await stop(network, transport)


@pytest_twisted.ensureDeferred
async def test_nobody_there(network):
    """Sending to a port where nobody listens, again and again, is no error of ours."""
    transport = start(network)
    phone = network.peer("127.0.0.9", 40013)
    for _ in range(3):
        transport.send(OPTIONS, to(transport, Address("127.0.0.9", 40014)))
    transport.send(OPTIONS, to(transport, Address("127.0.0.9", 40013)))
    await network.until(lambda: phone.received)
    assert transport.listening
    await stop(network, transport)


@pytest.mark.logs_failures
@pytest_twisted.ensureDeferred
async def test_a_bug_behind_it(network, logged):
    """An exception out of `received` is logged once with the peer, then counted; the socket lives on."""

    def fail(data):
        if data == b"bad":
            raise RuntimeError("a bug")

    calls = Calls(fail)
    transport = start(network, calls)
    phone = network.peer("127.0.0.9", 40015)
    for data in (b"bad", b"bad", b"bad", b"good"):
        phone.send(data, transport.local)
    await network.until(lambda: len(calls.all) == 4)
    failures = [event for event in logged if event["log_level"] is LogLevel.critical]
    assert [str(event["peer"]) for event in failures] == ["127.0.0.9:40015"]
    assert isinstance(failures[0]["log_failure"].value, RuntimeError)
    assert transport.status()["failures"] == 3
    assert transport.status()["received"] == 4
    await stop(network, transport)


@pytest.mark.logs_failures
@pytest_twisted.ensureDeferred
async def test_two_bugs_are_two(network, logged):
    """A second bug at another place is logged as well."""

    def fail(data):
        if data == b"one":
            raise RuntimeError("a bug")
        raise RuntimeError("another bug")

    calls = Calls(fail)
    transport = start(network, calls)
    phone = network.peer("127.0.0.9", 40016)
    for data in (b"one", b"two", b"one", b"two"):
        phone.send(data, transport.local)
    await network.until(lambda: len(calls.all) == 4)
    failures = [e["log_failure"].getErrorMessage() for e in logged if e["log_level"] is LogLevel.critical]
    assert failures == ["a bug", "another bug"]
    await stop(network, transport)


@pytest_twisted.ensureDeferred
async def test_stopped(network, logged):
    """When stop() fires, the address is free; what is sent after it is counted and dropped."""
    transport = start(network)
    first = transport.local
    await stop(network, transport)
    assert not transport.listening
    assert [event for event in logged if event["log_level"] > LogLevel.info] == []
    transport.send(OPTIONS, to(transport, PHONE))
    assert transport.status()["send_errors"] == {"closed": 1}

    again = start(network, local=first)
    assert again.local == first
    await stop(network, again)
    await stop(network, again)  # a second time does nothing


@pytest_twisted.ensureDeferred
async def test_nothing_comes_after_stop(network):
    """Datagrams that the socket holds already are not passed on once it was told to stop."""
    calls = Calls(lambda data: closed.append(transport.stop()))
    closed = []
    transport = start(network, calls)
    phone = network.peer("127.0.0.9", 40017)
    for data in (b"1", b"2", b"3"):
        phone.send(data, transport.local)
    await network.until(lambda: calls.all)
    network.flush()
    await closed[0]
    assert [data for data, _, _ in calls.all] == [b"1"]


@pytest_twisted.ensureDeferred
@UNCLOSED
async def test_a_port_in_use(network):
    """The second one on a port gets one line with address and port, and is as before."""
    first = start(network)
    second = UDPTransport(first.local, Side.OUTSIDE, Calls())
    with pytest.raises(AddressInUse, match=f"^cannot listen on UDP {first.local}: in use by ") as caught:
        second.listen(network.listenUDP)
    assert caught.value.__context__ is None
    assert not second.listening
    await stop(network, first)


@pytest_twisted.ensureDeferred
@UNCLOSED
async def test_refused_a_hundred_times():
    """Trying again and again opens nothing that stays open, even while the exceptions are kept."""
    from twisted.internet import reactor  # noqa: TID251

    kept = []
    before = len(os.listdir("/dev/fd"))
    for _ in range(100):
        with pytest.raises(CannotListen) as caught:
            UDPTransport(ELSEWHERE, Side.OUTSIDE, Calls()).listen(reactor.listenUDP)
        kept.append(caught.value)
    assert len(os.listdir("/dev/fd")) == before


def test_the_holder_of_a_port(monkeypatch):
    """The line names the program that has the port."""
    monkeypatch.setattr(ports, "holder", lambda *wanted: "asterisk (pid 812)")

    def taken(*args, **kwargs):
        raise CannotListenError("127.0.0.1", 5060, OSError(EADDRINUSE, os.strerror(EADDRINUSE)))

    with pytest.raises(AddressInUse, match=r"127\.0\.0\.1:5060: in use by asterisk \(pid 812\)$"):
        UDPTransport(GATEWAY, Side.INSIDE, Calls()).listen(taken)


@pytest_twisted.ensureDeferred
@UNCLOSED
async def test_an_address_that_is_not_there():
    """A real socket on an address that no interface has is refused with that reason."""
    from twisted.internet import reactor  # noqa: TID251

    transport = UDPTransport(ELSEWHERE, Side.OUTSIDE, Calls())
    with pytest.raises(CannotListen, match=r"UDP 192\.0\.2\.254:0: no interface has this address"):
        transport.listen(reactor.listenUDP)


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (OSError(EPERM, "firewall"), "EPERM"),
        (OSError(ENETUNREACH, "no route"), "ENETUNREACH"),
        (BlockingIOError(EAGAIN, "buffer full"), "EAGAIN"),
        (socket.gaierror(socket.EAI_NONAME, "odd"), "gaierror"),
        (OSError("without a number"), "OSError"),
        (MessageLengthError("too long"), "EMSGSIZE"),
        (OverflowError("sendto(): port must be 0-65535."), "OverflowError"),
    ],
)
def test_what_the_kernel_refuses(error, reason, logged):
    """Each refusal is counted by its name, logged at debug level, and never raised."""
    network = MemoryNetwork()
    network.errors["203.0.113.50"] = error
    transport = start(network)
    transport.send(OPTIONS, to(transport, Address("203.0.113.50", 5060)))
    assert transport.status()["send_errors"] == {reason: 1}
    assert transport.status()["sent"] == 0
    about = [event for event in logged if event.get("reason") == reason]
    assert [event["log_level"] for event in about] == [LogLevel.debug]
    transport.stop()
    network.flush()


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("remote", "reason"),
    [
        (Address("sip.provider.test", 5060), "InvalidAddressError"),
        (Address("fd00::1", 5060), "InvalidAddressError"),
        (Address("127.0.0.9", 65536), "OverflowError"),
        (Address("127.0.0.9", -1), "OverflowError"),
        (Address("127.0.0.9", 0), "EINVAL"),
    ],
)
async def test_destinations_that_are_none(remote, reason):
    """A host name, the other address family and impossible ports do not raise on a real socket."""
    from twisted.internet import reactor  # noqa: TID251

    network = LoopbackNetwork(reactor)
    transport = start(network)
    transport.send(OPTIONS, to(transport, remote))
    assert transport.status()["send_errors"] == {reason: 1}
    await stop(network, transport)


def test_a_refused_connection_is_counted():
    """An ICMP error that Twisted reports is counted, nothing else."""
    transport = UDPTransport(GATEWAY, Side.INSIDE, Calls())
    transport.connectionRefused()
    assert transport.status()["refused"] == 1


def test_a_lost_socket_is_reported(logged):
    """When the reactor takes the socket away, the log says so and the transport knows it."""
    network = MemoryNetwork()
    transport = start(network)
    network.bound[transport.local].stopListening()
    network.flush()
    assert not transport.listening
    assert [event["log_level"] for event in logged if "lost" in event["log_format"]] == [LogLevel.error]
    transport.send(OPTIONS, to(transport, PHONE))  # drops it


@pytest.mark.parametrize(
    ("host", "option"),
    [
        ("10.0.0.1", (socket.IPPROTO_IP, socket.IP_TOS)),
        ("fd00::1", (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)),
    ],
)
def test_socket_options(host, option):
    """The socket has a buffer for a burst, and the DSCP in the upper six bits of the traffic class."""
    network = MemoryNetwork()
    transport = start(network, local=Address(host, 5060), dscp=26)
    assert network.bound[host, 5060].handle.options == {
        (socket.SOL_SOCKET, socket.SO_RCVBUF): RECEIVE_BUFFER,
        option: 26 << 2,
    }
    transport.stop()
    network.flush()


def test_no_dscp():
    """Without a DSCP the traffic class is left to the system."""
    network = MemoryNetwork()
    transport = start(network)
    assert network.bound[transport.local].handle.options == {
        (socket.SOL_SOCKET, socket.SO_RCVBUF): RECEIVE_BUFFER
    }
    transport.stop()
    network.flush()


def test_socket_options_that_are_refused(monkeypatch, logged):
    """A system that refuses an option costs a warning, not the service."""

    def refuse(self, level, option, value):
        raise OSError(EPERM, os.strerror(EPERM))

    monkeypatch.setattr("tests.support.datagrams.MemorySocket.setsockopt", refuse)
    network = MemoryNetwork()
    transport = start(network, dscp=46)
    assert transport.listening
    assert [event["value"] for event in logged if event["log_level"] is LogLevel.warn] == [
        RECEIVE_BUFFER,
        46 << 2,
    ]
    transport.stop()
    network.flush()


@pytest.mark.parametrize("dscp", [-1, 64])
def test_a_dscp_that_is_none(dscp):
    """A DSCP has six bits."""
    with pytest.raises(ValueError, match=f"DSCP {dscp} is not in 0..63"):
        UDPTransport(GATEWAY, Side.INSIDE, Calls(), dscp)


@pytest_twisted.ensureDeferred
async def test_the_real_socket():
    """Twisted's port takes the options and reads in small batches."""
    from twisted.internet import reactor  # noqa: TID251

    transport = UDPTransport(Address("127.0.0.1", 0), Side.INSIDE, Calls(), dscp=26)
    ports_made = []

    def listen_udp(*args, **kwargs):
        assert kwargs["maxPacketSize"] == LARGEST_DATAGRAM
        ports_made.append(reactor.listenUDP(*args, **kwargs))
        return ports_made[0]

    transport.listen(listen_udp)
    port = ports_made[0]
    assert port.getHandle().getsockopt(socket.IPPROTO_IP, socket.IP_TOS) == 26 << 2
    assert port.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF) > 65536
    assert port.maxThroughput == BATCH
    await transport.stop()
