# SPDX-License-Identifier: MIT
"""What went over the wire: SIP messages, the ways they took, and what they tell about the inside."""

from __future__ import annotations

import re
import signal
import socket
import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from tests.network.namespaces import Host

ETHERNET = 14
TCP, UDP = 6, 17
SYN, ACK = 2, 16
SIP_LINE = re.compile(rb"\A(?:[A-Z]+ \S+ SIP/2\.0|SIP/2\.0 \d{3} [^\r\n]*)\r?\n")


@dataclass(frozen=True, slots=True)
class Datagram:
    """One UDP datagram, put together from its fragments, or one SIP message out of a TCP stream."""

    source: str
    destination: str
    data: bytes


@dataclass(frozen=True, slots=True)
class Packet:
    """One packet of UDP or TCP; of fragments the first one."""

    protocol: str
    """UDP or TCP."""
    source: str
    destination: str
    source_port: int
    destination_port: int
    connects: bool
    """Whether it is the first one of a TCP connection."""
    data: bytes
    position: int = 0
    """Where `data` begins in the stream of TCP (RFC 9293: the sequence number)."""


class Capture:
    """Captures UDP and TCP on an interface of a host between entering and leaving the context."""

    def __init__(self, host: Host, interface: str, path: Path) -> None:
        self._host = host
        self._interface = interface
        self._path = path

    def __enter__(self) -> Capture:
        options = ("-i", self._interface, "-s", "0", "-U", "--immediate-mode", "-Z", "root")
        self._program = self._host.start(
            "tcpdump", "tcpdump", *options, "-w", self._path, "udp or tcp or ip[6:2] & 0x1fff != 0"
        )
        self._program.wait_for("listening on", 5)
        return self

    def __exit__(self, *_: object) -> None:
        self._program.signal(signal.SIGINT)
        self._program.wait(5)

    def messages(self) -> list[Datagram]:
        """Return the SIP messages captured: those by UDP, then those by TCP."""
        found = [*datagrams(self._path.read_bytes()), *streamed(self.packets())]
        return [each for each in found if SIP_LINE.match(each.data)]

    def packets(self) -> list[Packet]:
        """Return every packet captured."""
        return packets(self._path.read_bytes())


def datagrams(pcap: bytes) -> Iterator[Datagram]:
    """Read the UDP datagrams, in the order of their last fragment, out of a capture on Ethernet."""
    fragments: dict[bytes, dict[int, bytes]] = {}
    for packet in _frames(pcap):
        if (
            len(packet) >= 20
            and packet[0] >> 4 == 4
            and packet[9] == UDP
            and (whole := _whole(packet, fragments))
        ):
            yield Datagram(socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]), whole[8:])


def _frames(pcap: bytes) -> Iterator[bytes]:
    """Read what the Ethernet frames of a capture contain."""
    order = "<" if pcap[:4] == b"\xd4\xc3\xb2\xa1" else ">"
    position = 24
    while position + 16 <= len(pcap):
        (length,) = struct.unpack_from(order + "I", pcap, position + 8)
        yield pcap[position + 16 + ETHERNET : position + 16 + length]
        position += 16 + length


def packets(pcap: bytes) -> list[Packet]:
    """Read the packets of UDP and TCP out of a capture on Ethernet."""
    return [each for each in map(_packet, _frames(pcap)) if each is not None]


def _packet(packet: bytes) -> Packet | None:
    """Read a packet of IPv4 or IPv6 (without extension headers); None for what is not of interest."""
    if len(packet) >= 20 and packet[0] >> 4 == 4:
        protocol, hosts, start = packet[9], (packet[12:16], packet[16:20]), (packet[0] & 15) * 4
        later = struct.unpack_from(">H", packet, 6)[0] & 0x1FFF
        family, end = socket.AF_INET, struct.unpack_from(">H", packet, 2)[0]
    elif len(packet) >= 40 and packet[0] >> 4 == 6:
        protocol, hosts, start, later = packet[6], (packet[8:24], packet[24:40]), 40, 0
        family, end = socket.AF_INET6, 40 + struct.unpack_from(">H", packet, 4)[0]
    else:
        return None
    payload = packet[start:end]
    if later or protocol not in (TCP, UDP) or len(payload) < (20 if protocol == TCP else 8):
        return None
    source, destination = (socket.inet_ntop(family, host) for host in hosts)
    header = (payload[12] >> 4) * 4 if protocol == TCP else 8
    connects = protocol == TCP and payload[13] & (SYN | ACK) == SYN
    name = "TCP" if protocol == TCP else "UDP"
    ports = struct.unpack_from(">HH", payload)
    position = struct.unpack_from(">I", payload, 4)[0] if protocol == TCP else 0
    return Packet(name, source, destination, *ports, connects, payload[header:], position)


def streamed(packets: Iterable[Packet]) -> Iterator[Datagram]:
    """Read the messages out of the TCP streams among `packets`, stream by stream.

    RFC 3261 section 18.3: Content-Length says where a message ends. What was captured twice counts once.
    """
    streams: dict[tuple[str, int, str, int], dict[int, bytes]] = {}
    for each in packets:
        if each.protocol == "TCP" and each.data:
            ends = (each.source, each.source_port, each.destination, each.destination_port)
            streams.setdefault(ends, {})[each.position] = each.data
    for (source, _, destination, _), parts in streams.items():
        stream = b"".join(parts[position] for position in sorted(parts)).lstrip(b"\r\n")
        while SIP_LINE.match(stream):
            head, blank, _ = stream.partition(b"\r\n\r\n")
            length = re.search(rb"(?im)^(?:content-length|l)[ \t]*:[ \t]*(\d+)", head)
            end = len(head + blank) + (int(length[1]) if length else 0)
            yield Datagram(source, destination, stream[:end])
            stream = stream[end:].lstrip(b"\r\n")


def _whole(packet: bytes, fragments: dict[bytes, dict[int, bytes]]) -> bytes | None:
    """Return the payload of `packet` with the fragments before it, None while some are missing.

    RFC 791 section 3.2.
    """
    total, identification, flags = struct.unpack_from(">HHH", packet, 2)
    payload = packet[(packet[0] & 15) * 4 : total]
    more, offset = bool(flags & 0x2000), (flags & 0x1FFF) * 8
    if not more and not offset:
        return payload
    key = packet[12:20] + struct.pack(">H", identification)
    parts = fragments.setdefault(key, {})
    parts[offset] = payload
    joined = b"".join(parts[start] for start in sorted(parts))
    (length,) = struct.unpack_from(">H", joined, 4) if 0 in parts else (0,)
    if not length or len(joined) < length:
        return None
    del fragments[key]
    return joined


def leaks(message: bytes, network: str) -> list[str]:
    """Return the lines that show an address beginning with `network`, but for Via header fields.

    A Via tells the way of a message (RFC 3261 section 18.1.1) and its values below our own
    have to come back unchanged.
    """
    head, _, body = message.replace(b"\r\n", b"\n").partition(b"\n\n")
    lines = re.sub(rb"\n[ \t]+", b" ", head).split(b"\n")
    shown = [line for line in lines if not re.match(rb"(?i)(via|v)[ \t]*:", line)] + body.split(b"\n")
    return [line.decode(errors="replace") for line in shown if network.encode() in line]
