# SPDX-License-Identifier: MIT
"""What a DNS answer says, as values: addresses, SRV and NAPTR records, and the order of SRV (RFC 2782).

An answer is data from strangers. What is read here is bounded in number and time, names in it are host
names, ports are ports, and everything else is left out without a word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from ipaddress import ip_address
from socket import AF_INET, AF_INET6, inet_ntop
from types import MappingProxyType
from typing import TypeVar, cast

from twisted.names import dns

from siproxd_tw.transport.resolver import is_host_name

__all__ = ["Answer", "Kind", "Pointer", "Service", "canonical", "in_order", "negative_ttl", "read"]

SHORTEST_TTL = 1.0
"""Seconds that an answer is used at least: a burst of messages costs one question (TTL 0 is allowed)."""
LONGEST_TTL = 86_400.0
"""Seconds that an answer is used at most."""
LONGEST_NEGATIVE = 30.0
"""Seconds for which a name without records is believed to be one, at most."""
UNKNOWN_NEGATIVE = 5.0
"""The same when the answer does not say how long (RFC 2308 section 5)."""
MOST_RECORDS = 12
"""Records of one name and kind that are used: SRV and NAPTR the best ones, addresses the first ones."""
MOST_READ = 512
"""Records of an answer that are looked at."""
MOST_ALIASES = 8
"""CNAMEs behind one another."""

T = TypeVar("T")
Glue = Mapping[tuple[str, "Kind"], tuple[str, ...]]
"""Addresses by host and kind."""


class Kind(IntEnum):
    """What is asked of the DNS."""

    A = dns.A
    AAAA = dns.AAAA
    SRV = dns.SRV
    NAPTR = dns.NAPTR


@dataclass(frozen=True, slots=True, order=True)
class Service:
    """An SRV record."""

    priority: int
    weight: int
    port: int
    target: str
    """Empty: the service is decidedly not available at this domain."""


@dataclass(frozen=True, slots=True, order=True)
class Pointer:
    """A NAPTR record with the flag "s", which leads to an SRV name (RFC 3263 sections 4.1 and 8)."""

    order: int
    preference: int
    service: str
    """In capitals: SIP+D2U."""
    replacement: str


@dataclass(frozen=True, slots=True)
class Answer:
    """What is known of one name and kind."""

    until: float
    """The clock's time up to which it counts."""
    addresses: tuple[str, ...] = ()
    services: tuple[Service, ...] = ()
    """By priority."""
    pointers: tuple[Pointer, ...] = ()
    """By order and preference."""
    additional: Glue = field(default_factory=lambda: MappingProxyType({}))
    """Addresses of targets that came with SRV records; good for these records alone, they may be lies."""
    failure: str = ""
    """Why nothing is known: a sentence without subject. Empty when a name server has answered."""

    @property
    def found(self) -> bool:
        """Whether there are records."""
        return bool(self.addresses or self.services or self.pointers)


def canonical(name: str) -> str:
    """Return `name` in lower case and without a dot behind it: the key of what is known of it."""
    return name.lower().removesuffix(".")


def read(
    name: str, kind: Kind, answers: Iterable[dns.RRHeader], additional: Iterable[dns.RRHeader], now: float
) -> Answer | str:
    """Return what `answers` say of the canonical `name`; a name is an alias of which they say nothing."""
    records = [each for _, each in zip(range(MOST_READ), answers, strict=False)]
    ttl, owner = LONGEST_TTL, name
    for _ in range(MOST_ALIASES):
        own = [each for each in records if each.cls == dns.IN and _text(each.name) == owner]
        wanted = [each for each in own if each.type == kind]
        if wanted:
            ttl = min(ttl, *map(_ttl, wanted))
            return _answer(kind, [each.payload for each in wanted], additional, now + max(ttl, SHORTEST_TTL))
        alias = next((each for each in own if each.type == dns.CNAME), None)
        if alias is None:
            break
        ttl = min(ttl, _ttl(alias))
        owner = (
            _host_name(alias.payload.name) if isinstance(alias.payload, dns.Record_CNAME) else None
        ) or ""
    return Answer(now + UNKNOWN_NEGATIVE) if owner == name or not owner else owner


