# SPDX-License-Identifier: MIT
"""Any order of offers, answers, refusals, ends and packets: everything comes back."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from twisted.internet.protocol import DatagramProtocol

from siproxd_tw.interfaces import MediaUnavailable, Side
from siproxd_tw.media.session import LONGEST_HOLD
from siproxd_tw.sdp import SessionDescription
from tests.support.exchanges import ALICE, BOB, CAROL, DORA, Speaker
from tests.support.mediabed import Bed, memory_bed, rtp

CALLS = st.sampled_from(["one", "two", "three"])
LINES = st.sampled_from(
    [
        "audio {} RTP/AVP 0",
        "video {} RTP/AVP 96",
        "image {} udptl t38",
        "audio 0 RTP/AVP 0",
        "message {} TCP/MSRP *",
    ]
)
ATTRIBUTES = st.sampled_from(["sendrecv", "sendonly", "inactive", "rtcp:53020", "c=IN IP4 0.0.0.0"])
STREAMS = st.lists(st.tuples(LINES, st.lists(ATTRIBUTES, max_size=1)), min_size=1, max_size=3)
SPEAKERS = st.sampled_from([ALICE, CAROL, BOB, DORA])


def body(speaker: Speaker, streams, port: int) -> bytes:
    """Return a description of `speaker` with these streams, from `port` on."""
    lines = []
    for number, (line, attributes) in enumerate(streams):
        lines += [line.format(port + 2 * number), *attributes]
    return speaker.says(*lines)


def is_ours(edited: bytes) -> bool:
    """Return whether nothing but our addresses, or hold, is where media comes in."""
    description = SessionDescription.parse(edited)
    targets = [m.target for m in description.media if m.is_relayable]
    return all(target is None or target[0] in ("10.0.0.1", "203.0.113.1") for target in targets)


class Life(RuleBasedStateMachine):
    """The relay among callers who follow no rule."""

    bed: Bed

    @initialize(high=st.sampled_from([7070, 7074, 7088]))
    def open(self, high):
        self.bed = memory_bed(port_high=high, timeout=60.0)
        self.offers = []
        self.turns = 0
        self.others = {}

    def _offer(self, one, other, streams, port, call_id):
        self.turns += 1
        turn = f"t{self.turns}"
        offered = body(one, streams, port)
        before = set(self.bed.network.bound)
        try:
            edited = self.bed.offer(one, other, offered, turn, call_id=call_id)
        except MediaUnavailable:
            self.bed.clock.advance(0)
            assert set(self.bed.network.bound) <= before
            return
        assert is_ours(edited)
        assert self.bed.offer(one, other, offered, turn, call_id=call_id) == edited
        self.offers.append((one, other, turn, call_id))

    @rule(call_id=CALLS, one=SPEAKERS, side=st.sampled_from(Side), streams=STREAMS)
    def somebody_calls(self, call_id, one, side, streams):
        self._offer(one, side, streams, 40000, call_id)

    @rule(call_id=CALLS, one=SPEAKERS, other=SPEAKERS, streams=STREAMS, port=st.sampled_from([40000, 45000]))
    def somebody_offers_in_a_call(self, call_id, one, other, streams, port):
        self._offer(one, other, streams, port, call_id)

    @rule(data=st.data(), streams=STREAMS, port=st.sampled_from([50000, 55000]), who=SPEAKERS)
    def somebody_answers(self, data, streams, port, who):
        if not self.offers:
            return
        one, other, turn, call_id = data.draw(st.sampled_from(self.offers))
        answerer = replace(who, side=other) if isinstance(other, Side) else other
        said = body(answerer, streams, port)
        edited = self.bed.answer(answerer, one, said, turn, call_id=call_id)
        assert self.bed.answer(answerer, one, said, turn, call_id=call_id) == edited

    @rule(data=st.data())
    def somebody_refuses(self, data):
        if self.offers:
            one, other, turn, call_id = data.draw(st.sampled_from(self.offers))
            self.bed.withdraw(one, other, turn, call_id=call_id)

    @rule(call_id=CALLS, one=SPEAKERS, other=SPEAKERS)
    def somebody_hangs_up(self, call_id, one, other):
        self.bed.hang_up(one, other, call_id=call_id)

    @rule(data=st.data(), who=SPEAKERS, port=st.sampled_from([40000, 50000, 666]))
    def somebody_sends(self, data, who, port):
        bound = sorted(set(self.bed.network.bound) - set(self.others))
        if bound:
            self.bed.network.peer(who.host, port).send(rtp(), data.draw(st.sampled_from(bound)))

    @rule(port=st.sampled_from([7070, 7073]), host=st.sampled_from(["10.0.0.1", "203.0.113.1"]))
    def another_program_binds(self, port, host):
        if (host, port) not in self.bed.network.bound:
            self.others[host, port] = self.bed.network.listenUDP(port, DatagramProtocol(), interface=host)

    @rule()
    def the_other_program_ends(self):
        for port in self.others.values():
            port.stopListening()
        self.others.clear()

    @rule(seconds=st.sampled_from([0.02, 1.0, 5.0, 20.0, 70.0, 301.0]))
    def time_passes(self, seconds):
        for _ in range(int(seconds // 5)):
            self.bed.clock.advance(5)
        self.bed.clock.advance(seconds % 5)

    @invariant()
    def the_books_are_right(self):
        """Each stream has its four sockets and two pairs, and nothing else is open or booked."""
        bed = self.bed
        bed.clock.advance(0)
        status = bed.relay.status()
        assert len(bed.network.bound) == 4 * status["streams"] + len(self.others)
        assert sum(figures["used"] for figures in status["ports"].values()) == 2 * status["streams"]
        described = [stream for call in ("one", "two", "three") for stream in bed.streams(call)]
        assert len(described) == status["streams"]
        for leg in [leg for stream in described for leg in stream["legs"]]:
            assert {(leg["host"], leg["port"]), (leg["host"], leg["port"] + 1)} <= set(bed.network.bound)
        assert len(bed.clock.getDelayedCalls()) == (1 if status["sessions"] else 0)

    def teardown(self):
        """A day later, with nobody on the line, everything is gone by itself."""
        bed = self.bed
        for port in self.others.values():
            port.stopListening()
        bed.clock.advance(LONGEST_HOLD + 400)
        for _ in range(3):
            bed.clock.advance(5)
        assert bed.relay.status()["sessions"] == 0
        assert bed.network.bound == {} and bed.clock.getDelayedCalls() == []


TestLife = Life.TestCase
TestLife.settings = settings(
    max_examples=100, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
