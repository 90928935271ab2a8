# SPDX-License-Identifier: MIT
from __future__ import annotations

from ipaddress import IPv4Address as IPv4
from ipaddress import IPv6Address as IPv6

import pytest
import pytest_twisted
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IHostnameResolver, IHostResolution, IResolutionReceiver
from twisted.internet.task import Clock
from zope.interface import implementer
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import IStatus, ResolutionFailed
from siproxd_tw.transport import resolver as resolver_module
from siproxd_tw.transport.resolver import SystemResolver, ip_literal, is_host_name

PROVIDER = "sip.provider.test"
ZONE = {PROVIDER: ["203.0.113.50", "203.0.113.51"], "foo.bar.test": ["203.0.113.1"]}


@implementer(IHostResolution)
class Resolution:
    def __init__(self, name):
        self.name = name

    def cancel(self):
        raise NotImplementedError


@implementer(IHostnameResolver)
class SystemNames:
    """What a reactor offers as nameResolver: calls back in the same turn, or when the test says so."""

    def __init__(self, zone):
        self.zone = zone
        self.holding = False
        self.asked = []
        self.running = []

    def resolveHostName(
        self, resolutionReceiver, hostName, portNumber=0, addressTypes=None, transportSemantics="TCP"
    ):
        assert verifyObject(IResolutionReceiver, resolutionReceiver)
        assert addressTypes == [IPv4Address, IPv6Address]
        self.asked.append(hostName)
        resolution = Resolution(hostName)
        resolutionReceiver.resolutionBegan(resolution)
        self.running.append((hostName, resolutionReceiver))
        if not self.holding:
            self.release()
        return resolution

    def release(self):
        running, self.running = self.running, []
        for name, receiver in running:
            for host in self.zone.get(name, ()):
                kind = IPv6Address if ":" in host else IPv4Address
                receiver.addressResolved(kind("UDP", host, 0))
            receiver.resolutionComplete()


def result(deferred: Deferred):
    """What a Deferred has fired with; an exception is returned, no result is an error of the test."""
    seen = []
    deferred.addBoth(seen.append)
    assert seen, "it has not fired"
    return getattr(seen[0], "value", seen[0])


def pending(deferred: Deferred) -> bool:
    return not deferred.called


# The system's


@pytest.fixture
def system():
    """The real provider over a name resolver of the test."""
    names, clock = SystemNames({name: list(hosts) for name, hosts in ZONE.items()}), Clock()
    clock.advance(100_000)
    yield SystemResolver(names, clock), names, clock
    assert clock.getDelayedCalls() == []


def test_its_status(system):
    """It says how much it knows and what went wrong."""
    resolver, _, _ = system
    assert verifyObject(IStatus, resolver)
    result(resolver.resolve(PROVIDER))
    result(resolver.resolve("nobody.test"))
    result(resolver.resolve("nothing.test"))
    assert resolver.status() == {
        "cached": 3,
        "running": 0,
        "looked up": 3,
        "failed": 2,
        "timed out": 0,
        "refused": 0,
    }


def test_an_answer_is_kept_for_a_minute(system):
    """A second question within 60 s is answered from the cache, then the system is asked again."""
    resolver, names, clock = system
    result(resolver.resolve(PROVIDER))
    names.zone[PROVIDER] = ["203.0.113.99"]
    clock.advance(59.9)
    assert result(resolver.resolve(PROVIDER.upper()))[0] == "203.0.113.50"
    assert names.asked == [PROVIDER]
    clock.advance(0.1)
    assert list(result(resolver.resolve(PROVIDER))) == ["203.0.113.99"]


def test_a_failure_is_kept_for_five_seconds(system):
    """A name that does not exist is not asked for again at once, and found when it exists later."""
    resolver, names, clock = system
    result(resolver.resolve("new.test"))
    names.zone["new.test"] = ["203.0.113.70"]
    clock.advance(4.9)
    assert isinstance(result(resolver.resolve("new.test")), ResolutionFailed)
    assert names.asked == ["new.test"]
    clock.advance(0.1)
    assert list(result(resolver.resolve("new.test"))) == ["203.0.113.70"]


