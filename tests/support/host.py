# SPDX-License-Identifier: MIT
"""A gateway in memory with the whole service on it, a phone inside and a provider outside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from twisted.internet.defer import Deferred

from siproxd_tw.config.settings import Config
from siproxd_tw.service import Siproxd
from siproxd_tw.sip.parser import parse
from tests.support.addresses import FixedAddresses, two_armed
from tests.support.datagrams import HostPort, Peer
from tests.support.lab import VirtualReactor
from tests.support.messages import answer, register, wire
from tests.support.resolver import MemoryResolver
from tests.support.streams import StreamPeer

__all__ = ["INSIDE", "NAMES", "OUTSIDE", "Host"]

INSIDE, OUTSIDE = ("10.0.0.1", 5060), ("203.0.113.1", 5060)
"""Where the gateway of most tests is found."""
NAMES = {"sip.provider.test": "203.0.113.50", "foo.test": "203.0.113.1"}


class Host:
    """The gateway and its service, which the test starts and stops; `options` are more of Siproxd's."""

    def __init__(
        self,
        config: Config | None = None,
        addresses: FixedAddresses | None = None,
        *,
        names: Mapping[str, str] = NAMES,
        phone: HostPort = ("10.0.0.10", 5062),
        provider: HostPort = ("203.0.113.50", 5060),
        **options: Any,
    ) -> None:
        self.reactor = VirtualReactor()
        self.network = self.reactor.network
        self.addresses = addresses or two_armed()
        self.resolver = MemoryResolver(names)
        self.service = Siproxd(
            config or Config(),
            reactor=self.reactor,
            addresses=self.addresses,
            resolver=self.resolver,
            randomness=lambda size: b"r" * size,
            **options,
        )
        self.phone = self.network.peer(*phone)
        self.provider = self.network.peer(*provider)
        self._branches = 0

    def start(self) -> Host:
        """Start the service."""
        self.service.startService()
        return self

    def stop(self) -> list[object]:
        """Stop the service; return what its Deferred has fired with, empty while it waits."""
        fired: list[object] = []
        stopped: Deferred[Any] = self.service.stopService()
        stopped.addBoth(fired.append)
        self.network.flush()
        return fired

    def register(self) -> None:
        """Let Alice register with the provider, from the phone and by UDP."""
        self.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062>"))
        (sent,) = self.provider.take()
        self.provider.send(wire(answer(parse(sent.data), "200 OK")), sent.source)
        assert self.received() == ["SIP/2.0 200 OK"]

    def sockets(self) -> list[str]:
        """Return the UDP sockets that are open, those of media too."""
        self.network.flush()
        return sorted(f"{host}:{port}" for host, port in self.network.bound)

    def listening(self) -> list[str]:
        """Return where it listens for connections."""
        self.network.flush()
        return sorted(f"{host}:{port}" for host, port in self.network.stream_ports)

    def left(self) -> list[object]:
        """Return every socket, connection and timer that there is."""
        return [*self.sockets(), *self.listening(), *self.network.streams, *self.reactor.getDelayedCalls()]

    def send(self, text: str, peer: Peer | None = None, to: HostPort = INSIDE) -> None:
        """Send a message from the phone, or from another peer, by UDP."""
        peer = peer or self.phone
        peer.send(self.message(text, "UDP", peer.address), to)

    def message(self, text: str, transport: str, sent_by: HostPort) -> bytes:
        """Make the bytes of a request with a new Via."""
        self._branches += 1
        start, _, rest = text.partition("\n")
        host, port = sent_by
        host = f"[{host}]" if ":" in host else host
        via = f"Via: SIP/2.0/{transport} {host}:{port};branch=z9hG4bKt{self._branches}"
        return wire(f"{start}\n{via}\n{rest}")

    def connect(self, source: str = "10.0.0.10", to: HostPort = INSIDE) -> StreamPeer:
        """Connect to the gateway."""
        peer = self.network.connect((source, 0), to)
        self.network.flush()
        return peer

    def say(self, text: str, peer: StreamPeer, transport: str = "TCP") -> list[str]:
        """Send a request by a connection, and return the first lines of what has come by it since."""
        peer.send(self.message(text, transport, peer.address))
        return [data.split(b"\r\n")[0].decode() for data in peer.take()]

    def received(self, peer: Peer | None = None) -> list[str]:
        """Return the first lines of what has arrived at the phone, or at another peer, by UDP."""
        return [each.data.split(b"\r\n")[0].decode() for each in (peer or self.phone).take()]
