# SPDX-License-Identifier: MIT
"""Calls between IPv4 and IPv6: every party is met in its own address family."""

from __future__ import annotations

import socket
from dataclasses import replace

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, formatEvent
from twisted.logger import capturedLogs as captured_logs

from siproxd_tw.interfaces import MediaNotAcceptable, MediaUnavailable, Side
from siproxd_tw.sdp import SessionDescription
from tests.support.addresses import FixedAddresses, dual_stack, ipv6_only
from tests.support.exchanges import ALICE, BOB, Speaker
from tests.support.mediabed import RTCP, Bed, loopback_bed, memory_bed, ports, received, rtp

OURS = {(Side.INSIDE, 4): "10.0.0.1", (Side.INSIDE, 6): "fd00::1"}
OURS |= {(Side.OUTSIDE, 4): "203.0.113.1", (Side.OUTSIDE, 6): "2001:db8::1"}
ALICE4, ALICE6 = replace(ALICE, met="10.0.0.10"), replace(ALICE, host="fd00::10", met="fd00::10")
BOB4, BOB6 = replace(BOB, met="203.0.113.60"), replace(BOB, host="2001:db8::60", met="2001:db8::60")
MIXED = {"v4": (ALICE4, BOB4), "v6": (ALICE6, BOB6)}
MIXED["dual"] = replace(ALICE6, met=ALICE4.met), replace(BOB6, met=BOB4.met)
"""A dual-stack party signals over IPv4, offers IPv6, and answers in the family of the offer."""


@pytest.fixture
def bed():
    """A relay in memory with both families; at its end nothing may be left of it."""
    made = memory_bed(dual_stack())
    yield made
    stopped = made.relay.stop()
    made.clock.advance(0)
    assert stopped.called and made.network.bound == {} and made.clock.getDelayedCalls() == []


def family(host: str) -> int:
    return 6 if ":" in host else 4


def shown(body: bytes) -> str:
    """Return where a description leads media, and check that it says so in one family only."""
    description = SessionDescription.parse(body)
    found = [description.origin, *description.connections]
    found += [each for media in description.media for each in media.connections]
    found += [media.rtcp.address for media in description.media if media.rtcp is not None]
    texts = {(each.text, each.type) for each in found if each is not None}
    (only,) = texts
    assert only[1] == f"IP{family(only[0])}"
    return only[0]


def talk(bed: Bed, one: Speaker, other: Speaker, there: tuple[str, int], here: tuple[str, int]) -> None:
    """Let RTP and RTCP pass both ways: `one` sends to `here`, `other` to `there`."""
    for step, packet in ((0, rtp(1)), (1, RTCP)):
        first, second = bed.peer(one, 40000 + step), bed.peer(other, 50000 + step)
        first.send(packet, (here[0], here[1] + step))
        second.send(packet, (there[0], there[1] + step))
        ours = [
            f"[{host}]:{port + step}" if ":" in host else f"{host}:{port + step}"
            for host, port in (here, there)
        ]
        assert received(first) == [(packet, ours[0])]
        assert received(second) == [(packet, ours[1])]


@pytest.mark.parametrize("callee", MIXED)
@pytest.mark.parametrize("caller", MIXED)
@pytest.mark.parametrize("outgoing", [True, False])
def test_matrix(bed, caller, callee, outgoing):
    """Whoever calls whom: each description speaks the family of its reader, and media flows both ways."""
    one, other = MIXED[caller][not outgoing], MIXED[callee][outgoing]
    expected = OURS[other.side, family(other.met)]
    if callee == "dual":
        other = MIXED["v4"][outgoing]  # it answers what it was offered
    rtcp = f"a=rtcp:40001 IN IP{family(one.host)} {one.host}"
    offer = bed.offer(one, other.side, one.at(40000, rtcp), met=other.met)
    assert shown(offer) == expected
    answer = bed.answer(other, one, other.at(50000))
    assert shown(answer) == OURS[one.side, family(one.host)]
    assert (ports(offer), ports(answer)) == ([7070], [7072])
    assert {host for host, _ in bed.network.bound} == {shown(offer), shown(answer)}
    talk(bed, one, other, (shown(offer), 7070), (shown(answer), 7072))

    hold = "0.0.0.0" if family(one.host) == 4 else "::"
    held = bed.offer(one, other, one.at(40000, host=hold), "t2")
    translated = b"IP4 0.0.0.0" if family(other.host) == 4 else b"IP6 ::"
    assert b"c=IN " + translated + b"\r\n" in held and ports(held) == [7070]
    assert ports(bed.answer(other, one, other.at(50000, "recvonly"), "t2")) == [7072]
    assert bed.streams()[0]["hold"] is True
    resumed = bed.offer(other, one, other.at(50000), "t3")
    assert (shown(resumed), ports(resumed)) == (shown(answer), [7072])
    back = bed.answer(one, other, one.at(40000), "t3")
    assert (shown(back), ports(back)) == (shown(offer), [7070])
    talk(bed, one, other, (shown(offer), 7070), (shown(answer), 7072))


