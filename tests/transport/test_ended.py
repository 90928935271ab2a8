# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.internet.error import (
    ConnectBindError,
    ConnectionRefusedError,
    NoRouteError,
    TCPTimedOutError,
    TimeoutError,
)
from twisted.python.failure import Failure

from siproxd_tw.transport.ended import Ended, failed_to_connect


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (ConnectionRefusedError(), Ended.REFUSED),
        (TimeoutError(), Ended.TIMED_OUT),  # ours
        (TCPTimedOutError(), Ended.TIMED_OUT),  # the kernel's
        (NoRouteError(), Ended.UNREACHABLE),
        (ConnectBindError(99, "Cannot assign requested address"), Ended.UNREACHABLE),
    ],
)
def test_why_an_attempt_failed(error, why):
    """Three reasons are enough for the counters; the text is for the log."""
    found, text = failed_to_connect(Failure(error))
    assert found is why
    assert text


def test_reasons_are_told_apart():
    """Each is a counter of its own."""
    assert len({each.value for each in Ended}) == len(Ended)
