# SPDX-License-Identifier: MIT
"""Where a request goes: RFC 3261 sections 16.4, 16.5 and 16.6 step 6.

The side that a request came in on decides first, then its Request-URI, then what is
registered; hosts of From and To are never compared. What comes from outside goes to a
phone or nowhere: this is no open relay.
"""

from __future__ import annotations

from dataclasses import dataclass

from siproxd_tw.config.settings import RoutingConfig
from siproxd_tw.interfaces import Flow, IAddresses, Refused, Side
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.sip.grammar import ParseError, is_ip_address, unescape
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI, OtherURI, parse_uri

__all__ = ["OURSELVES", "NextHop", "Routing", "Target"]

OURSELVES = "for us"


@dataclass(frozen=True, slots=True)
class NextHop:
    """The host that a request is sent to, before its name is resolved."""

    host: str
    port: int | None


@dataclass(frozen=True, slots=True)
class Target:
    """Where a request goes and what its Request-URI becomes."""

    side: Side
    hop: NextHop
    uri: bytes | None = None
    """The new Request-URI; None leaves it as it is."""


class Routing:
    """Finds the target of a request; asks nobody and waits for nothing."""

    def __init__(
        self, config: RoutingConfig, addresses: IAddresses, location: Location, dialogs: Dialogs, port: int
    ) -> None:
        self._config = config
        self._addresses = addresses
        self._location = location
        self._dialogs = dialogs
        self._port = port

    def is_mine(self, uri: SIPURI) -> bool:
        """Whether `uri` is an address that we listen on."""
        return self.is_own(uri.host, uri.port)

    def is_own(self, host: str, port: int | None) -> bool:
        """Whether `host` and `port` (None: 5060) are ours."""
        return (port or 5060) == self._port and self._addresses.is_own(host)

    def preprocess(self, request: Request) -> None:
        """Undo what a strict router did, and take our own Route off (16.4)."""
        routes = request.routes()
        if not routes:
            return
        uri = request.uri
        if isinstance(uri, SIPURI) and uri.user == b"siproxd" and self.is_mine(uri):
            request.set_uri(routes[-1].uri_text, "strict router upstream (16.4)")
            request.remove_element(routes[-1], "strict router upstream (16.4)")
            routes = request.routes()
        if routes and isinstance(routes[0].uri, SIPURI) and self.is_mine(routes[0].uri):
            request.remove_element(routes[0], "our own Route (16.4)")

    def target(self, request: Request, flow: Flow, now: float) -> Target:
        """Determine the target of `request` after `preprocess` (16.5).

        Raises Refused: 404 for nobody here, 481 for an unknown dialog, 408 for a stranger
        inside, and with the reason OURSELVES when the request is for the proxy itself.
        """
        local = self._phone(request, flow, now)
        if local is not None:
            return local
        if flow.side is Side.OUTSIDE or self._names_us(request):
            if request.to_tag:
                raise Refused(481, "no such dialog")
            raise Refused(404, OURSELVES if self._is_for_us(request) else "no such phone")
        target = self.beyond(request)
        if target.side is Side.OUTSIDE and not self._may_call_out(request, flow):
            raise Refused(408, "neither caller nor callee is registered")
        return target

    def beyond(self, request: Request) -> Target:
        """Return the target of a request that is for none of our phones: also of a REGISTER."""
        hop = self._next_hop(request)
        side = self.side_towards(hop.host) if is_ip_address(hop.host) else Side.OUTSIDE
        return Target(side, hop)

    def side_towards(self, host: str) -> Side:
        """Return the side on which `host` is met; our own outside address, if we have two, is met outside."""
        addresses = self._addresses
        outside = (addresses.listening(Side.OUTSIDE), addresses.advertised(Side.OUTSIDE))
        if host in outside and host != addresses.listening(Side.INSIDE):
            return Side.OUTSIDE
        return addresses.side_of(host, Side.OUTSIDE)

    def _phone(self, request: Request, flow: Flow, now: float) -> Target | None:
        if flow.side is Side.INSIDE and _has_route(request):
            return None  # the caller's route set comes first
        uri = request.uri
        if not isinstance(uri, SIPURI):
            return None
        if flow.side is Side.OUTSIDE or self._is_here(request):
            party = self._dialogs.find(request.call_id, request.to_tag, now) if request.to_tag else None
            if party is not None:
                return self._to_contact(party.contact, party.flow)
        binding = self._binding(request, uri, flow, now)
        if binding is None:
            return None
        text = _without_headers(binding.contact_text, binding.contact)
        return Target(Side.INSIDE, NextHop(*binding.destination), text)

    def _to_contact(self, contact: bytes, flow: Flow) -> Target | None:
        """A phone in a dialog: at its Contact, or where it speaks from if that is another host."""
        try:
            uri = parse_uri(contact)
        except ParseError:
            return None
        hop = NextHop(*flow.remote)
        if isinstance(uri, SIPURI) and uri.host == flow.remote.host:
            hop = NextHop(uri.host, uri.port)
        return Target(Side.INSIDE, hop, _without_headers(contact, uri))

    def _binding(self, request: Request, uri: SIPURI, flow: Flow, now: float) -> Binding | None:
        """Find the phone that `uri` means: its masqueraded URI, its address of record, its user.

        The user alone is siproxd's last resort for providers whose Request-URI has a host
        of their own; then the user of To, for trunks that put another number into the Request-URI.
        """
        location = self._location
        here = self._is_here(request)
        masked = location.masked(uri, now)
        if masked is not None and (self.is_mine(uri) or masked.masked.host == uri.host):
            return masked
        of = [b for b in location.of(uri, now) if b.local or flow.side is Side.OUTSIDE]
        if of:
            return of[-1]
        if flow.side is Side.INSIDE and not here:
            return None
        found = self._known_as(uri, now)
        to = request.to.uri
        if not found and flow.side is Side.OUTSIDE and isinstance(to, SIPURI) and not request.to_tag:
            found = location.of(to, now) or self._known_as(to, now)
        return found[-1] if found else None

    def _known_as(self, uri: SIPURI, now: float) -> list[Binding]:
        """The phones that the user of `uri` stands for outside; with a token behind it it is another's."""
        user = unescape(uri.user or b"")
        return [b for b in self._location.with_user(user, now) if user and b.masked_user == user]

    def _is_here(self, request: Request) -> bool:
        """Whether the Request-URI names us: one of our addresses, or a domain that we are registrar of."""
        uri = request.uri
        if not isinstance(uri, SIPURI) or _has_route(request):
            return False
        return self.is_mine(uri) or self._location.is_local_domain(uri.host)

    def _names_us(self, request: Request) -> bool:
        """Whether the Request-URI is one of our addresses."""
        uri = request.uri
        return isinstance(uri, SIPURI) and self.is_mine(uri) and not _has_route(request)

    def _is_for_us(self, request: Request) -> bool:
        uri = request.uri
        return isinstance(uri, SIPURI) and not uri.user and self._addresses.is_own(uri.host)

    def _may_call_out(self, request: Request, flow: Flow) -> bool:
        """Registered phones, whoever is in a dialog, and programs on the gateway itself may."""
        host = flow.remote.host
        return bool(request.to_tag) or self._location.knows_host(host) or self._addresses.is_own(host)

    def _next_hop(self, request: Request) -> NextHop:
        """Route, then the outbound proxy of the From domain, then the global one, then the Request-URI."""
        routes = request.routes()
        if routes and isinstance(routes[0].uri, SIPURI):
            return NextHop(routes[0].uri.host, routes[0].uri.port)
        uri = request.uri
        if not isinstance(uri, SIPURI):
            raise Refused(416, "unsupported URI scheme")
        if uri.is_address and self._addresses.side_of(uri.host, Side.OUTSIDE) is Side.INSIDE:
            return NextHop(uri.host, uri.port)  # a neighbour: no outbound proxy leads there
        if self._location.is_local_domain(uri.host):
            return NextHop(uri.host, uri.port)  # DNS knows whether the rest of the domain is ours, too
        caller = request.from_.uri
        proxy = self._config.for_domain(caller.host) if isinstance(caller, SIPURI) else None
        if proxy is not None:
            return NextHop(proxy.host, proxy.port)
        if self._config.proxy_host:
            return NextHop(self._config.proxy_host, self._config.proxy_port)
        return NextHop(uri.host, uri.port)


def _has_route(request: Request) -> bool:
    return request.first(b"route") is not None


def _without_headers(text: bytes, uri: SIPURI | OtherURI) -> bytes:
    """Return a Contact as a Request-URI, byte for byte but for headers, which none has (19.1.1 table 1)."""
    return text[: len(text) - len(uri.headers)] if isinstance(uri, SIPURI) else text
