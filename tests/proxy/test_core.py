# SPDX-License-Identifier: MIT
"""The proxy core: what is refused before there is state, and the way of a request and its response.

Calls with media are in test_core_calls.py.
"""

from __future__ import annotations

from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, capturedLogs
from zope.interface.verify import verifyObject

from siproxd_tw.config.networks import parse as networks
from siproxd_tw.config.settings import AccessConfig, AuthConfig, RoutingConfig
from siproxd_tw.interfaces import ISignalling, IStatus, ITransactionUser, ITransport, Refused, Side
from siproxd_tw.proxy.forwarding import branch_for
from siproxd_tw.proxy.limits import BURST
from siproxd_tw.sip.message import response_to
from siproxd_tw.sip.transactionlayer import (
    ResponseReceived,
    RingingTooLong,
    StrayResponse,
    TransactionFailed,
    local_tag,
)
from tests.support.bench import NOW, SECRET, Bench
from tests.support.messages import ALICE, SDP, differences, invite, register, request, values

PROVIDER = "203.0.113.50:5060"
PHONE = "10.0.0.10:5062"


@pytest.fixture
def bench() -> Bench:
    bench = Bench()
    bench.bind()
    return bench


def looks(bench: Bench, trace: str) -> None:
    """Compare what was sent last with a trace."""
    assert differences(bench.sent, trace) == []  # type: ignore[arg-type]


def counted(bench: Bench, name: str) -> object:
    return bench.core.status().get(name, 0)


def test_provides_what_others_expect(bench: Bench) -> None:
    """The core, and what stands around it on the bench."""
    assert verifyObject(ITransactionUser, bench.core)
    assert verifyObject(IStatus, bench.core)
    assert verifyObject(ISignalling, bench.signalling)
    assert verifyObject(ITransport, bench.signalling.transports[Side.INSIDE, "UDP", False])


# before there is state


def screened(bench: Bench, text: str, *, outside: bool = False) -> Refused | None:
    flow = bench.w if outside else bench.p
    try:
        bench.core.screen(bench.message(text, flow), flow)
    except Refused as refusal:
        return refusal
    return None


def test_access_lists_are_asked() -> None:
    """A denied peer is not even parsed; a request without right gets no answer."""
    denied, _ = networks("203.0.113.51/32")
    allowed, _ = networks("10.0.0.10/32")
    bench = Bench(access=AccessConfig(deny_sip=denied))
    with pytest.raises(Refused) as caught:
        bench.core.admits(bench.w)
    assert caught.value.status is None
    bench.core.admits(bench.p)
    with capturedLogs():
        refusal = screened(
            Bench(access=AccessConfig(allow_sip=allowed)), request("INVITE", "sip:a@h"), outside=True
        )
    assert refusal is not None
    assert refusal.status is None


@pytest.mark.parametrize(
    ("text", "status"),
    [
        (request("INVITE", "sip:alice@203.0.113.1"), 0),
        (request("OPTIONS", f"sip:{ALICE}"), 0),
        (request("INVITE", "sip:nobody@203.0.113.1"), 404),
        (request("INVITE", "sip:100@203.0.113.1", "To: <sip:x@h>;tag=1"), 481),
        (request("INVITE", "sips:alice@203.0.113.1"), 0),
        (request("INVITE", "im:alice@203.0.113.1"), 416),
        (request("INVITE", "sip:alice@203.0.113.1", "Max-Forwards: 0"), 483),
        (request("INVITE", "sip:alice@203.0.113.1", "Proxy-Require: x"), 420),
        (request("CANCEL", "sip:nobody@203.0.113.1"), 0),
        (request("ACK", "sip:nobody@203.0.113.1"), 0),
        (request("INVITE", "sip:203.0.113.1"), 404),
        (request("OPTIONS", "sip:nobody@203.0.113.1"), 404),
    ],
)
def test_what_comes_from_outside_is_screened(bench: Bench, text: str, status: int) -> None:
    """A request that leads nowhere is refused without a transaction; CANCEL and ACK are matched first."""
    refusal = screened(bench, text, outside=True)
    assert (refusal.status if refusal else 0) == status
    assert bench.happened() == []


