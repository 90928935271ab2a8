# SPDX-License-Identifier: MIT
"""The provider: Kamailio as registrar and proxy of one domain."""

from __future__ import annotations

import re
from pathlib import Path

from tests.network.namespaces import Host
from tests.network.programs import output_of, path_of, until

CONFIGURATION = Path(__file__).with_name("kamailio.cfg")
DOMAIN = "example.test"
PASSWORD = "secret"
"""Every account of the provider has this one."""


class Provider:
    """Kamailio on `host`, ready for requests; ends with its host."""

    def __init__(self, host: Host, directory: Path, challenge_invite: bool = True) -> None:
        self.host = host
        directory.mkdir()
        self._control = f"unix:{directory / 'control'}"
        defines = {"LISTEN": host.address, "CONTROL": f'"{self._control}"'}
        defines |= {"DOMAIN": f'"{DOMAIN}"', "PASSWORD": f'"{PASSWORD}"'}
        if challenge_invite:
            defines["CHALLENGE_INVITE"] = "yes"
        self.program = host.start(
            "kamailio",
            "kamailio",
            *("-f", CONFIGURATION, "-DD", "-E", "-m", "32", "-M", "4"),
            *("-w", directory, "-Y", directory, "-P", directory / "pid"),
            *(argument for name, value in defines.items() for argument in ("-A", f"{name}={value}")),
        )
        # The control process reports last; from then on requests and kamcmd are both answered.
        self.program.wait_for("io_listen_loop", 10)
        until(lambda: 5060 in host.udp_ports(), 5, "Kamailio listens")

    def contacts(self) -> dict[str, list[str]]:
        """Return what is registered now: by user, the URIs that reach them."""
        found: dict[str, list[str]] = {}
        user = ""
        for line in output_of([path_of("kamcmd"), "-s", self._control, "ul.dump"]).splitlines():
            if match := re.match(r"\s*(AoR|Address): (.+)", line):
                if match[1] == "AoR":
                    user = match[2]
                else:
                    found.setdefault(user, []).append(match[2])
        return found

    def requests(self, method: str, start: int = 0) -> list[str]:
        """Return the log lines of the requests of a method that came since byte `start` of its log."""
        return re.findall(rf"^.*REQUEST {method} .*$", self.program.output(start), re.MULTILINE)
