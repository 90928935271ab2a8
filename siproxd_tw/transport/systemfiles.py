# SPDX-License-Identifier: MIT
"""/etc/hosts and /etc/resolv.conf, read again whenever they have changed.

A look at the file's date is all that a question costs; there is no timer. A file that is missing,
unreadable or as large as a list of blocked domains says nothing: the system's own resolver still reads it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.resolver import ip_literal

__all__ = ["HOSTS", "RESOLV_CONF", "HostsFile", "ResolvConf", "name_server"]

HOSTS = "/etc/hosts"
RESOLV_CONF = "/etc/resolv.conf"
LARGEST = 262_144
"""Bytes of a file that is read at once, in the reactor's thread: some ten milliseconds."""
MOST_SERVERS = 3
"""Name servers of resolv.conf that count (resolv.conf(5))."""
DNS_PORT = 53

T = TypeVar("T")


class _Watched(Generic[T]):
    """What `read` makes of the text of the file `path`."""

    def __init__(self, path: str, read: Callable[[str], T]) -> None:
        self._path = path
        self._read = read
        self._seen: tuple[int, int, int] | None = None
        self._value = read("")

    def value(self) -> T:
        try:
            status = os.stat(self._path)
            seen: tuple[int, int, int] | None = (status.st_mtime_ns, status.st_size, status.st_ino)
        except OSError:
            seen = None
        if seen != self._seen:
            self._seen = seen
            self._value = self._read(self._text() if seen and seen[1] <= LARGEST else "")
        return self._value

    def _text(self) -> str:
        try:
            with open(self._path, encoding="utf-8", errors="replace") as file:
                return file.read(LARGEST)
        except OSError:
            return ""


class HostsFile:
    """The addresses in hosts(5) form."""

    def __init__(self, path: str = HOSTS) -> None:
        self._file = _Watched(path, _hosts)

    def addresses(self, name: str) -> tuple[str, ...]:
        """Return the addresses of `name`, which is in lower case, IPv4 first; none if it is not there."""
        return self._file.value().get(name, ())


class ResolvConf:
    """The name servers in resolv.conf(5) form."""

    def __init__(self, path: str = RESOLV_CONF) -> None:
        self._file = _Watched(path, _servers)

    def servers(self) -> tuple[Address, ...]:
        """Return the name servers, in the order of the file; without any the one on this machine."""
        return self._file.value()


def name_server(text: str) -> Address:
    """Return the name server of `text`: an address, with a port behind it if that is not 53.

    An IPv6 address with a port is in brackets; a link-local one has its interface (``fe80::1%eth0``).
    Raises ValueError.
    """
    host, port = text, str(DNS_PORT)
    if text.startswith("["):
        host, bracket, rest = text[1:].partition("]")
        port = rest[1:] if rest[:1] == ":" else "" if rest or not bracket else port
    elif text.count(":") == 1:
        host, _, port = text.partition(":")
    address, scope, interface = host.partition("%")
    literal = ip_literal(address)
    if literal is None or bool(scope) != bool(interface):
        raise ValueError(f"{text!r} is not the address of a name server")
    if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise ValueError(f"{text!r} has no valid port")
    return Address(literal + scope + interface, int(port))


def _hosts(text: str) -> Mapping[str, tuple[str, ...]]:
    found: dict[str, tuple[str, ...]] = {}
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        address = ip_literal(words[0]) if len(words) > 1 else None
        if address is None:
            continue
        for name in {word.lower().removesuffix(".") for word in words[1:]}:
            if address not in found.get(name, ()):
                found[name] = (*found.get(name, ()), address)
    return {name: tuple(sorted(each, key=lambda host: ":" in host)) for name, each in found.items()}


def _servers(text: str) -> tuple[Address, ...]:
    found: list[Address] = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            try:
                found.append(name_server(f"[{words[1]}]" if ":" in words[1] else words[1]))
            except ValueError:
                continue
    return tuple(dict.fromkeys(found))[:MOST_SERVERS] or (Address("127.0.0.1", DNS_PORT),)
