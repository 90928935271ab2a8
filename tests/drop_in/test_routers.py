# SPDX-License-Identifier: MIT
"""Strict routers, maddr, and the directives that change what the outside sees of us, in whole calls."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.support.calls import (
    call_from_w,
    call_to_m,
    hang_up,
    is_reachable,
    media,
    registered,
    registered_here,
)
from tests.support.lab import Lab
from tests.support.messages import SDP, Dialog, answer, invite, request, values
from tests.support.networks import on

pytestmark = on("udp", "tcp", "udp-tls", "ipv4-ipv6")

BOB = "sip:bob@sip.provider.test"
CAROL = "From: <sip:carol@sip.other.test>;tag=w1"
CONTACT = "Contact: <sip:bob@203.0.113.60:5090>"


def test_a_strict_router_downstream(lab):
    """A next hop without lr gets itself as Request-URI and the target as the last Route (16.6 step 6)."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:203.0.113.51>, <sip:203.0.113.60:5090;lr>"))
    lab.advance(0)
    lab.w.sees(f"""
        OPTIONS sip:203.0.113.51 SIP/2.0
        Route: <sip:203.0.113.60:5090;lr>, <{BOB}>
        """)


def test_a_call_over_a_strict_router(lab):
    """All of a dialog's requests go that way, and those of the callee come back by the same router."""
    registered(lab)
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees(f"INVITE {BOB} SIP/2.0")
    described = SDP.audio("203.0.113.60", 50000)
    lab.v.send(answer(offered, "200 OK", "Record-Route: <sip:203.0.113.50>", CONTACT, body=described))
    caller = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    callee = Dialog.of_callee(offered)
    for method in ("ACK", "BYE"):
        lab.p.send(caller.request(method), to=caller.next_hop)
        arrived = lab.v.sees(f"""
            {method} sip:203.0.113.50 SIP/2.0
            Route: <sip:bob@203.0.113.60:5090>
            """)
        if method == "BYE":
            lab.v.send(answer(arrived, "200 OK"))
            lab.p.sees("SIP/2.0 200 OK")
    assert callee.target == lab.written("sip:alice@203.0.113.1")


def test_a_strict_router_before_us(lab):
    """What a strict router inside made of a phone's request is undone (16.4)."""
    registered(lab)
    uri = "sip:siproxd@10.0.0.1:5060"
    lab.p.send(
        request("OPTIONS", uri, f"To: <{BOB}>", "Route: <sip:203.0.113.51;lr>, <sip:bob@203.0.113.60>")
    )
    lab.advance(0)
    lab.w.sees("OPTIONS sip:bob@203.0.113.60 SIP/2.0\nRoute: <sip:203.0.113.51;lr>")


def test_maddr(lab):
    """The address to send to may be another one than the URI's host (19.1.1); the URI stays."""
    registered(lab)
    uri = f"{BOB};maddr=203.0.113.51{lab.on.parameter('203.0.113.51')}"
    if ":" in lab.w.address[0]:
        uri = f"{BOB};maddr=[{lab.w.address[0]}]"
    lab.p.send(request("OPTIONS", uri))
    lab.advance(0)
    lab.w.sees(f"OPTIONS {uri} SIP/2.0")
    lab.v.nothing()


def test_name_outbound(laboratory):
    """With name_outbound the outside knows us by a name, and what it sends there reaches the phone."""
    lab = laboratory("name_outbound = foo.bar.test")
    transport = lab.on.parameter("203.0.113.1")
    assert registered(lab) == f"<sip:alice@foo.bar.test{transport}>"
    call = call_to_m(lab)
    via = values(call.offered, "Via")[0]
    port = 5061 if lab.on.outside == "TLS" else 5060
    assert via.startswith(f"SIP/2.0/{lab.on.outside} foo.bar.test:{port};branch=z9hG4bK")
    assert media(call.offered)[0].startswith("203.0.113.1:")
    assert call.callee.target == f"sip:alice@foo.bar.test{transport}"
    hang_up(lab, lab.m, call.callee, lab.p)
    assert is_reachable(lab, lab.p, "sip:alice@foo.bar.test")
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1")


