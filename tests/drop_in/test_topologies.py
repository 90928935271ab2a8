# SPDX-License-Identifier: MIT
"""Where else the proxy is put: beside a PBX on the gateway (T6), before a PBX of the inside."""

from __future__ import annotations

import pytest

from tests.support.addresses import one_armed, two_armed
from tests.support.calls import hang_up, media, registered
from tests.support.messages import ALICE, SDP, Dialog, answer, invite, register, request
from tests.support.networks import DATAGRAMS

pytestmark = DATAGRAMS

BOB = "sip:bob@sip.provider.test"


def test_t6_a_call_of_a_pbx_on_the_gateway(lab):
    """The PBX need not be registered; outside it is at our port, and what comes back finds its own."""
    pbx = lab.party("B", "10.0.0.1", 5061)
    caller = "From: <sip:4711@sip.provider.test>;tag=a1"
    contact = "<sip:4711@10.0.0.1:5061>"
    pbx.send(invite(BOB, caller, contact=contact, body=SDP.audio("10.0.0.1", 40000)))
    pbx.sees("SIP/2.0 100 Trying")
    invitation = lab.v.sees(f"""
        INVITE {BOB} SIP/2.0
        Contact: <sip:4711@203.0.113.1:5060>
        """)
    assert media(invitation)[0].startswith("203.0.113.1:")
    callee = Dialog.of_callee(invitation)
    body = SDP.audio("203.0.113.60", 50000)
    lab.v.send(answer(invitation, "200 OK", "Contact: <sip:bob@203.0.113.50>", body=body))
    accepted = Dialog.of_caller(pbx.sees("SIP/2.0 200 OK"))
    pbx.send(accepted.request("ACK"), to=accepted.next_hop)
    lab.v.sees("ACK sip:bob@203.0.113.50 SIP/2.0")
    hang_up(lab, lab.v, callee, pbx)


def test_t6_a_call_to_a_pbx_on_the_gateway(lab):
    """Registered as itself, it answers as the extension that was dialled."""
    pbx = lab.party("B", "10.0.0.1", 5061)
    registered(lab, pbx, contact="<sip:trunk@10.0.0.1:5061>")
    lab.w.send(request("SUBSCRIBE", "sip:alice@203.0.113.1", "From: <sip:carol@sip.other.test>;tag=w1"))
    subscription = pbx.sees("SUBSCRIBE sip:trunk@10.0.0.1:5061 SIP/2.0")
    pbx.send(answer(subscription, "200 OK", "Contact: <sip:4711@10.0.0.1:5061>"))
    accepted = lab.w.sees("""
        SIP/2.0 200 OK
        Contact: <sip:4711@203.0.113.1:5060>
        """)
    refresh = Dialog.of_caller(accepted)
    lab.w.send(refresh.request("SUBSCRIBE"), to=refresh.next_hop)
    again = pbx.sees("SUBSCRIBE sip:4711@10.0.0.1:5061 SIP/2.0")
    pbx.send(answer(again, "200 OK"))
    lab.w.sees("SIP/2.0 200 OK")


@pytest.mark.parametrize("gateway", [two_armed, one_armed])
def test_t6_a_phone_calls_a_pbx_on_the_gateway(laboratory, gateway):
    """Both are inside, also when the gateway has one address for both sides."""
    lab = laboratory(addresses=gateway())
    pbx = lab.party("B", "10.0.0.1", 5061)
    contact = "Contact: <sip:alice@10.0.0.10:5062>"
    lab.p.send(request("OPTIONS", "sip:bob@10.0.0.1:5061", contact))
    ping = pbx.sees(f"""
        OPTIONS sip:bob@10.0.0.1:5061 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP1
        {contact}
        """)
    pbx.send(answer(ping, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


def test_an_unregistered_phone_calls_a_pbx_inside(lab):
    """Both are neighbours: the PBX decides who may call, as it decided who may register."""
    pbx = lab.party("N", "10.0.0.20", 5060)
    lab.p.send(register("alice@10.0.0.20", "<sip:alice@10.0.0.10:5062>"))
    registration = pbx.sees("""
        REGISTER sip:10.0.0.20 SIP/2.0
        Contact: <sip:alice@10.0.0.10:5062>
        """)
    pbx.send(answer(registration, "200 OK", "Contact: <sip:alice@10.0.0.10:5062>;expires=600"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.p.send(request("OPTIONS", "sip:bob@10.0.0.20", "Contact: <sip:alice@10.0.0.10:5062>"))
    ping = pbx.sees("""
        OPTIONS sip:bob@10.0.0.20 SIP/2.0
        Contact: <sip:alice@10.0.0.10:5062>
        """)
    pbx.send(answer(ping, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


def test_a_provider_s_account_that_is_registered_here(lab):
    """A phone with our address as registrar and the provider's domain does not take that domain from all."""
    lab.p.send(
        register(ALICE, "<sip:alice@10.0.0.10:5062>").replace("sip:sip.provider.test", "sip:10.0.0.1", 1)
    )
    lab.p.sees("SIP/2.0 200 OK")
    lab.p.send(request("OPTIONS", BOB))
    ping = lab.v.sees(f"OPTIONS {BOB} SIP/2.0")
    lab.v.send(answer(ping, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
