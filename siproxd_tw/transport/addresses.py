# SPDX-License-Identifier: MIT
"""Which addresses the gateway has at this moment, and on which side a peer is.

- The interfaces are read again every `CHECK` seconds: addresses come and go with dial-up and DHCP,
  and an interface that does not exist yet is waited for. None is the answer meanwhile.
- A name in `host_outbound` is resolved without blocking, see `followedname`; it is looked up at
  once when the outside address has changed.
- Watchers hear of each change once, when all answers are the new ones already.
- Each change is logged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.config.settings import NetworkConfig
from siproxd_tw.interfaces import IAddresses, IStatus, Side
from siproxd_tw.transport.followedname import FollowedName, ResolveHost
from siproxd_tw.transport.netif import Interface, interfaces, is_public
from siproxd_tw.transport.resolver import ip_literal

__all__ = ["CHECK", "GatewayAddresses"]

CHECK = 5.0
"""Seconds between two looks at the interfaces."""
MOST_PEERS = 4096
"""Peers of whom it is remembered whether they are inside."""

Network = IPv4Network | IPv6Network


@dataclass(frozen=True, slots=True)
class _Arm:
    """One side of the gateway as it is now."""

    address: str | None = None
    networks: tuple[Network, ...] = ()
    """The networks that are directly on its interface."""
    interface: str = field(default="", compare=False)
    trouble: str = field(default="", compare=False)
    """Why there is no address."""


@dataclass(frozen=True, slots=True)
class _View:
    """What the interfaces say; equal views give equal answers."""

    inside: _Arm = _Arm()
    outside: _Arm = _Arm()
    present: frozenset[str] = frozenset()
    """All addresses of this machine that are up."""

    @property
    def arms(self) -> tuple[tuple[Side, _Arm], ...]:
        """Both sides with their names."""
        return (Side.INSIDE, self.inside), (Side.OUTSIDE, self.outside)


@implementer(IAddresses, IStatus)
class GatewayAddresses:
    """Knows the answers from `start` on, or from the first `check`.

    An interface is named in the configuration, or meant by one of its addresses. Equal names, or
    two that have the same address, are a one-armed gateway.
    """

    _log = Logger()

    def __init__(
        self,
        config: NetworkConfig,
        clock: IReactorTime,
        list_interfaces: Callable[[], Iterable[Interface]] = interfaces,
        *,
        resolve_host: ResolveHost,
    ) -> None:
        self._config = config
        self._clock = clock
        self._list_interfaces = list_interfaces
        self._presented = ip_literal(config.host_outbound)
        self._name: FollowedName | None = None
        if config.host_outbound and self._presented is None:
            self._name = FollowedName(config.host_outbound, clock, resolve_host, self._name_changed)
        self._view = _View()
        self._inside: dict[str, bool] = {}
        self._watchers: list[Callable[[], None]] = []
        self._said: dict[str, tuple[str, ...]] = {}
        self._next: IDelayedCall | None = None
        self._renew()

    # the contract

    def listening(self, side: Side) -> str | None:
        """See IAddresses."""
        return (self._view.inside if side is Side.INSIDE else self._view.outside).address

    def advertised(self, side: Side) -> str | None:
        """See IAddresses."""
        if side is Side.OUTSIDE and self._config.host_outbound:
            return self._presented
        return self.listening(side)

    def side_of(self, host: str, arrival: Side) -> Side:
        """See IAddresses."""
        inside = self._inside.get(host)
        if inside is None:
            inside = self._find_inside(host)
        if inside:
            return Side.INSIDE
        return Side.OUTSIDE if self._one_armed else arrival

    def is_own(self, host: str) -> bool:
        """See IAddresses."""
        return host in self._own or (":" in host and ip_literal(host) in self._own)

    def watch(self, changed: Callable[[], None]) -> None:
        """See IAddresses."""
        self._watchers.append(changed)

    def status(self) -> Mapping[str, object]:
        """See IStatus; `trouble` says why an address is missing, empty when none is."""
        return {
            "one-armed": self._one_armed,
            **{
                side.value: {
                    "interface": arm.interface,
                    "listening": arm.address,
                    "advertised": self.advertised(side),
                    "trouble": arm.trouble,
                }
                for side, arm in self._view.arms
            },
        }

    # following the machine

    def start(self) -> None:
        """Read the interfaces now, and from now on."""
        self._tick()
        if self._name is not None:
            self._name.start()

    def stop(self) -> None:
        """Stop following; the answers stay as they are."""
        if self._next is not None and self._next.active():
            self._next.cancel()
        self._next = None
        if self._name is not None:
            self._name.stop()

    def check(self) -> None:
        """Read the interfaces now."""
        try:
            found = list(self._list_interfaces())
        except OSError as error:
            text = "{error}; the last known addresses are kept"
            self._say("interfaces", self._log.warn, text, error=error.strerror or str(error))
            return
        self._said.pop("interfaces", None)
        before = self._view
        up = (each for each in found if each.is_up)
        self._view = _View(
            _arm(self._config.inside, "if_inbound", found),
            _arm(self._config.outside, "if_outbound", found),
            frozenset(str(address.ip) for each in up for address in each.addresses),
        )
        self._renew()
        self._report()
        if self._view != before:
            self._tell()
            if self._name is not None and self._view.outside != before.outside:
                self._name.refresh()

    def _tick(self) -> None:
        self._next = self._clock.callLater(CHECK, self._tick)  # first, so that nothing below can end it
        self.check()

    def _name_changed(self) -> None:
        assert self._name is not None
        self._presented = self._name.address
        self._renew()
        self._tell()

    def _renew(self) -> None:
        """Make what is derived follow the view and the presented address."""
        inside, outside = self._view.inside, self._view.outside
        same_address = inside.address is not None and inside.address == outside.address
        self._one_armed = same_address or self._config.inside == self._config.outside
        self._inside_networks = (*inside.networks, *self._config.inside_networks)
        self._own = frozenset(filter(None, (inside.address, outside.address, self._presented)))
        self._inside.clear()

    def _tell(self) -> None:
        for each in list(self._watchers):
            try:
                each()
            except Exception:
                self._log.failure("a watcher of the addresses failed")

    # sides

    def _find_inside(self, host: str) -> bool:
        """Decide whether `host` is inside whatever socket it uses, and remember that."""
        if len(self._inside) >= MOST_PEERS:
            self._inside.clear()
        inside = self._inside[host] = self._is_inside(host)
        return inside

    def _is_inside(self, host: str) -> bool:
        try:
            address: IPv4Address | IPv6Address = ip_address(host)
        except ValueError:
            return False
        if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
            address = address.ipv4_mapped
        return (
            address.is_loopback
            or str(address) in self._view.present
            or str(address) in self._own
            or any(address in network for network in self._inside_networks)
        )

    # the log

    def _report(self) -> None:
        """Say what each side has, and what about it looks wrong."""
        for side, arm in self._view.arms:
            if arm.address is None:
                text = "the {side} has no address: {trouble}; waiting for it"
                self._say(side.value, self._log.warn, text, side=side.value, trouble=arm.trouble)
            else:
                text = "the {side} has {address} on {interface}"
                fields = {"side": side.value, "address": arm.address, "interface": arm.interface}
                self._say(side.value, self._log.info, text, **fields)
        self._report_outside(self._view.outside.address)

    def _report_outside(self, outside: str | None) -> None:
        if outside is None:
            return
        address = ip_address(outside)
        if isinstance(address, IPv4Address) and not is_public(address) and not self._config.host_outbound:
            text = "the outside address {address} is not public; behind a NAT router set host_outbound"
            self._say("public", self._log.info, text, address=outside)
        covering = next((each for each in self._inside_networks if address in each), None)
        if covering is not None and not self._one_armed:
            text = "the outside address {address} is in {network}, whose members count as inside"
            self._say("overlap", self._log.warn, text, address=outside, network=str(covering))

    def _say(self, topic: str, log: Callable[..., None], text: str, **fields: str) -> None:
        """Log what is new about `topic`."""
        said = (text, *fields.values())
        if self._said.get(topic) != said:
            self._said[topic] = said
            log(text, **fields)


def _arm(setting: str, directive: str, found: Sequence[Interface]) -> _Arm:
    """Find the interface that `setting` names, or that has it as an address."""
    if not setting:
        return _Arm(trouble=f"{directive} is not set")
    literal = ip_literal(setting)
    if literal is None:
        return _arm_named(setting, found)
    for each in found:
        for address in each.addresses:
            if str(address.ip) == literal:
                if not each.is_up:
                    return _Arm(trouble=f"{each.name}, which has {literal}, is down")
                return _Arm(literal, (address.network,), each.name)
    return _Arm(trouble=f"no interface has {literal}")


def _arm_named(name: str, found: Sequence[Interface]) -> _Arm:
    named = next((each for each in found if each.name == name), None)
    if named is None:
        return _Arm(trouble=f"there is no interface {name}")
    if not named.is_up:
        return _Arm(trouble=f"{name} is down")
    if not named.ipv4:
        return _Arm(trouble=f"{name} has no IPv4 address")
    return _Arm(str(named.ipv4[0].ip), tuple(each.network for each in named.addresses), name)
