# SPDX-License-Identifier: MIT
"""Which addresses the gateway has at this moment, and on which side a peer is.

- The interfaces are read again every `CHECK` seconds: addresses come and go with dial-up, DHCP and
  the prefixes of a provider, and an interface that does not exist yet is waited for. None is the answer
  meanwhile. Which of its addresses count is the matter of `arm`.
- `host_outbound` is for the family of the address that it is. A name there is for IPv4, and is resolved
  without blocking, see `followedname`; it is looked up at once when the outside address has changed.
- Each question is answered from a table: they are asked several times for each message.
- Watchers hear of each change once, when all answers are the new ones already.
- Each change is logged once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address

from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.config.settings import NetworkConfig
from siproxd_tw.interfaces import IAddresses, IStatus, Side
from siproxd_tw.transport.arm import Arm, find_arm
from siproxd_tw.transport.followedname import FollowedName, ResolveHost
from siproxd_tw.transport.netif import Interface, interfaces, is_public
from siproxd_tw.transport.resolver import ip_literal

__all__ = ["CHECK", "GatewayAddresses"]

CHECK = 5.0
"""Seconds between two looks at the interfaces."""
MOST_PEERS = 100_000
"""Peers of whom it is remembered where they are."""

_Answers = tuple[str | None, str | None, str | None]
"""For peers of IPv4, of IPv6, and for nobody in particular."""
_ANYBODY = 2
_Sides = tuple[Side, Side]
"""The side of a peer that came in on the inside socket, and on the outside socket."""
_BY_ARRIVAL: _Sides = (Side.INSIDE, Side.OUTSIDE)
_NOWHERE = Arm()
_INSIDE = Side.INSIDE  # a module's own name is looked up faster than a member of an Enum


@dataclass(frozen=True, slots=True)
class _View:
    """What the interfaces say; equal views give equal answers."""

    inside: Arm = _NOWHERE
    outside: Arm = _NOWHERE
    present: frozenset[str] = frozenset()
    """All addresses of this machine that are up."""

    @property
    def arms(self) -> tuple[tuple[Side, Arm], ...]:
        """Both sides with their names."""
        return (Side.INSIDE, self.inside), (Side.OUTSIDE, self.outside)


@implementer(IAddresses, IStatus)
class GatewayAddresses:
    """Knows the answers from `start` on, or from the first `check`.

    An interface is named in the configuration, or meant by one of its addresses. Equal names are a
    one-armed gateway, and two sides with the same address are one in the family of that address.
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
        literal = ip_literal(config.host_outbound)
        self._presented: list[str | None] = [None, None]
        if literal is not None:
            self._presented[":" in literal] = literal
        self._name: FollowedName | None = None
        if config.host_outbound and literal is None:
            self._name = FollowedName(config.host_outbound, clock, resolve_host, self._name_changed)
        self._view = _View()
        self._sides: dict[str, _Sides] = {}
        self._own_spellings: dict[str, bool] = {}
        self._watchers: list[Callable[[], None]] = []
        self._said: dict[str, tuple[str, ...]] = {}
        self._next: IDelayedCall | None = None
        self._renew()

    # the contract

    def listening(self, side: Side, peer: str = "") -> str | None:
        """See IAddresses."""
        answers = self._listening_inside if side is _INSIDE else self._listening_outside
        return answers[":" in peer if peer else _ANYBODY]

    def advertised(self, side: Side, peer: str = "") -> str | None:
        """See IAddresses."""
        answers = self._listening_inside if side is _INSIDE else self._advertised_outside
        return answers[":" in peer if peer else _ANYBODY]

    def bound(self, side: Side) -> Sequence[str]:
        """See IAddresses."""
        return (self._view.inside if side is _INSIDE else self._view.outside).addresses

    def side_of(self, host: str, arrival: Side) -> Side:
        """See IAddresses."""
        sides = self._sides.get(host) or self._find_sides(host)
        return sides[arrival is not _INSIDE]

    def is_own(self, host: str) -> bool:
        """See IAddresses."""
        if ":" not in host:
            return host in self._own
        known = self._own_spellings.get(host)
        return self._find_own(host) if known is None else known

    def watch(self, changed: Callable[[], None]) -> None:
        """See IAddresses."""
        self._watchers.append(changed)

    def status(self) -> Mapping[str, object]:
        """See IStatus; `trouble` says why an address is missing, empty when none is."""
        return {
            "one-armed": self._one_armed[0] or self._one_armed[1],
            **{
                side.value: {
                    "interface": arm.interface,
                    "listening": list(arm.addresses),
                    "advertised": self._all_advertised(side),
                    "trouble": arm.trouble,
                }
                for side, arm in self._view.arms
            },
        }

    def _all_advertised(self, side: Side) -> list[str]:
        answers = self._listening_inside if side is Side.INSIDE else self._advertised_outside
        return [each for each in answers[:_ANYBODY] if each is not None]

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
            self._arm(Side.INSIDE, found),
            self._arm(Side.OUTSIDE, found),
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

    def _arm(self, side: Side, found: Sequence[Interface]) -> Arm:
        if side is Side.INSIDE:
            setting, before = self._config.inside, self._view.inside
        else:
            setting, before = self._config.outside, self._view.outside
        return find_arm(setting, side, found, ipv6=self._config.ipv6, before=before.ipv6)

    def _name_changed(self) -> None:
        assert self._name is not None
        self._presented[0] = self._name.address
        self._renew()
        self._tell()

    def _renew(self) -> None:
        """Make the tables follow the view and the presented addresses."""
        inside, outside = self._view.inside, self._view.outside
        ipv4, ipv6 = self._presented
        self._listening_inside = _answers(inside, inside.ipv4, inside.ipv6)
        self._listening_outside = _answers(outside, outside.ipv4, outside.ipv6)
        if self._name is None:
            ipv4 = ipv4 or outside.ipv4
        self._advertised_outside = _answers(outside, ipv4, ipv6 or outside.ipv6)
        same = self._config.inside == self._config.outside
        self._one_armed = (
            same or (inside.ipv4 is not None and inside.ipv4 == outside.ipv4),
            same or (inside.ipv6 is not None and inside.ipv6 == outside.ipv6),
        )
        self._inside_networks = (*inside.networks, *self._config.inside_networks)
        self._own = frozenset(filter(None, (*inside.addresses, *outside.addresses, *self._presented)))
        self._sides.clear()
        self._own_spellings.clear()

    def _tell(self) -> None:
        for each in list(self._watchers):
            try:
                each()
            except Exception:
                self._log.failure("a watcher of the addresses failed")

    # sides

    def _find_sides(self, host: str) -> _Sides:
        """Decide where `host` is, and remember that."""
        if len(self._sides) >= MOST_PEERS:
            self._sides.clear()
        sides = self._sides[host] = self._sides_of(host)
        return sides

    def _sides_of(self, host: str) -> _Sides:
        try:
            address = _by_value(host)
        except ValueError:
            return (Side.OUTSIDE, Side.OUTSIDE) if self._one_armed[":" in host] else _BY_ARRIVAL
        one_armed = self._one_armed[address.version == 6]
        if self._is_inside(address, one_armed):
            return Side.INSIDE, Side.INSIDE
        return (Side.OUTSIDE, Side.OUTSIDE) if one_armed else _BY_ARRIVAL

    def _is_inside(self, address: IPv4Address | IPv6Address, one_armed: bool) -> bool:
        """Whether `address` is inside whatever socket it uses; of link-local IPv6 ones only that can tell."""
        return (
            address.is_loopback
            or str(address) in self._view.present
            or str(address) in self._own
            or any(address in network for network in self._inside_networks)
            or (one_armed and address.version == 6 and address.is_link_local)
        )

    def _find_own(self, host: str) -> bool:
        """Decide whether an IPv6 address, however it is written, is ours, and remember that."""
        if len(self._own_spellings) >= MOST_PEERS:
            self._own_spellings.clear()
        literal = ip_literal(host)
        own = literal is not None and str(_by_value(literal)) in self._own
        self._own_spellings[host] = own
        return own

    # the log

    def _report(self) -> None:
        """Say what each side has, and what about it looks wrong."""
        for side, arm in self._view.arms:
            if not arm.addresses:
                text = "the {side} has no address: {trouble}; waiting for it"
                self._say(side.value, self._log.warn, text, side=side.value, trouble=arm.trouble)
            else:
                text = "the {side} has {address} on {interface}"
                address = " and ".join(arm.addresses)
                fields = {"side": side.value, "address": address, "interface": arm.interface}
                self._say(side.value, self._log.info, text, **fields)
        ipv4 = self._view.outside.ipv4
        if ipv4 is not None and not is_public(ip_address(ipv4)) and not self._config.host_outbound:
            text = "the outside address {address} is not public; behind a NAT router set host_outbound"
            self._say("public", self._log.info, text, address=ipv4)
        for outside in self._view.outside.addresses:
            self._report_overlap(outside)

    def _report_overlap(self, outside: str) -> None:
        address = ip_address(outside)
        covering = next((each for each in self._inside_networks if address in each), None)
        if covering is not None and not self._one_armed[address.version == 6]:
            text = "the outside address {address} is in {network}, whose members count as inside"
            topic = f"overlap IPv{address.version}"
            self._say(topic, self._log.warn, text, address=outside, network=str(covering))

    def _say(self, topic: str, log: Callable[..., None], text: str, **fields: str) -> None:
        """Log what is new about `topic`."""
        said = (text, *fields.values())
        if self._said.get(topic) != said:
            self._said[topic] = said
            log(text, **fields)


def _answers(arm: Arm, ipv4: str | None, ipv6: str | None) -> _Answers:
    """Return the answers of one side; without a peer the family is the first that its interface has."""
    if arm.ipv4 is not None:
        return ipv4, ipv6, ipv4
    return ipv4, ipv6, ipv6 if arm.ipv6 is not None else ipv4 or ipv6


def _by_value(host: str) -> IPv4Address | IPv6Address:
    """Read an IP address; an IPv4 one in IPv6 clothes is that one, and no scope is part of it.

    Raises ValueError.
    """
    address = ip_address(host)
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return address.ipv4_mapped
        if address.scope_id:
            return IPv6Address(int(address))
    return address
