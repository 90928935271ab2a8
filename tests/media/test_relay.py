# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import LogLevel, formatEvent
from twisted.logger import capturedLogs as captured_logs
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import IMediaRelay, IStatus, MediaNotAcceptable, MediaUnavailable, Side
from siproxd_tw.media.relay import MOST_STREAMS, NoRelay
from siproxd_tw.media.session import LONGEST_OFFER
from tests.support.addresses import FixedAddresses, in_front_of_nat, one_armed
from tests.support.exchanges import ALICE, BOB, CAROL, DORA, exchange
from tests.support.mediabed import RTCP, Bed, loopback_bed, memory_bed, ports, received, result, rtp


@pytest.fixture
def bed():
    """A relay in memory; at its end nothing may be left of it."""
    made = memory_bed()
    yield made
    close(made)


def close(bed: Bed) -> None:
    stopped = bed.relay.stop()
    bed.clock.advance(0)
    assert stopped.called
    assert bed.network.bound == {}
    assert bed.clock.getDelayedCalls() == []


@pytest.fixture(params=["memory", "loopback"])
def both(request):
    """The same on real sockets."""
    if request.param == "memory":
        made = memory_bed()
        yield made
        close(made)
        return
    from twisted.internet import reactor  # noqa: TID251

    made = loopback_bed(reactor)
    yield made
    pytest_twisted.blockon(made.relay.stop())
    pytest_twisted.blockon(Deferred.fromCoroutine(made.network.close()))


def test_provides(bed):
    """Both relays keep the contract."""
    for relay in (bed.relay, NoRelay()):
        assert verifyObject(IMediaRelay, relay)
        assert verifyObject(IStatus, relay)


def test_no_relay():
    """With rtp_proxy_enable = 0 nothing is rewritten and nothing relayed."""
    relay, first = NoRelay(), exchange(ALICE, Side.OUTSIDE)
    assert result(relay.offer(first, ALICE.at(40000))) == []
    assert result(relay.answer(replace(first, receiver=b"b").reply, BOB.at(50000))) == []
    assert result(relay.withdraw(first)) is None
    assert result(relay.delete(first)) is None
    assert result(relay.query(b"call")) == []
    assert relay.status() == {} and relay.streams() == []
    assert result(relay.stop()) is None


