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
from tests.support.addresses import FixedAddresses, dual_stack, ipv6_only
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
ATTRIBUTES = st.sampled_from(
    [
        "sendrecv",
        "sendonly",
        "inactive",
        "rtcp:53020",
        "c=IN IP4 0.0.0.0",
        "c=IN IP6 ::",
        "c=IN IP6 fd00::66",
        "a=rtcp:53020 IN IP6 fd00::66",
    ]
)
STREAMS = st.lists(st.tuples(LINES, st.lists(ATTRIBUTES, max_size=1)), min_size=1, max_size=3)
ALICE6 = replace(ALICE, host="fd00::10", met="fd00::10")
BOB6 = replace(BOB, host="2001:db8::60", met="2001:db8::60")
BOTH = replace(DORA, host="2001:db8::61", met="203.0.113.61")
SPEAKERS = st.sampled_from([ALICE, CAROL, BOB, DORA, ALICE6, BOB6, BOTH])
MET = st.sampled_from(["", "10.0.0.10", "2001:db8::60"])
OURS = ("10.0.0.1", "203.0.113.1", "fd00::1", "2001:db8::1")


def body(speaker: Speaker, streams, port: int) -> bytes:
    """Return a description of `speaker` with these streams, from `port` on."""
    lines = []
    for number, (line, attributes) in enumerate(streams):
        lines += [line.format(port + 2 * number), *attributes]
    return speaker.says(*lines)


def is_ours(edited: bytes) -> bool:
    """Return whether nothing but our addresses, in one family, or hold is where media comes in."""
    description = SessionDescription.parse(edited)
    media = [m for m in description.media if m.is_relayable]
    targets = [m.target for m in media]
    families = {m.connection.family for m in media if m.connection is not None}
    return len(families) < 2 and all(target is None or target[0] in OURS for target in targets)


class Life(RuleBasedStateMachine):
    """The relay among callers who follow no rule."""

    bed: Bed

    @initialize(
        high=st.sampled_from([7070, 7074, 7088]),
        addresses=st.sampled_from([FixedAddresses, dual_stack, ipv6_only]),
    )
    def open(self, high, addresses):
        self.bed = memory_bed(addresses(), port_high=high, timeout=60.0)
        self.offers = []
        self.turns = 0
        self.others = {}

    def _offer(self, one, other, streams, port, call_id, **met):
        self.turns += 1
        turn = f"t{self.turns}"
        offered = body(one, streams, port)
        before = set(self.bed.network.bound)
        try:
            edited = self.bed.offer(one, other, offered, turn, call_id=call_id, **met)
        except MediaUnavailable:
            self.bed.clock.advance(0)
            assert set(self.bed.network.bound) <= before
            return
        assert is_ours(edited)
        assert self.bed.offer(one, other, offered, turn, call_id=call_id, **met) == edited
        self.offers.append((one, other, turn, call_id))

    @rule(call_id=CALLS, one=SPEAKERS, side=st.sampled_from(Side), streams=STREAMS, met=MET)
    def somebody_calls(self, call_id, one, side, streams, met):
        self._offer(one, side, streams, 40000, call_id, met=met)

    @rule(side=st.sampled_from(Side), family=st.sampled_from([4, 6]), number=st.sampled_from([0, 1]))
    def an_address_comes_or_goes(self, side, family, number):
        known = {(Side.INSIDE, 4): OURS[0], (Side.OUTSIDE, 4): OURS[1], (Side.INSIDE, 6): OURS[2]}
        self.bed.addresses.set(side, known.get((side, family), OURS[3]) if number else None, family)

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
            there = data.draw(st.sampled_from(bound))
            stranger = "fd00::66" if ":" in there[0] else "192.0.2.66"
            host = who.host if (":" in who.host) == (":" in there[0]) else stranger
            self.bed.network.peer(host, port).send(rtp(), there)

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
            for known in (leg[kind][which] for kind in ("rtp", "rtcp") for which in ("announced", "source")):
                assert not known or ("[" in known) == (":" in leg["host"])
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
    max_examples=60, stateful_step_count=30, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
