# SPDX-License-Identifier: MIT
"""Siproxd: builds every part once, hands each what it needs, starts and stops them.

This is the only module that knows all trades.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from twisted.application.service import MultiService
from twisted.internet.defer import Deferred, DeferredList, maybeDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.config.settings import Config
from siproxd_tw.interfaces import Address, IAddresses, IMediaRelay, IResolver, IStatus, Side
from siproxd_tw.media.relay import LocalRelay, NoRelay
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.proxy.core import ProxyCore
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.location import Location, dumps, loads
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.offeranswer import OfferAnswer
from siproxd_tw.proxy.regfile import RegistrationFile
from siproxd_tw.proxy.registrar import Registrar
from siproxd_tw.proxy.routing import Routing
from siproxd_tw.proxy.validation import Access
from siproxd_tw.transport.layer import SignallingLayer
from siproxd_tw.transport.ports import CannotListen
from siproxd_tw.transport.udp import UDPTransport

__all__ = ["Siproxd"]

#: Seconds between looks at what has expired (siproxd's tick).
TICK = 5.0

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
        self.signalling = SignallingLayer(reactor, addresses, secret)
        self._dialogs = Dialogs()
        self._authentication = Authentication(config.auth, secret)
        self.core = self._build_core(self.relay, resolver, secret)
        self.signalling.serve(self.core)
        self._file = RegistrationFile(config.registrar.file, in_thread) if config.registrar.file else None
        self._transports: dict[str, UDPTransport] = {}
        self._trouble = ""
        self._saving: IDelayedCall | None = None
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = reactor

    def _build_core(self, relay: IMediaRelay, resolver: IResolver, secret: bytes) -> ProxyCore:
        config, addresses, port = self._config, self._addresses, self._config.sip.port
        masquerade = Masquerade(addresses, self.location, port)
        routing = Routing(config.routing, addresses, self.location, self._dialogs, port)
        return ProxyCore(
            clock=self._reactor,
            signalling=self.signalling,
            resolver=resolver,
            access=Access(config.access),
            authentication=self._authentication,
            routing=routing,
            registrar=Registrar(
                config.registrar, self.location, addresses, masquerade, self._registrations_changed
            ),
            dialogs=self._dialogs,
            dress=Dress(config.sip, addresses, routing, masquerade, self._dialogs),
            negotiation=OfferAnswer(relay),
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
        self._bind()
        self._addresses.watch(self._rebind)
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

    def _wanted(self) -> dict[Side, str | None]:
        return {side: self._addresses.listening(side) for side in (Side.OUTSIDE, Side.INSIDE)}

    def _bind(self) -> None:
        """Have one socket per own address; on a one-armed gateway one serves both sides.

        Raises CannotListen when all that can be bound is bound.
        """
        wanted = self._wanted()
        for gone in [host for host in self._transports if host not in wanted.values()]:
            self._log.info("address {host} is gone", host=gone)
            self._transports.pop(gone).stop()
        refused: CannotListen | None = None
        for side, host in wanted.items():
            transport = self._transports.get(host or "")
            if host is not None and (transport is None or not transport.listening):
                try:
                    transport = self._listen(host, side)
                except CannotListen as why:
                    transport, refused = None, why
            self.signalling.attach(side, transport)
        if refused is not None:
            raise refused

    def _listen(self, host: str, side: Side) -> UDPTransport:
        port = self._config.sip.port
        transport = UDPTransport(Address(host, port), side, self.signalling.received, self._config.sip.dscp)
        transport.listen(self._reactor.listenUDP)
        self._transports[host] = transport
        self._log.info("bound to port {port} on {host} ({side})", port=port, host=host, side=side.value)
        return transport

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
        return None if self._file is None else self._file.save(dumps(self.location))

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
            "transports": [transport.status() for transport in self._transports.values()],
        }