class TestOutgoingCall:
    def test_tc09_tc10_ports(self, bed):
        """The first call has 7070 outside and 7072 inside; a retransmission has the same bytes."""
        offer = bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        assert offer == replace(ALICE, host="203.0.113.1").at(7070)
        assert bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000)) == offer
        answer = bed.answer(BOB, ALICE, BOB.at(50000))
        assert answer == replace(BOB, host="10.0.0.1").at(7072)
        assert bed.answer(BOB, ALICE, BOB.at(50000)) == answer
        assert bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000)) == offer
        assert sorted(bed.network.bound) == [
            ("10.0.0.1", 7072),
            ("10.0.0.1", 7073),
            ("203.0.113.1", 7070),
            ("203.0.113.1", 7071),
        ]

    @pytest_twisted.ensureDeferred
    async def test_tc11_media(self, both):
        """RTP and RTCP pass both ways, each out of the port on which the other side is heard."""
        outside, inside = both.call()
        phone, remote = both.peer(both.alice, 40000), both.peer(both.bob, 50000)
        phone_rtcp, remote_rtcp = both.peer(both.alice, 40001), both.peer(both.bob, 50001)
        remote.send(rtp(1), (both.outside, outside))
        phone.send(rtp(2), (both.inside, inside))
        remote_rtcp.send(RTCP, (both.outside, outside + 1))
        phone_rtcp.send(RTCP + b"p", (both.inside, inside + 1))
        peers = (phone, remote, phone_rtcp, remote_rtcp)
        await both.network.until(lambda: all(peer.received for peer in peers))
        assert received(phone) == [(rtp(1), f"{both.inside}:{inside}")]
        assert received(remote) == [(rtp(2), f"{both.outside}:{outside}")]
        assert received(phone_rtcp) == [(RTCP, f"{both.inside}:{inside + 1}")]
        assert received(remote_rtcp) == [(RTCP + b"p", f"{both.outside}:{outside + 1}")]

    @pytest_twisted.ensureDeferred
    async def test_any_size(self, both):
        """The longest datagram passes whole, an empty one is ignored."""
        outside, _ = both.call()
        phone, remote = both.peer(both.alice, 40000), both.peer(both.bob, 50000)
        sizes = (0, 1500, 65495)
        remote.send(b"", (both.outside, outside))
        for size in sizes:
            remote.send(rtp(size, size), (both.outside, outside))
            remote.send(b"", (both.outside, outside))
        await both.network.until(lambda: len(phone.received) == 3)
        assert [data for data, _ in received(phone)] == [rtp(size, size) for size in sizes]

    def test_tc11_early_media(self, bed):
        """What the called party sends before any answer passes to the caller; the other way waits."""
        (outside,) = ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000)))
        phone, remote = bed.peer(ALICE, 40000), bed.peer(BOB, 50000)
        remote.send(rtp(1), ("203.0.113.1", outside))
        assert received(phone) == [(rtp(1), "10.0.0.1:7072")]
        phone.send(rtp(2), ("10.0.0.1", 7072))  # by now it is known where
        assert received(remote) == [(rtp(2), "203.0.113.1:7070")]

    def test_before_anything_is_known(self, bed):
        """A packet for a party that has said nothing yet is dropped and counted."""
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", 7072))
        assert bed.relay.status()["dropped"] == {"no target": 1}
        assert bed.network.lost == []

    def test_incoming_call(self, bed):
        """TC12, TC13: the call from outside; the side that is told first has the first port."""
        assert ports(bed.offer(BOB, Side.INSIDE, BOB.at(50000))) == [7070]
        assert ports(bed.answer(ALICE, BOB, ALICE.at(40000))) == [7072]
        bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", 7072))
        assert received(bed.peer(ALICE, 40000)) == [(rtp(1), "10.0.0.1:7070")]

    def test_hang_up_from_either_side(self, bed):
        """BYE of either party frees everything at once; a second BYE is no error."""
        for caller, callee in ((ALICE, BOB), (BOB, ALICE)):
            bed.call()
            bed.hang_up(caller, callee)
            bed.clock.advance(0)
            assert bed.network.bound == {}
            bed.hang_up(caller, callee)
        assert bed.relay.status()["sessions"] == 0

    def test_what_comes_after_the_end(self, bed):
        """Packets for a call that is over reach nobody and hurt nobody."""
        outside, _ = bed.call()
        phone, remote = bed.peer(ALICE, 40000), bed.peer(BOB, 50000)
        remote.send(rtp(1), ("203.0.113.1", outside))
        bed.hang_up(ALICE, BOB)
        remote.send(rtp(2), ("203.0.113.1", outside))
        bed.clock.advance(0)
        remote.send(rtp(3), ("203.0.113.1", outside))
        assert [data for data, _ in received(phone)] == [rtp(1)]

    def test_no_session_description(self, bed):
        """A body that is none gives no edits and no session."""
        assert bed.offer(ALICE, Side.OUTSIDE, b"hello") == b"hello"
        assert bed.answer(BOB, ALICE, b"hello") == b"hello"
        assert bed.answer(BOB, ALICE, BOB.at(50000)) == BOB.at(50000)
        assert bed.relay.status()["sessions"] == 0

    def test_two_phones_inside(self, bed):
        """TC25, media part: parties on the same side are relayed on that side's address."""
        (to_carol,) = ports(bed.offer(ALICE, CAROL, ALICE.at(40000)))
        (to_alice,) = ports(bed.answer(CAROL, ALICE, CAROL.at(42000)))
        assert {host for host, _ in bed.network.bound} == {"10.0.0.1"}
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", to_alice))
        bed.peer(CAROL, 42000).send(rtp(2), ("10.0.0.1", to_carol))
        assert received(bed.peer(CAROL, 42000)) == [(rtp(1), f"10.0.0.1:{to_carol}")]
        assert received(bed.peer(ALICE, 40000)) == [(rtp(2), f"10.0.0.1:{to_alice}")]

    def test_a_call_that_passes_twice(self, bed):
        """Alice calls Carol and the provider sends the call back: two sessions, and media through both."""
        outwards = replace(CAROL, side=Side.OUTSIDE)
        inwards = replace(ALICE, side=Side.OUTSIDE)
        there = bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        back = bed.offer(inwards, Side.INSIDE, there, "t2")
        answered = bed.answer(CAROL, inwards, CAROL.at(42000), "t2")
        home = bed.answer(outwards, ALICE, answered)
        assert bed.relay.status()["sessions"] == 2
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", *ports(home)))
        bed.peer(CAROL, 42000).send(rtp(2), ("10.0.0.1", *ports(back)))
        assert received(bed.peer(CAROL, 42000)) == [(rtp(1), f"10.0.0.1:{ports(back)[0]}")]
        assert received(bed.peer(ALICE, 40000)) == [(rtp(2), f"10.0.0.1:{ports(home)[0]}")]

        hold = bed.offer(CAROL, inwards, CAROL.at(42000, "sendonly"), "t3")
        assert ports(hold) == ports(answered)  # Carol's own session, not that of her other self
        bed.hang_up(CAROL, inwards)
        assert bed.relay.status()["sessions"] == 1
        bed.hang_up(outwards, ALICE)
        assert bed.relay.status()["sessions"] == 0


