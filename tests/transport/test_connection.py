# SPDX-License-Identifier: MIT
"""How long a connection lives, what waits for it, and when it is given up; time is moved by the test."""

from __future__ import annotations

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred

from siproxd_tw.transport import connection
from siproxd_tw.transport.connection import FIRST_MESSAGE, MOST_BYTES, MOST_WAITING, REGISTERED, TURN
from tests.support.streambed import OK, OPTIONS, PHONE, Bed, loopback_bed, memory_bed, message


@pytest.fixture
def bed():
    """One transport, and peers of it, in memory."""
    made = memory_bed()
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.close()))


def accepted(bed: Bed):
    """Return a peer that has connected."""
    phone = bed.network.connect(PHONE, to=bed.transport.local)
    bed.settle()
    assert phone.open
    return phone


def made(bed: Bed):
    """Return the far end of a connection that we made with a request."""
    server = bed.network.listen(("127.0.0.8", 5060))
    bed.transport.send(OPTIONS, bed.flow(server.address))
    bed.settle()
    (peer,) = server.peers
    assert peer.take() == [OPTIONS]
    return peer


# Idle


def test_messages_either_way_keep_it(bed: Bed):
    """It is closed when nothing went over it for as long as configured."""
    transport = bed.start(tcp_timeout=100)
    peer = made(bed)
    for _ in range(3):
        bed.advance(90)
        peer.send(OK)
        bed.advance(90)
        transport.send(OPTIONS, bed.flow(peer))
    bed.advance(99)
    assert peer.open
    bed.advance(2)
    assert peer.lost
    assert transport.status()["ended"] == {"idle": 1}
    assert bed.report.failed == []


def test_a_connection_with_a_registrar_is_kept(bed: Bed):
    """Calls for the phone may come by it, for as long as a registration lasts; then it is idle, too."""
    transport = bed.start(tcp_timeout=100)
    peer = made(bed)
    transport.send(OPTIONS.replace(b"OPTIONS", b"REGISTER"), bed.flow(peer))
    bed.advance(REGISTERED - 1)
    assert peer.open
    bed.advance(2)
    assert transport.status()["ended"] == {"idle": 1}


def test_a_time_out_that_is_shorter_than_a_handshake(bed: Bed):
    """It counts from the first second on, and so do pings."""
    transport = bed.start(tcp_timeout=3, tcp_keepalive=1)
    peer = made(bed)
    bed.advance(1.1)
    assert peer.received == OPTIONS + b"\r\n\r\n"
    bed.advance(1.8)
    assert peer.open
    bed.advance(0.2)
    assert transport.status()["ended"] == {"idle": 1}


def test_keep_alives_do_not_keep_a_connection_that_we_made(bed: Bed):
    """Neither ours nor the peer's."""
    transport = bed.start(tcp_timeout=100, tcp_keepalive=20)
    peer = made(bed)
    for _ in range(9):
        bed.advance(11)
        peer.send(b"\r\n\r\n")
    bed.advance(2)
    assert transport.status()["ended"] == {"idle": 1}


def test_keep_alives_keep_a_connection_that_a_phone_made(bed: Bed):
    """It is registered by it, and keeps the way through its NAT open (RFC 5626 section 3.5.1)."""
    transport = bed.start(tcp_timeout=100)
    phone = accepted(bed)
    phone.send(OPTIONS)
    for line in (b"\r\n", b"\r\n\r\n", b"\r\n"):
        bed.advance(90)
        phone.send(line)
    bed.advance(99)
    assert phone.open
    bed.advance(2)
    assert transport.status()["ended"] == {"idle": 1}


@pytest.mark.parametrize("said", [b"", b"\r\n\r\n", OPTIONS[:-2], b"OPTIONS"])
def test_whoever_connects_has_to_say_something(bed: Bed, said):
    """Connections that only occupy a place are closed; keep-alives and parts of a message are nothing."""
    transport = bed.start(tcp_timeout=1000)
    phone = accepted(bed)
    for _ in range(4):
        phone.send(said[:1])
        said = said[1:]
    phone.send(said)
    bed.advance(FIRST_MESSAGE - 0.1)
    assert phone.open
    bed.advance(0.2)
    assert phone.lost
    assert transport.status()["ended"] == {"no message": 1}


def test_one_message_is_enough(bed: Bed):
    """From then on only the time-out counts."""
    bed.start(tcp_timeout=1000)
    phone = accepted(bed)
    phone.send(OPTIONS)
    bed.advance(999)
    assert phone.open


