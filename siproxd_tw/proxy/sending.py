# SPDX-License-Identifier: MIT
"""Request forwarding: RFC 3261 section 16.6, one branch after or beside the other.

A target has one server or, by the DNS, several. The first one gets the request; when it cannot be
reached, answers 503 or gives no sign of life for a while, the next one gets it (RFC 3263 section 4.3).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import Flow, Hop, IResolver, ISignalling, Refused, ResolutionFailed, Side
from siproxd_tw.proxy.affinity import Affinity
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.forwarding import add_content_length, branch_for, count_down
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.routing import OURSELVES, Routing, Target
from siproxd_tw.proxy.validation import unavailable
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.transaction import State

__all__ = ["PATIENCE", "RequestForwarding"]

#: Seconds without any response after which the next server is tried, if there is one. A request is sent
#: three times by then (timers A and E); to wait for timer B or F, 32 s, no caller would.
PATIENCE = 2.0

#: Seconds for which a host that took no connection gets large requests by UDP at once.
WITHOUT_TCP = 600.0

#: Bytes that the way through here adds to a request: our Via and Record-Route.
GROWTH = 150

MOST_HOSTS = 4096


class RequestForwarding:
    """Sends requests on."""

    _log = Logger()

    def __init__(
        self,
        *,
        clock: IReactorTime,
        signalling: ISignalling,
        resolver: IResolver,
        routing: Routing,
        dress: Dress,
        negotiation: OfferAnswer,
        registrar: Registrar,
        config: SIPConfig,
        secret: bytes,
    ) -> None:
        self._clock = clock
        self._signalling = signalling
        self._resolver = resolver
        self._routing = routing
        self._dress = dress
        self._negotiation = negotiation
        self._registrar = registrar
        self._udp_max = config.udp_max
        self._secret = secret
        self._without_tcp: dict[str, float] = {}
        self._impatient: set[Branch] = set()
        self.affinity = Affinity()
        self.failover: Callable[[Branch], None] = lambda branch: None
        """Called with a branch whose server gives no sign of life, to try the next one."""
        self.counters: Counter[str] = Counter()

    # where to

    async def hops(self, request: Request, target: Target) -> list[Hop]:
        """Return the servers of `target`, best first (16.6 step 7). Raises Refused when there is none."""
        if target.hop is not None:
            return self._for_size(request, target, self._hops_of_phone(target))
        kept = self.affinity.find(request, target.destination, self._clock.seconds())
        try:
            found = list(await self._resolver.locate(target.destination))
        except ResolutionFailed as failure:
            if kept is None:
                self._log.info("cannot resolve {host}: {why}", host=target.destination.host, why=failure)
                raise unavailable("next hop cannot be resolved") from failure
            found = []
        if kept is not None:
            found = [kept, *(hop for hop in found if hop != kept)]
        return self._for_size(request, target, found)

    def _hops_of_phone(self, target: Target) -> list[Hop]:
        """The connection that a phone made, if it is still there, else its Contact (RFC 5626 section 7)."""
        hop, other = target.hop, target.other
        assert hop is not None
        if not target.is_flow:
            return [hop] if other is None else [hop, other]
        flow = self._signalling.flow_to(hop, target.side)
        if flow is None or not flow.transport.reaches(hop.address):
            # Its port was chosen by its system or its NAT: nobody listens there.
            return [] if other is None else [other]
        return [hop] if other is None or other == hop else [hop, other]

    def _for_size(self, request: Request, target: Target, hops: list[Hop]) -> list[Hop]:
        """Put TCP before UDP for a request that is too large for a datagram (18.1.1)."""
        if not hops:
            raise Refused(480, "the phone's connection is gone")
        large = self._udp_max and len(request.original) + GROWTH > self._udp_max
        if not large or target.is_flow or target.destination.transport == "UDP":
            return hops
        now = self._clock.seconds()
        wanted: list[Hop] = []
        for hop in hops:
            if hop.transport == "UDP" and self._without_tcp.get(hop.address.host, 0.0) < now:
                wanted.append(hop._replace(transport="TCP"))
            wanted.append(hop)
        return wanted

    def flow_to(self, hop: Hop, target: Target) -> Flow | None:
        """Return the way to `hop`; None when there is no socket for it. Raises Refused for ourselves."""
        host, port = hop.address
        if self._routing.is_own(host, port, hop.transport):
            raise Refused(404, OURSELVES)
        side = target.side if target.side is Side.INSIDE else self._routing.side_towards(host)
        return self._signalling.flow_to(hop, side)

    # sending

    async def forward(self, context: ResponseContext, target: Target, hops: Sequence[Hop]) -> None:
        """Send a copy of the request to the first of `hops` to which there is a way (16.6 steps 1 and 10)."""
        for number, hop in enumerate(hops):
            flow = self.flow_to(hop, target)
            if flow is not None:
                await self._send(context, Branch(context, target, hop, flow, list(hops[number + 1 :])))
                return
        sides = {self._routing.side_towards(hop.address.host).value for hop in hops}
        raise unavailable(f"no address for {hops[0].transport} on the {' or '.join(sorted(sides))} interface")

    async def _send(self, context: ResponseContext, branch: Branch) -> None:
        only = len(context.targets) == 1 and not branch.later
        copy = context.copy if only else context.copy.copy()
        now, attempt, out = self._clock.seconds(), context.attempts, branch.flow
        context.attempts += 1
        if context.method == "REGISTER" and out.side is Side.OUTSIDE:
            self._register(context, copy, out, now)
        self.prepare(copy, branch.target, context.flow, out)
        mark = branch_for(context.request, context.flow.side, self._secret, attempt)
        context.branch = context.branch or mark
        if copy.body:
            await self._negotiation.request_forwarded(copy, context, branch)
        if context.cancelled:
            raise Refused(487, "cancelled")
        if out.transport.reliable:
            add_content_length(copy)
        self._dress.via(copy, out, mark)
        context.branches.append(branch)
        if branch.later:
            branch.waiting = self._clock.callLater(PATIENCE, self._lost_patience, branch)
            self._impatient.add(branch)
        branch.client = self._signalling.request(copy, out, branch, mark)

    def _register(self, context: ResponseContext, copy: Request, out: Flow, now: float) -> None:
        """Masquerade the Contacts of a REGISTER for this server; those for the one before are forgotten."""
        if context.registration is not None:
            self._registrar.settled(context.registration)
        host, transport = self._dress.host(out), self._dress.contact_transport(out)
        context.registration = self._registrar.pass_on(copy, context.flow, host, now, transport=transport)

    def prepare(self, copy: Request, target: Target, source: Flow, out: Flow) -> None:
        """Make `copy`, which came by `source`, fit for `target`, where it goes by `out` (16.6)."""
        if target.uri is not None:
            copy.set_uri(target.uri, "Request-URI of the phone (16.6 step 2)")
        count_down(copy)
        self._dress.request(copy, source, out, self._clock.seconds())
        self._dress.path(copy, target.path)
        self._routing.postprocess(copy)

    # when a server fails

    def _lost_patience(self, branch: Branch) -> None:
        client, context = branch.client, branch.context
        self._impatient.discard(branch)
        branch.waiting = None
        silent = client is not None and client.state in (State.CALLING, State.TRYING)
        if client is None or not silent or branch.over or not context.may_go_on:
            return
        if branch.target.is_flow:
            # A phone may just be slow, and often nobody can connect to it: both ways may bring its answer.
            self.counters["phones without a sign of life"] += 1
            self.failover(branch)
            return
        self.counters["servers without a sign of life"] += 1
        self.give_up_on(branch, "no response")
        self._signalling.cancel(client)  # an INVITE, should it come to life after all
        self.failover(branch)

    def stop(self) -> None:
        """Wait for nothing any more."""
        for branch in list(self._impatient):
            self._stop_waiting(branch)

    def _stop_waiting(self, branch: Branch) -> None:
        self._impatient.discard(branch)
        if branch.waiting is not None and branch.waiting.active():
            branch.waiting.cancel()
        branch.waiting = None

    def give_up_on(self, branch: Branch, why: str, seconds: float = 30.0) -> None:
        """Remember that the server of `branch` has failed."""
        branch.over = True
        target, hop = branch.target, branch.hop
        if hop.transport == "TCP" and any(
            later == hop._replace(transport="UDP") for later in branch.later[:1]
        ):
            # It was our idea to use TCP: that says nothing about the server.
            self._remember_without_tcp(hop.address.host)
            return
        self._log.info("{hop} has failed: {why}", hop=hop, why=why)
        if target.hop is None:
            self._resolver.failed(hop, seconds)
            context = branch.context
            self.affinity.failed(context.copy, target.destination, hop, context.call_id)

    def _remember_without_tcp(self, host: str) -> None:
        while len(self._without_tcp) >= MOST_HOSTS:
            del self._without_tcp[next(iter(self._without_tcp))]
        self._without_tcp[host] = self._clock.seconds() + WITHOUT_TCP

    def answered(self, branch: Branch, *, serves: bool = False) -> None:
        """Take note that the server of `branch` lives: what belongs together goes there from now on.

        One that was given up has the call only if it `serves` it, by a success: another one has been asked.
        """
        branch.alive = True
        if branch.waiting is not None:
            self._stop_waiting(branch)
        if branch.target.hop is None and (serves or not branch.over):
            now, context = self._clock.seconds(), branch.context
            self.affinity.note(context.copy, branch.target.destination, branch.hop, now, context.call_id)
