# SPDX-License-Identifier: MIT
"""What is none of our business passes as it is: byte by byte, on every way."""

from __future__ import annotations

import pytest

from tests.support.calls import call_from_w, call_to_m, registered, registered_here
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, request
from tests.support.networks import on

pytestmark = on("udp", "tcp-udp", "udp-tls")

BOB = "sip:bob@sip.provider.test"
CAROL = "From: <sip:carol@sip.other.test>;tag=w1"

OPAQUE = (
    "Date: Thu, 21 Feb 2002 13:02:03 GMT",
    "Identity:  eyJhbGciOiJFUzI1NiIsInR5cCI6InBhc3Nwb3J0IiwicHB0Ijoic2hha2VuIn0.eyJhdHRlc3QiOiJBIn0.c2ln"
    ";info=<https://cert.example.org/passport.cer>;alg=ES256;ppt=shaken",
    'P-Asserted-Identity: "Bob" <sip:bob@sip.provider.test>, <tel:+41445551234>',
    "P-Preferred-Identity: <sip:alice@sip.provider.test>",
    "Privacy: id;critical",
    "P-Charging-Vector: icid-value=1234bc9876e;icid-generated-at=192.0.6.8;orig-ioi=home1.net",
    "Session-Expires: 90;refresher=uac",
    "Min-SE: 90",
    "Supported: 100rel,timer , replaces",
    "require: 100rel",
    "X-Folded: one\n  two",
    "x-TWICE: 1",
    "X-Twice: 2",
    'Geolocation: <cid:target123@10.0.0.10>;inserted-by="sip:alice@10.0.0.10"',
    "Call-Info: <http://10.0.0.10/photo.jpg> ;purpose=icon, <http://b.test/>",
    'Reason: Q.850;cause=16;text="Terminated"',
    "History-Info: <sip:alice@sip.provider.test?Reason=SIP%3Bcause%3D302>;index=1",
    "Diversion: <sip:x@sip.provider.test>;reason=unconditional",
    'Warning: 399 10.0.0.10 "as it is"',
    "Subject: Grüße, 電話",
)


def passes(lab: Lab, sender: Party, text: str, receiver: Party) -> Message:
    """Send a message with every opaque header and check what has arrived."""
    sender.send(text.replace("\nMARK", "\n" + "\n".join(OPAQUE)))
    lab.advance(0)
    arrived = receiver.receive()
    data = bytes(arrived)
    lines = [lab.written(header).replace("\n", "\r\n").encode() + b"\r\n" for header in OPAQUE]
    for line in lines:
        assert line in data.partition(b"\r\n\r\n")[0] + b"\r\n"
    order = [data.index(line) for line in lines]
    assert order == sorted(order)
    return arrived


def marked(text: str) -> str:
    """Put the place for the opaque headers at the end of the head."""
    head, _, body = text.partition("\n\n")
    return f"{head}\nMARK\n\n{body}"


def test_n38_out_and_back(lab):
    """An INVITE and all of its responses carry them outside and back."""
    registered(lab)
    offered = passes(lab, lab.p, marked(invite(BOB, body=SDP.audio("10.0.0.10", 40000))), lab.v)
    lab.p.sees("SIP/2.0 100 …")
    for status in ("183 Session Progress", "200 OK"):
        body = SDP.audio("203.0.113.60", 50000)
        text = answer(offered, status, "Contact: <sip:bob@203.0.113.50>", body=body)
        passes(lab, lab.v, marked(text), lab.p)


def test_n38_in_and_back(lab):
    """So do a call from outside and its answer."""
    registered(lab)
    contact = "<sip:carol@203.0.113.51>"
    text = invite("sip:alice@203.0.113.1", CAROL, contact=contact, body=SDP.audio("203.0.113.51", 51000))
    offered = passes(lab, lab.w, marked(text), lab.p)
    lab.w.sees("SIP/2.0 100 …")
    passes(lab, lab.p, marked(answer(offered, "480 Temporarily Unavailable")), lab.w)
    lab.p.sees("ACK … SIP/2.0")
    lab.advance(40)
    lab.w.forget()


@pytest.mark.parametrize("method", ["UPDATE", "INFO", "MESSAGE", "PUBLISH", "REFER", "BYE"])
@on("udp", "udp-tls")
def test_n38_in_a_dialog(lab, method):
    """And requests of a dialog, both ways."""
    registered(lab)
    call = call_to_m(lab)
    arrived = passes(lab, lab.p, marked(call.caller.request(method)), lab.m)
    passes(lab, lab.m, marked(answer(arrived, "200 OK")), lab.p)
    if method != "BYE":
        arrived = passes(lab, lab.m, marked(call.callee.request(method)), lab.p)
        passes(lab, lab.p, marked(answer(arrived, "200 OK")), lab.m)


def test_n38_between_two_phones(lab):
    """And between two phones of the office."""
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>")
    registered_here(lab, lab.q, "bob@foo.bar.test", "<sip:bob@10.0.0.11:5060>")
    sender = "From: <sip:alice@foo.bar.test>;tag=a1"
    arrived = passes(
        lab, lab.p, marked(request("MESSAGE", "sip:bob@foo.bar.test", sender, body="Hi\n")), lab.q
    )
    passes(lab, lab.q, marked(answer(arrived, "200 OK")), lab.p)


