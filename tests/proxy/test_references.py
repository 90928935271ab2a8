# SPDX-License-Identifier: MIT
"""Transfers between phones and the outside: whom a Refer-To leads to on the side where it is read."""

from __future__ import annotations

import pytest
from hypothesis import given

from siproxd_tw.edits import apply
from siproxd_tw.interfaces import Address, IAddresses
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.references import References
from siproxd_tw.sip.message import Message
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI, parse_uri
from tests.support.addresses import FixedAddresses, one_armed, two_armed
from tests.support.generated import sip_uris
from tests.support.messages import request, values, wire

NOW = 0.0
VIA = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"
REPLACES = "Replaces=abc%40h%3Bto-tag%3D1%3Bfrom-tag%3D2&Require=replaces"


def uri(text: str) -> SIPURI:
    found = parse_uri(text.encode())
    assert isinstance(found, SIPURI)
    return found


class Gate:
    """A gateway. Inside, Alice and Bob are registered at a provider, and Carol is registered here."""

    def __init__(self, addresses: IAddresses | None = None, port: int = 5060) -> None:
        self.addresses = addresses or two_armed()
        self.location = Location()
        self.references = References(
            self.location, self.addresses, Masquerade(self.addresses, self.location, port)
        )
        at = "" if port == 5060 else f":{port}"
        self.bind("sip:alice@10.0.0.10:5062", "sip:alice@sip.provider.test", f"sip:alice@203.0.113.1{at}")
        self.bind("sip:line2@10.0.0.11;line=x;ob", "sip:bob@sip.provider.test", f"sip:bob~77@203.0.113.1{at}")
        self.bind("sip:carol@10.0.0.12", "sip:carol@10.0.0.1", "sip:carol@10.0.0.1", local=True)

    def bind(self, contact: str, aor: str, masked: str, *, local: bool = False, source: str = "") -> None:
        at = Address(source or uri(contact).host, uri(contact).port or 5060)
        self.location.add(
            Binding(uri(contact), contact.encode(), uri(aor), uri(masked), NOW + 60, at, local=local)
        )

    def outward(self, *headers: str, **how: str) -> Message:
        message = refer(*headers)
        self.references.outward(message, NOW, **how)  # type: ignore[arg-type]
        assert apply(message.original, message.edits()) == bytes(message)
        return message

    def inward(self, *headers: str, **how: str) -> Message:
        message = refer(*headers)
        self.references.inward(message, NOW, **how)
        assert apply(message.original, message.edits()) == bytes(message)
        return message


def refer(*headers: str) -> Message:
    return parse(wire(request("REFER", "sip:dave@198.51.100.9", VIA, *headers)))


def refer_to(message: Message) -> str:
    (value,) = values(message, "Refer-To")
    return value


# Alice, inside, sends Dave, outside, to somebody.

OUTWARD = {
    "a number at the provider": ("<sip:+4930@sip.provider.test;user=phone>", None),
    "somebody outside": ("<sip:dave@198.51.100.9:5070;transport=tcp?Subject=x>", None),
    "a phone's Contact": ("<sip:line2@10.0.0.11;line=x;ob>", "<sip:bob~77@203.0.113.1>"),
    "its Contact at another port": ("<sip:line2@10.0.0.11:5999>", "<sip:bob~77@203.0.113.1>"),
    "its Contact by TCP": ('"Bob" <sip:line2@10.0.0.11;transport=tcp>', '"Bob" <sip:bob~77@203.0.113.1>'),
    "a method to ask with": (
        "<sip:line2@10.0.0.11;line=x;method=SUBSCRIBE>",
        "<sip:bob~77@203.0.113.1;method=SUBSCRIBE>",
    ),
    "attended": (f"<sip:line2@10.0.0.11;ob?{REPLACES}>", f"<sip:bob~77@203.0.113.1?{REPLACES}>"),
    "without brackets": ("sip:line2@10.0.0.11", "sip:bob~77@203.0.113.1"),
    "who is registered here": ("<sip:carol@10.0.0.1>", "<sip:carol@203.0.113.1>"),
    "our name of a phone, inside": ("<sip:bob~77@10.0.0.1>", "<sip:bob~77@203.0.113.1>"),
    "our name of a phone, outside": ("<sip:bob~77@203.0.113.1:5061;transport=tls>", None),
    "nobody here": ("<sip:100@10.0.0.50:5080;transport=tcp>", "<sip:100@203.0.113.1>"),
    "a conference of a phone": ("<sip:conf7@10.0.0.10:5062;isfocus>", "<sip:conf7@203.0.113.1;isfocus>"),
    "a number that is no SIP URI": ("<tel:+4930>", None),
    "several in a body": ("<cid:list@10.0.0.10>", None),
    "nothing that can be read": ("<<sip:line2@10.0.0.11>", None),
}


