# SPDX-License-Identifier: MIT
"""What a message wears on each side: Via, Record-Route, Contact, User-Agent, and what goes with them.

Towards the outside nothing of the inside shows; towards a phone the proxy is in the
route set, so that the phone's next request comes back to it.
"""

from __future__ import annotations

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import Flow, IAddresses, Side
from siproxd_tw.proxy import callids, vias
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.forwarding import (
    add_record_route,
    add_via,
    append_record_route,
    remove_record_routes,
    set_user_agent,
)
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.references import References
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.proxy.validation import unavailable
from siproxd_tw.sip.message import Message, Request, Response

__all__ = ["Dress"]

#: Methods whose Contact is the sender's target for the rest of a dialog (RFC 3261 12.1, 12.2,
#: RFC 3311, RFC 6665).
TARGET_METHODS = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})

#: Requests that leave no route set behind.
UNROUTED_METHODS = frozenset({"ACK", "BYE", "CANCEL", "REGISTER"})

#: Transports that know who is at the other end, so that we may offer to be called by a connection of ours:
#: where we have a certificate to show for it (RFC 5923 sections 5, 8.1 and 9).
SHARED = frozenset({"TLS"})


class Dress:
    """Edits messages for the side that they go to."""

    def __init__(
        self,
        config: SIPConfig,
        addresses: IAddresses,
        routing: Routing,
        masquerade: Masquerade,
        references: References,
        dialogs: Dialogs,
        *,
        has_certificate: bool = False,
    ) -> None:
        self._config = config
        self._addresses = addresses
        self._routing = routing
        self._masquerade = masquerade
        self._references = references
        self._dialogs = dialogs
        self._has_certificate = has_certificate

    # who we are

    def host(self, flow: Flow) -> str:
        """Return how the peer of `flow` knows us: an address of its family, outside perhaps a name.

        Raises Refused with 503 while there is none.
        """
        host = self.known_as(flow)
        if host is None:
            raise unavailable(f"no address on the {flow.side.value} interface")
        return host

    def known_as(self, flow: Flow) -> str | None:
        """Return the same, None while there is none."""
        if flow.side is Side.OUTSIDE and self._config.name_outbound:
            return self._config.name_outbound
        return self._addresses.advertised(flow.side, flow.remote.host)

    def contact_transport(self, out: Flow) -> str:
        """Return the transport parameter that a Contact needs to be called by `out` (RFC 3263 section 6)."""
        name: str = out.transport.name
        return "" if name == "UDP" else name.lower()

    # requests

    def request(self, copy: Request, source: Flow, out: Flow, now: float) -> None:
        """Dress a request that came by `source` for where it goes by `out` (16.6 steps 4 and 5)."""
        if out.side is Side.INSIDE:
            self._references.inward(copy, now, host=self.host(out))
            if copy.method not in UNROUTED_METHODS:
                self._record_routes(copy, source, out)
            if source.side is Side.INSIDE:
                self._remember_local(copy, source, copy.from_tag, now)
            return
        remove_record_routes(copy, self._routing.is_mine)
        if copy.method != "REGISTER":  # its Contacts are the registrar's matter
            self._hide(copy, source, out, copy.from_tag, now)
            self._references.outward(
                copy, now, host=self.host(out), transport=self.contact_transport(out), source=source.remote
            )
            if self._config.obscure_loops:
                callids.outward(copy, copy.from_tag)
        self._say_user_agent(copy)

    def path(self, copy: Request, path: tuple[bytes, ...]) -> None:
        """Put the Path of a registration before the other routes (RFC 3327 section 5.4)."""
        if path:
            line = b"Route: " + b", ".join(path)
            before = b"route" if copy.first(b"route") is not None else None
            copy.insert(line, "Path of the registration", before=before, after=None if before else b"via")

    def via(self, request: Request, out: Flow, branch: bytes) -> None:
        """Put our Via on a request that leaves by `out`; with rport as configured (RFC 3581 section 3)."""
        outside = out.side is Side.OUTSIDE
        rport = self._config.rport_outside if outside else self._config.rport_inside
        transport = out.transport
        if outside and self._config.single_via:
            vias.hide(request)
        flags = b";rport" if rport else b""
        if self._has_certificate and transport.name in SHARED:
            flags += b";alias"
        name = transport.name
        add_via(request, self.host(out), transport.local.port, branch, transport=name, flags=flags)

    def _record_routes(self, copy: Request, source: Flow, out: Flow) -> None:
        """Record us towards a phone; towards the other phone as well where it cannot use the same URI.

        The upper one is what the callee reaches us by, the lower one is the caller's (RFC 5658).
        """
        here, there = self._route(source), self._route(out)
        if source.side is Side.INSIDE and here != there:
            add_record_route(copy, *here)
        add_record_route(copy, *there)

    def _route(self, flow: Flow) -> tuple[str, int, str]:
        """Return host, port and transport by which the peer of `flow` reaches us."""
        return self.host(flow), flow.transport.local.port, self.contact_transport(flow)

    # responses

    def uncover(self, response: Response, context: ResponseContext) -> None:
        """Give a response that has just lost our Via what its request had inside."""
        if self._config.obscure_loops:
            callids.assign(response, context.call_id)
        if self._config.single_via and response.first(b"via") is None:
            vias.restore(response, context.request)

    def response(
        self, response: Response, context: ResponseContext, branch: Branch, source: Flow, now: float
    ) -> None:
        """Dress a response that came by `source` for where the request came from (16.7 step 8)."""
        if context.flow.side is Side.OUTSIDE:
            remove_record_routes(response, self._routing.is_mine)
            self._hide(response, source, context.flow, response.to_tag, now)
            self._references.outward(
                response, now, host=self.host(context.flow), transport=self.contact_transport(context.flow)
            )
            self._say_user_agent(response)
        elif branch.side is Side.OUTSIDE:
            if self.known_as(context.flow) is not None:  # the phone's connection is older than our address
                append_record_route(response, *self._route(context.flow))
        else:
            self._remember_local(response, source, response.to_tag, now)
        if self._config.obscure_loops:
            callids.assign(response, context.request.call_id)

    # both

    def _hide(self, message: Message, source: Flow, out: Flow, tag: bytes, now: float) -> None:
        if message.first(b"contact") is None:
            return
        contact = self._masquerade.hide(
            message, source, self.host(out), transport=self.contact_transport(out)
        )
        if contact is not None:
            self._remember(message, contact, source, tag, now)

    def _remember_local(self, message: Message, source: Flow, tag: bytes, now: float) -> None:
        """Remember the phone of a call inside if others could not reach it at its Contact."""
        contacts = message.contacts() if tag and message.first(b"contact") is not None else []
        if len(contacts) != 1 or contacts[0].is_wildcard:
            return
        host = getattr(contacts[0].uri, "host", "")
        if source.transport.reliable or host != source.remote.host:
            self._remember(message, contacts[0].uri_text, source, tag, now)

    def _remember(self, message: Message, contact: bytes, flow: Flow, tag: bytes, now: float) -> None:
        if not tag or message.cseq.method not in TARGET_METHODS:
            return
        status = message.status if isinstance(message, Response) else 0
        if status < 300:
            self._dialogs.remember(message.call_id, tag, contact, flow, now, status)

    def _say_user_agent(self, message: Message) -> None:
        if self._config.ua_string:
            set_user_agent(message, self._config.ua_string)
