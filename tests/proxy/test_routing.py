# SPDX-License-Identifier: MIT
"""Where requests go: told by side, next hop and Request-URI."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import DomainProxy, RoutingConfig, SIPConfig
from siproxd_tw.interfaces import Address, Flow, Refused, Side
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.proxy.routing import OURSELVES, Routing, Target
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI, parse_uri
from tests.support.addresses import FixedAddresses, one_armed, two_armed
from tests.support.messages import request, values, wire
from tests.support.signalling import MemoryTransport

NOW = 1_800_000_000.0
HERE = MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE)
P = Flow(HERE, Address("10.0.0.10", 5062), Side.INSIDE)
STRANGER = Flow(HERE, Address("10.0.0.66", 5060), Side.INSIDE)
W = Flow(
    MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE), Address("203.0.113.51", 5060), Side.OUTSIDE
)

A_PHONE = "inside 10.0.0.10:5062 as sip:alice@10.0.0.10:5062;line=x"
BOBS = "inside 10.0.0.11 as sip:bob@10.0.0.11"


def uri(text: str) -> SIPURI:
    found = parse_uri(text.encode())
    assert isinstance(found, SIPURI)
    return found


class Exchange:
    """A routing, Alice's phone and Bob's."""

    def __init__(
        self,
        config: RoutingConfig | None = None,
        *,
        addresses: FixedAddresses | None = None,
        port: int = 5060,
    ) -> None:
        self.addresses = addresses or two_armed()
        self.location = Location()
        self.dialogs = Dialogs()
        sip = SIPConfig(port=port)
        self.routing = Routing(config or RoutingConfig(), self.addresses, self.location, self.dialogs, sip)
        self.bind("sip:alice@10.0.0.10:5062;line=x", "sip:alice@sip.provider.test", "sip:alice@203.0.113.1")
        self.bind("sip:bob@10.0.0.11", "sip:bob@sip.provider.test", "sip:bob@203.0.113.1")

    def bind(
        self, contact: str, aor: str, masked: str, *, local: bool = False, source: Address | None = None
    ) -> None:
        self.location.add(
            Binding(uri(contact), contact.encode(), uri(aor), uri(masked), NOW + 60, source, local=local)
        )

    def target(self, flow: Flow, target: str, *headers: str, method: str = "INVITE", now: float = NOW) -> str:
        """Return where a request goes as "side host:port as Request-URI", or how it is refused."""
        message = parsed(target, *headers, method=method)
        try:
            found = self.routing.targets(message, flow, now)
        except Refused as refusal:
            return f"{refusal.status} {refusal.why}"
        return ", ".join(told(target) for target in found)


def told(target: Target) -> str:
    host, port, transport, secure = target.destination
    if target.hop is not None:
        host, port = target.hop.address
        transport = "" if target.hop.transport == "UDP" else target.hop.transport
        secure = False
    words = [target.side.value, host if port is None or (target.hop and port == 5060) else f"{host}:{port}"]
    words += [f"by {transport}"] * bool(transport) + ["securely"] * secure
    return " ".join(words) + ("" if target.uri is None else f" as {target.uri.decode()}")


def parsed(target: str, *headers: str, method: str = "INVITE") -> Request:
    defaults = [] if any(header.startswith("To:") for header in headers) else ["To: <sip:x@y.test>"]
    via = "Via: SIP/2.0/UDP 192.0.2.1:5060;branch=z9hG4bKa"
    message = parse(wire(request(method, target, via, *defaults, *headers)))
    assert isinstance(message, Request)
    return message


@pytest.fixture
def exchange() -> Exchange:
    return Exchange()


# 16.4


def preprocessed(target: str, *routes: str) -> tuple[str, list[str]]:
    message = parsed(target, *(f"Route: {route}" for route in routes))
    Exchange().routing.preprocess(message)
    return message.uri_text.decode(), values(message, "Route")


def test_our_own_route_is_taken_off() -> None:
    """Whatever its user, and only with our port; two in a row, as the transport may change here."""
    target = "sip:bob@192.0.2.9"
    assert preprocessed(target) == (target, [])
    assert preprocessed(target, "<sip:siproxd@10.0.0.1:5060;lr>") == (target, [])
    assert preprocessed(target, "<sip:10.0.0.1;lr>, <sip:p.test;lr>") == (target, ["<sip:p.test;lr>"])
    assert preprocessed(target, "<sip:x@203.0.113.1>", "<sip:10.0.0.1;transport=tcp>") == (target, [])
    assert preprocessed(target, *["<sip:10.0.0.1>"] * 3) == (target, ["<sip:10.0.0.1>"])
    assert preprocessed(target, "<sip:10.0.0.1:5070;lr>") == (target, ["<sip:10.0.0.1:5070;lr>"])
    assert preprocessed(target, "<sip:p.test;lr>", "<sip:10.0.0.1>") == (
        target,
        ["<sip:p.test;lr>", "<sip:10.0.0.1>"],
    )


def test_a_strict_router_upstream_is_undone() -> None:
    """Our Record-Route as the Request-URI: the last Route is what was meant."""
    ours, target = "sip:siproxd@10.0.0.1:5060;lr", "sip:bob@192.0.2.9;x=1"
    assert preprocessed(ours, f"<{target}>") == (target, [])
    assert preprocessed(ours, "<sip:p.test;lr>", f"<{target}>") == (target, ["<sip:p.test;lr>"])
    assert preprocessed(ours, f"<sip:10.0.0.1;lr>, <{target}>") == (target, [])
    assert preprocessed("sip:alice@10.0.0.1", f"<{target}>") == ("sip:alice@10.0.0.1", [f"<{target}>"])
    assert preprocessed(ours) == (ours, [])


# from outside


@pytest.mark.parametrize(
    ("target", "to", "goes"),
    [
        ("sip:alice@203.0.113.1", "sip:x@y.test", A_PHONE),
        ("sip:%61lice@203.0.113.1:5060;x=1", "sip:x@y.test", A_PHONE),
        ("sip:bob@203.0.113.1", "sip:alice@sip.provider.test", BOBS),
        ("sip:alice@sip.provider.test", "sip:x@y.test", A_PHONE),
        ("sip:bob@elsewhere.test", "sip:alice@sip.provider.test", BOBS),
        ("sip:bob@203.0.113.1", "sip:alice@sip.provider.test", BOBS),
        ("sip:+4930@203.0.113.1", "sip:alice@sip.provider.test", A_PHONE),
        ("sip:+4930@192.0.2.9", "sip:bob@y.test", BOBS),
        ("sip:203.0.113.1", "sip:bob@y.test", BOBS),
        ("sip:nobody@203.0.113.1", "sip:x@y.test", "404 no such phone"),
        ("sip:nobody@sip.third.test", "sip:x@y.test", "404 no such phone"),
        ("sip:+4930@203.0.113.1", "tel:+4930", "404 no such phone"),
        ("sip:203.0.113.1", "sip:203.0.113.1", f"404 {OURSELVES}"),
        ("tel:+4930", "sip:x@y.test", "404 no such phone"),
        ("sip:Alice@203.0.113.1", "sip:x@y.test", "404 no such phone"),
    ],
)
def test_from_outside(exchange: Exchange, target: str, to: str, goes: str) -> None:
    """Mask, address of record, user alone, user of To; the Request-URI before To; else to nobody."""
    assert exchange.target(W, target, f"To: <{to}>") == goes


def test_from_and_to_decide_nothing_about_the_direction(exchange: Exchange) -> None:
    """The provider names another node of its own in To, and our own number in From."""
    headers = ("To: <sip:4711@192.0.2.99>", "From: <sip:alice@sip.provider.test>;tag=f")
    assert exchange.target(W, "sip:bob@203.0.113.1", *headers) == BOBS
    assert exchange.target(W, "sip:4711@192.0.2.99", *headers) == "404 no such phone"


def test_this_is_no_open_relay() -> None:
    """From outside nothing goes outside: not by Request-URI, Route, dialog or outbound proxy."""
    exchange = Exchange(RoutingConfig(proxy_host="proxy.test"))
    victim, dialog = "sip:victim@sip.third.test", "To: <sip:x@y.test>;tag=t"
    assert exchange.target(W, victim) == "404 no such phone"
    assert exchange.target(W, victim, "Route: <sip:sip.third.test;lr>") == "404 no such phone"
    assert exchange.target(W, victim, dialog) == "481 no such dialog"


def test_a_route_of_somebody_else_does_not_keep_a_call_from_its_phone(exchange: Exchange) -> None:
    """What comes from outside ends here, whatever Route is left."""
    assert exchange.target(W, "sip:alice@203.0.113.1", "Route: <sip:p.test;lr>") == A_PHONE


def test_the_address_has_changed(exchange: Exchange) -> None:
    """Masks with the old address still lead to the phone, those with the new one do already."""
    exchange.addresses.set(Side.OUTSIDE, "203.0.113.99")
    assert exchange.target(W, "sip:bob@203.0.113.1") == BOBS
    assert exchange.target(W, "sip:bob@203.0.113.99") == BOBS


def test_another_port_is_not_us() -> None:
    """A proxy on 5070 is not meant by a URI without port; user names still find phones."""
    exchange = Exchange(port=5070)
    assert exchange.routing.is_own("203.0.113.1", 5070)
    assert not exchange.routing.is_own("203.0.113.1", None)
    assert exchange.target(P, "sip:nobody@10.0.0.1:5070") == "404 no such phone"
    assert exchange.target(P, "sip:nobody@10.0.0.1") == "inside 10.0.0.1"


def test_a_registration_that_is_over(exchange: Exchange) -> None:
    """After expiry and grace nobody is found by any name."""
    late = NOW + 70
    for target in ("sip:alice@203.0.113.1", "sip:alice@sip.provider.test", "sip:alice@x.test"):
        assert exchange.target(W, target, now=NOW + 64) == A_PHONE
        assert exchange.target(W, target, now=late) == "404 no such phone"


def test_two_phones_of_one_user(exchange: Exchange) -> None:
    """Both ring when their address of record is called; the mask says which of them is meant."""
    exchange.bind("sip:a@10.0.0.12", "sip:alice@sip.provider.test", "sip:alice~9@203.0.113.1")
    both = f"{A_PHONE}, inside 10.0.0.12 as sip:a@10.0.0.12"
    assert exchange.target(W, "sip:alice@sip.provider.test") == both
    assert exchange.target(W, "sip:alice~9@203.0.113.1") == "inside 10.0.0.12 as sip:a@10.0.0.12"
    assert exchange.target(W, "sip:alice@203.0.113.1") == A_PHONE


def test_a_phone_behind_its_own_router(exchange: Exchange) -> None:
    """The request goes to where the REGISTER came from, with the Contact it gave."""
    exchange.bind("sip:c@192.168.7.7", "sip:c@p.test", "sip:c@203.0.113.1", source=Address("10.0.0.20", 1024))
    assert exchange.target(W, "sip:c@203.0.113.1") == "inside 10.0.0.20:1024 as sip:c@192.168.7.7"


# in a dialog


def test_in_a_dialog_the_contact_of_the_dialog_counts(exchange: Exchange) -> None:
    """Byte for byte, also when nobody is registered any more and whatever the Request-URI says."""
    exchange.dialogs.remember(b"c1", b"a1", b"sip:%37@10.0.0.10:6000;ob", P, NOW)
    to = "To: <sip:alice@sip.provider.test>;tag=a1"
    expected = "inside 10.0.0.10:6000 as sip:%37@10.0.0.10:6000;ob"
    assert exchange.target(W, "sip:alice@203.0.113.1", to, method="BYE") == expected
    assert exchange.target(W, "sip:whatever@203.0.113.1", to, method="BYE", now=NOW + 600) == expected
    assert exchange.target(W, "sip:alice@203.0.113.1", to, "Call-ID: c2") == A_PHONE
    assert exchange.target(W, "sip:gone@203.0.113.1", to, "Call-ID: c2") == "481 no such dialog"


@pytest.mark.parametrize("contact", ["sip:a@192.168.7.7", "sip:a@phone.local:99", "tel:+4930"])
def test_a_phone_in_a_dialog_that_is_not_where_its_contact_says(exchange: Exchange, contact: str) -> None:
    """It is where it speaks from."""
    exchange.dialogs.remember(b"c1", b"a1", contact.encode(), P, NOW)
    to = "To: <sip:alice@sip.provider.test>;tag=a1"
    assert exchange.target(W, "sip:x@203.0.113.1", to) == f"inside 10.0.0.10:5062 as {contact}"


def test_headers_in_a_contact_are_no_part_of_a_request_uri(exchange: Exchange) -> None:
    """Table 1 of RFC 3261 19.1.1; everything before them stays."""
    exchange.bind("sip:c%63@10.0.0.12;ob?Subject=x", "sip:c@p.test", "sip:c@203.0.113.1")
    assert exchange.target(W, "sip:c@203.0.113.1") == "inside 10.0.0.12 as sip:c%63@10.0.0.12;ob"
    exchange.dialogs.remember(b"c1", b"a1", b"sip:a@10.0.0.10?Route=%3Csip:x%3E", P, NOW)
    to = "To: <sip:alice@sip.provider.test>;tag=a1"
    assert exchange.target(W, "sip:x@203.0.113.1", to) == "inside 10.0.0.10 as sip:a@10.0.0.10"


def test_a_dialog_between_phones_by_way_of_our_address(exchange: Exchange) -> None:
    """A phone that calls the mask of another one reaches the dialog's Contact."""
    exchange.dialogs.remember(b"c1", b"a1", b"sip:x@10.0.0.10", P, NOW)
    to = "To: <sip:alice@sip.provider.test>;tag=a1"
    assert exchange.target(STRANGER, "sip:alice@203.0.113.1", to) == "inside 10.0.0.10 as sip:x@10.0.0.10"


