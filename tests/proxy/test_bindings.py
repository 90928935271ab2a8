# SPDX-License-Identifier: MIT
"""Whether two REGISTERs are of one phone: devices, NATs, proxies and restarts told apart."""

from __future__ import annotations

from dataclasses import replace

import pytest

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.bindings import Binding, host_key, sharing
from siproxd_tw.sip.uri import SIPURI, parse_uri

PHONE = "10.0.0.10:5062"


def uri(text: str) -> SIPURI:
    found = parse_uri(text.encode())
    assert isinstance(found, SIPURI)
    return found


def binding(
    contact: str, source: str = "", params: str = "", *, call_id: bytes = b"", relayed: bool = False
) -> Binding:
    """Return a binding by its Contact, the address that it came from, and ``instance/reg-id``."""
    host, _, port = source.rpartition(":")
    instance, _, reg_id = params.partition("/")
    return Binding(
        uri(contact),
        contact.encode(),
        uri("sip:alice@sip.provider.test"),
        uri("sip:alice@203.0.113.1"),
        0.0,
        source=Address(host, int(port)) if source else None,
        instance=instance.encode(),
        reg_id=reg_id.encode(),
        call_id=call_id,
        relayed=relayed,
    )


def relation(one: Binding, two: Binding) -> str:
    """Return what `one` is to `two`; it must be the same the other way round."""
    assert one.is_same_contact(two) == two.is_same_contact(one)
    assert one.is_same_phone(two) == two.is_same_phone(one)
    if one.is_same_contact(two):
        assert one.is_same_phone(two)
        return "same contact"
    return "same phone" if one.is_same_phone(two) else "another"


A = "sip:a@10.0.0.10:5062"


@pytest.mark.parametrize(
    ("one", "two", "expected"),
    [
        # the same URI, as section 19.1.4 compares
        ((A, PHONE), (A, PHONE), "same contact"),
        ((A, PHONE), ("sip:%61@10.0.0.10:5062;line=1", PHONE), "same contact"),
        (("sip:a@10.0.0.10", PHONE), ("sip:a@10.0.0.10:5060", PHONE), "same contact"),
        (("sip:a@[2001:db8::1]",), ("sip:a@[2001:DB8:0::1]",), "same contact"),
        ((A, PHONE), (A, ""), "same contact"),
        # a restart
        ((A, PHONE), ("sip:a@10.0.0.10:7000", "10.0.0.10:7000"), "same phone"),
        ((A, PHONE), ("sip:a@10.0.0.10:7000", ""), "same phone"),
        ((A + ";line=1", PHONE), (A + ";line=2", PHONE), "same phone"),
        ((A, PHONE), (A + ";transport=tcp", "10.0.0.10:40000"), "same phone"),
        # and what is none
        ((A, PHONE), ("sip:b@10.0.0.10:5062", PHONE), "another"),
        ((A, PHONE), ("sip:a@10.0.0.11:5062", "10.0.0.11:5062"), "another"),
        # several phones that speak from one port of one host
        (("sip:a@10.0.0.5:6001", "10.0.0.5:5060"), ("sip:a@10.0.0.5:6002", "10.0.0.5:5060"), "another"),
        (("sip:a1@10.0.0.5", "10.0.0.5:5060"), ("sip:a2@10.0.0.5", "10.0.0.5:5060"), "another"),
        # phones behind NATs
        (("sip:a@192.168.1.2", "10.0.0.5:1"), ("sip:a@192.168.1.2", "10.0.0.5:2"), "same contact"),
        (("sip:a@192.168.1.2", "10.0.0.5:1"), ("sip:a@192.168.1.2", "10.0.0.6:1"), "another"),
        (("sip:a@192.168.1.2", "10.0.0.5:1"), ("sip:a@192.168.1.3", "10.0.0.5:2"), "another"),
        (("sip:a@phone.local", "10.0.0.5:1"), ("sip:a@phone.local", "10.0.0.6:1"), "same contact"),
        # instance and reg-id
        ((A, PHONE, "<u:1>"), (A, PHONE, "<U:1>"), "same contact"),
        ((A, PHONE, "<u:1>/1"), ("sip:x@10.0.0.99", "10.0.0.99:9", "<u:1>/1"), "same contact"),
        ((A, PHONE, "<u:1>/1"), (A, PHONE, "<u:1>/2"), "another"),
        ((A, PHONE, "<u:1>"), ("sip:x@10.0.0.99", "10.0.0.99:9", "<u:1>"), "same phone"),
        ((A, PHONE, "<u:1>"), ("sip:x@10.0.0.99", "10.0.0.99:9", "<u:1>/1"), "same phone"),
        ((A, PHONE, "<u:1>"), ("sip:a@10.0.0.10:7000", "10.0.0.10:7000", "<u:2>"), "another"),
        ((A, "10.0.0.5:1", "<u:1>"), (A, "10.0.0.6:1", "<u:2>"), "another"),
        ((A, PHONE, "<u:1>"), (A, PHONE, "<u:2>"), "same contact"),
        ((A, PHONE, "<u:1>"), (A, PHONE), "same contact"),
    ],
)
def test_same_contact_same_phone_or_another(
    one: tuple[str, ...], two: tuple[str, ...], expected: str
) -> None:
    """Neither two phones for one nor one for two."""
    assert relation(binding(*one), binding(*two)) == expected


