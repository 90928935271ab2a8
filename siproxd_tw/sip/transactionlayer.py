# SPDX-License-Identifier: MIT
"""The transaction layer of RFC 3261 section 17, without input or output.

A response goes in by `match`, a request by `absorb` and, if that refuses it, by `begin`, the
time by `handle_timer`. `next_event` and `messages_to_send` drain it, `get_timer` says when to
come back. Requests and responses of the transaction user go in by `request`, `respond` and
`cancel`; whoever calls one of them drains afterwards.

Paths to peers ("flows") pass through as opaque values.
"""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Sequence
from typing import Any

from siproxd_tw.sip.events import (
    AckReceived,
    CancelReceived,
    ClientTransaction,
    Event,
    Key,
    RequestReceived,
    ResponseReceived,
    RingingTooLong,
    ServerTransaction,
    StrayResponse,
    TransactionFailed,
)
from siproxd_tw.sip.message import Request, Response, ack_for, cancel_for, local_tag
from siproxd_tw.sip.transaction import (
    INVITE_CLIENT,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Action,
    Input,
    State,
    Timers,
    Transaction,
)

__all__ = [
    "AckReceived",
    "CancelReceived",
    "ClientTransaction",
    "Event",
    "RequestReceived",
    "ResponseReceived",
    "RingingTooLong",
    "ServerTransaction",
    "StrayResponse",
    "TransactionFailed",
    "TransactionLayer",
    "local_tag",
]

MAGIC_COOKIE = b"z9hG4bK"
NEVER = float("inf")


def server_key(request: Request, method: str) -> Key:
    """Return what identifies the server transaction of `request` (17.2.3).

    A Via branch with the magic cookie and something behind it is unique by itself;
    without it the rules of RFC 2543 apply.
    """
    via = request.top_via
    branch = via.branch
    if branch and branch.startswith(MAGIC_COOKIE) and len(branch) > len(MAGIC_COOKIE):
        return (branch, via.host, via.port, method)
    sent_by = (via.host, via.port, branch)
    return (request.uri_text, request.from_tag, request.call_id, request.cseq.number, sent_by, method)


def input_for(status: int) -> Input:
    """Return the input that a response with `status` is to a machine."""
    if status < 200:
        return Input.PROVISIONAL
    return Input.SUCCESS if status < 300 else Input.FAILURE


