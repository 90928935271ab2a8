# SPDX-License-Identifier: MIT
"""The transport layer and its pump: datagrams in, events up, messages out, one timer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import LogLevel, capturedLogs
from zope.interface import implementer
from zope.interface.verify import verifyObject

from siproxd_tw.edits import apply
from siproxd_tw.interfaces import (
    Address,
    Flow,
    Hop,
    ISendReport,
    ISignalling,
    IStatus,
    ITransactionUser,
    Refused,
    Side,
)
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    StrayResponse,
    TransactionFailed,
    local_tag,
)
from siproxd_tw.transport.layer import SHORTEST_MESSAGE, SignallingLayer, note_source
from tests.support.addresses import one_armed, two_armed
from tests.support.messages import answer, request, wire
from tests.support.signalling import MemoryTransport

SECRET = b"s" * 32
PHONE, PROVIDER = Address("10.0.0.10", 5062), Address("203.0.113.50", 5060)


@implementer(ITransactionUser)
class User:
    """Takes note of everything, and refuses or does what the test says."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.admitted: list[Flow] = []
        self.unwelcome: Refused | None = None
        self.refusal: Refused | None = None
        self.does: Callable[[Any], None] = lambda event: None

    def admits(self, flow: Flow) -> None:
        self.admitted.append(flow)
        if self.unwelcome is not None:
            raise self.unwelcome

    def screen(self, request: Request, flow: Flow) -> object:
        if self.refusal is not None:
            raise self.refusal
        return f"kept of {request.method}"

    def event_received(self, event: Any) -> None:
        self.events.append(event)
        self.does(event)


class Stack:
    """A signalling layer between two sockets and a user."""

    def __init__(self, addresses: Any = None, **limits: int) -> None:
        self.clock: Any = Clock()
        self.inside = MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE)
        self.outside = MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE)
        self.user = User()
        self.layer = SignallingLayer(self.clock, addresses or two_armed(), SECRET, **limits)
        self.layer.serve(self.user)
        self.layer.use({(Side.INSIDE, "UDP", False): self.inside, (Side.OUTSIDE, "UDP", False): self.outside})

    def receive(self, data: bytes | str, *, remote: Address = PHONE, transport: Any = None) -> None:
        """Let a datagram come in, from the phone unless said otherwise."""
        self.layer.received(wire(data) if isinstance(data, str) else data, transport or self.inside, remote)

    def events(self) -> list[str]:
        """Return the names of the events since the last time."""
        names = [type(event).__name__ for event in self.user.events]
        self.user.events.clear()
        return names

    def sent(self, transport: MemoryTransport | None = None) -> list[str]:
        """Return what was sent to the inside, or from another socket: "200 to 10.0.0.10:5062"."""
        transport = transport or self.inside
        lines = [f"{_what(data)} to {remote}" for data, remote in transport.sent]
        transport.sent.clear()
        return lines

    def counted(self, name: str) -> object:
        return self.layer.status().get(name, 0)


def _what(data: bytes) -> str:
    message = parse(data)
    return str(message.status) if isinstance(message, Response) else message.method  # type: ignore[attr-defined]


def text(
    method: str = "OPTIONS", branch: str = "z9hG4bKa", *headers: str, via: str = "10.0.0.10:5062"
) -> str:
    line = f"Via: SIP/2.0/UDP {via};branch={branch}"
    return request(method, "sip:bob@sip.provider.test", line, *headers)


@pytest.fixture
def stack() -> Stack:
    return Stack()


def test_provides_what_the_proxy_expects(stack: Stack) -> None:
    """The layer is ISignalling and IStatus; the user of these tests is one."""
    assert verifyObject(ISignalling, stack.layer)
    assert verifyObject(ISendReport, stack.layer)
    assert verifyObject(IStatus, stack.layer)
    assert verifyObject(ITransactionUser, stack.user)


# received and rport


