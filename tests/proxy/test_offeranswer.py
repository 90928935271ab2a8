# SPDX-License-Identifier: MIT
"""Which descriptions are offers and which are answers, told by what the media relay is asked for."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any
from unittest.mock import Mock

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import (
    Address,
    Destination,
    Flow,
    Hop,
    IMediaRelay,
    MediaNotAcceptable,
    Refused,
    Side,
)
from siproxd_tw.proxy import offeranswer
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.offeranswer import LONGEST_WITHOUT_ACK, OfferAnswer
from siproxd_tw.proxy.routing import Target
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transaction import Timers
from siproxd_tw.sip.transactionlayer import ServerTransaction
from tests.support.media import MemoryRelay
from tests.support.messages import SDP, answer, media, request, wire

PHONE = Flow(None, Address("10.0.0.10", 5062), Side.INSIDE)
BOB = Flow(None, Address("192.0.2.9", 5060), Side.OUTSIDE)
HERE, THERE = SDP.audio("10.0.0.10", 40000), SDP.audio("192.0.2.9", 50000)


def done(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what `work` comes to, which must not have to wait."""
    results: list[Any] = []
    Deferred.fromCoroutine(work).addBoth(results.append)
    assert results, "it waits"
    return results[0]


class Talk:
    """A call of Alice (inside, a1) and Bob (outside, b1) as the offer/answer engine meets it."""

    def __init__(self) -> None:
        self.relay = MemoryRelay()
        self.negotiation = OfferAnswer(self.relay)

    def request(self, method: str, *headers: str, body: str = "", branch: bytes = b"z9hG4bKx") -> Any:
        """Forward a request of Alice's; return its context, or the refusal."""
        text = request(method, "sip:bob@192.0.2.9", "Via: SIP/2.0/UDP 10.0.0.10:5062", *headers, body=body)
        received = parse(wire(text))
        assert isinstance(received, Request)
        server = ServerTransaction(received, PHONE, PHONE, (), Timers(), False)
        self.copy = received.copy()
        context = ResponseContext(received, PHONE, self.copy, received.call_id, server=server, branch=branch)
        outcome = self.forward(context, BOB)
        return context if outcome is None else outcome.value

    def forward(self, context: ResponseContext, flow: Flow) -> Any:
        """Forward the request in a branch that goes by `flow`; return what comes of it."""
        target = Target(flow.side, Destination(*flow.remote))
        context.branches.append(Branch(context, target, Hop("UDP", flow.remote), flow, []))
        return done(self.negotiation.request_forwarded(self.copy, context, context.branches[-1]))

    def response(self, context: ResponseContext, status: str, *, tag: str = "b1", body: str = "") -> Response:
        """Forward Bob's response; a final one ends the transaction. Return it as it goes on."""
        response = parse(wire(answer(context.request, status, tag=tag, body=body)))
        assert isinstance(response, Response)
        branch = context.branches[-1]
        assert done(self.negotiation.response_forwarded(response, context, branch)) is None
        if response.status >= 200:
            assert done(self.negotiation.ended(context, response.status, branch)) is None
        return response

    def ack(self, body: str = "", tag: str = "b1") -> Request:
        """Forward Alice's ACK for a 2xx and return it as it goes on."""
        to = f"To: <sip:bob@192.0.2.9>;tag={tag}"
        text = request("ACK", "sip:bob@192.0.2.9", "Via: SIP/2.0/UDP 10.0.0.10:5062", to, body=body)
        ack = parse(wire(text))
        assert isinstance(ack, Request)
        assert done(self.negotiation.ack_forwarded(ack)) is None
        return ack


@pytest.fixture
def talk() -> Talk:
    return Talk()


def test_the_relay_in_memory_is_one() -> None:
    """It has every method of IMediaRelay."""
    assert verifyObject(IMediaRelay, MemoryRelay())


def test_offer_in_the_invite_answer_in_the_200(talk: Talk) -> None:
    """The usual call: both descriptions point to the relay, each on the side that it goes to."""
    context = talk.request("INVITE", body=HERE)
    assert media(talk.copy) == ["203.0.113.1:40000"]
    assert media(talk.response(context, "200 OK", body=THERE)) == ["10.0.0.1:50000"]
    talk.ack()
    assert talk.relay.journal == ["offer a1 > ?, inside > outside", "answer b1 > a1, outside > inside"]
    offered, answered = (exchange for _, exchange in talk.relay.calls)
    assert offered.transaction == answered.transaction == b"z9hG4bKx"


