# SPDX-License-Identifier: MIT
"""What messages wear on each side, and that nothing else of them is touched."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import Refused, Side
from siproxd_tw.proxy.location import Binding
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import parse_uri
from tests.support.generated import requests, responses
from tests.support.messages import differences, request, values, wire
from tests.support.rewriting import PHONE, PROVIDER, Wardrobe, branch_of, violations
from tests.support.signalling import MemoryTransport

VIAS = "Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bKours, SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtheirs"


def asked(method: str = "INVITE", *headers: str) -> Request:
    found = parse(
        wire(request(method, "sip:bob@sip.other.test", "Via: SIP/2.0/UDP h;branch=z9hG4bKa", *headers))
    )
    assert isinstance(found, Request)
    return found


def answered(status: str, *headers: str, method: str = "INVITE") -> Response:
    text = request(method, "sip:x", VIAS, "To: <sip:bob@sip.other.test>;tag=b1", *headers)
    found = parse(wire(text.replace(f"{method} sip:x SIP/2.0", f"SIP/2.0 {status}")))
    assert isinstance(found, Response)
    return found


def looks(message: Message, trace: str) -> None:
    assert differences(message, trace) == []


@pytest.fixture
def wardrobe() -> Wardrobe:
    return Wardrobe()


def test_a_request_to_the_outside(wardrobe: Wardrobe) -> None:
    """Via on top, Contact hidden, our Record-Route gone, one hop less; the phone's Via stays below."""
    routed = "Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:p.inside.test;lr>"
    sent = wardrobe.send_on(asked("INVITE", "Contact: <sip:a@10.0.0.10>", routed), Side.OUTSIDE)
    looks(
        sent,
        """
        INVITE sip:bob@sip.other.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP h;branch=z9hG4bKa
        Record-Route: <sip:p.inside.test;lr>
        Contact: <sip:a@203.0.113.1:5060>
        Max-Forwards: 69
        no User-Agent
        """,
    )


def test_a_request_to_a_phone(wardrobe: Wardrobe) -> None:
    """Via and Record-Route of the inside address; the peer's Contact is the peer's."""
    received = asked("INVITE", "Contact: <sip:carol@192.0.2.7>", "Record-Route: <sip:p.test;lr>")
    looks(
        wardrobe.send_on(received, Side.INSIDE, b"sip:alice@10.0.0.10;ob"),
        """
        INVITE sip:alice@10.0.0.10;ob SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…, SIP/2.0/UDP h;branch=z9hG4bKa
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:p.test;lr>
        Contact: <sip:carol@192.0.2.7>
        """,
    )


@pytest.mark.parametrize("method", ["BYE", "ACK", "REGISTER", "CANCEL"])
def test_requests_that_leave_no_route_behind(wardrobe: Wardrobe, method: str) -> None:
    """They get no Record-Route; every other method does, known or not."""
    assert values(wardrobe.send_on(asked(method), Side.INSIDE), "Record-Route") == []
    for other in ("INVITE", "SUBSCRIBE", "NOTIFY", "MESSAGE", "UNHEARDOF"):
        assert len(values(wardrobe.send_on(asked(other), Side.INSIDE), "Record-Route")) == 1


def test_the_contacts_of_a_register_are_the_registrars_matter(wardrobe: Wardrobe) -> None:
    """They are masked before, with bindings that do not exist yet."""
    sent = wardrobe.send_on(asked("REGISTER", "Contact: <sip:a@10.0.0.10>"), Side.OUTSIDE)
    assert values(sent, "Contact") == ["<sip:a@10.0.0.10>"]


def test_a_response_to_the_outside(wardrobe: Wardrobe) -> None:
    """Our Via is gone, the phone hidden, our Record-Route, which the phone copied, taken out."""
    received = answered(
        "200 OK",
        "Record-Route: <sip:siproxd@10.0.0.1:5060;lr>, <sip:p.test;lr>",
        "Contact: <sip:a@10.0.0.10>",
    )
    looks(
        wardrobe.send_back(received, Side.OUTSIDE),
        """
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtheirs
        Record-Route: <sip:p.test;lr>
        Contact: <sip:a@203.0.113.1:5060>
        """,
    )


def test_a_response_to_a_phone(wardrobe: Wardrobe) -> None:
    """Our Record-Route goes last, so that the phone's next request comes here first (12.1.2)."""
    received = answered("200 OK", "Record-Route: <sip:p.test;lr>", "Contact: <sip:carol@192.0.2.7>")
    looks(
        wardrobe.send_back(received, Side.INSIDE),
        """
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKtheirs
        Record-Route: <sip:p.test;lr>, <sip:siproxd@10.0.0.1:5060;lr>
        Contact: <sip:carol@192.0.2.7>
        """,
    )


