# SPDX-License-Identifier: MIT
"""Real and broken messages thrown at a running proxy from both sides: nothing of them shakes it.

One service gets thousands of them. At the end it carries a call as if nothing had happened, and when all
timers are over there is nothing left of any of them.
"""

from __future__ import annotations

import gc
import re
from collections.abc import Callable, Iterable, Iterator
from itertools import cycle
from typing import Any

import pytest
from twisted.logger import LogEvent, LogLevel, formatEvent, globalLogPublisher

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse
from tests.support.datagrams import Datagram, Peer
from tests.support.host import INSIDE, OUTSIDE, Host
from tests.support.messages import SDP, Dialog, answer, invite, register, request, wire
from tests.support.streams import StreamPeer
from tests.support.vectors import captured, filled, protos

MESSAGES = [(vector.name, vector.data) for vector in captured("sip-")]
BESIDE = [
    (vector.name, vector.data)
    for kind in ("other", "fuzz", "stream", "header-list")
    for vector in captured(kind)
]
"""What is no message: streams of several, lists, pieces."""
STATUSES = ("200 OK", "200 OK", "183 Session Progress", "486 Busy Here", "401 Unauthorized", "503 No")
"""What the peers say, one after the other."""
LARGEST = 65_000
"""Bytes that every datagram has room for."""


class Everywhere(dict[str, Any]):
    """Names of which every one leads to the provider."""

    def get(self, name: str, default: Any = None) -> Any:
        return "203.0.113.50"


