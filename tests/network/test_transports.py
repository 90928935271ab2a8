# SPDX-License-Identifier: MIT
"""Phones that speak UDP, TCP and TLS call one another, and a phone outside, through the proxy."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.baresip import Call, Phone
from tests.network.bed import ALICE_TONE, BOB_TONE, CAROL_TONE, DORA_TONE, INSIDE, Surroundings
from tests.network.kamailio import TCP_DOMAIN

pytestmark = pytest.mark.network


@pytest.fixture(scope="module")
def phones(surroundings: Surroundings) -> dict[str, Phone]:
    """Three phones inside, one for each transport, and one outside; all have registered."""
    hosts = surroundings.hosts
    phones = {
        "udp": surroundings.phone("alice", hosts.alice, ALICE_TONE),
        "tcp": surroundings.phone("carol", hosts.carol, CAROL_TONE, transport="tcp", domain=TCP_DOMAIN),
        "tls": surroundings.phone("dora", hosts.guest, DORA_TONE, transport="tls"),
        "outside": surroundings.phone("bob", hosts.bob, BOB_TONE),
    }
    for phone in phones.values():
        phone.wait_registered()
    return phones


@pytest.fixture(autouse=True)
def nothing_stays(surroundings: Surroundings) -> Iterator[None]:
    """Every call gives its media ports back, and no call needs a connection of its own."""
    yield
    surroundings.gateway.wait_quiet()
    hosts = [remote.split(":")[0] for remote in accepted(surroundings)]
    assert len(hosts) == len(set(hosts)), hosts


def accepted(surroundings: Surroundings) -> dict[str, str]:
    """Return the connections that phones have made, by the end of the phone."""
    ends = surroundings.hosts.gateway.tcp_connections()
    return {
        remote: local
        for local, remote in ends
        if remote.startswith(INSIDE) and local.endswith((":5060", ":5061"))
    }


@pytest.mark.parametrize(
    ("caller", "callee"),
    [
        ("udp", "tcp"),
        ("tcp", "tls"),
        ("tls", "udp"),
        ("tls", "outside"),
        ("outside", "tls"),
        ("tcp", "outside"),
        ("outside", "tcp"),
    ],
)
def test_a_call_between_any_two(
    phones: dict[str, Phone], surroundings: Surroundings, caller: str, callee: str
) -> None:
    """Each hears the other and not themselves; whoever was called hangs up, and both phones know."""
    call = Call(phones[caller], phones[callee])
    assert surroundings.gateway.media_ports(), "the proxy relays the media"
    call.talk(0.5)
    call.hang_up(phones[callee])


def test_each_phone_has_come_by_its_transport(phones: dict[str, Phone], surroundings: Surroundings) -> None:
    """It was no UDP in disguise: the connections are there, and end at the ports for TCP and TLS."""
    carol, dora = surroundings.hosts.carol.address, surroundings.hosts.guest.address
    ports = {remote.split(":")[0]: local for remote, local in accepted(surroundings).items()}
    assert (ports[carol], ports[dora]) == (f"{INSIDE}1:5060", f"{INSIDE}1:5061")
