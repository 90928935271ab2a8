# SPDX-License-Identifier: MIT
"""A registration and a dialog stay with their server until it fails."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Address, Destination, Hop
from siproxd_tw.proxy import affinity
from siproxd_tw.proxy.affinity import LIFE, Affinity
from siproxd_tw.sip.message import Request

PROVIDER = Destination("provider.test")
ONE = Hop("UDP", Address("203.0.113.50", 5060), "provider.test")
TWO = Hop("UDP", Address("203.0.113.51", 5060), "provider.test")


def request(method: str = "INVITE", call_id: str = "c1", user: str = "alice", to: str = "bob") -> Request:
    who = to if method != "REGISTER" else user
    return Request.build(
        method,
        b"sip:provider.test",
        [
            b"Via: SIP/2.0/UDP 10.0.0.10;branch=z9hG4bK1",
            f"From: <sip:{user}@provider.test>;tag=1".encode(),
            f"To: <sip:{who}@provider.test>".encode(),
            f"Call-ID: {call_id}".encode(),
            f"CSeq: 1 {method}".encode(),
        ],
    )


def test_nothing_is_known_at_first() -> None:
    """The DNS decides."""
    assert Affinity().find(request(), PROVIDER, 0) is None


def test_the_answer_to_a_challenge_goes_to_the_server_that_made_it() -> None:
    """By the Call-ID, also before anybody is registered."""
    kept = Affinity()
    kept.note(request("INVITE", "c1"), PROVIDER, TWO, 0)
    assert kept.find(request("INVITE", "c1"), PROVIDER, 1) == TWO
    assert kept.find(request("INVITE", "c2"), PROVIDER, 1) is None


def test_a_registration_binds_its_user() -> None:
    """Every later call of the user goes to the same server; other users' calls go where they like."""
    kept = Affinity()
    kept.note(request("REGISTER", "r1", "alice"), PROVIDER, TWO, 0)
    assert kept.find(request("INVITE", "c9", "alice"), PROVIDER, 1) == TWO
    assert kept.find(request("INVITE", "c8", "carol"), PROVIDER, 1) is None
    assert kept.find(request("INVITE", "c7", "alice"), Destination("other.test"), 1) is None


def test_a_call_binds_nobody_but_itself() -> None:
    """An INVITE that somebody answers says nothing about where its user is registered."""
    kept = Affinity()
    kept.note(request("INVITE", "c1", "alice"), PROVIDER, TWO, 0)
    assert kept.find(request("INVITE", "c2", "alice"), PROVIDER, 1) is None


def test_until_it_fails() -> None:
    """Only that server is forgotten: another one that was noted since stays."""
    kept = Affinity()
    kept.note(request("REGISTER", "r1"), PROVIDER, ONE, 0)
    kept.failed(request("INVITE", "c1"), PROVIDER, TWO)
    assert kept.find(request("INVITE", "c1"), PROVIDER, 1) == ONE
    kept.failed(request("INVITE", "c1"), PROVIDER, ONE)
    assert kept.find(request("INVITE", "c1"), PROVIDER, 1) is None


def test_it_is_forgotten_with_time() -> None:
    """Two hours after the last answer."""
    kept = Affinity()
    kept.note(request("REGISTER", "r1"), PROVIDER, ONE, 0)
    kept.note(request("INVITE", "c1"), PROVIDER, ONE, 10)
    assert kept.find(request("INVITE", "c1"), PROVIDER, LIFE + 10) == ONE
    assert kept.is_server("203.0.113.50")
    kept.expire(LIFE + 5)
    assert not kept.is_server("203.0.113.50")
    assert len(kept) == 1
    kept.expire(LIFE + 11)
    assert len(kept) == 0


def test_the_table_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """The oldest goes first; Call-IDs come from everybody."""
    monkeypatch.setattr(affinity, "MOST", 10)
    kept = Affinity()
    for number in range(50):
        kept.note(request("INVITE", f"c{number}"), PROVIDER, ONE, number)
    assert len(kept) == 10
    assert kept.find(request("INVITE", "c49"), PROVIDER, 50) == ONE
    assert kept.find(request("INVITE", "c1"), PROVIDER, 50) is None


def test_a_number_may_call() -> None:
    """A From without a SIP URI has its Call-ID only."""
    kept = Affinity()
    call = Request.build(
        "INVITE",
        b"sip:provider.test",
        [
            b"Via: SIP/2.0/UDP a;branch=z9hG4bK1",
            b"From: <tel:+49301234>;tag=1",
            b"To: <sip:b@c>",
            b"Call-ID: x",
            b"CSeq: 1 INVITE",
        ],
    )
    kept.note(call, PROVIDER, TWO, 0)
    assert kept.find(call, PROVIDER, 1) == TWO