def test_between_two_phones(wardrobe: Wardrobe) -> None:
    """A call that stays inside has no Contact to hide, and its Record-Route is in the request already."""
    received = answered(
        "200 OK", "Record-Route: <sip:siproxd@10.0.0.1:5060;lr>", "Contact: <sip:b@10.0.0.11>"
    )
    copy = received.copy()
    branch = branch_of(PHONE, PHONE)
    wardrobe.dress.response(copy, branch.context, branch, PHONE, 0.0)
    assert bytes(copy) == bytes(received)


def test_a_phone_has_no_record_route_while_the_inside_has_no_address(wardrobe: Wardrobe) -> None:
    """A response that we can still deliver is delivered; a request cannot be sent."""
    wardrobe.addresses.set(Side.INSIDE, None)
    assert values(wardrobe.send_back(answered("200 OK"), Side.INSIDE), "Record-Route") == []
    with pytest.raises(Refused) as caught:
        wardrobe.send_on(asked(), Side.INSIDE)
    assert caught.value.status == 503


def test_ua_string() -> None:
    """It is said outside and only there."""
    wardrobe = Wardrobe(SIPConfig(ua_string="Gateway"))
    agent = "User-Agent: Phone/1.0"
    assert values(wardrobe.send_on(asked("INVITE", agent), Side.OUTSIDE), "User-Agent") == ["Gateway"]
    assert values(wardrobe.send_on(asked("INVITE", agent), Side.INSIDE), "User-Agent") == ["Phone/1.0"]
    assert values(wardrobe.send_back(answered("200 OK"), Side.OUTSIDE), "User-Agent") == ["Gateway"]
    assert values(wardrobe.send_back(answered("200 OK", agent), Side.INSIDE), "User-Agent") == ["Phone/1.0"]


@pytest.mark.parametrize(("inside", "outside"), [(True, False), (False, True)])
def test_rport_per_side(inside: bool, outside: bool) -> None:
    """`use_rport` of each side decides about our Via there."""
    wardrobe = Wardrobe(SIPConfig(rport_inside=inside, rport_outside=outside))
    for side, expected in ((Side.INSIDE, inside), (Side.OUTSIDE, outside)):
        via = wardrobe.send_on(asked(), side).top_via
        assert (via.param_span(b"rport") is not None) is expected


@pytest.mark.parametrize(("certificate", "transport"), [(True, "TLS"), (True, "TCP"), (False, "TLS")])
def test_connections_are_offered_by_tls_only(certificate: bool, transport: str) -> None:
    """And only by somebody whom the other end can know again (RFC 5923 section 5)."""
    wardrobe = Wardrobe(has_certificate=certificate)
    flow = PROVIDER._replace(
        transport=MemoryTransport(PROVIDER.transport.local, Side.OUTSIDE, name=transport, reliable=True)
    )
    copy = asked()
    wardrobe.dress.via(copy, flow, b"z9hG4bKours")
    offered = copy.top_via.param(b"alias") is not None
    assert offered == (certificate and transport == "TLS")


def test_our_port_is_in_everything() -> None:
    """Via, Record-Route and Contact of a proxy that listens elsewhere."""
    wardrobe = Wardrobe(SIPConfig(port=5070))
    out = wardrobe.send_on(asked("INVITE", "Contact: <sip:a@10.0.0.10>"), Side.OUTSIDE)
    assert out.top_via.sent_by == ("203.0.113.1", 5070)
    assert values(out, "Contact") == ["<sip:a@203.0.113.1:5070>"]
    into = wardrobe.send_on(asked(), Side.INSIDE)
    assert values(into, "Record-Route") == ["<sip:siproxd@10.0.0.1:5070;lr>"]


# what dialogs remember


def test_the_phones_contact_is_remembered_with_its_tag(wardrobe: Wardrobe) -> None:
    """By From in what it sends, by To in what it answers; exactly as it wrote it."""
    wardrobe.send_on(asked("INVITE", "Contact: <sip:a@10.0.0.10:5062;x=%31>"), Side.OUTSIDE)
    party = wardrobe.dialogs.find(b"c1", b"a1", 0.0)
    assert party is not None
    assert (party.contact, party.flow) == (b"sip:a@10.0.0.10:5062;x=%31", PHONE)
    wardrobe.send_back(answered("180 Ringing", "Contact: <sip:b@10.0.0.11>"), Side.OUTSIDE)
    party = wardrobe.dialogs.find(b"c1", b"b1", 0.0)
    assert party is not None
    assert party.contact == b"sip:b@10.0.0.11"


