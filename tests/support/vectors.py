# SPDX-License-Identifier: MIT
"""Where the message vectors lie: the RFC ones in tests/vectors, the captured ones beside the checkout."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent.parent / "vectors"
CAPTURED = Path(__file__).resolve().parents[2].parent / "shared" / "vectors"
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


def _read(root: Path, listing: Path, wanted: Callable[[dict[str, str]], bool]) -> list[Vector]:
    entries = [entry for entry in json.loads(listing.read_text())["entries"] if wanted(entry)]
    return [
        Vector(
            e["file"], e["kind"], e["expected"], e.get("proxy_expect", ""), (root / e["file"]).read_bytes()
        )
        for e in entries
    ]