@pytest.mark.parametrize(
    ("via", "remote", "after", "goes"),
    [
        ("10.0.0.10:5062", ("10.0.0.10", 5062), "", ("10.0.0.10", 5062)),
        ("10.0.0.10:5062", ("10.0.0.10", 9999), "", ("10.0.0.10", 5062)),
        ("10.0.0.10", ("10.0.0.10", 9999), "", ("10.0.0.10", 5060)),
        ("192.168.7.7:6000", ("10.0.0.10", 9), ";received=10.0.0.10", ("10.0.0.10", 6000)),
        ("phone.local", ("10.0.0.10", 9), ";received=10.0.0.10", ("10.0.0.10", 5060)),
        ("10.0.0.10:5062;rport", ("10.0.0.10", 9), ";rport=9;received=10.0.0.10", ("10.0.0.10", 9)),
        ("h;RPORT;x=1", ("10.0.0.10", 9), ";rport=9;x=1;received=10.0.0.10", ("10.0.0.10", 9)),
        ("h;rport=1", ("10.0.0.10", 9), ";rport=9;received=10.0.0.10", ("10.0.0.10", 9)),
        ("h;received=10.0.0.10", ("10.0.0.10", 9), ";received=10.0.0.10", ("10.0.0.10", 5060)),
        ("h;received=192.0.2.1;x", ("10.0.0.10", 9), ";received=10.0.0.10;x", ("10.0.0.10", 5060)),
        ("[2001:db8::1]:99", ("2001:db8::1", 9), "", ("2001:db8::1", 99)),
        ("h;rport", ("2001:db8::1", 9), ";rport=9;received=2001:db8::1", ("2001:db8::1", 9)),
    ],
)
def test_where_a_request_came_from(
    via: str, remote: tuple[str, int], after: str, goes: tuple[str, int]
) -> None:
    """Noted in its Via (18.2.1, RFC 3581), and where the answer goes (18.2.2): to the source in any case."""
    message = parse(wire(request("OPTIONS", "sip:b@h", f"Via: SIP/2.0/UDP {via} , SIP/2.0/UDP below")))
    assert isinstance(message, Request)
    sent_by = via.partition(";")[0]
    flow = Flow(MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE), Address(*remote), Side.INSIDE)
    assert note_source(message, flow) == flow._replace(remote=Address(*goes))
    assert message.top_via.text.decode() == f"SIP/2.0/UDP {sent_by}{after}"
    assert message.vias()[1].text == b"SIP/2.0/UDP below"
    assert apply(message.original, message.edits()) == bytes(message)


def test_a_source_that_is_noted_already() -> None:
    """By the phone itself, rightly: nothing is left to change."""
    message = parse(wire(request("OPTIONS", "sip:b@h", "Via: SIP/2.0/UDP h;received=10.0.0.10")))
    assert isinstance(message, Request)
    note_source(message, Flow(MemoryTransport(PHONE, Side.INSIDE), PHONE, Side.INSIDE))
    assert message.edits() == []


@pytest.mark.parametrize(
    ("via", "after", "fallback"),
    [
        ("10.0.0.10:5062", ";rport=4711;received=10.0.0.10", 5062),
        ("10.0.0.10", ";rport=4711;received=10.0.0.10", 5060),
        ("phone.invalid;rport;alias", ";rport=4711;alias;received=10.0.0.10", 5060),
    ],
)
def test_where_a_request_came_from_by_a_stream(via: str, after: str, fallback: int) -> None:
    """Both are noted, asked for or not, as siproxd does; its answer goes back on the connection.

    Where that is gone a new one is made to the source's address and the port of sent-by (18.2.2).
    """
    message = parse(wire(request("OPTIONS", "sip:b@h", f"Via: SIP/2.0/TCP {via}")))
    assert isinstance(message, Request)
    stream = MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE, name="TCP", reliable=True)
    flow = Flow(stream, Address("10.0.0.10", 4711), Side.INSIDE)
    assert note_source(message, flow) == flow._replace(fallback=Address("10.0.0.10", fallback))
    assert message.top_via.text.decode() == f"SIP/2.0/TCP {via.partition(';')[0]}{after}"


# before there is state


