# SPDX-License-Identifier: MIT
"""How much the signalling benchmark does: all of it, a quick look, or just a proof that it works."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType


def _moderate() -> Mapping[str, float]:
    return MappingProxyType({"register": 300.0, "call": 60.0, "info": 300.0})


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run measures, and how long. Times are seconds."""

    name: str
    sizes: tuple[int, ...]
    """Numbers of registrations."""
    middle: int
    """The one at which calls with media are measured."""
    repeats: int
    seconds: float
    """Of one measurement at a moderate rate."""
    step: float
    """Of one step of the search for the ceiling."""
    search: float
    """After which the search begins no other step."""
    searches: Mapping[int, int] = field(default_factory=lambda: MappingProxyType({}))
    """How often the ceiling is searched, by number of registrations; once where nothing is said."""
    forget_from: int = 10_000
    """From so many registrations on it waits until the transactions that made them are gone."""
    rates: Mapping[str, float] = field(default_factory=_moderate)
    """Moderate rates a second, by kind."""
    bad: float = 10.0
    """Calls a second into black holes."""


FULL = Plan("full", (10, 1_000, 50_000), 1_000, 3, 2.5, 1.5, 11, MappingProxyType({1_000: 2}))
QUICK = Plan("quick", (10, 1_000), 1_000, 1, 2, 1, 5)
SMOKE = Plan("smoke", (10,), 10, 1, 0.4, 0.3, 0.3)
