# SPDX-License-Identifier: MIT
"""The transaction layer as protocol traces: messages and time in, messages and events out."""

from __future__ import annotations

from typing import Any

import pytest

from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import (
    AckReceived,
    CancelReceived,
    RequestReceived,
    ResponseReceived,
    RingingTooLong,
    StrayResponse,
    TransactionFailed,
    TransactionLayer,
    local_tag,
    server_key,
)


def request(method: str = "INVITE", branch: str = "z9hG4bKa", cseq: int = 1, **more: str) -> Request:
    via = more.pop("via", f"SIP/2.0/UDP 10.0.0.10:5062{';branch=' + branch if branch else ''}")
    to_tag = more.pop("to_tag", "")
    text = (
        f"{method} sip:bob@example.test SIP/2.0\r\n"
        f"Via: {via}\r\n"
        "Max-Forwards: 70\r\n"
        "From: <sip:alice@example.test>;tag=a1\r\n"
        f"To: <sip:bob@example.test>{';tag=' + to_tag if to_tag else ''}\r\n"
        "Call-ID: call1\r\n"
        f"CSeq: {cseq} {method}\r\n"
        "Content-Length: 0\r\n\r\n"
    )
    message = parse(text.encode())
    assert isinstance(message, Request)
    return message


class Peer:
    """A layer, its clock, and what it has put out so far."""

    def __init__(self) -> None:
        self.layer = TransactionLayer()
        self.now = 0.0

    def receive(self, message: Any) -> list[Any]:
        if isinstance(message, Response):
            self.layer.match(message, "flow", self.now)
        elif not self.layer.absorb(message, self.now):
            self.layer.begin(message, "flow", self.now, reply="reply")
        return self.events()

    def events(self) -> list[Any]:
        found = []
        while (event := self.layer.next_event()) is not None:
            found.append(event)
        return found

    def sent(self) -> list[str]:
        """The first lines of what was sent."""
        return [data.split(b"\r\n", 1)[0].decode() for data, _ in self.layer.messages_to_send()]

    def advance(self, to: float) -> list[Any]:
        """Run every timer up to `to`."""
        while (at := self.layer.get_timer()) is not None and at <= to:
            self.now = at
            self.layer.handle_timer(at)
        self.now = to
        return self.events()

    def answer(self, transaction: Any, status: int, *, tag: bytes = b"b1") -> Response:
        response = response_to(transaction.request, status, to_tag=tag)
        self.layer.respond(transaction, response, self.now)
        return response


def test_server_side_of_a_call() -> None:
    """>> INVITE << 100 << 200; a retransmitted INVITE gets the same 100 and nothing after the 200."""
    peer = Peer()
    [received] = peer.receive(request())
    assert isinstance(received, RequestReceived)
    peer.answer(received.transaction, 100)
    first = peer.layer.messages_to_send()
    assert peer.receive(request()) == []
    assert peer.layer.messages_to_send() == first
    peer.answer(received.transaction, 200)
    assert peer.sent() == ["SIP/2.0 200 OK"]
    assert peer.receive(request()) == []
    assert peer.sent() == []
    assert peer.layer.get_timer() == 32.0


def test_ack_for_a_failure_is_absorbed() -> None:
    """>> INVITE << 486 ... << 486 again >> ACK; then silence, and the transaction ends."""
    peer = Peer()
    [received] = peer.receive(request())
    peer.answer(received.transaction, 486)
    peer.advance(1.0)
    assert peer.sent() == ["SIP/2.0 486 Busy Here"] * 2
    assert peer.receive(request("ACK", to_tag="b1")) == []
    peer.advance(10.0)
    assert peer.sent() == []
    assert peer.layer.idle


def test_ack_for_a_success_goes_to_the_user() -> None:
    """An ACK with a branch of its own belongs to no transaction (17.1.1.3)."""
    peer = Peer()
    [received] = peer.receive(request())
    peer.answer(received.transaction, 200)
    [event] = peer.receive(request("ACK", branch="z9hG4bKb", to_tag="b1"))
    assert isinstance(event, AckReceived)
    assert event.flow == "flow"


def test_ack_for_a_success_from_an_rfc_2543_phone() -> None:
    """Without the magic cookie the ACK for a 2xx matches the INVITE and still goes to the user."""
    peer = Peer()
    [received] = peer.receive(request(branch=""))
    peer.answer(received.transaction, 200)
    [event] = peer.receive(request("ACK", branch="", to_tag="b1"))
    assert isinstance(event, AckReceived)


