# SPDX-License-Identifier: MIT
"""Responses of several branches: what goes back at once, what is chosen, what is cancelled (16.7)."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Side
from siproxd_tw.proxy.location import Binding
from siproxd_tw.proxy.returning import ANSWERED_ELSEWHERE
from siproxd_tw.sip.transaction import State
from siproxd_tw.sip.transactionlayer import ServerTransaction, TransactionFailed
from siproxd_tw.sip.uri import parse_uri
from tests.support.addresses import dual_stack
from tests.support.bench import NOW, Bench
from tests.support.messages import SDP, differences, invite, media, request, values

W = "203.0.113.51:5060"
PHONES = ("10.0.0.10:5062", "10.0.0.11:5060", "10.0.0.12:5060")
THERE = SDP.audio("192.0.2.9", 50000)
HERE = SDP.audio("10.0.0.11", 40000)


@pytest.fixture
def bench() -> Bench:
    """Three phones of one team, registered here."""
    bench = Bench()
    for place in PHONES:
        uris = [parse_uri(text.encode()) for text in (f"sip:team@{place}", "sip:team@foo.test")]
        contact, aor = uris
        binding = Binding(contact, f"sip:team@{place}".encode(), aor, aor, NOW + 3600)  # type: ignore[arg-type]
        binding.local = True
        bench.location.add(binding)
    return bench


def called(bench: Bench, body: str = THERE) -> ServerTransaction:
    """Let W call the team."""
    caller = "From: <sip:carol@sip.other.test>;tag=w1"
    text = invite("sip:team@foo.test", caller, contact="<sip:carol@192.0.2.7>", body=body)
    return bench.receive(text, bench.w)


def rings_everywhere(bench: Bench) -> ServerTransaction:
    """Let W call the team, and every phone ring."""
    transaction = called(bench)
    for number, tag in enumerate(("p1", "p2", "p3")):
        bench.answered("180 Ringing", client=number, tag=tag)
    bench.happened()
    return transaction


def test_every_phone_rings(bench: Bench) -> None:
    """One INVITE each, with a branch and a Request-URI of its own; one offer for them all."""
    called(bench)
    offer = "offer w1 > ?, outside > inside"
    assert bench.happened() == [
        *(line for phone in PHONES for line in (offer, f"INVITE to {phone}")),
        f"100 to {W}",
    ]
    requests = [bench.client(number).request for number in range(3)]
    assert [r.uri_text.decode() for r in requests] == [f"sip:team@{phone}" for phone in PHONES]
    assert len({r.top_via.branch for r in requests}) == 3
    assert len({exchange.transaction for _, exchange in bench.relay.calls}) == 1
    assert {tuple(media(r)) for r in requests} == {("10.0.0.1:50000",)}


def test_each_provisional_response_goes_back(bench: Bench) -> None:
    """With the tag of its phone: the caller sees three early dialogs."""
    called(bench)
    bench.happened()
    for number, tag in enumerate(("p1", "p2", "p3")):
        bench.answered("180 Ringing", client=number, tag=tag)
        assert bench.happened()[-1] == f"180 to {W}"
        assert differences(bench.sent, f"SIP/2.0 180 …\nTo: <sip:team@foo.test>;tag={tag}") == []  # type: ignore[arg-type]


def test_the_first_to_answer_has_the_call(bench: Bench) -> None:
    """The others are cancelled, and what they say to that goes nowhere."""
    rings_everywhere(bench)
    bench.answered("200 OK", "Contact: <sip:team@10.0.0.11:5060>", client=1, tag="p2", body=HERE)
    assert bench.happened() == [
        "answer p2 > w1, inside > outside",
        f"200 to {W}",
        f"cancel INVITE to {PHONES[0]}",
        f"cancel INVITE to {PHONES[2]}",
    ]
    assert bench.signalling.cancel_headers == [(ANSWERED_ELSEWHERE,)] * 2
    for number, tag in ((0, "p1"), (2, "p3")):
        bench.answered("487 Request Terminated", client=number, tag=tag)
    assert bench.happened() == []
    ack = request("ACK", "sip:team@203.0.113.1", "From: <sip:c@h>;tag=w1", "To: <sip:t@h>;tag=p2")
    bench.acknowledge(ack, bench.w)
    assert bench.happened() == [f"ACK to {PHONES[1]}"]


def test_two_phones_are_picked_up_at_the_same_time(bench: Bench) -> None:
    """Both 2xx go back (16.7 step 5); the caller keeps the first and hangs up on the other."""
    rings_everywhere(bench)
    for number, tag in ((1, "p2"), (0, "p1")):
        bench.answered("200 OK", client=number, tag=tag, body=HERE)
    assert [line for line in bench.happened() if line.startswith("200")] == [f"200 to {W}"] * 2


@pytest.mark.parametrize(
    ("statuses", "chosen"),
    [
        (("486 Busy Here", "404 Not Found", "480 Gone"), {486, 404, 480}),
        (("486 Busy Here", "302 Moved", "500 Oops"), {302}),
        (("404 Not Found", "603 Decline", "302 Moved"), {603}),
        (("486 Busy Here", "407 Proxy Authentication Required", "404 No"), {407}),
    ],
)
def test_the_best_refusal_goes_back(bench: Bench, statuses: tuple[str, ...], chosen: set[int]) -> None:
    """When the last one has come, and nothing before (16.7 step 6); the offer is taken back."""
    rings_everywhere(bench)
    for number, status in enumerate(statuses):
        assert not [line for line in bench.happened() if line.endswith(W)]
        bench.answered(status, client=number, tag=f"p{number + 1}")
    happened = bench.happened()
    assert "withdraw w1 > ?, outside > inside" in happened
    assert next(int(line.split()[0]) for line in happened if line.endswith(W)) in chosen


def test_a_decline_ends_the_ringing_elsewhere(bench: Bench) -> None:
    """603 is everybody's answer: the others are cancelled, and it goes back when they have ended."""
    rings_everywhere(bench)
    bench.answered("603 Decline", client=0, tag="p1")
    assert bench.happened() == [f"cancel INVITE to {phone}" for phone in PHONES[1:]]
    bench.answered("487 Request Terminated", client=1, tag="p2")
    assert bench.happened() == []
    bench.answered("487 Request Terminated", client=2, tag="p3")
    assert bench.happened()[-1] == f"603 to {W}"


