# SPDX-License-Identifier: MIT
"""What every resolver does: the real one and the one of the tests."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import pytest
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import Address, Destination, Hop, IResolver, ResolutionFailed
from siproxd_tw.transport.locator import Locator
from siproxd_tw.transport.systemfiles import HostsFile
from tests.support.nameserver import NameServer
from tests.support.resolver import MemoryResolver

ZONE = """
    sip.provider.test 60 A 203.0.113.50
    sip.provider.test 60 A 203.0.113.51
    foo.bar.test 60 A 203.0.113.1
    both.test 60 AAAA 2001:db8::1
    both.test 60 A 203.0.113.9
    _sip._udp.provider.test 60 SRV 10 0 5060 edge1.provider.test
    _sip._udp.provider.test 60 SRV 20 0 5062 edge2.provider.test
    _sip._tcp.provider.test 60 SRV 10 0 5060 edge1.provider.test
    edge1.provider.test 60 A 203.0.113.60
    edge2.provider.test 60 A 203.0.113.61
    provider.test 60 A 203.0.113.80
"""
NAMES = {
    "sip.provider.test": ["203.0.113.50", "203.0.113.51"],
    "foo.bar.test": "203.0.113.1",
    "both.test": ["2001:db8::1", "203.0.113.9"],
    "provider.test": "203.0.113.80",
}
EDGES = [
    Hop("UDP", Address("203.0.113.60", 5060), "provider.test"),
    Hop("UDP", Address("203.0.113.61", 5062), "provider.test"),
    Hop("TCP", Address("203.0.113.60", 5060), "provider.test"),
]


@dataclass
class Subject:
    """A resolver, and how the test holds back what its names resolve to."""

    resolver: IResolver
    hold: Callable[[], None]
    release: Callable[[], None]


@pytest.fixture(params=["memory", "real"])
def subject(request, tmp_path):
    """Both providers, with the same names; a time-out that stays behind fails the test."""
    if request.param == "memory":
        memory = MemoryResolver(NAMES, {"provider.test": [hop._replace(name="") for hop in EDGES]})
        yield Subject(memory, memory.hold, memory.release)
        assert not memory.waiting
        return
    names, clock = NameServer(ZONE), Clock()
    real = Locator(
        clock,
        names,
        lambda host: fail(ResolutionFailed(f"{host} has no address")),
        transports=lambda: ("UDP", "TCP"),
        families=lambda: (4, 6),
        hosts=HostsFile(str(tmp_path / "none")),
    )

    def release():
        names.release()
        while names.waiting:
            names.release()

    yield Subject(real, lambda: setattr(names, "holding", True), release)
    assert clock.getDelayedCalls() == []


def result(deferred: Deferred):
    """What a Deferred has fired with; an exception is returned, no result is an error of the test."""
    seen = []
    deferred.addBoth(seen.append)
    assert seen, "it has not fired"
    found = getattr(seen[0], "value", seen[0])
    return found if isinstance(found, Exception) else list(found)


def pending(deferred: Deferred) -> bool:
    return not deferred.called


def test_it_provides_its_interface(subject):
    """It has what IResolver names."""
    assert verifyObject(IResolver, subject.resolver)


@pytest.mark.parametrize(
    ("host", "literal"),
    [
        ("203.0.113.7", "203.0.113.7"),
        ("[2001:db8::1]", "2001:db8::1"),
        ("2001:DB8:0:0::1", "2001:db8::1"),
    ],
)
def test_an_address_is_answered_at_once(subject, host, literal):
    """An IP address comes back by a Deferred that has fired, IPv6 without brackets and in its short form."""
    subject.hold()
    assert result(subject.resolver.resolve(host)) == [literal]
    assert result(subject.resolver.locate(Destination(host, 5070))) == [Hop("UDP", Address(literal, 5070))]


@pytest.mark.parametrize(
    ("destination", "transport", "port"),
    [
        (("x",), "UDP", 5060),
        (("x", None, "UDP"), "UDP", 5060),
        (("x", None, "TCP"), "TCP", 5060),
        (("x", None, "TLS"), "TLS", 5061),
        (("x", None, "WS"), "WS", 80),
        (("x", None, "WSS"), "WSS", 443),
        (("x", None, "", True), "TLS", 5061),
        (("x", 5070, "", True), "TLS", 5070),
        (("x", None, "TCP", True), "TLS", 5061),
        (("x", None, "WS", True), "WSS", 443),
        (("x", 5070, "TCP"), "TCP", 5070),
        (("x", 5070), "UDP", 5070),
    ],
)
def test_transport_and_port_of_what_has_no_services(subject, destination, transport, port):
    """As named, else UDP, or TLS where that is a must; addresses and names alike."""
    wanted = Destination(*destination)
    for host, name in (("203.0.113.1", ""), ("foo.bar.test", "foo.bar.test")):
        found = result(subject.resolver.locate(wanted._replace(host=host)))
        assert found == [Hop(transport, Address("203.0.113.1", port), name)]


def test_a_name_has_its_addresses_best_first(subject):
    """All addresses of a name are told; case and a dot at the end do not matter."""
    assert result(subject.resolver.resolve("SIP.Provider.Test.")) == ["203.0.113.50", "203.0.113.51"]
    assert result(subject.resolver.locate(Destination("SIP.Provider.Test.", 5070))) == [
        Hop("UDP", Address("203.0.113.50", 5070), "sip.provider.test"),
        Hop("UDP", Address("203.0.113.51", 5070), "sip.provider.test"),
    ]


def test_ipv4_comes_first(subject):
    """Of a name with both kinds of addresses IPv4 is tried before IPv6."""
    assert result(subject.resolver.resolve("both.test")) == ["203.0.113.9", "2001:db8::1"]
    hosts = [hop.address.host for hop in result(subject.resolver.locate(Destination("both.test", 5060)))]
    assert hosts == ["203.0.113.9", "2001:db8::1"]


def test_services_of_a_domain(subject):
    """Without a port it is the DNS that says which servers, ports and transports; TLS is for the domain."""
    assert result(subject.resolver.locate(Destination("provider.test"))) == EDGES


def test_services_of_one_transport(subject):
    """Where the transport is named only its servers count."""
    assert result(subject.resolver.locate(Destination("provider.test", None, "TCP"))) == EDGES[2:]


def test_a_port_means_no_services(subject):
    """With a port in the URI the addresses of the domain itself are meant (RFC 3263 section 4.2)."""
    found = result(subject.resolver.locate(Destination("provider.test", 5060)))
    assert found == [Hop("UDP", Address("203.0.113.80", 5060), "provider.test")]


def test_a_server_that_failed_comes_last(subject):
    """Whatever its priority, the others are tried first; all that is left is better than nothing."""
    destination = Destination("provider.test")
    subject.resolver.failed(EDGES[0])
    assert result(subject.resolver.locate(destination)) == [EDGES[1], EDGES[2], EDGES[0]]
    subject.resolver.failed(EDGES[1], 300.0)
    subject.resolver.failed(EDGES[2])
    assert sorted(result(subject.resolver.locate(destination))) == sorted(EDGES)


def test_an_unknown_name(subject):
    """The failure names the host in a sentence."""
    for error in (
        result(subject.resolver.resolve("nobody.test")),
        result(subject.resolver.locate(Destination("nobody.test"))),
        result(subject.resolver.locate(Destination("nobody.test", 5060))),
    ):
        assert isinstance(error, ResolutionFailed)
        assert str(error) == "nobody.test has no IPv4 or IPv6 address"


@pytest.mark.parametrize(
    "host",
    [
        *("", ".", "..", "a..b", ".a", "-a.test", "a-.test", "ä.test", "[a.test]", "a:b"),
        *("a b", "a\0b", "a\r\nb", "127.1", "10", "0x7f.1", "0x7f000001", "1.2.3.400", "010.0.0.1"),
        *("1.2.3.4.", "[10.0.0.1]", "fe80::1%eth0"),
        *("a" * 64 + ".test", "a." * 127 + "test", "x" * 70000),
    ],
)  # fmt: skip
def test_what_is_no_host_name(subject, host):
    """Neither a name nor an address: refused at once, in one line that is fit for a log."""
    subject.hold()
    for error in (
        result(subject.resolver.resolve(host)),
        result(subject.resolver.locate(Destination(host))),
        result(subject.resolver.locate(Destination(host, 5060, "TCP"))),
    ):
        assert isinstance(error, ResolutionFailed)
        assert "is not a host name" in str(error)
        assert len(str(error)) < 200
        assert str(error).isprintable()


def test_an_answer_that_takes_its_time(subject):
    """A name is answered when the answer is there, everybody with the own port."""
    subject.hold()
    waiting = [subject.resolver.locate(Destination("foo.bar.test", port)) for port in (5060, 5070)]
    host = subject.resolver.resolve("foo.bar.test")
    assert all(pending(each) for each in (*waiting, host))
    subject.release()
    assert [result(each)[0].address for each in waiting] == [("203.0.113.1", 5060), ("203.0.113.1", 5070)]
    assert result(host) == ["203.0.113.1"]


def test_giving_up(subject):
    """One who cancels gets CancelledError; another who waits for the same name gets the answer."""
    subject.hold()
    destination = Destination("foo.bar.test", 5060)
    gone, stays = (subject.resolver.locate(destination) for _ in range(2))
    gone.cancel()
    assert isinstance(result(gone), CancelledError)
    subject.release()
    assert result(stays)[0].address == ("203.0.113.1", 5060)


def test_giving_up_for_another(subject):
    """Whoever gets an answer may cancel what somebody else waits for."""
    subject.hold()
    first, second = (subject.resolver.locate(Destination("foo.bar.test", 5060)) for _ in range(2))
    first.addCallback(lambda found: (second.cancel(), found)[1])
    subject.release()
    assert len(result(first)) == 1
    assert isinstance(result(second), CancelledError)


# The memory's


def test_what_a_test_sees_of_the_fake():
    """The fake notes every question and answers one name before another."""
    resolver = MemoryResolver({"a.test": "203.0.113.1", "b.test": ["203.0.113.2"]})
    resolver.hold()
    first, second = (resolver.resolve(name) for name in ("a.test", "b.test"))
    assert [name for name, _ in resolver.waiting] == ["a.test", "b.test"]
    resolver.release("b.test")
    assert pending(first)
    assert result(second) == ["203.0.113.2"]
    third = resolver.locate(Destination("a.test", 5070, "TCP"))
    assert pending(third)
    resolver.names["a.test"] = "203.0.113.3"
    resolver.release()
    assert result(first) == ["203.0.113.3"]
    assert result(third) == [Hop("TCP", Address("203.0.113.3", 5070), "a.test")]
    assert resolver.asked == ["a.test", "b.test", Destination("a.test", 5070, "TCP")]


def test_the_fake_remembers_failures():
    """What `failed` was told is there to see, and a test may bring a server back to life."""
    hops = [Hop("UDP", Address("203.0.113.1", 5060)), Hop("UDP", Address("203.0.113.2", 5060))]
    resolver = MemoryResolver(services={"a.test": hops})
    found = result(resolver.locate(Destination("a.test")))
    resolver.failed(found[0], 60.0)
    assert resolver.failures == [(found[0], 60.0)]
    assert result(resolver.locate(Destination("a.test"))) == [found[1], found[0]]
    resolver.dead.clear()
    assert result(resolver.locate(Destination("a.test"))) == found
