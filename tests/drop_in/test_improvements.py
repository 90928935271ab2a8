# SPDX-License-Identifier: MIT
"""Where siproxd guessed, kept silent or went wrong in its signalling."""

from __future__ import annotations

import pytest

from tests.support.calls import is_reachable, registered
from tests.support.messages import SDP, answer, invite, register, request
from tests.support.networks import BOTH, DATAGRAMS

pytestmark = BOTH

BOB = "sip:bob@sip.provider.test"
CAROL = "From: <sip:carol@sip.other.test>;tag=w1"


@DATAGRAMS
def test_b12_answers_go_where_the_request_came_from(lab):
    """A phone whose Via is wrong about its address gets its answer all the same, and learns where it is."""
    phone = lab.party("N", "10.0.0.20", 31000)
    phone.send(
        register(
            "nat@foo.bar.test",
            "<sip:nat@192.168.7.7:5060>",
            "Via: SIP/2.0/UDP 192.168.7.7:5060;branch=z9hG4bK1;rport",
        )
    )
    phone.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 192.168.7.7:5060;branch=z9hG4bK1;rport=31000;received=10.0.0.20
        """)


@DATAGRAMS
def test_b12_without_rport_the_port_is_that_of_the_via(lab):
    """A phone that does not send from the port it listens on, and does not ask for rport, is answered."""
    sending, listening = lab.party("N", "10.0.0.20", 31000), lab.party("L", "10.0.0.20", 5066)
    sending.send(
        register(
            "bt@foo.bar.test", "<sip:bt@10.0.0.20:5066>", "Via: SIP/2.0/UDP 10.0.0.20:5066;branch=z9hG4bK1"
        )
    )
    listening.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.20:5066;branch=z9hG4bK1
        """)


@DATAGRAMS
def test_b12_rport_travels(lab):
    """The filled-in rport goes on to the provider and comes back to the phone with the response."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Via: SIP/2.0/UDP 10.0.0.10:5062;rport;branch=z9hG4bK1"))
    there = "SIP/2.0/UDP 10.0.0.10:5062;rport=5062;branch=z9hG4bK1;received=10.0.0.10"
    ping = lab.v.sees(f"""
        OPTIONS {BOB} SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: {there}
        """)
    lab.v.send(answer(ping, "200 OK"))
    lab.p.sees(f"""
        SIP/2.0 200 OK
        Via: {there}
        """)


@DATAGRAMS
def test_b13_a_phone_behind_a_router_of_its_own(lab):
    """A REGISTER whose Contact is not where it came from is passed on, and calls go to where it came from."""
    phone = lab.party("N", "10.0.0.20", 31000)
    via = "Via: SIP/2.0/UDP 192.168.7.7:5060;branch=z9hG4bK1;rport"
    phone.send(register("nat@sip.provider.test", "<sip:nat@192.168.7.7:5060>", via))
    passed_on = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Contact: <sip:nat@203.0.113.1>
        """)
    lab.v.send(answer(passed_on, "200 OK", "Contact: <sip:nat@203.0.113.1>;expires=600"))
    phone.sees("""
        SIP/2.0 200 OK
        Contact: <sip:nat@192.168.7.7:5060>;expires=600
        """)
    assert is_reachable(lab, phone, "sip:nat@203.0.113.1", "sip:nat@192.168.7.7:5060")


def test_b13_the_request_uri_beats_to(lab):
    """A call for alice that was diverted to bob rings at bob's."""
    registered(lab)
    bob = registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11>").strip("<>")
    lab.w.send(request("OPTIONS", bob, CAROL, "To: <sip:alice@sip.provider.test>"))
    lab.q.sees("OPTIONS sip:bob@10.0.0.11 SIP/2.0")
    lab.p.nothing()


@pytest.mark.parametrize(
    "to", ["sip:4711@203.0.113.99", "sip:nobody@else.where", "sip:bob@sip.provider.test"]
)
@pytest.mark.parametrize(
    "caller", ["sip:alice@sip.provider.test", "sip:anonymous@anonymous.invalid", "tel:+41"]
)
def test_n34_to_and_from_do_not_decide(lab, to, caller):
    """A call rings where its Request-URI says, whoever To and From name, even ourselves."""
    registered(lab)
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", f"From: <{caller}>;tag=w1", f"To: <{to}>"))
    ping = lab.p.sees(f"""
        OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0
        From: <{caller}>;tag=w1
        To: <{to}>
        """)
    lab.p.send(answer(ping, "200 OK"))
    lab.w.sees("SIP/2.0 200 OK")


def test_n34_no_name_is_looked_up_to_decide(lab):
    """Names in To, From, Contact and Via are not ours to resolve: only that of the next hop is."""
    registered(lab)
    lab.resolver.asked.clear()
    lab.p.send(request("OPTIONS", BOB, "From: <sip:alice@from.invalid>;tag=1", "To: <sip:bob@to.invalid>"))
    lab.v.sees(f"OPTIONS {BOB} SIP/2.0")
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", "From: <sip:c@from.invalid>;tag=1"))
    lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")
    names = {host for host, *_ in lab.resolver.asked if not host[0].isdigit()}
    assert names <= {"sip.provider.test"}


