# SPDX-License-Identifier: MIT
"""Edits of bytes: the rewrite contract in one type.

A message is never rebuilt. Each change is one `Edit` against the bytes that were
received, with its reason; everything outside the edits is copied.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

__all__ = ["Edit", "apply", "compose"]


class Edit(NamedTuple):
    """Replace ``original[start:end]`` by `replacement`, because of `reason`."""

    start: int
    end: int
    replacement: bytes
    reason: str


def apply(original: bytes, edits: Sequence[Edit]) -> bytes:
    """Return `original` with `edits` carried out; they are in order and do not overlap.

    Raises ValueError when they do overlap or leave the original: a caller's mistake.
    """
    pieces: list[bytes] = []
    at = 0
    for edit in edits:
        if not at <= edit.start <= edit.end <= len(original):
            raise ValueError(f"edit {edit} starts before {at} or ends after {len(original)}")
        pieces += (original[at : edit.start], edit.replacement)
        at = edit.end
    pieces.append(original[at:])
    return b"".join(pieces)


def compose(first: Sequence[Edit], second: Sequence[Edit]) -> list[Edit]:
    """Return one list that does what `first` and then `second` do.

    The positions of `second` are those of the bytes that `first` produced; the
    result speaks of the original again. An edit of an edit becomes one edit that
    keeps both reasons.
    """
    result = list(first)
    shift = 0  # what the members of `second` so far have added to the length
    for edit in second:
        moved = Edit(edit.start + shift, edit.end + shift, edit.replacement, edit.reason)
        result = _insert(result, moved)
        shift += len(edit.replacement) - (edit.end - edit.start)
    return result


def _insert(edits: list[Edit], new: Edit) -> list[Edit]:
    """Add `new`, whose positions are those of the bytes that `edits` produce."""
    before: list[Edit] = []
    touched: list[Edit] = []
    after: list[Edit] = []
    delta = 0  # current position minus original position, left of `new`
    touched_at = 0  # current position where the first touched replacement starts
    touched_end = 0  # current position where the last touched replacement ends
    growth = 0
    for edit in edits:
        start = edit.start + delta + growth
        end = start + len(edit.replacement)
        change = len(edit.replacement) - (edit.end - edit.start)
        if end <= new.start and not (start == end == new.start == new.end):
            before.append(edit)
            delta += change
        elif start >= new.end:
            after.append(edit)
        else:
            if not touched:
                touched_at = start
            touched.append(edit)
            touched_end = end
            growth += change
    if not touched:
        return [*before, Edit(new.start - delta, new.end - delta, new.replacement, new.reason), *after]
    head = touched[0].replacement[: max(0, new.start - touched_at)]
    tail_length = max(0, touched_end - new.end)
    tail = touched[-1].replacement[-tail_length:] if tail_length else b""
    first_start = min(touched[0].start, new.start - delta)
    last_end = max(touched[-1].end, new.end - delta - growth)
    reasons = list(dict.fromkeys([*(edit.reason for edit in touched), new.reason]))
    merged = Edit(first_start, last_end, head + new.replacement + tail, " + ".join(reasons))
    return [*before, merged, *after]
