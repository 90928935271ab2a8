# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_interface

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.transport.detect import SPECIAL, Detected, detect
from siproxd_tw.transport.netif import Interface

LO = Interface("lo", True, (ip_interface("127.0.0.1/8"), ip_interface("::1/128")))


def up(name: str, *addresses: str) -> Interface:
    return Interface(name, True, tuple(ip_interface(each) for each in addresses))


def down(name: str, *addresses: str) -> Interface:
    return Interface(name, False, tuple(ip_interface(each) for each in addresses))


LAN = up("eth1", "192.168.1.1/24")
WAN = up("eth0", "203.0.113.1/24")
DOCKER = up("docker0", "172.17.0.1/16")
DESK = up("eth0", "192.168.1.5/24")
TWO = up("eth0", "10.0.0.9/8", "203.0.113.1/24")
TUNNEL = up("wg0", "10.8.0.1/24")
WAN6 = up("eth0", "fe80::1/64", "2001:db8::1/64")
ULA6 = up("eth1", "fe80::1/64", "fd00::1/64")
GUA6 = up("eth1", "fe80::1/64", "2001:db8:1::1/64")
BOTH6 = up("eth2", "fe80::1/64", "2001:db8:2::1/64", "fd00:2::1/64")
TEMPORARY = replace(
    up("eth0", "2001:db8::7/64", "2001:db8::1/64"), fleeting=frozenset({ip_interface("2001:db8::7").ip})
)

