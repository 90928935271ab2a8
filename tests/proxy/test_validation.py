# SPDX-License-Identifier: MIT
"""Who may speak, and which requests are worth a transaction (RFC 3261 16.3, access lists of siproxd)."""

from __future__ import annotations

import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from siproxd_tw.config.networks import AccessList, parse
from siproxd_tw.config.settings import AccessConfig
from siproxd_tw.interfaces import Address, Flow, Refused, Side
from siproxd_tw.proxy.validation import Access, validate
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse as parse_message
from tests.support.messages import request, wire


def listed(text: str) -> AccessList:
    found, faults = parse(text)
    assert not faults
    return found


def access(
    register: str = "", sip: str = "", deny: str = "", inside: str = "", outside: str = "", trusted: str = ""
) -> Access:
    texts = (register, sip, deny, inside, outside, trusted)
    return Access(AccessConfig(*(listed(text) if text else AccessList() for text in texts)))


def flow(host: str, side: Side) -> Flow:
    return Flow(None, Address(host, 5060), side)


PHONE, STRANGER = flow("10.0.0.10", Side.INSIDE), flow("198.51.100.66", Side.OUTSIDE)


def message(method: str = "INVITE", *headers: str, uri: str = "sip:bob@sip.provider.test") -> Request:
    via = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"
    parsed = parse_message(wire(request(method, uri, via, *headers)))
    assert isinstance(parsed, Request)
    return parsed


def refusal_of(work: object, *args: object) -> Refused | None:
    try:
        work(*args)  # type: ignore[operator]
    except Refused as refusal:
        return refusal
    return None


def may(rules: Access, peer: Flow) -> str:
    """Say what `peer` may do: "sip register", "sip", "register" or nothing at all."""
    if refusal_of(rules.admit, peer) is not None:
        assert refusal_of(rules.admit, peer).status is None  # type: ignore[union-attr]
        return "nothing"
    rights = []
    with capturedLogs():
        if refusal_of(rules.check, message("INVITE"), peer) is None:
            rights.append("sip")
        if refusal_of(rules.check, message("REGISTER"), peer) is None:
            rights.append("register")
    return " ".join(rights)


@pytest.mark.parametrize(
    ("rules", "phone", "stranger"),
    [
        (access(), "sip register", "sip"),
        (access(register="10.0.0.0/24"), "sip register", "sip"),
        (access(register="198.51.100.66/32"), "sip", "sip register"),
        (access(sip="10.0.0.0/24"), "sip register", "nothing"),
        (access(sip="203.0.113.0/24"), "register", "nothing"),
        (access(sip="198.51.100.0/24"), "register", "sip"),
        (access(register="10.0.0.0/24", sip="203.0.113.0/24"), "sip register", "nothing"),
        (access(register="10.0.0.0/24", sip="198.51.100.0/24"), "sip register", "sip"),
        (access(deny="10.0.0.10/32"), "nothing", "sip"),
        (access(register="10.0.0.0/24", sip="10.0.0.0/24", deny="10.0.0.0/8"), "nothing", "nothing"),
        (Access(AccessConfig(allow_sip=AccessList(incomplete=True))), "register", "nothing"),
        (Access(AccessConfig(allow_register=AccessList(incomplete=True))), "sip", "sip"),
    ],
)
def test_access_lists(rules: Access, phone: str, stranger: str) -> None:
    """Deny wins, allow_reg gives both rights, and without allow_reg only inside peers may register.

    A list in which no entry was understood lets nobody in.
    """
    assert may(rules, PHONE) == phone
    assert may(rules, STRANGER) == stranger


