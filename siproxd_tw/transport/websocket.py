# SPDX-License-Identifier: MIT
"""SIP over WebSockets, as a server (RFC 7118): phones in browsers connect, nothing is ever connected to them.

- A connection is one of `siproxd_tw.transport.connection` with HTTP's upgrade as its handshake and with
  frames as its framing; time, limits and turns are the same as those of TCP.
- The subprotocol must be ``sip``. Any path and any Origin will do: who may use the proxy is decided by
  access lists and digest authentication, as for everybody else.
- One message of WebSocket, of text or binary and in any number of fragments, is one SIP message. What we
  send is text if it is UTF-8. Nothing is compressed.
- Pings of WebSocket and empty lines (section 6) are answered; both keep the connection.
- wsproto is needed when this is used only: ``pip install siproxd_tw[ws]``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, Flow
from siproxd_tw.sip.framing import MAX_MESSAGE, KeepAlive
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.transport.connection import CRLF, Connection, ConnectionUser, Item
from siproxd_tw.transport.ended import Ended
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.stream import StreamTransport

try:
    from wsproto import ConnectionType, WSConnection
    from wsproto import events as ws
    from wsproto.utilities import LocalProtocolError, RemoteProtocolError

    _missing = ""
except ImportError as _error:  # pragma: no cover
    _missing = str(_error)

__all__ = ["SUBPROTOCOL", "WebSocketTransport"]

SUBPROTOCOL = "sip"
"""Section 4.1."""

NORMAL, GOING_AWAY, TOO_BIG = 1000, 1001, 1009
"""RFC 6455 section 7.4.1."""

READ = 2048
"""Bytes read from one connection before the others have their turn: a frame may have six, and takes 25 us."""

BAD_REQUEST = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"


class WebSocketTransport(StreamTransport):
    """A `StreamTransport` for browsers; `name` is WS, or WSS and then `tls` is needed."""

    def listen(self) -> None:
        """See StreamTransport; raises CannotListen also without wsproto, or without a certificate for WSS."""
        if _missing:
            why = f"WebSockets need wsproto: pip install siproxd_tw[ws] ({_missing})"
            raise CannotListen(self.name, self.local, why)
        if self._tls is not None and not self._tls.serves:
            raise CannotListen(self.name, self.local, "there is no tls_certificate")
        super().listen()

    def _made_for(self, flow: Flow, name: str) -> Connection | None:
        return None  # a browser cannot be connected to

    def _connection(self, remote: Address, *, accepted: bool, name: str = "") -> Connection:
        return _WebSocket(self, remote, self._config, self._reactor, secured=self._tls is not None)


class _WebSocket(Connection):
    """One connection that a browser has made."""

    READ = READ

    def __init__(
        self, user: ConnectionUser, remote: Address, config: TransportConfig, clock: Any, *, secured: bool
    ) -> None:
        self._frames = _Frames(self)
        super().__init__(user, remote, config, clock, accepted=True, secured=secured, framer=self._frames)

    def _ready(self) -> None:
        """Wait for the upgrade."""

    def upgraded(self, answer: bytes) -> None:
        """Answer the upgrade: from now on there are frames."""
        self._transport.write(answer)
        self._now_open()

    def refuse(self, answer: bytes, why: str) -> None:
        """Answer an upgrade that cannot be, and close."""
        self._refuse(answer, why)

    def reply(self, frame: bytes) -> None:
        """Write a frame of WebSocket's own, unless the peer reads too slowly."""
        if self._writable:
            self._transport.write(frame)

    def _write(self, data: bytes) -> None:
        self._transport.write(self._frames.framed(data))

    def _write_pongs(self, count: int) -> None:
        for _ in range(count):
            self._write(CRLF)

    def _goodbye(self) -> None:
        self._transport.write(self._frames.goodbye(self.why))

    def _let_go(self) -> None:
        super()._let_go()
        del self._frames


class _Frames:
    """The upgrade and the frames of one connection."""

    def __init__(self, connection: _WebSocket) -> None:
        self.expects_pong = False
        self._connection = connection
        self._ws = WSConnection(ConnectionType.SERVER)
        self._parts: list[bytes] = []
        self._size = 0
        self._code = NORMAL
        self._over = False

    def feed(self, data: bytes) -> Sequence[Item]:
        """See Framing; what WebSocket wants answered is answered at once."""
        found: list[Item] = []
        try:
            self._ws.receive_data(data)
            for event in self._ws.events():
                self._take(event, found)
                if self._over:
                    break
        except RemoteProtocolError as error:
            self._refuse(error.event_hint, str(error))
        except ValueError as error:  # a Host that is no name
            self._refuse(None, str(error))
        return found

    def framed(self, message: bytes) -> bytes:
        """Return `message` as a frame; nothing when the peer has said goodbye already."""
        try:
            event: ws.Event = ws.TextMessage(message.decode())
        except UnicodeDecodeError:
            event = ws.BytesMessage(message)
        return self._sent(event)

    def goodbye(self, why: Ended) -> bytes:
        """Return the frame that closes the connection, or answers the peer's."""
        return self._sent(ws.CloseConnection(GOING_AWAY if why is Ended.STOPPED else self._code))

    def _sent(self, event: ws.Event) -> bytes:
        try:
            return self._ws.send(event)
        except LocalProtocolError:  # the state of the connection does not allow it any more
            return b""

    def _take(self, event: ws.Event, found: list[Item]) -> None:
        if isinstance(event, ws.Request):
            self._upgrade(event)
        elif isinstance(event, ws.Message):
            self._take_part(event, found)
        elif isinstance(event, ws.Ping):
            self._connection.reply(self._sent(event.response()))
        elif isinstance(event, ws.CloseConnection):
            # 1005 and 1006 say that there was no code, and must not be sent (RFC 6455 section 7.4.1).
            self._code = event.code if event.code not in (1005, 1006) else NORMAL
            self._over = True
            found.append(Ended.CLOSED)

    def _upgrade(self, request: ws.Request) -> None:
        if SUBPROTOCOL in request.subprotocols:
            self._connection.upgraded(self._ws.send(ws.AcceptConnection(subprotocol=SUBPROTOCOL)))
        else:
            self._refuse(ws.RejectConnection(status_code=400), "the subprotocol is not sip")

    def _refuse(self, event: ws.Event | None, why: str) -> None:
        self._over = True
        answer = b"" if event is None else self._sent(event)
        self._connection.refuse(answer or BAD_REQUEST, why)

    def _take_part(self, event: ws.Message[Any], found: list[Item]) -> None:
        data = event.data
        part = data.encode() if isinstance(data, str) else bytes(data)
        self._size += len(part)
        if self._size > MAX_MESSAGE:
            self._code, self._over = TOO_BIG, True
            found.append(ParseError(f"more than {MAX_MESSAGE} bytes", "message", 0, None))
            return
        if part:
            self._parts.append(part)
        if not event.message_finished:
            return
        message = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        if message.strip(CRLF):
            found.append(message)
        elif message:
            found.append(KeepAlive.PING if message == CRLF * 2 else KeepAlive.LINE)
