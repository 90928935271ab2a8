# SPDX-License-Identifier: MIT
from __future__ import annotations

import errno
from dataclasses import replace
from ipaddress import ip_address, ip_interface, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface.verify import verifyObject

from siproxd_tw.config.settings import NetworkConfig
from siproxd_tw.interfaces import IAddresses, IStatus, Side
from siproxd_tw.transport import addresses as addresses_module
from siproxd_tw.transport.addresses import CHECK, GatewayAddresses
from siproxd_tw.transport.netif import Interface
from tests.support.addresses import (
    FixedAddresses,
    dual_stack,
    in_front_of_nat,
    ipv6_only,
    one_armed,
    two_armed,
)
from tests.support.resolver import MemoryResolver

INSIDE, OUTSIDE = Side.INSIDE, Side.OUTSIDE
DYNDNS = "gateway.dyndns.test"


def up(name: str, *addresses: str) -> Interface:
    return Interface(name, True, tuple(ip_interface(each) for each in addresses))


def down(name: str, *addresses: str) -> Interface:
    return Interface(name, False, tuple(ip_interface(each) for each in addresses))


LO = up("lo", "127.0.0.1/8", "::1/128")
LAN = up("eth1", "10.0.0.1/24")
WAN = up("eth0", "203.0.113.1/24")
LAN6 = up("eth1", "fe80::1/64", "fd00::1/64")
WAN6 = up("eth0", "fe80::2/64", "2001:db8::1/64")
LAN46 = up("eth1", "10.0.0.1/24", "fe80::1/64", "fd00::1/64")
WAN46 = up("eth0", "203.0.113.1/24", "fe80::2/64", "2001:db8::1/64")


class Gateway:
    """The addresses of a machine whose interfaces the test plugs in and out."""

    def __init__(self, *interfaces: Interface, names=None, **config) -> None:
        self.interfaces = list(interfaces)
        self.clock = Clock()
        self.resolver = MemoryResolver(names)
        settings = NetworkConfig(**{"inside": "eth1", "outside": "eth0", **config})
        self.addresses = GatewayAddresses(
            settings, self.clock, lambda: self.interfaces, resolve_host=self.resolver.resolve
        )
        self.told = 0
        self.addresses.watch(self.changed)

    def changed(self):
        self.told += 1

    def both(self) -> tuple[str | None, str | None]:
        return self.addresses.listening(INSIDE), self.addresses.listening(OUTSIDE)


@pytest.fixture
def gateway():
    """Builds gateways and starts them; what they leave behind fails the test."""
    built = []

    def build(*interfaces, **config) -> Gateway:
        built.append(Gateway(*interfaces, **config))
        built[-1].addresses.start()
        return built[-1]

    yield build
    for each in built:
        each.addresses.stop()
        assert each.clock.getDelayedCalls() == []
        assert each.resolver.waiting == []