def test_cancel_finds_its_invite() -> None:
    """CANCEL is a transaction of its own and names the INVITE with the same branch (9.2)."""
    peer = Peer()
    [received] = peer.receive(request())
    [cancel] = peer.receive(request("CANCEL"))
    assert isinstance(cancel, CancelReceived)
    assert cancel.invite is received.transaction
    [stray] = peer.receive(request("CANCEL", branch="z9hG4bKother"))
    assert stray.invite is None


def test_the_same_branch_from_another_host_is_another_transaction() -> None:
    """The sent-by is part of the key (17.2.3)."""
    one = request()
    other = request(via="SIP/2.0/UDP 10.0.0.11:5062;branch=z9hG4bKa")
    assert server_key(one, "INVITE") != server_key(other, "INVITE")


def test_a_branch_that_is_only_the_cookie_is_matched_by_rfc_2543_rules() -> None:
    """RFC 4475 3.2.1: two calls with an empty branch are told apart by their other fields."""
    peer = Peer()
    assert len(peer.receive(request(branch="z9hG4bK"))) == 1
    assert peer.receive(request(branch="z9hG4bK")) == []
    assert len(peer.receive(request(branch="z9hG4bK", cseq=2))) == 1


def test_client_side_of_a_call() -> None:
    """<< INVITE, again after T1; >> 180 stops it; >> 200 twice, both for the user."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user="context")
    copies = peer.layer.messages_to_send()
    peer.advance(0.5)
    assert peer.layer.messages_to_send() == copies == [(bytes(sent), "flow")]
    [ringing] = peer.receive(response_to(sent, 180, to_tag=b"b1"))
    assert ringing == ResponseReceived(transaction, ringing.response, "context")
    assert transaction.user == "context"
    assert peer.advance(30.0) == []
    assert peer.sent() == []
    ok = response_to(sent, 200, to_tag=b"b1")
    assert len(peer.receive(ok)) == len(peer.receive(ok)) == 1
    peer.advance(62.0)
    assert peer.layer.idle


def test_a_failure_is_acknowledged_hop_by_hop() -> None:
    """>> 486 << ACK with the branch of the INVITE; the user sees it once (17.1.1.3)."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    peer.layer.request(sent, "flow", 0.0, user=None)
    peer.layer.messages_to_send()
    busy = response_to(sent, 486, to_tag=b"b1")
    assert len(peer.receive(busy)) == 1
    assert peer.receive(busy) == []
    acks = peer.layer.messages_to_send()
    assert acks[0] == acks[1]
    ack = parse(acks[0][0])
    assert isinstance(ack, Request)
    assert (ack.method, ack.top_via.branch, ack.to_tag) == ("ACK", b"z9hG4bKours", b"b1")


def test_nobody_answers() -> None:
    """Timer B: the user is told once, and the layer is empty."""
    peer = Peer()
    transaction = peer.layer.request(request(), "flow", 0.0, user=None)
    assert peer.advance(40.0) == [TransactionFailed(transaction, "timeout")]
    assert len(peer.sent()) == 7
    assert peer.layer.idle
    assert peer.layer.get_timer() is None


def test_cancel_waits_for_a_provisional_response() -> None:
    """Nothing may be cancelled before the peer has shown that it has the INVITE (9.1)."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user=None)
    peer.sent()
    peer.layer.cancel(transaction, 0.1)
    assert peer.sent() == []
    peer.receive(response_to(sent, 100))
    assert peer.sent() == ["CANCEL sip:bob@example.test SIP/2.0"]
    peer.receive(response_to(sent, 180, to_tag=b"b1"))
    peer.layer.cancel(transaction, 0.2)
    assert peer.sent() == []


def test_a_cancelled_invite_without_an_answer_ends() -> None:
    """64*T1 after the CANCEL the INVITE counts as cancelled, final response or not (9.1)."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user=None)
    peer.receive(response_to(sent, 180, to_tag=b"b1"))
    peer.layer.cancel(transaction, 0.0)
    failures = [event for event in peer.advance(40.0) if event.transaction is transaction]
    assert failures == [TransactionFailed(transaction, "timeout")]


def test_ringing_too_long() -> None:
    """Timer C tells the user, who may cancel."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user=None)
    peer.receive(response_to(sent, 180, to_tag=b"b1"))
    assert peer.advance(200.0) == [RingingTooLong(transaction)]


def test_a_100_says_nothing_about_the_ringing() -> None:
    """Only 101 to 199 start timer C anew (16.7 step 2); a server might repeat its 100 for ever."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user=None)
    peer.receive(response_to(sent, 180, to_tag=b"b1"))
    for at in (60.0, 120.0, 180.0):
        assert peer.advance(at) == []
        peer.receive(response_to(sent, 100))
    assert peer.advance(186.0) == [RingingTooLong(transaction)]


