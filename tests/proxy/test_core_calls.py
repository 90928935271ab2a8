# SPDX-License-Identifier: MIT
"""Calls through the proxy core, told by its journal: which effect comes before which."""

from __future__ import annotations

import pytest
from twisted.logger import LogLevel, capturedLogs

from siproxd_tw.proxy.dialogs import LINGER
from siproxd_tw.sip.transactionlayer import RingingTooLong, ServerTransaction, TransactionFailed
from tests.support.bench import NOW, Bench
from tests.support.messages import ALICE, SDP, differences, invite, media, request, values

PROVIDER, PHONE, W = "203.0.113.50:5060", "10.0.0.10:5062", "203.0.113.51:5060"
HERE, THERE = SDP.audio("10.0.0.10", 40000), SDP.audio("192.0.2.9", 50000)
OUT = "inside > outside"
BACK = "outside > inside"
CALLEE = "To: <sip:bob@sip.provider.test>;tag=b1"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.bind()
    return bench


def call(bench: Bench, *headers: str, body: str = HERE) -> ServerTransaction:
    """Let Alice call Bob at the provider; return the transaction."""
    return bench.receive(invite("sip:bob@sip.provider.test", *headers, body=body))


def called(bench: Bench, *headers: str, body: str = THERE) -> ServerTransaction:
    """Let W call Alice; return the transaction."""
    caller = "From: <sip:carol@sip.other.test>;tag=w1"
    headers = headers or (f"To: <sip:{ALICE}>",)
    text = invite("sip:alice@203.0.113.1", caller, *headers, contact="<sip:carol@192.0.2.7>", body=body)
    return bench.receive(text, bench.w)


def looks(bench: Bench, trace: str) -> None:
    assert differences(bench.sent, trace) == []  # type: ignore[arg-type]


def counted(bench: Bench, name: str) -> object:
    return bench.core.status().get(name, 0)


# the order of effects


def test_a_call_out(bench: Bench) -> None:
    """Offer, INVITE, 100; answers on the way back; the ACK needs no transaction."""
    call(bench)
    assert bench.happened() == [f"offer a1 > ?, {OUT}", f"INVITE to {PROVIDER}", f"100 to {PHONE}"]
    sent = bench.client().request
    assert media(sent) == ["203.0.113.1:40000"]
    assert values(sent, "Contact") == ["<sip:alice@203.0.113.1>"]
    bench.answered("180 Ringing")
    assert bench.happened()[-1] == f"180 to {PHONE}"
    bench.answered("200 OK", "Contact: <sip:bob@192.0.2.9>", body=THERE)
    assert bench.happened() == [f"answer b1 > a1, {BACK}", f"200 to {PHONE}"]
    looks(bench, "SIP/2.0 200 OK\nContact: <sip:bob@192.0.2.9>")
    assert media(bench.sent) == ["10.0.0.1:50000"]  # type: ignore[arg-type]
    bench.acknowledge(request("ACK", "sip:bob@192.0.2.9", CALLEE, "Route: <sip:siproxd@10.0.0.1:5060;lr>"))
    assert bench.happened() == ["ACK to 192.0.2.9:5060"]
    looks(
        bench,
        f"ACK sip:bob@192.0.2.9 SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=…, SIP/2.0/UDP {PHONE};…\n"
        "Max-Forwards: 69\nno Route",
    )


def test_a_call_in(bench: Bench) -> None:
    """The phone is asked under its own Contact, and its answer hides it."""
    called(bench)
    assert bench.happened() == ["offer w1 > ?, outside > inside", f"INVITE to {PHONE}", f"100 to {W}"]
    assert media(bench.client().request) == ["10.0.0.1:50000"]
    bench.answered("200 OK", "Contact: <sip:alice@10.0.0.10:5062>", body=HERE)
    assert bench.happened() == [f"answer b1 > w1, {OUT}", f"200 to {W}"]
    looks(bench, "SIP/2.0 200 OK\nContact: <sip:alice@203.0.113.1>\nno Record-Route")
    bench.acknowledge(request("ACK", "sip:alice@203.0.113.1", "To: <sip:a@b>;tag=b1"), bench.w)
    assert bench.happened() == [f"ACK to {PHONE}"]
    looks(bench, "ACK sip:alice@10.0.0.10:5062 SIP/2.0")