def test_early_media_of_two_forks(talk: Talk) -> None:
    """Every 18x and the 200 carry answers to the same offer, each with the tag of its fork."""
    context = talk.request("INVITE", body=HERE)
    talk.response(context, "183 Session Progress", tag="b1", body=THERE)
    talk.response(context, "183 Session Progress", tag="b2", body=THERE)
    talk.response(context, "180 Ringing", tag="b3")
    talk.response(context, "200 OK", tag="b2", body=THERE)
    assert talk.relay.journal[1:] == [
        "answer b1 > a1, outside > inside",
        "answer b2 > a1, outside > inside",
        "answer b2 > a1, outside > inside",
    ]


def test_delayed_offer(talk: Talk) -> None:
    """An INVITE without description: the 200 offers, the ACK answers, in one exchange."""
    context = talk.request("INVITE")
    assert media(talk.response(context, "200 OK", body=THERE)) == ["10.0.0.1:50000"]
    assert media(talk.ack(HERE)) == ["203.0.113.1:40000"]
    assert talk.relay.journal == ["offer b1 > a1, outside > inside", "answer a1 > b1, inside > outside"]
    offered, answered = (exchange for _, exchange in talk.relay.calls)
    assert offered.transaction == answered.transaction == b"z9hG4bKx"


def test_an_ack_that_is_sent_again_is_rewritten_again(talk: Talk) -> None:
    """Each retransmission of the 200 brings another ACK, with the same answer."""
    context = talk.request("INVITE")
    talk.response(context, "200 OK", body=THERE)
    first = bytes(talk.ack(HERE))
    talk.response(context, "200 OK", body=THERE)
    assert bytes(talk.ack(HERE)) == first
    assert bytes(talk.ack(HERE)) == first
    assert b"10.0.0.10 " not in first.partition(b"\r\n\r\n")[2]


def test_an_ack_answers_its_own_fork_only(talk: Talk) -> None:
    """Two forks made offers; the ACK of the second one answers the second one."""
    context = talk.request("INVITE")
    talk.response(context, "200 OK", tag="b1", body=THERE)
    talk.response(context, "200 OK", tag="b2", body=THERE)
    talk.ack(HERE, tag="b2")
    assert talk.relay.journal[-1] == "answer a1 > b2, inside > outside"


def test_an_ack_to_nobodys_offer_stays_as_it_is(talk: Talk) -> None:
    """A description in an ACK that nobody waits for is not touched."""
    ack = talk.ack(HERE)
    assert bytes(ack) == ack.original
    assert talk.relay.journal == []


def test_prack_answers_the_offer_of_a_reliable_183(talk: Talk) -> None:
    """INVITE without description, 183 offers, PRACK answers; RAck names the INVITE."""
    context = talk.request("INVITE")
    talk.response(context, "183 Session Progress", body=THERE)
    talk.request("PRACK", "CSeq: 2 PRACK", "RAck: 1 1 INVITE", "To: <sip:b@h>;tag=b1", body=HERE)
    assert talk.relay.journal == ["offer b1 > a1, outside > inside", "answer a1 > b1, inside > outside"]
    assert media(talk.copy) == ["203.0.113.1:40000"]


def test_prack_offers(talk: Talk) -> None:
    """After offer and answer in INVITE and 183 a PRACK makes a new offer, its 200 the answer."""
    context = talk.request("INVITE", body=HERE)
    talk.response(context, "183 Session Progress", body=THERE)
    prack = talk.request(
        "PRACK", "CSeq: 2 PRACK", "RAck: 1 1 INVITE", "To: <sip:b@h>;tag=b1", body=HERE, branch=b"z9hG4bKy"
    )
    assert media(talk.response(prack, "200 OK", body=THERE)) == ["10.0.0.1:50000"]
    assert talk.relay.journal[2:] == ["offer a1 > b1, inside > outside", "answer b1 > a1, outside > inside"]
    assert [exchange.transaction for _, exchange in talk.relay.calls[2:]] == [b"z9hG4bKy"] * 2


