# SPDX-License-Identifier: MIT
"""The grammar of siproxd.conf: lines of ``KEY = VALUE``, and its whole numbers.

- The first ``#`` of a line starts a comment; no quoting keeps it, and quotes are ordinary characters.
- The key is the text left of the first ``=``, the value the text right of it; blanks and tabs around
  both do not count. siproxd takes a keyword that occurs anywhere in the line, value included, so that
  ``registration_file = /home/user/regs`` is about `user` there; here a key is exactly a key.
- Lines end in LF or CRLF and may have any length. A byte order mark is skipped. Bytes that are not
  UTF-8 survive as lone surrogates (PEP 383), as Python keeps them in file names.

Nothing in a file raises: what is not understood becomes a problem with its line.
"""

from __future__ import annotations

import re
from typing import NamedTuple

from siproxd_tw.config.problems import Report, quoted

__all__ = ["BLANKS", "Integer", "Line", "integer", "parse"]

BLANKS = " \t"

_UTF16_MARKS = (b"\xff\xfe", b"\xfe\xff")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
_NUMBER = re.compile(
    r"(?P<sign>[+-]?)(?:0[xX](?P<hex>[0-9a-fA-F]+)|(?P<octal>0[0-7]*)|(?P<decimal>[1-9][0-9]*))(?P<rest>.*)",
    re.DOTALL,
)
#: More digits than any number that a directive takes has, in any base; int() refuses only 4301 of them.
_MOST_DIGITS = 20


class Line(NamedTuple):
    """One line that sets something."""

    number: int
    """Counted from 1."""
    key: str
    value: str
    """Never empty."""
    raw: str
    """The whole line, without its line end."""


class Integer(NamedTuple):
    """A whole number as C's ``%i`` reads it."""

    value: int
    rest: str
    """What stands behind it; siproxd does not look at that."""
    octal: bool
    """Whether a leading 0 made it another number than it looks."""


def parse(text: bytes | str, report: Report) -> list[Line]:
    """Return the lines of a file that set something; tell `report` of the others that are no comments."""
    if isinstance(text, bytes):
        if text.startswith(_UTF16_MARKS):
            report.error(0, "the file is in UTF-16, expected UTF-8: save it again in that encoding")
            return []
        text = text.decode("utf-8", "surrogateescape")
    lines = []
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = _line(number, raw.rstrip("\r"), report)
        if line is not None:
            lines.append(line)
    return lines


def _line(number: int, raw: str, report: Report) -> Line | None:
    content = raw.partition("#")[0].strip(BLANKS)
    if not content:
        return None
    control = _CONTROL.search(content)
    if control:
        text = f"control character {quoted(control[0])} in the line, which is ignored"
        report.error(number, text, _first_word(content.partition("=")[0].strip(BLANKS)))
        return None
    key, equals, value = (part.strip(BLANKS) for part in content.partition("="))
    if not equals:
        word = _first_word(key)
        report.error(number, f"no = after {quoted(word)}, expected KEY = VALUE", word)
    elif not key:
        report.error(number, "nothing before the =, expected KEY = VALUE")
    elif not value:
        report.warning(number, f"{quoted(key)} has no value: the line is ignored")
    else:
        return Line(number, key, value, raw)
    return None


def _first_word(text: str) -> str:
    """Return what may be shown of a line that is wrong: a password may stand in the rest."""
    return text.replace("\t", " ").partition(" ")[0]


def integer(text: str) -> Integer:
    """Read the whole number that `text` starts with: decimal, hexadecimal (0x) or octal (0).

    Raises ValueError, whose text completes the sentence "VALUE ...", when there is none.
    """
    match = _NUMBER.fullmatch(text)
    if not match:
        raise ValueError("is not a number")
    rest = match["rest"].strip(BLANKS)
    base = 16 if match["hex"] else 8 if match["octal"] else 10
    if base == 8 and match["rest"][:1] in set("xX89"):
        raise ValueError("is not a number: a leading 0 makes it octal, 0x hexadecimal")
    digits = (match["hex"] or match["octal"] or match["decimal"]).lstrip("0") or "0"
    if len(digits) > _MOST_DIGITS:
        raise ValueError("is too large a number")
    sign = -1 if match["sign"] == "-" else 1
    return Integer(sign * int(digits, base), rest, octal=base == 8 and len(digits) > 1)