@pytest.mark.parametrize(
    ("rules", "phone", "stranger"),
    [
        (access(inside="10.0.0.0/24"), "sip register", "sip"),
        (access(inside="10.0.1.0/24"), "nothing", "sip"),
        (access(inside="10.0.1.0/24", register="10.0.0.0/24"), "nothing", "sip"),
        (access(inside="10.0.0.0/24", sip="203.0.113.0/24"), "register", "nothing"),
        (access(outside="198.51.100.0/24"), "sip register", "sip"),
        (access(outside="203.0.113.0/24"), "sip register", ""),
        (access(outside="203.0.113.0/24", trusted="198.51.100.66/32"), "sip register", "sip"),
        (access(outside="203.0.113.0/24", register="198.51.100.66/32"), "sip", "sip register"),
        (access(sip="10.0.0.0/24", outside="198.51.100.0/24"), "sip register", "nothing"),
        (access(sip="10.0.0.0/24", trusted="198.51.100.0/24"), "sip register", "sip"),
        (access(deny="198.51.100.0/24", trusted="198.51.100.0/24"), "sip register", "nothing"),
        (Access(AccessConfig(allow_inside=AccessList(incomplete=True))), "nothing", "sip"),
        (Access(AccessConfig(allow_outside=AccessList(incomplete=True))), "sip register", ""),
        (Access(AccessConfig(trusted_outside=AccessList(incomplete=True))), "sip register", "sip"),
    ],
)
def test_access_lists_of_one_side(rules: Access, phone: str, stranger: str) -> None:
    """Each narrows siproxd's lists for its side only; trust widens them, but never against deny."""
    assert may(rules, PHONE) == phone
    assert may(rules, STRANGER) == stranger


PROVIDERS_ONLY = access(outside="203.0.113.0/24")


@pytest.mark.parametrize("method", ["INVITE", "OPTIONS", "REGISTER", "SUBSCRIBE", "CANCEL"])
def test_scanners_get_silence(method: str) -> None:
    """Who is not in hosts_allow_outside begins nothing and learns nothing."""
    with capturedLogs():
        refusal = refusal_of(PROVIDERS_ONLY.check, message(method), STRANGER)
    assert refusal is not None and refusal.status is None
    assert refusal_of(PROVIDERS_ONLY.admit, STRANGER) is None, "responses to us are matched by transactions"


@pytest.mark.parametrize("method", ["BYE", "ACK", "INVITE", "UPDATE"])
def test_calls_that_run_go_on(method: str) -> None:
    """A callee that a provider has led us to is in no list; whether there is its dialog, routing says."""
    in_dialog = message(method, "To: <sip:bob@sip.provider.test>;tag=b1")
    assert refusal_of(PROVIDERS_ONLY.check, in_dialog, STRANGER) is None


def test_a_provider_that_was_forgotten_in_the_list() -> None:
    """Where our phones are registered calls come from; that may change at any time, and deny still wins."""
    registrars = {"198.51.100.66"}
    lists = {"allow_outside": listed("203.0.113.0/24")}
    rules = Access(AccessConfig(**lists), is_known_peer=registrars.__contains__)
    assert may(rules, STRANGER) == "sip"
    registrars.clear()
    assert may(rules, STRANGER) == ""
    registrars.add("198.51.100.66")
    denied = AccessConfig(**lists, deny_sip=listed("198.51.100.0/24"))
    assert may(Access(denied, is_known_peer=registrars.__contains__), STRANGER) == "nothing"


def test_trust_is_for_peers_outside() -> None:
    """A phone inside with such an address has no use for it, and a list that is not there trusts nobody."""
    rules = access(trusted="198.51.100.0/24, 10.0.0.0/8")
    assert rules.trusts(STRANGER)
    assert not rules.trusts(PHONE)
    assert not access().trusts(STRANGER)
    assert not access(trusted="198.51.100.0/24", deny="198.51.100.66/32").trusts(STRANGER)


@pytest.mark.parametrize(
    ("network", "host"),
    [
        ("198.51.100.0/24", "::ffff:198.51.100.66"),
        ("::ffff:198.51.100.0/120", "198.51.100.66"),
        ("2001:db8::/32", "2001:0DB8:0:0::66"),
        ("fe80::/10", "fe80::1%eth1"),
    ],
)
def test_addresses_are_compared_by_value(network: str, host: str) -> None:
    """However a socket writes them."""
    assert may(access(deny=network), flow(host, Side.OUTSIDE)) == "nothing"
    assert access(trusted=network).trusts(flow(host, Side.OUTSIDE))


def test_one_host_on_two_sides() -> None:
    """On a one-armed gateway the side is not in the address alone."""
    rules = access(outside="203.0.113.0/24")
    assert may(rules, flow("10.0.0.10", Side.OUTSIDE)) == ""
    assert may(rules, flow("10.0.0.10", Side.INSIDE)) == "sip register"


