# SPDX-License-Identifier: MIT
"""The proxy core on a bench: real down to routing and registrar; network, DNS and media are in memory.

Everything that the core does to the world stands in one `journal`, in the order in which it happened:
messages ("INVITE to 203.0.113.50:5060"), the media relay ("offer a1 > ?, inside > outside"), cancels.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.task import Clock

from siproxd_tw.config.settings import AccessConfig, AuthConfig, RegistrarConfig, RoutingConfig, SIPConfig
from siproxd_tw.interfaces import Address, Flow, Refused, Side
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.proxy.context import ResponseContext
from siproxd_tw.proxy.core import ProxyCore
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.limits import Limits
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.references import References
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.proxy.validation import Access
from siproxd_tw.sip.message import Message, Request, Response, cancel_for, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transaction import Timers
from siproxd_tw.sip.transactionlayer import (
    AckReceived,
    CancelReceived,
    ClientTransaction,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    local_tag,
)
from siproxd_tw.sip.uri import parse_uri
from tests.support.addresses import FixedAddresses, two_armed
from tests.support.media import MemoryRelay
from tests.support.messages import ALICE, answer, wire
from tests.support.resolver import MemoryResolver
from tests.support.signalling import MemorySignalling

__all__ = ["NOW", "SECRET", "Bench"]

NOW = 1_800_000_000.0
SECRET = b"s" * 32
NAMES = {"sip.provider.test": "203.0.113.50", "sip.other.test": "203.0.113.51", "foo.test": "203.0.113.1"}


class Bench:
    """A core with its surroundings, and hands to feed it."""

    def __init__(
        self,
        *,
        access: AccessConfig | None = None,
        auth: AuthConfig | None = None,
        routing: RoutingConfig | None = None,
        addresses: FixedAddresses | None = None,
        sip: SIPConfig | None = None,
    ) -> None:
        self.clock: Any = Clock()
        self.clock.rightNow = NOW
        self.journal: list[str] = []
        self.saves = 0
        self.addresses = addresses or two_armed()
        self.resolver = MemoryResolver(NAMES)
        self.relay = MemoryRelay(self.journal)
        self.signalling = MemorySignalling(self.clock, self.journal)
        self.location = Location()
        self.dialogs = Dialogs()
        sip = sip or SIPConfig()
        rights = Access(access or AccessConfig())
        masquerade = Masquerade(self.addresses, self.location, sip.port)
        references = References(self.location, self.addresses, masquerade)
        way = Routing(
            routing or RoutingConfig(),
            self.addresses,
            self.location,
            self.dialogs,
            sip,
            ports={"TLS": 5061},
            trusts=rights.trusts,
        )
        self.core = ProxyCore(
            clock=self.clock,
            signalling=self.signalling,
            resolver=self.resolver,
            access=rights,
            limits=Limits(),
            authentication=Authentication(auth or AuthConfig(), SECRET),
            routing=way,
            registrar=Registrar(RegistrarConfig(), self.location, masquerade, self._saved),
            dialogs=self.dialogs,
            dress=Dress(sip, self.addresses, way, masquerade, references, self.dialogs),
            negotiation=OfferAnswer(self.relay),
            config=sip,
            secret=SECRET,
        )
        self.p = self.flow("10.0.0.10", 5062)
        """From Alice's phone."""
        self.w = self.flow("203.0.113.51", 5060)
        """From another provider."""
        self._branches = 0

    def _saved(self) -> None:
        self.saves += 1

    def flow(self, host: str, port: int, transport: str = "UDP") -> Flow:
        """Return the flow of what comes from `host` and `port`."""
        side = Side.INSIDE if host.startswith("10.") else Side.OUTSIDE
        return Flow(self.signalling.transports[side, transport, ":" in host], Address(host, port), side)

    def bind(
        self,
        contact: str = "sip:alice@10.0.0.10:5062",
        aor: str = f"sip:{ALICE}",
        masked: str = "sip:alice@203.0.113.1",
    ) -> None:
        """Register a phone without a trace in the journal."""
        uris: Any = [parse_uri(text.encode()) for text in (contact, aor, masked)]
        self.location.add(Binding(uris[0], contact.encode(), uris[1], uris[2], NOW + 3600))

    def message(self, text: str, flow: Flow) -> Request:
        """Make a request of `text` with a new Via, unless it has one."""
        if "\nVia:" not in text:
            self._branches += 1
            start, _, rest = text.partition("\n")
            text = f"{start}\nVia: SIP/2.0/UDP {flow.remote};branch=z9hG4bKt{self._branches}\n{rest}"
        found = parse(wire(text))
        assert isinstance(found, Request)
        return found

    def receive(self, text: str, flow: Flow | None = None) -> ServerTransaction:
        """Let a request come in by `flow`, by default from Alice's phone, in a new transaction.

        What is refused without a transaction is answered as the transport layer would.
        """
        flow = flow or self.p
        request = self.message(text, flow)
        transaction = ServerTransaction(request, flow, flow, (), Timers(), flow.transport.reliable)
        try:
            transaction.user = self.core.screen(request, flow)
        except Refused as refusal:
            tag = local_tag(request, SECRET)
            headers, phrase = refusal.headers, refusal.phrase.encode() or None
            if refusal.status is not None:
                response = response_to(request, refusal.status, phrase, to_tag=tag, headers=headers)
                self.signalling.respond(transaction, response)
        else:
            self.core.event_received(RequestReceived(transaction))
        return transaction

    def acknowledge(self, text: str, flow: Flow | None = None) -> None:
        """Let an ACK for a 2xx come in."""
        flow = flow or self.p
        ack = self.message(text, flow)
        self.core.event_received(AckReceived(ack, flow, self.core.screen(ack, flow)))

    def cancel(self, invite: ServerTransaction | None, text: str = "") -> ServerTransaction:
        """Let a CANCEL come in, for `invite` and with a header line, or for nothing that is known."""
        request = self.message(text, self.p) if invite is None else cancel_for(invite.request)
        if invite is not None and text:
            request.insert(text.encode(), "test")
        transaction = ServerTransaction(request, self.p, self.p, (), Timers(), False)
        self.core.event_received(CancelReceived(transaction, invite))
        return transaction

    def answered(self, status: str, *headers: str, client: int = -1, tag: str = "b1", body: str = "") -> None:
        """Let the peer answer our last request, or another one of those that we sent."""
        transaction = self.client(client)
        response = parse(wire(answer(transaction.request, status, *headers, tag=tag, body=body)))
        assert isinstance(response, Response)
        self.core.event_received(ResponseReceived(transaction, response, transaction.user))

    def client(self, index: int = -1) -> ClientTransaction:
        """Return one of the requests that we sent, by default the last."""
        return self.signalling.clients[index]

    @property
    def sent(self) -> Message:
        """What was sent last."""
        return self.signalling.sent[-1]

    def context(self, transaction: ServerTransaction) -> ResponseContext:
        """Return what the core keeps with a transaction."""
        assert isinstance(transaction.user, ResponseContext)
        return transaction.user

    def happened(self) -> list[str]:
        """Return the journal since the last time."""
        news = list(self.journal)
        self.journal.clear()
        return news
