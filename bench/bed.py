# SPDX-License-Identifier: MIT
"""Where the signalling benchmark happens: three namespaces, and nothing else of the machine's network.

    phones 10.77.0.0/16 ──────── gateway ──────── provider 198.51.100.0/24
    .1.1 and 249 more       .0.1         .1       .2 provider
                                                  .66 nobody: packets to it vanish

The gateway forwards no packets: only the proxy under test carries anything across. The machinery is that
of the network tests.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.network.namespaces import FILES, HANDLES, Host, Network, ip

INSIDE, OUTSIDE, PROVIDER, SILENT = "10.77.0.1", "198.51.100.1", "198.51.100.2", "198.51.100.66"
FIRST_PHONE, PHONES = "10.77.1.1", 250
NOWHERE = "02:00:00:00:99:99"
"""An Ethernet address that nobody has."""


class Bed:
    """The three hosts, wired; all of it ends with `network`."""

    def __init__(self, network: Network) -> None:
        self.phones = network.host("phones")
        # Kamailio asks at start who this machine is, and would wait ten seconds for the silent name server.
        self.gateway = network.host("gateway", {socket.gethostname(): INSIDE})
        self.provider = network.host("provider")
        _wire(self.phones, "phones0", self.gateway, "in0")
        _wire(self.provider, "provider0", self.gateway, "out0")
        _addresses(self.phones, "phones0", ["10.77.0.2/16", *(f"{phone}/16" for phone in _phones())])
        _addresses(self.gateway, "in0", [f"{INSIDE}/16"])
        _addresses(self.gateway, "out0", [f"{OUTSIDE}/24"])
        _addresses(self.provider, "provider0", [f"{PROVIDER}/24"])
        self.gateway.setting("ipv4/ip_forward", "0")
        _silent(self.gateway)
        _neighbours(self.gateway, self.phones)

    @property
    def handles(self) -> tuple[Path, Path]:
        """The files by which a process enters the phones' side and the provider's side."""
        return HANDLES / self.phones.namespace, HANDLES / self.provider.namespace


def _phones() -> list[str]:
    return [f"10.77.1.{number}" for number in range(1, PHONES + 1)]


def _wire(host: Host, interface: str, gateway: Host, other: str) -> None:
    ip(
        *("-n", host.namespace, "link", "add", interface, "type", "veth"),
        *("peer", "name", other, "netns", gateway.namespace),
    )
    ip("-n", host.namespace, "link", "set", interface, "up")
    ip("-n", gateway.namespace, "link", "set", other, "up")


def _addresses(host: Host, interface: str, addresses: list[str]) -> None:
    for address in addresses:
        ip("-n", host.namespace, "address", "add", address, "dev", interface)
        host.addresses.append(address.split("/")[0])


def _silent(gateway: Host) -> None:
    """Let packets to SILENT leave and vanish, and make it the only name server of the gateway."""
    ip("-n", gateway.namespace, "neigh", "add", SILENT, "lladdr", NOWHERE, "dev", "out0", "nud", "permanent")
    files = FILES / gateway.namespace
    (files / "resolv.conf").write_text(f"nameserver {SILENT}\n")
    (files / "nsswitch.conf").write_text("hosts: files dns\n")


def _neighbours(gateway: Host, phones: Host) -> None:
    """Tell the gateway where the phones are: no ARP for hundreds of them in the middle of a measurement."""
    ether = phones.run("cat", "/sys/class/net/phones0/address").strip()
    for phone in _phones():
        ip("-n", gateway.namespace, "neigh", "add", phone, "lladdr", ether, "dev", "in0", "nud", "permanent")