@pytest.fixture
def logged():
    """Level and text of every event of the test."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [(event["log_level"].name, event["log_format"].format(**event)) for event in events]
    globalLogPublisher.removeObserver(events.append)


# Every provider of IAddresses: the real one, and the one that other tests use

ONE_ARM = {"outside": "eth1", "host_outbound": "198.51.100.7"}
NETWORKS = (ip_network("10.0.0.0/24"),)


def checked(*interfaces: Interface, **config) -> GatewayAddresses:
    found = Gateway(*interfaces, **config).addresses
    found.check()
    return found


FIREWALL = [two_armed(), checked(LO, LAN, WAN)]
BEHIND_A_ROUTER = [in_front_of_nat(), checked(LO, LAN, WAN, host_outbound="198.51.100.7")]
ONE_ARMED = [
    one_armed(),
    checked(LO, LAN, **ONE_ARM),
    checked(LO, LAN, **ONE_ARM, inside="10.0.0.1"),
    checked(up("eth1", "10.0.0.1/32"), **ONE_ARM, inside_networks=NETWORKS),
]
DUAL_STACK = [
    dual_stack(),
    checked(LO, LAN46, WAN46),
    checked(LO, LAN46, WAN46, inside="10.0.0.1", outside="2001:db8::1"),
]
BEHIND_AN_IPV4_ROUTER = [
    dual_stack("198.51.100.7"),
    checked(LO, LAN46, WAN46, host_outbound="198.51.100.7"),
]
KNOWN_BY_ANOTHER_IPV6 = [
    dual_stack("2001:db8:7::7"),
    checked(LO, LAN46, WAN46, host_outbound="[2001:DB8:7:0::7]"),
]
IPV6_ONLY = [ipv6_only(), checked(LO, LAN6, WAN6)]
ONE_ARM_IN_IPV6 = [
    FixedAddresses("10.0.0.1", "203.0.113.1", inside6="2001:db8::1", outside6="2001:db8::1"),
    checked(
        up("eth0", "10.0.0.1/24", "203.0.113.1/24", "2001:db8::1/128"),
        inside="10.0.0.1",
        outside="203.0.113.1",
        inside_networks=(ip_network("fd00::/64"),),
    ),
]
EVERYBODY = [
    *FIREWALL,
    *BEHIND_A_ROUTER,
    *ONE_ARMED,
    *DUAL_STACK,
    *BEHIND_AN_IPV4_ROUTER,
    *KNOWN_BY_ANOTHER_IPV6,
    *IPV6_ONLY,
    *ONE_ARM_IN_IPV6,
]


@pytest.mark.parametrize("addresses", EVERYBODY)
def test_it_provides_its_interface(addresses):
    """It has what IAddresses names."""
    assert verifyObject(IAddresses, addresses)


@pytest.mark.parametrize("addresses", FIREWALL)
def test_on_a_firewall(addresses):
    """Between two networks each side has its own address; of strangers the socket decides the side."""
    assert addresses.listening(INSIDE) == addresses.advertised(INSIDE) == "10.0.0.1"
    assert addresses.listening(OUTSIDE) == addresses.advertised(OUTSIDE) == "203.0.113.1"
    for arrival in Side:
        assert addresses.side_of("203.0.113.50", arrival) is arrival
        assert addresses.side_of("192.168.77.1", arrival) is arrival
        assert addresses.side_of("10.0.0.10", arrival) is INSIDE
        assert addresses.side_of("10.0.0.1", arrival) is INSIDE
        assert addresses.side_of("203.0.113.1", arrival) is INSIDE
    assert [addresses.is_own(host) for host in ("10.0.0.1", "203.0.113.1")] == [True, True]
    assert [addresses.is_own(host) for host in ("10.0.0.10", "203.0.113.50")] == [False, False]


@pytest.mark.parametrize("addresses", BEHIND_A_ROUTER)
def test_behind_a_router(addresses):
    """With host_outbound the outside socket keeps the interface's address, the peers are told the other."""
    assert addresses.listening(OUTSIDE) == "203.0.113.1"
    assert addresses.advertised(OUTSIDE) == "198.51.100.7"
    assert addresses.advertised(INSIDE) == "10.0.0.1"
    assert addresses.is_own("198.51.100.7")
    assert addresses.is_own("203.0.113.1")
    assert addresses.side_of("203.0.113.50", INSIDE) is INSIDE


@pytest.mark.parametrize("addresses", ONE_ARMED)
def test_with_one_arm(addresses):
    """With one interface the inside networks decide, whatever socket a datagram came in on."""
    assert addresses.listening(INSIDE) == addresses.listening(OUTSIDE) == "10.0.0.1"
    assert (addresses.advertised(INSIDE), addresses.advertised(OUTSIDE)) == ("10.0.0.1", "198.51.100.7")
    for arrival in Side:
        assert addresses.side_of("203.0.113.50", arrival) is OUTSIDE
        assert addresses.side_of("10.0.0.10", arrival) is INSIDE
        assert addresses.side_of("10.0.0.1", arrival) is INSIDE
        assert addresses.side_of("198.51.100.7", arrival) is INSIDE


def answers(addresses, ask) -> list[str | None]:
    """What `ask` says on each side for an IPv4 peer, for an IPv6 peer, and for nobody in particular."""
    return [ask(side, peer) for side in Side for peer in ("192.0.2.7", "2001:db8::7", "")]


