# SPDX-License-Identifier: MIT
"""What requests and responses have in common: their bytes, and the changes made to them (RFC 3261 section 7).

A message is never rebuilt: `original` is what was received, every change is an edit with its
reason, and ``apply(message.original, message.edits()) == bytes(message)`` at all times. What is
asked for is read from the header fields when it is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Self, cast

from siproxd_tw.edits import Edit, apply, compose
from siproxd_tw.sip.grammar import ParseError, canonical_name, check_line, spelling
from siproxd_tw.sip.headers import CSeq, Element, Field, NameAddr, Via

__all__ = ["Message"]

_cseq = re.compile(rb"[^:]*+:[ \t\r\n]*+([0-9]{1,20})[ \t\r\n]++([^ \t\r\n]++)").match
_number = re.compile(rb"-?[0-9]{1,18}").fullmatch
_digits = re.compile(rb"[0-9]+")
_needs_brackets = re.compile(rb"[,;?]").search


class Message:
    """The ``generic-message`` of section 7: a start line, header fields and a body."""

    __slots__ = (
        "_body_edits",
        "_changed",
        "_elements",
        "_first",
        "_gap",
        "_removed",
        "body",
        "fields",
        "original",
        "start_line",
    )

    original: bytes
    """The message as it was received, without empty lines before it and ignored bytes behind it."""
    start_line: Field
    """The start line; a field without a name, edited like the others."""
    fields: list[Field]
    """The header fields in order. Only the methods of the message add and remove them."""
    body: bytes
    """The body as it is now."""

    def __init__(
        self,
        original: bytes,
        start_line: Field,
        fields: list[Field],
        body: bytes,
        gap: bytes = b"\r\n",
        first: dict[bytes, Field] | None = None,
    ) -> None:
        self.original = original
        self.start_line = start_line
        self.fields = fields
        self.body = body
        self._gap = gap  # the empty line as received, if it was
        self._first: dict[bytes, Field] = {} if first is None else first
        self._elements: dict[bytes, Element] = {}  # the first element of fields that are asked for often
        self._changed = False
        self._removed: list[Edit] | None = None
        self._body_edits: list[Edit] | None = None

    # Reading

    def first(self, name: bytes) -> Field | None:
        """Return the first field of this name (canonical, as in `Field.name`)."""
        field = self._first.get(name)
        if field is not None:
            return field
        for field in self.fields:
            if field.name == name:
                return field
        return None

    def all(self, name: bytes) -> list[Field]:
        """Return all fields of this name, in order."""
        return [field for field in self.fields if field.name == name]

    def value(self, name: bytes) -> bytes | None:
        """Return the value of the first field of this name."""
        field = self.first(name)
        return None if field is None else field.value

    def elements(self, name: bytes) -> list[Element]:
        """Return the values of all fields of this name, comma lists split. Raises ParseError."""
        return [element for field in self.fields if field.name == name for element in field.elements()]

    def _single(self, name: bytes) -> Field:
        field = self.first(name)
        if field is None:
            raise ParseError("the header field is missing", spelling(name), 0)
        return field

    def _element(self, name: bytes) -> Element:
        element = self._elements.get(name)
        if element is None:
            self._elements[name] = element = self._single(name).elements()[0]
        return element

    @property
    def call_id(self) -> bytes:
        """The Call-ID (section 20.8)."""
        return self._single(b"call-id").value

    @property
    def cseq(self) -> CSeq:
        """The CSeq (section 20.16)."""
        field = self._single(b"cseq")
        found = field.parsed or _cseq(field.raw)
        if found is None:
            raise ParseError("expected a number and a method", "CSeq", 0)
        return CSeq(int(found[1]), found[2].decode("ascii"))

    @property
    def from_(self) -> NameAddr:
        """The From (section 20.20)."""
        return cast(NameAddr, self._element(b"from"))

    @property
    def to(self) -> NameAddr:
        """The To (section 20.39)."""
        return cast(NameAddr, self._element(b"to"))

    @property
    def from_tag(self) -> bytes:
        """The tag of the From, b"" without one (RFC 2543 had it optional)."""
        return self.from_.tag or b""

    @property
    def to_tag(self) -> bytes:
        """The tag of the To, b"" without one."""
        return self.to.tag or b""

    @property
    def top_via(self) -> Via:
        """The topmost Via; raises ParseError when the last one is gone."""
        return cast(Via, self._element(b"via"))

    def vias(self) -> list[Via]:
        """Return all Vias, the topmost first."""
        return cast(list[Via], self.elements(b"via"))

    def contacts(self) -> list[NameAddr]:
        """Return all Contacts."""
        return cast(list[NameAddr], self.elements(b"contact"))

    def routes(self) -> list[NameAddr]:
        """Return the route set, the next hop first."""
        return cast(list[NameAddr], self.elements(b"route"))

    def record_routes(self) -> list[NameAddr]:
        """Return all Record-Routes, the latest proxy first."""
        return cast(list[NameAddr], self.elements(b"record-route"))

    @property
    def max_forwards(self) -> int | None:
        """Max-Forwards as written, be it negative or above 255; None when absent or not a number."""
        value = self.value(b"max-forwards") or b""
        return int(value) if _number(value) else None

    @property
    def content_type(self) -> bytes:
        """The type and subtype of the body in lower case, b"" when there is no Content-Type."""
        value = self.value(b"content-type") or b""
        return b"".join(value.partition(b";")[0].split()).lower()

    def __bytes__(self) -> bytes:
        if not self._changed:
            return self.original
        head = [self.start_line.raw, *[field.raw for field in self.fields], self._gap or b"\r\n", self.body]
        return b"".join(head)

    # Editing

    def edit(self, field: Field, start: int, end: int, replacement: bytes, reason: str) -> None:
        """Replace ``field.raw[start:end]``; elements of the field stay usable and move along."""
        field.edit(start, end, replacement, reason)
        self._forget(field.name)

    def replace_value(self, field: Field, value: bytes, reason: str) -> None:
        """Replace the complete value of `field`, not the blanks around it."""
        self.edit(field, *field.value_span, value, reason)

    def replace_element(self, element: Element, new: bytes, reason: str) -> None:
        """Replace one value of a header field, its parameters included."""
        self.edit(element.field, element.start, element.end, new, reason)

    def replace_uri(self, address: NameAddr, new: bytes, reason: str) -> None:
        """Replace the URI of `address`, in brackets where the new one needs them (section 20)."""
        if not address.bracketed and _needs_brackets(new):
            new = b"<" + new + b">"
        self.edit(address.field, *address.uri_span, new, reason)

    def remove_element(self, element: Element, reason: str) -> None:
        """Remove one value of a header field and its comma, with the field if it was the only value."""
        field = element.field
        elements = field.elements()
        if len(elements) == 1:
            self.remove(field, reason)
            return
        at = next(at for at, other in enumerate(elements) if other.start == element.start)
        if at + 1 < len(elements):
            start, end = element.start, elements[at + 1].start
        else:
            start, end = elements[at - 1].end, element.end
        self.edit(field, start, end, b"", reason)

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
        field = Field(name, line + b"\r\n")
        field.reason = reason
        self.fields.insert(self._place(before, after), field)
        self._first.pop(name, None)
        self._forget(name)
        return field

    def _forget(self, name: bytes) -> None:
        """Take note of a change to a field of this name."""
        self._changed = True
        self._elements.pop(name, None)

    def _place(self, before: bytes | Field | None, after: bytes | Field | None) -> int:
        if before is not None:
            for index, field in enumerate(self.fields):
                if field.name == before or field is before:
                    return index
            return 0
        if after is None:
            return len(self.fields)
        for index in range(len(self.fields), 0, -1):
            field = self.fields[index - 1]
            if field.name == after or field is after:
                return index
        return 0

    def remove(self, field: Field, reason: str) -> None:
        """Remove `field`, all of its lines."""
        index = next(index for index, other in enumerate(self.fields) if other is field)
        del self.fields[index]
        self._first.pop(field.name, None)
        self._forget(field.name)
        if field.at >= 0:
            if self._removed is None:
                self._removed = []
            self._removed.append(Edit(field.at, field.at + field.original_length, b"", reason))

    def edit_body(self, edits: Sequence[Edit]) -> None:
        """Carry out `edits`, in positions of the current body, and correct the Content-Length.

        A message without Content-Length, which is legal in a datagram (section 18.3), gets none.
        """
        if not edits:
            return
        self.body = apply(self.body, edits)
        self._body_edits = list(edits) if self._body_edits is None else compose(self._body_edits, edits)
        self._changed = True
        for field in self.all(b"content-length"):
            digits = _digits.search(field.raw, field.raw.index(b":"))
            if digits is not None and int(digits[0]) != len(self.body):
                number = b"%d" % len(self.body)
                self.edit(field, digits.start(), digits.end(), number, "the body has another length")

    def edits(self) -> list[Edit]:
        """Return everything that was done, in positions of `original`, sorted and not overlapping."""
        done: list[Edit] = list(self._removed or ())
        waiting: list[Field] = []
        for field in (self.start_line, *self.fields):
            if field.at < 0:
                waiting.append(field)
                continue
            done += [Edit(field.at, field.at, new.raw, new.reason) for new in waiting]
            waiting.clear()
            done += _moved(field.edits, field.at)
        body_at = len(self.original) - self._original_body_length()
        head_end = body_at - len(self._gap)
        done += [Edit(head_end, head_end, new.raw, new.reason) for new in waiting]
        if self._changed and not self._gap:
            done.append(Edit(head_end, head_end, b"\r\n", "a head ends with an empty line"))
        done += _moved(self._body_edits, body_at)
        return sorted(done, key=lambda edit: edit.start)

    def _original_body_length(self) -> int:
        growth = sum(len(edit.replacement) - edit.end + edit.start for edit in self._body_edits or ())
        return len(self.body) - growth

    def copy(self) -> Self:
        """Return an independent message in the same state."""
        twin = type(self).__new__(type(self))
        Message.__init__(
            twin,
            self.original,
            self.start_line.copy(),
            [field.copy() for field in self.fields],
            self.body,
            self._gap,
        )
        twin._changed = self._changed
        twin._removed = None if self._removed is None else list(self._removed)
        twin._body_edits = None if self._body_edits is None else list(self._body_edits)
        return twin


def _moved(edits: Sequence[Edit] | None, by: int) -> list[Edit]:
    return [Edit(edit.start + by, edit.end + by, *edit[2:]) for edit in edits or ()]