@pytest.mark.parametrize("data", [b"", b"\r\n", b"\r\n\r\n", b"\0\0\0\0", b"jaK", b"\0" * 64, b"\r\n" * 40])
def test_keepalives(stack: Stack, data: bytes) -> None:
    """Of every dialect: counted, not parsed, not answered, not logged."""
    with capturedLogs() as events:
        stack.receive(data)
    assert events == []
    assert stack.user.admitted == []
    assert stack.events() == stack.sent() == []
    assert stack.layer.status() == {"transactions": 0, "received": 1, "keepalive": 1}


def test_short_things_are_no_messages(stack: Stack) -> None:
    """One byte decides."""
    stack.receive(b"x" * (SHORTEST_MESSAGE - 1))
    assert stack.counted("keepalive") == 1
    stack.receive(b"x" * SHORTEST_MESSAGE)
    assert stack.counted("keepalive") == 1
    assert len(stack.user.admitted) == 1


def test_an_unwelcome_peer(stack: Stack) -> None:
    """Nothing is parsed, not even garbage; nothing is answered."""
    stack.user.unwelcome = Refused(None, "hosts_deny_sip")
    stack.receive(text())
    stack.receive(b"garbage from a scanner\r\n\r\n")
    assert stack.events() == stack.sent() == []
    assert stack.counted("refused: hosts_deny_sip") == 2
    assert not any(str(name).startswith("malformed") for name in stack.layer.status())


@pytest.mark.parametrize(
    ("message", "reply", "counter"),
    [
        (text("OPTIONS", "z9hG4bKa", "CSeq: x"), b"SIP/2.0 400 Bad CSeq\r\n", "malformed: CSeq"),
        (
            text("OPTIONS", "z9hG4bKa", "CSeq: 1 INVITE"),
            b"SIP/2.0 400 Bad CSeq\r\n",
            "malformed: CSeq",
        ),
        (
            text().replace("SIP/2.0\n", "SIP/7.0\n", 1),
            b"SIP/2.0 505 Version Not Supported\r\n",
            "malformed: start line",
        ),
    ],
)
def test_malformed_requests(stack: Stack, message: str, reply: bytes, counter: str) -> None:
    """Answered without state to where they came from, with a To tag; what is wrong is counted by header."""
    stack.receive(message)
    ((data, remote),) = stack.inside.sent
    assert data.startswith(reply)
    assert b";tag=" in data.partition(b"To:")[2].partition(b"\r\n")[0]
    assert remote == PHONE
    assert stack.events() == []
    assert stack.counted(counter) == 1
    assert stack.layer.status()["transactions"] == 0


@pytest.mark.parametrize(
    "message",
    [
        text("ACK", "z9hG4bKa", "CSeq: x"),
        text()
        .replace("OPTIONS sip:bob@sip.provider.test SIP/2.0", "SIP/2.0 200 OK")
        .replace("CSeq: 1", "CSeq: x"),
        "OPTIONS sip:b@h SIP/2.0\nFrom: <sip:a@h>;tag=1\n\n",
        "\x16\x03\x01 no SIP at all, but TLS",
    ],
)
def test_what_is_malformed_and_cannot_be_answered(stack: Stack, message: str) -> None:
    """ACKs, responses and what has no Via are dropped in silence, one debug line each."""
    with capturedLogs() as events:
        stack.receive(message)
    assert stack.sent() == stack.events() == []
    assert [e["log_level"] for e in events] == [LogLevel.debug]


def test_a_refusal_without_state(stack: Stack) -> None:
    """Every retransmission gets the very same bytes, and its ACK does not reach the user (8.2.7)."""
    stack.user.refusal = Refused(404, "no such phone", phrase="Nobody", headers=(b"X-Why: 1",))
    invite = text("INVITE")
    stack.receive(invite)
    stack.receive(invite)
    (first, remote), (second, _) = stack.inside.sent
    assert first == second
    assert remote == PHONE
    response = parse(first)
    assert first.startswith(b"SIP/2.0 404 Nobody\r\n")
    assert response.value(b"x-why") == b"1"
    assert response.to_tag == local_tag(parse(wire(invite)), SECRET)  # type: ignore[arg-type]
    stack.user.refusal = None
    stack.receive(text("ACK", "z9hG4bKa", f"To: <sip:bob@sip.provider.test>;tag={response.to_tag.decode()}"))
    assert stack.events() == []
    assert stack.layer.status()["transactions"] == 0
    assert stack.counted("refused: no such phone") == 2
    assert stack.counted("answered: 404") == 2


