# SPDX-License-Identifier: MIT
from __future__ import annotations

from dataclasses import replace

import pytest

from siproxd_tw.interfaces import Address, Side
from siproxd_tw.media.session import (
    LONGEST_HOLD,
    LONGEST_OFFER,
    LONGEST_RINGING,
    Leg,
    MediaSession,
    Offer,
    Stream,
)
from siproxd_tw.sdp import SessionDescription
from tests.support.exchanges import ALICE, BOB, CAROL, DORA, exchange


def description(body: bytes) -> SessionDescription:
    return SessionDescription.parse(body)


def offered(session, made_by, body, transaction="t1", now=0.0, to=BOB) -> Offer:
    """Make an offer in `session` with a stream for each m= line that has none."""
    parsed = description(body)
    offer = Offer(
        exchange(made_by, to, transaction), session.party_of(exchange(made_by, to)) or 0, parsed, now
    )
    for media in parsed.media:
        if media.is_relayable and media.index not in session.streams:
            sides = [party.side for party in session.parties]
            legs = [Leg(side, "192.0.2.1", 7070 + 4 * media.index + 2 * n) for n, side in enumerate(sides)]
            offer.streams[media.index] = Stream(media.index, (legs[0], legs[1]), media.is_rtp)
    session.offered(offer)
    return offer


def new_call(body: bytes = b"") -> tuple[MediaSession, Offer]:
    """Let Alice call somebody outside, with one audio stream unless `body` says something else."""
    session = MediaSession(exchange(ALICE, Side.OUTSIDE), 0.0)
    return session, offered(session, ALICE, body or ALICE.at(40000), to=Side.OUTSIDE)


def targets(session: MediaSession) -> list[tuple[str, str]]:
    """Return where each agreed stream sends for the first and for the second party."""
    return [
        tuple(str(leg.rtp.target) for leg in stream.legs) for _, stream in sorted(session.streams.items())
    ]


class TestParties:
    def test_a_new_call(self):
        """Whoever answers on the other side becomes the second party, and then only they."""
        session, offer = new_call()
        assert session.party_of(exchange(ALICE, BOB)) == 0
        assert session.party_of(exchange(BOB, ALICE)) == 1
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        assert session.party_of(exchange(BOB, ALICE)) == 1
        assert session.party_of(exchange(DORA, ALICE)) is None
        assert session.party_of(exchange(ALICE, DORA)) is None
        assert session.party_of(exchange(CAROL, BOB)) is None

    def test_sides_tell_two_passages_apart(self):
        """A call that passes twice, there inside and here outside, is two sessions."""
        there = MediaSession(exchange(ALICE, Side.OUTSIDE), 0)
        back = MediaSession(replace(exchange(ALICE, Side.INSIDE), sender_side=Side.OUTSIDE), 0)
        assert there.party_of(exchange(ALICE, BOB)) == 0
        assert back.party_of(exchange(ALICE, BOB)) is None
        from_carol = replace(exchange(CAROL, ALICE), receiver_side=Side.OUTSIDE)
        assert back.party_of(from_carol) == 1
        assert there.party_of(from_carol) is None

    def test_two_phones_on_one_side(self):
        """Parties on the same side are told apart by their tags."""
        session = MediaSession(exchange(ALICE, CAROL), 0)
        assert session.party_of(exchange(ALICE, CAROL)) == 0
        assert session.party_of(exchange(CAROL, ALICE)) == 1