@pytest.mark.parametrize(
    "rack", ["RAck", "RAck: x", "RAck: 1 x INVITE", "RAck: 1 2 INVITE", f"RAck: 1 {'9' * 5000} INVITE"]
)
def test_prack_with_a_rack_that_says_nothing(talk: Talk, rack: str) -> None:
    """It cannot answer anything, so its description is an offer."""
    talk.response(talk.request("INVITE"), "183 Session Progress", body=THERE)
    talk.request("PRACK", "CSeq: 2 PRACK", rack, "To: <sip:b@h>;tag=b1", body=HERE)
    assert talk.relay.journal[-1] == "offer a1 > b1, inside > outside"


def test_the_second_prack_offers(talk: Talk) -> None:
    """The first one has answered the 183; what the next one brings is an offer of its own."""
    talk.response(talk.request("INVITE"), "183 Session Progress", body=THERE)
    for number in (1, 2):
        headers = (f"CSeq: {number + 1} PRACK", f"RAck: {number} 1 INVITE", "To: <sip:b@h>;tag=b1")
        talk.request("PRACK", *headers, body=HERE)
    assert talk.relay.journal[1:] == ["answer a1 > b1, inside > outside", "offer a1 > b1, inside > outside"]


def test_update(talk: Talk) -> None:
    """UPDATE offers and its 200 answers (RFC 3311); without description there is nothing to do."""
    context = talk.request("UPDATE", "To: <sip:b@h>;tag=b1", body=HERE)
    talk.response(context, "200 OK", body=THERE)
    assert talk.relay.journal == ["offer a1 > b1, inside > outside", "answer b1 > a1, outside > inside"]
    talk.response(talk.request("UPDATE", "To: <sip:b@h>;tag=b1"), "200 OK")
    assert len(talk.relay.journal) == 2


def test_capabilities_are_no_offer(talk: Talk) -> None:
    """A phone may put a description into its 200 for OPTIONS (RFC 3261 11.2): nobody will ever answer it."""
    response = talk.response(talk.request("OPTIONS"), "200 OK", body=THERE)
    assert talk.relay.journal == []
    assert bytes(response) == response.original


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ((), ""),
        (("Content-Type: text/plain",), "hello\n"),
        (("Content-Type: application/sdp", "Content-Encoding: gzip"), HERE),
        (("Content-Type: application/sdp", "e: gzip"), HERE),
        (("Content-Type: application/sdpx",), HERE),
    ],
)
def test_what_is_no_description_is_left_alone(talk: Talk, headers: tuple[str, ...], body: str) -> None:
    """Other types and packed ones pass untouched, and nothing is allocated."""
    talk.request("INVITE", *headers, body=body)
    assert talk.relay.journal == []
    assert bytes(talk.copy) == talk.copy.original


@pytest.mark.parametrize(
    "spelling", ["Application/SDP", "application / sdp ; charset=utf-8", "application/sdp;x"]
)
def test_other_spellings_of_the_type(talk: Talk, spelling: str) -> None:
    """Case, blanks and parameters make no difference."""
    talk.request("INVITE", f"c: {spelling}", body=HERE)
    assert talk.relay.journal == ["offer a1 > ?, inside > outside"]


# how exchanges end


@pytest.mark.parametrize(
    "status", ["302 Moved", "401 Unauthorized", "408 Timeout", "486 Busy", "603 Decline"]
)
def test_a_refused_offer_is_withdrawn(talk: Talk, status: str) -> None:
    """Once, by the exchange that it was made with; the body of a refusal is no answer."""
    context = talk.request("INVITE", body=HERE)
    talk.response(context, "183 Session Progress", body=THERE)
    talk.response(context, status, body=THERE)
    assert talk.relay.journal[2:] == ["withdraw a1 > ?, inside > outside"]
    assert talk.relay.calls[2][1] == talk.relay.calls[0][1]
    done(talk.negotiation.ended(context, 487, None))
    assert len(talk.relay.journal) == 3


