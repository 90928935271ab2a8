# SPDX-License-Identifier: MIT
"""The machine's network interfaces, read with getifaddrs(3) through ctypes.

- Only the standard library: `socket` knows the names of interfaces, not their addresses.
- Works where getifaddrs does: Linux (glibc, musl), the BSDs, macOS. The two layouts of
  `struct sockaddr` differ in their first two bytes only, see `decode_sockaddr`.
- An alias label (``eth0:1``) is an interface of its own, because getifaddrs reports it as one; it
  never has an IPv6 address.
- What getifaddrs does not tell of an IPv6 address is in /proc/net/if_inet6 on Linux: whether it is
  tentative, temporary or deprecated. Elsewhere every address counts as neither.
- Nothing here waits for anything: no packet is sent, no name is resolved.
"""

from __future__ import annotations

import ctypes
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from errno import EAFNOSUPPORT, ENOSYS
from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network
from pathlib import Path

__all__ = [
    "Interface",
    "decode_sockaddr",
    "default_route_address",
    "interfaces",
    "is_private",
    "is_public",
    "prefix_length",
]

BSD_LAYOUT = sys.platform != "linux"
"""Whether a sockaddr starts with its own length in one byte and has a family of one byte."""

DOCUMENTATION = ("198.51.100.1", "203.0.113.1", "192.0.2.1", "2001:db8::1", "3fff::1")
"""Outside destinations that nobody has (RFC 5737, RFC 3849, RFC 9637); a lab may use one, a firewall
refuse another. Those of IPv6 come last: they count on a machine without a way out over IPv4."""