def test_dns_comes_before_media_and_media_before_the_wire(bench: Bench) -> None:
    """No port is taken for a name that does not resolve; nothing leaves half rewritten."""
    bench.resolver.hold()
    bench.relay.hold()
    call(bench)
    assert bench.happened() == [f"100 to {PHONE}"]
    bench.resolver.release()
    assert bench.happened() == [f"offer a1 > ?, {OUT}"]
    bench.relay.release()
    assert bench.happened() == [f"INVITE to {PROVIDER}"]
    sent = bench.client().request
    assert media(sent) == ["203.0.113.1:40000"]
    assert sent.top_via.host == "203.0.113.1"
    assert values(sent, "Contact") == ["<sip:alice@203.0.113.1>"]


def test_no_media_for_a_name_without_address(bench: Bench) -> None:
    """503 before anything is allocated."""
    bench.receive(invite("sip:bob@nowhere.test", body=HERE))
    assert bench.happened() == [f"503 to {PHONE}"]


def test_the_response_waits_for_the_relay(bench: Bench) -> None:
    """An answer goes back when it is rewritten; what comes behind it in the same call waits."""
    call(bench)
    bench.happened()
    bench.relay.hold()
    bench.answered("183 Session Progress", body=THERE)
    bench.answered("200 OK")
    assert bench.happened() == [f"answer b1 > a1, {BACK}"]
    bench.relay.release()
    assert bench.happened() == [f"183 to {PHONE}", f"200 to {PHONE}"]


def test_media_refused(bench: Bench) -> None:
    """503 with Retry-After, a warning, nothing sent, nothing to free."""
    bench.relay.full = "no port is free"
    with capturedLogs() as events:
        call(bench)
    assert bench.happened() == [f"offer a1 > ?, {OUT}", f"503 to {PHONE}"]
    looks(bench, "SIP/2.0 503 …\nRetry-After: 10\nTo: <sip:bob@sip.provider.test>;tag=…")
    assert [e["log_level"] for e in events if e["log_level"] is LogLevel.warn] == [LogLevel.warn]
    assert counted(bench, "refused: no media") == 1


# ends


def test_a_call_that_fails_frees_its_media(bench: Bench) -> None:
    """Before the refusal goes back, and once."""
    call(bench)
    bench.happened()
    bench.answered("486 Busy Here")
    assert bench.happened() == [f"withdraw a1 > ?, {OUT}", f"486 to {PHONE}"]


def test_a_failed_reinvite_withdraws_its_own_offer(bench: Bench) -> None:
    """The exchange of the re-INVITE, not that of the call."""
    call(bench)
    bench.answered("200 OK", body=THERE)
    call(bench, CALLEE, "CSeq: 2 INVITE")
    bench.answered("491 Request Pending")
    offers = [exchange for what, exchange in bench.relay.calls if what == "offer"]
    withdrawn = [exchange for what, exchange in bench.relay.calls if what == "withdraw"]
    assert withdrawn == [offers[1]]
    assert offers[1].receiver == b"b1"
    assert offers[0].transaction != offers[1].transaction


@pytest.mark.parametrize("status", ["200 OK", "481 Gone", "408 Timeout", "500 Oops"])
def test_bye_frees_the_media(bench: Bench, status: str) -> None:
    """Whatever is answered, whoever sends it."""
    bench.receive(request("BYE", "sip:bob@192.0.2.9", CALLEE))
    assert bench.happened() == ["BYE to 192.0.2.9:5060"]
    bench.answered(status)
    assert bench.happened() == [f"delete a1 > b1, {OUT}", f"{status[:3]} to {PHONE}"]


@pytest.mark.parametrize("status", ["401 Unauthorized", "407 Proxy Authentication Required"])
def test_a_bye_that_needs_credentials_ends_nothing_yet(bench: Bench, status: str) -> None:
    """It comes again; until then media and dialog are there."""
    bench.dialogs.remember(b"c1", b"a1", b"sip:a@10.0.0.10", bench.p, NOW)
    bench.receive(request("BYE", "sip:bob@192.0.2.9", CALLEE))
    bench.answered(status)
    assert bench.happened() == ["BYE to 192.0.2.9:5060", f"{status[:3]} to {PHONE}"]
    assert bench.dialogs.find(b"c1", b"a1", NOW + LINGER + 1) is not None


