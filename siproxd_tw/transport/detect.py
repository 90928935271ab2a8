# SPDX-License-Identifier: MIT
"""Which interface is the inside and which the outside, when no configuration says it.

A pure function of the interfaces and of the default route. Its rules, first match wins:

- *Outside* is the interface with the source address of the default route. Without a default
  route it is one with a public address.
- *Inside* is another interface with a private address (RFC 1918) in another network. One whose
  name is that of a tunnel or of a network of containers comes last, and counts only when the
  outside address is not private as well: on a workstation in a LAN the phones are in the LAN.
- Otherwise one interface serves both sides: one-armed.

Every choice has a reason, a sentence for the administrator. Interfaces that are down, loopback
or without an IPv4 address (a link-local one does not count, RFC 3927) are not looked at, but for
two cases: the default route may be one of IPv6, and then so is the outside; and on a machine without
any IPv4 address those of IPv6 are looked at instead. There the inside may have global addresses,
too, as there is no NAT; an interface with a unique local one (RFC 4193) is preferred.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Interface, IPv6Address, IPv6Interface

from siproxd_tw.transport.netif import Interface, is_private, is_public

__all__ = ["Detected", "detect"]

SPECIAL = (
    ("a tunnel", re.compile(r"(tun|tap|utun|wg|tailscale|zt|ipsec|ppp|gre|sit|ipip|vti)[\w.-]*")),
    (
        "a network of containers or virtual machines on this host",
        re.compile(
            r"(docker|veth|virbr|vnet|vmnet|vboxnet|lxcbr|lxdbr|cni|podman|flannel|cali|kube)[\w.-]*"
            r"|br-[0-9a-f]{12}"
        ),
    ),
)
"""Interface names that rarely belong to the network of the phones, the likelier ones first.

All other names are those of cables, radios and bridges.
"""


@dataclass(frozen=True, slots=True)
class Detected:
    """What `detect` chose; the same interface twice is one-armed operation."""

    inside: str
    """The value for `if_inbound`: an interface's name, or its address if that is not the first it has."""
    outside: str
    """The value for `if_outbound`, likewise."""
    reasons: tuple[str, ...]
    """Why, in sentences."""


@dataclass(frozen=True, slots=True)
class _Candidate:
    """An interface that could carry SIP, with what counts for the choice."""

    name: str
    setting: str
    """What a siproxd.conf calls it: a name stands for the first address of an interface."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...]
    """Its IPv4 address that counts, or all those of IPv6."""
    has_default_route: bool

    @property
    def kind(self) -> int:
        """0 for an ordinary name, else its place in SPECIAL, from 1."""
        found = (n for n, (_, pattern) in enumerate(SPECIAL, 1) if pattern.fullmatch(self.name))
        return next(found, 0)

    @property
    def is_ipv6(self) -> bool:
        """Whether it is looked at for its IPv6 addresses."""
        return self.addresses[0].version == 6

    @property
    def private(self) -> IPv4Address | IPv6Address | None:
        """Its first address in a network of one's own."""
        return next((each.ip for each in self.addresses if is_private(each.ip)), None)

    @property
    def public(self) -> IPv4Address | IPv6Address | None:
        """Its first address that a provider can answer."""
        return next((each.ip for each in self.addresses if is_public(each.ip)), None)

    def overlaps(self, other: _Candidate) -> bool:
        """Whether the two have a network in common."""
        networks = [each.network for each in other.addresses]
        return any(each.network.overlaps(network) for each in self.addresses for network in networks)


