# SPDX-License-Identifier: MIT
"""Datagrams that no proxy should see, and has to survive: always the same ones, in the same order."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.support.vectors import HERE, Vector, load

LARGEST = 65507
"""The longest payload of a UDP datagram over IPv4, bytes."""
CUTS = 8
CONTENT_LENGTH = re.compile(rb"(?im)^(?:content-length|l)[ \t]*:[^\r\n]*")
LIES = (b"1", b"100000", b"4294967296", b"99999999999999999999", b"-1", b"0x10", b"abc", b"", b"1, 2", b"1 1")


@dataclass(frozen=True, slots=True)
class Hostile:
    """One datagram and what is wrong with it."""

    what: str
    data: bytes
    never_sip: bool = False
    """Whether it is malformed beyond doubt: nobody may take it for a message."""


def messages() -> list[Vector]:
    """Return the messages of RFC 4475 that the others are made of."""
    return [each for each in load(HERE, "rfc4475") if each.kind.startswith("sip-")]


def hostile(seed: int = 4475) -> list[Hostile]:
    """Return all of them, some two thousand."""
    noise = random.Random(seed)
    return [*invalid(), *truncated(), *lying(), *random_bytes(noise), *damaged(noise), *huge(noise)]


def invalid() -> Iterator[Hostile]:
    """Messages that RFC 4475 section 3.1.2 calls invalid."""
    for vector in messages():
        if vector.expected == "invalid":
            yield Hostile(f"invalid {vector}", vector.data)


def truncated() -> Iterator[Hostile]:
    """Each message cut off at several places: in the first line, in the headers, in the body."""
    for vector in messages():
        first = vector.data.index(b"\n")
        blank = vector.data.find(b"\r\n\r\n")
        places = {1, 16, first // 2, first, first + 1, blank, blank + 2, len(vector.data) - 1}
        places |= {len(vector.data) * part // (CUTS + 1) for part in range(1, CUTS + 1)}
        for place in sorted(places):
            yield Hostile(f"{vector} cut at {place}", vector.data[:place], never_sip=16 <= place < first)


def lying() -> Iterator[Hostile]:
    """Each valid message with a Content-Length that is not the length of its body."""
    for vector in messages():
        if vector.expected == "valid" and CONTENT_LENGTH.search(vector.data):
            for lie in LIES:
                line = b"Content-Length: " + lie
                yield Hostile(f"{vector} says {lie!r}", CONTENT_LENGTH.sub(line, vector.data))
            twice = b"Content-Length: 5\r\nContent-Length: 7"
            yield Hostile(f"{vector} says two lengths", CONTENT_LENGTH.sub(twice, vector.data))


def random_bytes(noise: random.Random) -> Iterator[Hostile]:
    """Bytes without meaning, also behind a beginning that promises a message."""
    for number in range(200):
        length = noise.choice((0, 1, 4, 15, 16, 17, 100, 500, 1400))
        # The first byte is one that no token begins with.
        data = b"\xff" + noise.randbytes(length - 1) if length else b""
        yield Hostile(f"noise {number}", data, never_sip=length >= 16)
    for number in range(100):
        start = noise.choice((b"INVITE sip:a@b SIP/2.0\r\n", b"SIP/2.0 200 OK\r\n", b"INVITE ", b"\r\n\r\n"))
        yield Hostile(f"noise {number} with a beginning", start + noise.randbytes(noise.randrange(1, 800)))


def damaged(noise: random.Random) -> Iterator[Hostile]:
    """Real messages with a few bytes changed, removed or doubled."""
    originals = messages()
    for number in range(500):
        vector = noise.choice(originals)
        data = bytearray(vector.data)
        for _ in range(noise.randrange(1, 6)):
            place = noise.randrange(len(data))
            match noise.randrange(3):
                case 0:
                    data[place] = noise.randrange(256)
                case 1:
                    del data[place : place + noise.randrange(1, 20)]
                case _:
                    data[place:place] = data[place : place + noise.randrange(1, 200)]
        yield Hostile(f"{vector} damaged ({number})", bytes(data[:LARGEST]))


def huge(noise: random.Random) -> Iterator[Hostile]:
    """Datagrams as long as they can be, each a burden for another part of a parser."""
    head = (
        b"INVITE sip:nobody@example.test SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKhuge\r\n"
        b"From: <sip:huge@example.test>;tag=1\r\nTo: <sip:nobody@example.test>\r\n"
        b"Call-ID: huge\r\nCSeq: 1 INVITE\r\nMax-Forwards: 0\r\n"
    )
    burdens = {
        "one letter": b"A" * LARGEST,
        "noise": b"\xff" + noise.randbytes(LARGEST - 1),
        "line ends": b"\r\n" * LARGEST,
        "blanks": b" " * LARGEST,
        "a method": b"A" * (LARGEST - 20) + b" sip:a@b SIP/2.0\r\n\r\n",
        "a Request-URI": b"INVITE sip:" + b"a" * (LARGEST - 40) + b"@b SIP/2.0\r\n\r\n",
        "Request-URI parameters": b"INVITE sip:b" + b";a" * 32000 + b" SIP/2.0\r\n\r\n",
        "a header": head + b"Subject: " + b"a" * 60000 + b"\r\n\r\n",
        "a folded header": head + b"Subject:" + b"\r\n a" * 15000 + b"\r\n\r\n",
        "headers": head + b"A:b\r\n" * 12000 + b"\r\n",
        "Via headers": head + b"v: SIP/2.0/UDP a\r\n" * 3300 + b"\r\n",
        "Via in one header": head + b"Via: " + b"SIP/2.0/UDP a," * 4200 + b"SIP/2.0/UDP a\r\n\r\n",
        "Routes": head + b"Route: " + b"<sip:a;lr>," * 5400 + b"<sip:a;lr>\r\n\r\n",
        "Contacts": head + b"Contact: " + b"<sip:a>," * 7500 + b"<sip:a>\r\n\r\n",
        "comments": head + b"Server: " + b"(" * 60000 + b"\r\n\r\n",
        "quotes": head + b"Contact: " + b'"' * 60000 + b"\r\n\r\n",
        "backslashes": head + b'Contact: "' + b"\\" * 60000 + b"\r\n\r\n",
        "angles": head + b"Contact: " + b"<" * 60000 + b"\r\n\r\n",
        "brackets": head + b"Route: <sip:" + b"[" * 60000 + b">\r\n\r\n",
        "percents": b"INVITE sip:" + b"%41" * 20000 + b"@b SIP/2.0\r\n\r\n",
        "a number": head.replace(b"CSeq: 1", b"CSeq: " + b"1" * 60000) + b"\r\n",
        "a length": head + b"Content-Length: " + b"9" * 60000 + b"\r\n\r\n",
        "a body": head + b"Content-Type: application/sdp\r\n\r\nv=0\r\n" + b"m=audio 1 RTP/AVP 0\r\n" * 2900,
        "no end of headers": head + b"A:b\r\n" * 12800,
    }
    for what, data in burdens.items():
        yield Hostile(f"64 kB: {what}", data[:LARGEST])
