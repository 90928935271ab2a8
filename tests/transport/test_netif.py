# SPDX-License-Identifier: MIT
from __future__ import annotations

import ctypes
import errno
import os
import socket
import sys
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.transport import netif
from siproxd_tw.transport.netif import (
    Interface,
    decode_sockaddr,
    default_route_address,
    interfaces,
    is_private,
    is_public,
    prefix_length,
)

UP = 0x1


def linux(family: int, body: bytes) -> bytes:
    """A sockaddr as Linux has it: two bytes of family in the machine's own order."""
    return family.to_bytes(2, sys.byteorder) + body


def bsd(family: int, body: bytes, length: int | None = None) -> bytes:
    """A sockaddr as the BSDs and macOS have it: a byte of length, a byte of family."""
    whole = 2 + len(body)
    return bytes([whole if length is None else length, family]) + body


def sockaddr_in(host: str) -> bytes:
    return bytes(2) + socket.inet_aton(host) + bytes(8)


def sockaddr_in6(host: str) -> bytes:
    return bytes(2) + bytes(4) + socket.inet_pton(socket.AF_INET6, host) + bytes(4)


class Libc:
    """A C library whose getifaddrs reports what the test wrote down, or fails."""

    def __init__(self, *entries: tuple[bytes, int, bytes | None, bytes | None], error: int = 0) -> None:
        self.error = error
        self.freed = 0
        self._keep = []
        self._first = ctypes.POINTER(netif._IfAddrs)()
        for name, flags, address, mask in reversed(entries):
            entry = netif._IfAddrs(self._first, name, flags, self._pointer(address), self._pointer(mask))
            self._keep.append(entry)
            self._first = ctypes.pointer(entry)

    def _pointer(self, content: bytes | None) -> int | None:
        if content is None:
            return None
        self._keep.append(ctypes.create_string_buffer(content, len(content)))
        return ctypes.addressof(self._keep[-1])

    def getifaddrs(self, where):
        if self.error:
            ctypes.set_errno(self.error)
            return -1
        where._obj.contents = self._first.contents
        return 0

    def freeifaddrs(self, first):
        self.freed += 1


@pytest.fixture
def libc(monkeypatch, tmp_path):
    """Put a C library of the test in place of the real one, and what Linux says of IPv6 addresses."""

    def install(*entries, error=0, if_inet6=None):
        library = Libc(*entries, error=error)
        if if_inet6 is not None:
            (tmp_path / "if_inet6").write_text(if_inet6)
        monkeypatch.setattr(netif, "IF_INET6", tmp_path / "if_inet6")
        monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: library)
        return library

    return install


def test_this_machine():
    """The real list has the loopback interface with its address, and every name that the system knows."""
    found = {each.name: each for each in interfaces()}
    loopback = [each for each in found.values() if IPv4Interface("127.0.0.1/8") in each.ipv4]
    assert [each.is_up for each in loopback] == [True]
    assert {name for _, name in socket.if_nameindex()} <= set(found)


@pytest.mark.skipif(netif.BSD_LAYOUT, reason="the list below is laid out as on Linux")
def test_entries_of_one_name_are_one_interface(libc):
    """Addresses are grouped by name and keep their order; an alias label is an interface of its own."""
    mask24, mask32 = (linux(socket.AF_INET, sockaddr_in(m)) for m in ("255.255.255.0", "255.255.255.255"))
    library = libc(
        (b"eth0", UP, linux(17, bytes(18)), None),  # AF_PACKET, as Linux lists each interface once
        (b"wlan0", 0, linux(17, bytes(18)), None),
        (b"tun0", UP, None, None),
        (b"eth0", UP, linux(socket.AF_INET, sockaddr_in("192.168.1.1")), mask24),
        (b"eth0:1", UP, linux(socket.AF_INET, sockaddr_in("10.0.0.1")), mask24),
        (b"eth0", UP, linux(socket.AF_INET, sockaddr_in("192.168.1.2")), mask32),
        (
            b"eth0",
            UP,
            linux(socket.AF_INET6, sockaddr_in6("fd00::1")),
            linux(socket.AF_INET6, sockaddr_in6("ffff:ffff:ffff:ffff::")),
        ),
        (b"ppp0", UP, linux(socket.AF_INET, sockaddr_in("203.0.113.7")), None),
    )
    assert interfaces() == [
        Interface(
            "eth0",
            True,
            (IPv4Interface("192.168.1.1/24"), IPv4Interface("192.168.1.2/32"), IPv6Interface("fd00::1/64")),
        ),
        Interface("wlan0", False),
        Interface("tun0", True),
        Interface("eth0:1", True, (IPv4Interface("10.0.0.1/24"),)),
        Interface("ppp0", True, (IPv4Interface("203.0.113.7/32"),)),
    ]
    assert library.freed == 1


