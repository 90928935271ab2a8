# SPDX-License-Identifier: MIT
"""The proxy core: the transaction user, in the order of RFC 3261 section 16.

A request: screened (16.3), its route information preprocessed (16.4), its targets
determined (16.5), and sent to them by `siproxd_tw.proxy.sending` (16.6). A response:
given back by `siproxd_tw.proxy.returning` (16.7). What waits for DNS holds back the
later messages of its own call and no others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from twisted.internet.defer import TimeoutError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import (
    Flow,
    IResolver,
    ISignalling,
    IStatus,
    ITransactionUser,
    Refused,
    ResolutionFailed,
    Side,
)
from siproxd_tw.proxy import callids
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.forwarding import add_content_length, branch_for, hops_left, passed_before
from siproxd_tw.proxy.limits import Limits
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.order import InOrder
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.returning import ResponseProcessing
from siproxd_tw.proxy.routing import OURSELVES, Routing, Target, destination_of
from siproxd_tw.proxy.sending import RequestForwarding
from siproxd_tw.proxy.validation import Access, unavailable, validate
from siproxd_tw.sip.grammar import is_ip_address
from siproxd_tw.sip.message import Request, response_to
from siproxd_tw.sip.transactionlayer import (
    AckReceived,
    CancelReceived,
    Event,
    RequestReceived,
    ResponseReceived,
    RingingTooLong,
    StrayResponse,
    TransactionFailed,
    local_tag,
)
from siproxd_tw.sip.uri import SIPURI

__all__ = ["ProxyCore"]

#: Seconds to find out whether a domain is ours whose requests have an outbound proxy anyhow.
PATIENCE_FOR_NAMES = 0.5

#: Requests that can begin something, whatever To tag somebody has made up for them. What ends or goes on
#: with a call that we have forgotten is not among them: not every phone answers a challenge to its BYE.
_BEGINNING = frozenset({"INVITE", "MESSAGE", "REFER", "SUBSCRIBE", "PUBLISH", "OPTIONS"})

#: What we say of ourselves in the answer to OPTIONS: a proxy has no methods of its own.
CAPABILITIES = (
    b"Accept: application/sdp",
    b"Allow: INVITE, ACK, CANCEL, BYE, OPTIONS, REGISTER, PRACK, UPDATE, INFO, SUBSCRIBE, NOTIFY, REFER,"
    b" MESSAGE, PUBLISH",
)


@implementer(ITransactionUser, IStatus)
class ProxyCore:
    """Decides what happens to every request and response."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        signalling: ISignalling,
        resolver: IResolver,
        access: Access,
        limits: Limits,
        authentication: Authentication,
        routing: Routing,
        registrar: Registrar,
        dialogs: Dialogs,
        dress: Dress,
        negotiation: OfferAnswer,
        config: SIPConfig,
        secret: bytes,
    ) -> None:
        self._clock = clock
        self._signalling = signalling
        self._resolver = resolver
        self._access = access
        self._limits = limits
        self._authentication = authentication
        self._routing = routing
        self._registrar = registrar
        self._dialogs = dialogs
        self._dress = dress
        self._negotiation = negotiation
        self._obscure_loops = config.obscure_loops
        self._secret = secret
        self._counters: Counter[str] = Counter()
        self._sending = RequestForwarding(
            clock=clock,
            signalling=signalling,
            resolver=resolver,
            routing=routing,
            dress=dress,
            negotiation=negotiation,
            registrar=registrar,
            config=config,
            secret=secret,
        )
        self._sending.failover = self._failover
        self._returning = ResponseProcessing(
            clock=clock,
            signalling=signalling,
            sending=self._sending,
            registrar=registrar,
            dialogs=dialogs,
            dress=dress,
            negotiation=negotiation,
            secret=secret,
        )
        self._order = InOrder(self._returning.broke)

    # before there is state

    def admits(self, flow: Flow) -> None:
        """See ITransactionUser."""
        self._access.admit(flow)

    def screen(self, request: Request, flow: Flow) -> object:
        """See ITransactionUser; section 16.3, and whether there is a target at all.

        What is found out about the request on the way is not to be found out again: it is
        the response context that stays with the transaction.
        """
        now = self._clock.seconds()
        method, begins = request.method, not request.to_tag
        self._access.check(request, flow)
        if flow.side is Side.OUTSIDE and (begins or not self._runs(request, now)):
            self._admit_beginning(flow, now)
        validate(request)
        if method == "OPTIONS" and hops_left(request) == 0:
            raise self._about_us(request)
        if method != "REGISTER":  # which of two ways to check that one is to be found out
            runs = not begins and (method not in _BEGINNING or self._is_party(request, now))
            self._authentication.check_request(request, flow, now, runs=runs)
        sent_from = self._sent_from(request, flow)
        copy = self._copied(request, flow)
        self._authentication.strip(copy)
        context = ResponseContext(request, flow, copy, copy.call_id)
        if method not in ("REGISTER", "CANCEL", "ACK"):
            context.targets = self._targets(context, now, sent_from)
        return context

    def _runs(self, request: Request, now: float) -> bool:
        """Whether `request` from outside is of a dialog that a phone is in: anybody can write a To tag."""
        tag, call_id = request.to_tag, request.call_id
        if self._obscure_loops:
            call_id = callids.across(call_id, request.from_tag, tag)
        return self._dialogs.find(call_id, tag, now) is not None

    def _is_party(self, request: Request, now: float) -> bool:
        """Whether `request` from inside is of a phone in a dialog that is known."""
        return self._dialogs.find(request.call_id, request.from_tag, now) is not None

    def _admit_beginning(self, flow: Flow, now: float) -> None:
        """Let a peer outside begin something, if it may and does not do so too often."""
        if not self._access.may_begin(flow):
            raise Refused(None, "not in hosts_allow_outside, and no such dialog")
        if not self.knows_server(flow.remote.host):
            self._limits.admit(flow, now)

    def _copied(self, request: Request, flow: Flow) -> Request:
        """Return a copy to go on: with the Call-ID that it has inside, and its Routes preprocessed (16.4)."""
        copy = request.copy()
        if self._obscure_loops and flow.side is Side.OUTSIDE:
            callids.inward(copy, copy.from_tag)
        self._routing.preprocess(copy)
        if self._obscure_loops and flow.side is Side.INSIDE:
            self._reveal(copy)
        return copy

    def _reveal(self, copy: Request) -> None:
        """Give a request between the two legs of a call that came back the Call-ID of the other leg."""
        tag, call_id, now = copy.to_tag, copy.call_id, self._clock.seconds()
        if not tag or copy.first(b"route") is not None or self._dialogs.find(call_id, tag, now) is not None:
            return
        other = callids.around(call_id, copy.from_tag, tag)
        if self._dialogs.find(other, tag, now) is not None:
            callids.assign(copy, other)

    def _sent_from(self, request: Request, flow: Flow) -> set[str]:
        """Return our addresses that this request left from before (16.3 step 4, RFC 5393 section 4.1)."""
        sent_from = passed_before(request, self._secret, self._routing.is_own)
        if sent_from:
            inside = self._dress.known_as(flow._replace(side=Side.INSIDE))
            if flow.side is Side.INSIDE or inside in sent_from:
                raise Refused(482, "loop")
        return sent_from

    def _targets(self, context: ResponseContext, now: float, sent_from: set[str]) -> list[Target]:
        try:
            return self._routing.targets(context.copy, context.flow, now)
        except Refused as refusal:
            if refusal.why == OURSELVES and context.method == "OPTIONS":
                raise self._about_us(context.request) from None
            if not self._access.may_begin(context.flow):
                raise Refused(None, "not in hosts_allow_outside, and no such dialog") from None
            # Sent outside and back again unchanged: a provider may send it to another phone here,
            # but for nobody here it is a loop.
            raise Refused(482, "loop") if sent_from else refusal from None

    def _about_us(self, request: Request) -> Refused:
        """Answer OPTIONS for ourselves (11.2); the request's Contact goes back with it, as siproxd does."""
        contact = request.first(b"contact")
        lines = () if contact is None else (b"Contact: " + contact.value,)
        return Refused(200, "OPTIONS for the proxy", headers=(*CAPABILITIES, *lines))

    def knows_server(self, host: str) -> bool:
        """Return whether phones are registered at the server with IP address `host`."""
        return self._sending.affinity.is_server(host)

    # events

    def event_received(self, event: Event) -> None:
        """See ITransactionUser."""
        if isinstance(event, RequestReceived):
            self._begin(event)
        elif isinstance(event, ResponseReceived):
            self._returned(event)
        elif isinstance(event, AckReceived):
            context = event.user
            self._order.run(context.call_id, self._acknowledge(context))
        elif isinstance(event, CancelReceived):
            self._cancel(event)
        elif isinstance(event, TransactionFailed):
            self._failed(event)
        elif isinstance(event, RingingTooLong):
            self._counters["timer C"] += 1
            self._signalling.cancel(event.transaction)
        elif isinstance(event, StrayResponse):
            self._counters["stray responses"] += 1
            peer = event.flow.remote
            self._log.debug("dropped a response from {peer} that matches no request", peer=peer)

    def _returned(self, event: ResponseReceived) -> None:
        branch, response = event.user, event.response
        if not isinstance(branch, Branch):
            return  # to a CANCEL of ours
        if response.status == 100:  # for us alone: the server lives (16.7 step 5)
            self._sending.answered(branch)
            return
        work = self._returning.received(branch, response, event.transaction.flow)
        self._order.run(branch.context.call_id, work)

    def _begin(self, event: RequestReceived) -> None:
        transaction = event.transaction
        context = transaction.user
        assert isinstance(context, ResponseContext)
        context.server = transaction
        self._order.run(context.call_id, self._proxy(context))
        if context.method == "INVITE" and not transaction.last:
            self._signalling.respond(transaction, response_to(transaction.request, 100))

    def stop(self) -> None:
        """Drop what still waits; nothing could be sent any more."""
        self._order.stop()
        self._sending.stop()

    # requests

    async def _proxy(self, context: ResponseContext) -> None:
        try:
            if context.method == "REGISTER":
                await self._register(context)
            else:
                await self._forward(context)
        except Refused as refusal:
            await self._returning.refuse(context, refusal)
        except Exception:
            self._returning.broke(Failure())
            await self._returning.refuse(context, Refused(500, "internal error"))

    async def _forward(self, context: ResponseContext) -> None:
        """Send a request to each of its targets; it fails if it can be sent to none of them."""
        refused: Refused | None = None
        for target in context.targets:
            try:
                hops = await self._sending.hops(context.copy, target)
                await self._sending.forward(context, target, hops)
            except Refused as refusal:
                if context.cancelled:  # those that have the request already say how it ends
                    refused = refusal
                    break
                refused = refused or refusal
        if refused is not None and not context.branches:
            if refused.why != OURSELVES:
                raise refused
            # A name of ours, as the DNS knows.
            options = context.method == "OPTIONS"
            raise self._about_us(context.request) if options else Refused(404, "no such phone")

    async def _register(self, context: ResponseContext) -> None:
        now, copy = self._clock.seconds(), context.copy
        target = self._routing.beyond(copy)
        if await self._is_registrar_for(copy):
            self._authentication.check(context.request, now)
            assert context.server is not None
            tag = local_tag(context.request, self._secret)
            response = self._registrar.answer(context.request, context.flow, now, tag)
            self._signalling.respond(context.server, response)
            return
        if context.flow.side is Side.OUTSIDE:
            raise Refused(403, "REGISTER from outside for somebody else")
        self._authentication.check_request(context.request, context.flow, now)
        context.targets = [target]
        await self._forward(context)

    async def _is_registrar_for(self, request: Request) -> bool:
        """Whether the Request-URI's domain is one of our own addresses (siproxd's scenario 1)."""
        uri = request.uri
        if not isinstance(uri, SIPURI):
            return False
        if is_ip_address(uri.host) or uri.host == self._routing.name:
            return self._routing.is_mine(uri)
        try:
            if self._routing.outbound_proxy(request) is None:
                hops = await self._resolver.locate(destination_of(uri))
                return any(self._routing.is_own(*hop.address, hop.transport) for hop in hops)
            # The outbound proxy may know a domain that the DNS does not, so nobody waits long for that.
            found = await self._resolver.resolve(uri.host).addTimeout(PATIENCE_FOR_NAMES, self._clock)
        except (ResolutionFailed, TimeoutError):
            return False
        return any(self._routing.is_own(host, uri.port) for host in found)

    # what fails

    def _failed(self, event: TransactionFailed) -> None:
        branch = event.transaction.user
        self._counters[f"no response: {event.reason}"] += 1
        if isinstance(branch, Branch):
            self._order.run(branch.context.call_id, self._returning.failed(branch, event.reason))

    def _failover(self, branch: Branch) -> None:
        branch.context.failovers += 1
        self._order.run(branch.context.call_id, self._send_again(branch))

    async def _send_again(self, branch: Branch) -> None:
        """Send the request to the next server of the same target."""
        context = branch.context
        context.failovers -= 1
        if context.may_go_on:
            try:
                await self._sending.forward(context, branch.target, branch.later)
                context.branches[-1].earlier = None if branch.over else branch
            except Refused as refusal:
                self._counters[f"no other server: {refusal.why}"] += 1
            branch.later = []
        await self._returning.conclude(context)

    # ACK and CANCEL

    async def _acknowledge(self, context: ResponseContext) -> None:
        """Forward the ACK for a 2xx; whatever is wrong with it, an ACK is never answered."""
        try:
            await self._forward_ack(context)
        except Refused as refusal:
            self._counters[f"dropped ACK: {refusal.why}"] += 1

    async def _forward_ack(self, context: ResponseContext) -> None:
        ack, copy, flow = context.request, context.copy, context.flow
        if hops_left(ack) == 0:
            raise Refused(None, "too many hops")
        target = self._routing.targets(copy, flow, self._clock.seconds())[0]
        for hop in await self._sending.hops(copy, target):
            out = self._sending.flow_to(hop, target)
            if out is not None:
                await self._negotiation.ack_forwarded(copy)
                self._sending.prepare(copy, target, flow, out)
                if out.transport.reliable:
                    add_content_length(copy)
                self._dress.via(copy, out, branch_for(ack, flow.side, self._secret))
                self._signalling.send(copy, out)
                return
        raise unavailable("no way to the next hop")

    def _cancel(self, event: CancelReceived) -> None:
        """Answer a CANCEL and cancel what is still pending (16.10)."""
        request, invite = event.transaction.request, event.invite
        status = 481 if invite is None else 200
        tag = local_tag(request, self._secret)
        self._signalling.respond(event.transaction, response_to(request, status, to_tag=tag))
        if invite is None or invite.answered or not isinstance(invite.user, ResponseContext):
            return
        invite.user.cancelled = True
        reasons = tuple(b"Reason: " + field.value for field in request.all(b"reason"))
        for branch in invite.user.pending:
            if branch.client is not None:
                self._signalling.cancel(branch.client, reasons)

    # now and then

    def expire(self, now: float) -> None:
        """End what has waited too long: the media of calls from outside that nobody has confirmed."""
        self._sending.affinity.expire(now)
        for exchange in self._negotiation.unconfirmed(now):
            self._counters["answers without ACK"] += 1
            self._order.run(exchange.call_id, self._negotiation.delete(exchange))

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        counted = self._counters + self._returning.counters + self._sending.counters
        return {
            "dialogs": len(self._dialogs),
            "waiting": len(self._order),
            "servers remembered": len(self._sending.affinity),
            **dict(sorted(counted.items())),
        }