def test_behind_a_proxy_only_the_contact_counts() -> None:
    """Its phones may differ in a parameter or the port alone; there are no restarts to be seen."""
    one = binding("sip:a@10.0.0.5:5060;ctid=1", "10.0.0.5:5060", relayed=True)
    assert relation(one, binding("sip:a@10.0.0.5:5060;ctid=2", "10.0.0.5:5060", relayed=True)) == "another"
    assert relation(one, binding("sip:a@10.0.0.5:5062", "10.0.0.5:5062")) == "another"
    assert relation(one, binding("sip:a@10.0.0.5:5060;ctid=1", "10.0.0.6:5060")) == "same contact"


def test_a_nat_that_got_another_address() -> None:
    """What else two NATs with one private address would be, the Call-ID says to be one phone."""
    one = binding("sip:a@192.168.1.2", "10.0.0.5:1", call_id=b"c1")
    assert relation(one, binding("sip:a@192.168.1.2", "10.0.0.6:1", call_id=b"c1")) == "same contact"
    assert relation(one, binding("sip:a@192.168.1.2", "10.0.0.6:1", call_id=b"c2")) == "another"


@pytest.mark.parametrize(
    ("contact", "source", "expected"),
    [
        ("sip:a@10.0.0.10:5062", "10.0.0.10:40000", False),
        ("sip:a@10.0.0.10", "", False),
        ("sip:a@192.168.7.7", "10.0.0.10:1024", True),
        ("sip:a@phone.local", "10.0.0.10:5060", True),
        ("sip:a@[2001:DB8::0:1]", "2001:db8::1:5060", False),
        ("sip:a@[fe80::1]", "fe80::1%eth0:5060", False),
        ("sip:a@[::ffff:10.0.0.10]", "10.0.0.10:5060", True),
    ],
)
def test_behind_nat(contact: str, source: str, expected: bool) -> None:
    """When the REGISTER came from another host than the Contact's; addresses are compared by value."""
    assert binding(contact, source).is_behind_nat is expected


def test_users_are_without_escapes() -> None:
    """Those of address of record and mask, and the latter follows."""
    alice = binding(A)
    alice.show_as(uri("sip:%61l~1@203.0.113.1"))
    assert (alice.user, alice.masked_user) == (b"alice", b"al~1")
    assert alice.is_of(uri("sip:al%69ce@sip.provider.test:9;x=1"))
    assert not alice.is_of(uri("sip:alice@sip.other.test"))


def test_host_keys() -> None:
    """One form for an IPv6 address; another family is another host, which is sent to in another way."""
    assert host_key("::ffff:10.0.0.10") == host_key("::ffff:a00:a") != host_key("10.0.0.10")
    assert host_key("sip.provider.test") == "sip.provider.test"


def test_what_phones_share_is_in_memory_once() -> None:
    """Domains and schemes of equal URIs are the same objects."""
    one, two = (sharing(replace(uri(A), host="".join(["sip.", "x.test"]))) for _ in range(2))
    assert one == two
    assert one.host is two.host
