# SPDX-License-Identifier: MIT
"""The program under test: siproxd_tw on the gateway host."""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.network.namespaces import Host
from tests.network.programs import until

TWISTD = Path(sys.executable).with_name("twistd")
SIP_PORT = 5060
RTP_PORTS = range(10000, 12000)

CONFIGURATION = """\
if_inbound        = {inside}
if_outbound       = {outside}
sip_listen_port   = {sip_port}
rtp_port_low      = {low}
rtp_port_high     = {high}
rtp_timeout       = 300
default_expires   = 600
hosts_allow_reg   = {networks}
registration_file = {directory}/registrations
daemonize         = 0
silence_log       = 0
"""

COMPLAINT = re.compile(r"^.*(?:#(?:error|critical)\]|Traceback|Unhandled).*(?:\n\t.*)*", re.MULTILINE)
"""Log entries above warning level, and exceptions however they got there."""


def complaints(log: str) -> list[str]:
    """Return the entries above warning level in a log."""
    return COMPLAINT.findall(log)


class Gateway:
    """siproxd_tw, listening; ends with its host."""

    def __init__(
        self,
        host: Host,
        interfaces: tuple[str, str],
        networks: str,
        directory: Path,
        directives: Sequence[tuple[str, object]] = (),
    ) -> None:
        """Start it between two `interfaces`, inside and outside, with more directives."""
        self.host = host
        directory.mkdir()
        configuration = directory / "siproxd.conf"
        configuration.write_text(
            CONFIGURATION.format(
                inside=interfaces[0],
                outside=interfaces[1],
                networks=networks,
                sip_port=SIP_PORT,
                low=RTP_PORTS[0],
                high=RTP_PORTS[-1],
                directory=directory,
            )
            + "".join(f"{key} = {value}\n" for key, value in directives)
        )
        self.program = host.start(
            "siproxd", str(TWISTD), "-n", "--pidfile=", "siproxd", "--config", configuration
        )
        self.program.wait_for("siproxd_tw started", 10)

    def media_ports(self) -> set[int]:
        """Return the ports on which it relays media at this moment."""
        return {port for port in self.host.udp_ports() if port in RTP_PORTS}

    def wait_quiet(self, seconds: float = 5) -> None:
        """Wait until every media port is back in the pool."""
        until(lambda: not self.media_ports(), seconds, "all media ports are free again")

    def complaints(self, start: int = 0) -> list[str]:
        """Return the log entries above warning level since byte `start` of its log."""
        return complaints(self.program.output(start))

    def warnings(self, start: int = 0) -> list[str]:
        """Return the log entries at warning level since byte `start` of its log."""
        return re.findall(r"^.*#warn\].*$", self.program.output(start), re.MULTILINE)

    def ends(self, seconds: float = 5) -> None:
        """Ask it to end (SIGTERM): it does, with status 0 and without a complaint; no port is left before."""
        self.wait_quiet()
        until(lambda: set(self.host.udp_ports()) == {SIP_PORT}, 5, "there is no UDP socket but those for SIP")
        start = self.program.size()
        self.program.signal(signal.SIGTERM)
        status = self.program.wait(seconds)
        assert (status, self.complaints(start)) == (0, []), self.program.output(start)

    def status(self) -> dict[str, Any]:
        """Ask it how it is (SIGUSR1) and return the figures that it logs."""
        start = self.program.size()
        self.program.signal(signal.SIGUSR1)
        match = self.program.wait_for(r"\bstatus:? (\{.*\})\s*$", 5, start)
        figures = json.loads(match[1])
        assert isinstance(figures, dict)
        return figures