IF_INET6 = """\
fd000000000000000000000000000001 02 40 00 80     eth0
fd000000000000000000000000000002 02 40 00 01     eth0
fd000000000000000000000000000003 02 40 00 20     eth0
fd000000000000000000000000000004 02 40 00 40     eth0
fd000000000000000000000000000005 02 40 00 44     eth0
fd000000000000000000000000000006 02 40 00 48     eth0
fd000000000000000000000000000006 03 40 00 80     eth1

half a line
"""


@pytest.mark.skipif(netif.BSD_LAYOUT, reason="the list below is laid out as on Linux")
@pytest.mark.parametrize(
    ("if_inet6", "present", "lasting"), [(IF_INET6, "1235", "15"), (None, "123456", "123456")]
)
def test_the_states_of_ipv6_addresses(libc, if_inet6, present, lasting):
    """Tentative addresses are not there yet, temporary and deprecated ones are not for long."""
    mask = linux(socket.AF_INET6, sockaddr_in6("ffff:ffff:ffff:ffff::"))
    entries = [
        (b"eth0", UP, linux(socket.AF_INET6, sockaddr_in6(f"fd00::{number}")), mask) for number in range(1, 7)
    ]
    libc(*entries, (b"eth1", UP, linux(socket.AF_INET6, sockaddr_in6("fd00::6")), mask), if_inet6=if_inet6)
    one, other = interfaces()
    assert one.addresses == tuple(IPv6Interface(f"fd00::{number}/64") for number in present)
    assert one.ipv6 == tuple(IPv6Interface(f"fd00::{number}/64") for number in lasting)
    assert other.ipv6 == (IPv6Interface("fd00::6/64"),)


def test_only_the_ipv6_addresses():
    """`ipv6` leaves out the other family, and what is good on the link only, for groups or not for long."""
    here = [
        ip_interface(each) for each in ("fe80::1/64", "fd00::1/64", "10.0.0.1/8", "ff02::1/128", "fd00::2/64")
    ]
    assert Interface("eth0", True, tuple(here)).ipv6 == (here[1], here[4])
    assert Interface("eth0", True, tuple(here), frozenset({here[1].ip})).ipv6 == (here[4],)


def test_only_the_ipv4_addresses():
    """`ipv4` leaves the other family out and keeps the order."""
    one, two = IPv4Interface("10.0.0.1/8"), IPv4Interface("10.0.0.2/8")
    assert Interface("eth0", True, (one, IPv6Interface("::1/128"), two)).ipv4 == (one, two)


def test_a_failure_is_one_sentence(libc):
    """An OSError says what could not be done and why."""
    libc(error=errno.ENOBUFS)
    with pytest.raises(OSError, match="cannot list the network interfaces: No buffer space") as caught:
        interfaces()
    assert caught.value.errno == errno.ENOBUFS


def test_a_service_manager_in_the_way(libc):
    """Without netlink sockets the sentence names the setting that took them."""
    libc(error=errno.EAFNOSUPPORT)
    with pytest.raises(OSError, match="AF_NETLINK"):
        interfaces()


def test_a_system_without_the_function(monkeypatch):
    """A C library without getifaddrs is a failure like any other."""
    monkeypatch.setattr(ctypes, "CDLL", lambda name, use_errno: object())
    with pytest.raises(OSError, match="no getifaddrs"):
        interfaces()


