# SPDX-License-Identifier: MIT
"""The test bed: a gateway with phones on its inside, and on its outside a provider and another phone.

    inside 192.168.44.0/24                outside 203.0.113.0/24

    .11 alice ──┐                         ┌── .10 provider (Kamailio, example.test)
    .12 carol ──┼── .1 gateway .1 ────────┼── .20 bob
    .13 guest ──┘   (siproxd_tw)          └── .30 stranger

The gateway forwards no packets and nobody outside has a route to the inside: only the
program under test connects the two. Alice and Carol send everything to the gateway, Bob
to the provider; all three have their account at the provider.
"""

from __future__ import annotations

from pathlib import Path

from tests.network.baresip import Phone
from tests.network.capture import Capture
from tests.network.gateway import Gateway
from tests.network.kamailio import DOMAIN, Provider
from tests.network.namespaces import Host, Network

INSIDE = "192.168.44."
OUTSIDE = "203.0.113."
ALICE_TONE, BOB_TONE, CAROL_TONE = 440, 1000, 700
"""Hz; none is a harmonic of another."""


class Topology:
    """The hosts of the bed, with nothing running on them."""

    def __init__(self, network: Network) -> None:
        inside, outside = network.segment("inside"), network.segment("outside")
        self.gateway = network.host("gateway", {DOMAIN: f"{OUTSIDE}10"})
        network.plug(self.gateway, "in0", inside, f"{INSIDE}1")
        network.plug(self.gateway, "out0", outside, f"{OUTSIDE}1")
        self.gateway.setting("ipv4/ip_forward", "0")
        self.provider = _host(network, "provider", outside, f"{OUTSIDE}10")
        self.bob = _host(network, "b", outside, f"{OUTSIDE}20")
        self.stranger = _host(network, "stranger", outside, f"{OUTSIDE}30")
        self.alice = _host(network, "a", inside, f"{INSIDE}11")
        self.carol = _host(network, "c", inside, f"{INSIDE}12")
        self.guest = _host(network, "guest", inside, f"{INSIDE}13")
        for host in (self.alice, self.carol, self.guest):
            host.run("ip", "route", "add", "default", "via", f"{INSIDE}1")


def _host(network: Network, name: str, segment: Host, address: str) -> Host:
    host = network.host(name)
    network.plug(host, "eth0", segment, address)
    return host


class Bed:
    """The whole bed, running: provider, proxy, and three phones that have registered."""

    def __init__(self, network: Network, directory: Path) -> None:
        self._directory = directory
        self.hosts = Topology(network)
        self.provider = Provider(self.hosts.provider, directory / "kamailio")
        self.gateway = Gateway(self.hosts.gateway, "in0", "out0", f"{INSIDE}0/24", directory / "siproxd")
        self.alice = self.phone("alice", self.hosts.alice, f"{INSIDE}1", ALICE_TONE)
        self.bob = self.phone("bob", self.hosts.bob, f"{OUTSIDE}10", BOB_TONE)
        self.carol = self.phone("carol", self.hosts.carol, f"{INSIDE}1", CAROL_TONE)
        for phone in (self.alice, self.bob, self.carol):
            phone.wait_registered()

    def phone(self, user: str, host: Host, proxy: str, tone: int) -> Phone:
        """Start one more phone."""
        return Phone(user, host, proxy, tone, self._directory / user)

    def capture(self, name: str) -> Capture:
        """Return a capture of the gateway's outside interface, to be entered."""
        return Capture(self.hosts.gateway, "out0", self._directory / f"{name}.pcap")
