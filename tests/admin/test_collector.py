# SPDX-License-Identifier: MIT
"""The garbage collector has its turn when nobody waits."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import pytest
from twisted.internet.task import Clock

from siproxd_tw.admin.collector import AT_LAST, LOOK, QUIET, SOON, THRESHOLDS, Collector


class Traffic:
    """A clock, a count of messages, and what was collected."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = Clock()
        self.messages = 0
        self.collections = 0
        monkeypatch.setattr(gc, "collect", self._collect)
        self.collector = Collector(self.clock, lambda: self.messages)  # type: ignore[arg-type]

    def _collect(self, generation: int = 2) -> int:
        self.collections += 1
        return 0

    def minutes(self, number: int, messages: int) -> None:
        """Let minutes pass, each with so many messages."""
        for _ in range(number):
            self.messages += messages
            self.clock.advance(LOOK)


@pytest.fixture
def traffic(monkeypatch: pytest.MonkeyPatch) -> Iterator[Traffic]:
    before = gc.get_threshold()
    traffic = Traffic(monkeypatch)
    traffic.collector.start()
    traffic.collections = 0
    yield traffic
    traffic.collector.stop()
    assert gc.get_threshold() == before
    assert traffic.clock.getDelayedCalls() == []


def test_a_quiet_moment_is_used(traffic: Traffic) -> None:
    """Once an hour."""
    traffic.minutes(int(SOON / LOOK) - 1, 0)
    assert traffic.collections == 0
    traffic.minutes(1, QUIET)
    assert traffic.collections == 1
    traffic.minutes(int(SOON / LOOK) - 1, 0)
    assert traffic.collections == 1
    traffic.minutes(1, 0)
    assert traffic.collections == 2


def test_a_busy_one_is_not(traffic: Traffic) -> None:
    """Not until there has been none for a day."""
    traffic.minutes(int(AT_LAST / LOOK) - 1, QUIET + 1)
    assert traffic.collections == 0
    traffic.minutes(1, QUIET + 1)
    assert traffic.collections == 1


def test_python_itself_looks_at_young_objects_only(traffic: Traffic) -> None:
    """And at nothing that was there at the start."""
    assert gc.get_threshold() == THRESHOLDS
    assert gc.get_freeze_count() > 1000
    traffic.collector.stop()
    assert gc.get_freeze_count() == 0
    traffic.collector.stop()  # again: nothing
