# SPDX-License-Identifier: MIT
"""What we refuse ourselves: with the right status, everything that a response must have, and never an ACK."""

from __future__ import annotations

import pytest

from tests.support.calls import call_to_m, hang_up, registered, registered_here
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, answer, invite, request, values
from tests.support.networks import on

pytestmark = on("udp", "tcp", "ipv4-ipv6")

BOB = "sip:bob@sip.provider.test"
ALICE = "sip:alice@203.0.113.1"
CAROL = "From: <sip:carol@sip.other.test>;tag=w1"


def refused(lab: Lab, by: Party, status: int, text: str, *more: str) -> None:
    """Send a request and check the whole of its refusal; nothing of it goes anywhere else."""
    data = by.send(text)
    lab.advance(0)
    lines = data.decode().split("\r\n")
    kept = [line for line in lines if line.startswith(("From:", "Call-ID:", "CSeq:"))]
    seen = by.sees("\n".join([f"SIP/2.0 {status} …", *kept, "To: …;tag=…", *more, "no Record-Route"]))
    assert len(values(seen, "Via")) == sum(line.startswith("Via:") for line in lines)
    for party in (lab.p, lab.q, lab.v, lab.w, lab.m):
        party.nothing()


@pytest.mark.parametrize("method", ["OPTIONS", "MESSAGE"])
def test_statuses_for_phones(lab, method):
    """Each reason has its status."""
    refused(lab, lab.p, 408, request(method, BOB))  # nobody of the two is registered here
    registered(lab)
    refused(lab, lab.p, 416, request(method, "urn:service:sos", "Call-ID: r2"))
    refused(lab, lab.p, 416, request(method, "http://sip.provider.test/", "Call-ID: r3"))
    refused(lab, lab.p, 416, request(method, "tel:+41", "Call-ID: r4"))
    tags = "Proxy-Require: sec-agree, x", "Call-ID: r5"
    refused(lab, lab.p, 420, request(method, BOB, *tags), "Unsupported: sec-agree, x")
    refused(lab, lab.p, 503, request(method, "sip:bob@nowhere.invalid", "Call-ID: r6"))
    if method != "OPTIONS":
        refused(lab, lab.p, 483, request(method, BOB, "Max-Forwards: 0", "Call-ID: r7"))
        refused(lab, lab.p, 404, request(method, "sip:nobody@10.0.0.1", "Call-ID: r8"))


def test_statuses_for_the_outside(lab):
    """From outside there are phones or there is nobody."""
    registered(lab)
    refused(lab, lab.w, 404, request("OPTIONS", "sip:nobody@203.0.113.1", CAROL))
    refused(
        lab, lab.w, 481, request("BYE", "sip:nobody@203.0.113.1", CAROL, "To: <sip:a@b>;tag=x", "Call-ID: r2")
    )
    refused(lab, lab.w, 420, request("OPTIONS", ALICE, CAROL, "Proxy-Require: x", "Call-ID: r3"))
    refused(lab, lab.w, 483, request("MESSAGE", ALICE, CAROL, "Max-Forwards: 0", "Call-ID: r4"))


@on("udp", "ipv4-ipv6")
def test_400(lab):
    """What cannot be understood is told so, if it can be told at all."""
    registered(lab)
    for number, header in enumerate(("CSeq: x OPTIONS", "From: <", "CSeq: 1 INVITE")):
        lab.p.send(request("OPTIONS", BOB, header, f"Call-ID: b{number}"))
        refusal = lab.p.datagram().data
        assert refusal.startswith(b"SIP/2.0 400 Bad ")
        assert header.encode() in refusal
        lab.v.nothing()


def test_408_when_the_callee_says_nothing(lab):
    """An INVITE that nobody answers ends with 408; other requests end in silence (RFC 4320 section 4.2)."""
    registered(lab)
    lab.w.send(invite(ALICE, CAROL, body=SDP.audio("203.0.113.51", 51000)))
    lab.w.sees("SIP/2.0 100 …")
    lab.w.send(request("OPTIONS", ALICE, CAROL, "Call-ID: o"))
    lab.advance(33)
    lab.w.sees("SIP/2.0 408 …\nCSeq: 1 INVITE\nTo: …;tag=…")
    lab.p.forget()
    lab.advance(40)
    for message in [lab.w.receive() for _ in lab.w.unread()]:
        assert message.status == 408
        assert values(message, "CSeq") == ["1 INVITE"]
    assert lab.media_ports() == set()


@pytest.mark.parametrize("where", ["inside", "outside"])
@pytest.mark.parametrize(
    "headers",
    [
        ("Max-Forwards: 0",),
        ("Proxy-Require: x",),
        ("To: <sip:nobody@nowhere.invalid>;tag=1",),
        ("Route: <sip:nowhere.invalid;lr>",),
        ("CSeq: 1 INVITE",),
    ],
    ids=["hops", "extension", "dialog", "route", "CSeq"],
)
@on("udp", "tcp")
def test_an_ack_is_never_answered(lab, where, headers):
    """Whatever is wrong with it."""
    registered(lab)
    sender, uri = (
        (lab.p, "sip:bob@nowhere.invalid") if where == "inside" else (lab.w, "sip:nobody@203.0.113.1")
    )
    for target in (uri, "urn:service:sos"):
        sender.send(request("ACK", target, *headers))
    lab.advance(40)
    for party in (lab.p, lab.v, lab.w):
        party.nothing()