# from inside


@pytest.mark.parametrize(
    ("target", "goes"),
    [
        ("sip:bob@10.0.0.1", BOBS),
        ("sip:bob@203.0.113.1", BOBS),
        ("sip:bob@203.0.113.1", BOBS),
        ("sip:bob@sip.provider.test", "outside sip.provider.test"),
        ("sip:bob@sip.third.test:5080", "outside sip.third.test:5080"),
        ("sip:dora@203.0.113.60:5090", "outside 203.0.113.60:5090"),
        ("sip:pbx@10.0.0.5", "inside 10.0.0.5"),
        ("sip:nobody@10.0.0.1", "404 no such phone"),
        ("sip:10.0.0.1", f"404 {OURSELVES}"),
        ("sip:203.0.113.1", f"404 {OURSELVES}"),
        ("sip:bob@999.1.1.1", "outside 999.1.1.1"),
        ("sip:bob@12345", "outside 12345"),
        ("sip:bob@10.0.0.5.", "outside 10.0.0.5."),
        ("tel:+4930", "416 unsupported URI scheme"),
    ],
)
def test_from_inside(exchange: Exchange, target: str, goes: str) -> None:
    """Phones at our addresses directly, everybody else by the Request-URI; no phone by user alone."""
    assert exchange.target(P, target) == goes


