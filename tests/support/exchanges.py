# SPDX-License-Identifier: MIT
"""Offers and answers as short words: who speaks, from which side, and what is said."""

from __future__ import annotations

from dataclasses import dataclass

from siproxd_tw.interfaces import Exchange, Side


@dataclass(frozen=True)
class Speaker:
    """A party of a call: its tag, where it is, and the address in its session descriptions."""

    tag: bytes
    side: Side
    host: str
    met: str = ""
    """The IP address at which signalling meets it, if that is known."""

    def at(self, port: int, *attributes: str, host: str = "") -> bytes:
        """Return a description with one audio stream on `port`."""
        return self.says(f"audio {port} RTP/AVP 0 8", *attributes, host=host)

    def says(self, *lines: str, host: str = "") -> bytes:
        """Return a description; a line without a type is an m= line, or an attribute if it has no blank."""
        origin, connection = (f"IN IP{6 if ':' in at else 4} {at}" for at in (self.host, host or self.host))
        body = ["v=0", f"o=- 1 1 {origin}", "s=-", f"c={connection}", "t=0 0"]
        for line in lines:
            kind = "" if line[1:2] == "=" else "m=" if " " in line else "a="
            body.append(kind + line)
        return "".join(line + "\r\n" for line in body).encode()


ALICE = Speaker(b"a", Side.INSIDE, "10.0.0.10")
CAROL = Speaker(b"c", Side.INSIDE, "10.0.0.11")
BOB = Speaker(b"b", Side.OUTSIDE, "203.0.113.60")
DORA = Speaker(b"d", Side.OUTSIDE, "203.0.113.61")


def exchange(
    one: Speaker,
    other: Speaker | Side,
    transaction: str = "t1",
    call_id: str = "call@10.0.0.10",
    met: str = "",
) -> Exchange:
    """Return what `one` tells `other`; a side alone stands for somebody whose tag is not known yet.

    `met` is where signalling meets that somebody.
    """
    if isinstance(other, Side):
        other = Speaker(b"", other, "", met)
    return Exchange(
        call_id.encode(),
        one.tag,
        other.tag,
        one.side,
        other.side,
        transaction.encode(),
        one.met,
        other.met,
    )