def negative_ttl(authority: Iterable[dns.RRHeader]) -> float:
    """Return the seconds for which a name has no records, by the SOA of the answer (RFC 2308 section 5)."""
    for each in authority:
        if isinstance(each.payload, dns.Record_SOA):
            ttl = min(_ttl(each), float(each.payload.minimum), LONGEST_NEGATIVE)
            return max(ttl, SHORTEST_TTL)
    return UNKNOWN_NEGATIVE


def in_order(weighted: Sequence[tuple[int, T]], random: Callable[[], float]) -> Iterator[T]:
    """Put what has one priority in a new order by its weights (RFC 2782, page 4, RFC 3263 section 4.3).

    `random` gives numbers from 0 up to but not including 1.
    """
    left = sorted(weighted, key=lambda each: each[0] > 0)
    while left:
        zeros = sum(not weight for weight, _ in left)
        # All that have no weight share the chance of a weight of 1, the "very small chance" of the RFC.
        number = int(random() * (sum(weight for weight, _ in left) + bool(zeros))) + (not zeros)
        chosen = int(random() * zeros) if not number else zeros
        while number > left[chosen][0]:
            number -= left[chosen][0]
            chosen += 1
        yield left.pop(chosen)[1]


def _answer(
    kind: Kind, payloads: Sequence[object], additional: Iterable[dns.RRHeader], until: float
) -> Answer:
    if kind is Kind.SRV:
        services = sorted({each for each in map(_service, payloads) if each is not None})[:MOST_RECORDS]
        targets = {each.target for each in services}
        return Answer(until, services=tuple(services), additional=_glue(additional, targets))
    if kind is Kind.NAPTR:
        pointers = sorted({each for each in map(_pointer, payloads) if each is not None})
        return Answer(until, pointers=tuple(pointers[:MOST_RECORDS]))
    addresses = dict.fromkeys(each for each in map(_address, payloads) if each is not None)
    return Answer(until, addresses=tuple(addresses)[:MOST_RECORDS])


def _glue(additional: Iterable[dns.RRHeader], targets: set[str]) -> Glue:
    glue: dict[tuple[str, Kind], tuple[str, ...]] = {}
    for _, each in zip(range(MOST_READ), additional, strict=False):
        name, address = _text(each.name), _address(each.payload)
        if name in targets and address is not None:
            key = (name, Kind.AAAA if ":" in address else Kind.A)
            if len(glue.get(key, ())) < MOST_RECORDS:
                glue[key] = (*glue.get(key, ()), address)
    return MappingProxyType(glue)


def _service(payload: object) -> Service | None:
    if not isinstance(payload, dns.Record_SRV):
        return None
    target = _host_name(payload.target)
    if target is None or (target and not payload.port):
        return None
    return Service(payload.priority, payload.weight, payload.port, target)


def _pointer(payload: object) -> Pointer | None:
    if not isinstance(payload, dns.Record_NAPTR):
        return None
    replacement = _host_name(payload.replacement)
    if payload.flags.string.lower() != b"s" or payload.regexp.string or not replacement:
        return None
    service = payload.service.string.decode("ascii", "replace").upper()
    return Pointer(payload.order, payload.preference, service, replacement)


def _address(payload: object) -> str | None:
    if isinstance(payload, dns.Record_A):
        host = inet_ntop(AF_INET, cast(bytes, payload.address))
    elif isinstance(payload, dns.Record_AAAA):
        host = inet_ntop(AF_INET6, payload.address)
    else:
        return None
    address = ip_address(host)
    # A link-local one is nothing without its interface.
    if address.is_unspecified or address.is_multicast or (address.version == 6 and address.is_link_local):
        return None
    return str(address)


def _host_name(name: dns.Name) -> str | None:
    """Return `name` in canonical form, empty for the root; None when it is no host name."""
    text = _text(name)
    return text if not text or is_host_name(text) else None


def _text(name: dns.Name) -> str:
    return canonical(name.name.decode("ascii", "replace"))


def _ttl(record: dns.RRHeader) -> float:
    """Return the TTL in seconds; more than 31 bits are none (RFC 2181 section 8)."""
    return 0.0 if record.ttl is None or record.ttl >= 2**31 else float(record.ttl)
