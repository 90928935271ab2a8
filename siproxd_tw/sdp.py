# SPDX-License-Identifier: MIT
"""Session descriptions (RFC 8866), read without loss and edited in place.

A description is never rebuilt: `SessionDescription.relayed` returns edits of the body that
was parsed, and every byte outside them stays. Parsing is tolerant, because a description
that is refused passes unedited and the call has no audio: line ends may be CRLF or LF or be
missing at the end, the order of the lines is free, unknown lines are kept. Refused is what
is no description at all, and an `m=` or `c=` line that cannot be understood.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import IPv6Address, ip_address
from itertools import pairwise
from typing import NamedTuple

from siproxd_tw.edits import Edit

__all__ = ["MediaDescription", "NetworkAddress", "RTCPAttribute", "SDPError", "SessionDescription"]

_TOKEN = re.compile(rb"[^ \t]+")
_LINE = re.compile(rb"([A-Za-z])=(.*)", re.DOTALL)
_PORT = re.compile(rb"(\d{1,5})(?:/\d+)?")
_DIRECTIONS = {b"sendrecv", b"sendonly", b"recvonly", b"inactive"}

#: The attributes of RFC 8839; a candidate that passes would lead media around the relay.
_ICE = {
    b"candidate",
    b"remote-candidates",
    b"end-of-candidates",
    b"ice-ufrag",
    b"ice-pwd",
    b"ice-options",
    b"ice-lite",
    b"ice-mismatch",
    b"ice-pacing",
}


class SDPError(ValueError):
    """The body is not a session description, or one that cannot be relayed; says where and why."""

    def __init__(self, line: int, why: str) -> None:
        super().__init__(f"line {line}: {why}")
        self.line = line
        """Counted from 1."""


class _Token(NamedTuple):
    text: bytes
    start: int
    end: int


class _Line(NamedTuple):
    number: int
    start: int
    end: int
    """Where its content ends."""
    following: int
    """Where the next line starts."""
    kind: bytes
    """The letter before the equals sign; empty for a line that has none."""
    value: bytes

    @property
    def attribute(self) -> bytes:
        """The name of an attribute, in lower case; empty for other lines."""
        return self.value.partition(b":")[0].strip().lower() if self.kind == b"a" else b""

    def tokens(self, skip: int = 0) -> list[_Token]:
        """Split the value, without its first `skip` bytes, at white space."""
        at = self.start + 2
        return [_Token(m[0], at + m.start(), at + m.end()) for m in _TOKEN.finditer(self.value, skip)]


@dataclass(frozen=True, slots=True)
class NetworkAddress:
    """The `<nettype> <addrtype> <address>` of a c=, o= or a=rtcp line, and where it stands."""

    text: str
    """The address as written, without the TTL and the count of a multicast address."""
    host: str | None
    """The address in its usual form; None for a host name, or an address with a scope."""
    start: int
    """Where the address type starts."""
    host_start: int
    end: int
    """Where the address ends, before any TTL."""
    suffix_end: int
    """Where the TTL and the count end."""
    type: str
    """The address type as written."""

    @property
    def family(self) -> int:
        """4 or 6: that of the address, for a host name that of the type; 0 if neither says it."""
        if self.host is not None:
            return 6 if ":" in self.host else 4
        return {"IP4": 4, "IP6": 6}.get(self.type.upper(), 0)

    @property
    def is_hold(self) -> bool:
        """Whether it asks to send nothing at all: `0.0.0.0`, or `::` (RFC 3264 section 8.4, RFC 6157)."""
        return self.host in ("0.0.0.0", "::")

    def moved(self, host: str, reason: str) -> list[Edit]:
        """Return what makes it `host`; the address type follows.

        What is behind the address means another thing in the other family (RFC 8866 section 5.7), and
        goes with the type.
        """
        kind = "IP6" if ":" in host else "IP4"
        edits = []
        end = self.end
        if self.type.upper() != kind:
            edits.append(Edit(self.start, self.start + len(self.type), kind.encode(), reason))
            end = self.suffix_end
        if self.text != host or end != self.end:
            edits.append(Edit(self.host_start, end, host.encode(), reason))
        return edits

    def relayed(self, host: str) -> list[Edit]:
        """Return what makes a connection address `host`, or leaves it a hold of the same family."""
        if not self.is_hold:
            return self.moved(host, "connection address")
        if (":" in host) == (self.family == 6):
            return []
        return self.moved("::" if ":" in host else "0.0.0.0", "hold in the other address family")


@dataclass(frozen=True, slots=True)
class RTCPAttribute:
    """An `a=rtcp` line (RFC 3605)."""

    port: int
    start: int
    end: int
    """The span of the port."""
    address: NetworkAddress | None


@dataclass(frozen=True, slots=True)
class MediaDescription:
    """One `m=` line and what belongs to it (RFC 8866 section 5.14)."""

    index: int
    """Its position among the m= lines, from 0."""
    kind: str
    """audio, video, image, application, ..."""
    port: int
    port_start: int
    port_end: int
    proto: str
    formats: tuple[str, ...]
    connections: tuple[NetworkAddress, ...]
    """Its own c= lines."""
    connection: NetworkAddress | None
    """The address that counts: its own, or the session's."""
    direction: str
    """sendrecv, sendonly, recvonly or inactive, from its own attribute or the session's."""
    rtcp: RTCPAttribute | None
    rtcp_mux: bool
    """Whether RTCP may share the port (RFC 5761)."""
    on_internet: bool
    """Whether the c= line that counts, if any, is of network type IN."""

    @property
    def is_udp(self) -> bool:
        """Whether it runs over UDP, as RTP and udptl do; over TCP do TCP/BFCP, TCP/MSRP, RTP/AVP/TCP."""
        return self.on_internet and not {"TCP", "MSRP"} & set(self.proto.upper().split("/"))

    @property
    def is_rtp(self) -> bool:
        """Whether it is RTP, in the clear or not."""
        return "RTP" in self.proto.upper().split("/")

    @property
    def is_relayable(self) -> bool:
        """Whether a relay has something to do for it: UDP, and not disabled."""
        return self.is_udp and self.port > 0

    @property
    def is_held(self) -> bool:
        """Whether it asks for a pause in at least one direction (RFC 3264 section 8.4)."""
        return self.direction != "sendrecv" or (self.connection is not None and self.connection.is_hold)

    @property
    def target(self) -> tuple[str, int] | None:
        """Where RTP is wanted; None while that is nowhere or cannot be told."""
        return _target(self.connection, self.port)

    @property
    def rtcp_target(self) -> tuple[str, int] | None:
        """Where RTCP is wanted: as `a=rtcp` says, else one above RTP (RFC 3550 section 11)."""
        if self.rtcp is None:
            return _target(self.connection, self.port + 1)
        return _target(self.rtcp.address or self.connection, self.rtcp.port)

    def relayed(self, host: str, port: int | None) -> list[Edit]:
        """Return what makes it point to `host` and `port`; None leaves the port.

        Port 0, a stream that nobody wants, stays (RFC 3264 sections 5.1 and 6.1).
        """
        if not self.is_udp:
            return []
        edits = [edit for connection in self.connections for edit in connection.relayed(host)]
        if self.port > 0 and port is not None and port != self.port:
            edits.append(Edit(self.port_start, self.port_end, b"%d" % port, "media port"))
        if self.rtcp is not None:
            edits += self._rtcp_relayed(self.rtcp, host, port if self.port > 0 else None)
        return edits

    def _rtcp_relayed(self, rtcp: RTCPAttribute, host: str, port: int | None) -> list[Edit]:
        edits = []
        if port is not None:
            shared = rtcp.port == self.port  # as RFC 5761 section 5.1.3 wants it with rtcp-mux
            ours = port if shared else port + 1
            if ours != rtcp.port:
                edits.append(Edit(rtcp.start, rtcp.end, b"%d" % ours, "RTCP port"))
        if rtcp.address is not None:
            edits += rtcp.address.moved(host, "RTCP address")
        return edits


