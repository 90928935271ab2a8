# SPDX-License-Identifier: MIT
"""The transport layer of RFC 3261 section 18, and the one pump of the program.

Every message goes the same way: source admitted, parsed, ``received`` and ``rport``
filled in, matched to its transaction or screened, and then `_pump`: drain the events
into the transaction user, send what is to be sent, arm one timer.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.interfaces import (
    Address,
    Flow,
    Hop,
    IAddresses,
    ISendReport,
    ISignalling,
    IStatus,
    ITransactionUser,
    ITransport,
    Refused,
    Side,
)
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Message, Request, Response, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import ClientTransaction, ServerTransaction, TransactionLayer, local_tag

__all__ = ["SHORTEST_MESSAGE", "SignallingLayer", "note_source"]

#: Datagrams below this are keep-alives of every dialect (CRLF, four zero bytes), never SIP.
SHORTEST_MESSAGE = 16

#: So many times more transactions than may wait for an answer are kept for what is sent again: by UDP that
#: is 32 seconds of all that goes on (timer J), whatever is done with it.
LINGERING = 5

DEFAULT_PORT = 5060
DEFAULT_PORTS = {"TLS": 5061, "WS": 80, "WSS": 443}


Key = tuple[Side, str, bool]
"""Side, transport as Via spells it, and whether it is IPv6: there is one socket of ours for each."""


@implementer(ISignalling, ISendReport, IStatus)
class SignallingLayer:
    """Sockets below, the transaction user above, the transactions in between."""

    _log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        addresses: IAddresses,
        secret: bytes,
        transactions: TransactionLayer | None = None,
        *,
        most_transactions: int = 20_000,
    ) -> None:
        self._clock = clock
        self._addresses = addresses
        self._secret = secret
        self._transactions = transactions or TransactionLayer()
        self._user: ITransactionUser | None = None
        self._most = most_transactions
        self._transports: dict[Key, ITransport] = {}
        self._counters: Counter[str] = Counter()
        self._timer: IDelayedCall | None = None
        self._pumping = False
        self._stopped = False

    # assembly

    def serve(self, user: ITransactionUser) -> None:
        """Hand all events to `user` from now on."""
        self._user = user

    def use(self, transports: Mapping[Key, ITransport]) -> None:
        """Send by `transports` from now on."""
        self._transports = dict(transports)
        self._stopped = False

    def stop(self) -> None:
        """Forget all transactions and the timer; nothing is sent any more until there is a socket again."""
        self._stopped = True
        self._transports.clear()
        self._transactions.clear()
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    # from the network

    def received(self, data: bytes, transport: ITransport, remote: Address) -> None:
        """See ISendReport (18.1.2, 18.2.1)."""
        self._counters["received"] += 1
        flow = Flow(transport, remote, self._addresses.side_of(remote.host, transport.side))
        try:
            message = self._read(data, flow)
            if message is None:
                return
            now = self._clock.seconds()
            if isinstance(message, Response):
                self._transactions.match(message, flow, now)
            elif isinstance(message, Request) and not self._transactions.absorb(message, now):
                self._begin(message, flow, now)
        except Refused as refusal:
            self._count_drop(refusal.why, flow)
        self._pump()

    def broken(self, error: ParseError, transport: ITransport, remote: Address) -> None:
        """See ISendReport."""
        flow = Flow(transport, remote, self._addresses.side_of(remote.host, transport.side))
        try:
            if self._user is not None:
                self._user.admits(flow)
                self._refuse_malformed(error, flow)
        except Refused as refusal:
            self._count_drop(refusal.why, flow)

    def unsent(self, flow: Flow, reason: str) -> None:
        """See ISendReport (18.4)."""
        self._counters[f"not sent: {reason}"] += 1
        self._transactions.flow_failed(flow, self._clock.seconds())
        self._pump()

    def _read(self, data: bytes, flow: Flow) -> Message | None:
        if self._user is None:
            return None
        if len(data) < SHORTEST_MESSAGE or (data[0] in b"\r\n\0" and not data.strip(b"\r\n\0")):
            self._counters["keepalive"] += 1
            return None
        self._user.admits(flow)
        try:
            return parse(data)
        except ParseError as error:
            self._refuse_malformed(error, flow)
            return None

    def _begin(self, request: Request, flow: Flow, now: float) -> None:
        assert self._user is not None
        if request.method == "ACK" and request.to_tag == local_tag(request, self._secret):
            return  # acknowledges an answer that was given without a transaction
        reply = note_source(request, flow)
        try:
            self._check_load(request)
            kept = self._user.screen(request, flow)
            if flow.transport.reliable:
                self._share_connection(request, flow)
        except Refused as refusal:
            self._refuse(request, reply, refusal)
            return
        self._transactions.begin(request, flow, now, reply=reply, reliable=flow.transport.reliable, user=kept)

    def _share_connection(self, request: Request, flow: Flow) -> None:
        """Take note that a peer offers its connection for requests to it (RFC 5923 section 8.2)."""
        via = request.top_via
        if via.param(b"alias") is not None:
            default = DEFAULT_PORTS.get(flow.transport.name, DEFAULT_PORT)
            # At the host that it comes from: what it says of itself could be anybody's.
            flow.transport.alias(flow.remote, Address(flow.remote.host, via.port or default))

    def _check_load(self, request: Request) -> None:
        """Refuse new work when there is too much; what belongs to calls that run may go on for longer."""
        if len(self._transactions) >= LINGERING * self._most:
            self._transactions.make_room(self._clock.seconds())
        load = self._transactions.unsettled
        if load < self._most or request.method in ("ACK", "CANCEL"):
            return
        if not request.to_tag or load >= 2 * self._most:
            raise Refused(503, "too many transactions", headers=(b"Retry-After: 10",))

    def _refuse_malformed(self, error: ParseError, flow: Flow) -> None:
        self._log.debug("malformed message from {peer}: {error}", peer=flow.remote, error=error)
        self._counters[f"malformed: {error.header}"] += 1
        request = error.request
        if request is None or error.status is None or request.method == "ACK":
            return
        reply = note_source(request, flow)
        phrase = f"Bad {error.header}" if error.status == 400 else ""
        self._answer_statelessly(request, reply, Refused(error.status, str(error), phrase=phrase))

    def _refuse(self, request: Request, reply: Flow, refusal: Refused) -> None:
        if refusal.status is None or refusal.status >= 300:
            self._count_drop(refusal.why, reply)
        if refusal.status is not None and request.method != "ACK":
            self._answer_statelessly(request, reply, refusal)

    def _answer_statelessly(self, request: Request, reply: Flow, refusal: Refused) -> None:
        """Answer so that a retransmission gets the very same answer (RFC 3261 8.2.7)."""
        assert refusal.status is not None
        phrase = refusal.phrase.encode() or None
        response = response_to(
            request, refusal.status, phrase, to_tag=local_tag(request, self._secret), headers=refusal.headers
        )
        self._counters[f"answered: {refusal.status}"] += 1
        reply.transport.send(bytes(response), reply)

    def _count_drop(self, why: str, flow: Flow) -> None:
        self._counters[f"refused: {why}"] += 1
        self._log.debug("refused a message from {peer}: {why}", peer=flow.remote, why=why)

    # from the transaction user

    def flow_to(self, hop: Hop, side: Side) -> Flow | None:
        """See ISignalling."""
        remote = hop.address
        transport = self._transports.get((side, hop.transport, ":" in remote.host))
        return None if transport is None else Flow(transport, remote, side, hop.name)

    def request(self, request: Request, flow: Flow, user: object, branch: bytes) -> ClientTransaction:
        """See ISignalling."""
        transaction = self._transactions.request(
            request, flow, self._clock.seconds(), user=user, reliable=flow.transport.reliable, branch=branch
        )
        self._pump()
        return transaction

    def respond(self, transaction: ServerTransaction, response: Response) -> None:
        """See ISignalling."""
        self._transactions.respond(transaction, response, self._clock.seconds())
        self._pump()

    def cancel(self, transaction: ClientTransaction, headers: Sequence[bytes] = ()) -> None:
        """See ISignalling."""
        self._transactions.cancel(transaction, self._clock.seconds(), headers)
        self._pump()

    def forget(self, transaction: ServerTransaction) -> None:
        """See ISignalling."""
        self._transactions.forget(transaction)

    def send(self, request: Request, flow: Flow) -> None:
        """See ISignalling."""
        self._counters["sent"] += 1
        flow.transport.send(bytes(request), flow)

    # the pump

    def _pump(self) -> None:
        """Drain events, send, re-arm; calls from within only leave work for the loop."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while (event := self._transactions.next_event()) is not None:
                self._guarded(event)
                self._flush()
            self._flush()
        finally:
            self._pumping = False
        self._rearm()

    def _guarded(self, event: Any) -> None:
        try:
            if self._user is not None:
                self._user.event_received(event)
        except Exception:
            # One call must not take the others with it.
            self._counters["internal errors"] += 1
            self._log.failure("failed on {event}", event=type(event).__name__)

    def _flush(self) -> None:
        for data, flow in self._transactions.messages_to_send():
            self._counters["sent"] += 1
            flow.transport.send(data, flow)

    def _rearm(self) -> None:
        at = self._transactions.get_timer()
        timer = self._timer
        if timer is not None and timer.active():
            if at is None:
                timer.cancel()
                self._timer = None
                return
            if timer.getTime() <= at:
                return  # early is harmless, and most deadlines move later
            timer.cancel()
        if at is not None and not self._stopped:
            self._timer = self._clock.callLater(max(0.0, at - self._clock.seconds()), self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        self._transactions.handle_timer(self._clock.seconds())
        self._pump()

    @property
    def messages(self) -> int:
        """How many have been received so far."""
        return self._counters["received"]

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {"transactions": len(self._transactions), **dict(sorted(self._counters.items()))}


def note_source(request: Request, flow: Flow) -> Flow:
    """Write where `request` came from into its topmost Via and return the way for responses.

    ``received`` when the sent-by is another address (RFC 3261 18.2.1), the value of
    ``rport`` when it is asked for (RFC 3581 section 4). By a stream both are written, as siproxd does;
    responses go back on the connection, or if it is gone to the source's address and the port of sent-by
    (18.2.2, RFC 3263 section 5).
    """
    via, remote = request.top_via, flow.remote
    port, asked, host = via.port, via.param(b"rport"), remote.host
    stream = flow.transport.reliable
    params: list[tuple[bytes, bytes, str]] = []
    if asked is not None or stream:
        params.append((b"rport", b"%d" % remote.port, "rport (RFC 3581)"))
    if (params or via.host != host) and via.received != host:
        params.append((b"received", host.encode(), "received (RFC 3261 18.2.1)"))
    if params:
        request.set_params(via, params)
    if stream:
        default = DEFAULT_PORTS.get(flow.transport.name, DEFAULT_PORT)
        return flow._replace(fallback=Address(remote.host, port or default))
    if asked is not None or (port or DEFAULT_PORT) == remote.port:
        return flow
    return flow._replace(remote=Address(remote.host, port or DEFAULT_PORT))
