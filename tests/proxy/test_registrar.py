# SPDX-License-Identifier: MIT
"""REGISTER passed on to a registrar outside, told by what is bound afterwards."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Address, Refused, Side
from tests.support.addresses import in_front_of_nat
from tests.support.messages import values
from tests.support.office import Office, Q


@pytest.fixture
def office() -> Office:
    return Office()


# passing on


def test_the_contact_becomes_ours(office: Office) -> None:
    """User of the address of record at our outside address; display name and parameters stay."""
    sent = office.register('"Alice" <sip:7@10.0.0.10:5062;line=x>;expires=600;q=0.5')
    assert sent.contacts == ['"Alice" <sip:alice@203.0.113.1>;expires=600;q=0.5']


def test_the_contact_on_another_port_and_behind_a_router() -> None:
    """A port of ours other than 5060 is written; `host_outbound` is what the provider is told."""
    office = Office(addresses=in_front_of_nat("198.51.100.7"), port=5070)
    assert office.register("<sip:alice@10.0.0.10>").contacts == ["<sip:alice@198.51.100.7:5070>"]


def test_nothing_of_the_to_uri_but_its_user_is_in_the_mask(office: Office) -> None:
    """Port, password and parameters of the account stay behind; the user keeps its escapes."""
    sent = office.register("<sip:a@10.0.0.10>", "To: <sip:al%69ce:pw@sip.provider.test:5080;transport=udp>")
    assert sent.contacts == ["<sip:al%69ce@203.0.113.1>"]


def test_a_binding_begins_with_the_2xx(office: Office) -> None:
    """Not with the request, not with a provisional response, and it is saved."""
    sent = office.register("<sip:alice@10.0.0.10:5062;line=x>")
    assert office.bound() == {}
    sent.answered("100 Trying")
    assert office.bound() == {}
    assert office.changes == 0
    sent.answered("200 OK", "Contact: <sip:alice@203.0.113.1>;expires=120")
    assert office.bound() == {"sip:alice@10.0.0.10:5062;line=x": "sip:alice@203.0.113.1"}
    assert office.lifetimes() == [120]
    assert office.changes == 1


@pytest.mark.parametrize(
    "status", ["301 Moved", "401 Unauthorized", "403 Forbidden", "423 Too Brief", "503 Busy"]
)
def test_a_refusal_binds_nothing_and_ends_nothing(office: Office, status: str) -> None:
    """A stranger stays one, and who is registered stays registered."""
    sent = office.register("<sip:alice@10.0.0.10>")
    sent.answered(status, "Contact: <sip:alice@203.0.113.1>;expires=120")
    assert office.bound() == {}
    office.register("<sip:alice@10.0.0.10>").answered()
    office.register("<sip:alice@10.0.0.10>", "Expires: 0").answered(status)
    assert list(office.bound()) == ["sip:alice@10.0.0.10"]


@pytest.mark.parametrize(
    ("granted", "seconds"),
    [
        (("Contact: <sip:alice@203.0.113.1>;expires=400", "Expires: 500"), 400),
        (("Contact: <sip:alice@203.0.113.1>;EXPIRES=400",), 400),
        (("Contact: <sip:alice@203.0.113.1>", "Expires: 500"), 500),
        (("Contact: <sip:x@203.0.113.1>;expires=1, <sip:alice@203.0.113.1>;expires=300",), 300),
        (("Contact: <sip:alice@198.51.100.9>;expires=300",), 3600),
        (("Contact: <sip:alice@203.0.113.1>;expires=soon",), 3600),
        ((), 3600),
    ],
)
def test_the_lifetime_is_what_the_registrar_says(
    office: Office, granted: tuple[str, ...], seconds: int
) -> None:
    """Of our own Contact, else of the header, else what was asked for (10.2.4)."""
    office.register("<sip:alice@10.0.0.10>").answered("200 OK", *granted)
    assert office.lifetimes() == [seconds]


@pytest.mark.parametrize(
    ("asked", "seconds"),
    [
        (("<sip:alice@10.0.0.10>;expires=60", "Expires: 90"), 60),
        (("<sip:alice@10.0.0.10>", "Expires: 90"), 90),
        (("<sip:alice@10.0.0.10>", "Expires"), 1800),
        (("<sip:alice@10.0.0.10>", "Expires: -1"), 1800),
        (("<sip:alice@10.0.0.10>;expires=never", "Expires: 90"), 90),
    ],
)
def test_what_is_asked_for(asked: tuple[str, ...], seconds: int) -> None:
    """Parameter, header, `default_expires`; what is no number does not count."""
    office = Office(RegistrarConfig(default_expires=1800))
    office.register(*asked).answered()
    assert office.lifetimes() == [seconds]


@pytest.mark.parametrize("digits", ["4294967296", "99999999999", "9" * 400, "9" * 5000])
def test_a_lifetime_beyond_all_numbers(office: Office, digits: str) -> None:
    """It is 2**32-1 seconds (RFC 3261 20.19), whoever names it."""
    longest = 2**32 - 1
    office.register("<sip:alice@10.0.0.10>", f"Expires: {digits}").answered()
    office.register("<sip:bob@10.0.0.11>", aor="bob@sip.provider.test").answered(
        "200 OK", f"Contact: <sip:bob@203.0.113.1>;expires={digits}"
    )
    office.answer(f"<sip:carol@10.0.0.12>;expires={digits}", aor="carol@foo.test")
    assert office.lifetimes() == [longest] * 3


def test_leading_zeros(office: Office) -> None:
    """Digits are digits."""
    office.register("<sip:alice@10.0.0.10>", f"Expires: {'0' * 50}60").answered()
    assert office.lifetimes() == [60]


def test_the_phone_gets_its_contact_back(office: Office) -> None:
    """Byte for byte, in lines and lists; foreign bindings keep their place, also with our user."""
    sent = office.register("<sip:alice@10.0.0.10:5062;line=7F%41>")
    response = sent.answered(
        "200 OK",
        "Contact: <sip:alice@198.51.100.9>;expires=5, <sip:alice@203.0.113.1>;expires=120",
        "Contact: <sip:alice@203.0.113.1>;q=0.1",
        "m: <tel:+4930>",
    )
    assert values(response, "Contact") == [
        "<sip:alice@198.51.100.9>;expires=5, <sip:alice@10.0.0.10:5062;line=7F%41>;expires=120",
        "<sip:alice@10.0.0.10:5062;line=7F%41>;q=0.1",
        "<tel:+4930>",
    ]


def test_a_contact_without_brackets_gets_them(office: Office) -> None:
    """Else the parameters of the phone's URI would become those of the header (section 20)."""
    sent = office.register("<sip:alice@10.0.0.10:5062;line=x>")
    response = sent.answered("200 OK", "Contact: sip:alice@203.0.113.1;expires=120")
    assert values(response, "Contact") == ["<sip:alice@10.0.0.10:5062;line=x>;expires=120"]


