# SPDX-License-Identifier: MIT
"""What the words of SIP cost: microseconds of CPU per operation, without sockets, timers and the proxy core.

Run it in a checkout: ``python bench/words.py [--only part-of-a-name] [--same] [--profile]``.

1. Each operation runs over messages of fifty phones. Branch, Call-ID, tags and CSeq are never the same again,
   and what a phone says of itself is the same every time, because that is what a proxy sees. ``--same`` takes
   one message again and again, for comparisons with benchmarks that do so.
2. The garbage collector is off, and the best of many short stretches counts: the others measure what else
   the machine does.
3. The operations called ways are everything that the proxy does with the words for one message, in its order.
   What such a message costs in the program is this, plus transactions, look-ups and the sockets.
"""

from __future__ import annotations

import argparse
import cProfile
import gc
import pstats
from collections.abc import Callable, Sequence
from itertools import count
from time import process_time
from typing import Any

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import Side
from siproxd_tw.proxy.forwarding import (
    add_via,
    branch_for,
    count_down,
    hops_left,
    passed_before,
    remove_record_routes,
)
from siproxd_tw.sip.message import Message, Request, Response, ack_for, cancel_for, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI

MESSAGES = 400
PHONES = 50
KEY = b"k" * 32

SDP = (
    b"v=0\r\no=- 3747 3747 IN IP4 10.77.0.2\r\ns=call\r\nc=IN IP4 10.77.0.2\r\nt=0 0\r\n"
    b"m=audio 10034 RTP/AVP 0 8 9 101\r\na=rtpmap:0 PCMU/8000\r\na=rtpmap:8 PCMA/8000\r\n"
    b"a=rtpmap:9 G722/8000\r\na=rtpmap:101 telephone-event/8000\r\na=fmtp:101 0-16\r\n"
    b"a=ptime:20\r\na=sendrecv\r\n"
)
USUAL = (
    b"User-Agent: Phone/1.0 (Linux; test phone)\r\n"
    b"Allow: INVITE, ACK, CANCEL, BYE, NOTIFY, REFER, OPTIONS, UPDATE, PRACK, MESSAGE, SUBSCRIBE, INFO\r\n"
    b"Supported: replaces, path, timer\r\n"
)


def register(number: int) -> bytes:
    """The REGISTER of a phone behind the proxy, with an instance id."""
    phone = number % PHONES
    return (
        b"REGISTER sip:sip.provider.test SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.2:%d;branch=z9hG4bK1f3a-%d-1;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:user%d@sip.provider.test>;tag=f%d\r\n"
        b"To: <sip:user%d@sip.provider.test>\r\n"
        b"Call-ID: 1f3a-%d-bench\r\n"
        b"CSeq: %d REGISTER\r\n"
        b"Contact: <sip:user%d@10.77.0.2:%d;ob>;expires=3600\r\n"
        b"Expires: 3600\r\n%b"
        b"Content-Length: 0\r\n\r\n"
    ) % (5062 + phone, number, phone, number, phone, number, 1 + number, phone, 5062 + phone, USUAL)


def invite(number: int) -> bytes:
    """An INVITE of a phone behind the proxy; 14 lines, and a description."""
    phone = number % PHONES
    return (
        b"INVITE sip:ext%d@sip.provider.test SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.2:%d;branch=z9hG4bK1f3b-%d-1;rport\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:user%d@sip.provider.test>;tag=f%d\r\n"
        b"To: <sip:ext%d@sip.provider.test>\r\n"
        b"Call-ID: 1f3b-%d-bench\r\n"
        b"CSeq: %d INVITE\r\n"
        b"Contact: <sip:user%d@10.77.0.2:%d>\r\n%b"
        b"Content-Type: application/sdp\r\n"
        b"Content-Length: %d\r\n\r\n%b"
    ) % (
        *(phone, 5062 + phone, number, phone, number, phone, number),
        *(1 + number, phone, 5062 + phone, USUAL, len(SDP), SDP),
    )


def bye(number: int) -> bytes:
    """A BYE of a phone, routed by the proxy's Record-Route."""
    phone = number % PHONES
    return (
        b"BYE sip:ext%d@198.51.100.2:5060 SIP/2.0\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.2:%d;branch=z9hG4bK1f3c-%d-1;rport\r\n"
        b"Route: <sip:siproxd@10.77.0.1:5060;lr>\r\n"
        b"Max-Forwards: 70\r\n"
        b"From: <sip:user%d@sip.provider.test>;tag=f%d\r\n"
        b"To: <sip:ext%d@sip.provider.test>;tag=t%d\r\n"
        b"Call-ID: 1f3b-%d-bench\r\n"
        b"CSeq: %d BYE\r\n"
        b"User-Agent: Phone/1.0 (Linux; test phone)\r\n"
        b"Content-Length: 0\r\n\r\n"
    ) % (phone, 5062 + phone, number, phone, number, phone, number, number, 2 + number)


