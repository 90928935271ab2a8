# SPDX-License-Identifier: MIT
"""Where the message vectors lie: the RFC ones in tests/vectors, the captured ones beside the checkout."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "vectors"
CAPTURED = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"
PROTOS = "protos-c07-sip"
"""The test material c07-sip of the University of Oulu: the name of an archive and of the folder in it."""
TESTS_OF_CAPTURED = "*_captured.py"
"""The tests that need that folder, as pytest matches paths: the asterisk goes over folders."""


@dataclass(frozen=True)
class Vector:
    """One message and what is known about it."""

    name: str
    kind: str
    expected: str
    proxy_expect: str
    data: bytes

    def __str__(self) -> str:
        return self.name


def load(root: Path, corpus: str) -> list[Vector]:
    """Read the vectors of `corpus` below `root`, by its manifest or the manifest of all."""
    own = root / corpus / "MANIFEST.json"
    listing = own if own.exists() else root / "MANIFEST.json"
    return _read(root, listing, lambda entry: entry["corpus"] == corpus)


def captured(kind: str = "sip-") -> list[Vector]:
    """Read every vector beside the checkout whose kind starts with `kind`."""
    return _read(CAPTURED, CAPTURED / "MANIFEST.json", lambda entry: entry["kind"].startswith(kind))


def protos() -> Iterator[tuple[str, list[bytes]]]:
    """Yield the name and the messages, an INVITE and what ends it, of each PROTOS test case; see `filled`."""
    with tarfile.open(CAPTURED / f"{PROTOS}-public.tar.xz") as archive:
        for member in archive:
            file = archive.extractfile(member) if member.name.startswith(f"{PROTOS}/") else None
            if file is not None:
                yield member.name.partition("/")[2], list(_packets(file.read()))


def _packets(data: bytes) -> Iterator[bytes]:
    """Split a test case: before each message stands its length."""
    while data:
        length, _, rest = data.partition(b" ")
        yield rest[: int(length)]
        data = rest[int(length) :]


def filled(template: bytes, number: int, **values: str) -> bytes:
    """Put values for the ``<Tag>``s of a PROTOS message; a keyword's underscore is their hyphen.

    `number` makes the call another one than those before.
    """
    values = {"Call_ID": f"c{number}", "CSeq": str(number + 1), "Branch_ID": f"b{number}", **values}
    for tag, value in values.items():
        template = template.replace(b"<%s>" % tag.replace("_", "-").encode(), value.encode())
    length = len(template.partition(b"\r\n\r\n")[2])
    return template.replace(b"<Content-Length>", b"%d" % length)


def _read(root: Path, listing: Path, wanted: Callable[[dict[str, str]], bool]) -> list[Vector]:
    entries = [entry for entry in json.loads(listing.read_text())["entries"] if wanted(entry)]
    return [
        Vector(
            e["file"], e["kind"], e["expected"], e.get("proxy_expect", ""), (root / e["file"]).read_bytes()
        )
        for e in entries
    ]
