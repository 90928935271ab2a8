# SPDX-License-Identifier: MIT
from __future__ import annotations

from collections import Counter
from random import Random

import pytest
import pytest_twisted
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.names.error import DNSQueryTimeoutError
from zope.interface.verify import verifyObject

from siproxd_tw.interfaces import Address, Destination, Hop, IResolver, IStatus, ResolutionFailed
from siproxd_tw.transport import locator as locator_module
from siproxd_tw.transport.locator import Locator
from siproxd_tw.transport.nameservers import NameServers
from siproxd_tw.transport.systemfiles import HostsFile
from tests.support.nameserver import LoopbackServer, NameServer

ZONE = """
    _sip._udp.provider.test 60 SRV 10 60 5060 a.provider.test
    _sip._udp.provider.test 60 SRV 10 40 5060 b.provider.test
    _sip._udp.provider.test 60 SRV 20 0 5060 c.provider.test
    a.provider.test 60 A 192.0.2.1
    b.provider.test 60 A 192.0.2.2
    c.provider.test 60 A 192.0.2.3
    one.test 30 A 192.0.2.9
    one.test 30 AAAA 2001:db8::9
    late.test 1 A 192.0.2.10
"""
PROVIDER = Destination("provider.test")
ONE = Destination("one.test", 5060)
A, B, C = (Hop("UDP", Address(f"192.0.2.{n}", 5060), "provider.test") for n in (1, 2, 3))


class Bed:
    """A locator and all that it asks."""

    def __init__(self, path):
        self.names = NameServer(ZONE)
        self.clock = Clock()
        self.transports = ("UDP",)
        self.families = (4,)
        self.system = []
        self.locator = Locator(
            self.clock,
            self.names,
            self.ask_system,
            transports=lambda: self.transports,
            families=lambda: self.families,
            hosts=HostsFile(str(path)),
            random=Random(1).random,
        )

    def ask_system(self, name):
        self.system.append(name)
        return fail(ResolutionFailed(name))

    def locate(self, *destination):
        """What is known at once; an exception is returned."""
        return result(self.locator.locate(Destination(*destination)))


def result(deferred):
    seen = []
    deferred.addBoth(seen.append)
    assert seen, "it has not fired"
    return getattr(seen[0], "value", seen[0])


@pytest.fixture
def bed(tmp_path):
    """A fresh one; timers that stay behind fail the test."""
    it = Bed(tmp_path / "hosts")
    yield it
    assert it.clock.getDelayedCalls() == []


def test_it_provides_its_interfaces(bed):
    """It is what the proxy asks, and it says how it is."""
    assert verifyObject(IResolver, bed.locator)
    assert verifyObject(IStatus, bed.locator)


def test_its_status(bed):
    """How much it knows and what went wrong."""
    bed.locate("one.test", 5060)
    bed.locate("nobody.test")
    bed.locator.failed(A)
    status = dict(bed.locator.status())
    assert status.pop("dns")["asked"] == 4
    assert status == {
        "destinations": 2,
        "searches": 0,
        "failed servers": ["UDP 192.0.2.1:5060"],
        "found": 1,
        "not found": 1,
        "timed out": 0,
        "refused": 0,
    }


def test_an_answer_is_kept_for_its_ttl(bed):
    """A second message costs no question, and after the TTL the DNS is asked again."""
    assert bed.locate("one.test", 5060)[0].address.host == "192.0.2.9"
    bed.names.add("one.test 30 A 192.0.2.8")
    bed.clock.advance(29.9)
    assert bed.locate("one.test", 5060)[0].address.host == "192.0.2.9"
    assert bed.names.questions() == [("one.test", "A")]
    bed.clock.advance(0.1)
    assert bed.locate("one.test", 5060)[0].address.host == "192.0.2.8"


def test_one_message_after_the_other_is_spread(bed):
    """By weight, anew for each message from the same records; the lower priority is always last."""
    first = Counter()
    for _ in range(1000):
        found = bed.locate(*PROVIDER)
        assert set(found) == {A, B, C}
        assert found[2] == C
        first[found[0]] += 1
    assert abs(first[A] - 600) < 60
    assert abs(first[B] - 400) < 60
    assert len(bed.names.questions()) == 5


def test_what_can_be_used_may_change(bed):
    """A new address family or transport counts with the next message."""
    assert len(bed.locate("one.test", 5060)) == 1
    bed.families = (4, 6)
    assert [hop.address.host for hop in bed.locate("one.test", 5060)] == ["192.0.2.9", "2001:db8::9"]
    bed.names.add("_sips._tcp.provider.test 60 SRV 1 1 5061 a.provider.test")
    bed.transports = ("TLS",)
    assert bed.locate(*PROVIDER) == (Hop("TLS", Address("192.0.2.1", 5061), "provider.test"),)


