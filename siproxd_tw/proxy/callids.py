# SPDX-License-Identifier: MIT
"""Another Call-ID on either side of the gateway: siproxd's `obscure_loops`.

For a PBX or provider that takes a call which leaves and comes back for a loop. Nothing is
remembered, as a call has to outlive a restart. A request that crosses the gateway

1. loses the mark in its Call-ID if the mark has its To tag: whoever began the dialog is addressed;
2. otherwise gets a mark with its From tag, as its sender has begun the dialog: ``abc@h`` from the
   party with the tag a1 becomes ``abc-siproxda1@h``.

Both directions have the same rule, so that a call from outside has its mark inside. siproxd marks
inside-out only; there the BYE of a phone that was called bears a Call-ID that nobody outside knows.
A call that leaves and comes back has got two marks, and its way back takes one off at each crossing.
The rule depends on nothing but the request: a retransmission, an ACK and a CANCEL get what their
INVITE has got. A REGISTER keeps its Call-ID.

Where to call what:

- `inward` on the copy of each request and ACK from outside, before anything is looked up by Call-ID;
- `outward` on what goes outside, after everything that is kept by Call-ID: the dialogs, the media
  and the order of messages know a call by the Call-ID of the inside, that of the copy;
- `assign` on each response, whose transaction knows both: the Call-ID of the copy when the
  response comes in, and that of the request as it was received before it goes back to the outside.

A provider that is not in the route set is left out after the answer: requests between the two legs of a call
that came back no longer cross the gateway. `around` says what each leg knows the call as.

Requests also name other dialogs. In Replaces (RFC 3891), Join (RFC 3911) and Target-Dialog (RFC 4538),
and in Replaces within the URI of Refer-To (RFC 3515), a Call-ID with the mark of either tag loses it, and
one without gets the mark of from-tag or remote-tag: the party that is not addressed. So a reference that
goes out and comes back, as in an attended transfer between phones, is again what it was. In-Reply-To has
no tags: there a mark is taken off. Call-IDs in bodies (``dialog-info+xml``) stay.
"""

from __future__ import annotations

import re

from siproxd_tw.sip.grammar import ParseError, is_token, unescape
from siproxd_tw.sip.headers import Field, NameAddr
from siproxd_tw.sip.message import Message, Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["MARK", "across", "around", "assign", "inward", "outward"]

MARK = b"-siproxd"
"""What siproxd puts between a Call-ID and the tag, before the ``@``."""

REASON = "another Call-ID on each side (obscure_loops)"

_BLANKS = b" \t\r\n"
_REFERENCES = frozenset({b"replaces", b"join", b"target-dialog"})
_NAMING = _REFERENCES | {b"refer-to", b"in-reply-to"}
_RECEIVER = (b"to-tag", b"local-tag")
_SENDER = (b"from-tag", b"remote-tag")

_octet = re.compile(rb"%[0-9A-Fa-f]{2}|.", re.DOTALL).finditer
_word = re.compile(rb"[^,\s]+").finditer
_to_escape = re.compile(rb"[^A-Za-z0-9_.!~*'()+-]")  # hvalue, without what phones treat differently

_Change = tuple[int, int, bytes]
"""Start, end and replacement, in positions of what is looked at."""


def across(call_id: bytes, sender: bytes, receiver: bytes) -> bytes:
    """Return the Call-ID that a request with these From and To tags has on the other side."""
    change = _change(call_id, sender, (receiver,))
    return call_id if change is None else call_id[: change[0]] + change[2] + call_id[change[1] :]


def around(call_id: bytes, sender: bytes, receiver: bytes) -> bytes:
    """Return the Call-ID that a request with these tags has after it went outside and came back."""
    return across(across(call_id, sender, receiver), sender, receiver)


def outward(request: Request, tag: bytes) -> None:
    """Give a request that goes outside, whose From tag is `tag`, the Call-IDs of the outside."""
    _cross(request, tag)


def inward(request: Request, tag: bytes) -> None:
    """Give a request that came from outside, whose From tag is `tag`, the Call-IDs of the inside."""
    _cross(request, tag)


def assign(message: Message, call_id: bytes) -> None:
    """Give a message the Call-ID that its dialog has on the side that it is on or goes to."""
    if message.call_id != call_id:
        field = message.first(b"call-id")
        assert field is not None
        message.replace_value(field, call_id, REASON)


