# SPDX-License-Identifier: MIT
"""The two kinds of transaction: which machine a request starts, and what is left of it at its end."""

from __future__ import annotations

import pytest

from siproxd_tw.sip.events import ClientTransaction, ServerTransaction
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Machine,
    State,
    Timers,
)


def asked(method: str) -> Request:
    via = b"Via: SIP/2.0/UDP h;branch=z9hG4bKa"
    order = b"CSeq: 1 " + method.encode()
    return Request.build(
        method, b"sip:b@h", [via, b"From: <sip:a@h>;tag=1", b"To: <sip:b@h>", b"Call-ID: c", order]
    )


@pytest.mark.parametrize(
    ("method", "server", "client"),
    [
        ("INVITE", INVITE_SERVER, INVITE_CLIENT),
        ("BYE", NON_INVITE_SERVER, NON_INVITE_CLIENT),
        ("CANCEL", NON_INVITE_SERVER, NON_INVITE_CLIENT),
    ],
)
def test_the_method_decides(method: str, server: Machine, client: Machine) -> None:
    """An INVITE has machines of its own (17.1, 17.2)."""
    assert ServerTransaction(asked(method), "flow", "reply", (), Timers(), False).machine is server
    assert ClientTransaction(asked(method), "flow", (), Timers(), False, None).machine is client


@pytest.mark.parametrize(
    ("state", "answered"),
    [(State.TRYING, False), (State.PROCEEDING, False), (State.COMPLETED, True), (State.ACCEPTED, True)],
)
def test_a_final_response_is_an_answer(state: State, answered: bool) -> None:
    """A provisional one is none."""
    transaction = ServerTransaction(asked("INVITE"), "flow", "reply", (), Timers(), False)
    transaction.state = state
    assert transaction.answered == answered


def test_what_is_let_go() -> None:
    """The request and the user; whoever has an end() hears of it, once."""

    class User:
        ended = 0

        def end(self) -> None:
            self.ended += 1

    user, request = User(), asked("BYE")
    server = ServerTransaction(request, "flow", "reply", (), Timers(), False)
    server.user = user
    client = ClientTransaction(request, "flow", (), Timers(), False, user)
    assert client.last == bytes(request)
    for transaction in (server, client):
        transaction.let_go()
        transaction.let_go()
        assert transaction.user is None
        assert transaction.request is not request
    assert client.last == b""
    assert user.ended == 1
