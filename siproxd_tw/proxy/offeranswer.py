# SPDX-License-Identifier: MIT
"""Which session descriptions are offers and which are answers (RFC 3264 section 4, RFC 6337).

Not the method decides but the exchange: a description in a request is an offer, the
one in its response the answer; a response to a request without one makes the offer
itself, and the ACK or PRACK answers it. What the descriptions say is the relay's matter.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import NamedTuple

from twisted.logger import Logger

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import (
    Exchange,
    Flow,
    IMediaRelay,
    MediaNotAcceptable,
    MediaUnavailable,
    Refused,
    Side,
)
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.validation import unavailable
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.multipart import description_span

__all__ = ["OfferAnswer"]

Key = tuple[bytes, bytes, bytes, int]

#: Offers in responses that wait for their ACK at most; a flood must not grow memory.
MOST_WAITING = 10_000

#: Seconds that a caller outside has for its ACK: a phone repeats its 2xx for 64*T1 (RFC 3261 13.3.1.4).
LONGEST_WITHOUT_ACK = 40.0


class _Description(NamedTuple):
    """The session description in the body of a message, which may have other parts."""

    message: Message
    start: int
    end: int

    @classmethod
    def of(cls, message: Message) -> _Description | None:
        """Find it; None when there is none."""
        span = description_span(message)
        return None if span is None else cls(message, *span)

    @property
    def text(self) -> bytes:
        """What it says."""
        return self.message.body[self.start : self.end]

    def edit(self, edits: Sequence[Edit]) -> None:
        """Carry out `edits`, in positions of the description, in the message."""
        at = self.start
        self.message.edit_body([Edit(at + e.start, at + e.end, e.replacement, e.reason) for e in edits])


class OfferAnswer:
    """Carries offers and answers to the media relay, and their edits back into the messages."""

    _log = Logger()

    def __init__(self, relay: IMediaRelay) -> None:
        self._relay = relay
        self._waiting: dict[Key, Exchange] = {}
        self._unconfirmed: dict[Key, tuple[float, Exchange]] = {}

    async def request_forwarded(self, request: Request, context: ResponseContext, branch: Branch) -> None:
        """Carry the description of `request`, the copy about to be sent in `branch`.

        All branches that go the same way share one offer, and their answers are told apart by To tag.
        Raises Refused, with 503 or 488, when the media cannot be relayed.
        """
        description = _Description.of(request)
        if description is None:
            return
        if request.method == "PRACK" and await self._answered_in_request(request, description):
            return
        way = _way(branch.flow)
        exchange = Exchange(
            context.call_id,
            request.from_tag,
            request.to_tag,
            context.flow.side,
            branch.side,
            _transaction(context, way),
            context.flow.remote.host,
            branch.flow.remote.host,
        )
        try:
            description.edit(await self._relay.offer(exchange, description.text))
        except MediaNotAcceptable as why:
            self._log.debug("media not acceptable: {why}", why=why, call_id=request.call_id)
            raise Refused(488, "media not acceptable") from why
        except MediaUnavailable as why:
            self._log.warn(
                "call {call_id} refused: {why}", call_id=request.call_id.decode("utf-8", "replace"), why=why
            )
            raise unavailable("no media") from why
        context.offers[way] = exchange
        context.offered_by_request = True

    async def ack_forwarded(self, ack: Request) -> None:
        """Carry the answer in the ACK for a 2xx that made the offer; any ACK confirms the call."""
        self._unconfirmed.pop((ack.call_id, ack.from_tag, ack.to_tag, ack.cseq.number), None)
        description = _Description.of(ack)
        if description is not None:
            await self._answered_in_request(ack, description)

    async def _answered_in_request(self, request: Request, description: _Description) -> bool:
        """Whether `request` answers an offer that a response made; then it is carried."""
        cseq = request.cseq.number
        if request.method == "PRACK":
            cseq = _cseq_of_rack(request.value(b"rack"))
        key = (request.call_id, request.from_tag, request.to_tag, cseq)
        exchange = self._waiting.get(key)
        if exchange is None:
            return False
        if request.method == "PRACK":
            del self._waiting[key]  # the next one offers; an ACK comes again with each 2xx
        description.edit(await self._relay.answer(exchange.reply, description.text))
        return True

    async def response_forwarded(self, response: Response, context: ResponseContext, branch: Branch) -> None:
        """Carry the description of `response`, which came in `branch` and is about to be sent back."""
        if response.status >= 300:
            return
        description = _Description.of(response)
        if description is None:
            await self._still_ringing(response, context, branch)
            return
        key = (response.to_tag, description.text)
        carried = context.carried.get(key)
        if carried is None or context.offered_by_request:
            edits = await self._edits_of_response(response, description.text, context, branch)
            carried = edits or carried or []
        context.carried[key] = carried
        description.edit(carried)

    async def _still_ringing(self, response: Response, context: ResponseContext, branch: Branch) -> None:
        """Repeat the offer of a request that gets no answer but signs of life."""
        asked = context.offered_by_request and not context.carried
        offer = context.offers.get(_way(branch.flow)) if asked else None
        description = _Description.of(context.request)
        if offer is not None and description is not None and response.status < 200:
            with suppress(MediaUnavailable):  # forgotten, and nothing is free: the answer will find no media
                await self._relay.offer(offer, description.text)

    async def _edits_of_response(
        self, response: Response, sdp: bytes, context: ResponseContext, branch: Branch
    ) -> list[Edit]:
        if context.offered_by_request:
            late = bool(context.accepted_by) and context.accepted_by[0] != response.to_tag
            offer = context.offers.get(_way(branch.flow))
            if offer is None and late:  # that of its way was withdrawn; it shows nothing all the same
                offer = next(iter(context.offers.values()), None)
            if offer is None:
                return []  # it was withdrawn: we have given up, and the answer comes after all
            exchange = replace(offer, receiver=response.to_tag).reply
            if late:
                # Two phones have answered: a caller keeps the first and hangs up on the others
                # (13.2.2.4). An answer to no offer that is known is edited and moves no media.
                exchange = replace(exchange, sender=context.accepted_by[0], transaction=b"")
            return await self._relay.answer(exchange, sdp)
        if context.method == "INVITE":  # no other response offers (RFC 6337); one to OPTIONS only informs
            return await self._offered_in_response(response, sdp, context, branch)
        return []

    async def _offered_in_response(
        self, response: Response, sdp: bytes, context: ResponseContext, branch: Branch
    ) -> list[Edit]:
        call_id, caller, callee = response.call_id, response.from_tag, response.to_tag
        way = _way(branch.flow)
        exchange = Exchange(
            call_id,
            callee,
            caller,
            branch.side,
            context.flow.side,
            _transaction(context, way),
            branch.flow.remote.host,
            context.flow.remote.host,
        )
        try:
            edits = await self._relay.offer(exchange, sdp)
        except MediaUnavailable as why:
            # The 2xx is on its way to the caller already and cannot be refused any more.
            self._log.warn(
                "no media for call {call_id}: {why}", call_id=call_id.decode("utf-8", "replace"), why=why
            )
            return []
        context.offers[way] = exchange
        if len(self._waiting) >= MOST_WAITING:
            del self._waiting[next(iter(self._waiting))]
        self._waiting[call_id, caller, callee, response.cseq.number] = exchange
        return edits

    async def ended(self, context: ResponseContext, status: int, branch: Branch | None) -> None:
        """Note the final outcome of a request: a failed offer is withdrawn, a BYE ends the media.

        `branch` is the one that has succeeded; what was offered on other ways was in vain.
        """
        if context.method == "BYE" and status not in (401, 407):
            bye, side = context.copy, context.flow.side
            other = branch.side if branch is not None else side.other
            await self.delete(Exchange(context.call_id, bye.from_tag, bye.to_tag, side, other, b""))
            return
        if status < 300 and len(context.accepted_by) > 1:
            return  # the first one who answered has the call and its offer
        in_vain = status >= 300 or not _is_for_a_call(context.request)
        succeeded = None if in_vain or branch is None else _way(branch.flow)
        for way in [way for way in context.offers if way != succeeded]:
            await self._relay.withdraw(context.offers.pop(way))

    def accepted(self, response: Response, context: ResponseContext, branch: Branch, now: float) -> None:
        """Note the 2xx of an INVITE: who was first, and that a caller outside has to confirm it.

        A stranger who never sends the ACK would keep media going for ever, at a phone that answers
        by itself. A caller inside is no stranger, and its ACK may go another way.
        """
        tag = response.to_tag
        if context.method != "INVITE" or not 200 <= response.status < 300 or tag in context.accepted_by:
            return
        context.accepted_by.append(tag)
        call_id, caller = response.call_id, response.from_tag
        if context.flow.side is Side.OUTSIDE and not context.request.to_tag:
            exchange = Exchange(call_id, caller, tag, context.flow.side, branch.side, b"")
            key = (call_id, caller, tag, response.cseq.number)
            self._unconfirmed[key] = now + LONGEST_WITHOUT_ACK, exchange

    def unconfirmed(self, now: float) -> list[Exchange]:
        """Return the calls whose ACK has not come in time, and forget them; they are to be deleted."""
        overdue = [key for key, (until, _) in self._unconfirmed.items() if until <= now]
        return [self._unconfirmed.pop(key)[1] for key in overdue]

    async def delete(self, exchange: Exchange) -> None:
        """Free the media between the two parties of `exchange`."""
        await self._relay.delete(exchange)


def _way(flow: Flow) -> tuple[Side, bool]:
    """Return what decides how a description for the peer of `flow` looks: its side and its family."""
    return flow.side, ":" in flow.remote.host


def _transaction(context: ResponseContext, way: tuple[Side, bool]) -> bytes:
    """Name the offer of this request on `way`: the first way has the name that most calls need only."""
    first = not context.offers or way == next(iter(context.offers))
    return context.branch if first else b"%b/%b%d" % (context.branch, way[0].value.encode(), way[1])


def _is_for_a_call(request: Request) -> bool:
    """Whether an offer in `request` can lead to media: outside a dialog only that of an INVITE.

    One in OPTIONS tells abilities (RFC 3264 section 9).
    """
    return request.method == "INVITE" or bool(request.to_tag)


def _cseq_of_rack(value: bytes | None) -> int:
    """Return the CSeq number in ``RAck: response-num CSeq-num Method`` (RFC 3262 7.2), else -1."""
    words = (value or b"").split()
    return int(words[1]) if len(words) == 3 and words[1].isdigit() and len(words[1]) <= 10 else -1
