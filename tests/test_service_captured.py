# SPDX-License-Identifier: MIT
"""Real and broken messages thrown at a running proxy from both sides: nothing of them shakes it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from siproxd_tw.config.settings import Config
from siproxd_tw.service import Siproxd
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse
from tests.support.addresses import two_armed
from tests.support.datagrams import Peer
from tests.support.lab import VirtualReactor
from tests.support.messages import SDP, answer, register, wire
from tests.support.resolver import MemoryResolver
from tests.support.vectors import Vector, captured

VECTORS = captured("sip-")
CORPORA = sorted({vector.name.partition("/")[0] for vector in VECTORS})
INSIDE, OUTSIDE = ("10.0.0.1", 5060), ("203.0.113.1", 5060)


class Range:
    """A proxy with Alice registered, and two peers who answer whatever reaches them."""

    def __init__(self) -> None:
        self.reactor = VirtualReactor()
        self.service = Siproxd(
            Config(),
            reactor=self.reactor,
            addresses=two_armed(),
            resolver=MemoryResolver({"sip.provider.test": "203.0.113.50"}),
            randomness=lambda size: b"r" * size,
        )
        self.service.startService()
        self.phone = self.reactor.network.peer("10.0.0.10", 5062)
        self.provider = self.reactor.network.peer("203.0.113.50", 5060)
        via = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKreg"
        self.phone.send(wire(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062>", via)), INSIDE)
        self.answer(self.provider, OUTSIDE)
        assert len(self.service.location) == 1

    def throw(self, data: bytes) -> None:
        """Send a datagram from both sides, as it is and aimed at Alice, and answer what comes of it."""
        aimed = re.sub(rb"^(\S+) \S+ SIP/2.0", rb"\1 sip:alice@203.0.113.1 SIP/2.0", data, count=1)
        for each in (data, aimed):
            self.phone.send(each, INSIDE)
            self.provider.send(each, OUTSIDE)
            self.answer(self.provider, OUTSIDE)
            self.answer(self.phone, INSIDE)
        self.reactor.advance(1.0)
        self.phone.take()
        self.provider.take()

    def answer(self, peer: Peer, to: tuple[str, int]) -> None:
        """Let a peer accept every request that has reached it; every one of them is well-formed."""
        for datagram in peer.take():
            if datagram.data.startswith(b"SIP/2.0 "):
                continue  # a refusal repeats what is wrong with the request
            message = parse(datagram.data)
            if isinstance(message, Request) and message.method != "ACK":
                peer.send(wire(answer(message, "200 OK", body=SDP.audio("192.0.2.9", 5000))), to)


@pytest.fixture
def loud() -> Iterator[list[str]]:
    """Collect what is logged above warning."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            found.append(f"{formatEvent(event)} {failure.value if failure else ''}")

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)


@pytest.mark.parametrize("corpus", CORPORA)
def test_captured_messages(corpus: str, loud: list[str]) -> None:
    """Each is refused, dropped or passed on; no failure is logged, and what leaves can be read."""
    target = Range()
    trouble: dict[str, list[str]] = {}
    for vector in VECTORS:
        if vector.name.partition("/")[0] == corpus:
            _throw(target, vector, loud, trouble)
    target.service.stopService()
    target.reactor.network.flush()
    assert trouble == {}
    assert target.reactor.getDelayedCalls() == []


def _throw(target: Range, vector: Vector, loud: list[str], trouble: dict[str, list[str]]) -> None:
    try:
        target.throw(vector.data)
    except ParseError as error:
        trouble[vector.name] = [f"sends what cannot be read: {error}"]
    if loud:
        trouble[vector.name] = list(loud)
        loud.clear()
