# SPDX-License-Identifier: MIT
"""Connections that come and go, and requests that are too large for a datagram."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.baresip import Phone
from tests.network.bed import BOB_TONE, INSIDE, OUTSIDE, Surroundings
from tests.network.kamailio import DATAGRAM_DOMAIN, DATAGRAM_PORT, DOMAIN, TLS_DOMAIN
from tests.network.namespaces import Network
from tests.network.programs import until
from tests.network.sipp import Caller
from tests.network.talker import Talker

pytestmark = pytest.mark.network

IDLE = 2
"""Seconds after which an idle connection is closed here."""
LARGE = 1500
"""Bytes, of an INVITE's subject alone: more than Ethernet takes in one packet."""


@pytest.fixture(scope="module")
def surroundings(network: Network, directory: Path) -> Iterator[Surroundings]:
    """Provider and a proxy that has little patience with connections, and no certificate."""
    surroundings = Surroundings(network, directory, [("tcp_timeout", IDLE)], serves_tls=False)
    yield surroundings
    surroundings.gateway.ends()


@pytest.fixture(scope="module")
def bob(surroundings: Surroundings) -> Phone:
    """The phone outside."""
    bob = surroundings.phone("bob", surroundings.hosts.bob, BOB_TONE)
    bob.wait_registered()
    return bob


def connect(surroundings: Surroundings) -> Talker:
    """Return a phone inside that has just connected by TCP."""
    return Talker("alice", surroundings.hosts.alice, f"{INSIDE}1", "TCP")


def reset(talker: Talker) -> None:
    """Let the connection end with a reset, as that of a phone which has lost power and come back."""
    talker.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    talker.socket.close()


def is_called(phone: Talker, bob: Phone) -> None:
    """Let Bob call `phone`, which declines."""
    since = bob.now()
    bob.dial(f"sip:{phone.user}@{DOMAIN}")
    invite = phone.receive()
    assert invite.startswith("INVITE "), invite
    phone.answer(invite, "486 Busy Here")
    assert phone.receive().startswith("ACK ")
    assert "486" in bob.wait_event("CALL_CLOSED", since)["param"]


def test_a_phone_that_lost_its_connection_is_found_by_the_new_one(
    surroundings: Surroundings, bob: Phone
) -> None:
    """After its next REGISTER a call takes the new connection: nobody could connect to the phone."""
    with connect(surroundings) as before:
        assert before.register().startswith("SIP/2.0 200 ")
        is_called(before, bob)
        reset(before)
    with connect(surroundings) as after:
        assert after.register().startswith("SIP/2.0 200 ")
        is_called(after, bob)


def test_a_new_connection_counts_also_while_the_old_one_looks_alive(
    surroundings: Surroundings, bob: Phone
) -> None:
    """Who has lost power says no goodbye: what counts is the last REGISTER."""
    with connect(surroundings) as before, connect(surroundings) as after:
        for talker in (before, after):
            assert talker.register().startswith("SIP/2.0 200 ")
        is_called(after, bob)


def test_an_incoming_call_for_a_phone_without_a_connection_is_refused(
    surroundings: Surroundings, bob: Phone
) -> None:
    """It is gone and cannot be connected to: the caller learns that soon."""
    with connect(surroundings) as phone:
        assert phone.register().startswith("SIP/2.0 200 ")
        reset(phone)
    since = bob.now()
    bob.dial(f"sip:alice@{DOMAIN}")
    assert bob.wait_event("CALL_CLOSED", since, 5)["param"][:3] == "480"


def test_an_idle_connection_is_closed(surroundings: Surroundings) -> None:
    """After `tcp_timeout`, not before, and in order."""
    with connect(surroundings) as phone:
        assert phone.register().startswith("SIP/2.0 200 ")
        begun = time.monotonic()
        assert phone.receive(IDLE + 3) == "", "the end of the stream"
        assert IDLE - 0.1 <= time.monotonic() - begun < IDLE + 2
    ends = surroundings.hosts.gateway.tcp_connections
    until(lambda: not [1 for _, remote in ends() if remote.startswith(INSIDE)], 2, "nothing stays of it")


def test_pings_are_answered_and_keep_a_connection(surroundings: Surroundings, bob: Phone) -> None:
    """CRLFCRLF is answered by CRLF (RFC 5626), and a phone that sends it is there for longer."""
    with connect(surroundings) as phone:
        assert phone.register().startswith("SIP/2.0 200 ")
        begun = time.monotonic()
        while time.monotonic() < begun + IDLE + 1:
            phone.socket.sendall(b"\r\n\r\n")
            assert phone.socket.recv(100) == b"\r\n"
            time.sleep(IDLE / 4)  # the time that passes is what this is about
        is_called(phone, bob)


def test_a_connection_with_a_registrar_is_kept(surroundings: Surroundings, bob: Phone) -> None:
    """However long it is idle: who does not listen for TLS can be called by no other way."""
    with Talker("tina", surroundings.hosts.guest, f"{INSIDE}1", domain=TLS_DOMAIN) as phone:
        assert phone.register().startswith("SIP/2.0 200 ")
        begun = time.monotonic()
        until(lambda: time.monotonic() > begun + IDLE + 1, IDLE + 2, "the time is over")
        is_called(phone, bob)


@pytest.mark.parametrize(("domain", "way"), [(DOMAIN, "tcp"), (DATAGRAM_DOMAIN, "udp")])
def test_a_large_request_goes_by_tcp_and_if_that_is_refused_by_udp(
    surroundings: Surroundings, directory: Path, domain: str, way: str
) -> None:
    """A phone by UDP makes a call with an INVITE that no datagram should carry; all of the call goes well."""
    start = surroundings.provider.program.size()
    own = directory / way
    own.mkdir()
    erin = Caller("erin", surroundings.hosts.stranger, f"{OUTSIDE}10", own)
    dave = Caller("dave", surroundings.hosts.guest, f"{INSIDE}1", own, domain=domain, pad=LARGE)
    erin.register()
    dave.register()
    taking = erin.takes(1)
    with surroundings.capture(way) as capture:
        dave.succeeds(dave.makes(1, callee="erin"), 15)
    erin.succeeds(taking, 5)
    invites = surroundings.provider.requests("INVITE", start)
    assert len(invites) == 2, "one, and one with the answer to the challenge"
    assert all(f" by={way} " in line for line in invites), invites
    refused = {each.destination_port for each in capture.packets() if each.connects} - {5060}
    assert refused == ({DATAGRAM_PORT} if domain == DATAGRAM_DOMAIN else set()), "TCP came first"
