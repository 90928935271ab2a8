# SPDX-License-Identifier: MIT
"""A host name whose address is followed over time: the `host_outbound` of a dynamic DNS service.

The address is the last one of its family that could be resolved, None before the first success; a
failure never takes it away. As long as the name has it among its addresses it stays, however they rotate.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from siproxd_tw.interfaces import ResolutionFailed

__all__ = ["REFRESH", "RETRY", "FollowedName", "ResolveHost"]

REFRESH = 60.0
"""Seconds until a name that was resolved is looked up again."""
RETRY = 5.0
"""Seconds until a name that was not resolved is tried again; doubles up to `REFRESH`."""

ResolveHost = Callable[[str], Deferred[Sequence[str]]]
"""The `resolve` of an IResolver."""


class FollowedName:
    """Follows `name` from `start` to `stop`; calls `changed` after `address` has become another one.

    `family` is 4 or 6.
    """

    _log = Logger()

    def __init__(
        self,
        name: str,
        clock: IReactorTime,
        resolve_host: ResolveHost,
        changed: Callable[[], None],
        *,
        family: int = 4,
    ) -> None:
        self.name = name
        self.family = family
        self.address: str | None = None
        self._clock = clock
        self._resolve_host = resolve_host
        self._changed = changed
        self._running = False
        self._retry = RETRY
        self._pause = REFRESH
        self._next: IDelayedCall | None = None
        self._looking: Deferred[None] | None = None
        self._complaint = ""

    def start(self) -> None:
        """Look the name up, and again and again."""
        self._running = True
        self.refresh()

    def stop(self) -> None:
        """Do nothing any more; the address stays."""
        self._running = False
        self._disarm()
        if self._looking is not None:
            self._looking.cancel()

    def refresh(self) -> None:
        """Look the name up now, unless that is going on: something has changed in the network."""
        if self._running and self._looking is None:
            self._retry = RETRY
            self._look_up()

    def _look_up(self) -> None:
        self._disarm()
        looking = self._resolve_host(self.name).addCallback(self._resolved)
        self._looking = looking
        looking.addErrback(self._failed).addCallback(self._done)

    def _resolved(self, found: Sequence[str]) -> None:
        hosts = [host for host in found if (":" in host) == (self.family == 6)]
        if not hosts:
            raise ResolutionFailed(f"{self.name} has no IPv{self.family} address")
        self._pause, self._retry = REFRESH, RETRY
        if self._complaint:
            self._complaint = ""
            self._log.info("{name} can be resolved again", name=self.name)
        if self.address in hosts:
            return
        self._log.info("{name} is {address}", name=self.name, address=hosts[0])
        self.address = hosts[0]
        self._changed()

    def _failed(self, failure: Failure) -> None:
        if failure.check(CancelledError):
            return
        self._pause, self._retry = self._retry, min(2 * self._retry, REFRESH)
        complaint = failure.getErrorMessage()
        if complaint == self._complaint:
            return
        self._complaint = complaint
        if failure.check(ResolutionFailed):
            kept = f"; {self.address} is kept" if self.address else ""
            self._log.warn("{complaint}{kept}", complaint=complaint, kept=kept)
        else:
            self._log.failure("looking up {name}", failure=failure, name=self.name)

    def _done(self, _: None) -> None:
        self._looking = None
        if self._running:
            self._next = self._clock.callLater(self._pause, self._look_up)

    def _disarm(self) -> None:
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None
