# SPDX-License-Identifier: MIT
"""The response context of RFC 3261 section 16: one request on its way and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import Exchange, Flow, Side
from siproxd_tw.proxy.registrar import Registration
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.transactionlayer import ClientTransaction, ServerTransaction

__all__ = ["ResponseContext"]


@dataclass(slots=True, eq=False)
class ResponseContext:
    """Ties a server transaction to the client transactions that serve it (16.2)."""

    server: ServerTransaction
    request: Request
    """The request as it was received."""
    flow: Flow
    """Where it came from."""
    side: Side = Side.OUTSIDE
    """The side that it was forwarded to."""
    clients: list[ClientTransaction] = field(default_factory=list)
    cancelled: bool = False
    """Whether the caller has taken the request back."""
    branch: bytes = b""
    offer: Exchange | None = None
    """The offer that is open in this transaction, whoever made it."""
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

    def best(self, response: Response) -> bool:
        """Whether `response` is to be passed on: always, while there is one branch (16.7 step 5)."""
        return not self.server.answered or (self.method == "INVITE" and response.status < 300)