class TestExchanges:
    def test_early_media_before_any_answer(self):
        """From the offer on the relay can send to its sender, and to the other party not yet."""
        _, offer = new_call()
        caller, callee = offer.streams[0].legs
        assert caller.rtp.target == Address("10.0.0.10", 40000)
        assert caller.rtcp.target == Address("10.0.0.10", 40001)
        assert callee.rtp.target is None

    def test_answer(self):
        """The answer commits both sides."""
        session, offer = new_call()
        assert session.answered(offer, b"b", description(BOB.at(50000)), 1) == []
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:50000")]
        assert offer.streams == {} and session.all_streams() == list(session.streams.values())

    def test_the_same_answer_again_changes_nothing(self):
        """A retransmitted 200 does not start learning anew."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        latch = session.streams[0].legs[1].rtp
        latch.follow(Address("198.51.100.9", 1024), 2)
        session.answered(offer, b"b", description(BOB.at(50000)), 3)
        assert not latch.is_learning

    def test_forks(self):
        """The last answer counts, also when an earlier fork speaks again with the same words."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        session.answered(offer, b"d", description(DORA.at(51000)), 2)
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.61:51000")]
        session.answered(offer, b"b", description(BOB.at(50000)), 3)
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:50000")]
        assert session.party_of(exchange(DORA, ALICE)) == 1
        assert session.forget_fork(exchange(DORA, ALICE))
        assert not session.forget_fork(exchange(BOB, ALICE))
        assert session.party_of(exchange(DORA, ALICE)) is None

    def test_a_pending_offer_changes_nothing(self):
        """Until it is answered, a re-offer leaves the media alone; withdrawn it has never been."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        again = offered(session, BOB, BOB.at(51000), "t2", 10, to=ALICE)
        assert again.party == 1
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:50000")]
        assert session.withdrawn(again, 11) == []
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:50000")]
        assert list(session.offers) == [b"t1"]

    def test_a_committed_offer(self):
        """The answer to a re-offer commits it, on the ports that are there."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        stream = session.streams[0]
        again = offered(session, BOB, BOB.at(51000), "t2", 10, to=ALICE)
        session.answered(again, b"a", description(ALICE.at(42000)), 11)
        assert session.streams == {0: stream}
        assert targets(session) == [("10.0.0.10:42000", "203.0.113.60:51000")]

    def test_rollback_after_a_provisional_answer(self):
        """A re-INVITE that was answered in a 18x and then refused leaves things as before."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        again = offered(session, BOB, BOB.at(51000), "t2", 10, to=ALICE)
        session.answered(again, b"a", description(ALICE.at(42000)), 11)
        session.withdrawn(again, 12)
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:50000")]

    def test_an_old_answer_after_a_newer_exchange(self):
        """A 200 that repeats the words of the 183 does not undo the UPDATE between them."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        update = offered(session, BOB, BOB.at(51000), "t2", 2, to=ALICE)
        session.answered(update, b"a", description(ALICE.at(40000)), 3)
        session.answered(offer, b"b", description(BOB.at(50000)), 4)
        assert targets(session) == [("10.0.0.10:40000", "203.0.113.60:51000")]

    def test_streams_come_and_go(self):
        """A stream that a re-offer adds exists when it is answered, one that it drops is unneeded then."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        audio = session.streams[0]
        more = offered(session, ALICE, ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"), "t2")
        assert list(session.streams) == [0] and list(more.streams) == [1]
        video = more.streams[1]
        assert session.ports(1, more) == {0: 7072, 1: 7076}
        both = description(BOB.says("audio 50000 RTP/AVP 0", "video 50010 RTP/AVP 96"))
        assert session.answered(more, b"b", both, 2) == []
        assert session.streams == {0: audio, 1: video}
        less = offered(session, BOB, BOB.says("audio 0 RTP/AVP 0", "video 50010 RTP/AVP 96"), "t3", to=ALICE)
        answer = description(ALICE.says("audio 0 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        assert session.answered(less, b"a", answer, 3) == [audio]
        assert session.streams == {1: video}

    def test_a_stream_that_is_withdrawn(self):
        """What a withdrawn offer would have added is unneeded."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        more = offered(session, ALICE, ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"), "t2")
        assert [stream.index for stream in session.withdrawn(more, 2)] == [1]

    def test_a_rejected_stream(self):
        """Port 0 in the answer: nothing is sent there."""
        session, offer = new_call(ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        session.answered(offer, b"b", description(BOB.says("audio 50000 RTP/AVP 0", "video 0 RTP/AVP 96")), 1)
        assert targets(session)[1] == ("10.0.0.10:40010", "None")

    def test_an_answer_that_is_too_short(self):
        """An answer with fewer m= lines than the offer rejects the others."""
        session, offer = new_call(ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        assert targets(session)[1] == ("10.0.0.10:40010", "None")

    def test_an_address_of_another_family(self):
        """A leg sends only to what its socket can reach."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000, host="2001:db8::60")), 1)
        assert targets(session) == [("10.0.0.10:40000", "None")]


class TestFamilies:
    """A leg of each party in its own address family; the figures are those of Alice and of Bob."""

    def at(self, here: str, there: str):
        return replace(ALICE, met=here), replace(BOB, met=there)

    def settled(self, body: bytes, here: str, there: str) -> MediaSession:
        """Let Alice call Bob with `body`, and the call be answered."""
        one, other = self.at(here, there)
        session = MediaSession(exchange(one, Side.OUTSIDE, met=there), 0)
        offer = Offer(exchange(one, Side.OUTSIDE, met=there), 0, description(body), 0)
        offer.families = session.families(offer)
        session.offered(offer)
        session.answered(offer, b"b", description(other.at(50000)), 1)
        return session

    @pytest.mark.parametrize(
        ("said", "here", "there", "families"),
        [
            ("", "", "", (4, 0)),
            ("fd00::10", "", "", (6, 0)),
            ("", "fd00::10", "2001:db8::60", (4, 6)),
            ("0.0.0.0", "fd00::10", "203.0.113.60", (6, 4)),
            ("::", "", "203.0.113.60", (0, 4)),
        ],
    )
    def test_at_first(self, said, here, there, families):
        """What a description shows counts for its sender, else where signalling meets the two."""
        session = self.settled(ALICE.at(40000, host=said), here, there)
        assert tuple(party.family for party in session.parties) == families

    @pytest.mark.parametrize(
        ("said", "here", "there", "families"),
        [
            ("203.0.113.60", "203.0.113.60", "fd00::10", (6, 4)),
            ("0.0.0.0", "203.0.113.60", "fd00::10", (6, 4)),
            ("0.0.0.0", "", "", (6, 4)),
            ("2001:db8::60", "203.0.113.60", "fd00::10", (6, 6)),
            ("0.0.0.0", "2001:db8::60", "fd00::10", (6, 6)),
            ("203.0.113.60", "203.0.113.60", "10.0.0.10", (4, 4)),
        ],
    )
    def test_later(self, said, here, there, families):
        """What was stays, until a description or signalling says something else; one of them is enough."""
        session = self.settled(ALICE.at(40000, host="fd00::10"), "fd00::10", "203.0.113.60")
        step = exchange(replace(BOB, met=here), replace(ALICE, met=there), "t2")
        again = Offer(step, 1, description(BOB.at(50000, host=said)), 10)
        assert session.families(again) == families

    def test_media_in_another_family_than_signalling(self):
        """A party that speaks IPv6 and signals over IPv4 is not moved by what it does all the time."""
        session = self.settled(ALICE.at(40000, host="fd00::10"), "10.0.0.10", "203.0.113.60")
        step = exchange(replace(BOB, met="203.0.113.60"), replace(ALICE, met="10.0.0.10"), "t2")
        assert session.families(Offer(step, 1, description(BOB.at(50000)), 10)) == (6, 4)

    def test_signalling_speaks_up_later(self):
        """Where signalling met a party is told for the first time: that is no move."""
        session = self.settled(ALICE.at(40000, host="fd00::10"), "", "")
        step = exchange(replace(BOB, met="203.0.113.60"), replace(ALICE, met="10.0.0.10"), "t2")
        assert session.families(Offer(step, 1, description(BOB.at(50000)), 10)) == (6, 4)


HELD = [
    (ALICE.at(40000, "sendonly"), BOB.at(50000, "recvonly")),
    (ALICE.at(40000, "inactive"), BOB.at(50000, "inactive")),
    (ALICE.at(40000, host="0.0.0.0"), BOB.at(50000)),
    (ALICE.at(40000), BOB.at(50000, host="0.0.0.0")),
    (ALICE.at(0), BOB.at(0)),
    (ALICE.at(40000), BOB.at(0)),
    (ALICE.at(40000, host="::"), BOB.at(50000)),
    (
        ALICE.says("audio 40000 RTP/AVP 0", "sendonly", "video 40010 RTP/AVP 96", "inactive"),
        BOB.says("audio 50000 RTP/AVP 0", "recvonly", "video 50010 RTP/AVP 96", "inactive"),
    ),
    (
        ALICE.says("audio 40000 RTP/AVP 0", "sendonly", "video 40010 RTP/AVP 96"),
        BOB.says("audio 50000 RTP/AVP 0", "recvonly", "video 0 RTP/AVP 96"),
    ),
]


class TestEnd:
    def test_without_an_answer(self):
        """Five minutes after an offer that nobody answers it is stale, whatever is on the line."""
        session, offer = new_call()
        offer.streams[0].legs[0].rtp.packets += 1
        assert not session.is_over(LONGEST_OFFER - 1, 30)
        assert session.stale_offer(LONGEST_OFFER - 1) is None
        assert session.stale_offer(LONGEST_OFFER) is offer

    @pytest.mark.parametrize("which", ["rtp", "rtcp"])
    @pytest.mark.parametrize("party", [0, 1])
    def test_silence(self, which, party):
        """A call ends when no stream has had RTP or RTCP in either direction for the timeout."""
        session, offer = new_call(ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        both = description(BOB.says("audio 50000 RTP/AVP 0", "video 50010 RTP/AVP 96"))
        session.answered(offer, b"b", both, 100)
        assert not session.is_over(129, 30)
        getattr(session.streams[1].legs[party], which).packets += 1
        assert not session.is_over(130, 30)
        assert not session.is_over(159, 30)
        assert session.is_over(160, 30)

    def test_silence_from_the_beginning(self):
        """Until the first packet it may still be ringing, with a description in the 183."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 100)
        assert not session.is_over(100 + LONGEST_RINGING - 1, 30)
        assert session.is_over(100 + LONGEST_RINGING, 30)
        assert not session.is_over(100 + LONGEST_RINGING, LONGEST_RINGING + 1)

    def test_no_timeout(self):
        """With a timeout of 0 no call ends by silence."""
        session, offer = new_call()
        session.answered(offer, b"b", description(BOB.at(50000)), 1)
        assert not session.is_over(1e9, 0)

    @pytest.mark.parametrize(("offer", "answer"), HELD)
    def test_hold(self, offer, answer):
        """On hold, in every dialect, silence is no reason to end; a day of it is."""
        session, made = new_call(offer)
        session.answered(made, b"b", description(answer), 1)
        assert session.is_on_hold
        assert not session.is_over(LONGEST_HOLD, 30)
        assert session.is_over(LONGEST_HOLD + 1, 30)

    def test_a_rejected_stream_beside_a_running_one_is_no_hold(self):
        """Video that was never accepted does not keep a dead call alive."""
        session, offer = new_call(ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        answer = description(BOB.says("audio 50000 RTP/AVP 0", "video 0 RTP/AVP 96"))
        session.answered(offer, b"b", answer, 1)
        assert not session.is_on_hold

    def test_one_stream_of_two_on_hold_is_no_hold(self):
        """A call whose audio is held and whose video runs is alive as long as the video comes."""
        session, offer = new_call(ALICE.says("audio 40000 RTP/AVP 0", "sendonly", "video 40010 RTP/AVP 96"))
        answer = BOB.says("audio 50000 RTP/AVP 0", "recvonly", "video 50010 RTP/AVP 96")
        session.answered(offer, b"b", description(answer), 1)
        assert not session.is_on_hold
        session.streams[1].legs[0].rtp.packets += 1
        assert not session.is_over(30, 30) and session.is_over(60, 30)

    def test_resume_starts_the_clock_anew(self):
        """After hold the silence counts from the end of the hold."""
        session, offer = new_call(ALICE.at(40000, "sendonly"))
        session.answered(offer, b"b", description(BOB.at(50000, "recvonly")), 1)
        session.streams[0].legs[1].rtp.packets += 1
        assert not session.is_over(500, 30)
        resume = offered(session, ALICE, ALICE.at(40000), "t2", 1000)
        session.answered(resume, b"b", description(BOB.at(50000)), 1000)
        assert not session.is_over(1029, 30)
        assert session.is_over(1030, 30)
