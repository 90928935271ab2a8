# SPDX-License-Identifier: MIT
"""What a message wears on each side: Via, Record-Route, Contact, User-Agent.

Towards the outside nothing of the inside shows; towards a phone the proxy is in the
route set, so that the phone's next request comes back to it.
"""

from __future__ import annotations

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import Flow, IAddresses, Side
from siproxd_tw.proxy.context import ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.forwarding import (
    add_record_route,
    add_via,
    append_record_route,
    remove_record_routes,
    set_user_agent,
)
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.proxy.validation import unavailable
from siproxd_tw.sip.message import Message, Request, Response

__all__ = ["Dress"]

#: Methods whose Contact is the sender's target for the rest of a dialog (RFC 3261 12.1, 12.2,
#: RFC 3311, RFC 6665).
TARGET_METHODS = frozenset({"INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"})

#: Requests that leave no route set behind.
UNROUTED_METHODS = frozenset({"ACK", "BYE", "CANCEL", "REGISTER"})


class Dress:
    """Edits messages for the side that they go to."""

    def __init__(
        self,
        config: SIPConfig,
        addresses: IAddresses,
        routing: Routing,
        masquerade: Masquerade,
        dialogs: Dialogs,
    ) -> None:
        self._config = config
        self._addresses = addresses
        self._routing = routing
        self._masquerade = masquerade
        self._dialogs = dialogs

    def host(self, side: Side) -> str | None:
        """Return the address that we are known by on `side`."""
        return self._addresses.advertised(side)

    def request(self, copy: Request, flow: Flow, side: Side, now: float) -> None:
        """Dress a request that came by `flow` for `side`."""
        if side is Side.INSIDE:
            if copy.method not in UNROUTED_METHODS:
                add_record_route(copy, self._known_host(Side.INSIDE), self._config.port)
            return
        remove_record_routes(copy, self._routing.is_mine)
        if copy.method != "REGISTER":  # its Contacts are the registrar's matter
            self._hide(copy, flow, copy.from_tag, now)
        self._say_user_agent(copy)

    def response(self, response: Response, context: ResponseContext, source: Flow, now: float) -> None:
        """Dress a response that came by `source` for where the request came from."""
        if context.flow.side is Side.OUTSIDE:
            remove_record_routes(response, self._routing.is_mine)
            self._hide(response, source, response.to_tag, now)
            self._say_user_agent(response)
        elif context.side is Side.OUTSIDE and (host := self.host(Side.INSIDE)) is not None:
            append_record_route(response, host, self._config.port)

    def via(self, request: Request, out: Flow, branch: bytes) -> None:
        """Put our Via on a request that leaves by `out`."""
        rport = self._config.rport_inside if out.side is Side.INSIDE else self._config.rport_outside
        host, port = self._known_host(out.side), self._config.port
        add_via(request, host, port, branch, transport=out.transport.name, rport=rport)

    def _hide(self, message: Message, flow: Flow, tag: bytes, now: float) -> None:
        contact = self._masquerade.hide(message, flow)
        if contact is not None and tag and message.cseq.method in TARGET_METHODS:
            if isinstance(message, Response) and message.status >= 300:
                return
            self._dialogs.remember(message.call_id, tag, contact, flow, now)

    def _say_user_agent(self, message: Message) -> None:
        if self._config.ua_string:
            set_user_agent(message, self._config.ua_string)

    def _known_host(self, side: Side) -> str:
        host = self.host(side)
        if host is None:
            raise unavailable(f"no address on the {side.value} interface")
        return host
