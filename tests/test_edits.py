# SPDX-License-Identifier: MIT
"""Edits: carried out in order, refused when they overlap, and composed without a difference."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import Edit, apply, compose


@st.composite
def edits_of(draw: st.DrawFn, data: bytes) -> list[Edit]:
    """Draw up to five edits of `data`: in order, not overlapping, insertions and removals among them."""
    cuts = sorted(draw(st.lists(st.integers(0, len(data)), max_size=10)))
    pairs = zip(cuts[::2], cuts[1::2], strict=False)
    return [Edit(a, b, draw(st.binary(max_size=4)), draw(st.sampled_from("pqr"))) for a, b in pairs]


@st.composite
def histories(draw: st.DrawFn) -> tuple[bytes, list[list[Edit]], bytes]:
    """Draw some bytes, some lists of edits one after the other, and what they make of the bytes."""
    original = data = draw(st.binary(max_size=12))
    history = []
    for _ in range(draw(st.integers(0, 4))):
        history.append(draw(edits_of(data)))
        data = apply(data, history[-1])
    return original, history, data


def test_edits_are_carried_out_in_the_positions_of_the_original() -> None:
    """Neither a longer nor a shorter replacement moves the edits behind it."""
    edits = [Edit(0, 1, b"AAA", "first"), Edit(2, 4, b"", "second"), Edit(5, 5, b"-", "third")]
    assert apply(b"abcdef", edits) == b"AAAbe-f"


def test_no_edits_give_the_original() -> None:
    """Nothing to do is nothing done."""
    assert apply(b"abc", []) == b"abc"


@pytest.mark.parametrize(
    "edits",
    [
        [Edit(0, 3, b"", ""), Edit(2, 4, b"", "")],
        [Edit(3, 4, b"", ""), Edit(0, 1, b"", "")],
        [Edit(4, 7, b"", "")],
        [Edit(-1, 1, b"", "")],
        [Edit(3, 2, b"", "")],
    ],
    ids=["overlapping", "out of order", "beyond the end", "before the start", "backwards"],
)
def test_edits_that_cannot_be_carried_out_are_refused(edits: list[Edit]) -> None:
    """A mistake of the caller does not silently give other bytes."""
    with pytest.raises(ValueError, match="starts before"):
        apply(b"abcdef", edits)


def test_an_edit_of_an_edit_keeps_both_reasons() -> None:
    """Whoever reads the record sees everybody who took part."""
    first = [Edit(2, 3, b"XYZ", "masquerade")]
    assert compose(first, [Edit(3, 4, b"-", "plug-in")]) == [Edit(2, 3, b"X-Z", "masquerade + plug-in")]


def test_edits_of_different_places_stay_apart() -> None:
    """The record stays as fine as the edits were."""
    first = [Edit(1, 2, b"BBB", "b")]
    assert compose(first, [Edit(0, 1, b"A", "a"), Edit(4, 6, b"", "cd")]) == [
        Edit(0, 1, b"A", "a"),
        Edit(1, 2, b"BBB", "b"),
        Edit(2, 4, b"", "cd"),
    ]


@given(histories())
def test_composed_edits_do_what_the_lists_do_one_after_the_other(
    history: tuple[bytes, list[list[Edit]], bytes],
) -> None:
    """The contract of compose, over several generations."""
    original, lists, result = history
    composed: list[Edit] = []
    for edits in lists:
        composed = compose(composed, edits)
    assert apply(original, composed) == result


@given(histories())
def test_composing_loses_no_reason_and_invents_none(history: tuple[bytes, list[list[Edit]], bytes]) -> None:
    """Each edit that was made is accounted for by its reason."""
    _, lists, _ = history
    composed: list[Edit] = []
    for edits in lists:
        composed = compose(composed, edits)
    made = {edit.reason for edits in lists for edit in edits}
    assert {reason for edit in composed for reason in edit.reason.split(" + ")} == made


@given(histories())
def test_composed_edits_cover_no_byte_that_nobody_touched(
    history: tuple[bytes, list[list[Edit]], bytes],
) -> None:
    """Composing does not widen edits: what they cover is what some edit replaced."""
    original, lists, _ = history
    origin: list[int | None] = list(range(len(original)))  # where each current byte comes from
    composed: list[Edit] = []
    for edits in lists:
        composed = compose(composed, edits)
        for edit in reversed(edits):
            origin[edit.start : edit.end] = [None] * len(edit.replacement)
    covered = {at for edit in composed for at in range(edit.start, edit.end)}
    assert covered == set(range(len(original))) - set(origin)
