# SPDX-License-Identifier: MIT
"""Response processing: RFC 3261 section 16.7, and the answers that we give ourselves.

Provisional responses and every 2xx of an INVITE go back at once; of the other final responses the best
one does when no branch is left that could bring a better one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from siproxd_tw.interfaces import Flow, ISignalling, Refused, Side
from siproxd_tw.proxy.choice import aggregate, best
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.forwarding import add_content_length
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.sending import RequestForwarding
from siproxd_tw.sip.message import Response, response_to
from siproxd_tw.sip.transactionlayer import local_tag

__all__ = ["ResponseProcessing"]

#: Seconds that a server which said 503 is left alone, unless it said for how long itself.
LEAVE_ALONE = 30.0

#: Why a phone stops ringing (RFC 3326).
ANSWERED_ELSEWHERE = b'Reason: SIP;cause=200;text="Call completed elsewhere"'
REFUSED_HERE = b"Reason: SIP;cause=500"
DECLINED_ELSEWHERE = b'Reason: SIP;cause=600;text="Busy Everywhere"'


class ResponseProcessing:
    """Gives responses back to where the request came from."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        signalling: ISignalling,
        sending: RequestForwarding,
        registrar: Registrar,
        dialogs: Dialogs,
        dress: Dress,
        negotiation: OfferAnswer,
        secret: bytes,
    ) -> None:
        self._clock = clock
        self._signalling = signalling
        self._sending = sending
        self._registrar = registrar
        self._dialogs = dialogs
        self._dress = dress
        self._negotiation = negotiation
        self._secret = secret
        self.counters: Counter[str] = Counter()

    # responses that came in

    async def received(self, branch: Branch, response: Response, source: Flow) -> None:
        """Process the response of a branch (16.7 steps 4 and 5)."""
        context, status = branch.context, response.status
        self._sending.answered(branch, serves=200 <= status < 300)
        if branch.earlier is not None and status != 482:  # which says that it has the request already
            self._give_up(branch.earlier)
            branch.earlier = None
        if status < 300:
            success = status >= 200
            if context.answered and not (success and context.accepted):
                self.counters["late responses"] += 1
            elif success or not branch.over:
                branch.over = branch.over or success
                await self._give_back(branch, response, source)
                if success:
                    self._cancel_others(context, ANSWERED_ELSEWHERE)
        elif branch.over:
            self.counters["late responses"] += 1
        elif status == 503 and branch.later and context.may_go_on:
            self._sending.give_up_on(branch, "it answered 503", _retry_after(response))
            self._sending.failover(branch)
        else:
            branch.over, branch.final = True, (response, source)
            for later in context.pending:
                if later.earlier is branch and not later.alive and status != 482:
                    self._give_up(later)
            if status >= 600:
                context.declined = True
                self._cancel_others(context, DECLINED_ELSEWHERE)
            await self.conclude(context)

    def _give_up(self, branch: Branch) -> None:
        """Wait no more for an answer by one of two ways to a phone: it has answered by the other."""
        branch.over = True
        if branch.client is not None:
            self._signalling.cancel(branch.client)

    def _cancel_others(self, context: ResponseContext, reason: bytes) -> None:
        """Cancel what still rings elsewhere (16.7 step 10), and say why."""
        for branch in context.pending:
            if branch.client is not None:
                self._signalling.cancel(branch.client, (reason,))

    async def failed(self, branch: Branch, reason: str) -> None:
        """Take note that `branch` came to nothing: "timeout", or "transport" where nobody was reached."""
        context = branch.context
        if branch.over:
            return
        branch.failure = reason
        lives = branch.alive and reason == "timeout"
        if lives:  # it has been cancelled, and its 487 is lost or was not sent: no fault of the server
            branch.over = True
        else:
            self._sending.give_up_on(branch, reason)
        if branch.later and not lives and context.may_go_on:
            self._sending.failover(branch)
        else:
            await self.conclude(context)

    async def conclude(self, context: ResponseContext) -> None:
        """Give the best final response back, when there is none left to wait for (16.7 steps 5 to 9)."""
        if context.answered or context.pending or context.failovers:
            return
        finals = [branch for branch in context.branches if branch.final is not None]
        if not finals:
            await self._nobody(context)
            return
        chosen = finals[0]
        if len(finals) > 1:
            responses = [branch.final[0] for branch in finals if branch.final is not None]
            response = best(responses)
            chosen = finals[responses.index(response)]
            aggregate(response, responses)
        assert chosen.final is not None
        await self._give_back(chosen, *chosen.final)

    async def _nobody(self, context: ResponseContext) -> None:
        """Answer for servers that did not: 408, or 503 for one that could not be reached (16.9).

        For a phone that is 480: a provider that gets a 503 leaves the gateway alone with all calls (step 6).

        A request that is no INVITE and has run into its time-out gets no answer: it would come too
        late (RFC 4320 section 4.2).
        """
        failures = {branch.failure for branch in context.branches}
        unreachable = "transport" in failures and "timeout" not in failures
        if context.cancelled:
            refusal = Refused(487, "cancelled")
        elif unreachable and context.flow.side is Side.OUTSIDE:
            refusal = Refused(480, "the phone cannot be reached")
        elif unreachable:
            refusal = Refused(503, "next hop unreachable", headers=(b"Retry-After: 10",))
        else:
            refusal = Refused(408, "no response")
        if context.method == "INVITE" or unreachable or context.server is None:
            await self.refuse(context, refusal)
            return
        self._settle(context)
        await self.finish(context, 408)
        self._signalling.forget(context.server)

    async def _give_back(self, branch: Branch, response: Response, source: Flow) -> None:
        """Send a response back; a final one that cannot be is the end of its request all the same."""
        context = branch.context
        try:
            await self._process(branch, response, source)
            return
        except Refused as why:
            refusal = why
        except Exception:
            self.broke(Failure())
            refusal = Refused(500, "internal error")
        if response.status >= 200 and not context.answered:
            await self.refuse(context, refusal)
        else:
            self.counters[f"dropped response: {refusal.why}"] += 1

    async def _process(self, branch: Branch, response: Response, source: Flow) -> None:
        context, now = branch.context, self._clock.seconds()
        assert context.server is not None
        response.remove_element(response.top_via, "our Via (16.7 step 3)")
        self._dress.uncover(response, context)
        if response.first(b"via") is None:
            raise Refused(502, "response without the Via of its request")
        if context.registration is not None:
            self._registrar.answered(context.registration, response, now)
        self._dress.response(response, context, branch, source, now)
        if context.offers or response.body:
            await self._negotiation.response_forwarded(response, context, branch)
        self._negotiation.accepted(response, context, branch, now)
        if context.flow.transport.reliable:
            add_content_length(response)
        if response.status >= 200:
            await self.finish(context, response.status, response.to_tag, branch)
        self._signalling.respond(context.server, response)

    # our own answers

    async def refuse(self, context: ResponseContext, refusal: Refused) -> None:
        """Answer the request ourselves, and undo what was begun for it."""
        self.counters[f"refused: {refusal.why}"] += 1
        self._log.debug(
            "{method} refused with {status}: {why}",
            method=context.method,
            status=refusal.status,
            why=refusal.why,
            call_id=context.request.call_id,
        )
        self._settle(context)
        self._cancel_others(context, REFUSED_HERE)
        status = refusal.status or 403
        await self.finish(context, status)
        self.answer(context, status, refusal.phrase, refusal.headers)

    def answer(
        self, context: ResponseContext, status: int, phrase: str = "", headers: Sequence[bytes] = ()
    ) -> None:
        """Give our own final response."""
        assert context.server is not None
        tag = local_tag(context.request, self._secret)
        response = response_to(context.request, status, phrase.encode() or None, to_tag=tag, headers=headers)
        self._signalling.respond(context.server, response)

    def _settle(self, context: ResponseContext) -> None:
        if context.registration is not None:
            self._registrar.settled(context.registration)

    async def finish(
        self, context: ResponseContext, status: int, tag: bytes = b"", branch: Branch | None = None
    ) -> None:
        """Undo what a request has begun and what its final `status`, from the party with `tag`, has ended."""
        if context.offers or context.method == "BYE":
            await self._negotiation.ended(context, status, branch)
        request = context.copy
        over = status not in (401, 407) if context.method == "BYE" else status >= 300 and not request.to_tag
        if over:
            tags = (request.from_tag, request.to_tag or tag)
            self._dialogs.ended(context.call_id, tags, self._clock.seconds())

    def broke(self, failure: Failure) -> None:
        """Log a bug of ours; the other calls go on."""
        self.counters["internal errors"] += 1
        self._log.failure("a message could not be processed", failure=failure)


def _retry_after(response: Response) -> float:
    """Return the seconds of a 503's Retry-After, within reason (20.33)."""
    value = (response.value(b"retry-after") or b"").partition(b";")[0].partition(b"(")[0].strip()
    if not value.isdigit() or len(value) > 6:
        return LEAVE_ALONE
    return min(max(float(value), 1.0), 300.0)
