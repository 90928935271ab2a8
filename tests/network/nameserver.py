# SPDX-License-Identifier: MIT
"""A DNS server as a program: `python -m tests.network.nameserver ADDRESS ZONEFILE`.

It answers by the zone, with the records of a name in another order each time, prints the port that it
listens on, and each question.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import react

from tests.network.namespaces import Host
from tests.network.programs import Program
from tests.support.nameserver import KINDS, LoopbackServer, NameServer

ROOT = Path(__file__).parents[2]


class RotatingNameServer(NameServer):
    """Puts the first record behind the others with each question."""

    def _lookup(self, name: bytes, cls: int, type: int, timeout: object = None) -> Deferred[Any]:
        if records := self.records.get(name.decode().lower()):
            records.append(records.pop(0))
        print("asked", name.decode(), KINDS.get(type, type), flush=True)
        return super()._lookup(name, cls, type, timeout)


def start(host: Host, zone: Path) -> tuple[Program, str]:
    """Start it on `host` and return the program and ADDRESS:PORT."""
    module = (sys.executable, "-m", "tests.network.nameserver")
    program = host.start("nameserver", "env", f"PYTHONPATH={ROOT}", *module, host.address, zone)
    port = program.wait_for(r"^port (\d+)$", 10)[1]
    return program, f"{host.address}:{port}"


def main(reactor: Any, address: str, zone: str) -> Deferred[None]:
    """Serve until the end."""
    served = LoopbackServer(reactor, RotatingNameServer(Path(zone).read_text(), soa=1), address)
    print("port", served.port, flush=True)
    return Deferred()


if __name__ == "__main__":
    react(main, sys.argv[1:])
