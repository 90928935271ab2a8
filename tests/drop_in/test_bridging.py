# SPDX-License-Identifier: MIT
"""Phones of one office that speak by different transports, and calls between IPv4 and IPv6."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from siproxd_tw.interfaces import Address, Hop
from tests.support.addresses import FixedAddresses
from tests.support.calls import (
    call_from_w,
    call_to_m,
    hang_up,
    is_reachable,
    media,
    registered,
    registered_here,
)
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, register, request, values
from tests.support.messages import media as media_of
from tests.support.networks import NETWORKS, on

ALICE, BOB = "<sip:alice@10.0.0.10:5062>", "<sip:bob@10.0.0.12:5060;transport=tcp>"
UDP_ROUTE = "<sip:siproxd@10.0.0.1:5060;lr>"
TCP_ROUTE = "<sip:siproxd@10.0.0.1:5060;transport=tcp;lr>"


@dataclass
class Office:
    """A call between Alice, whose phone speaks UDP, and Bob, whose phone speaks TCP."""

    caller: tuple[Party, Dialog]
    callee: tuple[Party, Dialog]
    offered: Message
    answered: Message


def called(lab: Lab, by_alice: bool) -> Office:
    """Let one of them call the other."""
    t = lab.party("T", "10.0.0.12", 5060, transport="TCP")
    registered_here(lab, lab.p, "alice@foo.bar.test", ALICE)
    registered_here(lab, t, "bob@foo.bar.test", BOB)
    people = [(lab.p, "alice", ALICE, "10.0.0.10"), (t, "bob", BOB, "10.0.0.12")]
    (caller, name, contact, host), (callee, other, there, far) = people if by_alice else people[::-1]
    sender = f"From: <sip:{name}@foo.bar.test>;tag=a1"
    caller.send(invite(f"sip:{other}@foo.bar.test", sender, contact=contact, body=SDP.audio(host, 40000)))
    lab.advance(0)
    caller.sees("SIP/2.0 100 …")
    offered = callee.sees(f"INVITE {there.strip('<>')} SIP/2.0")
    callee.send(answer(offered, "200 OK", f"Contact: {there}", body=SDP.audio(far, 41000)))
    accepted = caller.sees("SIP/2.0 200 OK")
    dialog = Dialog.of_caller(accepted)
    caller.send(dialog.request("ACK"))
    callee.sees(f"ACK {there.strip('<>')} SIP/2.0")
    return Office((caller, dialog), (callee, Dialog.of_callee(offered)), offered, accepted)


@pytest.mark.parametrize("by_alice", [True, False], ids=["UDP to TCP", "TCP to UDP"])
def test_two_record_routes_where_the_transport_changes(lab, by_alice):
    """Each phone finds the URI that it can use first in its route set (RFC 5658 section 6)."""
    call = called(lab, by_alice)
    mine, theirs = (UDP_ROUTE, TCP_ROUTE) if by_alice else (TCP_ROUTE, UDP_ROUTE)
    assert ", ".join(values(call.offered, "Record-Route")) == f"{theirs}, {mine}"
    assert ", ".join(values(call.answered, "Record-Route")) == f"{theirs}, {mine}"
    assert call.caller[1].routes[0] == mine
    assert call.callee[1].routes[0] == theirs


@pytest.mark.parametrize("by_alice", [True, False], ids=["UDP to TCP", "TCP to UDP"])
def test_requests_in_the_dialog(lab, by_alice):
    """They reach the other phone by its transport, without a trace of our Routes, and end the media."""
    call = called(lab, by_alice)
    for method, (by, dialog), (to, _) in (
        ("INFO", call.caller, call.callee),
        ("UPDATE", call.callee, call.caller),
        ("BYE", call.callee, call.caller),
    ):
        by.send(dialog.request(method))
        arrived = to.sees(f"""
            {method} {dialog.target} SIP/2.0
            Via: SIP/2.0/{to.transport} 10.0.0.1:5060;branch=…, SIP/2.0/{by.transport} …
            no Route
            """)
        to.send(answer(arrived, "200 OK"))
        by.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


@pytest.mark.parametrize("by_alice", [True, False], ids=["UDP to TCP", "TCP to UDP"])
def test_a_phone_by_tcp_connects_anew_in_a_local_call(lab, by_alice):
    """The other one's BYE finds the new connection."""
    call = called(lab, by_alice)
    tcp, udp = (call.callee, call.caller) if by_alice else (call.caller, call.callee)
    tcp[0].connection.abort()
    tcp[0].connect()
    lab.advance(1)
    tcp[0].send(request("OPTIONS", "sip:10.0.0.1", "Call-ID: ping"))  # alive, but not registered anew yet
    tcp[0].sees("SIP/2.0 200 OK")
    tcp[0].send(register("bob@foo.bar.test", BOB, "CSeq: 2 REGISTER"))
    tcp[0].sees("SIP/2.0 200 OK")
    udp[0].send(udp[1].request("BYE"))
    bye = tcp[0].sees("BYE … SIP/2.0")
    tcp[0].send(answer(bye, "200 OK"))
    udp[0].sees("SIP/2.0 200 OK")