class Target:
    """The proxy, and a phone, a softphone by TCP and a provider who answer whatever reaches them.

    Alice is registered by UDP and Bob by TCP, unless `registered` says otherwise.
    """

    def __init__(self, *, registered: bool = True) -> None:
        self.host = Host(names={})
        self.host.resolver.names = Everywhere()
        self.reactor, self.network = self.host.reactor, self.host.network
        self.unreadable: list[str] = []
        self.reached = 0
        """Requests that have been passed on."""
        self._registered = registered
        self._statuses = cycle(STATUSES)
        self.host.start()
        self.softphone = self.host.connect()
        self.provider = self.network.listen(("203.0.113.50", 5060))
        self.host.phone.react = lambda datagram: self._datagram(self.host.phone, datagram)
        self.host.provider.react = lambda datagram: self._datagram(self.host.provider, datagram)
        self.softphone.react = lambda data: self._message(self.softphone, data)
        self.provider.react = self._message
        self._register()
        gc.disable()  # what is garbage is known at the end, and looking for it takes long

    def _register(self) -> None:
        self._statuses = cycle(("200 OK",))
        for user, transport in (("alice", "UDP"), ("bob", "TCP")) if self._registered else ():
            text = register(f"{user}@sip.provider.test", f"<sip:{user}@10.0.0.10:5062;transport={transport}>")
            if transport == "UDP":
                self.host.send(text)
            else:
                self.softphone.send(self.host.message(text, transport, self.softphone.address))
        self._statuses = cycle(STATUSES)
        assert len(self.host.service.location) == 2 * self._registered
        self.forget()

    def datagrams(self, data: bytes) -> None:
        """Send a message by UDP, from outside to Alice and from inside as if it were hers.

        With its true length in it: many have lost their bodies.
        """
        data = _length(rb"\g<1> %d" % len(data.partition(b"\r\n\r\n")[2]), data[:LARGEST], count=1)
        self.datagram(_request_line(rb"\1 sip:alice@203.0.113.1 SIP/2.0", data, count=1), True)
        self.datagram(_from(rb"\1<sip:alice@sip.provider.test>", data, count=1), False)
        self.forget()

    def streams(self, data: bytes, send: Callable[[StreamPeer, bytes], None] = StreamPeer.send) -> None:
        """Send some bytes on new connections, from outside to Bob and from inside as if it were Alice's."""
        self.stream(_request_line(rb"\1 sip:bob@203.0.113.1 SIP/2.0", data, count=1), True, send)
        self.stream(_from(rb"\1<sip:alice@sip.provider.test>", data, count=1), False, send)
        self.forget()

    def datagram(self, data: bytes, from_outside: bool) -> None:
        """Send by UDP."""
        peer, to = (self.host.provider, OUTSIDE) if from_outside else (self.host.phone, INSIDE)
        peer.send(data, to)

    def stream(
        self,
        data: bytes,
        from_outside: bool,
        send: Callable[[StreamPeer, bytes], None] = StreamPeer.send,
    ) -> None:
        """Send on a new connection."""
        source, to = ("203.0.113.50", OUTSIDE) if from_outside else ("10.0.0.10", INSIDE)
        peer = self.host.connect(source, to)
        assert peer.open
        peer.react = lambda message: self._message(peer, message)
        send(peer, data)
        peer.close()

    def forget(self) -> None:
        """Let some time pass, and forget what was sent."""
        self.reactor.advance(0.25)
        self.network.flush()
        for each in (self.network.carried, self.network.lost, self.host.phone.received):
            each.clear()
        self.host.provider.received.clear()

    def _datagram(self, peer: Any, datagram: Datagram) -> None:
        if response := self._response(datagram.data):
            peer.send(response, datagram.source)

    def _message(self, peer: StreamPeer, data: bytes) -> None:
        if response := self._response(data):
            peer.send(response)

    def _response(self, data: bytes) -> bytes:
        """Answer a request; every one that arrives is well-formed."""
        if data.startswith(b"SIP/2.0 "):
            return b""  # a refusal repeats what is wrong with the request
        try:
            message = parse(data)
        except ParseError as error:
            self.unreadable.append(f"sends what cannot be read: {error}: {data[:200]!r}")
            return b""
        if not isinstance(message, Request) or message.method == "ACK":
            return b""
        self.reached += 1
        return reply(message, next(self._statuses))

    # the end

    def calls(self) -> None:
        """Register somebody who was not here before; she calls, hangs up, and is called."""
        host, provider = self.host, self.host.provider
        carol = self.network.peer("10.0.0.12", 5060)
        provider.react = None
        self.forget()
        host.send(register("carol@sip.provider.test", "<sip:carol@10.0.0.12>"), carol)
        assert self._passed(provider, carol, "200 OK") == ["SIP/2.0 200 OK"]
        me = ("From: <sip:carol@sip.provider.test>;tag=c1", "Call-ID: at-last")
        offer = SDP.audio("10.0.0.12", 40000)
        host.send(
            invite("sip:dave@sip.provider.test", *me, contact="<sip:carol@10.0.0.12>", body=offer), carol
        )
        (offered,) = provider.take()
        assert b"c=IN IP4 203.0.113.1\r\n" in offered.data
        ok = answer(parse(offered.data), "200 OK", "Contact: <sip:dave@203.0.113.50>", body=ANSWER)
        provider.send(wire(ok), OUTSIDE)
        trying, accepted = (parse(each.data) for each in carol.take())
        assert (trying.status, accepted.status) == (100, 200)  # type: ignore[union-attr]
        dialog = Dialog.of_caller(accepted)
        for method in ("ACK", "BYE"):
            host.send(dialog.request(method), carol)
        assert [each.data.split()[0] for each in provider.received] == [b"ACK", b"BYE"]
        assert self._passed(provider, carol, "200 OK") == ["SIP/2.0 200 OK"]
        host.send(request("OPTIONS", "sip:carol@203.0.113.1"), provider, OUTSIDE)
        assert self._passed(carol, provider, "200 OK") == ["SIP/2.0 200 OK"]

    def _passed(self, server: Peer, client: Peer, status: str) -> list[str]:
        """Answer the last request that has reached `server`; return what `client` has got."""
        request = server.take()[-1]
        server.send(wire(answer(parse(request.data), status)), request.source)
        return self.host.received(client)

    def close(self) -> None:
        """Find that it works as it did, and that after all timers nothing is left."""
        self.calls()
        for seconds in (1, 40, 200, 400, 90_000, 90_000):
            self.reactor.advance(seconds)
            self.network.flush()
        status: Any = self.host.service.status()
        assert "internal errors" not in status["signalling"]
        assert [each["failures"] for each in status["transports"]] == [0] * len(status["transports"])
        assert (status["proxy"]["dialogs"], status["proxy"]["waiting"]) == (0, 0)
        assert status["signalling"]["transactions"] == 0
        assert (status["media"]["sessions"], status["media"]["streams"]) == (0, 0)
        assert len(self.host.sockets()) == len(self.host.listening()) == 2
        assert self.network.streams == []
        assert len(self.reactor.getDelayedCalls()) == 1  # the tick
        assert len(self.host.stop()) == 1
        assert self.host.left() == []
        gc.enable()
        gc.collect()  # so that an unhandled failure of a Deferred is logged now


ANSWER = SDP.audio("203.0.113.50", 5000)


_request_line = re.compile(rb"^(\S+) \S+ SIP/2.0").sub
_from = re.compile(rb"(?im)^((?:from|f)\s*:)[^\r\n]*?<[^>]*>").sub
_length = re.compile(rb"(?im)^((?:content-length|l)\s*:)[^\r\n]*").sub
FIELDS = (b"via", b"record-route", b"from", b"to", b"call-id", b"cseq")
BODY = SDP.audio("192.0.2.9", 5000).replace("\n", "\r\n").encode()


def reply(to: Request, status: str) -> bytes:
    """Answer a request whose fields may have any bytes."""
    lines = [b"SIP/2.0 " + status.encode()]
    lines += [name + b": " + field.value for name in FIELDS for field in to.all(name)]
    if not to.to_tag:
        lines = [line + b";tag=t1" if line.startswith(b"to:") else line for line in lines]
    lines += [
        b"Contact: <sip:x@192.0.2.9>",
        b"Content-Type: application/sdp",
        b"Content-Length: %d" % len(BODY),
    ]
    return b"\r\n".join([*lines, b"", BODY])


