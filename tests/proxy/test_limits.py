# SPDX-License-Identifier: MIT
"""How fast one peer outside may begin something."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address, Flow, Refused, Side
from siproxd_tw.proxy.limits import BURST, MOST_PEERS, RATE, Limits

NOW = 1_800_000_000.0
SCANNER = "198.51.100.66"


def admitted(limits: Limits, times: list[float], host: str = SCANNER, side: Side = Side.OUTSIDE) -> int:
    """Send a request at each of `times`; return how many were let in."""
    count = 0
    for time in times:
        try:
            limits.admit(Flow(None, Address(host, 5060), side), time)
        except Refused as refusal:
            assert (refusal.status, refusal.why) == (None, "too many requests")
        else:
            count += 1
    return count


def test_a_flood_is_cut_to_the_rate() -> None:
    """A burst passes, then so many a second; who is refused waits no longer for it."""
    limits = Limits()
    assert admitted(limits, [NOW] * 10_000) == BURST
    assert admitted(limits, [NOW + 0.5] * 1000) == pytest.approx(RATE / 2, abs=1)
    flood = [NOW + 1 + n / 1000 for n in range(10_000)]
    assert admitted(limits, flood) == pytest.approx(10.5 * RATE, abs=2)


def test_it_is_over_when_the_flood_is() -> None:
    """Nobody is banned: a moment later everything is as it was."""
    limits = Limits()
    admitted(limits, [NOW] * 10_000)
    assert admitted(limits, [NOW + BURST / RATE] * 10_000) == BURST


def test_a_busy_peer_is_not_bounded() -> None:
    """Below the rate nothing is ever refused."""
    times = [NOW + n / (RATE * 0.99) for n in range(2000)]
    assert admitted(Limits(), times) == len(times)


def test_others_are_not_concerned() -> None:
    """Each source has its own bucket; phones inside have none."""
    limits = Limits()
    admitted(limits, [NOW] * 1000)
    assert admitted(limits, [NOW], "198.51.100.67") == 1
    assert admitted(limits, [NOW] * 1000, "10.0.0.10", Side.INSIDE) == 1000
    assert len(limits) == 2


def test_a_provider_has_no_bound() -> None:
    """After an outage it may have much to say; others on the way there have no part in that."""
    known = {SCANNER}
    limits = Limits(is_known_peer=known.__contains__)
    assert admitted(limits, [NOW] * 10_000) == 10_000
    known.clear()
    assert admitted(limits, [NOW + 1.0] * 1000) == pytest.approx(RATE, abs=1)


def test_a_site_is_one_peer() -> None:
    """An IPv6 site has 2**64 addresses to call from; a mapped IPv4 address is that one host."""
    limits = Limits()
    admitted(limits, [NOW] * 1000, "2001:db8:0:1::66")
    assert admitted(limits, [NOW], "2001:db8:0:1:ffff::67") == 0
    assert admitted(limits, [NOW], "2001:db8:0:2::66") == 1
    admitted(limits, [NOW] * 1000, "::ffff:198.51.100.66")
    assert admitted(limits, [NOW]) == 0
    assert admitted(limits, [NOW], "fe80::1%eth1") == 1


def test_the_table_is_bounded() -> None:
    """Who was not heard for longest is forgotten; a flood of forged addresses finds no memory to fill."""
    limits = Limits(most_peers=3)
    admitted(limits, [NOW] * 1000)
    for number in range(10):
        admitted(limits, [NOW], f"192.0.2.{number}")
        assert admitted(limits, [NOW]) == 0, "heard all the time"
    assert len(limits) == 3
    assert Limits()._most == MOST_PEERS


def test_a_clock_that_was_set_back() -> None:
    """Nobody waits for the time that was taken back."""
    limits = Limits()
    admitted(limits, [NOW] * 1000)
    assert admitted(limits, [NOW - 3600.0]) == 1


@given(st.lists(st.floats(0.0, 20.0), min_size=1, max_size=300), st.integers(1, 5), st.integers(1, 10))
def test_no_more_than_burst_and_rate(times: list[float], rate: int, burst: int) -> None:
    """However they are spread: between two moments never more than a burst and what the rate gives."""
    limits = Limits(rate, burst)
    good = [time for time in sorted(times) if admitted(limits, [NOW + time])]
    for first in range(len(good)):
        for last in range(first, len(good)):
            assert last - first + 1 <= burst + rate * (good[last] - good[first]) + 1e-3