def test_commas_in_users_do_not_confuse(office: Office) -> None:
    """A user may hold commas (19.1.1): each binding of a list becomes its own again."""
    phones = [f"sip:a,{n}@10.0.0.1{n};x=1" for n in range(4)]
    masks = []
    for n, phone in enumerate(phones):
        sent = office.register(
            f"<{phone}>", source=Address(f"10.0.0.1{n}", 5060), aor="a,b@sip.provider.test"
        )
        masks += sent.contacts
        response = sent.answered("200 OK", "Contact: " + ", ".join(f"{mask};expires=60" for mask in masks))
    assert values(response, "Contact") == [", ".join(f"<{phone}>;expires=60" for phone in phones)]


def test_a_refusal_shows_the_phone_its_own_contact_too(office: Office) -> None:
    """Some registrars list the bindings in a refusal."""
    response = office.register("<sip:alice@10.0.0.10>").answered("403 No", "Contact: <sip:alice@203.0.113.1>")
    assert values(response, "Contact") == ["<sip:alice@10.0.0.10>"]


def test_unregister_ends_the_binding(office: Office) -> None:
    """With the 200, and the phone sees its own Contact if the registrar still names it."""
    office.register("<sip:alice@10.0.0.10>").answered()
    response = office.register("<sip:alice@10.0.0.10>;expires=0").answered(
        "200 OK", "Contact: <sip:alice@203.0.113.1>;expires=0"
    )
    assert office.bound() == {}
    assert values(response, "Contact") == ["<sip:alice@10.0.0.10>;expires=0"]


