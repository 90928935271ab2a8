# SPDX-License-Identifier: MIT
"""A gateway's addresses as a test says them: fixed, until the test sets other ones."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network

from zope.interface import implementer

from siproxd_tw.interfaces import IAddresses, Side

__all__ = ["FixedAddresses", "dual_stack", "in_front_of_nat", "ipv6_only", "one_armed", "two_armed"]

INSIDE6, OUTSIDE6 = "fd00::1", "2001:db8::1"
"""The IPv6 addresses of a gateway that has some."""


@implementer(IAddresses)
class FixedAddresses:
    """The addresses of one gateway; None stands for a family that an interface does not have.

    `inside` and `outside` may be IPv6 addresses, too, on an interface that has nothing else.
    """

    def __init__(
        self,
        inside: str | None = "10.0.0.1",
        outside: str | None = "203.0.113.1",
        *,
        inside6: str | None = None,
        outside6: str | None = None,
        host_outbound: str | None = None,
        networks: tuple[str, ...] = ("10.0.0.0/24", "fd00::/64"),
    ) -> None:
        self._bound: dict[Side, dict[int, str | None]] = {side: {4: None, 6: None} for side in Side}
        given = (
            (Side.INSIDE, inside),
            (Side.INSIDE, inside6),
            (Side.OUTSIDE, outside),
            (Side.OUTSIDE, outside6),
        )
        for side, address in given:
            if address is not None:
                self._bound[side][_family(address)] = address
        self._host_outbound = host_outbound
        self._networks = [ip_network(network) for network in networks]
        self._watchers: list[Callable[[], None]] = []

    def set(self, side: Side, address: str | None, family: int = 0) -> None:
        """Give the interface of `side` another address of a family, or take one or all of them away."""
        before = dict(self._bound[side])
        families = [_family(address)] if address else [family] if family else [4, 6]
        self._bound[side] |= dict.fromkeys(families, address)
        if self._bound[side] != before:
            self._tell()

    def set_host_outbound(self, address: str | None) -> None:
        """Advertise another address outside, or again the one of the interface."""
        if self._host_outbound != address:
            self._host_outbound = address
            self._tell()

    def _tell(self) -> None:
        for changed in list(self._watchers):
            changed()

    def listening(self, side: Side, peer: str = "") -> str | None:
        return self._bound[side][self._family_for(side, peer)]

    def advertised(self, side: Side, peer: str = "") -> str | None:
        family = self._family_for(side, peer)
        named = self._host_outbound
        if side is Side.OUTSIDE and named is not None and _family(named) == family:
            return named
        return self._bound[side][family]

    def _family_for(self, side: Side, peer: str) -> int:
        if peer:
            return _family(peer)
        families = [family for family, address in self._bound[side].items() if address]
        if not families and side is Side.OUTSIDE and self._host_outbound:
            return _family(self._host_outbound)
        return families[0] if families else 4

    def bound(self, side: Side) -> Sequence[str]:
        return [address for address in self._bound[side].values() if address]

    def side_of(self, host: str, arrival: Side) -> Side:
        address = ip_address(_by_value(host))
        one_armed = self._one_armed(address.version)
        on_the_link = one_armed and address.version == 6 and address.is_link_local
        if address.is_loopback or on_the_link or self.is_own(host):
            return Side.INSIDE
        if any(address in network for network in self._networks):
            return Side.INSIDE
        return Side.OUTSIDE if one_armed else arrival

    def _one_armed(self, family: int) -> bool:
        inside, outside = self._bound[Side.INSIDE], self._bound[Side.OUTSIDE]
        return inside == outside or (inside[family] is not None and inside[family] == outside[family])

    def is_own(self, host: str) -> bool:
        own = {*self.bound(Side.INSIDE), *self.bound(Side.OUTSIDE), self._host_outbound}
        return _by_value(host) in own

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)


def _family(host: str) -> int:
    return 6 if ":" in host else 4


@lru_cache(maxsize=1024)
def _by_value(host: str) -> str:
    """Return an IP address in its usual form, a name as it is."""
    try:
        address = ip_address(host.strip("[]"))
    except ValueError:
        return host
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or IPv6Address(int(address)))
    return str(address)


def two_armed() -> FixedAddresses:
    """Return a firewall's addresses: 10.0.0.1 inside, 203.0.113.1 outside."""
    return FixedAddresses()


def in_front_of_nat(host_outbound: str = "198.51.100.7") -> FixedAddresses:
    """Return those of a gateway with two interfaces behind a router, known outside as `host_outbound`."""
    return FixedAddresses(host_outbound=host_outbound)


def one_armed(host_outbound: str | None = "198.51.100.7") -> FixedAddresses:
    """Return those of a gateway with 10.0.0.1 as its only address, known outside as `host_outbound`."""
    return FixedAddresses("10.0.0.1", "10.0.0.1", host_outbound=host_outbound)


def dual_stack(host_outbound: str | None = None) -> FixedAddresses:
    """Return a firewall's addresses of both families: also fd00::1 inside, 2001:db8::1 outside."""
    return FixedAddresses(inside6=INSIDE6, outside6=OUTSIDE6, host_outbound=host_outbound)


def ipv6_only() -> FixedAddresses:
    """Return those of a firewall without IPv4: fd00::1 inside, 2001:db8::1 outside."""
    return FixedAddresses(INSIDE6, OUTSIDE6)
