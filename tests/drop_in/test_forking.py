# SPDX-License-Identifier: MIT
"""A call for an address of record with three phones: all ring, and one of them gets the call."""

from __future__ import annotations

import pytest

from tests.support.calls import hang_up, media, registered_here
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, request, values
from tests.support.networks import on

pytestmark = on("udp", "tcp", "udp-tls", "ipv4-ipv6")

TEAM = "team@foo.bar.test"
VIA = "Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKcall"
CAROL = ("From: <sip:carol@sip.other.test>;tag=w1", "Call-ID: call", VIA)
CANCEL = request("CANCEL", f"sip:{TEAM}", *CAROL)


class Ringing:
    """The phones of the team, and the INVITE as each of them got it."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        r = lab.party("R", "10.0.0.12", 5060)
        self.hosts = {lab.p: "10.0.0.10:5062", lab.q: "10.0.0.11:5060", r: "10.0.0.12:5060"}
        self.phones: list[Party] = list(self.hosts)
        for phone, host in self.hosts.items():
            registered_here(lab, phone, TEAM, f"<sip:team@{host}>")
        body = SDP.audio("203.0.113.51", 51000, user="carol")
        lab.w.send(invite(f"sip:{TEAM}", *CAROL, contact="<sip:carol@203.0.113.51>", body=body))
        lab.w.sees("SIP/2.0 100 …")
        self.invitations: dict[Party, Message] = {
            phone: phone.sees(f"INVITE sip:team@{host} SIP/2.0") for phone, host in self.hosts.items()
        }
        for phone in self.phones:
            self.says(phone, "180 Ringing")
            lab.w.sees(f"SIP/2.0 180 Ringing\nTo: <sip:{TEAM}>;tag={phone.name}")

    def says(self, phone: Party, status: str, **more: str) -> None:
        """Let a phone answer its INVITE."""
        contact = f"Contact: <sip:team@{self.hosts[phone]}>"
        phone.send(answer(self.invitations[phone], status, contact, tag=phone.name, **more))

    def accepts(self, phone: Party) -> Message:
        """Let a phone accept; return the 200 at the caller's."""
        body = SDP.audio(self.hosts[phone].partition(":")[0], 40000 + 2 * self.phones.index(phone))
        self.says(phone, "200 OK", body=body)
        return self.lab.w.sees(f"SIP/2.0 200 OK\nTo: <sip:{TEAM}>;tag={phone.name}")

    def is_cancelled(self, phone: Party) -> None:
        """Check that a phone is told to stop ringing, and let it."""
        host = self.hosts[phone]
        cancel = phone.sees(f"""
            CANCEL sip:team@{host} SIP/2.0
            Via: {values(self.invitations[phone], "Via")[0]}
            CSeq: 1 CANCEL
            """)
        phone.send(answer(cancel, "200 OK"))
        self.says(phone, "487 Request Terminated")
        phone.sees(f"ACK sip:team@{host} SIP/2.0")

    def refuses(self, phone: Party, status: str) -> None:
        """Let a phone refuse."""
        self.says(phone, status)
        phone.sees("ACK … SIP/2.0")


@pytest.fixture
def ringing(lab):
    """Let three phones ring."""
    return Ringing(lab)


def acknowledged(lab: Lab, refusal: Message) -> None:
    """Let W acknowledge a response that is no 2xx."""
    lab.w.send(request("ACK", f"sip:{TEAM}", *CAROL, f"To: {values(refusal, 'To')[0]}"))


def test_each_phone_has_a_branch_of_its_own(lab, ringing):
    """They are three transactions (RFC 3261 16.6 step 8) of one call, with one port for their media."""
    branches = {values(invitation, "Via")[0] for invitation in ringing.invitations.values()}
    assert len(branches) == 3
    assert len({media(invitation)[0] for invitation in ringing.invitations.values()}) == 1
    assert len({values(invitation, "Call-ID")[0] for invitation in ringing.invitations.values()}) == 1
    lab.w.send(CANCEL)
    for party in (*ringing.phones, lab.w):
        party.forget()


