# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.internet.defer import CancelledError
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher
from twisted.names.error import DNSQueryTimeoutError, DNSServerError
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import IStatus
from siproxd_tw.transport import dnscache
from siproxd_tw.transport.dnscache import NO_ANSWER, TOO_MANY, DNSCache
from siproxd_tw.transport.dnsrecords import Kind, Service
from tests.support.nameserver import NameServer

ZONE = """
    a.test 60 A 192.0.2.1
    a.test 60 AAAA 2001:db8::1
    zero.test 0 A 192.0.2.2
    alias.test 30 CNAME a.test
    far.test 30 CNAME elsewhere.example
    _sip._udp.a.test 60 SRV 10 0 5060 a.test
"""


class Bed:
    """A cache, its name server, its clock, and what it logs."""

    def __init__(self):
        self.names = NameServer(ZONE)
        self.clock = Clock()
        self.clock.advance(1000)
        self.cache = DNSCache(self.clock, self.names)
        self.events = []

    def ask(self, name="a.test", kind=Kind.A):
        """What the cache says at once."""
        return self.cache.ask(name, kind).result

    def logged(self):
        return [(event["log_level"], event["log_format"].format(**event)) for event in self.events]


@pytest.fixture
def bed():
    """A fresh one; timers that stay behind fail the test."""
    it = Bed()
    observe = lambda event: event["log_level"] > LogLevel.debug and it.events.append(event)  # noqa: E731
    globalLogPublisher.addObserver(observe)
    yield it
    globalLogPublisher.removeObserver(observe)
    assert it.clock.getDelayedCalls() == []


def test_its_status(bed):
    """It says how much it knows and what went wrong."""
    assert verifyObject(IStatus, bed.cache)
    bed.ask()
    bed.names.error = DNSServerError()
    bed.ask("b.test")
    assert bed.cache.status() == {
        "cached": 2,
        "running": 0,
        "asked": 2,
        "failed": 1,
        "timed out": 0,
        "refused": 0,
        "old answers used": 0,
    }


def test_each_kind_is_asked_for(bed):
    """The four kinds of records."""
    assert bed.ask("a.test", Kind.A).addresses == ("192.0.2.1",)
    assert bed.ask("a.test", Kind.AAAA).addresses == ("2001:db8::1",)
    assert bed.ask("_sip._udp.a.test", Kind.SRV).services == (Service(10, 0, 5060, "a.test"),)
    assert not bed.ask("a.test", Kind.NAPTR).found
    assert bed.names.questions() == [
        ("a.test", "A"),
        ("a.test", "AAAA"),
        ("_sip._udp.a.test", "SRV"),
        ("a.test", "NAPTR"),
    ]


def test_the_ttl_counts(bed):
    """An answer counts as long as the DNS says, and not longer."""
    bed.ask()
    bed.names.add("a.test 60 A 192.0.2.9")
    bed.clock.advance(59.9)
    assert bed.ask().addresses == ("192.0.2.1",)
    bed.clock.advance(0.1)
    assert bed.ask().addresses == ("192.0.2.9",)
    assert len(bed.names.questions()) == 2


def test_a_burst_costs_one_question(bed):
    """Even with TTL 0 an answer counts for a second."""
    for _ in range(10):
        bed.ask("zero.test")
    assert len(bed.names.questions()) == 1
    bed.clock.advance(1)
    bed.ask("zero.test")
    assert len(bed.names.questions()) == 1


def test_aliases(bed):
    """An alias is followed also when the name server leaves that to us."""
    assert bed.ask("alias.test").addresses == ("192.0.2.1",)
    bed.names.add("elsewhere.example 60 CNAME a.test")
    assert bed.ask("far.test").addresses == ("192.0.2.1",)
    assert [name for name, _ in bed.names.questions()] == ["alias.test", "far.test"]


