# SPDX-License-Identifier: MIT
"""TC20 to TC24: what becomes of a request by itself: refused, routed, rewritten."""

from __future__ import annotations

import pytest

from tests.support.calls import registered, without_top_via
from tests.support.messages import SDP, answer, invite, request, values
from tests.support.networks import BOTH, DATAGRAMS, EVERYWHERE, MIXED

pytestmark = BOTH

BOB = "sip:bob@sip.provider.test"


@MIXED
def test_tc20_a_stranger_calls_a_stranger(lab):
    """Nobody who is not registered is served, even inside: 408, with everything a response must have."""
    lab.p.send("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx
        Via: SIP/2.0/UDP 10.0.0.77;branch=z9hG4bKy
        Max-Forwards: 70
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>
        Call-ID: c1
        CSeq: 1 OPTIONS
        """)
    lab.p.sees("""
        SIP/2.0 408 Request Timeout
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx
        Via: SIP/2.0/UDP 10.0.0.77;branch=z9hG4bKy
        From: <sip:alice@sip.provider.test>;tag=a1
        To: <sip:bob@sip.provider.test>;tag=…
        Call-ID: c1
        CSeq: 1 OPTIONS
        Content-Length: 0
        no Record-Route
        """)
    lab.v.nothing()


def test_tc20_an_ack_is_never_answered(lab):
    """An ACK that nobody can use disappears, from inside and from outside."""
    lab.p.send(request("ACK", BOB))
    lab.w.send(request("ACK", "sip:alice@203.0.113.1"))
    lab.advance(40)
    for party in (lab.p, lab.v, lab.w):
        party.nothing()


def test_tc20_nobody_of_that_name(lab):
    """From outside, a user that is not registered here is not found."""
    registered(lab)
    lab.w.send(request("OPTIONS", "sip:nobody@203.0.113.1", "From: <sip:carol@sip.other.test>;tag=w1"))
    lab.w.sees("""
        SIP/2.0 404 Not Found
        To: <sip:nobody@203.0.113.1>;tag=…
        """)


def test_tc21_options_at_its_last_hop(lab):
    """OPTIONS with Max-Forwards 0 is answered by us, with the Contact of the request."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Max-Forwards: 0", "Contact: <sip:alice@10.0.0.10:5062>"))
    lab.p.sees("""
        SIP/2.0 200 OK
        To: <sip:bob@sip.provider.test>;tag=…
        Contact: <sip:alice@10.0.0.10:5062>
        """)
    lab.v.nothing()


def test_tc21_other_requests_at_their_last_hop(lab):
    """An INVITE with Max-Forwards 0 gets 483, and its ACK ends there; an ACK with 0 gets nothing."""
    registered(lab)
    lab.p.send(
        invite(
            BOB,
            "Max-Forwards: 0",
            "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx",
            body=SDP.audio("10.0.0.10", 40000),
        )
    )
    refused = lab.p.sees("""
        SIP/2.0 483 Too Many Hops
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx
        """)
    to = f"To: {values(refused, 'To')[0]}"
    lab.p.send(request("ACK", BOB, "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx", to))
    lab.p.send(request("ACK", BOB, "Max-Forwards: 0", "Call-ID: other"))
    lab.advance(40)
    lab.p.nothing()
    lab.v.nothing()
    assert lab.media_ports() == set()


@DATAGRAMS
@pytest.mark.parametrize(
    ("header", "forwarded"),
    [
        ("Max-Forwards: 1", "0"),
        ("Max-Forwards: 70", "69"),
        ("Max-Forwards: 255", "254"),
        ("Max-Forwards: 300", "69"),
        ("Max-Forwards: -1", "69"),
        ("Max-Forwards", "70"),
    ],
    ids=["last but one", "usual", "most", "too many", "negative", "absent"],
)
def test_tc21_max_forwards(lab, header, forwarded):
    """Max-Forwards counts down; what is absent or absurd starts at 70."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, header))
    lab.v.sees(f"""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Max-Forwards: {forwarded}
        """)


@MIXED
def test_tc22_loop(lab):
    """A request of ours that comes back as we sent it has looped."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB))
    ours = lab.v.datagram().data
    lab.v.send(ours)
    lab.v.sees("""
        SIP/2.0 482 Loop Detected
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        """)
    lab.v.nothing()