class TestChange:
    def test_tc15_new_address(self, bed):
        """A re-INVITE with another address keeps our port; after the answer media goes there."""
        outside, inside = bed.call()
        phone, old = bed.peer(ALICE, 40000), bed.peer(BOB, 50000)
        new = bed.network.peer("203.0.113.51", 51000)
        old.send(rtp(1), ("203.0.113.1", outside))
        moved = replace(BOB, host="203.0.113.51").at(51000)
        assert ports(bed.offer(BOB, ALICE, moved, "t2")) == [inside]
        phone.send(rtp(2), ("10.0.0.1", inside))
        assert received(old) == [(rtp(2), "203.0.113.1:7070")]
        assert ports(bed.answer(ALICE, BOB, ALICE.at(40000), "t2")) == [outside]
        phone.send(rtp(3), ("10.0.0.1", inside))
        assert received(new) == [(rtp(3), "203.0.113.1:7070")]
        old.send(rtp(4), ("203.0.113.1", outside))  # was on its way
        phone.send(rtp(5), ("10.0.0.1", inside))
        new.send(rtp(6), ("203.0.113.1", outside))
        assert received(old) == []
        assert received(new) == [(rtp(5), "203.0.113.1:7070")]
        assert [data for data, _ in received(phone)] == [rtp(1), rtp(6)]

    def test_tc15_refused(self, bed):
        """A re-INVITE that is refused with 488 changes nothing."""
        outside, inside = bed.call()
        phone, remote = bed.peer(ALICE, 40000), bed.peer(BOB, 50000)
        moved = replace(BOB, host="203.0.113.51").says("audio 51000 RTP/AVP 0", "video 51010 RTP/AVP 96")
        bed.offer(BOB, ALICE, moved, "t2")
        assert len(bed.network.bound) == 8
        bed.withdraw(BOB, ALICE, "t2")
        bed.clock.advance(0)
        assert len(bed.network.bound) == 4
        phone.send(rtp(1), ("10.0.0.1", inside))
        remote.send(rtp(2), ("203.0.113.1", outside))
        assert received(remote) == [(rtp(1), "203.0.113.1:7070")]
        assert received(phone) == [(rtp(2), "10.0.0.1:7072")]

    def test_tc16_hold(self, bed):
        """c=0.0.0.0 stays and nothing is sent there; the other party's address becomes ours."""
        _, inside = bed.call()
        held = bed.offer(BOB, ALICE, BOB.at(50000, host="0.0.0.0"), "t2")
        assert b"c=IN IP4 0.0.0.0\r\n" in held and b"o=- 1 1 IN IP4 10.0.0.1\r\n" in held
        assert ports(held) == [inside]
        bed.answer(ALICE, BOB, ALICE.at(40000), "t2")
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", inside))
        assert received(bed.peer(BOB, 50000)) == [] and bed.network.lost == []
        assert bed.relay.status()["dropped"] == {"no target": 1}
        bed.offer(BOB, ALICE, BOB.at(50000), "t3")
        bed.answer(ALICE, BOB, ALICE.at(40000), "t3")
        bed.peer(ALICE, 40000).send(rtp(2), ("10.0.0.1", inside))
        assert received(bed.peer(BOB, 50000)) == [(rtp(2), "203.0.113.1:7070")]

    def test_tc16_port_0(self, bed):
        """A disabled stream stays disabled, keeps its place, and costs no port."""
        body = ALICE.says("audio 0 RTP/AVP 0", "audio 40000 RTP/AVP 0")
        assert ports(bed.offer(ALICE, Side.OUTSIDE, body)) == [0, 7070]
        assert len(bed.network.bound) == 4

    def test_tc17_auth_round(self, bed):
        """A challenged INVITE gives its ports back; its echoes do not touch the one that follows."""
        assert ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000), "cseq1")) == [7070]
        bed.withdraw(ALICE, Side.OUTSIDE, "cseq1")
        bed.clock.advance(0)
        assert bed.network.bound == {}
        again = bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000), "cseq2")
        assert ports(again) == [7074]
        bed.withdraw(ALICE, Side.OUTSIDE, "cseq1")
        assert bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000), "cseq2") == again
        assert len(bed.network.bound) == 4

    def test_refused_after_early_media(self, bed):
        """A call that is refused after a 183 with a description ends."""
        bed.call()
        bed.withdraw(ALICE, BOB)
        bed.clock.advance(0)
        assert bed.network.bound == {}

    def test_forks(self, bed):
        """Another fork's answer leads the media there; the loser's end does not end the call."""
        outside, inside = bed.call()
        assert ports(bed.answer(DORA, ALICE, DORA.at(52000))) == [inside]
        phone, loser, winner = bed.peer(ALICE, 40000), bed.peer(BOB, 50000), bed.peer(DORA, 52000)
        phone.send(rtp(1), ("10.0.0.1", inside))
        assert received(loser) == []
        assert received(winner) == [(rtp(1), "203.0.113.1:7070")]
        bed.hang_up(ALICE, BOB)
        winner.send(rtp(2), ("203.0.113.1", outside))
        assert received(phone) == [(rtp(2), "10.0.0.1:7072")]
        bed.hang_up(DORA, ALICE)
        assert bed.relay.status()["sessions"] == 0

    def test_offer_in_the_response(self, bed):
        """INVITE without a description: the 200 offers, the ACK answers; then a re-INVITE the other way."""
        assert ports(bed.offer(BOB, ALICE, BOB.at(50000))) == [7070]
        assert ports(bed.answer(ALICE, BOB, ALICE.at(40000))) == [7072]
        assert ports(bed.offer(ALICE, BOB, ALICE.at(40002), "t2")) == [7072]
        assert ports(bed.answer(BOB, ALICE, BOB.at(50000), "t2")) == [7070]
        phone = bed.peer(ALICE, 40002)
        bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", 7072))
        assert received(phone) == [(rtp(1), "10.0.0.1:7070")]

    def test_the_same_transaction_with_other_words(self, bed):
        """A 200 whose description differs from that of its 183 is edited by its own positions."""
        first = ALICE.at(40000)
        other = ALICE.at(40000, "ptime:20", "sendrecv").replace(b"s=-", b"s=a longer name")
        bed.offer(ALICE, Side.OUTSIDE, first)
        assert bed.offer(ALICE, Side.OUTSIDE, other) == replace(ALICE, host="203.0.113.1").at(
            7070, "ptime:20", "sendrecv"
        ).replace(b"s=-", b"s=a longer name")
        bed.answer(BOB, ALICE, BOB.at(50000))
        assert ports(bed.offer(ALICE, Side.OUTSIDE, first)) == [7070]
        assert len(bed.network.bound) == 4

    @pytest.mark.parametrize("end", ["answer", "withdraw", "hang up"])
    def test_the_same_transaction_with_fewer_streams(self, bed, end):
        """A 200 that offers less than its 183 did leaves no port behind, whatever comes then."""
        video = "video 50010 RTP/AVP 96"
        bed.offer(BOB, ALICE, BOB.says("audio 50000 RTP/AVP 0", video))
        bed.addresses.set(Side.OUTSIDE, "203.0.113.2")
        bed.offer(BOB, ALICE, BOB.at(50000))
        if end == "withdraw":
            bed.withdraw(BOB, ALICE)
        elif end == "hang up":
            bed.hang_up(BOB, ALICE)
        else:
            bed.answer(ALICE, BOB, ALICE.at(40000))
        bed.clock.advance(0)
        assert len(bed.network.bound) == (4 if end.startswith("answer") else 0)

    def test_an_answer_out_of_date(self, bed):
        """The answer to an offer that is forgotten is edited all the same, and changes nothing."""
        _, inside = bed.call()
        for transaction in ("t2", "t3"):
            bed.offer(ALICE, BOB, ALICE.at(40000), transaction)
            bed.answer(BOB, ALICE, BOB.at(50000), transaction)
        assert ports(bed.answer(BOB, ALICE, BOB.at(59999), "t2")) == [inside]
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", inside))
        assert len(received(bed.peer(BOB, 50000))) == 1

    def test_our_address_changes_during_a_call(self, bed):
        """The next offer opens the stream anew on the new address; then the old sockets go."""
        bed.call()
        bed.addresses.set(Side.OUTSIDE, "203.0.113.2")
        offer = bed.offer(ALICE, BOB, ALICE.at(40000), "t2")
        assert b"c=IN IP4 203.0.113.2\r\n" in offer
        (outside,) = ports(offer)
        assert ("203.0.113.1", 7070) in bed.network.bound
        (inside,) = ports(bed.answer(BOB, ALICE, BOB.at(50000), "t2"))
        bed.clock.advance(0)
        assert {host for host, _ in bed.network.bound} == {"10.0.0.1", "203.0.113.2"}
        assert len(bed.network.bound) == 4
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", inside))
        assert received(bed.peer(BOB, 50000)) == [(rtp(1), f"203.0.113.2:{outside}")]


