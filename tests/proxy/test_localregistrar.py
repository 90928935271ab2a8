# SPDX-License-Identifier: MIT
"""REGISTER answered as the registrar: section 10.3 of RFC 3261, told by answers and by what is bound."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Refused
from siproxd_tw.proxy.location import GRACE
from tests.support.messages import values
from tests.support.office import Office, Q

FOO = "alice@foo.test"


@pytest.fixture
def office() -> Office:
    return Office()


def test_the_200_lists_the_bindings(office: Office) -> None:
    """With the seconds that are left, each byte of the Contact URI and a To tag (10.3 step 8)."""
    office.answer("<sip:alice@10.0.0.10:5062;line=x>;q=0.5", "Expires: 600", aor="alice@foo.test")
    office.now += 100
    response = office.answer("<sip:alice@10.0.0.11>", aor="alice@foo.test", source=Q)
    assert response.status == 200
    assert response.to_tag == b"tag"
    assert values(response, "Contact") == [
        "<sip:alice@10.0.0.10:5062;line=x>;expires=500",
        "<sip:alice@10.0.0.11>;expires=3600",
    ]
    assert values(response, "Expires") == ["3600"]
    assert values(response, "Record-Route") == []


def test_the_mask_of_who_registers_here_is_the_address_of_record(office: Office) -> None:
    """Unless `mask_host` shows another domain; a second phone has a token."""
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    office.answer("<sip:a@10.0.0.11>", aor="alice@foo.test", source=Q)
    masks = list(office.bound().values())
    assert masks[0] == "sip:alice@foo.test"
    assert masks[1].startswith("sip:alice~")
    masked = Office(RegistrarConfig(masks=(("foo.test", "public.test"),)))
    masked.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    masked.answer("<sip:b@10.0.0.10>", aor="bob@other.test")
    assert list(masked.bound().values()) == ["sip:alice@public.test", "sip:bob@other.test"]


def test_a_query_here(office: Office) -> None:
    """Without Contact the bindings are listed and nothing changes; nobody there is an empty list."""
    assert values(office.answer("", "Contact", aor="alice@foo.test"), "Contact") == []
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    response = office.answer("", "Contact", "Expires", aor="alice@foo.test")
    assert values(response, "Contact") == ["<sip:a@10.0.0.10>;expires=3600"]
    assert values(response, "Expires") == []
    office.now += 3600 + GRACE / 2
    assert values(office.answer("", "Contact", aor="alice@foo.test"), "Contact") == []
    assert len(office.location) == 1


def test_unregister_here(office: Office) -> None:
    """expires=0 ends the binding at once; a stranger's is no error."""
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    office.answer("<sip:a@10.0.0.11>", aor="alice@foo.test", source=Q)
    response = office.answer("<sip:a@10.0.0.10>;expires=0", aor="alice@foo.test")
    assert values(response, "Contact") == ["<sip:a@10.0.0.11>;expires=3600"]
    assert values(office.answer("<sip:x@10.0.0.10>", "Expires: 0", aor="x@foo.test"), "Contact") == []


def test_star_here(office: Office) -> None:
    """`Contact: *` with Expires 0 ends them all."""
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    office.answer("<sip:a@10.0.0.11>", aor="alice@foo.test", source=Q)
    office.answer("<sip:b@10.0.0.10>", aor="bob@foo.test")
    assert values(office.answer("*", "Expires: 0", aor="alice@foo.test"), "Contact") == []
    assert list(office.bound()) == ["sip:b@10.0.0.10"]


@pytest.mark.parametrize(
    "headers",
    [("Expires: 3600",), ("Expires",), ("Expires: 0", "Contact: *", "Contact: <sip:a@10.0.0.10>")],
)
def test_star_that_is_wrong(office: Office, headers: tuple[str, ...]) -> None:
    """400 when it says anything but "remove all" (10.3 step 6), and nothing is removed."""
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    with pytest.raises(Refused) as caught:
        office.answer("*", *headers, aor="alice@foo.test")
    assert caught.value.status == 400
    assert len(office.bound()) == 1


def test_several_contacts_here(office: Office) -> None:
    """All of them are bound and listed."""
    response = office.answer("<sip:a@10.0.0.10:5062>, <sip:b@10.0.0.10:5070>", aor="alice@foo.test")
    assert values(response, "Contact") == [
        "<sip:a@10.0.0.10:5062>;expires=3600",
        "<sip:b@10.0.0.10:5070>;expires=3600",
    ]


def test_every_change_here_is_saved(office: Office) -> None:
    """Whoever keeps the file is told."""
    office.answer("<sip:a@10.0.0.10>", aor="alice@foo.test")
    office.answer("<sip:a@10.0.0.10>;expires=0", aor="alice@foo.test")
    assert office.changes == 2