def ok(number: int) -> bytes:
    """A 200 to that INVITE as the proxy gets it, with the Via of the proxy and two below it."""
    phone = number % PHONES
    return (
        b"SIP/2.0 200 OK\r\n"
        b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK%016x.%016x;rport=5060;received=198.51.100.1\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.9:5060;branch=z9hG4bK77-%d;received=10.77.0.9\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.2:%d;branch=z9hG4bK1f3b-%d-1;rport=%d;received=10.77.0.2\r\n"
        b"Record-Route: <sip:198.51.100.2;lr>\r\n"
        b"From: <sip:user%d@sip.provider.test>;tag=f%d\r\n"
        b"To: <sip:ext%d@sip.provider.test>;tag=t%d\r\n"
        b"Call-ID: 1f3b-%d-bench\r\n"
        b"CSeq: %d INVITE\r\n"
        b"Contact: <sip:ext%d@198.51.100.2:5060>\r\n%b"
        b"Content-Type: application/sdp\r\n"
        b"Content-Length: %d\r\n\r\n%b"
    ) % (
        *(
            number * 7919,
            number * 104729,
            number,
            5062 + phone,
            number,
            5062 + phone,
            phone,
            number,
            phone,
            number,
        ),
        *(number, 1 + number, phone, USUAL, len(SDP), SDP),
    )


def registered(number: int) -> bytes:
    """The 200 to that REGISTER as the proxy gets it."""
    phone = number % PHONES
    return (
        b"SIP/2.0 200 OK\r\n"
        b"Via: SIP/2.0/UDP 198.51.100.1:5060;branch=z9hG4bK%016x.%016x;rport=5060;received=198.51.100.1\r\n"
        b"Via: SIP/2.0/UDP 10.77.0.2:%d;branch=z9hG4bK1f3a-%d-1;rport=%d;received=10.77.0.2\r\n"
        b"From: <sip:user%d@sip.provider.test>;tag=f%d\r\n"
        b"To: <sip:user%d@sip.provider.test>;tag=t%d\r\n"
        b"Call-ID: 1f3a-%d-bench\r\n"
        b"CSeq: %d REGISTER\r\n"
        b"Contact: <sip:user%d@198.51.100.1>;expires=3600\r\n"
        b"Server: Registrar/3.1\r\n"
        b"Content-Length: 0\r\n\r\n"
    ) % (
        *(number * 7919, number * 104729, 5062 + phone, number, 5062 + phone, phone, number, phone, number),
        *(number, 1 + number, phone),
    )


# Operations, each on one message


def note_source(request: Request) -> None:
    """What the transport layer writes into the topmost Via (RFC 3261 section 18.2.1, RFC 3581)."""
    via = request.top_via
    port, asked = via.port, via.param_span(b"rport")
    params = []
    if asked is not None:
        params.append((b"rport", b"%d" % (port or 5060), "rport (RFC 3581)"))
    if (via.host != "10.77.0.3" or asked is not None) and via.received != "10.77.0.3":
        params.append((b"received", b"10.77.0.3", "received (RFC 3261 18.2.1)"))
    request.set_params(via, params)


def note_source_twice(request: Request) -> None:
    """The same by one edit after the other."""
    via = request.top_via
    port, asked = via.port, via.param_span(b"rport")
    if asked is not None:
        request.edit(via.field, *asked, b";rport=%d" % (port or 5060), "rport (RFC 3581)")
    if (via.host != "10.77.0.3" or asked is not None) and via.received != "10.77.0.3":
        span = via.param_span(b"received") or (via.end, via.end)
        request.edit(via.field, *span, b";received=10.77.0.3", "received (RFC 3261 18.2.1)")


def transaction_key(request: Request) -> object:
    """What tells server transactions apart (section 17.2.3)."""
    via = request.top_via
    return via.branch, via.host, via.port, request.method


def insert_via(request: Request) -> None:
    """Our Via, with a branch that is known."""
    add_via(request, "198.51.100.1", 5060, b"z9hG4bK0123456789abcdef", transport="UDP", flags=b";rport")


def mask_contact(message: Message) -> None:
    """Another URI in each Contact."""
    for contact in message.contacts():
        message.replace_uri(contact, b"sip:user@198.51.100.1", "Contact masqueraded")


def take_route_off(request: Request) -> None:
    """The topmost Route is ours."""
    routes = request.routes()
    request.remove_element(routes[0], "our own Route (16.4)")


