# SPDX-License-Identifier: MIT
"""Twenty calls at the same time through the proxy, made and taken by sipp."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.network.bed import INSIDE, OUTSIDE, Bed
from tests.network.programs import until
from tests.network.sipp import Caller

pytestmark = pytest.mark.network

CALLS = 20


def test_twenty_parallel_calls_all_succeed(bed: Bed, directory: Path) -> None:
    """Inside calls outside, all at once: every call ends as written, and all ports return."""
    dave = Caller("dave", bed.hosts.guest, f"{INSIDE}1", directory)
    erin = Caller("erin", bed.hosts.stranger, f"{OUTSIDE}10", directory)
    dave.register()
    erin.register()
    taking = erin.takes(CALLS)
    making = dave.makes(CALLS, callee="erin")
    # A port for each side of each call at least, whatever the proxy keeps for RTCP.
    until(lambda: len(bed.gateway.media_ports()) >= 2 * CALLS, 5, "all calls are up at the same time")
    dave.succeeds(making, 15)
    erin.succeeds(taking, 5)
    bed.gateway.wait_quiet()
