# SPDX-License-Identifier: MIT
"""The effective configuration, printed in the syntax of siproxd.conf.

Each directive stands there with its value and where that came from. What is printed means the
same configuration when it is read again, but for secrets, which are not shown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from siproxd_tw.config.directives import SECTIONS
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.schema import Directive
from siproxd_tw.config.settings import Config
from siproxd_tw.config.translation import values_from
from siproxd_tw.config.values import Single, Value, default_of, text_of

__all__ = ["effective"]

COLUMN = 48  # where the origins stand, when nothing is longer


def effective(config: Config, origins: Mapping[str, tuple[str, ...]] | None = None) -> str:
    """Return `config` as text.

    `origins` names the place of each value of a directive that is not a default. A path in it that
    is not UTF-8 is kept as Python keeps it: write the text with ``errors="surrogateescape"``.
    """
    values = values_from(config)
    lines: list[str] = []
    for section, directives in SECTIONS.items():
        lines += ("", f"# {section}")
        for directive in directives:
            if not directive.ignored:
                places = (origins or {}).get(directive.name, ())
                lines += _lines(directive, values[directive.name], places)
    return "\n".join(lines[1:]) + "\n"


def _lines(directive: Directive, value: Value, places: tuple[str, ...]) -> Iterator[str]:
    values: tuple[Single, ...] = value if isinstance(value, tuple) else (value,)
    for at, single in enumerate(values):
        origin = places[at] if at < len(places) else _unplaced(directive, value)
        yield _line(directive, single, origin)
    if not values:
        yield _commented(directive, "none")


def _unplaced(directive: Directive, value: Value) -> str:
    return "default" if value == default_of(directive) else "not from a file"


def _line(directive: Directive, value: Single, origin: str) -> str:
    text = text_of(directive, value)
    if directive.secret and text:
        return _commented(directive, f"{origin}, not shown because it is secret")
    if isinstance(value, AccessList) and value.incomplete:
        origin += ", entries that are wrong left out"
        if not text:
            return _commented(directive, f"{origin}: matches nobody")
    if not text:
        return _commented(directive, "not set" if origin == "default" else origin)
    return f"{directive.name} = {text}".ljust(COLUMN) + f" # {origin}"


def _commented(directive: Directive, remark: str) -> str:
    return f"#{directive.name} =".ljust(COLUMN) + f" # {remark}"
