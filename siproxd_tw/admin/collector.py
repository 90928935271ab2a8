# SPDX-License-Identifier: MIT
"""When Python looks for garbage: seldom, and when nobody waits.

Nothing on the way of a message leaves a circle of references behind, so that there is nothing for the
garbage collector to find; but it would look at every object alive, as often as many new ones have come: with
50,000 registrations and their transactions each time for a good part of a second, in which no message and no
media moves. So full collections happen at a quiet moment once an hour, and else only once a day.

For a whole process: whoever embeds the proxy decides about the collector himself.
"""

from __future__ import annotations

import gc
from collections.abc import Callable

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

__all__ = ["Collector"]

#: Seconds between two looks at how busy it is.
LOOK = 60.0

#: Seconds after which a quiet moment is used, and after which it happens anyhow.
SOON, AT_LAST = 3600.0, 86_400.0

#: Messages in a minute that still make a quiet one.
QUIET = 300

#: New containers before the youngest are looked at (a tenth of a millisecond), and how often that happens
#: before the next older ones are (two). The third keeps Python from looking at everything by itself.
THRESHOLDS = (2_000, 20, 1_000_000)


class Collector:
    """Runs the garbage collector; `messages` says how many have been handled so far."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, messages: Callable[[], int]) -> None:
        self._clock = clock
        self._messages = messages
        self._seen = 0
        self._last = 0.0
        self._before: tuple[int, int, int] | None = None
        self._next: IDelayedCall | None = None

    def start(self) -> None:
        """Take over; what is there already will stay, and is not looked at any more."""
        self._before = gc.get_threshold()
        gc.collect()
        gc.freeze()
        gc.set_threshold(*THRESHOLDS)
        self._last, self._seen = self._clock.seconds(), self._messages()
        self._next = self._clock.callLater(LOOK, self._look)

    def stop(self) -> None:
        """Leave it to Python again."""
        if self._next is not None:
            self._next.cancel()
            self._next = None
        if self._before is not None:
            gc.set_threshold(*self._before)
            gc.unfreeze()
            self._before = None

    def _look(self) -> None:
        self._next = self._clock.callLater(LOOK, self._look)
        handled, self._seen = self._messages() - self._seen, self._messages()
        waited = self._clock.seconds() - self._last
        if waited >= AT_LAST or (waited >= SOON and handled <= QUIET):
            self._last = self._clock.seconds()
            found = gc.collect()
            self._log.debug("garbage collected: {found} objects", found=found)
