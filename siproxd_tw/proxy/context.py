# SPDX-License-Identifier: MIT
"""The response context of RFC 3261 section 16: one request on its way and what comes back.

A `Branch` is one attempt: one copy of the request, sent to one server in one client
transaction. A target with several servers gets the next attempt when the one before fails;
a callee with several phones gets one for each of them at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from twisted.internet.interfaces import IDelayedCall

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import Exchange, Flow, Hop, Side
from siproxd_tw.proxy.registrar import Registration
from siproxd_tw.proxy.routing import Target
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.transaction import State
from siproxd_tw.sip.transactionlayer import ClientTransaction, ServerTransaction

__all__ = ["Branch", "ResponseContext"]


@dataclass(slots=True, eq=False)
class Branch:
    """One attempt to have a request served."""

    context: ResponseContext
    target: Target
    hop: Hop
    flow: Flow
    """By which it was sent."""
    later: list[Hop]
    """The servers to try when this one fails (RFC 3263 section 4.3)."""
    client: ClientTransaction | None = None
    waiting: IDelayedCall | None = None
    """Ends the wait for a sign of life, where there is another server."""
    final: tuple[Response, Flow] | None = None
    """A final response that is no success, and from where it came: one of those to choose from (16.7)."""
    over: bool = False
    """Whether nothing is expected of it any more: answered, failed, or another one has taken its place."""
    alive: bool = False
    """Whether there was a response, be it a provisional one."""
    earlier: Branch | None = None
    """The attempt by a phone's connection, which may answer too, where this is one to its Contact."""
    failure: str = ""
    """Why it never had a response: "timeout" or "transport"."""

    @property
    def side(self) -> Side:
        """The side that it was sent to."""
        return self.flow.side


@dataclass(slots=True, eq=False)
class ResponseContext:
    """Ties a server transaction to the client transactions that serve it (16.2)."""

    request: Request
    """The request as it was received."""
    flow: Flow
    """Where it came from."""
    copy: Request
    """The request as it is to go on: without our own Route (16.4). The last attempt sends it itself."""
    call_id: bytes
    """The Call-ID that it has inside, by which everything is kept (`obscure_loops`)."""
    targets: list[Target] = field(default_factory=list)
    """Where to, as far as that is known without waiting (16.5)."""
    server: ServerTransaction | None = None
    branches: list[Branch] = field(default_factory=list)
    attempts: int = 0
    """Branches so far: the number that tells their Via branches apart."""
    failovers: int = 0
    """Branches that have failed and whose successors are not there yet."""
    cancelled: bool = False
    """Whether the caller has taken the request back."""
    declined: bool = False
    """Whether somebody has declined for everybody (6xx): nobody else is to be asked."""
    branch: bytes = b""
    """The branch of the first attempt: identifies the offer of this request."""
    offers: dict[tuple[Side, bool], Exchange] = field(default_factory=dict)
    """The offers that are open in this transaction, by where the other party is: side, and whether IPv6."""
    offered_by_request: bool = False
    carried: dict[tuple[bytes, bytes], list[Edit]] = field(default_factory=dict)
    """The edits of each description that was sent back, by To tag and description: a copy gets the same,
    also when the call is over by then."""
    accepted_by: list[bytes] = field(default_factory=list)
    """The To tags of the 2xx responses to an INVITE, the first one first."""
    registration: Registration | None = None

    @property
    def method(self) -> str:
        """The method of the request."""
        return self.request.method

    @property
    def answered(self) -> bool:
        """Whether a final response has been given."""
        return self.server is None or self.server.answered

    @property
    def accepted(self) -> bool:
        """Whether a 2xx to an INVITE has been given: those of other phones may follow (RFC 6026 7.1)."""
        return self.server is not None and self.server.state is State.ACCEPTED

    @property
    def may_go_on(self) -> bool:
        """Whether another attempt may begin (16.7 steps 5 and 10)."""
        return not (self.cancelled or self.declined or self.answered)

    @property
    def pending(self) -> list[Branch]:
        """The attempts that may still bring a final response."""
        return [branch for branch in self.branches if not branch.over]

    def end(self) -> None:
        """Let go of the branches, now that the server transaction is over."""
        self.branches.clear()
        self.server = None