def test_a_to_tag_is_no_password() -> None:
    """Only what is of a dialog that runs was authenticated before; a BYE ends a call also after a restart."""
    bench = Bench(auth=AuthConfig(realm="foo", password="secret", every_request=True))
    made_up = "To: <sip:bob@203.0.113.51>;tag=made-up"
    for method in ("INVITE", "MESSAGE", "REFER"):
        refusal = screened(bench, request(method, "sip:bob@203.0.113.51", made_up))
        assert refusal is not None
        assert refusal.status == 407
    assert screened(bench, request("BYE", "sip:bob@203.0.113.51", made_up)) is None
    bench.bind()
    bench.receive(request("INVITE", f"sip:{ALICE}", "Call-ID: runs"), bench.w)
    bench.answered("200 OK", "Contact: <sip:alice@10.0.0.10:5062>", tag="phone")
    again = request("INVITE", "sip:b@203.0.113.51", "From: <sip:a@h>;tag=phone", made_up, "Call-ID: runs")
    assert screened(bench, again) is None


def test_a_to_tag_does_not_open_the_flood_gate(bench: Bench) -> None:
    """Anybody can write one; only what is of a dialog that runs is not counted as a beginning."""
    bench.bind()
    bench.receive(invite("sip:bob@203.0.113.51", "Call-ID: runs", body=SDP.audio("10.0.0.10", 40000)))
    bench.answered("200 OK", tag="b1")
    for number in range(BURST + 1):
        text = request("MESSAGE", f"sip:{ALICE}", "To: <sip:alice@h>;tag=x", f"Call-ID: guess{number}")
        refusal = screened(bench, text, outside=True)
    assert refusal is not None
    assert refusal.status is None
    bye = request("BYE", f"sip:{ALICE}", "From: <sip:b@h>;tag=b1", "To: <sip:a@h>;tag=a1", "Call-ID: runs")
    assert screened(bench, bye, outside=True) is None


def test_a_route_of_ours_does_not_hide_the_target(bench: Bench) -> None:
    """What is screened is the request after the preprocessing of its Routes; it stays untouched itself."""
    text = request("BYE", "sip:dora@192.0.2.9", "Route: <sip:10.0.0.1;lr>", "To: <sip:d@h>;tag=1")
    message = bench.message(text, bench.p)
    bench.core.screen(message, bench.p)
    assert bytes(message) == message.original
    strict = request("INVITE", "sip:siproxd@203.0.113.1", "Route: <sip:nobody@203.0.113.1>")
    refusal = screened(bench, strict, outside=True)
    assert refusal is not None
    assert refusal.status == 404


@pytest.mark.parametrize("outside", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        request("OPTIONS", "sip:10.0.0.1", "Contact: <sip:a@h>;q=1, <sip:b@h>"),
        request("OPTIONS", "sip:x@far.test", "Contact: <sip:a@h>;q=1, <sip:b@h>", "Max-Forwards: 0"),
    ],
)
def test_options_for_the_proxy(bench: Bench, text: str, outside: bool) -> None:
    """200 with what we can, for our address and for a request that ends here; its Contact goes back."""
    refusal = screened(bench, text, outside=outside)
    assert refusal is not None
    assert refusal.status == 200
    assert refusal.headers[0] == b"Accept: application/sdp"
    assert refusal.headers[1].startswith(b"Allow: INVITE, ACK, ")
    assert refusal.headers[2] == b"Contact: <sip:a@h>;q=1, <sip:b@h>"


def test_options_by_name(bench: Bench) -> None:
    """A domain that turns out to be ours is answered, too, with a transaction."""
    bench.receive(request("OPTIONS", "sip:foo.test"))
    assert bench.happened() == [f"200 to {PHONE}"]
    looks(bench, "SIP/2.0 200 …\nAllow: …")


def looped(bench: Bench, flow: Any, sent_from: str, uri: str = f"sip:{ALICE}") -> str:
    """Return a request that we have had before, from `flow`, and sent from our address `sent_from`."""
    first = bench.message(request("INVITE", uri, "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"), flow)
    ours = branch_for(first, flow.side, SECRET).decode()
    vias = f"Via: SIP/2.0/UDP {sent_from}:5060;branch={ours}\nVia: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"
    return request("INVITE", uri, "Via: SIP/2.0/UDP 192.0.2.9;branch=z9hG4bKelse\n" + vias)


