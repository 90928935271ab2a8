# SPDX-License-Identifier: MIT
"""The laboratory: a whole proxy between two networks, all of it in memory, and time that the test moves.

       10.0.0.0/24                                     203.0.113.0/24
    P  10.0.0.10:5062  phone (alice)                V  203.0.113.50:5060  sip.provider.test
    Q  10.0.0.11:5060  phone (bob)                  W  203.0.113.51:5060  sip.other.test
              10.0.0.1:5060  [proxy]  203.0.113.1:5060  foo.bar.test
                                                    M  203.0.113.60:5090  a phone beyond; media at 50000

A test is a trace: `Party.send` says what is sent, `Party.sees` what arrives there next and how it
looks (tests/support/messages.py has the notation), `Party.nothing` that nothing does. Traces are written
for UDP over IPv4, as above; a laboratory on another `Network` (tests/support/networks.py) writes them
anew. `Lab.advance` lets time pass, timer by timer. `Lab.close` stops the program and then finds what a
test would not: a timer, a socket or a failed Deferred left behind, a log event above warning, a message that
arrived somewhere and that the test has not read.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from random import Random
from textwrap import indent
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConnector, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from siproxd_tw.interfaces import Side
from tests.support.addresses import FixedAddresses
from tests.support.datagrams import Datagram, HostPort, MemoryNetwork, MemoryPort
from tests.support.networks import NETWORKS, Network, plain
from tests.support.parties import Party, StreamParty
from tests.support.resolver import MemoryResolver
from tests.support.streams import MemoryStreamPort

__all__ = ["CONFIG", "START", "Lab", "Party", "VirtualReactor", "rtcp", "rtp"]

START = 1_800_000_000.0
"""What the clock says when a laboratory opens: seconds since the epoch, as in a registration file."""

CONFIG = """\
if_inbound = eth0
if_outbound = eth1
rtp_proxy_enable = 1
rtp_port_low = 7070
rtp_port_high = 7089
rtp_timeout = 300
"""
"""What every laboratory is configured with; more lines come after these, and the last one wins."""

NAMES = {
    "sip.provider.test": "203.0.113.50",
    "sip.other.test": "203.0.113.51",
    "foo.bar.test": "203.0.113.1",
}
"""What the resolver of every laboratory knows."""

Build = Callable[["Lab"], IService]


@implementer(IReactorTime, IReactorUDP, IReactorTCP)
class VirtualReactor(Clock):
    """As much of a reactor as the program gets: time, UDP and TCP, none of them real."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = START
        self.network = MemoryNetwork(clock=self)

    def listenUDP(
        self, port: int, protocol: AbstractDatagramProtocol, interface: str = "", maxPacketSize: int = 8192
    ) -> MemoryPort:
        return self.network.listenUDP(port, protocol, interface, maxPacketSize)

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> MemoryStreamPort:
        return self.network.listenTCP(port, factory, backlog, interface)

    def connectTCP(self, *args: Any, **kwargs: Any) -> IConnector:
        return self.network.connectTCP(*args, **kwargs)

    def run_next(self, before: float) -> bool:
        """Run the timer that is due first, at its time, and say so; False if none is due by `before`."""
        if not self.calls or self.calls[0].getTime() > before:
            return False
        call = self.calls.pop(0)
        self.rightNow = max(call.getTime(), self.rightNow)
        call.called = 1
        call.func(*call.args, **call.kw)
        return True


@implementer(ILogObserver)
class _Log:
    def __init__(self) -> None:
        self.events: list[LogEvent] = []

    def __call__(self, event: LogEvent) -> None:
        self.events.append(event)