@dataclass(frozen=True, slots=True)
class SessionDescription:
    """A parsed body; `parse` makes it."""

    body: bytes
    origin: NetworkAddress | None
    """The address of the o= line; None without one (RFC 8866 section 5.2)."""
    connections: tuple[NetworkAddress, ...]
    """The session's c= lines; usually one."""
    media: tuple[MediaDescription, ...]
    ice: tuple[tuple[int, int], ...]
    """The spans of the lines that belong to ICE, with their line ends."""
    misplaced: tuple[tuple[int, int], ...]
    """The spans of a=rtcp lines outside any media, where RFC 3605 knows none."""

    @classmethod
    def parse(cls, body: bytes) -> SessionDescription:
        """Read `body`; raises SDPError."""
        lines = list(_lines(body))
        if not lines or not lines[0].kind:
            raise SDPError(lines[0].number if lines else 1, "a session description starts with v=")
        if not any(line.kind in (b"v", b"m") for line in lines):
            raise SDPError(1, "neither a v= line nor an m= line")
        starts = [n for n, line in enumerate(lines) if line.kind == b"m"] + [len(lines)]
        session = lines[: starts[0]]
        defaults = _Defaults(*_connections(session), _direction(session, "sendrecv"))
        sections = [lines[start:end] for start, end in pairwise(starts)]
        return cls(
            body=body,
            origin=_origin(session),
            connections=defaults.connections,
            media=tuple(_media(index, section, defaults) for index, section in enumerate(sections)),
            ice=tuple((line.start, line.following) for line in lines if line.attribute in _ICE),
            misplaced=tuple((line.start, line.following) for line in session if line.attribute == b"rtcp"),
        )

    @property
    def located(self) -> MediaDescription | None:
        """The first stream for a relay that says where it is, by an address or a name; None without one."""
        for media in self.media:
            if media.is_relayable and media.connection is not None and not media.connection.is_hold:
                return media
        return None

    @property
    def family(self) -> int:
        """The address family in which its sender receives, 4 or 6; 0 when it does not show."""
        media = self.located
        return 0 if media is None or media.connection is None else media.connection.family

    def relayed(self, host: str, ports: Mapping[int, int]) -> list[Edit]:
        """Return the edits that make every stream over UDP come to `host` (RFC 3264 section 5).

        `ports` has the RTP port for each index of `media` that is relayed; its RTCP port
        is one above. Addresses that mean hold stay what they are in the family of `host`, disabled
        media and media over TCP stay, everything of ICE goes.
        """
        edits = [Edit(start, end, b"", "ICE") for start, end in self.ice]
        edits += [Edit(start, end, b"", "RTCP port outside any media") for start, end in self.misplaced]
        if self.origin is not None:
            edits += self.origin.moved(host, "origin address")
        if self._session_address_is_ours():
            edits += [edit for connection in self.connections for edit in connection.relayed(host)]
        for media in self.media:
            edits += media.relayed(host, ports.get(media.index))
        return sorted(edits)

    def _session_address_is_ours(self) -> bool:
        """Whether the session's c= is for UDP; with nothing but TCP below, it is not ours to move."""
        users = [media for media in self.media if not media.connections]
        return not users or any(media.is_udp for media in users)