@pytest.mark.parametrize("addresses", DUAL_STACK)
def test_with_both_families(addresses):
    """A peer is met at the address of its own family; without a peer that is IPv4."""
    known = ["10.0.0.1", "fd00::1", "10.0.0.1", "203.0.113.1", "2001:db8::1", "203.0.113.1"]
    assert answers(addresses, addresses.listening) == answers(addresses, addresses.advertised) == known
    assert [list(addresses.bound(side)) for side in Side] == [known[0:2], known[3:5]]
    for arrival in Side:
        for host in (
            "10.0.0.10",
            "fd00::10",
            "FD00:0::10",
            "::1",
            "fd00::1",
            "2001:db8::1",
            "::ffff:10.0.0.10",
        ):
            assert addresses.side_of(host, arrival) is INSIDE
        for host in ("192.0.2.7", "2001:db8::7", "fe80::7", "fe80::7%eth0", "::ffff:192.0.2.7"):
            assert addresses.side_of(host, arrival) is arrival


@pytest.mark.parametrize("addresses", DUAL_STACK)
@pytest.mark.parametrize(
    ("host", "own"),
    [
        *((host, True) for host in ("fd00::1", "2001:DB8::0:1", "[2001:db8::1]", "::ffff:203.0.113.1")),
        *((host, False) for host in ("fd00::2", "fe80::1", "::1", "::ffff:203.0.113.2", "a:b", "[")),
    ],
)
def test_which_ipv6_address_is_ours(addresses, host, own):
    """Addresses are compared by what they are, not by how they are written; asked twice it is the same."""
    assert [addresses.is_own(host), addresses.is_own(host)] == [own, own]


@pytest.mark.parametrize("addresses", BEHIND_AN_IPV4_ROUTER)
def test_both_families_behind_an_ipv4_router(addresses):
    """An IPv4 address in host_outbound is presented to IPv4 peers; nobody translates IPv6."""
    assert answers(addresses, addresses.advertised)[3:] == ["198.51.100.7", "2001:db8::1", "198.51.100.7"]
    assert answers(addresses, addresses.listening)[3:] == ["203.0.113.1", "2001:db8::1", "203.0.113.1"]
    assert list(addresses.bound(OUTSIDE)) == ["203.0.113.1", "2001:db8::1"]


@pytest.mark.parametrize("addresses", KNOWN_BY_ANOTHER_IPV6)
def test_another_ipv6_address_is_presented(addresses):
    """An IPv6 address in host_outbound is presented to IPv6 peers, and is ours."""
    assert answers(addresses, addresses.advertised)[3:] == ["203.0.113.1", "2001:db8:7::7", "203.0.113.1"]
    assert list(addresses.bound(OUTSIDE)) == ["203.0.113.1", "2001:db8::1"]
    assert addresses.is_own("2001:db8:7::7") and addresses.is_own("2001:db8::1")


@pytest.mark.parametrize("addresses", IPV6_ONLY)
def test_without_ipv4(addresses):
    """A peer of IPv4 finds nobody; without a peer the answer is the IPv6 address."""
    known = [None, "fd00::1", "fd00::1", None, "2001:db8::1", "2001:db8::1"]
    assert answers(addresses, addresses.listening) == answers(addresses, addresses.advertised) == known
    assert [list(addresses.bound(side)) for side in Side] == [["fd00::1"], ["2001:db8::1"]]
    assert addresses.side_of("192.0.2.7", OUTSIDE) is OUTSIDE


@pytest.mark.parametrize("addresses", ONE_ARM_IN_IPV6)
def test_one_arm_in_one_family(addresses):
    """Two IPv4 addresses of a cable tell the sides apart, its one IPv6 address does not."""
    for arrival in Side:
        assert addresses.side_of("192.0.2.7", arrival) is arrival
        assert addresses.side_of("2001:db8::7", arrival) is OUTSIDE
        assert addresses.side_of("fd00::7", arrival) is INSIDE
        assert addresses.side_of("fe80::7", arrival) is INSIDE


# The interfaces


