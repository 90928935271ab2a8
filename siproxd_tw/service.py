# SPDX-License-Identifier: MIT
"""Siproxd: builds every part once, hands each what it needs, starts and stops them.

This is the only module that knows all trades.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from itertools import product
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.config.settings import Config
from siproxd_tw.interfaces import Address, IAddresses, IMediaRelay, IResolver, IStatus, ITransport, Side
from siproxd_tw.media.relay import LocalRelay, NoRelay
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.proxy.core import ProxyCore
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.limits import Limits
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.references import References
from siproxd_tw.proxy.regfile import RegistrationFile
from siproxd_tw.proxy.regformat import dumps, loads
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.proxy.validation import Access
from siproxd_tw.transport.layer import SignallingLayer
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.stream import StreamTransport
from siproxd_tw.transport.tls import TLS, TLSUnusable
from siproxd_tw.transport.udp import UDPTransport
from siproxd_tw.transport.websocket import WebSocketTransport

__all__ = ["Siproxd"]

#: Seconds between looks at what has expired (siproxd's tick).
TICK = 5.0

#: The transports by which somebody can be called: clients of WebSockets call us.
TO_SERVERS = ("UDP", "TCP", "TLS")

#: Seconds that changed registrations wait for more changes before they are written, at least.
SAVE_DELAY = 1.0


@implementer(IStatus)
class Siproxd(MultiService):
    """The proxy as a service: give it its surroundings, start it, stop it."""

    _log = Logger()

    def __init__(
        self,
        config: Config,
        *,
        reactor: Any,
        addresses: IAddresses,
        resolver: IResolver,
        randomness: Callable[[int], bytes] = os.urandom,
        in_thread: Callable[..., Deferred[Any]] = maybeDeferred,
        tls: TLS | None = None,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.setName("siproxd")  # type: ignore[no-untyped-call]
        self._config = config
        self._reactor = reactor
        self._addresses = addresses
        secret = randomness(32)
        self.location = Location()
        self.relay: Any = (
            LocalRelay(config.media, addresses, reactor.listenUDP, reactor)
            if config.media.enabled
            else NoRelay()
        )
        self.signalling = SignallingLayer(
            reactor, addresses, secret, most_transactions=config.sip.most_transactions
        )
        self._dialogs = Dialogs()
        self._authentication = Authentication(config.auth, secret)
        self.core = self._build_core(self.relay, resolver, secret)
        self.signalling.serve(self.core)
        self._file = RegistrationFile(config.registrar.file, in_thread) if config.registrar.file else None
        self._tls = tls
        self._transports: dict[tuple[str, str], Any] = {}
        self.transports: tuple[str, ...] = ()
        """The transports by which somebody outside can be reached at this moment, as Via spells them."""
        self.families: tuple[int, ...] = ()
        """The address families that there are outside at this moment: 4, 6."""
        self._trouble = ""
        self._saving: IDelayedCall | None = None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor
        addresses.watch(self._rebind)

    def _build_core(self, relay: IMediaRelay, resolver: IResolver, secret: bytes) -> ProxyCore:
        config, addresses, sip = self._config, self._addresses, self._config.sip
        ports = {"WS": config.transports.ws_port}
        if config.transports.certificate:
            ports |= {"TLS": config.transports.tls_port, "WSS": config.transports.wss_port}

        def known(host: str) -> bool:
            return self.core.knows_server(host)

        access = Access(config.access, is_known_peer=known)
        masquerade = Masquerade(
            addresses, self.location, sip.port, {"tls": config.transports.tls_port or 5061}
        )
        routing = Routing(
            config.routing, addresses, self.location, self._dialogs, sip, ports=ports, trusts=access.trusts
        )
        references = References(self.location, addresses, masquerade)
        return ProxyCore(
            clock=self._reactor,
            signalling=self.signalling,
            resolver=resolver,
            access=access,
            limits=Limits(is_known_peer=known),
            authentication=self._authentication,
            routing=routing,
            registrar=Registrar(config.registrar, self.location, masquerade, self._registrations_changed),
            dialogs=self._dialogs,
            dress=Dress(
                sip,
                addresses,
                routing,
                masquerade,
                references,
                self._dialogs,
                has_certificate=bool(config.transports.certificate),
            ),
            negotiation=OfferAnswer(relay),
            config=sip,
            secret=secret,
        )

    # start and stop

    def startService(self) -> None:
        """Bind the sockets and load the registrations.

        Raises CannotListen, whose text is for the administrator, when the SIP port cannot be had.
        """
        super().startService()  # type: ignore[no-untyped-call]
        self._authentication.refresh(self._reactor.seconds())
        self._load()
        if self._tls is None:
            self._load_tls()
        self._bind()
        self._ticking.start(TICK, now=False)
        self._log.info("siproxd_tw started")

    def stopService(self) -> Deferred[Any]:
        """Save the registrations, free sockets and timers; fires when all is done."""
        self._log.info("properly terminating siproxd")
        if self._ticking.running:
            self._ticking.stop()
        if self._saving is not None and self._saving.active():
            self._saving.cancel()
        self.signalling.stop()
        self.core.stop()
        waiting = [maybeDeferred(self._save), maybeDeferred(self.relay.stop)]
        waiting += [maybeDeferred(transport.stop) for transport in self._transports.values()]
        self._transports.clear()
        waiting.append(maybeDeferred(super().stopService))
        return DeferredList(waiting, consumeErrors=True)

    # sockets

    def _ports(self) -> dict[str, int]:
        """Return where each transport listens. TLS has a port also when nothing listens there."""
        sip, transports = self._config.sip, self._config.transports
        ports = {"UDP": sip.port, "TCP": sip.port, "WS": transports.ws_port}
        if self._tls is not None:
            ports["TLS"] = transports.tls_port
            if self._tls.serves:
                ports["WSS"] = transports.wss_port
        return {name: port for name, port in ports.items() if port}

    def _load_tls(self) -> None:
        """Have TLS, if only for connections of ours; without its libraries it is missed only if asked for."""
        tls = TLS(self._config.transports, self._reactor)
        try:
            tls.load()
        except TLSUnusable as unusable:
            if tls.serves:
                local = Address(
                    self._addresses.listening(Side.INSIDE) or "", self._config.transports.tls_port
                )
                raise CannotListen("TLS", local, str(unusable)) from None
            self._log.info("no TLS: {why}", why=str(unusable))
        else:
            self._tls = tls

    def _bind(self) -> None:
        """Have one socket per own address and transport; on a one-armed gateway it serves both sides.

        Raises CannotListen when all that can be bound is bound.
        """
        wanted = {side: tuple(self._addresses.bound(side)) for side in (Side.OUTSIDE, Side.INSIDE)}
        self._unbind({host for hosts in wanted.values() for host in hosts})
        refused: CannotListen | None = None
        table: dict[tuple[Side, str, bool], ITransport] = {}
        for side, hosts in wanted.items():
            for host, (name, port) in product(hosts, self._ports().items()):
                transport = self._transports.get((name, host))
                if transport is None or not transport.listening:
                    try:
                        transport = self._listen(name, Address(host, port), side)
                    except CannotListen as why:
                        refused = why
                        continue
                table[side, name, ":" in host] = transport
        self.signalling.use(table)
        outside = [(name, six) for side, name, six in table if side is Side.OUTSIDE]
        self.transports = tuple(
            name for name in ("UDP", "TCP", "TLS") if any(name in each for each in outside)
        )
        self.families = tuple(sorted({6 if six else 4 for _, six in outside}))
        if refused is not None:
            raise refused

    def _unbind(self, kept: set[str]) -> None:
        for gone in [key for key in self._transports if key[1] not in kept]:
            self._log.info("{name} on {host} is gone", name=gone[0], host=gone[1])
            self._transports.pop(gone).stop()

    def _listen(self, name: str, local: Address, side: Side) -> Any:
        transport = self._transport(name, local, side)
        if name == "UDP":
            transport.listen(self._reactor.listenUDP)
        else:
            transport.listen()
        self._transports[name, local.host] = transport
        if name != "TLS" or (self._tls is not None and self._tls.serves):
            self._log.info(
                "{name} bound to port {port} on {host} ({side})",
                name=name,
                port=local.port,
                host=local.host,
                side=side.value,
            )
        return transport

    def _transport(self, name: str, local: Address, side: Side) -> Any:
        config, dscp = self._config.transports, self._config.sip.dscp
        if name == "UDP":
            return UDPTransport(local, side, self.signalling.received, dscp)
        kind: Any = WebSocketTransport if name in ("WS", "WSS") else StreamTransport
        tls = self._tls if name in ("TLS", "WSS") else None
        return kind(name, local, side, self.signalling, config, reactor=self._reactor, tls=tls, dscp=dscp)

    def _rebind(self) -> None:
        """Bind what has changed; what cannot be bound now is tried again at every tick."""
        if not self.running:
            return
        try:
            self._bind()
        except CannotListen as why:
            if str(why) != self._trouble:
                self._log.error("{why}", why=why)
            self._trouble = str(why)
        else:
            self._trouble = ""

    # registrations

    def _load(self) -> None:
        if self._file is None:
            return
        bindings, problems = loads(self._file.load())
        for problem in problems:
            self._log.warn("registration file: {problem}", problem=problem)
        for known in self.location:  # from before, in a service that was stopped
            self.location.remove(known)
        for binding in bindings:
            self.location.add(binding)
        self.location.expire(self._reactor.seconds())

    def _registrations_changed(self) -> None:
        if not self.running or self._file is None:
            return
        if self._saving is None or not self._saving.active():
            delay = max(SAVE_DELAY, self._config.registrar.autosave)
            self._saving = self._reactor.callLater(delay, self._save)

    def _save(self) -> Deferred[Any] | None:
        # The table as it is now, written as text in the thread: half a second for 50,000 registrations.
        return None if self._file is None else self._file.save(partial(dumps, list(self.location)))

    def _tick(self) -> None:
        self._rebind()
        now = self._reactor.seconds()
        if self.location.expire(now):
            self._registrations_changed()
        self._dialogs.expire(now)
        self.core.expire(now)

    # looking inside

    @property
    def port(self) -> int:
        """The SIP port that it listens on."""
        return self._config.sip.port

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {
            "registrations": len(self.location),
            "signalling": self.signalling.status(),
            "proxy": self.core.status(),
            "media": self.relay.status(),
            "transports": [{"name": each.name, **each.status()} for each in self._transports.values()],
        }
