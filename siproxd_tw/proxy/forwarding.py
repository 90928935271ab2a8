# SPDX-License-Identifier: MIT
"""RFC 3261 section 16.6, the steps that only concern the message itself: pure functions.

Each edits the copy that it is given and names the step as the reason.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache

from siproxd_tw.interfaces import Side
from siproxd_tw.sip.message import Message, Request
from siproxd_tw.sip.transactionlayer import MAGIC_COOKIE
from siproxd_tw.sip.uri import SIPURI, host_port

__all__ = [
    "MAX_FORWARDS",
    "add_content_length",
    "add_record_route",
    "add_via",
    "append_record_route",
    "branch_for",
    "count_down",
    "hops_left",
    "passed_before",
    "remove_record_routes",
    "set_user_agent",
]

#: What a request without a usable Max-Forwards starts with (RFC 3261 8.1.1.6).
MAX_FORWARDS = 70

_DIGEST = 8  # bytes: 16 hex digits for each half of a branch keep the Via short
_MARK = 1 + 2 * _DIGEST


def hops_left(request: Request) -> int:
    """Return Max-Forwards; 70 if it is absent or not in 0..255, as siproxd takes it."""
    value = request.max_forwards
    return MAX_FORWARDS if value is None or not 0 <= value <= 255 else value


def count_down(request: Request) -> None:
    """Take one off Max-Forwards, or start at 70 (16.6 step 3)."""
    field = request.first(b"max-forwards")
    if field is None:
        request.insert(b"Max-Forwards: %d" % MAX_FORWARDS, "Max-Forwards (16.6 step 3)", after=b"via")
    else:
        hops = b"%d" % (hops_left(request) - 1)
        start, end = field.value_span if field.parsed is None else field.parsed.span(1)
        request.edit(field, start, end, hops, "Max-Forwards (16.6 step 3)")


def branch_for(request: Request, side: Side, key: bytes, attempt: int = 0) -> bytes:
    """Return the branch of our Via on `request`, which came in from `side` (16.6 step 8).

    Its first half tells transactions apart and is the same for a retransmission; the
    second half is what a loop would reproduce (RFC 5393 sections 4.2.1 and 4.2.4).
    """
    via = request.top_via
    inside = side is Side.INSIDE
    seed = _request_seed(request)
    received = b"%b|%b|%d|%d|%d|" % (via.branch or b"", via.host.encode(), via.port or 0, inside, attempt)
    return b"%b%b.%b" % (MAGIC_COOKIE, _digest(received + seed, key), _digest(seed, key))


def passed_before(request: Request, key: bytes, is_own: Callable[[str, int | None], bool]) -> set[str]:
    """Return our addresses from which this very request was sent before (16.3 step 4).

    One that comes back with another Request-URI is a spiral, not the same request (RFC 5393 section 4.2.2).
    """
    ours = []
    for via in request.vias():
        branch = via.branch
        # A branch of ours ends with a point and a mark. Looking for that first costs nothing, and most
        # requests have no such branch: the mark need not be made, nor the host be read.
        if branch and branch[-_MARK : -_MARK + 1] == b"." and is_own(via.host, via.port):
            ours.append((via.host, branch))
    if not ours:
        return set()
    mark = b"." + _digest(_request_seed(request), key)
    return {host for host, branch in ours if branch.endswith(mark)}


def _digest(seed: bytes, key: bytes) -> bytes:
    digest = _keyed(key).copy()
    digest.update(seed)
    return digest.hexdigest().encode()


@lru_cache(8)
def _keyed(key: bytes) -> hashlib.blake2b:
    """A digest that has taken its key already, which is half of the work for a seed of usual length."""
    return hashlib.blake2b(digest_size=_DIGEST, key=key)


def _request_seed(request: Request) -> bytes:
    """Everything that decides where the request goes, as it was received."""
    number = b"%d" % request.cseq.number
    parts = [request.uri_text, request.from_tag, request.to_tag, request.call_id, number]
    for name in (b"proxy-require", b"proxy-authorization", b"route"):
        parts += [field.value for field in request.all(name)]
    return b"\0".join(parts)


def add_via(
    request: Request, host: str, port: int, branch: bytes, *, transport: str, flags: bytes = b""
) -> None:
    """Put our Via on top (16.6 step 8); `flags` are parameters without a value, such as ``;rport``."""
    place = host_port(host, port)
    line = b"Via: SIP/2.0/%b %b;branch=%b%b" % (transport.encode(), place, branch, flags)
    request.insert(line, "Via (16.6 step 8)", before=b"via")


def add_content_length(message: Message) -> None:
    """Say where the body ends to a peer that has a stream and no datagram to tell by (16.6 step 9, 18.3)."""
    if message.first(b"content-length") is None:
        message.insert(b"Content-Length: %d" % len(message.body), "Content-Length (16.6 step 9)")


def _route_line(host: str, port: int, transport: str) -> bytes:
    parameter = b";transport=" + transport.encode() if transport else b""
    return b"Record-Route: <sip:siproxd@%b%b;lr>" % (host_port(host, port), parameter)


def add_record_route(request: Request, host: str, port: int, transport: str = "") -> None:
    """Put our Record-Route first (16.6 step 4)."""
    first = request.first(b"record-route")
    line, reason = _route_line(host, port, transport), "Record-Route (16.6 step 4)"
    request.insert(line, reason, before=first, after=None if first else b"via")


def append_record_route(response: Message, host: str, port: int, transport: str = "") -> None:
    """Put our Record-Route last in a response to a phone's request (16.7 step 8).

    Outside we are not in the route set, since the phone's masqueraded Contact leads to
    us anyhow. The phone reverses the list (12.1.2), so that its next request comes here first.
    """
    last = b"via" if response.first(b"record-route") is None else b"record-route"
    response.insert(_route_line(host, port, transport), "Record-Route for the phone", after=last)


def remove_record_routes(message: Message, is_mine: Callable[[SIPURI], bool]) -> None:
    """Take our own Record-Routes out of what goes outside."""
    for element in message.record_routes():
        if isinstance(element.uri, SIPURI) and is_mine(element.uri):
            message.remove_element(element, "our Record-Route stays inside")


def set_user_agent(message: Message, text: str) -> None:
    """Say `text` as the User-Agent; `ua_string` of siproxd, which adds it when it is missing."""
    value = text.encode()
    field = message.first(b"user-agent")
    if field is None:
        message.insert(b"User-Agent: " + value, "ua_string")
    elif field.value != value:
        message.replace_value(field, value, "ua_string")