@pytest.mark.parametrize("case", OUTWARD)
def test_what_a_phone_refers_to_is_what_the_outside_can_call(case: str) -> None:
    """Phones become their masqueraded URIs; what leads somewhere outside stays to the last octet."""
    before, after = OUTWARD[case]
    message = Gate().outward(f"Refer-To: {before}")
    assert refer_to(message) == (after or before)
    assert (after is not None) == (bytes(message) != message.original)


def test_compact_forms_are_masqueraded_and_blanks_stay() -> None:
    """So r and b are written, the compact forms of Refer-To and Referred-By."""
    message = Gate().outward("r:  Bob\t<sip:line2@10.0.0.11>", "b:sip:alice@10.0.0.10")
    assert b"\r\nr:  Bob\t<sip:bob~77@203.0.113.1>\r\n" in bytes(message)
    assert b"\r\nb:sip:alice@203.0.113.1\r\n" in bytes(message)


def test_a_user_with_a_semicolon_gets_brackets() -> None:
    """Without them it would become a parameter of the header (section 20)."""
    gate = Gate()
    gate.bind("sip:9@10.0.0.13", "sip:9@sip.provider.test", "sip:+49;phone-context=x@203.0.113.1")
    assert refer_to(gate.outward("Refer-To: sip:9@10.0.0.13")) == "<sip:+49;phone-context=x@203.0.113.1>"


def test_the_mask_has_the_port_and_the_transport_of_the_outside() -> None:
    """The port if it is not the default; host and transport as a Contact has them on this way out."""
    assert (
        refer_to(Gate(port=5070).outward("Refer-To: <sip:line2@10.0.0.11>"))
        == "<sip:bob~77@203.0.113.1:5070>"
    )
    assert (
        refer_to(Gate().outward("Refer-To: <sip:line2@10.0.0.11?a=b>", host="sip.gate.test", transport="tls"))
        == "<sip:bob~77@sip.gate.test;transport=tls?a=b>"
    )
    assert refer_to(Gate(port=5070).outward("Refer-To: <sip:x@10.0.0.50>")) == "<sip:x@203.0.113.1:5070>"


def test_a_phone_that_wants_tls_is_called_by_tls_where_there_is_tls() -> None:
    """A sips: URI stays one on a secure way, as a Contact does."""
    secure = Gate().outward("Refer-To: <sips:line2@10.0.0.11;transport=tcp>", transport="tls")
    assert refer_to(secure) == "<sips:bob~77@203.0.113.1>"
    plain = Gate().outward("Refer-To: <sips:line2@10.0.0.11>")
    assert refer_to(plain) == "<sip:bob~77@203.0.113.1>"


def test_who_signed_a_referral_keeps_it() -> None:
    """A Referred-By with a cid is covered by a signature in the body (RFC 3892)."""
    gate = Gate()
    signed = gate.outward('Referred-By: <sip:alice@10.0.0.10>;cid="2@a.test"')
    assert bytes(signed) == signed.original
    plain = gate.outward("Referred-By: <sip:alice@10.0.0.10>;x=1")
    assert values(plain, "Referred-By") == ["<sip:alice@203.0.113.1>;x=1"]


def test_phones_with_one_private_address_behind_two_nats() -> None:
    """Where the message comes from says which of them is meant."""
    gate = Gate()
    for nat in ("10.0.0.21", "10.0.0.22"):
        gate.bind(
            "sip:p@192.168.1.5",
            f"sip:p{nat[-2:]}@sip.provider.test",
            f"sip:{nat[-1]}@203.0.113.1",
            source=nat,
        )
    message = refer("Refer-To: <sip:p@192.168.1.5>")
    gate.references.outward(message, NOW, source=Address("10.0.0.21", 40001))
    assert refer_to(message) == "<sip:1@203.0.113.1>"


def test_one_address_is_shown_as_the_one_outside() -> None:
    """On a one-armed gateway the same address is inside, and outside is what the router has."""
    gate = Gate(one_armed())
    assert refer_to(gate.outward("Refer-To: <sip:carol@10.0.0.1>")) == "<sip:carol@198.51.100.7>"
    assert refer_to(gate.outward("Refer-To: <sip:line2@10.0.0.11>")) == "<sip:bob~77@198.51.100.7>"


def test_a_pbx_on_the_gateway_itself_is_not_us() -> None:
    """It has our address and another port; its port is not reachable from outside."""
    gate = Gate()
    gate.bind("sip:200@10.0.0.1:5080", "sip:200@sip.provider.test", "sip:200@203.0.113.1")
    assert refer_to(gate.outward("Refer-To: <sip:200@10.0.0.1:5080>")) == "<sip:200@203.0.113.1>"
    assert refer_to(gate.outward("Refer-To: <sip:*78@10.0.0.1:5080>")) == "<sip:*78@203.0.113.1>"


