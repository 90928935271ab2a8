# SPDX-License-Identifier: MIT
"""TC28: a phone by TCP, from a port that its system has chosen, and what siproxd lost on the way."""

from __future__ import annotations

import pytest

from tests.support.calls import call_from_w, call_to_m, hang_up, is_reachable, registered
from tests.support.lab import Lab
from tests.support.messages import ALICE, SDP, Dialog, Message, answer, invite, request, wire
from tests.support.networks import on

pytestmark = on("tcp", "tls-udp")

BOB = "sip:bob@sip.provider.test"
CAROL = "From: <sip:carol@sip.other.test>;tag=w1"
MASKED = "sip:alice@203.0.113.1"


def ping(lab: Lab, number: int = 1, *headers: str, body: str = "") -> bytes:
    """Return the bytes of a request of P for bob; each number is a request of its own."""
    via = f"Via: SIP/2.0/{lab.p.transport} 10.0.0.10:5062;branch=z9hG4bKp{number}"
    return wire(request("MESSAGE", BOB, via, f"Call-ID: ping{number}", *headers, body=body))


def arrived(lab: Lab, number: int = 1) -> Message:
    """Check that request `number` is what V gets next."""
    return lab.v.sees(f"MESSAGE {BOB} SIP/2.0\nCall-ID: ping{number}")


@on("tcp")
def test_tc28_register(lab):
    """Every line that names a transport names TCP; responses come by the phone's own connection."""
    lab.p.connect()
    host, port = lab.p.source
    assert (host, port) != lab.p.address
    lab.p.connection.send(
        wire("""
        REGISTER sip:sip.provider.test SIP/2.0
        Via: SIP/2.0/TCP 10.0.0.10:5062;branch=z9hG4bKreg1
        Max-Forwards: 70
        From: <sip:alice@sip.provider.test>;tag=ft1
        To: <sip:alice@sip.provider.test>
        Call-ID: reg1
        CSeq: 1 REGISTER
        Contact: <sip:alice@10.0.0.10:5062;transport=tcp>
        Expires: 3600
        """)
    )
    passed_on = lab.v.sees(f"""
        REGISTER sip:sip.provider.test SIP/2.0
        Via: SIP/2.0/TCP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/TCP 10.0.0.10:5062;branch=z9hG4bKreg1;rport={port};received=10.0.0.10
        Contact: <sip:alice@203.0.113.1;transport=tcp>
        no Record-Route
        """)
    lab.v.send(answer(passed_on, "200 OK", "Contact: <sip:alice@203.0.113.1;transport=tcp>;expires=600"))
    lab.p.sees(f"""
        SIP/2.0 200 OK
        Via: SIP/2.0/TCP 10.0.0.10:5062;branch=z9hG4bKreg1;rport={port};received=10.0.0.10
        Record-Route: <sip:siproxd@10.0.0.1:5060;transport=tcp;lr>
        Contact: <sip:alice@10.0.0.10:5062;transport=tcp>;expires=600
        """)
    assert not lab.network.lost


def test_tc28_calls_come_by_the_phone_s_connection(lab):
    """A call for the phone goes where its connection ends, not to a port that nobody listens on."""
    registered(lab)
    call = call_from_w(lab)
    hang_up(lab, lab.w, call.caller, lab.p)
    assert len([stream for stream in lab.network.streams if stream.getPeer().host == "10.0.0.10"]) == 1


def test_tc28_a_call_out(lab):
    """So do the requests of those whom the phone has called."""
    registered(lab)
    call = call_to_m(lab)
    hang_up(lab, lab.m, call.callee, lab.p)


@on("tcp")
@pytest.mark.parametrize("beginning", ["", "\r\n\r\n"], ids=["clean", "ping"])
def test_tc28_split_at_every_byte(lab, beginning):
    """Wherever the network cuts a message in two, it is one message."""
    registered(lab)
    length = len(ping(lab, 1000, body="Hi\n"))
    for cut in range(1, length):
        data = beginning.encode() + ping(lab, 1000 + cut, body="Hi\n")
        lab.p.connection.send(data[:cut])
        lab.p.connection.send(data[cut:])
    lab.advance(0)
    for cut in range(1, length):
        arrived(lab, 1000 + cut)


def test_tc28_byte_by_byte(lab):
    """Also if each byte comes alone, as by a serial line."""
    registered(lab)
    for byte in ping(lab, body="Hi\n"):
        lab.p.connection.send(bytes([byte]))
    arrived(lab)


def test_tc28_segments_that_end_behind_a_header_line(lab):
    """A segment that ends with a line is no message, and its successor is the rest of it."""
    registered(lab)
    for line in ping(lab, body="Hi\nBob\n").splitlines(keepends=True):
        lab.advance(1)
        lab.v.nothing()
        lab.p.connection.send(line)
    lab.advance(0)
    arrived(lab)


def test_tc28_several_messages_in_a_segment(lab):
    """Each of them counts, in its order; a body without a line end ends where Content-Length says."""
    registered(lab)
    lab.p.connection.send(b"".join(ping(lab, n, body="Hi") + b"\r\n" * (n % 2) for n in range(1, 6)))
    lab.advance(0)
    for number in range(1, 6):
        arrived(lab, number)


