# SPDX-License-Identifier: MIT
"""The test bed: a gateway with phones on its inside, and on its outside a provider and another phone.

    inside 192.168.44.0/24                outside 203.0.113.0/24
           fd44::/64                              2001:db8:113::/64

    .11   alice ──┐                         ┌── .10 ::10 provider (Kamailio, example.test)
    .12   carol ──┤                         ├── .20   bob
    .13   guest ──┼── .1 gateway .1 ────────┼── .30   stranger
    ::14  anna  ──┤   (siproxd_tw)          └── ::24  bert
    ::15  dora  ──┘

The gateway, which has addresses of both families as the provider has, forwards no packets and
nobody outside has a route to the inside: only the program under test connects the two. The phones
inside send everything to the gateway, those outside to the provider; all have their account at the
provider. How the gateway reaches it is a matter of the domain that they use: `WAYS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tests.network.baresip import Phone
from tests.network.capture import Capture
from tests.network.certificates import Certificates
from tests.network.gateway import Gateway
from tests.network.kamailio import (
    DATAGRAM_DOMAIN,
    DATAGRAM_PORT,
    DOMAIN,
    IMPOSTOR_DOMAIN,
    MUTUAL_DOMAIN,
    SIX_DOMAIN,
    SIX_TLS_DOMAIN,
    TCP_DOMAIN,
    TLS_DOMAIN,
    UNKNOWN_DOMAIN,
    Provider,
)
from tests.network.namespaces import Host, Network

INSIDE = "192.168.44."
OUTSIDE = "203.0.113."
INSIDE6 = "fd44::"
OUTSIDE6 = "2001:db8:113::"
ALICE_TONE, BOB_TONE, CAROL_TONE, DORA_TONE = 440, 1000, 700, 1300
"""Hz; none is a harmonic of another."""

WAYS = {
    DOMAIN: (5060, "auto"),
    TCP_DOMAIN: (5060, "tcp"),
    TLS_DOMAIN: (5061, "tls"),
    IMPOSTOR_DOMAIN: (5061, "tls"),
    UNKNOWN_DOMAIN: (5061, "tls"),
    MUTUAL_DOMAIN: (5061, "tls"),
    SIX_DOMAIN: (5060, "auto"),
    SIX_TLS_DOMAIN: (5061, "tls"),
    DATAGRAM_DOMAIN: (DATAGRAM_PORT, "auto"),
}
"""Port and transport by which the gateway reaches the provider for each domain.

With a port nobody asks the DNS, which is not there: `auto` is UDP then, and TCP for large requests.
"""


class Topology:
    """The hosts of the bed, with nothing running on them."""

    def __init__(self, network: Network) -> None:
        inside, outside = network.segment("inside"), network.segment("outside")
        names = dict.fromkeys(WAYS, f"{OUTSIDE}10")
        names |= dict.fromkeys((SIX_DOMAIN, SIX_TLS_DOMAIN), f"{OUTSIDE6}10")
        self.gateway = network.host("gateway", names)
        network.plug(self.gateway, "in0", inside, f"{INSIDE}1", f"{INSIDE6}1")
        network.plug(self.gateway, "out0", outside, f"{OUTSIDE}1", f"{OUTSIDE6}1")
        self.gateway.setting("ipv4/ip_forward", "0")
        self.gateway.setting("ipv6/conf/all/forwarding", "0")
        self.provider = _host(network, "provider", outside, f"{OUTSIDE}10", f"{OUTSIDE6}10")
        self.bob = _host(network, "b", outside, f"{OUTSIDE}20")
        self.stranger = _host(network, "stranger", outside, f"{OUTSIDE}30")
        self.bert = _host(network, "b6", outside, f"{OUTSIDE6}24")
        self.alice = _host(network, "a", inside, f"{INSIDE}11")
        self.carol = _host(network, "c", inside, f"{INSIDE}12")
        self.guest = _host(network, "guest", inside, f"{INSIDE}13")
        self.anna = _host(network, "a6", inside, f"{INSIDE6}14")
        self.dora = _host(network, "d6", inside, f"{INSIDE6}15")
        for host in (self.alice, self.carol, self.guest):
            host.run("ip", "route", "add", "default", "via", f"{INSIDE}1")
        for host in (self.anna, self.dora):
            host.run("ip", "route", "add", "default", "via", f"{INSIDE6}1")


def _host(network: Network, name: str, segment: Host, *addresses: str) -> Host:
    host = network.host(name)
    network.plug(host, "eth0", segment, *addresses)
    return host


class Surroundings:
    """Provider and proxy, running, and no phones yet."""

    def __init__(
        self,
        network: Network,
        directory: Path,
        directives: Sequence[tuple[str, object]] = (),
        *,
        serves_tls: bool = True,
    ) -> None:
        """Start them; `directives` are more of them for the proxy, `serves_tls` gives it a certificate."""
        self.directory = directory
        self.hosts = Topology(network)
        self.certificates = Certificates(directory / "certificates")
        self.provider = Provider(self.hosts.provider, directory / "kamailio", certificates=self.certificates)
        gateway = self.hosts.gateway
        tls: list[tuple[str, object]] = [("tls_ca", self.certificates.authority)]
        if serves_tls:
            tls.append(("tls_certificate", self.certificates.issue("gateway", *gateway.addresses)))
        self.gateway = Gateway(
            gateway,
            ("in0", "out0"),
            f"{INSIDE}0/24, {INSIDE6}/64",
            directory / "siproxd",
            [*tls, *_ways(), *directives],
        )

    def phone(
        self, user: str, host: Host, tone: int, *, transport: str = "udp", domain: str = DOMAIN
    ) -> Phone:
        """Start a phone, which goes through the gateway if it is inside, else to the provider."""
        six = ":" in host.address
        inside = host.address.startswith(INSIDE6 if six else INSIDE)
        proxy = (self.hosts.gateway if inside else self.hosts.provider).addresses[six]
        return Phone(
            user,
            host,
            proxy,
            tone,
            self.directory / user,
            transport=transport,
            domain=domain,
            authority=self.certificates.authority,
        )

    def capture(self, name: str) -> Capture:
        """Return a capture of the gateway's outside interface, to be entered."""
        return Capture(self.hosts.gateway, "out0", self.directory / f"{name}.pcap")


def _ways() -> list[tuple[str, object]]:
    directives: list[tuple[str, object]] = []
    for domain, (port, transport) in WAYS.items():
        directives += [("outbound_domain_name", domain), ("outbound_domain_host", domain)]
        directives += [("outbound_domain_port", port), ("outbound_domain_transport", transport)]
    return directives


class Bed(Surroundings):
    """The whole bed, running: provider, proxy, and three phones that have registered."""

    def __init__(self, network: Network, directory: Path) -> None:
        super().__init__(network, directory)
        self.alice = self.phone("alice", self.hosts.alice, ALICE_TONE)
        self.bob = self.phone("bob", self.hosts.bob, BOB_TONE)
        self.carol = self.phone("carol", self.hosts.carol, CAROL_TONE)
        for phone in (self.alice, self.bob, self.carol):
            phone.wait_registered()
