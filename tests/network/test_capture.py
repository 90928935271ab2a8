# SPDX-License-Identifier: MIT
from __future__ import annotations

import socket
import struct

from tests.network.capture import SIP_LINE, Datagram, Packet, datagrams, leaks, packets, streamed

INVITE = (
    b"INVITE sip:bob@example.test SIP/2.0\r\n"
    b"Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK2\r\n"
    b"v: SIP/2.0/UDP 192.168.44.11:5060\r\n"
    b"\t;branch=z9hG4bK1;received=192.168.44.11\r\n"
    b"Contact: <sip:alice@203.0.113.1>\r\n"
    b"Content-Type: application/sdp\r\n"
    b"\r\n"
    b"v=0\r\n"
    b"c=IN IP4 203.0.113.1\r\n"
)


def test_an_inside_address_in_via_is_no_leak() -> None:
    """Via, also abbreviated and folded, is left out."""
    assert leaks(INVITE, "192.168.44.") == []


def test_an_inside_address_in_another_header_is_a_leak() -> None:
    """The line is named, folded or not."""
    message = INVITE.replace(b"<sip:alice@203.0.113.1>", b"\r\n <sip:alice@192.168.44.11>")
    assert leaks(message, "192.168.44.") == ["Contact:  <sip:alice@192.168.44.11>"]


def test_an_inside_address_in_a_session_description_is_a_leak() -> None:
    """A body line that begins with v is not a Via."""
    message = INVITE.replace(b"c=IN IP4 203.0.113.1", b"c=IN IP4 192.168.44.11\r\nv:192.168.44.1")
    assert leaks(message, "192.168.44.") == ["c=IN IP4 192.168.44.11", "v:192.168.44.1"]


def test_an_inside_address_in_the_request_line_is_a_leak() -> None:
    """The first line counts like a header."""
    assert leaks(INVITE.replace(b"example.test", b"192.168.44.9"), "192.168.44.")


def test_a_datagram_is_read_with_its_addresses() -> None:
    """Whatever else is in the capture is passed over."""
    pcap = HEADER + frame(b"\x08\x06" + bytes(40)) + frame(packet(udp(INVITE)))
    assert list(datagrams(pcap)) == [Datagram("203.0.113.1", "203.0.113.10", INVITE)]
    assert SIP_LINE.match(INVITE)


def test_fragments_are_put_together_in_any_order() -> None:
    """A datagram longer than the link's frames is read when its last fragment has come."""
    data = udp(bytes(range(256)) * 10)
    first, second = packet(data[:1480], flags=0x2000), packet(data[1480:], flags=1480 // 8)
    for order in ([first, second], [second, first]):
        pcap = HEADER + b"".join(map(frame, order))
        assert [each.data for each in datagrams(pcap)] == [data[8:]]


def test_a_capture_that_is_still_written_ends_at_its_last_whole_frame() -> None:
    """Half a frame is no error."""
    pcap = HEADER + frame(packet(udp(INVITE))) + frame(packet(udp(INVITE)))[:30]
    assert len(list(datagrams(pcap))) == 1


def test_messages_are_found_in_streams() -> None:
    """However they were cut into segments, in whatever order those came, and with one of them twice."""
    sized = INVITE.replace(b"\r\n\r\n", b"\r\nContent-Length: 27\r\n\r\n")
    stream = sized + b"\r\n\r\n" + sized
    parts = [
        tcp(1000, stream[:50]),
        tcp(1500, stream[500:]),
        tcp(1050, stream[50:500]),
        tcp(1500, stream[500:]),
    ]
    pcap = HEADER + b"".join(frame(packet(each, protocol=6)) for each in parts)
    assert list(streamed(packets(pcap))) == [Datagram("203.0.113.1", "203.0.113.10", sized)] * 2


def test_packets_of_both_families_are_read() -> None:
    """Protocol, ends, and whether a connection begins."""
    addresses = socket.inet_pton(socket.AF_INET6, "2001:db8::1") + socket.inet_pton(
        socket.AF_INET6, "fd00::2"
    )
    segment = tcp(7, b"", flags=2)
    six = b"\x86\xdd" + struct.pack(">IHBB", 6 << 28, len(segment), 6, 64) + addresses + segment
    pcap = HEADER + frame(packet(udp(b"x"))) + frame(six)
    assert packets(pcap) == [
        Packet("UDP", "203.0.113.1", "203.0.113.10", 5060, 5060, False, b"x"),
        Packet("TCP", "2001:db8::1", "fd00::2", 5060, 5060, True, b"", 7),
    ]


HEADER = struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 262144, 1)


def udp(data: bytes) -> bytes:
    return struct.pack(">HHHH", 5060, 5060, 8 + len(data), 0) + data


def tcp(position: int, data: bytes, flags: int = 16) -> bytes:
    return struct.pack(">HHIIBBHHH", 5060, 5060, position, 0, 5 << 4, flags, 1000, 0, 0) + data


def packet(payload: bytes, flags: int = 0, protocol: int = 17) -> bytes:
    addresses = socket.inet_aton("203.0.113.1") + socket.inet_aton("203.0.113.10")
    return (
        b"\x08\x00"
        + struct.pack(">BBHHHBBH", 0x45, 0, 20 + len(payload), 7, flags, 64, protocol, 0)
        + addresses
        + payload
    )


def frame(typed: bytes) -> bytes:
    return struct.pack("<IIII", 0, 0, 12 + len(typed), 12 + len(typed)) + bytes(12) + typed