@pytest.mark.parametrize(
    ("interface", "address"),
    [
        (up("eth0", "203.0.113.1/24", "203.0.113.2/24"), "203.0.113.1"),
        (up("eth0", "fd00::1/64", "203.0.113.2/24"), "203.0.113.2"),
        (up("eth0:1", "203.0.113.3/24"), None),
        (up("eth0", "fd00::1/64"), "fd00::1"),
        (up("eth0"), None),
        (down("eth0", "203.0.113.1/24"), None),
    ],
)
def test_the_address_of_a_name(gateway, interface, address):
    """It is the first IPv4 address of the interface with exactly this name, if that is up, else IPv6."""
    assert gateway(LAN, interface).both() == ("10.0.0.1", address)


@pytest.mark.parametrize(
    ("interface", "address"),
    [
        (up("ppp0", "203.0.113.9/32"), None),
        (up("ppp0", "203.0.113.9/32", "203.0.113.1/32"), "203.0.113.1"),
        (up("eth0:1", "203.0.113.1/24"), "203.0.113.1"),
        (down("ppp0", "203.0.113.1/32"), None),
    ],
)
def test_an_address_for_a_name(gateway, interface, address):
    """An IP address in if_outbound means itself, as long as an interface that is up has it."""
    assert gateway(LAN, interface, outside="203.0.113.1").both() == ("10.0.0.1", address)


def test_an_alias_label(gateway):
    """if_inbound may be a label: its address and its network count, those of eth0 do not."""
    it = gateway(up("eth0", "203.0.113.1/24"), up("eth0:1", "10.0.0.1/24"), inside="eth0:1")
    assert it.both() == ("10.0.0.1", "203.0.113.1")
    assert it.addresses.side_of("10.0.0.10", OUTSIDE) is INSIDE
    assert it.addresses.side_of("203.0.113.50", OUTSIDE) is OUTSIDE


def test_started_before_the_dial_up(gateway, logged):
    """An outside that does not exist yet is waited for, noticed within 5 s, and told."""
    it = gateway(LO, LAN)
    assert it.both() == ("10.0.0.1", None)
    assert it.addresses.advertised(OUTSIDE) is None
    it.clock.pump([5] * 12)
    it.interfaces.append(WAN)
    it.clock.advance(4.9)
    told = it.told
    assert it.both() == ("10.0.0.1", None)
    it.clock.advance(0.1)
    assert it.both() == ("10.0.0.1", "203.0.113.1")
    assert it.told == told + 1
    assert logged() == [
        ("info", "the inside has 10.0.0.1 on eth1"),
        ("warn", "the outside has no address: there is no interface eth0; waiting for it"),
        ("info", "the outside has 203.0.113.1 on eth0"),
    ]


def test_ten_reconnects(gateway, logged):
    """Each time the line goes and comes with another address, watchers hear of both, and nothing piles up."""
    it = gateway(LO, LAN, WAN)
    it.told = 0
    for number in range(2, 12):
        it.interfaces[2] = down("eth0")
        it.clock.advance(CHECK)
        assert it.both() == ("10.0.0.1", None)
        it.interfaces[2] = up("eth0", f"203.0.113.{number}/24")
        it.clock.pump([CHECK, CHECK])
        assert it.addresses.advertised(OUTSIDE) == f"203.0.113.{number}"
        assert not it.addresses.is_own("203.0.113.1")
    assert it.told == 20
    assert len(it.clock.getDelayedCalls()) == 1
    assert len(logged()) == 22


@pytest.mark.parametrize(
    ("interfaces", "config", "trouble"),
    [
        ([WAN], {}, "there is no interface eth1"),
        ([WAN, down("eth1", "10.0.0.1/24")], {}, "eth1 is down"),
        ([WAN, up("eth1", "fe80::1/64")], {}, "eth1 has no IPv4 or IPv6 address"),
        ([WAN, up("eth1", "fd00::1/64")], {"ipv6": False}, "eth1 has no IPv4 address"),
        ([WAN], {"inside": "10.0.0.1"}, "no interface has 10.0.0.1"),
        ([WAN, down("eth1", "10.0.0.1/24")], {"inside": "10.0.0.1"}, "eth1, which has 10.0.0.1, is down"),
        ([WAN], {"inside": ""}, "if_inbound is not set"),
    ],
)
def test_why_there_is_no_address(gateway, interfaces, config, trouble):
    """The status says what is missing."""
    it = gateway(*interfaces, **config)
    assert verifyObject(IStatus, it.addresses)
    assert it.addresses.status() == {
        "one-armed": False,
        "inside": {"interface": "", "listening": [], "advertised": [], "trouble": trouble},
        "outside": {
            "interface": "eth0",
            "listening": ["203.0.113.1"],
            "advertised": ["203.0.113.1"],
            "trouble": "",
        },
    }