def test_loops(bench: Bench) -> None:
    """482 for what comes back unchanged: from inside always, from outside if it is for nobody here."""
    for outside, sent_from, uri, status in (
        (False, "203.0.113.1", f"sip:{ALICE}", 482),
        (True, "10.0.0.1", f"sip:{ALICE}", 482),
        (True, "203.0.113.1", "sip:nobody@sip.provider.test", 482),
        (True, "203.0.113.1", f"sip:{ALICE}", 0),
        (True, "192.0.2.77", "sip:nobody@sip.provider.test", 404),
    ):
        refusal = screened(bench, looped(bench, bench.p, sent_from, uri), outside=outside)
        assert (refusal.status if refusal else 0) == status, (outside, sent_from, uri)


def test_refusals_of_loops_are_not_connected(bench: Bench) -> None:
    """Each has a traceback of its own, which ends with it: a flood of loops costs no memory."""
    first = screened(bench, looped(bench, bench.p, "203.0.113.1"))
    second = screened(bench, looped(bench, bench.p, "203.0.113.1"))
    assert first is not second


# the way out and back


def test_there_and_back(bench: Bench) -> None:
    """A request goes to the host of its URI, dressed; the response goes back the same way."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "X-Odd:  kept "))
    assert bench.happened() == [f"MESSAGE to {PROVIDER}"]
    looks(
        bench,
        f"""
        MESSAGE sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…, SIP/2.0/UDP {PHONE};branch=z9hG4bKt1
        Max-Forwards: 69
        X-Odd: kept
        """,
    )
    bench.answered("200 OK", "X-Odd:  kept ")
    assert bench.happened() == [f"200 to {PHONE}"]
    looks(
        bench,
        f"""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP {PHONE};branch=z9hG4bKt1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        X-Odd: kept
        """,
    )


def test_in_and_back(bench: Bench) -> None:
    """A request for a phone gets its Contact as Request-URI, a Record-Route, and leaves by the inside."""
    bench.receive(request("OPTIONS", "sip:alice@203.0.113.1"), bench.w)
    assert bench.happened() == [f"OPTIONS to {PHONE}"]
    looks(
        bench,
        """
        OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…, SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKt1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        """,
    )
    assert bench.client().flow.transport.side is Side.INSIDE
    bench.answered("404 Not Found")
    assert bench.happened() == ["404 to 203.0.113.51:5060"]


def test_the_branch_is_the_same_for_a_retransmission(bench: Bench) -> None:
    """It can be computed from the request as it was received."""
    transaction = bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    assert bench.client().request.top_via.branch == branch_for(transaction.request, Side.INSIDE, SECRET)


def test_what_was_received_is_not_changed(bench: Bench) -> None:
    """The request of the server transaction is what came in: its answer is made of it."""
    transaction = bench.receive(
        request(
            "INVITE", "sip:bob@sip.provider.test", "Contact: <sip:a@10.0.0.10>", "Route: <sip:10.0.0.1;lr>"
        )
    )
    assert bytes(transaction.request) == transaction.request.original


def test_a_name_that_has_no_address(bench: Bench) -> None:
    """503 with Retry-After and a To tag, counted, and one line in the log."""
    with capturedLogs() as events:
        bench.receive(request("MESSAGE", "sip:bob@nowhere.test"))
    looks(bench, "SIP/2.0 503 …\nRetry-After: 10\nTo: <sip:bob@nowhere.test>;tag=…")
    assert bench.happened() == [f"503 to {PHONE}"]
    assert counted(bench, "refused: next hop cannot be resolved") == 1
    assert [e["log_level"] for e in events if e["log_level"] is not LogLevel.debug] == [LogLevel.info]


def test_a_name_that_is_ours(bench: Bench) -> None:
    """A call to nobody at a domain that resolves to us does not go round in circles."""
    bench.receive(request("MESSAGE", "sip:nobody@foo.test"))
    assert bench.happened() == [f"404 to {PHONE}"]


def test_while_there_is_no_socket_outside(bench: Bench) -> None:
    """503 with Retry-After: the address will come."""
    del bench.signalling.transports[Side.OUTSIDE, "UDP", False]
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    assert bench.happened() == [f"503 to {PHONE}"]
    looks(bench, "SIP/2.0 503 …\nRetry-After: 10")


def test_while_there_is_no_address_outside(bench: Bench) -> None:
    """The same when the address goes while a socket is still there."""
    bench.addresses.set(Side.OUTSIDE, None)
    bench.receive(request("MESSAGE", "sip:bob@192.0.2.9"))
    assert bench.happened() == [f"503 to {PHONE}"]


def test_a_name_that_leads_inside(bench: Bench) -> None:
    """A neighbour by name is met inside, from our inside address."""
    bench.resolver.names["pbx.test"] = "10.0.0.5"
    bench.receive(request("MESSAGE", "sip:bob@pbx.test"))
    assert bench.happened() == ["MESSAGE to 10.0.0.5:5060"]
    looks(bench, "MESSAGE … SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.1:5060;branch=…, …")


def test_the_last_answer_is_the_last(bench: Bench) -> None:
    """A response after the final one is dropped and counted; so is one that matches nothing."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    bench.answered("200 OK")
    bench.happened()
    bench.answered("404 Not Found")
    assert bench.happened() == []
    assert counted(bench, "late responses") == 1
    bench.core.event_received(StrayResponse(bench.sent, bench.w))  # type: ignore[arg-type]
    assert bench.happened() == []
    assert counted(bench, "stray responses") == 1