def _cross(request: Request, tag: bytes) -> None:
    if request.method == "REGISTER":
        return
    change = _change(request.call_id, tag, (request.to_tag,))
    if change is not None:
        field = request.first(b"call-id")
        assert field is not None
        _edit(request, field, field.value_at, change)
    for field in request.fields:
        if field.name in _NAMING:
            _cross_reference(request, field)


def _change(call_id: bytes, sender: bytes, receivers: tuple[bytes, ...]) -> _Change | None:
    """Return what makes `call_id` that of the other side, None for nothing."""
    end = call_id.find(b"@")
    end = len(call_id) if end < 0 else end
    for tag in receivers:
        mark = MARK + tag
        if tag and call_id.endswith(mark, 0, end) and len(call_id) > len(mark):
            return end - len(mark), end, b""
    # A tag that is no token, which only sloppy phones have, would not be a Call-ID any more.
    return (end, end, MARK + sender) if is_token(sender) else None


def _edit(request: Request, field: Field, at: int, change: _Change) -> None:
    request.edit(field, at + change[0], at + change[1], change[2], REASON)


# references to other dialogs


def _cross_reference(request: Request, field: Field) -> None:
    if field.name == b"refer-to":
        _cross_refer_to(request, field)
        return
    start, end = field.value_span
    value = field.raw[start:end]
    if field.name in _REFERENCES:
        change = _in_reference(value)
        if change is not None:
            _edit(request, field, start, change)
        return
    for word in reversed(list(_word(value))):
        change = _without_mark(word[0])
        if change is not None:
            _edit(request, field, start + word.start(), change)


def _in_reference(text: bytes) -> _Change | None:
    """Return the change to the Call-ID in ``callid *(SEMI param)``."""
    first, *params = text.split(b";")
    call_id = first.strip(_BLANKS)
    if not call_id or len(call_id.split()) > 1:
        return None
    tags: dict[bytes, bytes] = {}
    for param in params:
        name, _, value = param.partition(b"=")
        tags[name.strip(_BLANKS).lower()] = value.strip(_BLANKS)
    sender, receiver = _tag(tags, _SENDER), _tag(tags, _RECEIVER)
    change = _change(call_id, sender, (receiver, sender))
    if change is None:
        return None
    at = text.index(call_id)
    return at + change[0], at + change[1], change[2]


def _tag(tags: dict[bytes, bytes], names: tuple[bytes, bytes]) -> bytes:
    """Return the tag with one of these names; "0" stands for none (RFC 3891 section 3)."""
    tag = tags.get(names[0]) or tags.get(names[1]) or b""
    return b"" if tag == b"0" else tag


def _without_mark(call_id: bytes) -> _Change | None:
    end = call_id.find(b"@")
    end = len(call_id) if end < 0 else end
    at = call_id.rfind(MARK, 0, end)
    return (at, end, b"") if at >= 0 and call_id[:at] + call_id[end:] else None


def _cross_refer_to(request: Request, field: Field) -> None:
    """Change the Call-IDs in the escaped headers of the URI, and no other octet."""
    if b"?" not in field.raw:
        return
    try:
        addresses = [element for element in field.elements() if isinstance(element, NameAddr)]
        uris = [(address, address.uri) for address in addresses]
    except ParseError:
        return  # the referee has to judge it
    for address, uri in uris:
        if not isinstance(uri, SIPURI) or not uri.headers:
            continue
        end = address.uri_end
        for header in reversed(uri.headers[1:].split(b"&")):
            name, _, value = header.partition(b"=")
            change = _in_escaped(value) if unescape(name).lower() in _REFERENCES else None
            if change is not None:
                _edit(request, field, end - len(value), change)
            end -= len(header) + 1


def _in_escaped(value: bytes) -> _Change | None:
    """Do what `_in_reference` does where octets may be escaped (RFC 3261 section 19.1.1)."""
    change = _in_reference(unescape(value))
    if change is None:
        return None
    places = [octet.start() for octet in _octet(value)]
    places.append(len(value))
    escaped = _to_escape.sub(lambda octet: b"%%%02X" % octet[0][0], change[2])
    return places[change[0]], places[change[1]], escaped
