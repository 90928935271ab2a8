# SPDX-License-Identifier: MIT
"""Topology T15, a dial-up line: the outside address goes, comes back, and is another one."""

from __future__ import annotations

from siproxd_tw.interfaces import Side
from tests.support.addresses import FixedAddresses
from tests.support.calls import is_reachable, media, registered
from tests.support.messages import SDP, invite, register, request, values

BOB = "sip:bob@sip.provider.test"


def test_no_outside_address(laboratory):
    """While the outside has no address phones are told so; those registered here reach one another."""
    lab = laboratory(addresses=FixedAddresses(outside=None))
    lab.p.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062>"))
    assert lab.p.receive().status in (408, 503)
    lab.p.send(register("alice@10.0.0.1", "<sip:alice@10.0.0.10:5062>"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.p.send(request("OPTIONS", BOB))
    assert lab.p.receive().status in (408, 503)
    lab.q.send(request("OPTIONS", "sip:alice@10.0.0.1", "From: <sip:bob@10.0.0.1>;tag=b", "Call-ID: c2"))
    lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")


def test_the_line_comes_up(laboratory):
    """When the address is there the proxy serves, without a restart."""
    lab = laboratory(addresses=FixedAddresses(outside=None))
    lab.addresses.set(Side.OUTSIDE, "203.0.113.1")
    lab.advance(0)
    registered(lab)
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1")


def test_another_address(lab):
    """After a change of address the next messages carry the new one, and it is listened on."""
    registered(lab)
    lab.addresses.set(Side.OUTSIDE, "203.0.113.7")
    lab.advance(0)
    for party in (lab.v, lab.w):
        party.proxy = ("203.0.113.7", 5060)
    assert registered(lab) == "<sip:alice@203.0.113.7>"
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.7")
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.v.receive()
    assert values(invitation, "Via")[0].startswith("SIP/2.0/UDP 203.0.113.7:5060;branch=")
    assert values(invitation, "Contact") == ["<sip:alice@203.0.113.7>"]
    assert media(invitation)[0].startswith("203.0.113.7:")
    assert ("203.0.113.1", 5060) not in lab.network.bound
