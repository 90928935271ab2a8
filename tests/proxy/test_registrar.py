# SPDX-License-Identifier: MIT
"""REGISTER passed on to a registrar outside, told by what is bound afterwards."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Address, Refused, Side
from siproxd_tw.proxy.regformat import loads
from siproxd_tw.sip.message import response_to
from tests.support.addresses import in_front_of_nat
from tests.support.generated import sip_uris
from tests.support.messages import values
from tests.support.office import NOW, Office, P, Q, Sent, flow_from


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
    assert office.lifetimes() == [longest] * 2


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


def test_an_address_of_record_that_is_no_sip_uri(office: Office) -> None:
    """404: nobody could be reached by it."""
    with pytest.raises(Refused) as caught:
        office.register("<sip:alice@10.0.0.10>", "To: <tel:+4930>")
    assert caught.value.status == 404


# the Contact as the provider sees it


@pytest.mark.parametrize(
    ("host", "transport", "contact", "expected"),
    [
        ("203.0.113.1", "", "sip:a@10.0.0.10;transport=tcp;ob", "sip:alice@203.0.113.1"),
        ("203.0.113.1", "tcp", "sip:a@10.0.0.10", "sip:alice@203.0.113.1;transport=tcp"),
        ("203.0.113.1", "tls", "sip:a@10.0.0.10", "sip:alice@203.0.113.1;transport=tls"),
        ("203.0.113.1", "tls", "sips:a@10.0.0.10", "sips:alice@203.0.113.1"),
        ("203.0.113.1", "tcp", "sips:a@10.0.0.10", "sip:alice@203.0.113.1;transport=tcp"),
        ("2001:db8::1", "", "sip:a@10.0.0.10", "sip:alice@[2001:db8::1]"),
        ("gw.example.test", "tls", "sip:a@10.0.0.10", "sip:alice@gw.example.test;transport=tls"),
    ],
)
def test_the_mask_is_that_of_the_outside_leg(
    office: Office, host: str, transport: str, contact: str, expected: str
) -> None:
    """Host and transport are those of the leg to the provider; nothing of the inside leg shows."""
    for _ in range(2):
        sent = office.register(f"<{contact}>", host=host, transport=transport)
        assert sent.contacts == [f"<{expected}>"]
        response = sent.answered("200 OK", f"Contact: <{expected}>;expires=60")
        assert values(response, "Contact") == [f"<{contact}>;expires=60"]
        assert office.lifetimes() == [60]


@pytest.mark.parametrize(
    "written",
    [
        "<sip:alice@203.0.113.1:5060>",
        "<SIP:alice@203.0.113.1;transport=udp;received=sip:198.51.100.1>",
        "<sip:%61lic%65@203.0.113.1:5071>",
        "<sip:ALICE@203.0.113.1>",
        "sip:alice@203.0.113.1",
        '"sip:alice@203.0.113.1" <sip:alice@203.0.113.1>',
        '<sip:alice@198.51.100.77:1024>;+sip.instance="<URN:uuid:1>"',
    ],
)
def test_a_registrar_may_write_our_contact_in_its_own_way(office: Office, written: str) -> None:
    """Case, escapes, port, parameters, and with the phone's instance even the address: it stays ours."""
    sent = office.register('<sip:7@10.0.0.10:5062;line=x>;+sip.instance="<urn:uuid:1>"')
    response = sent.answered("200 OK", f"Contact: <sip:x@h>;expires=5,{written};expires=77")
    assert office.lifetimes() == [77]
    foreign, _, own = values(response, "Contact")[0].partition(",")
    assert foreign == "<sip:x@h>;expires=5"
    assert "<sip:7@10.0.0.10:5062;line=x>" in own
    assert own.endswith(";expires=77")


def test_extensions_pass_untouched(office: Office) -> None:
    """Path, outbound, GRUUs: nothing but the URI of our own Contact is edited, in either direction."""
    extensions = ("Supported: path, outbound, gruu", "Path: <sip:edge@10.0.0.1;lr;ob>", "Require: pref")
    params = ';reg-id=1;+sip.instance="<urn:uuid:1>";q=0.7'
    sent = office.register(f"<sip:a@10.0.0.10;ob>{params}", *extensions)
    assert sent.contacts == [f"<sip:alice@203.0.113.1>{params}"]
    assert [edit.replacement for edit in sent.copy.edits()] == [b"sip:alice@203.0.113.1"]
    gruus = (
        ';pub-gruu="sip:alice@sip.provider.test;gr=urn:uuid:1";temp-gruu="sip:tgruu.1@sip.provider.test;gr"'
    )
    response = sent.answered(
        "200 OK",
        f"Contact: <sip:alice@203.0.113.1>{params}{gruus};expires=60",
        "Service-Route: <sip:orig@203.0.113.50;lr>, <sip:b@203.0.113.51;lr>",
        "Path: <sip:edge@10.0.0.1;lr;ob>",
        "Require: outbound",
        "P-Associated-URI: <sip:+4930@sip.provider.test>",
    )
    assert values(response, "Contact") == [f"<sip:a@10.0.0.10;ob>{params}{gruus};expires=60"]
    assert [edit.replacement for edit in response.edits()] == [b"sip:a@10.0.0.10;ob"]