def test_nothing_is_told_when_nothing_changes(gateway):
    """Looking again and again at the same interfaces calls nobody."""
    it = gateway(LO, LAN, WAN)
    assert it.told == 1
    it.clock.pump([5] * 20)
    it.addresses.check()
    assert it.told == 1


def test_a_netmask_is_a_change(gateway):
    """A wider inside network changes answers of side_of; watchers hear of it."""
    it = gateway(LO, LAN, WAN)
    assert it.addresses.side_of("10.0.1.1", OUTSIDE) is OUTSIDE
    it.interfaces[1] = up("eth1", "10.0.0.1/16")
    it.addresses.check()
    assert it.told == 2
    assert it.addresses.side_of("10.0.1.1", OUTSIDE) is INSIDE


def test_a_new_prefix(gateway, logged):
    """When the provider gives another prefix, the old address is left once it is deprecated; that is told."""
    it = gateway(LO, LAN46, WAN46)
    assert it.addresses.listening(OUTSIDE, "2001:db8::7") == "2001:db8::1"
    it.told = 0
    both = up("eth0", "203.0.113.1/24", "2001:db8:2::1/64", "2001:db8::1/64")
    it.interfaces[2] = both
    it.clock.advance(CHECK)
    assert it.addresses.listening(OUTSIDE, "2001:db8::7") == "2001:db8::1"
    it.told = 0
    it.interfaces[2] = replace(both, fleeting=frozenset({ip_address("2001:db8::1")}))
    it.clock.pump([CHECK, CHECK])
    assert it.addresses.listening(OUTSIDE, "2001:db8::7") == "2001:db8:2::1"
    assert list(it.addresses.bound(OUTSIDE)) == ["203.0.113.1", "2001:db8:2::1"]
    assert not it.addresses.is_own("2001:db8::1") and it.addresses.is_own("2001:db8:2::1")
    assert it.told == 1
    assert logged()[1:] == [
        ("info", "the outside has 203.0.113.1 and 2001:db8::1 on eth0"),
        ("info", "the outside has 203.0.113.1 and 2001:db8:2::1 on eth0"),
    ]


def test_ipv6_comes_and_goes(gateway):
    """One family may come later or go; the other one stays as it is."""
    it = gateway(LO, LAN46, WAN)
    assert it.addresses.listening(OUTSIDE, "2001:db8::7") is None
    it.interfaces[2] = WAN46
    it.clock.advance(CHECK)
    assert list(it.addresses.bound(OUTSIDE)) == ["203.0.113.1", "2001:db8::1"]
    it.interfaces[2] = WAN6
    it.clock.advance(CHECK)
    assert it.addresses.listening(OUTSIDE) == "2001:db8::1"
    it.interfaces[2] = WAN
    it.clock.advance(CHECK)
    assert list(it.addresses.bound(OUTSIDE)) == ["203.0.113.1"]
    assert it.told == 4


def test_ipv6_switched_off(gateway):
    """With ipv6_enable = 0 there are the IPv4 addresses only."""
    it = gateway(LO, LAN46, WAN46, ipv6=False)
    assert [list(it.addresses.bound(side)) for side in Side] == [["10.0.0.1"], ["203.0.113.1"]]
    assert it.addresses.advertised(OUTSIDE, "2001:db8::7") is None
    assert not it.addresses.is_own("2001:db8::1")


