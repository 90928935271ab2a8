# SPDX-License-Identifier: MIT
"""The programs that are compared: each a process tree on the gateway, bound to one processor core.

CPU is user and system time of all its processes, to the nanosecond (clock_getcpuclockid(3): threads that
have ended are in it). Memory is the proportional set size (/proc/PID/smaps_rollup) without that of files:
what several processes share counts once, and programs that the kernel drops and reads again do not count.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from bench.bed import INSIDE, OUTSIDE, Bed
from tests.network.namespaces import ip
from tests.network.programs import Program, output_of, path_of, until

ROOT = Path(__file__).resolve().parent.parent
TWISTD = Path(sys.executable).with_name("twistd")
KAMAILIO_CHILDREN = 2
"""Processes of Kamailio that receive, on each of its two UDP sockets; it gets one core as siproxd_tw does."""

SIPROXD = """\
if_inbound       = in0
if_outbound      = out0
hosts_allow_reg  = 10.77.0.0/16
rtp_proxy_enable = {media}
rtp_port_low     = 10000
rtp_port_high    = 59998
daemonize        = 0
silence_log      = 2
"""


@dataclass(frozen=True, slots=True)
class Setting:
    """Which program, and how."""

    name: str
    start: Callable[[Bed, Path, int], Program]
    """Takes the bed, an empty directory and the core."""


class Proxy:
    """A running proxy; `stop` ends it."""

    def __init__(self, setting: Setting, bed: Bed, directory: Path, core: int) -> None:
        directory.mkdir(parents=True)
        self.name = setting.name
        self._gateway = bed.gateway
        self._program = setting.start(bed, directory, core)
        try:
            until(self._listens, 15, f"{self.name} listens")
        except AssertionError:
            self.stop()
            raise
        time.sleep(0.5)  # let it come to rest: what it does at start is in no figure
        self.pids = [int(pid) for pid in ip("netns", "pids", self._gateway.namespace).split()]

    def _listens(self) -> bool:
        assert self._program.running(), f"{self.name} ended:\n{self._program.recent(20)}"
        return {INSIDE, OUTSIDE} <= self._gateway.udp_ports().get(5060, set())

    def cpu(self) -> float:
        """Return the CPU time it has used since it was started, seconds."""
        return sum(time.clock_gettime((~pid << 3) | 2) for pid in self.pids)

    def memory(self) -> int:
        """Return the memory that it has now, bytes."""
        rollups = (Path(f"/proc/{pid}/smaps_rollup").read_text() for pid in self.pids)
        return sum(
            int(found[1]) * 1024 for text in rollups if (found := re.search(r"^Pss:\s+(\d+)", text, re.M))
        )

    def rest(self, share: float, span: float, seconds: float, at_least: float = 0) -> None:
        """Wait until it uses less than `share` of its core during `span`; at most `seconds`."""
        began = time.monotonic()
        while (passed := time.monotonic() - began) < seconds:
            before = self.cpu()
            time.sleep(span)
            if self.cpu() - before < share * span and passed >= at_least:
                return

    def complaints(self) -> list[str]:
        """Return the first few failures that it has printed; none when all is well."""
        found = re.findall(
            r"^.*(?:#(?:error|critical)\]|Traceback|Unhandled|CRITICAL).*$", self._program.output(), re.M
        )
        return found[:3]

    def stop(self) -> None:
        """End it."""
        self._program.stop(1)
        self._gateway.kill()  # a process of its that did not go with it
        self._gateway.programs.remove(self._program)


def siproxd_tw(checkout: Path, media: bool = False) -> Setting:
    """Return the setting of the program in `checkout`, run by this Python's twistd."""

    def start(bed: Bed, directory: Path, core: int) -> Program:
        configuration = directory / "siproxd.conf"
        configuration.write_text(SIPROXD.format(media=int(media)))
        return bed.gateway.start(
            "siproxd_tw" + ("-media" if media else "") + f"-{directory.name}",
            *("env", f"PYTHONPATH={checkout}", "taskset", "-c", str(core), str(TWISTD)),
            *("-n", "--pidfile=", "siproxd", "--config", configuration),
        )

    return Setting("siproxd_tw with media" if media else "siproxd_tw", start)


def kamailio() -> Setting:
    """Return the setting of Kamailio with the configuration beside this file."""

    def start(bed: Bed, directory: Path, core: int) -> Program:
        defines = {"INSIDE": INSIDE, "OUTSIDE": OUTSIDE, "CHILDREN": str(KAMAILIO_CHILDREN)}
        return bed.gateway.start(
            f"kamailio-{directory.name}",
            *("taskset", "-c", str(core), "kamailio", "-f", Path(__file__).with_name("kamailio.cfg")),
            *(
                "-DD",
                "-E",
                "-m",
                "1024",
                "-M",
                "16",
                "-w",
                directory,
                "-Y",
                directory,
                "-P",
                directory / "pid",
            ),
            *(argument for name, value in defines.items() for argument in ("-A", f"{name}={value}")),
        )

    return Setting("Kamailio", start)


def versions(checkout: Path) -> dict[str, str]:
    """Return what was measured, by name."""
    git = [path_of("git"), "-C", str(checkout)]
    commit = output_of([*git, "rev-parse", "--short=10", "HEAD"]).strip()
    if output_of([*git, "status", "--porcelain", "--untracked-files=no", "siproxd_tw"]).strip():
        commit += " with changes"
    twisted = output_of([sys.executable, "-c", "import twisted; print(twisted.__version__)"]).strip()
    kamailio_version = re.search(r"version: (\S+ \S+)", output_of([path_of("kamailio"), "-v"]))
    return {
        "siproxd_tw": f"commit {commit}, Python {sys.version.split()[0]}, Twisted {twisted}",
        "Kamailio": kamailio_version[1] if kamailio_version else "?",
        "machine": f"{_processor()}, {os.cpu_count()} cores, Linux {os.uname().release}",
    }


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.M)
    return found[1].strip() if found else os.uname().machine
