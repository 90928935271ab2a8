# SPDX-License-Identifier: MIT
"""A network of network namespaces: hosts on segments, and what runs on them.

Nothing in it reaches the machine's own network, and nothing of it outlives `Network.close`.
Two networks, also of two test runs at the same time, do not know of each other.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from tests.network.programs import Program, output_of, path_of

T = TypeVar("T")

CLONE_NEWNET = 0x40000000
"""From <linux/sched.h>: the kind of namespace that setns is to enter."""
FILES = Path("/etc/netns")
"""`ip netns exec NAME` shows the files of FILES/NAME in place of those of /etc."""
HANDLES = Path("/run/netns")
PREFIX = "siptw"

_numbers = itertools.count(1)


def ip(*arguments: str) -> str:
    """Configure the network with the program of this name."""
    return output_of([path_of("ip"), *arguments])


class Host:
    """One namespace: a machine of the test network."""

    def __init__(self, name: str, namespace: str, logs: Path) -> None:
        self.name = name
        self.namespace = namespace
        self.addresses: list[str] = []
        self.programs: list[Program] = []
        self._logs = logs
        self._connections: list[socket.socket] = []
        ip("netns", "add", namespace)
        ip("-n", namespace, "link", "set", "lo", "up")

    @property
    def address(self) -> str:
        """Its first address."""
        return self.addresses[0]

    def run(self, program: str, *arguments: str | Path) -> str:
        """Run a short command on this host and return what it prints."""
        return output_of(self._command(program, *arguments))

    def start(self, name: str, program: str, *arguments: str | Path) -> Program:
        """Start a program on this host; its output goes into a file called `name`."""
        started = Program(name, self._command(program, *arguments), self._logs / f"{name}.log")
        self.programs.append(started)
        return started

    def tcp_connections(self) -> set[tuple[str, str]]:
        """Return the local and the remote end of each TCP connection that is established, ADDRESS:PORT."""
        lines = self.run("ss", "-Htn", "state", "established").splitlines()
        return {(local, remote) for _, _, local, remote, *_ in map(str.split, lines)}

    def udp_ports(self) -> dict[int, set[str]]:
        """Return the bound UDP ports, each with the addresses it is bound to."""
        ports: dict[int, set[str]] = {}
        for line in self.run("ss", "-Hlun").splitlines():
            address, port = line.split()[3].rsplit(":", 1)
            ports.setdefault(int(port), set()).add(address)
        return ports

    @contextlib.contextmanager
    def udp_socket(self, port: int = 0) -> Iterator[socket.socket]:
        """Open a UDP socket of this host in the test itself."""
        with self.enter(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as opened:
            opened.bind((self.address, port))
            opened.settimeout(2)
            yield opened

    def setting(self, path: str, value: str | None = None) -> str:
        """Return a setting below /proc/sys/net as this host has it, after making it `value`."""
        file = Path("/proc/sys/net", path)

        def access() -> str:
            # Where the settings are read-only, what is right already will do.
            if value is not None and file.read_text().strip() != value:
                file.write_text(value)
            return file.read_text().strip()

        return self.enter(access)

    def connect(self, port: int) -> socket.socket:
        """Connect to a TCP port on this host's loopback address; closed with the host."""
        connection = self.enter(lambda: socket.create_connection(("127.0.0.1", port), 5))
        self._connections.append(connection)
        return connection

    def enter(self, action: Callable[[], T]) -> T:
        """Return the result of `action` done on this host: a socket stays where it was created."""
        with ThreadPoolExecutor(max_workers=1) as thread:  # setns moves one thread, and this one ends here
            return thread.submit(self._entered, action).result()

    def _entered(self, action: Callable[[], T]) -> T:
        with (HANDLES / self.namespace).open() as handle:
            libc = ctypes.CDLL(None, use_errno=True)
            if libc.setns(handle.fileno(), CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), f"cannot enter the namespace {self.namespace}")
        return action()

    def _command(self, program: str, *arguments: str | Path) -> list[str | Path]:
        return [path_of("ip"), "netns", "exec", self.namespace, path_of(program), *arguments]

    def kill(self) -> None:
        """End whatever still runs here: all of it was started by the test."""
        for pid in ip("netns", "pids", self.namespace).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)

    def close(self) -> None:
        """End everything on this host, and the host."""
        for connection in self._connections:
            connection.close()
        for program in self.programs:
            program.stop()
        self.kill()
        ip("netns", "delete", self.namespace)


