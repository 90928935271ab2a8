# SPDX-License-Identifier: MIT
"""The bytes of a message and the changes made to them (RFC 3261 section 7).

A message is never rebuilt: `original` is what was received, every change is an edit with its
reason, and ``apply(message.original, message.edits()) == bytes(message)`` at all times.

1. What was received stays as the parser has cut it into lines, with the name of each and what its rule has
   matched in it. Nobody changes that, so that copies share it.
2. What is sent are the `_pieces`: the very same list until the first edit, then a list of its own, in which
   what became of a line stands in the line's place. A line that is inserted goes into the piece of the one
   before which it stands. So a line keeps its number, whatever happens around it.
3. A `Field` is made for a line when somebody asks for it, because most lines are only passed on.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any, Self, cast

from siproxd_tw.edits import Edit, apply, compose
from siproxd_tw.sip.field import Element, Field, value_of
from siproxd_tw.sip.grammar import ParseError, canonical_name, check_line, spelling

__all__ = ["Lines", "Places"]

_digits = re.compile(rb"[0-9]+")
_NOTHING: Mapping[int, Any] = {}
_NONE: frozenset[bytes] = frozenset()
_UNREAD: Any = object()


class Places(dict[bytes, int]):
    """Where each header name is first among `names`; the first of these is that of the start line, b""."""

    __slots__ = ("repeated",)

    repeated: frozenset[bytes]
    """The names that are there more than once."""

    def __init__(self, names: tuple[bytes, ...]) -> None:
        super().__init__(zip(names[::-1], range(len(names) - 1, -1, -1), strict=True))
        del self[b""]
        self.repeated = _NONE
        if len(self) + 1 < len(names):
            self.repeated = frozenset(name for at, name in enumerate(names) if name and self[name] != at)


class Lines:
    """A message as the lines that it has: a start line, header fields and a body."""

    __slots__ = (
        "_body_edits",
        "_bytes",
        "_elements",
        "_first",
        "_inserted",
        "_lines",
        "_made",
        "_matches",
        "_moved",
        "_names",
        "_pieces",
        "_removed",
        "_values",
        "_where",
        "body",
        "original",
    )

    original: bytes
    """The message as it was received, without empty lines before it and ignored bytes behind it."""
    body: bytes
    """The body as it is now."""

    def __init__(
        self,
        original: bytes,
        lines: list[bytes],
        names: tuple[bytes, ...],
        where: Places,
        matches: Sequence[re.Match[bytes] | None],
    ) -> None:
        """Take the `original` and its `lines`: start line, header lines, empty line (b"" if missing), body.

        `names` and `matches` go with start line and header lines, `where` are the places of the names.
        """
        self.original = original
        self.body = lines[-1]
        self._lines = self._pieces = lines
        self._names = names
        self._where = where
        self._matches = matches
        self._bytes: bytes | None = original
        self._made: dict[int, Field] = {}  # by line
        self._first: dict[bytes, Field | None] = {}  # of the names in `_moved`, for which `_where` is wrong
        self._elements: dict[bytes, Element] = {}  # the first element of each name, if it was asked for
        # Values as they are asked for often; immutable, so that copies take them along.
        self._values: dict[bytes, Any] = {}
        self._inserted: Mapping[int, list[Field]] = _NOTHING  # by the line that they stand before, in order
        self._removed: Mapping[int, str] = _NOTHING  # why, by line
        self._moved: frozenset[bytes] = _NONE  # the names that fields were inserted or removed of
        self._body_edits: list[Edit] | None = None

    # Reading

    def _field(self, index: int) -> Field:
        field = self._made.get(index)
        if field is None:
            lines = self._lines
            field = Field(self._names[index], lines[index], -1, self._matches[index], lines, index)
            self._made[index] = field
        return field

    @property
    def start_line(self) -> Field:
        """The start line; a field without a name, edited like the others."""
        return self._field(0)

    @property
    def fields(self) -> list[Field]:
        """The header fields in order; a new list each time, which nobody else sees."""
        return list(self._current())

    def _current(self, name: bytes | None = None) -> Iterator[Field]:
        """The header fields, or those of one name, in order."""
        last = len(self._names)
        start = 1 if name is None or self._inserted else self._where.get(name, last)
        for index in range(start, last + 1):
            for field in self._inserted.get(index, ()):
                if name is None or field.name == name:
                    yield field
            if index < last and index not in self._removed and (name is None or self._names[index] == name):
                yield self._field(index)

    def header_lines(self) -> Iterator[tuple[bytes, bytes]]:
        """The name and the bytes of each header field, in order; cheaper than `fields`."""
        if not self._inserted and not self._removed:
            yield from zip(self._names[1:], self._pieces[1:], strict=False)
            return
        for index, name in enumerate((*self._names[1:], b""), 1):
            for field in self._inserted.get(index, ()):
                yield field.name, field.raw
            if name and index not in self._removed:
                made = self._made.get(index)
                yield name, self._lines[index] if made is None else made.raw

    def first(self, name: bytes) -> Field | None:
        """Return the first field of this name (canonical, as in `Field.name`)."""
        if name not in self._moved:
            index = self._where.get(name)
            return None if index is None else self._field(index)
        field: Field | None = self._first.get(name, _UNREAD)
        if field is _UNREAD:
            self._first[name] = field = next(self._current(name), None)
        return field

    def all(self, name: bytes) -> list[Field]:
        """Return all fields of this name, in order."""
        if name in self._moved:
            return [] if self.first(name) is None else list(self._current(name))
        index = self._where.get(name)
        if index is None:
            return []
        if name not in self._where.repeated:
            return [self._field(index)]
        names = self._names
        return [self._field(at) for at in range(index, len(names)) if names[at] == name]

    def all_of(self, names: Collection[bytes]) -> list[Field]:
        """Return all fields with one of these names, in order; for none at all that costs next to nothing."""
        if not any(name in self._where or name in self._moved for name in names):
            return []
        return [field for field in self._current() if field.name in names]

    def value(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this name."""
        if name not in self._moved:
            index = self._where.get(name)
            if index is None:
                return None
            if index not in self._made:
                return value_of(self._lines[index])
        field = self.first(name)
        return None if field is None else field.value

    def match_of(self, name: bytes) -> re.Match[bytes] | None:
        """Return what its usual rule has matched in the first field of this name; None for other forms."""
        if name in self._moved:
            moved = self.first(name)
            return None if moved is None else moved.parsed
        index = self._where.get(name)
        if index is None:
            return None
        made = self._made.get(index)
        return self._matches[index] if made is None else made.parsed

    def elements(self, name: bytes) -> list[Element]:
        """Return the values of all fields of this name, comma lists split. Raises ParseError."""
        if name not in self._moved and name not in self._where.repeated:
            if name not in self._where:
                return []
            first = self._elements.get(name)
            if first is not None and first.alone and (first.seen is first.field.changes or first.survives()):
                return [first]
            found = self._field(self._where[name]).elements()
            if found:
                self._elements[name] = found[0]
            return found
        return [element for field in self.all(name) for element in field.elements()]

    def _single(self, name: bytes) -> Field:
        field = self.first(name)
        if field is None:
            raise ParseError("the header field is missing", spelling(name), 0)
        return field

    def _element(self, name: bytes) -> Element:
        element = self._elements.get(name)
        if element is None or not (element.seen is element.field.changes or element.survives()):
            self._elements[name] = element = self._single(name).elements()[0]
        return element

    def __bytes__(self) -> bytes:
        data = self._bytes
        if data is None:
            self._bytes = data = b"".join(self._pieces)
        return data

    # Editing

    def edit(self, field: Field, start: int, end: int, replacement: bytes, reason: str) -> None:
        """Replace ``field.raw[start:end]``; elements of the field stay usable and move along."""
        index = field.index
        if field.lines is not None and self._made.get(index) is not field:
            raise ValueError(f"{field} belongs to another message")
        field.edit(start, end, replacement, reason)
        self._bytes = None
        if self._pieces is self._lines or index in self._inserted or index in self._removed:
            self._write(index)
        else:
            self._pieces[index] = field.raw
        self._values.pop(field.name, None)

    def replace_value(self, field: Field, value: bytes, reason: str) -> None:
        """Replace the complete value of `field`, not the blanks around it."""
        start, end = field.value_span
        self.edit(field, start, end, value, reason)

    def insert(
        self,
        line: bytes,
        reason: str,
        *,
        before: bytes | Field | None = None,
        after: bytes | Field | None = None,
    ) -> Field:
        """Insert the header line `line`, which has no line end yet, and return its field.

        It goes before the first or after the last field of a name, or next to a given field; when no
        field has that name, directly after the start line; by default to the end of the head.
        """
        check_line(line)
        name = canonical_name(line[: line.index(b":")].rstrip(b" \t"))
        index, position = self._place(before, after)
        field = Field(name, line + b"\r\n", -1, None, None, index)
        field.reason = reason
        if self._inserted is _NOTHING:
            self._inserted = {index: [field]}
        else:
            cast(dict[int, list[Field]], self._inserted).setdefault(index, []).insert(position, field)
        self._write(index, field)
        self._forget(name)
        if before == name:
            self._first[name] = field
        return field

    def _place(self, before: bytes | Field | None, after: bytes | Field | None) -> tuple[int, int]:
        """Return the line before which to insert, and the position among those that are inserted there."""
        if before is None and after is None:
            last = len(self._names)
            return last, len(self._inserted.get(last, ()))
        if isinstance(before, bytes):
            if before not in self._moved:
                index = self._where.get(before, 0)
                return (index, len(self._inserted.get(index, ()))) if index else (1, 0)
            before = self.first(before)
        elif isinstance(after, bytes):
            after = next(reversed(self.all(after)), None)
        field, behind = (after, True) if before is None else (before, False)
        if not isinstance(field, Field) or not self._holds(field):
            return 1, 0
        others = self._inserted.get(field.index, [])
        if field.lines is None:
            return field.index, others.index(field) + behind
        return (field.index + 1, 0) if behind else (field.index, len(others))

    def _holds(self, field: Field) -> bool:
        if field.lines is None:
            return field in self._inserted.get(field.index, ())
        return self._made.get(field.index) is field and field.index not in self._removed

    def remove(self, field: Field, reason: str) -> None:
        """Remove `field`, all of its lines."""
        if not self._holds(field):
            raise ValueError(f"{field} is not in this message")
        if field.lines is None:
            self._inserted[field.index].remove(field)
        else:
            if self._removed is _NOTHING:
                self._removed = {}
            cast(dict[int, str], self._removed)[field.index] = reason
        self._write(field.index)
        self._forget(field.name)

    def _write(self, index: int, new: Field | None = None) -> None:
        """Put the piece together that stands for a line; `new` says that it has only been inserted."""
        self._bytes = None
        if self._pieces is self._lines:
            self._own_pieces()
        if index in self._removed:
            line = b""
        else:  # only the empty line can be missing
            made = self._made.get(index)
            line = (self._lines[index] or b"\r\n") if made is None else made.raw
        inserted = self._inserted.get(index)
        if not inserted:
            self._pieces[index] = line
        elif inserted[-1] is new:  # the usual place; thousands of lines there cost no more than that each
            before = self._pieces[index]
            self._pieces[index] = before[: len(before) - len(line)] + new.raw + line
        else:
            self._pieces[index] = b"".join([field.raw for field in inserted]) + line

    def _own_pieces(self) -> None:
        """Make pieces that may differ from what was received."""
        self._pieces = self._lines.copy()
        self._pieces[-2] = self._lines[-2] or b"\r\n"  # a head ends with an empty line

    def _forget(self, name: bytes) -> None:
        """Forget what was known of the fields of this name: one was inserted or removed."""
        self._moved |= {name}
        self._values.pop(name, None)
        self._elements.pop(name, None)
        self._first.pop(name, None)

    def edit_body(self, edits: Sequence[Edit]) -> None:
        """Carry out `edits`, in positions of the current body, and correct the Content-Length.

        A message without Content-Length, which is legal in a datagram (section 18.3), gets none.
        """
        if not edits:
            return
        if self._pieces is self._lines:
            self._own_pieces()
        self._bytes = None
        self.body = self._pieces[-1] = apply(self.body, edits)
        self._body_edits = list(edits) if self._body_edits is None else compose(self._body_edits, edits)
        for field in self.all(b"content-length"):
            digits = _digits.search(field.raw, field.raw.index(b":"))
            if digits is not None and int(digits[0]) != len(self.body):
                number = b"%d" % len(self.body)
                self.edit(field, digits.start(), digits.end(), number, "the body has another length")

    def edits(self) -> list[Edit]:
        """Return everything that was done, in positions of `original`, sorted and not overlapping."""
        done: list[Edit] = []
        at = 0
        for index, line in enumerate(self._lines[:-1]):
            done += [Edit(at, at, new.raw, new.reason) for new in self._inserted.get(index, ())]
            made = self._made.get(index)
            if index in self._removed:
                done.append(Edit(at, at + len(line), b"", self._removed[index]))
            elif made is not None and made.changes:
                done += _moved(made.edits, at)
            at += len(line)
        if self._pieces is not self._lines and not self._lines[-2]:
            done.append(Edit(at, at, b"\r\n", "a head ends with an empty line"))
        return done + _moved(self._body_edits or (), at)

    def copy(self) -> Self:
        """Return an independent message in the same state."""
        twin = type(self).__new__(type(self))
        twin.original = self.original
        twin.body = self.body
        twin._lines = twin._pieces = self._lines
        twin._names = self._names
        twin._where = self._where
        twin._matches = self._matches
        twin._bytes = self._bytes
        twin._made = {}
        twin._first = {}
        twin._elements = {}
        twin._values = self._values.copy()
        twin._inserted = self._inserted
        twin._removed = self._removed
        twin._moved = self._moved
        twin._body_edits = self._body_edits  # never changed, only replaced
        if self._pieces is not self._lines:
            twin._pieces = self._pieces.copy()
            twin._made = {index: field.copy() for index, field in self._made.items() if field.changes}
            if self._removed:
                twin._removed = dict(self._removed)
            if self._inserted:
                twin._inserted = {at: [new.copy() for new in news] for at, news in self._inserted.items()}
        return twin


def _moved(edits: Sequence[Edit], by: int) -> list[Edit]:
    return [Edit(edit.start + by, edit.end + by, *edit[2:]) for edit in edits]