def test_a_domain_that_we_are_registrar_of(exchange: Exchange) -> None:
    """Its users are called directly; for the others DNS says whether the domain is ours alone."""
    exchange.bind("sip:c@10.0.0.12", "sip:carol@foo.test", "sip:carol@foo.test", local=True)
    exchange.bind("sip:alice@10.0.0.10:5062", "sip:alice@sip.provider.test", "sip:alice@203.0.113.1")
    assert exchange.target(P, "sip:carol@foo.test") == "inside 10.0.0.12 as sip:c@10.0.0.12"
    assert exchange.target(P, "sip:nobody@foo.test") == "outside foo.test"
    assert exchange.target(W, "sip:nobody@foo.test") == "404 no such phone"
    assert exchange.target(W, "sip:carol@foo.test") == "inside 10.0.0.12 as sip:c@10.0.0.12"


def test_one_user_in_two_domains_of_ours(exchange: Exchange) -> None:
    """Each domain leads to its own phone, from inside and outside."""
    exchange.bind("sip:1@10.0.0.12", "sip:carol@foo.test", "sip:carol@foo.test", local=True)
    exchange.bind("sip:2@10.0.0.13", "sip:carol@bar.test", "sip:carol~7@bar.test", local=True)
    exchange.bind("sip:3@10.0.0.14", "sip:alice@foo.test", "sip:alice~8@foo.test", local=True)
    for flow in (P, W):
        assert exchange.target(flow, "sip:carol@foo.test") == "inside 10.0.0.12 as sip:1@10.0.0.12"
        assert exchange.target(flow, "sip:carol@bar.test") == "inside 10.0.0.13 as sip:2@10.0.0.13"
        assert exchange.target(flow, "sip:alice@foo.test") == "inside 10.0.0.14 as sip:3@10.0.0.14"
        assert exchange.target(flow, "sip:carol~7@bar.test") == "inside 10.0.0.13 as sip:2@10.0.0.13"


