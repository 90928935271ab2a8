# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from tests.network.baresip import netstrings

TWO = b'2:{},12:{"ok": true},'


def test_netstrings_are_split() -> None:
    """Commands, responses and events come one behind the other."""
    assert netstrings(TWO) == ([b"{}", b'{"ok": true}'], b"")


@pytest.mark.parametrize("cut", range(len(TWO)))
def test_netstrings_may_arrive_in_pieces(cut: int) -> None:
    """Wherever a stream is cut, the rest and what follows give the same."""
    first, rest = netstrings(TWO[:cut])
    second, nothing = netstrings(rest + TWO[cut:])
    assert (first + second, nothing) == ([b"{}", b'{"ok": true}'], b"")
