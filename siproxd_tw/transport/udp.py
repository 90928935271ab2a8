# SPDX-License-Identifier: MIT
"""SIP over UDP (RFC 3261 section 18): one bound socket, one datagram, one message.

- What comes in goes to `received` as it is: keep-alives, garbage and empty datagrams, too.
- Nothing that the network, a peer or our own code does closes the socket or raises out of here.
  What went wrong is counted, see `UDPTransport.status`.
- Each side has sockets of its own, bound to the address of that side and never to the wildcard
  address: the answer must leave by the address to which the request was sent.
"""

from __future__ import annotations

import socket
from collections import Counter
from collections.abc import Callable, Mapping
from errno import EMSGSIZE, errorcode
from typing import Any

from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import CannotListenError, InvalidAddressError, MessageLengthError
from twisted.internet.interfaces import IListeningPort, ISystemHandle
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Flow, IStatus, ITransport, Side
from siproxd_tw.transport.ports import refused

__all__ = ["LARGEST_DATAGRAM", "RECEIVE_BUFFER", "UDPTransport"]

LARGEST_DATAGRAM = 65536
"""What we are ready to receive, bytes; no datagram is longer, so none is cut (RFC 768)."""
RECEIVE_BUFFER = 1 << 20
"""Of the kernel for one socket, bytes: a second of a thousand REGISTERs after a power cut.
The kernel may grant less (Linux: net.core.rmem_max)."""
BATCH = 16 * 1024
"""Bytes read from one socket before the others have their turn: some twenty messages, a millisecond of
work. Twisted's own bound, 256 kB, lets a burst of SIP hold up the media."""

Received = Callable[[bytes, ITransport, Address], None]
"""Called with the bytes, the transport and the peer's address for each datagram."""


@implementer(ITransport, IStatus)
class UDPTransport(DatagramProtocol):
    """One UDP socket; exists before it listens and after it was stopped, and drops what it is given then.

    Port 0 in `local` lets the system choose one; `local` names it as soon as it listens.
    `dscp` marks what is sent (RFC 2474), 0 to 63.
    """

    name = "UDP"
    reliable = False
    noisy = False
    _log = Logger()

    def __init__(self, local: Address, side: Side, received: Received, dscp: int = 0) -> None:
        if not 0 <= dscp <= 63:
            raise ValueError(f"DSCP {dscp} is not in 0..63")
        self.local = local
        self.side = side
        self._received = received
        self._dscp = dscp
        self._port: IListeningPort | None = None
        self._counts: Counter[str] = Counter()
        self._send_errors: Counter[str] = Counter()
        self._bugs: Counter[object] = Counter()

    def listen(self, listen_udp: Callable[..., IListeningPort]) -> None:
        """Bind the socket with `listen_udp`, a function like IReactorUDP.listenUDP.

        Raises CannotListen with one line for the administrator.
        """
        host, port = self.local
        try:
            bound: Any = listen_udp(port, self, interface=host, maxPacketSize=LARGEST_DATAGRAM)
        except CannotListenError as error:
            explained = refused(error, self.name, self.local)
        else:
            self._port = bound
            self.local = Address(host, bound.getHost().port)
            self._tune(bound)
            return
        raise explained  # out here, as Twisted's exception keeps the unbound socket open while it lives

    def stop(self) -> Deferred[None]:
        """Close the socket; the Deferred fires when the address is free again."""
        port, self._port = self._port, None
        closed = None if port is None else port.stopListening()
        return succeed(None) if closed is None else closed

    @property
    def listening(self) -> bool:
        """Whether the socket is open and nobody has asked to close it."""
        return self._port is not None

    def send(self, data: bytes, flow: Flow) -> None:
        """See ITransport."""
        if self.transport is None:
            self._unsent("closed", data, flow.remote)
            return
        try:
            self.transport.write(data, flow.remote)
        except (OSError, MessageLengthError, InvalidAddressError, OverflowError) as error:
            self._unsent(_reason(error), data, flow.remote)
        else:
            self._counts["sent"] += 1

    def reaches(self, remote: Address) -> bool:
        """See ITransport."""
        return True

    def status(self) -> Mapping[str, object]:
        """See IStatus; `send_errors` by name of the errno, `failures` are bugs of ours."""
        return {
            "local": str(self.local),
            "side": self.side.value,
            "listening": self.listening,
            **{key: self._counts[key] for key in ("received", "sent", "refused", "failures")},
            "send_errors": dict(self._send_errors),
        }

    def datagramReceived(self, datagram: bytes, addr: Any) -> None:
        """Pass a datagram on. A bug met there is ours to report: the socket serves everybody."""
        if not self.listening:  # Twisted reads its batch to the end, also when the first one stops us
            return
        self._counts["received"] += 1
        try:
            self._received(datagram, self, Address(addr[0], addr[1]))
        except Exception:
            self._failed(Failure(), len(datagram), addr)

    def connectionRefused(self) -> None:
        """Count an ICMP error; it does not say which of the peers is meant."""
        self._counts["refused"] += 1

    def stopProtocol(self) -> None:
        """Say so when the socket is lost although nobody stopped it; the reactor has logged the cause."""
        if self._port is not None:
            self._port = None
            self._log.error("UDP {local}: the socket was lost", local=self.local)

    def _unsent(self, reason: str, data: bytes, remote: Address) -> None:
        self._send_errors[reason] += 1
        self._log.debug(
            "UDP {local}: {size} bytes for {remote} not sent: {reason}",
            local=self.local,
            size=len(data),
            remote=remote,
            reason=reason,
        )

    def _failed(self, failure: Failure, size: int, addr: Any) -> None:
        """Log a bug once in full; from then on it is counted, so that no peer can fill the disk."""
        self._counts["failures"] += 1
        place = (failure.type, failure.frames[-1][:3] if failure.frames else None)
        self._bugs[place] += 1
        if self._bugs[place] == 1:
            self._log.failure(
                "UDP {local}: failed at a datagram of {size} bytes from {peer}",
                failure=failure,
                local=self.local,
                size=size,
                peer=Address(addr[0], addr[1]),
            )

    def _tune(self, port: IListeningPort) -> None:
        if hasattr(port, "maxThroughput"):
            port.maxThroughput = BATCH
        if not ISystemHandle.providedBy(port):
            return
        handle = port.getHandle()
        self._set(handle, socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        if self._dscp:
            level, option = (
                (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)
                if ":" in self.local.host
                else (socket.IPPROTO_IP, socket.IP_TOS)
            )
            self._set(handle, level, option, self._dscp << 2)

    def _set(self, handle: Any, level: int, option: int, value: int) -> None:
        try:
            handle.setsockopt(level, option, value)
        except OSError as error:
            self._log.warn(
                "UDP {local}: socket option {option} cannot be {value}: {error}",
                local=self.local,
                option=option,
                value=value,
                error=error,
            )


def _reason(error: Exception) -> str:
    """Name what kept a datagram from being sent, by its errno where it has one."""
    if isinstance(error, MessageLengthError):
        return errorcode[EMSGSIZE]
    number = getattr(error, "errno", None)
    return errorcode.get(number, type(error).__name__) if number else type(error).__name__
