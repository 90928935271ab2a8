# SPDX-License-Identifier: MIT
"""Relaying in this process: a Twisted port for RTP and one for RTCP on each leg.

The walk of a packet is `RelayPort.datagramReceived`: is the source the one that this port is
latched on? Count, send out of the partner's socket, end. That method is bound to its source,
its target and its way out beforehand; it compares nothing else, allocates nothing, logs
nothing and calls no hook. Whatever wants more of a stream (statistics, de-jitter) replaces
the method of that port.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from errno import EADDRINUSE
from typing import Any, Protocol

from twisted.internet.defer import Deferred, gatherResults, maybeDeferred
from twisted.internet.error import CannotListenError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from siproxd_tw.interfaces import Address, Side
from siproxd_tw.media.allocator import NoPortFree, PortAllocator
from siproxd_tw.media.latch import Action, Latch, Policy
from siproxd_tw.media.session import Leg, Stream
from siproxd_tw.rtp import Kind, classify

__all__ = ["ListenUDP", "PortPair", "RelayPort", "Sockets", "StreamPorts"]

LARGEST = 65535
"""Bytes to receive of a datagram: all there can be."""

_MEDIA = {Kind.RTP, Kind.RTCP, Kind.DTLS}
_UNSENDABLE = (OSError, MessageLengthError)
"""A send that fails is one packet lost, whatever the reason: a firewall, no route, a full buffer."""


class ListenUDP(Protocol):
    """`IReactorUDP.listenUDP`."""

    def __call__(  # noqa: D102
        self, port: int, protocol: DatagramProtocol, *, interface: str, maxPacketSize: int
    ) -> IListeningPort: ...


def _nowhere(datagram: bytes, addr: Any) -> None:
    """Send to a port that is closed."""


class RelayPort(DatagramProtocol):
    """One socket: receives from its party, sends what the partner received to its party."""

    __slots__ = (
        "_closed",
        "_own",
        "_policy",
        "_seconds",
        "dropped",
        "errors",
        "is_rtp",
        "latch",
        "partner",
        "send",
        "source",
        "target",
    )
    noisy = False
    """Two log lines less for each socket."""
    _log = Logger()

    def __init__(self, latch: Latch, is_rtp: bool, seconds: Callable[[], float], policy: Policy) -> None:
        self.latch = latch
        self.dropped: Counter[str] = Counter()
        """Packets that were not relayed, by reason."""
        self.errors = 0
        """Packets that could not be sent to the other party."""
        self.source: Address | None = None
        self.target: Address | None = None
        self.send: Callable[[bytes, Any], Any] = _nowhere
        self.partner: RelayPort = self
        self._own: tuple[Address, ...] = ()
        self.is_rtp = is_rtp
        """Whether nothing but RTP, or what comes with it, is a reason to learn a source."""
        self._seconds = seconds
        self._policy = policy
        self._closed = False

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Relay one packet."""
        if addr == self.source and datagram:
            latch = self.latch
            latch.packets += 1
            latch.octets += len(datagram)
            try:
                self.send(datagram, self.target)
            except _UNSENDABLE:
                self.errors += 1
        else:
            self._learn(datagram, addr)

    def _learn(self, datagram: bytes, addr: Any) -> None:
        """Take a packet from somewhere else: either the party is there now, or it is dropped."""
        if self._closed or not datagram:
            return
        source = Address(*addr)
        kind = classify(datagram)
        if source in self._own:
            self.dropped["own address"] += 1  # a description that points to us must not make a loop
        elif kind is Kind.STUN or (self.is_rtp and kind not in _MEDIA):
            self.dropped["no media"] += 1
        else:
            action, reason = self._policy(self.latch, source, self._seconds())
            if action is Action.IGNORE:
                self.dropped[reason] += 1
            else:
                self._log.debug("{reason}: media comes from {source} now", reason=reason, source=source)
                self.latch.follow(source, self._seconds())
                self.refresh()
                self.partner.refresh()
                self.datagramReceived(datagram, source)

    def refresh(self) -> None:
        """Bind the walk of a packet anew, after anything about the two latches has changed."""
        self.source = self.latch.source
        self.target = self.partner.latch.target
        way_out = self.partner.transport
        if self.target is None or way_out is None:
            self.send = self._discard
        else:
            self.send = way_out.write

    def _discard(self, datagram: bytes, target: Any) -> None:
        self.dropped["no target"] += 1

    def join(self, partner: RelayPort, own: tuple[Address, ...]) -> None:
        """Send what is received out of the socket of `partner`; `own` are the stream's own addresses."""
        self.partner = partner
        self._own = own
        self.refresh()

    def close(self) -> Deferred[Any]:
        """Stop; the Deferred fires when the address is free."""
        self._closed = True
        self.source = None
        self.send = _nowhere
        if self.transport is None:
            return gatherResults([])
        return maybeDeferred(self.transport.stopListening)

    def describe(self) -> Mapping[str, object]:
        """Say where its party is and what has come from there."""
        latch = self.latch
        return {
            "announced": str(latch.announced or ""),
            "source": str(latch.source or ""),
            "held": latch.held,
            "packets": latch.packets,
            "octets": latch.octets,
            "errors": self.errors,
            "dropped": dict(self.dropped),
        }