class _Defaults(NamedTuple):
    """What a media description inherits from the session."""

    connections: tuple[NetworkAddress, ...]
    on_internet: bool
    direction: str


def _lines(body: bytes) -> Iterator[_Line]:
    """Split `body` at line feeds; empty lines are left out."""
    start = 0
    for number, raw in enumerate(body.split(b"\n"), 1):
        following = min(start + len(raw) + 1, len(body))
        content = raw.rstrip(b"\r")
        if content:
            found = _LINE.fullmatch(content)
            kind, value = found.groups() if found else (b"", b"")
            yield _Line(number, start, start + len(content), following, kind.lower(), value)
        start = following


def _network_address(tokens: Sequence[_Token]) -> NetworkAddress | None:
    """Read `<nettype> <addrtype> <address>`; None for another network than the Internet's."""
    nettype, addrtype, address = tokens
    if nettype.text.upper() != b"IN":
        return None
    text = address.text.partition(b"/")[0]
    shown = text.decode("ascii", "replace")
    kind = addrtype.text.decode("latin-1")
    end = address.start + len(text)
    return NetworkAddress(shown, _ip(shown), addrtype.start, address.start, end, address.end, kind)


def _ip(text: str) -> str | None:
    """Read an address that others can use: a scope is known to its own host only (RFC 4007 section 6)."""
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address):
        if address.scope_id is not None:
            return None
        address = address.ipv4_mapped or address
    return str(address)


