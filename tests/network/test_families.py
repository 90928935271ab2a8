# SPDX-License-Identifier: MIT
"""IPv4 and IPv6 in one call: phones of either family at a provider that is reached by the other."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.network.baresip import Call, Phone
from tests.network.bed import (
    ALICE_TONE,
    BOB_TONE,
    CAROL_TONE,
    DORA_TONE,
    INSIDE,
    INSIDE6,
    OUTSIDE,
    OUTSIDE6,
    Surroundings,
)
from tests.network.capture import Capture, Packet
from tests.network.kamailio import SIX_DOMAIN, SIX_TLS_DOMAIN

pytestmark = pytest.mark.network

TONES = {"alice": ALICE_TONE, "anna": CAROL_TONE, "dora": 300, "bob": BOB_TONE, "bert": DORA_TONE}


class Family:
    """Phones by name, started and registered when they are needed first."""

    def __init__(self, surroundings: Surroundings) -> None:
        self._surroundings = surroundings
        self._phones: dict[str, Phone] = {}

    def phone(self, name: str, host: str, **account: str) -> Phone:
        """Return the phone called `name`, on the host of that name."""
        if name not in self._phones:
            hosts = vars(self._surroundings.hosts)
            self._phones[name] = self._surroundings.phone(name, hosts[host], TONES[host], **account)
            self._phones[name].wait_registered()
        return self._phones[name]


@pytest.fixture(scope="module")
def phones(surroundings: Surroundings) -> Family:
    """The phones of this module."""
    return Family(surroundings)


@pytest.fixture
def wire(surroundings: Surroundings, request: pytest.FixtureRequest) -> Iterator[Capture]:
    """What goes over the outside wire during the test; afterwards all ports are free."""
    name = re.sub(r"\W+", "-", request.node.name)
    with surroundings.capture(name) as capture:
        yield capture
    surroundings.gateway.wait_quiet()


def of_gateway(wire: Capture) -> list[Packet]:
    """Return what the gateway sent and received outside."""
    return [
        each for each in wire.packets() if {each.source, each.destination} & {f"{OUTSIDE}1", f"{OUTSIDE6}1"}
    ]


def talk(caller: Phone, callee: Phone) -> None:
    """Let two phones talk, twice: each calls, and hangs up, once."""
    for one, other in ((caller, callee), (callee, caller)):
        call = Call(one, other)
        call.talk(0.5)
        call.hang_up(one)


def test_an_ipv4_phone_at_a_provider_with_ipv6(phones: Family, wire: Capture) -> None:
    """Signalling and media: outside there is nothing but IPv6, and inside IPv4."""
    talk(phones.phone("alice", "alice", domain=SIX_DOMAIN), phones.phone("bert", "bert"))
    packets = of_gateway(wire)
    assert {":" in each.source for each in packets} == {True}
    assert {each.protocol for each in packets} >= {"UDP"}
    assert [each for each in packets if each.source == f"{OUTSIDE6}1" and 10000 <= each.source_port < 12000]


def test_an_ipv6_phone_at_a_provider_with_ipv4(phones: Family, wire: Capture) -> None:
    """The other way round."""
    talk(phones.phone("anna", "anna"), phones.phone("bob", "bob"))
    packets = of_gateway(wire)
    assert {":" in each.source for each in packets} == {False}
    assert [each for each in packets if each.source == f"{OUTSIDE}1" and 10000 <= each.source_port < 12000]


def test_an_ipv6_phone_with_tls_at_a_provider_with_ipv6_and_tls(phones: Family, wire: Capture) -> None:
    """No IPv4 and no UDP for signalling anywhere."""
    dora = phones.phone("dora", "dora", transport="tls", domain=SIX_TLS_DOMAIN)
    talk(dora, phones.phone("bert", "bert"))
    signalling = [each for each in of_gateway(wire) if f"{OUTSIDE6}10" in (each.source, each.destination)]
    assert {each.protocol for each in signalling} == {"TCP"}
    assert {5061} == {min(each.source_port, each.destination_port) for each in signalling}


def test_phones_inside_of_different_families(phones: Family, surroundings: Surroundings) -> None:
    """They are registered at the same provider by different families, and talk all the same."""
    talk(phones.phone("alice", "alice"), phones.phone("anna", "anna"))
    surroundings.gateway.wait_quiet()


def test_no_inside_address_is_seen_outside(surroundings: Surroundings) -> None:
    """What the provider knows is the gateway's address of the family that it is reached by."""
    contacts = surroundings.provider.contacts()
    assert f"@[{OUTSIDE6}1]" in contacts["alice"][0]
    assert f"@{OUTSIDE}1" in contacts["anna"][0]
    shown = [uri for uris in contacts.values() for uri in uris if INSIDE in uri or INSIDE6 in uri]
    assert shown == []