def take_via_off(response: Response) -> None:
    """The topmost Via is ours."""
    response.remove_element(response.top_via, "our Via (16.7 step 3)")


def edit_body(message: Message) -> None:
    """One address and one port, as the media relay does."""
    at = message.body.index(b"10034")
    message.edit_body([Edit(at, at + 5, b"7070", "port")])


def is_own(host: str, port: int | None) -> bool:
    """Whether an address is the proxy's."""
    return host in ("10.77.0.1", "198.51.100.1") and (port or 5060) == 5060


def is_mine(uri: SIPURI) -> bool:
    """Whether a URI leads to the proxy."""
    return is_own(uri.host, uri.port)


# Whole ways


def screened(data: bytes) -> Request:
    """From the bytes to the server transaction."""
    request = parse(data)
    assert isinstance(request, Request)
    transaction_key(request)
    note_source(request)
    assert isinstance(request.uri, SIPURI)
    hops_left(request)
    request.all(b"proxy-require")
    passed_before(request, KEY, is_own)
    request.first(b"route")
    transaction_key(request)
    return request


def sent_on(copy: Request, request: Request) -> bytes:
    """From the masquerade to the bytes and the client transaction."""
    count_down(copy)
    remove_record_routes(copy, is_mine)
    branch = branch_for(request, Side.INSIDE, KEY)
    add_via(copy, "198.51.100.1", 5060, branch, transport="UDP", flags=b";rport")
    assert copy.top_via.branch
    return bytes(copy)


def forward_register(data: bytes) -> bytes:
    """A REGISTER on its way to the provider."""
    request = screened(data)
    assert request.call_id
    copy = request.copy()
    assert not copy.routes()
    assert isinstance(copy.uri, SIPURI)
    assert isinstance(copy.to.uri, SIPURI)
    for contact in copy.contacts():
        if not contact.is_wildcard and isinstance(contact.uri, SIPURI):
            contact.param(b"+sip.instance")
            contact.param(b"expires") or copy.value(b"expires")
            copy.replace_uri(contact, b"sip:user@198.51.100.1", "Contact masqueraded")
    return sent_on(copy, request)


def forward_bye(data: bytes) -> bytes:
    """A BYE on its way to the other side."""
    request = screened(data)
    assert request.call_id
    copy = request.copy()
    routes = copy.routes()
    if routes and isinstance(routes[0].uri, SIPURI) and is_mine(routes[0].uri):
        copy.remove_element(routes[0], "our own Route (16.4)")
    assert isinstance(copy.uri, SIPURI)
    assert all((copy.call_id, copy.from_tag, copy.to_tag))
    assert not copy.contacts()
    return sent_on(copy, request)


def forward_invite(data: bytes) -> bytes:
    """An INVITE on its way to the provider, with its 100 and another description."""
    request = screened(data)
    assert bytes(response_to(request, 100))
    copy = request.copy()
    assert not copy.routes()
    assert isinstance(copy.uri, SIPURI)
    mask_contact(copy)
    assert all((copy.call_id, copy.from_tag, copy.cseq.method, copy.content_type, not copy.to_tag))
    edit_body(copy)
    return sent_on(copy, request)


def return_response(data: bytes) -> bytes:
    """A 200 to a REGISTER on its way back to the phone."""
    response = parse(data)
    assert isinstance(response, Response)
    assert all((response.top_via.branch, response.cseq.method, response.call_id))
    take_via_off(response)
    assert response.first(b"via") is not None
    for contact in response.contacts():
        if isinstance(contact.uri, SIPURI) and contact.param(b"expires"):
            response.replace_uri(contact, b"sip:user@10.77.0.2:5062;ob", "Contact un-masked")
    return bytes(response)


def return_answer(data: bytes) -> bytes:
    """A 200 to an INVITE on its way back to the phone, with another description."""
    response = parse(data)
    assert isinstance(response, Response)
    assert all((response.top_via.branch, response.cseq.method, response.call_id, response.to_tag))
    take_via_off(response)
    assert response.first(b"via") is not None
    response.insert(b"Record-Route: <sip:siproxd@10.77.0.1:5060;lr>", "Record-Route", after=b"record-route")
    assert response.content_type
    edit_body(response)
    return bytes(response)


def nothing(item: Any) -> Any:
    """Leave a message as it is."""
    return item


def edited(request: Any) -> Any:
    """Do to a request what forwarding does."""
    note_source(request)
    copy = request.copy()
    count_down(copy)
    mask_contact(copy)
    insert_via(copy)
    return copy


