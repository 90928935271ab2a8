# SPDX-License-Identifier: MIT
"""The pages that come from the program's tables are up to date."""

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest

from siproxd_tw.config.directives import ALIASES, DIRECTIVES, LATER

DOCS = Path(__file__).parents[2] / "docs"
GENERATE = runpy.run_path(str(DOCS / "generate.py"))
PAGES: dict[str, Callable[[], str]] = GENERATE["PAGES"]
MACHINES = GENERATE["MACHINES"]


@pytest.mark.parametrize("name", PAGES)
def test_a_generated_page_is_up_to_date(name: str) -> None:
    """`make docs` writes it."""
    assert (DOCS / name).read_text(encoding="utf-8") == PAGES[name](), f"docs/{name} is old: make docs"


def test_every_transition_is_drawn() -> None:
    """The arrows have as many lines as the tables have rows, and every timer its letter."""
    page = PAGES["transactions.md"]()
    drawn = [part.count(" --> ") - 1 + part.count("<br/>") for part in page.split("```mermaid")[1:]]
    assert drawn == [len(machine.transitions) for machine in MACHINES]
    assert re.search(r"timer (?![A-M]\b)", page.partition("## ")[2]) is None


def test_every_directive_is_described() -> None:
    """With its meaning, its default, and whether it is there."""
    page = PAGES["configuration.md"]()
    for name, directive in DIRECTIVES.items():
        section = page.partition(f"#### `{name}`\n")[2].partition("\n#")[0]
        assert directive.meaning in section
        assert directive.compatibility in section
        assert (
            directive.repeated
            or (f"default {directive.default}" if directive.default else "not set") in section
        )
        assert ("**Not there yet:**" in section) == (name in LATER)
    assert all(f"| `{alias}` | `{name}` |" in page for alias, name in ALIASES.items())
