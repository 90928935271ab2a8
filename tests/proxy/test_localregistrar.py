# SPDX-License-Identifier: MIT
"""REGISTER answered as the registrar: section 10.3 of RFC 3261, told by answers and by what is bound."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Address, Refused
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
        "<sip:alice@10.0.0.10:5062;line=x>;q=0.5;expires=500",
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


def test_what_repeats_itself_is_not_saved_again(office: Office) -> None:
    """A query, and the end of what never was."""
    office.answer("", "Contact", aor=FOO)
    office.answer("<sip:a@10.0.0.10>;expires=0", aor=FOO)
    assert office.changes == 0


# order (10.3 steps 6 and 7)


def in_order(number: int) -> tuple[str, str]:
    return "Call-ID: c1", f"CSeq: {number} REGISTER"


@pytest.mark.parametrize(
    "late",
    [
        ("<sip:a@10.0.0.10>",),
        ("<sip:a@10.0.0.10>;expires=0",),
        ("<sip:new@10.0.0.12>, <sip:a@10.0.0.10>",),
        ("*", "Expires: 0"),
    ],
)
def test_a_register_that_was_overtaken(office: Office, late: tuple[str, ...]) -> None:
    """500 that says why, and nothing has changed, also for its other contacts."""
    office.answer("<sip:a@10.0.0.10>", *in_order(5), aor=FOO)
    office.answer("<sip:b@10.0.0.11>", aor=FOO, source=Q)
    before = [(b, b.expires) for b in office.location]
    with pytest.raises(Refused) as caught:
        office.answer(*late, *in_order(4), aor=FOO)
    assert caught.value.status == 500
    assert caught.value.phrase == "REGISTER Older Than the Last One"
    assert [(b, b.expires) for b in office.location] == before
    assert office.changes == 2


def test_a_repeated_register_is_answered_alike(office: Office) -> None:
    """Same Call-ID and CSeq: the binding stays as it is, the seconds go on."""
    office.answer("<sip:a@10.0.0.10>;expires=600", *in_order(5), aor=FOO)
    office.now += 10
    response = office.answer("<sip:a@10.0.0.10>;expires=600", *in_order(5), aor=FOO)
    assert values(response, "Contact") == ["<sip:a@10.0.0.10>;expires=590"]
    assert values(response, "Expires") == ["600"]
    assert office.changes == 1


def test_order_is_that_of_one_call_id(office: Office) -> None:
    """After a restart the phone has another Call-ID and counts anew."""
    office.answer("<sip:a@10.0.0.10>", *in_order(50), aor=FOO)
    office.answer("<sip:a@10.0.0.10>;expires=60", "Call-ID: c2", "CSeq: 1 REGISTER", aor=FOO)
    assert office.lifetimes() == [60]
    office.answer("*", "Expires: 0", "Call-ID: c3", "CSeq: 1 REGISTER", aor=FOO)
    assert office.bound() == {}


def test_another_contact_of_the_same_call_id_has_an_order_of_its_own(office: Office) -> None:
    """What was refreshed later does not age the others."""
    office.answer("<sip:a@10.0.0.10>", *in_order(5), aor=FOO)
    office.answer("<sip:b@10.0.0.11>", *in_order(4), aor=FOO, source=Q)
    assert len(office.bound()) == 2


# seconds


@pytest.mark.parametrize("asked", ["1", "299"])
def test_too_few_seconds(asked: str) -> None:
    """423 with Min-Expires; the other contacts of the REGISTER are not bound either."""
    office = Office(RegistrarConfig(min_expires=300))
    with pytest.raises(Refused) as caught:
        office.answer(f"<sip:a@10.0.0.10>, <sip:b@10.0.0.11>;expires={asked}", aor=FOO)
    assert caught.value.status == 423
    assert list(caught.value.headers) == [b"Min-Expires: 300"]
    assert office.bound() == {}


def test_enough_seconds() -> None:
    """The least itself, and 0, which ends the binding; an hour is enough whatever is configured."""
    office = Office(RegistrarConfig(min_expires=300))
    office.answer("<sip:a@10.0.0.10>;expires=300", aor=FOO)
    assert office.lifetimes() == [300]
    office.answer("<sip:a@10.0.0.10>;expires=0", aor=FOO)
    assert office.bound() == {}
    strict = Office(RegistrarConfig(min_expires=7200))
    strict.answer("<sip:a@10.0.0.10>;expires=3600", aor=FOO)
    assert strict.lifetimes() == [3600]


@pytest.mark.parametrize("digits", ["86401", "4294967296", "9" * 5000])
def test_too_many_seconds(office: Office, digits: str) -> None:
    """The most that is configured is what is granted, and what the answer says."""
    response = office.answer(f"<sip:a@10.0.0.10>;expires={digits}", aor=FOO)
    assert office.lifetimes() == [86400]
    assert values(response, "Contact") == ["<sip:a@10.0.0.10>;expires=86400"]
    assert values(response, "Expires") == ["86400"]


def test_the_default_is_bounded_too() -> None:
    """Who asks for nothing gets no more than who asks for much."""
    office = Office(RegistrarConfig(default_expires=3600, max_expires=600))
    office.answer("<sip:a@10.0.0.10>", "Expires", aor=FOO)
    assert office.lifetimes() == [600]


# several phones


def test_three_phones_of_one_account(office: Office) -> None:
    """All are kept and listed, each with its own preference; who refreshes is the newest."""
    for number in (1, 2, 3):
        source = Address(f"10.0.0.1{number}", 5060)
        office.answer(f"<sip:a@{source.host}>;q=0.{number}", aor=FOO, source=source)
    response = office.answer("<sip:a@10.0.0.11>;q=1.0", aor=FOO, source=Address("10.0.0.11", 5060))
    assert values(response, "Contact") == [
        "<sip:a@10.0.0.12>;q=0.2;expires=3600",
        "<sip:a@10.0.0.13>;q=0.3;expires=3600",
        "<sip:a@10.0.0.11>;expires=3600",
    ]


@pytest.mark.parametrize(
    ("q", "listed"), [("0", ";q=0"), ("0.5", ";q=0.5"), ("0.125", ";q=0.125"), ("2", ""), ("x", "")]
)
def test_preferences(office: Office, q: str, listed: str) -> None:
    """As they were given; what is no qvalue is none."""
    response = office.answer(f"<sip:a@10.0.0.10>;q={q}", aor=FOO)
    assert values(response, "Contact") == [f"<sip:a@10.0.0.10>{listed};expires=3600"]


def test_there_is_an_end_to_contacts(office: Office) -> None:
    """The eleventh is refused with 403; the ten can refresh, and one may take another's place."""
    for number in range(10):
        office.answer(f"<sip:{number}@10.0.0.10>", aor=FOO)
    for contacts in ("<sip:x@10.0.0.10>", "<sip:1@10.0.0.10>, <sip:x@10.0.0.10>"):
        with pytest.raises(Refused) as caught:
            office.answer(contacts, aor=FOO)
        assert caught.value.status == 403
        assert caught.value.phrase == "Too Many Contacts, 10 at Most"
    office.answer("<sip:1@10.0.0.10>", aor=FOO)
    office.answer("<sip:1@10.0.0.10>;expires=0, <sip:x@10.0.0.10>", aor=FOO)
    office.answer("<sip:y@10.0.0.10>", aor="other@foo.test")
    assert len(office.bound(FOO)) == 10
    assert "sip:x@10.0.0.10" in office.bound(FOO)


