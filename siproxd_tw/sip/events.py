# SPDX-License-Identifier: MIT
"""Server and client transactions, and what happens to them (RFC 3261 section 17).

The transaction layer makes them and tells its user by these events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    State,
    Timers,
    Transaction,
)

__all__ = [
    "AckReceived",
    "CancelReceived",
    "ClientTransaction",
    "Event",
    "Key",
    "RequestReceived",
    "ResponseReceived",
    "RingingTooLong",
    "ServerTransaction",
    "StrayResponse",
    "TransactionFailed",
]

Key = tuple[object, ...]
"""What identifies a transaction."""


#: Stands where a request was that nobody needs any more.
NO_REQUEST = Request.build("NONE", b"sip:nobody.invalid", [])


class ServerTransaction(Transaction):
    """A request that we have to answer (17.2)."""

    __slots__ = ("flow", "key", "last", "reply", "request", "user")

    def __init__(
        self, request: Request, flow: Any, reply: Any, key: Key, timers: Timers, reliable: bool
    ) -> None:
        machine = INVITE_SERVER if request.method == "INVITE" else NON_INVITE_SERVER
        super().__init__(machine, timers, reliable)
        self.request = request
        self.flow = flow
        """Where the request came from."""
        self.reply = reply
        """Where responses go (RFC 3261 18.2.2)."""
        self.key = key
        self.last = b""
        self.user: Any = None
        """What the transaction user keeps here; when the transaction is over its `end()` is called, if it
        has one, to break the circle of references that only the garbage collector could find otherwise."""

    @property
    def answered(self) -> bool:
        """Whether a final response has been sent."""
        return self.state not in (State.TRYING, State.PROCEEDING)

    def let_go(self) -> None:
        """Release the user, and the request.

        For half a minute from now on all that is needed is the response, for retransmissions: what is
        released here is nine tenths of the memory of a transaction.
        """
        user, self.user = self.user, None
        self.request = NO_REQUEST
        if hasattr(user, "end"):
            user.end()


class ClientTransaction(Transaction):
    """A request that we have sent (17.1)."""

    __slots__ = ("cancel_headers", "cancel_sent", "cancel_wanted", "flow", "key", "last", "request", "user")

    def __init__(
        self, request: Request, flow: Any, key: Key, timers: Timers, reliable: bool, user: Any
    ) -> None:
        machine = INVITE_CLIENT if request.method == "INVITE" else NON_INVITE_CLIENT
        super().__init__(machine, timers, reliable)
        self.request = request
        self.flow = flow
        self.key = key
        self.last = bytes(request)
        self.user = user
        self.cancel_wanted = False
        """Whether it is to be cancelled as soon as a provisional response is there."""
        self.cancel_headers: Sequence[bytes] = ()
        """Header lines that the CANCEL is to have in addition."""
        self.cancel_sent = False

    def let_go(self) -> None:
        """Release the user, and the request: what comes now is retransmissions of its response."""
        self.user = None
        self.request = NO_REQUEST
        self.last = b""


class RequestReceived(NamedTuple):
    """A new request came in; ACK and CANCEL have events of their own."""

    transaction: ServerTransaction


class AckReceived(NamedTuple):
    """An ACK for a 2xx came in; it has no transaction (17.1.1.3)."""

    request: Request
    flow: Any
    user: Any = None
    """What the transaction user keeps with it."""


class CancelReceived(NamedTuple):
    """A CANCEL came in; `invite` is what it is about, None if nothing matches (9.2)."""

    transaction: ServerTransaction
    invite: ServerTransaction | None


class ResponseReceived(NamedTuple):
    """A response to one of our requests came in."""

    transaction: ClientTransaction
    response: Response
    user: Any = None
    """What the request was sent with."""


class StrayResponse(NamedTuple):
    """A response matches no transaction: to be dropped and counted (RFC 6026 section 7.3)."""

    response: Response
    flow: Any


class TransactionFailed(NamedTuple):
    """A transaction ended without what it waited for: "timeout" or "transport"."""

    transaction: ClientTransaction | ServerTransaction
    reason: str


class RingingTooLong(NamedTuple):
    """Timer C of an INVITE is over (16.8)."""

    transaction: ClientTransaction


Event = (
    RequestReceived
    | AckReceived
    | CancelReceived
    | ResponseReceived
    | StrayResponse
    | TransactionFailed
    | RingingTooLong
)