def test_n65_a_provider_by_tls_and_the_phone_knows_nothing_of_it(laboratory):
    """Outside everything says TLS, inside nothing does; the certificate is asked for by the domain."""
    lab = laboratory(on=NETWORKS["udp-tls"])
    lab.p.send(request("OPTIONS", "sip:10.0.0.1"))
    lab.p.sees("SIP/2.0 200 OK")
    registered(lab)
    assert lab.service._tls.asked == ["sip.provider.test"]
    call = call_to_m(lab)
    ours = bytes(call.answered).split(b"\r\nContact:")[0]  # the callee's Contact is its own business
    for word in (b"tls", b"TLS", b"5061", b"sips:"):
        assert word not in ours
    hang_up(lab, lab.m, call.callee, lab.p)


@pytest.mark.parametrize("uri", ["sip:bob@secure.test;transport=tls", "sips:bob@secure.test"])
def test_a_phone_by_udp_asks_for_tls(laboratory, uri):
    """A URI that wants TLS gets it on the way out, whatever the phone speaks."""
    lab = laboratory()
    lab.resolver.services["secure.test"] = [Hop("TLS", Address("203.0.113.80", 5061), "secure.test")]
    server = lab.party("S", "203.0.113.80", 5060, transport="TLS")
    registered(lab)
    lab.p.send(request("OPTIONS", uri, "Contact: <sip:alice@10.0.0.10:5062>"))
    lab.advance(0)
    arrived = server.sees(f"""
        OPTIONS {uri} SIP/2.0
        Via: SIP/2.0/TLS 203.0.113.1:5061;branch=z9hG4bK…, SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bK…
        Contact: <sip:alice@203.0.113.1;transport=tls>
        """)
    server.send(answer(arrived, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


# IPv4 and IPv6


@on("ipv6", "ipv4-ipv6")
def test_n72_a_call_between_the_families(lab):
    """Each party has the address family of its network in signalling and media, and hears the other."""
    registered(lab)
    for call, far in ((call_to_m(lab), "203.0.113.60:50000"), (call_from_w(lab), "203.0.113.51:51000")):
        to, back = (call.answered, call.offered) if far.endswith("50000") else (call.offered, call.answered)
        (inside,), (outside,) = media(to), media(back)
        family = b"IP6" if lab.on.inside6 else b"IP4"
        assert to.body.count(b"IN " + family) == to.body.count(b"IN IP") == 2
        assert back.body.count(b"IN IP6") == back.body.count(b"IN IP") == 2
        assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > {far}"]
        assert lab.relayed(far, outside) == [f"{inside} > 10.0.0.10:40000"]
    assert len(lab.media_ports()) == 8


@on("ipv4-ipv6")
@pytest.mark.parametrize(
    ("line", "there"), [("c=IN IP4 0.0.0.0", b"c=IN IP6 ::"), ("a=inactive", b"a=inactive")]
)
def test_n72_hold_between_the_families(lab, line, there):
    """A phone that holds by address does so in the other family as well."""
    registered(lab)
    body = SDP.audio("10.0.0.10", 40000)
    held = body.replace("c=IN IP4 10.0.0.10", line) if line[0] == "c" else body + line + "\n"
    lab.p.send(invite("sip:bob@sip.provider.test", body=held))
    lab.p.sees("SIP/2.0 100 …")
    offered = lab.v.sees("INVITE … SIP/2.0")
    assert there + b"\r\n" in offered.body
    assert b"10.0.0" not in offered.body


def both() -> FixedAddresses:
    """Return the addresses of a gateway that has both families on both sides."""
    return FixedAddresses(inside6="fd00::1", outside6="2001:db8::1")


def test_n72_each_phone_has_its_own_family(laboratory):
    """On a gateway with both families a phone is registered, called and heard by the one it speaks."""
    lab = laboratory(addresses=both())
    six = Party(lab, "SIX6", ("fd00::30", 5060), ("fd00::1", 5060))
    registered_here(lab, lab.p, "alice@foo.bar.test", ALICE)
    registered_here(lab, six, "bob@foo.bar.test", "<sip:bob@[fd00::30]>")
    lab.p.send(
        invite(
            "sip:bob@foo.bar.test",
            "From: <sip:alice@foo.bar.test>;tag=a1",
            contact=ALICE,
            body=SDP.audio("10.0.0.10", 40000),
        )
    )
    lab.p.sees("SIP/2.0 100 …")
    offered = six.sees(f"""
        INVITE sip:bob@[fd00::30] SIP/2.0
        Via: SIP/2.0/UDP [fd00::1]:5060;branch=z9hG4bK…, SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bK…
        Record-Route: <sip:siproxd@[fd00::1]:5060;lr>, {UDP_ROUTE}
        """)
    (to_six,) = media_of(offered)
    assert to_six.startswith("fd00::1:")
    described = SDP.audio("fd00::30", 41000).replace("IP4", "IP6")
    six.send(answer(offered, "200 OK", "Contact: <sip:bob@[fd00::30]>", body=described))
    accepted = lab.p.sees("SIP/2.0 200 OK")
    (to_p,) = media_of(accepted)
    assert to_p.startswith("10.0.0.1:")
    dialog = Dialog.of_caller(accepted)
    assert dialog.next_hop == ("10.0.0.1", 5060)
    lab.p.send(dialog.request("ACK"))
    six.sees("ACK sip:bob@[fd00::30] SIP/2.0")
    assert lab.relayed("10.0.0.10:40000", to_p)
    callee = Dialog.of_callee(offered)
    assert callee.next_hop == ("fd00::1", 5060)
    six.send(callee.request("BYE"))
    lab.p.send(answer(lab.p.sees("BYE sip:alice@10.0.0.10:5062 SIP/2.0"), "200 OK"))
    six.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


def test_n72_a_provider_with_both_families(laboratory):
    """A provider whose name has both is met by IPv4 first, and by IPv6 when that is dead."""
    lab = laboratory(addresses=both())
    lab.resolver.names["sip.provider.test"] = ["203.0.113.70", "2001:db8::50"]
    six = Party(lab, "V6", ("2001:db8::50", 5060), ("2001:db8::1", 5060))
    registered_here(lab, lab.p, "alice@foo.bar.test", ALICE)
    lab.p.send(invite("sip:bob@sip.provider.test", "Call-ID: c2", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    lab.advance(3)
    offered = six.sees(
        "INVITE sip:bob@sip.provider.test SIP/2.0\nVia: SIP/2.0/UDP [2001:db8::1]:5060;branch=…, …"
    )
    six.forget()
    assert media_of(offered)[0].startswith("2001:db8::1:")
    body = SDP.audio("2001:db8::50", 50000).replace("IP4", "IP6")
    six.send(answer(offered, "200 OK", "Contact: <sip:bob@[2001:db8::50]>", body=body))
    accepted = lab.p.sees("SIP/2.0 200 OK")
    (inside,) = media_of(accepted)
    assert inside.startswith("10.0.0.1:")
    dialog = Dialog.of_caller(accepted)
    lab.p.send(dialog.request("ACK"))
    six.sees("ACK sip:bob@[2001:db8::50] SIP/2.0")
    lab.p.send(dialog.request("BYE"))
    six.send(answer(six.sees("BYE sip:bob@[2001:db8::50] SIP/2.0"), "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()


@on("ipv6")
def test_n72_a_phone_by_ipv6_is_reachable(lab):
    """Its Contact comes back byte for byte, brackets and parameters included."""
    masked = registered(lab, contact="<sip:alice@10.0.0.10:5062;line=x7f>")
    assert masked == "<sip:alice@[2001:db8::1]>"
    assert is_reachable(lab, lab.p, masked.strip("<>"), "sip:alice@10.0.0.10:5062;line=x7f")
