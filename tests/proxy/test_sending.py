# SPDX-License-Identifier: MIT
"""Which server a request goes to, and what happens when that one does not answer (16.6, RFC 3263 4.3)."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import RoutingConfig, SIPConfig
from siproxd_tw.interfaces import Address, Hop
from siproxd_tw.proxy.sending import GROWTH, PATIENCE, WITHOUT_TCP
from siproxd_tw.sip.transactionlayer import TransactionFailed
from tests.support.bench import Bench
from tests.support.messages import ALICE, SDP, invite, register, request, values

PHONE, CONTACT = "10.0.0.10:5062", "<sip:alice@10.0.0.10:5062>"
A, B = "203.0.113.70:5060", "203.0.113.71:5060"
HERE = SDP.audio("10.0.0.10", 40000)


def hop(place: str, transport: str = "UDP", name: str = "sip.provider.test") -> Hop:
    host, _, port = place.rpartition(":")
    return Hop(transport, Address(host, int(port)), name)


@pytest.fixture
def bench() -> Bench:
    """A provider with two servers, and a phone that is registered."""
    bench = Bench()
    bench.bind()
    bench.resolver.services["sip.provider.test"] = [hop(A), hop(B)]
    return bench


def failed(bench: Bench, reason: str = "transport", client: int = -1) -> None:
    bench.core.event_received(TransactionFailed(bench.client(client), reason))


# failover


@pytest.mark.parametrize("later", ["acknowledged", "long over"])
def test_one_that_answers_when_the_call_has_failed(bench: Bench, later: str) -> None:
    """Its 2xx is too late to be given back (RFC 6026 section 7.1): it leaves neither media nor a dialog."""
    transaction = bench.receive(request("INVITE", "sip:bob@sip.provider.test"))
    bench.clock.advance(PATIENCE)
    bench.answered("486 Busy Here", client=1)
    assert bench.happened()[-1] == f"486 to {PHONE}"
    if later == "long over":
        transaction.let_go()
    bench.answered("200 OK", client=0, tag="late", body=SDP.audio("192.0.2.9", 50000))
    assert bench.happened() == []
    status = bench.core.status()
    assert (status["late responses"], status.get("internal errors")) == (1, None)


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_server_without_a_sign_of_life(bench: Bench, method: str) -> None:
    """After two seconds the next one gets the request; the dead one comes last from now on."""
    bench.receive(request(method, "sip:bob@sip.provider.test"))
    bench.clock.advance(PATIENCE - 0.1)
    assert [line for line in bench.happened() if method in line] == [f"{method} to {A}"]
    bench.clock.advance(0.1)
    happened = bench.happened()
    assert happened[-1] == f"{method} to {B}"
    first, second = bench.client(0).request, bench.client(1).request
    assert first.top_via.branch != second.top_via.branch
    assert bench.resolver.dead == [hop(A)]
    bench.answered("200 OK")
    assert bench.happened()[-1] == f"200 to {PHONE}"


def test_a_sign_of_life_is_enough(bench: Bench) -> None:
    """A 100 says that the server works on it, for as long as it likes."""
    bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.answered("100 Trying")
    bench.clock.advance(30)
    assert [line for line in bench.happened() if line.startswith("INVITE")] == [f"INVITE to {A}"]


def test_one_that_comes_to_life_too_late(bench: Bench) -> None:
    """It has been cancelled, and its ringing goes nowhere; the call is answered by the other one."""
    bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.clock.advance(PATIENCE)
    assert f"cancel INVITE to {A}" in bench.happened()
    bench.answered("180 Ringing", client=0, tag="late")
    bench.answered("487 Request Terminated", client=0, tag="late")
    assert bench.happened() == []
    bench.answered("180 Ringing", client=1)
    bench.answered("200 OK", client=1, body=SDP.audio("192.0.2.9", 50000))
    assert [line for line in bench.happened() if line.endswith(PHONE)] == [
        f"180 to {PHONE}",
        f"200 to {PHONE}",
    ]


@pytest.mark.parametrize("method", ["INVITE", "REGISTER", "MESSAGE"])
def test_a_connection_that_is_refused(bench: Bench, method: str) -> None:
    """The next server gets it at once."""
    bench.resolver.services["sip.provider.test"] = [hop(A, "TCP"), hop(B, "TLS")]
    text = register(ALICE, CONTACT) if method == "REGISTER" else request(method, "sip:bob@sip.provider.test")
    bench.receive(text)
    failed(bench)
    sent = [line for line in bench.happened() if line.startswith(method)]
    assert sent == [f"{method} to {A} by TCP", f"{method} to {B} by TLS"]
    assert values(bench.client().request, "Via")[0].startswith("SIP/2.0/TLS 203.0.113.1:5061;")


def test_a_server_that_is_overloaded(bench: Bench) -> None:
    """503: the next one gets it, and this one is left alone for the time it has said."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    bench.answered("503 Service Unavailable", "Retry-After: 120")
    assert bench.happened()[-1] == f"MESSAGE to {B}"
    assert bench.resolver.failures == [(hop(A), 120.0)]
    bench.answered("503 Service Unavailable")
    assert bench.happened()[-1] == f"503 to {PHONE}"


