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
from twisted.internet.interfaces import IListeningPort
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Flow, IStatus, ITransport, Side
from siproxd_tw.transport.bugs import Bugs
from siproxd_tw.transport.ports import refused
from siproxd_tw.transport.resolver import ip_literal
from siproxd_tw.transport.sockets import check_dscp, mark, set_option

__all__ = ["LARGEST_DATAGRAM", "RECEIVE_BUFFER", "UDPTransport"]

LARGEST_DATAGRAM = 65536
"""What we are ready to receive, bytes; no datagram is longer, so none is cut (RFC 768)."""
RECEIVE_BUFFER = 1 << 20
"""Of the kernel for one socket, bytes: a second of a thousand REGISTERs after a power cut.
The kernel may grant less (Linux: net.core.rmem_max)."""
BATCH = 16 * 1024
"""Bytes read from one socket before the others have their turn: some twenty messages, a millisecond of
work. Twisted's own bound, 256 kB, lets a burst of SIP hold up the media."""

MOST_HOSTS = 100_000
"""Peers that are known to be addresses and no names."""

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
        self.local = local
        self.side = side
        self._received = received
        self._dscp = check_dscp(dscp)
        self._port: IListeningPort | None = None
        self._write: Callable[[bytes, Address], object] | None = None
        self._numeric: set[str] = set()
        self._counts: Counter[str] = Counter()
        self._send_errors: Counter[str] = Counter()
        self._bugs = Bugs()

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
            # Twisted's own write looks at each address anew, which takes longer than the system call: 8.1 us
            # against 5.7 for a datagram there and back.
            self._write = getattr(bound.getHandle(), "sendto", None) or bound.write
            return
        raise explained  # out here, as Twisted's exception keeps the unbound socket open while it lives

    def stop(self) -> Deferred[None]:
        """Close the socket; the Deferred fires when the address is free again."""
        port, self._port = self._port, None
        self._write = None
        closed = None if port is None else port.stopListening()
        return succeed(None) if closed is None else closed

    @property
    def listening(self) -> bool:
        """Whether the socket is open and nobody has asked to close it."""
        return self._port is not None

    def send(self, data: bytes, flow: Flow) -> None:
        """See ITransport."""
        write = self._write
        if write is None:
            self._unsent("closed", data, flow.remote)
            return
        try:
            if flow.remote.host not in self._numeric:
                self._check(flow.remote.host)
            write(data, flow.remote)
        except (OSError, MessageLengthError, InvalidAddressError, OverflowError) as error:
            self._unsent(_reason(error), data, flow.remote)
        else:
            self._counts["sent"] += 1

    def _check(self, host: str) -> None:
        """Refuse what is no IP address: the system call would look a name up, and all of us would wait."""
        literal = ip_literal(host.partition("%")[0])
        if literal is None or (":" in literal) != (":" in self.local.host):
            raise InvalidAddressError(host, f"not an IP address that can be reached from {self.local.host}")
        if len(self._numeric) >= MOST_HOSTS:
            self._numeric.clear()
        self._numeric.add(host)

    def reaches(self, remote: Address) -> bool:
        """See ITransport."""
        return True

    def alias(self, remote: Address, advertised: Address) -> None:
        """See ITransport: there is no connection."""

    def status(self) -> Mapping[str, object]:
        """See IStatus; `send_errors` by name of the errno, `failures` are bugs of ours."""
        return {
            "local": str(self.local),
            "side": self.side.value,
            "listening": self.listening,
            **{key: self._counts[key] for key in ("received", "sent", "refused")},
            "failures": self._bugs.count,
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
            what = f"a datagram of {len(datagram)} bytes"
            self._bugs.caught(self.name, self.local, what, Address(addr[0], addr[1]))

    def connectionRefused(self) -> None:
        """Count an ICMP error; it does not say which of the peers is meant."""
        self._counts["refused"] += 1

    def stopProtocol(self) -> None:
        """Say so when the socket is lost although nobody stopped it; the reactor has logged the cause."""
        self._write = None
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

    def _tune(self, port: IListeningPort) -> None:
        if hasattr(port, "maxThroughput"):
            port.maxThroughput = BATCH
        set_option(port, self.local, socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER)
        mark(port, self.local, self._dscp)


def _reason(error: Exception) -> str:
    """Name what kept a datagram from being sent, by its errno where it has one."""
    if isinstance(error, MessageLengthError):
        return errorcode[EMSGSIZE]
    number = getattr(error, "errno", None)
    return errorcode.get(number, type(error).__name__) if number else type(error).__name__
