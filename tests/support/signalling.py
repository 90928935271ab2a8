# SPDX-License-Identifier: MIT
"""The transport layer as the proxy core sees it, without transport: notes what it is told to send."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Flow, Hop, ISignalling, ITransport, Side
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.transaction import State, Timers
from siproxd_tw.sip.transactionlayer import ClientTransaction, ServerTransaction, input_for

__all__ = ["MemorySignalling", "MemoryTransport"]


@implementer(ITransport)
class MemoryTransport:
    """One of our addresses; keeps what is sent from it."""

    def __init__(self, local: Address, side: Side, *, name: str = "UDP", reliable: bool = False) -> None:
        self.name = name
        self.reliable = reliable
        self.local = local
        self.side = side
        self.sent: list[tuple[bytes, Address]] = []
        self.gone: set[Address] = set()
        """Peers whose connection is no more."""
        self.aliases: list[tuple[Address, Address]] = []

    def send(self, data: bytes, flow: Flow) -> None:
        """See ITransport."""
        self.sent.append((data, flow.remote))

    def reaches(self, remote: Address) -> bool:
        """See ITransport."""
        return remote not in self.gone

    def alias(self, remote: Address, advertised: Address) -> None:
        """See ITransport."""
        self.aliases.append((remote, advertised))


@implementer(ISignalling)
class MemorySignalling:
    """Notes each message in `journal` as "INVITE to 203.0.113.50:5060", and as it is in `sent`."""

    def __init__(self, clock: IReactorTime, journal: list[str] | None = None) -> None:
        self._clock = clock
        self.journal = [] if journal is None else journal
        self.transports: dict[tuple[Side, str, bool], MemoryTransport] = {}
        """The way out by side, transport and whether it is IPv6; take one away and `flow_to` knows no way."""
        for name in ("UDP", "TCP", "TLS"):
            self.add(name, Side.INSIDE, "10.0.0.1")
            self.add(name, Side.OUTSIDE, "203.0.113.1")
        self.sent: list[Message] = []
        """What was sent, as it was at that moment."""
        self.clients: list[ClientTransaction] = []
        self.cancelled: list[ClientTransaction] = []
        self.cancel_headers: list[tuple[bytes, ...]] = []
        self.forgotten: list[ServerTransaction] = []

    def add(self, name: str, side: Side, host: str) -> None:
        """Have a socket of this kind."""
        local = Address(host, 5061 if name == "TLS" else 5060)
        transport = MemoryTransport(local, side, name=name, reliable=name != "UDP")
        self.transports[side, name, ":" in host] = transport

    def flow_to(self, hop: Hop, side: Side) -> Flow | None:
        """See ISignalling."""
        transport = self.transports.get((side, hop.transport, ":" in hop.address.host))
        return None if transport is None else Flow(transport, hop.address, side, hop.name)

    def request(self, request: Request, flow: Flow, user: object, branch: bytes) -> ClientTransaction:
        """See ISignalling."""
        self._note(request.method, request, flow)
        assert request.top_via.branch == branch
        key = (branch, request.method)
        transaction = ClientTransaction(request.copy(), flow, key, Timers(), flow.transport.reliable, user)
        transaction.start(self._clock.seconds())
        self.clients.append(transaction)
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """See ISignalling; the transaction changes its state as it would."""
        transaction.advance(input_for(response.status), self._clock.seconds())
        transaction.last = bytes(response)
        self._note(str(response.status), response, transaction.reply)

    def cancel(self, transaction: ClientTransaction, headers: Sequence[bytes] = ()) -> None:
        """See ISignalling."""
        self.cancel_headers.append(tuple(headers))
        self.journal.append(f"cancel {transaction.request.method} to {transaction.flow.remote}")
        self.cancelled.append(transaction)

    def forget(self, transaction: ServerTransaction) -> None:
        """See ISignalling."""
        self.journal.append(f"forget {transaction.request.method}")
        transaction.state = State.TERMINATED
        self.forgotten.append(transaction)

    def send(self, request: Request, flow: Flow) -> None:
        """See ISignalling."""
        self._note(request.method, request, flow)

    def _note(self, what: str, message: Any, flow: Flow) -> None:
        by = "" if flow.transport.name == "UDP" else f" by {flow.transport.name}"
        self.journal.append(f"{what} to {flow.remote}{by}")
        self.sent.append(message.copy())