def test_one_answers(lab, ringing):
    """The others stop ringing, the caller hears of nobody else, and media is with the one who answered."""
    p, q, r = ringing.phones
    accepted = ringing.accepts(q)
    ringing.is_cancelled(p)
    ringing.is_cancelled(r)
    caller = Dialog.of_caller(accepted)
    lab.w.send(caller.request("ACK"), to=caller.next_hop)
    q.sees("ACK sip:team@10.0.0.11:5060 SIP/2.0")
    (inside,), (outside,) = media(ringing.invitations[q]), media(accepted)
    assert lab.relayed("203.0.113.51:51000", outside) == [f"{inside} > 10.0.0.11:40002"]
    assert lab.relayed("10.0.0.11:40002", inside) == [f"{outside} > 203.0.113.51:51000"]
    hang_up(lab, lab.w, caller, q)
    assert lab.media_ports() == set()


def test_one_is_busy(lab, ringing):
    """The others go on ringing, and the caller does not hear of it."""
    p, q, r = ringing.phones
    ringing.refuses(p, "486 Busy Here")
    lab.w.nothing()
    lab.advance(20)
    ringing.accepts(r)
    ringing.is_cancelled(q)
    p.nothing()


def test_all_are_busy(lab, ringing):
    """The caller gets one response when the last one has answered, and the ports are free."""
    p, q, r = ringing.phones
    for phone, status in ((p, "486 Busy Here"), (q, "480 Temporarily Unavailable"), (r, "486 Busy Here")):
        lab.w.nothing()
        ringing.refuses(phone, status)
    refusal = lab.w.receive()
    assert refusal.status in (480, 486)
    acknowledged(lab, refusal)
    assert lab.media_ports() == set()
    lab.advance(40)


def test_one_declines_for_all(lab, ringing):
    """A 603 ends it everywhere (RFC 3261 16.7 step 5)."""
    p, q, r = ringing.phones
    ringing.refuses(q, "603 Decline")
    ringing.is_cancelled(p)
    ringing.is_cancelled(r)
    acknowledged(lab, lab.w.sees("SIP/2.0 603 Decline"))
    assert lab.media_ports() == set()


def test_the_caller_gives_up(lab, ringing):
    """A CANCEL ends it everywhere, and the caller gets one 487."""
    lab.w.send(CANCEL)
    lab.w.sees("SIP/2.0 200 OK\nCSeq: 1 CANCEL")
    for phone in ringing.phones:
        ringing.is_cancelled(phone)
    acknowledged(lab, lab.w.sees("SIP/2.0 487 Request Terminated\nCSeq: 1 INVITE"))
    lab.advance(40)
    assert lab.media_ports() == set()


def test_two_answer_at_once(lab, ringing):
    """Both 200 reach the caller, who hangs up on one of them; media of the other goes on."""
    p, q, r = ringing.phones
    first = ringing.accepts(p)
    ringing.is_cancelled(r)
    q.sees("CANCEL … SIP/2.0")
    second = ringing.accepts(q)
    one, other = Dialog.of_caller(first), Dialog.of_caller(second)
    for dialog, phone in ((one, p), (other, q)):
        lab.w.send(dialog.request("ACK"), to=dialog.next_hop)
        phone.sees("ACK … SIP/2.0")
    hang_up(lab, lab.w, other, q)
    (inside,), (outside,) = media(ringing.invitations[p]), media(first)
    assert lab.relayed("203.0.113.51:51000", outside) == [f"{inside} > 10.0.0.10:40000"]
    hang_up(lab, lab.w, one, p)
    assert lab.media_ports() == set()


def test_early_media_of_one_and_the_answer_of_another(lab, ringing):
    """Whoever answers is heard, whoever played announcements before."""
    p, q, r = ringing.phones
    ringing.says(p, "183 Session Progress", body=SDP.audio("10.0.0.10", 40000))
    lab.w.sees("SIP/2.0 183 …")
    accepted = ringing.accepts(r)
    ringing.is_cancelled(p)
    ringing.is_cancelled(q)
    (inside,), (outside,) = media(ringing.invitations[r]), media(accepted)
    assert lab.relayed("203.0.113.51:51000", outside) == [f"{inside} > 10.0.0.12:40004"]


def test_one_phone_is_off(lab, ringing):
    """A phone that says nothing more does not keep the others from answering, nor the caller waiting."""
    p, q, r = ringing.phones
    ringing.refuses(p, "486 Busy Here")
    ringing.refuses(q, "486 Busy Here")
    lab.advance(200)  # timer C, and what comes of it
    r.sees("CANCEL … SIP/2.0")
    lab.advance(40)
    assert lab.w.receive().status in (408, 486, 487)
    lab.w.forget()
    r.forget()
    assert lab.media_ports() == set()
