# SPDX-License-Identifier: MIT
"""A phone that has nothing but UDP, at a provider that is reached by TLS; certificates, right and wrong."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator

import pytest

from tests.network.baresip import Call, Phone
from tests.network.bed import ALICE_TONE, BOB_TONE, INSIDE, OUTSIDE, Surroundings
from tests.network.capture import Capture
from tests.network.kamailio import IMPOSTOR_DOMAIN, MUTUAL_DOMAIN, TLS_DOMAIN, UNKNOWN_DOMAIN
from tests.network.programs import until
from tests.network.talker import Talker

pytestmark = pytest.mark.network

PROVIDER, GATEWAY = f"{OUTSIDE}10", f"{OUTSIDE}1"


@pytest.fixture(scope="module")
def bob(surroundings: Surroundings) -> Phone:
    """The phone outside."""
    bob = surroundings.phone("bob", surroundings.hosts.bob, BOB_TONE)
    bob.wait_registered()
    return bob


@pytest.fixture(scope="module")
def registering(surroundings: Surroundings) -> tuple[Phone, Capture]:
    """The phone inside, and what went over the outside wire while it registered."""
    with surroundings.capture("registration") as capture:
        alice = surroundings.phone("alice", surroundings.hosts.alice, ALICE_TONE, domain=TLS_DOMAIN)
        alice.wait_registered()
    return alice, capture


@pytest.fixture
def alice(registering: tuple[Phone, Capture]) -> Phone:
    """The phone inside."""
    return registering[0]


@pytest.fixture
def wire(surroundings: Surroundings, request: pytest.FixtureRequest) -> Iterator[Capture]:
    """What goes over the outside wire during the test: one connection with the provider, made before."""
    with surroundings.capture(request.node.name) as capture:
        yield capture
    surroundings.gateway.wait_quiet()
    assert ways(capture) == {("TCP", 5061)}, "all signalling went by TLS"
    assert not [packet for packet in capture.packets() if packet.connects], "and by the connection there was"


def ways(capture: Capture) -> set[tuple[str, int]]:
    """Return protocol and port of the provider's of what it exchanged with the gateway."""
    ends = {PROVIDER, GATEWAY}
    between = [packet for packet in capture.packets() if {packet.source, packet.destination} == ends]
    return {
        (packet.protocol, packet.source_port if packet.source == PROVIDER else packet.destination_port)
        for packet in between
    }


def test_it_registers_by_one_tls_connection(registering: tuple[Phone, Capture]) -> None:
    """The gateway connects once, and speaks TLS from the first byte on."""
    _, capture = registering
    assert ways(capture) == {("TCP", 5061)}
    assert [packet.source for packet in capture.packets() if packet.connects] == [GATEWAY]
    first = next(packet for packet in capture.packets() if packet.protocol == "TCP" and packet.data)
    assert first.data[:2] == b"\x16\x03", "a TLS handshake"


def test_it_calls_out_and_hangs_up(alice: Phone, bob: Phone, wire: Capture) -> None:
    """Audio both ways, and the phone's own BYE ends the call."""
    call = Call(alice, bob)
    call.talk(1)
    call.hang_up(alice)


def test_it_calls_out_and_the_other_hangs_up(alice: Phone, bob: Phone, wire: Capture) -> None:
    """The BYE comes by the connection that the call was made by."""
    call = Call(alice, bob)
    call.talk(0.5)
    call.hang_up(bob)


def test_it_is_called_and_hangs_up(alice: Phone, bob: Phone, wire: Capture) -> None:
    """The provider calls back by the connection that the registration came by."""
    call = Call(bob, alice)
    call.talk(1)
    call.hang_up(alice)


def test_it_is_called_and_the_other_hangs_up(alice: Phone, bob: Phone, wire: Capture) -> None:
    """The same with a BYE from outside."""
    call = Call(bob, alice)
    call.talk(0.5)
    call.hang_up(bob)


@pytest.mark.parametrize("domain", [IMPOSTOR_DOMAIN, UNKNOWN_DOMAIN])
def test_a_provider_that_proves_nothing_gets_nothing(surroundings: Surroundings, domain: str) -> None:
    """A certificate of another domain, or of nobody known: 503 for the phone, one warning that says whose."""
    gateway = surroundings.gateway
    start, asked = gateway.program.size(), surroundings.provider.program.size()
    with Talker("guest", surroundings.hosts.guest, f"{INSIDE}1", domain=domain) as guest:
        for _ in range(2):
            assert guest.register().startswith("SIP/2.0 503 ")
    warnings = gateway.warnings(start)
    assert len(warnings) == 1, warnings
    assert domain in warnings[0], warnings[0]
    assert not surroundings.provider.requests("REGISTER", asked), "not one request got there"


def test_a_provider_that_asks_for_a_certificate_gets_ours(surroundings: Surroundings) -> None:
    """Who listens for TLS has one, and shows it where it is asked for."""
    with Talker("guest", surroundings.hosts.guest, f"{INSIDE}1", domain=MUTUAL_DOMAIN) as guest:
        assert guest.register().startswith("SIP/2.0 200 ")


def test_a_renewed_certificate_is_shown_without_a_restart(surroundings: Surroundings) -> None:
    """New connections see the new serial number, and the old connection goes on."""
    guest, authority = surroundings.hosts.guest, surroundings.certificates.authority

    def connected() -> Talker:
        return Talker("guest", guest, f"{INSIDE}1", "TLS", authority=authority)

    def serial(talker: Talker) -> str:
        assert isinstance(talker.socket, ssl.SSLSocket)
        certificate = talker.socket.getpeercert()
        assert certificate is not None
        return str(certificate["serialNumber"])

    def renewed() -> bool:
        with connected() as another:
            return serial(another) != before

    with connected() as old:
        before = serial(old)
        assert old.register().startswith("SIP/2.0 200 ")
        surroundings.certificates.issue("gateway", *surroundings.hosts.gateway.addresses)
        until(renewed, 5, "the new certificate is shown", pause=0.2)
        assert old.register().startswith("SIP/2.0 200 ")
    assert re.search(r"renewed certificate", surroundings.gateway.program.output())


def test_a_provider_that_was_restarted_is_connected_to_again(surroundings: Surroundings) -> None:
    """The next REGISTER makes a new connection; the phone notices nothing."""
    with Talker("guest", surroundings.hosts.guest, f"{INSIDE}1", domain=TLS_DOMAIN) as guest:
        assert guest.register().startswith("SIP/2.0 200 ")
        surroundings.provider.restart()
        assert guest.register().startswith("SIP/2.0 200 ")
    assert len(surroundings.provider.contacts()["guest"]) == 1
