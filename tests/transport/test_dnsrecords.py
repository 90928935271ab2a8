# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections import Counter
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.names import dns

from siproxd_tw.transport.dnsrecords import (
    MOST_ALIASES,
    MOST_READ,
    MOST_RECORDS,
    Answer,
    Kind,
    Pointer,
    Service,
    canonical,
    in_order,
    negative_ttl,
    read,
)

NOW = 1000.0


def header(name, payload, ttl=60):
    return dns.RRHeader(name, payload.TYPE, dns.IN, ttl, payload)


def srv(priority, weight, port, target):
    return header("_sip._udp.a.test", dns.Record_SRV(priority, weight, port, target))


def naptr(order, preference, flags, service, regexp, replacement):
    words = (each.encode() for each in (flags, service, regexp))
    return header("a.test", dns.Record_NAPTR(order, preference, *words, replacement))


def answer(name, kind, *records, additional=()):
    found = read(name, kind, records, additional, NOW)
    assert isinstance(found, Answer)
    return found


def test_addresses():
    """The addresses of the name, once each, for the shortest TTL; other names and types do not matter."""
    found = answer(
        "a.test",
        Kind.A,
        header("A.Test", dns.Record_A("192.0.2.1"), 60),
        header("a.test", dns.Record_A("192.0.2.2"), 30),
        header("a.test", dns.Record_A("192.0.2.1"), 60),
        header("b.test", dns.Record_A("192.0.2.3"), 1),
        header("a.test", dns.Record_AAAA("2001:db8::1"), 1),
    )
    assert found == Answer(NOW + 30, addresses=("192.0.2.1", "192.0.2.2"))
    six = answer("a.test", Kind.AAAA, header("a.test", dns.Record_AAAA("2001:DB8::1")))
    assert six.addresses == ("2001:db8::1",)


@pytest.mark.parametrize(
    ("ttl", "counted"), [(0, 1), (1, 1), (60, 60), (86_400, 86_400), (604_800, 86_400), (2**31, 1)]
)
def test_bounds_of_the_ttl(ttl, counted):
    """At least a second, at most a day; a TTL with the highest bit set is none (RFC 2181 section 8)."""
    assert answer("a.test", Kind.A, header("a.test", dns.Record_A("192.0.2.1"), ttl)).until == NOW + counted


@pytest.mark.parametrize("host", ["0.0.0.0", "224.0.1.75", "::", "ff02::1", "fe80::1"])
def test_addresses_that_are_none(host):
    """Nobody can be reached at an unspecified, multicast or link-local address."""
    payload = dns.Record_AAAA(host) if ":" in host else dns.Record_A(host)
    assert not answer("a.test", Kind(payload.TYPE), header("a.test", payload)).found


def test_aliases_in_the_answer():
    """A chain of CNAMEs is followed, its shortest TTL counts."""
    found = answer(
        "a.test",
        Kind.A,
        header("c.test", dns.Record_A("192.0.2.1"), 60),
        header("a.test", dns.Record_CNAME("B.test"), 50),
        header("b.test", dns.Record_CNAME("c.test"), 20),
    )
    assert found == Answer(NOW + 20, addresses=("192.0.2.1",))


def test_an_alias_that_leads_out_of_the_answer():
    """The name that is to be asked for next is the answer then."""
    assert read("a.test", Kind.A, [header("a.test", dns.Record_CNAME("b.test"))], (), NOW) == "b.test"


def test_aliases_that_lead_nowhere():
    """A loop ends, and an alias that is no host name is none."""
    loop = [header("a.test", dns.Record_CNAME("b.test")), header("b.test", dns.Record_CNAME("a.test"))]
    assert not answer("a.test", Kind.A, *loop).found
    chain = [header(f"{n}.test", dns.Record_CNAME(f"{n + 1}.test")) for n in range(MOST_ALIASES * 2)]
    assert read("0.test", Kind.A, chain, (), NOW) == f"{MOST_ALIASES}.test"
    assert not answer("a.test", Kind.A, header("a.test", dns.Record_CNAME("b c.test"))).found


def test_services():
    """SRV records by their priority, targets in lower case, with the addresses that came along."""
    found = answer(
        "_sip._udp.a.test",
        Kind.SRV,
        srv(20, 0, 5062, "c.test"),
        srv(10, 60, 5060, "B.Test"),
        additional=[
            header("b.TEST", dns.Record_A("192.0.2.1")),
            header("b.test", dns.Record_AAAA("2001:db8::1")),
            header("other.test", dns.Record_A("192.0.2.9")),
        ],
    )
    assert found.services == (Service(10, 60, 5060, "b.test"), Service(20, 0, 5062, "c.test"))
    assert found.additional == {("b.test", Kind.A): ("192.0.2.1",), ("b.test", Kind.AAAA): ("2001:db8::1",)}


