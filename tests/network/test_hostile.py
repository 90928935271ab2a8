# SPDX-License-Identifier: MIT
from __future__ import annotations

from tests.network.hostile import LARGEST, hostile


def test_the_set_is_bounded_and_every_kind_is_in_it() -> None:
    """A few thousand datagrams at most, each one that can be sent."""
    everything = hostile()
    assert 1000 < len(everything) < 3000
    assert all(len(each.data) <= LARGEST for each in everything)
    assert sum(len(each.data) >= 60000 for each in everything) >= 20
    for word in ("invalid", "cut at", "says", "noise", "damaged", "64 kB"):
        assert sum(word in each.what for each in everything) >= 15, word


def test_the_set_is_always_the_same() -> None:
    """A datagram that does harm can be sent again."""
    assert hostile() == hostile()
    assert hostile(1) != hostile(2)


def test_some_of_it_is_malformed_beyond_doubt() -> None:
    """Enough that the counters of drops can be compared with a number."""
    assert sum(each.never_sip for each in hostile()) > 150
