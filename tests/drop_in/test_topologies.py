# SPDX-License-Identifier: MIT
"""Where else the proxy is put: a PBX beside it on the gateway (T6), a PBX of the inside, odd registrations."""

from __future__ import annotations

from tests.support.calls import hang_up, registered
from tests.support.messages import SDP, Dialog, answer, invite, media, request

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
