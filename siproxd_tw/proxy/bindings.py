# SPDX-License-Identifier: MIT
"""A binding: one phone that can be reached, and how two of them are told apart (RFC 3261 section 10).

Of an address of record there may be several phones, behind one NAT, behind one proxy inside, with the
same Contact user. A REGISTER is about a phone that is known in two cases only:

- It names the same contact: the instance and reg-id decide where both have them (RFC 5626 section 6), else
  the URI (RFC 3261 section 19.1.4). A private address behind another NAT is another contact.
- A phone has started anew: same instance with another URI; or, without one, the same user at the same host
  with other parameters, or with another port that it also sends from. Whoever sends from the same port as
  before under another one has several phones behind it, and so has whoever sends through another proxy.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import lru_cache
from ipaddress import IPv6Address
from sys import intern

from siproxd_tw.interfaces import Address, Side
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.uri import SIPURI

__all__ = ["GRACE", "Binding", "host_key", "sharing"]

#: Seconds that a binding outlives its expiry: a refresh that is late by a
#: retransmission or two must find it (siproxd's value).
GRACE = 5.0


def host_key(host: str) -> str:
    """Return `host` in the form in which hosts are compared: an IPv6 address by its value."""
    return _ipv6_key(host) if ":" in host else host


@lru_cache(4096)
def _ipv6_key(text: str) -> str:
    return str(IPv6Address(text.partition("%")[0]))  # the zone of a link-local source is no part of it


def sharing(uri: SIPURI) -> SIPURI:
    """Return `uri` with the texts that thousands of phones have in common in memory once."""
    return SIPURI(
        intern(uri.scheme), uri.user, uri.password, intern(uri.host), uri.port, uri.params, uri.headers
    )


@dataclass(slots=True, eq=False)
class Binding:
    """One phone that can be reached. Only `masked` and, before it is entered, `expires` change."""

    contact: SIPURI
    """Where the phone is, as its REGISTER said."""
    contact_text: bytes
    """The same, byte for byte: what it is un-masked to."""
    aor: SIPURI
    """The address of record: the URI of To."""
    masked: SIPURI
    """The URI that stands for the phone outside, without a transport parameter."""
    expires: float
    """Seconds since 1970."""
    source: Address | None = None
    """Where the REGISTER came from; unknown after an import."""
    instance: bytes = b""
    """The ``+sip.instance`` of the contact as written, if it has one (RFC 5626 section 10)."""
    local: bool = False
    """Whether we are the registrar ourselves."""
    transport: str = "UDP"
    """The transport by which it registered, as Via spells it."""
    side: Side = Side.INSIDE
    """The side from which it registered."""
    q: float = 1.0
    """Its preference among the contacts of the address of record, 0 to 1 (RFC 3261 section 20.10)."""
    reg_id: bytes = b""
    """Which of the phone's flows it is; only there with an `instance` (RFC 5626 section 4.2)."""
    call_id: bytes = b""
    """The Call-ID of the REGISTER."""
    cseq: int = 0
    """The CSeq number of the REGISTER."""
    since: float = 0.0
    """When it was registered last, seconds since 1970."""
    path: tuple[bytes, ...] = ()
    """Where we are the registrar: the URIs of Path in brackets, the first hop first (RFC 3327)."""
    relayed: bool = False
    """Whether another proxy has passed its REGISTER on, so that `source` is the proxy's."""
    user: bytes = field(init=False)
    """The user of the address of record, unescaped."""
    masked_user: bytes = field(init=False)
    """The user of the masqueraded URI, unescaped."""
    is_behind_nat: bool = field(init=False)
    """Whether the REGISTER came from another host than the contact's, so that only `source` leads there."""

    def __post_init__(self) -> None:
        self.user = unescape(self.aor.user or b"")
        self.masked_user = unescape(self.masked.user or b"")
        self.is_behind_nat = (
            self.source is not None
            and self.contact.host != self.source.host
            and host_key(self.contact.host) != host_key(self.source.host)
        )

    def show_as(self, masked: SIPURI) -> None:
        """Let `masked` stand for the phone outside; not once it is entered, unless only the host differs."""
        self.masked = masked
        self.masked_user = unescape(masked.user or b"")

    def is_of(self, aor: SIPURI) -> bool:
        """Return whether `aor` is its address of record."""
        return self.user == unescape(aor.user or b"") and host_key(self.aor.host) == host_key(aor.host)

    def is_same_contact(self, other: Binding) -> bool:
        """Return whether a REGISTER that names `other` means this very contact."""
        if self.instance and other.instance:
            if not self._has_instance_of(other):
                # Another phone, unless it speaks from the very socket of this one.
                return self.source is not None and self.source == other.source and self._has_uri_of(other)
            if self.reg_id and other.reg_id:
                return self.reg_id == other.reg_id
        return self._has_uri_of(other) and self._is_met_where(other)

    def is_same_phone(self, other: Binding) -> bool:
        """Return whether `other` takes the place of this binding, being the same phone once more."""
        if self.is_same_contact(other):
            return True
        if self.instance and other.instance:
            return self._has_instance_of(other) and not (self.reg_id and other.reg_id)
        if self.relayed or other.relayed:
            return False
        moved = self.source is None or other.source is None or self.source != other.source
        same_port = (self.contact.port or 5060) == (other.contact.port or 5060)
        return self._has_place_of(other) and self._is_met_where(other) and (same_port or moved)

    def _has_instance_of(self, other: Binding) -> bool:
        return self.instance.lower() == other.instance.lower()  # RFC 8141: of a UUID case does not matter

    def _has_place_of(self, other: Binding) -> bool:
        """Whether user and host of the contacts are the same."""
        return self.contact.same_user(other.contact) and (
            self.contact.host == other.contact.host
            or host_key(self.contact.host) == host_key(other.contact.host)
        )

    def _has_uri_of(self, other: Binding) -> bool:
        """Whether the contacts are the same URI; to a phone, unlike in 19.1.4, 5060 is no port of its own."""
        mine, its = self.contact, other.contact
        if mine == its:
            return True
        if not self._has_place_of(other) or (mine.port or 5060) != (its.port or 5060):
            return False
        return replace(mine, port=None).matches(replace(its, port=None))

    def _is_met_where(self, other: Binding) -> bool:
        """Whether these are not two phones that have one private address behind two NATs."""
        if not (self.is_behind_nat and other.is_behind_nat and self.contact.is_address):
            return True
        assert self.source is not None
        assert other.source is not None
        same_nat = host_key(self.source.host) == host_key(other.source.host)
        return same_nat or (self.call_id != b"" and self.call_id == other.call_id)
