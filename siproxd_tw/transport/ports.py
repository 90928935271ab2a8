# SPDX-License-Identifier: MIT
"""What to say when a port cannot be had: one clear line instead of a traceback.

`refused` turns what Twisted raises into `CannotListen`, or into `AddressInUse` when somebody else
has the port; on Linux that one also says who, as far as we may look: every process for root,
otherwise our own ones.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL
from pathlib import Path

from twisted.internet.error import CannotListenError

from siproxd_tw.interfaces import Address

__all__ = ["AddressInUse", "CannotListen", "holder", "refused"]

PROC = Path("/proc")
PRIVILEGED = 1024
"""Below this one a port number needs a privilege."""


class CannotListen(Exception):
    """An address and port cannot be bound; its text is one line for the administrator."""

    def __init__(self, transport: str, local: Address, why: str) -> None:
        super().__init__(f"cannot listen on {transport} {local}: {why}")
        self.local = local
        """What could not be bound."""


class AddressInUse(CannotListen):
    """Another socket has the address and port."""


def refused(error: CannotListenError, transport: str, local: Address, proc: Path = PROC) -> CannotListen:
    """Explain why `transport` (as Via spells it) could not listen on `local`."""
    cause = error.socketError
    number = getattr(cause, "errno", None)
    if number == EADDRINUSE:
        who = holder(transport, local, proc)
        return AddressInUse(transport, local, f"in use by {who}" if who else "in use by another program")
    if number == EADDRNOTAVAIL:
        return CannotListen(transport, local, "no interface has this address")
    if number == EACCES and local.port < PRIVILEGED:
        return CannotListen(transport, local, f"ports below {PRIVILEGED} need root or CAP_NET_BIND_SERVICE")
    return CannotListen(transport, local, os.strerror(number) if number else str(cause))


def holder(transport: str, local: Address, proc: Path = PROC) -> str | None:
    """Return ``name (pid N)`` of a process whose socket excludes one on `local`, None if that cannot be seen.

    Reads the tables of Linux below `proc`; anywhere else, and for what we may not read, the answer is None.
    """
    kind = "udp" if transport == "UDP" else "tcp"
    try:
        wanted = {f"socket:[{inode}]" for inode in _inodes(kind, local, proc)}
        if not wanted:
            return None
        return next((_describe(process) for process in _processes(proc) if _has(process, wanted)), None)
    except (OSError, ValueError, IndexError):
        return None


def _inodes(kind: str, local: Address, proc: Path) -> Iterator[str]:
    """Yield the inodes of the sockets on this port whose address is the same, or any."""
    for name, size in ((kind, 4), (f"{kind}6", 16)):
        table = proc / "net" / name
        for line in table.read_text().splitlines()[1:] if table.exists() else ():
            fields = line.split()
            host, port = fields[1].split(":")
            if int(port, 16) == local.port and _excludes(_host(host, size), local.host):
                yield fields[9]


def _host(text: str, size: int) -> str:
    """Decode an address of the table: 32-bit words, each in the machine's own order."""
    words = [int(text[at : at + 8], 16).to_bytes(4, sys.byteorder) for at in range(0, 2 * size, 8)]
    return socket.inet_ntop(socket.AF_INET if size == 4 else socket.AF_INET6, b"".join(words))


def _excludes(taken: str, wanted: str) -> bool:
    return taken in (wanted, "0.0.0.0", "::") or wanted in ("0.0.0.0", "::")


def _processes(proc: Path) -> Iterator[Path]:
    return (each for each in proc.iterdir() if each.name.isdigit())


def _has(process: Path, wanted: set[str]) -> bool:
    folder = process / "fd"
    try:
        names = os.listdir(folder)
    except OSError:  # not ours to read, or gone meanwhile
        return False
    return any(_link(folder / name) in wanted for name in names)


def _link(path: Path) -> str:
    try:
        return os.readlink(path)
    except OSError:  # closed meanwhile
        return ""


def _describe(process: Path) -> str:
    ours = process.name == str(os.getpid())
    name = "this program itself" if ours else (process / "comm").read_text().strip()
    return f"{name} (pid {process.name})"
