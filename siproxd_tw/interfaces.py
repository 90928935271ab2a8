# SPDX-License-Identifier: MIT
"""What the trades promise one another.

The transport, the proxy, the media, the plug-ins and the administration never
import one another: they meet here, and `siproxd_tw.service` hands each of them
the providers that it needs. The contract of a method stands in its interface
and nowhere else.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from siproxd_tw.edits import Edit
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.transactionlayer import ClientTransaction, Event, ServerTransaction

__all__ = [
    "Address",
    "Destination",
    "Exchange",
    "Flow",
    "Hop",
    "IAddresses",
    "IMediaRelay",
    "IResolver",
    "ISendReport",
    "ISignalling",
    "IStatus",
    "ITransactionUser",
    "ITransport",
    "MediaNotAcceptable",
    "MediaUnavailable",
    "Refused",
    "ResolutionFailed",
    "Side",
]


class Side(Enum):
    """On which side of the gateway something is."""

    INSIDE = "inside"
    """The phones' network: `if_inbound`."""
    OUTSIDE = "outside"
    """The provider's network: `if_outbound`."""

    @property
    def other(self) -> Side:
        """The opposite side."""
        return Side.OUTSIDE if self is Side.INSIDE else Side.INSIDE


class Address(NamedTuple):
    """An IP address in text form and a port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Destination(NamedTuple):
    """Where a request is to go, before anybody has asked the DNS (RFC 3263 section 4)."""

    host: str
    """A domain, a host name or an IP address without brackets."""
    port: int | None = None
    transport: str = ""
    """As Via spells it, when the URI or the configuration names one; empty: the DNS says."""
    secure: bool = False
    """Whether TLS is a must (``sips:``, RFC 3261 section 26.2.2)."""


class Hop(NamedTuple):
    """One server that a destination has led to: the next hop of a request."""

    transport: str
    """As Via spells it: UDP, TCP, TLS, WS, WSS."""
    address: Address
    name: str = ""
    """The domain that was asked for, which a TLS certificate must be for and SNI names: never a name
    that SRV led to (RFC 5922 section 4). Empty for an IP address."""

    def __str__(self) -> str:
        return f"{self.transport} {self.address}"


class Flow(NamedTuple):
    """A two-way path to a peer: our end of it, and where the peer is (RFC 5626 section 2)."""

    transport: Any
    """The `ITransport` whose local address is ours of this flow."""
    remote: Address
    side: Side
    """The side the peer is on; on a one-armed gateway it is not that of the socket."""
    name: str = ""
    """The `Hop.name` by which it was found; empty where a peer came to us."""
    fallback: Address | None = None
    """Where a response goes when the connection that its request came by is gone (RFC 3261 18.2.2)."""


class ITransport(Interface):
    """One of our own addresses from which SIP messages leave (RFC 3261 section 18)."""

    name: str = Attribute("The transport as Via spells it: UDP, TCP, TLS, WS, WSS.")
    reliable: bool = Attribute("Whether it retransmits by itself, so that timers A, E and G stay off.")
    local: Address = Attribute("The address that it is bound to.")
    side: Side = Attribute("The network that it is bound in.")

    def send(data: bytes, flow: Flow) -> None:
        """Send one message by `flow`, whose transport this is.

        A stream uses the connection with `flow.remote`, else makes one, without blocking, and the message
        waits for it. A network error is counted and logged, never raised. A datagram that is lost is
        SIP's own matter; a stream that knows of the loss reports it to `ISendReport.unsent`.
        """

    def reaches(remote: Address) -> bool:
        """Whether something can be sent to `remote` without a new connection; of datagrams always."""

    def alias(remote: Address, advertised: Address) -> None:
        """Reach `advertised`, too, by the connection that `remote` has made (RFC 5923)."""


class ISendReport(Interface):
    """Who wants to know what a transport has received and what could not be sent."""

    def received(data: bytes, transport: ITransport, remote: Address) -> None:
        """Take one datagram, or one complete message of a stream."""

    def broken(error: ParseError, transport: ITransport, remote: Address) -> None:
        """Take note of a stream whose framing is lost; it is closed afterwards.

        `error` has the request at fault if there is one: it can be answered (RFC 3261 18.3).
        """

    def unsent(flow: Flow, reason: str) -> None:
        """Take note that what was sent last by `flow` did not go out: refused, timed out, lost."""


class Refused(Exception):
    """A request goes no further: knows what to answer.

    `status` None means silence: the sender is to learn nothing (access lists).
    """

    def __init__(
        self, status: int | None, why: str, *, phrase: str = "", headers: Sequence[bytes] = ()
    ) -> None:
        super().__init__(why)
        self.status = status
        self.why = why
        """For the log and the counters: names the reason, not the message."""
        self.phrase = phrase
        """The reason phrase, if not the standard one."""
        self.headers = headers
        """Header lines that the answer carries in addition."""


class ITransactionUser(Interface):
    """The proxy as the transport layer sees it: the TU of RFC 3261."""

    def admits(flow: Flow) -> None:
        """Say by Refused that nothing from this peer is even to be parsed."""

    def screen(request: Request, flow: Flow) -> object:
        """Say by Refused that a new request is not worth a transaction.

        What is answered here is answered without state (RFC 3261 8.2.7), so that a
        flood of bad requests costs nothing but its answers. What is returned stays with the
        transaction, as its `user`.
        """

    def event_received(event: Event) -> None:
        """Take one event of the transaction layer."""


class ISignalling(Interface):
    """The transport layer as the proxy sees it."""

    def flow_to(hop: Hop, side: Side) -> Flow | None:
        """Return the way to `hop` on `side`; None while there is no socket for it.

        There is one for each side, transport and address family. A connection is made
        only when something is sent.
        """

    def request(request: Request, flow: Flow, user: object, branch: bytes) -> ClientTransaction:
        """Send `request`, whose topmost Via has `branch`, in a new client transaction that carries `user`."""

    def respond(transaction: ServerTransaction, response: Response) -> None:
        """Send `response` in the server transaction."""

    def cancel(transaction: ClientTransaction, headers: Sequence[bytes] = ()) -> None:
        """Cancel the INVITE of `transaction` as soon as that is possible (RFC 3261 9.1).

        `headers` are lines that the CANCEL has in addition: its Reason (RFC 3326).
        """

    def forget(transaction: ServerTransaction) -> None:
        """End `transaction` without an answer."""

    def send(request: Request, flow: Flow) -> None:
        """Send `request` outside any transaction: the ACK for a 2xx."""


class ResolutionFailed(Exception):
    """A host name has no address; says which name and why."""


class IResolver(Interface):
    """Finds the addresses of a host (RFC 3263); never blocks."""

    def resolve(host: str) -> Deferred[Sequence[str]]:
        """Find the IP addresses of `host`, IPv4 first.

        An IP address in text form (with or without the brackets of an IPv6 reference)
        is answered at once, by a Deferred that has already fired. Fails with ResolutionFailed.
        """

    def locate(destination: Destination) -> Deferred[Sequence[Hop]]:
        """Find the servers of `destination`, best first (RFC 3263 section 4, RFC 2782).

        An answer that is known fires at once. Servers that `failed` lately come last.
        Fails with ResolutionFailed.
        """

    def failed(hop: Hop, seconds: float = 30.0) -> None:
        """Take note that `hop` did not answer: others go first for so long (RFC 3263 section 4.3)."""


class IAddresses(Interface):
    """Which addresses the gateway has at this moment: on each side one of each family, or none."""

    def listening(side: Side, peer: str = "") -> str | None:
        """Return the address to bind sockets to on `side`, None while the interface has none.

        It is of the family of the IP address `peer`; without a peer IPv4 if there is one, else IPv6.
        """

    def advertised(side: Side, peer: str = "") -> str | None:
        """Return the address to write into messages for peers on `side`.

        The same as `listening`, unless `host_outbound` names another one for the outside.
        None while there is none.
        """

    def bound(side: Side) -> Sequence[str]:
        """Return every address to listen on for `side`, IPv4 first."""

    def side_of(host: str, arrival: Side) -> Side:
        """Return the side on which the peer with IP address `host` is.

        Members of the inside networks and our own addresses (a PBX on the gateway itself)
        are inside, whichever socket they came in on; everybody else is where the
        socket of `arrival` is, and on a one-armed gateway outside.
        """

    def is_own(host: str) -> bool:
        """Return whether the IP address `host` is one of ours, bound or advertised."""

    def watch(changed: Callable[[], None]) -> None:
        """Call `changed` each time an answer of the above has become another one."""


class MediaUnavailable(Exception):
    """An offer cannot be relayed: no port is free, or a side has no address.

    Its text is for the administrator's log; the call is refused with 503.
    """


class MediaNotAcceptable(MediaUnavailable):
    """An offer asks for what is not to be had here, now or later; the call is refused with 488."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """Whose session description it is: one step of an offer/answer exchange (RFC 3264)."""

    call_id: bytes
    sender: bytes
    """The tag of the party whose description this is."""
    receiver: bytes
    """The tag of the party it is for; empty while nobody has answered yet."""
    sender_side: Side
    """The side of the gateway on which the sender is."""
    receiver_side: Side
    transaction: bytes
    """Identifies the offer: the same in the offer, in its answer and in `withdraw`."""
    sender_at: str = ""
    """The IP address at which signalling meets the sender; empty: not known, then it is IPv4."""
    receiver_at: str = ""
    """The same for the receiver: media for it is relayed in that address family."""

    @property
    def reply(self) -> Exchange:
        """The same exchange seen from the other party."""
        return Exchange(
            self.call_id,
            self.receiver,
            self.sender,
            self.receiver_side,
            self.sender_side,
            self.transaction,
            self.receiver_at,
            self.sender_at,
        )


class IMediaRelay(Interface):
    """Relays the media of calls; cut where rtpengine's NG protocol is cut.

    Whoever calls it never looks into a session description. A session belongs to a call
    and to the two parties' tags; a description that goes from one side to the same side
    (a call between two phones) is relayed on that side's address.
    """

    def offer(exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """Take `sdp` as an offer and return the edits that make it point to the relay.

        The same offer again (same transaction) gives the same edits. In a call that has
        media already, ports stay and the media that runs keeps running until `answer`.
        Fails with MediaUnavailable or MediaNotAcceptable and leaves nothing allocated.
        An offer that waits long for its answer is repeated, or it is forgotten. A body that is not a
        session description gives no edits.
        """

    def answer(exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """Take `sdp` as the answer to the offer of the same transaction and return its edits.

        May come several times, with the tags of several forks and with changed content:
        the last one counts.
        """

    def withdraw(exchange: Exchange) -> Deferred[None]:
        """Take back the offer of this transaction because it was rejected or cancelled.

        Media that ran before it goes on as it was; a session that never had an answer ends.
        """

    def delete(exchange: Exchange) -> Deferred[None]:
        """End the session between these two parties and free its ports; unknown ones are no error."""

    def query(call_id: bytes) -> Deferred[Sequence[Mapping[str, object]]]:
        """Describe the sessions of a call: one mapping per stream, for people and tests."""


class IStatus(Interface):
    """Something that can say how it is."""

    def status() -> Mapping[str, object]:
        """Return figures and states by name; numbers, strings, lists and mappings only."""