def test_an_accepted_offer_is_not(talk: Talk) -> None:
    """Neither a 2xx nor the failure of a request without description touches the media."""
    talk.response(talk.request("INVITE", body=HERE), "200 OK", body=THERE)
    talk.response(talk.request("INVITE"), "488 Not Acceptable Here")
    assert "withdraw" not in " ".join(talk.relay.journal)


def test_an_offer_made_by_a_183_is_withdrawn_with_the_call(talk: Talk) -> None:
    """The callee offered and then refused."""
    context = talk.request("INVITE")
    talk.response(context, "183 Session Progress", body=THERE)
    talk.response(context, "486 Busy Here")
    assert talk.relay.journal[1:] == ["withdraw b1 > a1, outside > inside"]


@pytest.mark.parametrize("status", ["200 OK", "408 Timeout", "481 Gone", "500 Trouble"])
def test_bye_frees_the_media(talk: Talk, status: str) -> None:
    """Whatever the answer, the sender of a BYE is gone (RFC 3261 15.1.1)."""
    talk.response(talk.request("BYE", "To: <sip:b@h>;tag=b1"), status)
    assert talk.relay.journal == ["delete a1 > b1, inside > outside"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "407 Proxy Authentication Required", "180 Ringing"])
def test_a_bye_that_has_to_be_repeated_does_not(talk: Talk, status: str) -> None:
    """It comes again with credentials, and until then the call is up."""
    talk.response(talk.request("BYE", "To: <sip:b@h>;tag=b1"), status)
    assert talk.relay.journal == []


def test_no_media_no_call(talk: Talk) -> None:
    """503 with Retry-After and one warning; nothing of the request is changed, nothing to withdraw."""
    talk.relay.full = "no port is free in 7070-7089"
    with capturedLogs() as events:
        refusal = talk.request("INVITE", body=HERE)
    assert isinstance(refusal, Refused)
    assert refusal.status == 503
    assert list(refusal.headers) == [b"Retry-After: 10"]
    assert bytes(talk.copy) == talk.copy.original
    assert [(e["log_level"], str(e["why"])) for e in events] == [
        (LogLevel.warn, "no port is free in 7070-7089")
    ]