TWO_STREAMS = [
    "audio 40000 RTP/AVP 0",
    "c=IN IP4 10.0.0.10",
    "video 40010 RTP/AVP 96",
    "c=IN IP4 10.0.0.10",
    "b=AS:64",
]


class TestSeveralStreams:
    def test_tc18_two_streams(self, bed):
        """Audio and video get 7070 and 7072 in the offer; the other party's ports come after them."""
        offer = bed.offer(ALICE, Side.OUTSIDE, ALICE.says(*TWO_STREAMS))
        assert ports(offer) == [7070, 7072]
        assert offer.count(b"203.0.113.1") == 4 and b"10.0.0." not in offer
        answer = BOB.says("audio 50000 RTP/AVP 0", "video 50010 RTP/AVP 96")
        assert ports(bed.answer(BOB, ALICE, answer)) == [7074, 7076]
        bed.peer(BOB, 50010).send(rtp(1), ("203.0.113.1", 7072))
        assert received(bed.peer(ALICE, 40010)) == [(rtp(1), "10.0.0.1:7076")]
        assert [stream["media"] for stream in bed.streams()] == [0, 1]

    @pytest.mark.parametrize(
        ("addresses", "bound"), [(in_front_of_nat(), "203.0.113.1"), (one_armed(), "10.0.0.1")]
    )
    def test_tc18_host_outbound(self, addresses, bound):
        """Every c= shows host_outbound; the sockets are on the address that the gateway has."""
        bed = memory_bed(addresses)
        offer = bed.offer(ALICE, Side.OUTSIDE, ALICE.says(*TWO_STREAMS))
        assert offer.count(b"198.51.100.7") == 4 and b"10.0.0." not in offer
        assert ports(offer) == [7070, 7072]
        assert {(bound, 7070), (bound, 7072)} < set(bed.network.bound)
        answer = bed.answer(BOB, ALICE, BOB.says("audio 50000 RTP/AVP 0", "video 50010 RTP/AVP 96"))
        assert b"c=IN IP4 10.0.0.1\r\n" in answer
        bed.peer(BOB, 50000).send(rtp(1), (bound, 7070))
        assert received(bed.peer(ALICE, 40000)) == [(rtp(1), f"10.0.0.1:{ports(answer)[0]}")]
        close(bed)

    def test_rtcp_where_the_description_says(self, bed):
        """`a=rtcp` leads RTCP to another port than the next one."""
        phone, remote = bed.peer(ALICE, 53020), bed.peer(DORA, 54020)
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000, "rtcp:53020"))
        bed.answer(BOB, ALICE, BOB.at(50000, "a=rtcp:54020 IN IP4 203.0.113.61"))
        remote.send(RTCP, ("203.0.113.1", 7071))
        assert received(phone) == [(RTCP, "10.0.0.1:7073")]
        phone.send(RTCP, ("10.0.0.1", 7073))
        assert received(remote) == [(RTCP, "203.0.113.1:7071")]

    def test_fax(self, bed):
        """UDPTL is relayed as it is, whatever its first byte looks like."""
        (outside,) = ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.says("image 40000 udptl t38")))
        bed.answer(BOB, ALICE, BOB.says("image 50000 udptl t38"))
        packet = bytes.fromhex("00000001016100")
        bed.peer(BOB, 50000).send(packet, ("203.0.113.1", outside))
        assert [data for data, _ in received(bed.peer(ALICE, 40000))] == [packet]

    def test_a_call_becomes_a_fax(self, bed):
        """After a re-INVITE from audio to T.38 in the same place, fax packets are let in and found."""
        outside, _ = bed.call()
        bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", outside))
        assert ports(bed.offer(BOB, ALICE, BOB.says("image 50010 udptl t38"), "t2")) == [7072]
        bed.answer(ALICE, BOB, ALICE.says("image 40010 udptl t38"), "t2")
        packet = bytes.fromhex("00000001016100")
        bed.peer(BOB, 50010).send(packet, ("203.0.113.1", outside))
        assert [data for data, _ in received(bed.peer(ALICE, 40010))] == [packet]

    def test_an_answer_without_any_stream(self, bed):
        """An answer that has no m= line at all rejects everything, and is an answer."""
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        assert bed.answer(BOB, ALICE, BOB.says()) == replace(BOB, host="10.0.0.1").says()
        for _ in range(int(LONGEST_OFFER / 5) + 2):
            bed.clock.advance(5)
        assert bed.relay.status()["sessions"] == 1
        bed.hang_up(ALICE, BOB)
        assert bed.relay.status()["sessions"] == 0

    def test_media_over_tcp(self, bed):
        """MSRP gets no socket; its description passes but for the origin."""
        body = ALICE.says("message 7394 TCP/MSRP *")
        edited = body.replace(b"o=- 1 1 IN IP4 10.0.0.10", b"o=- 1 1 IN IP4 203.0.113.1")
        assert bed.offer(ALICE, Side.OUTSIDE, body) == edited
        assert bed.network.bound == {}