def test_a_contact_that_is_listed_twice(office: Office) -> None:
    """Both are masqueraded, with one mask; the binding is what the last one says."""
    sent = office.register("<sip:a@10.0.0.10;x=1>;expires=10, <sip:a@10.0.0.10>;expires=20, <tel:1>")
    mask = "<sip:alice@203.0.113.1>"
    assert sent.contacts == [f"{mask};expires=10, {mask};expires=20, <tel:1>"]
    sent.answered()
    assert list(office.bound()) == ["sip:a@10.0.0.10"]
    assert office.lifetimes() == [20]


def test_what_a_binding_keeps(office: Office) -> None:
    """Side, transport, source, order and preference of the REGISTER, and when that was."""
    office.register(
        '<sip:a@10.0.0.10>;q=0.25;+sip.instance="<u>";reg-id=2', "Call-ID: c9", "CSeq: 9 REGISTER"
    ).answered()
    (binding,) = office.location
    assert (binding.transport, binding.side, binding.source) == ("UDP", Side.INSIDE, P)
    assert (binding.q, binding.instance, binding.reg_id) == (0.25, b'"<u>"', b"2")
    assert (binding.call_id, binding.cseq, binding.since) == (b"c9", 9, NOW)
    assert not binding.relayed
    assert not binding.local


# several on their way


def in_order(number: int) -> str:
    return f"CSeq: {number} REGISTER"


def test_a_late_200_does_not_undo_a_newer_one(office: Office) -> None:
    """The phone has moved between the two: where it is now is what the later REGISTER says."""
    older = office.register("<sip:a@10.0.0.10:5062>", in_order(1))
    newer = office.register("<sip:a@10.0.0.10:6000>", in_order(2), source=Address("10.0.0.10", 6000))
    newer.answered()
    response = older.answered("200 OK", f"Contact: {older.contacts[0]}")
    assert list(office.bound()) == ["sip:a@10.0.0.10:6000"]
    assert values(response, "Contact") == ["<sip:a@10.0.0.10:5062>"]


def test_a_late_200_does_not_bring_back_who_has_gone(office: Office) -> None:
    """Neither after expires=0 nor after ``*``."""
    for leaving in ("<sip:a@10.0.0.10>;expires=0", "*"):
        older = office.register("<sip:a@10.0.0.10>", in_order(1))
        newer = office.register(leaving, in_order(2), "Expires: 0")
        newer.answered()
        older.answered()
        assert office.bound() == {}


def test_a_late_200_to_star_spares_what_came_after_it(office: Office) -> None:
    """The old bindings go, the one of the newer REGISTER and its refresh stay."""
    office.register("<sip:a@10.0.0.11>", source=Q).answered()
    star = office.register("*", "Expires: 0", in_order(11))
    office.register("<sip:a@10.0.0.10>", in_order(12)).answered()
    office.register("<sip:a@10.0.0.10;x=2>", in_order(13)).answered()
    star.answered()
    assert list(office.bound()) == ["sip:a@10.0.0.10;x=2"]


def test_what_the_newer_one_does_not_speak_of(office: Office) -> None:
    """Another contact of the same Call-ID is bound all the same."""
    older = office.register("<sip:a@10.0.0.10>, <sip:b@10.0.0.10:7000>", in_order(1))
    office.register("<sip:a@10.0.0.10;x=2>", in_order(2)).answered()
    older.answered()
    assert sorted(office.bound()) == ["sip:a@10.0.0.10;x=2", "sip:b@10.0.0.10:7000"]


def test_a_phone_that_starts_to_count_anew(office: Office) -> None:
    """Its old Call-ID with a low CSeq after a restart: the provider has taken it, and so do we."""
    office.register("<sip:a@10.0.0.10:5062>", in_order(57)).answered()
    again = Address("10.0.0.10", 6000)
    office.register("<sip:a@10.0.0.10:6000>", in_order(1), source=again).answered()
    assert list(office.bound()) == ["sip:a@10.0.0.10:6000"]