# overload


@pytest.fixture
def busy(laboratory):
    """Open a laboratory that bears ten transactions, and let ten be pending."""
    lab = laboratory("sip_max_transactions = 10")
    registered(lab)
    lab.advance(60)
    for number in range(5):
        lab.p.send(request("OPTIONS", BOB, f"Call-ID: load{number}"))
    lab.advance(0)
    return lab


def pending(lab: Lab) -> int:
    """Return how many transactions there are."""
    return lab.service.status()["signalling"]["transactions"]


def test_overload(busy):
    """New work is refused with 503 and Retry-After, and when there is room again it is done."""
    lab = busy
    assert pending(lab) == 10
    waiting = [lab.v.sees(f"OPTIONS {BOB} SIP/2.0") for _ in range(5)]
    for party, uri in ((lab.p, BOB), (lab.w, ALICE)):
        party.send(request("OPTIONS", uri, CAROL, f"Call-ID: more{party.name}"))
        party.sees("SIP/2.0 503 Service Unavailable\nRetry-After: 10\nTo: …;tag=…")
    lab.v.nothing()
    for message in waiting:
        lab.v.send(answer(message, "200 OK"))
        lab.p.sees("SIP/2.0 200 OK")
    lab.advance(60)
    assert pending(lab) == 0
    lab.p.send(request("OPTIONS", BOB, "Call-ID: after"))
    lab.v.sees(f"OPTIONS {BOB} SIP/2.0")


def test_overload_leaves_calls_alone(laboratory):
    """A call that is up can be ended, whatever else comes."""
    lab = laboratory("sip_max_transactions = 10")
    registered(lab)
    call = call_to_m(lab)
    lab.advance(60)
    for number in range(5):
        lab.p.send(request("OPTIONS", BOB, f"Call-ID: load{number}"))
    lab.advance(0)
    lab.v.forget()
    hang_up(lab, lab.p, call.caller, lab.m)
    lab.advance(60)
    lab.v.forget()
    lab.p.forget()


@on("udp")
def test_a_flood_from_one_host(lab):
    """One host outside that sends as fast as it can is not answered any more; the provider and phones are."""
    registered(lab)
    for number in range(400):
        lab.w.send(request("OPTIONS", "sip:nobody@203.0.113.1", CAROL, f"Call-ID: flood{number}"))
    answered = len(lab.w.unread())
    lab.w.forget()
    assert 0 < answered <= 250
    lab.v.send(request("OPTIONS", ALICE, CAROL))
    ping = lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(ping, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK")
    lab.advance(10)
    lab.w.send(request("OPTIONS", "sip:nobody@203.0.113.1", CAROL, "Call-ID: later"))
    lab.w.sees("SIP/2.0 404 …")


# OPTIONS


@pytest.mark.parametrize("uri", ["sip:203.0.113.1", "sip:foo.bar.test"])
def test_options_for_us_from_outside(lab, uri):
    """A provider that pings us is answered, by our address and by a domain that we are registrar of."""
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>")
    lab.v.send(request("OPTIONS", uri, CAROL))
    lab.advance(0)
    lab.v.sees("SIP/2.0 200 OK\nTo: …;tag=…\nAllow: …\nAccept: application/sdp\nContent-Length: 0")


def test_options_for_a_phone(lab):
    """One that pings a phone hears the phone, from outside and from inside."""
    registered(lab)
    registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11:5060>")
    for party, uri in ((lab.w, ALICE), (lab.q, ALICE)):
        party.send(request("OPTIONS", uri, CAROL, f"Call-ID: {party.name}"))
        ping = lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")
        lab.p.send(answer(ping, "486 Busy Here", "Accept: application/sdp"))
        party.sees("SIP/2.0 486 Busy Here\nAccept: application/sdp")


@on("udp")
def test_a_refused_call_has_no_dialog_left(lab):
    """A BYE for a call that was refused finds nothing."""
    registered(lab)
    lab.w.send(invite(ALICE, CAROL, body=SDP.audio("203.0.113.51", 51000)))
    lab.w.sees("SIP/2.0 100 …")
    offered = lab.p.receive()
    lab.p.send(answer(offered, "180 Ringing", "Contact: <sip:alice@10.0.0.10:5062;early>"))
    early = Dialog.of_caller(lab.w.sees("SIP/2.0 180 …"))
    lab.p.send(answer(offered, "603 Decline"))
    lab.p.sees("ACK … SIP/2.0")
    lab.w.sees("SIP/2.0 603 …")
    lab.advance(60)
    lab.w.forget()
    lab.w.send(early.request("BYE"), to=early.next_hop)
    lab.p.sees("BYE sip:alice@10.0.0.10:5062 SIP/2.0")  # the registered phone: only it knows better
