# SPDX-License-Identifier: MIT
"""SIP over WebSockets (RFC 7118) with a client of wsproto's, in memory and on the loopback."""

from __future__ import annotations

import gc
import weakref

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import ClientFactory, Protocol
from twisted.logger import LogLevel, globalLogPublisher
from wsproto import ConnectionType, WSConnection
from wsproto import events as ws
from zope.interface.verify import verifyObject

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, IStatus, ITransport, Side
from siproxd_tw.sip.framing import MAX_MESSAGE
from siproxd_tw.transport import websocket
from siproxd_tw.transport.connection import HANDSHAKE
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.tls import TLS
from siproxd_tw.transport.websocket import WebSocketTransport
from tests.support.certificates import certificate
from tests.support.streambed import ANY_PORT, OK, OPTIONS, PHONE, Bed, loopback_bed, memory_bed

BAD = b"HTTP/1.1 400 "


class Browser:
    """A phone in a browser."""

    def __init__(self, bed: Bed, **request) -> None:
        self.bed = bed
        self.peer = bed.network.connect(PHONE, to=bed.transport.local)
        self.ws = WSConnection(ConnectionType.CLIENT)
        self._read = 0
        self._events: list[ws.Event] = []
        wanted = {"host": "proxy.test", "target": "/", "subprotocols": ["mqtt", "sip"]} | request
        self.peer.send(self.ws.send(ws.Request(**wanted)))

    def send(self, *events: ws.Event) -> None:
        self.peer.send(b"".join(self.ws.send(event) for event in events))

    def events(self) -> list[ws.Event]:
        """Return what has come so far."""
        received = self.peer.received
        if len(received) > self._read:
            self.ws.receive_data(received[self._read :])
            self._read = len(received)
            self._events += self.ws.events()
        return self._events

    def texts(self) -> list[str]:
        return [event.data for event in self.events() if isinstance(event, ws.TextMessage)]


@pytest.fixture(params=["memory", "loopback"])
def bed(request):
    made = memory_bed() if request.param == "memory" else loopback_bed()
    made.start("WS", kind=WebSocketTransport)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def memory():
    made = memory_bed()
    made.start("WS", kind=WebSocketTransport)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


