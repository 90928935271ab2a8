# SPDX-License-Identifier: MIT
"""Every inside address that is hidden, and only here.

Contact is the one header that has to change: it is where the peer sends its next
requests to. Towards the outside a phone's Contact becomes the masqueraded URI of its
binding; Contacts of third parties (a redirection) stay, and GRUUs, which lead to the
provider (RFC 5627). What comes back is un-masked by `siproxd_tw.proxy.routing`, and in
REGISTER responses here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from siproxd_tw.interfaces import Flow, IAddresses, Side
from siproxd_tw.proxy.bindings import Binding, host_key
from siproxd_tw.proxy.location import Location
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Message, Response
from siproxd_tw.sip.uri import SIPURI, OtherURI

__all__ = ["MASKED", "UNMASKED", "Masquerade"]

MASKED = "Contact masqueraded"
UNMASKED = "Contact un-masked"

#: Parameters of a Contact that say how the phone is reached inside (RFC 3261 section 19.1.1).
INSIDE_ONLY = frozenset({b"transport", b"maddr", b"ttl"})

_NO_PORTS: Mapping[str, int] = {}


class Masquerade:
    """Hides the phones' Contacts from the outside and gives them back."""

    def __init__(
        self, addresses: IAddresses, location: Location, port: int, ports: Mapping[str, int] = _NO_PORTS
    ) -> None:
        """Take what is needed; `port` is that of UDP and TCP, `ports` are others by transport ("tls")."""
        self._addresses = addresses
        self._location = location
        self._port = port
        self._ports = {"tls": 5061, **ports}

    @property
    def uri_port(self) -> int | None:
        """The port of masqueraded URIs: written only when it is not the default."""
        return None if self._port == 5060 else self._port

    def written(self, masked: SIPURI, transport: str = "", secure: bool = False) -> bytes:
        """Return `masked` as it is written for a leg whose `transport` is to be named, if it is.

        `secure` says that the phone's own Contact is a ``sips:`` URI; ours is one then, too, where the leg
        is secure (RFC 3261 section 8.1.1.8), and names no transport (26.2.2).
        """
        if not transport:
            return bytes(masked)
        port: int | None = self._ports.get(transport, self._port)
        if port == (5061 if transport == "tls" else 5060):
            port = None
        return _for_leg(masked, masked.host, port, b"", transport, secure)

    # outward

    def hide(self, message: Message, flow: Flow, host: str, *, transport: str = "") -> bytes | None:
        """Masquerade every Contact of a message that goes from a phone to the outside.

        The message came by `flow`. `host` is the IP address or name that we have outside, `transport`
        that of the outside leg where it is to be named ("tcp").
        Returns the phone's own Contact URI as it was, if the message has just one.
        """
        contacts = message.contacts()
        if not contacts:
            return None
        original = contacts[0].uri_text if len(contacts) == 1 and not contacts[0].is_wildcard else None
        aor = (message.to if isinstance(message, Response) else message.from_).uri
        for contact in contacts:
            masked = self._masked(message, contact, aor, flow, host, transport)
            if masked is not None:
                message.replace_uri(contact, masked, MASKED)
        return original

    def _masked(
        self,
        message: Message,
        contact: NameAddr,
        aor: SIPURI | OtherURI,
        flow: Flow,
        host: str,
        transport: str,
    ) -> bytes | None:
        uri = None if contact.is_wildcard else contact.uri
        if not isinstance(uri, SIPURI):
            return None
        binding = self._location.behind(uri, aor if isinstance(aor, SIPURI) else None, flow.remote)
        if binding is not None:
            return self.written(self.current(binding, host), transport, uri.scheme == "sips")
        if self._is_third_party(message, uri, flow):
            return None
        port, params = self._ports.get(transport, self._port), _kept(uri.params)
        return _for_leg(uri, host, port, params, transport, uri.scheme == "sips")

    def _is_our_port(self, uri: SIPURI) -> bool:
        transport = (uri.param(b"transport") or b"").decode("ascii", "replace").lower()
        transport = "tls" if uri.scheme == "sips" else transport
        return (uri.port or (5061 if transport == "tls" else 5060)) == self._ports.get(transport, self._port)

    def _is_third_party(self, message: Message, uri: SIPURI, flow: Flow) -> bool:
        """Whether a Contact is not the phone itself: in a redirection, unless it is an inside address."""
        if self._addresses.is_own(uri.host) and self._is_our_port(uri):
            return True  # masqueraded already; a PBX on the gateway itself has another port
        redirects = isinstance(message, Response) and message.status >= 300
        if not redirects and (not uri.params or uri.param(b"gr") is None):
            return False
        inside = uri.is_address and self._addresses.side_of(uri.host, Side.OUTSIDE) is Side.INSIDE
        return not inside and uri.host != flow.remote.host

    def current(self, binding: Binding, host: str) -> SIPURI:
        """Return the masqueraded URI of `binding` where our outside address is `host` at this moment.

        Who is registered here keeps the domain of the address of record, unless that is an
        address of ours: the inside one means nothing outside.
        """
        masked = binding.masked
        if masked.host == host:
            return masked
        if binding.local:
            return replace(masked, host=host) if self._addresses.is_own(masked.host) else masked
        binding.masked = masked = replace(masked, host=host)
        return masked

    # back

    def show(self, response: Response, bindings: Iterable[Binding]) -> None:
        """Give a phone its own Contacts back in the response to a REGISTER; others' stay."""
        known = list(bindings)[::-1]
        for contact in response.contacts():
            binding = self.stands_for(contact, known)
            if binding is not None:
                response.replace_uri(contact, binding.contact_text, UNMASKED)

    def stands_for(self, contact: NameAddr, bindings: Iterable[Binding]) -> Binding | None:
        """Return the first of `bindings` for which a Contact from outside stands, if any.

        A registrar may write our URI in its own way: with another case or escapes, a port, parameters. A
        Contact at an address that is not ours is another site's, unless it has the phone's instance:
        some registrars show the address that they see.
        """
        uri = None if contact.is_wildcard else contact.uri
        if not isinstance(uri, SIPURI):
            return None
        user = unescape(uri.user or b"")
        here = [b for b in bindings if self._is_at(uri, b) or _is_instance(contact, b)]
        exact = next((b for b in here if b.masked_user == user), None)
        if exact is not None:
            return exact
        return next((b for b in here if b.masked_user.lower() == user.lower()), None)

    def _is_at(self, uri: SIPURI, binding: Binding) -> bool:
        shown = binding.masked.host
        return host_key(uri.host) == host_key(shown) or (
            not binding.local and self._addresses.is_own(uri.host)
        )


def _is_instance(contact: NameAddr, binding: Binding) -> bool:
    if not binding.instance:
        return False
    instance = contact.param(b"+sip.instance") or b""
    return instance.lower() == binding.instance.lower() and (
        (contact.param(b"reg-id") or b"") == binding.reg_id
    )


def _for_leg(uri: SIPURI, host: str, port: int | None, params: bytes, transport: str, secure: bool) -> bytes:
    """Return `uri` at our address for a leg of this transport; an empty one is not named."""
    scheme = "sips" if secure and transport == "tls" else "sip"
    if transport and scheme == "sip":
        params += b";transport=" + transport.encode()
    return bytes(SIPURI(scheme, uri.user, uri.password, host, port, params, uri.headers))


def _kept(params: bytes) -> bytes:
    """Return the parameters of a Contact that mean something outside, as they were written."""
    if not params:
        return params
    kept = (p for p in params[1:].split(b";") if unescape(p.partition(b"=")[0]).lower() not in INSIDE_ONLY)
    return b"".join(b";" + param for param in kept)
