# SPDX-License-Identifier: MIT
"""No open relay: who comes from outside reaches our phones, our dialogs, and nothing else (B17)."""

from __future__ import annotations

import pytest

from tests.support.calls import call_from_w, call_to_m, hang_up, is_reachable, registered
from tests.support.lab import Lab
from tests.support.messages import SDP, Dialog, answer, invite, register, request
from tests.support.networks import on

pytestmark = on("udp", "tcp", "ipv4-ipv6")

STRANGER = "From: <sip:mallory@203.0.113.51>;tag=w1"
VICTIM = "sip:victim@203.0.113.60:5090"
ALICE = "sip:alice@203.0.113.1"


def nobody_hears(lab: Lab, *, but_w: bool = True) -> None:
    """Check that a request of W's has gone nowhere; the answer, if there is one, is a refusal."""
    lab.advance(40)
    for party in (lab.p, lab.q, lab.v, lab.m):
        party.nothing()
    if but_w:
        for datagram in [lab.w.datagram() for _ in lab.w.unread()]:
            assert datagram.data.startswith((b"SIP/2.0 4", b"SIP/2.0 1"))
    assert lab.media_ports() == set()


SHAPES = {
    "request-URI": (VICTIM,),
    "request-URI by name": ("sip:victim@sip.provider.test",),
    "route": (ALICE, f"Route: <{VICTIM};lr>"),
    "our route and another": (VICTIM, "Route: <sip:203.0.113.1;lr>, <sip:203.0.113.60:5090;lr>"),
    "our route": (VICTIM, "Route: <sip:203.0.113.1;lr>"),
    "our inside route": (VICTIM, "Route: <sip:siproxd@10.0.0.1:5060;lr>"),
    "strict router": ("sip:siproxd@203.0.113.1", f"Route: <{VICTIM}>"),
    "maddr": ("sip:nobody@203.0.113.1;maddr=203.0.113.60",),
    "maddr of a phone": ("sip:nobody@sip.other.test;maddr=10.0.0.10",),
    "a phone's address": ("sip:x@10.0.0.10:5062",),
    "a phone that is not registered": ("sip:bob@10.0.0.11",),
    "the neighbour of a phone": ("sip:10.0.0.254",),
    "us inside": ("sip:10.0.0.1",),
    "an invented dialog": (VICTIM, f"To: <{VICTIM}>;tag=invented"),
    "an invented dialog of ours": ("sip:nobody@203.0.113.1", "To: <sip:nobody@203.0.113.1>;tag=invented"),
    "another dialect": ("tel:+4190012345",),
    "secure": ("sips:victim@203.0.113.60:5090",),
    "by TCP": (VICTIM + ";transport=tcp",),
    "IPv6": ("sip:victim@[2001:db8::60]:5090",),
    "no user": ("sip:203.0.113.60:5090",),
}


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS"])
@pytest.mark.parametrize("shape", SHAPES)
def test_b17_from_outside_to_outside(lab, shape, method):
    """However it is addressed, a request from outside that is for no phone of ours goes nowhere."""
    registered(lab)
    uri, *headers = SHAPES[shape]
    to = [] if any(header.startswith("To:") for header in headers) else ["To: <sip:victim@sip.other.test>"]
    body = SDP.audio("203.0.113.51", 51000) if method == "INVITE" else ""
    lab.w.send(request(method, uri, STRANGER, *to, *headers, "Contact: <sip:m@203.0.113.51>", body=body))
    allowed = shape == "us inside" and method == "OPTIONS"  # says that we are there, and no more
    if allowed:
        lab.w.forget()
    if shape == "route":  # alice is ours, and where we send it is not for W to say
        lab.m.nothing()
        lab.p.sees(f"{method} sip:alice@10.0.0.10:5062 SIP/2.0")
        lab.advance(40)
        lab.p.forget()
        lab.w.forget()
        lab.m.nothing()
        return
    nobody_hears(lab)


