# SPDX-License-Identifier: MIT
"""``twistd siproxd``: the command line, and the one place that imports the reactor.

Whatever is wrong with the command line, the file, an interface or a port is one clear
line and exit status 1, never a traceback.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

from twisted.application.service import IService, MultiService
from twisted.internet.defer import DeferredList, maybeDeferred
from twisted.logger import Logger
from twisted.python.usage import Options as UsageOptions

from siproxd_tw.admin.collector import Collector
from siproxd_tw.config.reader import Problem, Reading, candidates, load
from siproxd_tw.config.settings import Config
from siproxd_tw.interfaces import Address, IAddresses, Side
from siproxd_tw.service import Siproxd
from siproxd_tw.transport.addresses import GatewayAddresses
from siproxd_tw.transport.detect import detect
from siproxd_tw.transport.locator import Locator
from siproxd_tw.transport.nameservers import NameServers
from siproxd_tw.transport.netif import Interface, default_route_address, interfaces
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.resolver import SystemResolver

__all__ = ["Options", "makeService", "welcome"]

_log = Logger()

#: Descriptors that are asked for: 500 calls and 6,000 connections, and some to spare.
MOST_DESCRIPTORS = 65_536


class Options(UsageOptions):
    """The options of ``twistd siproxd``."""

    synopsis = "[options]"
    longdesc = (
        "SIP masquerading proxy and RTP relay. Without a configuration file it finds out by itself "
        "which interface is inside and which is outside."
    )
    optParameters = [["config", "c", None, "the siproxd.conf to use"]]
    optFlags = [
        ["check", None, "print the effective configuration and every problem, and exit with 0 or 1"],
        ["detect", None, "do not look for a siproxd.conf in the usual places"],
    ]

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.reading = Reading("", Config(), (), {})

    def postOptions(self) -> None:
        """Read the configuration; with --check print it and exit.

        A wrong value does not keep the proxy from starting, as it did not keep siproxd: it is
        logged and the default counts. A file that cannot be read does, and so does a mistake in
        what keeps somebody out.
        """
        path = self["config"] or self._found()
        if path:
            self.reading = load(path)
        if self["check"]:
            raise SystemExit(self._check())
        if fatal := self.reading.fatal:
            raise SystemExit("\n".join(map(str, fatal)))

    def _found(self) -> str | None:
        """Return the first configuration file in the places where siproxd looks."""
        if self["detect"]:
            return None
        return next((path for path in candidates(os.path.expanduser("~")) if os.path.exists(path)), None)

    def _check(self) -> int:
        """Print what `reading` has found and return the exit status."""
        stdout = sys.stdout
        if hasattr(stdout, "reconfigure"):
            stdout.reconfigure(errors="surrogateescape")
        if self.reading.filename:
            print(self.reading.effective, end="")
        else:
            print("no configuration file: the interfaces would be detected")
        missing = _missing_interface(self.reading)
        for problem in (*self.reading.problems, *missing):
            print(problem, file=sys.stderr)
        return 1 if self.reading.errors or missing else 0


def makeService(options: Options) -> IService:
    """Build the service of ``twistd siproxd``."""
    from twisted.internet import reactor  # noqa: TID251
    from twisted.internet.threads import deferToThread

    config = _with_interfaces(options.reading)
    clock: Any = reactor
    resolver = Locator(
        clock,
        NameServers(clock, config.routing.name_servers),
        SystemResolver(clock.nameResolver, clock).resolve,
        transports=lambda: siproxd.transports,
        # Without an address outside there may still be somebody inside who is called by name.
        families=lambda: siproxd.families or (4, 6),
    )
    addresses = GatewayAddresses(config.network, clock, resolve_host=resolver.resolve)
    siproxd = Siproxd(config, reactor=clock, addresses=addresses, resolver=resolver, in_thread=deferToThread)
    assembly = _Assembly(clock, addresses, resolver, siproxd, options.reading)
    siproxd.setServiceParent(assembly)  # type: ignore[no-untyped-call]
    return assembly


def _with_interfaces(reading: Reading) -> Config:
    """Return the configuration with both interfaces named, detecting what the file leaves open."""
    config = reading.config
    network = config.network
    if network.inside and network.outside:
        return config
    if missing := _missing_interface(reading):
        # With what else is wrong, for that may be why: a misspelt key.
        raise SystemExit("\n".join(map(str, (*reading.problems, *missing))))
    try:
        found = detect(*_machine(network.ipv6))
    except (ValueError, OSError) as error:
        raise SystemExit(f"siproxd: {error}") from None
    for reason in found.reasons:
        _log.info("{reason}", reason=reason)
    return replace(config, network=replace(network, inside=found.inside, outside=found.outside))


def _machine(ipv6: bool) -> tuple[list[Interface], str | None]:
    """Return the interfaces and the source address of the default route, without IPv6 if it is not wanted."""
    found, default = interfaces(), default_route_address()
    if ipv6:
        return found, default
    ipv4 = [replace(each, addresses=each.ipv4) for each in found]
    return ipv4, None if default is None or ":" in default else default


def _missing_interface(reading: Reading) -> tuple[Problem, ...]:
    """Return the problem of a file that names one interface and not the other."""
    network = reading.config.network
    if bool(network.inside) == bool(network.outside):
        return ()
    missing = "if_inbound" if network.outside else "if_outbound"
    return (
        Problem(reading.filename, 0, "error", f"{missing} is missing, expected the name of an interface"),
    )


def _allow_descriptors() -> None:
    """Let this process have as many descriptors as it may: each call has four, each connection one."""
    now, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_DESCRIPTORS if most == resource.RLIM_INFINITY else min(most, MOST_DESCRIPTORS)
    if now != resource.RLIM_INFINITY and now < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, most))


class _Assembly(MultiService):
    """The proxy with what the process needs around it: addresses, signals, words for the administrator."""

    def __init__(
        self, reactor: Any, addresses: GatewayAddresses, resolver: Locator, siproxd: Siproxd, reading: Reading
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._reactor = reactor
        self._addresses = addresses
        self._resolver = resolver
        self._siproxd = siproxd
        self._collector = Collector(reactor, lambda: siproxd.signalling.messages)
        self._reading = reading
        self._ending = False

    def startService(self) -> None:
        """Start everything, or end the process with one line that says why not."""
        say = {"error": _log.error, "warning": _log.warn, "notice": _log.info}
        for problem in self._reading.problems:
            say[problem.severity]("{problem}", problem=str(problem))
        _allow_descriptors()
        self._addresses.start()
        try:
            super().startService()  # type: ignore[no-untyped-call]
        except CannotListen as refused:
            raise SystemExit(f"siproxd: {refused}") from None
        self._reactor.callWhenRunning(self._take_signals)
        self._collector.start()
        self._welcome()

    def stopService(self) -> Any:
        """Stop everything; fires when all sockets are closed."""
        self._collector.stop()
        self._addresses.stop()
        stopped = super().stopService()  # type: ignore[no-untyped-call]
        return DeferredList([maybeDeferred(lambda: stopped), self._resolver.stop()], consumeErrors=True)

    def _take_signals(self) -> None:
        """Take the signals that siproxd takes, in its way.

        SIGTERM and SIGINT end it with exit status 0 (Twisted's own handlers: by the signal),
        SIGUSR1 logs the status, and SIGHUP does not end it: init scripts send it as "reload".
        """
        actions = {
            signal.SIGTERM: self._end,
            signal.SIGINT: self._end,
            signal.SIGUSR1: self._log_status,
            signal.SIGHUP: self._asked_to_reload,
        }
        for number, action in actions.items():
            signal.signal(number, partial(self._signalled, action))

    def _signalled(self, action: Callable[[], None], _number: int, _frame: object) -> None:
        self._reactor.callFromThread(action)

    def _asked_to_reload(self) -> None:
        _log.warn("SIGHUP: the configuration is not read again, that comes later; restart to change it")

    def _end(self) -> None:
        """Stop, once: a second Ctrl-C finds a reactor that stops already, and would be a traceback."""
        if self._reactor.running and not self._ending:
            self._ending = True
            self._reactor.stop()

    def _log_status(self) -> None:
        status = {
            **self._siproxd.status(),
            "addresses": self._addresses.status(),
            "resolver": self._resolver.status(),
        }
        _log.info("status {status}", status=json.dumps(status, default=str, sort_keys=True))
        for stream in self._siproxd.relay.streams():
            _log.info("stream {stream}", stream=json.dumps(stream, default=str))

    def _welcome(self) -> None:
        for line in welcome(self._addresses, self._reading.config):
            _log.info("{line}", line=line)


def welcome(addresses: IAddresses, config: Config) -> list[str]:
    """Say in some lines what to type into a phone; none while there is no address inside."""
    inside, transports = addresses.bound(Side.INSIDE), config.transports
    if not inside:
        return []
    proxy = _places(inside, config.sip.port, usual=5060)
    lines = [f"type into the phone: outbound proxy (or SIP proxy) {proxy}, transport UDP or TCP"]
    if transports.certificate and transports.tls_port:
        proxy = _places(inside, transports.tls_port, usual=5061)
        lines.append(
            f"  or {proxy}, transport TLS; by a name that is in the certificate if the phone checks it"
        )
    for scheme, port in (("ws", transports.ws_port), ("wss", transports.wss_port)):
        if port and (scheme == "ws" or transports.certificate):
            urls = " or ".join(f"{scheme}://{Address(host, port)}" for host in inside)
            lines.append(f"  into a phone in a browser: {urls}")
    lines.append("  registrar, domain, user and password: as the provider says; STUN, ICE and SIP ALG off")
    shown = [addresses.advertised(Side.OUTSIDE, family) for family in ("0.0.0.0", "::")]
    known = " and ".join(filter(None, shown)) or "an address that is not there yet"
    return [*lines, f"outside the phones are at {known}"]


def _places(hosts: Sequence[str], port: int, *, usual: int) -> str:
    """Write our addresses as phones want them: with a port only if it is not the usual one."""
    if port != usual:
        return " or ".join(str(Address(host, port)) for host in hosts)
    return " or ".join(f"[{host}]" if ":" in host else host for host in hosts)
