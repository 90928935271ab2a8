# SPDX-License-Identifier: MIT
"""The proxy core: the transaction user, in the order of RFC 3261 section 16.

A request: screened (16.3), its route information preprocessed (16.4), its target
determined (16.5), copied and dressed for the side it goes to, its offer carried to the
media relay, sent (16.6). A response: given back by 16.7. What waits for DNS holds back
the later messages of its own call and no others.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Coroutine, Mapping
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.interfaces import (
    Address,
    Flow,
    IResolver,
    ISignalling,
    IStatus,
    ITransactionUser,
    Refused,
    ResolutionFailed,
    Side,
)
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.proxy.context import ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.forwarding import branch_for, count_down, hops_left, passed_before
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.routing import OURSELVES, NextHop, Routing, Target
from siproxd_tw.proxy.validation import Access, unavailable, validate
from siproxd_tw.sip.message import Request, Response, response_to
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
        authentication: Authentication,
        routing: Routing,
        registrar: Registrar,
        dialogs: Dialogs,
        dress: Dress,
        negotiation: OfferAnswer,
        secret: bytes,
    ) -> None:
        self._clock = clock
        self._signalling = signalling
        self._resolver = resolver
        self._access = access
        self._authentication = authentication
        self._routing = routing
        self._registrar = registrar
        self._dialogs = dialogs
        self._dress = dress
        self._negotiation = negotiation
        self._secret = secret
        self._queues: dict[bytes, deque[Coroutine[Any, Any, None]]] = {}
        self._counters: Counter[str] = Counter()

    # before there is state

    def admits(self, flow: Flow) -> None:
        """See ITransactionUser."""
        self._access.admit(flow)

    def screen(self, request: Request, flow: Flow) -> None:
        """See ITransactionUser; section 16.3, and whether there is a target at all."""
        self._access.check(request, flow)
        validate(request)
        if request.method == "OPTIONS" and hops_left(request) == 0:
            raise self._about_us(request)
        sent_from = passed_before(request, self._secret, self._routing.is_own)
        if sent_from and (flow.side is Side.INSIDE or self._dress.host(Side.INSIDE) in sent_from):
            raise Refused(482, "loop")
        if request.method in ("REGISTER", "CANCEL", "ACK"):
            return
        try:
            self._screen_target(request, flow)
        except Refused as refusal:
            # Sent outside and back again unchanged: a provider may send it to another phone here,
            # but for nobody here it is a loop.
            raise Refused(482, "loop") if sent_from else refusal from None

    def _screen_target(self, request: Request, flow: Flow) -> None:
        copy = request
        if request.first(b"route") is not None:
            copy = request.copy()
            self._routing.preprocess(copy)
        try:
            self._routing.target(copy, flow, self._clock.seconds())
        except Refused as refusal:
            if refusal.why == OURSELVES and request.method == "OPTIONS":
                raise self._about_us(request) from None
            raise

    def _about_us(self, request: Request) -> Refused:
        """Answer OPTIONS for ourselves (11.2); the request's Contact goes back with it, as siproxd does."""
        contact = request.first(b"contact")
        lines = () if contact is None else (b"Contact: " + contact.value,)
        return Refused(200, "OPTIONS for the proxy", headers=(*CAPABILITIES, *lines))

    # events

    def event_received(self, event: Event) -> None:
        """See ITransactionUser."""
        match event:
            case RequestReceived(transaction):
                context = ResponseContext(transaction, transaction.request, transaction.flow)
                transaction.user = context
                self._in_order(transaction.request.call_id, self._proxy(context))
                if context.method == "INVITE" and not transaction.last:
                    self._signalling.respond(transaction, response_to(transaction.request, 100))
            case ResponseReceived(transaction, response):
                if isinstance(transaction.user, ResponseContext) and response.status > 100:
                    self._in_order(
                        response.call_id, self._return(transaction.user, response, transaction.flow)
                    )
            case AckReceived(request, flow):
                self._in_order(request.call_id, self._acknowledge(request, flow))
            case CancelReceived():
                self._cancel(event)
            case TransactionFailed():
                self._failed(event)
            case RingingTooLong(transaction):
                self._counters["timer C"] += 1
                self._signalling.cancel(transaction)
            case StrayResponse(_, flow):
                self._counters["stray responses"] += 1
                self._log.debug("dropped a response from {peer} that matches no request", peer=flow.remote)

    def _in_order(self, call_id: bytes, work: Coroutine[Any, Any, None]) -> None:
        """Run `work` now, or behind what the same call is waiting for."""
        queue = self._queues.get(call_id)
        if queue is not None:
            queue.append(work)
            return
        done = Deferred.fromCoroutine(work)
        done.addErrback(self._broke)
        if not done.called:
            self._queues[call_id] = deque()
            done.addCallback(self._next, call_id)

    def _next(self, _: object, call_id: bytes) -> None:
        queue = self._queues.pop(call_id)
        while queue:
            self._in_order(call_id, queue.popleft())
            if call_id in self._queues:
                self._queues[call_id].extend(queue)
                return

    def stop(self) -> None:
        """Drop what still waits behind a look-up; nothing could be sent any more."""
        for queue in self._queues.values():
            for work in queue:
                work.close()
            queue.clear()

    def _broke(self, failure: Failure) -> None:
        self._counters["internal errors"] += 1
        self._log.failure("a message could not be processed", failure=failure)

    # requests

    async def _proxy(self, context: ResponseContext) -> None:
        try:
            await self._forward(context)
        except Refused as refusal:
            await self._refuse(context, refusal)
        except Exception:
            self._broke(Failure())
            await self._refuse(context, Refused(500, "internal error"))

    async def _forward(self, context: ResponseContext) -> None:
        copy = context.request.copy()
        self._routing.preprocess(copy)
        if copy.method == "REGISTER":
            await self._register(context, copy)
            return
        target = self._routing.target(copy, context.flow, self._clock.seconds())
        await self._send_on(context, copy, target)

    async def _register(self, context: ResponseContext, copy: Request) -> None:
        now = self._clock.seconds()
        if await self._is_registrar_for(copy):
            self._authentication.check(copy, now)
            tag = local_tag(context.request, self._secret)
            response = self._registrar.answer(context.request, context.flow, now, tag)
            self._signalling.respond(context.server, response)
            return
        if context.flow.side is Side.OUTSIDE:
            raise Refused(403, "REGISTER from outside for somebody else")
        target = self._routing.beyond(copy)
        if target.side is Side.OUTSIDE:
            context.registration = self._registrar.pass_on(copy, context.flow, now)
        await self._send_on(context, copy, target)

    async def _is_registrar_for(self, request: Request) -> bool:
        """Whether the Request-URI's domain is one of our own addresses (siproxd's scenario 1)."""
        uri = request.uri
        if not isinstance(uri, SIPURI):
            return False
        try:
            found = await self._resolver.resolve(uri.host, uri.port, "UDP")
        except ResolutionFailed:
            return False  # an outbound proxy may know the domain
        return any(self._routing.is_own(address.host, address.port) for address in found)

    async def _send_on(self, context: ResponseContext, copy: Request, target: Target) -> None:
        out = await self._prepare(copy, target, context.flow)
        context.side = out.side
        context.branch = branch_for(context.request, context.flow.side, self._secret)
        await self._negotiation.request_forwarded(copy, context)
        if context.cancelled:
            raise Refused(487, "cancelled")
        self._dress.via(copy, out, context.branch)
        context.clients.append(self._signalling.request(copy, out, context))

    async def _prepare(self, copy: Request, target: Target, flow: Flow) -> Flow:
        """Make `copy`, which came by `flow`, fit for `target`; return the way there (16.6 steps 2 to 7)."""
        out = await self._way_to(target, copy)
        if target.uri is not None:
            copy.set_uri(target.uri, "Request-URI of the phone (16.6 step 2)")
        count_down(copy)
        self._dress.request(copy, flow, out.side, self._clock.seconds())
        return out

    async def _way_to(self, target: Target, request: Request) -> Flow:
        """Resolve the next hop (16.6 step 7) and find the socket that leads there."""
        remote = await self._address_of(target.hop)
        if self._routing.is_own(remote.host, remote.port):
            raise self._about_us(request) if request.method == "OPTIONS" else Refused(404, "no such phone")
        side = target.side if target.side is Side.INSIDE else self._routing.side_towards(remote.host)
        out = self._signalling.flow_to(remote, side)
        if out is None:
            raise unavailable(f"no address on the {side.value} interface")
        return out

    async def _address_of(self, hop: NextHop) -> Address:
        try:
            return (await self._resolver.resolve(hop.host, hop.port, "UDP"))[0]
        except ResolutionFailed as failure:
            self._log.info("cannot resolve {host}: {why}", host=hop.host, why=failure)
            raise unavailable("next hop cannot be resolved") from failure

    async def _refuse(self, context: ResponseContext, refusal: Refused) -> None:
        """Answer the request ourselves, and undo what was begun for it."""
        self._counters[f"refused: {refusal.why}"] += 1
        self._log.debug(
            "{method} refused with {status}: {why}",
            method=context.method,
            status=refusal.status,
            why=refusal.why,
            call_id=context.request.call_id,
        )
        if context.registration is not None:
            self._registrar.settled(context.registration)
        status = refusal.status or 403
        await self._finish(context, status, self._clock.seconds())
        self._answer(context, status, refusal.phrase, refusal.headers)

    def _answer(
        self, context: ResponseContext, status: int, phrase: str = "", headers: tuple[bytes, ...] | Any = ()
    ) -> None:
        tag = local_tag(context.request, self._secret)
        response = response_to(context.request, status, phrase.encode() or None, to_tag=tag, headers=headers)
        self._signalling.respond(context.server, response)

    # ACK and CANCEL

    async def _acknowledge(self, ack: Request, flow: Flow) -> None:
        """Forward the ACK for a 2xx; whatever is wrong with it, an ACK is never answered."""
        try:
            await self._forward_ack(ack, flow)
        except Refused as refusal:
            self._counters[f"dropped ACK: {refusal.why}"] += 1

    async def _forward_ack(self, ack: Request, flow: Flow) -> None:
        if hops_left(ack) == 0:
            raise Refused(None, "too many hops")
        copy = ack.copy()
        self._routing.preprocess(copy)
        target = self._routing.target(copy, flow, self._clock.seconds())
        out = await self._prepare(copy, target, flow)
        await self._negotiation.ack_forwarded(copy)
        self._dress.via(copy, out, branch_for(ack, flow.side, self._secret))
        self._signalling.send(copy, out)

    def _cancel(self, event: CancelReceived) -> None:
        """Answer a CANCEL and cancel what is still pending (16.10)."""
        request, invite = event.transaction.request, event.invite
        status = 481 if invite is None else 200
        tag = local_tag(request, self._secret)
        self._signalling.respond(event.transaction, response_to(request, status, to_tag=tag))
        if invite is None or invite.answered or not isinstance(invite.user, ResponseContext):
            return
        invite.user.cancelled = True
        for client in invite.user.clients:
            self._signalling.cancel(client)

    # responses

    async def _return(self, context: ResponseContext, response: Response, source: Flow) -> None:
        """Send a response back; a final one that cannot be is the end of its request all the same."""
        if not context.best(response):
            self._counters["late responses"] += 1
            return
        try:
            await self._send_back(context, response, source)
            return
        except Refused as why:
            refusal = why
        except Exception:
            self._broke(Failure())
            refusal = Refused(500, "internal error")
        if response.status >= 200 and not context.server.answered:
            await self._refuse(context, refusal)
        else:
            self._counters[f"dropped response: {refusal.why}"] += 1

    async def _send_back(self, context: ResponseContext, response: Response, source: Flow) -> None:
        """Process a response (16.7)."""
        now = self._clock.seconds()
        response.remove_element(response.top_via, "our Via (16.7 step 3)")
        if response.first(b"via") is None:
            raise Refused(502, "response without the Via of its request")
        if context.registration is not None:
            self._registrar.answered(context.registration, response, now)
        self._dress.response(response, context, source, now)
        await self._negotiation.response_forwarded(response, context)
        self._negotiation.accepted(response, context, now)
        if response.status >= 200:
            await self._finish(context, response.status, now, response.to_tag)
        self._signalling.respond(context.server, response)

    async def _finish(self, context: ResponseContext, status: int, now: float, tag: bytes = b"") -> None:
        """Undo what a request has begun and what its final `status`, from the party with `tag`, has ended."""
        await self._negotiation.ended(context, status)
        request = context.request
        over = status not in (401, 407) if context.method == "BYE" else status >= 300 and not request.to_tag
        if over:
            self._dialogs.ended(request.call_id, (request.from_tag, request.to_tag or tag), now)

    def _failed(self, event: TransactionFailed) -> None:
        context = event.transaction.user
        self._counters[f"no response: {event.reason}"] += 1
        if isinstance(context, ResponseContext) and event.transaction is not context.server:
            self._in_order(context.request.call_id, self._give_up(context, event.reason))

    async def _give_up(self, context: ResponseContext, reason: str) -> None:
        """Nobody has answered: say so for an INVITE; for others it would be too late (RFC 4320 4.2)."""
        if context.server.answered:
            return
        await self._finish(context, 408, self._clock.seconds())
        if context.registration is not None:
            self._registrar.settled(context.registration)
        if context.method == "INVITE":
            self._answer(context, 487 if context.cancelled else 408 if reason == "timeout" else 503)
        else:
            self._signalling.forget(context.server)

    def expire(self, now: float) -> None:
        """End what has waited too long: the media of calls from outside that nobody has confirmed."""
        for exchange in self._negotiation.unconfirmed(now):
            self._counters["answers without ACK"] += 1
            self._in_order(exchange.call_id, self._negotiation.delete(exchange))

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {
            "dialogs": len(self._dialogs),
            "waiting": len(self._queues),
            **dict(sorted(self._counters.items())),
        }