# Path and outbound (RFC 3327, RFC 5626)


def test_path_is_kept_and_mirrored(office: Office) -> None:
    """In order, over lines and lists, also for a phone that does not say that it supports it."""
    path = ("Path: <sip:p2@10.0.0.6;lr;ob>, <sip:10.0.0.5;lr>;x=1", "Path: <sip:p0@10.0.0.4;lr>")
    response = office.answer("<sip:a@10.0.7.7>", *path, aor=FOO)
    (binding,) = office.location
    assert binding.path == (b"<sip:p2@10.0.0.6;lr;ob>", b"<sip:10.0.0.5;lr>", b"<sip:p0@10.0.0.4;lr>")
    assert values(response, "Path") == [line.removeprefix("Path: ") for line in path]
    office.answer("<sip:a@10.0.7.7>", aor=FOO)
    assert [b.path for b in office.location] == [()]


@pytest.mark.parametrize("path", ["Path: <sip:", "Path: <tel:1>", "Path: *"])
def test_a_path_that_is_none(office: Office, path: str) -> None:
    """400: requests for the phone could not be sent along it."""
    with pytest.raises(Refused) as caught:
        office.answer("<sip:a@10.0.0.10>", path, aor=FOO)
    assert caught.value.status == 400
    assert office.bound() == {}


