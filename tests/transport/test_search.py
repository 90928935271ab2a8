# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest
from twisted.internet.defer import ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from twisted.names.error import DNSQueryTimeoutError, DNSServerError

from siproxd_tw.interfaces import Destination, ResolutionFailed
from siproxd_tw.transport import dnscache
from siproxd_tw.transport.dnscache import DNSCache
from siproxd_tw.transport.search import MOST_HOPS, Search, Sources
from tests.support.nameserver import NameServer

EVERYTHING = (("UDP", "TCP", "TLS"), (4, 6))
UDP_ONLY = (("UDP",), (4,))

NAPTR = """
    full.test 60 NAPTR 50 50 s SIPS+D2T "" _sips._tcp.full.test
    full.test 60 NAPTR 90 50 s SIP+D2T "" _sip._tcp.full.test
    full.test 60 NAPTR 100 50 s SIP+D2U "" _sip._udp.servers.full.test
    full.test 60 A 192.0.2.80
    _sips._tcp.full.test 60 SRV 0 0 5061 a.full.test
    _sip._tcp.full.test 60 SRV 0 0 5060 a.full.test
    _sip._udp.servers.full.test 60 SRV 0 0 5060 b.full.test
    _sip._udp.servers.full.test 60 SRV 1 0 5070 a.full.test
    a.full.test 60 A 192.0.2.1
    a.full.test 60 AAAA 2001:db8::1
    b.full.test 60 A 192.0.2.2
"""
SRV = """
    srv.test 60 A 192.0.2.80
    _sip._udp.srv.test 60 SRV 10 0 5060 a.srv.test
    _sip._tcp.srv.test 60 SRV 10 0 5062 a.srv.test
    _sips._tcp.srv.test 60 SRV 10 0 5061 a.srv.test
    a.srv.test 30 A 192.0.2.1
"""


class Bed:
    """What a search asks: a name server, /etc/hosts and the system."""

    def __init__(self, zone):
        self.names = NameServer(zone)
        self.clock = Clock()
        self.hosts = {}
        self.system = {}
        self.asked_system = []
        self.sources = Sources(
            self.clock.seconds,
            DNSCache(self.clock, self.names).ask,
            lambda name: self.hosts.get(name, ()),
            self.ask_system,
        )

    def ask_system(self, name):
        self.asked_system.append(name)
        return succeed(self.system[name]) if name in self.system else fail(ResolutionFailed(name))

    def plan(self, host, port=None, transport="", secure=False, abilities=EVERYTHING):
        """What a search finds at once."""
        search = Search(self.sources, Destination(host, port, transport, secure), abilities)
        return ensureDeferred(search.plan()).result

    def found(self, *destination, abilities=EVERYTHING):
        """The servers in short, best first."""
        return [str(hop) for hop in self.plan(*destination, abilities=abilities).ordered(lambda: 0.0)]


def test_naptr_decides():
    """By order and preference; then SRV of what it leads to, and the addresses of that (RFC 3263 4.1)."""
    assert Bed(NAPTR).found("full.test") == [
        "TLS 192.0.2.1:5061",
        "TLS [2001:db8::1]:5061",
        "TCP 192.0.2.1:5060",
        "TCP [2001:db8::1]:5060",
        "UDP 192.0.2.2:5060",
        "UDP 192.0.2.1:5070",
        "UDP [2001:db8::1]:5070",
    ]


def test_the_name_is_that_of_the_domain():
    """A certificate must be for the domain, and never for what SRV says (RFC 5922 section 4)."""
    assert {hop.name for hop in Bed(NAPTR).plan("Full.Test.").hops} == {"full.test"}


def test_what_cannot_be_used_is_left_out():
    """Neither transports nor address families that we do not have."""
    assert Bed(NAPTR).found("full.test", abilities=UDP_ONLY) == ["UDP 192.0.2.2:5060", "UDP 192.0.2.1:5070"]
    bed = Bed(NAPTR)
    assert bed.found("full.test", abilities=(("TCP",), (6,))) == ["TCP [2001:db8::1]:5060"]
    assert ("a.full.test", "A") not in bed.names.asked


def test_sips_is_tls_only():
    """Of a sips URI nothing but TLS is used."""
    tls = ["TLS 192.0.2.1:5061", "TLS [2001:db8::1]:5061"]
    assert Bed(NAPTR).found("full.test", None, "", True) == tls
    assert Bed(SRV).found("srv.test", None, "", True) == ["TLS 192.0.2.1:5061"]
    assert Bed("a.test 60 A 192.0.2.1").found("a.test", None, "", True) == ["TLS 192.0.2.1:5061"]