RFC1918 = tuple(IPv4Network(each) for each in ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"))
"""Addresses for networks of one's own."""
CARRIER_NAT = IPv4Network("100.64.0.0/10")
"""Between a provider's NAT and its customers (RFC 6598)."""
UNIQUE_LOCAL = IPv6Network("fc00::/7")
"""Addresses for networks of one's own (RFC 4193)."""

IF_INET6 = Path("/proc/net/if_inet6")
"""Linux: address, index, prefix length, scope and flags in hexadecimal digits, and the interface's name."""

_IFF_UP = 0x1  # the same number on every system
_TEMPORARY, _OPTIMISTIC, _DUPLICATE, _DEPRECATED, _TENTATIVE = 0x01, 0x04, 0x08, 0x20, 0x40  # if_addr.h
_ADDRESS = {socket.AF_INET: slice(4, 8), socket.AF_INET6: slice(8, 24)}  # where it is in a sockaddr


@dataclass(frozen=True, slots=True)
class Interface:
    """One network interface as it is at this moment."""

    name: str
    """As the system calls it, or an alias label."""
    is_up: bool
    """Whether an administrator has switched it on (IFF_UP); says nothing about the cable."""
    addresses: tuple[IPv4Interface | IPv6Interface, ...] = ()
    """In the order of the system: the first one of a family is its primary address."""
    fleeting: frozenset[IPv6Address] = frozenset()
    """Those that are about to go: temporary ones (RFC 8981), deprecated ones (RFC 4862)."""

    @property
    def ipv4(self) -> tuple[IPv4Interface, ...]:
        """The IPv4 ones of `addresses`."""
        return tuple(each for each in self.addresses if isinstance(each, IPv4Interface))

    @property
    def ipv6(self) -> tuple[IPv6Interface, ...]:
        """The IPv6 ones of `addresses` at which a host can be reached for longer, not only on the link."""
        return tuple(
            each
            for each in self.addresses
            if isinstance(each, IPv6Interface)
            and not (each.is_link_local or each.is_multicast or each.ip in self.fleeting)
        )


class _IfAddrs(ctypes.Structure):
    """The head of struct ifaddrs; what follows differs from system to system and is not needed."""


_IfAddrs._fields_ = [
    ("next", ctypes.POINTER(_IfAddrs)),
    ("name", ctypes.c_char_p),
    ("flags", ctypes.c_uint),
    ("address", ctypes.c_void_p),
    ("netmask", ctypes.c_void_p),
]


def interfaces() -> list[Interface]:
    """Return all interfaces of this machine, in the order of the system.

    A tentative IPv6 address is not yet one of theirs (RFC 4862 section 2): nothing can be bound to it.
    Raises OSError with a sentence when they cannot be read.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "getifaddrs"):
        raise OSError(ENOSYS, "cannot list the network interfaces: this system has no getifaddrs()")
    first = ctypes.POINTER(_IfAddrs)()
    if libc.getifaddrs(ctypes.byref(first)) != 0:
        raise _failure(ctypes.get_errno())
    try:
        return _collect(_entries(first), _ipv6_flags())
    finally:
        libc.freeifaddrs(first)


def _failure(number: int) -> OSError:
    # A service manager may have taken the netlink sockets from us, from which glibc and musl read the list.
    hint = " (RestrictAddressFamilies must allow AF_NETLINK)" if number == EAFNOSUPPORT else ""
    return OSError(number, f"cannot list the network interfaces: {os.strerror(number)}{hint}")


_Entry = tuple[str, bool, IPv4Interface | IPv6Interface | None]


def _entries(first: ctypes._Pointer[_IfAddrs]) -> Iterator[_Entry]:
    """Walk the linked list: one entry for each address, and for each interface without an address."""
    at = first
    while at:
        entry = at.contents
        yield os.fsdecode(entry.name), bool(entry.flags & _IFF_UP), _address(entry.address, entry.netmask)
        at = entry.next


def _collect(entries: Iterable[_Entry], flags: Mapping[tuple[str, IPv6Address], int]) -> list[Interface]:
    """Put the entries of one name together."""
    up: dict[str, bool] = {}
    addresses: dict[str, list[IPv4Interface | IPv6Interface]] = {}
    fleeting: dict[str, set[IPv6Address]] = {}
    for name, is_up, address in entries:
        up[name] = is_up
        found = addresses.setdefault(name, [])
        if isinstance(address, IPv6Interface):
            known = flags.get((name, address.ip), 0)
            if known & _DUPLICATE or known & (_TENTATIVE | _OPTIMISTIC) == _TENTATIVE:
                continue
            if known & (_TEMPORARY | _DEPRECATED):
                fleeting.setdefault(name, set()).add(address.ip)
        if address is not None:
            found.append(address)
    return [
        Interface(name, is_up, tuple(addresses[name]), frozenset(fleeting.get(name, ())))
        for name, is_up in up.items()
    ]


def _ipv6_flags() -> dict[tuple[str, IPv6Address], int]:
    """Read the flags of each IPv6 address by interface; of none where the system does not tell."""
    try:
        lines = IF_INET6.read_text("ascii", "replace").splitlines()
    except OSError:
        return {}
    words = [line.split() for line in lines]
    return {(w[5], IPv6Address(int(w[0], 16))): int(w[4], 16) for w in words if len(w) == 6}


def _address(address: int | None, netmask: int | None) -> IPv4Interface | IPv6Interface | None:
    """Return the address at these two pointers, None if it is not an IP one."""
    found = decode_sockaddr(address) if address else None
    if found is None:
        return None
    family, packed = found
    mask = decode_sockaddr(netmask, family) if netmask else None
    bits = prefix_length(mask[1]) if mask else 8 * len(packed)
    return IPv4Interface((packed, bits)) if family == socket.AF_INET else IPv6Interface((packed, bits))


def decode_sockaddr(pointer: int, family: int = 0, bsd: bool = BSD_LAYOUT) -> tuple[int, bytes] | None:
    """Return the family and the packed IP address of the sockaddr at `pointer`; None for other families.

    With `family` given, that of the sockaddr is not looked at: on the BSDs a netmask comes with
    trailing zero bytes cut off, as its length says, and often without a family.
    """
    head = ctypes.string_at(pointer, 2)
    if not family:
        family = head[1] if bsd else int.from_bytes(head, sys.byteorder)
    where = _ADDRESS.get(family)  # type: ignore[call-overload]
    if where is None:
        return None
    length = min(head[0], where.stop) if bsd else where.stop
    return family, ctypes.string_at(pointer, length)[where].ljust(where.stop - where.start, b"\0")


def prefix_length(mask: bytes) -> int:
    """Count the leading one bits of a netmask; what follows its first zero is ignored."""
    bits = 8 * len(mask)
    inverse = int.from_bytes(mask, "big") ^ ((1 << bits) - 1)
    return bits - inverse.bit_length()


def is_private(address: IPv4Address | IPv6Address) -> bool:
    """Return whether `address` is one of RFC 1918 or RFC 4193; its own `is_private` means more than that."""
    if isinstance(address, IPv6Address):
        return address in UNIQUE_LOCAL
    return any(address in network for network in RFC1918)


def is_public(address: IPv4Address | IPv6Address) -> bool:
    """Return whether `address` is neither private nor behind a provider's NAT."""
    return not is_private(address) and address not in CARRIER_NAT


def default_route_address(destinations: Sequence[str] = DOCUMENTATION) -> str | None:
    """Return the local address from which the kernel would send to the outside, None without a route.

    The first destination with a route decides about the family. connect() of a UDP socket asks the
    routing table and sends nothing.
    """
    for destination in destinations:
        family = socket.AF_INET6 if ":" in destination else socket.AF_INET
        try:
            with socket.socket(family, socket.SOCK_DGRAM) as asked:
                asked.connect((destination, 5060))
                host: str = asked.getsockname()[0]
                return host
        except OSError:  # no route, one that says "prohibited", or a kernel without that family
            continue
    return None
