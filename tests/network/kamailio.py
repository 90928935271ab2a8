# SPDX-License-Identifier: MIT
"""The provider: Kamailio as registrar and proxy of a few domains, by UDP, TCP and TLS."""

from __future__ import annotations

import re
from pathlib import Path

from tests.network.certificates import Certificates
from tests.network.namespaces import Host
from tests.network.programs import Program, output_of, path_of, until

CONFIGURATION = Path(__file__).with_name("kamailio.cfg")
DOMAIN = "example.test"
TCP_DOMAIN, TLS_DOMAIN = f"tcp.{DOMAIN}", f"tls.{DOMAIN}"
SIX_DOMAIN, SIX_TLS_DOMAIN = f"six.{DOMAIN}", f"six-tls.{DOMAIN}"
DATAGRAM_DOMAIN = f"datagram.{DOMAIN}"
"""All of them are domains of the provider with the same accounts; the way that a proxy takes to it may depend
on the domain. At DATAGRAM_PORT there is nothing but UDP."""
DATAGRAM_PORT = 5070
IMPOSTOR_DOMAIN, UNKNOWN_DOMAIN = f"impostor.{DOMAIN}", f"unknown.{DOMAIN}"
"""For the first one the provider shows a certificate of another domain, for the second one that of an
authority which nobody knows."""
MUTUAL_DOMAIN = f"mutual.{DOMAIN}"
"""Here the provider wants to see a certificate, too."""
PASSWORD = "secret"
"""Every account of the provider has this one."""

TLS_PROFILE = """\
[{profile}]
method = TLSv1.2+
verify_certificate = {asks}
require_certificate = {asks}
ca_list = {authority}
private_key = {certificate}
certificate = {certificate}
"""


class Provider:
    """Kamailio on `host`, ready for requests; ends with its host. With `certificates` it listens for TLS."""

    def __init__(
        self,
        host: Host,
        directory: Path,
        challenge_invite: bool = True,
        certificates: Certificates | None = None,
        name: str = "kamailio",
    ) -> None:
        self.host = host
        directory.mkdir()
        self._control = f"unix:{directory / 'control'}"
        domains = {"DOMAIN": DOMAIN, "TCP_DOMAIN": TCP_DOMAIN, "TLS_DOMAIN": TLS_DOMAIN}
        domains |= {"SIX_DOMAIN": SIX_DOMAIN, "SIX_TLS_DOMAIN": SIX_TLS_DOMAIN}
        domains |= {"DATAGRAM_DOMAIN": DATAGRAM_DOMAIN, "MUTUAL_DOMAIN": MUTUAL_DOMAIN}
        texts = {**domains, "CONTROL": self._control, "PASSWORD": PASSWORD}
        if certificates is not None:
            texts["TLS_CONFIG"] = str(_tls_profiles(host, directory, certificates))
        defines = {"LISTEN": host.address, **{name: f'"{text}"' for name, text in texts.items()}}
        for address in host.addresses:
            if ":" in address:
                defines["LISTEN6"] = f"[{address}]"
        if challenge_invite:
            defines["CHALLENGE_INVITE"] = "yes"
        self._arguments: list[str | Path] = ["-f", CONFIGURATION, "-DD", "-E", "-m", "64", "-M", "4"]
        self._arguments += ["-w", directory, "-Y", directory, "-P", directory / "pid"]
        for name, value in defines.items():
            self._arguments += ["-A", f"{name}={value}"]
        self._starts = 0
        self.program = self._start()

    def _start(self) -> Program:
        self._starts += 1
        name = "kamailio" if self._starts == 1 else f"kamailio-{self._starts}"
        program = self.host.start(name, "kamailio", *self._arguments)
        # The control process reports last; from then on requests and kamcmd are both answered.
        program.wait_for("io_listen_loop", 10)
        until(lambda: 5060 in self.host.udp_ports(), 5, "Kamailio listens")
        return program

    def restart(self) -> None:
        """End it, with all its connections, and start it again; it has forgotten all registrations."""
        self.program.stop(5)
        self.program = self._start()

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


def _tls_profiles(host: Host, directory: Path, certificates: Certificates) -> Path:
    """Write the configuration of the module tls: which certificate is shown to whom."""
    usual = certificates.issue("provider", TLS_DOMAIN, SIX_TLS_DOMAIN, DOMAIN, *host.addresses)
    path = directory / "tls.cfg"
    others = {
        IMPOSTOR_DOMAIN: certificates.issue("somebody.test"),
        UNKNOWN_DOMAIN: certificates.issue(UNKNOWN_DOMAIN, unknown=True),
        MUTUAL_DOMAIN: certificates.issue(MUTUAL_DOMAIN),
    }

    def profile(of: str, certificate: Path, asks: str = "no") -> str:
        return TLS_PROFILE.format(
            profile=of, certificate=certificate, asks=asks, authority=certificates.authority
        )

    profiles = [profile(f"{kind}:default", usual) for kind in ("server", "client")]
    for name, certificate in others.items():
        asks = "yes" if name == MUTUAL_DOMAIN else "no"
        profiles.append(profile(f"server:{host.address}:5061", certificate, asks) + f"server_name = {name}\n")
    path.write_text("\n".join(profiles))
    return path