def test_an_alias_that_the_server_does_not_follow(bed, monkeypatch):
    """Then it is asked for; but there is an end of it."""
    steps = {f"{n}.test": f"{n}.test 60 CNAME {n + 1}.test" for n in range(100)}
    answer = bed.names._answer

    def one_step(name, kind):
        bed.names.records.clear()
        bed.names.add(steps.get(name, ZONE))
        return answer(name, kind)

    monkeypatch.setattr(bed.names, "_answer", one_step)
    steps["3.test"] = "3.test 60 A 192.0.2.3"
    assert bed.ask("0.test").addresses == ("192.0.2.3",)
    assert len(bed.names.questions()) == 4
    assert bed.ask("10.test").failure == "its aliases lead nowhere"
    assert len(bed.names.questions()) == 9


@pytest.mark.parametrize(("soa", "seconds"), [(None, 5), (10, 10), (3600, 30)])
@pytest.mark.parametrize(("name", "kind"), [("nobody.test", Kind.A), ("a.test", Kind.SRV)])
def test_what_does_not_exist(bed, name, kind, soa, seconds):
    """A name or kind without records is one for as long as the SOA says, half a minute at most."""
    bed.names.soa = soa
    assert not bed.ask(name, kind).found
    bed.names.add("nobody.test 60 A 192.0.2.3\na.test 60 SRV 1 1 5060 a.test")
    bed.clock.advance(seconds - 0.1)
    assert not bed.ask(name, kind).found
    bed.clock.advance(0.1)
    assert bed.ask(name, kind).found


@pytest.mark.parametrize(
    ("error", "failure"),
    [
        (DNSServerError(), "the name servers cannot answer"),
        (DNSQueryTimeoutError(1), NO_ANSWER),
        (OSError("no route"), "the name servers cannot answer"),
    ],
)
def test_a_failure_counts_for_five_seconds(bed, error, failure):
    """A question that failed is not repeated at once, and others are not touched by that."""
    bed.names.error = error
    assert bed.ask().failure == failure
    bed.names.error = None
    assert bed.ask("a.test", Kind.AAAA).found
    bed.clock.advance(4.9)
    assert not bed.ask().found
    bed.clock.advance(0.1)
    assert bed.ask().found


def test_one_question_for_all(bed):
    """Whoever asks while a question runs joins it."""
    bed.names.holding = True
    waiting = [bed.cache.ask("a.test", Kind.A) for _ in range(5)]
    waiting[0].cancel()
    assert isinstance(waiting[0].result.value, CancelledError)
    waiting[0].addErrback(lambda _: None)
    waiting[1].addCallback(lambda found: (waiting[2].cancel(), found)[1])
    waiting[2].addErrback(lambda _: None)
    bed.names.release()
    assert [each.result.addresses for each in (waiting[1], *waiting[3:])] == [("192.0.2.1",)] * 3
    assert len(bed.names.questions()) == 1


def test_an_outage(bed):
    """While the DNS fails the last answer counts for an hour; it is said once, and once when it is over."""
    bed.ask()
    bed.names.error = DNSServerError()
    for seconds in (60, 5, 5, 3000, 500):
        bed.clock.advance(seconds)
        assert bed.ask().addresses == ("192.0.2.1",)
    assert bed.logged() == [
        (LogLevel.warn, "a.test: the name servers cannot answer; what they said last is used")
    ]
    bed.names.error = None
    bed.clock.advance(5)
    assert bed.ask().found
    assert bed.logged()[1:] == [(LogLevel.info, "a.test: the name servers answer again")]
    bed.clock.advance(60 + 3600)
    bed.names.error = DNSServerError()
    assert not bed.ask().found
    assert bed.cache.status()["old answers used"] == 5


def test_what_ceased_to_exist_is_gone(bed):
    """That there is no such name is an answer, and no outage."""
    bed.ask()
    del bed.names.records["a.test"]
    bed.clock.advance(60)
    assert not bed.ask().found
    assert bed.logged() == []


