# SPDX-License-Identifier: MIT
"""The layout of the project is a rule only because it is checked here."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

from tests.support.vectors import TESTS_OF_CAPTURED

ROOT = Path(__file__).resolve().parent.parent
SOURCES = sorted(
    path.relative_to(ROOT / "siproxd_tw")
    for path in (ROOT / "siproxd_tw").rglob("*.py")
    if path.name != "__init__.py"
)


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_every_source_file_has_its_test_file(source: Path) -> None:
    """What is not tested by a file of its own is found by nobody."""
    test = ROOT / "tests" / source.parent / f"test_{source.name}"
    assert test.exists(), f"siproxd_tw/{source} needs {test.relative_to(ROOT)}"


@pytest.mark.parametrize("folder", ["twisted", "twisted/plugins"])
def test_twisted_stays_a_folder(folder: str) -> None:
    """An __init__.py in twisted/ hides Twisted itself, one in twisted/plugins/ hides the plugin."""
    assert not (ROOT / folder / "__init__.py").exists()


def test_the_plugin_is_all_that_is_in_twisted() -> None:
    """Nothing else may be installed into Twisted's own folders."""
    assert [path.name for path in (ROOT / "twisted").rglob("*.py")] == ["siproxd_plugin.py"]


def test_every_package_is_listed() -> None:
    """The package list is written by hand, so that `twisted` can never be in it."""
    text = (ROOT / "pyproject.toml").read_text()
    for package in (ROOT / "siproxd_tw").rglob("__init__.py"):
        name = ".".join(package.parent.relative_to(ROOT).parts)
        assert f'"{name}",' in text


def test_a_fresh_clone_has_no_test_that_needs_captured_messages() -> None:
    """Whatever test reads from beside the checkout is left out where nothing is there."""
    tests = [path for path in (ROOT / "tests").rglob("test_*.py") if path != Path(__file__).resolve()]
    needing = {path for path in tests if "CAPTURED" in path.read_text() or "captured(" in path.read_text()}
    assert needing == {path for path in tests if fnmatch(path, ROOT / "tests" / TESTS_OF_CAPTURED)}


@pytest.mark.parametrize("source", SOURCES, ids=str)
def test_files_are_short_enough_to_have_one_subject(source: Path) -> None:
    """Over some 450 lines a file has a second subject that wants a name."""
    lines = (ROOT / "siproxd_tw" / source).read_text().count("\n")
    assert lines <= 460, f"siproxd_tw/{source} has {lines} lines"
