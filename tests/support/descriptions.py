# SPDX-License-Identifier: MIT
"""What must be true of every session description that was edited for the relay."""

from __future__ import annotations

from siproxd_tw.edits import apply
from siproxd_tw.sdp import NetworkAddress, SessionDescription

HOLD = ("0.0.0.0", "::")
EDITED = {
    b"a=rtcp",
    b"a=candidate",
    b"a=remote-candidates",
    b"a=end-of-candidates",
    b"a=ice-ufrag",
    b"a=ice-pwd",
    b"a=ice-options",
    b"a=ice-lite",
    b"a=ice-mismatch",
    b"a=ice-pacing",
}
"""The attributes that a relay changes or removes."""


def relayed(description: SessionDescription, host: str, first_port: int = 7070) -> bytes:
    """Give each stream that can be relayed a port, and return the edited body."""
    ports = {m.index: first_port + 2 * m.index for m in description.media if m.is_relayable}
    return apply(description.body, description.relayed(host, ports))


def addresses(description: SessionDescription) -> list[NetworkAddress]:
    """Return every address of a c=, o= or a=rtcp line that is the relay's to move."""
    found = [description.origin, *description.connections]
    for media in description.media:
        if media.is_udp:
            found += media.connections
            found.append(media.rtcp.address if media.rtcp else None)
    return [address for address in found if address is not None]


def check_relayed(body: bytes, host: str) -> None:
    """Compare a description with its edited form: only what a relay may change has changed."""
    before = SessionDescription.parse(body)
    after = SessionDescription.parse(relayed(before, host))
    by_tcp_alone = [media for media in before.media if not media.connections]
    keeps_session_address = by_tcp_alone and not any(media.is_udp for media in by_tcp_alone)
    for address in addresses(after):
        kept = keeps_session_address and address in after.connections
        assert kept or address.text == host or address.host in HOLD
        assert kept or (":" in address.text) == (":" in host)
        assert kept or address.type.upper() == ("IP6" if ":" in host else "IP4") or address.host in HOLD
    assert after.ice == after.misplaced == ()
    assert len(after.media) == len(before.media)
    for old, new in zip(before.media, after.media, strict=True):
        assert (new.kind, new.proto, new.formats, new.direction) == (
            old.kind,
            old.proto,
            old.formats,
            old.direction,
        )
        assert new.rtcp_mux == old.rtcp_mux
        assert new.port == (7070 + 2 * old.index if old.is_relayable else old.port)
        if new.rtcp is not None and old.is_relayable:
            shared = old.rtcp is not None and old.rtcp.port == old.port
            assert new.rtcp.port == new.port + (0 if shared else 1)
        assert [c.is_hold for c in new.connections] == [c.is_hold for c in old.connections]
    assert untouched(after) == untouched(before)


def untouched(description: SessionDescription) -> list[bytes]:
    """Return the lines that no relay touches, line ends included."""
    lines = description.body.splitlines(keepends=True)
    return [line for line in lines if line[:2].lower() not in (b"c=", b"o=", b"m=") and not _is_edited(line)]


def _is_edited(line: bytes) -> bool:
    return line.rstrip().lower().partition(b":")[0] in EDITED