def test_patience_with_a_known_name(bed):
    """Who has an old answer waits for the new one for half a second, and the next one not at all."""
    bed.ask()
    bed.clock.advance(60)
    bed.names.holding = True
    waiting = bed.cache.ask("a.test", Kind.A)
    bed.clock.advance(0.4)
    assert not waiting.called
    late = bed.cache.ask("a.test", Kind.A)
    bed.clock.advance(0.1)
    assert waiting.result.addresses == late.result.addresses == ("192.0.2.1",)
    assert waiting.result.until == bed.clock.seconds() + 1
    assert bed.ask().addresses == ("192.0.2.1",)
    bed.names.add("a.test 60 A 192.0.2.9")
    bed.names.release()
    assert bed.ask().addresses == ("192.0.2.9",)
    assert len(bed.names.questions()) == 2


def test_no_patience_in_an_outage(bed):
    """After a failure the old answer is given at once, while the question is tried again behind it."""
    bed.ask()
    bed.clock.advance(60)
    bed.names.error = DNSQueryTimeoutError(1)
    bed.ask()
    bed.names.holding = True
    bed.clock.advance(5)
    assert bed.ask().addresses == ("192.0.2.1",)
    bed.names.error = None
    bed.names.add("a.test 60 A 192.0.2.9")
    bed.names.release()
    assert bed.ask().addresses == ("192.0.2.9",)


def test_a_kind_that_is_never_answered(bed):
    """A forwarder that drops NAPTR costs half a second now and then, and not each time the full wait."""
    bed.names.silent = {"NAPTR"}
    first = bed.cache.ask("a.test", Kind.NAPTR)
    bed.names.waiting.pop()[2].errback(DNSQueryTimeoutError(1))
    assert first.result.failure == NO_ANSWER
    bed.clock.advance(5)
    second = bed.cache.ask("a.test", Kind.NAPTR)
    bed.clock.advance(0.5)
    assert second.result.failure == NO_ANSWER


def test_too_many_questions(bed, monkeypatch):
    """Beyond a number of questions nothing new is asked; what was known still counts."""
    monkeypatch.setattr(dnscache, "MOST_QUESTIONS", 2)
    bed.ask()
    bed.clock.advance(60)
    bed.names.holding = True
    running = [bed.cache.ask(name, Kind.A) for name in ("b.test", "c.test")]
    assert bed.ask("d.test").failure == TOO_MANY
    assert bed.ask().addresses == ("192.0.2.1",)
    assert bed.cache.status()["refused"] == 2
    bed.names.release()
    assert not any(each.result.found for each in running)
    assert bed.ask("d.test").failure == ""


def test_the_cache_is_bounded(bed, monkeypatch):
    """The oldest answer makes room for a new one; a renewed one is not the oldest."""
    monkeypatch.setattr(dnscache, "MOST_ANSWERS", 2)
    bed.ask("zero.test")
    bed.ask("b.test")
    bed.clock.advance(1)
    bed.ask("zero.test")
    bed.ask("c.test")
    bed.names.questions()
    bed.ask("zero.test")
    assert bed.names.questions() == []
    bed.ask("b.test")
    assert bed.names.questions() == [("b.test", "A")]
    assert bed.cache.status()["cached"] == 2


def test_the_service_ends(bed):
    """A question that is cancelled below takes those who wait with it and leaves nothing known."""
    bed.names.holding = True
    waiting = [bed.cache.ask("a.test", Kind.A) for _ in range(2)]
    bed.names.waiting.pop()[2].errback(CancelledError())
    for each in waiting:
        assert isinstance(each.result.value, CancelledError)
        each.addErrback(lambda _: None)
    assert bed.cache.status()["cached"] == bed.cache.status()["running"] == 0


def test_a_client_that_raises(bed):
    """An exception in place of a Deferred is a failure like others."""

    class Raises(NameServer):
        def lookupAddress(self, name, timeout=None):
            raise TypeError(name)

    cache = DNSCache(bed.clock, Raises())
    assert cache.ask("a.test", Kind.A).result.failure == "the name servers cannot answer"
