# SPDX-License-Identifier: MIT
"""A provider with several servers: the dead one costs seconds, not calls, and what belongs together stays."""

from __future__ import annotations

import pytest

from siproxd_tw.interfaces import Address, Hop
from tests.support.calls import registered
from tests.support.lab import Lab, Party
from tests.support.messages import SDP, Dialog, Message, answer, invite, register, request, values
from tests.support.networks import on

pytestmark = on("udp", "tcp", "udp-tls", "ipv4-ipv6")

PROVIDER = "sip.provider.test"
BOB = f"sip:bob@{PROVIDER}"
NOBODY = "From: <sip:someone@sip.provider.test>;tag=a1"
"""Somebody for whom no server is known yet."""
LIMIT = 4.0
"""Seconds within which another server must have a request when the first one is dead."""


class Cluster:
    """Three servers of the provider, of which the first is not there at all."""

    def __init__(self, lab: Lab) -> None:
        self.lab = lab
        self.dead = self.hop("203.0.113.70")
        self.parties = [lab.party("S1", "203.0.113.71", 5060), lab.party("S2", "203.0.113.72", 5060)]
        self.s1, self.s2 = self.parties
        lab.network.black_holes.add(self.dead.address.host)
        self.order(self.dead, self.s1, self.s2)

    def hop(self, host: str) -> Hop:
        """Return a server as the DNS names it."""
        on = self.lab.on
        return Hop(on.outside, Address(on.host(host), on.port(host, 5060)), PROVIDER)

    def order(self, *servers: Hop | Party) -> None:
        """Let the DNS give the servers in this order from now on."""
        hops = [
            server
            if isinstance(server, Hop)
            else Hop(self.lab.on.outside, Address(*server.address), PROVIDER)
            for server in servers
        ]
        self.lab.resolver.services[PROVIDER] = hops


def reached(lab: Lab, server: Party, trace: str) -> Message:
    """Wait until a request is at `server`, for as long as it may take at most, and compare it."""
    for _ in range(int(LIMIT * 10)):
        if not server.unread():
            lab.advance(0.1)
    return server.sees(trace)


@pytest.fixture
def cluster(lab):
    """Open a laboratory with such a provider."""
    return Cluster(lab)


@pytest.mark.parametrize("method", ["REGISTER", "INVITE", "OPTIONS"])
def test_a_dead_server_costs_seconds(lab, cluster, method):
    """The next server has the request within four seconds, and its answer is the phone's."""
    if method != "REGISTER":
        cluster.order(cluster.s1)
        registered(lab, registrar=cluster.s1)
        cluster.order(cluster.dead, cluster.s1, cluster.s2)
    lab.p.send(
        register(f"alice@{PROVIDER}", "<sip:alice@10.0.0.10:5062>")
        if method == "REGISTER"
        else request(method, BOB, NOBODY, "Contact: <sip:alice@10.0.0.10:5062>")
    )
    arrived = reached(lab, cluster.s1, f"{method} … SIP/2.0\nCSeq: 1 {method}")
    cluster.s1.send(answer(arrived, "200 OK", "Contact: <sip:bob@203.0.113.71>"))
    cluster.s2.nothing()
    if method == "INVITE":
        lab.p.sees("SIP/2.0 100 …")
    lab.p.sees("SIP/2.0 200 OK")
    assert lab.resolver.failures


