# SPDX-License-Identifier: MIT
"""The response context: what a request on its way begins with, and what it waits for."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Side
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.sip.transaction import State
from siproxd_tw.sip.transactionlayer import input_for
from tests.support.rewriting import PHONE, PROVIDER, branch_of


@pytest.fixture
def branch() -> Branch:
    return branch_of(PHONE, PROVIDER)


def test_what_a_context_begins_with(branch: Branch) -> None:
    """The request as received, where it came from, and nothing done yet."""
    request = branch.context.request
    new = ResponseContext(request, PHONE, request.copy(), request.call_id)
    assert new.method == "INVITE"
    assert (new.branches, new.targets, new.offers, new.cancelled) == ([], [], {}, False)
    assert (new.accepted_by, new.registration, new.server) == ([], None, None)
    assert new != ResponseContext(request, PHONE, request.copy(), request.call_id)


@pytest.mark.parametrize(("status", "answered"), [(100, False), (180, False), (200, True), (486, True)])
def test_a_final_response_is_an_answer(branch: Branch, status: int, answered: bool) -> None:
    """And a provisional one is none."""
    context = branch.context
    assert context.server is not None
    context.server.advance(input_for(status), 0.0)
    assert context.answered == answered
    assert context.accepted == (status == 200)
    assert context.may_go_on != answered


def test_what_may_still_come(branch: Branch) -> None:
    """The branches that are not over."""
    context = branch.context
    assert branch.side is Side.OUTSIDE
    assert context.pending == [branch]
    branch.over = True
    assert context.pending == []


def test_the_end(branch: Branch) -> None:
    """The circle of references is broken; whatever comes now is too late."""
    context = branch.context
    assert context.server is not None
    context.server.state = State.TERMINATED
    context.end()
    assert context.branches == []
    assert context.server is None
    assert context.answered