@pytest.fixture
def logged():
    """Every log event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield events
    globalLogPublisher.removeObserver(events.append)


async def browser(bed: Bed, **request) -> Browser:
    made = Browser(bed, **request)
    await bed.until(lambda: any(isinstance(event, ws.AcceptConnection) for event in made.events()))
    return made


def test_it_provides_its_interfaces():
    """It has what ITransport and IStatus name, before it listens."""
    bed = memory_bed()
    transport = WebSocketTransport(
        "WS", ANY_PORT, Side.OUTSIDE, bed.report, TransportConfig(), reactor=bed.reactor
    )
    assert verifyObject(ITransport, transport)
    assert verifyObject(IStatus, transport)
    assert (transport.name, transport.reliable) == ("WS", True)


@pytest_twisted.ensureDeferred
async def test_there_and_back(bed: Bed):
    """The subprotocol is sip; text and binary frames come in, text goes back on the connection."""
    transport = bed.transport
    bed.report.react = lambda data, _, remote: transport.send(OK, bed.flow(remote))
    phone = await browser(bed)
    (accepted,) = phone.events()
    assert (accepted.subprotocol, accepted.extensions) == ("sip", [])
    phone.send(ws.TextMessage(OPTIONS.decode()), ws.BytesMessage(OPTIONS))
    await bed.until(lambda: len(phone.texts()) == 2)
    assert phone.texts() == [OK.decode()] * 2
    assert bed.report.messages == [(OPTIONS, transport, Address(*phone.peer.address))] * 2
    assert transport.reaches(Address(*phone.peer.address))


@pytest_twisted.ensureDeferred
async def test_a_flood_of_frames_leaves_turns_to_others(monkeypatch):
    """The smallest frames cost most: 16 kB of pings would hold up the media for 70 ms."""
    sizes, feed = [], websocket._Frames.feed
    monkeypatch.setattr(
        websocket._Frames, "feed", lambda it, data: (sizes.append(len(data)), feed(it, data))[1]
    )
    bed = loopback_bed()
    bed.start("WS", kind=WebSocketTransport)
    phone = await browser(bed)
    ping = phone.ws.send(ws.Ping())
    phone.peer.send(ping * 3000)
    await bed.until(lambda: sum(sizes) >= 3000 * len(ping))
    assert max(sizes) <= websocket.READ
    await bed.close()


@pytest_twisted.ensureDeferred
async def test_a_connection_leaves_no_garbage():
    """When it has ended all of it is free at once: the collector looks for circles seldom."""
    bed = loopback_bed()
    transport = bed.start("WS", kind=WebSocketTransport)
    phone = await browser(bed)
    phone.send(ws.TextMessage(OPTIONS.decode()))
    await bed.until(lambda: bed.report.data)
    connections = weakref.WeakSet(transport._connections)
    gc.disable()
    try:
        phone.peer.close()
        await bed.until(lambda: not transport.status()["connections"])
        await bed.until(lambda: not connections)
    finally:
        gc.enable()
    await bed.close()


@pytest_twisted.ensureDeferred
async def test_an_upgrade_in_pieces(bed: Bed):
    """The network may cut it, and frames, anywhere."""
    client = WSConnection(ConnectionType.CLIENT)
    upgrade = client.send(ws.Request(host="proxy.test", target="/ws", subprotocols=["sip"]))
    peer = bed.network.connect(PHONE, to=bed.transport.local)
    for at in range(0, len(upgrade), 20):
        peer.send(upgrade[at : at + 20])
    await bed.until(lambda: peer.received.startswith(b"HTTP/1.1 101 "))
    for byte in b"\x82" + bytes([0x80 | len(OPTIONS)]) + bytes(4) + OPTIONS:
        peer.send(bytes([byte]))
    await bed.until(lambda: bed.report.data == [OPTIONS])


@pytest_twisted.ensureDeferred
async def test_fragments(bed: Bed):
    """One message may come in any number of them, with a ping in between."""
    phone = await browser(bed)
    parts = [OPTIONS.decode()[at : at + 5] for at in range(0, len(OPTIONS), 5)]
    for number, part in enumerate(parts):
        phone.send(ws.TextMessage(part, message_finished=number == len(parts) - 1))
        phone.send(ws.Ping(b"%d" % number))
    await bed.until(lambda: bed.report.data == [OPTIONS])
    await bed.until(lambda: sum(isinstance(event, ws.Pong) for event in phone.events()) == len(parts))


@pytest_twisted.ensureDeferred
async def test_a_message_needs_no_content_length(bed: Bed):
    """Its end is that of the frames (RFC 7118 section 5.3); what is no SIP is for the parser to say."""
    phone = await browser(bed)
    phone.send(ws.TextMessage("any text"), ws.BytesMessage(b"\0\xff"))
    await bed.until(lambda: bed.report.data == [b"any text", b"\0\xff"])
    bed.transport.send(b"\xff binary", bed.flow(phone.peer))
    await bed.until(lambda: any(isinstance(event, ws.BytesMessage) for event in phone.events()))
    assert phone.events()[-1].data == b"\xff binary"


@pytest_twisted.ensureDeferred
async def test_empty_lines(bed: Bed):
    """Section 6: they are keep-alives as of RFC 5626; two of them are answered by one."""
    phone = await browser(bed)
    phone.send(
        ws.TextMessage("\r\n\r\n"), ws.TextMessage("\r\n"), ws.TextMessage(""), ws.TextMessage("\r\n\r\n")
    )
    await bed.until(lambda: phone.texts() == ["\r\n", "\r\n"])
    assert bed.report.data == []


@pytest_twisted.ensureDeferred
async def test_too_long(bed: Bed):
    """The bound is that of streams, however the message is cut; the code says why."""
    phone = await browser(bed)
    half = "x" * (MAX_MESSAGE // 2)
    phone.send(ws.TextMessage(half, message_finished=False), ws.TextMessage(half))
    await bed.until(lambda: [len(data) for data in bed.report.data] == [MAX_MESSAGE])
    phone.send(ws.TextMessage(half, message_finished=False), ws.TextMessage(half, message_finished=False))
    phone.send(ws.TextMessage("x"), ws.TextMessage(OPTIONS.decode()))
    await bed.until(lambda: phone.peer.lost)
    assert phone.events()[-1].code == 1009
    ((error, _),) = bed.report.errors
    assert error.request is None
    assert len(bed.report.data) == 1


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", BAD),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n", BAD),
        (OPTIONS, BAD),
        (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", BAD),
        (b"GET /" + b"x" * 20_000, BAD),
        (b"GET / HTTP/1.1\r\nHost: a..b\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n", BAD),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 8\r\nSec-WebSocket-Key: eA==\r\n\r\n",
            b"HTTP/1.1 426 ",
        ),
        (
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eA==\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n",
            BAD,
        ),
    ],
    ids=["GET", "POST", "SIP", "TLS", "long", "host", "version", "subprotocol"],
)
async def test_upgrades_that_are_none(bed: Bed, logged, data, answer):
    """They are answered and closed, and nothing of that is worth a line in the log."""
    peer = bed.network.connect(PHONE, to=bed.transport.local)
    peer.send(data)
    await bed.until(lambda: peer.lost)
    assert peer.received.startswith(answer)
    await bed.until(lambda: bed.transport.status()["ended"] == {"handshake failed": 1})
    assert bed.report.messages == bed.report.errors == []
    assert [event for event in logged if event["log_level"] > LogLevel.info] == []


@pytest_twisted.ensureDeferred
async def test_no_subprotocol(bed: Bed):
    """Section 4.1 wants it."""
    phone = Browser(bed, subprotocols=[])
    await bed.until(lambda: phone.peer.lost)
    assert phone.peer.received.startswith(BAD)


@pytest_twisted.ensureDeferred
async def test_the_browser_says_goodbye(bed: Bed):
    """Its close is answered with its code; what it sent before counts, and an answer to that is lost."""
    bed.report.react = lambda data, at, remote: at.send(OK, bed.flow(remote))
    phone = await browser(bed)
    phone.send(ws.TextMessage(OPTIONS.decode()), ws.CloseConnection(1001, "leaving"))
    await bed.until(lambda: phone.peer.lost)
    assert phone.events()[-1] == ws.CloseConnection(1001, "")
    assert bed.report.data == [OPTIONS]
    await bed.until(lambda: bed.transport.status()["ended"] == {"closed by the peer": 1})
    assert not bed.transport.reaches(Address(*phone.peer.address))


@pytest_twisted.ensureDeferred
async def test_frames_that_are_none(bed: Bed):
    """Who breaks the rules of frames is told so and disconnected."""
    phone = await browser(bed)
    phone.peer.send(b"\x83\x80\0\0\0\0")
    await bed.until(lambda: phone.peer.lost)
    assert phone.events()[-1].code == 1002


@pytest_twisted.ensureDeferred
async def test_stopped(bed: Bed):
    """Everybody is told that we go away."""
    phone = await browser(bed)
    stopped = bed.transport.stop()
    await bed.until(lambda: stopped.called and phone.peer.lost)
    assert phone.events()[-1].code == 1001


@pytest_twisted.ensureDeferred
async def test_a_browser_that_is_gone(bed: Bed):
    """Nobody can connect to it: requests and responses to it are told, and no attempt is made."""
    phone = await browser(bed)
    listener = bed.network.listen(("127.0.0.9", 0))
    flow = bed.flow(phone.peer, fallback=listener.address)
    phone.peer.abort()
    await bed.until(lambda: not bed.transport.reaches(flow.remote))
    bed.transport.send(OK, flow)
    bed.transport.send(OPTIONS, bed.flow(listener.address))
    await bed.until(lambda: len(bed.report.failed) == 2)
    assert {reason for _, reason in bed.report.failed} == {"no connection can be made"}
    assert listener.peers == []


def test_an_upgrade_that_takes_too_long(memory: Bed):
    """It has as much time as any handshake."""
    peer = memory.network.connect(PHONE, to=memory.transport.local)
    peer.send(b"GET / HTTP/1.1\r\n")
    memory.advance(HANDSHAKE - 0.1)
    assert peer.open
    memory.advance(0.2)
    assert peer.lost


def test_pings_keep_a_connection(memory: Bed):
    """As empty lines do."""
    memory.start("WS", kind=WebSocketTransport, tcp_timeout=100)
    phone = Browser(memory)
    memory.settle()
    phone.events()
    phone.send(ws.TextMessage(OPTIONS.decode()))
    for _ in range(3):
        memory.advance(90)
        phone.send(ws.Ping())
    memory.advance(99)
    assert phone.peer.open
    memory.advance(2)
    assert phone.peer.lost
    assert phone.events()[-1].code == 1000


def test_a_browser_that_reads_nothing(memory: Bed):
    """It gets no answers to its pings either, and is disconnected when too many messages wait."""
    phone = Browser(memory)
    memory.settle()
    phone.events()
    phone.peer.stop_reading()
    for _ in range(2000):
        phone.send(ws.Ping(b"x" * 100))
    for _ in range(2000):
        memory.transport.send(OPTIONS * 20, memory.flow(phone.peer))
        memory.settle()
    assert phone.peer.lost
    assert memory.transport.status()["ended"] == {"reads nothing": 1}


class Secured(ClientFactory):
    """A browser's connection by TLS: writes an upgrade, keeps what comes."""

    noisy = False

    def __init__(self, reactor) -> None:
        self.data = b""
        self.tls = TLS(TransportConfig(verify_servers=False), reactor)
        self.tls.load()

    def buildProtocol(self, addr):
        protocol = self.protocol = Protocol()
        protocol.dataReceived = self.arrived
        return self.tls.connecting(protocol, "proxy.test")

    def arrived(self, data):
        self.data += data