def test_a_dead_server_is_left_alone(lab, cluster):
    """The second request does not wait for it again."""
    lab.p.send(register(f"alice@{PROVIDER}", "<sip:alice@10.0.0.10:5062>"))
    cluster.s1.send(answer(reached(lab, cluster.s1, "REGISTER … SIP/2.0"), "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.q.send(register(f"bob@{PROVIDER}", "<sip:bob@10.0.0.11:5060>"))
    lab.advance(0)
    cluster.s1.sees(f"REGISTER sip:{PROVIDER} SIP/2.0\nTo: <sip:bob@{PROVIDER}>")


def test_affinity(lab, cluster):
    """What the phone does goes to the server that has its registration, whatever order the DNS gives."""
    cluster.order(cluster.s1, cluster.s2)
    registered(lab, registrar=cluster.s1)
    cluster.order(cluster.s2, cluster.s1)
    registered(lab, registrar=cluster.s1)
    lab.p.send(request("SUBSCRIBE", BOB, "Contact: <sip:alice@10.0.0.10:5062>", "Call-ID: s"))
    lab.advance(0)
    cluster.s1.send(
        answer(cluster.s1.receive(), "407 Proxy Authentication Required", "Proxy-Authenticate: x")
    )
    lab.p.sees("SIP/2.0 407 …")
    cluster.order(cluster.s2, cluster.s1)
    lab.p.send(request("SUBSCRIBE", BOB, "CSeq: 2 SUBSCRIBE", "Call-ID: s"))
    lab.advance(0)
    cluster.s1.sees(f"SUBSCRIBE {BOB} SIP/2.0\nCSeq: 2 SUBSCRIBE")
    cluster.s2.nothing()


def test_a_dialog_stays_with_its_server(lab, cluster):
    """Requests of a dialog whose route set names the domain go where its INVITE went (N31)."""
    cluster.order(cluster.s1, cluster.s2)
    registered(lab, registrar=cluster.s1)
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    lab.advance(0)
    offered = cluster.s1.sees(f"INVITE {BOB} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    route, contact = f"Record-Route: <sip:{PROVIDER};lr>", "Contact: <sip:bob@203.0.113.60:5090>"
    cluster.s1.send(answer(offered, "200 OK", route, contact, body=SDP.audio("203.0.113.60", 50000)))
    dialog = Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK"))
    cluster.order(cluster.s2, cluster.s1)
    for method in ("ACK", "UPDATE", "BYE"):
        lab.p.send(dialog.request(method), to=dialog.next_hop)
        lab.advance(0)
        arrived = cluster.s1.sees(f"{method} sip:bob@203.0.113.60:5090 SIP/2.0")
        if method != "ACK":
            cluster.s1.send(answer(arrived, "200 OK"))
            lab.p.sees("SIP/2.0 200 OK")
    cluster.s2.nothing()


def test_the_server_of_the_registration_dies(lab, cluster):
    """Another one takes over, and keeps what comes then."""
    cluster.order(cluster.s1, cluster.s2)
    registered(lab, registrar=cluster.s1)
    lab.advance(1)
    lab.p.send(register(f"alice@{PROVIDER}", "<sip:alice@10.0.0.10:5062>", "CSeq: 2 REGISTER"))
    arrived = reached(lab, cluster.s2, f"REGISTER sip:{PROVIDER} SIP/2.0\nCSeq: 2 REGISTER")
    cluster.s2.send(answer(arrived, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    cluster.s1.forget()
    lab.p.send(request("OPTIONS", BOB))
    lab.advance(0)
    cluster.s2.sees(f"OPTIONS {BOB} SIP/2.0")
    cluster.s1.nothing()


def test_503_means_the_next_server(lab, cluster):
    """A server that is overloaded is passed over; it gets its ACK, and the phone hears nothing of it."""
    cluster.order(cluster.s1, cluster.s2)
    registered(lab, registrar=cluster.s1)
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    lab.advance(0)
    first = cluster.s1.sees(f"INVITE {BOB} SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    cluster.s1.send(answer(first, "503 Service Unavailable", "Retry-After: 20"))
    lab.advance(0)
    cluster.s1.sees(f"ACK {BOB} SIP/2.0")
    second = cluster.s2.sees(f"INVITE {BOB} SIP/2.0\nCSeq: 1 INVITE")
    assert values(second, "Via")[0] != values(first, "Via")[0]
    assert second.body == first.body
    lab.p.nothing()
    cluster.s2.send(answer(second, "486 Busy Here"))
    cluster.s2.sees(f"ACK {BOB} SIP/2.0")
    lab.p.sees("SIP/2.0 486 Busy Here")
    assert (lab.resolver.failures[0][1], len(lab.resolver.failures)) == (20.0, 1)
    assert lab.media_ports() == set()
    lab.advance(40)
    lab.p.forget()


def test_all_servers_answer_503(lab, cluster):
    """The phone is told in the end, as a 503 of a server it has no other of (RFC 3261 16.7 step 6)."""
    cluster.order(cluster.s1, cluster.s2)
    registered(lab, registrar=cluster.s1)
    lab.p.send(request("OPTIONS", BOB))
    for server in cluster.parties:
        lab.advance(0)
        server.send(answer(server.receive(), "503 Service Unavailable"))
    lab.advance(0)
    assert lab.p.receive().status in (500, 503)


def test_no_server_is_there(lab, cluster):
    """An INVITE ends with a final response before the phone gives up by itself."""
    cluster.order(cluster.s1)
    registered(lab, registrar=cluster.s1)
    lab.network.black_holes |= {cluster.hop("203.0.113.73").address.host}
    cluster.order(cluster.dead, cluster.hop("203.0.113.73"))
    lab.p.send(invite(BOB, NOBODY, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    lab.advance(40)
    assert lab.p.receive().status in (408, 503)
    lab.p.forget()
    assert lab.media_ports() == set()


def test_a_cancel_while_a_server_is_waited_for(lab, cluster):
    """Who hangs up before any server has answered hears 487, and no other server rings afterwards."""
    cluster.order(cluster.s2)
    registered(lab, registrar=cluster.s2)
    cluster.order(cluster.dead, cluster.s1)
    via = f"Via: SIP/2.0/{lab.p.transport} 10.0.0.10:5062;branch=z9hG4bKc"
    lab.p.send(invite(BOB, NOBODY, via, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 …")
    lab.p.send(request("CANCEL", BOB, NOBODY, via))
    lab.p.sees("SIP/2.0 200 OK\nCSeq: 1 CANCEL")
    lab.advance(40)
    lab.p.sees("SIP/2.0 487 …\nCSeq: 1 INVITE")
    cluster.s1.nothing()
    lab.p.forget()


@on("tcp", "udp-tls")
def test_a_server_that_refuses_connections(lab, cluster):
    """Costs no time at all."""
    cluster.order(cluster.hop("203.0.113.75"), cluster.s1)
    lab.p.send(register(f"alice@{PROVIDER}", "<sip:alice@10.0.0.10:5062>"))
    lab.advance(0.1)
    cluster.s1.sees(f"REGISTER sip:{PROVIDER} SIP/2.0")


@on("udp", "tcp-udp")
def test_n61_a_large_request_goes_by_tcp_where_that_is_taken(lab):
    """More than 1300 bytes go by TCP to a server that takes connections (RFC 3261 18.1.1)."""
    server = lab.party("T", "203.0.113.50", 5060, transport="TCP")
    registered(lab)
    lab.p.send(request("MESSAGE", BOB, "Content-Type: text/plain", body="long\n" * 300))
    lab.advance(0)
    there = server.sees(f"MESSAGE {BOB} SIP/2.0\nVia: SIP/2.0/TCP 203.0.113.1:5060;branch=z9hG4bK…, …")
    lab.v.nothing()
    server.send(answer(there, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")


@on("udp", "ipv4-ipv6")
@pytest.mark.parametrize("hole", [False, True], ids=["refused", "black hole"])
def test_n61_a_large_request_goes_by_udp_where_nobody_takes_connections(lab, hole):
    """Without TCP there, it goes by UDP after all; the next one does so at once."""
    registered(lab)
    if hole:
        lab.network.black_holes.add(lab.v.address[0])
    for number in (1, 2):
        began = lab.reactor.seconds()
        body = "long\n" * 300
        lab.p.send(request("MESSAGE", BOB, "Content-Type: text/plain", f"Call-ID: m{number}", body=body))
        lab.advance(1.0 if number == 1 else 0)
        there = lab.v.sees(f"MESSAGE {BOB} SIP/2.0\nVia: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…, …")
        lab.v.forget()
        lab.v.send(answer(there, "200 OK"))
        lab.p.sees("SIP/2.0 200 OK")
        assert lab.reactor.seconds() - began <= 1.0