def failure_of(request: Request) -> Any:
    """Give a request and its 486."""
    response = parse(bytes(response_to(request, 486, to_tag=b"abc")))
    return request, response


_numbers = count()

Operation = tuple[str, Callable[[int], bytes], Callable[[Any], Any] | None, Callable[[Any], Any]]

#: Name, template, what prepares a parsed message (None: the operation takes bytes), the operation.
OPERATIONS: Sequence[Operation] = (
    ("parse: REGISTER", register, None, parse),
    ("parse: INVITE with SDP", invite, None, parse),
    ("parse: 200 with 3 Vias and SDP", ok, None, parse),
    ("read: top_via.branch/host/port", register, nothing, transaction_key),
    ("read: from_tag, to_tag", bye, nothing, lambda m: (m.from_tag, m.to_tag)),
    ("read: call_id", register, nothing, lambda m: m.call_id),
    ("read: cseq", register, nothing, lambda m: m.cseq),
    ("read: contacts() with uri", register, nothing, lambda m: [c.uri for c in m.contacts()]),
    ("read: vias()", ok, nothing, lambda m: m.vias()),
    ("read: max_forwards, three absent names", register, nothing, lambda m: (hops_left(m), m.routes())),
    ("edit: rport and received", register, nothing, note_source),
    ("edit: the same, one after the other", register, nothing, note_source_twice),
    ("edit: Via insert", register, nothing, insert_via),
    ("edit: Max-Forwards", register, nothing, count_down),
    ("edit: Route removal", bye, nothing, take_route_off),
    ("edit: Via removal", ok, nothing, take_via_off),
    ("edit: Contact URI", register, nothing, mask_contact),
    ("edit: body and Content-Length", invite, nothing, edit_body),
    ("copy: as received", register, nothing, lambda m: m.copy()),
    ("copy: after five edits", register, edited, lambda m: m.copy()),
    ("bytes: as received", register, nothing, bytes),
    ("bytes: after five edits", register, edited, bytes),
    ("edits: of five", register, edited, lambda m: m.edits()),
    ("branch_for", register, nothing, lambda m: branch_for(m, Side.INSIDE, KEY)),
    ("passed_before", register, nothing, lambda m: passed_before(m, KEY, is_own)),
    ("response_to 100", invite, nothing, lambda m: bytes(response_to(m, 100))),
    ("response_to 200 with a tag", invite, nothing, lambda m: bytes(response_to(m, 200, to_tag=b"abc"))),
    ("ack_for", invite, failure_of, lambda pair: bytes(ack_for(*pair))),
    ("cancel_for", invite, nothing, lambda m: bytes(cancel_for(m))),
    ("way: REGISTER out", register, None, forward_register),
    ("way: BYE out", bye, None, forward_bye),
    ("way: INVITE out, and its 100", invite, None, forward_invite),
    ("way: 200 to REGISTER back", registered, None, return_response),
    ("way: 200 to INVITE back", ok, None, return_answer),
)


def inputs(operation: Operation, *, same: bool) -> list[Any]:
    """Make the messages for one pass; new ones for each, since operations change them."""
    _, template, prepare, _ = operation
    data = [template(0 if same else next(_numbers)) for _ in range(MESSAGES)]
    if prepare is None:
        return [bytes(bytearray(item)) for item in data]  # bytes from the network have no hash yet
    return [prepare(parse(item)) for item in data]


def cost(operation: Operation, passes: int, *, same: bool) -> float:
    """Return microseconds per operation, of the best stretch of fifty."""
    act, best = operation[3], float("inf")
    for _ in range(passes):
        items = inputs(operation, same=same)
        for start in range(0, MESSAGES, PHONES):
            stretch = items[start : start + PHONES]
            before = process_time()
            for item in stretch:
                act(item)
            best = min(best, process_time() - before)
    return best / PHONES * 1e6


def main() -> None:
    """Print one line per operation."""
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--only", default="", help="operations whose name holds this")
    arguments.add_argument("--same", action="store_true", help="one message again and again")
    arguments.add_argument("--passes", type=int, default=30)
    arguments.add_argument("--profile", action="store_true", help="where the time goes, function by function")
    options = arguments.parse_args()
    gc.disable()
    for operation in OPERATIONS:
        if options.only not in operation[0]:
            continue
        print(f"{cost(operation, options.passes, same=options.same):8.2f}  {operation[0]}", flush=True)
        if options.profile:
            items, profile = inputs(operation, same=options.same), cProfile.Profile()
            profile.runcall(lambda items=items, act=operation[3]: [act(item) for item in items])
            pstats.Stats(profile).sort_stats("tottime").print_stats(25)


if __name__ == "__main__":
    main()
