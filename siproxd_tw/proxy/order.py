# SPDX-License-Identifier: MIT
"""Keeps the messages of one call in order while one of them waits for something.

Most work never waits, and then it costs nothing but the call: no Deferred is made for it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

__all__ = ["InOrder"]

Work = Coroutine[Any, Any, None]


class InOrder:
    """Runs coroutines that await Deferreds, those with the same key one after the other."""

    def __init__(self, broke: Callable[[Failure], None]) -> None:
        """`broke` is called with what a piece of work raises."""
        self._broke = broke
        self._queues: dict[bytes, deque[Work]] = {}

    def __len__(self) -> int:
        return len(self._queues)

    def run(self, key: bytes, work: Work) -> None:
        """Run `work` now, or behind what waits under the same `key`."""
        queue = self._queues.get(key)
        if queue is not None:
            queue.append(work)
            return
        waits = self._step(work, None)
        if waits is not None:
            self._queues[key] = deque()
            self._wait(key, work, waits)

    def stop(self) -> None:
        """Drop what has not begun; what has, ends when its answer comes."""
        for queue in self._queues.values():
            while queue:
                queue.popleft().close()

    def _step(self, work: Work, result: object) -> Deferred[Any] | None:
        """Go on with `work` until it waits for a Deferred, which is returned; None at its end."""
        try:
            if isinstance(result, Failure):
                return result.throwExceptionIntoGenerator(work)  # type: ignore[no-any-return]
            return work.send(result)  # type: ignore[no-any-return]
        except StopIteration:
            return None
        except Exception:
            self._broke(Failure())
            return None

    def _wait(self, key: bytes, work: Work, waits: Deferred[Any]) -> None:
        def go_on(result: object) -> None:
            again = self._step(work, result)
            if again is not None:
                self._wait(key, work, again)
            else:
                self._next(key)

        waits.addBoth(go_on)

    def _next(self, key: bytes) -> None:
        queue = self._queues[key]
        while queue:
            work = queue.popleft()
            waits = self._step(work, None)
            if waits is not None:
                self._wait(key, work, waits)
                return
        del self._queues[key]
