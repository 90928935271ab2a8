# SPDX-License-Identifier: MIT
"""By which transports and IP versions a laboratory speaks, and how its traces are written then.

Traces are written for UDP over IPv4 and say everything by the addresses of tests/support/lab.py.
`Network.written` writes one for another network, so that one test serves all of them:

             udp                          inside tcp                   inside ipv6
    Via      SIP/2.0/UDP 10.0.0.1:5060    SIP/2.0/TCP 10.0.0.1:5060    SIP/2.0/UDP [fd00::1]:5060
    URIs     sip:alice@10.0.0.10:5062     …;transport=tcp              sip:alice@[fd00::10]:5062
    SDP      c=IN IP4 10.0.0.10           the same                     c=IN IP6 fd00::10

The outside, 203.0.113.0/24, becomes 2001:db8::/64 in the same way, and with TLS port 5060 becomes 5061.
The Contact of a phone whose registrar we are has a name of ours, and gets the transport, too. From and To
name users, not how they are reached: their URIs get no transport. A text that is written for its
network already stays as it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

import pytest

from siproxd_tw.interfaces import Address, Hop
from tests.support.addresses import FixedAddresses

__all__ = ["BOTH", "DATAGRAMS", "EVERYWHERE", "IPV4", "MIXED", "NETWORKS", "Network", "on", "plain"]

HostPort = tuple[str, int]

#: Finds where somebody who speaks by streams has connected from, by the address that his Via has.
Noted = Callable[[HostPort], HostPort | None]

_HOST = r"(?P<host>(?:10\.0\.0|203\.0\.113)\.\d{1,3}(?![\d.]))"
_VIA = re.compile(rf"SIP/2\.0/UDP {_HOST}(?::(?P<port>\d+))?(?P<params>(?:;[^,\s;]+)*)")
_URI = re.compile(rf"(?P<user>sips?:(?:[^@\s<>\"]*@)?){_HOST}(?::(?P<port>\d+))?(?P<rest>[^>\s,?]*)", re.I)
_BARE = re.compile(rf"(?P<sdp>IN IP4 )?{_HOST}")
_OURS = re.compile(r"(sips?:[^@\s<>]*@foo\.bar\.test)(?=[>\s]|$)")
_CONTACT = re.compile(r"\s*(?:contact|m)\s*:", re.I)
_USERS = re.compile(r"\s*(?:from|to|f|t)\s*:", re.I)


@dataclass(frozen=True)
class Network:
    """The transports of the phones' side and of the provider's side, as Via spells them, and their IP."""

    name: str
    inside: str = "UDP"
    outside: str = "UDP"
    inside6: bool = False
    outside6: bool = False

    def addresses(self) -> FixedAddresses:
        """Return the gateway's addresses."""
        return FixedAddresses(self.host("10.0.0.1"), self.host("203.0.113.1"))

    def directives(self) -> list[str]:
        """Return what the configuration needs: phones that say nothing for hours stay connected."""
        used = {self.inside, self.outside}
        streams = ["tcp_timeout = 7200"] if used != {"UDP"} else []
        return streams + (["tls_certificate = /nowhere.pem"] if "TLS" in used else [])

    def transport(self, host: str) -> str:
        """Return the transport by which whoever has the address `host` speaks."""
        return self.inside if _is_inside(host) else self.outside

    def host(self, host: str) -> str:
        """Return the address that takes the place of the IPv4 address `host`."""
        net, _, number = host.rpartition(".")
        if net == "10.0.0" and self.inside6:
            return f"fd00::{number}"
        return f"2001:db8::{number}" if net == "203.0.113" and self.outside6 else host

    def port(self, host: str, port: int) -> int:
        """Return the port that takes the place of `port` at `host`."""
        return 5061 if port == 5060 and self.transport(host) == "TLS" else port

    def services(self, names: dict[str, str]) -> dict[str, list[Hop]]:
        """Return what SRV says of providers that are not reached by UDP."""
        if self.outside == "UDP":
            return {}
        return {
            name: [Hop(self.outside, Address(self.host(host), self.port(host, 5060)), name)]
            for name, host in names.items()
            if host != "203.0.113.1"
        }

    def written(self, text: str, noted: Noted = lambda sent_by: None) -> str:
        """Write `text` for this network; `noted` tells what our own notes in a Via are to be."""
        if self.name == "udp":
            return text
        return "\n".join(self._line(line, noted) for line in text.split("\n"))

    def _line(self, line: str, noted: Noted) -> str:
        line = _VIA.sub(lambda found: self._via(found, noted), line)
        names_users = _USERS.match(line) is not None
        line = _URI.sub(lambda found: self._uri(found, names_users), line)
        if _CONTACT.match(line) is not None:
            line = _OURS.sub(rf"\1{self.parameter('203.0.113.1')}", line)
        return _BARE.sub(self._bare, line)

    def parameter(self, host: str) -> str:
        """Return the URI parameter by which `host` is reached; none for UDP."""
        transport = self.transport(host).lower()
        return "" if transport == "udp" else f";transport={transport}"

    def _via(self, found: re.Match[str], noted: Noted) -> str:
        host, port, params = found["host"], found["port"], found["params"]
        transport = self.transport(host)
        place = self._place(host, port)
        source = None
        if transport != "UDP":
            source = noted((self.host(host), self.port(host, int(port or 5060))))
        if source is not None:
            params = re.sub(";rport(?=;|$)", "", params) + f";rport={source[1]};received={source[0]}"
        return f"SIP/2.0/{transport} {place}{params}"

    def _uri(self, found: re.Match[str], names_user: bool) -> str:
        host, rest = found["host"], found["rest"]
        parameter = "" if names_user or ";transport=" in rest.lower() else self.parameter(host)
        return f"{found['user']}{self._place(host, found['port'])}{parameter}{rest}"

    def _place(self, host: str, port: str | None) -> str:
        there = self.host(host)
        there = f"[{there}]" if ":" in there else there
        if port is None:
            return there
        written = self.port(host, int(port))
        return f"{there}:{port if written == int(port) else written}"

    def _bare(self, found: re.Match[str]) -> str:
        there = self.host(found["host"])
        return (found["sdp"] or "").replace("4", "6" if ":" in there else "4") + there


