# SPDX-License-Identifier: MIT
"""Questions to name servers (RFC 1035), with the records and messages of twisted.names.

`twisted.names.client.Resolver` is content with the first name server's SERVFAIL, does not look whether an
answer is one to its question, and has a timer and connections that nobody can end. So the exchange itself
is here:

- The first server is asked; each `STEP` without an answer the next one is asked too, in turn, and
  whoever answers first is believed. One that cannot or will not answer is passed over at once.
  After `GIVE_UP` the question has failed. A server that kept silent is asked last for a while.
- An answer counts when it comes from where the question went to, with its number and to this very
  question (RFC 5452 section 9.1). Each question has a port of its own. A truncated answer is asked for
  again by TCP.
- `stop` closes every socket and timer.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

from twisted.internet.defer import CancelledError, Deferred, DeferredList, fail, maybeDeferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import DatagramProtocol, connectionDone
from twisted.logger import Logger
from twisted.names import dns
from twisted.names.error import DNSNameError, DNSQueryTimeoutError, DNSServerError
from twisted.protocols.basic import Int16StringReceiver
from twisted.python.failure import Failure

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.dnsrecords import Kind, canonical
from siproxd_tw.transport.systemfiles import RESOLV_CONF, ResolvConf, name_server

__all__ = ["GIVE_UP", "STEP", "NameServers"]

STEP = 0.5
"""Seconds without an answer after which the next server is asked too, or the only one again."""
GIVE_UP = 2.4
"""Seconds after which a question has failed: two of them, services and addresses, fit into 5 s."""
MOST_ATTEMPTS = 4
"""Questions that are sent for one; so the first four servers count."""
SULK = 30.0
"""Seconds for which a server that kept silent is asked after the others."""
LONGEST_ANSWER = 16_384
"""Bytes of an answer by TCP, some milliseconds to read."""

Result = tuple[Sequence[dns.RRHeader], Sequence[dns.RRHeader], Sequence[dns.RRHeader]]
"""Answer, authority and additional section, as in twisted.internet.interfaces.IResolver."""


class NameServers:
    """Asks `servers`, each as `name_server` reads it; without any those of `resolv_conf`.

    `reactor` gives UDP sockets, TCP connections and time, `randomness` bytes for the numbers of questions.
    The `lookup` methods are those of twisted.internet.interfaces.IResolver. They fail with DNSNameError
    for a name that does not exist, DNSQueryTimeoutError and DNSServerError.
    """

    _log = Logger()

    def __init__(
        self,
        reactor: Any,
        servers: Sequence[str] = (),
        *,
        resolv_conf: str = RESOLV_CONF,
        randomness: Callable[[int], bytes] = os.urandom,
    ) -> None:
        self.reactor = reactor
        self.randomness = randomness
        self._servers = tuple(filter(None, map(self._server, servers)))
        self._system = ResolvConf(resolv_conf)
        self._silent: dict[Address, float] = {}
        self._running: set[_Exchange] = set()
        self._closing: set[Deferred[Any]] = set()

    def _server(self, text: str) -> Address | None:
        try:
            return name_server(text)
        except ValueError as error:
            self._log.error("name server left out: {error}", error=error)
            return None

    def lookupAddress(self, name: str, timeout: object = None) -> Deferred[Result]:
        """See twisted.internet.interfaces.IResolver."""
        return self._ask(name, Kind.A)

    def lookupIPV6Address(self, name: str, timeout: object = None) -> Deferred[Result]:
        """See twisted.internet.interfaces.IResolver."""
        return self._ask(name, Kind.AAAA)

    def lookupService(self, name: str, timeout: object = None) -> Deferred[Result]:
        """See twisted.internet.interfaces.IResolver."""
        return self._ask(name, Kind.SRV)

    def lookupNamingAuthorityPointer(self, name: str, timeout: object = None) -> Deferred[Result]:
        """See twisted.internet.interfaces.IResolver."""
        return self._ask(name, Kind.NAPTR)

    def stop(self) -> Deferred[Any]:
        """End all questions with CancelledError; fires when their sockets are closed."""
        for exchange in list(self._running):
            exchange.fail(CancelledError())
        return DeferredList(list(self._closing), consumeErrors=True)

    def servers(self) -> list[Address]:
        """Return the servers in the order in which they are asked now."""
        now = self.reactor.seconds()
        return sorted(
            self._servers or self._system.servers(), key=lambda each: self._silent.get(each, 0.0) > now
        )

    def _ask(self, name: str, kind: Kind) -> Deferred[Result]:
        try:
            exchange = _Exchange(self, dns.Query(name, kind, dns.IN))
        except ValueError as error:  # a label that is too long, a name that is not ASCII
            return fail(DNSServerError(str(error)))
        self._running.add(exchange)
        exchange.begin()
        return exchange.result

    def silent(self, server: Address) -> None:
        """Ask `server` after the others for a while."""
        now = self.reactor.seconds()
        self._silent = {each: until for each, until in self._silent.items() if until > now}
        self._silent[server] = now + SULK

    def ended(self, exchange: _Exchange) -> None:
        """Forget `exchange`."""
        self._running.discard(exchange)

    def closing(self, closed: Deferred[Any]) -> None:
        """Wait for `closed` when the service ends."""
        self._closing.add(closed)
        closed.addBoth(lambda _: self._closing.discard(closed))


class _Exchange:
    """One question on its way to several servers."""

    def __init__(self, owner: NameServers, query: dns.Query) -> None:
        self.result: Deferred[Result] = Deferred(lambda _: self._end())
        self._owner = owner
        self._key = (canonical(query.name.name.decode("ascii")), query.type)
        message = dns.Message(int.from_bytes(owner.randomness(2), "big"), recDes=1)
        message.queries = [query]
        self._number = message.id
        self._question = message.toStr()
        self._left = owner.servers()[:MOST_ATTEMPTS]
        self._attempts = 0
        self._paths: dict[Address, _Datagrams | _Stream] = {}
        self._step: IDelayedCall | None = None
        self._limit: IDelayedCall | None = None

    def begin(self) -> None:
        """Ask the first server."""
        self._limit = self._owner.reactor.callLater(GIVE_UP, self._expired)
        self._attempt()

    def _attempt(self) -> None:
        if self._step is not None and self._step.active():
            self._step.cancel()
        if self._attempts < MOST_ATTEMPTS:
            server = self._left.pop(0)
            self._left.append(server)
            self._attempts += 1
            self._step = self._owner.reactor.callLater(STEP, self._attempt)
            self._send(server)

    def _send(self, server: Address) -> None:
        path = self._paths.get(server)
        try:
            if path is None:
                path = self._paths[server] = _Datagrams(self, server)
                path.open(self._owner.reactor)
            path.send(self._question)
        except (CannotListenError, OSError) as error:  # no such family here, no route, no descriptor
            self.refused(server, str(error))

    def received(self, server: Address, data: bytes) -> None:
        """Take what `server` has sent, if it is the answer."""
        if server not in self._left:  # a second answer, before the socket is closed
            return
        message = dns.Message()
        try:
            message.fromStr(data)
            asked = [(canonical(each.name.name.decode("ascii")), each.type) for each in message.queries]
        except Exception:  # whatever the decoder does not expect of a stranger
            return
        if message.id != self._number or not message.answer or asked != [self._key]:
            return
        if message.trunc and not isinstance(self._paths.get(server), _Stream):
            self._again_by_tcp(server)
        elif message.rCode == dns.OK:
            self._note_silent(server)
            self._end()
            self.result.callback((message.answers, message.authority, message.additional))
        elif message.rCode == dns.ENAME:
            self._note_silent(server)
            self.fail(DNSNameError(message))
        else:
            self.refused(server, f"response code {message.rCode}")

    def _again_by_tcp(self, server: Address) -> None:
        self._owner.closing(self._paths[server].close())
        path = self._paths[server] = _Stream(self, server)
        path.open(self._owner.reactor)
        path.send(self._question)

    def refused(self, server: Address, why: str) -> None:
        """Go on without `server`."""
        if server not in self._left or self.result.called:
            return
        self._left.remove(server)
        if self._left:
            self._attempt()
        else:
            self.fail(DNSServerError(why))

    def _expired(self) -> None:
        self.fail(DNSQueryTimeoutError(self._number))

    def fail(self, error: Exception) -> None:
        """End the question without an answer."""
        if not self.result.called:
            self._end()
            self.result.errback(Failure(error))

    def _end(self) -> None:
        for timer in (self._step, self._limit):
            if timer is not None and timer.active():
                timer.cancel()
        self._left = []
        self._owner.ended(self)
        for path in self._paths.values():
            self._owner.closing(path.close())

    def _note_silent(self, answered: Address) -> None:
        for server in self._paths:  # in the order in which they were asked
            if server == answered:
                break
            if server in self._left:
                self._owner.silent(server)


class _Datagrams(DatagramProtocol):
    """A UDP socket for one question to one server.

    Not a connected one: on such a socket an ICMP "prohibited" of a firewall is an exception while reading.
    """

    def __init__(self, exchange: _Exchange, server: Address) -> None:
        self._exchange = exchange
        self._server = server
        self._source = server.host.partition("%")[0]
        self._port: Any = None

    def logPrefix(self) -> str:
        return f"question to name server {self._server}"

    def open(self, reactor: Any) -> None:
        self._port = reactor.listenUDP(0, self, interface="::" if ":" in self._source else "")

    def send(self, question: bytes) -> None:
        self._port.write(question, tuple(self._server))

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        if addr[0].partition("%")[0] == self._source and addr[1] == self._server.port:
            self._exchange.received(self._server, datagram)

    def close(self) -> Deferred[Any]:
        port, self._port = self._port, None
        return maybeDeferred(lambda: port and port.stopListening())


class _Stream(Int16StringReceiver):
    """A TCP connection for one question to one server."""

    MAX_LENGTH = LONGEST_ANSWER

    def __init__(self, exchange: _Exchange, server: Address) -> None:
        self._exchange = exchange
        self._server = server
        self._closed: Deferred[None] = Deferred()
        self._connecting: Deferred[Any] | None = None
        self._question = b""

    def open(self, reactor: Any) -> None:
        endpoint = TCP6ClientEndpoint if ":" in self._server.host else TCP4ClientEndpoint
        self._connecting = connectProtocol(endpoint(reactor, *self._server, timeout=GIVE_UP), self)
        self._connecting.addErrback(self._not_connected)

    def send(self, question: bytes) -> None:
        """Send `question` once, as soon as there is a connection."""
        self._question = question

    def connectionMade(self) -> None:
        self.sendString(self._question)  # type: ignore[no-untyped-call]

    def stringReceived(self, string: bytes) -> None:
        self._exchange.received(self._server, string)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._gone("the connection was closed")

    def _not_connected(self, failure: Failure) -> None:
        self._gone(failure.getErrorMessage())

    def _gone(self, why: str) -> None:
        if not self._closed.called:
            self._closed.callback(None)
        self._exchange.refused(self._server, why)

    def close(self) -> Deferred[Any]:
        if self.connected:
            transport: Any = self.transport
            transport.abortConnection()
        elif self._connecting is not None:
            self._connecting.cancel()
        return self._closed