@pytest.fixture
def loud() -> Iterator[list[str]]:
    """Collect what is logged above warning."""
    found: list[str] = []

    def observe(event: LogEvent) -> None:
        if event.get("log_level") in (LogLevel.error, LogLevel.critical):
            failure = event.get("log_failure")
            found.append(f"{formatEvent(event)} {failure.getTraceback() if failure else ''}")

    globalLogPublisher.addObserver(observe)
    yield found
    globalLogPublisher.removeObserver(observe)
    gc.enable()


class Trouble(dict[str, list[str]]):
    """What each message has done."""

    def __init__(self, target: Target, loud: list[str]) -> None:
        self._sources = (loud, target.unreadable)

    def look(self, name: str) -> None:
        """Blame `name` for all that is new."""
        for source in self._sources:
            if source:
                self.setdefault(name, []).extend(source)
                source.clear()


def thrown(messages: Iterable[tuple[str, bytes]], throw: Callable[[bytes], None], trouble: Trouble) -> int:
    """Throw each of `messages`; return how many there were."""
    count = 0
    for name, data in messages:
        throw(data)
        trouble.look(name)
        count += 1
    return count


def finish(target: Target, trouble: Trouble) -> None:
    """Find that no message has made trouble, and that nothing is left of them."""
    assert trouble == {}
    target.close()
    trouble.look("the end")
    assert trouble == {}


def test_by_udp(loud: list[str]) -> None:
    """Each is refused, dropped or passed on; no failure is logged, and what leaves can be read."""
    target = Target()
    trouble = Trouble(target, loud)
    assert thrown(MESSAGES + BESIDE, target.datagrams, trouble) > 1400
    assert target.reached > 400
    finish(target, trouble)


def test_by_tcp(loud: list[str]) -> None:
    """Framed as they are, each on connections of its own: many have a Content-Length that is not true."""
    target = Target()
    trouble = Trouble(target, loud)
    assert thrown(MESSAGES + BESIDE, target.streams, trouble) > 1400
    assert target.reached > 300
    finish(target, trouble)


def test_while_nobody_is_registered(loud: list[str]) -> None:
    """By UDP and by TCP, from inside and from outside."""
    target = Target(registered=False)
    trouble = Trouble(target, loud)
    for number, (name, data) in enumerate(MESSAGES + BESIDE):
        from_outside = number % 2 == 0
        target.datagram(data[:LARGEST], from_outside)
        target.stream(data, not from_outside)
        target.forget()
        trouble.look(name)
    finish(target, trouble)


def test_byte_by_byte(loud: list[str]) -> None:
    """Some of them in the smallest pieces that there are."""

    def send(peer: StreamPeer, data: bytes) -> None:
        for at in range(len(data)):
            peer.send(data[at : at + 1])

    target = Target()
    trouble = Trouble(target, loud)
    thrown(MESSAGES[::40], lambda data: target.streams(data, send), trouble)
    finish(target, trouble)


def test_several_in_one_segment(loud: list[str]) -> None:
    """One after the other in one write; after one that breaks the framing nobody reads the others."""
    target = Target()
    trouble = Trouble(target, loud)
    for first in range(0, len(MESSAGES), 20):
        names, data = zip(*MESSAGES[first : first + 20], strict=True)
        target.streams(b"".join(data))
        trouble.look(f"{names[0]} to {names[-1]}")
    finish(target, trouble)


def test_protos(loud: list[str]) -> None:
    """The malformed INVITEs that have brought down many a phone and proxy, and what ends each of them.

    One for Alice by UDP, one from her, and the same by TCP; each kind of damage comes in dozens.
    """
    target = Target()
    trouble = Trouble(target, loud)
    count = 0
    for count, (name, templates) in enumerate(protos(), 1):
        from_outside, stream = count % 2 == 0, count % 4 >= 2
        values = {
            "From": "eve@example.test" if from_outside else "alice@sip.provider.test",
            "To": "alice@203.0.113.1" if from_outside else "bob@sip.provider.test",
            "From_Address": "203.0.113.50" if from_outside else "10.0.0.10",
            "From_IP": "203.0.113.50" if from_outside else "10.0.0.10",
            "Local_Port": "5060" if from_outside else "5062",
            "Teardown_Method": ("CANCEL", "BYE", "ACK")[count % 3],
        }
        for template in templates:
            data = filled(template, count, **values)
            (target.stream if stream or len(data) > LARGEST else target.datagram)(data, from_outside)
        target.forget()
        trouble.look(name)
    assert count == 2263
    assert target.reached > 2000
    finish(target, trouble)