class Network:
    """Segments and the hosts on them; a context manager that leaves nothing behind."""

    def __init__(self, logs: Path) -> None:
        self._prefix = f"{PREFIX}{os.getpid()}-{next(_numbers)}"
        self._logs = logs
        self._hosts: list[Host] = []
        self._open = True

    def __enter__(self) -> Network:
        sweep()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def programs(self) -> list[Program]:
        """Every program started on any host, also after the end."""
        return [program for host in self._hosts for program in host.programs]

    def segment(self, name: str) -> Host:
        """Add an Ethernet segment: a namespace with a bridge in it."""
        switch = self._host(name)
        ip("-n", switch.namespace, "link", "add", "bridge", "type", "bridge")
        ip("-n", switch.namespace, "link", "set", "bridge", "up")
        return switch

    def host(self, name: str, names: dict[str, str] | None = None) -> Host:
        """Add a host that knows exactly the host names of `names` (name to address)."""
        host = self._host(name)
        known = {"localhost": "127.0.0.1"} | (names or {})
        files = FILES / host.namespace
        files.mkdir(parents=True)
        (files / "hosts").write_text("".join(f"{address} {each}\n" for each, address in known.items()))
        (files / "resolv.conf").write_text("# There is no name server here.\n")
        (files / "nsswitch.conf").write_text("hosts: files\n")
        return host

    def plug(self, host: Host, interface: str, segment: Host, *addresses: str) -> None:
        """Connect `host` to `segment` with `addresses`, each in a network of /24 or, by IPv6, /64."""
        at = ["-n", host.namespace]
        port = f"to-{host.name}"
        ip(*at, "link", "add", interface, "type", "veth", "peer", "name", port, "netns", segment.namespace)
        for address in addresses:
            # Nobody has to find out first whether somebody else has it.
            network = [f"{address}/64", "nodad"] if ":" in address else [f"{address}/24"]
            ip(*at, "address", "add", *network, "dev", interface)
        ip(*at, "link", "set", interface, "up")
        ip("-n", segment.namespace, "link", "set", port, "master", "bridge", "up")
        host.addresses.extend(addresses)

    def close(self) -> None:
        """Remove every host with all that runs on it; a failure with one does not keep the others."""
        opened, self._open = self._open, False
        for program in self.programs:
            program.signal(signal.SIGTERM)  # all of them at the same time, then one by one for good
        with contextlib.ExitStack() as stack:
            for host in self._hosts if opened else ():
                stack.callback(_remove_files, host.namespace)
                stack.callback(host.close)

    def _host(self, name: str) -> Host:
        host = Host(name, f"{self._prefix}-{name}", self._logs)
        self._hosts.append(host)
        return host


def _remove_files(namespace: str) -> None:
    shutil.rmtree(FILES / namespace, ignore_errors=True)
    with contextlib.suppress(OSError):
        FILES.rmdir()  # only when it is empty


def sweep() -> None:
    """Remove the namespaces of test runs that were killed; their programs died with them."""
    for handle in HANDLES.glob(f"{PREFIX}*-*-*") if HANDLES.exists() else ():
        owner = handle.name.removeprefix(PREFIX).split("-")[0]
        if owner.isdigit() and not Path("/proc", owner).exists():
            with contextlib.suppress(AssertionError):  # another run may sweep at the same time
                ip("netns", "delete", handle.name)
            _remove_files(handle.name)