def test_a_message_sets_no_timer(bed: Bed):
    """However many there are, there is one timer."""
    bed.start()
    phone = accepted(bed)
    (timer,) = bed.reactor.getDelayedCalls()
    bed.report.react = lambda data, _, remote: bed.transport.send(OK, bed.flow(remote))
    phone.send(OPTIONS * 10)
    assert bed.reactor.getDelayedCalls() == [timer]
    assert len(phone.messages()) == 10


# Keep-alives


def test_pings_on_connections_that_we_made(bed: Bed):
    """When nothing went over it for as long as configured; a server that never answers is left alone."""
    transport = bed.start(tcp_timeout=1000, tcp_keepalive=60)
    peer, phone = made(bed), accepted(bed)
    phone.send(OPTIONS)
    bed.advance(59)
    assert peer.received == OPTIONS
    bed.advance(2)
    assert peer.received == OPTIONS + b"\r\n\r\n"
    bed.advance(60)
    assert peer.received == OPTIONS + b"\r\n\r\n" * 2
    bed.advance(50)
    peer.send(OK)
    bed.advance(50)
    assert peer.received == OPTIONS + b"\r\n\r\n" * 2
    bed.advance(20)
    assert peer.received == OPTIONS + b"\r\n\r\n" * 3
    assert phone.received == b""
    assert transport.status()["connections"] == 2


def test_no_pings_unless_configured(bed: Bed):
    """0 means none."""
    bed.start(tcp_timeout=1000, tcp_keepalive=0)
    peer = made(bed)
    bed.advance(999)
    assert peer.received == OPTIONS


def test_a_server_that_has_answered_pings_and_stops(bed: Bed):
    """Its flow is dead (RFC 5626 section 4.4.1), and requests on their way by it are told."""
    transport = bed.start(tcp_timeout=1000, tcp_keepalive=15)
    peer = made(bed)
    for _ in range(3):
        bed.advance(15)
        peer.send(b"\r\n")
    bed.advance(10)
    flow = bed.flow(peer)
    transport.send(OPTIONS, flow)
    bed.advance(14.9)
    assert peer.received == OPTIONS + b"\r\n\r\n" * 3 + OPTIONS
    bed.advance(0.2)
    assert peer.received == OPTIONS + b"\r\n\r\n" * 3 + OPTIONS + b"\r\n\r\n"
    bed.advance(9.8)
    assert peer.open
    bed.advance(0.2)
    assert peer.lost
    assert transport.status()["ended"] == {"no pong": 1}
    assert bed.report.failed == [(flow, "no pong")]


def test_any_message_is_as_good_as_a_pong(bed: Bed):
    """The flow lives."""
    transport = bed.start(tcp_timeout=1000, tcp_keepalive=15)
    peer = made(bed)
    bed.advance(15)
    peer.send(b"\r\n")
    bed.advance(16)
    peer.send(OK)
    bed.advance(14)
    assert peer.open
    assert transport.status()["ended"] == {}


def test_pongs_are_no_pings(bed: Bed):
    """Two of them in a row are not answered; a ping of the server is."""
    bed.start(tcp_timeout=1000, tcp_keepalive=15)
    peer = made(bed)
    for _ in range(2):
        bed.advance(15)
        peer.send(b"\r\n")
    assert peer.received == OPTIONS + b"\r\n\r\n" * 2
    peer.send(b"\r\n\r\n")
    assert peer.received == OPTIONS + b"\r\n\r\n" * 2 + b"\r\n"


# What waits


def test_messages_wait_for_a_peer_that_reads_slowly(bed: Bed):
    """In order, and nothing gets lost."""
    transport = bed.start()
    phone = accepted(bed)
    phone.send(OPTIONS)
    phone.stop_reading()
    many = [message(f"INFO sip:{number} SIP/2.0", body="x" * 1000) for number in range(500)]
    for each in many:
        transport.send(each, bed.flow(phone))
        bed.settle()
    assert transport.status()["sent"] < 100
    phone.read_on()
    assert phone.messages() == many
    assert transport.status()["sent"] == 500
    assert bed.report.failed == []


