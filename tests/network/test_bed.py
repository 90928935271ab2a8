# SPDX-License-Identifier: MIT
"""The bed itself: that its phones can talk, and that its two sides cannot without the program under test."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.baresip import Call, Phone
from tests.network.bed import ALICE_TONE, BOB_TONE, INSIDE, OUTSIDE, Topology
from tests.network.capture import Capture, leaks
from tests.network.kamailio import Provider
from tests.network.namespaces import Network

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def hosts(network: Network) -> Topology:
    """The hosts of the bed, without a proxy on the gateway."""
    return Topology(network)


@pytest.fixture(scope="module")
def provider(hosts: Topology, directory: Path) -> Provider:
    """The provider, outside."""
    return Provider(hosts.provider, directory / "kamailio")


def test_two_phones_outside_talk_through_the_provider(
    hosts: Topology, provider: Provider, directory: Path
) -> None:
    """Positive control: with nothing in between everything that the other tests look for is there."""
    proxy = hosts.provider.address
    alice = Phone("alice", hosts.stranger, proxy, ALICE_TONE, directory / "alice")
    bob = Phone("bob", hosts.bob, proxy, BOB_TONE, directory / "bob")
    alice.wait_registered()
    bob.wait_registered()
    with Capture(hosts.provider, "eth0", directory / "provider.pcap") as capture:
        call = Call(alice, bob)
        call.talk()
        call.hang_up(alice)
    messages = capture.messages()
    assert {b"INVITE", b"BYE", b"ACK"} <= {each.data.split()[0] for each in messages}
    assert any(leaks(each.data, OUTSIDE) for each in messages), "the addresses of the phones are there to see"
    assert [uri for uri in provider.contacts()["alice"] if "@203.0.113.30:5060" in uri]


def test_a_phone_inside_cannot_register_while_no_proxy_runs(
    hosts: Topology, provider: Provider, directory: Path
) -> None:
    """Negative control: it is the proxy that lets phones in."""
    carol = Phone("carol", hosts.carol, hosts.gateway.address, ALICE_TONE, directory / "carol")
    retransmitted_twice = r"(?s)(?:^REGISTER .*){3}"
    carol.program.wait_for(retransmitted_twice, 10)
    assert "200 OK" not in carol.program.output()
    assert "carol" not in provider.contacts()
    assert not [line for line in provider.requests("REGISTER") if "carol" in line]


def test_the_gateway_forwards_no_packets(hosts: Topology) -> None:
    """Of two datagrams to the provider only the gateway's own arrives."""
    assert hosts.gateway.setting("ipv4/ip_forward") == "0"
    with (
        hosts.provider.udp_socket(9999) as receiver,
        hosts.alice.udp_socket() as inside,
        hosts.gateway.udp_socket() as gateway,
    ):
        inside.sendto(b"from inside", (hosts.provider.address, 9999))
        gateway.sendto(b"from the gateway", (hosts.provider.address, 9999))
        assert receiver.recv(100) == b"from the gateway"


def test_nobody_outside_has_a_route_to_the_inside(hosts: Topology) -> None:
    """What a private address in a message would be worth outside: nothing."""
    for host in (hosts.provider, hosts.bob, hosts.stranger):
        with host.udp_socket() as outside, pytest.raises(OSError, match="Network is unreachable"):
            outside.sendto(b"to the inside", (f"{INSIDE}11", 5060))