def test_when_all_have_failed(bench: Bench) -> None:
    """408 for an INVITE that ran out of time, 503 at once where nobody could be reached."""
    bench.receive(request("INVITE", "sip:bob@sip.provider.test"))
    bench.clock.advance(PATIENCE)
    failed(bench, "timeout", client=1)
    assert bench.happened()[-1] == f"408 to {PHONE}"
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "Call-ID: c2"))
    failed(bench, client=2)
    failed(bench, client=3)
    assert bench.happened()[-1] == f"503 to {PHONE}"


def test_a_caller_who_has_given_up(bench: Bench) -> None:
    """No other server is bothered."""
    transaction = bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.cancel(transaction)
    bench.clock.advance(PATIENCE)
    failed(bench, "timeout")
    assert [line for line in bench.happened() if line.startswith("INVITE")] == [f"INVITE to {A}"]


def test_a_cancelled_call_without_an_end_is_no_failure_of_the_server(bench: Bench) -> None:
    """Its 487 got lost; but it rang, so the next call goes there, too, and nobody else is asked."""
    transaction = bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.answered("180 Ringing")
    bench.cancel(transaction)
    bench.happened()
    failed(bench, "timeout")
    assert bench.happened()[-1] == f"487 to {PHONE}"
    assert bench.resolver.dead == []


def test_a_registration_is_masked_for_each_server(bench: Bench) -> None:
    """The phone has one binding after it, not two."""
    bench.resolver.services["sip.provider.test"] = [hop(A, "TCP"), hop(B)]
    bench.receive(register(ALICE, CONTACT))
    assert values(bench.client().request, "Contact") == ["<sip:alice@203.0.113.1;transport=tcp>"]
    failed(bench)
    assert values(bench.client().request, "Contact") == ["<sip:alice@203.0.113.1>"]
    bench.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=60")
    assert len(bench.location) == 1


# affinity