@pytest.mark.logs_failures
def test_a_watcher_that_fails(gateway, logged):
    """An exception of one watcher is logged; the next one and the next look still come."""
    it = Gateway(LO, LAN)
    heard = []

    def fail():
        raise RuntimeError("a bug")

    it.addresses.watch(fail)
    it.addresses.watch(lambda: heard.append(it.both()))
    it.addresses.start()
    it.interfaces.append(WAN)
    it.clock.advance(CHECK)
    assert heard == [("10.0.0.1", None), ("10.0.0.1", "203.0.113.1")]
    failures = [text for level, text in logged() if level == "critical"]
    assert failures == ["a watcher of the addresses failed"] * 2
    it.addresses.stop()


def test_a_watcher_that_stops(gateway):
    """Whoever is told of a change may stop the following."""
    it = Gateway(LO, LAN, WAN)
    it.addresses.watch(it.addresses.stop)
    it.addresses.start()
    assert it.clock.getDelayedCalls() == []


def test_interfaces_that_cannot_be_read(logged):
    """A failure keeps the answers, is one warning, and is tried again."""
    it = Gateway(LO, LAN, WAN)
    broken = [False]

    def read():
        if broken[0]:
            raise OSError(errno.ENOBUFS, "cannot list the network interfaces: No buffer space")
        return it.interfaces

    addresses = GatewayAddresses(
        NetworkConfig(inside="eth1", outside="eth0"), it.clock, read, resolve_host=it.resolver.resolve
    )
    addresses.start()
    broken[0] = True
    it.clock.pump([5, 5, 5])
    assert addresses.listening(OUTSIDE) == "203.0.113.1"
    assert logged()[2:] == [
        ("warn", "cannot list the network interfaces: No buffer space; the last known addresses are kept")
    ]
    broken[0], it.interfaces[2] = False, up("eth0", "203.0.113.2/24")
    it.clock.advance(5)
    assert addresses.listening(OUTSIDE) == "203.0.113.2"
    broken[0] = True
    it.clock.advance(5)
    assert logged()[-1] == logged()[2]
    addresses.stop()
    assert it.clock.getDelayedCalls() == []


# host_outbound


def test_a_presented_name(gateway):
    """host_outbound may be a name: no answer before it is resolved, then its address, and told."""
    it = Gateway(LO, LAN, WAN, host_outbound=DYNDNS, names={DYNDNS: "198.51.100.7"})
    it.resolver.hold()
    it.addresses.start()
    assert it.addresses.listening(OUTSIDE) == "203.0.113.1"
    assert it.addresses.advertised(OUTSIDE) is None
    it.told = 0
    it.resolver.release()
    assert it.addresses.advertised(OUTSIDE) == "198.51.100.7"
    assert it.addresses.is_own("198.51.100.7")
    assert it.told == 1

    it.resolver.names[DYNDNS] = "198.51.100.8"
    it.clock.pump([5] * 12)
    assert it.addresses.advertised(OUTSIDE) == "198.51.100.8"
    assert not it.addresses.is_own("198.51.100.7")
    assert it.told == 2
    it.addresses.stop()
    assert it.clock.getDelayedCalls() == []


def test_a_presented_name_is_for_ipv4(gateway):
    """IPv6 peers see the address of the interface; IPv4 peers nothing before the name is resolved."""
    it = gateway(LO, LAN46, WAN46, host_outbound=DYNDNS)
    assert answers(it.addresses, it.addresses.advertised)[3:] == [None, "2001:db8::1", None]
    it.resolver.names[DYNDNS] = "198.51.100.7"
    it.clock.pump([5] * 12)
    assert answers(it.addresses, it.addresses.advertised)[3:] == [
        "198.51.100.7",
        "2001:db8::1",
        "198.51.100.7",
    ]


def test_a_presented_name_that_fails(gateway):
    """The last good answer stays."""
    it = gateway(LO, LAN, WAN, host_outbound=DYNDNS, names={DYNDNS: "198.51.100.7"})
    it.resolver.names.clear()
    it.clock.pump([5] * 60)
    assert it.addresses.advertised(OUTSIDE) == "198.51.100.7"
    assert it.told == 2


