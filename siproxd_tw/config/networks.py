# SPDX-License-Identifier: MIT
"""Access lists: ``192.168.0.0/16, 2001:db8::/32``.

Parsing is strict, because siproxd's is not and opens doors by it: there a wrong entry ends the list,
in a deny list too, and a length that is no number matches everybody. Here a wrong entry is an error
with its reason, the others count, and a list that was asked for never turns into "no list".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_interface, ip_network

from siproxd_tw.config.problems import quoted

__all__ = ["AccessList", "Network", "parse"]

Network = IPv4Network | IPv6Network

_LENGTH = re.compile(r"[0-9]{1,3}")
#: The prefix ``::ffff:0:0/96`` of IPv4 addresses in IPv6 clothes (RFC 4291 section 2.5.5.2).
_MAPPED_LENGTH = 96


@dataclass(frozen=True, slots=True)
class AccessList:
    """Networks that a directive names; false when it names none, which means that it restricts nothing."""

    networks: tuple[Network, ...] = ()
    incomplete: bool = False
    """Whether an entry was not understood. The list is then true even when no network is left in it:
    nobody gets in by a typing error."""

    def __bool__(self) -> bool:
        return bool(self.networks) or self.incomplete

    def __iter__(self) -> Iterator[Network]:
        return iter(self.networks)

    def __str__(self) -> str:
        return ",".join(map(str, self.networks))

    def matches(self, host: str) -> bool:
        """Return whether the IP address `host` is in one of the networks; what is no address is not.

        An IPv4 address that an IPv6 socket reports (``::ffff:192.0.2.1``) is that IPv4 address.
        """
        try:
            address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped:
            return any(address.ipv4_mapped in network for network in self.networks)
        return any(address in network for network in self.networks)


def parse(text: str) -> tuple[AccessList, list[str]]:
    """Return the list that `text` describes and what is wrong with its entries, one text for each."""
    networks: list[Network] = []
    faults: list[str] = []
    for entry in text.split(","):
        try:
            networks.append(_network(entry.strip()))
        except ValueError as fault:
            faults.append(str(fault))
    return AccessList(tuple(networks), incomplete=bool(faults)), faults


def _network(entry: str) -> Network:
    """Read one entry; host bits may be set (``192.168.1.8/24``), as siproxd allows."""
    if not entry:
        raise ValueError("an entry is empty: write one comma between two networks and none at the ends")
    host, slash, length = (part.strip() for part in entry.partition("/"))
    try:
        address = ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        raise ValueError(_no_address(entry, host)) from None
    if isinstance(address, IPv6Address) and address.scope_id:
        raise ValueError(f"{quoted(entry)} has a zone, expected a network without one")
    if not slash:
        meant = f"did you mean {address}/{address.max_prefixlen}"
        raise ValueError(f"{quoted(entry)} has no length, expected ADDRESS/LENGTH, {meant}")
    if not _LENGTH.fullmatch(length) or int(length) > address.max_prefixlen:
        expected = f"expected a length from 0 to {address.max_prefixlen}{_meant(str(address), length)}"
        raise ValueError(f"{quoted(entry)} has no valid length, {expected}")
    if isinstance(address, IPv6Address) and address.ipv4_mapped and int(length) >= _MAPPED_LENGTH:
        return ip_network(f"{address.ipv4_mapped}/{int(length) - _MAPPED_LENGTH}", strict=False)
    return ip_network(f"{address}/{int(length)}", strict=False)


def _no_address(entry: str, host: str) -> str:
    """Say why `entry` has no address."""
    if " " in host or ";" in host:
        return f"{quoted(entry)} is not one network, expected commas between networks"
    if re.fullmatch(r"[0-9.]+|.*:.*", host):
        return f"{quoted(entry)} has no valid address, expected ADDRESS/LENGTH such as 192.168.1.0/24"
    # A name would have to be looked up for each packet, and a deny list with a name that has
    # no address at the moment would let everybody in.
    return f"{quoted(entry)} has a host name, expected an address: access lists do not look names up"


def _meant(address: str, mask: str) -> str:
    """Return the hint for a dotted mask, ``255.255.255.0``."""
    if "." not in mask:
        return ""
    try:
        return f", did you mean {address}/{ip_interface(f'{address}/{mask}').network.prefixlen}"
    except ValueError:
        return ""
