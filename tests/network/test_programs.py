# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from tests.network.programs import find, path_of, until


def test_until_returns_what_it_waited_for() -> None:
    """It polls until there is something, and no longer."""
    answers = iter([None, "", "there", "too late"])
    assert until(lambda: next(answers), 5, "something", pause=0) == "there"
    assert next(answers) == "too late"


def test_until_asks_once_even_when_there_is_no_time() -> None:
    """A deadline of nothing is no reason to overlook what is there already."""
    assert until(lambda: 1, 0, "something") == 1


def test_until_says_what_did_not_come() -> None:
    """The failure is a sentence."""
    with pytest.raises(AssertionError, match="not within 0 s: the phone rings"):
        until(lambda: False, 0, "the phone rings")


def test_a_missing_program_is_named() -> None:
    """It is found by name, or said to be missing."""
    assert find("no-such-program") is None
    with pytest.raises(AssertionError, match="no-such-program is not installed"):
        path_of("no-such-program")
