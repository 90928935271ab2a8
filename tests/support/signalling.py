# SPDX-License-Identifier: MIT
"""The transport layer as the proxy core sees it, without transport: notes what it is told to send."""

from __future__ import annotations

from typing import Any

from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from siproxd_tw.interfaces import Address, Flow, ISignalling, ITransport, Side
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

    def send(self, data: bytes, remote: Address) -> None:
        """See ITransport."""
        self.sent.append((data, remote))


@implementer(ISignalling)
class MemorySignalling:
    """Notes each message in `journal` as "INVITE to 203.0.113.50:5060", and as it is in `sent`."""

    def __init__(self, clock: IReactorTime, journal: list[str] | None = None) -> None:
        self._clock = clock
        self.journal = [] if journal is None else journal
        self.transports: dict[Side, MemoryTransport] = {
            Side.INSIDE: MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE),
            Side.OUTSIDE: MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE),
        }
        """The way out on each side; take one away and `flow_to` knows no way."""
        self.sent: list[Message] = []
        """What was sent, as it was at that moment."""
        self.clients: list[ClientTransaction] = []
        self.cancelled: list[ClientTransaction] = []
        self.forgotten: list[ServerTransaction] = []

    def flow_to(self, remote: Address, side: Side) -> Flow | None:
        """See ISignalling."""
        transport = self.transports.get(side)
        return None if transport is None else Flow(transport, remote, side)

    def request(self, request: Request, flow: Flow, user: object) -> ClientTransaction:
        """See ISignalling."""
        self._note(request.method, request, flow)
        key = (request.top_via.branch, request.method)
        transaction = ClientTransaction(request.copy(), flow, key, Timers(), False, user)
        transaction.start(self._clock.seconds())
        self.clients.append(transaction)
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """See ISignalling; the transaction changes its state as it would."""
        transaction.advance(input_for(response.status), self._clock.seconds())
        transaction.last = bytes(response)
        self._note(str(response.status), response, transaction.reply)

    def cancel(self, transaction: ClientTransaction) -> None:
        """See ISignalling."""
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
        self.journal.append(f"{what} to {flow.remote}")
        self.sent.append(message.copy())
