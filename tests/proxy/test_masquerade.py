# SPDX-License-Identifier: MIT
"""What becomes of the phones' Contacts, outward and back."""

from __future__ import annotations

import pytest
from hypothesis import given

from siproxd_tw.config.settings import RoutingConfig, SIPConfig
from siproxd_tw.edits import apply
from siproxd_tw.interfaces import Address, Flow, Side
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI, parse_uri
from tests.support.addresses import two_armed
from tests.support.generated import sip_uris
from tests.support.messages import request, values, wire
from tests.support.signalling import MemoryTransport

NOW = 0.0
PHONE = Flow(MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE), Address("10.0.0.10", 5062), Side.INSIDE)
OUTSIDE = Flow(
    MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE), Address("203.0.113.50", 5060), Side.OUTSIDE
)
VIA = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"


def uri(text: str | bytes) -> SIPURI:
    found = parse_uri(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, SIPURI)
    return found


class Gate:
    """A masquerade and who is registered."""

    def __init__(self, *bound: tuple[str, str, str], port: int = 5060) -> None:
        self.addresses = two_armed()
        self.location = Location()
        self.masquerade = Masquerade(self.addresses, self.location, port)
        for contact, aor, masked in bound:
            self.bind(contact.encode(), aor, masked)

    def bind(self, contact: bytes, aor: str, masked: str, *, local: bool = False) -> Binding:
        binding = Binding(
            uri(contact), contact, uri(aor), uri(masked), NOW + 60, source=PHONE.remote, local=local
        )
        self.location.add(binding)
        return binding

    def hidden(self, message: Message) -> list[str]:
        """Return the Contact lines as the outside sees them."""
        host = self.addresses.advertised(Side.OUTSIDE)
        assert host is not None
        self.original = self.masquerade.hide(message, PHONE, host)
        assert apply(message.original, message.edits()) == bytes(message)
        return values(message, "Contact")


def invite(*headers: str) -> Request:
    parsed = parse(wire(request("INVITE", "sip:bob@sip.other.test", VIA, *headers)))
    assert isinstance(parsed, Request)
    return parsed


def response(status: str, *headers: str) -> Response:
    text = request("INVITE", "sip:x", VIA, "To: <sip:alice@sip.provider.test>;tag=p", *headers)
    parsed = parse(wire(text.replace("INVITE sip:x SIP/2.0", f"SIP/2.0 {status}")))
    assert isinstance(parsed, Response)
    return parsed


ALICE = ("sip:line1@10.0.0.10:5062;line=x", "sip:alice@sip.provider.test", "sip:alice@203.0.113.1")


def test_a_registered_phone_is_its_mask() -> None:
    """The whole URI is replaced, display name and parameters of the header stay."""
    gate = Gate(ALICE)
    message = invite('Contact: "Alice" <sip:line1@10.0.0.10:5062;line=x>;+sip.instance="<urn:uuid:1>"')
    assert gate.hidden(message) == ['"Alice" <sip:alice@203.0.113.1>;+sip.instance="<urn:uuid:1>"']
    assert gate.original == b"sip:line1@10.0.0.10:5062;line=x"


def test_the_port_of_a_contact_may_differ_from_the_registered_one() -> None:
    """So may its parameters; the compact form and a bare URI are Contacts, too."""
    gate = Gate(ALICE)
    assert gate.hidden(invite("m: sip:line1@10.0.0.10;expires=5")) == ["sip:alice@203.0.113.1;expires=5"]
    assert gate.original == b"sip:line1@10.0.0.10"


def test_a_phone_that_is_not_registered_keeps_its_user() -> None:
    """Only host and port become ours, the port always written."""
    gate = Gate()
    message = invite("Contact: <sip:a%20b@10.0.0.10:5062;ob>;q=1")
    assert gate.hidden(message) == ["<sip:a%20b@203.0.113.1:5060;ob>;q=1"]
    assert Gate(port=5070).hidden(invite("Contact: <sip:10.0.0.10>")) == ["<sip:203.0.113.1:5070>"]


def test_of_two_accounts_of_one_line_the_sender_decides() -> None:
    """From in a request, To in a response."""
    gate = Gate(
        ("sip:line@10.0.0.10", "sip:alice@sip.provider.test", "sip:alice@203.0.113.1"),
        ("sip:line@10.0.0.10", "sip:bob@sip.other.test", "sip:bob@203.0.113.1"),
    )
    contact = "Contact: <sip:line@10.0.0.10>"
    assert gate.hidden(invite(contact)) == ["<sip:alice@203.0.113.1>"]
    assert gate.hidden(invite(contact, "From: <sip:bob@sip.other.test>;tag=1")) == ["<sip:bob@203.0.113.1>"]
    assert gate.hidden(response("200 OK", contact, "From: <sip:bob@sip.other.test>;tag=1")) == [
        "<sip:alice@203.0.113.1>"
    ]


