# SPDX-License-Identifier: MIT
from __future__ import annotations

from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Side
from siproxd_tw.transport.arm import Arm, find_arm
from siproxd_tw.transport.netif import Interface

INSIDE, OUTSIDE = Side.INSIDE, Side.OUTSIDE


def up(name: str, *addresses: str, fleeting: tuple[str, ...] = ()) -> Interface:
    leaving = frozenset(ip_address(each) for each in fleeting)
    return Interface(name, True, tuple(ip_interface(each) for each in addresses), leaving)


def networks(*texts: str) -> tuple:
    return tuple(ip_network(each) for each in texts)


WAN = up("eth0", "203.0.113.1/24", "fe80::2/64", "2001:db8::1/64", "2001:db8::2/64")
LOCAL, GLOBAL, OTHER = "fd00::1/64", "2001:db8::1/64", "2001:db8:2::1/64"


def test_a_name():
    """An interface with both families has one address of each; every network around it counts but one."""
    arm = find_arm("eth0", OUTSIDE, [WAN])
    around = networks("203.0.113.0/24", "2001:db8::/64", "2001:db8::/64")
    assert arm == Arm("203.0.113.1", "2001:db8::1", around)
    assert (arm.interface, arm.trouble) == ("eth0", "")
    assert arm.addresses == ("203.0.113.1", "2001:db8::1")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("203.0.113.2", ("203.0.113.2", "2001:db8::1", ("203.0.113.0/24", "2001:db8::/64"))),
        (
            "[2001:DB8:9::9]",
            ("203.0.113.1", "2001:db8:9::9", ("198.51.100.0/24", "203.0.113.0/24", "2001:db8:9::/64")),
        ),
    ],
)
def test_an_address(setting, expected):
    """An address stands for itself and its network, and leads to one of the other family beside it."""
    addresses = ["203.0.113.2/24", "fe80::2/64", "2001:db8::1/64"]
    if ":" in setting:
        addresses = ["203.0.113.1/24", "198.51.100.1/24", "2001:db8::1/64", "2001:db8:9::9/64"]
    else:
        addresses = ["198.51.100.1/24", *addresses]
    arm = find_arm(setting, OUTSIDE, [up("lo", "127.0.0.1/8"), up("eth0", *addresses)])
    assert (arm.ipv4, arm.ipv6) == expected[:2]
    assert sorted(map(str, arm.networks)) == sorted(expected[2])


def test_an_alias_label():
    """A label has what it has: no IPv6 address, by its name or by its address."""
    found = [WAN, up("eth0:1", "10.0.0.1/24")]
    for setting in ("eth0:1", "10.0.0.1"):
        assert find_arm(setting, INSIDE, found) == Arm("10.0.0.1", None, networks("10.0.0.0/24"))


def test_switched_off():
    """Without IPv6 there are the addresses of IPv4, also beside an IPv6 address in the configuration."""
    for setting in ("eth0", "2001:db8::1"):
        assert find_arm(setting, OUTSIDE, [WAN], ipv6=False).addresses == ("203.0.113.1",)
    alone = find_arm("2001:db8::1", OUTSIDE, [up("eth0", "2001:db8::1/64")], ipv6=False)
    assert alone == Arm() and alone.trouble == "eth0 has no IPv4 address"


@pytest.mark.parametrize(
    ("side", "addresses", "fleeting", "chosen"),
    [
        (OUTSIDE, [GLOBAL, OTHER], [], "2001:db8::1"),
        (OUTSIDE, ["fe80::1/64"], [], None),
        (OUTSIDE, ["fe80::1/64", LOCAL], [], "fd00::1"),
        (OUTSIDE, [LOCAL, GLOBAL], [], "2001:db8::1"),
        (INSIDE, [GLOBAL, LOCAL], [], "fd00::1"),
        (INSIDE, [GLOBAL, OTHER], [], "2001:db8::1"),
        (INSIDE, ["::1/128"], [], "::1"),
        (INSIDE, ["::1/128", "fec0::1/64", GLOBAL], [], "2001:db8::1"),
        (OUTSIDE, [GLOBAL, OTHER], ["2001:db8::1"], "2001:db8:2::1"),
        (OUTSIDE, [GLOBAL], ["2001:db8::1"], None),
    ],
)
def test_which_ipv6_address(side, addresses, fleeting, chosen):
    """The first one of the best kind: outside one that a provider can answer, inside one that stays."""
    assert find_arm("eth0", side, [up("eth0", *addresses, fleeting=tuple(fleeting))]).ipv6 == chosen


def test_the_one_from_before_stays():
    """As long as it is there and no better kind has come, whatever the system lists first."""
    found = [up("eth0", OTHER, GLOBAL)]
    assert find_arm("eth0", OUTSIDE, found, before="2001:db8::1").ipv6 == "2001:db8::1"
    assert find_arm("eth0", OUTSIDE, found, before="2001:db8:3::1").ipv6 == "2001:db8:2::1"
    assert find_arm("eth0", INSIDE, [up("eth0", GLOBAL, LOCAL)], before="2001:db8::1").ipv6 == "fd00::1"


@pytest.mark.parametrize(
    ("setting", "trouble"),
    [
        ("", "if_outbound is not set"),
        ("eth9", "there is no interface eth9"),
        ("2001:db8::9", "no interface has 2001:db8::9"),
        ("eth1", "eth1 is down"),
        ("2001:db8::1", "eth1, which has 2001:db8::1, is down"),
        ("eth2", "eth2 has no IPv4 or IPv6 address"),
    ],
)
def test_trouble(setting, trouble):
    """Why there is no address is one sentence."""
    found = [Interface("eth1", False, (ip_interface(GLOBAL),)), up("eth2", "fe80::1/64")]
    arm = find_arm(setting, OUTSIDE, found)
    assert arm == Arm() and arm.trouble == trouble


ADDRESSES = st.lists(
    st.sampled_from(
        ["10.0.0.1/24", "203.0.113.1/24", "fe80::1/64", "ff02::1/128", LOCAL, GLOBAL, OTHER, "::1/128"]
    ),
    unique=True,
)


@given(ADDRESSES, ADDRESSES, st.sampled_from(Side), st.booleans())
def test_any_interface(addresses, before, side, ipv6):
    """What is chosen is on the interface and can be reached; what is kept has been taken before."""
    interface = up("eth0", *addresses)
    kept = find_arm("eth0", side, [up("eth0", *before)], ipv6=ipv6).ipv6
    arm = find_arm("eth0", side, [interface], ipv6=ipv6, before=kept)
    assert {*arm.addresses} <= {str(each.ip) for each in interface.addresses}
    assert not {*arm.addresses} & {"fe80::1", "ff02::1"}
    assert bool(arm.trouble) is (arm.addresses == ())
    assert find_arm("eth0", side, [interface], ipv6=ipv6, before=arm.ipv6) == arm