def test_one_lookup_for_all(system):
    """Whoever asks while a look-up runs joins it."""
    resolver, names, _ = system
    names.holding = True
    waiting = [resolver.resolve(PROVIDER) for _ in range(5)]
    assert names.asked == [PROVIDER]
    names.release()
    assert [len(result(each)) for each in waiting] == [2] * 5
    assert names.asked == [PROVIDER]


def test_no_answer_for_five_seconds(system):
    """After 5 s the question fails with the host's name; the late answer is used for the next one."""
    resolver, names, clock = system
    names.holding = True
    waiting = resolver.resolve(PROVIDER)
    clock.advance(4.9)
    assert pending(waiting)
    clock.advance(0.1)
    error = result(waiting)
    assert isinstance(error, ResolutionFailed)
    assert str(error) == f"{PROVIDER}: the name servers did not answer within 5 seconds"

    clock.advance(1)  # known to fail for five seconds
    assert isinstance(result(resolver.resolve(PROVIDER)), ResolutionFailed)
    clock.advance(4)  # then one joins the look-up that still runs
    joined = resolver.resolve(PROVIDER)
    assert names.asked == [PROVIDER]
    names.release()
    assert len(result(joined)) == 2
    assert len(result(resolver.resolve(PROVIDER))) == 2
    assert resolver.status()["timed out"] == 1


def test_a_lookup_that_never_ends(system):
    """A look-up that the system has lost is begun anew after two minutes; the lost one does no harm."""
    resolver, names, clock = system
    names.holding = True
    lost = resolver.resolve(PROVIDER)
    clock.advance(5)
    assert isinstance(result(lost), ResolutionFailed)
    first, names.running = names.running, []
    clock.advance(120)
    again = resolver.resolve(PROVIDER)
    assert names.asked == [PROVIDER, PROVIDER]
    names.release()
    assert len(result(again)) == 2
    first[0][1].resolutionComplete()  # empty, and much too late
    assert resolver.status()["running"] == 0


def test_too_many_lookups(system, monkeypatch):
    """Beyond a number of look-ups new names fail at once; known names and addresses do not."""
    monkeypatch.setattr(resolver_module, "MOST_LOOKUPS", 3)
    resolver, names, clock = system
    result(resolver.resolve(PROVIDER))
    names.holding = True
    waiting = [resolver.resolve(f"{number}.test") for number in "abc"]
    error = result(resolver.resolve("d.test"))
    assert str(error) == "d.test: too many other names are being looked up"
    assert len(result(resolver.resolve(PROVIDER))) == 2
    assert resolver.status()["refused"] == 1
    clock.advance(5)
    assert all(isinstance(result(each), ResolutionFailed) for each in waiting)
    clock.advance(116)  # those three are lost: there is room again
    late = resolver.resolve("d.test")
    names.release()
    assert str(result(late)).startswith("d.test has no address")


def test_the_cache_is_bounded(system, monkeypatch):
    """The oldest answer makes room for a new one."""
    monkeypatch.setattr(resolver_module, "MOST_NAMES", 2)
    resolver, names, clock = system
    for name in (PROVIDER, "foo.bar.test", "nobody.test"):
        result(resolver.resolve(name))
        clock.advance(1)
    assert resolver.status()["cached"] == 2
    result(resolver.resolve("foo.bar.test"))
    result(resolver.resolve(PROVIDER))
    assert names.asked == [PROVIDER, "foo.bar.test", "nobody.test", PROVIDER]


def test_a_renewed_answer_is_a_new_one(system, monkeypatch):
    """An answer that was looked up again is not the oldest any more."""
    monkeypatch.setattr(resolver_module, "MOST_NAMES", 2)
    resolver, names, clock = system
    result(resolver.resolve(PROVIDER))
    clock.advance(30)
    result(resolver.resolve("foo.bar.test"))
    clock.advance(30)
    for name in (PROVIDER, "nobody.test", PROVIDER):
        result(resolver.resolve(name))
    assert names.asked == [PROVIDER, "foo.bar.test", PROVIDER, "nobody.test"]