REAL = [(4, 6), (6, 4), (6, 6)]


@pytest.fixture(params=REAL, ids=str)
def real(request):
    """A relay on the sockets of this machine."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as asked:
            asked.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no ::1")
    from twisted.internet import reactor  # noqa: TID251

    made = loopback_bed(reactor, *request.param)
    yield made
    pytest_twisted.blockon(made.relay.stop())
    pytest_twisted.blockon(Deferred.fromCoroutine(made.network.close()))


@pytest_twisted.ensureDeferred
async def test_on_real_sockets(real):
    """The kernel carries RTP and RTCP from one family to the other and back."""
    outside, inside = real.call()
    peers = [real.peer(real.alice, 40000), real.peer(real.bob, 50000)]
    peers += [real.peer(real.alice, 40001), real.peer(real.bob, 50001)]
    for step, packet in ((0, rtp(1)), (1, RTCP)):
        peers[2 * step].send(packet, (real.inside, inside + step))
        peers[2 * step + 1].send(packet, (real.outside, outside + step))
    await real.network.until(lambda: all(peer.received for peer in peers))
    assert [peer.take()[0].data for peer in peers] == [rtp(1), rtp(1), RTCP, RTCP]
    for number in range(2, 50):
        peers[0].send(rtp(number), (real.inside, inside))
        peers[1].send(rtp(number), (real.outside, outside))
    await real.network.until(lambda: all(len(peer.received) == 48 for peer in peers[:2]))
    assert real.relay.status()["dropped"] == {} and real.relay.status()["errors"] == 0


class TestWhichFamily:
    def test_without_a_word_of_signalling(self, bed):
        """When nobody says where the other party is, it is offered IPv4, as ever."""
        assert shown(bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000))) == "203.0.113.1"

    def test_what_the_description_says_counts_more(self, bed):
        """A phone that registers over IPv6 and describes IPv4 has its leg in IPv4."""
        bed.offer(replace(ALICE4, met="fd00::10"), Side.OUTSIDE, ALICE4.at(40000), met=BOB6.met)
        assert {host for host, _ in bed.network.bound} == {"10.0.0.1", "2001:db8::1"}

    def test_a_call_that_begins_on_hold(self, bed):
        """A description that shows nothing leaves it to signalling."""
        bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000, host="0.0.0.0"), met=BOB4.met)
        assert {host for host, _ in bed.network.bound} == {"fd00::1", "203.0.113.1"}

    def test_ipv6_only(self):
        """A gateway without IPv4 offers IPv6, asked or not."""
        bed = memory_bed(ipv6_only())
        for met, call in (("", "one"), (BOB6.met, "two")):
            offer = bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000), met=met, call_id=call)
            assert shown(offer) == "2001:db8::1"
        assert bed.relay.status()["ports"] == {
            "2001:db8::1": {"used": 2, "free": 8},
            "fd00::1": {"used": 2, "free": 8},
        }

    @pytest.mark.parametrize(("met", "ours"), [(BOB4.met, "198.51.100.7"), (BOB6.met, "2001:db8::1")])
    def test_host_outbound(self, met, ours):
        """The router's IPv4 address is shown to IPv4 peers only; sockets are where we are."""
        bed = memory_bed(dual_stack("198.51.100.7"))
        assert shown(bed.offer(ALICE4, Side.OUTSIDE, ALICE4.at(40000), met=met)) == ours
        bound = {host for host, _ in bed.network.bound}
        assert bound == {"10.0.0.1", "203.0.113.1" if ours == "198.51.100.7" else ours}

    def test_two_ways_for_one_offer(self, bed):
        """A call that rings at two phones of different families is offered each in its own."""
        for number, bob in enumerate((BOB4, BOB6)):
            offer = bed.offer(ALICE4, Side.OUTSIDE, ALICE4.at(40000), f"t{number}", met=bob.met)
            assert shown(offer) == OURS[Side.OUTSIDE, family(bob.host)]
        answer = bed.answer(BOB6, ALICE4, BOB6.at(50000), "t1")
        bed.withdraw(ALICE4, Side.OUTSIDE, "t0")
        talk(bed, ALICE4, BOB6, ("2001:db8::1", *ports(offer)), ("10.0.0.1", *ports(answer)))


