# SPDX-License-Identifier: MIT
"""Where a request goes: RFC 3261 sections 16.4, 16.5 and 16.6 step 6.

The side that a request came in on decides first, then its Request-URI, then what is
registered; hosts of From and To are never compared. What comes from outside goes to a
phone or nowhere: this is no open relay.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from siproxd_tw.config.settings import RoutingConfig, SIPConfig
from siproxd_tw.interfaces import Address, Destination, Flow, Hop, IAddresses, Refused, Side
from siproxd_tw.proxy.dialogs import Dialogs, Party
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.sip.grammar import ParseError, is_ip_address, unescape
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI, OtherURI, parse_uri

__all__ = ["OURSELVES", "Routing", "Target", "destination_of"]

OURSELVES = "for us"

#: Phones that one request is sent to at the same time (RFC 5393 section 5.3: what bounds a fork).
MOST_TO_RING = 10

#: The default port of each transport (RFC 3261 19.1.2, RFC 7118 section 5).
DEFAULT_PORTS = {"UDP": 5060, "TCP": 5060, "TLS": 5061, "WS": 80, "WSS": 443}

_NO_PORTS: Mapping[str, int] = {}


class Target(NamedTuple):
    """Where a request goes and what its Request-URI becomes."""

    side: Side
    destination: Destination
    uri: bytes | None = None
    """The new Request-URI; None leaves it as it is."""
    hop: Hop | None = None
    """The one server that can be meant, where the DNS has nothing to say: a phone's address."""
    other: Hop | None = None
    """The server to try when `hop` cannot be reached: a phone's Contact when its connection is gone."""
    is_flow: bool = False
    """Whether `hop` is where a phone's connection or NAT binding ends: nobody can connect to it anew."""
    path: tuple[bytes, ...] = ()
    """Routes to put before those of the request: the Path of the phone's registration (RFC 3327)."""


