# SPDX-License-Identifier: MIT
"""The map from the RFCs to the code: complete, and what it names is there and says why it is."""

import importlib
import inspect
import re
import runpy
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

DOCS = Path(__file__).parents[2] / "docs"
TABLE = runpy.run_path(str(DOCS / "rfc_map.py"))
RFCS = TABLE["RFCS"]
ROWS = [pytest.param(rfc, row, id=f"{rfc.number} {row.section}") for rfc in RFCS for row in rfc.rows]
NAMED = [
    pytest.param(rfc, row, id=f"{rfc.number} {row.section}") for rfc in RFCS for row in rfc.rows if row.names
]

#: The tables of contents, typed from the RFCs and not from the map; "+n" has n numbered steps. Without
#: introductions, terminology, IANA considerations, acknowledgements and references.
CONTENTS = {
    3261: """16 16.1 16.2 16.3+6 16.4 16.5 16.6+11 16.7+10 16.8 16.9 16.10 16.11 16.12 16.12.1 16.12.1.1
        16.12.1.2 16.12.1.3
        17 17.1 17.1.1 17.1.1.1 17.1.1.2 17.1.1.3 17.1.2 17.1.2.1 17.1.2.2 17.1.3 17.1.4
        17.2 17.2.1 17.2.2 17.2.3 17.2.4 18 18.1 18.1.1 18.1.2 18.2 18.2.1 18.2.2 18.3 18.4""",
    3263: "4 4.1 4.2 4.3 4.4 5 6 7 8",
    3264: """4 5 5.1 5.2 6 6.1 6.2 7 8 8.1 8.2 8.3 8.3.1 8.3.2 8.3.3 8.3.4 8.4 9 10 10.1 10.2 11""",
    3581: "3 4 5 6 7",
    5393: """3 4 4.1 4.2 4.2.1 4.2.2 4.2.3 4.2.4 5 5.1 5.2 5.3 5.3.1 5.3.2 5.3.3 5.3.3.1 5.3.4 5.3.5
        5.4 5.4.1 5.4.2 5.4.3 5.5 5.6 5.7 5.8 7""",
    5626: """3 3.1 3.2 3.3 3.4 3.5 3.5.1 3.5.2 4 4.1 4.2 4.2.1 4.2.2 4.2.3 4.3 4.4 4.4.1 4.4.2 4.5
        5 5.1 5.2 5.3 5.3.1 5.3.2 5.4 6 7 8 8.1 9 10 12 13 14""",
    5923: "3 4 5 6 7 8 8.1 8.2 8.3 9 9.1 9.2 9.3 10",
    6026: "3 4 5 6 7 7.1 7.2 7.3 8 10",
}

_NUMBER = r"\d+(?:\.\d+)*"
_STEP = r"\d+(?!\d|\.\d)"
_STEPS = rf"(?:[ ,a-z]{{0,8}} steps? {_STEP}(?:(?:, | and | to ){_STEP})*)?"
_LIST = rf"{_NUMBER}{_STEPS}(?:(?:, | and |, and ){_NUMBER}{_STEPS})*"
_OF_AN_RFC = re.compile(rf"RFC (\d+) (?:sections? )?({_LIST})")
_OF_RFC_3261 = re.compile(rf"(?<![\d.])(1[678](?:\.\d+)+{_STEPS}|(?<=section )1[678]\b)")
_ITEM = re.compile(rf"({_NUMBER})({_STEPS})")


def sections(contents: str) -> Iterator[str]:
    """Go through the sections and steps of a table of contents."""
    for entry in contents.split():
        section, _, steps = entry.partition("+")
        yield section
        yield from (f"{section} step {number}" for number in range(1, int(steps or 0) + 1))


def citations(source: str) -> set[tuple[int, str]]:
    """Return the sections and steps that a source cites, the way this project does."""
    text = re.sub(r"\s*\n\s*(?:#:?\s*)?", " ", source)
    found = [(int(number), part) for number, part in _OF_AN_RFC.findall(text)]
    found += [(3261, part) for part in _OF_RFC_3261.findall(text)]
    return {(number, each) for number, part in found for each in _cited(part)}


def _cited(part: str) -> Iterator[str]:
    for section, steps in _ITEM.findall(part):
        yield section
        numbers = steps.rpartition("step")[2].strip("s ")
        first, _, last = numbers.partition(" to ")
        chosen = range(int(first), int(last) + 1) if last else map(int, re.findall(r"\d+", numbers))
        yield from (f"{section} step {number}" for number in chosen)


def found(name: str) -> tuple[ModuleType, Any]:
    """Return the module and the object that a dotted name of the map means."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            module = importlib.import_module("siproxd_tw." + ".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        thing: Any = module
        for part in parts[length:]:
            thing = inspect.getattr_static(thing, part)
        return module, thing
    raise LookupError(name)


@pytest.mark.parametrize("rfc", RFCS, ids=[str(rfc.number) for rfc in RFCS])
def test_each_section_has_one_row(rfc: Any) -> None:
    """In the order of the RFC, none missing and none twice."""
    assert [row.section for row in rfc.rows] == list(sections(CONTENTS[rfc.number]))


def test_each_rfc_is_there() -> None:
    """Once."""
    assert [rfc.number for rfc in RFCS] == list(CONTENTS)


@pytest.mark.parametrize(("rfc", "row"), ROWS)
def test_a_row_says_something(rfc: Any, row: Any) -> None:
    """Where it is done, or why it is not."""
    assert row.title
    assert row.names or row.note
    assert "|" not in row.title + row.note


@pytest.mark.parametrize(("rfc", "row"), NAMED)
def test_what_is_named_exists_and_cites_its_section(rfc: Any, row: Any) -> None:
    """In its own source or that of its module, and it is defined there and not imported."""
    for name in row.names:
        module, thing = found(name)
        assert getattr(thing, "__module__", module.__name__) == module.__name__, name
        cited = citations(inspect.getsource(module))
        assert (rfc.number, row.section) in cited, f"{module.__name__} does not cite {row.section} for {name}"


def test_citations_are_read_as_they_are_written() -> None:
    """Alone, in lists, with steps, over line ends; a longer number is another section."""
    assert citations("(16.6 step 8)") == {(3261, "16.6"), (3261, "16.6 step 8")}
    assert (3261, "16.7 step 7") in citations("(16.7 steps 5 to 8)")
    assert (3261, "16.3 step 3") in citations("section 16.3 says, steps 2, 3 and 5.")
    assert citations("sections 16.4, 16.5") == {(3261, "16.4"), (3261, "16.5")}
    assert citations("RFC 3263\n    section 4.3") == {(3263, "4.3")}
    assert citations("RFC 3263 sections 4.1 and 4.2") == {(3263, "4.1"), (3263, "4.2")}
    assert citations("RFC 5626 section 4.4.1") == {(5626, "4.4.1")}
    assert (3261, "18.3") in citations("#: RFC 3261 sections 7.5\n#: and 18.3")
    assert (3261, "16") in citations("RFC 3261 section 16")
    assert not citations("16.7 s, version 3.18.2 or 1.16.4 and 16 branches") - {(3261, "16.7")}