def _origin(session: Sequence[_Line]) -> NetworkAddress | None:
    """Read the o= line from its end: user names with a space in them exist."""
    for line in session:
        if line.kind == b"o":
            tokens = line.tokens()
            return _network_address(tokens[-3:]) if len(tokens) > 5 else None
    return None


def _connections(section: Sequence[_Line]) -> tuple[tuple[NetworkAddress, ...], bool]:
    """Read the c= lines; also say whether they, if there are any, speak of the Internet."""
    found = []
    for line in section:
        if line.kind == b"c":
            tokens = line.tokens()
            if len(tokens) < 3:
                raise SDPError(line.number, "a c= line needs a network type, an address type and an address")
            found.append(_network_address(tokens[:3]))
    usable = tuple(address for address in found if address is not None)
    return usable, bool(usable) or not found


def _direction(section: Sequence[_Line], default: str) -> str:
    found = [line.attribute for line in section if line.attribute in _DIRECTIONS]
    return found[-1].decode() if found else default


def _media(index: int, section: Sequence[_Line], defaults: _Defaults) -> MediaDescription:
    """Read one media section; its first line is the m= line."""
    tokens = section[0].tokens()
    number = section[0].number
    if len(tokens) < 3:
        raise SDPError(number, "an m= line needs a kind, a port and a protocol")
    kind, where, proto, *formats = tokens
    port = _PORT.fullmatch(where.text)
    if port is None or int(port[1]) > 65535:
        raise SDPError(number, f"the port of an m= line is {where.text.decode('ascii', 'replace')!r}")
    own, on_internet = _connections(section)
    connections = own or defaults.connections
    return MediaDescription(
        index=index,
        kind=kind.text.decode("utf-8", "replace"),
        port=int(port[1]),
        port_start=where.start,
        port_end=where.start + port.end(1),
        proto=proto.text.decode("ascii", "replace"),
        formats=tuple(token.text.decode("utf-8", "replace") for token in formats),
        connections=own,
        connection=connections[0] if connections else None,
        direction=_direction(section, defaults.direction),
        rtcp=_rtcp(section),
        rtcp_mux=any(line.attribute == b"rtcp-mux" for line in section),
        on_internet=on_internet and (bool(own) or defaults.on_internet),
    )


def _rtcp(section: Sequence[_Line]) -> RTCPAttribute | None:
    """Read the first a=rtcp that makes sense."""
    for line in section:
        if line.attribute != b"rtcp":
            continue
        tokens = line.tokens(skip=line.value.find(b":") + 1 or len(line.value))
        if tokens and tokens[0].text.isdigit() and int(tokens[0].text) <= 65535:
            address = _network_address(tokens[1:4]) if len(tokens) > 3 else None
            return RTCPAttribute(int(tokens[0].text), tokens[0].start, tokens[0].end, address)
    return None


def _target(address: NetworkAddress | None, port: int) -> tuple[str, int] | None:
    if address is None or address.host is None or address.is_hold or not 0 < port < 65536:
        return None
    return address.host, port
