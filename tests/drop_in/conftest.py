# SPDX-License-Identifier: MIT
"""The proxy in its laboratory, as every test here uses it, and the list of the drop-in cases.

TC01 to TC05, TC07    test_registration.py       TC20 to TC24    test_requests.py
TC06                  test_authentication.py     TC25            test_local_calls.py
TC08, TC26, TC27      test_directives.py         TC28            test_connections.py
TC09 to TC11          test_calls.py              TC29            the plug-ins, which are not in yet
TC12, TC13            test_calls_in.py           TC30            test_persistence.py (and tests/config)
TC14, TC15            test_calls.py
TC16 to TC19          test_media.py

Each says on which networks it runs: the phones' transport and the provider's, or their versions of IP
(tests/support/networks.py). TLS is without encryption here; with it in tests/transport and tests/network.

on all of them        TC01, TC02, TC05, TC09 to TC14, TC22 (spiral), TC23 (Route), TC24 (Contact), TC25, TC26,
                      TC27 (ua_string), TC30 (restart)
on five, each leg by  TC03, TC06, TC07, TC15, TC17, TC18, TC20, TC22 to TC24
each transport
by UDP and TCP        TC04, TC08, TC16 and TC18 (IPv4 addresses are the case), TC19, TC21, TC27
by UDP alone          retransmission (TC01, TC09), variants of what runs on more (TC02 to TC04, TC21), and
                      records of siproxd's registration file (TC30)
by TCP and TLS alone  TC28

The other files hold what is ours. Signalling: test_transactions.py, test_retransmission.py, test_dialogs.py,
test_improvements.py, test_forking.py, test_servers.py (several servers of a provider), test_bridging.py (UDP
with TCP and TLS, IPv4 with IPv6), test_subscriptions.py, test_transfers.py, test_passing.py (what stays as
it is), test_refusals.py, test_open_relay.py, test_routers.py, test_several_phones.py, test_topologies.py,
test_address_changes.py. Media: test_media_ends.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache

import pytest
from twisted.application.service import IService

from siproxd_tw.config.reader import read
from siproxd_tw.config.settings import Config
from siproxd_tw.service import Siproxd
from tests.support.cleartls import ClearTLS
from tests.support.lab import Lab
from tests.support.networks import NETWORKS, Network

Laboratory = Callable[..., Lab]

_failed = pytest.StashKey[bool]()


@cache
def configured(text: str) -> Config:
    """Read a configuration, which must be right; hundreds of laboratories have the same."""
    reading = read(text, "siproxd.conf")
    assert not reading.errors, reading.errors
    return reading.config


def build(lab: Lab) -> IService:
    """Assemble the program as the configuration of the laboratory says."""
    return Siproxd(
        configured(lab.config),
        reactor=lab.reactor,
        addresses=lab.addresses,
        resolver=lab.resolver,
        randomness=lab.randomness,
        tls=ClearTLS(),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on each network that its mark, or that of its file, names; without one by UDP."""
    marker = metafunc.definition.get_closest_marker("networks")
    if marker is not None and "network" in metafunc.fixturenames:
        metafunc.parametrize("network", marker.args, indirect=True)


@pytest.fixture
def network(request: pytest.FixtureRequest) -> Network:
    """Return the network that the laboratories of this test have."""
    return NETWORKS[getattr(request, "param", "udp")]


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    """Remember which test failed: what it leaves unfinished then is no second failure."""
    report = yield
    item.stash[_failed] = item.stash.get(_failed, False) or report.failed
    return report


@pytest.fixture
def laboratory(request: pytest.FixtureRequest, network: Network) -> Iterator[Laboratory]:
    """Open laboratories with the configuration lines and options given; each is closed and audited."""
    opened: list[Lab] = []

    def open_laboratory(*directives: str, **options: object) -> Lab:
        lab = Lab(build, *directives, **{"on": network, **options})
        opened.append(lab)
        lab.start()
        return lab

    yield open_laboratory
    for lab in opened:
        lab.close(audit=not request.node.stash.get(_failed, False))


@pytest.fixture
def lab(laboratory: Laboratory) -> Lab:
    """Open the laboratory with nothing special about it."""
    return laboratory()