def test_a_silent_refusal_and_a_refused_ack(stack: Stack) -> None:
    """Status None says nothing to the sender, and no ACK is ever answered."""
    stack.user.refusal = Refused(None, "not in hosts_allow_sip")
    stack.receive(text())
    stack.user.refusal = Refused(482, "loop")
    stack.receive(text("ACK"))
    assert stack.sent() == stack.events() == []
    assert stack.counted("refused: not in hosts_allow_sip") == 1
    assert stack.counted("refused: loop") == 1


def test_a_refusal_that_is_an_answer_is_not_counted_as_one(stack: Stack) -> None:
    """The 200 to an OPTIONS for the proxy."""
    stack.user.refusal = Refused(200, "OPTIONS for the proxy")
    stack.receive(text())
    assert stack.sent() == [f"200 to {PHONE}"]
    assert stack.counted("refused: OPTIONS for the proxy") == 0
    assert stack.counted("answered: 200") == 1


def test_before_there_is_a_user(stack: Stack) -> None:
    """Nothing happens."""
    stack.layer._user = None
    stack.receive(text())
    assert stack.events() == stack.sent() == []


# requests and responses


def test_a_request_and_its_answer(stack: Stack) -> None:
    """One event; the answer goes to the reply address; a retransmission gets it again."""
    stack.receive(text("OPTIONS", "z9hG4bKa;rport", via="10.0.0.99:1"), remote=Address("10.0.0.10", 4711))
    (event,) = stack.user.events
    assert isinstance(event, RequestReceived)
    assert event.transaction.flow.remote == Address("10.0.0.10", 4711)
    assert event.transaction.flow.side is Side.INSIDE
    assert event.transaction.request.top_via.received == "10.0.0.10"
    stack.layer.respond(event.transaction, response_to(event.transaction.request, 200))
    stack.receive(text("OPTIONS", "z9hG4bKa;rport", via="10.0.0.99:1"), remote=Address("10.0.0.10", 4711))
    assert stack.events() == ["RequestReceived"]
    (first, _), (second, _) = stack.inside.sent
    assert first == second
    assert stack.sent() == ["200 to 10.0.0.10:4711"] * 2


def test_ack_and_cancel(stack: Stack) -> None:
    """The ACK for a 2xx is an event of its own; a CANCEL names the INVITE that it is about."""
    stack.receive(text("INVITE"))
    stack.receive(text("CANCEL"))
    stack.receive(text("CANCEL", "z9hG4bKother"))
    stack.receive(text("ACK", "z9hG4bKack"))
    received, cancel, unknown, ack = stack.user.events
    assert isinstance(cancel, CancelReceived)
    assert cancel.invite is received.transaction
    assert isinstance(unknown, CancelReceived)
    assert unknown.invite is None
    assert isinstance(ack, AckReceived)
    assert ack.flow.remote == PHONE


def sent_request(stack: Stack, method: str = "OPTIONS") -> Any:
    """Send a request to the provider; return its client transaction."""
    flow = stack.layer.flow_to(Hop("UDP", PROVIDER), Side.OUTSIDE)
    assert flow is not None
    message = parse(wire(text(method, "z9hG4bKours", via="203.0.113.1:5060")))
    assert isinstance(message, Request)
    return stack.layer.request(message, flow, "whose", b"z9hG4bKours")


def test_a_request_that_we_send(stack: Stack) -> None:
    """Goes out at once and by timer E; the response comes up with its transaction and user."""
    transaction = sent_request(stack)
    assert transaction.user == "whose"
    stack.clock.advance(0.5)
    assert stack.sent(stack.outside) == [f"OPTIONS to {PROVIDER}"] * 2
    reply = wire(answer(transaction.request, "200 OK"))
    stack.receive(reply, remote=PROVIDER, transport=stack.outside)
    (event,) = stack.user.events
    assert isinstance(event, ResponseReceived)
    assert event.transaction is transaction
    stack.clock.advance(60)
    assert stack.sent(stack.outside) == []