def test_without_naptr():
    """SRV of each transport that we have, UDP before TCP before TLS."""
    bed = Bed(SRV)
    assert bed.found("srv.test") == ["UDP 192.0.2.1:5060", "TCP 192.0.2.1:5062", "TLS 192.0.2.1:5061"]
    assert bed.names.asked[:4] == [
        ("srv.test", "NAPTR"),
        ("_sip._udp.srv.test", "SRV"),
        ("_sip._tcp.srv.test", "SRV"),
        ("_sips._tcp.srv.test", "SRV"),
    ]
    assert ("srv.test", "A") not in bed.names.asked


def test_naptr_that_leads_nowhere():
    """Pointers for others, or to nothing, leave the usual names."""
    for pointer in ('SIP+D2W "" _sip._ws.srv.test', 'SIP+D2U "" _sip._udp.old.test', 'E2U+sip "" x.test'):
        bed = Bed(f"{SRV}\n srv.test 60 NAPTR 1 1 s {pointer}")
        assert bed.found("srv.test", abilities=UDP_ONLY) == ["UDP 192.0.2.1:5060"]


def test_without_services():
    """The addresses of the domain itself, by UDP."""
    bed = Bed("a.test 60 A 192.0.2.1\n a.test 60 AAAA 2001:db8::1")
    assert bed.found("a.test") == ["UDP 192.0.2.1:5060", "UDP [2001:db8::1]:5060"]


@pytest.mark.parametrize(
    ("destination", "asked", "hop"),
    [
        (("srv.test", None, "TCP"), "_sip._tcp.srv.test", "TCP 192.0.2.1:5062"),
        (("srv.test", None, "tls"), "_sips._tcp.srv.test", "TLS 192.0.2.1:5061"),
        (("srv.test", None, "TCP", True), "_sips._tcp.srv.test", "TLS 192.0.2.1:5061"),
    ],
)
def test_a_named_transport(destination, asked, hop):
    """Where the URI says how, SRV of that transport is all that is asked for."""
    bed = Bed(SRV)
    assert bed.found(*destination) == [hop]
    assert bed.names.asked == [(asked, "SRV"), ("a.srv.test", "A"), ("a.srv.test", "AAAA")]


def test_websockets_have_no_srv():
    """The addresses of the domain and the port of the Web."""
    bed = Bed(SRV)
    assert bed.found("srv.test", None, "WS") == ["WS 192.0.2.80:80"]
    assert bed.names.asked == [("srv.test", "A"), ("srv.test", "AAAA")]


def test_a_service_that_is_not_there():
    """The root as target: no server, and no address in its place (RFC 2782)."""
    zone = "a.test 60 A 192.0.2.1\n _sip._udp.a.test 60 SRV 0 0 0 ."
    bed = Bed(zone)
    assert bed.plan("a.test", None, "UDP").why == "a.test says that it has no SIP by UDP"
    assert bed.plan("a.test").why == "a.test says that it has no SIP by UDP"
    assert bed.found("a.test", None, "TCP") == ["TCP 192.0.2.1:5060"]
    assert bed.found("a.test", 5060) == ["UDP 192.0.2.1:5060"]
    bed = Bed(f"{zone}\n _sip._tcp.a.test 60 SRV 0 0 5060 a.test")
    assert bed.found("a.test") == ["TCP 192.0.2.1:5060"]


def test_additional_records():
    """Addresses that come with SRV are used, without a question and for these servers only."""
    bed = Bed(SRV)
    bed.names.glue = True
    assert bed.found("srv.test", None, "UDP", abilities=UDP_ONLY) == ["UDP 192.0.2.1:5060"]
    assert bed.names.questions() == [("_sip._udp.srv.test", "SRV")]
    bed.found("a.srv.test", 5060, abilities=UDP_ONLY)
    assert bed.names.questions() == [("a.srv.test", "A")]


def test_equal_priorities():
    """Servers of one priority are chosen between, those of different ones never."""
    bed = Bed(
        """_sip._udp.a.test 60 SRV 1 1 5060 x.test
        _sip._udp.a.test 60 SRV 1 1 5062 x.test
        _sip._udp.a.test 60 SRV 2 1 5064 x.test
        x.test 60 A 192.0.2.1"""
    )
    plan = bed.plan("a.test", None, "UDP")
    assert plan.hops == ()
    for number, ports in ((0.0, [5060, 5062, 5064]), (0.9, [5062, 5060, 5064])):
        assert [hop.address.port for hop in plan.ordered(lambda number=number: number)] == ports