@pytest.mark.parametrize("size", [10, 5000])
def test_a_peer_that_reads_nothing_is_disconnected(bed: Bed, size):
    """When too much waits for it, in bytes or in messages; all that concerns is told once."""
    transport = bed.start()
    phone = accepted(bed)
    phone.send(OPTIONS)
    phone.stop_reading()
    one, two = bed.flow(phone), bed.flow(phone, "phone.example")
    each, sent = message(body="x" * size), 0
    for _ in range(MOST_BYTES // size + MOST_WAITING):
        transport.send(each, two if sent % 2 else one)
        bed.settle()
        sent += 1
        if phone.lost:
            break
    assert phone.lost
    assert sent * len(each) < 2 * MOST_BYTES + 100_000
    assert transport.status()["ended"] == {"reads nothing": 1}
    assert {flow for flow, _ in bed.report.failed} == {one, two}
    assert len(bed.report.failed) <= 3


def test_too_much_waits_for_a_connection(bed: Bed):
    """The messages above the limit are told at once, the others go out when it is made."""
    transport = bed.start()
    server = bed.network.listen(("127.0.0.8", 5060))
    flow = bed.flow(server.address)
    for number in range(MOST_WAITING + 2):
        transport.send(message(f"INFO sip:{number} SIP/2.0"), flow)
    bed.settle()
    assert bed.report.failed == [(flow, "too much waits")]
    assert transport.status()["send_errors"] == {"too much waits": 2}
    assert len(server.take()) == MOST_WAITING


def test_a_peer_that_only_pings_gets_no_unbounded_answers(bed: Bed):
    """Who does not read gets no pongs either, so that nothing piles up."""
    bed.start()
    phone = accepted(bed)
    phone.stop_reading()
    for _ in range(100):
        phone.send(b"\r\n\r\n" * 4000)
    (end,) = bed.network.streams
    assert len(end._out) < 100_000
    phone.abort()


def test_an_answer_to_what_broke_the_stream_goes_out_to_a_slow_reader(bed: Bed):
    """What waits is written before the end; a peer that takes nothing does not keep the connection."""
    transport = bed.start()
    bed.report.react_to_error = lambda error, _, remote: transport.send(OK, bed.flow(remote))
    slow, stuck = accepted(bed), accepted(bed)
    for phone in (slow, stuck):
        phone.stop_reading()
        for _ in range(100):
            transport.send(message(body="x" * 1000), bed.flow(phone))
        bed.settle()
        phone.send(b"\0")
    bed.advance(1)
    slow.read_on()
    assert len(slow.messages()) == 101
    assert slow.messages()[-1] == OK
    assert slow.lost and stuck.open
    bed.advance(2)
    assert stuck.lost
    assert transport.status()["ended"] == {"lost its framing": 2}


def test_a_flood_leaves_turns_to_others(bed: Bed):
    """At most so many messages at once, then whatever else is due; the rest is not forgotten."""
    bed.start()
    phone = accepted(bed)
    seen = []
    bed.report.react = lambda *_: (
        bed.reactor.callLater(0, lambda: seen.append(len(bed.report.data))) if not seen else None
    )
    phone.send(OPTIONS * (3 * TURN))
    bed.settle()
    assert seen[0] == TURN
    assert len(bed.report.data) == 3 * TURN


def test_the_end_comes_while_messages_wait_for_their_turn(bed: Bed):
    """Closed by us, nothing more is passed on."""
    transport = bed.start()
    phone = accepted(bed)
    bed.report.react = lambda *_: bed.reactor.callLater(0, transport.stop)
    phone.send(OPTIONS * (3 * TURN))
    bed.settle()
    assert len(bed.report.data) == TURN


def test_flows_are_remembered_up_to_a_limit(bed: Bed):
    """Of many flows by one connection the latest are told."""
    transport = bed.start()
    peer = made(bed)
    flows = [bed.flow(peer, f"domain{number}.example") for number in range(100)]
    for flow in flows:
        transport.send(OPTIONS, flow)
    bed.settle()
    peer.abort()
    bed.settle()
    assert [flow for flow, _ in bed.report.failed] == flows[-connection.MOST_FLOWS :]


@pytest_twisted.ensureDeferred
async def test_real_sockets_and_a_peer_that_reads_nothing():
    """Back-pressure comes from Twisted's producers, so it has to work with the real ones."""
    bed = loopback_bed()
    transport = bed.start()
    phone = await bed.connected()
    phone.send(OPTIONS)
    await bed.until(lambda: bed.report.data == [OPTIONS])
    phone.stop_reading()
    big = message(body="x" * 60_000)

    def written() -> bool:
        if transport.reaches(bed.flow(phone).remote):
            transport.send(big, bed.flow(phone))
        return bool(transport.status()["ended"])

    await bed.until(written)
    assert transport.status()["ended"] == {"reads nothing": 1}
    phone.read_on()
    await bed.close()
