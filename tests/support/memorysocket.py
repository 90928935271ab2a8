# SPDX-License-Identifier: MIT
"""What `getHandle` of a socket in memory returns."""

from __future__ import annotations

from typing import Any


class MemorySocket:
    """Remembers the options that were set."""

    def __init__(self) -> None:
        self.options: dict[tuple[int, int], Any] = {}

    def setsockopt(self, level: int, option: int, value: Any) -> None:
        """Remember one option."""
        self.options[level, option] = value

    def getsockopt(self, level: int, option: int) -> Any:
        """Return what was set, or 0."""
        return self.options.get((level, option), 0)