def test_lists_are_asked_once_for_each_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """A message costs one look into a dictionary; strangers do not fill the memory."""
    asked: list[str] = []
    matches = AccessList.matches
    monkeypatch.setattr(
        AccessList, "matches", lambda self, host: (asked.append(host), matches(self, host))[1]
    )
    monkeypatch.setattr("siproxd_tw.proxy.validation.MOST_HOSTS", 10)
    rules = access(deny="192.0.2.0/24")
    assert may(rules, STRANGER) == may(rules, STRANGER) == "sip"
    once = len(asked)
    assert may(rules, STRANGER) == "sip"
    assert len(asked) == once
    for number in range(100):
        assert may(rules, flow(f"192.0.2.{number}", Side.OUTSIDE)) == "nothing"
        assert len(rules._outside) <= 10


def test_what_is_refused_silently_is_logged_for_the_log_watchers() -> None:
    """The two lines that administrators grep for, with the address."""
    with capturedLogs() as events:
        refusals = [
            refusal_of(access().check, message("REGISTER"), STRANGER),
            refusal_of(access(sip="203.0.113.0/24").check, message("INVITE"), PHONE),
        ]
    assert [refusal and refusal.status for refusal in refusals] == [None, None]
    assert all(refusals)
    assert [(e["log_level"], formatEvent(e)) for e in events] == [
        (LogLevel.warn, "non-authorized registration attempt from 198.51.100.66"),
        (LogLevel.info, "non-authorized request received from 10.0.0.10"),
    ]


# section 16.3


def verdict(checked: Request) -> tuple[int | None, str]:
    """Return status and reason of the refusal, or (0, "")."""
    refusal = refusal_of(validate, checked)
    return (0, "") if refusal is None else (refusal.status, refusal.why)


def test_an_ordinary_request_passes() -> None:
    """Known and unknown methods alike."""
    assert verdict(message()) == (0, "")
    assert verdict(message("UNHEARDOF")) == (0, "")
    assert verdict(message("INVITE", "Max-Forwards: 1", "Require: 100rel")) == (0, "")


TO = "To: <sip:bob@sip.provider.test>"


@pytest.mark.parametrize("uri", ["sips:bob@sip.provider.test", "tel:+4930123", "TEL:+4930123", "SIP:b@test"])
def test_schemes_that_can_be_routed(uri: str) -> None:
    """Where a number leads to, routing knows."""
    assert verdict(message("INVITE", TO, uri=uri)) == (0, "")


@pytest.mark.parametrize("uri", ["urn:service:sos", "im:bob@test", "sipx:bob@test", "http://test/"])
def test_unsupported_scheme(uri: str) -> None:
    """416 for others (16.3 step 2); the ACK of the answer is no new trouble."""
    assert verdict(message("INVITE", TO, uri=uri)) == (416, "unsupported URI scheme")
    assert verdict(message("ACK", TO, uri=uri)) == (0, "")


def test_too_many_hops() -> None:
    """483 at zero (16.3 step 3), but OPTIONS is answered by the core and an ACK by nobody."""
    assert verdict(message("INVITE", "Max-Forwards: 0")) == (483, "too many hops")
    assert verdict(message("BYE", "Max-Forwards: 0")) == (483, "too many hops")
    assert verdict(message("BYE", "Max-Forwards: 000")) == (483, "too many hops")
    assert verdict(message("BYE", "Max-Forwards: -0")) == (483, "too many hops")
    assert verdict(message("BYE", "Max-Forwards: 10")) == (0, "")
    assert verdict(message("OPTIONS", "Max-Forwards: 0")) == (0, "")
    assert verdict(message("ACK", "Max-Forwards: 0")) == (0, "")


def test_proxy_require() -> None:
    """420 that names every extension asked for, from all lines (16.3 step 5)."""
    asking = message("INVITE", "Proxy-Require: foo, bar", "Proxy-Require: baz")
    refusal = refusal_of(validate, asking)
    assert refusal is not None
    assert refusal.status == 420
    assert list(refusal.headers) == [b"Unsupported: foo, bar, baz"]


@pytest.mark.parametrize("method", ["ACK", "CANCEL"])
def test_proxy_require_is_ignored_where_it_must_not_be(method: str) -> None:
    """In ACK and CANCEL (RFC 3261 8.2.2.3): else the call could not be taken back."""
    assert verdict(message(method, "Proxy-Require: foo")) == (0, "")
