# SPDX-License-Identifier: MIT
"""The others on a network of streams: one end of a connection, and who is connected to."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from siproxd_tw.sip.framing import Framer

HostPort = tuple[str, int]


class StreamPeer:
    """The other end of one connection: sends, and keeps what it receives."""

    def __init__(self, network: Any, address: HostPort, remote: HostPort) -> None:
        self.address = address
        """Where this end is."""
        self.remote = remote
        """Where the gateway's end is."""
        self.open = False
        self.lost = False
        """Whether there is no connection any more, or has never been one."""
        self.react: Callable[[bytes], None] | None = None
        """Called with each message that comes in; for peers that answer by themselves."""
        self.end: Any = _Early()
        """What carries the bytes; has write, loseConnection, abortConnection, pause- and resumeProducing."""
        self._network = network
        self._received = bytearray()
        self._framer = Framer()
        self._messages: list[bytes] = []
        self._taken = 0

    @property
    def received(self) -> bytes:
        """Every byte that has arrived so far."""
        self._network.flush()
        return bytes(self._received)

    def messages(self) -> list[bytes]:
        """Return every complete message that has arrived so far; keep-alives are none."""
        self._network.flush()
        return list(self._messages)

    def take(self) -> list[bytes]:
        """Return the messages that arrived since the last `take`."""
        taken = self.messages()[self._taken :]
        self._taken += len(taken)
        return taken

    def send(self, data: bytes) -> None:
        """Send some bytes and let everything that follows from it happen."""
        self.end.write(data)
        self._network.flush()

    def close(self) -> None:
        """Close the connection in the usual way."""
        self.end.loseConnection()
        self._network.flush()

    def abort(self) -> None:
        """Reset the connection."""
        self.end.abortConnection()
        self._network.flush()

    def stop_reading(self) -> None:
        """Take nothing in any more."""
        self.end.pauseProducing()

    def read_on(self) -> None:
        """Take in again."""
        self.end.resumeProducing()
        self._network.flush()

    def arrived(self, data: bytes) -> None:
        """Take some bytes from the network."""
        self._received += data
        new = [item for item in self._framer.feed(data) if isinstance(item, bytes)]
        self._messages += new
        for message in new if self.react is not None else ():
            self.react(message)

    def made(self, end: Any) -> None:
        """Take note that there is a connection now, and do what was to be done."""
        early, self.end, self.open = self.end, end, True
        for name, args in early.done:
            getattr(end, name)(*args)

    def ended(self, clean: bool) -> None:
        """Take note of the end of the connection."""
        self.open, self.lost = False, True


class _Early:
    """Keeps what a peer does before its connection is there."""

    def __init__(self) -> None:
        self.done: list[tuple[str, tuple[Any, ...]]] = []

    def __getattr__(self, name: str) -> Callable[..., None]:
        return lambda *args: self.done.append((name, args))


class StreamListener:
    """A server, or a phone, that the gateway can connect to."""

    def __init__(self, network: Any, address: HostPort) -> None:
        self.address = address
        self.peers: list[StreamPeer] = []
        """The connections that were made, oldest first."""
        self.react: Callable[[StreamPeer, bytes], None] | None = None
        """Called with each message that comes in on any of them."""
        self.port: Any = None
        self._network = network

    def accepted(self, peer: StreamPeer) -> None:
        """Take a new connection."""
        self.peers.append(peer)
        peer.react = lambda data: self.react(peer, data) if self.react is not None else None

    def take(self) -> list[bytes]:
        """Return the messages that arrived on all connections since the last `take`."""
        self._network.flush()
        return [message for peer in self.peers for message in peer.take()]

    def close(self) -> None:
        """Accept no more connections; those that are there stay."""
        self._network.forget(self)
