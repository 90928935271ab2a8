# SPDX-License-Identifier: MIT
"""URIs of phones in Refer-To and Referred-By: a transfer has to lead somewhere (RFC 3515, RFC 3892).

Outward, the address of a phone means nothing or, worse, somebody else's phone. Its URI becomes the
masqueraded one, which leads here. That is the only thing to be done for an attended transfer as well: Call-ID
and tags are the same on both sides, so Replaces and Target-Dialog stay (with `obscure_loops` they are the
matter of `siproxd_tw.proxy.callids`).

Inward, a masqueraded URI stays as it is. A phone that is sent there asks us, and we know whom it means.
To replace it by the phone's own Contact would lead past us, to a phone that may be behind a NAT of its own or
reachable by its connection only, and would break what is signed. Only where the form of the URI
keeps a phone inside from calling it does it change, and then to our address inside: when it wants a transport
(that is the one of the outside), or has an IPv6 address while the inside has IPv4.

From, To, P-Asserted-Identity, Identity and Date are never touched, as they are signed (RFC 8224), and a
Referred-By that is signed, which has a cid, is not either. Anything that cannot be read stays.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from siproxd_tw.interfaces import Address, IAddresses, Side
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.sip.grammar import ParseError, unescape
from siproxd_tw.sip.headers import Field, NameAddr
from siproxd_tw.sip.message import Message
from siproxd_tw.sip.uri import SIPURI

__all__ = ["References"]

MASKED = "URI of a phone masqueraded"
CALLABLE = "masqueraded URI in a form that phones can call"

_FIELDS = frozenset({b"refer-to", b"referred-by"})

#: Parameters that say how a phone is reached inside.
_OF_THE_WAY = frozenset({b"transport", b"maddr", b"ttl", b"lr", b"ob"})


class _Instead(NamedTuple):
    """What is written instead of a URI, without its headers."""

    mask: SIPURI
    kept: bytes
    """The parameters of the URI that it keeps."""


class References:
    """Makes the URIs that a message refers to lead somewhere on the side that it goes to."""

    def __init__(self, location: Location, addresses: IAddresses, masquerade: Masquerade) -> None:
        self._location = location
        self._addresses = addresses
        self._masquerade = masquerade

    def outward(
        self,
        message: Message,
        now: float,
        *,
        host: str = "",
        transport: str = "",
        source: Address | None = None,
    ) -> None:
        """Masquerade the phones that a message refers to which goes outside.

        `host` and `transport` are what a Contact has there; by default our address, and UDP. `source` is
        where the message came from: it tells phones with one private address behind two NATs apart.
        """
        found = message.all_of(_FIELDS)
        known_as = (host or self._addresses.advertised(Side.OUTSIDE)) if found else None
        if known_as is None:
            return
        for field in found:
            for address, uri in _sip_uris(field):
                new = self._masked(uri, known_as, source, now)
                if new is not None:
                    text = self._masquerade.written(new.mask, transport, uri.scheme == "sips")
                    message.replace_uri(address, text + new.kept + uri.headers, MASKED)

    def inward(self, message: Message, now: float, *, host: str = "") -> None:
        """Let the phone that `message` goes to, which knows us as `host`, call the masqueraded URIs in it."""
        found = message.all(b"refer-to")  # nobody calls a Referred-By
        known_as = (host or self._addresses.advertised(Side.INSIDE)) if found else None
        if known_as is None:
            return
        for field in found:
            for address, uri in _sip_uris(field):
                new = self._callable(uri, known_as, now)
                if new is not None:
                    message.replace_uri(address, new + uri.headers, CALLABLE)

    def _masked(self, uri: SIPURI, host: str, source: Address | None, now: float) -> _Instead | None:
        """Return what stands for `uri` outside; None when it leads there as it is."""
        at = Address(uri.host, uri.port or 5060)
        binding = self._location.behind(uri, None, source or at)
        if binding is not None:
            masked = self._masquerade.current(binding, host)
            same = at == (masked.host, masked.port or 5060)
            return None if same else _Instead(masked, _kept(uri, binding.contact))
        binding = self._location.masked(uri, now) if self._is_here(uri.host, host) else None
        if binding is not None:
            masked = self._masquerade.current(binding, host)
            return None if uri.host == masked.host else _Instead(masked, _kept(uri))
        if not uri.is_address or self._addresses.side_of(uri.host, Side.OUTSIDE) is not Side.INSIDE:
            return None
        # Nobody is registered there. Outside, the address could be that of another phone.
        port = self._masquerade.uri_port
        if at == (host, port or 5060):
            return None
        return _Instead(replace(uri, scheme="sip", host=host, port=port, params=b"", headers=b""), _kept(uri))

    def _callable(self, uri: SIPURI, host: str, now: float) -> bytes | None:
        """Return `uri` in a form that phones can call; None when it has one or is nobody's mask."""
        wants_transport = uri.scheme == "sip" and uri.param(b"transport") is not None
        if not wants_transport and (":" in uri.host) == (":" in host):
            return None
        if not self._is_here(uri.host, host) or self._location.masked(uri, now) is None:
            return None
        port = self._masquerade.uri_port
        return bytes(replace(uri, host=host, port=port, params=b"", headers=b"")) + _kept(uri)

    def _is_here(self, host: str, known_as: str) -> bool:
        return host == known_as or self._addresses.is_own(host)


def _kept(uri: SIPURI, contact: SIPURI | None = None) -> bytes:
    """Return the parameters of `uri` that say what to ask for, not how to get to the phone with `contact`."""
    own = {_name(text) for text in contact.params[1:].split(b";")} if contact is not None else set()
    texts = [text for text in uri.params[1:].split(b";") if text and _name(text) not in _OF_THE_WAY | own]
    return b"".join(b";" + text for text in texts)


def _name(param: bytes) -> bytes:
    return unescape(param.partition(b"=")[0]).lower()


def _sip_uris(field: Field) -> list[tuple[NameAddr, SIPURI]]:
    """Return what may be changed in `field`; that is nothing where it cannot be read, or is signed."""
    try:
        addresses = [address for address in field.elements() if isinstance(address, NameAddr)]
        found = [(address, address.uri) for address in addresses]
    except ParseError:
        return []
    signed = field.name == b"referred-by"
    return [
        (address, uri)
        for address, uri in found
        if isinstance(uri, SIPURI) and not (signed and address.param(b"cid") is not None)
    ]
