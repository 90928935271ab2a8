# SPDX-License-Identifier: MIT
"""The proxy in its laboratory, as every test here uses it, and the list of the drop-in cases.

TC01 to TC05, TC07    test_registration.py       TC20 to TC24    test_requests.py
TC06                  test_authentication.py     TC25            test_local_calls.py
TC08, TC26, TC27      test_directives.py         TC28            TCP, which is not in yet
TC09 to TC11          test_calls.py              TC29            the plug-ins, which are not in yet
TC12, TC13            test_calls_in.py           TC30            test_persistence.py (and tests/config)
TC14, TC15            test_calls.py
TC16 to TC19          test_media.py

The other files hold what is ours: test_transactions.py, test_retransmission.py, test_dialogs.py,
test_several_phones.py, test_improvements.py, test_address_changes.py and test_media_ends.py.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from twisted.application.service import IService

from siproxd_tw.config.reader import read
from siproxd_tw.service import Siproxd
from tests.support.cleartls import ClearTLS
from tests.support.lab import Lab
from tests.support.networks import NETWORKS, Network

Laboratory = Callable[..., Lab]

_failed = pytest.StashKey[bool]()


def build(lab: Lab) -> IService:
    """Assemble the program as the configuration of the laboratory says."""
    reading = read(lab.config, "siproxd.conf")
    assert not reading.errors, reading.errors
    return Siproxd(
        reading.config,
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
def laboratory(request: pytest.FixtureRequest, tmp_path: Path, network: Network) -> Iterator[Laboratory]:
    """Open laboratories with the configuration lines and options given; each is closed and audited."""
    opened: list[Lab] = []

    def open_laboratory(*directives: str, **options: object) -> Lab:
        lab = Lab(build, *directives, folder=tmp_path, **{"on": network, **options})
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
