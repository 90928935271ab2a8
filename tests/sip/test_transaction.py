# SPDX-License-Identifier: MIT
"""The four machines: their timelines, and that their tables are complete."""

from __future__ import annotations

from itertools import product

import pytest

from siproxd_tw.sip.transaction import (
    INVITE_CLIENT,
    INVITE_SERVER,
    NON_INVITE_CLIENT,
    NON_INVITE_SERVER,
    Action,
    Input,
    Machine,
    State,
    Timers,
    Transaction,
)

MACHINES = [INVITE_CLIENT, INVITE_SERVER, NON_INVITE_CLIENT, NON_INVITE_SERVER]
#: All sequences of up to three inputs.
PATHS = [path for length in range(4) for path in product(Input, repeat=length)]


def started(machine: Machine, *, reliable: bool = False) -> Transaction:
    transaction = Transaction(machine, Timers(), reliable)
    transaction.start(0.0)
    return transaction


def run(transaction: Transaction, until: float) -> list[tuple[float, Input, tuple[Action, ...]]]:
    """Let time pass and return what the timers did, with their times."""
    happened = []
    while (at := transaction.deadline()) is not None and at <= until:
        happened += [(at, timer, transaction.advance(timer, at)) for timer in transaction.due(at)]
    return happened


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_every_state_leads_to_the_end(machine: Machine) -> None:
    """From each state of a table Terminated can be reached, and nothing leaves it."""
    leads = {(a, b) for (a, _), (b, _) in machine.transitions.items()}
    ends = {State.TERMINATED}
    for _ in State:
        ends |= {a for a, b in leads if b in ends}
    assert {a for a, _ in leads} | {machine.start} <= ends
    assert State.TERMINATED not in {a for a, _ in leads}


def test_invite_client_on_udp() -> None:
    """Timer A doubles without a ceiling, timer B ends it after 64*T1 (17.1.1.2)."""
    events = run(started(INVITE_CLIENT), 100)
    assert [at for at, timer, _ in events if timer is Input.RETRANSMIT] == [0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert events[-1] == (32.0, Input.TIMEOUT, (Action.FAIL,))


def test_non_invite_client_on_udp() -> None:
    """Timer E doubles up to T2, timer F ends it after 64*T1 (17.1.2.2)."""
    events = run(started(NON_INVITE_CLIENT), 100)
    assert [at for at, *_ in events] == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5, 32.0]


def test_non_invite_client_slows_down_when_a_provisional_response_is_there() -> None:
    """In Proceeding the interval is T2 from the next retransmission on, and F goes on."""
    transaction = started(NON_INVITE_CLIENT)
    assert transaction.advance(Input.PROVISIONAL, 0.1) == (Action.TO_USER,)
    assert [at for at, *_ in run(transaction, 100)] == [0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5, 32.0]


def test_a_reliable_transport_needs_no_retransmission() -> None:
    """Timers A and E stay off (17.1.1.2, 17.1.2.2); B and F do not."""
    for machine in (INVITE_CLIENT, NON_INVITE_CLIENT):
        assert run(started(machine, reliable=True), 100) == [(32.0, Input.TIMEOUT, (Action.FAIL,))]


def test_invite_client_rings() -> None:
    """180 stops A and B; timer C runs from the last provisional response (16.8)."""
    transaction = started(INVITE_CLIENT)
    transaction.advance(Input.PROVISIONAL, 1.0)
    transaction.advance(Input.PROVISIONAL, 60.0)
    assert run(transaction, 244.9) == []
    assert run(transaction, 245.0) == [(245.0, Input.TIMER_C, (Action.GIVE_UP_RINGING,))]


def test_invite_client_passes_every_2xx_until_timer_m() -> None:
    """RFC 6026 section 7.2: forked calls answer several times."""
    transaction = started(INVITE_CLIENT)
    assert transaction.advance(Input.SUCCESS, 1.0) == (Action.TO_USER,)
    assert transaction.advance(Input.SUCCESS, 20.0) == (Action.TO_USER,)
    assert run(transaction, 100) == [(33.0, Input.LINGER_OVER, ())]
    assert transaction.state is State.TERMINATED


