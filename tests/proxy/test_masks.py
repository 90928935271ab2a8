# SPDX-License-Identifier: MIT
"""Which masqueraded URI a phone gets."""

from __future__ import annotations

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masks import Masks
from siproxd_tw.proxy.registration import Registration
from siproxd_tw.sip.uri import SIPURI, parse_uri

NOW = 0.0
OUTSIDE = "203.0.113.1"


def uri(text: str) -> SIPURI:
    found = parse_uri(text.encode())
    assert isinstance(found, SIPURI)
    return found


class Desk:
    """Masks, and REGISTERs that want one for each of their contacts."""

    def __init__(self) -> None:
        self.location = Location()
        self.masks = Masks(self.location)

    def phone(self, contact: str, aor: str = "sip:alice@p.test", mask: str = "") -> Binding:
        """Return a phone that has no mask yet, or is registered with `mask`."""
        source = Address(uri(contact).host, uri(contact).port or 5060)
        binding = Binding(uri(contact), contact.encode(), uri(aor), uri(mask or aor), NOW + 60, source)
        if mask:
            self.location.add(binding)
        return binding

    def give(
        self, *phones: Binding, stays: bool = True, host: str = OUTSIDE
    ) -> tuple[list[str], Registration]:
        """Let one REGISTER ask for masks; return them and what is to be released."""
        registration = Registration(phones[0].aor, [])
        for phone in phones:
            phone.show_as(self.masks.choose(phone, registration, host, None, NOW, stays=stays))
            registration.wanted.append((phone, 60))
            registration.named.append(phone)
        self.masks.reserve(registration)
        return [str(phone.masked) for phone in phones], registration


def test_siproxds_form_for_the_first_and_a_token_for_the_others() -> None:
    """The contacts of one REGISTER and those of two on their way never share one."""
    desk = Desk()
    (one, two), _ = desk.give(desk.phone("sip:a@10.0.0.10"), desk.phone("sip:b@10.0.0.10"))
    (three,), _ = desk.give(desk.phone("sip:a@10.0.0.11", "sip:alice@q.test"))
    assert one == "sip:alice@203.0.113.1"
    assert two.startswith("sip:alice~")
    assert len({one, two, three}) == 3


def test_a_retry_has_the_same_mask() -> None:
    """While the first is on its way, and after it was refused."""
    desk = Desk()
    first, registration = desk.give(desk.phone("sip:a@10.0.0.10"))
    assert desk.give(desk.phone("sip:a@10.0.0.10"))[0] == first
    desk.masks.release(registration)
    assert desk.give(desk.phone("sip:a@10.0.0.10"))[0] == first


def test_released_when_the_last_one_is() -> None:
    """Of two REGISTERs with one mask the second keeps it."""
    desk = Desk()
    _, first = desk.give(desk.phone("sip:a@10.0.0.10"))
    _, second = desk.give(desk.phone("sip:a@10.0.0.10"))
    rival = desk.phone("sip:a@10.0.0.11", "sip:alice@q.test")
    plain = ["sip:alice@203.0.113.1"]
    desk.masks.release(first)
    masks, third = desk.give(rival)
    assert masks != plain
    desk.masks.release(third)
    desk.masks.release(second)
    assert desk.give(rival)[0] == plain


def test_who_has_a_mask_keeps_it() -> None:
    """At the host of this leg; the very same contact comes before the same phone at another port."""
    desk = Desk()
    desk.phone("sip:a@10.0.0.10:5062", mask="sip:alice~1@203.0.113.1")
    desk.phone("sip:a@10.0.0.10:5064", mask="sip:alice~2@203.0.113.1")
    assert desk.give(desk.phone("sip:a@10.0.0.10:5062"), host="2001:db8::1")[0] == [
        "sip:alice~1@[2001:db8::1]"
    ]
    assert desk.give(desk.phone("sip:a@10.0.0.10:5066"))[0] == ["sip:alice~2@203.0.113.1"]


def test_a_contact_that_ends_does_not_take_the_mask_of_the_phone_that_stays() -> None:
    """The registrar would end the wrong one."""
    desk = Desk()
    desk.phone("sip:a@10.0.0.10:5064", mask="sip:alice@203.0.113.1")
    (mask,), _ = desk.give(desk.phone("sip:a@10.0.0.10:5062"), stays=False)
    assert mask.startswith("sip:alice~")
    assert desk.give(desk.phone("sip:a@10.0.0.10:5064"), stays=False)[0] == ["sip:alice@203.0.113.1"]


def test_a_mask_that_two_phones_have_is_given_up() -> None:
    """As in a file of siproxd's, by the first of them that asks."""
    desk = Desk()
    desk.phone("sip:a@10.0.0.10", mask="sip:alice@203.0.113.1")
    desk.phone("sip:a@10.0.0.11", "sip:alice@q.test", mask="sip:alice@203.0.113.1")
    assert desk.give(desk.phone("sip:a@10.0.0.10"))[0][0].startswith("sip:alice~")
