# SPDX-License-Identifier: MIT
"""TC25: calls between two phones of the inside, delivered directly or reflected by the provider."""

from __future__ import annotations

from tests.support.calls import hang_up, media, registered, registered_here, without_top_via
from tests.support.lab import Lab
from tests.support.messages import SDP, Dialog, Message, answer, invite, values
from tests.support.networks import EVERYWHERE, MIXED

pytestmark = EVERYWHERE

ALICE, BOB = "<sip:alice@10.0.0.10:5062>", "<sip:bob@10.0.0.11:5060>"
FROM_ALICE = "From: <sip:alice@foo.bar.test>;tag=a1"


def connected(lab: Lab) -> tuple[Dialog, Dialog, Message, Message]:
    """Let P call Q, both registered here; return both dialogs, the INVITE at Q and the 200 at P."""
    registered_here(lab, lab.p, "alice@foo.bar.test", ALICE)
    registered_here(lab, lab.q, "bob@foo.bar.test", BOB)
    lab.p.send(invite("sip:bob@foo.bar.test", FROM_ALICE, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.q.sees("INVITE sip:bob@10.0.0.11:5060 SIP/2.0")
    callee = Dialog.of_callee(invitation)
    body = SDP.audio("10.0.0.11", 41000, user="bob")
    lab.q.send(answer(invitation, "200 OK", f"Contact: {BOB}", body=body))
    accepted = lab.p.sees("SIP/2.0 200 OK")
    caller = Dialog.of_caller(accepted)
    lab.p.send(caller.request("ACK"), to=caller.next_hop)
    lab.q.sees("ACK sip:bob@10.0.0.11:5060 SIP/2.0")
    return caller, callee, invitation, accepted


def test_tc25_local_to_local(lab):
    """A phone calls a phone: one hop over us, with addresses of the inside only."""
    registered_here(lab, lab.p, "alice@foo.bar.test", ALICE)
    registered_here(lab, lab.q, "bob@foo.bar.test", BOB)
    lab.p.send(invite("sip:bob@foo.bar.test", FROM_ALICE, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.q.sees("""
        INVITE sip:bob@10.0.0.11:5060 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        Max-Forwards: 69
        From: <sip:alice@foo.bar.test>;tag=a1

        v=0
        o=alice 1 1 IN IP4 10.0.0.1
        s=-
        c=IN IP4 10.0.0.1
        t=0 0
        m=audio … RTP/AVP 0 8 101
        a=rtpmap:0 PCMU/8000
        """)
    body = SDP.audio("10.0.0.11", 41000, user="bob")
    lab.q.send(answer(invitation, "200 OK", f"Contact: {BOB}", tag="b1", body=body))
    lab.p.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        To: <sip:bob@foo.bar.test>;tag=b1

        v=0
        o=bob 1 1 IN IP4 10.0.0.1
        s=-
        c=IN IP4 10.0.0.1
        t=0 0
        m=audio … RTP/AVP 0 8 101
        a=rtpmap:0 PCMU/8000
        """)


def test_tc25_media(lab):
    """Each phone hears the other, and both see the proxy's inside address only."""
    _, _, invitation, accepted = connected(lab)
    (to_alice,), (to_bob,) = media(invitation), media(accepted)
    assert lab.relayed("10.0.0.10:40000", to_bob) == [f"{to_alice} > 10.0.0.11:41000"]
    assert lab.relayed("10.0.0.11:41000", to_alice) == [f"{to_bob} > 10.0.0.10:40000"]
    assert all(port.startswith("10.0.0.1:") for port in lab.media_ports())


@MIXED
def test_tc25_caller_hangs_up(lab):
    """The caller's BYE follows its dialog to the callee."""
    caller, *_ = connected(lab)
    hang_up(lab, lab.p, caller, lab.q)
    assert lab.media_ports() == set()


def test_tc25_callee_hangs_up(lab):
    """So does the callee's to the caller, whatever Contact of the caller it was told."""
    _, callee, *_ = connected(lab)
    hang_up(lab, lab.q, callee, lab.p)
    assert lab.media_ports() == set()


def reflected(lab: Lab, request: Message, uri: str) -> None:
    """Let V send a request that it got from us on to us, for `uri`, as a provider does."""
    start, _, rest = bytes(request).decode().replace("\r\n", "\n").partition("\n")
    method = start.split()[0]
    via = "Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKv" + method
    lab.v.send(f"{method} {uri} SIP/2.0\n{via}\nRecord-Route: <sip:203.0.113.50;lr>\n{rest}")


def returned(lab: Lab, response: Message) -> None:
    """Let V take its Via off a response that it got from us, and send it to the next, which is us."""
    assert "branch=z9hG4bKv" in values(response, "Via")[0]
    lab.v.send(without_top_via(response))


def test_tc25_reflected_by_the_provider(lab):
    """Both phones are the provider's: the call leaves us, comes back, and works as two calls over us."""
    registered(lab)
    bob = registered(lab, lab.q, "bob@sip.provider.test", BOB)
    lab.p.send(invite("sip:bob@sip.provider.test", body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    outside = lab.v.sees("INVITE sip:bob@sip.provider.test SIP/2.0")
    reflected(lab, outside, bob.strip("<>"))
    lab.v.sees("SIP/2.0 100 Trying")
    invitation = lab.q.sees("""
        INVITE sip:bob@10.0.0.11:5060 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKvINVITE
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:203.0.113.50;lr>
        Max-Forwards: 68
        Contact: <sip:alice@203.0.113.1>
        """)
    assert media(invitation)[0].startswith("10.0.0.1:")
    callee = Dialog.of_callee(invitation)
    body = SDP.audio("10.0.0.11", 41000, user="bob")
    lab.q.send(answer(invitation, "200 OK", f"Contact: {BOB}", body=body))
    halfway = lab.v.sees("""
        SIP/2.0 200 OK
        Record-Route: <sip:203.0.113.50;lr>
        Contact: <sip:bob@203.0.113.1>
        """)
    assert media(halfway)[0].startswith("203.0.113.1:")
    returned(lab, halfway)
    accepted = lab.p.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP2
        Record-Route: <sip:203.0.113.50;lr>, <sip:siproxd@10.0.0.1:5060;lr>
        Contact: <sip:bob@203.0.113.1>
        """)
    caller = Dialog.of_caller(accepted)
    lab.p.send(caller.request("ACK"), to=caller.next_hop)
    ack = lab.v.sees("ACK sip:bob@203.0.113.1 SIP/2.0")
    reflected(lab, ack, bob.strip("<>"))
    lab.q.sees("ACK sip:bob@10.0.0.11:5060 SIP/2.0")

    (to_alice,), (to_bob,) = media(invitation), media(accepted)
    assert lab.relayed("10.0.0.10:40000", to_bob)[-1] == f"{to_alice} > 10.0.0.11:41000"
    assert lab.relayed("10.0.0.11:41000", to_alice)[-1] == f"{to_bob} > 10.0.0.10:40000"

    lab.q.send(callee.request("BYE"), to=callee.next_hop)
    bye = lab.v.sees("BYE sip:alice@203.0.113.1 SIP/2.0")
    reflected(lab, bye, "sip:alice@203.0.113.1")
    bye = lab.p.sees("BYE sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(bye, "200 OK"))
    returned(lab, lab.v.sees("SIP/2.0 200 OK"))
    lab.q.sees("SIP/2.0 200 OK")
    assert lab.media_ports() == set()
