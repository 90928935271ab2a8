# SPDX-License-Identifier: MIT
"""A media relay between two networks: Alice and Carol inside, Bob and Dora outside."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from siproxd_tw.config.settings import MediaConfig
from siproxd_tw.edits import apply
from siproxd_tw.interfaces import Address, Exchange, Side
from siproxd_tw.media.relay import LocalRelay
from siproxd_tw.sdp import SessionDescription
from tests.support.addresses import FixedAddresses
from tests.support.datagrams import LoopbackNetwork, MemoryNetwork, Peer
from tests.support.exchanges import ALICE, BOB, CAROL, DORA, Speaker, exchange


def result(deferred: Deferred[Any]) -> Any:
    """Return what `deferred` has fired with, or raise it; nothing of the relay waits."""
    outcome: list[Any] = []
    deferred.addBoth(outcome.append)
    assert outcome, "the Deferred has not fired"
    if isinstance(outcome[0], Failure):
        outcome[0].raiseException()
    return outcome[0]


def rtp(number: int = 1, size: int = 160) -> bytes:
    """Return an RTP packet."""
    return b"\x80\x00" + number.to_bytes(2, "big") + (160 * number).to_bytes(4, "big") + b"ssrc" + bytes(size)


RTCP = b"\x80\xc9\x00\x01ssrc"


def ports(body: bytes) -> list[int]:
    """Return the ports of the m= lines."""
    return [media.port for media in SessionDescription.parse(body).media]


def received(peer: Peer) -> list[tuple[bytes, str]]:
    """Take what `peer` has received: data and the address that it came from."""
    return [(datagram.data, str(Address(*datagram.source))) for datagram in peer.take()]


@dataclass
class Bed:
    """A relay with its network, its clock and its neighbours."""

    network: Any
    clock: Any
    addresses: FixedAddresses
    config: MediaConfig
    alice: Speaker = ALICE
    carol: Speaker = CAROL
    bob: Speaker = BOB
    dora: Speaker = DORA
    expired: list[Exchange] = field(default_factory=list)
    relay: LocalRelay = field(init=False)

    def __post_init__(self) -> None:
        self.relay = LocalRelay(
            self.config, self.addresses, self.network.listenUDP, self.clock, expired=self.expired.append
        )
        for speaker, used in (
            (self.alice, (40000, 40001, 40010)),
            (self.carol, (42000,)),
            (self.bob, (50000, 50001, 50010)),
            (self.dora, (52000,)),
        ):
            for port in used:
                self.network.peer(speaker.host, port)

    @property
    def inside(self) -> str:
        """Our address inside."""
        return self.addresses.listening(Side.INSIDE) or ""

    @property
    def outside(self) -> str:
        """Our address outside."""
        return self.addresses.listening(Side.OUTSIDE) or ""

    def offer(
        self, one: Speaker, other: Speaker | Side, body: bytes, transaction: str = "t1", **call: str
    ) -> bytes:
        """Let the relay take an offer and return the body that goes on."""
        return apply(body, result(self.relay.offer(exchange(one, other, transaction, **call), body)))

    def answer(
        self, one: Speaker, other: Speaker, body: bytes, transaction: str = "t1", **call: str
    ) -> bytes:
        """Let the relay take an answer and return the body that goes on."""
        return apply(body, result(self.relay.answer(exchange(one, other, transaction, **call), body)))

    def withdraw(self, one: Speaker, other: Speaker | Side, transaction: str = "t1", **call: str) -> None:
        """Let an offer be refused."""
        result(self.relay.withdraw(exchange(one, other, transaction, **call)))

    def hang_up(self, one: Speaker, other: Speaker, **call: str) -> None:
        """Let one of two hang up."""
        result(self.relay.delete(exchange(one, other, "bye", **call)))

    def call(self, **call: str) -> tuple[int, int]:
        """Let Alice call Bob; return our ports outside and inside."""
        (outside,) = ports(self.offer(self.alice, Side.OUTSIDE, self.alice.at(40000), **call))
        (inside,) = ports(self.answer(self.bob, self.alice, self.bob.at(50000), **call))
        return outside, inside

    def peer(self, speaker: Speaker, port: int) -> Peer:
        """Return the socket of a party."""
        return self.network.peer(speaker.host, port)

    def streams(self, call_id: str = "call@10.0.0.10") -> list[dict[str, Any]]:
        """Return what the relay says about a call."""
        return list(result(self.relay.query(call_id.encode())))


def memory_bed(addresses: FixedAddresses | None = None, **config: Any) -> Bed:
    """Return a relay in memory, with siproxd's port range."""
    clock = Clock()
    clock.advance(1_000_000)
    settings = MediaConfig(**{"port_low": 7070, "port_high": 7088, "timeout": 300.0, **config})
    return Bed(MemoryNetwork(clock=clock), clock, addresses or FixedAddresses(), settings)


def loopback_bed(reactor: Any, inside: int = 4, outside: int = 4, **config: Any) -> Bed:
    """Return a relay on real sockets of this machine, on each side of one address family."""
    ours = "::1" if inside == 6 else "127.0.0.1", "::1" if outside == 6 else "127.0.0.2"
    settings = MediaConfig(**{"port_low": 27070, "port_high": 27088, **config})
    places = ((ALICE, inside, 10), (CAROL, inside, 11), (BOB, outside, 60), (DORA, outside, 61))
    speakers = [
        replace(who, host="::1", met="::1") if family == 6 else replace(who, host=f"127.0.0.{number}")
        for who, family, number in places
    ]
    addresses = FixedAddresses(*ours, networks=("127.0.0.8/29",))
    return Bed(LoopbackNetwork(reactor), reactor, addresses, settings, *speakers)