class PortPair:
    """The two sockets of one leg."""

    __slots__ = ("leg", "rtcp", "rtp")
    _log = Logger()

    def __init__(self, leg: Leg, rtp: RelayPort, rtcp: RelayPort) -> None:
        self.leg = leg
        self.rtp = rtp
        self.rtcp = rtcp

    @classmethod
    def listen(
        cls, leg: Leg, listen_udp: ListenUDP, dscp: int, make: Callable[[Latch], RelayPort]
    ) -> PortPair:
        """Bind both sockets of `leg`; raises CannotListenError and leaves none."""
        pair = cls(leg, make(leg.rtp), make(leg.rtcp))
        for port, number in ((pair.rtp, leg.port), (pair.rtcp, leg.port + 1)):
            try:
                listening = listen_udp(number, port, interface=leg.host, maxPacketSize=LARGEST)
            except CannotListenError:
                pair.close()
                raise
            if dscp:
                cls._mark(listening, leg.host, dscp)
        return pair

    @classmethod
    def _mark(cls, listening: Any, host: str, dscp: int) -> None:
        """Have everything that leaves `listening` carry `dscp` (RFC 2474); needs no privilege."""
        if ":" in host:
            level, option = socket.IPPROTO_IPV6, socket.IPV6_TCLASS
        else:
            level, option = socket.IPPROTO_IP, socket.IP_TOS
        try:
            listening.getHandle().setsockopt(level, option, dscp << 2)
        except OSError as error:
            cls._log.warn("cannot set the DSCP of media on {host}: {error}", host=host, error=error)

    def close(self) -> Deferred[Any]:
        """Stop; the Deferred fires when both addresses are free."""
        return gatherResults([self.rtp.close(), self.rtcp.close()])

    def describe(self) -> Mapping[str, object]:
        """Say where it is and what has come in."""
        return {
            "side": self.leg.side.value,
            "host": self.leg.host,
            "port": self.leg.port,
            "rtp": self.rtp.describe(),
            "rtcp": self.rtcp.describe(),
        }


class StreamPorts:
    """The sockets of one stream, cross-connected."""

    __slots__ = ("pairs", "stream")

    def __init__(self, stream: Stream, pairs: tuple[PortPair, PortPair]) -> None:
        self.stream = stream
        self.pairs = pairs
        one, other = pairs
        own = tuple(Address(p.leg.host, p.leg.port + step) for p in pairs for step in (0, 1))
        for here, there in ((one.rtp, other.rtp), (one.rtcp, other.rtcp)):
            here.join(there, own)
            there.join(here, own)

    @property
    def ports(self) -> tuple[RelayPort, ...]:
        """The four sockets."""
        return tuple(port for pair in self.pairs for port in (pair.rtp, pair.rtcp))

    def refresh(self) -> None:
        """Take over what the session has changed about the latches."""
        for port in self.ports:
            port.is_rtp = self.stream.is_rtp
            port.refresh()

    def count(self, counts: Counter[str], dropped: Counter[str]) -> None:
        """Add what has come in to `counts`, and what was not relayed to `dropped` by its reason."""
        for port in self.ports:
            counts["packets"] += port.latch.packets
            counts["octets"] += port.latch.octets
            counts["errors"] += port.errors
            dropped.update(port.dropped)


class Sockets:
    """Opens and closes pairs of sockets by the books of an allocator."""

    def __init__(
        self, allocator: PortAllocator, listen_udp: ListenUDP, clock: IReactorTime, dscp: int, policy: Policy
    ) -> None:
        self._allocator = allocator
        self._listen_udp = listen_udp
        self._seconds = clock.seconds
        self._dscp = dscp
        self._policy = policy
        self._closing: set[Deferred[Any]] = set()

    def open(self, wanted: Sequence[tuple[Side, str, bool]]) -> list[PortPair]:
        """Bind a pair for each of `wanted`, which are a side, an address and whether it is for RTP.

        Raises NoPortFree, or CannotListenError for any reason but that a port is in use, and
        leaves nothing open.
        """
        numbers = self._allocator.allocate([host for _, host, _ in wanted], self._seconds())
        pairs: list[PortPair] = []
        pending = [Leg(side, host, number) for (side, host, _), number in zip(wanted, numbers, strict=True)]
        try:
            for _, _, is_rtp in wanted:
                pairs.append(self._bind(pending, is_rtp))
        except (NoPortFree, CannotListenError):
            self.close(pairs)
            for leg in pending:
                self._allocator.release(leg.host, leg.port, self._seconds())
            raise
        return pairs

    def _bind(self, pending: list[Leg], is_rtp: bool) -> PortPair:
        """Bind the first of `pending` and take it from the list; a port in use is replaced."""

        def make(latch: Latch) -> RelayPort:
            return RelayPort(latch, is_rtp, self._seconds, self._policy)

        while True:
            leg = pending[0]
            try:
                pair = PortPair.listen(leg, self._listen_udp, self._dscp, make)
            except CannotListenError as error:
                if getattr(error.socketError, "errno", None) != EADDRINUSE:
                    raise
                del pending[0]
                another = self._allocator.in_use_elsewhere(leg.host, leg.port, self._seconds())
                pending.insert(0, Leg(leg.side, leg.host, another))
            else:
                del pending[0]
                return pair

    def close(self, pairs: Iterable[PortPair]) -> None:
        """Close `pairs`; their ports are free again when their sockets are closed."""
        for pair in pairs:
            closed = pair.close()
            self._closing.add(closed)
            closed.addBoth(self._closed, pair, closed)

    def _closed(self, result: Any, pair: PortPair, closed: Deferred[Any]) -> None:
        self._closing.discard(closed)
        self._allocator.release(pair.leg.host, pair.leg.port, self._seconds())

    def closed(self) -> Deferred[Any]:
        """Return a Deferred that fires when everything that was closed so far is."""
        return gatherResults(list(self._closing))