MACHINES = {
    "a gateway": ([LO, WAN, LAN], "203.0.113.1", "eth1", "eth0"),
    "the other order": ([LAN, WAN, LO], "203.0.113.1", "eth1", "eth0"),
    "dial-up": ([up("eth0", "10.0.0.1/8"), up("ppp0", "203.0.113.9/32")], "203.0.113.9", "eth0", "ppp0"),
    "behind another router": ([up("eth0", "10.1.0.2/24"), LAN], "10.1.0.2", "eth1", "eth0"),
    "behind a provider's NAT": ([up("wan", "100.64.3.2/10"), LAN], "100.64.3.2", "eth1", "wan"),
    "a bridge of phones": ([WAN, up("br-lan", "10.0.0.1/24")], "203.0.113.1", "br-lan", "eth0"),
    "a VLAN": ([WAN, up("eth1.20", "10.0.0.1/24")], "203.0.113.1", "eth1.20", "eth0"),
    "two insides": ([WAN, LAN, up("eth2", "10.0.0.1/24")], "203.0.113.1", "eth1", "eth0"),
    "a cable before containers": ([DOCKER, WAN, LAN], "203.0.113.1", "eth1", "eth0"),
    "a cable before a tunnel": ([TUNNEL, WAN, LAN], "203.0.113.1", "eth1", "eth0"),
    "a tunnel before containers": ([DOCKER, WAN, TUNNEL], "203.0.113.1", "wg0", "eth0"),
    "containers before nothing": ([WAN, DOCKER], "203.0.113.1", "docker0", "eth0"),
    "a workstation with containers": ([DESK, DOCKER], "192.168.1.5", "eth0", "eth0"),
    "a workstation with a tunnel": ([DESK, TUNNEL], "192.168.1.5", "eth0", "eth0"),
    "two ways into one network": ([DESK, up("wlan0", "192.168.1.6/24")], "192.168.1.5", "eth0", "eth0"),
    "one interface": ([LO, DESK], "192.168.1.5", "eth0", "eth0"),
    "one public interface": ([LO, WAN], "203.0.113.1", "eth0", "eth0"),
    "no private address": ([WAN, up("eth1", "198.51.100.1/24")], "203.0.113.1", "eth0", "eth0"),
    "an inside that is down": ([WAN, down("eth1", "192.168.1.1/24")], "203.0.113.1", "eth0", "eth0"),
    "an inside without address": ([WAN, up("eth1")], "203.0.113.1", "eth0", "eth0"),
    "link-local is none": ([WAN, up("eth1", "169.254.7.7/16", "fe80::1/64")], "203.0.113.1", "eth0", "eth0"),
    "an alias label": ([WAN, up("eth0:1", "10.0.0.1/8")], "203.0.113.1", "eth0:1", "eth0"),
    "a second address": ([TWO, LAN], "203.0.113.1", "eth1", "203.0.113.1"),
    "one-armed on a second address": ([TWO], "203.0.113.1", "203.0.113.1", "203.0.113.1"),
    "no default route, a public address": ([LAN, WAN], None, "eth1", "eth0"),
    "no default route, nothing public": ([DOCKER, LAN, up("eth2", "10.0.0.1/8")], None, "eth1", "eth1"),
    "no default route, containers only": ([LO, DOCKER], None, "docker0", "docker0"),
    "a gateway of IPv6": ([LO, WAN6, ULA6], "2001:db8::1", "eth1", "eth0"),
    "a prefix of the provider's inside": ([LO, WAN6, GUA6], "2001:db8::1", "eth1", "eth0"),
    "unique local before global": ([WAN6, GUA6, BOTH6], "2001:db8::1", "eth2", "eth0"),
    "one interface of IPv6": ([LO, WAN6], "2001:db8::1", "eth0", "eth0"),
    "a temporary address": ([TEMPORARY, ULA6], "2001:db8::7", "eth1", "eth0"),
    "two ways into one network of IPv6": (
        [WAN6, up("wlan0", "2001:db8::9/64")],
        "2001:db8::1",
        "eth0",
        "eth0",
    ),
    "a tunnel beside a local network of IPv6": (
        [up("eth0", "fd00::1/64"), up("wg0", "fd00:8::1/64")],
        "fd00::1",
        "eth0",
        "eth0",
    ),
    "IPv6 without a default route": ([ULA6, WAN6], None, "eth1", "eth0"),
    "IPv6, nothing public": ([ULA6], None, "eth1", "eth1"),
    "the provider has IPv6 only": ([WAN6, LAN], "2001:db8::1", "eth1", "eth0"),
    "the way out is IPv6": ([up("eth0", "10.9.9.9/8", "2001:db8::1/64"), LAN], "2001:db8::1", "eth1", "eth0"),
    "IPv6 beside a gateway of IPv4": ([WAN, LAN, BOTH6], "203.0.113.1", "eth1", "eth0"),
    "a default route that is just gone": ([LAN, WAN], "198.51.100.77", "eth1", "eth0"),
}


@pytest.mark.parametrize(
    ("interfaces", "default_address", "inside", "outside"), MACHINES.values(), ids=MACHINES.keys()
)
def test_choice(interfaces, default_address, inside, outside):
    """Each machine of the table gets the two sides that its administrator would name, and reasons."""
    found = detect(interfaces, default_address)
    assert (found.inside, found.outside) == (inside, outside)
    assert found.reasons


def test_reasons_of_a_gateway():
    """The reasons are sentences with the address that decided."""
    assert detect([LO, WAN, LAN], "203.0.113.1") == Detected(
        "eth1",
        "eth0",
        (
            "eth0 is the outside: the default route leaves by 203.0.113.1",
            "eth1 is the inside: 192.168.1.1 is a private address",
        ),
    )


def test_reasons_of_a_workstation():
    """Whatever was left out is named with the cause, and a private outside hints at host_outbound."""
    interfaces = [up("eth0", "192.168.1.5/24"), up("wlan0", "192.168.1.6/24"), DOCKER, TUNNEL]
    assert detect(interfaces, "192.168.1.5").reasons == (
        "eth0 is the outside: the default route leaves by 192.168.1.5",
        "wlan0 is left out: it is in the same network as eth0",
        "eth0 is the inside too: no other interface looks like a network of phones",
        "docker0 is left out: by its name it is a network of containers or virtual machines on this host",
        "wg0 is left out: by its name it is a tunnel",
        "192.168.1.5 is not a public address: if a NAT router lies between here and the provider, "
        "set host_outbound to the public address or name of that router",
    )