def test_n32_prack_and_update(lab):
    """A call with reliable ringing, an UPDATE without description before the answer, and session timers."""
    registered(lab)
    lab.p.send(invite(BOB, "Require: 100rel", "Session-Expires: 1800", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees(f"INVITE {BOB} SIP/2.0\nRequire: 100rel\nSession-Expires: 1800")
    contact = "Contact: <sip:bob@203.0.113.60:5090>"
    lab.v.send(answer(offered, "180 Ringing", contact, "Require: 100rel", "RSeq: 71"))
    ringing = lab.p.sees("SIP/2.0 180 Ringing\nRequire: 100rel\nRSeq: 71")
    phone = Dialog.of_caller(ringing)
    for method, header in (("PRACK", "RAck: 71 1 INVITE"), ("UPDATE", "Session-Expires: 1800;refresher=uac")):
        lab.p.send(phone.request(method, header), to=phone.next_hop)
        arrived = lab.m.sees(f"{method} sip:bob@203.0.113.60:5090 SIP/2.0\n{header}\nContent-Length: 0")
        lab.m.send(answer(arrived, "200 OK"))
        lab.p.sees(f"SIP/2.0 200 OK\nCSeq: {phone.cseq} {method}")
    body = SDP.audio("203.0.113.60", 50000)
    lab.v.send(answer(offered, "200 OK", contact, "Session-Expires: 1800;refresher=uas", body=body))
    lab.p.sees("SIP/2.0 200 OK\nSession-Expires: 1800;refresher=uas")


@on("udp", "tcp")
@pytest.mark.parametrize("method", ["MESSAGE", "PUBLISH", "INFO", "NOTIFY"])
def test_bodies_of_any_kind(lab, method):
    """Bodies pass byte by byte: zeros, line ends, and what looks like a description but does not say so."""
    registered(lab)
    body = b"v=0\r\nc=IN IP4 10.0.0.10\r\n\0\xff\xfe\n\r" + bytes(range(256))
    head = lab.written(
        f"{method} {BOB} SIP/2.0\nVia: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bK1\nMax-Forwards: 70\n"
        "From: <sip:alice@sip.provider.test>;tag=1\nTo: <sip:bob@sip.provider.test>\nCall-ID: b\n"
        f"CSeq: 1 {method}\nContent-Type: application/octet-stream\nContent-Length: {len(body)}\n\n"
    )
    lab.p.send(head.replace("\n", "\r\n").encode() + body)
    lab.advance(0)
    assert bytes(lab.v.receive().body) == body


# numbers and secure URIs


def test_a_number_goes_to_the_outbound_proxy(laboratory, network):
    """A tel: URI is routed by who knows numbers, and arrives as it was dialled."""
    transport = f"outbound_proxy_transport = {network.outside.lower()}"
    lab = laboratory("outbound_proxy_host = sip.provider.test", transport)
    registered(lab)
    uri = "tel:+41-44-555.12.34;phone-context=example.com"
    lab.p.send(invite(uri, f"To: <{uri}>", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees(f"INVITE {uri} SIP/2.0\nTo: <{uri}>\nContact: <sip:alice@203.0.113.1>")
    lab.v.send(answer(offered, "486 Busy Here"))
    lab.v.sees(f"ACK {uri} SIP/2.0")
    lab.p.sees("SIP/2.0 486 …")
    lab.advance(40)
    lab.p.forget()


def test_a_number_with_a_route(lab):
    """So it is by a Route."""
    registered(lab)
    lab.p.send(
        request("OPTIONS", "tel:+41445551234", "To: <tel:+41445551234>", "Route: <sip:203.0.113.51;lr>")
    )
    lab.w.sees("OPTIONS tel:+41445551234 SIP/2.0\nRoute: <sip:203.0.113.51;lr>")


def test_a_number_from_outside(lab):
    """A call for a number finds the phone that is registered with it."""
    registered(lab, aor="+41445551234@sip.provider.test", contact="<sip:+41445551234@10.0.0.10:5062>")
    lab.v.send(request("OPTIONS", "tel:+41-44-555-12-34", CAROL))
    ping = lab.p.sees("OPTIONS sip:+41445551234@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(ping, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK")
    lab.v.send(request("OPTIONS", "tel:+41999", CAROL, "Call-ID: other"))
    lab.v.sees("SIP/2.0 404 …")


@on("udp-tls")
def test_a_secure_call_out(lab):
    """A phone calls a sips: URI: TLS outside, and our Contact there is a sips: one if the phone's is."""
    registered(lab)
    contact = "<sips:alice@10.0.0.10:5062>"
    lab.p.send(invite("sips:bob@sip.provider.test", contact=contact, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees("""
        INVITE sips:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=…, …
        """)
    target = Dialog.of_callee(offered).target
    assert target.startswith("sips:"), target
    lab.v.send(
        answer(offered, "200 OK", "Contact: <sips:bob@203.0.113.50>", body=SDP.audio("203.0.113.50", 5000))
    )
    dialog = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    lab.p.send(dialog.request("ACK"))
    lab.v.sees("ACK … SIP/2.0")
    lab.v.send(Dialog.of_callee(offered).request("BYE"))
    bye = lab.p.sees("BYE sips:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(bye, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK")


@on("udp")
def test_a_secure_call_that_cannot_be(lab):
    """Without any TLS there, a sips: request is refused; by UDP it never goes."""
    registered(lab)
    lab.p.send(request("OPTIONS", "sips:bob@sip.provider.test"))
    lab.advance(1)
    assert lab.p.receive().status in (408, 480, 503)
    lab.v.nothing()


@on("tls-udp")
def test_a_secure_call_in(lab):
    """A phone by TLS that is registered with a sips: Contact is called by it, over its connection."""
    registered(lab, contact="<sips:alice@10.0.0.10:5062>")
    call_from_w(lab, contact="sips:alice@10.0.0.10:5062")