def test_what_is_no_sip_address_stays() -> None:
    """`*` and telephone numbers."""
    gate = Gate(ALICE)
    assert gate.hidden(invite("Contact: *")) == ["*"]
    assert gate.original is None
    assert gate.hidden(invite("Contact: <tel:+4930>")) == ["<tel:+4930>"]


def test_a_redirection_to_somebody_else_stays() -> None:
    """A 302 names a third party; a phone or a neighbour inside is hidden even there."""
    gate = Gate(ALICE, ("sip:q@10.0.0.11", "sip:bob@sip.provider.test", "sip:bob@203.0.113.1"))
    moved = response(
        "302 Moved",
        "Contact: <sip:carol@sip.third.test>, <sip:dora@192.0.2.7:5070>;q=0.5",
        "Contact: <sip:q@10.0.0.11:5060>",
        "Contact: <sip:unknown:pw@10.0.0.77;transport=tcp;x=1?Replaces=c1>",
        "Contact: <sip:line1@10.0.0.10>",
    )
    assert gate.hidden(moved) == [
        "<sip:carol@sip.third.test>, <sip:dora@192.0.2.7:5070>;q=0.5",
        "<sip:bob@203.0.113.1>",
        "<sip:unknown:pw@203.0.113.1:5060;x=1?Replaces=c1>",
        "<sip:alice@203.0.113.1>",
    ]
    assert gate.original is None


def test_a_redirection_to_the_phone_itself() -> None:
    """Hidden, even if its network is not among those that are known to be inside."""
    gate = Gate()
    moved = response("302 Moved", "Contact: <sip:other@192.168.9.9:5080>, <sip:third@192.168.9.10>")
    flow = Flow(None, Address("192.168.9.9", 5062), Side.INSIDE)
    gate.masquerade.hide(moved, flow, "203.0.113.1")
    assert values(moved, "Contact") == ["<sip:other@203.0.113.1:5060>, <sip:third@192.168.9.10>"]


@pytest.mark.parametrize("port", ["", ":5060"])
def test_a_contact_that_is_ours_already_stays(port: str) -> None:
    """A call that passes us twice."""
    contact = f"<sip:alice@203.0.113.1{port}>"
    assert Gate().hidden(invite(f"Contact: {contact}")) == [contact]


@pytest.mark.parametrize("contact", ["sip:a@203.0.113.1:4711", "sip:a@10.0.0.1:5061"])
def test_a_contact_at_another_port_of_ours(contact: str) -> None:
    """A phone that learnt the outside address by STUN, and a PBX on the gateway: neither is reached there."""
    assert Gate().hidden(invite(f"Contact: <{contact}>")) == ["<sip:a@203.0.113.1:5060>"]


def test_a_name_in_a_request_is_the_phone() -> None:
    """Outside a redirection a Contact is its sender, whatever the host is called."""
    assert Gate().hidden(invite("Contact: <sip:a@phone.local:5062>")) == ["<sip:a@203.0.113.1:5060>"]


def test_the_mask_follows_the_outside_address() -> None:
    """At once, not only with the next REGISTER."""
    gate = Gate(ALICE)
    gate.addresses.set(Side.OUTSIDE, "203.0.113.99")
    contact = "Contact: <sip:line1@10.0.0.10>"
    assert gate.hidden(invite(contact)) == ["<sip:alice@203.0.113.99>"]
    assert [str(b.masked) for b in gate.location] == ["sip:alice@203.0.113.99"]


def test_whoever_registers_here_is_known_by_the_address_of_record() -> None:
    """A domain of ours is no address that could change."""
    gate = Gate()
    gate.bind(b"sip:a@10.0.0.10", "sip:alice@foo.test", "sip:alice@foo.test", local=True)
    assert gate.hidden(invite("Contact: <sip:a@10.0.0.10>")) == ["<sip:alice@foo.test>"]


def test_an_address_of_record_at_the_inside_address_is_not_shown() -> None:
    """A phone registered at 10.0.0.1: nobody outside could send its next request there."""
    gate = Gate()
    gate.bind(b"sip:a@10.0.0.10", "sip:alice@10.0.0.1", "sip:alice@10.0.0.1", local=True)
    assert gate.hidden(invite("Contact: <sip:a@10.0.0.10>")) == ["<sip:alice@203.0.113.1>"]
    assert [str(b.masked) for b in gate.location] == ["sip:alice@10.0.0.1"]