def test_a_new_line_has_a_new_name(gateway):
    """When the outside address changes, the name is looked up at once; for other changes it is not."""
    it = gateway(LO, LAN, WAN, host_outbound=DYNDNS, names={DYNDNS: "198.51.100.7"})
    assert len(it.resolver.asked) == 1
    it.interfaces[1] = up("eth1", "10.0.0.2/24")
    it.addresses.check()
    assert len(it.resolver.asked) == 1
    it.interfaces[2], it.resolver.names[DYNDNS] = up("eth0", "203.0.113.2/24"), "198.51.100.8"
    it.addresses.check()
    assert len(it.resolver.asked) == 2
    assert it.addresses.advertised(OUTSIDE) == "198.51.100.8"


def test_a_presented_address_needs_no_interface(gateway):
    """With host_outbound the outside is presented even while its interface is away."""
    it = gateway(LO, LAN, host_outbound="198.51.100.7")
    assert it.addresses.listening(OUTSIDE) is None
    assert it.addresses.advertised(OUTSIDE) == "198.51.100.7"
    assert it.resolver.asked == []


def test_known_before_the_first_look():
    """Before start nothing has an address, and asking is no error."""
    it = Gateway(LO, LAN, WAN, host_outbound="198.51.100.7")
    assert it.both() == (None, None)
    assert it.addresses.side_of("10.0.0.10", OUTSIDE) is OUTSIDE
    assert it.addresses.is_own("198.51.100.7")
    it.addresses.stop()


def test_a_presented_ipv6_address_needs_no_interface(gateway):
    """It is the answer without a peer, too, as long as nothing speaks for IPv4."""
    it = gateway(LO, LAN, host_outbound="2001:db8:7::7")
    assert answers(it.addresses, it.addresses.advertised)[3:] == [None, "2001:db8:7::7", "2001:db8:7::7"]


# Sides


def test_a_private_outside(gateway):
    """Behind another router the outside is a private network, too: nothing is different."""
    it = gateway(LO, LAN, up("eth0", "192.168.178.2/24"))
    assert it.addresses.side_of("192.168.178.1", OUTSIDE) is OUTSIDE
    assert it.addresses.side_of("10.0.0.10", OUTSIDE) is INSIDE
    assert it.addresses.side_of("10.0.1.10", OUTSIDE) is OUTSIDE


@pytest.mark.parametrize("arrival", Side)
def test_a_pbx_on_the_gateway(gateway, arrival):
    """Whatever address of this machine a PBX here uses, it is inside; only the ones we serve are ours."""
    it = gateway(LO, LAN, WAN, up("wg0", "10.8.0.1/24", "fd00::8/64"))
    for host in ("127.0.0.1", "127.0.5.1", "::1", "10.0.0.1", "203.0.113.1", "10.8.0.1", "fd00::8"):
        assert it.addresses.side_of(host, arrival) is INSIDE
    for host in ("127.0.0.1", "10.8.0.1"):
        assert not it.addresses.is_own(host)
    assert it.addresses.side_of("10.8.0.2", arrival) is arrival


def test_further_inside_networks(gateway):
    """inside_networks are inside behind either socket; with one arm this is how routed networks are told."""
    routed = (ip_network("10.20.0.0/16"), ip_network("fd12::/48"))
    firewall = gateway(LO, LAN, WAN, inside_networks=routed)
    desk = gateway(LO, LAN, outside="eth1", inside_networks=routed)
    for it in (firewall, desk):
        for host in ("10.20.3.4", "fd12::7", "::ffff:10.20.3.4"):
            assert it.addresses.side_of(host, OUTSIDE) is INSIDE
        assert it.addresses.side_of("10.21.0.1", OUTSIDE) is OUTSIDE


def test_one_arm_without_address(gateway):
    """A one-armed gateway is one also while its interface is away."""
    it = gateway(LO, outside="eth1", inside_networks=NETWORKS)
    assert it.both() == (None, None)
    assert it.addresses.side_of("203.0.113.50", INSIDE) is OUTSIDE
    assert it.addresses.side_of("10.0.0.10", OUTSIDE) is INSIDE