def test_what_belongs_together_goes_to_one_server(bench: Bench) -> None:
    """The challenged REGISTER again, the calls of its user, and what belongs to them; DNS may turn."""
    one, two = hop(A), hop(B)
    bench.receive(register(ALICE, CONTACT))
    bench.answered("401 Unauthorized")
    for number, order in enumerate(((two, one), (two,), ())):
        bench.resolver.services["sip.provider.test"] = list(order)
        bench.receive(register(ALICE, CONTACT, f"CSeq: {number + 2} REGISTER"))
        bench.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=600")
    bench.resolver.services["sip.provider.test"] = [two, one]
    bench.receive(invite("sip:bob@sip.provider.test", "Call-ID: x1", body=HERE))
    bench.answered("407 Proxy Authentication Required")
    bench.receive(invite("sip:bob@sip.provider.test", "Call-ID: x1", "CSeq: 2 INVITE", body=HERE))
    bench.answered("200 OK")
    callee = "To: <sip:bob@sip.provider.test>;tag=b1"
    bench.acknowledge(request("ACK", "sip:bob@sip.provider.test", "Call-ID: x1", "CSeq: 2 ACK", callee))
    sent = [line for line in bench.happened() if " to 203.0.113." in line and line.split()[0].isalpha()]
    wanted = [line for line in sent if line.split()[0] in ("REGISTER", "INVITE", "ACK")]
    assert wanted == [f"{line.split()[0]} to {A}" for line in wanted]
    assert len(wanted) == 7


@pytest.mark.parametrize("late", ["100 Trying", "180 Ringing", "487 Request Terminated"])
def test_a_late_word_of_a_server_that_was_given_up(bench: Bench, late: str) -> None:
    """The call is with the other one, and so is the rest of it."""
    bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.clock.advance(PATIENCE)
    bench.answered("200 OK", client=1)
    bench.answered(late, client=0, tag="late")
    bench.happened()
    bench.receive(request("BYE", "sip:bob@sip.provider.test", "To: <sip:bob@sip.provider.test>;tag=b1"))
    assert [line for line in bench.happened() if line.startswith("BYE")] == [f"BYE to {B}"]


def test_another_call_id_outside_is_the_same_call(bench: Bench) -> None:
    """With obscure_loops, too, the rest of a call goes to the server that has it."""
    bench = Bench(sip=SIPConfig(obscure_loops=True))
    bench.bind()
    bench.resolver.services["sip.provider.test"] = [hop(A), hop(B)]
    bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.clock.advance(PATIENCE)
    bench.answered("200 OK", client=1)
    bench.resolver.dead = []
    bench.happened()
    bench.receive(request("BYE", "sip:bob@sip.provider.test", "To: <sip:bob@sip.provider.test>;tag=b1"))
    assert [line for line in bench.happened() if line.startswith("BYE")] == [f"BYE to {B}"]


def test_a_server_that_was_given_up_and_answers_first(bench: Bench) -> None:
    """Then the call is with that one."""
    bench.receive(invite("sip:bob@sip.provider.test", body=HERE))
    bench.clock.advance(PATIENCE)
    bench.answered("180 Ringing", client=1, tag="b2")
    bench.answered("200 OK", client=0)
    bench.happened()
    bench.receive(request("BYE", "sip:bob@sip.provider.test", "To: <sip:bob@sip.provider.test>;tag=b1"))
    assert [line for line in bench.happened() if line.startswith("BYE")] == [f"BYE to {A}"]


def test_another_user_may_be_elsewhere(bench: Bench) -> None:
    """Who is not registered there goes by the DNS."""
    bench.receive(register(ALICE, CONTACT))
    bench.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=600")
    bench.resolver.services["sip.provider.test"] = [hop(B), hop(A)]
    bench.receive(register("dora@sip.provider.test", "<sip:dora@10.0.0.10:5062>"))
    assert bench.happened()[-1] == f"REGISTER to {B}"


def test_a_server_that_fails_loses_its_users(bench: Bench) -> None:
    """The next request goes to the other one without asking the dead one again."""
    bench.receive(register(ALICE, CONTACT))
    bench.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=600")
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "Call-ID: m1"))
    bench.clock.advance(PATIENCE)
    bench.answered("200 OK")
    bench.happened()
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test", "Call-ID: m2"))
    assert bench.happened() == [f"MESSAGE to {B}"]