def test_who_may_call_out(exchange: Exchange) -> None:
    """Registered phones, whoever is in a dialog, and programs on the gateway; strangers get 408."""
    refused = "408 neither caller nor callee is registered"
    assert exchange.target(STRANGER, "sip:x@sip.third.test") == refused
    assert (
        exchange.target(STRANGER, "sip:x@sip.third.test", "To: <sip:x@y>;tag=1") == "outside sip.third.test"
    )
    assert exchange.target(P._replace(remote=Address("10.0.0.10", 9)), "sip:x@z.test") == "outside z.test"
    for own in ("10.0.0.1", "203.0.113.1"):
        gateway = Flow(None, Address(own, 5066), Side.INSIDE)
        assert exchange.target(gateway, "sip:x@sip.third.test") == "outside sip.third.test"
    assert exchange.target(STRANGER, "sip:bob@10.0.0.1") == BOBS


def test_the_route_of_the_caller_comes_first(exchange: Exchange) -> None:
    """A phone's route set leads, even past a phone here and with a URI that we could not follow."""
    route = "Route: <sip:203.0.113.50:5080;lr>, <sip:p2.test;lr>"
    assert exchange.target(P, "sip:bob@203.0.113.1", route) == "outside 203.0.113.50:5080"
    assert exchange.target(P, "sip:bob@sip.third.test", route) == "outside 203.0.113.50:5080"
    assert exchange.target(P, "tel:+4930", route) == "outside 203.0.113.50:5080"
    assert exchange.target(P, "sip:x@y.test", "Route: <sip:10.0.0.5;lr>") == "inside 10.0.0.5"


