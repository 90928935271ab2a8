# SPDX-License-Identifier: MIT
"""The response context: which responses are passed on."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Address, Flow, Side
from siproxd_tw.proxy.context import ResponseContext
from siproxd_tw.sip.message import Request, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transaction import Timers
from siproxd_tw.sip.transactionlayer import ServerTransaction, input_for
from tests.support.messages import request, wire

FLOW = Flow(None, Address("10.0.0.10", 5062), Side.INSIDE)


def context(method: str, *answered: int) -> ResponseContext:
    """Return the context of a request that has been answered so."""
    asked = parse(wire(request(method, "sip:b@h", "Via: SIP/2.0/UDP h;branch=z9hG4bKa")))
    assert isinstance(asked, Request)
    server = ServerTransaction(asked, FLOW, FLOW, (), Timers(), False)
    for status in answered:
        server.advance(input_for(status), 0.0)
    return ResponseContext(server, asked, FLOW)


@pytest.mark.parametrize(
    ("method", "answered", "passed"),
    [
        ("INVITE", (), {180, 200, 486}),
        ("INVITE", (100, 180), {180, 200, 486}),
        ("INVITE", (180, 200), {180, 200}),
        ("OPTIONS", (), {180, 200, 486}),
        ("OPTIONS", (200,), set()),
        ("OPTIONS", (404,), set()),
    ],
)
def test_which_responses_are_passed_on(method: str, answered: tuple[int, ...], passed: set[int]) -> None:
    """All until a final one; after it the 2xx of an INVITE, again and of other forks (16.7 step 5)."""
    waiting = context(method, *answered)
    assert {
        status for status in (180, 200, 486) if waiting.best(response_to(waiting.request, status))
    } == passed


def test_what_a_context_begins_with() -> None:
    """The request as received, where it came from, and nothing done yet."""
    new = context("INVITE")
    assert new.method == "INVITE"
    assert (new.clients, new.cancelled, new.offer, new.registration) == ([], False, None, None)
    assert new.accepted_by == []
    assert context("INVITE") != new