def plain(text: str) -> str:
    """Write the addresses in `text` as traces have them."""
    return re.sub(r"2001:db8::(\d+)", r"203.0.113.\1", re.sub(r"fd00::(\d+)", r"10.0.0.\1", text))


def _is_inside(host: str) -> bool:
    return host.startswith(("10.0.0.", "fd00::"))


NETWORKS = {
    network.name: network
    for network in (
        Network("udp"),
        Network("tcp", "TCP", "TCP"),
        Network("udp-tcp", "UDP", "TCP"),
        Network("tcp-udp", "TCP", "UDP"),
        Network("udp-tls", "UDP", "TLS"),
        Network("tls-udp", "TLS", "UDP"),
        Network("ipv6", inside6=True, outside6=True),
        Network("ipv4-ipv6", outside6=True),
    )
}
"""By name: the phones' transport and the provider's, or their versions of IP; the rest is UDP and IPv4."""


def on(*names: str) -> pytest.MarkDecorator:
    """Mark a test, or as `pytestmark` a file, with the networks that it runs on."""
    assert set(names) <= set(NETWORKS)
    return pytest.mark.networks(*names)


EVERYWHERE = on(*NETWORKS)
"""A case in which each leg of each network may behave differently."""

MIXED = on("udp", "tcp", "udp-tls", "tcp-udp", "ipv4-ipv6")
"""A case that depends on the transports, but of which not every pair tells something new."""

IPV4 = on("udp", "tcp", "udp-tls", "tcp-udp")
"""The same for a case that is said in IPv4 networks or addresses of no network here."""

BOTH = on("udp", "tcp")
"""A case in which the transport matters little: datagrams and connections."""

DATAGRAMS = on("udp")
"""A case of UDP alone (retransmission), or a variant of one that runs elsewhere on all networks."""