def test_a_server_that_failed_is_last_for_a_time(bed):
    """Each for its own seconds, whatever its priority; those that live keep their order."""
    bed.locator.failed(A)
    bed.locator.failed(B, 10)
    assert bed.locate(*PROVIDER)[0] == C
    bed.clock.advance(10)
    assert list(bed.locate(*PROVIDER)) == [B, C, A]
    bed.clock.advance(20)
    assert bed.locate(*PROVIDER)[2] == C
    assert bed.locator.status()["failed servers"] == []


def test_another_transport_of_a_failed_server(bed):
    """A server that takes no connection may still take datagrams."""
    bed.locator.failed(A._replace(transport="TCP"))
    bed.locator.failed(B._replace(name="other.test"))
    assert list(bed.locate(*PROVIDER)) == [A, C, B]


def test_failed_servers_are_bounded(bed, monkeypatch):
    """The oldest failure is forgotten for a new one."""
    monkeypatch.setattr(locator_module, "MOST_FAILED", 2)
    for hop in (A, B, A, C):
        bed.locator.failed(hop)
    assert bed.locator.status()["failed servers"] == ["UDP 192.0.2.1:5060", "UDP 192.0.2.3:5060"]


def test_a_name_that_is_not_there(bed):
    """It is asked for once in a while, and says the same to everybody meanwhile."""
    for _ in range(3):
        assert str(bed.locate("nobody.test", 5060)) == "nobody.test has no IPv4 address"
    assert bed.names.questions() == [("nobody.test", "A")]
    assert bed.system == ["nobody.test"]
    bed.names.add("nobody.test 60 A 192.0.2.5")
    bed.clock.advance(5)
    assert bed.locate("nobody.test", 5060)[0].address.host == "192.0.2.5"


def test_a_host_has_both_families(bed):
    """`resolve` is for whoever knows what to do with an address: of both families, IPv4 first."""
    assert result(bed.locator.resolve("One.Test")) == ["192.0.2.9", "2001:db8::9"]
    assert result(bed.locator.resolve("[2001:db8:0::7]")) == ("2001:db8::7",)
    bed.families = ()
    assert len(result(bed.locator.resolve("one.test"))) == 2


def test_everybody_shares_a_search(bed):
    """Whoever asks for the same meanwhile gets the same answer, at the same time."""
    bed.names.holding = True
    waiting = [bed.locator.locate(ONE) for _ in range(5)]
    waiting[0].cancel()
    assert isinstance(result(waiting[0]), CancelledError)
    bed.names.release()
    assert [result(each)[0].address.host for each in waiting[1:]] == ["192.0.2.9"] * 4
    assert len(bed.names.questions()) == 1


def test_a_black_hole(bed):
    """Nobody waits longer than 5 s, and the next one is not kept waiting for so long again."""
    bed.names.silent = {"A", "SRV", "NAPTR"}
    waiting = bed.locator.locate(PROVIDER)
    bed.clock.advance(4.9)
    assert not waiting.called
    bed.clock.advance(0.1)
    error = result(waiting)
    assert isinstance(error, ResolutionFailed)
    assert str(error) == "provider.test cannot be found: the name servers did not answer"
    assert str(bed.locate(*PROVIDER)) == str(error)
    assert bed.locator.status()["timed out"] == 1


def test_others_go_on_in_a_black_hole(bed):
    """What is known is answered at once while another name waits."""
    bed.locate("one.test", 5060)
    bed.names.holding = True
    waiting = bed.locator.locate(PROVIDER)
    assert bed.locate("one.test", 5060)[0].address.host == "192.0.2.9"
    bed.names.release()
    assert len(result(waiting)) == 3


def test_an_outage_of_the_dns(bed):
    """Servers that were known serve for another hour, in their order, and without waiting."""
    bed.locate(*PROVIDER)
    bed.names.error = DNSQueryTimeoutError(1)
    for seconds in (60, 1, 5, 600, 2900):
        bed.clock.advance(seconds)
        assert set(bed.locate(*PROVIDER)) == {A, B, C}
    bed.clock.advance(200)
    assert isinstance(bed.locate(*PROVIDER), ResolutionFailed)


def test_a_provider_whose_srv_fails_alone(bed):
    """No other server takes the place of those that SRV has named while SRV is not to be had."""
    bed.names.add("provider.test 3600 A 192.0.2.80")
    bed.locate(*PROVIDER)
    bed.clock.advance(60)
    bed.names.silent = {"SRV"}
    waiting = bed.locator.locate(PROVIDER)
    bed.clock.advance(0.5)
    assert set(result(waiting)) == {A, B, C}