def test_reasons_of_a_gateway_of_ipv6():
    """The sentences are the same, the address inside is not always a private one."""
    assert detect([LO, WAN6, ULA6], "2001:db8::1").reasons == (
        "eth0 is the outside: the default route leaves by 2001:db8::1",
        "eth1 is the inside: fd00::1 is a private address",
    )
    assert (
        detect([LO, WAN6, GUA6], "2001:db8::1").reasons[1] == "eth1 is the inside: it is in another network"
    )


def test_reasons_without_a_default_route():
    """A guess says that it is one, and how to choose otherwise."""
    reasons = detect([LAN, up("eth2", "10.0.0.1/8")], None).reasons
    assert reasons[:3] == (
        "there is no default route",
        "eth1 serves both sides: no interface has a public address",
        "eth2 (10.0.0.1) is left out: one had to be chosen, if_inbound may name it",
    )
    assert detect([LAN, WAN], None).reasons[0] == "there is no default route"
    assert detect([LAN, WAN], "10.9.9.9").reasons[0] == (
        "the default route leaves by 10.9.9.9, which no interface that is up has"
    )


@pytest.mark.parametrize("interfaces", [[], [LO], [LO, down("eth0", "10.0.0.1/8"), up("eth1", "fe80::1/64")]])
def test_nothing_to_choose_from(interfaces):
    """Without any usable interface there is one clear sentence that says what to do."""
    with pytest.raises(ValueError, match=r"^no network interface is up and has an IPv4 .*if_inbound"):
        detect(interfaces, None)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        *((name, 0) for name in ("eth0", "enp3s0", "wlan0", "br0", "br-lan", "bond0.7", "igb1", "lan")),
        *((name, 1) for name in ("tun0", "wg0", "ppp7", "utun3", "tailscale0", "ztabcdef")),
        *((name, 2) for name in ("docker0", "docker_gwbridge", "vetha1b2c3", "virbr0", "br-0a1b2c3d4e5f")),
    ],
)
def test_what_a_name_says(name, kind):
    """Names of containers' bridges are told from ordinary bridges, tunnels from cables."""
    found = next((n for n, (_, pattern) in enumerate(SPECIAL, 1) if pattern.fullmatch(name)), 0)
    assert found == kind


ADDRESSES = st.sampled_from(
    [
        "10.0.0.1/8",
        "192.168.1.1/24",
        "192.168.1.2/24",
        "203.0.113.1/24",
        "100.64.0.1/10",
        "169.254.1.1/16",
        "fd00::1/8",
        "fe80::1/64",
        "2001:db8::1/64",
    ]
)
INTERFACES = st.lists(
    st.builds(
        Interface,
        st.sampled_from(["eth0", "eth1", "docker0", "wg0", "br-lan"]),
        st.booleans(),
        st.lists(ADDRESSES.map(ip_interface), max_size=2).map(tuple),
    ),
    max_size=4,
    unique_by=lambda each: each.name,
)


@given(INTERFACES, st.sampled_from([None, "203.0.113.1", "192.168.1.1", "198.51.100.1", "2001:db8::1"]))
def test_any_machine(interfaces, default_address):
    """Whatever the machine, both sides are interfaces that are up, or there is the one sentence."""
    try:
        found = detect(interfaces, default_address)
    except ValueError:
        assert not any(
            each.is_up and any(not address.ip.is_link_local for address in each.addresses)
            for each in interfaces
        )
        return
    usable = [each for each in interfaces if each.is_up and each.addresses]
    names = {each.name for each in usable} | {str(address.ip) for each in usable for address in each.ipv4}
    assert {found.inside, found.outside} <= names
    assert not any("\n" in reason or reason.endswith(".") for reason in found.reasons)
