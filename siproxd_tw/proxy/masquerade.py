# SPDX-License-Identifier: MIT
"""Every inside address that is hidden, and only here.

Contact is the one header that has to change: it is where the peer sends its next
requests to. Towards the outside a phone's Contact becomes the masqueraded URI of its
binding; Contacts of third parties (a redirection) stay. What comes back is un-masked
by `siproxd_tw.proxy.routing`, and in REGISTER responses here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from siproxd_tw.interfaces import Flow, IAddresses, Side
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Message, Response
from siproxd_tw.sip.uri import SIPURI, OtherURI

__all__ = ["Masquerade"]

MASKED = "Contact masqueraded"
UNMASKED = "Contact un-masked"


class Masquerade:
    """Hides the phones' Contacts from the outside and gives them back."""

    def __init__(self, addresses: IAddresses, location: Location, port: int) -> None:
        self._addresses = addresses
        self._location = location
        self._port = port

    @property
    def uri_port(self) -> int | None:
        """The port of masqueraded URIs: written only when it is not the default."""
        return None if self._port == 5060 else self._port

    def hide(self, message: Message, flow: Flow) -> bytes | None:
        """Masquerade every Contact of a message that goes from a phone to the outside.

        Returns the phone's own Contact URI as it was, if the message has just one.
        """
        host = self._addresses.advertised(Side.OUTSIDE)
        contacts = message.contacts()
        if host is None or not contacts:
            return None
        original = contacts[0].uri_text if len(contacts) == 1 and not contacts[0].is_wildcard else None
        aor = (message.to if isinstance(message, Response) else message.from_).uri
        for contact in contacts:
            masked = self._masked(message, contact, aor, flow, host)
            if masked is not None:
                message.replace_uri(contact, masked, MASKED)
        return original

    def _masked(
        self, message: Message, contact: NameAddr, aor: SIPURI | OtherURI, flow: Flow, host: str
    ) -> bytes | None:
        if contact.is_wildcard or not isinstance(contact.uri, SIPURI):
            return None
        uri = contact.uri
        binding = self._location.behind(uri, aor if isinstance(aor, SIPURI) else None, flow.remote)
        if binding is not None:
            return bytes(self.current(binding, host))
        if self._is_third_party(message, uri, flow):
            return None
        return bytes(replace(uri, host=host, port=self._port))

    def _is_third_party(self, message: Message, uri: SIPURI, flow: Flow) -> bool:
        """Whether a Contact is not the phone itself: in a redirection, unless it is an inside address."""
        if self._addresses.is_own(uri.host) and (uri.port or 5060) == self._port:
            return True  # masqueraded already; a PBX on the gateway itself has another port
        redirects = isinstance(message, Response) and message.status >= 300
        inside = uri.is_address and self._addresses.side_of(uri.host, Side.OUTSIDE) is Side.INSIDE
        return redirects and not inside and uri.host != flow.remote.host

    def current(self, binding: Binding, host: str) -> SIPURI:
        """Return the masqueraded URI of `binding` at the outside address of this moment.

        Who is registered here keeps the domain of the address of record, unless that is an
        address of ours: the inside one means nothing outside.
        """
        masked = binding.masked
        if binding.local:
            return replace(masked, host=host) if self._addresses.is_own(masked.host) else masked
        if masked.host != host:
            binding.masked = masked = replace(masked, host=host)
        return masked

    def show(self, response: Response, bindings: Iterable[Binding]) -> None:
        """Give a phone its own Contacts back in the response to a REGISTER; others' stay."""
        known = {(b.masked.user, b.masked.host): b for b in bindings}
        for contact in response.contacts():
            if contact.is_wildcard or not isinstance(contact.uri, SIPURI):
                continue
            binding = known.get((contact.uri.user, contact.uri.host))
            if binding is not None:
                response.replace_uri(contact, binding.contact_text, UNMASKED)
