# SPDX-License-Identifier: MIT
"""Header fields as they were received, and the values in them (RFC 3261 section 7.3).

A `Field` owns the bytes of its header line. An `Element` is one value in it: it knows where in
``field.raw`` it stands and reads what it is asked for from there. Nothing is ever written from
elements: whoever changes something changes bytes of the field, and the elements follow.

Which kind of element a header field has is entered into `KINDS` by `siproxd_tw.sip.headers`.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar, Self

from siproxd_tw.edits import Edit, compose
from siproxd_tw.sip.grammar import (
    BRACKET,
    CR,
    LF,
    QUOTE,
    QUOTED_STRING,
    SEMICOLON,
    SWS,
    TOKEN,
    VALUE,
    ParseError,
    check_line,
    parameters,
    spelling,
)

__all__ = ["KINDS", "Element", "Field", "Item", "Rule", "field_error", "value_of"]

Rule = Callable[..., re.Match[bytes] | None]

_folding = re.compile(rb"[ \t]*\r?\n[ \t]+")
_parameter = re.compile(
    rb"%b;%b(%b)(?:%b=%b(%b|[^\x00-\x20\x7f;,\"<>]*+))?" % (SWS, SWS, TOKEN, SWS, SWS, QUOTED_STRING)
).finditer
_is_parameter = re.compile(rb";%b=%b" % (TOKEN, VALUE)).fullmatch
_are_parameters = re.compile(parameters(b"")).fullmatch
_BLANKS = b" \t\r\n"
_COMMA, _EQUALS, _BLANK = b",= "
_ALL = sys.maxsize
_new_tuple = tuple.__new__


class Field:
    """One header field: its line or lines, and what has been done to it."""

    __slots__ = ("_at", "changes", "index", "lines", "name", "parsed", "raw", "reason")

    name: bytes
    """Canonical: lower case, long form."""
    raw: bytes
    """The complete header line as it is now, with folding and line end."""
    parsed: re.Match[bytes] | None
    """What its rule matched in `raw`, if it did."""
    changes: tuple[Edit, ...]
    """What was done to it, in order, each in the positions of its moment."""
    lines: Sequence[bytes] | None
    """The lines of the message that it was received in; None for a field that was not."""
    index: int
    """Which of these lines it is; the line that it stands before, for one that was inserted."""
    reason: str
    """Why it was inserted; empty for one that was received."""

    def __init__(
        self,
        name: bytes,
        raw: bytes,
        at: int = -1,
        parsed: re.Match[bytes] | None = None,
        lines: Sequence[bytes] | None = None,
        index: int = 0,
    ) -> None:
        self.name = name
        self.raw = raw
        self._at = at
        self.parsed = parsed
        self.lines = lines
        self.index = index
        self.changes = ()
        self.reason = ""

    @property
    def at(self) -> int:
        """Where the field starts in the original message, -1 for one that was inserted."""
        return self._at if self.lines is None else sum(map(len, self.lines[: self.index]))

    @property
    def value(self) -> bytes:
        """What the field says: folding undone to single blanks, nothing around it."""
        return value_of(self.raw)

    @property
    def value_span(self) -> tuple[int, int]:
        """Where in `raw` the value stands; an empty one directly after the colon."""
        colon = self.raw.index(b":") + 1
        end = max(colon, len(self.raw.rstrip(_BLANKS)))
        return end - len(self.raw[colon:end].lstrip(_BLANKS)), end

    @property
    def value_at(self) -> int:
        """Where in `raw` the value starts."""
        return self.value_span[0]

    def elements(self) -> list[Element]:
        """Return the values of the field, comma lists split. Raises ParseError."""
        kind = KINDS.get(self.name, Item)
        match = self.parsed
        if match is None:
            if kind.usual is not None and BRACKET not in self.raw:
                # Half the price of the complete grammar; most lines that were edited are usual still.
                self.parsed = match = kind.usual(self.raw, self.raw.index(b":") + 1)
            if match is None:
                return list(kind.read(self))
        return [kind(self, match, True)]

    def edit(self, start: int, end: int, replacement: bytes, reason: str) -> None:
        """Replace ``raw[start:end]``; the elements that somebody holds move with their bytes.

        Raises ValueError when the line end would go or another one come: one field stays one field.
        """
        raw = self.raw
        if not 0 <= start <= end < len(raw):
            raise ValueError(f"{start} to {end} is not in a field of {len(raw)} bytes")
        if LF in replacement or CR in replacement:
            check_line(replacement)
        self.changes = (*self.changes, _new_tuple(Edit, (start, end, replacement, reason)))
        self.raw = raw[:start] + replacement + raw[end:]
        self.parsed = None

    @property
    def edits(self) -> list[Edit]:
        """What was done to the field, in positions of its original bytes."""
        done: list[Edit] = []
        for change in self.changes:
            done = compose(done, [change]) if done else [change]
        return done

    @property
    def original_length(self) -> int:
        """How many bytes the field had when it was received."""
        return len(self.raw) - sum(map(_growth, self.changes))

    def copy(self) -> Field:
        """Return an independent field in the same state."""
        twin = Field(self.name, self.raw, self._at, self.parsed, self.lines, self.index)
        twin.changes = self.changes
        twin.reason = self.reason
        return twin

    def __repr__(self) -> str:
        return f"<Field {self.raw!r}>"


def value_of(raw: bytes) -> bytes:
    """Return what a header line says: folding undone to single blanks, nothing around it."""
    value = raw[raw.index(b":") + 1 :].strip(_BLANKS)
    return _folding.sub(b" ", value) if LF in value else value


class Element:
    """One value of a header field, from `start` to `end` of ``field.raw``, without blanks around it.

    It stays what it is when other parts of the field are edited, and shows the edits of its own bytes.
    """

    # What was read of the field is right as long as `seen` is what the field's `changes` are: the same tuple,
    # so that one comparison is all that a look costs when nothing has happened.
    __slots__ = ("_end", "_intact", "_match", "_placed", "_start", "alone", "field", "seen")

    field: Field
    alone: bool
    """Whether the field has no other value."""
    seen: tuple[Edit, ...] | None
    """The changes of the field of which it knows; None when it has to be matched again."""
    pattern: ClassVar[re.Pattern[bytes]]
    usual: ClassVar[Rule | None] = None
    expected: ClassVar[str] = "a value"

    def __init__(self, field: Field, match: re.Match[bytes], alone: bool = False) -> None:
        self.field = field
        self.alone = alone
        self._match = match
        self._intact = _ALL  # up to here in the line, the match tells what it says now
        self.seen = field.changes
        self._placed = field.changes  # for which start and end are right
        self._start = -1  # read off the match when somebody asks

    @classmethod
    def read(cls, field: Field) -> Iterator[Self]:
        """Read the elements of `field` one after the other, and check each."""
        raw, at = field.raw, field.raw.index(b":") + 1
        while True:
            match = cls.pattern.match(raw, at)
            if match is None:
                at = len(raw) - len(raw[at:].lstrip(_BLANKS))
                raise field_error(field, f"expected {cls.expected}", at)
            element = cls(field, match)
            element.check()
            yield element
            at = match.end()
            if at == len(raw):
                return
            if raw[at] != _COMMA:
                raise field_error(field, f"expected a comma or the end of the line after {cls.expected}", at)
            at += 1

    def check(self) -> None:
        """Check what `pattern` leaves open. Raises ParseError."""

    @property
    def start(self) -> int:
        """Where in ``field.raw`` the element starts."""
        self._follow()
        return self._start

    @property
    def end(self) -> int:
        """Where in ``field.raw`` the element ends, its parameters included."""
        self._follow()
        return self._end

    @property
    def text(self) -> bytes:
        """The element as it stands in the field."""
        return self.field.raw[self.start : self._end]

    def param(self, name: bytes) -> bytes | None:
        """Return the value of a parameter as written, b"" for one without a value, None without it."""
        match = self._match if self.seen is self.field.changes else self._matched()
        raw, first = self.field.raw, match.start("params")
        span = _param_span(raw, name, first, match.end("params") if self._intact == _ALL else self._end)
        if span is None:
            return None
        return raw[span[0] : span[1]].partition(b"=")[2].strip(_BLANKS)

    def param_span(self, name: bytes) -> tuple[int, int] | None:
        """Return where in ``field.raw`` a parameter stands, its semicolon included."""
        match = self._match if self.seen is self.field.changes else self._matched()
        last = match.end("params") if self._intact == _ALL else self._end
        return _param_span(self.field.raw, name, match.start("params"), last)

    def set_params(self, params: Sequence[tuple[bytes, bytes, str]]) -> None:
        """Give parameters values: each is a name, a value and the reason. New ones go to the end.

        Raises ValueError for what is no parameter. A message has to know: use its `set_params`.
        """
        match, field, last = self._matched(), self.field, self.end
        first, raw, changes, intact = match.start("params"), field.raw, field.changes, self._intact
        for name, value, reason in params:
            text = b";%b=%b" % (name, value)
            if _is_parameter(text) is None:
                raise ValueError(f"{text!r} is not a parameter with a value")
            at, end = _param_span(raw, name, first, last) or (last, last)
            changes = (*changes, _new_tuple(Edit, (at, end, text, reason)))
            raw = raw[:at] + text + raw[end:]
            last += len(text) - end + at
            if at < intact:
                intact = at
        # Parameters for parameters: the match stays right for all that is before them.
        field.raw, field.parsed, field.changes = raw, None, changes
        self._intact, self._end, self._placed, self.seen = intact, last, changes, changes

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return match.start("first"), match.end("params")

    def _matched(self) -> re.Match[bytes]:
        """Return the match; it is right up to `_intact`. Raises ParseError when an edit broke the element."""
        self._follow()
        if self.seen is None:
            field = self.field
            match = self.pattern.fullmatch(field.raw, self._start, self._end)
            if match is None:
                raise field_error(field, f"expected {self.expected}", self._start)
            self._match, self._intact, self.seen = match, _ALL, field.changes
        return self._match

    def _follow(self) -> None:
        """Take note of what has happened to the field since the last look."""
        if self._start < 0:
            self._start, self._end = self._span(self._match)
        changes = self.field.changes
        if self._placed is changes:
            return
        news = changes[len(self._placed) :]
        for change in news:
            if change.end <= self._start and not change.start == change.end == self._start:
                self._start += _growth(change)
                self._end += _growth(change)
            elif change.start <= self._end:
                self._start = min(self._start, change.start)
                self._end = max(self._end, change.end) + _growth(change)
        kept = self.seen is self._placed and len(news) == 1 and self._only_parameters(news[0])
        self._placed = changes
        self.seen = changes if kept else None
        self._intact = min(self._intact, news[0].start)

    def survives(self) -> bool:
        """Whether what was done to the field so far has left this element what and where it is."""
        self._follow()
        return self.seen is not None

    def _only_parameters(self, change: Edit) -> bool:
        """Whether `change` has put whole parameters where parameters are.

        That is what `received`, `rport` and `expires` do: the match is kept for what is before them. Where
        that is not obvious, the element is matched again.
        """
        raw, first, last = self.field.raw, self._match.start("params"), self._end
        end = change.start + len(change.replacement)
        return (
            self.usual is not None
            and first <= change.start <= end <= last
            and (end == last or raw[end] == SEMICOLON)
            and raw[change.start - 1] not in b"; \t\r\n="
            and QUOTE not in raw[first:last]
            and change.replacement[:1] == b";"
            and _are_parameters(change.replacement) is not None
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.text!r}>"


def _growth(edit: Edit) -> int:
    return len(edit.replacement) - (edit.end - edit.start)


def _param_span(raw: bytes, name: bytes, first: int, last: int) -> tuple[int, int] | None:
    """Return where between `first` and `last` a parameter stands, its semicolon included."""
    text = raw[first:last]
    at = text.lower().find(name) - 1
    if at < 0:
        return None
    if text[at] == SEMICOLON and raw[first + at - 1] > _BLANK and QUOTE not in text:
        # The usual case, without quotes and blanks; the rule below takes four times as long.
        end = at + 1 + len(name)
        if end == len(text) or text[end] == SEMICOLON:
            return first + at, first + end
        if text[end] == _EQUALS:
            end = text.find(b";", end)
            if end < 0:
                return first + at, last
            if text[end - 1] > _BLANK:
                return first + at, first + end
    rule = (found for found in _parameter(raw, first, last) if found[1].lower() == name)
    return next((found.span() for found in rule), None)


def field_error(field: Field, reason: str, at: int, status: int = 400) -> ParseError:
    """Make the error for position `at` of ``field.raw``."""
    return ParseError(reason, spelling(field.name), max(field.at, 0) + at, status)


class Item(Element):
    """One value of a list that is not taken apart further: option tags, methods, and so on."""

    __slots__ = ()
    pattern = re.compile(rb'%b(?P<first>(?:[^,"<]++|%b|<[^>]*+>|["<])*+)(?P<params>)' % (SWS, QUOTED_STRING))

    @classmethod
    def read(cls, field: Field) -> Iterator[Self]:
        """Read the items; empty ones are no elements."""
        return (item for item in super().read(field) if item.end > item.start)

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return match.start("first"), match.start("first") + len(match["first"].rstrip(b" \t\r\n"))


KINDS: dict[bytes, type[Element]] = {}
"""What the values of a header field are, by its name; `Item` where it is not said."""