class Routing:
    """Finds the targets of a request; asks nobody and waits for nothing."""

    def __init__(
        self,
        config: RoutingConfig,
        addresses: IAddresses,
        location: Location,
        dialogs: Dialogs,
        sip: SIPConfig,
        *,
        ports: Mapping[str, int] = _NO_PORTS,
        trusts: Callable[[Flow], bool] = lambda flow: False,
    ) -> None:
        """Take what is needed; `ports` are those that we listen on besides that of `sip`, by transport."""
        self._config = config
        self._addresses = addresses
        self._location = location
        self._dialogs = dialogs
        self.name = sip.name_outbound.lower()
        """The name that we are known by outside, empty for the address."""
        self._port = sip.port
        self._ports = {"UDP": sip.port, "TCP": sip.port, **ports}
        self._any_port = frozenset(self._ports.values())
        self._trusts = trusts

    # who is who

    def is_mine(self, uri: SIPURI) -> bool:
        """Whether `uri` is an address that we listen on."""
        if uri.host != self.name and not self._addresses.is_own(uri.host):
            return False
        transport = _transport_of(uri)
        return (uri.port or DEFAULT_PORTS[transport]) == self._ports.get(transport)

    def is_own(self, host: str, port: int | None, transport: str = "") -> bool:
        """Whether we are met at `host` and `port` (None: the default) by `transport`; empty: by any."""
        if host != self.name and not self._addresses.is_own(host):
            return False
        if not transport:
            return (port or 5060) in self._any_port
        return (port or DEFAULT_PORTS[transport]) == self._ports.get(transport)

    def side_towards(self, host: str) -> Side:
        """Return the side on which `host` is met; our own outside address, if we have two, is met outside."""
        addresses = self._addresses
        if addresses.is_own(host):
            outside = (addresses.listening(Side.OUTSIDE, host), addresses.advertised(Side.OUTSIDE, host))
            if host in outside and host != addresses.listening(Side.INSIDE, host):
                return Side.OUTSIDE
        return addresses.side_of(host, Side.OUTSIDE)

    # section 16.4

    def preprocess(self, request: Request) -> None:
        """Undo what a strict router did, and take our own Routes off (16.4).

        There are two of ours where the transport changes between the parties.
        """
        if request.first(b"route") is None:
            return
        routes = request.routes()
        uri = request.uri
        if isinstance(uri, SIPURI) and uri.user == b"siproxd" and self.is_mine(uri):
            request.set_uri(routes[-1].uri_text, "strict router upstream (16.4)")
            request.remove_element(routes[-1], "strict router upstream (16.4)")
        for _ in range(2):
            routes = request.routes()
            if not routes or not isinstance(routes[0].uri, SIPURI) or not self.is_mine(routes[0].uri):
                return
            request.remove_element(routes[0], "our own Route (16.4)")

    def postprocess(self, request: Request) -> None:
        """Write `request` the way a strict router wants it, where the next hop is one (16.6 step 6)."""
        if request.first(b"route") is None:
            return
        routes = request.routes()
        uri = routes[0].uri
        if not isinstance(uri, SIPURI) or uri.param(b"lr") is not None:
            return
        why = "strict router downstream (16.6 step 6)"
        old, first = request.uri_text, routes[0].uri_text
        request.insert(b"Route: <" + old + b">", why, after=b"route")
        request.remove_element(request.routes()[0], why)
        request.set_uri(first, why)

    # section 16.5

    def targets(self, request: Request, flow: Flow, now: float) -> list[Target]:
        """Determine the targets of `request` after `preprocess` (16.5); there is one at least.

        Raises Refused: 404 for nobody here, 481 for an unknown dialog, 408 for a stranger
        inside, 416 for a URI that leads nowhere, and with the reason OURSELVES when the
        request is for the proxy itself.
        """
        phones = self._phones(request, flow, now)
        if phones:
            return phones
        if flow.side is Side.OUTSIDE or self._names_us(request):
            return [self._allowed_in(request, flow)]
        target = self.beyond(request)
        if target.side is Side.OUTSIDE and not self._may_call_out(request, flow):
            raise Refused(408, "neither caller nor callee is registered")
        return [target]

    def beyond(self, request: Request) -> Target:
        """Return the target of a request that is for none of our phones: also of a REGISTER."""
        destination = self._next_hop(request)
        if not is_ip_address(destination.host):
            return Target(Side.OUTSIDE, destination)
        return Target(self.side_towards(destination.host), destination, hop=_hop_to(destination))

    def _allowed_in(self, request: Request, flow: Flow) -> Target:
        """Return the target that a trusted peer outside names, or refuse."""
        uri = request.uri
        if isinstance(uri, SIPURI) and self._trusts(flow) and not self.is_mine(uri):
            destination = destination_of(uri)
            if is_ip_address(uri.host) and self.side_towards(uri.host) is Side.INSIDE:
                return Target(Side.INSIDE, destination, hop=_hop_to(destination))
        if request.to_tag:
            raise Refused(481, "no such dialog")
        raise Refused(404, OURSELVES if self._is_for_us(request) else "no such phone")

    def _phones(self, request: Request, flow: Flow, now: float) -> list[Target]:
        if request.first(b"route") is not None and flow.side is Side.INSIDE:
            return []  # the caller's route set comes first
        to_tag = request.to_tag
        if to_tag:
            party = self._dialogs.find(request.call_id, to_tag, now)
            if party is not None and (flow.side is Side.OUTSIDE or self._means(request, party)):
                target = self._in_dialog(party)
                if target is not None:
                    return [target]
        uri = request.uri
        if isinstance(uri, OtherURI):
            return self._by_number(uri, flow, now)
        bindings = self._bindings(request, uri, flow, now)
        if to_tag and len(bindings) > 1:
            bindings = bindings[-1:]  # a dialog is with one phone
        if not bindings and flow.side is Side.INSIDE and uri.is_address:
            return self._by_contact(uri, flow, now)
        return [self.to_phone(binding) for binding in _to_ring(bindings)]

    def _by_contact(self, uri: SIPURI, flow: Flow, now: float) -> list[Target]:
        """Find the phone whose Contact `uri` is, where only its connection leads there (RFC 5626 5.3).

        Another phone has it from a call with that phone, and gave it away in a REFER.
        """
        found = self._location.behind(uri, None, flow.remote)
        if found is None or found.source is None or found.transport == "UDP" or found.expires < now:
            return []
        if destination_of(uri)[:2] != destination_of(found.contact)[:2]:
            return []  # another program on the same host
        return [self.to_phone(found)._replace(uri=None)]

    def _means(self, request: Request, party: Party) -> bool:
        """Whether a request from inside is for `party`: by our name for it, or by its own Contact."""
        return request.uri_text == party.contact or self._is_here(request)

    def _in_dialog(self, party: Party) -> Target | None:
        """A phone in a dialog: at its Contact, or where it speaks from if that is another host."""
        try:
            uri = parse_uri(party.contact)
        except ParseError:
            return None
        flow, text = party.flow, _without_headers(party.contact, uri)
        newer = self._connected_anew(party, uri) if flow.transport.reliable else None
        if newer is not None and newer.source is not None:
            hop = Hop(newer.transport, newer.source)
            return Target(flow.side, _destination(hop), text, hop, is_flow=True)
        there = isinstance(uri, SIPURI) and uri.host == flow.remote.host
        if isinstance(uri, SIPURI) and there and not flow.transport.reliable:
            destination = destination_of(uri)
            hop = _hop_at(destination, flow.transport.name)
            return Target(flow.side, destination, text, hop)
        hop = Hop(flow.transport.name, flow.remote)
        other = _hop_to(destination_of(uri)) if there and isinstance(uri, SIPURI) else None
        return Target(flow.side, _destination(hop), text, hop, other, is_flow=True)

    def _connected_anew(self, party: Party, uri: SIPURI | OtherURI) -> Binding | None:
        """Return the registration of a phone whose connection is another one by now (RFC 5626 section 5.3).

        The old one may look alive for long: who has lost power says no goodbye.
        """
        flow = party.flow
        found = self._location.behind(uri, None, flow.remote) if isinstance(uri, SIPURI) else None
        if found is None or found.source in (None, flow.remote) or found.transport == "UDP":
            return None
        return found if found.since > party.heard or not flow.transport.reaches(flow.remote) else None

    def to_phone(self, binding: Binding) -> Target:
        """Return how to reach a registered phone: at its Contact, or by the flow that it registered by.

        The flow it is when the REGISTER came from another host than the Contact names, as the phone is
        behind a NAT of its own then, and when it came by a connection (RFC 5626 section 5.3.1).
        """
        uri = binding.contact
        text = _without_headers(binding.contact_text, uri)
        contact = destination_of(uri)
        at_contact = _hop_at(contact, binding.transport)
        if binding.source is None or (binding.transport == "UDP" and not binding.is_behind_nat):
            hop = at_contact if is_ip_address(uri.host) else None
            return Target(binding.side, contact, text, hop, path=binding.path)
        hop = Hop(binding.transport, binding.source)
        other = None if binding.is_behind_nat or binding.transport in ("WS", "WSS") else at_contact
        return Target(binding.side, _destination(hop), text, hop, other, True, binding.path)

    def _bindings(self, request: Request, uri: SIPURI, flow: Flow, now: float) -> list[Binding]:
        """Find the phones that `uri` means: its masqueraded URI, its address of record, its user.

        The user alone is siproxd's last resort for providers whose Request-URI has a host
        of their own; then the user of To, for trunks that put another number into the Request-URI.
        """
        location = self._location
        here = self._is_here(request)
        masked = location.masked(uri, now)
        if masked is not None and (self.is_mine(uri) or masked.masked.host == uri.host):
            # Where we are the registrar the URI outside is the address of record: all of its phones.
            return (location.of(masked.aor, now) if masked.local else []) or [masked]
        of = [b for b in location.of(uri, now) if b.local or flow.side is Side.OUTSIDE]
        if of:
            return of
        if flow.side is Side.INSIDE and not here:
            return []
        found = self._known_as(uri, now)
        to = request.to.uri
        if not found and flow.side is Side.OUTSIDE and isinstance(to, SIPURI) and not request.to_tag:
            return location.of(to, now) or self._known_as(to, now)[-1:]
        return found[-1:]

    def _known_as(self, uri: SIPURI, now: float) -> list[Binding]:
        """The phones that the user of `uri` stands for outside; with a token behind it it is another's."""
        user = unescape(uri.user or b"")
        return [b for b in self._location.with_user(user, now) if user and b.masked_user == user]

    def _by_number(self, uri: OtherURI, flow: Flow, now: float) -> list[Target]:
        """Find the phone with the number of a tel URI from outside (RFC 3966)."""
        if flow.side is Side.INSIDE or uri.scheme != "tel":
            return []
        number = uri.text.partition(b";")[0]
        plain = bytes(digit for digit in number if digit not in b"-.()")
        found = self._location.with_user(plain, now) or self._location.with_user(plain.lstrip(b"+"), now)
        return [self.to_phone(found[-1])] if found else []

    def _is_here(self, request: Request) -> bool:
        """Whether the Request-URI names us: one of our addresses, or a domain that we are registrar of."""
        uri = request.uri
        if not isinstance(uri, SIPURI) or request.first(b"route") is not None:
            return False
        return self.is_mine(uri) or self._location.is_local_domain(uri.host)

    def _names_us(self, request: Request) -> bool:
        """Whether the Request-URI is one of our addresses."""
        uri = request.uri
        return isinstance(uri, SIPURI) and request.first(b"route") is None and self.is_mine(uri)

    def _is_for_us(self, request: Request) -> bool:
        uri = request.uri
        if not isinstance(uri, SIPURI) or uri.user:
            return False
        host = uri.host
        return self._addresses.is_own(host) or host == self.name or self._location.is_local_domain(host)

    def _may_call_out(self, request: Request, flow: Flow) -> bool:
        """Registered phones, whoever is in a dialog, and programs on the gateway itself may."""
        host = flow.remote.host
        return bool(request.to_tag) or self._location.knows_host(host) or self._addresses.is_own(host)

    # section 16.6 steps 6 and 7

    def _next_hop(self, request: Request) -> Destination:
        """Route, then the outbound proxy of the From domain, then the global one, then the Request-URI."""
        if request.first(b"route") is not None:
            first = request.routes()[0].uri
            if isinstance(first, SIPURI):
                return destination_of(first)
        uri = request.uri
        if isinstance(uri, SIPURI):
            if is_ip_address(uri.host) and self._addresses.side_of(uri.host, Side.OUTSIDE) is Side.INSIDE:
                return destination_of(uri)  # a neighbour: no outbound proxy leads there
            if self._location.is_local_domain(uri.host):
                return destination_of(uri)  # DNS knows whether the rest of the domain is ours, too
        proxy = self.outbound_proxy(request)
        if proxy is None:
            return self._by_uri(request)
        # A sips: URI is carried by TLS on each hop, also to a proxy that others reach otherwise (26.2.2).
        secure = isinstance(uri, SIPURI) and uri.scheme == "sips" and proxy.transport in ("", "UDP", "TCP")
        return proxy._replace(transport="TLS", secure=True) if secure else proxy

    def outbound_proxy(self, request: Request) -> Destination | None:
        """Return the next hop that the configuration has for `request`, by its caller's domain."""
        config = self._config
        if config.domains:
            caller = request.from_.uri
            proxy = config.for_domain(caller.host) if isinstance(caller, SIPURI) else None
            if proxy is not None:
                return Destination(proxy.host, proxy.port, proxy.transport)
        if config.proxy_host:
            return Destination(config.proxy_host, config.proxy_port, config.proxy_transport)
        return None

    def _by_uri(self, request: Request) -> Destination:
        uri = request.uri
        if not isinstance(uri, SIPURI):
            # A number leads somewhere only by an outbound proxy, which knows what it means.
            raise Refused(416, "unsupported URI scheme")
        return destination_of(uri)


