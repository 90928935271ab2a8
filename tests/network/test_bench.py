# SPDX-License-Identifier: MIT
"""`make bench` works: its smallest plan, with real proxies; and its page keeps what is not its own."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import sip
from bench.plans import SMOKE
from bench.report import BEGIN, END, Samples, replaced, tables


@pytest.fixture(scope="module")
def samples(able: None) -> Samples:
    """What the smallest plan finds."""
    if reason := sip.lacking():
        pytest.skip(reason)
    return sip.measure(SMOKE, Path(sip.ROOT))[0]


@pytest.mark.network
def test_both_proxies_forward_everything(samples: Samples) -> None:
    """Nothing fails, is repeated or complained about: otherwise the figures would be those of failures."""
    assert samples.notes == []


@pytest.mark.network
@pytest.mark.parametrize("proxy", ["siproxd_tw", "Kamailio"])
def test_every_kind_of_traffic_is_measured(samples: Samples, proxy: str) -> None:
    """Registrations, calls and requests in calls have a cost, a delay and (the first two) a ceiling."""
    for name in ("REGISTER", "call", "INFO"):
        assert samples.median("10 registrations", f"{name}, µs CPU per message", proxy) > 1
        assert samples.median("10 registrations", f"{name}, added delay p50, µs", proxy) > 1
    for name in ("REGISTER", "call"):
        assert samples.median("10 registrations", f"{name}, most per second", proxy) > 0


@pytest.mark.network
def test_good_calls_are_measured_beside_black_holes(samples: Samples) -> None:
    """The calls beside the black holes are measured, not the ones that go there."""
    measure = "beside 10 calls a second into black holes: added delay p99, µs"
    assert samples.median(sip.BLACK_HOLES, measure, "siproxd_tw") > 1


def test_ratios_are_ours_by_the_peers() -> None:
    """Median by median, and the growth that is too much is said."""
    samples = Samples()
    for size, cost in {"10 registrations": 50.0, "1,000 registrations": 60.0}.items():
        for value in (cost, 1000.0, 1.0):
            samples.add(size, "REGISTER, µs CPU per message", "siproxd_tw", value)
        samples.add(size, "REGISTER, µs CPU per message", "Kamailio", 25.0)
    assert samples.ratio("10 registrations", "REGISTER, µs CPU per message") == 2
    text = tables(samples, {"machine": "a fast one"})
    assert "| REGISTER, µs CPU per message | 50.0 (1.00–1,000) | 25.0 | 2.00 |" in text
    assert "| siproxd_tw | 50.0 | 60.0 | +20.0%, more than the 10% allowed |" in text
    assert "| Kamailio | 25.0 | 25.0 | +0.0% |" in text


def test_the_rest_of_the_page_stays() -> None:
    """A new section takes the place of the old one, and nothing else changes."""
    page = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(page, "new") == f"before\n{BEGIN}\n\nnew\n{END}\nafter\n"
    with pytest.raises(ValueError, match="marks"):
        replaced("a page without them", "new")