def test_a_mask_is_kept_while_one_of_two_is_on_its_way(office: Office) -> None:
    """The retry is refused before the first one is answered: nobody else may get the mask meanwhile."""
    first = office.register("<sip:a@10.0.0.10>")
    office.register("<sip:a@10.0.0.10>").answered("403 No")
    other = office.register("<sip:b@10.0.0.11>", aor="alice@sip.other.test", source=Q)
    other.answered()
    first.answered()
    assert len(set(office.bound().values())) == 2


def test_an_answer_after_everybody_has_given_up(office: Office) -> None:
    """The mask may be another phone's by then: nothing is bound."""
    sent = office.register("<sip:a@10.0.0.10>")
    office.registrar.settled(sent.registration)
    office.register("<sip:b@10.0.0.11>", aor="alice@sip.other.test", source=Q).answered()
    sent.answered()
    assert list(office.bound()) == ["sip:b@10.0.0.11"]
    assert office.registrar._passing == {}
    assert office.registrar._masks._pending == {}


def test_who_asks_saves_nothing(office: Office) -> None:
    """A query, a refusal and the end of what never was are no news for the file."""
    office.register("", "Contact").answered()
    office.register("<sip:a@10.0.0.10>").answered("403 No")
    office.register("<sip:a@10.0.0.10>;expires=0").answered()
    assert office.changes == 0


# who replaces whom


def test_unregistering_the_old_place_after_a_restart(office: Office) -> None:
    """It must end neither the new binding here nor, by its mask, the one at the provider."""
    office.register("<sip:a@10.0.0.10:5062>").answered()
    now_at = Address("10.0.0.10", 6000)
    office.register("<sip:a@10.0.0.10:6000>", source=now_at).answered()
    sent = office.register("<sip:a@10.0.0.10:5062>;expires=0", source=now_at)
    assert office.bound() == {"sip:a@10.0.0.10:6000": "sip:alice@203.0.113.1"}
    assert "<sip:alice@203.0.113.1>;expires=0" not in sent.contacts
    sent.answered()
    assert office.bound() == {"sip:a@10.0.0.10:6000": "sip:alice@203.0.113.1"}


SBC = Address("10.0.0.5", 5060)
MANY = {
    "other users": [f"sip:alice-{n}@10.0.0.5" for n in range(3)],
    "other ports": [f"sip:alice@10.0.0.5:{n}" for n in (6001, 6002, 6003)],
    "their own hosts": [f"sip:alice@10.0.7.{n}:5060" for n in range(3)],
    "a parameter": [f"sip:alice@10.0.0.5;ctid={n}" for n in range(3)],
}


@pytest.mark.parametrize("contacts", MANY.values(), ids=MANY.keys())
def test_several_phones_of_one_account_behind_one_host(office: Office, contacts: list[str]) -> None:
    """An SBC or a proxy inside: none replaces another, whatever their Contacts have in common."""
    inner = [] if ";ctid" not in contacts[0] else ["Via: SIP/2.0/UDP 10.0.7.9;branch=z9hG4bKinner"]
    masks = {}
    for _ in range(3):
        for number, contact in enumerate(contacts):
            own = f"Via: SIP/2.0/UDP {SBC};branch=z9hG4bK{office.next_branch()}"
            sent = office.register(f"<{contact}>", own, *inner, f"Call-ID: {number}", source=SBC)
            sent.answered()
            masks.setdefault(contact, sent.contacts)
            assert masks[contact] == sent.contacts
    assert list(office.bound()) == contacts
    assert len(set(office.bound().values())) == 3
    gone = office.register(f"<{contacts[1]}>;expires=0", source=SBC)
    gone.answered()
    assert list(office.bound()) == [contacts[0], contacts[2]]


def test_two_phones_with_one_private_address(office: Office) -> None:
    """Behind two NATs, on one account."""
    nats = [Address("10.0.0.20", 1024), Address("10.0.0.21", 1024)]
    for _ in range(2):
        for nat in nats:
            office.register("<sip:alice@192.168.1.2>", f"Call-ID: {nat.host}", source=nat).answered()
    assert [binding.source for binding in office.location] == nats
    assert len({binding.masked_user for binding in office.location}) == 2


def test_two_flows_of_one_phone(office: Office) -> None:
    """Two reg-ids are two bindings, each refreshed for itself (RFC 5626 section 4.2.1)."""
    one, two = (f'<sip:a@10.0.0.10>;+sip.instance="<urn:uuid:1>";reg-id={n}' for n in (1, 2))
    for port in (1000, 2000):
        office.register(one, source=Address("10.0.0.10", port)).answered()
        office.register(two, source=Address("10.0.0.10", port + 1)).answered()
    assert [b.source and b.source.port for b in office.location] == [2000, 2001]
    assert len({b.masked_user for b in office.location}) == 2


