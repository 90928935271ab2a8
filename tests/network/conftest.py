# SPDX-License-Identifier: MIT
"""What the network tests share: whether they can run here, a bed for each module, the programs' output."""

from __future__ import annotations

import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.network.bed import Bed, Surroundings
from tests.network.gateway import complaints
from tests.network.namespaces import Network, ip
from tests.network.programs import find

PROGRAMS = ("baresip", "kamailio", "kamcmd", "sipp", "tcpdump", "nft", "ip", "ss", "setpriv")
LINES = 120
"""How much of each program's output a failure shows; the rest is in the file that it names."""

NETWORK = pytest.StashKey[Network]()
LACKING = pytest.StashKey[str]()


def lacking() -> str:
    """Return in one line what has to be done before network tests can run here; empty when they can."""
    if sys.platform != "linux":
        return "they need Linux"
    if os.geteuid() != 0:
        return "they need root: sudo make network"
    if missing := [program for program in PROGRAMS if not find(program)]:
        return f"missing: {', '.join(missing)}; to install: tests/network/packages.sh"
    try:
        ip("netns", "add", f"siptw{os.getpid()}-0-try")
        ip("netns", "delete", f"siptw{os.getpid()}-0-try")
    except AssertionError as problem:
        return f"network namespaces are not allowed here ({problem})"
    return ""


@pytest.fixture(scope="session")
def able(request: pytest.FixtureRequest) -> None:
    """Skip where network tests cannot run; in CI nothing is skipped."""
    if reason := lacking():
        request.config.stash[LACKING] = reason
        if os.environ.get("CI") == "true":
            pytest.fail(f"network tests: {reason}", pytrace=False)
        pytest.skip(reason)


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the programs of a module keep their files and logs."""
    return tmp_path_factory.mktemp("bed")


@pytest.fixture(scope="module")
def network(able: None, directory: Path, request: pytest.FixtureRequest) -> Iterator[Network]:
    """An empty network, gone with all that runs in it when the module is done."""
    with Network(directory) as network:
        request.config.stash[NETWORK] = network
        yield network


@pytest.fixture(scope="module")
def bed(network: Network, directory: Path) -> Iterator[Bed]:
    """The whole bed, running; the proxy ends as it should."""
    bed = Bed(network, directory)
    yield bed
    bed.gateway.ends()


@pytest.fixture(scope="module")
def surroundings(network: Network, directory: Path) -> Iterator[Surroundings]:
    """Provider and proxy, running; the proxy ends as it should."""
    surroundings = Surroundings(network, directory)
    yield surroundings
    surroundings.gateway.ends()


@pytest.fixture(autouse=True)
def calm(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test during which the proxy logged anything above a warning."""
    if "network" not in request.fixturenames:
        yield
        return
    network: Network = request.getfixturevalue("network")
    for program in network.programs:
        program.mark()
    yield
    for program in network.programs:
        if program.name == "siproxd":
            said = complaints(program.since_mark())
            assert not said, "the proxy complains:\n" + "\n".join(said)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure what each program printed during the test."""
    report = yield
    network = item.config.stash.get(NETWORK, None)
    if report.failed and network and item.get_closest_marker("network"):
        for program in network.programs:
            report.sections.append((f"{program.name}: {program.log}", program.recent(LINES)))
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Say in one line why the network tests did not run."""
    if reason := terminalreporter.config.stash.get(LACKING, ""):
        terminalreporter.write_line(f"network tests did not run: {reason}")
