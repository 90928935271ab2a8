# SPDX-License-Identifier: MIT
"""Many calls at once: sipp, with the scenarios of the folder beside this file."""

from __future__ import annotations

from pathlib import Path

from tests.network.kamailio import DOMAIN, PASSWORD
from tests.network.namespaces import Host
from tests.network.programs import Program, until

SCENARIOS = Path(__file__).with_name("scenarios")
PORT = 5070
"""The port of sipp on its host, beside a phone that may be there."""


class Caller:
    """A user whose calls sipp makes or takes; everything goes through `proxy`."""

    def __init__(self, user: str, host: Host, proxy: str, directory: Path) -> None:
        self.user = user
        self._host = host
        self._proxy = proxy
        self._errors = directory

    def register(self) -> None:
        """Register, and fail unless the registrar accepts it."""
        self.succeeds(self._start("register", calls=1), 10)

    def takes(self, calls: int) -> Program:
        """Take this many calls in the background."""
        started = self._start("callee", calls)
        until(lambda: PORT in self._host.udp_ports(), 5, f"sipp listens for {self.user}")
        return started

    def makes(self, calls: int, callee: str) -> Program:
        """Make this many calls at once in the background."""
        return self._start("caller", calls, "-key", "callee", callee, "-l", str(calls), "-r", "100")

    def succeeds(self, program: Program, seconds: float) -> None:
        """Wait for the end of a scenario; every one of its calls went as written."""
        status = program.wait(seconds)
        errors = self._error_file(program.name)
        complaint = errors.read_text(errors="replace")[:4000] if errors.exists() else program.recent(40)
        assert status == 0, f"sipp {program.name}: exit status {status}\n{complaint}"

    def _error_file(self, name: str) -> Path:
        return self._errors / f"{name}.errors"

    def _start(self, scenario: str, calls: int, *more: str) -> Program:
        name = f"{self.user}-{scenario}"
        return self._host.start(
            name,
            "sipp",
            *("-nostdin", "-sf", SCENARIOS / f"{scenario}.xml", "-m", str(calls)),
            *("-s", self.user, "-key", "domain", DOMAIN, "-au", self.user, "-ap", PASSWORD),
            *("-i", self._host.address, "-p", str(PORT), "-mi", self._host.address),
            *("-timeout", "25", "-timeout_error", "-trace_err", "-error_file", self._error_file(name)),
            *more,
            f"{self._proxy}:5060",
        )
