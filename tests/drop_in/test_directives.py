# SPDX-License-Identifier: MIT
"""TC08, TC26, TC27 and others: what the directives of the configuration do to the messages."""

from __future__ import annotations

import pytest

from tests.support.calls import call_to_m, hang_up, is_reachable, media, registered
from tests.support.messages import SDP, answer, invite, register, request, values
from tests.support.networks import BOTH, EVERYWHERE, Network, on

pytestmark = BOTH

BOB = "sip:bob@sip.provider.test"
FROM_CAROL = "From: <sip:carol@sip.other.test>;tag=w1"

LISTS = (
    "hosts_allow_reg = 10.0.0.10/32",
    "hosts_allow_sip = 203.0.113.48/28",
    "hosts_deny_sip = 203.0.113.60/32",
)


def counters(status: object) -> dict[str, int]:
    """Return every whole number that the status tells, by its path."""
    if isinstance(status, dict):
        return {f"{name}.{key}": n for name, part in status.items() for key, n in counters(part).items()}
    return {"": status} if isinstance(status, int) else {}


def test_tc08_no_rights(laboratory):
    """Who may not register, or not speak at all, hears nothing; everybody else is served."""
    lab = laboratory(*LISTS)
    registered(lab)
    before = counters(lab.service.status())
    lab.q.send(register("bob@sip.provider.test", "<sip:bob@10.0.0.11>"))
    lab.q.send(request("OPTIONS", BOB))
    lab.m.send(invite("sip:alice@203.0.113.1", FROM_CAROL, body=SDP.audio("203.0.113.60", 50000)))
    for party in (lab.p, lab.q, lab.v, lab.w, lab.m):
        party.nothing()
    after = counters(lab.service.status())
    assert any(after[name] - n == 3 for name, n in before.items()), "dropped and not counted"

    lab.w.send(invite("sip:alice@203.0.113.1", FROM_CAROL, body=SDP.audio("203.0.113.51", 51000)))
    lab.p.sees("INVITE sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.w.sees("SIP/2.0 100 Trying")


def test_tc08_who_may_register_may_use_sip(laboratory):
    """The list of phones counts for all their requests; the deny list wins over it."""
    lab = laboratory(*LISTS, "hosts_allow_reg = 10.0.0.10/31", "hosts_deny_sip = 10.0.0.11/32")
    registered(lab)
    lab.p.send(request("OPTIONS", BOB))
    lab.v.sees("OPTIONS … SIP/2.0")
    lab.q.send(register("bob@sip.provider.test", "<sip:bob@10.0.0.11>"))
    lab.v.nothing()


def test_tc08_strangers_outside_do_not_register(lab):
    """Without any list only phones inside may register: no open relay."""
    lab.w.send(register("mallory@sip.provider.test", "<sip:mallory@203.0.113.51>"))
    lab.w.send(register("mallory@foo.bar.test", "<sip:mallory@203.0.113.51>"))
    lab.v.nothing()
    lab.w.nothing()


PROXIES = (
    "outbound_proxy_host = 203.0.113.60",
    "outbound_proxy_port = 5070",
    "outbound_domain_name = sip.other.test",
    "outbound_domain_host = 203.0.113.60",
    "outbound_domain_port = 5080",
)


def proxies(network: Network) -> tuple[str, ...]:
    """Return the directives for outbound proxies that speak what the provider's network speaks."""
    transport = network.outside.lower()
    return *PROXIES, f"outbound_proxy_transport = {transport}", f"outbound_domain_transport = {transport}"


@EVERYWHERE
def test_tc26_outbound_proxies(laboratory, network):
    """The domain of From chooses the outbound proxy, in any case; the global one takes the rest."""
    lab = laboratory(*proxies(network))
    everybody, other = lab.party("5070", "203.0.113.60", 5070), lab.party("5080", "203.0.113.60", 5080)
    registered(lab, registrar=everybody)
    lab.p.send(request("OPTIONS", BOB))
    everybody.sees(f"OPTIONS {BOB} SIP/2.0")
    lab.p.send(request("OPTIONS", BOB, "From: <sip:alice@SIP.other.TEST>;tag=a1", "Call-ID: c2"))
    other.sees(f"OPTIONS {BOB} SIP/2.0")
    lab.p.send(request("OPTIONS", "sip:dan@sip.other.test", "Call-ID: c3"))
    everybody.sees("OPTIONS sip:dan@sip.other.test SIP/2.0")


def test_tc26_a_route_wins(laboratory, network):
    """A Route says more than an outbound proxy."""
    lab = laboratory(*proxies(network))
    everybody = lab.party("5070", "203.0.113.60", 5070)
    registered(lab, registrar=everybody)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:203.0.113.51;lr>"))
    lab.w.sees(f"OPTIONS {BOB} SIP/2.0")
    everybody.nothing()


def test_tc26_answers_follow_their_via(laboratory, network):
    """The answer to a call that came in goes back where the call came from, not to an outbound proxy."""
    lab = laboratory(*proxies(network))
    everybody = lab.party("5070", "203.0.113.60", 5070)
    registered(lab, registrar=everybody)
    lab.w.send(
        invite(
            "sip:alice@203.0.113.1",
            "From: <sip:bob@sip.other.test>;tag=w1",
            contact="<sip:bob@203.0.113.51>",
            body=SDP.audio("203.0.113.51", 51000),
        )
    )
    lab.w.sees("SIP/2.0 100 Trying")
    lab.p.send(answer(lab.p.receive(), "180 Ringing"))
    lab.w.sees("""
        SIP/2.0 180 Ringing
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKW1
        """)
    everybody.nothing()


@on("udp", "tcp", "ipv6")
@pytest.mark.parametrize(
    ("setting", "inside", "outside"),
    [(0, "", ""), (1, ";rport", ""), (2, "", ";rport"), (3, ";rport", ";rport")],
)
def test_tc27_use_rport(laboratory, setting, inside, outside):
    """Bit 0 of use_rport is for our Via in messages to the inside, bit 1 for those to the outside."""
    lab = laboratory(f"use_rport = {setting}")
    registered(lab)
    lab.p.send(request("OPTIONS", BOB))
    own = values(lab.v.receive(), "Via")[0]
    assert own.startswith(lab.written("SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK"))
    assert own.count(";") == (2 if outside else 1) and own.endswith(outside)
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", FROM_CAROL))
    own = values(lab.p.receive(), "Via")[0]
    assert own.startswith(lab.written("SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK"))
    assert own.count(";") == (2 if inside else 1) and own.endswith(inside)


@EVERYWHERE
def test_tc27_ua_string(laboratory):
    """Outside, everything carries our User-Agent, requests and responses; inside nothing changes."""
    lab = laboratory("ua_string = X/1 beta")
    registered(lab)
    for present in ("User-Agent: Phone/1.0", "Subject: none"):
        lab.p.send(request("OPTIONS", BOB, present))
        lab.v.sees(f"""
            OPTIONS {BOB} SIP/2.0
            User-Agent: X/1 beta
            """)
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", FROM_CAROL, "User-Agent: Caller/2"))
    ping = lab.p.sees("""
        OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0
        User-Agent: Caller/2
        """)
    lab.p.send(answer(ping, "200 OK", "Server: Phone/1"))
    lab.w.sees("""
        SIP/2.0 200 OK
        Server: Phone/1
        User-Agent: X/1 beta
        """)


@on("udp", "tcp", "udp-tcp", "tcp-udp", "ipv6")
def test_tc27_another_port(laboratory):
    """With sip_listen_port everything that names us names the port."""
    lab = laboratory("sip_listen_port = 5088", port=5088)
    lab.p.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062>"))
    passed_on = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5088;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP1
        Contact: <sip:alice@203.0.113.1:5088>
        """)
    lab.v.send(answer(passed_on, "200 OK", "Contact: <sip:alice@203.0.113.1:5088>;expires=60"))
    lab.p.sees("""
        SIP/2.0 200 OK
        Record-Route: <sip:siproxd@10.0.0.1:5088;lr>
        Contact: <sip:alice@10.0.0.10:5062>;expires=60
        """)
    lab.w.send(request("INVITE", "sip:alice@203.0.113.1:5088", FROM_CAROL))
    lab.w.sees("SIP/2.0 100 Trying")
    lab.p.sees("""
        INVITE sip:alice@10.0.0.10:5062 SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5088;branch=z9hG4bK…, …
        Record-Route: <sip:siproxd@10.0.0.1:5088;lr>
        """)
    lab.p.send(request("OPTIONS", BOB, "Route: <sip:siproxd@10.0.0.1:5088;lr>"))
    lab.v.sees(f"""
        OPTIONS {BOB} SIP/2.0
        no Route
        """)


@on("udp", "tcp-udp", "ipv6")
def test_tc27_the_registrar_has_the_port_too(laboratory):
    """With sip_listen_port only a REGISTER for that port is for us; port 5060 here is somebody else."""
    lab = laboratory("sip_listen_port = 5088", port=5088)
    somebody = lab.party("5060", "203.0.113.1", 5060)
    request_uri = "REGISTER sip:foo.bar.test:5088 SIP/2.0"
    text = register("alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>")
    lab.p.send(text.replace("REGISTER sip:foo.bar.test SIP/2.0", request_uri))
    lab.p.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=3600
        """)
    lab.p.send(register("bob@foo.bar.test", "<sip:bob@10.0.0.10:5062>"))
    lab.p.nothing()
    somebody.sees("""
        REGISTER sip:foo.bar.test SIP/2.0
        Contact: <sip:bob@203.0.113.1:5088>
        """)


