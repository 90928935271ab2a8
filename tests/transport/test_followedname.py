# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.internet.defer import fail
from twisted.internet.task import Clock
from twisted.logger import LogLevel, globalLogPublisher

from siproxd_tw.transport.followedname import REFRESH, FollowedName
from tests.support.resolver import MemoryResolver

NAME = "gateway.dyndns.test"


class Following:
    """One followed name with the resolver and the clock that it has, and what it told."""

    def __init__(self, **names):
        self.clock = Clock()
        self.resolver = MemoryResolver(names)
        self.told = []
        self.name = FollowedName(NAME, self.clock, self.resolver.resolve, self.changed)

    def changed(self):
        self.told.append(self.name.address)

    @property
    def asked(self):
        return len(self.resolver.asked)


@pytest.fixture
def following():
    """A name that is 198.51.100.7; delayed calls that stay behind fail the test."""
    it = Following(**{NAME: "198.51.100.7"})
    yield it
    it.name.stop()
    assert it.clock.getDelayedCalls() == []
    assert it.resolver.waiting == []


@pytest.fixture
def logged():
    """Level and text of every event."""
    events = []
    globalLogPublisher.addObserver(events.append)
    yield lambda: [(event["log_level"], event["log_format"].format(**event)) for event in events]
    globalLogPublisher.removeObserver(events.append)


def test_resolved_at_the_start(following):
    """The name is looked up at once."""
    assert following.name.address is None
    following.name.start()
    assert following.told == ["198.51.100.7"]
    assert following.resolver.asked == [NAME]


def test_looked_up_every_minute(following):
    """A change is noticed after 60 s at the latest and told once."""
    following.name.start()
    following.resolver.names[NAME] = "198.51.100.8"
    following.clock.advance(59.9)
    assert following.told == ["198.51.100.7"]
    following.clock.advance(0.1)
    following.clock.pump([60] * 3)
    assert following.told == ["198.51.100.7", "198.51.100.8"]
    assert following.asked == 5


def test_addresses_that_rotate(following):
    """With several addresses the one in use stays while the name has it."""
    following.name.start()
    following.resolver.names[NAME] = ["198.51.100.8", "198.51.100.7"]
    following.clock.advance(60)
    following.resolver.names[NAME] = ["198.51.100.9", "198.51.100.8"]
    following.clock.advance(60)
    assert following.told == ["198.51.100.7", "198.51.100.9"]


@pytest.mark.parametrize(("family", "address"), [(4, "198.51.100.7"), (6, "2001:db8::7")])
def test_one_family(family, address):
    """Addresses of the other family do not count, wherever they stand."""
    resolver = MemoryResolver({NAME: ["198.51.100.7", "198.51.100.8", "2001:db8::7"]})
    clock = Clock()
    name = FollowedName(NAME, clock, resolver.resolve, lambda: None, family=family)
    name.start()
    assert name.address == address
    name.stop()
    assert clock.getDelayedCalls() == []


def test_only_the_other_family(following, logged):
    """A name that has lost its IPv4 address is one that cannot be resolved: tried again soon, said once."""
    following.name.start()
    following.resolver.names[NAME] = "2001:db8::7"
    following.clock.pump([60, 5, 10])
    assert following.asked == 4
    assert following.name.address == "198.51.100.7"
    assert logged()[1:] == [(LogLevel.warn, f"{NAME} has no IPv4 address; 198.51.100.7 is kept")]


def test_a_failure_keeps_the_address(following, logged):
    """A name server that is away takes nothing; one warning, and one line when it is well again."""
    following.name.start()
    del following.resolver.names[NAME]
    following.clock.pump([60, 5, 10, 20])
    assert following.name.address == "198.51.100.7"
    assert following.told == ["198.51.100.7"]
    assert logged()[1:] == [(LogLevel.warn, f"{NAME} has no IPv4 or IPv6 address; 198.51.100.7 is kept")]
    following.resolver.names[NAME] = "198.51.100.7"
    following.clock.pump([40, 60])
    assert logged()[2:] == [(LogLevel.info, f"{NAME} can be resolved again")]
    del following.resolver.names[NAME]
    following.clock.pump([60, 5])
    assert logged()[3:] == logged()[1:2]


def test_tried_again_with_growing_pauses():
    """Before the network is up a name is tried after 5, 10, 20, 40, 60 and 60 seconds."""
    following = Following()
    following.name.start()
    times = []
    for _ in range(160):
        before = following.asked
        following.clock.advance(1.25)
        if following.asked > before:
            times.append(following.clock.seconds())
    assert times == [5, 15, 35, 75, 135, 195]
    assert following.told == []
    following.name.stop()
    assert following.clock.getDelayedCalls() == []


def test_refresh_does_not_wait(following):
    """When something changed in the network the name is looked up at once, and the pauses are short again."""
    del following.resolver.names[NAME]
    following.name.start()
    following.clock.pump([5, 10, 20])
    assert following.asked == 4
    following.name.refresh()
    assert following.asked == 5
    following.resolver.names[NAME] = "198.51.100.7"
    following.clock.advance(5)
    assert following.told == ["198.51.100.7"]
    assert len(following.clock.getDelayedCalls()) == 1


def test_refresh_while_looking_up(following):
    """A look-up that runs already is not doubled."""
    following.resolver.hold()
    following.name.start()
    following.name.refresh()
    assert following.asked == 1
    following.resolver.release()
    assert following.told == ["198.51.100.7"]


def test_refresh_of_a_stopped_one(following):
    """Before start and after stop nothing is looked up."""
    following.name.refresh()
    following.name.start()
    following.name.stop()
    following.name.refresh()
    following.clock.advance(10 * REFRESH)
    assert following.asked == 1
    assert following.name.address == "198.51.100.7"


def test_stopped_while_looking_up(following, logged):
    """stop() gives a look-up up, silently."""
    following.resolver.hold()
    following.name.start()
    following.name.stop()
    assert following.resolver.waiting == []
    assert following.told == []
    assert logged() == []


def test_stopped_by_the_one_who_is_told():
    """Whoever is told of a change may stop it."""
    following = Following(**{NAME: "198.51.100.7"})
    name = FollowedName(NAME, following.clock, following.resolver.resolve, lambda: name.stop())
    name.start()
    assert name.address == "198.51.100.7"
    assert following.clock.getDelayedCalls() == []


@pytest.mark.logs_failures
def test_a_resolver_with_a_bug(logged):
    """An unexpected exception is logged with its traceback, and the name is tried again."""
    clock, told = Clock(), []
    answers = [fail(RuntimeError("a bug")), MemoryResolver({NAME: "198.51.100.7"}).resolve(NAME)]
    name = FollowedName(NAME, clock, lambda *question: answers.pop(0), lambda: told.append(name.address))
    name.start()
    assert logged() == [(LogLevel.critical, f"looking up {NAME}")]
    clock.advance(5)
    assert told == ["198.51.100.7"]
    name.stop()
    assert clock.getDelayedCalls() == []