def test_single_via(laboratory):
    """With single_via the outside sees one Via in all requests, and the phone gets its own back."""
    lab = laboratory("single_via = 1")
    own = f"{lab.on.outside} " + lab.written("sip:203.0.113.1").removeprefix("sip:").partition(";")[0]
    registered(lab)
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    trying = lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees(f"INVITE {BOB} SIP/2.0")
    assert len(values(offered, "Via")) == 1
    assert values(offered, "Via")[0].startswith(f"SIP/2.0/{own}:506")
    for status in ("180 Ringing", "200 OK"):
        lab.v.send(answer(offered, status, CONTACT, body=SDP.audio("203.0.113.60", 50000)))
        seen = lab.p.sees(f"SIP/2.0 {status}")
        assert values(seen, "Via") == values(trying, "Via")
    dialog = Dialog.of_caller(seen)
    for method in ("ACK", "BYE"):
        lab.p.send(dialog.request(method), to=dialog.next_hop)
        arrived = lab.m.sees(f"{method} sip:bob@203.0.113.60:5090 SIP/2.0")
        assert len(values(arrived, "Via")) == 1
    lab.m.send(answer(arrived, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK\nVia: SIP/2.0/… 10.0.0.10:5062;branch=z9hG4bKP…")


def test_obscure_loops(laboratory):
    """With obscure_loops a call has another Call-ID outside, in and out, from INVITE to BYE."""
    lab = laboratory("obscure_loops = 1")
    registered(lab)
    out, back = call_to_m(lab), call_from_w(lab)
    assert values(out.offered, "Call-ID") != values(out.answered, "Call-ID") == ["call1"]
    assert values(back.offered, "Call-ID") != values(back.answered, "Call-ID") == ["call2"]
    hang_up(lab, lab.m, out.callee, lab.p)
    hang_up(lab, lab.w, back.caller, lab.p)
    assert lab.media_ports() == set()


# proxy_auth_requests


def credentials(lab: Lab, method: str, uri: str, challenge: str) -> str:
    """Return the header that answers an MD5 challenge for alice (RFC 7616 section 3.4)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    nonce = re.findall(r'nonce="([^"]+)"', challenge)[0]
    response = md5(f"{md5('alice:Office:secret')}:{nonce}:00000001:0a4f:auth:{md5(f'{method}:{uri}')}")
    return (
        f'Proxy-Authorization: Digest username="alice", realm="Office", nonce="{nonce}", uri="{uri}", '
        f'response="{response}", qop=auth, nc=00000001, cnonce="0a4f"'
    )


@pytest.fixture
def guarded(laboratory):
    """Open a laboratory where whoever calls must prove who he is."""
    return laboratory("proxy_auth_realm = Office", "proxy_auth_passwd = secret", "proxy_auth_requests = all")


def signed(lab: Lab, method: str, uri: str, *headers: str, body: str = "") -> None:
    """Let P send a request, be asked for its password, and send it again with it."""
    headers = *headers, "Contact: <sip:alice@10.0.0.10:5062>"
    lab.p.send(request(method, uri, *headers, body=body))
    challenge = lab.p.sees("SIP/2.0 407 Proxy Authentication Required")
    (plain,) = [value for value in values(challenge, "Proxy-Authenticate") if "SHA-" not in value]
    lab.v.nothing()
    assert lab.media_ports() == set()
    known = credentials(lab, method, uri, plain)
    lab.p.send(request(method, uri, f"CSeq: 2 {method}", known, *headers, body=body))
    lab.advance(0)


@on("udp", "tcp-udp", "udp-tls")
def test_every_request_needs_a_password(guarded):
    """A phone is asked before anything of what it begins leaves, and its password stays here."""
    lab = guarded
    signed(lab, "REGISTER", "sip:sip.provider.test", "To: <sip:alice@sip.provider.test>", "Call-ID: reg")
    registration = lab.v.sees("REGISTER sip:sip.provider.test SIP/2.0\nno Proxy-Authorization")
    lab.v.send(answer(registration, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    signed(lab, "INVITE", BOB, body=SDP.audio("10.0.0.10", 40000))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees(f"INVITE {BOB} SIP/2.0\nno Proxy-Authorization")
    lab.v.send(answer(offered, "200 OK", CONTACT, body=SDP.audio("203.0.113.60", 50000)))
    dialog = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    for method in ("ACK", "BYE"):
        lab.p.send(dialog.request(method), to=dialog.next_hop)
        arrived = lab.m.sees(f"{method} sip:bob@203.0.113.60:5090 SIP/2.0")
    lab.m.send(answer(arrived, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


@on("udp", "tcp-udp")
@pytest.mark.parametrize("method", ["REGISTER", "MESSAGE", "SUBSCRIBE", "OPTIONS"])
def test_whatever_begins_something_needs_a_password(guarded, method):
    """REGISTER for a provider too; without a password nothing goes out."""
    lab = guarded
    uri = "sip:sip.provider.test" if method == "REGISTER" else BOB
    lab.p.send(request(method, uri, "Contact: <sip:alice@10.0.0.10:5062>"))
    lab.p.sees("SIP/2.0 407 …")
    lab.p.send(request(method, uri, f"CSeq: 2 {method}", 'Proxy-Authorization: Digest username="alice"'))
    assert lab.p.receive().status in (400, 403, 407)
    lab.v.nothing()


@on("udp")
def test_calls_from_outside_need_none(guarded):
    """The outside is not asked; requests of dialogs are not either."""
    lab = guarded
    sender, to = "From: <sip:alice@foo.bar.test>;tag=1", "To: <sip:alice@foo.bar.test>"
    signed(lab, "REGISTER", "sip:foo.bar.test", sender, to, "Call-ID: reg")
    lab.p.sees("SIP/2.0 200 OK")
    lab.w.send(
        invite(
            "sip:alice@foo.bar.test",
            CAROL,
            contact="<sip:carol@203.0.113.51>",
            body=SDP.audio("203.0.113.51", 51000),
        )
    )
    lab.w.sees("SIP/2.0 100 …")
    offered = lab.p.sees("INVITE sip:alice@10.0.0.10:5062 SIP/2.0")
    body = SDP.audio("10.0.0.10", 40000)
    lab.p.send(answer(offered, "200 OK", "Contact: <sip:alice@10.0.0.10:5062>", body=body))
    caller = Dialog.of_caller(lab.w.sees("SIP/2.0 200 OK"))
    lab.w.send(caller.request("ACK"))
    lab.p.sees("ACK … SIP/2.0")
    hang_up(lab, lab.p, Dialog.of_callee(offered), lab.w)


@on("udp", "tcp")
def test_the_route_set_of_a_phone_that_is_registered_here(lab):
    """A phone that is registered here sees our Route first, whoever called."""
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>")
    lab.w.send(
        invite(
            "sip:alice@foo.bar.test",
            CAROL,
            "Record-Route: <sip:203.0.113.51;lr>",
            contact="<sip:carol@203.0.113.60:5090>",
            body=SDP.audio("203.0.113.51", 51000),
        )
    )
    lab.w.sees("SIP/2.0 100 …")
    offered = lab.p.sees("""
        INVITE sip:alice@10.0.0.10:5062 SIP/2.0
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:203.0.113.51;lr>
        """)
    body = SDP.audio("10.0.0.10", 40000)
    lab.p.send(answer(offered, "200 OK", "Contact: <sip:alice@10.0.0.10:5062>", body=body))
    lab.w.sees("SIP/2.0 200 OK\nRecord-Route: <sip:203.0.113.51;lr>\nContact: <sip:alice@foo.bar.test>")
    callee = Dialog.of_callee(offered)
    lab.p.send(callee.request("BYE"), to=callee.next_hop)
    bye = lab.w.sees("BYE sip:carol@203.0.113.60:5090 SIP/2.0\nRoute: <sip:203.0.113.51;lr>")
    lab.w.send(answer(bye, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()
    lab.advance(0)
    lab.w.forget()