def test_outbound_proxies_have_servers_too() -> None:
    """The proxy's name is looked up, and the name in the Request-URI is not."""
    bench = Bench(routing=RoutingConfig(proxy_host="edge.test", proxy_transport="TLS"))
    bench.bind()
    bench.resolver.services["edge.test"] = [hop("203.0.113.80:5061", "TLS", "edge.test")]
    bench.receive(request("MESSAGE", "sip:bob@nowhere.test"))
    assert bench.happened() == ["MESSAGE to 203.0.113.80:5061 by TLS"]
    assert bench.client().flow.name == "edge.test"


# large requests


def large(size: int) -> str:
    """Return a MESSAGE of about that many bytes."""
    return request("MESSAGE", "sip:bob@203.0.113.60", "X-Filler: " + "x" * size)


def test_a_large_request_is_sent_by_tcp(bench: Bench) -> None:
    """And by UDP when that is refused, from then on at once (18.1.1); a small one always by UDP."""
    place = "203.0.113.60:5060"
    bench.receive(large(100))
    bench.receive(large(1300))
    assert bench.happened() == [f"MESSAGE to {place}", f"MESSAGE to {place} by TCP"]
    assert values(bench.client().request, "Via")[0].startswith("SIP/2.0/TCP 203.0.113.1:5060;branch=")
    failed(bench)
    assert bench.happened() == [f"MESSAGE to {place}"]
    assert values(bench.client().request, "Via")[0].startswith("SIP/2.0/UDP 203.0.113.1:5060;branch=")
    bench.receive(large(1300))
    assert bench.happened() == [f"MESSAGE to {place}"]
    bench.clock.advance(WITHOUT_TCP + 1)
    bench.receive(large(1300))
    assert bench.happened()[-1] == f"MESSAGE to {place} by TCP"


def test_the_limit_counts_what_we_add(bench: Bench) -> None:
    """Our Via and Record-Route are in the datagram, too."""
    text = large(900)
    size = len(bench.message(text, bench.p).original)
    below = 1300 - GROWTH - size
    bench.receive(large(900 + below))
    bench.receive(large(900 + below + 20))
    assert [line.endswith("TCP") for line in bench.happened()] == [False, True]


def test_without_a_limit() -> None:
    """`sip_udp_max = 0`: UDP whatever its size."""
    bench = Bench(sip=SIPConfig(udp_max=0))
    bench.bind()
    bench.receive(large(3000))
    assert bench.happened() == ["MESSAGE to 203.0.113.60:5060"]


# phones with a connection


def test_a_phone_is_reached_by_its_connection(bench: Bench) -> None:
    """As long as it is there; then at its Contact, and where that is behind a NAT there is no way: 480."""
    nat = bench.flow("10.0.0.77", 34567, "TCP")
    bench.receive(register("dora@foo.test", "<sip:dora@192.168.1.5:5060;transport=tcp>"), nat)
    near = bench.flow("10.0.0.12", 40001, "TCP")
    bench.receive(register("emil@foo.test", "<sip:emil@10.0.0.12:5060;transport=tcp>"), near)
    bench.happened()
    for user in ("dora", "emil"):
        bench.receive(request("OPTIONS", f"sip:{user}@foo.test", f"Call-ID: {user}"), bench.w)
    assert bench.happened() == ["OPTIONS to 10.0.0.77:34567 by TCP", "OPTIONS to 10.0.0.12:40001 by TCP"]
    nat.transport.gone |= {nat.remote, near.remote}
    for user in ("dora", "emil"):
        bench.receive(request("OPTIONS", f"sip:{user}@foo.test", f"Call-ID: {user}2"), bench.w)
    assert bench.happened() == ["480 to 203.0.113.51:5060", "OPTIONS to 10.0.0.12:5060 by TCP"]