@pytest.mark.parametrize("status", [180, 200])
def test_a_response_without_the_via_of_its_request(bench: Bench, status: int) -> None:
    """Nobody behind us could be meant by it. A final one ends the request: nothing else will come."""
    bench.receive(request("INVITE", "sip:bob@sip.provider.test"))
    bench.happened()
    response = response_to(bench.client().request, status)
    for via in reversed(response.vias()[1:]):
        response.remove_element(via, "test")
    bench.core.event_received(ResponseReceived(bench.client(), response, bench.client().user))
    assert bench.happened() == ([] if status == 180 else [f"502 to {PHONE}"])
    what = "dropped response" if status == 180 else "refused"
    assert counted(bench, f"{what}: response without the Via of its request") == 1


def test_a_100_goes_no_further(bench: Bench) -> None:
    """It is for one hop only (16.7 step 5)."""
    bench.receive(request("SUBSCRIBE", "sip:bob@sip.provider.test"))
    bench.happened()
    bench.answered("100 Trying")
    assert bench.happened() == []


def test_nobody_answers(bench: Bench) -> None:
    """A non-INVITE that times out gets no 408, which would come too late anyhow (RFC 4320 4.2)."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    bench.happened()
    bench.core.event_received(TransactionFailed(bench.client(), "timeout"))
    assert bench.happened() == ["forget MESSAGE"]
    assert counted(bench, "no response: timeout") == 1


# one after the other


def test_what_waits_for_dns_holds_back_its_own_call_only(bench: Bench) -> None:
    """Messages of one Call-ID leave in the order in which they came; others do not wait."""
    bench.resolver.hold()
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "Call-ID: slow", "CSeq: 1 MESSAGE"))
    bench.receive(request("MESSAGE", "sip:bob@203.0.113.60", "Call-ID: slow", "CSeq: 2 MESSAGE"))
    bench.receive(request("INFO", "sip:bob@sip.other.test", "Call-ID: slow", "CSeq: 3 INFO"))
    bench.receive(request("MESSAGE", "sip:bob@203.0.113.60", "Call-ID: slow", "CSeq: 4 MESSAGE"))
    bench.receive(request("OPTIONS", "sip:bob@203.0.113.60", "Call-ID: quick"))
    assert bench.happened() == ["OPTIONS to 203.0.113.60:5060"]
    assert counted(bench, "waiting") == 1
    bench.resolver.release("sip.provider.test")
    assert bench.happened() == [f"MESSAGE to {PROVIDER}", "MESSAGE to 203.0.113.60:5060"]
    assert counted(bench, "waiting") == 1
    bench.resolver.release("sip.other.test")
    assert bench.happened() == ["INFO to 203.0.113.51:5060", "MESSAGE to 203.0.113.60:5060"]
    assert [m.cseq.number for m in bench.signalling.sent[1:]] == [1, 2, 3, 4]
    assert counted(bench, "waiting") == 0


def test_a_refusal_in_the_queue_does_not_stop_it(bench: Bench) -> None:
    """What comes behind a message that fails goes on."""
    bench.resolver.hold()
    bench.receive(request("MESSAGE", "sip:bob@nowhere.test", "Call-ID: slow"))
    bench.receive(request("MESSAGE", "sip:bob@203.0.113.60", "Call-ID: slow"))
    bench.resolver.release()
    assert bench.happened() == [f"503 to {PHONE}", "MESSAGE to 203.0.113.60:5060"]
    assert counted(bench, "waiting") == 0


def test_what_waits_when_it_stops_is_dropped(bench: Bench) -> None:
    """What comes behind a look-up is forgotten without a warning, and the look-up's end changes nothing."""
    bench.resolver.hold()
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "Call-ID: slow", "CSeq: 1 MESSAGE"))
    bench.receive(request("MESSAGE", "sip:bob@203.0.113.60", "Call-ID: slow", "CSeq: 2 MESSAGE"))
    bench.core.stop()
    bench.resolver.release()
    assert bench.happened() == [f"MESSAGE to {PROVIDER}"]
    assert counted(bench, "waiting") == 0