def test_a_cancel_says_why() -> None:
    """With the reason that was given first (RFC 3326)."""
    peer = Peer()
    sent = request(branch="z9hG4bKours")
    transaction = peer.layer.request(sent, "flow", 0.0, user=None)
    peer.layer.cancel(transaction, 0.1, (b"Reason: SIP;cause=200",))
    peer.layer.cancel(transaction, 0.2, (b"Reason: SIP;cause=600",))
    peer.layer.messages_to_send()
    peer.receive(response_to(sent, 180, to_tag=b"b1"))
    [(cancel, _)] = peer.layer.messages_to_send()
    assert b"\r\nReason: SIP;cause=200\r\nContent-Length: 0\r\n\r\n" in cancel


@pytest.mark.parametrize("answered", [False, True])
def test_a_connection_that_fails(answered: bool) -> None:
    """What waits for a response by it has failed; what has one, or another connection, has not."""
    peer = Peer()
    one = peer.layer.request(request(branch="z9hG4bK1"), ("tcp", "a"), 0.0, user=None, reliable=True)
    peer.layer.request(request(branch="z9hG4bK2"), ("tcp", "b"), 0.0, user=None, reliable=True)
    peer.layer.request(request(branch="z9hG4bK3"), ("udp", "a"), 0.0, user=None)
    if answered:
        peer.receive(response_to(one.request, 180, to_tag=b"b1"))
    peer.layer.flow_failed(("tcp", "a"), 0.2)
    assert peer.events() == ([] if answered else [TransactionFailed(one, "transport")])
    peer.layer.flow_failed(("udp", "a"), 0.2)  # datagrams are not known by their way
    assert peer.events() == []


def test_who_keeps_something_with_a_transaction_is_let_go() -> None:
    """When its work is done: an INVITE at its end, others with their final response.

    For the time that retransmissions may come the request is not needed, and a circle of references would be
    left to the garbage collector.
    """

    class Kept:
        ended = 0

        def end(self) -> None:
            self.ended += 1

    peer, kept = Peer(), Kept()
    asked = request("OPTIONS")
    peer.layer.begin(asked, "flow", 0.0, reply="reply", user=kept)
    [received] = peer.events()
    transaction = received.transaction
    assert transaction.request is asked
    peer.answer(transaction, 200)
    assert (kept.ended, transaction.user) == (1, None)
    assert transaction.request is not asked
    peer.sent()
    assert peer.receive(asked) == []  # again
    assert peer.sent() == ["SIP/2.0 200 OK"]
    info = request("INFO", branch="z9hG4bKours")
    client = peer.layer.request(info, "flow", 0.0, user=kept)
    [back] = peer.receive(response_to(info, 200))
    assert (back.user, client.user, client.last) == (kept, None, b"")
    assert peer.receive(response_to(info, 200)) == []
    invite = request()
    peer.layer.begin(invite, "flow", 0.0, reply="reply", user=kept)
    [called] = peer.events()
    peer.answer(called.transaction, 200)
    assert (kept.ended, called.transaction.user) == (1, kept)
    peer.advance(33.0)
    assert (kept.ended, called.transaction.user) == (2, None)
    assert peer.layer.idle


def test_a_response_to_nothing_is_stray() -> None:
    """RFC 6026 7.3: it is the user's to drop."""
    peer = Peer()
    [event] = peer.receive(response_to(request(branch="z9hG4bKunknown"), 200))
    assert isinstance(event, StrayResponse)


def test_a_response_to_another_method_does_not_match() -> None:
    """The method of CSeq is part of the key: a 200 to CANCEL is no 200 to INVITE (17.1.3)."""
    peer = Peer()
    peer.layer.request(request(branch="z9hG4bKours"), "flow", 0.0, user=None)
    [event] = peer.receive(response_to(request("CANCEL", branch="z9hG4bKours"), 200))
    assert isinstance(event, StrayResponse)


def test_a_forgotten_transaction_is_a_new_one_when_it_comes_again() -> None:
    """`forget` ends a non-INVITE transaction without an answer (RFC 4320 4.2)."""
    peer = Peer()
    [received] = peer.receive(request("OPTIONS"))
    peer.layer.forget(received.transaction)
    assert peer.layer.idle
    assert len(peer.receive(request("OPTIONS"))) == 1