def test_a_bye_without_answer_frees_the_media(bench: Bench) -> None:
    """Its sender has gone, whether the peer says so or not."""
    bench.receive(request("BYE", "sip:bob@192.0.2.9", CALLEE))
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), "timeout"))
    assert bench.happened() == [f"delete a1 > b1, {OUT}", "forget BYE"]


def test_a_bye_that_leads_nowhere_frees_the_media(bench: Bench) -> None:
    """The peer's name has no address any more: the phone hangs up all the same."""
    bench.receive(request("BYE", "sip:bob@nowhere.test", CALLEE))
    assert bench.happened() == [f"delete a1 > b1, {OUT}", f"503 to {PHONE}"]


def test_after_the_bye_the_dialog_is_soon_forgotten(bench: Bench) -> None:
    """Retransmissions still find it, later requests do not."""
    call(bench)
    bench.answered("200 OK")
    bench.receive(request("BYE", "sip:bob@192.0.2.9", CALLEE))
    bench.answered("200 OK")
    assert bench.dialogs.find(b"c1", b"a1", NOW + LINGER) is not None
    assert bench.dialogs.find(b"c1", b"a1", NOW + LINGER + 1) is None


@pytest.mark.parametrize("outcome", ["486 Busy Here", "timeout", "no media"])
def test_a_call_that_failed_leaves_no_dialog(bench: Bench, outcome: str) -> None:
    """A phone that is busy or redials all day must not fill the memory."""
    if outcome == "no media":
        bench.relay.full = outcome
    with capturedLogs():
        call(bench)
    if outcome == "timeout":
        bench.core.event_received(TransactionFailed(bench.client(), "timeout"))
    elif outcome != "no media":
        bench.answered(outcome)
    bench.dialogs.expire(NOW + LINGER + 1)
    assert len(bench.dialogs) == 0


def test_a_call_in_that_failed_leaves_no_dialog(bench: Bench) -> None:
    """The phone had rung with a tag of its own; a re-INVITE that fails ends no dialog."""
    called(bench)
    bench.answered("180 Ringing", "Contact: <sip:alice@10.0.0.10:5062>")
    bench.answered("486 Busy Here")
    bench.dialogs.expire(NOW + LINGER + 1)
    assert len(bench.dialogs) == 0
    called(bench)
    bench.answered("200 OK", "Contact: <sip:alice@10.0.0.10:5062>")
    called(bench, f"To: <sip:{ALICE}>;tag=b1", "CSeq: 2 INVITE")
    bench.answered("488 Not Acceptable Here")
    bench.dialogs.expire(NOW + LINGER + 1)
    assert len(bench.dialogs) == 1


# offers that are not in the INVITE


def test_delayed_offer(bench: Bench) -> None:
    """The 200 offers, the ACK answers; nothing is asked of the relay before."""
    call(bench, body="")
    assert bench.happened() == [f"INVITE to {PROVIDER}", f"100 to {PHONE}"]
    bench.answered("200 OK", body=THERE)
    assert bench.happened() == [f"offer b1 > a1, {BACK}", f"200 to {PHONE}"]
    for _ in range(2):
        bench.acknowledge(request("ACK", "sip:bob@192.0.2.9", CALLEE, body=HERE))
        assert bench.happened() == [f"answer a1 > b1, {OUT}", "ACK to 192.0.2.9:5060"]
        assert media(bench.sent) == ["203.0.113.1:40000"]  # type: ignore[arg-type]


def test_prack_answers(bench: Bench) -> None:
    """A reliable 183 offers, the PRACK answers."""
    call(bench, body="")
    bench.answered("183 Session Progress", "RSeq: 7", "Require: 100rel", body=THERE)
    bench.happened()
    bench.receive(
        request("PRACK", "sip:bob@192.0.2.9", CALLEE, "CSeq: 2 PRACK", "RAck: 7 1 INVITE", body=HERE)
    )
    assert bench.happened() == [f"answer a1 > b1, {OUT}", "PRACK to 192.0.2.9:5060"]
    bench.answered("200 OK")
    assert bench.happened() == [f"200 to {PHONE}"]


