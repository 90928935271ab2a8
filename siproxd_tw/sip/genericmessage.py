# SPDX-License-Identifier: MIT
"""What requests and responses have in common: the values of the header fields that a proxy reads.

They are read when they are asked for; which lines there are, and what becomes of them, is the matter of
`siproxd_tw.sip.lines`.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

from siproxd_tw.sip.grammar import METHOD_NAMES, ParseError
from siproxd_tw.sip.headers import CSeq, Element, NameAddr, Via
from siproxd_tw.sip.lines import Lines

__all__ = ["Message"]

_cseq = re.compile(rb"[^:]*+:[ \t\r\n]*+([0-9]{1,20})[ \t\r\n]++([^ \t\r\n]++)").match
_number = re.compile(rb"(-?[0-9]{1,18})").fullmatch
_needs_brackets = re.compile(rb"[,;?]").search
_UNREAD: Any = object()


class Message(Lines):
    """The ``generic-message`` of RFC 3261 section 7: a start line, header fields and a body."""

    __slots__ = ()

    # Reading

    @property
    def call_id(self) -> bytes:
        """The Call-ID (section 20.8)."""
        value: bytes | None = self._values.get(b"call-id")
        if value is None:
            match = self.match_of(b"call-id")
            value = self._single(b"call-id").value if match is None else match[1]
            self._values[b"call-id"] = value
        return value

    @property
    def cseq(self) -> CSeq:
        """The CSeq (section 20.16)."""
        value: CSeq | None = self._values.get(b"cseq")
        if value is None:
            found = self.match_of(b"cseq") or _cseq(self._single(b"cseq").raw)
            if found is None:
                raise ParseError("expected a number and a method", "CSeq", 0)
            digits, method = found.groups()
            value = CSeq(int(digits), METHOD_NAMES.get(method) or method.decode("ascii"))
            self._values[b"cseq"] = value
        return value

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
        tag: bytes | None = self._values.get(b"from")
        return self._tag(b"from") if tag is None else tag

    @property
    def to_tag(self) -> bytes:
        """The tag of the To, b"" without one."""
        tag: bytes | None = self._values.get(b"to")
        return self._tag(b"to") if tag is None else tag

    def _tag(self, name: bytes) -> bytes:
        """Read a tag off what the rule has matched; a field and an element would cost 1.2 us."""
        match = self.match_of(name)
        tag: bytes | None = None if match is None else match["tag"] if match["params"] else b""
        if tag is None:
            tag = cast(NameAddr, self._element(name)).tag or b""
        self._values[name] = tag
        return tag

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
        hops: int | None = self._values.get(b"max-forwards", _UNREAD)
        if hops is _UNREAD:
            match = self.match_of(b"max-forwards") or _number(self.value(b"max-forwards") or b"")
            self._values[b"max-forwards"] = hops = None if match is None else int(match[1])
        return hops

    @property
    def content_type(self) -> bytes:
        """The type and subtype of the body in lower case, b"" when there is no Content-Type."""
        kind: bytes | None = self._values.get(b"content-type")
        if kind is None:
            value = self.value(b"content-type") or b""
            self._values[b"content-type"] = kind = b"".join(value.partition(b";")[0].split()).lower()
        return kind

    # Editing

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
        elements = field.elements() if field.parsed is None else [element]
        if len(elements) == 1:
            self.remove(field, reason)
            return
        at = next(at for at, other in enumerate(elements) if other.start == element.start)
        if at + 1 < len(elements):
            start, end = element.start, elements[at + 1].start
        else:
            start, end = elements[at - 1].end, element.end
        self.edit(field, start, end, b"", reason)

    def set_params(self, element: Element, params: Sequence[tuple[bytes, bytes, str]]) -> None:
        """Give parameters of `element` values: each is a name, a value and the reason.

        A parameter that is not there goes to the end. This costs a third of the same edits made one by
        one, because nothing is read again. Raises ValueError for what cannot be a parameter.
        """
        field = element.field
        if field.lines is not None and self._made.get(field.index) is not field:
            raise ValueError(f"{field} belongs to another message")
        element.set_params(params)
        self._write(field.index)
        self._values.pop(field.name, None)