class TestWhoSends:
    def test_a_party_behind_nat(self, bed):
        """A remote whose description has a private address is answered where its packets come from."""
        outside, inside = bed.call()
        real = bed.network.peer("198.51.100.9", 1024)
        real.send(rtp(1), ("203.0.113.1", outside))
        bed.peer(ALICE, 40000).send(rtp(2), ("10.0.0.1", inside))
        assert received(real) == [(rtp(2), "203.0.113.1:7070")]
        assert received(bed.peer(BOB, 50000)) == []

    def test_a_stranger_gets_nowhere(self, bed):
        """Once the party is heard, packets from elsewhere are dropped and counted, and attract nothing."""
        outside, inside = bed.call()
        stranger = bed.network.peer("192.0.2.66", 666)
        bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", outside))
        stranger.send(rtp(666), ("203.0.113.1", outside))
        bed.peer(ALICE, 40000).send(rtp(2), ("10.0.0.1", inside))
        assert [data for data, _ in received(bed.peer(ALICE, 40000))] == [rtp(1)]
        assert received(stranger) == []
        assert bed.relay.status()["dropped"] == {"foreign source": 1}

    def test_a_party_that_moves(self, bed):
        """When a party's address changes without a word, it is followed after a silence."""
        outside, _ = bed.call()
        old, new = bed.peer(BOB, 50000), bed.network.peer("198.51.100.9", 1024)
        old.send(rtp(1), ("203.0.113.1", outside))
        for number in range(110):
            bed.clock.advance(0.02)
            new.send(rtp(100 + number), ("203.0.113.1", outside))
        heard = [int.from_bytes(data[2:4], "big") for data, _ in received(bed.peer(ALICE, 40000))]
        assert heard[0] == 1 and heard[1:] == list(range(heard[1], 210)) and 190 < heard[1] < 210

    @pytest.mark.parametrize(
        "packet", [bytes.fromhex("000100002112a442") + bytes(12), b"\r\n", b"\0" * 4, b"GET / HTTP/1.1"]
    )
    def test_what_is_no_media_is_no_reason_to_learn(self, bed, packet):
        """STUN and anything else that is not RTP says nothing about where the party is."""
        outside, _ = bed.call()
        bed.network.peer("192.0.2.66", 666).send(packet, ("203.0.113.1", outside))
        assert received(bed.peer(ALICE, 40000)) == []
        assert bed.relay.status()["dropped"] == {"no media": 1}

    def test_a_description_that_points_at_ourselves(self, bed):
        """A remote that names our own port as its own makes no loop."""
        (outside,) = ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000)))
        bed.answer(BOB, ALICE, replace(BOB, host="203.0.113.1").at(outside))
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", 7072))
        assert received(bed.peer(ALICE, 40000)) == []
        assert bed.relay.status()["dropped"] == {"own address": 1}

    def test_errors_of_the_network_stop_nothing(self, bed):
        """A send that fails is counted; when the network is back the stream goes on."""
        outside, _ = bed.call()
        phone, remote = bed.peer(ALICE, 40000), bed.peer(BOB, 50000)
        for number in (1, 13, 101, 105, 113):  # EPERM, EACCES, ENETUNREACH, ENOBUFS, EHOSTUNREACH
            bed.network.errors[ALICE.host] = OSError(number, "no")
            remote.send(rtp(number), ("203.0.113.1", outside))
        bed.network.errors.clear()
        remote.send(rtp(200), ("203.0.113.1", outside))
        assert [data for data, _ in received(phone)] == [rtp(200)]
        assert bed.relay.status()["errors"] == 5


