# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.logger import LogLevel, globalLogPublisher

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.bugs import Bugs

LOCAL, PEER = Address("10.0.0.1", 5060), Address("10.0.0.9", 5062)


def raise_here():
    raise RuntimeError("a bug")


def raise_there():
    raise RuntimeError("another bug")


@pytest.mark.logs_failures
def test_each_bug_is_logged_once_and_counted_always():
    """Two places are two bugs; the line says where and at what."""
    events = []
    globalLogPublisher.addObserver(events.append)
    bugs = Bugs()
    try:
        for bug in (raise_here, raise_there, raise_here):
            try:
                bug()
            except RuntimeError:
                bugs.caught("TCP", LOCAL, "a message of 3 bytes", PEER)
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert bugs.count == 3
    logged = [event for event in events if event["log_level"] is LogLevel.critical]
    assert [event["log_failure"].getErrorMessage() for event in logged] == ["a bug", "another bug"]
    assert [(event["transport"], event["what"]) for event in logged] == [("TCP", "a message of 3 bytes")] * 2
