# SPDX-License-Identifier: MIT
"""What one message costs inside the program: from the datagram to the datagram, without sockets.

    .venv/bin/python bench/forward.py [--registrations 50000] [--profile register|invite|info]

Feeds a whole proxy, with a clock that stands still, and prints the CPU time per message that came in: the
median, as what else the machine does only adds.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
import sys
import time
from collections.abc import Callable
from ipaddress import ip_interface
from pathlib import Path
from statistics import median
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from twisted.internet.task import Clock

from siproxd_tw.config.reader import read
from siproxd_tw.interfaces import Address
from siproxd_tw.service import Siproxd
from siproxd_tw.transport.addresses import GatewayAddresses
from siproxd_tw.transport.netif import Interface
from tests.support.resolver import MemoryResolver

PHONE, PROVIDER = Address("10.0.0.10", 5062), Address("203.0.113.50", 5060)
INTERFACES = (
    Interface("eth0", True, (ip_interface("10.0.0.1/8"),)),
    Interface("eth1", True, (ip_interface("203.0.113.1/24"),)),
)
SDP = (
    b"v=0\r\no=- 1 1 IN IP4 10.0.0.10\r\ns=-\r\nc=IN IP4 10.0.0.10\r\nt=0 0\r\n"
    b"m=audio 40000 RTP/AVP 8 0 101\r\n"
)


class Port:
    """A socket that keeps what is sent."""

    maxThroughput = 0

    def __init__(self, protocol: Any, host: str, port: int) -> None:
        self.protocol, self.address = protocol, (host, port)
        self.sent: list[tuple[bytes, Any]] = []
        protocol.makeConnection(self)

    def sendto(self, data: bytes, address: Any) -> None:
        """Keep it."""
        self.sent.append((data, address))

    def getHandle(self) -> Port:
        """Return the socket, which is this."""
        return self

    def getHost(self) -> Any:
        """Return where it is bound."""
        return type("Host", (), {"host": self.address[0], "port": self.address[1]})

    def stopListening(self) -> None:
        """Do nothing."""


class Reactor(Clock):
    """Time that stands still, and sockets that go nowhere."""

    def __init__(self) -> None:
        super().__init__()
        self.rightNow = 1_800_000_000.0
        self.ports: dict[tuple[str, int], Port] = {}

    def listenUDP(self, port: int, protocol: Any, interface: str = "", maxPacketSize: int = 0) -> Port:
        """Bind nothing."""
        bound = self.ports[interface, port] = Port(protocol, interface, port)
        return bound

    def listenTCP(self, port: int, factory: Any, backlog: int = 50, interface: str = "") -> Port:
        """Bind nothing."""
        return Port(type("Nobody", (), {"makeConnection": lambda self, port: None})(), interface, port)


class Proxy:
    """A proxy, and both of its neighbours."""

    def __init__(self) -> None:
        self.reactor = Reactor()
        config = read("if_inbound = eth0\nif_outbound = eth1\nrtp_proxy_enable = 0\n", "bench").config
        resolver = MemoryResolver({"provider.test": PROVIDER.host})
        addresses = GatewayAddresses(
            config.network, self.reactor, lambda: INTERFACES, resolve_host=resolver.resolve
        )
        addresses.check()
        self.service = Siproxd(
            config,
            reactor=self.reactor,
            addresses=addresses,
            resolver=resolver,
        )
        self.service.startService()
        self.inside = self.reactor.ports["10.0.0.1", 5060]
        self.outside = self.reactor.ports["203.0.113.1", 5060]

    def from_phone(self, data: bytes, remote: Address = PHONE) -> bytes:
        """Let a phone send `data` and return what goes out to the provider."""
        self.inside.protocol.datagramReceived(data, remote)
        return self.outside.sent.pop()[0]

    def from_provider(self, data: bytes) -> bytes:
        """Let the provider send `data` and return what goes to the phone."""
        self.outside.protocol.datagramReceived(data, PROVIDER)
        return self.inside.sent.pop()[0]

    def forget(self) -> None:
        """Let all transactions end."""
        self.reactor.advance(40)
        self.inside.sent.clear()
        self.outside.sent.clear()


def home(user: int) -> Address:
    """Return where the phone of a user is."""
    return Address(f"10.0.{(user + 10) // 250}.{(user + 10) % 250}", 5062)


def register(user: int, branch: int, cseq: int = 1) -> bytes:
    """Return the REGISTER of a phone."""
    host = home(user).host
    return (
        f"REGISTER sip:203.0.113.50 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP {host}:5062;branch=z9hG4bK{branch};rport\r\n"
        f"Max-Forwards: 70\r\nFrom: <sip:u{user}@provider.test>;tag=f{branch}\r\n"
        f"To: <sip:u{user}@provider.test>\r\n"
        f"Call-ID: reg{user}@{host}\r\nCSeq: {cseq} REGISTER\r\nContact: <sip:u{user}@{host}:5062>\r\n"
        f"Expires: 3600\r\nUser-Agent: bench/1\r\nAllow: INVITE, ACK, CANCEL, BYE, OPTIONS, INFO\r\n"
        f"Supported: path, outbound\r\nContent-Length: 0\r\n\r\n"
    ).encode()


def request(method: str, branch: int, body: bytes = b"", tag: str = "") -> bytes:
    """Return a request of the phone to somebody at the provider; with a `tag` in a dialog."""
    to = f";tag={tag}" if tag else ""
    route = "Route: <sip:siproxd@10.0.0.1:5060;lr>\r\n" if tag else ""
    return (
        f"{method} sip:bob@203.0.113.50 SIP/2.0\r\n"
        f"Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bK{method}{branch};rport\r\n{route}"
        f'Max-Forwards: 70\r\nFrom: "Alice" <sip:u0@provider.test>;tag=f{branch}\r\n'
        f"To: <sip:bob@provider.test>{to}\r\nCall-ID: call{branch}@10.0.0.10\r\nCSeq: 2 {method}\r\n"
        f"Contact: <sip:u0@10.0.0.10:5062>\r\nUser-Agent: bench/1\r\nAllow: INVITE, ACK, CANCEL, BYE\r\n"
        f"Supported: replaces, timer\r\nContent-Type: application/sdp\r\nContent-Length: {len(body)}\r\n\r\n"
    ).encode() + body


def answer(sent: bytes, status: str = "200 OK", *more: bytes) -> bytes:
    """Return the response to `sent`."""
    lines = sent.split(b"\r\n\r\n", 1)[0].split(b"\r\n")[1:]
    wanted = (b"via:", b"from:", b"to:", b"call-id:", b"cseq:", b"contact:")
    kept = [line for line in lines if line.lower().startswith(wanted)]
    kept = [
        line + b";tag=t1" if line.lower().startswith(b"to:") and b"tag=" not in line else line
        for line in kept
    ]
    head = [b"SIP/2.0 " + status.encode(), *kept, *more, b"Server: bench/1", b"Content-Length: 0"]
    return b"\r\n".join(head) + b"\r\n\r\n"


class Measure:
    """Times the kinds of traffic, each message for itself."""

    def __init__(self, profile: str) -> None:
        self._profile = profile
        self._profiler = cProfile.Profile()
        self._times: dict[str, list[int]] = {}

    def __call__(self, kind: str, take: Callable[..., bytes], *message: Any) -> bytes:
        """Feed a message by `take`, note how long that took, and return what came out."""
        if kind == self._profile:
            return self._profiler.runcall(take, *message)
        began = time.thread_time_ns()
        out = take(*message)
        self._times.setdefault(kind, []).append(time.thread_time_ns() - began)
        return out

    def report(self) -> dict[str, float]:
        """Return the median time of each kind, in microseconds, and print the profile."""
        if self._profile:
            pstats.Stats(self._profiler).sort_stats("tottime").print_stats(45)
        return {kind: median(times) / 1000 for kind, times in self._times.items()}


def run(registrations: int, count: int, profile: str = "") -> dict[str, float]:
    """Measure everything at a proxy with so many registrations; microseconds per message."""
    proxy = Proxy()
    for user in range(registrations):
        sent = proxy.from_phone(register(user, user), home(user))
        proxy.from_provider(answer(sent))
        if user % 1000 == 999:
            proxy.forget()
    proxy.forget()
    gc.collect()
    gc.disable()
    measure = Measure(profile)
    for number in range(registrations, registrations + count):
        user = number % registrations
        sent = measure("register", proxy.from_phone, register(user, number, number), home(user))
        measure("register 200", proxy.from_provider, answer(sent))
        sent = measure("info", proxy.from_phone, request("INFO", number, tag="x"))
        measure("info 200", proxy.from_provider, answer(sent))
        sent = measure("invite", proxy.from_phone, request("INVITE", number, SDP))
        measure("invite 180", proxy.from_provider, answer(sent, "180 Ringing"))
        measure("invite 200", proxy.from_provider, answer(sent))
        measure("ack", proxy.from_phone, request("ACK", number, tag="t1"))
        sent = measure("bye", proxy.from_phone, request("BYE", number, tag="t1"))
        measure("bye 200", proxy.from_provider, answer(sent))
        if number % 500 == 499:
            proxy.forget()
    gc.enable()
    return measure.report()


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--registrations", type=int, nargs="+", default=[100])
    parser.add_argument("--count", type=int, default=3000, help="messages of each kind")
    parser.add_argument("--profile", default="", help="the kind to print a profile of")
    options = parser.parse_args()
    columns = [run(each, options.count, options.profile) for each in options.registrations]
    print("us of CPU per message", *(f"{each:>8}" for each in options.registrations), "registrations")
    for name in columns[0]:
        print(f"{name:<21}", *(f"{column[name]:8.1f}" for column in columns))


if __name__ == "__main__":
    main()