def test_the_end_of_all() -> None:
    """`clear` leaves nothing, tells nobody, and what still comes for an old transaction does nothing."""
    peer = Peer()
    [received] = peer.receive(request("INVITE"))
    client = peer.layer.request(request(branch="z9hG4bKours"), "flow", 0.0, user=None, reliable=True)
    peer.layer.clear()
    assert len(peer.layer) == 0
    assert peer.layer.messages_to_send() == []
    peer.layer.respond(received.transaction, response_to(received.transaction.request, 200), 1.0)
    peer.layer.cancel(client, 1.0)
    peer.layer.flow_failed("flow", 1.0)
    assert peer.layer.messages_to_send() == []
    assert peer.layer.get_timer() is None
    assert peer.layer.idle


def test_the_same_request_once_more() -> None:
    """All is over upstream, so it is a new one with the same branch; the end of the old is not its end."""
    peer = Peer()
    peer.layer.request(request(), "flow", peer.now, user="old")
    peer.receive(response_to(request(), 486, to_tag=b"b1"))
    peer.advance(20.0)
    peer.layer.request(request(), "flow", peer.now, user="new")
    peer.receive(response_to(request(), 180, to_tag=b"b2"))
    peer.advance(40.0)
    [event] = peer.receive(response_to(request(), 200, to_tag=b"b2"))
    assert isinstance(event, ResponseReceived)
    assert event.user == "new"
    peer.advance(100.0)
    assert peer.layer.idle


def test_a_broken_transport_fails_the_transaction() -> None:
    """A transport error is told at once instead of after timer B (17.1.4)."""
    peer = Peer()
    transaction = peer.layer.request(request(), "flow", 0.0, user=None)
    peer.layer.transport_failed(transaction, 0.1)
    assert peer.events() == [TransactionFailed(transaction, "transport")]


def test_the_local_tag_is_the_same_for_the_ack() -> None:
    """A stateless refusal is recognised in its ACK, another call's is not."""
    invite, ack = request(), request("ACK", to_tag="x")
    assert local_tag(invite, b"key") == local_tag(ack, b"key")
    assert local_tag(invite, b"key") != local_tag(request(branch="z9hG4bKb"), b"key")
    assert local_tag(invite, b"key") != local_tag(invite, b"other")


def test_ten_thousand_transactions_leave_nothing() -> None:
    """Answered or not, after their timers nothing is left of them."""
    peer = Peer()
    for number in range(10_000):
        [received] = peer.receive(request("OPTIONS", branch=f"z9hG4bK{number}"))
        peer.answer(received.transaction, 200)
    assert len(peer.layer) == 10_000
    peer.advance(32.0)
    assert peer.layer.idle
    assert peer.layer.get_timer() is None


def test_who_only_lingers_is_no_load_and_makes_room() -> None:
    """>> OPTIONS a << 200 >> OPTIONS b: b alone is load; a can go early, and its timer finds nothing then."""
    peer = Peer()
    [first] = peer.receive(request("OPTIONS", "z9hG4bKa"))
    assert peer.layer.unsettled == 1
    peer.layer.make_room(peer.now)
    peer.answer(first.transaction, 200)
    [second] = peer.receive(request("OPTIONS", "z9hG4bKb"))
    assert (len(peer.layer), peer.layer.unsettled) == (2, 1)
    peer.layer.make_room(peer.now)
    assert (len(peer.layer), peer.layer.unsettled) == (1, 1)
    peer.answer(second.transaction, 200)
    assert peer.advance(40.0) == []
    assert (len(peer.layer), peer.layer.unsettled) == (0, 0)


def test_the_end_of_many_is_one_awakening() -> None:
    """Transactions that linger end together, at the next tenth of a second, and not before their time."""
    peer = Peer()
    for number in range(100):
        peer.now = number / 1000
        [received] = peer.receive(request("OPTIONS", branch=f"z9hG4bK{number}"))
        peer.answer(received.transaction, 200)
    awakenings = []
    while (at := peer.layer.get_timer()) is not None:
        peer.layer.handle_timer(at)
        awakenings.append((at, len(peer.layer)))
    assert awakenings == [(32.0, 99), (32.1, 0)]


def test_a_timer_that_has_moved_wakes_nobody() -> None:
    """The retransmission of a request that is answered is not waited for."""
    peer = Peer()
    sent = request("OPTIONS", branch="z9hG4bKours")
    peer.layer.request(sent, "flow", 0.0, user=None)
    assert peer.layer.get_timer() == 0.5
    peer.receive(response_to(sent, 200))
    assert peer.layer.get_timer() == 5.0