class TestMissingFamily:
    def test_of_the_sender(self):
        """A phone that wants IPv6 where we have none, now or later, is told so."""
        bed = memory_bed(FixedAddresses(outside6="2001:db8::1"))
        with pytest.raises(
            MediaNotAcceptable, match="m= line 0 is at fd00::10, and the inside interface has no IPv6"
        ):
            bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000), met=BOB6.met)
        with pytest.raises(
            MediaNotAcceptable, match=r"m= line 1 is at 10\.0\.0\.10, and the inside interface has no IPv4"
        ):
            here = memory_bed(ipv6_only())
            here.offer(ALICE4, Side.OUTSIDE, ALICE4.says("audio 0 RTP/AVP 0", "audio 40000 RTP/AVP 0"))

    def test_of_the_receiver(self):
        """Where signalling got through and we have lost the address since, media is unavailable for now."""
        bed = memory_bed(FixedAddresses(inside6="fd00::1"))
        with pytest.raises(
            MediaUnavailable, match="outside interface has no IPv6 address to relay"
        ) as refused:
            bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000), met=BOB6.met)
        assert not isinstance(refused.value, MediaNotAcceptable)
        assert bed.network.bound == {} and bed.relay.status()["sessions"] == 0

    def test_no_address_at_all(self):
        """An interface that is away is no matter of families."""
        bed = memory_bed(FixedAddresses(inside=None, outside6="2001:db8::1"))
        with pytest.raises(MediaUnavailable, match="inside interface has no address to relay") as refused:
            bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000), met=BOB6.met)
        assert not isinstance(refused.value, MediaNotAcceptable)

    def test_a_stream_of_the_other_family(self, bed):
        """The first stream decides; of another one with an address of the other family packets tell more."""
        body = ALICE4.says("audio 40000 RTP/AVP 0", "video 40010 RTP/AVP 96", "c=IN IP6 fd00::10")
        assert ports(bed.offer(ALICE4, Side.OUTSIDE, body, met=BOB4.met)) == [7070, 7072]
        inner = [stream["legs"][0] for stream in bed.streams()]
        assert [leg["host"] for leg in inner] == ["10.0.0.1", "10.0.0.1"]
        assert [leg["rtp"]["announced"] for leg in inner] == ["10.0.0.10:40000", ""]