def test_ipv4_first_and_once(system):
    """IPv4 comes first, an address that is told twice is one, and a link-local one is of no use."""
    resolver, names, _ = system
    names.zone["both.test"] = ["fe80::1", "2001:db8::1", "203.0.113.7", "203.0.113.7"]
    assert list(result(resolver.resolve("both.test"))) == ["203.0.113.7", "2001:db8::1"]
    names.zone["six.test"] = ["2001:db8::1"]
    assert list(result(resolver.resolve("six.test"))) == ["2001:db8::1"]


def test_addresses_and_nonsense_are_not_looked_up(system):
    """An IP address is its own answer; getaddrinfo() would take some nonsense for an address."""
    resolver, names, _ = system
    assert list(result(resolver.resolve("203.0.113.7"))) == ["203.0.113.7"]
    assert list(result(resolver.resolve("[2001:DB8::0:1]"))) == ["2001:db8::1"]
    for host in ("", "127.1", "0x7f000001", "a" * 64 + ".test", "a b"):
        assert isinstance(result(resolver.resolve(host)), ResolutionFailed)
    assert names.asked == []


def test_giving_up_for_another(system):
    """Whoever gets an answer may cancel what somebody else waits for."""
    resolver, names, _ = system
    names.holding = True
    first, second = (resolver.resolve(PROVIDER) for _ in range(2))
    first.addCallback(lambda found: (second.cancel(), found)[1])
    names.release()
    assert len(result(first)) == 2
    assert isinstance(result(second), CancelledError)


@pytest_twisted.ensureDeferred
async def test_the_real_system():
    """A name from the system's files is found in a thread, not in the call."""
    from twisted.internet import reactor  # noqa: TID251

    resolver = SystemResolver(reactor.nameResolver, reactor)
    deferred = resolver.resolve("localhost")
    assert pending(deferred)
    assert "127.0.0.1" in await deferred
    assert not pending(resolver.resolve("localhost"))


# The words


@given(st.ip_addresses(v=4))
def test_every_ipv4_address_is_one(address: IPv4):
    """The dotted form is an address and never a name."""
    assert ip_literal(str(address)) == str(address)
    assert not is_host_name(str(address))


@given(st.ip_addresses(v=6))
def test_every_ipv6_address_is_one(address: IPv6):
    """With and without brackets, long or short, it is the same address."""
    assert ip_literal(address.exploded) == ip_literal(f"[{address}]") == str(address)


@given(st.text(max_size=20))
@example("[::1")
@example("::1]")
@example("[]")
@example("::1\n")
@example("a\n")
def test_anything_is_one_of_three(text):
    """Any text is an address, a host name or neither, and looking at it raises nothing."""
    assert not (ip_literal(text) and is_host_name(text))
    if is_host_name(text):
        assert text.isascii()
        assert text.isprintable()


@pytest.mark.parametrize("text", ["[::1", "::1]", "[[::1]]", "[]", "", "[10.0.0.1]", "::1 ", "10.0.0.1\0"])
def test_almost_an_address(text):
    """Half a bracket, an IPv4 address in brackets or a character too many make it none."""
    assert ip_literal(text) is None


def test_the_longest_host_name():
    """A name has 253 characters and perhaps a dot behind them (RFC 1035 section 3.1)."""
    longest = ".".join(["a" * 63] * 3 + ["b" * 61])
    assert len(longest) == 253
    assert is_host_name(longest)
    assert is_host_name(longest + ".")
    assert not is_host_name(longest + "b.")


@pytest.mark.parametrize(
    "name", ["localhost", "3cx", "a.b.c.", "_sip._udp.a.test", "x-1.0a", "a" * 63 + ".de"]
)
def test_host_names(name):
    """Names that people have."""
    assert is_host_name(name)
