# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.rtp import Header, Kind, ReceptionStatistics, classify


def packet(sequence: int, timestamp: int = 0, ssrc: int = 1, first: int = 0x80, second: int = 0) -> bytes:
    """Build an RTP packet of 20 ms of G.711."""
    fixed = bytes((first, second)) + sequence.to_bytes(2, "big") + timestamp.to_bytes(4, "big")
    return fixed + ssrc.to_bytes(4, "big") + bytes(160)


@pytest.mark.parametrize(
    ("datagram", "kind"),
    [
        (packet(1), Kind.RTP),
        (packet(1, second=0x80 | 101), Kind.RTP),
        (packet(1, first=0xBF, second=127), Kind.RTP),
        (bytes.fromhex("80c80006") + bytes(24), Kind.RTCP),
        (bytes.fromhex("81c90001") + bytes(4), Kind.RTCP),
        (bytes.fromhex("8fdf0001") + bytes(4), Kind.RTCP),
        (bytes.fromhex("000100002112a442") + bytes(12), Kind.STUN),
        (bytes.fromhex("0101000c2112a442") + bytes(24), Kind.STUN),
        (bytes.fromhex("16feff0000000000000000") + bytes(20), Kind.DTLS),
        (bytes.fromhex("000000010161") + bytes(20), Kind.OTHER),  # T.38 over UDPTL
        (bytes.fromhex("10") + bytes(30), Kind.OTHER),  # ZRTP
        (b"\0\0\0\0", Kind.OTHER),
        (b"\r\n", Kind.OTHER),
        (b"", Kind.OTHER),
        (bytes.fromhex("c0") + bytes(30), Kind.OTHER),
    ],
)
def test_classify(datagram, kind):
    """What shares a port is told apart by its first bytes (RFC 7983, RFC 5761)."""
    assert classify(datagram) is kind


@pytest.mark.parametrize("whole", [packet(7), bytes.fromhex("000100002112a442") + bytes(12)])
def test_too_short(whole):
    """A datagram that ends within its header is nothing."""
    shortest = 12 if whole[0] else 20
    assert [classify(whole[:n]) is Kind.OTHER for n in range(len(whole) + 1)] == [
        n < shortest for n in range(len(whole) + 1)
    ]


def test_header():
    """Each field of the fixed header, with a tail and without."""
    data = bytes.fromhex("80e50102a0b0c0d0deadbeef")
    expected = Header(True, 101, 0x0102, 0xA0B0C0D0, 0xDEADBEEF)
    assert Header.parse(data) == Header.parse(data + b"payload") == expected
    for length in range(len(data)):
        assert Header.parse(data[:length]) is None
    assert Header.parse(bytes.fromhex("80c80006") + bytes(24)) is None


def feed(statistics: ReceptionStatistics, sequences, at=0.0) -> float:
    """Give it the packets with these numbers, 20 ms apart in every respect; return the time of the next."""
    for sequence in sequences:
        header = Header.parse(packet(sequence % 65536, round(at * 8000) % 2**32))
        statistics.packet_received(header, at)
        at += 0.02
    return at


def test_a_perfect_stream():
    """Nothing is lost, nothing varies, also where the numbers wrap around."""
    statistics = ReceptionStatistics(8000)
    feed(statistics, range(65000, 66000))
    assert (statistics.received, statistics.expected, statistics.lost) == (1000, 1000, 0)
    assert statistics.jitter == pytest.approx(0, abs=1e-9)


def test_nothing_yet():
    """Before the first packet nothing is expected."""
    statistics = ReceptionStatistics(8000)
    assert (statistics.received, statistics.expected, statistics.lost) == (0, 0, 0)


def test_loss_late_and_twice():
    """A gap counts as lost until the late packet comes; a packet that comes twice counts against the loss."""
    statistics = ReceptionStatistics(8000)
    feed(statistics, [1, 2, 3, 6])
    assert (statistics.expected, statistics.lost) == (6, 2)
    feed(statistics, [5])
    assert (statistics.expected, statistics.lost) == (6, 1)
    feed(statistics, [6, 6])
    assert (statistics.expected, statistics.lost) == (6, -1)


def test_late_across_the_wrap():
    """A packet from before the wrap that comes after it opens no new cycle."""
    statistics = ReceptionStatistics(8000)
    feed(statistics, [65534, 0, 65535, 1])
    assert (statistics.expected, statistics.lost) == (4, 0)


def test_restart():
    """One wild number is ignored, two in a row are a source that has started anew."""
    statistics = ReceptionStatistics(8000)
    feed(statistics, [1, 2, 30000, 3])
    assert (statistics.received, statistics.lost) == (3, 0)
    feed(statistics, [30000, 30001, 30002])
    assert (statistics.received, statistics.expected) == (2, 2)


def test_jitter():
    """A change of the transit time by D moves the jitter by D/16 (RFC 3550 section 6.4.1)."""
    statistics = ReceptionStatistics(8000)
    statistics.packet_received(Header(False, 0, 1, 0, 1), 100.0)
    statistics.packet_received(Header(False, 0, 2, 160, 1), 100.036)
    assert statistics.jitter == pytest.approx(0.001)
    statistics.packet_received(Header(False, 0, 3, 320, 1), 100.040)
    assert statistics.jitter == pytest.approx(0.001 + (0.016 - 0.001) / 16)


def test_jitter_across_the_timestamp_wrap():
    """The timestamp wraps without being a jitter."""
    statistics = ReceptionStatistics(8000)
    for number in range(4):
        statistics.packet_received(
            Header(False, 0, number, (2**32 - 320 + 160 * number) % 2**32, 1), number / 50
        )
    assert statistics.jitter == pytest.approx(0, abs=1e-9)


@given(st.lists(st.integers(0, 65535), min_size=1, max_size=100))
def test_any_numbers(sequences):
    """Whatever comes, the sums agree and no more is lost than expected."""
    statistics = ReceptionStatistics(8000)
    feed(statistics, sequences)
    assert 1 <= statistics.received <= len(sequences)
    assert statistics.lost == statistics.expected - statistics.received
    assert statistics.expected >= 1
    assert statistics.jitter >= 0


@given(st.binary(max_size=40))
def test_any_datagram(datagram):
    """Every datagram is something; only RTP has a header."""
    assert (Header.parse(datagram) is not None) == (classify(datagram) is Kind.RTP)