class TestChangeOfFamily:
    def test_an_answer_in_the_other_family(self, bed):
        """What cannot be reached is not sent to; packets show where the party is; it is said once."""
        bed.offer(ALICE4, Side.OUTSIDE, ALICE4.at(40000), met=BOB4.met)
        with captured_logs() as events:
            for _ in range(2):
                answer = bed.answer(BOB4, ALICE4, BOB4.at(50000, host="2001:db8::60"))
            bed.answer(BOB4, ALICE4, BOB4.at(50002, host="2001:db8::60"))
        said = [formatEvent(event) for event in events if event["log_level"] is not LogLevel.debug]
        assert said == [
            "call@10.0.0.10: IPv6 in the answer to an offer of IPv4; its media is found when it comes"
        ]
        assert shown(answer) == "10.0.0.1" and ports(answer) == [7072]
        remote, phone = bed.peer(BOB4, 50000), bed.peer(ALICE4, 40000)
        phone.send(rtp(1), ("10.0.0.1", 7072))
        assert bed.relay.status()["dropped"] == {"no target": 1} and bed.network.lost == []
        remote.send(rtp(2), ("203.0.113.1", 7070))
        phone.send(rtp(3), ("10.0.0.1", 7072))
        assert received(phone) == [(rtp(2), "10.0.0.1:7072")]
        assert received(remote) == [(rtp(3), "203.0.113.1:7070")]

    def test_rtcp_in_the_other_family(self, bed):
        """An `a=rtcp` that cannot be reached leaves it to the packets; RTP is not touched by it."""
        bed.offer(ALICE4, Side.OUTSIDE, ALICE4.at(40000, "a=rtcp:40001 IN IP6 fd00::10"), met=BOB4.met)
        leg = bed.streams()[0]["legs"][0]
        assert (leg["rtp"]["announced"], leg["rtcp"]["announced"]) == ("10.0.0.10:40000", "")

    def test_a_party_moves_to_the_other_family(self, bed):
        """A re-INVITE from IPv6 in an IPv4 call gets sockets there; the old ones go with the answer."""
        outside, inside = bed.call()
        offer = bed.offer(BOB6, ALICE4, BOB6.at(50000), "t2")
        assert shown(offer) == "10.0.0.1"
        bed.peer(BOB4, 50000).send(rtp(1), ("203.0.113.1", outside))
        assert received(bed.peer(ALICE4, 40000)) == [(rtp(1), f"10.0.0.1:{inside}")]
        answer = bed.answer(ALICE4, BOB6, ALICE4.at(40000), "t2")
        assert shown(answer) == "2001:db8::1"
        bed.clock.advance(0)
        assert {host for host, _ in bed.network.bound} == {"10.0.0.1", "2001:db8::1"}
        assert len(bed.network.bound) == 4
        talk(bed, ALICE4, BOB6, ("2001:db8::1", *ports(answer)), ("10.0.0.1", *ports(offer)))

    def test_a_move_that_is_refused(self, bed):
        """The new sockets go, the old ones have never been touched."""
        outside, inside = bed.call()
        bed.offer(BOB6, ALICE4, BOB6.at(50000), "t2")
        bed.withdraw(BOB6, ALICE4, "t2")
        bed.clock.advance(0)
        assert len(bed.network.bound) == 4
        talk(bed, ALICE4, BOB4, ("203.0.113.1", outside), ("10.0.0.1", inside))
        assert shown(bed.offer(ALICE4, BOB4, ALICE4.at(40000), "t3")) == "203.0.113.1"

    def test_signalling_meets_a_party_in_the_other_family(self, bed):
        """Who has moved without a description is offered where it is now."""
        one, _ = ALICE4, bed.offer(ALICE4, Side.OUTSIDE, ALICE4.at(40000), met=BOB4.met)
        bed.answer(BOB4, one, BOB4.at(50000))
        assert shown(bed.offer(one, BOB6, one.at(40000), "t2")) == "2001:db8::1"
        bed.answer(BOB6, one, BOB6.at(50000), "t2")
        assert shown(bed.offer(one, BOB6, one.at(40000), "t3")) == "2001:db8::1"

    def test_media_stays_in_its_family(self, bed):
        """A dual-stack party that signals over IPv4 and talks over IPv6 keeps both in a re-INVITE to it."""
        dual = replace(BOB6, met=BOB4.met)
        bed.offer(dual, Side.INSIDE, dual.at(50000), met=ALICE4.met)
        bed.answer(ALICE4, dual, ALICE4.at(40000))
        bound = set(bed.network.bound)
        assert shown(bed.offer(ALICE4, dual, ALICE4.at(40000), "t2")) == "2001:db8::1"
        assert set(bed.network.bound) == bound

    def test_an_offer_in_the_response(self, bed):
        """INVITE without a description, across families: the 200 offers and the ACK answers."""
        offer = bed.offer(BOB6, ALICE4, BOB6.at(50000))
        assert shown(offer) == "10.0.0.1"
        answer = bed.answer(ALICE4, BOB6, ALICE4.at(40000))
        assert shown(answer) == "2001:db8::1"
        talk(bed, ALICE4, BOB6, ("2001:db8::1", *ports(answer)), ("10.0.0.1", *ports(offer)))

    def test_our_prefix_changes_during_a_call(self, bed):
        """The next offer opens the stream on the new address of the same family."""
        bed.offer(ALICE6, Side.OUTSIDE, ALICE6.at(40000), met=BOB6.met)
        bed.answer(BOB6, ALICE6, BOB6.at(50000))
        bed.addresses.set(Side.OUTSIDE, "2001:db8:2::1")
        offer = bed.offer(ALICE6, BOB6, ALICE6.at(40000), "t2")
        assert shown(offer) == "2001:db8:2::1"
        answer = bed.answer(BOB6, ALICE6, BOB6.at(50000), "t2")
        bed.clock.advance(0)
        talk(bed, ALICE6, BOB6, ("2001:db8:2::1", *ports(offer)), ("fd00::1", *ports(answer)))
