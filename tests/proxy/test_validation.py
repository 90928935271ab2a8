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


def access(register: str = "", sip: str = "", deny: str = "") -> Access:
    lists = [listed(text) if text else AccessList() for text in (register, sip, deny)]
    return Access(AccessConfig(*lists))


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


@pytest.mark.parametrize("uri", ["sips:bob@sip.provider.test", "tel:+4930123", "urn:service:sos"])
def test_unsupported_scheme(uri: str) -> None:
    """416 for everything but sip: (16.3 step 2); the ACK of the answer is no new trouble."""
    to = "To: <sip:bob@sip.provider.test>"
    assert verdict(message("INVITE", to, uri=uri)) == (416, "unsupported URI scheme")
    assert verdict(message("ACK", to, uri=uri)) == (0, "")


def test_too_many_hops() -> None:
    """483 at zero (16.3 step 3), but OPTIONS is answered by the core and an ACK by nobody."""
    assert verdict(message("INVITE", "Max-Forwards: 0")) == (483, "too many hops")
    assert verdict(message("BYE", "Max-Forwards: 0")) == (483, "too many hops")
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
