# SPDX-License-Identifier: MIT
"""Twenty calls at the same time, made and taken by sipp, by each transport on either side."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.bed import INSIDE, OUTSIDE, Surroundings
from tests.network.kamailio import DOMAIN, TCP_DOMAIN, TLS_DOMAIN
from tests.network.programs import until
from tests.network.sipp import Caller

pytestmark = pytest.mark.network

CALLS = 20


@pytest.fixture(scope="module")
def erin(surroundings: Surroundings, directory: Path) -> Caller:
    """Who takes the calls, outside."""
    erin = Caller("erin", surroundings.hosts.stranger, f"{OUTSIDE}10", directory)
    erin.register()
    return erin


@pytest.mark.parametrize(
    ("inside", "domain"),
    [
        ("UDP", DOMAIN),
        ("TCP", DOMAIN),
        ("TCP each", DOMAIN),
        ("TLS", DOMAIN),
        ("UDP", TCP_DOMAIN),
        ("UDP", TLS_DOMAIN),
    ],
)
def test_twenty_parallel_calls_all_succeed(
    surroundings: Surroundings, erin: Caller, directory: Path, inside: str, domain: str
) -> None:
    """Inside calls outside, all at once: every call ends as written, and all ports return."""
    own = directory / f"{inside}-{domain}".replace(" ", "-")
    own.mkdir()
    authority = surroundings.certificates.authority
    dave = Caller(
        "dave",
        surroundings.hosts.guest,
        f"{INSIDE}1",
        own,
        transport=inside,
        domain=domain,
        authority=authority,
    )
    dave.register()
    taking = erin.takes(CALLS)
    making = dave.makes(CALLS, callee="erin")
    # A port for each side of each call at least, whatever the proxy keeps for RTCP.
    ports = surroundings.gateway.media_ports
    until(lambda: len(ports()) >= 2 * CALLS, 5, "all calls are up at the same time")
    dave.succeeds(making, 15)
    erin.succeeds(taking, 5)
    surroundings.gateway.wait_quiet()