def test_prack_offers(bench: Bench) -> None:
    """A PRACK that nobody waits for makes an offer of its own, its 200 the answer."""
    call(bench)
    bench.answered("183 Session Progress", "RSeq: 7", "Require: 100rel", body=THERE)
    bench.happened()
    bench.receive(
        request("PRACK", "sip:bob@192.0.2.9", CALLEE, "CSeq: 2 PRACK", "RAck: 7 1 INVITE", body=HERE)
    )
    bench.answered("200 OK", body=THERE)
    assert bench.happened() == [
        f"offer a1 > b1, {OUT}",
        "PRACK to 192.0.2.9:5060",
        f"answer b1 > a1, {BACK}",
        f"200 to {PHONE}",
    ]


def test_update_from_the_other_side(bench: Bench) -> None:
    """The callee changes the media of a call that Alice began; she is found by the dialog."""
    call(bench)
    bench.answered("200 OK", body=THERE)
    bench.happened()
    tags = ("From: <sip:bob@sip.provider.test>;tag=b1", f"To: <sip:{ALICE}>;tag=a1")
    bench.receive(request("UPDATE", "sip:alice@203.0.113.1", *tags, body=THERE), bench.w)
    bench.answered("200 OK", tag="", body=HERE)
    assert bench.happened() == [
        f"offer b1 > a1, {BACK}",
        f"UPDATE to {PHONE}",
        f"answer a1 > b1, {OUT}",
        f"200 to {W}",
    ]


def test_two_200s_of_two_forks(bench: Bench) -> None:
    """Both are passed on, rewritten (16.7 step 5), and the same one again, byte for byte."""
    call(bench)
    bench.happened()
    for tag in ("b1", "b2"):
        bench.answered("200 OK", tag=tag, body=THERE)
        assert bench.happened()[-1] == f"200 to {PHONE}"
        assert media(bench.sent) == ["10.0.0.1:50000"]  # type: ignore[arg-type]
    first = bytes(bench.sent)
    bench.answered("200 OK", tag="b2", body=THERE)
    assert bench.happened()[-1] == f"200 to {PHONE}"
    assert bytes(bench.sent) == first
    bench.answered("486 Busy Here", tag="b3")
    assert bench.happened() == []
    assert counted(bench, "late responses") == 1


# CANCEL


def test_cancel(bench: Bench) -> None:
    """200 at once, the CANCEL goes on, and the 487 that follows comes back."""
    transaction = call(bench)
    bench.happened()
    bench.cancel(transaction)
    assert bench.happened() == [f"200 to {PHONE}", f"cancel INVITE to {PROVIDER}"]
    bench.answered("487 Request Terminated")
    assert bench.happened() == [f"withdraw a1 > ?, {OUT}", f"487 to {PHONE}"]


def test_cancel_while_dns_is_asked(bench: Bench) -> None:
    """487, and nothing is sent: the peer never hears of the call."""
    bench.resolver.hold()
    transaction = call(bench)
    bench.cancel(transaction)
    assert bench.happened() == [f"100 to {PHONE}", f"200 to {PHONE}"]
    bench.resolver.release()
    happened = bench.happened()
    assert happened[-1] == f"487 to {PHONE}"
    assert [what.split()[0] for what in happened[:-1]] in ([], ["offer", "withdraw"])
    assert bench.signalling.clients == []


def test_cancel_while_the_relay_is_asked(bench: Bench) -> None:
    """The ports that were taken meanwhile are given back."""
    bench.relay.hold()
    transaction = call(bench)
    bench.cancel(transaction)
    bench.happened()
    bench.relay.release()
    assert bench.happened() == [f"withdraw a1 > ?, {OUT}", f"487 to {PHONE}"]
    assert bench.signalling.clients == []


def test_cancel_too_late(bench: Bench) -> None:
    """After the final response it has no effect (9.2), but is answered."""
    transaction = call(bench)
    bench.answered("200 OK", body=THERE)
    bench.happened()
    bench.cancel(transaction)
    assert bench.happened() == [f"200 to {PHONE}"]


def test_a_200_that_crosses_the_cancel(bench: Bench) -> None:
    """The call is up, and the caller hangs up."""
    transaction = call(bench)
    bench.cancel(transaction)
    bench.happened()
    bench.answered("200 OK", body=THERE)
    assert bench.happened() == [f"answer b1 > a1, {BACK}", f"200 to {PHONE}"]


