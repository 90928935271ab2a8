# SPDX-License-Identifier: MIT
"""The laboratory: a whole proxy between two networks, all of it in memory, and time that the test moves.

       10.0.0.0/24                                     203.0.113.0/24
    P  10.0.0.10:5062  phone (alice)                V  203.0.113.50:5060  sip.provider.test
    Q  10.0.0.11:5060  phone (bob)                  W  203.0.113.51:5060  sip.other.test
              10.0.0.1:5060  [proxy]  203.0.113.1:5060  foo.bar.test
                                                    M  203.0.113.60:5090  a phone beyond; media at 50000

A test is a trace: `Party.send` says what is sent, `Party.sees` what arrives there next and how it
looks (tests/support/messages.py has the notation), `Party.nothing` that nothing does. `Lab.advance`
lets time pass, timer by timer. `Lab.close` stops the program and then finds what a test would not:
a timer, a socket or a failed Deferred left behind, a log event above warning, a message that
arrived somewhere and that the test has not read.
"""

from __future__ import annotations

import gc
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from textwrap import dedent, indent
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.interfaces import IConnector, IReactorTCP, IReactorTime, IReactorUDP
from twisted.internet.protocol import AbstractDatagramProtocol
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogEvent, LogLevel, formatEvent, globalLogPublisher
from zope.interface import implementer

from siproxd_tw.interfaces import Side
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.parser import parse
from tests.support.addresses import FixedAddresses
from tests.support.datagrams import Datagram, HostPort, MemoryNetwork, MemoryPort
from tests.support.messages import Message, differences, wire
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


class Party:
    """Somebody who speaks SIP with the proxy."""

    def __init__(self, lab: Lab, name: str, address: HostPort, proxy: HostPort) -> None:
        self.name = name
        self.address = address
        self.proxy = proxy
        """Where it sends to, and where alone it may receive SIP from."""
        self._lab = lab
        self._endpoint = lab.network.peer(*address)
        self._unread: deque[Datagram] = deque()
        self._sent = 0

    def __repr__(self) -> str:
        return f"{self.name} ({self.address[0]}:{self.address[1]})"

    def send(self, message: str | bytes, to: HostPort | None = None) -> bytes:
        """Send a message, by default to the proxy, and return its bytes.

        A text becomes a message (`messages.wire`) and a request without a Via gets one with a new branch.
        """
        data = message if isinstance(message, bytes) else wire(self._with_via(message))
        self._endpoint.send(data, self._lab.translated(to or self.proxy))
        return data

    def _with_via(self, text: str) -> str:
        text = dedent(text).lstrip("\n")
        start, _, rest = text.partition("\n")
        if start.startswith("SIP/2.0 ") or any(_is_via(line) for line in rest.split("\n\n")[0].split("\n")):
            return text
        self._sent += 1
        host, port = self.address
        return f"{start}\nVia: SIP/2.0/UDP {host}:{port};branch=z9hG4bK{self.name}{self._sent}\n{rest}"

    def unread(self) -> Sequence[Datagram]:
        """Return what has arrived and was not looked at yet."""
        self._unread += self._endpoint.take()
        return tuple(self._unread)

    def datagram(self) -> Datagram:
        """Return the next datagram that arrived, as it is."""
        if not self.unread():
            raise AssertionError(f"{self} received nothing more. {self._lab.story()}")
        return self._unread.popleft()

    def receive(self) -> Message:
        """Return the next message that arrived."""
        datagram = self.datagram()
        assert datagram.source == self.proxy, f"{self} was sent this by another: {datagram}"
        try:
            return parse(datagram.data)
        except ParseError as error:
            raise AssertionError(f"{self} received no message but {datagram.data!r}: {error}") from error

    def sees(self, trace: str) -> Message:
        """Return the next message that arrived, after comparing it with `trace`."""
        message = self.receive()
        found = differences(message, trace)
        if found:
            told = "\n".join(found)
            raise AssertionError(
                f"What {self} received\n{told}\n\n{_quote(bytes(message))}\n{self._lab.story()}"
            )
        return message

    def nothing(self) -> None:
        """Check that nothing has arrived which was not read."""
        if self.unread():
            raise AssertionError(f"{self} received\n{_quote(self._unread[0].data)}\n{self._lab.story()}")

    def forget(self) -> None:
        """Take everything that has arrived as read."""
        self.unread()
        self._unread.clear()


