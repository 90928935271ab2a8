# SPDX-License-Identifier: MIT
"""The four transaction machines of RFC 3261 section 17, as RFC 6026 corrects them.

Rule 1: what decides a transition is in the tables below, and nowhere else; an input
that a table does not list in a state is ignored there.
Rule 2: nothing here reads a clock or a socket: `now` comes in, actions go out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from math import ceil

__all__ = [
    "INVITE_CLIENT",
    "INVITE_SERVER",
    "NON_INVITE_CLIENT",
    "NON_INVITE_SERVER",
    "Action",
    "Input",
    "Machine",
    "State",
    "Timers",
    "Transaction",
]


#: What lingers ends at whole tenths of a second: the end of a hundred is one awakening, not a hundred.
LINGER_STEPS = 10


class State(Enum):
    """The states of figures 5 to 8; ACCEPTED is that of RFC 6026 section 7."""

    # Members are the keys of the tables: Enum's own hash is a Python function and costs 0.2 us a time.
    __hash__ = object.__hash__

    CALLING = "Calling"
    TRYING = "Trying"
    PROCEEDING = "Proceeding"
    COMPLETED = "Completed"
    CONFIRMED = "Confirmed"
    ACCEPTED = "Accepted"
    TERMINATED = "Terminated"


class Input(Enum):
    """What can happen to a transaction."""

    __hash__ = object.__hash__

    REQUEST = "the request again"
    ACK = "ACK"
    PROVISIONAL = "1xx"
    SUCCESS = "2xx"
    FAILURE = "300-699"
    RETRANSMIT = "timer A, E or G"
    TIMEOUT = "timer B, F or H"
    LINGER_OVER = "timer D, I, J, K, L or M"
    TIMER_C = "timer C"
    TRANSPORT_ERROR = "transport error"


class Action(Enum):
    """What is to be done about it."""

    SEND = "send"
    """Send the message that this input carries."""
    RESEND = "send again"
    """Send the last message again, byte for byte."""
    SEND_ACK = "ACK"
    """Acknowledge a final response that is not a 2xx."""
    TO_USER = "to TU"
    """Hand the message to the transaction user."""
    FAIL = "inform TU"
    """Tell the transaction user that nothing more will come."""
    GIVE_UP_RINGING = "cancel"
    """Tell the transaction user that timer C is over (RFC 3261 16.8)."""


@dataclass(frozen=True, slots=True)
class Timers:
    """The values of RFC 3261 table 4, in seconds."""

    t1: float = 0.5
    """Round-trip time estimate."""
    t2: float = 4.0
    """Longest interval between retransmissions of non-INVITE requests and INVITE responses."""
    t4: float = 5.0
    """Longest time that a message stays in the network."""
    d: float = 32.0
    """Wait for response retransmissions; at least 32 s (17.1.1.2)."""
    c: float = 185.0
    """Ringing time that a proxy allows; more than 3 minutes (16.6 step 11)."""


S, E, A = State, Input, Action
Table = Mapping[tuple[State, Input], tuple[State, tuple[Action, ...]]]


@dataclass(frozen=True, slots=True)
class Machine:
    """One of the four machines: where it starts, its transitions, how long it lingers."""

    name: str
    start: State
    transitions: Table
    linger: Mapping[State, Callable[[Timers], float]]
    """Seconds to stay in a state after the work is done, on a transport that can lose messages."""
    linger_always: frozenset[State] = frozenset()
    """States whose linger holds on reliable transports too: several 2xx can still come."""


INVITE_CLIENT = Machine(  # RFC 3261 17.1.1, figure 5; RFC 6026 section 7.2, figure 3; timer C: 16.8
    "INVITE client",
    S.CALLING,
    {
        (S.CALLING, E.RETRANSMIT): (S.CALLING, (A.RESEND,)),
        (S.CALLING, E.TIMEOUT): (S.TERMINATED, (A.FAIL,)),
        (S.CALLING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.CALLING, E.PROVISIONAL): (S.PROCEEDING, (A.TO_USER,)),
        (S.CALLING, E.SUCCESS): (S.ACCEPTED, (A.TO_USER,)),
        (S.CALLING, E.FAILURE): (S.COMPLETED, (A.SEND_ACK, A.TO_USER)),
        (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.TO_USER,)),
        (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (A.TO_USER,)),
        (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.SEND_ACK, A.TO_USER)),
        (S.PROCEEDING, E.TIMER_C): (S.PROCEEDING, (A.GIVE_UP_RINGING,)),
        (S.PROCEEDING, E.TIMEOUT): (S.TERMINATED, (A.FAIL,)),  # 64*T1 after a CANCEL (9.1)
        (S.PROCEEDING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.FAILURE): (S.COMPLETED, (A.SEND_ACK,)),
        (S.COMPLETED, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.LINGER_OVER): (S.TERMINATED, ()),
        (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (A.TO_USER,)),
        (S.ACCEPTED, E.LINGER_OVER): (S.TERMINATED, ()),
    },
    {S.COMPLETED: lambda t: t.d, S.ACCEPTED: lambda t: 64 * t.t1},  # timers D and M
    frozenset({S.ACCEPTED}),
)

INVITE_SERVER = Machine(  # RFC 3261 17.2.1, figure 7; RFC 6026 section 7.1, figures 1 and 2
    "INVITE server",
    S.PROCEEDING,
    {
        (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (A.RESEND,)),
        (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
        (S.PROCEEDING, E.SUCCESS): (S.ACCEPTED, (A.SEND,)),
        (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.SEND,)),
        (S.PROCEEDING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.ACCEPTED, E.REQUEST): (S.ACCEPTED, ()),
        (S.ACCEPTED, E.SUCCESS): (S.ACCEPTED, (A.SEND,)),
        (S.ACCEPTED, E.ACK): (S.ACCEPTED, (A.TO_USER,)),
        (S.ACCEPTED, E.LINGER_OVER): (S.TERMINATED, ()),
        (S.COMPLETED, E.REQUEST): (S.COMPLETED, (A.RESEND,)),
        (S.COMPLETED, E.RETRANSMIT): (S.COMPLETED, (A.RESEND,)),
        (S.COMPLETED, E.TIMEOUT): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.ACK): (S.CONFIRMED, ()),
        (S.CONFIRMED, E.ACK): (S.CONFIRMED, ()),
        (S.CONFIRMED, E.REQUEST): (S.CONFIRMED, ()),
        (S.CONFIRMED, E.LINGER_OVER): (S.TERMINATED, ()),
    },
    {S.ACCEPTED: lambda t: 64 * t.t1, S.CONFIRMED: lambda t: t.t4},  # timers L and I
    frozenset({S.ACCEPTED}),
)

NON_INVITE_CLIENT = Machine(  # RFC 3261 17.1.2, figure 6
    "non-INVITE client",
    S.TRYING,
    {
        (S.TRYING, E.RETRANSMIT): (S.TRYING, (A.RESEND,)),
        (S.TRYING, E.TIMEOUT): (S.TERMINATED, (A.FAIL,)),
        (S.TRYING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (A.TO_USER,)),
        (S.TRYING, E.SUCCESS): (S.COMPLETED, (A.TO_USER,)),
        (S.TRYING, E.FAILURE): (S.COMPLETED, (A.TO_USER,)),
        (S.PROCEEDING, E.RETRANSMIT): (S.PROCEEDING, (A.RESEND,)),
        (S.PROCEEDING, E.TIMEOUT): (S.TERMINATED, (A.FAIL,)),
        (S.PROCEEDING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.TO_USER,)),
        (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (A.TO_USER,)),
        (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.TO_USER,)),
        (S.COMPLETED, E.LINGER_OVER): (S.TERMINATED, ()),
    },
    {S.COMPLETED: lambda t: t.t4},  # timer K
)

NON_INVITE_SERVER = Machine(  # RFC 3261 17.2.2, figure 8
    "non-INVITE server",
    S.TRYING,
    {
        (S.TRYING, E.REQUEST): (S.TRYING, ()),
        (S.TRYING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
        (S.TRYING, E.SUCCESS): (S.COMPLETED, (A.SEND,)),
        (S.TRYING, E.FAILURE): (S.COMPLETED, (A.SEND,)),
        (S.PROCEEDING, E.REQUEST): (S.PROCEEDING, (A.RESEND,)),
        (S.PROCEEDING, E.PROVISIONAL): (S.PROCEEDING, (A.SEND,)),
        (S.PROCEEDING, E.SUCCESS): (S.COMPLETED, (A.SEND,)),
        (S.PROCEEDING, E.FAILURE): (S.COMPLETED, (A.SEND,)),
        (S.PROCEEDING, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.REQUEST): (S.COMPLETED, (A.RESEND,)),
        (S.COMPLETED, E.TRANSPORT_ERROR): (S.TERMINATED, (A.FAIL,)),
        (S.COMPLETED, E.LINGER_OVER): (S.TERMINATED, ()),
    },
    {S.COMPLETED: lambda t: 64 * t.t1},  # timer J
)

_CLIENTS = (INVITE_CLIENT, NON_INVITE_CLIENT)


class Transaction:
    """One transaction: a machine, its state, and the deadlines that run in it."""

    __slots__ = ("_interval", "deadlines", "machine", "reliable", "scheduled", "settled", "state", "timers")

    def __init__(self, machine: Machine, timers: Timers, reliable: bool) -> None:
        self.machine = machine
        self.state = machine.start
        self.timers = timers
        self.reliable = reliable
        self.deadlines: dict[Input, float] = {}
        self.scheduled = float("inf")
        """When the transaction layer will look at the deadlines next."""
        self.settled = False
        """Whether the transaction layer counts it among those that only absorb what is sent again."""
        self._interval = 0.0

    def start(self, now: float) -> None:
        """Arm the timers of the initial state: A and B, E and F, or none for a server."""
        if self.machine in _CLIENTS:
            self.deadlines[E.TIMEOUT] = now + 64 * self.timers.t1
            self._retransmit_after(self.timers.t1, now)

    def let_go(self) -> None:
        """Release what is kept for others: it is over."""

    def advance(self, happened: Input, now: float) -> tuple[Action, ...]:
        """Make the transition for `happened` and return what it asks for.

        Each provisional response to an INVITE starts timer C anew (16.7 step 2).
        """
        try:
            state, actions = self.machine.transitions[self.state, happened]
        except KeyError:
            return ()
        if happened is E.RETRANSMIT:
            self._retransmit_again(now)
        if happened is E.PROVISIONAL and self.machine is INVITE_CLIENT:
            self.deadlines[E.TIMER_C] = now + self.timers.c
        if state is not self.state:
            self._enter(state, now)
        return actions

    def due(self, now: float) -> list[Input]:
        """Take out and return the timers that are over, earliest first."""
        late = sorted((at, i.name, i) for i, at in self.deadlines.items() if at <= now)
        for _, _, i in late:
            del self.deadlines[i]
        return [i for _, _, i in late]

    def deadline(self) -> float | None:
        """Return when `due` will next have something to say."""
        return min(self.deadlines.values()) if self.deadlines else None

    def _retransmit_after(self, interval: float, now: float) -> None:
        if not self.reliable:
            self._interval = interval
            self.deadlines[E.RETRANSMIT] = now + interval

    def _retransmit_again(self, now: float) -> None:
        """Double the interval: A without end (17.1.1.2), E and G up to T2 (17.1.2.2, 17.2.1)."""
        if self.machine is INVITE_CLIENT:
            interval = self._interval * 2
        elif self.machine is NON_INVITE_CLIENT and self.state is S.PROCEEDING:
            interval = self.timers.t2
        else:
            interval = min(self._interval * 2, self.timers.t2)
        self._retransmit_after(interval, now)

    def _enter(self, state: State, now: float) -> None:
        self.state = state
        if state is S.PROCEEDING and self.machine is NON_INVITE_CLIENT:
            return  # timers E and F keep running (17.1.2.2)
        timer_c = self.deadlines.get(E.TIMER_C) if state is S.PROCEEDING else None
        self.deadlines.clear()
        if timer_c is not None:
            self.deadlines[E.TIMER_C] = timer_c
        linger = self.machine.linger.get(state)
        if linger is not None and (not self.reliable or state in self.machine.linger_always):
            self.deadlines[E.LINGER_OVER] = ceil((now + linger(self.timers)) * LINGER_STEPS) / LINGER_STEPS
        elif linger is not None:
            self.state = S.TERMINATED
        elif state is S.COMPLETED:  # the INVITE server: timers H and G
            self.deadlines[E.TIMEOUT] = now + 64 * self.timers.t1
            self._retransmit_after(self.timers.t1, now)