def test_the_challenges_of_all_go_back(bench: Bench) -> None:
    """In one response: the caller can answer every one of them (16.7 step 7)."""
    rings_everywhere(bench)
    bench.answered("486 Busy Here", client=0)
    bench.answered("401 Unauthorized", 'WWW-Authenticate: Digest realm="two"', client=1)
    bench.answered("407 Auth", 'Proxy-Authenticate: Digest realm="three"', client=2)
    sent = bench.sent
    assert values(sent, "WWW-Authenticate") == ['Digest realm="two"']  # type: ignore[arg-type]
    assert values(sent, "Proxy-Authenticate") == ['Digest realm="three"']  # type: ignore[arg-type]


def test_the_caller_gives_up(bench: Bench) -> None:
    """Every phone is cancelled; 487 goes back once, when the last has stopped ringing."""
    transaction = rings_everywhere(bench)
    bench.cancel(transaction, "Reason: SIP;cause=487")
    assert bench.happened()[1:] == [f"cancel INVITE to {phone}" for phone in PHONES]
    assert bench.signalling.cancel_headers == [(b"Reason: SIP;cause=487",)] * 3
    for number in range(3):
        bench.answered("487 Request Terminated", client=number, tag=f"p{number + 1}")
    assert [line for line in bench.happened() if line.endswith(W)] == [f"487 to {W}"]


def test_a_phone_that_is_off_does_not_spoil_it(bench: Bench) -> None:
    """Its branch times out; what the others said counts."""
    called(bench)
    bench.happened()
    bench.answered("486 Busy Here", client=0, tag="p1")
    bench.answered("486 Busy Here", client=1, tag="p2")
    bench.core.event_received(TransactionFailed(bench.client(2), "timeout"))
    assert bench.happened()[-1] == f"486 to {W}"


def test_all_phones_are_off(bench: Bench) -> None:
    """408, once."""
    called(bench)
    bench.happened()
    for number in range(3):
        bench.core.event_received(TransactionFailed(bench.client(number), "timeout"))
    assert [line for line in bench.happened() if line.endswith(W)] == [f"408 to {W}"]


