# SPDX-License-Identifier: MIT
"""A REGISTER that is repeated has the same effect as one that is read anew, and costs less."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy import refreshes
from siproxd_tw.proxy import registrar as module
from tests.support.messages import values
from tests.support.office import Office, P, Q

HERE, OURS = "<sip:alice@10.0.0.10:5062>", "<sip:alice@203.0.113.1>"


@pytest.fixture
def office() -> Office:
    return Office()


@pytest.fixture
def readings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses of record of the REGISTERs that were read in full."""
    found: list[str] = []
    read = module.read

    def noted(request, *args, **more):  # type: ignore[no-untyped-def]
        found.append(request.to.uri_text.decode())
        return read(request, *args, **more)

    monkeypatch.setattr(module, "read", noted)
    return found


def test_a_refresh_is_not_read_again(office: Office, readings: list[str]) -> None:
    """It is masked alike, lives as long as it is granted, and gets its own Contact back."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    office.now += 500
    again = office.register(HERE)
    assert again.contacts == [OURS]
    back = again.answered("200 OK", f"Contact: {OURS};expires=900")
    assert values(back, "Contact") == [f"{HERE};expires=900"]
    assert len(readings) == 1
    assert office.lifetimes() == [900]
    (binding,) = office.location
    assert (binding.since, binding.cseq) == (office.now, 2)
    office.now += 1000
    office.location.expire(office.now)
    assert office.lifetimes() == []


def test_what_it_asks_for_counts(office: Office, readings: list[str]) -> None:
    """The Expires header may be another one; zero ends the registration, and so does the registrar."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS}")
    office.register(HERE, "Expires: 120").answered("200 OK", f"Contact: {OURS}")
    assert office.lifetimes() == [120]
    office.register(HERE, "Expires: 0").answered("200 OK")
    assert office.lifetimes() == []
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=60")
    assert office.lifetimes() == [60]
    assert len(readings) == 2  # the one after its end was read again


@pytest.mark.parametrize("status", ["401 Unauthorized", "403 Forbidden", "423 Interval Too Brief"])
def test_a_refusal_changes_nothing(office: Office, status: str) -> None:
    """The registration lives on for the time that it had."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    office.register(HERE).answered(status)
    assert office.lifetimes() == [600]


@pytest.mark.parametrize(
    ("contact", "more"),
    [
        ("<sip:alice@10.0.0.10:5062>;q=0.5", {}),
        (HERE, {"source": Address("10.0.0.10", 5099)}),
        (HERE, {"host": "198.51.100.7"}),
        (HERE, {"transport": "tcp"}),
        (HERE, {"aor": "alice@sip.other.test"}),
        ("<sip:alice@10.0.0.10:5062>, <sip:alice@10.0.0.10:5064>", {}),
    ],
)
def test_anything_else_is_read(
    office: Office, readings: list[str], contact: str, more: dict[str, str]
) -> None:
    """Another Contact, way, address of ours, transport or user."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    office.register(contact, **more)  # type: ignore[arg-type]
    assert len(readings) == 2


def test_with_a_second_phone_each_is_read(office: Office, readings: list[str]) -> None:
    """Of several phones the one that registered last is to be the newest."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    second = office.register("<sip:alice@10.0.0.11>", source=Q)
    second.answered("200 OK", f"Contact: {second.contacts[0]};expires=600")
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    assert len(readings) == 3
    assert [b.source for b in office.location.of(next(iter(office.location)).aor, office.now)] == [Q, P]


def test_a_registrar_that_writes_contacts_in_its_own_way(office: Office) -> None:
    """What is not exactly what we have sent is compared in full."""
    office.register(HERE).answered("200 OK", f"Contact: {OURS};expires=600")
    back = office.register(HERE).answered("200 OK", "Contact: <sip:ALICE@203.0.113.1:5060>;expires=300")
    assert values(back, "Contact") == [f"{HERE};expires=300"]
    assert office.lifetimes() == [300]


def test_those_who_have_gone_are_forgotten(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """The table is not longer than the registrations, but for some."""
    monkeypatch.setattr(refreshes, "SPARE", 10)
    for number in range(50):
        office.register(f"<sip:u{number}@10.0.0.10>", aor=f"u{number}@sip.provider.test")
    assert len(office.registrar._refreshes) <= 12
