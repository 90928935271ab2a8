# SPDX-License-Identifier: MIT
"""Bad input from both sides during a call: the proxy counts it and drops it, and the call goes on."""

from __future__ import annotations

import contextlib
import socket
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from tests.network.baresip import Call
from tests.network.bed import INSIDE, OUTSIDE, Bed
from tests.network.gateway import SIP_PORT, Gateway
from tests.network.hostile import Hostile, hostile
from tests.network.namespaces import Host

pytestmark = pytest.mark.network

BATCH = 20
"""Datagrams between two questions whether the proxy is still there; its socket buffer holds far more."""

AUDIBLE = 0.9
"""The share of the time during which the other has to be heard; what is not yet in the file is not heard."""

PING = (
    b"OPTIONS sip:%(proxy)s SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP %(own)s;rport;branch=z9hG4bKping%(number)d\r\n"
    b"Max-Forwards: 70\r\n"
    b"From: <sip:ping@%(own)s>;tag=1\r\n"
    b"To: <sip:%(proxy)s>\r\n"
    b"Call-ID: ping%(number)d@%(own)s\r\n"
    b"CSeq: %(number)d OPTIONS\r\n"
    b"Content-Length: 0\r\n"
    b"\r\n"
)


def batches(datagrams: list[Hostile]) -> Iterator[list[Hostile]]:
    """Split into groups that the socket buffer of the proxy holds: many short ones, or one long one."""
    batch: list[Hostile] = []
    for each in datagrams:
        batch.append(each)
        if len(batch) == BATCH or len(each.data) > 2000:
            yield batch
            batch = []
    yield batch


def attack(gateway: Gateway, host: Host, proxy: str, datagrams: list[Hostile], evidence: Path) -> None:
    """Send everything from `host`; after each batch the proxy answers, and has not complained."""
    start = gateway.program.size()
    with host.udp_socket() as sender:
        for number, batch in enumerate(batches(datagrams), 1):
            for each in batch:
                sender.sendto(each.data, (proxy, SIP_PORT))
            answered = answers(sender, host.address, proxy, number)
            complaints = gateway.complaints(start)
            if not answered or complaints:
                for place, each in enumerate(batch):
                    (evidence / f"batch-{place:02}.dat").write_bytes(each.data)
                verdict = "\n".join(complaints) or "no answer within two seconds"
                sent = "\n".join(f"{len(each.data):5} bytes: {each.what}" for each in batch)
                pytest.fail(f"{verdict}\nafter these, kept in {evidence}:\n{sent}", pytrace=False)


def answers(asker: socket.socket, own: str, proxy: str, number: int) -> bool:
    """Return whether the proxy answers OPTIONS, whatever else it answers meanwhile."""
    ping = PING % {b"proxy": proxy.encode(), b"own": own.encode(), b"number": number}
    asker.sendto(ping, (proxy, SIP_PORT))
    deadline = time.monotonic() + 2
    with contextlib.suppress(TimeoutError):
        while time.monotonic() < deadline:
            answer = asker.recv(65535)
            if answer.startswith(b"SIP/2.0 ") and b"Call-ID: ping%d@" % number in answer:
                return True
    return False


def counters(status: Mapping[str, object], prefix: str = "") -> dict[str, int]:
    """Return every number in what the proxy says of itself, by its path."""
    found: dict[str, int] = {}
    for name, value in status.items():
        if isinstance(value, Mapping):
            found |= counters(value, f"{prefix}{name}/")
        elif isinstance(value, int):
            found[f"{prefix}{name}"] = value
    return found


def difference(before: Mapping[str, object], after: Mapping[str, object]) -> dict[str, int]:
    """Return by how much each counter has grown."""
    old = counters(before)
    return {path: number - old.get(path, 0) for path, number in counters(after).items()}


def test_a_call_survives_bad_input_from_both_sides(bed: Bed, directory: Path) -> None:
    """Two phones talk while strangers on either side send what no proxy should see."""
    datagrams = hostile()
    call = Call(bed.alice, bed.bob)
    call.talk(1)
    before = bed.gateway.status()
    begun = {phone: call.recording(phone).seconds for phone in call.phones}
    start = time.monotonic()
    attack(bed.gateway, bed.hosts.guest, f"{INSIDE}1", datagrams, directory)
    attack(bed.gateway, bed.hosts.stranger, f"{OUTSIDE}1", datagrams, directory)
    lasted = time.monotonic() - start
    meanwhile = {phone: call.recording(phone).since(begun[phone]) for phone in call.phones}
    grown = difference(before, bed.gateway.status())

    for phone in call.phones:
        heard = meanwhile[phone].heard(call.peer(phone).tone)
        assert heard >= AUDIBLE * lasted, f"{phone.user} hears {heard:.1f} of {lasted:.1f} s"
    assert call.running()
    call.talk(1)
    call.hang_up(bed.bob)

    assert grown["signalling/received"] >= 2 * len(datagrams), "every one of them arrived"
    malformed = {path: number for path, number in grown.items() if "malformed" in path and number}
    assert len(malformed) >= 8, f"the counters say why: {malformed}"
    beyond_doubt = sum(each.never_sip for each in datagrams)
    assert sum(malformed.values()) >= 2 * beyond_doubt, f"the counters say how many: {malformed}"


def test_after_bad_input_a_new_call_works(bed: Bed, directory: Path) -> None:
    """What has been sent leaves nothing behind that is in the way of others."""
    invalid = [each for each in hostile() if each.what.startswith("invalid")]
    attack(bed.gateway, bed.hosts.guest, f"{INSIDE}1", invalid, directory)
    attack(bed.gateway, bed.hosts.stranger, f"{OUTSIDE}1", invalid, directory)
    for caller, callee in ((bed.alice, bed.carol), (bed.bob, bed.alice)):
        call = Call(caller, callee)
        call.talk(1)
        call.hang_up(callee)


def test_a_proxy_under_attack_keeps_what_it_knows(bed: Bed) -> None:
    """Nobody's registration was lost or moved, at the provider or here."""
    contacts = bed.provider.contacts()
    assert all(len(contacts[user]) == 1 for user in ("alice", "bob", "carol"))
    assert bed.gateway.status()["registrations"] >= 2