def _to_ring(bindings: list[Binding]) -> list[Binding]:
    """Return which of a user's phones ring at the same time: the ten newest, each by one of its flows.

    A phone with several flows has one instance and several reg-ids; to ring by more than one of them would
    be two calls for it (RFC 5626 section 7).
    """
    if len(bindings) < 2:
        return bindings
    newest = {binding.instance or id(binding): binding for binding in bindings}
    return list(newest.values())[-MOST_TO_RING:]


def destination_of(uri: SIPURI) -> Destination:
    """Return where a request with `uri` as Route or Request-URI goes: maddr, port, transport (19.1.1)."""
    if not uri.params:
        return Destination(uri.host, uri.port, "", uri.scheme == "sips")
    transport = (uri.param(b"transport") or b"").decode("ascii", "replace").upper()
    secure = uri.scheme == "sips"
    if secure and transport in ("TCP", "UDP"):
        transport = "TLS"  # transport=tcp of a sips URI means TLS over TCP (26.2.2); udp is a mistake
    maddr = uri.param(b"maddr")
    host = maddr.decode("ascii", "replace").strip("[]").lower() if maddr else uri.host
    return Destination(host, uri.port, transport if transport in DEFAULT_PORTS else "", secure)


def _transport_of(uri: SIPURI) -> str:
    """Return the transport by which `uri` is met: the one it names, else TLS or UDP."""
    if not uri.params and uri.scheme == "sip":
        return "UDP"
    _, _, transport, secure = destination_of(uri)
    return transport or ("TLS" if secure else "UDP")


def _hop_to(destination: Destination) -> Hop | None:
    """Return the server that an IP address is; None for a name, which the DNS knows."""
    if not is_ip_address(destination.host):
        return None
    transport = destination.transport or ("TLS" if destination.secure else "UDP")
    return Hop(transport, Address(destination.host, destination.port or DEFAULT_PORTS[transport]))


def _hop_at(destination: Destination, transport: str) -> Hop:
    """Return where a phone is that uses `transport` unless its Contact names another one."""
    transport = destination.transport or transport
    return Hop(transport, Address(destination.host, destination.port or DEFAULT_PORTS[transport]))


def _destination(hop: Hop) -> Destination:
    return Destination(*hop.address, hop.transport)


def _without_headers(text: bytes, uri: SIPURI | OtherURI) -> bytes:
    """Return a Contact as a Request-URI, byte for byte but for headers, which none has (19.1.1 table 1)."""
    return text[: len(text) - len(uri.headers)] if isinstance(uri, SIPURI) else text
