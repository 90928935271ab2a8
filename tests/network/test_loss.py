# SPDX-License-Identifier: MIT
"""Two hundred calls while the network loses 30 % of all datagrams on both sides of the proxy, each way.

A message that goes through the proxy has half a chance to arrive, and one that is answered a quarter. So
retransmissions do the work: the proxy's own on each side of it, and for 2xx and ACK those of the phones.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.network.bed import INSIDE, OUTSIDE, Topology
from tests.network.endpoint import NO_RESPONSE, Call, Endpoint, State
from tests.network.gateway import Gateway
from tests.network.kamailio import Provider
from tests.network.loss import Loss
from tests.network.namespaces import Network
from tests.network.programs import until

pytestmark = [pytest.mark.network, pytest.mark.timeout(180)]

CALLS = 200
RATE = 40
"""Calls begun in a second."""
LOST = 30
"""Percent."""
KINDS = ("caller", "callee", "cancel", "busy", "caller")
"""Who hangs up; who does not take the call. The Call-ID begins with it, so that the callee knows as well."""
LONGEST = 75.0
"""Seconds: an INVITE that comes through with its last retransmission, a 200 whose ACKs are all lost, and its
BYE (each of them 64*T1); the rest is for the calls' beginning and for a slow machine."""
LINGER = 45.0
"""Seconds for which the proxy may have transactions after that: the longest timers have 32 s (B, F, H, J)."""
SET_UP = 0.9
"""The share of the calls meant to be set up that is, at least. Without a mistake it is 99 %."""

PATIENCE = 15.0
"""Seconds after which a callee who is not meant to takes the call all the same."""
ENDED = (State.OVER, State.FAILED)


def kind_of(call: Call) -> str:
    return call.call_id.partition("-")[0]


async def taking(call: Call) -> None:
    """What the callee does."""
    kind = kind_of(call)
    if kind == "busy":
        call.refuse(486)
        return
    call.ring()
    await asyncio.sleep(PATIENCE if kind == "cancel" else 0.3)
    if call.state is State.RINGING and await call.take() and kind == "callee":
        await end(call)


async def making(call: Call) -> None:
    """What the caller does."""
    dialled = asyncio.ensure_future(call.dial())
    await asyncio.wait([dialled], timeout=2 if kind_of(call) == "cancel" else 32)
    if not dialled.done():
        call.cancel()
    if await dialled // 100 == 2 and kind_of(call) != "callee":
        await end(call)


async def end(call: Call) -> None:
    """Talk for a second and hang up."""
    await asyncio.sleep(1)
    if call.state is State.UP:
        await call.hang_up()


class Calls:
    """All calls of the test, made, over, and looked at from all three sides."""

    def __init__(self, network: Network, directory: Path) -> None:
        self.hosts = hosts = Topology(network)
        provider = Provider(hosts.provider, directory / "kamailio", challenge_invite=False)
        self.gateway = Gateway(hosts.gateway, ("in0", "out0"), f"{INSIDE}0/24", directory / "siproxd")
        self.made: list[Call] = []
        self.taken: list[Call] = []
        self.counted = (0, 0)
        outside = f"{OUTSIDE}1"
        self.loss = Loss(LOST, {hosts.gateway: "", hosts.guest: "", provider.host: outside})

    async def run(self) -> None:
        """Make them all, in both directions, and wait for what is the end of each by the rules."""
        dave = Endpoint("dave", self.hosts.guest, self.hosts.gateway.address, taking)
        erin = Endpoint("erin", self.hosts.stranger, self.hosts.provider.address, taking)
        async with dave, erin:
            assert (await dave.register(), await erin.register()) == (200, 200)
            with self.loss:
                await self._call(dave, erin)
                self.counted = self.loss.counted()
            await asyncio.to_thread(until, self.nothing_left, LINGER, "the proxy has no transactions", 0.5)
        self.taken = [call for user in (dave, erin) for call in user.calls.values() if call not in self.made]

    async def _call(self, *users: Endpoint) -> None:
        for number in range(CALLS):
            caller, callee = users[number % 2], users[1 - number % 2]
            call = caller.call(callee.user, KINDS[number // 2 % len(KINDS)])
            self.made.append(call)
            caller.background(making(call))
            await asyncio.sleep(1 / RATE)
        ended = asyncio.get_running_loop().time() + LONGEST
        while running := {task for user in users for task in user.tasks}:
            done, _ = await asyncio.wait(running, timeout=1, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()
            if asyncio.get_running_loop().time() > ended:
                left = [call for user in users for call in user.calls.values() if call.state not in ENDED]
                raise AssertionError(f"{len(running)} tasks of calls do not end, {left}")

    def nothing_left(self) -> bool:
        """Whether all transactions of the proxy are over."""
        return not self.gateway.status()["signalling"]["transactions"]


@pytest.fixture(scope="module")
def calls(network: Network, directory: Path) -> Iterator[Calls]:
    """All calls of the test, over; the proxy ends as it should."""
    calls = Calls(network, directory)
    asyncio.run(calls.run())
    yield calls
    calls.gateway.ends()


def test_the_network_has_lost_what_it_should(calls: Calls) -> None:
    """Otherwise the rest says nothing."""
    came, lost = calls.counted
    print(f"{lost} of {came} lost")
    assert came > 10 * CALLS
    assert lost / came == pytest.approx(LOST / 100, abs=0.04)


def test_every_call_is_set_up_or_refused(calls: Calls) -> None:
    """Each caller knows what came of the call; nearly all that were meant to be set up are."""
    assert len(calls.made) == CALLS
    found = Counter((kind_of(call), call.status) for call in calls.made)
    print(found)
    meant = sum(kind_of(call) in ("caller", "callee") for call in calls.made)
    assert found["caller", 200] + found["callee", 200] >= SET_UP * meant, found
    assert found["busy", 486] >= SET_UP * sum(kind_of(call) == "busy" for call in calls.made), found
    assert {status for _, status in found} <= {200, 408, 486, 487, NO_RESPONSE}, found


def test_no_phone_rings_on(calls: Calls) -> None:
    """Each call that reached a callee has ended there, and if the caller gave up, then by that.

    It takes a response to the INVITE before the CANCEL may be sent: that one in a hundred has none
    within `PATIENCE` is the network's doing, and such a call is taken and hung up.
    """
    assert [call for call in calls.taken + calls.made if call.state not in ENDED] == []
    assert sum(call.rang for call in calls.taken) > CALLS / 2
    given_up = {call.call_id for call in calls.made if call.status == 487}
    rang = [call for call in calls.taken if call.rang and kind_of(call) == "cancel"]
    assert [call for call in rang if call.call_id in given_up and call.status != 487] == []
    cancelled = sum(call.status == 487 for call in rang)
    print(f"{cancelled} of {len(rang)} cancelled")
    assert cancelled >= SET_UP * len(rang)


def test_the_proxy_keeps_nothing(calls: Calls) -> None:
    """No transaction, which has been waited for, no media port, no dialog; and it had no error."""
    calls.gateway.wait_quiet()
    until(lambda: not calls.gateway.status()["proxy"]["dialogs"], LINGER, "all dialogs are forgotten", 0.5)
    assert "internal errors" not in calls.gateway.status()["proxy"]
    assert calls.gateway.complaints() == []
