# SPDX-License-Identifier: MIT
"""One side of the gateway as the interfaces show it: its addresses and the networks around it.

A pure function of the configured name or address and of the list of interfaces:

- A name is that of an interface, or of an alias label. Its IPv4 address is the first one; its IPv6
  address one that stays: neither link-local nor temporary, deprecated or tentative.
- An IP address is itself; the address of the other family is one of the interface that has it.
- Of several IPv6 addresses the outside takes a global one rather than one of a network of one's own
  (RFC 4193), which no provider can answer; the inside the other way round, because such an
  address outlives the prefixes of the provider. The one that was taken before stays, as long as no
  better kind comes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Network, IPv6Interface, IPv6Network, ip_address

from siproxd_tw.interfaces import Side
from siproxd_tw.transport.netif import UNIQUE_LOCAL, Interface
from siproxd_tw.transport.resolver import ip_literal

__all__ = ["Arm", "find_arm"]

DIRECTIVE = {Side.INSIDE: "if_inbound", Side.OUTSIDE: "if_outbound"}


@dataclass(frozen=True, slots=True)
class Arm:
    """One side of the gateway as it is now; equal ones give equal answers."""

    ipv4: str | None = None
    ipv6: str | None = None
    networks: tuple[IPv4Network | IPv6Network, ...] = ()
    """The networks that are directly on its interface; those of link-local addresses are on all of them."""
    interface: str = field(default="", compare=False)
    trouble: str = field(default="", compare=False)
    """Why there is no address."""

    @property
    def addresses(self) -> tuple[str, ...]:
        """What there is, IPv4 first."""
        return tuple(each for each in (self.ipv4, self.ipv6) if each is not None)


def find_arm(
    setting: str, side: Side, found: Sequence[Interface], *, ipv6: bool = True, before: str | None = None
) -> Arm:
    """Find what `setting` means among `found`; `before` is the IPv6 address that the side had."""
    if not setting:
        return Arm(trouble=f"{DIRECTIVE[side]} is not set")
    literal = ip_literal(setting)
    interface = _having(literal, found) if literal else _named(setting, found)
    if interface is None:
        return Arm(trouble=f"no interface has {literal}" if literal else f"there is no interface {setting}")
    if not interface.is_up:
        which = f"{interface.name}, which has {literal}," if literal else interface.name
        return Arm(trouble=f"{which} is down")
    own = ip_address(literal) if literal else None
    version = own.version if own else 0
    ipv4 = literal if version == 4 else next((str(each.ip) for each in interface.ipv4), None)
    six = literal if version == 6 else _lasting(interface, side, before)
    if ipv4 is None and (six is None or not ipv6):
        families = "IPv4 or IPv6" if ipv6 else "IPv4"
        return Arm(trouble=f"{interface.name} has no {families} address")
    networks = tuple(
        each.network
        for each in interface.addresses
        if (each.ip == own if each.version == version else each.version == 4 or not each.is_link_local)
    )
    return Arm(ipv4, six if ipv6 else None, networks, interface.name)


def _named(name: str, found: Sequence[Interface]) -> Interface | None:
    return next((each for each in found if each.name == name), None)


def _having(literal: str, found: Sequence[Interface]) -> Interface | None:
    wanted = ip_address(literal)
    return next((each for each in found if any(a.ip == wanted for a in each.addresses)), None)


def _lasting(interface: Interface, side: Side, before: str | None) -> str | None:
    """Choose the IPv6 address of `interface` to be known by."""

    def rank(address: IPv6Interface) -> tuple[int, bool]:
        return _kind(address, side), str(address.ip) != before

    best = min(interface.ipv6, key=rank, default=None)
    return None if best is None else str(best.ip)


def _kind(address: IPv6Interface, side: Side) -> int:
    """Return 0 for the kind of address that is best on `side`, else how far it is from that."""
    if address.ip.is_loopback or address.ip.is_site_local:
        return 2
    return int((address.ip in UNIQUE_LOCAL) is (side is Side.OUTSIDE))
