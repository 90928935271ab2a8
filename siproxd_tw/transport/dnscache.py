# SPDX-License-Identifier: MIT
"""What the DNS says of a name and kind of record, kept for as long as it says.

- All who ask for the same meanwhile share one question. Everything is bounded: names come out of
  messages that anybody may send.
- A name without records is one for at most 30 s. A question that failed is not repeated for 5 s. Both
  count for this name and this kind only.
- When a question is repeated and takes longer than `PATIENCE`, or fails, the last answer still
  counts for an hour (RFC 8767): an outage of the DNS must not end telephony. It is logged once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

from twisted.internet.defer import CancelledError, Deferred, TimeoutError, maybeDeferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.names.error import AuthoritativeDomainError, DNSNameError, DomainError
from twisted.python.failure import Failure
from zope.interface import implementer

from siproxd_tw.interfaces import IStatus
from siproxd_tw.transport.dnsrecords import MOST_ALIASES, Answer, Kind, negative_ttl, read

__all__ = ["KEEP_OLD", "NO_ANSWER", "TOO_MANY", "DNSCache", "DNSClient"]

KEEP_FAILED = 5.0
"""Seconds for which a question that failed is not repeated."""
KEEP_OLD = 3600.0
"""Seconds beyond its time for which an answer counts while there is no newer one."""
PATIENCE = 0.5
"""Seconds that one who has an old answer waits for a new one."""
RECHECK = 1.0
"""Seconds for which an old answer counts that is given while the question still runs."""
MOST_ANSWERS = 4096
"""Answers that are kept; the oldest goes first."""
MOST_QUESTIONS = 128
"""Questions at the same time; each one has up to four sockets."""
NO_ANSWER = "the name servers did not answer"
TOO_MANY = "too many other names are being looked up"


class DNSClient(Protocol):
    """The part of twisted.internet.interfaces.IResolver that is used here."""

    def lookupAddress(self, name: str, /) -> Deferred[Any]:
        """Ask; fires with three sequences of twisted.names.dns.RRHeader."""

    def lookupIPV6Address(self, name: str, /) -> Deferred[Any]:
        """Ask; fires with three sequences of twisted.names.dns.RRHeader."""

    def lookupService(self, name: str, /) -> Deferred[Any]:
        """Ask; fires with three sequences of twisted.names.dns.RRHeader."""

    def lookupNamingAuthorityPointer(self, name: str, /) -> Deferred[Any]:
        """Ask; fires with three sequences of twisted.names.dns.RRHeader."""


Key = tuple[str, Kind]


@dataclass(slots=True)
class _Entry:
    """An answer that is kept."""

    answer: Answer
    last: float
    """The clock's time up to which it counts if there is no newer one."""
    outage: bool = False
    """Whether it is that old already."""


@dataclass(eq=False, slots=True)
class _Question:
    """A question that runs and everybody who waits for the answer."""

    started: float
    waiting: list[Deferred[Answer]] = field(default_factory=list)


