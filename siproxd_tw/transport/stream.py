# SPDX-License-Identifier: MIT
"""SIP over TCP and TLS (RFC 3261 section 18): one listening socket, many connections, one table of them.

- A connection serves everything for its remote address, whoever made it: responses leave by the
  connection that the request came by, requests to a phone by the one it has made.
- By TLS a connection is found under the domain for which the peer's certificate is good, too, and a
  request to another domain at the same address gets a connection of its own (RFC 5923 section 9.3). A
  request to an IP address goes by any connection with it.
- Nothing that the network, a peer or our own code does raises out of here. What could not be sent is
  counted and told to `ISendReport.unsent`, each flow once, never from within `send`.
- Whoever connects is bound to limits: in number, in time until the first message, in what may wait.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IAddress, IConnector, IDelayedCall, IListeningPort, IProtocol
from twisted.internet.protocol import ClientFactory, ServerFactory
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, Flow, ISendReport, IStatus, ITransport, Side
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.transport.bugs import Bugs
from siproxd_tw.transport.connection import IN_FLIGHT, Connection
from siproxd_tw.transport.ended import Ended
from siproxd_tw.transport.ports import CannotListen, refused
from siproxd_tw.transport.sockets import check_dscp, give_up_after, mark
from siproxd_tw.transport.tls import TLS, TLSUnusable, explain

__all__ = ["MOST_CONNECTIONS", "MOST_FROM_HOST", "RESERVED", "StreamTransport"]

MOST_CONNECTIONS = 2000
"""Connections of one transport."""
RESERVED = 200
"""How many of them are for those that we make."""
MOST_FROM_HOST = {Side.INSIDE: 200, Side.OUTSIDE: 50}
"""Connections that one host may have made to us."""
MOST_NAMES = 16
"""Addresses and domains that one connection is found under: whoever says ``alias`` chooses the port."""
MOST_WARNINGS = 1000
"""Distrusted peers that are named in the log."""
BACKLOG = 256
"""Connections that the kernel accepts before we do."""

Key = tuple[Address, str]
"""A remote address and the domain that the peer there has proven to be; empty without TLS."""


@implementer(ITransport, IStatus)
class StreamTransport:
    """One listening TCP socket and the connections of its address; exists before it listens, and after.

    `name` is TCP, or TLS and then `tls` is needed. Port 0 in `local` lets the system choose one, and
    `local` names it as soon as it listens; with TLS without a certificate nothing is listened on.
    `reactor` provides IReactorTCP and IReactorTime. `dscp` marks what is sent (RFC 2474), 0 to 63.
    """

    reliable = True
    _log = Logger()

    def __init__(
        self,
        name: str,
        local: Address,
        side: Side,
        report: ISendReport,
        config: TransportConfig,
        *,
        reactor: Any,
        tls: TLS | None = None,
        dscp: int = 0,
    ) -> None:
        self.name = name
        self.local = local
        self.side = side
        self._report = report
        self._config = config
        self._reactor = reactor
        self._tls = tls
        self._dscp = check_dscp(dscp)
        self._running = False
        self._port: IListeningPort | None = None
        self._table: dict[Key, Connection] = {}
        self._connections: dict[Connection, None] = {}
        self._from_host: Counter[str] = Counter()
        self._gone: Deferred[None] | None = None
        self._untold: dict[Flow, str] = {}
        self._telling: IDelayedCall | None = None
        self._counts: Counter[str] = Counter()
        self._send_errors: Counter[str] = Counter()
        self._bugs = Bugs()
        self._warned: set[tuple[str, str]] = set()

    def listen(self) -> None:
        """Bind the socket and be ready to connect.

        Raises CannotListen with one line for the administrator, also when TLS cannot be had.
        """
        if self._tls is not None:
            try:
                self._tls.load()
            except TLSUnusable as unusable:
                raise CannotListen(self.name, self.local, str(unusable)) from None
        if self._tls is None or self._tls.serves:
            self._listen()
        self._running = True

    def _listen(self) -> None:
        host, port = self.local
        try:
            bound = self._reactor.listenTCP(port, _Acceptor(self), backlog=BACKLOG, interface=host)
        except CannotListenError as error:
            explained = refused(error, self.name, self.local)
        else:
            self._port = bound
            self.local = Address(host, bound.getHost().port)
            return
        raise explained  # out here, as Twisted's exception keeps the unbound socket open while it lives

    def stop(self) -> Deferred[None]:
        """Close the socket and all connections; the Deferred fires when that has happened."""
        self._running = False
        if self._telling is not None:
            self._telling.cancel()
        self._telling, self._untold = None, {}
        port, self._port = self._port, None
        closed = None if port is None else port.stopListening()
        if self._connections and self._gone is None:
            self._gone = Deferred()
        gone = self._gone
        for connection in list(self._connections):
            connection.close(Ended.STOPPED)
        all_closed: Deferred[Any] = gatherResults([closed or succeed(None), gone or succeed(None)])
        return all_closed.addCallback(lambda _: None)

    @property
    def listening(self) -> bool:
        """Whether it can be used: it was told to listen, and not yet to stop."""
        return self._running

    def send(self, data: bytes, flow: Flow) -> None:
        """See ITransport (18.1.1, 18.2.2)."""
        name = "" if self._tls is None else flow.name.lower()
        connection = self._table.get((flow.remote, name)) or self._made_for(flow, name)
        reason = "no connection can be made" if connection is None else connection.send(data, flow)
        if reason:
            self._unsent(flow, reason)

    def reaches(self, remote: Address) -> bool:
        """See ITransport."""
        connection = self._table.get((remote, ""))
        return connection is not None and connection.open

    def alias(self, remote: Address, advertised: Address) -> None:
        """Find the connection that `remote` has made under the address it has advertised, too (RFC 5923).

        That is the source's host and the port of the topmost Via of a request which says ``alias``. It
        counts for the domains, and the address, that the client's certificate was verified for, and
        without TLS only for the host itself (RFC 5923 sections 5 and 9); else nothing happens.
        """
        connection = self._table.get((remote, ""))
        if connection is None or not connection.accepted or not connection.open:
            return
        if self._tls is not None:
            for identity in self._tls.identities(connection.transport):
                self._found_as(connection, (advertised, "" if identity == advertised.host else identity))
        elif advertised.host == remote.host:
            self._found_as(connection, (advertised, ""))

    def status(self) -> Mapping[str, object]:
        """See IStatus; `send_errors` and `ended` by reason, `failures` are bugs of ours."""
        return {
            "local": str(self.local),
            "side": self.side.value,
            "listening": self.listening,
            "connections": len(self._connections),
            **{key: self._counts[key] for key in ("accepted", "connected", "refused", "received", "sent")},
            "failures": self._bugs.count,
            "send_errors": dict(self._send_errors),
            "ended": {why.value: self._counts[why.value] for why in Ended if self._counts[why.value]},
        }

    # Connections

    def _made_for(self, flow: Flow, name: str) -> Connection | None:
        """Return a connection for a flow that has none: the one for its response, or a new one."""
        if flow.fallback is None:
            return self._connect(flow.remote, name)
        return self._table.get((flow.fallback, name)) or self._connect(flow.fallback, name)

    def _connect(self, remote: Address, name: str) -> Connection | None:
        host, port = remote
        literal = isIPv6Address(host) if ":" in self.local.host else isIPAddress(host)
        if not self._running or not literal or not 0 < port < 65536:
            return None
        if len(self._connections) >= MOST_CONNECTIONS:
            return None
        connection = self._connection(remote, accepted=False, name=name)
        protocol = connection if self._tls is None else self._tls.connecting(connection, name)
        self._enter(connection)
        connection.connector = self._reactor.connectTCP(
            host,
            port,
            _Connector(connection, protocol),
            timeout=self._config.tcp_connect_timeout,
            bindAddress=(self.local.host, 0),
        )
        return connection

    def accept(self, remote: Address) -> IProtocol | None:
        """Return the protocol for a new connection from `remote`, None if there are too many."""
        limit = MOST_FROM_HOST[self.side]
        full = len(self._connections) >= MOST_CONNECTIONS - RESERVED or self._from_host[remote.host] >= limit
        if full or not self._running:
            self._counts["refused"] += 1
            self._log.debug(
                "{name} {local}: {remote} has too many connections",
                name=self.name,
                local=self.local,
                remote=remote,
            )
            return None
        self._counts["accepted"] += 1
        self._from_host[remote.host] += 1
        connection = self._connection(remote, accepted=True)
        self._enter(connection)
        return connection if self._tls is None else self._tls.accepting(connection)

    def _connection(self, remote: Address, *, accepted: bool, name: str = "") -> Connection:
        secured = self._tls is not None
        return Connection(
            self, remote, self._config, self._reactor, accepted=accepted, secured=secured, name=name
        )

    def _enter(self, connection: Connection) -> None:
        self._connections[connection] = None
        key = (connection.remote, connection.name)
        connection.keys.add(key)
        self._table[key] = connection
        if connection.name:
            self._found_as(connection, (connection.remote, ""))

    def _found_as(self, connection: Connection, key: Key) -> None:
        """Find `connection` under `key` from now on, unless somebody is there in his own right."""
        present = self._table.get(key)
        if present is not None and (not present.accepted or present.remote == key[0]):
            return
        if len(connection.keys) >= MOST_NAMES:
            return
        if present is not None:
            present.keys.discard(key)
        self._table[key] = connection
        connection.keys.add(key)

    # What a connection tells: ConnectionUser

    def opened(self, connection: Connection) -> None:
        """See ConnectionUser."""
        transport: Any = connection.transport
        lower = transport.transport if connection.secured else transport
        mark(lower, self.local, self._dscp)
        give_up_after(IN_FLIGHT, lower, self.local)
        if self._tls is not None and not connection.accepted:
            distrust = self._tls.distrust(transport, connection.name, connection.remote.host)
            if distrust:
                connection.fail(Ended.DISTRUSTED, distrust)
                return
        if not connection.accepted:
            self._counts["connected"] += 1
        self._log.debug(
            "{name} {local}: connection with {remote}",
            name=self.name,
            local=self.local,
            remote=connection.remote,
        )

    def handshake_failed(self, connection: Connection, reason: Failure) -> tuple[Ended, str]:
        """See ConnectionUser."""
        if self._tls is not None and connection.secured:
            host = connection.remote.host
            distrust = self._tls.refusal(connection.transport, connection.name, host)
            if distrust and not connection.accepted:
                return Ended.DISTRUSTED, distrust
            return Ended.HANDSHAKE, distrust or explain(reason)
        return Ended.HANDSHAKE, reason.getErrorMessage()

    def received(self, data: bytes, connection: Connection) -> None:
        """See ConnectionUser. A bug met there is ours to report: the connection goes on."""
        self._counts["received"] += 1
        remote = connection.remote
        if (
            connection.name and (remote, "") not in connection.keys
        ):  # so that responses find it, if nothing better is there
            self._found_as(connection, (remote, ""))
        try:
            self._report.received(data, self, remote)
        except Exception:
            self._bugs.caught(self.name, self.local, f"a message of {len(data)} bytes", remote)

    def broken(self, error: ParseError, connection: Connection) -> None:
        """See ConnectionUser."""
        try:
            self._report.broken(error, self, connection.remote)
        except Exception:
            self._bugs.caught(self.name, self.local, "a lost framing", connection.remote)

    def sent(self) -> None:
        """See ConnectionUser."""
        self._counts["sent"] += 1

    def closing(self, connection: Connection) -> None:
        """See ConnectionUser."""
        for key in connection.keys:
            if self._table.get(key) is connection:
                del self._table[key]
        connection.keys.clear()

    def ended(self, connection: Connection, flows: Iterable[Flow]) -> None:
        """See ConnectionUser."""
        self.closing(connection)
        if connection not in self._connections:
            return
        del self._connections[connection]
        if connection.accepted:
            self._from_host[connection.remote.host] -= 1
            if not self._from_host[connection.remote.host]:
                del self._from_host[connection.remote.host]
        self._counts[connection.why.value] += 1
        self._tell_the_log(connection)
        for flow in flows:
            self._unsent(flow, connection.why.value)
        if not self._connections and self._gone is not None:
            gone, self._gone = self._gone, None
            gone.callback(None)

    def _tell_the_log(self, connection: Connection) -> None:
        event = {
            "name": self.name,
            "local": self.local,
            "remote": connection.remote,
            "why": connection.why.value,
            "detail": connection.detail,
        }
        about = (connection.remote.host, connection.detail)
        new = about not in self._warned and len(self._warned) < MOST_WARNINGS
        if connection.why is Ended.DISTRUSTED and new:
            self._warned.add(about)
            self._log.warn("{name} {local}: no connection with {remote}: {detail}", **event)
            return
        self._log.debug("{name} {local}: end of connection with {remote}: {why} ({detail})", **event)

    # What could not be sent

    def _unsent(self, flow: Flow, reason: str) -> None:
        self._send_errors[reason if self._running else Ended.STOPPED.value] += 1
        if not self._running:
            return
        self._untold[flow] = reason
        if self._telling is None:
            self._telling = self._reactor.callLater(0, self._tell)

    def _tell(self) -> None:
        self._telling = None
        untold, self._untold = self._untold, {}
        for flow, reason in untold.items():
            try:
                self._report.unsent(flow, reason)
            except Exception:
                self._bugs.caught(self.name, self.local, "a failed connection", flow.remote)


class _Acceptor(ServerFactory):
    """Makes the protocols of connections that others have made."""

    noisy = False

    def __init__(self, transport: StreamTransport) -> None:
        self._transport = transport

    def logPrefix(self) -> str:
        """See ILoggingContext: Twisted's own lines name what it is."""
        return f"SIP over {self._transport.name}"

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See IProtocolFactory."""
        peer: Any = addr
        return self._transport.accept(Address(peer.host, peer.port))


class _Connector(ClientFactory):
    """Makes the protocol of one connection that we make."""

    noisy = False

    def __init__(self, connection: Connection, protocol: IProtocol) -> None:
        self._connection = connection
        self._protocol = protocol

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """See IProtocolFactory."""
        return self._protocol

    def clientConnectionFailed(self, connector: IConnector, reason: Failure) -> None:
        """See ClientFactory."""
        self._connection.connecting_failed(reason)

    def clientConnectionLost(self, connector: IConnector, reason: Failure) -> None:
        """See ClientFactory; Twisted's connector and its transport hold each other, and us."""
        connector.transport = None  # type: ignore[attr-defined]
        del self._connection, self._protocol