def test_tc28_an_ack_and_the_next_request_in_a_segment(lab):
    """An ACK and the BYE behind it go on one after the other."""
    registered(lab)
    lab.p.send(invite("sip:dora@203.0.113.60:5090", body=SDP.audio("10.0.0.10", 40000)))
    offered = lab.m.sees("INVITE … SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    described = SDP.audio("203.0.113.60", 50000)
    lab.m.send(answer(offered, "200 OK", "Contact: <sip:dora@203.0.113.60:5090>", body=described))
    dialog = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    via = "Via: SIP/2.0/{} 10.0.0.10:5062;branch=z9hG4bK{}"
    both = [dialog.request(method, via.format(lab.p.transport, method)) for method in ("ACK", "BYE")]
    lab.p.connection.send(b"".join(map(wire, both)))
    lab.advance(0)
    lab.m.sees("ACK … SIP/2.0")
    bye = lab.m.sees("BYE … SIP/2.0")
    lab.m.send(answer(bye, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


def test_tc28_without_content_length(lab):
    """Nobody can say where such a message ends: it is refused, the connection is closed (RFC 3261 18.3)."""
    registered(lab)
    lab.p.connection.send(ping(lab).replace(b"Content-Length: 0\r\n", b""))
    lab.advance(1)
    lab.v.nothing()
    lab.p.sees("SIP/2.0 400 …")
    assert lab.p.connection.lost


def test_tc28_pings_are_answered(lab):
    """Two line ends are a ping, the answer is one (RFC 5626 section 4.4.1); one alone says nothing."""
    registered(lab)
    before = len(lab.p.connection.received)
    lab.p.connection.send(b"\r\n\r\n")
    assert lab.p.connection.received[before:] == b"\r\n"
    lab.p.connection.send(b"\r\n")
    assert lab.p.connection.received[before:] == b"\r\n"


def test_tc28_idle_connections_are_closed(laboratory):
    """A connection on which nothing comes or goes ends after tcp_timeout; one with pings lives on."""
    lab = laboratory("tcp_timeout = 60")
    registered(lab)
    registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11>")
    for _ in range(4):
        lab.advance(30)
        lab.q.connection.send(b"\r\n\r\n")
    assert lab.p.connection.lost
    assert not lab.q.connection.lost


def test_tc28_a_phone_whose_connection_is_gone(lab):
    """It cannot be reached until it has connected and registered anew; callers are told so at once."""
    registered(lab)
    lab.p.connection.close()
    lab.w.send(invite(MASKED, CAROL, f"To: <sip:{ALICE}>", body=SDP.audio("203.0.113.51", 51000)))
    lab.advance(1)
    lab.w.sees("SIP/2.0 100 …")
    assert lab.w.receive().status in (480, 503)
    assert lab.media_ports() == set()
    lab.advance(40)
    lab.w.forget()
    registered(lab)
    assert is_reachable(lab, lab.p, MASKED)


@pytest.mark.parametrize("goodbye", ["close", "abort", None], ids=["closed", "reset", "silent"])
def test_n63_a_phone_that_connects_anew_in_a_call(lab, goodbye):
    """A phone that has lost its connection, with or without a word, gets the BYE by its new one, at once."""
    registered(lab)
    call = call_from_w(lab)
    old = lab.p.connection
    if goodbye:
        getattr(old, goodbye)()
    lab.advance(5)
    lab.p.connect()
    registered(lab)
    began = lab.reactor.seconds()
    lab.w.send(call.caller.request("BYE"), to=call.caller.next_hop)
    bye = lab.p.sees("BYE sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(bye, "200 OK"))
    lab.w.sees("SIP/2.0 200 OK")
    assert lab.reactor.seconds() - began <= 2
    assert any(data.startswith(b"BYE ") for data in lab.p.connection.messages())


def test_n63_the_answer_of_a_request_whose_connection_is_gone(lab):
    """A response whose connection is gone goes to the Via's address, by a new one (RFC 3261 18.2.2)."""
    phone = lab.party("L", "10.0.0.20", 5066, listens=True)
    registered(lab, phone, contact="<sip:alice@10.0.0.20:5066>")
    phone.send(request("OPTIONS", BOB))
    there = lab.v.sees(f"OPTIONS {BOB} SIP/2.0")
    phone.connection.close()
    lab.v.send(answer(there, "200 OK"))
    lab.advance(0)
    phone.sees("SIP/2.0 200 OK")
    assert len(phone.listener.peers) == 1


def test_a_slow_phone(lab):
    """A phone that takes its time before it says anything is waited for, though nobody can connect to it."""
    registered(lab)
    lab.w.send(invite(MASKED, CAROL, f"To: <sip:{ALICE}>", body=SDP.audio("203.0.113.51", 51000)))
    offered = lab.p.sees("INVITE … SIP/2.0")
    lab.w.sees("SIP/2.0 100 …")
    lab.advance(10)
    lab.w.nothing()
    lab.p.send(answer(offered, "486 Busy Here"))
    lab.p.sees("ACK … SIP/2.0")
    lab.w.sees("SIP/2.0 486 Busy Here")
    lab.advance(40)
    lab.w.forget()


def test_a_phone_whose_connection_is_dead_and_that_listens(lab):
    """A phone that has gone without a word is met at its Contact after two seconds, and its answer counts."""
    phone = lab.party("L", "10.0.0.20", 5066, listens=True)
    registered(lab, phone, contact="<sip:alice@10.0.0.20:5066>")
    body = SDP.audio("203.0.113.51", 51000)
    lab.w.send(invite(MASKED, CAROL, f"To: <sip:{ALICE}>", body=body))
    lab.w.sees("SIP/2.0 100 …")
    phone.sees("INVITE … SIP/2.0")  # by the old connection, where nobody is
    lab.advance(3)
    again = phone.sees("INVITE sip:alice@10.0.0.20:5066 SIP/2.0")
    phone.send(answer(again, "486 Busy Here"))
    phone.sees("ACK … SIP/2.0")
    lab.w.sees("SIP/2.0 486 Busy Here")
    lab.advance(40)
    lab.w.forget()
    phone.forget()