def test_unregister_counts_even_if_the_registrar_names_a_lifetime(office: Office) -> None:
    """The phone has gone; what the registrar still lists does not bring it back."""
    office.register("<sip:alice@10.0.0.10>").answered()
    office.register("<sip:alice@10.0.0.10>", "Expires: 0").answered("200 OK", "Expires: 600")
    assert office.bound() == {}


def test_star_ends_what_the_account_has(office: Office) -> None:
    """`Contact: *` passes as it is; its 200 ends the bindings of this address of record and no others."""
    office.register("<sip:alice@10.0.0.10>").answered()
    office.register("<sip:bob@10.0.0.10>", aor="bob@sip.provider.test").answered()
    sent = office.register("*", "Expires: 0")
    assert sent.contacts == ["*"]
    sent.answered("401 Unauthorized")
    assert len(office.bound()) == 2
    office.register("*", "Expires: 0").answered()
    assert list(office.bound()) == ["sip:bob@10.0.0.10"]


def test_a_query_changes_nothing(office: Office) -> None:
    """No Contact, no change; the phone sees its own Contact in the answer."""
    office.register("<sip:alice@10.0.0.10;x=1>").answered()
    response = office.register("", "Contact").answered("200 OK", "Contact: <sip:alice@203.0.113.1>")
    assert values(response, "Contact") == ["<sip:alice@10.0.0.10;x=1>"]
    assert len(office.bound()) == 1


def test_a_phone_that_comes_back_with_another_port_is_the_same_phone(office: Office) -> None:
    """After its restart it has one binding, the new one, under the mask that the provider knows."""
    office.register("<sip:alice@10.0.0.10:5062>").answered()
    office.register("<sip:alice@10.0.0.10:7777>", source=Address("10.0.0.10", 7777)).answered()
    assert office.bound() == {"sip:alice@10.0.0.10:7777": "sip:alice@203.0.113.1"}


def test_a_phone_that_moves_takes_its_old_contact_back(office: Office) -> None:
    """New Contact and old one with expires=0 in one REGISTER, in any order: the new one is bound."""
    old, new = "<sip:alice@10.0.0.10:5062;ob>", "<sip:alice@10.0.0.77:5062;ob>"
    for contacts in (f"{new};expires=300, {old};expires=0", f"{old};expires=0, {new};expires=300"):
        office.register(f"{old};expires=300").answered()
        office.register(contacts).answered()
        assert list(office.bound()) == ["sip:alice@10.0.0.77:5062;ob"]
        office.register("*", "Expires: 0").answered()


def test_several_contacts_in_one_register(office: Office) -> None:
    """Each is bound and has a mask of its own; a refresh of both keeps both."""
    for _ in range(2):
        sent = office.register("<sip:alice@10.0.0.10:5062>, <sip:alice2@10.0.0.10:5070>;expires=60")
        masks = [uri.strip("<>").split(">")[0] for uri in sent.contacts[0].split(", ")]
        sent.answered()
        assert office.bound() == dict(
            zip(["sip:alice@10.0.0.10:5062", "sip:alice2@10.0.0.10:5070"], masks, strict=True)
        )
        assert len(set(masks)) == 2


# the same user twice


def test_same_user_at_two_providers(office: Office) -> None:
    """The second phone gets a token; both keep their mask at every refresh."""
    for _ in range(2):
        office.register("<sip:100@10.0.0.10>", aor="100@sip.provider.test").answered()
        office.register("<sip:100@10.0.0.11>", aor="100@sip.other.test", source=Q).answered()
    bound = office.bound()
    assert bound["sip:100@10.0.0.10"] == "sip:100@203.0.113.1"
    assert bound["sip:100@10.0.0.11"].startswith("sip:100~")
    assert len(office.location) == 2