def test_outbound_proxies() -> None:
    """Route, neighbour, the proxy of the From domain, the one for all, the Request-URI."""
    config = RoutingConfig(
        "proxy.test", 5080, domains=(DomainProxy("SIP.provider.test", "special.test", 5090),)
    )
    exchange = Exchange(config)
    other = "From: <sip:a@sip.other.test>;tag=1"
    assert exchange.target(P, "sip:x@z.test") == "outside special.test:5090"
    assert exchange.target(P, "sip:x@z.test", other) == "outside proxy.test:5080"
    assert exchange.target(P, "sip:x@z.test", "From: <tel:+49>;tag=1") == "outside proxy.test:5080"
    assert exchange.target(P, "sip:x@z.test", "Route: <sip:p.test;lr>") == "outside p.test"
    assert exchange.target(P, "sip:x@10.0.0.5", other) == "inside 10.0.0.5"
    assert exchange.target(P, "sip:bob@10.0.0.1", other) == BOBS
    assert (
        Exchange(RoutingConfig(domains=config.domains)).target(P, "sip:x@z.test", other) == "outside z.test"
    )
    register = parsed("sip:sip.provider.test", method="REGISTER")
    assert told(exchange.routing.beyond(register)) == "outside special.test:5090"


def test_the_side_of_a_next_hop() -> None:
    """By the networks; our own outside address is met outside, our inside address inside."""
    routing = Exchange().routing
    assert routing.side_towards("10.0.0.5") is Side.INSIDE
    assert routing.side_towards("10.0.0.1") is Side.INSIDE
    assert routing.side_towards("192.0.2.1") is Side.OUTSIDE
    assert routing.side_towards("203.0.113.1") is Side.OUTSIDE


