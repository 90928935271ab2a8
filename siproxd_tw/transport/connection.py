# SPDX-License-Identifier: MIT
"""One connection that carries SIP: what waits for it, how long it lives, and when it is given up.

- Messages go out in the order in which they were given. What cannot be written yet waits, within limits:
  for the connection, for its TLS handshake, for a peer that reads slowly.
- It ends when it was idle for `tcp_timeout` seconds. SIP messages in both directions count, and on a
  connection that was accepted everything that comes in, too: a phone which keeps the way through its
  NAT open by empty lines (RFC 5626 section 3.5.1) is registered by this connection. One that we have sent
  a REGISTER by is left open for longer: the registrar may have no other way to call the phone, as nobody
  listens where the connection begins.
- It is given up when the handshake takes too long, when whoever connected says nothing of use, when a
  peer takes nothing any more, and when one that has answered a ping before leaves one unanswered
  (RFC 5626 section 4.4.1).
- When it ends, its user learns which flows that concerns: those of the messages that waited, and those
  of the requests of the last `IN_FLIGHT` seconds.
- At most `READ` bytes and `TURN` messages are dealt with before other sockets have their turn.
- There is one timer, which is set again when it fires and not at each message.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IConnector,
    IDelayedCall,
    IHandshakeListener,
    IPushProducer,
    IReactorTime,
)
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.config.settings import TransportConfig
from siproxd_tw.interfaces import Address, Flow
from siproxd_tw.sip.framing import Framer, KeepAlive
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.transport.ended import Ended, failed_to_connect

__all__ = [
    "FIRST_MESSAGE",
    "HANDSHAKE",
    "IN_FLIGHT",
    "LINGER",
    "MOST_BYTES",
    "MOST_WAITING",
    "PONG",
    "READ",
    "REGISTERED",
    "TURN",
    "Connection",
    "ConnectionUser",
    "Framing",
    "Item",
]

READ = 16 * 1024
"""Bytes read from one connection before the others have their turn; see `udp.BATCH`."""
TURN = 32
"""Messages taken from one connection before the others have their turn."""
FIRST_MESSAGE = 30.0
"""Seconds within which somebody who connects to us sends a complete message."""
HANDSHAKE = 5.0
"""Seconds for a TLS or WebSocket handshake; ten round trips to the other side of the world."""
PONG = 10.0
"""Seconds within which a ping is answered (RFC 5626 section 4.4.1)."""
LINGER = 2.0
"""Seconds for what was written before the end to go out."""
REGISTERED = 86_400.0
"""Seconds for which an idle connection is kept that a REGISTER went out by: as long as registrations last."""
IN_FLIGHT = 32.0
"""Seconds for which a request waits for its response: timers B and F (RFC 3261 section 17.1)."""
MOST_WAITING = 1024
"""Messages that wait on one connection."""
MOST_BYTES = 1 << 20
"""Bytes of messages that wait on one connection."""
MOST_FLOWS = 64
"""Flows remembered of the requests that one connection has carried."""

PING = b"\r\n\r\n"
CRLF = b"\r\n"


Item = bytes | KeepAlive | ParseError | Ended
"""What framing finds: a message, an empty line, that it is lost, or that the peer says goodbye."""


class Framing(Protocol):
    """Finds messages in what comes in; a `Framer` is one."""

    expects_pong: bool

    def feed(self, data: bytes) -> Sequence[Item]:
        """Take the next bytes and return what is complete with them, in order."""


class ConnectionUser(Protocol):
    """Whose connection it is."""

    def opened(self, connection: Connection) -> None:
        """Take note that messages can go out; may `fail` the connection."""

    def handshake_failed(self, connection: Connection, reason: Failure) -> tuple[Ended, str]:
        """Say why it did not come so far, shortly and for the log."""

    def received(self, data: bytes, connection: Connection) -> None:
        """Take one message."""

    def broken(self, error: ParseError, connection: Connection) -> None:
        """Take note that there will be no more messages."""

    def sent(self) -> None:
        """Take note that a message was written."""

    def closing(self, connection: Connection) -> None:
        """Take note that nothing can be sent any more."""

    def ended(self, connection: Connection, flows: Iterable[Flow]) -> None:
        """Take note of the end; messages by `flows` did not arrive, or will not be answered."""


@implementer(IPushProducer, IHandshakeListener)
class Connection(TwistedProtocol):
    """One connection with `remote`, before it is made, while it lasts, until it has ended.

    `secured` says that its transport is TLS, so that it is of use when the handshake is over only. `name`
    is the domain that an outgoing one is made for.
    """

    READ = READ

    def __init__(
        self,
        user: ConnectionUser,
        remote: Address,
        config: TransportConfig,
        clock: IReactorTime,
        *,
        accepted: bool,
        secured: bool = False,
        name: str = "",
        framer: Framing | None = None,
    ) -> None:
        self.remote = remote
        self.name = name
        self.accepted = accepted
        self.secured = secured
        """Whether it is by TLS."""
        self.open = False
        """Whether messages can go out."""
        self.why = Ended.LOST
        """Why it has ended, once it has."""
        self.detail = ""
        """More about it, for the log."""
        self.keys: set[tuple[Address, str]] = set()
        """What its user finds it under."""
        self.connector: IConnector | None = None
        """What makes it, if we do."""
        self._user = user
        self._config = config
        self._clock = clock
        self._framer: Framing = framer or Framer()
        self._began = self._traffic = self._heard = self._spoke = clock.seconds()
        self._proven = False  # has sent a complete message
        self._pinged: float | None = None
        self._pongs = False  # has answered a ping once
        self._registers = False  # has carried a REGISTER of ours
        self._writable = False
        self._closing = False
        self._ended = False
        self._waiting: deque[tuple[bytes, Flow]] = deque()
        self._waiting_bytes = 0
        self._asked: dict[Flow, float] = {}
        self._postponed: deque[Item] = deque()
        self._turn: IDelayedCall | None = None
        self._timer: IDelayedCall | None = None

    # Going out

    def send(self, data: bytes, flow: Flow) -> str:
        """Write one message, or let it wait; say why not if that cannot be."""
        if self._writable:
            self._write_message(data, flow)
            return ""
        if self._closing:
            return self.why.value
        if len(self._waiting) >= MOST_WAITING or self._waiting_bytes + len(data) > MOST_BYTES:
            if self.open:
                self.fail(Ended.STALLED)
            return "too much waits"
        self._waiting.append((data, flow))
        self._waiting_bytes += len(data)
        return ""

    def _write_message(self, data: bytes, flow: Flow) -> None:
        self._write(data)
        self._traffic = self._spoke = now = self._clock.seconds()
        if not data.startswith(b"SIP/"):
            self._asked[flow] = now
            self._registers = self._registers or data.startswith(b"REGISTER ")
            if len(self._asked) > MOST_FLOWS:
                del self._asked[next(iter(self._asked))]
        self._user.sent()

    def _write(self, data: bytes) -> None:
        """Write the bytes of one message or keep-alive."""
        self._transport.write(data)

    def _write_pongs(self, count: int) -> None:
        self._write(CRLF * count)

    def pauseProducing(self) -> None:
        """See IPushProducer: the peer reads more slowly than we write."""
        self._writable = False

    def resumeProducing(self) -> None:
        """See IPushProducer."""
        self._writable = self.open and not self._closing
        while self._writable and self._waiting:
            data, flow = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._write_message(data, flow)

    def stopProducing(self) -> None:
        """See IPushProducer."""
        self._writable = False

    # Coming in

    def dataReceived(self, data: bytes) -> None:
        """See IProtocol."""
        if self._closing:
            return
        self._heard = self._clock.seconds()
        items = self._framer.feed(data)
        if self._postponed:  # TLS has decrypted more than one read
            self._postponed.extend(items)
        elif len(items) <= TURN:
            self._take(items)
        else:
            self._postponed.extend(items)
            self._transport.pauseProducing()
            self._take_a_turn()

    def _take_a_turn(self) -> None:
        self._turn = None
        if self._closing:
            return
        count = min(TURN, len(self._postponed))
        self._take([self._postponed.popleft() for _ in range(count)])
        if self._closing:
            return
        if self._postponed:
            self._turn = self._clock.callLater(0, self._take_a_turn)
        else:
            self._transport.resumeProducing()

    def _take(self, items: Iterable[Item]) -> None:
        pings = 0
        for item in items:
            if isinstance(item, bytes):
                self._traffic = self._heard
                self._proven = True
                self._user.received(item, self)
            elif isinstance(item, ParseError):
                self._user.broken(item, self)
                self.close(Ended.BROKEN, str(item))
            elif item is KeepAlive.PING:
                pings += 1
            elif item is KeepAlive.PONG:
                self._pongs = True
            elif isinstance(item, Ended):
                self.close(item)
            if self._closing:
                return
        if pings and self._writable:  # a peer that reads nothing gets no pongs either
            self._write_pongs(pings)
            self._spoke = self._heard

    # Beginning and end

    @property
    def _transport(self) -> Any:
        return self.transport

    def connectionMade(self) -> None:
        """See IProtocol."""
        lower = self._transport.transport if self.secured else self._transport
        if hasattr(lower, "bufferSize"):
            lower.bufferSize = self.READ
        lower.setTcpNoDelay(True)
        lower.setTcpKeepAlive(True)
        self._began = self._clock.seconds()
        if self._closing:  # while it was made
            self._transport.abortConnection()
            return
        self._arm()
        if not self.secured:
            self._ready()

    def handshakeCompleted(self) -> None:
        """See IHandshakeListener."""
        if not self._closing:
            self._ready()

    def _ready(self) -> None:
        """Take note that bytes can go either way: a connection, and TLS where it is wanted."""
        self._now_open()

    def _now_open(self) -> None:
        self._began = self._traffic = self._heard = self._spoke = self._clock.seconds()
        self.open = True
        self._user.opened(self)
        if not self._closing:
            self._transport.registerProducer(self, True)
            self.resumeProducing()
            self._arm()  # what is due now may be sooner than the end of the handshake would have been

    def close(self, why: Ended, detail: str = "") -> None:
        """End it after what was written has gone out; nothing comes in any more (RFC 5923 section 8.3)."""
        if not self._begin_to_close(why, detail):
            return
        if not self.open:
            self._give_up()
            return
        for data, _ in self._waiting:
            self._write(data)
        self._waiting.clear()
        self._goodbye()
        self._transport.unregisterProducer()
        self._transport.loseConnection()
        self._arm()

    def fail(self, why: Ended, detail: str = "") -> None:
        """End it at once."""
        if self._begin_to_close(why, detail):
            self._give_up()

    def _refuse(self, answer: bytes, why: str) -> None:
        """End it before it was open, with a last word."""
        if self._begin_to_close(Ended.HANDSHAKE, why):
            self._transport.write(answer)
            self._transport.loseConnection()
            self._arm()

    def _goodbye(self) -> None:
        """Write what the protocol wants to be the last bytes."""

    def _begin_to_close(self, why: Ended, detail: str) -> bool:
        if self._closing:
            return False
        self._closing, self._writable = True, False
        self.why, self.detail = why, detail
        self._began = self._clock.seconds()
        self._user.closing(self)
        return True

    def _give_up(self) -> None:
        if self.transport is not None:
            self._transport.abortConnection()
            self._arm()
        elif self.connector is not None:
            self.connector.disconnect()  # calls connecting_failed

    def connecting_failed(self, reason: Failure) -> None:
        """Take note that there will be no connection."""
        if not self._closing:
            self.why, self.detail = failed_to_connect(reason)
        self._end()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """See IProtocol."""
        if not self._closing:
            if not self.open:
                self.why, self.detail = self._user.handshake_failed(self, reason)
            elif reason.check(ConnectionDone):
                self.why = Ended.CLOSED
            else:
                self.detail = reason.getErrorMessage()
        self._end()

    def _end(self) -> None:
        if self._ended:
            return
        self._ended = self._closing = True
        self._writable = self.open = False
        for timer in (self._timer, self._turn):
            if timer is not None and timer.active():
                timer.cancel()
        since = self._clock.seconds() - IN_FLIGHT
        flows = dict.fromkeys(flow for _, flow in self._waiting)
        flows |= dict.fromkeys(flow for flow, at in self._asked.items() if at > since)
        self._waiting.clear()
        self._asked.clear()
        self._postponed.clear()
        self._user.ended(self, flows)
        self._let_go()

    def _let_go(self) -> None:
        """Leave no circle of references: garbage is looked for once an hour or day, see admin.collector."""
        self.transport = self.connector = None
        del self._framer

    # Time

    def _arm(self) -> None:
        """Set the timer to the first thing that will be due, if nothing happens until then."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        delay = self._due()[0] - self._clock.seconds()
        self._timer = None if self._ended else self._clock.callLater(max(0.0, delay), self._time)

    def _time(self) -> None:
        self._timer = None
        at, what = self._due()
        if self._clock.seconds() >= at:
            what()
        if self._timer is None and not self._ended:
            self._arm()

    def _due(self) -> tuple[float, Callable[[], None]]:
        if self._closing:
            return self._began + LINGER, self._abort
        if not self.open:
            return self._began + HANDSHAKE, lambda: self.fail(Ended.TIMED_OUT, "the handshake takes too long")
        life = max(self._traffic, self._heard) if self.accepted else self._traffic
        patience: float = self._config.tcp_timeout
        if self._registers and not self.accepted:
            patience = max(patience, REGISTERED)
        due: list[tuple[float, Callable[[], None]]] = [(life + patience, lambda: self.close(Ended.IDLE))]
        if self.accepted and not self._proven:
            due.append((self._began + FIRST_MESSAGE, lambda: self.close(Ended.SILENT)))
        if self._pinged is not None:
            due.append((self._pinged + PONG, self._miss_pong))
        elif not self.accepted and self._config.tcp_keepalive > 0:
            due.append((max(self._heard, self._spoke) + self._config.tcp_keepalive, self._ping))
        return min(due, key=lambda each: each[0])

    def _abort(self) -> None:
        self._began = self._clock.seconds()
        self._transport.abortConnection()

    def _ping(self) -> None:
        self._pinged = self._spoke = self._clock.seconds()
        if self._writable:
            self._framer.expects_pong = True
            self._write(PING)

    def _miss_pong(self) -> None:
        silent = self._pinged is not None and self._heard < self._pinged
        self._pinged = None
        self._framer.expects_pong = False
        if silent and self._pongs:
            self.fail(Ended.DEAD)
