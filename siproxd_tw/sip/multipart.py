# SPDX-License-Identifier: MIT
"""Where in a body the session description is, also when it has company (RFC 2046 section 5.1, RFC 5621).

Emergency calls bring a location along, gateways to the telephone network an ISUP message, so that the
description is one part of a multipart body. Only its span is looked for; nothing is taken apart or
made anew, so that whoever edits that span leaves the other parts as they are, byte for byte.
"""

from __future__ import annotations

import re

from siproxd_tw.sip.genericmessage import Message

__all__ = ["description_span", "part_span"]

_SDP = b"application/sdp"
_SEALED = (b"multipart/signed", b"multipart/encrypted")
"""What is edited there is not believed any more (RFC 1847)."""
_boundary = re.compile(
    rb';[ \t]*boundary[ \t]*=[ \t]*(?:"((?:[^"\\]|\\.){1,70})"|([^ \t\r\n;"]{1,70}))', re.IGNORECASE
).search
_head_end = re.compile(rb"\r?\n\r?\n").search
_unfolded = re.compile(rb"\r?\n[ \t]+")


def description_span(message: Message) -> tuple[int, int] | None:
    """Return where in the body of `message` its session description is; None when there is none.

    None either in a body that is encoded, signed, or a multipart body without its end.
    """
    if not message.body or message.first(b"content-encoding") is not None:
        return None
    kind = message.content_type
    if kind == _SDP:
        return 0, len(message.body)
    if not kind.startswith(b"multipart/") or kind in _SEALED:
        return None
    found = _boundary(message.value(b"content-type") or b"")
    if found is None:
        return None
    boundary = re.sub(rb"\\(.)", rb"\1", found[1]) if found[1] is not None else found[2]
    return part_span(message.body, boundary, _SDP)


def part_span(body: bytes, boundary: bytes, wanted: bytes) -> tuple[int, int] | None:
    """Return where the content of the first part of type `wanted` is in a multipart `body`.

    The line end before a delimiter belongs to the delimiter, and nothing but blanks may be behind it: a
    longer boundary is that of something inside a part. Without the closing delimiter the body is not
    whole, and the answer is None.
    """
    delimiter = re.compile(rb"(?:\A|\r?\n)--" + re.escape(boundary) + rb"(--)?[ \t]*(?=\r?\n|\Z)")
    found: tuple[int, int] | None = None
    start = -1
    for line in delimiter.finditer(body):
        if start >= 0 and found is None:
            found = _content(body, start, line.start(), wanted)
        if line[1]:
            return found
        start = line.end()
    return None


def _content(body: bytes, start: int, end: int, wanted: bytes) -> tuple[int, int] | None:
    """Return the content of the part between two delimiters, if it is of the type and plain."""
    gap = _head_end(body, start, end)
    if gap is None:
        return None
    fields: dict[bytes, bytes] = {}
    for line in _unfolded.sub(b" ", body[start : gap.start()]).splitlines():
        name, _, value = line.partition(b":")
        fields.setdefault(name.strip().lower(), value.partition(b";")[0].strip().lower())
    plain = fields.get(b"content-transfer-encoding", b"binary") in (b"7bit", b"8bit", b"binary")
    if fields.get(b"content-type") != wanted or not plain or b"content-encoding" in fields:
        return None
    return gap.end(), end
