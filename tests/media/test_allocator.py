# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from siproxd_tw.media.allocator import ELSEWHERE, NoPortFree, PortAllocator, sequential

IN, OUT = "10.0.0.1", "203.0.113.1"


def test_one_pointer_for_all_addresses():
    """The first call gets 7070 outside and 7072 inside, the next one goes on from there."""
    allocator = PortAllocator(7070, 7089)
    assert allocator.allocate([OUT, IN], 0) == [7070, 7072]
    assert allocator.allocate([OUT, OUT, IN, IN], 0) == [7074, 7076, 7078, 7080]


def test_each_address_has_the_whole_range():
    """Ten pairs are ten calls with two addresses, and five where both sides are one address."""
    allocator = PortAllocator(7070, 7088)
    for _ in range(10):
        allocator.allocate([OUT, IN], 0)
    assert allocator.figures([IN]) == {IN: {"used": 10, "free": 0}, OUT: {"used": 10, "free": 0}}
    one_armed = PortAllocator(7070, 7088)
    for _ in range(5):
        one_armed.allocate([IN, IN], 0)
    with pytest.raises(NoPortFree):
        one_armed.allocate([IN, IN], 0)


def test_all_or_nothing():
    """When one pair is missing none is taken, the pointer stays, and the text says what there is."""
    allocator = PortAllocator(7070, 7072)
    assert allocator.allocate([OUT], 0) == [7070]
    with pytest.raises(NoPortFree, match=r"no RTP port of 7070-7072 is free on 203\.0\.113\.1, 1 in use"):
        allocator.allocate([OUT, OUT], 0)
    assert allocator.figures([OUT]) == {OUT: {"used": 1, "free": 1}}
    assert allocator.allocate([OUT], 0) == [7072]


def test_quarantine():
    """A released pair is not given out for a while, unless there is no other."""
    allocator = PortAllocator(7070, 7074, quarantine=4.0)
    assert allocator.allocate([OUT, OUT], 0) == [7070, 7072]
    allocator.release(OUT, 7070, 10.0)
    allocator.release(OUT, 7072, 11.0)
    assert allocator.allocate([OUT], 12.0) == [7074]
    allocator.release(OUT, 7074, 12.0)
    assert allocator.allocate([OUT], 14.0) == [7070]  # has rested
    assert allocator.allocate([OUT], 14.0) == [7072]  # has not, and has rested longer than 7074
    assert allocator.allocate([OUT], 14.0) == [7074]
    with pytest.raises(NoPortFree):
        allocator.allocate([OUT], 14.0)


def test_in_use_elsewhere():
    """A pair that another program has is replaced, left alone for a while, and tried again later."""
    allocator = PortAllocator(7070, 7074)
    assert allocator.allocate([OUT], 0) == [7070]
    assert allocator.in_use_elsewhere(OUT, 7070, 0) == 7072
    assert allocator.figures([]) == {OUT: {"used": 1, "free": 2}}
    assert allocator.allocate([OUT], 1) == [7074]
    with pytest.raises(NoPortFree):
        allocator.in_use_elsewhere(OUT, 7074, 1)
    with pytest.raises(NoPortFree):
        allocator.allocate([OUT], ELSEWHERE - 0.1)
    assert allocator.allocate([OUT], ELSEWHERE) == [7070]
    assert allocator.allocate([IN], 0) == [7072]  # elsewhere is a matter of one address


def test_another_order():
    """The order is a matter of who makes the allocator."""
    allocator = PortAllocator(7070, 7074, order=lambda pairs, last: reversed(range(pairs)))
    assert allocator.allocate([OUT, OUT, IN], 0) == [7074, 7072, 7074]


def test_sequential():
    """Round robin: all places once, those after the last one first."""
    assert list(sequential(4, -1)) == [0, 1, 2, 3]
    assert list(sequential(4, 1)) == [2, 3, 0, 1]
    assert list(sequential(1, 0)) == [0]


class Books(RuleBasedStateMachine):
    """Whatever is asked and given back, no pair has two owners, and the figures are right."""

    def __init__(self):
        super().__init__()
        self.allocator = PortAllocator(7070, 7076)
        self.owned = set()
        self.now = 0.0

    @rule(hosts=st.lists(st.sampled_from([IN, OUT]), min_size=1, max_size=5))
    def allocate(self, hosts):
        before = set(self.owned)
        try:
            ports = self.allocator.allocate(hosts, self.now)
        except NoPortFree:
            return
        for pair in zip(hosts, ports, strict=True):
            assert pair not in self.owned and pair[1] in (7070, 7072, 7074, 7076)
            self.owned.add(pair)
        assert len(self.owned) == len(before) + len(hosts)

    @rule(data=st.data())
    def release(self, data):
        if self.owned:
            pair = data.draw(st.sampled_from(sorted(self.owned)))
            self.owned.remove(pair)
            self.allocator.release(*pair, self.now)

    @rule(data=st.data())
    def somebody_else_has_it(self, data):
        if self.owned:
            host, port = data.draw(st.sampled_from(sorted(self.owned)))
            self.owned.remove((host, port))
            try:
                another = self.allocator.in_use_elsewhere(host, port, self.now)
            except NoPortFree:
                return
            assert another != port and (host, another) not in self.owned
            self.owned.add((host, another))

    @rule(seconds=st.floats(0, 40))
    def wait(self, seconds):
        self.now += seconds

    @invariant()
    def the_figures_are_right(self):
        for host, figures in self.allocator.figures([IN, OUT]).items():
            used = len([pair for pair in self.owned if pair[0] == host])
            assert figures == {"used": used, "free": 4 - used}


TestBooks = Books.TestCase
TestBooks.settings = settings(max_examples=50, deadline=None)