def test_one_armed() -> None:
    """One interface: the networks alone tell the sides apart."""
    exchange = Exchange(addresses=one_armed())
    assert exchange.target(P, "sip:x@192.0.2.1") == "outside 192.0.2.1"
    assert exchange.target(P, "sip:x@10.0.0.5") == "inside 10.0.0.5"
    assert exchange.target(P, "sip:bob@198.51.100.7") == BOBS
    assert exchange.target(W, "sip:x@192.0.2.1") == "404 no such phone"


def test_two_phones_with_the_same_user() -> None:
    """The token behind the user tells them apart; when the first is gone its URI is not the other's."""
    exchange = Exchange()
    exchange.bind("sip:bob@10.0.0.12", "sip:bob@sip.other.test", "sip:bob~2@203.0.113.1")
    other = "inside 10.0.0.12 as sip:bob@10.0.0.12"
    assert exchange.target(W, "sip:bob~2@203.0.113.1") == other
    assert exchange.target(W, "sip:bob@203.0.113.1") == BOBS
    assert exchange.target(W, "sip:bob@sip.other.test") == other
    [first] = exchange.location.of(uri("sip:bob@sip.provider.test"), NOW)
    exchange.location.remove(first)
    assert exchange.target(W, "sip:bob@203.0.113.1") == "404 no such phone"


def test_the_contact_of_a_phone_that_has_connected():
    """A phone's Contact that another one gave away leads to its connection, another program's does not."""
    exchange = Exchange()
    contact, source = "sip:fred@10.0.0.12:5060;transport=tcp", Address("10.0.0.12", 40001)
    exchange.location.add(
        Binding(
            uri(contact),
            contact.encode(),
            uri("sip:fred@sip.provider.test"),
            uri("sip:fred@203.0.113.1"),
            NOW + 60,
            source,
            transport="TCP",
        )
    )
    assert exchange.target(P, contact) == "inside 10.0.0.12:40001 by TCP"
    assert exchange.target(P, "sip:fred@10.0.0.12:5070;transport=tcp") == "inside 10.0.0.12:5070 by TCP"


def test_a_phone_with_two_flows_rings_once(exchange: Exchange) -> None:
    """By the newer one (RFC 5626 section 7); another phone of the user rings beside it."""
    exchange.bind("sip:t@10.0.0.20", "sip:team@foo.test", "sip:team@foo.test", local=True)
    for number in (1, 2):
        exchange.bind(f"sip:t@10.0.0.2{number}", "sip:team@foo.test", "sip:team@foo.test", local=True)
    for binding in list(exchange.location)[-2:]:
        binding.instance = b'"<urn:uuid:1>"'
    ringing = exchange.target(W, "sip:team@foo.test")
    assert ringing == "inside 10.0.0.20 as sip:t@10.0.0.20, inside 10.0.0.22 as sip:t@10.0.0.22"


def test_how_many_ring_at_the_same_time(exchange: Exchange) -> None:
    """The ten newest: a request must not become hundreds."""
    for number in range(15):
        exchange.bind(f"sip:t@10.0.0.{20 + number}", "sip:team@foo.test", "sip:team@foo.test", local=True)
    ringing = exchange.target(W, "sip:team@foo.test").split(", ")
    assert ringing == [f"inside 10.0.0.{20 + n} as sip:t@10.0.0.{20 + n}" for n in range(5, 15)]


@pytest.mark.parametrize("transport", ["", "UDP", "TCP", "TLS"])
def test_a_secure_uri_by_an_outbound_proxy(transport: str) -> None:
    """TLS on each hop (RFC 3261 26.2.2), whatever others take to that proxy."""
    exchange = Exchange(RoutingConfig("proxy.test", None, transport))
    assert exchange.target(P, "sips:x@z.test") == "outside proxy.test by TLS" + " securely" * (
        transport != "TLS"
    )
    plain = f"outside proxy.test by {transport}" if transport else "outside proxy.test"
    assert exchange.target(P, "sip:x@z.test") == plain