@pytest.mark.logs_failures
def test_a_bug_is_answered_with_500_and_stops_nobody(bench: Bench) -> None:
    """It is logged once with its traceback; the request does not hang and its call goes on."""
    bench.resolver.locate = lambda *_: fail(ZeroDivisionError("a bug"))  # type: ignore[method-assign]
    with capturedLogs() as events:
        bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    assert bench.happened() == [f"500 to {PHONE}"]
    assert [e["log_level"] for e in events if e["log_level"] is LogLevel.critical] == [LogLevel.critical]
    assert counted(bench, "internal errors") == 1
    waits: Deferred[Any] = Deferred()
    bench.resolver.locate = lambda *_: waits  # type: ignore[method-assign]
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    bench.receive(request("INFO", "sip:bob@sip.provider.test"))
    bench.resolver.locate = type(bench.resolver).locate.__get__(bench.resolver)  # type: ignore[method-assign]
    with capturedLogs():
        waits.errback(ZeroDivisionError("a bug"))
    assert bench.happened() == [f"500 to {PHONE}", f"INFO to {PROVIDER}"]


@pytest.mark.logs_failures
def test_a_bug_at_a_response_ends_the_request(bench: Bench) -> None:
    """Its client transaction is over, so that nothing else would ever answer the phone."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    bench.happened()
    bench.addresses.advertised = lambda _: 1 // 0  # type: ignore[method-assign]
    with capturedLogs() as events:
        bench.answered("200 OK")
    assert bench.happened() == [f"500 to {PHONE}"]
    assert [e["log_level"] for e in events if e["log_level"] is LogLevel.critical] == [LogLevel.critical]


# REGISTER


def test_register_is_passed_on(bench: Bench) -> None:
    """The Contact is masked on the way out, shown on the way back, and bound by the 200."""
    bench = Bench()
    bench.receive(register(ALICE, "<sip:alice@10.0.0.10:5062;x=1>"))
    assert bench.happened() == [f"REGISTER to {PROVIDER}"]
    looks(bench, "REGISTER sip:sip.provider.test SIP/2.0\nContact: <sip:alice@203.0.113.1>\nno Record-Route")
    assert len(bench.location) == 0
    bench.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=60")
    assert bench.happened() == [f"200 to {PHONE}"]
    looks(bench, "SIP/2.0 200 OK\nContact: <sip:alice@10.0.0.10:5062;x=1>;expires=60")
    assert [b.expires for b in bench.location] == [NOW + 60]
    assert bench.saves == 1


def test_register_that_gets_no_answer(bench: Bench) -> None:
    """No binding, no 408, and the mask is free for others."""
    bench = Bench()
    bench.receive(register(ALICE, "<sip:alice@10.0.0.10:5062>"))
    bench.core.event_received(TransactionFailed(bench.client(), "timeout"))
    assert bench.happened()[1:] == ["forget REGISTER"]
    assert len(bench.location) == 0
    bench.receive(register("alice@sip.other.test", "<sip:alice@10.0.0.11>"), bench.flow("10.0.0.11", 5060))
    assert values(bench.sent, "Contact") == ["<sip:alice@203.0.113.1>"]  # type: ignore[arg-type]


def test_register_that_cannot_be_sent(bench: Bench) -> None:
    """503 while the registrar has no address, and the mask is free again."""
    bench = Bench()
    bench.receive(register("alice@nowhere.test", "<sip:alice@10.0.0.10>"))
    assert bench.happened() == [f"503 to {PHONE}"]
    bench.receive(register("alice@sip.other.test", "<sip:alice@10.0.0.11>"), bench.flow("10.0.0.11", 5060))
    assert values(bench.sent, "Contact") == ["<sip:alice@203.0.113.1>"]  # type: ignore[arg-type]


def test_register_for_a_domain_of_ours(bench: Bench) -> None:
    """Answered here, with a To tag, and nothing goes further."""
    bench.receive(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    assert bench.happened() == [f"200 to {PHONE}"]
    looks(
        bench, "SIP/2.0 200 OK\nContact: <sip:carol@10.0.0.10>;expires=3600\nTo: <sip:carol@foo.test>;tag=…"
    )
    assert bench.saves == 1


def test_register_here_needs_a_password_where_there_is_one() -> None:
    """407 with a challenge, no binding; a provider's registrar asks for itself."""
    bench = Bench(auth=AuthConfig(realm="foo", password="secret"))
    bench.receive(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    looks(bench, "SIP/2.0 407 …\nProxy-Authenticate: …\nTo: <sip:carol@foo.test>;tag=…")
    assert len(bench.location) == 0
    bench.receive(register(ALICE, "<sip:alice@10.0.0.10>"))
    assert bench.happened() == [f"407 to {PHONE}", f"REGISTER to {PROVIDER}"]


def test_register_waits_for_dns_twice_and_keeps_its_order(bench: Bench) -> None:
    """Is the domain ours? where is it? A second REGISTER of the phone waits behind the first."""
    bench = Bench()
    bench.resolver.hold()
    bench.receive(register(ALICE, "<sip:alice@10.0.0.10>", "CSeq: 1 REGISTER"))
    bench.receive(register(ALICE, "<sip:alice@10.0.0.10>", "CSeq: 2 REGISTER"))
    assert bench.happened() == []
    bench.resolver.release()
    assert bench.happened() == [f"REGISTER to {PROVIDER}"] * 2
    assert [m.cseq.number for m in bench.signalling.sent] == [1, 2]


def test_register_for_a_registrar_inside(bench: Bench) -> None:
    """A registrar in the phones' own network sees their own Contacts."""
    bench = Bench()
    bench.receive(register("alice@10.0.0.5", "<sip:alice@10.0.0.10>"))
    assert bench.happened() == ["REGISTER to 10.0.0.5:5060"]
    looks(bench, "REGISTER … SIP/2.0\nContact: <sip:alice@10.0.0.10>")
    bench.answered("200 OK", "Contact: <sip:alice@10.0.0.10>;expires=60")
    assert len(bench.location) == 0


def test_register_from_outside_for_somebody_else() -> None:
    """403: this is no way to a third party's registrar, even for who may register here."""
    allowed, _ = networks("203.0.113.51/32")
    bench = Bench(access=AccessConfig(allow_register=allowed))
    bench.receive(register(ALICE, "<sip:a@203.0.113.51>"), bench.w)
    assert bench.happened() == ["403 to 203.0.113.51:5060"]
    bench.receive(register("carol@foo.test", "<sip:a@203.0.113.51>"), bench.w)
    assert bench.happened() == ["200 to 203.0.113.51:5060"]


def test_register_by_way_of_an_outbound_proxy() -> None:
    """A domain that only the outbound proxy knows is no trouble."""
    bench = Bench(routing=RoutingConfig("203.0.113.99", 5080))
    bench.receive(register("alice@internal.invalid", "<sip:alice@10.0.0.10>"))
    assert bench.happened() == ["REGISTER to 203.0.113.99:5080"]


# counters


def test_status(bench: Bench) -> None:
    """Figures by name: dialogs, calls that wait, and what was refused and why."""
    assert bench.core.status() == {"dialogs": 0, "waiting": 0, "servers remembered": 0}
    bench.receive(request("MESSAGE", "sip:nobody@foo.test"))
    bench.receive(invite("sip:bob@sip.provider.test", body=""))
    bench.core.event_received(RingingTooLong(bench.client()))
    assert bench.core.status() == {
        "servers remembered": 0,
        "dialogs": 1,
        "waiting": 0,
        "refused: no such phone": 1,
        "timer C": 1,
    }


def test_every_own_answer_has_the_tag_of_its_request(bench: Bench) -> None:
    """So that the ACK for it is recognised (8.2.7)."""
    transaction = bench.receive(request("INVITE", "sip:nobody@foo.test"))
    assert bench.sent.to_tag == local_tag(transaction.request, SECRET)


def test_with_an_outbound_proxy_nobody_waits_long_for_the_domain() -> None:
    """Whether it is one of ours is asked, for half a second: a DNS that is silent must not stop telephony."""
    bench = Bench(routing=RoutingConfig("203.0.113.99", 5080))
    bench.resolver.hold()
    bench.receive(register("alice@nowhere.test", "<sip:alice@10.0.0.10:5062>"))
    assert bench.happened() == []
    bench.clock.advance(0.5)
    assert bench.happened() == ["REGISTER to 203.0.113.99:5080"]
