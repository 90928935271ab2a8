# SPDX-License-Identifier: MIT
"""Many calls at once: sipp, with the scenarios of the folder beside this file."""

from __future__ import annotations

from pathlib import Path

from tests.network.kamailio import DOMAIN, PASSWORD
from tests.network.namespaces import Host
from tests.network.programs import Program, until
from tests.network.tunnel import tunnel

SCENARIOS = Path(__file__).with_name("scenarios")
PORT = 5070
"""The port of sipp on its host, beside a phone that may be there."""


TRANSPORTS = {"UDP": "u1", "TCP": "t1", "TCP each": "tn", "TLS": "t1"}
"""How sipp calls them; `TCP each` is one connection for each call. Without TLS in it a tunnel helps."""


class Caller:
    """A user of `domain` whose calls sipp makes or takes; everything goes through `proxy` by `transport`.

    `pad` makes each INVITE so many bytes longer. By TLS the server there must be `proxy` to `authority`.
    """

    def __init__(
        self,
        user: str,
        host: Host,
        proxy: str,
        directory: Path,
        *,
        transport: str = "UDP",
        domain: str = DOMAIN,
        pad: int = 0,
        authority: Path | None = None,
    ) -> None:
        self.user = user
        self._host = host
        self._directory = directory
        self._transport = transport
        self._domain = domain
        self._pad = pad
        self._server = f"{proxy}:5060"
        if transport == "TLS":
            assert authority is not None
            self._server = tunnel(host, f"{proxy}:5061", authority, f"{user}-tunnel")

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
        return self._directory / f"{name}.errors"

    def _start(self, scenario: str, calls: int, *more: str) -> Program:
        name = f"{self.user}-{scenario}"
        return self._host.start(
            name,
            "sipp",
            *("-nostdin", "-max_socket", "1000", "-sf", SCENARIOS / f"{scenario}.xml", "-m", str(calls)),
            *("-t", TRANSPORTS[self._transport], "-key", "way", self._transport.split()[0]),
            *("-key", "pad", "x" * self._pad),
            *("-s", self.user, "-key", "domain", self._domain, "-au", self.user, "-ap", PASSWORD),
            *("-i", self._host.address, "-p", str(PORT), "-mi", self._host.address),
            *("-timeout", "25", "-timeout_error", "-trace_err", "-error_file", self._error_file(name)),
            *more,
            self._server,
        )
