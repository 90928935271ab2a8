# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import socket
import sys
from errno import EACCES, EADDRINUSE, EADDRNOTAVAIL, ENFILE

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import CannotListenError

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.ports import AddressInUse, CannotListen, holder, refused

HEADER = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode\n"
GATEWAY = Address("10.0.0.1", 5060)


def row(host: str, port: int, inode: int) -> str:
    """One line of /proc/net/udp or udp6, as the kernel of this machine would write it."""
    packed = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = [int.from_bytes(packed[at : at + 4], sys.byteorder) for at in range(0, len(packed), 4)]
    local = "".join(f"{word:08X}" for word in words)
    remote = "0" * len(local)
    return f" 17: {local}:{port:04X} {remote}:0000 07 0:0 00:00000000 00000000     0        0 {inode} 2 0 0\n"


@pytest.fixture
def proc(tmp_path):
    """A /proc with socket tables and with processes that hold sockets."""

    def build(tables: dict[str, list[str]], processes: dict[int, tuple[str, list[int]]]):
        (tmp_path / "net").mkdir()
        for name, rows in tables.items():
            (tmp_path / "net" / name).write_text(HEADER + "".join(rows))
        for number, (command, inodes) in processes.items():
            fd = tmp_path / str(number) / "fd"
            fd.mkdir(parents=True)
            (tmp_path / str(number) / "comm").write_text(command + "\n")
            os.symlink("/dev/null", fd / "0")
            for at, inode in enumerate(inodes, 3):
                os.symlink(f"socket:[{inode}]", fd / str(at))
        (tmp_path / "self").mkdir()
        return tmp_path

    return build


TWO = {1: ("init", [11]), 812: ("asterisk", [21, 22])}


@pytest.mark.parametrize(
    ("taken", "wanted"),
    [
        ("10.0.0.1", "10.0.0.1"),
        ("0.0.0.0", "10.0.0.1"),
        ("10.0.0.1", "0.0.0.0"),
        ("::", "10.0.0.1"),
        ("fd00::1", "fd00::1"),
    ],
)
def test_who_holds_it(proc, taken, wanted):
    """The same address, and the wildcard on either side, exclude one another."""
    table = "udp6" if ":" in taken else "udp"
    root = proc({table: [row("10.0.0.1", 5070, 11), row(taken, 5060, 22)]}, TWO)
    assert holder("UDP", Address(wanted, 5060), root) == "asterisk (pid 812)"


def test_nobody_holds_it(proc):
    """Another port, another address or another protocol is no conflict."""
    other = [row("10.0.0.1", 5061, 21), row("10.0.0.2", 5060, 22)]
    root = proc({"udp": other, "tcp": [row("10.0.0.1", 5060, 21)]}, TWO)
    assert holder("UDP", GATEWAY, root) is None
    assert holder("TCP", GATEWAY, root) == "asterisk (pid 812)"


def test_a_holder_that_cannot_be_seen(proc, tmp_path):
    """A process that hides its descriptors, or a system without these tables, gives no name and no error."""
    assert holder("UDP", GATEWAY, tmp_path / "nothing") is None
    assert holder("UDP", GATEWAY, proc({"udp": [row("10.0.0.1", 5060, 99)]}, TWO)) is None


@given(st.text(max_size=300))
def test_tables_in_another_format(tmp_path_factory, content):
    """Whatever stands in the table, the answer is None and no exception."""
    root = tmp_path_factory.mktemp("proc")
    (root / "net").mkdir()
    (root / "net" / "udp").write_text(HEADER + content, errors="replace")
    assert holder("UDP", GATEWAY, root) is None


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_this_very_process():
    """On the real tables we find ourselves."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        bound.bind(("127.0.0.9", 0))
        found = holder("UDP", Address(*bound.getsockname()))
    assert found == f"this program itself (pid {os.getpid()})"


def test_in_use_says_by_whom(proc):
    """The exception for a port in use is one of its own, with the holder in its one line."""
    root = proc({"udp": [row("0.0.0.0", 5060, 22)]}, TWO)
    error = refused(CannotListenError("10.0.0.1", 5060, OSError(EADDRINUSE, "")), "UDP", GATEWAY, root)
    assert isinstance(error, AddressInUse)
    assert error.local == GATEWAY
    assert str(error) == "cannot listen on UDP 10.0.0.1:5060: in use by asterisk (pid 812)"


@pytest.mark.parametrize(
    ("cause", "port", "text"),
    [
        (OSError(EADDRINUSE, "in use"), 5060, "in use by another program"),
        (OSError(EADDRNOTAVAIL, "not available"), 5060, "no interface has this address"),
        (OSError(EACCES, "denied"), 443, "ports below 1024 need root or CAP_NET_BIND_SERVICE"),
        (OSError(EACCES, "denied"), 1024, "Permission denied"),
        (OSError(ENFILE, ""), 5060, os.strerror(ENFILE)),
        ("something else", 5060, "something else"),
    ],
)
def test_one_clear_line(tmp_path, cause, port, text):
    """Each cause is a line that says what to do about it or at least what it is."""
    local = Address("10.0.0.1", port)
    error = refused(CannotListenError("10.0.0.1", port, cause), "UDP", local, tmp_path)
    assert isinstance(error, CannotListen)
    assert str(error) == f"cannot listen on UDP {local}: {text}"