def test_tc22_loop_over_another_proxy(lab):
    """So it has when another proxy added its Via on the way, and nothing that routing looks at changed."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB))
    ours = lab.v.datagram().data
    start, rest = ours.split(b"\r\n", 1)
    lab.v.send(start + b"\r\nVia: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv1\r\n" + rest)
    lab.v.sees("SIP/2.0 482 Loop Detected")
    lab.v.nothing()


def test_tc22_our_address_in_vias_is_no_loop(lab):
    """Vias that merely carry our address, as behind a second NAT with the same numbers, mean nothing."""
    registered(lab)
    vias = ["SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKx"]
    vias += [f"SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKl{n}" for n in range(3)]
    lab.p.send(request("OPTIONS", BOB, *(f"Via: {via}" for via in vias)))
    lab.v.sees(f"""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=…, {", ".join(vias)}
        """)


@EVERYWHERE
def test_tc22_a_spiral_is_no_loop(lab):
    """A request that comes back for somebody else, diverted by the provider, goes on to them."""
    registered(lab)
    registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11>")
    lab.p.send(request("OPTIONS", BOB))
    ours = lab.v.datagram().data.decode()
    start, _, rest = ours.replace("\r\n", "\n").partition("\n")
    assert start == f"OPTIONS {BOB} SIP/2.0"
    lab.v.send(
        f"OPTIONS sip:bob@203.0.113.1 SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv1\n{rest}"
    )
    ping = lab.q.sees("""
        OPTIONS sip:bob@10.0.0.11 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=…
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv1
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        """)
    lab.q.send(answer(ping, "200 OK"))
    back = lab.v.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv1, …
        """)
    lab.v.send(without_top_via(back))
    lab.p.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        """)


def sent_back_by_the_phone(lab, uri):
    """Call alice, whose phone is a proxy and sends the request back to us for `uri`."""
    registered(lab)
    registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11>")
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", "From: <sip:carol@sip.other.test>;tag=w1"))
    _, _, rest = lab.p.datagram().data.decode().replace("\r\n", "\n").partition("\n")
    via = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKpbx"
    lab.p.send(f"OPTIONS {uri} SIP/2.0\n{via}\n{rest}")


def test_tc22_a_loop_inside(lab):
    """A phone that sends a call back as it was before we found the phone makes a loop."""
    sent_back_by_the_phone(lab, "sip:alice@203.0.113.1")
    lab.p.sees("""
        SIP/2.0 482 Loop Detected
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKpbx, …
        """)


def test_tc22_a_spiral_inside(lab):
    """A phone that forwards a call to another phone, over us, makes none."""
    sent_back_by_the_phone(lab, "sip:bob@203.0.113.1")
    ping = lab.q.sees("""
        OPTIONS sip:bob@10.0.0.11 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKpbx
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=…
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKW1
        """)
    lab.q.send(answer(ping, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


@EVERYWHERE
def test_tc23_our_route_and_another(lab):
    """Our own Route, the first, is taken off; the next one says where to and stays."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:203.0.113.51;lr>"))
    lab.w.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Route: <sip:203.0.113.51;lr>
        """)


@MIXED
def test_tc23_our_route_alone(lab):
    """When ours was the only Route, the Request-URI says where to."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:siproxd@10.0.0.1:5060;lr>"))
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        no Route
        """)


def test_tc23_a_foreign_route(lab):
    """A Route that is not ours is followed."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:sip.other.test;lr>"))
    lab.w.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Route: <sip:sip.other.test;lr>
        """)


@MIXED
def test_tc23_strict_router(lab):
    """A strict router before us put our own URI into the Request-URI: the last Route is the true one."""
    registered(lab)
    lab.p.send(
        request(
            "OPTIONS",
            "sip:siproxd@10.0.0.1:5060",
            "To: <sip:bob@sip.provider.test>",
            "Route: <sip:203.0.113.51;lr>, <sip:bob@203.0.113.50>",
        )
    )
    lab.w.sees("""
        OPTIONS sip:bob@203.0.113.50 SIP/2.0
        Route: <sip:203.0.113.51;lr>
        """)


def test_tc23_our_record_route_does_not_leave(lab):
    """A Record-Route of ours is taken out of what goes outside, a foreign one is not."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB, "Record-Route: <sip:x@10.0.0.1>", "Record-Route: <sip:p2;lr>"))
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Record-Route: <sip:p2;lr>
        """)


@EVERYWHERE
def test_tc24_a_contact_that_is_not_registered(lab):
    """Host and port of an inside Contact are replaced; user, parameters, display name stay."""
    registered(lab)
    contact = '"A" <sip:foo@10.0.0.99:7777;line=xyz>;+sip.instance="x"'
    lab.p.send(request("OPTIONS", BOB, f"Contact: {contact}"))
    lab.v.sees(f"""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Contact: "A" <sip:foo@203.0.113.1:5060;line=xyz{lab.on.parameter("203.0.113.1")}>;+sip.instance="x"
        """)


def test_tc24_parameters_of_a_registered_contact(lab):
    """Of a registered Contact the URI becomes the masqueraded one, display name and parameters stay."""
    registered(lab)
    contact = '"Al" <sip:alice@10.0.0.10:5062>;q=0.5;+sip.instance="<urn:uuid:1>"'
    lab.p.send(request("SUBSCRIBE", BOB, f"Contact: {contact}"))
    lab.v.sees("""
        SUBSCRIBE sip:bob@sip.provider.test SIP/2.0
        Contact: "Al" <sip:alice@203.0.113.1>;q=0.5;+sip.instance="<urn:uuid:1>"
        """)


def test_tc24_no_contact_and_other_contacts(lab):
    """A request without Contact stays without; a telephone number is no address of ours."""
    registered(lab)
    lab.p.send(request("OPTIONS", BOB))
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        no Contact
        """)
    lab.p.send(request("OPTIONS", BOB, "Contact: <tel:+4112345>", "CSeq: 2 OPTIONS"))
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Contact: <tel:+4112345>
        """)


@MIXED
def test_tc24_a_redirection_names_others(lab):
    """The Contact of a 302 is where the caller shall try next: nothing of ours, it passes unchanged."""
    registered(lab)
    lab.w.send(
        invite(
            "sip:alice@203.0.113.1",
            "Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1",
            "From: <sip:dan@sip.other.test>;tag=w1",
            contact="<sip:dan@203.0.113.51>",
            body=SDP.audio("203.0.113.51", 51000),
        )
    )
    lab.w.sees("SIP/2.0 100 Trying")
    invitation = lab.p.sees("INVITE sip:alice@10.0.0.10:5062 SIP/2.0")
    contacts = "<sip:carol@sip.other.test>;q=0.7, <sip:alice@192.0.2.4:5077;x=1>"
    lab.p.send(answer(invitation, "302 Moved Temporarily", f"Contact: {contacts}"))
    lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.w.sees(f"""
        SIP/2.0 302 Moved Temporarily
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Contact: {contacts}
        """)
    assert lab.media_ports() == set()