def test_a_message_to_several_phones(bench: Bench) -> None:
    """The first success goes back; there is no CANCEL for a request that is no INVITE (9.1)."""
    bench.receive(request("MESSAGE", "sip:team@foo.test"), bench.w)
    assert bench.happened() == [f"MESSAGE to {phone}" for phone in PHONES]
    bench.answered("404 Not Found", client=0)
    assert bench.happened() == []
    bench.answered("200 OK", client=2)
    assert bench.happened()[0] == f"200 to {W}"
    bench.answered("200 OK", client=1)
    assert f"200 to {W}" not in bench.happened()
    assert bench.core.status()["late responses"] == 1


def test_a_message_that_nobody_answers(bench: Bench) -> None:
    """Is forgotten after the last branch: a late 408 helps nobody (RFC 4320 4.2)."""
    bench.receive(request("MESSAGE", "sip:team@foo.test"), bench.w)
    bench.happened()
    for number in range(3):
        bench.core.event_received(TransactionFailed(bench.client(number), "timeout"))
    assert bench.happened() == ["forget MESSAGE"]


def test_without_a_socket_for_one_of_them(bench: Bench) -> None:
    """The others ring all the same."""
    phone = parse_uri(b"sip:team@[2001:db8::10]")
    aor = parse_uri(b"sip:team@foo.test")
    six = Binding(phone, b"sip:team@[2001:db8::10]", aor, aor, NOW + 3600)  # type: ignore[arg-type]
    six.local = True
    bench.location.add(six)
    called(bench)
    assert [line for line in bench.happened() if line.startswith("INVITE")] == [
        f"INVITE to {phone}" for phone in PHONES
    ]


def test_two_phones_of_two_families_are_picked_up() -> None:
    """The second answer leaves the media of the first alone, and shows nothing of the inside either."""
    bench = Bench(addresses=dual_stack())
    bench.signalling.add("UDP", Side.INSIDE, "fd00::1")
    for place in ("10.0.0.10:5062", "[fd00::10]:5060"):
        contact, aor = (parse_uri(text.encode()) for text in (f"sip:team@{place}", "sip:team@foo.test"))
        phone = Binding(contact, f"sip:team@{place}".encode(), aor, aor, NOW + 3600)  # type: ignore[arg-type]
        phone.local = True
        bench.location.add(phone)
    called(bench)
    bench.answered("200 OK", client=0, tag="p1", body=HERE)
    first = media(bench.sent)  # type: ignore[arg-type]
    bench.happened()
    bench.answered("200 OK", client=1, tag="p2", body=SDP.audio("10.0.0.14", 40000))
    assert not [line for line in bench.happened() if line.startswith("withdraw")]
    assert media(bench.sent)[0].split(":")[0] == first[0].split(":")[0] == "203.0.113.1"  # type: ignore[arg-type]


def test_the_caller_gives_up_while_a_phone_is_looked_up(bench: Bench) -> None:
    """The phones that ring already say how it ends: one of them may have answered at that moment."""
    uris = [parse_uri(text) for text in (b"sip:team@phone.test", b"sip:team@foo.test")]
    far = Binding(uris[0], b"sip:team@phone.test", uris[1], uris[1], NOW + 3600)  # type: ignore[arg-type]
    far.local = True
    bench.location.add(far)
    bench.resolver.names["phone.test"] = "10.0.0.13"
    bench.resolver.hold()
    transaction = called(bench)
    bench.cancel(transaction)
    bench.resolver.release()
    happened = bench.happened()
    assert f"487 to {W}" not in happened
    assert "INVITE to 10.0.0.13:5060" not in happened
    bench.answered("200 OK", client=0, tag="p1", body=HERE)
    assert f"200 to {W}" in bench.happened()


def test_nothing_is_kept_when_it_is_over(bench: Bench) -> None:
    """The context lets go of its branches with the server transaction, so that no circle is left."""
    transaction = rings_everywhere(bench)
    context = bench.context(transaction)
    bench.answered("200 OK", client=0, tag="p1")
    transaction.state = State.TERMINATED
    transaction.let_go()
    assert transaction.user is None
    assert context.branches == []


@pytest.mark.logs_failures
def test_a_bug_on_the_way_to_one_phone(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """500, and nobody rings on for a caller who has been told so."""
    offer, offers = bench.relay.offer, iter((True, False))

    def buggy(*args: object) -> object:
        if next(offers):
            return offer(*args)  # type: ignore[arg-type]
        raise ZeroDivisionError

    monkeypatch.setattr(bench.relay, "offer", buggy)
    called(bench)
    happened = bench.happened()
    assert f"cancel INVITE to {PHONES[0]}" in happened
    assert f"500 to {W}" in happened