def test_a_response_that_matches_nothing(stack: Stack) -> None:
    """Comes up as a stray one."""
    reply = text().replace("OPTIONS sip:bob@sip.provider.test SIP/2.0", "SIP/2.0 200 OK")
    stack.receive(reply, remote=PROVIDER, transport=stack.outside)
    (event,) = stack.user.events
    assert isinstance(event, StrayResponse)
    assert event.flow == Flow(stack.outside, PROVIDER, Side.OUTSIDE)


def test_an_invite_is_cancelled(stack: Stack) -> None:
    """As soon as there is a provisional response (9.1)."""
    transaction = sent_request(stack, "INVITE")
    stack.layer.cancel(transaction)
    assert stack.sent(stack.outside) == [f"INVITE to {PROVIDER}"]
    ringing = wire(answer(transaction.request, "180 Ringing"))
    stack.receive(ringing, remote=PROVIDER, transport=stack.outside)
    assert stack.sent(stack.outside) == [f"CANCEL to {PROVIDER}"]


def test_nobody_answers(stack: Stack) -> None:
    """After 64*T1 the user is told, and nothing is left: no transaction, no timer."""
    sent_request(stack)
    stack.clock.pump([0.1] * 400)
    (event,) = stack.user.events
    assert isinstance(event, TransactionFailed)
    assert stack.layer.status()["transactions"] == 0
    assert stack.clock.getDelayedCalls() == []


def test_a_request_outside_any_transaction(stack: Stack) -> None:
    """An ACK for a 2xx is sent once and never again."""
    ack = parse(wire(text("ACK")))
    assert isinstance(ack, Request)
    flow = stack.layer.flow_to(Hop("UDP", PROVIDER), Side.OUTSIDE)
    assert flow is not None
    stack.layer.send(ack, flow)
    stack.clock.advance(60)
    assert stack.sent(stack.outside) == [f"ACK to {PROVIDER}"]
    assert stack.counted("sent") == 1


def test_a_forgotten_request(stack: Stack) -> None:
    """A transaction that is forgotten leaves nothing, and its retransmission is a new request."""
    stack.receive(text("MESSAGE"))
    stack.layer.forget(stack.user.events[0].transaction)
    assert stack.layer.status()["transactions"] == 0
    stack.receive(text("MESSAGE"))
    assert stack.events() == ["RequestReceived"] * 2


def test_the_way_to_a_peer(stack: Stack) -> None:
    """By the socket of its side, transport and family, as long as there is one."""
    hop, phone = Hop("UDP", PROVIDER, "sip.provider.test"), Hop("UDP", PHONE)
    way = Flow(stack.outside, PROVIDER, Side.OUTSIDE, "sip.provider.test")
    assert stack.layer.flow_to(hop, Side.OUTSIDE) == way
    assert stack.layer.flow_to(hop._replace(transport="TCP"), Side.OUTSIDE) is None
    assert stack.layer.flow_to(Hop("UDP", Address("2001:db8::1", 5060)), Side.OUTSIDE) is None
    stack.layer.use({(Side.INSIDE, "UDP", False): stack.inside})
    assert stack.layer.flow_to(hop, Side.OUTSIDE) is None
    assert stack.layer.flow_to(phone, Side.INSIDE) == Flow(stack.inside, PHONE, Side.INSIDE)


# connections


def by_tcp(stack: Stack) -> MemoryTransport:
    """Give the stack a TCP transport outside."""
    tcp = MemoryTransport(Address("203.0.113.1", 5060), Side.OUTSIDE, name="TCP", reliable=True)
    stack.layer.use({(Side.OUTSIDE, "TCP", False): tcp})
    return tcp