def test_what_makes_no_dialog_is_not_remembered(wardrobe: Wardrobe) -> None:
    """Other methods, refusals, the outside's Contacts, several Contacts, and none."""
    contact = "Contact: <sip:a@10.0.0.10>"
    for method in ("REGISTER", "MESSAGE", "BYE", "OPTIONS", "INFO"):
        wardrobe.send_on(asked(method, contact), Side.OUTSIDE)
    wardrobe.send_on(asked("INVITE", contact), Side.INSIDE)
    wardrobe.send_on(asked("INVITE", contact, contact), Side.OUTSIDE)
    wardrobe.send_on(asked("INVITE"), Side.OUTSIDE)
    wardrobe.send_on(asked("INVITE", contact, "From: <sip:a@b.test>"), Side.OUTSIDE)
    wardrobe.send_back(answered("302 Moved", contact), Side.OUTSIDE)
    wardrobe.send_back(answered("200 OK", contact), Side.INSIDE)
    assert len(wardrobe.dialogs) == 0
    for method in ("INVITE", "UPDATE", "SUBSCRIBE", "NOTIFY", "REFER"):
        wardrobe.send_on(asked(method, contact, f"Call-ID: {method}"), Side.OUTSIDE)
    assert len(wardrobe.dialogs) == 5


# the rewrite contract

DRESSED = settings(max_examples=60, suppress_health_check=[HealthCheck.too_slow])


def wardrobe_with_alice() -> Wardrobe:
    wardrobe = Wardrobe()
    for contact in (b"sip:alice@10.0.0.10", b"sip:%61lice@10.0.0.11"):
        found = parse_uri(contact)
        wardrobe.location.add(
            Binding(found, contact, parse_uri(b"sip:alice@sip.provider.test"), parse_uri(b"sip:alice@h"), 9.0)  # type: ignore[arg-type]
        )
    return wardrobe


@DRESSED
@given(requests)
def test_requests_keep_everything_else(received: Request) -> None:
    """Whatever a request looks like: edits explain all, other fields have every byte, in order."""
    wardrobe = wardrobe_with_alice()
    outward = wardrobe.send_on(received, Side.OUTSIDE)
    assert violations(received, outward) == []
    inward = wardrobe.send_on(received, Side.INSIDE, b"sip:alice@10.0.0.10:5062;ob")
    assert violations(received, inward) == []
    assert [c.text for c in inward.contacts()] == [c.text for c in received.contacts()]
    assert [via.text for via in outward.vias()[1:]] == [via.text for via in received.vias()]
    assert bytes(received) == received.original


@DRESSED
@given(responses)
def test_responses_keep_everything_else(received: Response) -> None:
    """The same for responses, which lose their topmost Via."""
    wardrobe = wardrobe_with_alice()
    outward = wardrobe.send_back(received, Side.OUTSIDE)
    assert violations(received, outward) == []
    inward = wardrobe.send_back(received, Side.INSIDE)
    assert violations(received, inward) == []
    assert [c.text for c in inward.contacts()] == [c.text for c in received.contacts()]
    assert [via.text for via in inward.vias()] == [via.text for via in received.vias()[1:]]
    assert bytes(received) == received.original


def test_the_contract_is_not_empty() -> None:
    """A message with a field too many, a field changed or an edit forgotten is found out."""
    received = asked("INVITE", "X-Odd: 1", "Contact: <sip:a@10.0.0.10>;q=1")
    for name, value in ((b"x-odd", b"2"), (b"contact", b"<sip:a@10.0.0.10>;q=2"), (b"call-id", b"c2")):
        changed = received.copy()
        field = changed.first(name)
        assert field is not None
        changed.replace_value(field, value, "test")
        assert violations(received, changed) != []
    added = received.copy()
    added.insert(b"X-New: 1", "test")
    assert violations(received, added) != []
    sent = received.copy()
    sent.insert(b"Via: SIP/2.0/UDP o", "our Via", before=b"via")
    assert violations(received, sent) == []
    secretly = received.copy()
    secretly.top_via.field.raw = b"Via: SIP/2.0/UDP x;branch=z9hG4bKa\r\n"
    secretly.insert(b"Via: SIP/2.0/UDP o", "test", before=b"via")
    assert violations(received, secretly) == [
        "the edits do not give the message",
        "a Via of somebody else changed",
    ]
