# SPDX-License-Identifier: MIT
"""A gateway's addresses as a test says them: fixed, until the test sets other ones."""

from __future__ import annotations

from collections.abc import Callable
from ipaddress import ip_address, ip_network

from zope.interface import implementer

from siproxd_tw.interfaces import IAddresses, Side

__all__ = ["FixedAddresses", "in_front_of_nat", "one_armed", "two_armed"]


@implementer(IAddresses)
class FixedAddresses:
    """The addresses of one gateway; None stands for an interface that has none."""

    def __init__(
        self,
        inside: str | None = "10.0.0.1",
        outside: str | None = "203.0.113.1",
        *,
        host_outbound: str | None = None,
        networks: tuple[str, ...] = ("10.0.0.0/24",),
    ) -> None:
        self._bound = {Side.INSIDE: inside, Side.OUTSIDE: outside}
        self._host_outbound = host_outbound
        self._networks = [ip_network(network) for network in networks]
        self._watchers: list[Callable[[], None]] = []

    def set(self, side: Side, address: str | None) -> None:
        """Give the interface of `side` another address, or take it away."""
        if self._bound[side] != address:
            self._bound[side] = address
            self._tell()

    def set_host_outbound(self, address: str | None) -> None:
        """Advertise another address outside, or again the one of the interface."""
        if self._host_outbound != address:
            self._host_outbound = address
            self._tell()

    def _tell(self) -> None:
        for changed in list(self._watchers):
            changed()

    def listening(self, side: Side) -> str | None:
        return self._bound[side]

    def advertised(self, side: Side) -> str | None:
        if side is Side.OUTSIDE and self._host_outbound is not None:
            return self._host_outbound
        return self._bound[side]

    def side_of(self, host: str, arrival: Side) -> Side:
        if self.is_own(host) or any(ip_address(host) in network for network in self._networks):
            return Side.INSIDE
        return Side.OUTSIDE if self._one_armed else arrival

    @property
    def _one_armed(self) -> bool:
        return self._bound[Side.INSIDE] == self._bound[Side.OUTSIDE]

    def is_own(self, host: str) -> bool:
        return host in {*self._bound.values(), self._host_outbound} - {None}

    def watch(self, changed: Callable[[], None]) -> None:
        self._watchers.append(changed)


def two_armed() -> FixedAddresses:
    """Return a firewall's addresses: 10.0.0.1 inside, 203.0.113.1 outside."""
    return FixedAddresses()


def in_front_of_nat(host_outbound: str = "198.51.100.7") -> FixedAddresses:
    """Return those of a gateway with two interfaces behind a router, known outside as `host_outbound`."""
    return FixedAddresses(host_outbound=host_outbound)


def one_armed(host_outbound: str | None = "198.51.100.7") -> FixedAddresses:
    """Return those of a gateway with 10.0.0.1 as its only address, known outside as `host_outbound`."""
    return FixedAddresses("10.0.0.1", "10.0.0.1", host_outbound=host_outbound)
