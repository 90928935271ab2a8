# SPDX-License-Identifier: MIT
"""Messages of one call stay in order while one waits; other calls go on."""

from __future__ import annotations

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.python.failure import Failure

from siproxd_tw.proxy.order import InOrder


class Trace:
    """Runs pieces of work and notes what happened."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.failures: list[Failure] = []
        self.order = InOrder(self.failures.append)

    async def work(self, name: str, *waits: Deferred[str]) -> None:
        self.seen.append(f"{name} begins")
        for wait in waits:
            self.seen.append(f"{name} got {await wait}")
        self.seen.append(f"{name} ends")

    def run(self, key: bytes, name: str, *waits: Deferred[str]) -> None:
        self.order.run(key, self.work(name, *waits))


@pytest.fixture
def trace() -> Trace:
    return Trace()


def test_work_that_does_not_wait_is_done_at_once(trace: Trace) -> None:
    """Nothing is kept of it."""
    trace.run(b"call", "INVITE", succeed("an address"))
    assert trace.seen == ["INVITE begins", "INVITE got an address", "INVITE ends"]
    assert len(trace.order) == 0


def test_the_same_call_waits_and_another_does_not(trace: Trace) -> None:
    """A CANCEL must not overtake its INVITE; another call has nothing to do with it."""
    answer: Deferred[str] = Deferred()
    trace.run(b"one", "INVITE", answer)
    trace.run(b"one", "BYE")
    trace.run(b"two", "OPTIONS")
    assert trace.seen == ["INVITE begins", "OPTIONS begins", "OPTIONS ends"]
    answer.callback("an address")
    assert trace.seen[3:] == ["INVITE got an address", "INVITE ends", "BYE begins", "BYE ends"]
    assert len(trace.order) == 0


def test_work_may_wait_several_times(trace: Trace) -> None:
    """Also the work that had to wait for its turn."""
    first, second, third = Deferred[str](), Deferred[str](), Deferred[str]()
    trace.run(b"call", "one", first, second)
    trace.run(b"call", "two", third)
    first.callback("1")
    assert "two begins" not in trace.seen
    second.callback("2")
    assert trace.seen[-1] == "two begins"
    trace.run(b"call", "three")
    third.callback("3")
    assert trace.seen[-3:] == ["two ends", "three begins", "three ends"]
    assert len(trace.order) == 0


def test_a_failure_is_raised_where_it_was_waited_for(trace: Trace) -> None:
    """And what comes behind goes on."""

    async def looks_up(answer: Deferred[str]) -> None:
        try:
            await answer
        except LookupError as error:
            trace.seen.append(f"no address: {error}")

    answer: Deferred[str] = Deferred()
    trace.order.run(b"call", looks_up(answer))
    trace.run(b"call", "next")
    answer.errback(LookupError("provider.test"))
    assert trace.seen == ["no address: provider.test", "next begins", "next ends"]
    assert trace.failures == []


@pytest.mark.parametrize("waits", [False, True])
def test_a_bug_ends_its_own_message_only(trace: Trace, waits: bool) -> None:
    """It is reported, and the queue of the call is not stuck."""

    async def buggy(answer: Deferred[str]) -> None:
        await answer
        raise ZeroDivisionError

    answer: Deferred[str] = Deferred()
    if not waits:
        answer.callback("at once")
    trace.order.run(b"call", buggy(answer))
    trace.run(b"call", "next")
    if waits:
        answer.callback("late")
    assert [failure.type for failure in trace.failures] == [ZeroDivisionError]
    assert trace.seen == ["next begins", "next ends"]
    assert len(trace.order) == 0


def test_stop_drops_what_has_not_begun(trace: Trace) -> None:
    """What has begun ends when its answer comes."""
    answer: Deferred[str] = Deferred()
    trace.run(b"call", "INVITE", answer)
    trace.run(b"call", "BYE")
    trace.order.stop()
    answer.callback("late")
    assert trace.seen == ["INVITE begins", "INVITE got late", "INVITE ends"]