def test_two_arms_without_address(gateway):
    """Two interfaces that are both away are no one-armed gateway."""
    it = gateway(LO)
    assert it.addresses.side_of("203.0.113.50", INSIDE) is INSIDE


def test_what_is_no_address(gateway):
    """A host name is nobody: on no inside network, not ours."""
    it = gateway(LO, LAN, WAN)
    assert it.addresses.side_of("sip.provider.test", OUTSIDE) is OUTSIDE
    assert not it.addresses.is_own("sip.provider.test")
    assert not it.addresses.is_own("::zz")


def test_other_spellings_of_ours(gateway):
    """An IPv6 address of ours is recognised in any spelling."""
    it = gateway(LO, LAN, up("eth0", "2001:db8::1/64"), outside="2001:DB8:0::1")
    assert it.addresses.listening(OUTSIDE) == "2001:db8::1"
    assert it.addresses.is_own("2001:db8::1")
    assert it.addresses.is_own("[2001:DB8::0:1]")
    assert not it.addresses.is_own("2001:db8::2")


def test_many_peers(gateway, monkeypatch):
    """What is remembered of peers is bounded, and forgotten peers get the same answers."""
    monkeypatch.setattr(addresses_module, "MOST_PEERS", 10)
    it = gateway(LO, LAN, WAN)
    for _ in range(2):
        for number in range(25):
            assert it.addresses.side_of(f"10.0.0.{number}", OUTSIDE) is INSIDE
            assert it.addresses.side_of(f"10.0.1.{number}", OUTSIDE) is OUTSIDE
            assert not it.addresses.is_own(f"2001:db8::{number}")
            assert it.addresses.is_own(f"::ffff:0:{number + 1:x}") is False
            assert len(it.addresses._sides) <= 10 and len(it.addresses._own_spellings) <= 10


@given(st.ip_addresses(v=4).map(str), st.sampled_from(Side))
def test_any_peer(host, arrival):
    """On two arms nobody is moved outside by a look at the address; on one arm the socket never matters."""
    inside = ip_interface("10.0.0.0/24").network
    expected = INSIDE if host.startswith("127.") or ip_interface(host).ip in inside else None
    for real in (FIREWALL[1], BEHIND_A_ROUTER[1]):
        assert real.is_own(host) or real.side_of(host, arrival) is (expected or arrival)
    for real in ONE_ARMED[1:]:
        assert real.is_own(host) or real.side_of(host, arrival) is (expected or OUTSIDE)


# The log


def test_a_private_address_is_mentioned(gateway, logged):
    """An outside address that is not a public one is pointed out once, unless host_outbound is set."""
    it = gateway(LO, LAN, up("eth0", "192.168.178.2/24"))
    it.clock.pump([5, 5])
    hint = (
        "info",
        "the outside address 192.168.178.2 is not public; behind a NAT router set host_outbound",
    )
    assert logged().count(hint) == 1
    gateway(LO, LAN, up("eth0", "192.168.178.2/24"), host_outbound="198.51.100.7")
    assert logged().count(hint) == 1


def test_an_inside_network_that_is_too_wide(gateway, logged):
    """When the outside peers would count as inside, a warning says so once."""
    it = gateway(LO, LAN, up("eth0", "10.9.0.2/24"), inside_networks=(ip_network("10.0.0.0/8"),))
    it.clock.pump([5, 5])
    warnings = [text for level, text in logged() if level == LogLevel.warn.name]
    assert warnings == ["the outside address 10.9.0.2 is in 10.0.0.0/8, whose members count as inside"]
    assert it.addresses.side_of("10.9.0.1", OUTSIDE) is INSIDE


def test_inside_networks_that_are_too_wide(gateway, logged):
    """Each family has its own warning."""
    wide = (ip_network("203.0.113.0/24"), ip_network("2001:db8::/32"))
    it = gateway(LO, LAN46, WAN46, inside_networks=wide)
    it.clock.pump([5, 5])
    assert [text for level, text in logged() if level == LogLevel.warn.name] == [
        "the outside address 203.0.113.1 is in 203.0.113.0/24, whose members count as inside",
        "the outside address 2001:db8::1 is in 2001:db8::/32, whose members count as inside",
    ]
