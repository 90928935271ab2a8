# SPDX-License-Identifier: MIT
"""What is remembered of the dialogs that phones are in."""

from __future__ import annotations

from siproxd_tw.interfaces import Address, Flow, Side
from siproxd_tw.proxy.dialogs import EARLY, LIFE, LINGER, Dialogs

FLOW = Flow(None, Address("10.0.0.10", 5062), Side.INSIDE)
CONTACT = b"sip:alice@10.0.0.10:5062;line=%37F"


def contact_of(dialogs: Dialogs, call_id: bytes, tag: bytes, now: float) -> bytes | None:
    party = dialogs.find(call_id, tag, now)
    return None if party is None else party.contact


def test_the_contact_of_a_dialog_is_kept_byte_for_byte() -> None:
    """By Call-ID and the phone's tag; the other party of the call is another one."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    party = dialogs.find(b"c1", b"a1", 1.0)
    assert party is not None
    assert (party.contact, party.flow) == (CONTACT, FLOW)
    assert contact_of(dialogs, b"c1", b"b1", 1.0) is None
    assert contact_of(dialogs, b"c2", b"a1", 1.0) is None


def test_a_target_refresh_replaces_the_contact() -> None:
    """The last Contact counts (RFC 3261 12.2); each dialog has its own."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    dialogs.remember(b"c2", b"a1", CONTACT, FLOW, 0.0)
    dialogs.remember(b"c1", b"a1", b"sip:new@10.0.0.10", FLOW, 5.0)
    assert contact_of(dialogs, b"c1", b"a1", 6.0) == b"sip:new@10.0.0.10"
    assert contact_of(dialogs, b"c2", b"a1", 6.0) == CONTACT
    assert len(dialogs) == 2


def test_a_dialog_that_is_used_lives_on() -> None:
    """Every request that asks for it starts its life anew: a call may last for days."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    for day in range(1, 5):
        now = day * (LIFE - 60)
        dialogs.expire(now)
        assert contact_of(dialogs, b"c1", b"a1", now) == CONTACT


def test_a_dialog_that_is_never_used_is_forgotten() -> None:
    """Nothing that phones leave behind stays for ever."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    dialogs.expire(LIFE)
    assert len(dialogs) == 1
    assert contact_of(dialogs, b"c1", b"a1", LIFE + 1) is None
    dialogs.expire(LIFE + 1)
    assert len(dialogs) == 0


def test_after_its_end_a_dialog_lingers_for_retransmissions() -> None:
    """For 64*T1 it is found, and being found does not prolong that."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    dialogs.remember(b"c1", b"other", CONTACT, FLOW, 0.0)
    dialogs.ended(b"c1", (b"b1", b"a1"), 100.0)
    assert contact_of(dialogs, b"c1", b"a1", 100.0) == CONTACT
    assert contact_of(dialogs, b"c1", b"a1", 100.0 + LINGER) == CONTACT
    assert contact_of(dialogs, b"c1", b"a1", 101.0 + LINGER) is None
    dialogs.expire(101.0 + LINGER)
    assert contact_of(dialogs, b"c1", b"other", 101.0 + LINGER) == CONTACT
    assert len(dialogs) == 1


def test_a_second_end_does_not_bring_it_back() -> None:
    """BYE from both sides: the first one counts."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    dialogs.ended(b"c1", (b"a1", b"b1"), 100.0)
    dialogs.ended(b"c1", (b"a1", b"b1"), 120.0)
    assert contact_of(dialogs, b"c1", b"a1", 101.0 + LINGER) is None


def test_a_2xx_that_comes_again_after_the_bye_does_not_bring_it_back() -> None:
    """The callee repeats it until there is an ACK, which may be lost several times."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"b1", CONTACT, FLOW, 0.0, 200)
    dialogs.ended(b"c1", (b"a1", b"b1"), 100.0)
    dialogs.remember(b"c1", b"b1", CONTACT, FLOW, 101.0, 200)
    assert contact_of(dialogs, b"c1", b"b1", 101.0 + LINGER) is None


def test_an_invite_with_credentials_begins_anew() -> None:
    """Its Call-ID and tag are those of the one that was challenged and is over (RFC 3261 22.2)."""
    dialogs = Dialogs()
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 0.0)
    dialogs.ended(b"c1", (b"a1", b"b1"), 1.0)
    dialogs.remember(b"c1", b"a1", CONTACT, FLOW, 2.0)
    assert contact_of(dialogs, b"c1", b"a1", LIFE) == CONTACT


def test_a_phone_that_only_rang_is_forgotten_soon() -> None:
    """Nobody may ever say that its dialog is over; one that has taken the call stays, whatever comes late."""
    dialogs = Dialogs()
    for tag in (b"b1", b"b2"):
        dialogs.remember(b"c1", tag, CONTACT, FLOW, 0.0, 180)
    assert contact_of(dialogs, b"c1", b"b1", EARLY) == CONTACT
    dialogs.remember(b"c1", b"b2", CONTACT, FLOW, 9.0, 200)
    dialogs.remember(b"c1", b"b2", CONTACT, FLOW, 10.0, 180)
    assert contact_of(dialogs, b"c1", b"b1", 2 * EARLY + 1) is None
    assert contact_of(dialogs, b"c1", b"b2", LIFE) == CONTACT
