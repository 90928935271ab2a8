# SPDX-License-Identifier: MIT
"""The rewrite contract: everything that the proxy does to a message itself, and what it may change.

`outward` and `inward` dress a copy as the core does, from the preprocessing of its Routes to our Via;
`violations` compares the result with what was received.
"""

from __future__ import annotations

from siproxd_tw.config.settings import RoutingConfig, SIPConfig
from siproxd_tw.edits import apply
from siproxd_tw.interfaces import Address, Destination, Flow, Hop, Side
from siproxd_tw.proxy.context import Branch, ResponseContext
from siproxd_tw.proxy.dialogs import Dialogs
from siproxd_tw.proxy.dress import Dress
from siproxd_tw.proxy.forwarding import branch_for, count_down
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.references import References
from siproxd_tw.proxy.routing import Routing, Target
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transaction import Timers
from siproxd_tw.sip.transactionlayer import ServerTransaction
from tests.support.addresses import two_armed
from tests.support.messages import request, wire
from tests.support.signalling import MemoryTransport

__all__ = ["PHONE", "PROVIDER", "Wardrobe", "branch_of", "violations"]

PHONE = Flow(MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE), Address("10.0.0.10", 5062), Side.INSIDE)
PROVIDER = Flow(
    MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE), Address("203.0.113.50", 5060), Side.OUTSIDE
)

_URIS = (b"contact", b"refer-to", b"referred-by")
"""Of these only the URIs may change."""
_MAY_CHANGE = frozenset({b"via", b"record-route", b"route", b"max-forwards", b"content-length", *_URIS})


class Wardrobe:
    """A Dress with everything that it hangs on."""

    def __init__(self, config: SIPConfig | None = None, *, has_certificate: bool = False) -> None:
        self.config = config or SIPConfig()
        self.addresses = two_armed()
        self.location = Location()
        self.dialogs = Dialogs()
        self.masquerade = Masquerade(self.addresses, self.location, self.config.port)
        self.routing = Routing(RoutingConfig(), self.addresses, self.location, self.dialogs, self.config)
        references = References(self.location, self.addresses, self.masquerade)
        self.dress = Dress(
            self.config,
            self.addresses,
            self.routing,
            self.masquerade,
            references,
            self.dialogs,
            has_certificate=has_certificate,
        )

    def send_on(self, received: Request, to: Side, uri: bytes | None = None) -> Request:
        """Return the copy of a request that is sent to `to`, from the other side."""
        source, out = (PROVIDER, PHONE) if to is Side.INSIDE else (PHONE, PROVIDER)
        source, out = self._at_our_port(source), self._at_our_port(out)
        copy = received.copy()
        self.routing.preprocess(copy)
        if uri is not None:
            copy.set_uri(uri, "Request-URI of the phone")
        count_down(copy)
        self.dress.request(copy, source, out, 0.0)
        self.dress.via(copy, out, branch_for(received, source.side, b"k" * 32))
        return copy

    def _at_our_port(self, flow: Flow) -> Flow:
        if self.config.port == flow.transport.local.port:
            return flow
        local = Address(flow.transport.local.host, self.config.port)
        return flow._replace(transport=MemoryTransport(local, flow.side))

    def send_back(self, received: Response, to: Side) -> Response:
        """Return the copy of a response that is sent to `to`; its topmost Via was ours."""
        asking, answering = (PHONE, PROVIDER) if to is Side.INSIDE else (PROVIDER, PHONE)
        branch = branch_of(asking, answering)
        copy = received.copy()
        copy.remove_element(copy.top_via, "our Via")
        self.dress.uncover(copy, branch.context)
        self.dress.response(copy, branch.context, branch, answering, 0.0)
        return copy


def branch_of(asking: Flow, answering: Flow, method: str = "INVITE") -> Branch:
    """Return the branch of a request that came by `asking` and went out by `answering`."""
    asked = parse(wire(request(method, "sip:bob@sip.other.test", "Via: SIP/2.0/UDP h;branch=z9hG4bKa")))
    assert isinstance(asked, Request)
    context = ResponseContext(asked, asking, asked.copy(), asked.call_id)
    context.server = ServerTransaction(asked, asking, asking, (), Timers(), False)
    hop = Hop(answering.transport.name, answering.remote)
    target = Target(answering.side, Destination(*answering.remote), hop=hop)
    branch = Branch(context, target, hop, answering, [])
    context.branches.append(branch)
    return branch


def violations(received: Message, sent: Message, *, user_agent: bool = False) -> list[str]:
    """Say what is different in `sent` that must not be, and what its edits do not explain."""
    found = []
    before, after = received.original, bytes(sent)
    if apply(before, sent.edits()) != after:
        found.append("the edits do not give the message")
    found += [f"the edit {edit} has no reason" for edit in sent.edits() if not edit.reason]
    again = parse(after) if sent.first(b"via") else sent
    may_change = _MAY_CHANGE | ({b"user-agent"} if user_agent else set())
    if _others(received, may_change) != _others(again, may_change):
        found.append(f"other header fields changed: {_others(again, may_change)}")
    if _foreign_routes(received) != _foreign_routes(again):
        found.append("a Record-Route of somebody else changed")
    if received.body != again.body:
        found.append("the body changed")
    above, below = ([], 1) if isinstance(received, Response) else (again.vias()[:1], 0)
    if [via.text for via in [*above, *received.vias()[below:]]] != [via.text for via in again.vias()]:
        found.append("a Via of somebody else changed")
    if isinstance(received, Response) and before.split(b"\n")[0] != after.split(b"\n")[0]:
        found.append("the status line changed")
    if isinstance(received, Request):
        found += _request_line(before, after)
    if [c.text for c in received.contacts() if not c.bracketed] == []:
        found += _contacts(received, again)
    return found


def _others(message: Message, may_change: frozenset[bytes]) -> list[bytes]:
    return [field.raw for field in message.fields if field.name not in may_change]


def _foreign_routes(message: Message) -> list[bytes]:
    own = (b"10.0.0.1", b"203.0.113.1")
    return [e.text for e in message.record_routes() if not any(host in e.text for host in own)]


def _request_line(before: bytes, after: bytes) -> list[str]:
    (first, _, end), (first_after, _, end_after) = before.split(b" ", 2), after.split(b" ", 2)
    line_end, line_end_after = end.partition(b"\n")[0], end_after.partition(b"\n")[0]
    changed = (first, line_end) != (first_after, line_end_after)
    return ["the request line changed beside the URI"] if changed else []


def _contacts(received: Message, sent: Message) -> list[str]:
    """Only the URI of a Contact may change, nothing around it."""
    return [
        f"{name.decode()} changed beside its URI"
        for name in _URIS
        if [_around(f.raw) for f in received.all(name)] != [_around(f.raw) for f in sent.all(name)]
    ]


def _around(raw: bytes) -> list[bytes]:
    """What stands outside of the brackets, quoted strings blanked out so that no bracket is one of theirs."""
    pieces, quoted, at = [], False, 0
    while at < len(raw):
        octet = raw[at : at + 1]
        if quoted and octet == b"\\":
            pieces.append(raw[at : at + 2])
            at += 2
            continue
        if octet == b'"':
            quoted = not quoted
        if octet == b"<" and not quoted:
            at = raw.index(b">", at)
        pieces.append(octet)
        at += 1
    return pieces
