# SPDX-License-Identifier: MIT
"""What becomes of the media of a call whose messages get lost, come late or come too often."""

from __future__ import annotations

import pytest

from tests.support.calls import call_to_m, hang_up, media, registered
from tests.support.messages import ALICE, SDP, Dialog, answer, invite, request
from tests.support.networks import BOTH

pytestmark = BOTH

STRANGER = "From: <sip:scan@203.0.113.51>;tag=s1"
M = "sip:dora@203.0.113.60:5090"


def stranger_calls(lab, call_id="scan", **description):
    """Let W call P, who answers at once; return W's side of the dialog and its 200."""
    body = SDP.audio("203.0.113.51", 51000, user="scan", **description)
    lab.w.send(
        invite("sip:alice@203.0.113.1", STRANGER, f"To: <sip:{ALICE}>", f"Call-ID: {call_id}", body=body)
    )
    offered = lab.p.sees("INVITE sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.w.sees("SIP/2.0 100 …")
    lab.p.send(
        answer(offered, "200 OK", "Contact: <sip:alice@10.0.0.10:5062>", body=SDP.audio("10.0.0.10", 40000))
    )
    return lab.w.sees("SIP/2.0 200 OK")


def test_an_answer_that_is_never_acknowledged(lab):
    """A phone that answers by itself goes on talking to a scanner; without ACK its ports come back."""
    registered(lab)
    (outside,) = media(stranger_calls(lab))
    assert len(lab.media_ports()) == 4
    inside = next(port for port in lab.media_ports() if port.startswith("10.0.0.1:"))
    for _ in range(8):
        lab.relayed("10.0.0.10:40000", "10.0.0.1:7070")
        lab.advance(5)
        lab.w.forget()
    assert outside and inside
    assert lab.media_ports() == set()


def test_an_answer_that_is_acknowledged(lab):
    """The same call with an ACK, which may come with its third copy, goes on."""
    registered(lab)
    caller = Dialog.of_caller(stranger_calls(lab))
    lab.advance(10)
    lab.w.forget()
    lab.w.send(caller.request("ACK"), to=caller.next_hop)
    lab.p.sees("ACK sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.advance(60)
    assert len(lab.media_ports()) == 4


def test_ringing_for_seven_minutes(lab):
    """Somebody who waits in a queue, and hears of it by a 182 each minute, has audio in the end."""
    registered(lab)
    lab.p.send(invite(M, body=SDP.audio("10.0.0.10", 40000)))
    offered = lab.m.sees(f"INVITE {M} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    for _ in range(7):
        lab.m.send(answer(offered, "182 Queued"))
        lab.p.sees("SIP/2.0 182 …")
        lab.advance(60)
    lab.m.send(answer(offered, "200 OK", f"Contact: <{M}>", body=SDP.audio("203.0.113.60", 50000)))
    (inside,) = media(lab.p.sees("SIP/2.0 200 OK"))
    (outside,) = media(offered)
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > 203.0.113.60:50000"]


def test_ringing_for_longer_than_the_timeout(laboratory):
    """A description in a 183, and no packet until somebody answers: that is no dead call."""
    lab = laboratory("rtp_timeout = 30")
    registered(lab)
    lab.p.send(invite(M, body=SDP.audio("10.0.0.10", 40000)))
    offered = lab.m.sees(f"INVITE {M} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    theirs = SDP.audio("203.0.113.60", 50000)
    lab.m.send(answer(offered, "183 Session Progress", body=theirs))
    lab.p.sees("SIP/2.0 183 …")
    lab.advance(60)
    lab.m.send(answer(offered, "200 OK", f"Contact: <{M}>", body=theirs))
    (inside,) = media(lab.p.sees("SIP/2.0 200 OK"))
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{media(offered)[0]} > 203.0.113.60:50000"]


def two_forks(lab):
    """Let P call; return the INVITE at M and the answers of two phones beyond."""
    registered(lab)
    lab.p.send(invite(M, body=SDP.audio("10.0.0.10", 40000)))
    offered = lab.m.sees(f"INVITE {M} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    return offered


def fork_says(lab, offered, status, tag, port):
    """Let one of the phones beyond answer, and P see it."""
    body = SDP.audio("203.0.113.60", port)
    lab.m.send(answer(offered, status, f"Contact: <{M}>", tag=tag, body=body))


def test_a_provisional_answer_behind_the_final_one(lab):
    """The 183 of a phone that lost, overtaken by the 200 of the one that won, does not move the audio."""
    offered = two_forks(lab)
    fork_says(lab, offered, "200 OK", "won", 50000)
    (inside,) = media(lab.p.sees("SIP/2.0 200 OK"))
    fork_says(lab, offered, "183 Session Progress", "lost", 52000)
    lab.p.nothing()
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{media(offered)[0]} > 203.0.113.60:50000"]


@pytest.mark.parametrize("early", [False, True])
def test_two_phones_answer(lab, early):
    """The caller keeps the first and hangs up on the second (RFC 3261 13.2.2.4): the first has audio."""
    offered = two_forks(lab)
    if early:
        fork_says(lab, offered, "183 Session Progress", "second", 52000)
        lab.p.sees("SIP/2.0 183 …")
    fork_says(lab, offered, "200 OK", "first", 50000)
    first = lab.p.sees("SIP/2.0 200 OK")
    fork_says(lab, offered, "200 OK", "second", 52000)
    second = lab.p.sees("SIP/2.0 200 OK")
    assert media(second) == media(first)
    dialogs = [Dialog.of_caller(each) for each in (first, second)]
    for dialog in dialogs:
        lab.p.send(dialog.request("ACK"), to=dialog.next_hop)
        lab.m.sees(f"ACK {M} SIP/2.0")
    hang_up(lab, lab.p, dialogs[1], lab.m)
    (inside,) = media(first)
    assert lab.relayed("10.0.0.10:40000", inside) == [f"{media(offered)[0]} > 203.0.113.60:50000"]
    hang_up(lab, lab.p, dialogs[0], lab.m)
    lab.advance(0)
    assert lab.media_ports() == set()


def test_an_answer_after_the_proxy_has_given_up(lab):
    """The 200 that comes after our 408 opens no ports for a call that is over."""
    registered(lab)
    lab.p.send(invite(M, body=SDP.audio("10.0.0.10", 40000)))
    offered = lab.m.sees(f"INVITE {M} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    lab.m.send(answer(offered, "180 Ringing"))
    lab.p.sees("SIP/2.0 180 …")
    lab.advance(230)
    lab.p.sees("SIP/2.0 408 …")
    lab.m.forget()
    lab.m.send(answer(offered, "200 OK", f"Contact: <{M}>", body=SDP.audio("203.0.113.60", 50000)))
    lab.p.forget()
    assert lab.media_ports() == set()


def test_a_late_copy_of_an_offer_in_a_response(lab):
    """A copy of the 200 that made the offer, behind the BYE, opens no ports."""
    registered(lab)
    lab.p.send(invite(M, body=""))
    offered = lab.m.sees(f"INVITE {M} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    final = answer(offered, "200 OK", f"Contact: <{M}>", body=SDP.audio("203.0.113.60", 50000))
    lab.m.send(final)
    seen = lab.p.sees("SIP/2.0 200 OK")
    dialog = Dialog.of_caller(seen)
    ack = dialog.request("ACK", body=SDP.audio("10.0.0.10", 40000))
    lab.p.send(ack, to=dialog.next_hop)
    lab.m.sees(f"ACK {M} SIP/2.0")
    hang_up(lab, lab.p, dialog, lab.m)
    lab.advance(0)
    lab.m.send(final)
    assert lab.p.sees("SIP/2.0 200 OK").body == seen.body
    lab.advance(0)
    assert lab.media_ports() == set()


@pytest.mark.parametrize("direction", ["", "a=inactive"])
def test_a_description_outside_any_call(lab, direction):
    """OPTIONS or MESSAGE with a description, answered with one, is no call that keeps ports."""
    registered(lab)
    theirs = SDP.audio("203.0.113.51", 51000, extra=direction)
    lab.w.send(
        request("OPTIONS", "sip:alice@203.0.113.1", STRANGER, "Content-Type: application/sdp", body=theirs)
    )
    ping = lab.p.sees("OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(
        answer(
            ping,
            "200 OK",
            "Content-Type: application/sdp",
            body=SDP.audio("10.0.0.10", 40000, extra=direction),
        )
    )
    shown = lab.w.sees("SIP/2.0 200 OK")
    assert b"10.0.0.10" not in shown.body
    lab.advance(0)
    assert lab.media_ports() == set()


def test_a_thousand_streams(lab):
    """One INVITE cannot have all the ports: it is refused with 488, and others can call."""
    registered(lab)
    lines = "".join(f"m=audio {50000 + 2 * n} RTP/AVP 0\n" for n in range(1000))
    body = SDP.audio("203.0.113.51", 51000) + lines
    lab.w.send(invite("sip:alice@203.0.113.1", STRANGER, f"To: <sip:{ALICE}>", body=body))
    lab.w.sees("SIP/2.0 488 …")
    assert lab.media_ports() == set()
    call_to_m(lab)
    assert lab.service.relay.status()["not acceptable"] == 1
    lab.advance(40)
    lab.w.forget()