def two_phones(bench: Bench) -> None:
    """Let W call a team of two: one by its connection (client 0), one by UDP (client 1)."""
    near = bench.flow("10.0.0.12", 40001, "TCP")
    bench.receive(register("team@foo.test", "<sip:team@10.0.0.12:5060;transport=tcp>"), near)
    bench.receive(register("team@foo.test", "<sip:team@10.0.0.10:5062>"), bench.p)
    bench.receive(invite("sip:team@foo.test", body=HERE), bench.w)
    sent = [line for line in bench.happened() if line.startswith("INVITE")]
    assert sent == ["INVITE to 10.0.0.12:40001 by TCP", f"INVITE to {PHONE}"]


@pytest.mark.parametrize("how", ["silent", "unreachable", "503"])
def test_after_a_decline_nobody_else_is_asked(bench: Bench, how: str) -> None:
    """603 is everybody's answer: a phone that does not answer is not rung at its Contact (16.7 step 5)."""
    two_phones(bench)
    bench.answered("603 Decline", client=1)
    if how == "unreachable":
        failed(bench, client=0)
    elif how == "503":
        bench.answered("503 Service Unavailable", client=0)
    bench.clock.advance(PATIENCE)
    happened = bench.happened()
    assert [line for line in happened if line.startswith("INVITE")] == []
    assert (f"603 to {bench.w.remote}" in happened) == (how != "silent")


def test_a_phone_by_tls_listens_at_the_port_of_tls(bench: Bench) -> None:
    """Where its Contact has no port, and its connection is gone (19.1.2)."""
    near = bench.flow("10.0.0.12", 40001, "TLS")
    bench.receive(register("dora@foo.test", "<sips:dora@10.0.0.12>"), near)
    near.transport.gone.add(near.remote)
    bench.happened()
    bench.receive(request("MESSAGE", "sip:dora@foo.test", "Call-ID: x"), bench.w)
    assert bench.happened() == ["MESSAGE to 10.0.0.12:5061 by TLS"]


@pytest.mark.parametrize("uri", ["sips:bob@203.0.113.60", "sips:bob@203.0.113.60;transport=udp"])
def test_a_secure_uri_never_goes_by_udp(bench: Bench, uri: str) -> None:
    """That is what its ``s`` promises, also where it names a transport by mistake (26.2.2)."""
    bench.receive(request("MESSAGE", uri))
    assert bench.happened() == ["MESSAGE to 203.0.113.60:5061 by TLS"]


@pytest.mark.parametrize("method", ["INVITE", "MESSAGE"])
def test_a_slow_phone_that_refuses(bench: Bench, method: str) -> None:
    """Its answer by its connection is its answer: what was sent to its Contact is not waited for."""
    near = bench.flow("10.0.0.12", 40001, "TCP")
    bench.receive(register("dora@foo.test", "<sip:dora@10.0.0.12:5060>"), near)
    bench.receive(request(method, "sip:dora@foo.test", "Call-ID: x"), bench.w)
    bench.clock.advance(PATIENCE)
    assert bench.happened()[-1] == f"{method} to 10.0.0.12:5060 by TCP"
    bench.answered("486 Busy Here", client=0)
    assert f"486 to {bench.w.remote}" in bench.happened()


def test_nothing_is_waited_for_after_the_end(bench: Bench) -> None:
    """The service stops with requests under way."""
    bench.receive(request("MESSAGE", "sip:bob@sip.provider.test"))
    assert bench.clock.getDelayedCalls()
    bench.core.stop()
    assert bench.clock.getDelayedCalls() == []


def test_a_datagram_without_content_length_goes_on_by_a_stream(bench: Bench) -> None:
    """There it is needed to see the end of the message, and on the way back as well (18.3)."""
    phone = bench.flow("10.0.0.10", 5062, "TCP")
    bench.receive(request("MESSAGE", "sip:bob@203.0.113.60;transport=tcp", "Content-Length"), phone)
    assert values(bench.client().request, "Content-Length") == ["0"]
    bench.answered("200 OK", "Content-Length")
    assert values(bench.sent, "Content-Length") == ["0"]  # type: ignore[arg-type]