def test_the_domain_of_who_is_registered_here_stays() -> None:
    """It is what the outside knows them by."""
    gate = Gate()
    gate.bind("sip:e@10.0.0.14", "sip:e@pbx.test", "sip:e@pbx.test", local=True)
    assert refer_to(gate.outward("Refer-To: <sip:e@10.0.0.14>")) == "<sip:e@pbx.test>"
    kept = gate.outward("Refer-To: <sip:e@pbx.test;x>")
    assert bytes(kept) == kept.original


def test_without_an_address_outside_nothing_happens() -> None:
    """There is no way out for the message either."""
    message = Gate(FixedAddresses(outside=None)).outward("Refer-To: <sip:line2@10.0.0.11>")
    assert bytes(message) == message.original


# Dave, outside, sends Alice to somebody.

INWARD = {
    "somebody outside": "<sip:erin@198.51.100.10;transport=tcp>",
    "Bob": "<sip:bob~77@203.0.113.1>",
    "Bob, attended": f"<sip:bob~77@203.0.113.1?{REPLACES}>",
    "Bob at the provider": "<sip:bob@sip.provider.test;transport=udp>",
    "nobody here": "<sip:nobody@203.0.113.1;transport=tls>",
    "Bob, by TLS only": "<sips:bob~77@203.0.113.1;transport=tcp>",
    "nothing that can be read": "<sip:bob~77@203.0.113.1;transport=tls",
}


@pytest.mark.parametrize("case", INWARD)
def test_what_the_outside_refers_to_stays(case: str) -> None:
    """A phone that calls a masqueraded URI asks us, and we know whom it means."""
    message = Gate().inward(
        f"Refer-To: {INWARD[case]}", "Referred-By: <sip:bob~77@203.0.113.1;transport=tls>"
    )
    assert bytes(message) == message.original


def test_a_transport_of_the_outside_does_not_bind_the_phones() -> None:
    """A phone that has UDP only could not call a URI that wants TLS, and need not."""
    message = Gate().inward(f"Refer-To: <sip:bob~77@203.0.113.1:5061;transport=tls;method=INVITE?{REPLACES}>")
    assert refer_to(message) == f"<sip:bob~77@10.0.0.1;method=INVITE?{REPLACES}>"
    assert (
        refer_to(Gate(port=5070).inward("Refer-To: <sip:bob~77@203.0.113.1;transport=TCP>", host="10.0.0.2"))
        == "<sip:bob~77@10.0.0.2:5070>"
    )


def test_an_address_of_the_other_family_is_replaced() -> None:
    """A phone that has IPv4 only gets the gateway's IPv4 address."""
    gate = Gate(FixedAddresses(outside="2001:db8::1"))
    assert refer_to(gate.inward("Refer-To: <sip:bob~77@[2001:db8::1]>")) == "<sip:bob~77@10.0.0.1>"
    kept = gate.inward("Refer-To: <sip:bob~77@[2001:db8::1]>", host="fd00::1")
    assert bytes(kept) == kept.original


# What is never touched


def test_what_is_signed_is_never_touched() -> None:
    """From, To, P-Asserted-Identity, Identity and Date are what a PASSporT is about (RFC 8224)."""
    message = parse(
        wire(
            request(
                "INVITE",
                "sip:dave@198.51.100.9",
                VIA,
                "From: <sip:line2@10.0.0.11>;tag=a1",
                "To: <sip:carol@10.0.0.1>",
                "P-Asserted-Identity: <sip:alice@10.0.0.10>",
                "Identity: eyJhbGciOiJFUzI1NiJ9..c2ln;info=<https://cert.test/a.pem>;alg=ES256;ppt=shaken",
                "Date: Sat, 13 Nov 2010 23:29:00 GMT",
                "Replaces: abc@10.0.0.10;to-tag=1;from-tag=2",
                "Target-Dialog: abc@10.0.0.10;local-tag=1;remote-tag=2",
                "Contact: <sip:line2@10.0.0.11>",
            )
        )
    )
    gate = Gate()
    gate.references.outward(message, NOW)
    gate.references.inward(message, NOW)
    assert bytes(message) == message.original
    assert not message.edits()


@given(sip_uris)
def test_headers_of_any_uri_stay_and_it_can_be_read(text: bytes) -> None:
    """Whatever a phone refers to, what leaves is a URI, the escaped headers of which are the same octets."""
    line = b"Refer-To: <" + text + b"?" + REPLACES.encode() + b">;x"
    message = parse(
        wire(request("REFER", "sip:d@198.51.100.9", VIA, "Refer-To: X")).replace(b"Refer-To: X", line)
    )
    Gate().references.outward(message, NOW, transport="tls")
    field = message.first(b"refer-to")
    assert field is not None
    after = field.elements()[0].uri  # type: ignore[attr-defined]
    assert isinstance(after, SIPURI)
    assert after.headers == b"?" + REPLACES.encode()
    assert field.raw.endswith(b">;x\r\n")
    assert after.host not in ("10.0.0.10", "10.0.0.11")
    assert apply(message.original, message.edits()) == bytes(message)