class TestPorts:
    def test_tc19_exhausted(self):
        """The call that finds no port is refused and leaves nothing; after a BYE there is one again."""
        bed = memory_bed(port_low=7070, port_high=7072)
        assert ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000), call_id="one")) == [7070]
        assert ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40010), call_id="two")) == [7072]
        before = set(bed.network.bound)
        with pytest.raises(MediaUnavailable, match=r"no RTP port of 7070-7072 is free on 203\.0\.113\.1"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40020), call_id="three")
        assert set(bed.network.bound) == before
        assert bed.relay.status()["refused"] == 1 and bed.relay.status()["sessions"] == 2
        bed.answer(BOB, ALICE, BOB.at(50000), call_id="one")
        bed.hang_up(BOB, ALICE, call_id="one")
        bed.clock.advance(0)
        assert ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40020), call_id="three")) == [7070]
        close(bed)

    def test_more_streams_than_anybody_needs(self, bed):
        """One description cannot have all the ports; those with port 0 cost none."""
        lines = [f"audio {40000 + 2 * n} RTP/AVP 0" for n in range(MOST_STREAMS + 1)]
        disabled = ["audio 0 RTP/AVP 0"] * 1000
        with pytest.raises(MediaNotAcceptable, match="17 streams in one description, at most 16"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.says(*lines))
        assert not bed.network.bound
        assert bed.relay.status()["not acceptable"] == 1 and bed.relay.status()["refused"] == 0
        wide = memory_bed(port_high=7998)
        assert len(ports(wide.offer(ALICE, Side.OUTSIDE, ALICE.says(*lines[:-1], *disabled)))) == 1016
        assert len(wide.network.bound) == 4 * MOST_STREAMS
        close(wide)

    def test_a_stream_too_many_in_a_call(self):
        """A re-offer that needs more ports than there are is refused; the call goes on."""
        bed = memory_bed(port_low=7070, port_high=7070)
        outside, _ = bed.call()
        more = ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96")
        with pytest.raises(MediaUnavailable):
            bed.offer(ALICE, BOB, more, "t2")
        bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", outside))
        assert len(received(bed.peer(ALICE, 40000))) == 1
        close(bed)

    @pytest.mark.parametrize("taken", [7070, 7071])
    def test_a_port_that_another_program_has(self, bed, taken):
        """A pair of which one half cannot be bound is passed over, and no half of it stays bound."""
        other = bed.network.listenUDP(taken, DatagramProtocol(), interface="203.0.113.1")
        assert ports(bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))) == [7074]
        bed.clock.advance(0)
        assert len(bed.network.bound) == 1 + 4
        other.stopListening()

    def test_every_port_that_another_program_has(self):
        """When nothing can be bound the call is refused, and nothing stays bound or booked."""
        bed = memory_bed(port_low=7070, port_high=7076)
        listen = bed.network.listenUDP
        others = [listen(port, DatagramProtocol(), interface="10.0.0.1") for port in (7071, 7073, 7074, 7077)]
        with pytest.raises(MediaUnavailable, match=r"free on 10\.0\.0\.1"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"))
        bed.clock.advance(0)
        assert len(bed.network.bound) == len(others)
        assert bed.relay.status()["ports"] == {
            "10.0.0.1": {"used": 0, "free": 4},
            "203.0.113.1": {"used": 0, "free": 4},
        }
        for other in others:
            other.stopListening()
        close(bed)

    def test_an_address_that_we_do_not_have(self, bed):
        """Another error than a port in use is not tried again with each port."""
        bed.network.addresses = {"10.0.0.1"}
        with pytest.raises(MediaUnavailable, match=r"203\.0\.113\.1:7070.*assign"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        assert bed.relay.status()["ports"]["10.0.0.1"]["used"] == 0

    @pytest.mark.parametrize("side", [Side.INSIDE, Side.OUTSIDE])
    def test_a_side_without_an_address(self, bed, side):
        """While an interface is down calls are refused, and the text says which one."""
        bed.addresses.set(side, None)
        with pytest.raises(MediaUnavailable, match=f"the {side.value} interface has no address"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))

    def test_an_answer_while_there_is_no_address(self, bed):
        """An answer passes as it is when our side of it has lost its address."""
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        bed.addresses.set(Side.INSIDE, None)
        assert bed.answer(BOB, ALICE, BOB.at(50000)) == BOB.at(50000)

    def test_ipv6_that_we_do_not_have(self, bed):
        """A phone that wants IPv6 where we have none is refused with a text that says so."""
        with pytest.raises(MediaNotAcceptable, match="::7, and the inside interface has no IPv6 address"):
            bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000, host="2001:db8::7"))
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000, host="::"))

    def test_ipv6_outside(self):
        """With an IPv6 address outside the phone inside talks IPv4 and the provider IPv6."""
        bed = memory_bed(FixedAddresses(outside="2001:db8::1"))
        offer = bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000))
        assert b"c=IN IP6 2001:db8::1\r\n" in offer
        (inside,) = ports(bed.answer(BOB, ALICE, BOB.at(50000, host="2001:db8::60")))
        remote = bed.network.peer("2001:db8::60", 50000)
        bed.peer(ALICE, 40000).send(rtp(1), ("10.0.0.1", inside))
        assert [data for data, _ in received(remote)] == [rtp(1)]
        remote.send(rtp(2), ("2001:db8::1", *ports(offer)))
        assert [data for data, _ in received(bed.peer(ALICE, 40000))] == [rtp(2)]
        close(bed)

    @pytest.mark.parametrize(
        ("addresses", "option"),
        [
            (FixedAddresses(), (socket.IPPROTO_IP, socket.IP_TOS)),
            (FixedAddresses("2001:db8::a", "2001:db8::b"), (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)),
        ],
    )
    def test_dscp(self, addresses, option):
        """RTP and RTCP carry the DSCP, over IPv4 and IPv6."""
        bed = memory_bed(addresses, dscp=46)
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000, host="0.0.0.0"))
        assert [port.handle.options for port in bed.network.bound.values()] == [{option: 46 << 2}] * 4
        close(bed)

    def test_no_dscp(self, bed):
        """Without the directive the sockets are left as the system makes them."""
        bed.call()
        assert [port.handle.options for port in bed.network.bound.values()] == [{}] * 4