def test_services_that_are_none():
    """Port 0 and targets that are no names are left out; the root says that the service is not there."""
    found = answer(
        "_sip._udp.a.test", Kind.SRV, srv(1, 0, 0, "b.test"), srv(1, 0, 5060, "b c"), srv(1, 0, 5060, "10.1")
    )
    assert not found.found
    assert answer("_sip._udp.a.test", Kind.SRV, srv(0, 0, 0, "")).services == (Service(0, 0, 0, ""),)


def test_pointers():
    """NAPTR records by order and preference; only those that lead to an SRV name (RFC 3263 section 4.1)."""
    found = answer(
        "a.test",
        Kind.NAPTR,
        naptr(20, 10, "S", "sip+d2u", "", "_sip._udp.a.test"),
        naptr(10, 20, "s", "SIP+D2T", "", "_sip._tcp.A.test"),
        naptr(10, 10, "s", "SIPS+D2T", "", "_sips._tcp.a.test"),
        naptr(1, 1, "u", "E2U+sip", "!^.*$!sip:x@a.test!", ""),
        naptr(1, 1, "a", "SIP+D2U", "", "a.test"),
        naptr(1, 1, "s", "SIP+D2U", "", ""),
        naptr(1, 1, "s", "SIP+D2U", "", "a b"),
    )
    assert found.pointers == (
        Pointer(10, 10, "SIPS+D2T", "_sips._tcp.a.test"),
        Pointer(10, 20, "SIP+D2T", "_sip._tcp.a.test"),
        Pointer(20, 10, "SIP+D2U", "_sip._udp.a.test"),
    )


def test_thousands_of_records():
    """Of an answer without end the best services and the first addresses are used."""
    services = [srv(n, 0, 5060, f"t{n}.test") for n in range(5000)]
    found = answer("_sip._udp.a.test", Kind.SRV, *services)
    assert [each.priority for each in found.services] == list(range(MOST_RECORDS))
    addresses = [header("a.test", dns.Record_A(f"192.0.{n // 250}.{n % 250 + 1}")) for n in range(5000)]
    assert len(answer("a.test", Kind.A, *addresses).addresses) == MOST_RECORDS
    late = [*([header("x.test", dns.Record_A("192.0.2.1"))] * MOST_READ), *addresses]
    assert not answer("a.test", Kind.A, *late).found
    glue = [header("t0.test", each.payload) for each in addresses]
    found = answer("_sip._udp.a.test", Kind.SRV, *services, additional=glue)
    assert len(found.additional["t0.test", Kind.A]) == MOST_RECORDS


def test_how_long_there_is_nothing():
    """By the SOA of the answer, its own TTL or its minimum, but for half a minute at most."""
    assert negative_ttl([]) == 5
    for ttl, minimum, counted in ((3600, 10, 10), (7, 3600, 7), (3600, 3600, 30), (0, 0, 1)):
        assert negative_ttl([header("test", dns.Record_SOA(minimum=minimum), ttl)]) == counted


def test_canonical():
    """One name, one form."""
    assert canonical("SIP.Provider.Test.") == "sip.provider.test"


# the order of RFC 2782

weights = st.lists(st.integers(0, 65535), max_size=12)


@given(weights, st.randoms(use_true_random=False))
def test_everybody_once(weights, random):
    """Whatever the weights are, each server is in the order once."""
    numbered = list(enumerate(weights))
    found = list(in_order([(weight, number) for number, weight in numbered], random.random))
    assert sorted(found) == list(range(len(weights)))


@given(weights, st.sampled_from([0.0, 0.5, 1 - 2**-53]))
def test_the_ends_of_chance(weights, number):
    """The smallest and the largest random number choose somebody too."""
    assert sorted(in_order([(weight, weight) for weight in weights], lambda: number)) == sorted(weights)


def test_a_larger_weight_comes_first_more_often():
    """The share of being first is that of the weights; those without one have a small chance together."""
    random = Random(1)
    records = [(60, "a"), (20, "b"), (20, "c"), (0, "d"), (0, "e")]
    first = Counter(next(in_order(records, random.random)) for _ in range(10_000))
    assert abs(first["a"] - 6000) < 200
    assert abs(first["b"] - 2000) < 200
    assert abs(first["c"] - 2000) < 200
    assert 40 < first["d"] + first["e"] < 200
    assert first["d"] > 10
    assert first["e"] > 10


def test_equal_weights_share_alike():
    """Without weights, and with equal ones, each server has its share."""
    random = Random(2)
    for weight in (0, 5):
        records = [(weight, name) for name in "abcd"]
        first = Counter(next(in_order(records, random.random)) for _ in range(4000))
        assert all(abs(count - 1000) < 150 for count in first.values())
