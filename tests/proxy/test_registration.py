# SPDX-License-Identifier: MIT
"""What a REGISTER asks for, read from the message."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Address, Refused, Side
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.registration import Registration, delta_seconds, read
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI
from tests.support.messages import register, wire
from tests.support.office import NOW, P, flow_from


def asked(contact: str, *headers: str) -> Registration:
    """Return what a REGISTER of Alice's asks for; masks are numbered in their order."""

    def masked(binding: Binding, before: Registration, stays: bool) -> None:
        user = b"%d%b" % (len(before.wanted), b"" if stays else b"-ends")
        binding.show_as(SIPURI("sip", user, None, "203.0.113.1", None))

    via = f"Via: SIP/2.0/TCP {P};branch=z9hG4bKa"
    request = parse(wire(register("alice@sip.provider.test", contact, via, "Call-ID: c1", *headers)))
    assert isinstance(request, Request)
    return read(request, flow_from(P, "TCP"), NOW, default_expires=1800, masked=masked, local=False)


def wanted(registration: Registration) -> list[tuple[bytes, int, bytes]]:
    return [(b.contact_text, seconds, b.masked_user) for b, seconds in registration.wanted]


def test_contacts_in_order() -> None:
    """Each with the seconds that are asked for; what is no SIP URI is left out."""
    lines = ("Contact: <sip:a@h>;expires=60, <tel:1>", "Contact: sip:b@h;expires=0", "m: <sip:c@h>")
    registration = asked("", *lines, "Expires: 90")
    expected = [(b"sip:a@h", 60, b"0"), (b"sip:b@h", 0, b"1-ends"), (b"sip:c@h", 90, b"2")]
    assert wanted(registration) == expected
    assert not registration.everything
    assert asked("*", "Expires: 0").everything


def test_a_contact_that_is_listed_twice_counts_as_it_stands_last() -> None:
    """Both have the mask of the first."""
    registration = asked("<sip:a@h;x=1>;expires=5, <sip:b@h>, <sip:a@h>;expires=7")
    assert wanted(registration) == [(b"sip:b@h", 3600, b"1"), (b"sip:a@h", 7, b"0")]
    assert [b.masked_user for b in registration.named] == [b"0", b"1", b"0"]


def test_how_the_phone_is_reached() -> None:
    """By which transport, from where and over whom the REGISTER came."""
    (binding,) = asked("<sip:a@h>;reg-id=1", "CSeq: 7 REGISTER").bindings
    assert (binding.transport, binding.side, binding.source) == ("TCP", Side.INSIDE, P)
    assert (binding.call_id, binding.cseq, binding.relayed) == (b"c1", 7, False)
    assert binding.reg_id == b"", "a reg-id is nothing without an instance"
    (relayed,) = asked(
        "<sip:a@h>", "Via: SIP/2.0/TCP a;branch=z9hG4bKa, SIP/2.0/UDP b;branch=z9hG4bKb"
    ).bindings
    assert relayed.relayed


def test_an_address_of_record_that_is_none() -> None:
    """404 (10.3 step 5)."""
    with pytest.raises(Refused) as caught:
        asked("<sip:a@h>", "To: <urn:service:sos>")
    assert caught.value.status == 404


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (b"0", 0),
        (b"0060", 60),
        (b"4294967296", 2**32 - 1),
        (b"9" * 5000, 2**32 - 1),
        (b"-1", None),
        (None, None),
    ],
)
def test_delta_seconds(text: bytes | None, seconds: int | None) -> None:
    """Digits, up to 2**32-1 (20.19)."""
    assert delta_seconds(text) == seconds


def test_entering_says_whether_anything_has_changed() -> None:
    """To end what never was is no change."""
    location = Location()
    for contact, seconds, changed in (
        ("<sip:a@h>", 0, False),
        ("<sip:a@h>", 60, True),
        ("<sip:a@h>", 0, True),
    ):
        registration = asked(f"{contact};expires={seconds}")
        assert registration.enter(location, dict(registration.wanted), NOW) is changed
    assert len(location) == 0


def test_what_enters_lives_from_now_on() -> None:
    """The newest REGISTER is the one that counts."""
    location = Location()
    registration = asked("<sip:a@10.0.0.10>")
    (binding,) = registration.bindings
    registration.enter(location, {binding: 60}, NOW + 5)
    assert (binding.expires, binding.since) == (NOW + 65, NOW + 5)
    assert location.behind(binding.contact, None, Address("10.0.0.10", 1)) is binding