def test_media_that_is_not_acceptable(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """488 without a word in the log above debug: a stranger may ask for it a thousand times."""
    offer = Mock(return_value=fail(MediaNotAcceptable("99 streams")))
    monkeypatch.setattr(talk.relay, "offer", offer)
    with capturedLogs() as events:
        refusal = talk.request("INVITE", body=HERE)
    assert isinstance(refusal, Refused)
    assert refusal.status == 488 and list(refusal.headers) == []
    assert [event["log_level"] for event in events] == [LogLevel.debug]


def test_signs_of_life_repeat_the_offer(talk: Talk) -> None:
    """Somebody may ring longer than an offer lives; what has an answer, or no description, needs none."""
    context = talk.request("INVITE", body=HERE)
    talk.response(context, "180 Ringing")
    assert talk.relay.journal == ["offer a1 > ?, inside > outside"] * 2
    talk.response(context, "183 Session Progress", body=THERE)
    talk.response(context, "180 Ringing")
    assert len(talk.relay.journal) == 3
    talk.response(talk.request("INVITE"), "180 Ringing")
    assert len(talk.relay.journal) == 3
    context = talk.request("INVITE", body=HERE)
    talk.relay.full = "no port is free"
    talk.response(context, "180 Ringing")


@pytest.mark.parametrize(
    ("to", "left"), [("To: <sip:b@h>", ["withdraw a1 > ?"]), ("To: <sip:b@h>;tag=b1", [])]
)
def test_an_offer_that_no_call_follows(talk: Talk, to: str, left: list[str]) -> None:
    """A MESSAGE with a description, answered with one: outside a dialog nothing of it stays."""
    context = talk.request("MESSAGE", to, body=HERE)
    talk.response(context, "200 OK", body=THERE)
    assert [what.partition(",")[0] for what in talk.relay.journal[2:]] == left


def test_what_is_to_be_confirmed(talk: Talk) -> None:
    """Only a call from outside, only its first 2xx of each fork, and only until its ACK."""
    inside = talk.request("INVITE", body=HERE)
    talk.negotiation.accepted(talk.response(inside, "200 OK", body=THERE), inside, inside.branches[-1], 0.0)
    assert talk.negotiation.unconfirmed(1e9) == []
    calls = []
    for method, tag in (("INVITE", ""), ("INVITE", ";tag=b1"), ("UPDATE", ";tag=b1")):
        context = talk.request(method, f"To: <sip:bob@192.0.2.9>{tag}", body=HERE)
        context.flow = PHONE._replace(side=Side.OUTSIDE)
        calls.append((talk.response(context, "200 OK", body=THERE), context))
        talk.negotiation.accepted(*calls[-1], context.branches[-1], 0.0)
    first = calls[0][1].branches[-1]
    talk.negotiation.accepted(*calls[0], first, 30.0)
    assert talk.negotiation.unconfirmed(LONGEST_WITHOUT_ACK - 1) == []
    (overdue,) = talk.negotiation.unconfirmed(LONGEST_WITHOUT_ACK)
    done(talk.negotiation.delete(overdue))
    assert talk.relay.journal[-1] == "delete a1 > b1, outside > outside"
    assert talk.negotiation.unconfirmed(1e9) == []
    calls[0][1].accepted_by.clear()
    talk.negotiation.accepted(*calls[0], first, 0.0)
    talk.ack()
    assert talk.negotiation.unconfirmed(1e9) == []


def test_no_media_for_an_offer_in_a_200(talk: Talk) -> None:
    """The answer is given and cannot be taken back: it passes as it is, with a warning."""
    context = talk.request("INVITE")
    talk.relay.full = "no port is free"
    with capturedLogs() as events:
        response = talk.response(context, "200 OK", body=THERE)
    assert bytes(response) == response.original
    assert [e["log_level"] for e in events] == [LogLevel.warn]
    assert talk.ack(HERE).body == HERE.replace("\n", "\r\n").encode()


def test_a_flood_of_delayed_offers_is_bounded(talk: Talk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Offers that wait for their ACK are forgotten, oldest first, when there are too many."""
    monkeypatch.setattr(offeranswer, "MOST_WAITING", 2)
    context = talk.request("INVITE")
    for tag in ("b1", "b2", "b3"):
        talk.response(context, "200 OK", tag=tag, body=THERE)
    assert media(talk.ack(HERE, tag="b1")) == ["10.0.0.10:40000"]
    assert media(talk.ack(HERE, tag="b2")) == ["203.0.113.1:40000"]
    assert media(talk.ack(HERE, tag="b3")) == ["203.0.113.1:40000"]


# branches


THERE_TOO = Flow(None, Address("203.0.113.60", 5060), Side.OUTSIDE)
SIX = Flow(None, Address("2001:db8::9", 5060), Side.OUTSIDE)


def test_branches_that_go_the_same_way_share_an_offer(talk: Talk) -> None:
    """One set of ports for all phones of a user; another family or side needs another one."""
    context = talk.request("INVITE", body=HERE)
    for flow in (THERE_TOO, SIX):
        talk.copy = context.request.copy()
        assert talk.forward(context, flow) is None
    names = [exchange.transaction for _, exchange in talk.relay.calls]
    assert names == [b"z9hG4bKx", b"z9hG4bKx", b"z9hG4bKx/outside1"]
    assert [exchange.receiver_at for _, exchange in talk.relay.calls] == [
        flow.remote.host for flow in (BOB, THERE_TOO, SIX)
    ]
    assert {exchange.sender_at for _, exchange in talk.relay.calls} == {"10.0.0.10"}


def test_what_was_offered_in_vain_is_withdrawn(talk: Talk) -> None:
    """The way on which the call was answered keeps its media, the other one goes."""
    context = talk.request("INVITE", body=HERE)
    talk.copy = context.request.copy()
    talk.forward(context, SIX)
    talk.response(context, "200 OK", body=THERE)
    withdrawn = [exchange for what, exchange in talk.relay.calls if what.startswith("withdraw")]
    assert [exchange.transaction for exchange in withdrawn] == [b"z9hG4bKx"]
    assert list(context.offers) == [(Side.OUTSIDE, True)]