class Lab:
    """One proxy, its neighbours, and the clock of them all."""

    def __init__(
        self,
        build: Build,
        *directives: str,
        addresses: FixedAddresses | None = None,
        folder: Path | None = None,
        port: int = 5060,
        on: Network = NETWORKS["udp"],
    ) -> None:
        self.on = on
        more = on.directives()
        self.config = CONFIG + "".join(f"{on.written(line)}\n" for line in (*more, *directives))
        self.addresses = addresses or on.addresses()
        self.folder = folder or Path()
        """Where files of this laboratory are."""
        self.reactor = VirtualReactor()
        self.network = self.reactor.network
        self.resolver = MemoryResolver(
            {name: on.host(host) for name, host in NAMES.items()}, on.services(NAMES)
        )
        self.randomness = Random(3261).randbytes
        self._port = port
        self.inside: HostPort = self._own(Side.INSIDE, "10.0.0.1")
        """Where the phones find the proxy."""
        self.outside: HostPort = self._own(Side.OUTSIDE, "203.0.113.1")
        self._parties: list[Party] = []
        self._log = _Log()
        self.p = self.party("P", "10.0.0.10", 5062)
        self.q = self.party("Q", "10.0.0.11", 5060)
        self.v = self.party("V", "203.0.113.50", 5060)
        self.w = self.party("W", "203.0.113.51", 5060)
        self.m = self.party("M", "203.0.113.60", 5090)
        globalLogPublisher.addObserver(self._log)
        self.service = build(self)

    def _own(self, side: Side, usual: str) -> HostPort:
        return self.addresses.listening(side) or usual, self.on.port(usual, self._port)

    def party(
        self, name: str, host: str, port: int, transport: str = "", listens: bool | None = None
    ) -> Party:
        """Place another party on the network of its address.

        It speaks by `transport`, by default that of its side. With connections those outside listen,
        unless `listens` says otherwise, and phones do not.
        """
        inside = host.startswith("10.0.0.")
        transport = transport or self.on.transport(host)
        own = (self.inside if inside else self.outside)[0]
        address = self.on.host(host), 5061 if (port, transport) == (5060, "TLS") else port
        proxy = own, 5061 if (self._port, transport) == (5060, "TLS") else self._port
        if transport == "UDP":
            party = Party(self, name, address, proxy)
        else:
            party = StreamParty(
                self, name, address, proxy, transport, not inside if listens is None else listens
            )
        self._parties.append(party)
        return party

    def written(self, text: str) -> str:
        """Write what a test says for the network of this laboratory."""
        return self.on.written(text)

    def expected(self, trace: str) -> str:
        """Write what a test expects to see: in the Vias of those who have connected we note from where."""
        return self.on.written(trace, self._source)

    def _source(self, sent_by: HostPort) -> HostPort | None:
        for party in self._parties:
            if isinstance(party, StreamParty) and party.address == sent_by:
                return party.source
        return None

    def start(self) -> None:
        """Start the program."""
        self.service.startService()
        self.advance(0)

    def advance(self, seconds: float) -> None:
        """Let time pass from timer to timer, each with what follows from it."""
        end = self.reactor.seconds() + seconds
        for _ in range(100_000):
            self.network.flush()
            if not self.reactor.run_next(before=end):
                self.reactor.rightNow = end
                return
        raise AssertionError(f"time stands still: {self.reactor.getDelayedCalls()}")

    def translated(self, destination: HostPort) -> HostPort:
        """Look up a name, and do what the router in front of the gateway does for `host_outbound`."""
        name, port = destination
        if name in NAMES:
            destination = self.on.host(NAMES[name]), port
        bound = self.addresses.listening(Side.OUTSIDE)
        if bound is not None and destination[0] == self.addresses.advertised(Side.OUTSIDE):
            return bound, destination[1]
        return destination

    def relayed(self, source: str, into: str, data: bytes | None = None) -> list[str]:
        """Send a media packet from `source` into the relay and return the way of what comes of it.

        Ways look like ``10.0.0.1:7072 > 10.0.0.10:40000``; a packet that is dropped gives none.
        Their addresses are those of traces, on every network.
        """
        data = rtp() if data is None else data
        source, into = self.written(source), self.written(into)
        before = len(self.network.carried) + 1
        self.network.peer(*_host_port(source)).send(data, self.translated(_host_port(into)))
        carried = self.network.carried[before:]
        assert all(datagram.data == data for datagram in carried), carried
        return [plain(f"{_text(datagram.source)} > {_text(datagram.destination)}") for datagram in carried]

    def media_ports(self) -> set[str]:
        """Return the addresses of the media sockets that are open."""
        return {plain(_text(bound)) for bound in self.network.bound if bound[1] != self._port}

    def logged(self, level: LogLevel = LogLevel.warn) -> list[str]:
        """Return what was logged at `level`, as the administrator reads it."""
        return [formatEvent(event) for event in self._log.events if event.get("log_level") is level]

    def story(self) -> str:
        """Tell everything that went over the networks, for the message of a failed test."""
        lines = [
            f"{_text(d.source)} > {_text(d.destination)}  {_first_line(d)}" for d in self.network.carried
        ]
        lost = [f"{_text(d.destination)}  {_first_line(d)}" for d in self.network.lost]
        log = [formatEvent(event) for event in self._log.events if event.get("log_level") in _LOUD]
        parts = [("Carried:", lines), ("Lost on the way to:", lost), ("Logged:", log)]
        return "\n".join(f"{title}\n{indent(chr(10).join(told), '  ')}" for title, told in parts if told)

    def stop(self) -> None:
        """Stop the program as a signal would, and wait for it."""
        stopped: Deferred[Any] = maybeDeferred(self.service.stopService)
        self.advance(0)
        assert stopped.called, "the program does not stop"
        stopped.addErrback(lambda failure: failure.raiseException())

    def close(self, audit: bool = True) -> None:
        """Stop the program if it runs, and look at what it leaves unless `audit` says otherwise."""
        try:
            if self.service.running:
                self.stop()
        finally:
            gc.collect()  # so that an unhandled failure of a Deferred is logged now
            globalLogPublisher.removeObserver(self._log)
        if audit:
            self._audit()

    def _audit(self) -> None:
        assert not self.network.bound, f"sockets left: {self.media_ports() or set(self.network.bound)}"
        assert not self.network.stream_ports, f"sockets left: {set(self.network.stream_ports)}"
        assert not self.network.streams, f"connections left: {self.network.streams}"
        assert not self.reactor.getDelayedCalls(), f"timers left: {self.reactor.getDelayedCalls()}"
        loud = [_event_text(event) for event in self._log.events if event.get("log_level") in _LOUD]
        assert not loud, "logged above warning:\n" + "\n".join(loud)
        for party in self._parties:
            party.nothing()


_LOUD = (LogLevel.error, LogLevel.critical)


def rtp(sequence: int = 1, payload: bytes = b"\xd5" * 160) -> bytes:
    """Return an RTP packet of G.711 audio (RFC 3550 section 5.1)."""
    return b"\x80\x08" + sequence.to_bytes(2, "big") + (160 * sequence).to_bytes(4, "big") + b"SSRC" + payload


def rtcp() -> bytes:
    """Return an empty receiver report (RFC 3550 section 6.4.2)."""
    return b"\x80\xc9\x00\x01SSRC"


def _host_port(text: str) -> HostPort:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _text(address: HostPort) -> str:
    return f"{address[0]}:{address[1]}"


def _first_line(datagram: Datagram) -> str:
    line = datagram.data.split(b"\r\n", 1)[0]
    return line.decode() if line.isascii() and b"SIP/2.0" in line else f"({len(datagram.data)} bytes)"


def _event_text(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return formatEvent(event) + (f"\n{failure.getTraceback()}" if failure else "")
