# SPDX-License-Identifier: MIT
"""Real phones call each other through the proxy, and hear each other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.network.baresip import Call
from tests.network.bed import INSIDE, OUTSIDE, Bed
from tests.network.capture import Capture, Datagram, leaks

pytestmark = pytest.mark.network


@pytest.fixture
def wire(bed: Bed, request: pytest.FixtureRequest) -> Iterator[Capture]:
    """What goes over the outside wire during the test; afterwards no inside address was among it."""
    with bed.capture(request.node.name) as capture:
        yield capture
    assert {b"INVITE", b"200", b"BYE"} <= what(capture.messages()), "the call went over this wire"
    sent = [each for each in capture.messages() if each.source == f"{OUTSIDE}1"]
    shown = [line for each in sent for line in leaks(each.data, INSIDE)]
    assert shown == [], "inside addresses seen outside"


@pytest.fixture(autouse=True)
def ports_return(bed: Bed) -> Iterator[None]:
    """Every call begins and ends with all media ports in the pool."""
    bed.gateway.wait_quiet()
    yield
    bed.gateway.wait_quiet()


def what(messages: list[Datagram]) -> set[bytes]:
    """Return the methods and status codes of `messages`."""
    words = (each.data.split(maxsplit=2) for each in messages)
    return {second if first == b"SIP/2.0" else first for first, second, _ in words}


def test_phones_inside_are_registered_at_the_gateways_address(bed: Bed) -> None:
    """The provider knows nothing but the outside address of the gateway."""
    contacts = bed.provider.contacts()
    assert set(contacts) == {"alice", "bob", "carol"}
    for user in ("alice", "carol"):
        assert [uri.partition("@")[2].split(":")[0].split(";")[0] for uri in contacts[user]] == [
            f"{OUTSIDE}1"
        ]


def test_inside_calls_outside_and_the_caller_hangs_up(bed: Bed, wire: Capture) -> None:
    """Alice calls Bob; each hears the other and not themselves; Alice's BYE ends it for both."""
    call = Call(bed.alice, bed.bob)
    assert bed.gateway.media_ports(), "the proxy relays the media"
    call.talk()
    call.hang_up(bed.alice)


def test_outside_calls_inside_and_the_callee_hangs_up(bed: Bed, wire: Capture) -> None:
    """Bob calls Alice; it is the called phone inside that sends the BYE."""
    call = Call(bed.bob, bed.alice)
    call.talk()
    call.hang_up(bed.alice)


def test_inside_calls_outside_and_the_far_callee_hangs_up(bed: Bed, wire: Capture) -> None:
    """Alice calls Bob again; the BYE comes from outside and finds the phone behind the gateway."""
    call = Call(bed.alice, bed.bob)
    call.talk(1)
    call.hang_up(bed.bob)


def test_inside_calls_inside_by_way_of_the_provider(bed: Bed, wire: Capture) -> None:
    """Alice calls Carol: the request goes out to the registrar and comes back, the media stays inside."""
    before = bed.provider.program.size()
    call = Call(bed.alice, bed.carol)
    call.talk()
    call.hang_up(bed.carol)
    assert [line for line in bed.provider.requests("INVITE", before) if "to=sip:carol@" in line]


def test_one_phone_calls_again_as_if_nothing_had_been(bed: Bed, wire: Capture) -> None:
    """Carol and Bob, who have both been in calls before, talk after one another in both directions."""
    for caller, callee in ((bed.carol, bed.bob), (bed.bob, bed.carol)):
        call = Call(caller, callee)
        call.talk(1)
        call.hang_up(caller)


def test_a_phone_that_is_not_registered_is_not_found(bed: Bed) -> None:
    """The provider's 404 reaches the caller, and no media port stays behind."""
    since = bed.alice.now()
    bed.alice.dial("sip:nobody@example.test")
    assert "404" in bed.alice.wait_event("CALL_CLOSED", since)["param"]
