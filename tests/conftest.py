# SPDX-License-Identifier: MIT
"""What all tests share: which of them are collected here, and that none of them leaves anything behind."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import settings
from twisted.logger import LogLevel, globalLogPublisher

from tests.support.vectors import CAPTURED, TESTS_OF_CAPTURED

#: Tests over captured messages read them where they lie; without that folder there is nothing to collect.
collect_ignore_glob = [] if CAPTURED.is_dir() else [TESTS_OF_CAPTURED]

# No deadline for single examples: a loaded machine is no bug. `--hypothesis-profile=thorough` looks longer.
settings.register_profile("quick", max_examples=30, deadline=None)
settings.register_profile("thorough", max_examples=3000, deadline=None)
settings.load_profile("quick")


@pytest.fixture(autouse=True)
def leaves_nothing_behind(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that leaks a socket or a timer of the reactor, or a failure that nobody handled.

    A test that provokes logged failures takes them out of `request.node.expected_failures`... or is
    marked `logs_failures`.
    """
    failures: list[dict[str, Any]] = []

    def observe(event: dict[str, Any]) -> None:
        if event.get("log_failure") is not None or event.get("log_level") is LogLevel.critical:
            failures.append(event)

    gc.freeze()  # what is older than the test need not be looked at when garbage is collected
    before = _held_by_the_reactor()
    globalLogPublisher.addObserver(observe)
    try:
        yield
        if failures or _held_by_the_reactor() - before:
            gc.collect()
    finally:
        globalLogPublisher.removeObserver(observe)
    left = _held_by_the_reactor() - before
    assert not left, f"left with the reactor: {left}"
    if request.node.get_closest_marker("logs_failures") is None:
        told = [str(event.get("log_failure") or event) for event in failures]
        assert not told, f"logged: {told}"


def _held_by_the_reactor() -> set[Any]:
    """What the real reactor holds, if a test has one at all."""
    reactor = sys.modules.get("twisted.internet.reactor")
    if reactor is None:
        return set()
    internal = getattr(reactor, "_internalReaders", set())
    return {*reactor.getReaders(), *reactor.getDelayedCalls()} - set(internal)