def test_too_many_servers():
    """The list is bounded, and a server that is in it twice is there once."""
    zone = "\n".join(
        [f"_sip._udp.a.test 60 SRV {n} 1 5060 t{n}.test\n t{n}.test 60 A 192.0.2.9" for n in range(20)]
    )
    assert Bed(zone).found("a.test") == ["UDP 192.0.2.9:5060"]
    many = "\n".join(f"t{n}.test 60 A 192.0.2.{10 * n + i}" for n in range(20) for i in range(8))
    found = Bed(f"{zone}\n{many}").found("a.test")
    assert len(found) == len(set(found)) == MOST_HOPS


def test_how_long_a_plan_counts():
    """Until the first of the records behind it is outdated, and for a second at least."""
    bed = Bed(f"{SRV}\n z.test 0 A 192.0.2.7")
    assert bed.plan("srv.test", None, "UDP", abilities=UDP_ONLY).until == 30
    assert bed.plan("z.test", 5060, abilities=UDP_ONLY).until == 1
    bed.names.soa = 20
    assert bed.plan("nobody.test", 5060, abilities=UDP_ONLY).until == 5  # the system's resolver may know it


def test_etc_hosts_comes_first():
    """What the administrator wrote there counts, for targets of SRV too; both kinds are the file's alone."""
    bed = Bed(SRV)
    bed.hosts = {"a.srv.test": ("10.0.0.1",), "pbx": ("10.0.0.2", "fd00::2")}
    assert bed.found("srv.test", None, "UDP") == ["UDP 10.0.0.1:5060"]
    assert bed.found("PBX") == ["UDP 10.0.0.2:5060", "UDP [fd00::2]:5060"]
    assert bed.found("pbx", abilities=UDP_ONLY) == ["UDP 10.0.0.2:5060"]
    assert bed.plan("pbx", 5060).until == 5
    assert bed.asked_system == []


@pytest.mark.parametrize("name", ["pbx", "pbx.local"])
def test_names_of_the_system(name):
    """Names without a dot and those of mDNS are no questions for the DNS."""
    bed = Bed("")
    bed.system = {name: ("10.0.0.2", "fd00::2")}
    assert bed.found(name, 5060) == ["UDP 10.0.0.2:5060", "UDP [fd00::2]:5060"]
    assert bed.names.asked == []


def test_what_the_dns_does_not_know():
    """The system's resolver has the last word: search domains, files, whatever it has."""
    bed = Bed("")
    bed.system = {"pbx.cellar": ("10.0.0.2",)}
    assert bed.found("pbx.cellar") == ["UDP 10.0.0.2:5060"]
    bed.names.error = DNSServerError()
    bed.clock.advance(60)
    assert bed.found("pbx.cellar", 5060) == ["UDP 10.0.0.2:5060"]


def test_the_system_is_not_asked_in_an_outage(monkeypatch):
    """It would ask the same silent servers and hold a thread for it; nor when there is too much to ask."""
    bed = Bed("")
    bed.names.error = DNSQueryTimeoutError(1)
    assert bed.plan("a.test").why == "a.test cannot be found: the name servers did not answer"
    monkeypatch.setattr(dnscache, "MOST_QUESTIONS", 0)
    assert bed.plan("b.test").why == "b.test has no IPv4 or IPv6 address"
    assert bed.asked_system == []


def test_servers_that_are_not_answered_for():
    """A forwarder that knows neither NAPTR nor SRV: the addresses of the domain are what is left."""
    bed = Bed(SRV)
    bed.names.silent = {"NAPTR", "SRV"}
    search = ensureDeferred(Search(bed.sources, Destination("srv.test"), UDP_ONLY).plan())
    for _, _, deferred in bed.names.waiting:
        deferred.errback(DNSQueryTimeoutError(1))
    assert [str(hop) for hop in search.result.hops] == ["UDP 192.0.2.80:5060"]
    assert search.result.until == 5


def test_no_address_of_our_own():
    """While we have no address no server can be reached, and that is what is said."""
    assert Bed(SRV).plan("srv.test", abilities=(("UDP",), ())).why == "there is no address on our side"
