# SPDX-License-Identifier: MIT
"""Who speaks with the proxy in a laboratory: by UDP, or by connections."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Sequence
from textwrap import dedent, indent
from typing import TYPE_CHECKING

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.parser import parse
from tests.support.datagrams import Datagram, HostPort
from tests.support.messages import Message, differences, wire
from tests.support.streams import StreamPeer

if TYPE_CHECKING:
    from tests.support.lab import Lab

__all__ = ["Party", "StreamParty"]


class Party:
    """Somebody who speaks SIP with the proxy, by UDP."""

    transport = "UDP"

    def __init__(self, lab: Lab, name: str, address: HostPort, proxy: HostPort) -> None:
        self.name = name
        self.address = address
        self.proxy = proxy
        """Where it sends to, and where alone it may receive SIP from."""
        self._lab = lab
        self._unread: deque[Datagram] = deque()
        self._sent = 0
        self._connect()

    def _connect(self) -> None:
        self._endpoint = self._lab.network.peer(*self.address)

    def __repr__(self) -> str:
        return f"{self.name} ({self.address[0]}:{self.address[1]})"

    def send(self, message: str | bytes, to: HostPort | None = None) -> bytes:
        """Send a message, by default to the proxy, and return its bytes.

        A text becomes a message (`messages.wire`), written for the network that the laboratory has, and a
        request without a Via gets one with a new branch.
        """
        data = message if isinstance(message, bytes) else wire(self._lab.written(self._with_via(message)))
        self._carry(data, self._lab.translated(to or self.proxy))
        return data

    def _carry(self, data: bytes, to: HostPort) -> None:
        self._endpoint.send(data, to)

    def _with_via(self, text: str) -> str:
        text = dedent(text).lstrip("\n")
        start, _, rest = text.partition("\n")
        if start.startswith("SIP/2.0 ") or any(_is_via(line) for line in rest.split("\n\n")[0].split("\n")):
            return text
        self._sent += 1
        host, port = self.address
        host = f"[{host}]" if ":" in host else host
        via = f"SIP/2.0/{self.transport} {host}:{port};branch=z9hG4bK{self.name}{self._sent}"
        return f"{start}\nVia: {via}\n{rest}"

    def _arrived(self) -> list[Datagram]:
        return self._endpoint.take()

    def unread(self) -> Sequence[Datagram]:
        """Return what has arrived and was not looked at yet."""
        self._unread += self._arrived()
        return tuple(self._unread)

    def datagram(self) -> Datagram:
        """Return the next datagram, or message of a connection, that arrived, as it is."""
        if not self.unread():
            raise AssertionError(f"{self} received nothing more. {self._lab.story()}")
        return self._unread.popleft()

    def _is_from_proxy(self, source: HostPort) -> bool:
        return source == self.proxy

    def receive(self) -> Message:
        """Return the next message that arrived."""
        datagram = self.datagram()
        assert self._is_from_proxy(datagram.source), f"{self} was sent this by another: {datagram}"
        try:
            return parse(datagram.data)
        except ParseError as error:
            raise AssertionError(f"{self} received no message but {datagram.data!r}: {error}") from error

    def sees(self, trace: str) -> Message:
        """Return the next message that arrived, after comparing it with `trace`."""
        message = self.receive()
        found = differences(message, self._lab.expected(trace))
        if found:
            told = "\n".join(found)
            raise AssertionError(
                f"What {self} received\n{told}\n\n{quoted(bytes(message))}\n{self._lab.story()}"
            )
        return message

    def nothing(self) -> None:
        """Check that nothing has arrived which was not read."""
        if self.unread():
            raise AssertionError(f"{self} received\n{quoted(self._unread[0].data)}\n{self._lab.story()}")

    def forget(self) -> None:
        """Take everything that has arrived as read."""
        self.unread()
        self._unread.clear()


class StreamParty(Party):
    """Somebody who speaks by TCP, or by TLS.

    It listens at its address if it `listens`, and sends its requests by a connection of its own from a port
    that its system has chosen. It answers a request on the connection that it came by.
    """

    def __init__(
        self, lab: Lab, name: str, address: HostPort, proxy: HostPort, transport: str, listens: bool
    ) -> None:
        self.transport = transport
        self._listens = listens
        self._queue: list[Datagram] = []
        self._came_by: dict[bytes, StreamPeer] = {}
        self.connection: StreamPeer | None = None
        """The connection that it has made, if it has."""
        super().__init__(lab, name, address, proxy)

    def _connect(self) -> None:
        if self._listens:
            self.listener = self._lab.network.listen(self.address)
            self.listener.react = self._take

    def connect(self) -> StreamPeer:
        """Make a new connection, by which requests are sent from now on; an old one stays as it is."""
        peer: StreamPeer = self._lab.network.connect((self.address[0], 0), self.proxy)
        peer.react = lambda data: self._take(peer, data)
        self._lab.network.flush()
        assert peer.open, f"{self} cannot connect to {self.proxy}"
        self.connection = peer
        return peer

    @property
    def source(self) -> HostPort:
        """Where its own connection ends, which is made if need be."""
        return self._connected().address

    def _connected(self) -> StreamPeer:
        return self.connection if self.connection is not None and self.connection.open else self.connect()

    def _take(self, peer: StreamPeer, data: bytes) -> None:
        self._queue.append(Datagram(data, peer.remote, peer.address))
        if not data.startswith(b"SIP/2.0"):
            self._came_by[_branch(data)] = peer

    def _carry(self, data: bytes, to: HostPort) -> None:
        came_by = self._came_by.get(_branch(data)) if data.startswith(b"SIP/2.0") else None
        peer = came_by if came_by is not None and came_by.open else self._connected()
        assert came_by is not None or to == peer.remote, f"{self} speaks with {peer.remote}, not with {to}"
        peer.send(data)
        self._lab.advance(0)

    def _arrived(self) -> list[Datagram]:
        self._lab.network.flush()
        arrived, self._queue = self._queue, []
        return arrived

    def _is_from_proxy(self, source: HostPort) -> bool:
        return source[0] == self.proxy[0]


def quoted(data: bytes) -> str:
    """Return a message as it is shown when a test fails."""
    return indent(data.decode(errors="replace").replace("\r\n", "\n"), "   | ")


def _branch(data: bytes) -> bytes:
    found = re.search(rb"^(?:via|v)\s*:[^\r\n,]*?;branch=([^;,\s]+)", data, re.I | re.M)
    return found[1] if found else b""


def _is_via(line: str) -> bool:
    return line.strip().lower().partition(":")[0].strip() in ("via", "v")
