# SPDX-License-Identifier: MIT
"""What is wrong with a configuration file, and where.

A `Problem` is one line for a human; a `Report` collects those of one file. Their
texts hold nothing that a terminal or a log could not print, whatever the file holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Problem", "Report", "Severity", "printable", "quoted"]

Severity = Literal["error", "warning", "notice"]

LONGEST_QUOTE = 60


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong, or worth knowing, in a configuration file."""

    filename: str
    line: int
    """Counted from 1; 0 when it concerns the file as a whole."""
    severity: Severity
    """error: a value was not taken; warning: probably not what was meant; notice: worth knowing."""
    text: str
    """What is wrong, what is expected, what may have been meant."""
    about: str = ""
    """The key of the line as it stands there, empty when there is none."""

    def __str__(self) -> str:
        place = f"{printable(self.filename)}:{self.line}" if self.line else printable(self.filename)
        return f"{place}: {self.text}"


class Report:
    """The problems of one file, while it is read."""

    def __init__(self, filename: str) -> None:
        self.filename = filename
        self._problems: list[Problem] = []

    def error(self, line: int, text: str, about: str = "") -> None:
        """Say that something was not taken."""
        self.add(line, "error", text, about)

    def warning(self, line: int, text: str) -> None:
        """Say that something is probably not what was meant."""
        self.add(line, "warning", text)

    def notice(self, line: int, text: str) -> None:
        """Say something worth knowing."""
        self.add(line, "notice", text)

    def add(self, line: int, severity: Severity, text: str, about: str = "") -> None:
        """Say `text` about `line`, whose key is `about`."""
        self._problems.append(Problem(self.filename, line, severity, text, about))

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All of them, in the order of their lines."""
        return tuple(sorted(self._problems, key=lambda problem: problem.line))


def printable(text: str) -> str:
    """Return `text` with everything that does not print as an escape.

    A byte that is not UTF-8 arrives here as a lone surrogate (PEP 383) and is shown as
    the byte it is: printing it as it stands would raise.
    """
    return "".join(char if char.isprintable() else _escape(char) for char in text)


def quoted(text: str) -> str:
    """Return `text` in quotes, printable, and cut when it is long."""
    shown = text if len(text) <= LONGEST_QUOTE else text[:LONGEST_QUOTE] + "…"
    return f'"{printable(shown)}"'


def _escape(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:
        code -= 0xDC00
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