def test_b27_an_anonymous_caller_gets_the_answer(lab):
    """A phone that sends from another port than its Contact has, with an anonymous From, hears the answer."""
    registered(lab)
    other = lab.party("P2", "10.0.0.10", 5070)
    other.send(request("OPTIONS", BOB, 'From: "Anonymous" <sip:anonymous@anonymous.invalid>;tag=1'))
    ping = lab.v.sees(f"OPTIONS {BOB} SIP/2.0")
    lab.v.send(answer(ping, "200 OK"))
    other.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5070;branch=z9hG4bKP21
        """)


@pytest.mark.parametrize("uri", ["sip:10.0.0.1", "sip:203.0.113.1", "sip:10.0.0.1:5060"])
def test_b16_options_to_the_proxy(lab, uri):
    """A phone that pings us is answered, registered or not."""
    lab.p.send(request("OPTIONS", uri))
    lab.p.sees("SIP/2.0 200 OK")
    registered(lab)
    lab.p.send(request("OPTIONS", uri, "Call-ID: c2"))
    lab.p.sees("SIP/2.0 200 OK")


def test_b16_other_requests_to_the_proxy(lab):
    """We are no phone: what only a phone can do is refused."""
    registered(lab)
    lab.p.send(invite("sip:10.0.0.1", body=SDP.audio("10.0.0.10", 40000)))
    assert 400 <= lab.p.receive().status < 500
    assert lab.media_ports() == set()


def test_b10_a_host_that_does_not_exist(lab):
    """A name that cannot be resolved is an answer to the phone, not silence."""
    registered(lab)
    lab.p.send(request("OPTIONS", "sip:bob@nosuch.invalid"))
    assert lab.p.receive().status in (404, 503)


def test_b10_a_registrar_that_does_not_exist(lab):
    """So it is for a REGISTER, and no binding comes of it."""
    lab.p.send(register("alice@nosuch.invalid", "<sip:alice@10.0.0.10:5062>"))
    assert lab.p.receive().status in (404, 408, 503)
    assert not is_reachable(lab, lab.p, "sip:alice@203.0.113.1")


def test_b10_an_unknown_scheme(lab):
    """A Request-URI that we cannot route is refused with 416."""
    registered(lab)
    lab.p.send(request("OPTIONS", "tel:+41445551234", "To: <tel:+41445551234>"))
    lab.p.sees("SIP/2.0 416 …")


def test_b10_a_telephone_number_in_to(lab):
    """A tel: URI in To or From is the phones' business."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "To: <tel:+41445551234>"))
    lab.v.sees(f"""
        OPTIONS {BOB} SIP/2.0
        To: <tel:+41445551234>
        """)


def test_b10_proxy_require(lab):
    """An extension that the proxy must understand and does not is named in a 420."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Proxy-Require: sec-agree, nothing"))
    lab.p.sees("""
        SIP/2.0 420 …
        Unsupported: sec-agree, nothing
        """)


@pytest.mark.parametrize("method", ["MESSAGE", "INFO", "SUBSCRIBE", "NOTIFY", "PUBLISH", "REFER", "FOO"])
def test_every_method_passes(lab, method):
    """Methods known and unknown pass both ways, with their bodies."""
    registered(lab)
    lab.p.send(request(method, BOB, "Content-Type: text/plain", body="Hello, Bob\n"))
    there = lab.v.sees(f"""
        {method} {BOB} SIP/2.0
        CSeq: 1 {method}
        Content-Type: text/plain

        Hello, Bob
        """)
    lab.v.send(answer(there, "202 Accepted", "Content-Type: text/plain", body="Thanks\n"))
    lab.p.sees("""
        SIP/2.0 202 Accepted

        Thanks
        """)
    lab.w.send(request(method, "sip:alice@203.0.113.1", CAROL, "Content-Type: text/plain", body="Hi\n"))
    back = lab.p.sees(f"""
        {method} sip:alice@10.0.0.10:5062 SIP/2.0

        Hi
        """)
    lab.p.send(answer(back, "404 Not Here"))
    lab.w.sees("SIP/2.0 404 Not Here")


@DATAGRAMS
@pytest.mark.parametrize(
    "junk",
    [
        b"\r\n",
        b"\r\n\r\n",
        b"\0\0\0\0",
        b"x",
        b"nonsense\r\n\r\n",
        b"INVITE  SIP/2.0\r\n\r\n",
        bytes(range(256)) * 250,
    ],
    ids=["CRLF", "CRLFCRLF", "zeros", "short", "nonsense", "no URI", "64 kB"],
)
def test_junk_is_ignored(lab, junk):
    """Keepalives and garbage are never answered; the next message is served as if nothing had been."""
    lab.p.send(junk)
    lab.w.send(junk)
    for party in (lab.p, lab.q, lab.v, lab.w):
        party.nothing()
    registered(lab)