def test_nothing_to_hide() -> None:
    """Without Contact the message stays as it is."""
    gate = Gate(ALICE)
    assert gate.hidden(invite()) == []
    assert gate.original is None


def test_show_gives_back_what_is_known() -> None:
    """Every Contact that is the mask of one of the bindings, and no other."""
    gate = Gate()
    alice, other = gate.bind(ALICE[0].encode(), *ALICE[1:]), gate.bind(b"sip:x@h", *ALICE[1:])
    listed = response(
        "200 OK", "Contact: <sip:alice@203.0.113.1>;q=1", "Contact: <sip:alice@192.0.2.1>, <tel:1>"
    )
    gate.masquerade.show(listed, [alice])
    assert values(listed, "Contact") == [
        "<sip:line1@10.0.0.10:5062;line=x>;q=1",
        "<sip:alice@192.0.2.1>, <tel:1>",
    ]
    gate.masquerade.show(listed, [other])
    assert "sip:x@h" not in " ".join(values(listed, "Contact"))


# by which transport


@pytest.mark.parametrize(
    ("contact", "transport", "known", "stranger"),
    [
        ("sip:a@10.0.0.10;transport=tcp", "", "sip:alice@203.0.113.1", "sip:a@203.0.113.1:5060"),
        (
            "sip:a@10.0.0.10;TRANSPORT=tls;ob;maddr=10.0.0.9;ttl=1",
            "",
            "sip:alice@203.0.113.1",
            "sip:a@203.0.113.1:5060;ob",
        ),
        (
            "sip:a@10.0.0.10;transport=udp;line=7",
            "tcp",
            "sip:alice@203.0.113.1;transport=tcp",
            "sip:a@203.0.113.1:5060;line=7;transport=tcp",
        ),
        (
            "sip:a@10.0.0.10",
            "tls",
            "sip:alice@203.0.113.1;transport=tls",
            "sip:a@203.0.113.1:5061;transport=tls",
        ),
        ("sips:a@10.0.0.10", "tls", "sips:alice@203.0.113.1", "sips:a@203.0.113.1:5061"),
        ("sips:a@10.0.0.10;transport=tcp", "", "sip:alice@203.0.113.1", "sip:a@203.0.113.1:5060"),
    ],
)
def test_the_transport_is_that_of_the_outside_leg(
    contact: str, transport: str, known: str, stranger: str
) -> None:
    """How the phone is reached inside does not show outside, whether it is registered or not."""
    for expected, gate in ((known, Gate((contact, *ALICE[1:]))), (stranger, Gate())):
        message = invite(f"Contact: <{contact}>")
        gate.masquerade.hide(message, PHONE, "203.0.113.1", transport=transport)
        assert values(message, "Contact") == [f"<{expected}>"]


def test_ports_of_other_transports() -> None:
    """One that is not the default is written, and a Contact at it is ours already."""
    gate = Gate(ALICE)
    masquerade = Masquerade(gate.addresses, gate.location, 5060, {"tls": 5071})
    message = invite("Contact: <sip:line1@10.0.0.10>")
    masquerade.hide(message, PHONE, "gw.example.test", transport="tls")
    assert values(message, "Contact") == ["<sip:alice@gw.example.test:5071;transport=tls>"]
    for ours in (
        "<sip:x@203.0.113.1:5071;transport=tls>",
        "<sips:x@203.0.113.1:5071>",
        "<sip:x@203.0.113.1>",
    ):
        message = invite(f"Contact: {ours}")
        masquerade.hide(message, PHONE, "203.0.113.1")
        assert values(message, "Contact") == [ours]
    message = invite("Contact: <sip:x@203.0.113.1:5071>")  # a program on the gateway, by UDP
    masquerade.hide(message, PHONE, "203.0.113.1")
    assert values(message, "Contact") == ["<sip:x@203.0.113.1:5060>"]


@pytest.mark.parametrize(
    ("contact", "stays"),
    [
        ("sip:alice@sip.provider.test;gr=urn:uuid:1", True),
        ("sip:tgruu.7@sip.provider.test;gr", True),
        ("sip:alice@10.0.0.10;gr", False),
        ("sip:alice@10.0.0.99;gr", False),
    ],
)
def test_a_gruu_stays(contact: str, stays: bool) -> None:
    """It leads to the provider, who knows the phone (RFC 5627 section 4.4); an inside address does not."""
    shown = Gate().hidden(invite(f"Contact: <{contact}>"))
    assert (shown == [f"<{contact}>"]) is stays