def detect(interfaces: Sequence[Interface], default_address: str | None) -> Detected:
    """Choose the two sides among `interfaces`.

    `default_address` is the source address of the default route, None without such a route.
    Raises ValueError with a sentence when no interface can be used.
    """
    candidates = _candidates(interfaces, default_address)
    if not candidates:
        raise ValueError(
            "no network interface is up and has an IPv4 address, or an IPv6 address beyond its link; "
            "name the two sides with if_inbound and if_outbound in a siproxd.conf"
        )
    outside, reasons = _outside(candidates, default_address)
    if outside is None:
        inside = outside = _best(candidates)
        reasons.append(f"{outside.name} serves both sides: no interface has a public address")
        reasons += _left_out([each for each in candidates if each is not outside])
    else:
        inside, more = _inside(candidates, outside)
        reasons += more
    if outside.public is None:
        reasons.append(
            f"{outside.addresses[0].ip} is not a public address: if a NAT router lies between here and "
            "the provider, set host_outbound to the public address or name of that router"
        )
    return Detected(inside.setting, outside.setting, tuple(reasons))


def _candidates(interfaces: Sequence[Interface], default_address: str | None) -> list[_Candidate]:
    """Return the interfaces with IPv4, and that of an IPv6 default route; without IPv4 those with IPv6."""
    up = [each for each in interfaces if each.is_up]
    ipv4 = [_by_ipv4(each, default_address) for each in up]
    ipv6 = [_by_ipv6(each, default_address) for each in up]
    both = zip(ipv4, ipv6, strict=True)
    found = [six if six and six.has_default_route else four for four, six in both] if any(ipv4) else ipv6
    return [each for each in found if each]


def _by_ipv4(interface: Interface, default_address: str | None) -> _Candidate | None:
    addresses = [each for each in interface.ipv4 if not (each.ip.is_loopback or each.ip.is_link_local)]
    if not addresses:
        return None
    default = next((each for each in addresses if str(each.ip) == default_address), None)
    address = default or addresses[0]
    setting = interface.name if address == interface.ipv4[0] else str(address.ip)
    return _Candidate(interface.name, setting, (address,), default is not None)


def _by_ipv6(interface: Interface, default_address: str | None) -> _Candidate | None:
    """Look at its addresses that stay; the kernel may well prefer one that does not."""
    addresses = tuple(each for each in interface.ipv6 if not each.ip.is_loopback)
    if not addresses:
        return None
    default = any(each.version == 6 and str(each.ip) == default_address for each in interface.addresses)
    return _Candidate(interface.name, interface.name, addresses, default)


def _best(candidates: list[_Candidate]) -> _Candidate:
    return min(candidates, key=lambda each: (each.kind, each.private is None))


def _outside(
    candidates: list[_Candidate], default_address: str | None
) -> tuple[_Candidate | None, list[str]]:
    for each in candidates:
        if each.has_default_route:
            return each, [f"{each.name} is the outside: the default route leaves by {default_address}"]
    if default_address is None:
        reasons = ["there is no default route"]
    else:
        reasons = [f"the default route leaves by {default_address}, which no interface that is up has"]
    public = [each for each in candidates if each.public]
    if not public:
        return None, reasons
    best = min(public, key=lambda each: each.kind)
    return best, [*reasons, f"{best.name} is the outside: {best.public} is a public address"]


def _inside(candidates: list[_Candidate], outside: _Candidate) -> tuple[_Candidate, list[str]]:
    reasons = []
    others = []
    for each in candidates:
        if each is outside or not (each.private or each.is_ipv6):
            continue
        if each.overlaps(outside):
            reasons.append(f"{each.name} is left out: it is in the same network as {outside.name}")
        else:
            others.append(each)
    if not others or (_best(others).kind and outside.private and not outside.public):
        reasons.append(f"{outside.name} is the inside too: no other interface looks like a network of phones")
        return outside, [*reasons, *_left_out(others)]
    best = _best(others)
    why = f"{best.private} is a private address" if best.private else "it is in another network"
    reasons.append(f"{best.name} is the inside: {why}")
    return best, [*reasons, *_left_out([each for each in others if each is not best])]


def _left_out(candidates: list[_Candidate]) -> list[str]:
    """Say of each why it was not chosen."""
    return [
        f"{each.name} is left out: by its name it is {SPECIAL[each.kind - 1][0]}"
        if each.kind
        else f"{each.name} ({each.addresses[0].ip}) is left out: one had to be chosen, if_inbound may name it"
        for each in candidates
    ]
