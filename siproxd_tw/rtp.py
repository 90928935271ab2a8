# SPDX-License-Identifier: MIT
"""RTP (RFC 3550): telling datagrams apart, reading a header, reception statistics.

Nothing here is called for a packet of a stream that is relayed already: classification
serves to learn who the peer is, statistics are kept by those who ask for them.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

__all__ = ["Header", "Kind", "ReceptionStatistics", "classify"]

_HEADER = 12
"""Bytes of a header without contributing sources."""
_COOKIE = b"\x21\x12\xa4\x42"
_SEQUENCES = 1 << 16
_TIMESTAMPS = 1 << 32
_MAX_DROPOUT = 3000
"""A jump forward by less is loss (RFC 3550 section A.1)."""
_MAX_MISORDER = 100
"""A jump back by less is a late or repeated packet."""


class Kind(Enum):
    """What a datagram on a media port is."""

    STUN = "STUN"
    DTLS = "DTLS"
    RTP = "RTP"
    RTCP = "RTCP"
    OTHER = "other"


def classify(datagram: bytes) -> Kind:
    """Tell what `datagram` is by its first bytes (RFC 7983 section 7, RFC 5761 section 4).

    STUN is what carries the magic cookie (RFC 8489 section 5): the first byte alone would
    make STUN of T.38, whose packets start with a sequence number.
    """
    if len(datagram) >= 20 and datagram[0] < 4 and datagram[4:8] == _COOKIE:
        return Kind.STUN
    if len(datagram) >= 13 and 20 <= datagram[0] <= 63:
        return Kind.DTLS
    if len(datagram) >= 8 and 128 <= datagram[0] <= 191:
        if 192 <= datagram[1] <= 223:
            return Kind.RTCP
        if len(datagram) >= _HEADER:
            return Kind.RTP
    return Kind.OTHER


@dataclass(frozen=True, slots=True)
class Header:
    """The fixed header of an RTP packet (RFC 3550 section 5.1)."""

    #   0                   1                   2                   3
    #   0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    #  |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    #  |                           timestamp                           |
    #  |                             SSRC                              |

    marker: bool
    payload_type: int
    sequence: int
    timestamp: int
    ssrc: int

    @classmethod
    def parse(cls, packet: bytes) -> Header | None:
        """Read the header of `packet`; None when it is no RTP."""
        if classify(packet) is not Kind.RTP:
            return None
        return cls(
            marker=packet[1] >= 128,
            payload_type=packet[1] & 127,
            sequence=int.from_bytes(packet[2:4], "big"),
            timestamp=int.from_bytes(packet[4:8], "big"),
            ssrc=int.from_bytes(packet[8:12], "big"),
        )


class ReceptionStatistics:
    """Loss and jitter of one source (RFC 3550 sections 6.4.1, A.1, A.3 and A.8)."""

    __slots__ = ("_bad", "_base", "_clock_rate", "_cycles", "_jitter", "_max", "_transit", "received")

    def __init__(self, clock_rate: int) -> None:
        self._clock_rate = clock_rate
        self._base: int | None = None
        self._max = 0
        self._cycles = 0
        self._bad: int | None = None  # the number after a wild jump, if that is what comes next
        self._transit: float | None = None
        self._jitter = 0.0
        self.received = 0
        """Packets that counted, repeated ones included."""

    @property
    def expected(self) -> int:
        """How many packets the source has sent, by their numbers."""
        return 0 if self._base is None else self._cycles + self._max - self._base + 1

    @property
    def lost(self) -> int:
        """Packets expected and not received; negative when some came twice."""
        return self.expected - self.received

    @property
    def jitter(self) -> float:
        """The smoothed variation of the transit time, seconds."""
        return self._jitter / self._clock_rate

    def packet_received(self, header: Header, now: float) -> bool:
        """Take one packet that arrived at `now` seconds; return whether it counts."""
        if not self._update_sequence(header.sequence):
            return False
        self.received += 1
        transit = (now * self._clock_rate - header.timestamp) % _TIMESTAMPS
        if self._transit is not None:
            difference = abs(transit - self._transit)
            self._jitter += (min(difference, _TIMESTAMPS - difference) - self._jitter) / 16
        self._transit = transit
        return True

    def _update_sequence(self, sequence: int) -> bool:
        if self._base is None:
            self._restart(sequence)
            return True
        ahead = (sequence - self._max) % _SEQUENCES
        if ahead < _MAX_DROPOUT:
            if sequence < self._max:
                self._cycles += _SEQUENCES
            self._max = sequence
        elif ahead <= _SEQUENCES - _MAX_MISORDER:
            if sequence != self._bad:
                self._bad = (sequence + 1) % _SEQUENCES
                return False
            self._restart(sequence)  # two in a row: the source has started anew
        return True

    def _restart(self, sequence: int) -> None:
        self._base = self._max = sequence
        self._cycles = self.received = 0
        self._bad = self._transit = None