def test_cancel_of_nothing(bench: Bench) -> None:
    """481 (9.2)."""
    bench.cancel(None, request("CANCEL", "sip:bob@sip.provider.test"))
    assert bench.happened() == [f"481 to {PHONE}"]
    looks(bench, "SIP/2.0 481 …\nTo: <sip:bob@sip.provider.test>;tag=…")


def test_the_answers_to_cancel_and_invite_have_one_tag(bench: Bench) -> None:
    """As section 9.2 wants it, when the INVITE is answered by us."""
    bench.resolver.hold()
    transaction = call(bench)
    bench.cancel(transaction)
    tag = bench.sent.to_tag
    assert tag
    bench.resolver.release()
    assert bench.sent.to_tag == tag


# nobody answers


@pytest.mark.parametrize(("reason", "status"), [("timeout", 408), ("transport", 503)])
def test_an_invite_that_nobody_answers(bench: Bench, reason: str, status: int) -> None:
    """408 or 503 to the caller, and the media is free again."""
    call(bench)
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), reason))
    assert bench.happened() == [f"withdraw a1 > ?, {OUT}", f"{status} to {PHONE}"]
    assert counted(bench, f"no response: {reason}") == 1


def test_a_phone_that_cannot_be_reached(bench: Bench) -> None:
    """480 for the caller outside: after a 503 the provider would leave the gateway alone with all calls."""
    called(bench)
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), "transport"))
    assert bench.happened()[-1] == f"480 to {W}"


def test_an_invite_that_was_cancelled_and_never_answered(bench: Bench) -> None:
    """487 when the peer does not say it itself (9.1)."""
    transaction = call(bench)
    bench.cancel(transaction)
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), "timeout"))
    assert bench.happened() == [f"withdraw a1 > ?, {OUT}", f"487 to {PHONE}"]


def test_our_answer_that_is_never_acknowledged(bench: Bench) -> None:
    """The caller does not ACK its refusal: counted, and nothing else."""
    transaction = call(bench)
    bench.answered("486 Busy Here")
    bench.happened()
    bench.core.event_received(TransactionFailed(transaction, "timeout"))
    assert bench.happened() == []
    assert counted(bench, "no response: timeout") == 1


def test_a_failure_after_the_answer(bench: Bench) -> None:
    """The caller has its answer; nothing is taken back."""
    call(bench)
    bench.answered("200 OK", body=THERE)
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), "transport"))
    assert bench.happened() == []


def test_ringing_too_long(bench: Bench) -> None:
    """Timer C cancels (16.8); the caller gets what comes of it."""
    call(bench)
    bench.answered("180 Ringing")
    bench.happened()
    bench.core.event_received(RingingTooLong(bench.client()))
    assert bench.happened() == [f"cancel INVITE to {PROVIDER}"]
    assert counted(bench, "timer C") == 1


# ACK


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (request("ACK", "sip:bob@nowhere.test", CALLEE), "next hop cannot be resolved"),
        (request("ACK", "sip:bob@192.0.2.9", CALLEE, "Max-Forwards: 0"), "too many hops"),
        (request("ACK", "sip:nobody@203.0.113.1", CALLEE), "no such dialog"),
        (request("ACK", "tel:+4930", CALLEE), "unsupported URI scheme"),
    ],
)
def test_an_ack_is_never_answered(bench: Bench, text: str, why: str) -> None:
    """What is wrong with it is counted."""
    bench.acknowledge(text)
    assert bench.happened() == []
    assert counted(bench, f"dropped ACK: {why}") == 1


def test_an_ack_waits_its_turn(bench: Bench) -> None:
    """ACK and BYE in one breath, while the ACK's next hop is looked up: the BYE does not overtake."""
    bench.resolver.hold()
    bench.acknowledge(request("ACK", "sip:bob@sip.other.test", CALLEE))
    bench.receive(request("BYE", "sip:bob@203.0.113.51", CALLEE, "CSeq: 2 BYE"))
    assert bench.happened() == []
    bench.resolver.release()
    assert bench.happened() == [f"ACK to {W}", f"BYE to {W}"]