@pytest.mark.parametrize("layout", [linux, bsd])
@pytest.mark.parametrize("host", ["203.0.113.1", "fd00::5060"])
def test_both_layouts(layout, host):
    """The same address comes out of both layouts, and nothing out of a link address."""
    family, body = (
        (socket.AF_INET6, sockaddr_in6(host)) if ":" in host else (socket.AF_INET, sockaddr_in(host))
    )
    kept = ctypes.create_string_buffer(layout(family, body))
    found = decode_sockaddr(ctypes.addressof(kept), bsd=layout is bsd)
    assert found == (family, socket.inet_pton(family, host))
    link = ctypes.create_string_buffer(layout(18, bytes(18)))
    assert decode_sockaddr(ctypes.addressof(link), bsd=layout is bsd) is None


@pytest.mark.parametrize(
    ("mask", "length", "bits"), [("255.0.0.0", 5, 8), ("255.255.240.0", 7, 20), ("0.0.0.0", 0, 0)]
)
def test_a_netmask_cut_short(mask, length, bits):
    """BSD netmasks lack trailing zero bytes and the family; what lies behind their length is not read."""
    whole = bsd(0, sockaddr_in(mask), length)
    kept = ctypes.create_string_buffer(whole[: max(2, length)] + b"\xff" * 16)
    found = decode_sockaddr(ctypes.addressof(kept), socket.AF_INET, bsd=True)
    assert found is not None
    assert prefix_length(found[1]) == bits


@given(st.integers(0, 32))
def test_prefix_length_of_every_netmask(bits):
    """The length of a netmask is the one that it was made from."""
    assert prefix_length(ip_interface(f"0.0.0.0/{bits}").netmask.packed) == bits


def test_prefix_length_of_an_odd_netmask():
    """A netmask with a hole counts up to the hole."""
    assert prefix_length(bytes([255, 0, 255, 0])) == 8


def test_default_route_address():
    """The source address towards a destination is the kernel's choice, and it is one of ours."""
    assert default_route_address(["127.0.0.53"]) == "127.0.0.1"
    own = {str(address.ip) for each in interfaces() for address in each.addresses}
    assert default_route_address() in own | {None}


def test_no_route_to_the_first_destination():
    """A destination without a route is skipped; without any other there is no address."""
    nowhere = "255.255.255.255"  # connect() of a socket without SO_BROADCAST is refused
    assert default_route_address([nowhere]) is None
    assert default_route_address([nowhere, "127.0.0.53"]) == "127.0.0.1"


def test_default_route_of_ipv6(monkeypatch):
    """Where IPv4 leads nowhere IPv6 is asked; a kernel without it is a machine without a route."""
    has_ipv6 = any(str(address.ip) == "::1" for each in interfaces() for address in each.addresses)
    assert default_route_address(["255.255.255.255", "::1"]) == ("::1" if has_ipv6 else None)

    def refuse(family, kind):
        raise OSError(errno.EAFNOSUPPORT, "no such family")

    monkeypatch.setattr(socket, "socket", refuse)
    assert default_route_address() is None


def test_ipv4_decides_first():
    """Of the destinations that nobody has those of IPv4 come first."""
    families = [":" in each for each in netif.DOCUMENTATION]
    assert families == sorted(families) and {*families} == {False, True}


def test_descriptors_are_closed():
    """Asking a thousand times opens nothing that stays open."""
    before = len(os.listdir("/dev/fd"))
    for _ in range(1000):
        default_route_address(["127.0.0.53"])
    assert len(os.listdir("/dev/fd")) == before


@pytest.mark.parametrize(
    ("host", "private", "public"),
    [
        ("10.255.255.255", True, False),
        ("11.0.0.0", False, True),
        ("172.15.255.255", False, True),
        ("172.31.255.255", True, False),
        ("192.168.0.0", True, False),
        ("192.169.0.0", False, True),
        ("100.64.0.1", False, False),
        ("100.128.0.0", False, True),
        ("203.0.113.1", False, True),
        ("fd00::1", True, False),
        ("2001:db8::1", False, True),
    ],
)
def test_whose_address_it_is(host, private, public):
    """Private is what RFC 1918 and RFC 4193 name; a provider's NAT network is neither that nor public."""
    address = ip_address(host)
    assert (is_private(address), is_public(address)) == (private, public)