class TransactionLayer:
    """All transactions, their matching and their timers."""

    def __init__(self, timers: Timers | None = None) -> None:
        self._timers = timers or Timers()
        self._servers: dict[Key, ServerTransaction] = {}
        self._clients: dict[Key, ClientTransaction] = {}
        self._by_flow: dict[Any, dict[ClientTransaction, None]] = {}
        self._events: deque[Event] = deque()
        self._out: list[tuple[bytes, Any]] = []
        self._deadlines: list[tuple[float, int, Transaction | None]] = []
        """When something is to be done, and about which transaction; None: those that linger till then."""
        self._lingering: dict[float, list[Transaction]] = {}
        self._settled = 0
        self._count = 0
        self._refused: tuple[Request | None, Key] = None, ()
        """The request that `absorb` has refused last, and its key: `begin` gets the same one next."""

    def __len__(self) -> int:
        return len(self._servers) + len(self._clients)

    @property
    def unsettled(self) -> int:
        """How many still have something to do but absorb what is sent again: the load of this moment."""
        return len(self) - self._settled

    @property
    def idle(self) -> bool:
        """Whether no transaction is left."""
        return not self._servers and not self._clients

    # input from the network and the clock

    def absorb(self, request: Request, now: float) -> bool:
        """Take `request` if it belongs to a transaction that exists; False if it is a new one."""
        if request.method == "ACK":
            return self._absorb_ack(request, now)
        key = server_key(request, request.method)
        transaction = self._servers.get(key)
        if transaction is None:
            self._refused = request, key
            return False
        self._advance(transaction, Input.REQUEST, now)
        return True

    def begin(
        self, request: Request, flow: Any, now: float, *, reply: Any, reliable: bool = False, user: Any = None
    ) -> None:
        """Start a server transaction for `request`, which `absorb` has refused (an ACK gets none).

        `user` is kept with it for the transaction user.
        """
        method = request.method
        if method == "ACK":
            self._events.append(AckReceived(request, flow, user))
            return
        key = self._refused[1] if self._refused[0] is request else server_key(request, method)
        transaction = ServerTransaction(request, flow, reply, key, self._timers, reliable)
        transaction.user = user
        self._servers[key] = transaction
        if method == "CANCEL":
            invite = self._servers.get(server_key(request, "INVITE"))
            self._events.append(CancelReceived(transaction, invite))
        else:
            self._events.append(RequestReceived(transaction))

    def match(self, response: Response, flow: Any, now: float) -> None:
        """Give `response` to the client transaction that it belongs to (17.1.3, 16.7 step 1)."""
        via = response.top_via
        transaction = self._clients.get((via.branch, response.cseq.method))
        if transaction is None:
            self._events.append(StrayResponse(response, flow))
            return
        timer_c = transaction.deadlines.get(Input.TIMER_C)
        user = transaction.user
        actions = self._advance(transaction, input_for(response.status), now)
        if response.status == 100 and timer_c is not None:
            transaction.deadlines[Input.TIMER_C] = timer_c  # only 101 to 199 start it anew (16.7 step 2)
            self._schedule(transaction)
        if Action.SEND_ACK in actions:
            self._out.append((bytes(ack_for(transaction.request, response)), transaction.flow))
        if Action.TO_USER in actions:
            self._events.append(ResponseReceived(transaction, response, user))
            if response.status >= 200 and transaction.machine is NON_INVITE_CLIENT:
                transaction.let_go()
        if transaction.cancel_wanted and transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now)

    def handle_timer(self, now: float) -> None:
        """Feed the time: every deadline up to `now` happens, in order."""
        while self._deadlines and self._deadlines[0][0] <= now:
            at, _, transaction = heapq.heappop(self._deadlines)
            if transaction is None:
                self._end_lingering(at, now)
            elif transaction.scheduled == at:  # otherwise it has moved
                transaction.scheduled = NEVER
                for over in transaction.due(now):
                    self._advance(transaction, over, now)
                self._schedule(transaction)

    def make_room(self, now: float) -> None:
        """End those that would linger for the shortest time yet, before their time."""
        if self._lingering:
            self._end_lingering(min(self._lingering), now)

    def _end_lingering(self, at: float, now: float) -> None:
        """End those whose last wait is over: nearly all deadlines are of that kind."""
        for transaction in self._lingering.pop(at, ()):
            if transaction.deadlines.get(Input.LINGER_OVER) == at:
                self._advance(transaction, Input.LINGER_OVER, now)

    def transport_failed(self, transaction: ClientTransaction | ServerTransaction, now: float) -> None:
        """Feed a failure to send for `transaction` (17.1.4)."""
        self._advance(transaction, Input.TRANSPORT_ERROR, now)

    def flow_failed(self, flow: Any, now: float) -> None:
        """Feed a failure of everything that is on its way by `flow`, a connection: nothing will come back."""
        for transaction in list(self._by_flow.get(flow, ())):
            if transaction.state in (State.CALLING, State.TRYING):
                self.transport_failed(transaction, now)

    # what the transaction user says

    def request(
        self,
        request: Request,
        flow: Any,
        now: float,
        *,
        user: Any,
        reliable: bool = False,
        branch: bytes = b"",
    ) -> ClientTransaction:
        """Send `request`, whose topmost Via is ours and has `branch`, in a new client transaction."""
        key = (branch or request.top_via.branch, request.method)
        transaction = ClientTransaction(request, flow, key, self._timers, reliable, user)
        self._clients[key] = transaction
        if reliable:
            self._by_flow.setdefault(flow, {})[transaction] = None
        transaction.start(now)
        self._out.append((transaction.last, flow))
        self._schedule(transaction)
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response, now: float) -> None:
        """Answer the request of `transaction`."""
        self._advance(transaction, input_for(response.status), now, bytes(response))
        if response.status >= 200 and transaction.machine is NON_INVITE_SERVER:
            transaction.let_go()

    def cancel(self, transaction: ClientTransaction, now: float, headers: Sequence[bytes] = ()) -> None:
        """Cancel an INVITE: now, or as soon as a provisional response has come (9.1).

        `headers` are lines for the CANCEL, such as its Reason (RFC 3326).
        """
        if transaction.machine is not INVITE_CLIENT:
            return
        if not transaction.cancel_wanted:
            transaction.cancel_headers = headers
        transaction.cancel_wanted = True
        if transaction.state is State.PROCEEDING:
            self._send_cancel(transaction, now)

    def forget(self, transaction: ServerTransaction) -> None:
        """End a non-INVITE transaction without an answer: a late 408 helps nobody (RFC 4320 section 4.2)."""
        transaction.state = State.TERMINATED
        transaction.deadlines.clear()
        self._servers.pop(transaction.key, None)
        transaction.let_go()

    def clear(self) -> None:
        """End all transactions without a word to anybody: the program stops."""
        for transaction in (*self._servers.values(), *self._clients.values()):
            transaction.state = State.TERMINATED
            transaction.deadlines.clear()
        for table in (self._servers, self._clients, self._by_flow, self._lingering):
            table.clear()
        self._settled = 0
        for queue in (self._deadlines, self._events, self._out):
            queue.clear()

    # output

    def next_event(self) -> Event | None:
        """Return the next event for the transaction user, None when there is none."""
        return self._events.popleft() if self._events else None

    def messages_to_send(self) -> list[tuple[bytes, Any]]:
        """Return what is to be sent, each with its flow, and forget it."""
        out, self._out = self._out, []
        return out

    def get_timer(self) -> float | None:
        """Return when `handle_timer` is to be called."""
        heap = self._deadlines
        while heap:
            at, _, transaction = heap[0]
            if transaction is None or transaction.scheduled == at:
                return at
            heapq.heappop(heap)  # it has ended, or waits for something else
        return None

    # inside

    def _absorb_ack(self, ack: Request, now: float) -> bool:
        transaction = self._servers.get(server_key(ack, "INVITE"))
        if transaction is None:
            return False
        return Action.TO_USER not in self._advance(transaction, Input.ACK, now)

    def _send_cancel(self, invite: ClientTransaction, now: float) -> None:
        if invite.cancel_sent:
            return
        invite.cancel_sent = True
        invite.deadlines.pop(Input.TIMER_C, None)
        invite.deadlines[Input.TIMEOUT] = now + 64 * self._timers.t1
        self._schedule(invite)
        cancel = cancel_for(invite.request)
        for line in invite.cancel_headers:
            cancel.insert(line, "why it is cancelled (RFC 3326)", before=b"content-length")
        self.request(cancel, invite.flow, now, user=None, reliable=invite.reliable)

    def _advance(
        self, transaction: Transaction, happened: Input, now: float, message: bytes = b""
    ) -> tuple[Action, ...]:
        actions = transaction.advance(happened, now)
        for action in actions:
            self._carry_out(action, transaction, happened, message)
        if transaction.state is State.TERMINATED:
            self._remove(transaction)
            if happened is Input.LINGER_OVER:  # otherwise an event may wait that needs the user
                transaction.let_go()
        else:
            self._schedule(transaction)
        return actions

    def _carry_out(self, action: Action, transaction: Transaction, happened: Input, message: bytes) -> None:
        if isinstance(transaction, ServerTransaction):
            if action is Action.SEND:
                transaction.last = message
                self._out.append((message, transaction.reply))
            elif action is Action.RESEND and transaction.last:
                self._out.append((transaction.last, transaction.reply))
            elif action is Action.FAIL:
                self._events.append(TransactionFailed(transaction, _why(happened)))
        elif isinstance(transaction, ClientTransaction):
            if action is Action.RESEND:
                self._out.append((transaction.last, transaction.flow))
            elif action is Action.FAIL:
                self._events.append(TransactionFailed(transaction, _why(happened)))
            elif action is Action.GIVE_UP_RINGING:
                self._events.append(RingingTooLong(transaction))

    def _schedule(self, transaction: Transaction) -> None:
        """Put the next deadline on the heap, unless it is there; where it was before nobody looks for it."""
        at = transaction.deadline()
        if at is None or at == transaction.scheduled:
            return
        transaction.scheduled = at
        self._count += 1
        if Input.LINGER_OVER not in transaction.deadlines:
            heapq.heappush(self._deadlines, (at, self._count, transaction))
            return
        if not transaction.settled:
            transaction.settled = True
            self._settled += 1
        lingering = self._lingering.get(at)
        if lingering is None:
            self._lingering[at] = lingering = []
            heapq.heappush(self._deadlines, (at, self._count, None))
        lingering.append(transaction)

    def _remove(self, transaction: Transaction) -> None:
        transaction.deadlines.clear()
        transaction.scheduled = NEVER
        if transaction.settled:
            transaction.settled = False
            self._settled -= 1
        if isinstance(transaction, ServerTransaction):
            if self._servers.get(transaction.key) is transaction:  # not a later one with the same key
                del self._servers[transaction.key]
        elif isinstance(transaction, ClientTransaction):
            if self._clients.get(transaction.key) is transaction:
                del self._clients[transaction.key]
            if transaction.reliable:
                self._forget_flow(transaction)

    def _forget_flow(self, transaction: ClientTransaction) -> None:
        by_flow = self._by_flow.get(transaction.flow)
        if by_flow is not None:
            by_flow.pop(transaction, None)
            if not by_flow:
                del self._by_flow[transaction.flow]


def _why(happened: Input) -> str:
    return "timeout" if happened is Input.TIMEOUT else "transport"