@on("udp", "tcp")
@pytest.mark.parametrize("method", ["BYE", "ACK", "CANCEL", "UPDATE"])
def test_b17_dialogs_are_not_ways_through(lab, method):
    """Nor does a request with the Call-ID and tags of a call of others lead to a third party."""
    registered(lab)
    call = call_to_m(lab)
    dialog = Dialog(call.callee.call_id, call.callee.local, call.callee.remote, "sip:x@203.0.113.50", (), 200)
    lab.w.send(dialog.request(method))
    lab.advance(0)
    lab.v.nothing()
    lab.p.forget()
    lab.w.forget()
    lab.advance(40)
    lab.p.forget()
    lab.w.forget()
    lab.v.nothing()


def test_b17_nobody_registers_from_outside(lab):
    """Neither here nor at a provider, neither for a phone of ours nor for somebody else."""
    registered(lab)
    for number, aor in enumerate(("alice@sip.provider.test", "m@foo.bar.test", "alice@203.0.113.1")):
        text = register(aor, "<sip:alice@203.0.113.51>", f"Call-ID: r{number}")
        lab.w.send(text)
    nobody_hears(lab)
    assert is_reachable(lab, lab.p, ALICE)


@on("udp", "tcp")
@pytest.mark.parametrize("source", ["10.0.0.10", "10.0.0.1", "127.0.0.1"])
def test_b17_a_via_with_an_address_of_ours(lab, source):
    """Who says in Via that he is inside is where he is."""
    registered(lab)
    transport = lab.w.transport
    lab.w.send(request("OPTIONS", VICTIM, STRANGER, f"Via: SIP/2.0/{transport} {source};branch=z9hG4bK1"))
    lab.advance(1)
    lab.w.sees(f"SIP/2.0 404 …\nVia: SIP/2.0/{transport} {source};branch=…;received=203.0.113.51")
    for party in (lab.p, lab.v, lab.m):
        party.nothing()


@on("udp")
def test_hosts_allow_outside(laboratory):
    """Who is not on the list begins nothing and learns nothing; who is calls; dialogs that run go on."""
    lab = laboratory("hosts_allow_outside = 203.0.113.51/32")
    registered(lab)
    call = call_to_m(lab)
    lab.m.send(invite(ALICE, STRANGER, "Call-ID: new", body=SDP.audio("203.0.113.60", 50000)))
    lab.m.send(request("OPTIONS", "sip:203.0.113.1", STRANGER, "Call-ID: ping"))
    for method in ("INVITE", "MESSAGE", "ACK"):  # as if of a dialog
        lab.m.send(request(method, ALICE, STRANGER, f"To: <{ALICE}>;tag=guessed", f"Call-ID: {method}"))
    lab.m.nothing()
    lab.p.nothing()
    hang_up(lab, lab.m, call.callee, lab.p)
    call = call_from_w(lab)
    hang_up(lab, lab.w, call.caller, lab.p)


@on("udp")
def test_hosts_allow_outside_and_the_provider(laboratory):
    """A provider where phones are registered need not be on the list."""
    lab = laboratory("hosts_allow_outside = 203.0.113.51/32")
    registered(lab)
    lab.v.send(request("OPTIONS", ALICE, STRANGER))
    ping = lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(ping, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK")


@on("udp", "tcp")
def test_hosts_trust_outside(laboratory):
    """A trunk that is trusted reaches every inside address; outside ones stay out of reach for it, too."""
    lab = laboratory("hosts_trust_outside = 203.0.113.51/32")
    pbx = lab.party("B", "10.0.0.20", 5060, listens=True)
    lab.w.send(request("OPTIONS", "sip:100@10.0.0.20", STRANGER))
    lab.advance(0)
    ping = pbx.sees("OPTIONS sip:100@10.0.0.20 SIP/2.0")
    pbx.send(answer(ping, "200 OK"))
    lab.w.sees("SIP/2.0 200 OK")
    lab.m.send(request("OPTIONS", "sip:100@10.0.0.20", STRANGER, "Call-ID: other"))
    lab.m.sees("SIP/2.0 404 …")
    lab.w.send(request("OPTIONS", VICTIM, STRANGER, "Call-ID: relay"))
    lab.w.sees("SIP/2.0 404 …")
    lab.w.send(request("OPTIONS", "sip:100@10.0.0.20", STRANGER, f"Route: <{VICTIM};lr>", "Call-ID: r2"))
    lab.advance(0)
    lab.m.nothing()
    lab.w.forget()
    pbx.forget()
    lab.advance(40)
    lab.w.forget()
    pbx.forget()