def test_three_phones_on_one_account(office: Office) -> None:
    """Three bindings with three masks; one that leaves leaves the others alone."""
    sources = [Address(f"10.0.0.1{n}", 5060) for n in range(3)]
    for source in sources:
        office.register(f"<sip:alice@{source.host}>", source=source).answered()
    assert len(set(office.bound().values())) == 3
    office.register("<sip:alice@10.0.0.11>", "Expires: 0", source=sources[1]).answered()
    assert sorted(office.bound()) == ["sip:alice@10.0.0.10", "sip:alice@10.0.0.12"]


def test_two_lines_on_one_device(office: Office) -> None:
    """Two accounts of one phone are two bindings."""
    office.register("<sip:line@10.0.0.10;line=1>", aor="alice@sip.provider.test").answered()
    office.register("<sip:line@10.0.0.10;line=2>", aor="bob@sip.provider.test").answered()
    assert office.bound() == {
        "sip:line@10.0.0.10;line=1": "sip:alice@203.0.113.1",
        "sip:line@10.0.0.10;line=2": "sip:bob@203.0.113.1",
    }


@pytest.mark.parametrize("user", ["alice", "al%69ce"])
def test_two_registers_at_the_same_moment(office: Office, user: str) -> None:
    """A mask that is on its way to one provider is not given to a second phone."""
    first = office.register("<sip:a@10.0.0.10>", aor=f"{user}@sip.provider.test")
    second = office.register("<sip:a@10.0.0.11>", aor=f"{user}@sip.other.test", source=Q)
    assert second.contacts != first.contacts
    second.answered()
    first.answered()
    assert len(set(office.bound().values())) == 2


def test_a_register_that_came_to_nothing_blocks_no_mask(office: Office) -> None:
    """Refused, or never answered: the next phone gets the plain user."""
    office.register("<sip:a@10.0.0.10>").answered("403 Forbidden")
    second = office.register("<sip:a@10.0.0.11>", aor="alice@sip.other.test", source=Q)
    assert second.contacts == ["<sip:alice@203.0.113.1>"]
    office.registrar.settled(second.registration)
    assert office.register("<sip:a@10.0.0.10>").contacts == ["<sip:alice@203.0.113.1>"]


def test_credentials_after_a_challenge_use_the_same_mask(office: Office) -> None:
    """Two REGISTERs of one phone on their way at once are one phone's."""
    first = office.register("<sip:a@10.0.0.10>")
    second = office.register("<sip:a@10.0.0.10>")
    assert first.contacts == second.contacts == ["<sip:alice@203.0.113.1>"]


def test_a_new_outside_address(office: Office) -> None:
    """The mask moves with the next REGISTER."""
    office.register("<sip:alice@10.0.0.10>").answered()
    office.addresses.set(Side.OUTSIDE, "203.0.113.99")
    sent = office.register("<sip:alice@10.0.0.10>")
    assert sent.contacts == ["<sip:alice@203.0.113.99>"]
    sent.answered()
    assert office.bound() == {"sip:alice@10.0.0.10": "sip:alice@203.0.113.99"}


def test_while_there_is_no_outside_address(office: Office) -> None:
    """503 with Retry-After."""
    office.addresses.set(Side.OUTSIDE, None)
    with pytest.raises(Refused) as caught:
        office.register("<sip:alice@10.0.0.10>")
    assert caught.value.status == 503
    assert list(caught.value.headers) == [b"Retry-After: 10"]


def test_an_address_of_record_that_is_no_sip_uri(office: Office) -> None:
    """404: nobody could be reached by it."""
    with pytest.raises(Refused) as caught:
        office.register("<sip:alice@10.0.0.10>", "To: <tel:+4930>")
    assert caught.value.status == 404