def test_default_expires(laboratory):
    """A REGISTER that names no lifetime has the configured one, here and at the provider."""
    lab = laboratory("default_expires = 600")
    lab.p.send(register("alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>", "Expires"))
    lab.p.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=600
        """)
    lab.q.send(register("bob@sip.provider.test", "<sip:bob@10.0.0.11>", "Expires"))
    passed_on = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Contact: <sip:bob@203.0.113.1>
        """)
    lab.v.send(answer(passed_on, "200 OK"))
    lab.q.sees("SIP/2.0 200 OK")
    lab.advance(590)
    assert is_reachable(lab, lab.q, "sip:bob@203.0.113.1")
    lab.advance(20)
    assert not is_reachable(lab, lab.q, "sip:bob@203.0.113.1")


def test_mask_host(laboratory):
    """The domain under which a phone registers here may be shown outside under another name."""
    lab = laboratory("mask_host = 10.0.0.1", "masked_host = foo.bar.test")
    lab.p.send(register("alice@10.0.0.1", "<sip:alice@10.0.0.10:5062>"))
    lab.p.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=3600
        """)
    lab.p.send(
        request("OPTIONS", BOB, "From: <sip:alice@10.0.0.1>;tag=1", "Contact: <sip:alice@10.0.0.10:5062>")
    )
    lab.v.sees(f"""
        OPTIONS {BOB} SIP/2.0
        From: <sip:alice@10.0.0.1>;tag=1
        Contact: <sip:alice@foo.bar.test>
        """)
    assert is_reachable(lab, lab.p, "sip:alice@foo.bar.test", "sip:alice@10.0.0.10:5062")


def test_rtp_proxy_enable(laboratory):
    """Without the relay a session description passes as it is."""
    lab = laboratory("rtp_proxy_enable = 0")
    registered(lab)
    lab.p.send(invite(BOB, body=SDP.audio("10.0.0.10", 40000)))
    lab.p.sees("SIP/2.0 100 Trying")
    invitation = lab.v.sees(f"""
        INVITE {BOB} SIP/2.0
        Contact: <sip:alice@203.0.113.1>
        """)
    assert media(invitation) == ["10.0.0.10:40000"]
    assert lab.media_ports() == set()


def test_rtp_timeout(laboratory):
    """Media that has stopped for longer than rtp_timeout gives its ports back; the call itself goes on."""
    lab = laboratory("rtp_timeout = 60")
    registered(lab)
    call = call_to_m(lab)
    (inside,), (outside,) = media(call.answered), media(call.offered)
    for _ in range(10):
        lab.advance(30)
        assert lab.relayed("10.0.0.10:40000", inside) == [f"{outside} > 203.0.113.60:50000"]
    lab.advance(90)
    assert lab.media_ports() == set()
    hang_up(lab, lab.p, call.caller, lab.m)