def test_required_extensions(office: Office) -> None:
    """420 names what is not understood (8.2.2.3)."""
    office.answer("<sip:a@10.0.0.10>", "Require: Path, outbound", aor=FOO)
    with pytest.raises(Refused) as caught:
        office.answer("<sip:a@10.0.0.10>", "Require: path, gruu", "Require: x", aor=FOO)
    assert caught.value.status == 420
    assert list(caught.value.headers) == [b"Unsupported: gruu, x"]


OUTBOUND = '<sip:a@10.0.0.10>;reg-id=1;+sip.instance="<urn:uuid:1>"'


@pytest.mark.parametrize(
    ("transport", "contact", "headers", "expected"),
    [
        ("TCP", OUTBOUND, ("Supported: path, outbound",), ["outbound"]),
        ("WSS", OUTBOUND, ("Require: outbound",), ["outbound"]),
        ("UDP", OUTBOUND, ("Supported: outbound",), []),
        ("TCP", OUTBOUND, (), []),
        ("TCP", OUTBOUND.replace("reg-id=1", "x"), ("Supported: outbound",), []),
        ("TCP", OUTBOUND + ";expires=0", ("Supported: outbound",), []),
        ("TCP", OUTBOUND, ("Supported: outbound", "Via: SIP/2.0/TCP a;branch=z9hG4bKa, SIP/2.0/UDP b"), []),
    ],
)
def test_outbound_is_promised_where_it_is_kept(
    office: Office, transport: str, contact: str, headers: tuple[str, ...], expected: list[str]
) -> None:
    """For a connection of the phone's own, when it asks for that (RFC 5626 section 6)."""
    response = office.answer(contact, *headers, aor=FOO, transport=transport)
    assert values(response, "Require") == expected


def test_a_phone_with_outbound_comes_back_by_another_connection(office: Office) -> None:
    """Same instance and reg-id, whatever the Contact: the new flow replaces the old one, and is listed."""
    office.answer(OUTBOUND, "Supported: outbound", aor=FOO, transport="TCP")
    moved = OUTBOUND.replace("10.0.0.10", "10.0.0.99")
    source = Address("10.0.0.99", 40000)
    response = office.answer(moved, "Supported: outbound", aor=FOO, transport="TCP", source=source)
    assert values(response, "Contact") == [
        '<sip:a@10.0.0.99>;+sip.instance="<urn:uuid:1>";reg-id=1;expires=3600'
    ]
    (binding,) = office.location
    assert (binding.transport, binding.source) == ("TCP", source)


# whatever happens

_steps = st.tuples(st.integers(0, 2), st.integers(0, 4), st.sampled_from([0, 100, 3600]), st.booleans())


@given(st.lists(_steps, max_size=20))
def test_the_bindings_are_those_of_a_plain_table(steps: list[tuple[int, int, int, bool]]) -> None:
    """REGISTERs of three phones in any order, late ones among them: each has what its latest one says."""
    office = Office()
    table: dict[int, tuple[int, int]] = {}
    for phone, order, seconds, star in steps:
        headers = (f"Call-ID: {phone}", f"CSeq: {order} REGISTER")
        known = {number: entry for number, entry in table.items() if entry[1]}
        if star:
            late = phone in known and order < known[phone][0]
            contact, headers = "*", (*headers, "Expires: 0")
        else:
            late = phone in known and order < known[phone][0]
            contact = f"<sip:{phone}@10.0.0.1{phone}>;expires={seconds}"
        if late:
            with pytest.raises(Refused):
                office.answer(contact, *headers, aor=FOO, source=Address(f"10.0.0.1{phone}", 5060))
            continue
        response = office.answer(contact, *headers, aor=FOO, source=Address(f"10.0.0.1{phone}", 5060))
        if star:
            table.clear()
        elif phone not in known or order > known[phone][0]:
            table[phone] = (order, seconds)
        expected = {f"<sip:{n}@10.0.0.1{n}>;expires={e[1]}" for n, e in table.items() if e[1]}
        assert set(values(response, "Contact")) == expected