def test_a_connection_that_fails(stack: Stack) -> None:
    """What waits for an answer by it has failed at once, and nothing else."""
    tcp = by_tcp(stack)
    one = stack.layer.flow_to(Hop("TCP", PROVIDER), Side.OUTSIDE)
    other = stack.layer.flow_to(Hop("TCP", Address("203.0.113.51", 5060)), Side.OUTSIDE)
    assert one is not None
    assert other is not None
    for number, flow in enumerate((one, one, other)):
        message = parse(wire(text("OPTIONS", f"z9hG4bKours{number}", via="203.0.113.1:5060")))
        assert isinstance(message, Request)
        stack.layer.request(message, flow, number, message.top_via.branch or b"")
    stack.layer.unsent(one, "refused")
    failed = [(event.transaction.user, event.reason) for event in stack.user.events]
    assert failed == [(0, "transport"), (1, "transport")]
    assert stack.layer.status()["transactions"] == 1
    assert stack.counted("not sent: refused") == 1
    stack.layer.unsent(one, "refused")  # nothing is left of it
    assert len(stack.user.events) == 2
    assert len(tcp.sent) == 3
    stack.clock.pump([0.1] * 400)


def test_a_stream_that_is_no_sip_any_more(stack: Stack) -> None:
    """The request at fault is answered if there is one, and no request is admitted by this way either."""
    tcp = by_tcp(stack)
    error = ParseError("expected a number of bytes", "Content-Length", 100)
    error.request = parse(wire(text()))  # type: ignore[assignment]
    stack.layer.broken(error, tcp, PROVIDER)
    assert stack.sent(tcp) == [f"400 to {PROVIDER}"]
    stack.layer.broken(ParseError("expected a SIP message", "start line", 0, None), tcp, PROVIDER)
    assert stack.sent(tcp) == []
    stack.user.unwelcome = Refused(None, "hosts_deny_sip")
    stack.layer.broken(error, tcp, PROVIDER)
    assert stack.sent(tcp) == []
    assert stack.counted("refused: hosts_deny_sip") == 1


def test_a_peer_that_shares_its_connection(stack: Stack) -> None:
    """With ;alias in its Via (RFC 5923); without it a peer is called at its own port."""
    tcp = by_tcp(stack)
    for via in ("203.0.113.50", "sip.provider.test:5070;alias"):
        message = text().replace("SIP/2.0/UDP 10.0.0.10:5062;", f"SIP/2.0/TCP {via};")
        stack.receive(message, remote=Address("203.0.113.50", 34567), transport=tcp)
    assert tcp.aliases == [(Address("203.0.113.50", 34567), Address("203.0.113.50", 5070))]


# too much


def test_too_many_transactions() -> None:
    """New requests get 503 and when to try again; a dialog that runs goes on for longer, an ACK always."""
    stack = Stack(most_transactions=2)
    for branch in ("z9hG4bK1", "z9hG4bK2", "z9hG4bK3"):
        stack.receive(text(branch=branch))
    assert stack.events() == ["RequestReceived"] * 2
    assert stack.sent() == [f"503 to {PHONE}"]
    within = text(branch="z9hG4bK4").replace("To: <sip:bob@sip.provider.test>", "To: <sip:b@h>;tag=1")
    stack.receive(within)
    assert stack.events() == ["RequestReceived"]
    stack.receive(text("ACK", "z9hG4bK5"))
    assert stack.events() == ["AckReceived"]
    assert stack.counted("refused: too many transactions") == 1


def test_what_is_answered_is_no_load() -> None:
    """Any number of requests one after the other pass; only as many are kept as five times the limit."""
    stack = Stack(most_transactions=2)
    for number in range(30):
        stack.receive(text("OPTIONS", f"z9hG4bK{number}"))
        [event] = stack.user.events[number:]
        stack.layer.respond(event.transaction, response_to(event.transaction.request, 200))
        assert stack.sent() == [f"200 to {PHONE}"]
        assert stack.layer.status()["transactions"] <= 11
        stack.clock.advance(0.11)
    assert stack.counted("refused: too many transactions") == 0


# sides