class Lab:
    """One proxy, its neighbours, and the clock of them all."""

    _open = 0

    def __init__(
        self,
        build: Build,
        *directives: str,
        addresses: FixedAddresses | None = None,
        folder: Path | None = None,
        port: int = 5060,
    ) -> None:
        self.config = CONFIG + "".join(f"{line}\n" for line in directives)
        self.addresses = addresses or FixedAddresses()
        self.folder = folder or Path()
        """Where files of this laboratory are."""
        self.reactor = VirtualReactor()
        self.network = self.reactor.network
        self.resolver = MemoryResolver(NAMES)
        self.randomness = Random(3261).randbytes
        self.inside: HostPort = (self.addresses.listening(Side.INSIDE) or "10.0.0.1", port)
        """Where the phones find the proxy."""
        self.outside: HostPort = (self.addresses.listening(Side.OUTSIDE) or "203.0.113.1", port)
        self._parties: list[Party] = []
        self._log = _Log()
        self.p = self.party("P", "10.0.0.10", 5062)
        self.q = self.party("Q", "10.0.0.11", 5060)
        self.v = self.party("V", "203.0.113.50", 5060)
        self.w = self.party("W", "203.0.113.51", 5060)
        self.m = self.party("M", "203.0.113.60", 5090)
        globalLogPublisher.addObserver(self._log)
        if not Lab._open:
            gc.freeze()  # what is older than the laboratory need not be collected at its end
        Lab._open += 1
        self.service = build(self)

    def party(self, name: str, host: str, port: int) -> Party:
        """Place another party on the network of its address."""
        proxy = self.inside if host.startswith("10.0.0.") else self.outside
        party = Party(self, name, (host, port), proxy)
        self._parties.append(party)
        return party

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
        """Do what the router in front of the gateway does with packets for `host_outbound`."""
        bound = self.addresses.listening(Side.OUTSIDE)
        if bound is not None and destination[0] == self.addresses.advertised(Side.OUTSIDE):
            return bound, destination[1]
        return destination

    def relayed(self, source: str, into: str, data: bytes | None = None) -> list[str]:
        """Send a media packet from `source` into the relay and return the way of what comes of it.

        Ways look like ``10.0.0.1:7072 > 10.0.0.10:40000``; a packet that is dropped gives none.
        """
        data = rtp() if data is None else data
        before = len(self.network.carried) + 1
        self.network.peer(*_host_port(source)).send(data, self.translated(_host_port(into)))
        carried = self.network.carried[before:]
        assert all(datagram.data == data for datagram in carried), carried
        return [f"{_text(datagram.source)} > {_text(datagram.destination)}" for datagram in carried]

    def media_ports(self) -> set[str]:
        """Return the addresses of the media sockets that are open."""
        return {_text(bound) for bound in self.network.bound if bound not in (self.inside, self.outside)}

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
            Lab._open -= 1
            if not Lab._open:
                gc.unfreeze()
            globalLogPublisher.removeObserver(self._log)
        if audit:
            self._audit()

    def _audit(self) -> None:
        assert not self.network.bound, f"sockets left: {self.media_ports() or set(self.network.bound)}"
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


def _is_via(line: str) -> bool:
    return line.strip().lower().partition(":")[0].strip() in ("via", "v")


def _host_port(text: str) -> HostPort:
    host, _, port = text.rpartition(":")
    return host, int(port)


def _text(address: HostPort) -> str:
    return f"{address[0]}:{address[1]}"


def _first_line(datagram: Datagram) -> str:
    line = datagram.data.split(b"\r\n", 1)[0]
    return line.decode() if line.isascii() and b"SIP/2.0" in line else f"({len(datagram.data)} bytes)"


def _quote(data: bytes) -> str:
    return indent(data.decode(errors="replace").replace("\r\n", "\n"), "   | ")


def _event_text(event: LogEvent) -> str:
    failure = event.get("log_failure")
    return formatEvent(event) + (f"\n{failure.getTraceback()}" if failure else "")