@pytest_twisted.ensureDeferred
async def test_wss(tmp_path):
    """The same below TLS; who comes without it is disconnected."""
    bed = memory_bed()
    config = TransportConfig(certificate=certificate(tmp_path / "a.pem", "proxy.test"))
    wss = bed.start("WSS", kind=WebSocketTransport, config=config, tls=TLS(config, bed.reactor))
    plain = bed.network.connect(PHONE, to=wss.local)
    plain.send(b"GET / HTTP/1.1\r\n\r\n")
    assert plain.lost
    client, browser = WSConnection(ConnectionType.CLIENT), Secured(bed.reactor)
    bed.network.connectTCP(*wss.local, browser, bindAddress=PHONE)
    bed.settle()
    upgrade = ws.Request(host="proxy.test", target="/", subprotocols=["sip"])
    browser.protocol.transport.write(client.send(upgrade))
    bed.settle()
    client.receive_data(browser.data)
    browser.protocol.transport.write(client.send(ws.TextMessage(OPTIONS.decode())))
    bed.settle()
    assert bed.report.data == [OPTIONS]
    assert wss.status()["ended"] == {"handshake failed": 1}
    browser.protocol.transport.loseConnection()
    bed.settle()
    await bed.close()


def test_wss_without_a_certificate():
    """It cannot be offered."""
    bed = memory_bed()
    config = TransportConfig()
    with pytest.raises(CannotListen, match="there is no tls_certificate"):
        bed.start("WSS", kind=WebSocketTransport, config=config, tls=TLS(config, bed.reactor))


def test_without_wsproto(monkeypatch):
    """One line says what to install."""
    monkeypatch.setattr(websocket, "_missing", "No module named 'wsproto'")
    with pytest.raises(CannotListen, match=r"need wsproto: pip install siproxd_tw\[ws\]"):
        memory_bed().start("WS", kind=WebSocketTransport)