@implementer(IStatus)
class DNSCache:
    """Asks `client`; `clock` measures how long an answer counts."""

    _log = Logger()

    def __init__(self, clock: IReactorTime, client: DNSClient) -> None:
        self._clock = clock
        self._lookups = {
            Kind.A: client.lookupAddress,
            Kind.AAAA: client.lookupIPV6Address,
            Kind.SRV: client.lookupService,
            Kind.NAPTR: client.lookupNamingAuthorityPointer,
        }
        self._entries: dict[Key, _Entry] = {}
        self._running: dict[Key, _Question] = {}
        self._complained: set[str] = set()
        self._counts: Counter[str] = Counter()

    def ask(self, name: str, kind: Kind) -> Deferred[Answer]:
        """Return what is known of `name`, which is in canonical form; at once if that is possible.

        Never fails but by being cancelled: an Answer may say that nothing is known.
        """
        now = self._clock.seconds()
        key = (name, kind)
        entry = self._entries.get(key)
        if entry is not None and now < entry.answer.until:
            return succeed(entry.answer)
        if key not in self._running:
            if len(self._running) >= MOST_QUESTIONS:
                self._counts["refused"] += 1
                return succeed(self._old(entry, now) or Answer(now, failure=TOO_MANY))
            self._begin(key, now)
        question = self._running.get(key)
        if question is None:  # answered at once
            return succeed(self._entries[key].answer)
        return self._wait(question, entry, now)

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        counted = ("asked", "failed", "timed out", "refused", "old answers used")
        return {
            "cached": len(self._entries),
            "running": len(self._running),
            **{key: self._counts[key] for key in counted},
        }

    def _old(self, entry: _Entry | None, now: float) -> Answer | None:
        """Return the answer of `entry` for a short time more, if it still counts."""
        if entry is None or now >= entry.last:
            return None
        if not entry.answer.failure:
            self._counts["old answers used"] += 1
        return replace(entry.answer, until=now + RECHECK)

    def _wait(self, question: _Question, entry: _Entry | None, now: float) -> Deferred[Answer]:
        left = question.started + PATIENCE - now
        if entry is not None and now < entry.last and (entry.outage or left <= 0):
            return succeed(self._old(entry, now))  # type: ignore[arg-type]
        waiter: Deferred[Answer] = Deferred(question.waiting.remove)
        question.waiting.append(waiter)
        if entry is not None and now + left < entry.last:

            def late(_: Answer | Failure, __: float) -> Answer:
                return self._old(entry, self._clock.seconds()) or entry.answer

            waiter.addTimeout(left, self._clock, late)
        return waiter

    # a question

    def _begin(self, key: Key, now: float) -> None:
        self._running[key] = _Question(now)
        self._send(key, key[0], 0)

    def _send(self, key: Key, name: str, aliases: int) -> None:
        self._counts["asked"] += 1
        asked = maybeDeferred(self._lookups[key[1]], name)
        asked.addCallback(self._received, key, name, aliases)
        asked.addErrback(self._failed, key)

    def _received(self, result: tuple[Any, Any, Any], key: Key, name: str, aliases: int) -> None:
        answers, authority, additional = result
        now = self._clock.seconds()
        found = read(name, key[1], answers, additional, now)
        if isinstance(found, str):
            if aliases >= MOST_ALIASES:
                self._done(key, Answer(now + KEEP_FAILED, failure="its aliases lead nowhere"))
            else:
                self._send(key, found, aliases + 1)
            return
        if not found.found:
            found = replace(found, until=now + negative_ttl(authority))
        self._done(key, found)

    def _failed(self, failure: Failure, key: Key) -> None:
        now = self._clock.seconds()
        if failure.check(CancelledError):  # the service ends
            question = self._running.pop(key)
            while question.waiting:
                question.waiting[0].cancel()
            return
        if failure.check(DNSNameError, AuthoritativeDomainError) or failure.type is DomainError:
            authority = getattr(next(iter(getattr(failure.value, "args", ())), None), "authority", ())
            self._done(key, Answer(now + negative_ttl(authority)))
            return
        silence = failure.check(TimeoutError)
        self._counts["timed out" if silence else "failed"] += 1
        why = NO_ANSWER if silence else "the name servers cannot answer"
        self._log.debug("{name}: {why}", name=key[0], why=repr(failure.value))
        self._done(key, Answer(now + KEEP_FAILED, failure=why))

    def _done(self, key: Key, answer: Answer) -> None:
        question = self._running.pop(key, None)
        entry = self._entry(key, answer)
        self._entries.pop(key, None)  # so that the oldest is the first in the dictionary
        while len(self._entries) >= MOST_ANSWERS:
            del self._entries[next(iter(self._entries))]
        self._entries[key] = entry
        if question is not None:
            while question.waiting:  # whoever is told may cancel what others wait for
                question.waiting.pop(0).callback(entry.answer)

    def _entry(self, key: Key, answer: Answer) -> _Entry:
        """Return what to keep: the answer, or in its place an older one that says more."""
        name, now = key[0], self._clock.seconds()
        if not answer.failure:
            if name in self._complained:
                self._complained.discard(name)
                self._log.info("{name}: the name servers answer again", name=name)
            return _Entry(answer, answer.until + KEEP_OLD)
        known = self._entries.get(key)
        if known is None or known.answer.failure or now >= known.last:
            return _Entry(answer, answer.until + KEEP_OLD)
        self._counts["old answers used"] += 1
        if name not in self._complained and len(self._complained) < MOST_ANSWERS:
            self._complained.add(name)
            self._log.warn("{name}: {why}; what they said last is used", name=name, why=answer.failure)
        return _Entry(replace(known.answer, until=answer.until), known.last, outage=True)