def test_too_many_searches(bed, monkeypatch):
    """Beyond a number of searches new names fail at once; known names and addresses do not."""
    monkeypatch.setattr(locator_module, "MOST_SEARCHES", 2)
    bed.locate("one.test", 5060)
    bed.names.holding = True
    waiting = [bed.locator.locate(Destination(name)) for name in ("b.test", "c.test")]
    assert str(bed.locate("d.test")) == "d.test: too many other names are being looked up"
    assert bed.locate("one.test", 5060)[0].address.host == "192.0.2.9"
    assert bed.locate("192.0.2.7") == (Hop("UDP", Address("192.0.2.7", 5060)),)
    bed.names.release()
    bed.names.release()
    assert all(isinstance(result(each), ResolutionFailed) for each in waiting)


@pytest.mark.parametrize(("later", "serves"), [(600.0, True), (7200.0, False)])
def test_too_many_searches_leave_known_servers(bed, monkeypatch, later, serves):
    """Whoever asks for many names takes nobody's provider away: its former servers count, for an hour."""
    monkeypatch.setattr(locator_module, "MOST_SEARCHES", 2)
    known = bed.locate("one.test", 5060)
    bed.clock.advance(later)
    bed.names.holding = True
    waiting = [bed.locator.locate(Destination(name)) for name in ("b.test", "c.test")]
    found = bed.locate("one.test", 5060)
    assert found == known if serves else isinstance(found, ResolutionFailed)
    bed.names.release()
    bed.names.release()
    assert all(isinstance(result(each), ResolutionFailed) for each in waiting)


def test_answers_are_bounded(bed, monkeypatch):
    """The oldest answer makes room for a new one."""
    monkeypatch.setattr(locator_module, "MOST_DESTINATIONS", 3)
    for port in range(5060, 5070):
        bed.locate("one.test", port)
    assert bed.locator.status()["destinations"] == 3


@pytest.mark.logs_failures
def test_a_search_with_a_bug(bed, monkeypatch):
    """An unexpected exception is logged, and the name is one that cannot be found for a while."""
    monkeypatch.setattr(bed, "ask_system", lambda name: fail(ZeroDivisionError("a bug")))
    locator = Locator(
        bed.clock,
        bed.names,
        bed.ask_system,
        transports=lambda: bed.transports,
        families=lambda: bed.families,
        hosts=HostsFile("/nonexistent"),
    )
    assert str(result(locator.locate(Destination("pbx")))) == "pbx cannot be found: a bug"


def test_stop(bed):
    """All that wait fail as any question may, with nothing left behind; the client is stopped too."""
    stopped = []
    bed.names.stop = lambda: stopped.append(True) or Deferred()
    bed.names.holding = True
    waiting = [bed.locator.locate(PROVIDER), bed.locator.locate(PROVIDER), bed.locator.resolve("one.test")]
    assert not bed.locator.stop().called
    assert [type(result(each)) for each in waiting] == [ResolutionFailed] * 3
    assert stopped == [True]


def test_stop_while_an_old_answer_is_there(bed):
    """Those who wait for a newer answer leave no timer either."""
    bed.locate(*PROVIDER)
    bed.clock.advance(60)
    bed.names.holding = True
    waiting = bed.locator.locate(PROVIDER)
    assert result(bed.locator.stop()) is None
    assert str(result(waiting)) == "provider.test: the service ends"
    assert bed.clock.getDelayedCalls() == []


@pytest_twisted.ensureDeferred
async def test_for_real(tmp_path):
    """With real name servers, the first of which is dead: found in time, and stopped without a trace."""
    from twisted.internet import reactor  # noqa: TID251

    hole = NameServer()
    hole.silent = {"A", "AAAA", "SRV", "NAPTR"}
    servers = [LoopbackServer(reactor, each) for each in (hole, NameServer(ZONE))]
    locator = Locator(
        reactor,
        NameServers(reactor, [f"127.0.0.1:{each.port}" for each in servers]),
        lambda name: fail(ResolutionFailed(name)),
        transports=lambda: ("UDP", "TCP"),
        families=lambda: (4, 6),
        hosts=HostsFile(str(tmp_path / "hosts")),
    )
    began = reactor.seconds()
    try:
        assert set(await locator.locate(PROVIDER)) == {A, B, C}
        assert reactor.seconds() - began < 4
        unanswered = locator.locate(Destination("other.test"))
        unanswered.addErrback(lambda failure: failure.trap(ResolutionFailed))
    finally:
        await locator.stop()
        for each in servers:
            await each.stop()