# what stands for whom


@pytest.mark.parametrize(
    ("contact", "ours"),
    [
        ("<sip:alice@203.0.113.1:5080;x=1>", True),
        ("<sip:%61LICE@203.0.113.1>", True),
        ("<sip:alice@10.0.0.1>", True),
        ("<sip:alice@198.51.100.9>", False),
        ('<sip:alice@198.51.100.9>;+sip.instance="<URN:1>";reg-id=1', True),
        ('<sip:alice@198.51.100.9>;+sip.instance="<urn:1>"', False),
        ('<sip:carol@203.0.113.1>;+sip.instance="<urn:1>";reg-id=1', False),
        ("<tel:+4930>", False),
    ],
)
def test_what_a_registrar_may_make_of_a_mask(contact: str, ours: bool) -> None:
    """It is ours by user and an address of ours, or by user and instance."""
    gate = Gate()
    alice = gate.bind(b"sip:x@10.0.0.10", *ALICE[1:])
    alice.instance, alice.reg_id = b'"<urn:1>"', b"1"
    (found,) = response("200 OK", f"Contact: {contact}").contacts()
    assert gate.masquerade.stands_for(found, [alice]) is (alice if ours else None)


def test_of_two_that_differ_in_case_the_exact_one() -> None:
    """A user is compared with case as long as that finds somebody."""
    gate = Gate()
    alice = gate.bind(b"sip:x@10.0.0.10", *ALICE[1:])
    other = gate.bind(b"sip:y@10.0.0.11", "sip:Alice@sip.provider.test", "sip:Alice@203.0.113.1")
    (found,) = response("200 OK", "Contact: <sip:Alice@203.0.113.1>").contacts()
    assert gate.masquerade.stands_for(found, [alice, other]) is other


# there and back


def came_back(gate: Gate, dialogs: Dialogs, contact: str, *headers: str) -> bytes | None:
    """Return the Request-URI with which a request for the Contact `contact` reaches the phone."""
    target = contact.partition("<")[2].partition(">")[0]
    routing = Routing(RoutingConfig(), gate.addresses, gate.location, dialogs, SIPConfig())
    text = request("BYE", target, "Via: SIP/2.0/UDP 203.0.113.50:5060;branch=z9hG4bKb", *headers)
    incoming = parse(text.replace("\n", "\r\n").encode("latin-1"))
    assert isinstance(incoming, Request)
    return routing.targets(incoming, OUTSIDE, NOW)[0].uri


@given(sip_uris)
def test_masked_and_unmasked_is_the_contact_of_the_registration(contact: bytes) -> None:
    """Whatever URI a phone registers, requests to its mask reach it with exactly these bytes."""
    gate = Gate()
    gate.bind(contact, "sip:alice@sip.provider.test", "sip:alice@203.0.113.1")
    message = invite("Contact: <sip:replaced@h>")
    message.replace_uri(message.contacts()[0], contact, "test")
    gate.masquerade.hide(message, PHONE, "203.0.113.1")
    masked = message.contacts()[0].text.decode("latin-1")
    assert masked == "<sip:alice@203.0.113.1>"
    assert came_back(gate, Dialogs(), masked, "To: <sip:alice@sip.provider.test>") == contact


@given(sip_uris.filter(lambda text: not text.lower().startswith(b"sips") and b"%00" not in text))
def test_in_a_dialog_the_peer_gets_exactly_the_contact_that_was_given_there(contact: bytes) -> None:
    """A phone that is not registered, too: its dialog remembers what was hidden."""
    gate, dialogs = Gate(), Dialogs()
    message = invite("Contact: <sip:replaced@h>")
    message.replace_uri(message.contacts()[0], contact, "test")
    original = gate.masquerade.hide(message, PHONE, "203.0.113.1")
    assert original == contact
    dialogs.remember(b"c1", b"a1", original, PHONE, NOW)
    masked = message.contacts()[0].text.decode("latin-1")
    assert uri(message.contacts()[0].uri_text).host == "203.0.113.1"
    assert came_back(gate, dialogs, masked, "To: <sip:alice@sip.provider.test>;tag=a1") == contact


@pytest.mark.parametrize("port", [5060, 5070])
def test_port_of_masks(port: int) -> None:
    """5060 is not written."""
    assert Gate(port=port).masquerade.uri_port == (None if port == 5060 else port)
