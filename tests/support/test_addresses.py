# SPDX-License-Identifier: MIT
from __future__ import annotations

from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import IAddresses, Side
from tests.support.addresses import FixedAddresses, dual_stack, in_front_of_nat, one_armed, two_armed


def test_provides_the_interface():
    """The fake has what IAddresses names."""
    assert verifyObject(IAddresses, FixedAddresses())


def test_firewall():
    """Between two networks each side has its own address; the arrival decides about strangers."""
    addresses = two_armed()
    assert addresses.listening(Side.INSIDE) == addresses.advertised(Side.INSIDE) == "10.0.0.1"
    assert addresses.listening(Side.OUTSIDE) == addresses.advertised(Side.OUTSIDE) == "203.0.113.1"
    assert addresses.side_of("203.0.113.50", Side.OUTSIDE) is Side.OUTSIDE
    assert addresses.side_of("192.0.2.7", Side.INSIDE) is Side.INSIDE
    assert addresses.side_of("10.0.0.10", Side.OUTSIDE) is Side.INSIDE
    assert addresses.side_of("203.0.113.1", Side.OUTSIDE) is Side.INSIDE
    assert addresses.is_own("10.0.0.1") and addresses.is_own("203.0.113.1")
    assert not addresses.is_own("10.0.0.10")


def test_behind_a_router():
    """With host_outbound the sockets are bound to the interface, the peers are told the other address."""
    addresses = in_front_of_nat("198.51.100.7")
    assert addresses.listening(Side.OUTSIDE) == "203.0.113.1"
    assert addresses.advertised(Side.OUTSIDE) == "198.51.100.7"
    assert addresses.advertised(Side.INSIDE) == "10.0.0.1"
    assert addresses.is_own("198.51.100.7")


def test_one_armed():
    """With one interface the inside networks decide, whatever socket the packet came in on."""
    addresses = one_armed()
    assert addresses.side_of("203.0.113.50", Side.INSIDE) is Side.OUTSIDE
    assert addresses.side_of("10.0.0.10", Side.OUTSIDE) is Side.INSIDE


def test_changes_are_told_once():
    """Watchers hear of each change and of nothing else; a lost address is None."""
    addresses, heard = two_armed(), []
    addresses.watch(lambda: heard.append(addresses.advertised(Side.OUTSIDE)))
    addresses.set(Side.OUTSIDE, "203.0.113.2")
    addresses.set(Side.OUTSIDE, "203.0.113.2")
    addresses.set(Side.OUTSIDE, None)
    addresses.set_host_outbound("198.51.100.7")
    assert heard == ["203.0.113.2", None, "198.51.100.7"]
    assert not addresses.is_own("203.0.113.2")


def test_each_family_changes_by_itself():
    """An address replaces that of its family; one family can be taken away, or both."""
    addresses, heard = dual_stack(), []
    addresses.watch(lambda: heard.append(list(addresses.bound(Side.OUTSIDE))))
    addresses.set(Side.OUTSIDE, "2001:db8::2")
    addresses.set(Side.OUTSIDE, None, 4)
    addresses.set(Side.OUTSIDE, None)
    assert heard == [["203.0.113.1", "2001:db8::2"], ["2001:db8::2"], []]


def test_an_interface_that_has_ipv6_only():
    """An IPv6 address in the first place stands for an interface without IPv4."""
    addresses = FixedAddresses(outside="2001:db8::9")
    assert addresses.listening(Side.OUTSIDE) == "2001:db8::9"
    assert addresses.listening(Side.OUTSIDE, "192.0.2.7") is None
    assert list(addresses.bound(Side.INSIDE)) == ["10.0.0.1"]