def test_invite_client_acknowledges_each_copy_of_a_failure() -> None:
    """The TU sees the 486 once, each retransmission is acknowledged, timer D ends it."""
    transaction = started(INVITE_CLIENT)
    assert transaction.advance(Input.FAILURE, 1.0) == (Action.SEND_ACK, Action.TO_USER)
    assert transaction.advance(Input.FAILURE, 2.0) == (Action.SEND_ACK,)
    assert run(transaction, 100) == [(33.0, Input.LINGER_OVER, ())]


def test_invite_server_repeats_a_failure_until_the_ack() -> None:
    """Timer G doubles up to T2; ACK stops it, timer I absorbs what is still under way."""
    transaction = started(INVITE_SERVER)
    assert transaction.advance(Input.FAILURE, 0.0) == (Action.SEND,)
    assert [at for at, *_ in run(transaction, 8)] == [0.5, 1.5, 3.5, 7.5]
    assert transaction.advance(Input.ACK, 8.0) == ()
    assert transaction.advance(Input.ACK, 9.0) == ()
    assert run(transaction, 100) == [(13.0, Input.LINGER_OVER, ())]


def test_invite_server_without_an_ack_fails() -> None:
    """Timer H: 64*T1 after the failure response (17.2.1)."""
    transaction = started(INVITE_SERVER)
    transaction.advance(Input.FAILURE, 0.0)
    assert run(transaction, 100)[-1] == (32.0, Input.TIMEOUT, (Action.FAIL,))


def test_invite_server_answers_a_retransmission_as_before() -> None:
    """Proceeding and Completed repeat the last response; Accepted is silent (RFC 6026 7.1)."""
    transaction = started(INVITE_SERVER)
    transaction.advance(Input.PROVISIONAL, 0.0)
    assert transaction.advance(Input.REQUEST, 0.1) == (Action.RESEND,)
    transaction.advance(Input.SUCCESS, 0.2)
    assert transaction.advance(Input.REQUEST, 0.3) == ()
    assert transaction.advance(Input.ACK, 0.4) == (Action.TO_USER,)


def test_non_invite_server_remembers_its_answer_for_timer_j() -> None:
    """Trying is silent, afterwards the last response is repeated for 64*T1 (17.2.2)."""
    transaction = started(NON_INVITE_SERVER)
    assert transaction.advance(Input.REQUEST, 0.0) == ()
    transaction.advance(Input.SUCCESS, 1.0)
    assert transaction.advance(Input.REQUEST, 2.0) == (Action.RESEND,)
    assert run(transaction, 100) == [(33.0, Input.LINGER_OVER, ())]


@pytest.mark.parametrize("machine", [NON_INVITE_CLIENT, NON_INVITE_SERVER], ids=lambda m: m.name)
def test_nothing_lingers_on_a_reliable_transport(machine: Machine) -> None:
    """Timers J and K are zero there."""
    transaction = started(machine, reliable=True)
    transaction.advance(Input.SUCCESS, 1.0)
    assert transaction.state is State.TERMINATED


@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_what_a_table_does_not_list_changes_nothing(machine: Machine) -> None:
    """An input that has no row in a state leaves state and deadlines as they are."""
    for state in State:
        for happened in Input:
            if (state, happened) in machine.transitions:
                continue
            transaction = started(machine)
            transaction.state = state
            before = dict(transaction.deadlines)
            assert transaction.advance(happened, 1.0) == ()
            assert (transaction.state, transaction.deadlines) == (state, before)


@pytest.mark.parametrize("reliable", [False, True])
@pytest.mark.parametrize("machine", MACHINES, ids=lambda m: m.name)
def test_each_timer_that_is_armed_has_a_row(machine: Machine, reliable: bool) -> None:
    """Whatever path leads to a state, its table knows every timer that runs there."""
    for path in PATHS:
        transaction = started(machine, reliable=reliable)
        for happened in path:
            transaction.advance(happened, 1.0)
        for timer in transaction.deadlines:
            assert (transaction.state, timer) in machine.transitions, (path, timer)