def test_one_socket_for_both_sides() -> None:
    """On a one-armed gateway the address of the peer says where it is, not the socket."""
    stack = Stack(one_armed())
    stack.receive(text(), transport=stack.outside)
    stack.receive(text("OPTIONS", "z9hG4bKb"), remote=PROVIDER, transport=stack.outside)
    assert [event.transaction.flow.side for event in stack.user.events] == [Side.INSIDE, Side.OUTSIDE]


# the pump


def test_calls_from_within_an_event(stack: Stack) -> None:
    """What the user does about an event is sent in the order in which it did it."""

    def reply(event: Any) -> None:
        if isinstance(event, RequestReceived):
            stack.layer.respond(event.transaction, response_to(event.transaction.request, 180))
            sent_request(stack, "INVITE")
            stack.layer.respond(event.transaction, response_to(event.transaction.request, 200))
            assert stack.inside.sent == []

    stack.user.does = reply
    stack.receive(text("INVITE"))
    assert stack.sent() == [f"180 to {PHONE}", f"200 to {PHONE}"]
    assert stack.sent(stack.outside) == [f"INVITE to {PROVIDER}"]
    assert stack.counted("sent") == 3


@pytest.mark.logs_failures
def test_a_user_that_fails(stack: Stack) -> None:
    """Is logged and counted, and the next message finds everything working."""

    def fail(event: Any) -> None:
        raise ZeroDivisionError("a bug")

    stack.user.does = fail
    with capturedLogs() as events:
        stack.receive(text())
    assert [e["log_level"] for e in events] == [LogLevel.critical]
    assert stack.counted("internal errors") == 1
    stack.user.does = lambda event: None
    stack.receive(text("OPTIONS", "z9hG4bKb"))
    assert stack.events() == ["RequestReceived"] * 2


def test_one_timer(stack: Stack) -> None:
    """However many transactions there are, and it goes off when the first one needs it."""
    sent_request(stack)
    stack.clock.advance(0.3)
    for branch in ("z9hG4bKb", "z9hG4bKc"):
        stack.receive(text("INVITE", branch))
        transaction = stack.user.events[-1].transaction
        stack.layer.respond(transaction, response_to(transaction.request, 486))
    assert len(stack.clock.getDelayedCalls()) == 1
    stack.sent()
    stack.sent(stack.outside)
    stack.clock.advance(0.2)
    assert stack.sent(stack.outside) == [f"OPTIONS to {PROVIDER}"]
    assert stack.sent() == []
    stack.clock.advance(0.3)
    assert stack.sent() == [f"486 to {PHONE}"] * 2
    assert len(stack.clock.getDelayedCalls()) == 1


def test_the_timer_moves_to_an_earlier_deadline(stack: Stack) -> None:
    """A long wait is cut short when something is due before."""
    stack.receive(text())
    transaction = stack.user.events[-1].transaction
    stack.layer.respond(transaction, response_to(transaction.request, 200))
    (waits,) = stack.clock.getDelayedCalls()
    assert waits.getTime() == 32
    sent_request(stack)
    (waits,) = stack.clock.getDelayedCalls()
    assert waits.getTime() == 0.5


def test_stop(stack: Stack) -> None:
    """No timer is left, no way out; an answer that comes in afterwards arms nothing."""
    stack.receive(text("INVITE"))
    transaction = stack.user.events[0].transaction
    sent_request(stack)
    stack.layer.stop()
    assert stack.clock.getDelayedCalls() == []
    assert stack.layer.flow_to(Hop("UDP", PHONE), Side.INSIDE) is None
    stack.layer.respond(transaction, response_to(transaction.request, 503))
    assert stack.clock.getDelayedCalls() == []
    assert stack.layer.status()["transactions"] == 0


def test_after_a_stop_it_can_be_used_again(stack: Stack) -> None:
    """With sockets given anew."""
    stack.layer.stop()
    stack.layer.use({(Side.OUTSIDE, "UDP", False): stack.outside})
    sent_request(stack)
    stack.clock.advance(0.5)
    assert stack.sent(stack.outside) == [f"OPTIONS to {PROVIDER}"] * 2