def test_a_mask_that_siproxd_gave_twice(office: Office) -> None:
    """Of two phones in an imported file the first to register gets a mask of its own."""
    for domain, host in (("sip.provider.test", "10.0.0.10"), ("sip.other.test", "10.0.0.11")):
        text = f"****:1:{NOW + 60:.0f}\nsip:100@{host}\nsip:100@203.0.113.1\nsip:100@{domain}\n"
        for each in loads(text.encode())[0]:
            office.location.add(each)
    first = office.register("<sip:100@10.0.0.10>", aor="100@sip.provider.test")
    assert first.contacts[0].startswith("<sip:100~")
    first.answered()
    second = office.register("<sip:100@10.0.0.11>", aor="100@sip.other.test", source=Q)
    assert second.contacts == ["<sip:100@203.0.113.1>"]


# whatever happens


@given(sip_uris, sip_uris.filter(lambda text: b"@" in text))
def test_masked_and_unmasked_is_the_same(contact: bytes, aor: bytes) -> None:
    """Whatever URIs phone and account have: what comes back is the Contact, byte for byte."""
    office = Office()
    sent = office.register("<sip:replaced@h>", "To: <sip:replaced@h>")
    office.registrar.settled(sent.registration)
    request = sent.copy
    request.replace_uri(request.contacts()[0], contact, "test")
    request.replace_uri(request.to, aor, "test")
    registration = office.registrar.pass_on(request, flow_from(P), "203.0.113.1", NOW)
    shown = request.contacts()[0].uri_text
    assert b"203.0.113.1" in shown
    response = response_to(request, 200, headers=[b"Contact: <%b>;expires=9" % shown])
    office.registrar.answered(registration, response, NOW)
    assert response.contacts()[0].uri_text == contact
    assert office.lifetimes() == [9]


PHONES = [
    # two lines of one phone, two phones of one account, the same user at another provider, an SBC's phones
    ("100@sip.provider.test", "sip:100@10.0.0.10:5062", Address("10.0.0.10", 5062)),
    ("101@sip.provider.test", "sip:100@10.0.0.10:5062", Address("10.0.0.10", 5062)),
    ("100@sip.provider.test", "sip:100@10.0.0.11", Address("10.0.0.11", 5060)),
    ("100@sip.other.test", "sip:100@10.0.0.12", Address("10.0.0.12", 5060)),
    ("100@sip.provider.test", "sip:100-1@10.0.0.5", SBC),
    ("100@sip.provider.test", "sip:100-2@10.0.0.5", SBC),
]
_steps = st.one_of(
    st.tuples(st.just("send"), st.integers(0, len(PHONES) - 1), st.sampled_from([0, 60, 3600])),
    st.tuples(st.just("answer"), st.integers(0, 7), st.sampled_from([200, 200, 200, 401, 403, 500])),
    st.tuples(st.just("nobody answers"), st.integers(0, 7), st.just(0)),
)


@given(st.lists(_steps, max_size=30))
def test_each_phone_has_exactly_what_was_confirmed_last(steps: list[tuple[str, int, int]]) -> None:
    """Any interleaving of REGISTERs and responses: no phone has a word in what another one has."""
    office = Office()
    on_their_way: list[tuple[int, int, str, int, Sent]] = []
    latest: dict[int, str] = {}
    confirmed: dict[int, str] = {}
    last: dict[int, int] = {}
    for serial, (what, number, value) in enumerate(steps):
        if what == "send":
            aor, contact, source = PHONES[number]
            if value:  # a phone unregisters the contact that it has registered
                latest[number] = f"{contact};step={serial}"
            shown = latest.get(number, contact)
            headers = (in_order(serial), f"Call-ID: {number}", f"Expires: {value}")
            sent = office.register(f"<{shown}>", *headers, aor=aor, source=source)
            on_their_way.append((number, serial, shown, value, sent))
        elif on_their_way:
            phone, order, shown, seconds, sent = on_their_way.pop(number % len(on_their_way))
            if what == "nobody answers":
                office.registrar.settled(sent.registration)
                continue
            mask = sent.contacts[0]
            status = "200 OK" if value == 200 else f"{value} No"
            response = sent.answered(status, f"Contact: {mask};expires={seconds}")
            assert values(response, "Contact") == [f"<{shown}>;expires={seconds}"]
            if value == 200 and last.get(phone, -1) < order:
                last[phone] = order
                if seconds:
                    confirmed[phone] = shown
                elif confirmed.get(phone) == shown:
                    del confirmed[phone]
        assert set(office.bound()) == set(confirmed.values())
        assert len({b.masked_user for b in office.location}) == len(office.location)
    for *_, sent in on_their_way:
        office.registrar.settled(sent.registration)
    assert office.registrar._passing == {}
    assert office.registrar._masks._pending == {}