class TestEnd:
    def test_expiry(self, bed):
        """A call without media for the timeout ends, with one line for each stream, and the proxy is told."""
        both = ("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96")
        bed.offer(ALICE, Side.OUTSIDE, ALICE.says(*both), call_id="x@phone")
        bed.answer(BOB, ALICE, BOB.says(*both), call_id="x@phone")
        with captured_logs() as events:
            for _ in range(59):
                bed.clock.advance(5)
            assert bed.relay.status()["sessions"] == 1
            for _ in range(2):
                bed.clock.advance(5)
        assert bed.relay.status()["sessions"] == 0 and bed.relay.status()["expired"] == 1
        assert bed.expired == [exchange(ALICE, Side.OUTSIDE, call_id="x@phone")]
        lines = [formatEvent(event) for event in events if event["log_level"] is LogLevel.info]
        assert [line for line in lines if line.startswith("RTP stream")] == [
            "RTP stream x@phone (media=0) has expired",
            "RTP stream x@phone (media=1) has expired",
        ]

    def test_expiry_of_a_call_id_without_a_host(self, bed):
        """The line has the @ in any case: people look for it."""
        bed.call(call_id="x")
        with captured_logs() as events:
            for _ in range(62):
                bed.clock.advance(5)
        assert "RTP stream x@ (media=0) has expired" in [formatEvent(event) for event in events]

    @pytest.mark.parametrize("port", [0, 1])
    def test_media_or_rtcp_of_one_side_is_enough(self, bed, port):
        """RTP or RTCP of one party keeps the call, whatever the others do."""
        outside, _ = bed.call()
        remote = bed.peer(BOB, 50000 + port)
        for _ in range(100):
            bed.clock.advance(5)
            remote.send(RTCP, ("203.0.113.1", outside + port))
        assert bed.relay.status()["sessions"] == 1

    def test_twenty_minutes_of_hold(self, bed):
        """A call on hold stays."""
        bed.call()
        bed.offer(ALICE, BOB, ALICE.at(40000, "sendonly"), "t2")
        bed.answer(BOB, ALICE, BOB.at(50000, "recvonly"), "t2")
        for _ in range(240):
            bed.clock.advance(5)
        assert bed.relay.status()["sessions"] == 1
        assert bed.streams()[0]["hold"] is True

    def test_an_offer_without_an_answer(self, bed):
        """An offer that nobody answers is dropped after five minutes; in a call only what it added."""
        bed.offer(ALICE, Side.OUTSIDE, ALICE.at(40000), call_id="lost")
        outside, _ = bed.call()
        bed.offer(ALICE, BOB, ALICE.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96"), "t2")
        assert len(bed.network.bound) == 12
        for _ in range(int(LONGEST_OFFER / 5) + 1):
            bed.clock.advance(5)
            bed.peer(BOB, 50000).send(rtp(), ("203.0.113.1", outside))
        assert len(bed.network.bound) == 4
        assert bed.expired == []

    def test_no_timer_without_a_session(self, bed):
        """The one timer runs while there is a session."""
        assert bed.clock.getDelayedCalls() == []
        bed.call(call_id="one")
        bed.call(call_id="two")
        assert len(bed.clock.getDelayedCalls()) == 1
        bed.hang_up(ALICE, BOB, call_id="one")
        bed.hang_up(ALICE, BOB, call_id="two")
        bed.clock.advance(0)
        assert bed.clock.getDelayedCalls() == []

    @pytest_twisted.ensureDeferred
    async def test_stop(self, both):
        """Stop closes every socket, and fires when that is done."""
        outside, inside = both.call()
        stopped = both.relay.stop()
        await both.network.until(lambda: bool(stopped.called))
        pairs = ((both.outside, outside), (both.inside, inside))
        addresses = [(host, port + step) for host, port in pairs for step in (0, 1)]
        others = [
            both.network.listenUDP(port, DatagramProtocol(), interface=host) for host, port in addresses
        ]
        freed = [other.stopListening() for other in others]
        await both.network.until(lambda: all(closed.called for closed in freed))


def test_status_and_query(bed):
    """What the relay says of itself: of everything, and of one call; ended calls stay in the sums."""
    outside, inside = bed.call()
    bed.peer(BOB, 50000).send(rtp(1), ("203.0.113.1", outside))
    bed.network.peer("192.0.2.66", 666).send(rtp(1), ("203.0.113.1", outside))
    (stream,) = bed.streams()
    assert bed.relay.streams() == [stream]
    inner, outer = stream.pop("legs")
    assert stream == {"call_id": "call@10.0.0.10", "media": 0, "agreed": True, "hold": False, "idle": 0.0}
    assert (inner["side"], inner["host"], inner["port"]) == ("inside", "10.0.0.1", inside)
    assert inner["rtp"]["announced"] == "10.0.0.10:40000" and inner["rtp"]["source"] == ""
    assert outer["rtp"] == {
        "announced": "203.0.113.60:50000",
        "source": "203.0.113.60:50000",
        "held": False,
        "packets": 1,
        "octets": 172,
        "errors": 0,
        "dropped": {"foreign source": 1},
    }
    expected = {
        "sessions": 1,
        "streams": 1,
        "ports": {"10.0.0.1": {"used": 1, "free": 9}, "203.0.113.1": {"used": 1, "free": 9}},
        "packets": 1,
        "octets": 172,
        "errors": 0,
        "dropped": {"foreign source": 1},
        "refused": 0,
        "not acceptable": 0,
        "expired": 0,
    }
    assert bed.relay.status() == expected
    bed.hang_up(ALICE, BOB)
    bed.clock.advance(0)
    expected |= {"sessions": 0, "streams": 0}
    expected["ports"] = {host: {"used": 0, "free": 10} for host in ("10.0.0.1", "203.0.113.1")}
    assert bed.relay.status() == expected
    assert bed.streams() == bed.relay.streams() == []
