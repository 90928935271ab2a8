# SPDX-License-Identifier: MIT
"""The sockets of the service: for each transport, side and address family, while the addresses are there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.protocol import Factory
from twisted.logger import LogLevel, capturedLogs, formatEvent

from siproxd_tw.config.settings import Config, SIPConfig, TransportConfig
from siproxd_tw.interfaces import Address, Hop, Side
from siproxd_tw.service import TICK
from siproxd_tw.transport import tls
from siproxd_tw.transport.ports import CannotListen
from tests.support.addresses import dual_stack, in_front_of_nat, ipv6_only, one_armed
from tests.support.certificates import certificate
from tests.support.host import INSIDE, OUTSIDE, Host
from tests.support.messages import SDP, invite, register, request

IN, OUT = Side.INSIDE, Side.OUTSIDE
REGISTER = register("alice@sip.provider.test", "<sip:alice@10.0.0.10>")


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    if host.service.running:
        host.stop()


@pytest.fixture
def certified(tmp_path: Path) -> Config:
    """A configuration with a certificate."""
    return Config(transports=TransportConfig(certificate=certificate(tmp_path / "tls.pem", "foo.test")))


def ways(host: Host, *addresses: str) -> list[str]:
    """Return the ways out that there are: the transports that lead to each of these hosts on each side."""
    return [
        f"{side.value} {name} {address}"
        for side in Side
        for address in addresses
        for name in ("UDP", "TCP", "TLS", "WS")
        if host.service.signalling.flow_to(Hop(name, Address(address, 5060)), side)
    ]


def told(events: Any, *levels: LogLevel) -> list[str]:
    return [formatEvent(event) for event in events if event["log_level"] in levels]


def take(host: Host, where: tuple[str, int]) -> None:
    """Let another program listen for connections there."""
    factory = Factory()
    factory.noisy = False
    host.network.listenTCP(where[1], factory, interface=where[0])


# sockets


def test_one_socket_on_each_side(host: Host) -> None:
    """Bound to the address of the side, not to all; before the start there is none."""
    assert host.sockets() == []
    host.start()
    assert host.sockets() == ["10.0.0.1:5060", "203.0.113.1:5060"]
    for peer, to in ((host.phone, ("10.0.0.1", 5060)), (host.provider, ("203.0.113.1", 5060))):
        host.send(request("OPTIONS", f"sip:{to[0]}"), peer, to)
        (answer,) = peer.take()
        assert answer.data.startswith(b"SIP/2.0 200 OK\r\n")
        assert answer.source == to


def test_another_port_and_a_mark() -> None:
    """`sip_listen_port` and the DSCP are those of the configuration."""
    host = Host(Config(sip=SIPConfig(port=5070, dscp=26))).start()
    assert host.sockets() == ["10.0.0.1:5070", "203.0.113.1:5070"]
    assert host.service.port == 5070
    handle: Any = host.network.bound["10.0.0.1", 5070].getHandle()
    assert 26 << 2 in handle.options.values()
    host.stop()


def test_one_armed() -> None:
    """One address, one socket, and it serves both sides."""
    host = Host(addresses=one_armed()).start()
    assert host.sockets() == ["10.0.0.1:5060"]
    host.send(request("OPTIONS", "sip:10.0.0.1"), host.provider)
    assert host.received(host.provider) == ["SIP/2.0 200 OK"]
    host.send(REGISTER)
    (sent,) = host.provider.take()
    assert sent.source == ("10.0.0.1", 5060)
    assert b"<sip:alice@198.51.100.7>" in sent.data
    host.stop()


def test_behind_a_router_the_socket_is_at_the_address_that_we_have() -> None:
    """`host_outbound` is only what others are told."""
    host = Host(addresses=in_front_of_nat()).start()
    assert host.sockets() == ["10.0.0.1:5060", "203.0.113.1:5060"]
    host.stop()


def test_the_outside_comes_later(host: Host) -> None:
    """Started before the line is up: phones are told to come back, and it goes on by itself."""
    host.addresses.set(OUT, None)
    host.start()
    assert host.sockets() == ["10.0.0.1:5060"]
    host.send(REGISTER)
    assert host.received() == ["SIP/2.0 503 Service Unavailable"]
    host.addresses.set(OUT, "203.0.113.1")
    assert host.sockets() == ["10.0.0.1:5060", "203.0.113.1:5060"]
    host.send(REGISTER)
    assert host.received(host.provider) == ["REGISTER sip:sip.provider.test SIP/2.0"]


def test_a_new_address(host: Host) -> None:
    """The old socket is closed, the new one used; the other side is not disturbed."""
    host.start()
    inside = host.network.bound["10.0.0.1", 5060]
    host.addresses.set(OUT, "203.0.113.77")
    assert host.sockets() == ["10.0.0.1:5060", "203.0.113.77:5060"]
    assert host.network.bound["10.0.0.1", 5060] is inside
    host.send(REGISTER)
    (sent,) = host.provider.take()
    assert sent.source == ("203.0.113.77", 5060)
    host.addresses.set(OUT, None)
    assert host.sockets() == ["10.0.0.1:5060"]


def test_an_address_that_comes_and_goes(host: Host) -> None:
    """Ten times: no socket too many, none too few."""
    host.start()
    for _ in range(10):
        host.addresses.set(OUT, None)
        assert host.sockets() == ["10.0.0.1:5060"]
        host.addresses.set(OUT, "203.0.113.1")
        assert host.sockets() == ["10.0.0.1:5060", "203.0.113.1:5060"]


def test_a_port_that_is_taken(host: Host) -> None:
    """The start fails with one line for the administrator, and a stop cleans up."""
    host.network.peer("203.0.113.1", 5060)
    with pytest.raises(CannotListen, match=r"^cannot listen on UDP 203\.0\.113\.1:5060: in use"):
        host.start()
    host.stop()
    assert host.sockets() == []
    assert host.reactor.getDelayedCalls() == []


def test_an_address_that_cannot_be_bound_yet(host: Host) -> None:
    """It is tried again at every tick and told once; the other side changes all the same."""
    network = host.reactor.network
    network.addresses = {"10.0.0.1", "203.0.113.1"}
    host.start()
    network.addresses = {"10.0.0.2"}
    with capturedLogs() as events:
        host.addresses.set(OUT, "203.0.113.2")
        host.addresses.set(IN, "10.0.0.2")
        assert host.sockets() == ["10.0.0.2:5060"]
        for _ in range(3):
            host.reactor.advance(TICK)
        errors = [formatEvent(e) for e in events if e["log_level"] is LogLevel.error]
        assert len(errors) == 1
        assert "203.0.113.2:5060: no interface has this address" in errors[0]
        network.addresses = {"10.0.0.2", "203.0.113.2"}
        host.reactor.advance(TICK)
    assert host.sockets() == ["10.0.0.2:5060", "203.0.113.2:5060"]


def test_after_the_stop_addresses_may_change(host: Host) -> None:
    """Nothing is bound any more."""
    host.start()
    host.stop()
    host.addresses.set(OUT, "203.0.113.77")
    assert host.sockets() == []


# by TCP and TLS


def test_it_listens_for_connections_too(host: Host) -> None:
    """On both sides, at the SIP port; without a certificate TLS is for connections of ours only."""
    host.start()
    assert host.listening() == ["10.0.0.1:5060", "203.0.113.1:5060"]
    assert host.service.transports == ("UDP", "TCP", "TLS")
    assert host.service.families == (4,)
    for source, to in (("10.0.0.10", INSIDE), ("203.0.113.50", OUTSIDE)):
        assert host.say(request("OPTIONS", f"sip:{to[0]}"), host.connect(source, to)) == ["SIP/2.0 200 OK"]


def test_with_a_certificate_it_listens_for_tls(certified: Config) -> None:
    """At a port of its own."""
    with capturedLogs() as events:
        host = Host(certified).start()
    assert host.listening() == ["10.0.0.1:5060", "10.0.0.1:5061", "203.0.113.1:5060", "203.0.113.1:5061"]
    assert "TLS bound to port 5061 on 10.0.0.1 (inside)" in told(events, LogLevel.info)
    host.stop()
    assert host.left() == []


def test_nothing_is_said_of_a_port_that_nobody_listens_on(host: Host) -> None:
    """An administrator would open it in the packet filter."""
    with capturedLogs() as events:
        host.start()
    bound = [text for text in told(events, LogLevel.info) if "bound to port" in text]
    assert bound == [
        f"{name} bound to port 5060 on {host} ({side})"
        for host, side in (("203.0.113.1", "outside"), ("10.0.0.1", "inside"))
        for name in ("UDP", "TCP")
    ]


def test_a_request_goes_by_the_transport_that_its_uri_names(host: Host) -> None:
    """From our address, and with our listening port in the Via; the response finds the phone by UDP."""
    provider = host.network.listen(("203.0.113.50", 5060))
    host.start().register()
    host.send(request("OPTIONS", "sip:sip.provider.test;transport=tcp"))
    (connection,) = provider.peers
    assert connection.remote[0] == "203.0.113.1"
    (sent,) = connection.take()
    assert b"Via: SIP/2.0/TCP 203.0.113.1:5060;" in sent


def test_browsers_have_ports_of_their_own(certified: Config) -> None:
    """WebSockets; those over TLS with a certificate only. We call nobody by them."""
    ports = replace(certified.transports, ws_port=8080, wss_port=8443)
    for config, sockets in (
        (replace(certified, transports=replace(ports, certificate="")), ["10.0.0.1:5060", "10.0.0.1:8080"]),
        (
            replace(certified, transports=ports),
            ["10.0.0.1:5060", "10.0.0.1:5061", "10.0.0.1:8080", "10.0.0.1:8443"],
        ),
    ):
        host = Host(config).start()
        assert [each for each in host.listening() if each.startswith("10.")] == sockets
        assert host.service.transports == ("UDP", "TCP", "TLS")
        host.stop()
        assert host.left() == []


def test_a_port_that_is_taken_for_tcp_only(host: Host) -> None:
    """UDP is free; the start fails all the same, with one line, and a stop cleans up."""
    take(host, OUTSIDE)
    with pytest.raises(
        CannotListen, match=r"\Acannot listen on TCP 203\.0\.113\.1:5060: in use.*\Z"
    ) as refused:
        host.start()
    assert "\n" not in str(refused.value)
    host.stop()
    assert host.listening() == ["203.0.113.1:5060"]  # the other one's
    assert host.sockets() == []
    assert host.reactor.getDelayedCalls() == []


def test_a_port_that_is_taken_for_tls_only(certified: Config) -> None:
    """The same; the text says which transport, so that the port to change is known."""
    host = Host(certified)
    take(host, ("10.0.0.1", 5061))
    with pytest.raises(CannotListen, match=r"^cannot listen on TLS 10\.0\.0\.1:5061: in use"):
        host.start()
    host.stop()
    assert host.listening() == ["10.0.0.1:5061"]


@pytest.mark.parametrize(
    ("contents", "why"),
    [
        (None, "No such file or directory"),
        ("", ""),
        ("-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", ""),
    ],
)
def test_a_certificate_that_cannot_be_used(tmp_path: Path, contents: str | None, why: str) -> None:
    """It was asked for: one line with the directive and the file, and nothing is left open."""
    file = tmp_path / "tls.pem"
    if contents is not None:
        file.write_text(contents)
    host = Host(Config(transports=TransportConfig(certificate=str(file))))
    with pytest.raises(CannotListen) as refused:
        host.start()
    text = str(refused.value)
    assert text.startswith(f"cannot listen on TLS 10.0.0.1:5061: tls_certificate {file}: ")
    assert why in text
    assert "\n" not in text
    host.stop()
    assert host.left() == []


def test_without_the_libraries_of_tls(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no certificate has not asked for it: everything else works, and the log says so once."""
    monkeypatch.setattr(tls, "_missing", "No module named 'OpenSSL'")
    with capturedLogs() as events:
        host = Host().start()
        host.reactor.advance(TICK)
    assert host.service.transports == ("UDP", "TCP")
    assert ways(host, "203.0.113.50") == [
        f"{side} {name} 203.0.113.50" for side in ("inside", "outside") for name in ("UDP", "TCP")
    ]
    (said,) = [text for text in told(events, *LogLevel.iterconstants()) if "TLS" in text]
    assert said.startswith("no TLS: TLS needs pyOpenSSL: pip install siproxd_tw[tls]")
    host.register()
    host.send(request("OPTIONS", "sip:203.0.113.50;transport=tls"))
    assert host.received() == ["SIP/2.0 503 Service Unavailable"]
    assert len(host.stop()) == 1
    assert host.left() == []


def test_without_the_libraries_a_certificate_is_of_no_use(
    certified: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was asked for, and somebody relies on it."""
    monkeypatch.setattr(tls, "_missing", "No module named 'OpenSSL'")
    host = Host(certified)
    with pytest.raises(
        CannotListen, match=r"^cannot listen on TLS 10\.0\.0\.1:5061: TLS needs pyOpenSSL: pip"
    ):
        host.start()
    host.stop()
    assert host.left() == []


def test_one_armed_by_tcp() -> None:
    """One socket for connections, too; peers from inside and from outside use the same one."""
    host = Host(addresses=one_armed()).start()
    assert host.listening() == ["10.0.0.1:5060"]
    assert ways(host, "203.0.113.50") == [
        f"{side} {name} 203.0.113.50" for side in ("inside", "outside") for name in ("UDP", "TCP", "TLS")
    ]
    for source in ("10.0.0.10", "203.0.113.50"):
        assert host.say(request("OPTIONS", "sip:10.0.0.1"), host.connect(source)) == ["SIP/2.0 200 OK"]
    names = [each["name"] for each in host.service.status()["transports"]]  # type: ignore[attr-defined]
    assert names == ["UDP", "TCP", "TLS"]
    host.stop()
    assert host.left() == []


# address families


def test_both_families() -> None:
    """A socket for each, and each knows its way."""
    host = Host(addresses=dual_stack()).start()
    assert host.sockets() == host.listening() == [
        "10.0.0.1:5060", "2001:db8::1:5060", "203.0.113.1:5060", "fd00::1:5060"
    ]  # fmt: skip
    assert host.service.families == (4, 6)
    for peer in ("203.0.113.50", "2001:db8::50"):
        assert len(ways(host, peer)) == 6
    host.stop()
    assert host.left() == []


def test_a_family_that_comes_and_goes() -> None:
    """The prefix of a provider: its sockets follow, and their connections; the others are not disturbed."""
    host = Host(addresses=dual_stack()).start()
    old, other = host.connect("2001:db8::50", ("2001:db8::1", 5060)), host.connect("203.0.113.50", OUTSIDE)
    for _ in range(3):
        host.addresses.set(OUT, None, 6)
        assert host.sockets() == host.listening() == ["10.0.0.1:5060", "203.0.113.1:5060", "fd00::1:5060"]
        assert host.service.families == (4,)
        assert host.service.transports == ("UDP", "TCP", "TLS")
        assert ways(host, "2001:db8::50") == [f"inside {name} 2001:db8::50" for name in ("UDP", "TCP", "TLS")]
        host.addresses.set(OUT, "2001:db8::2")
        assert "2001:db8::2:5060" in host.sockets()
        assert "2001:db8::2:5060" in host.listening()
        assert host.service.families == (4, 6)
        assert len(ways(host, "2001:db8::50")) == 6
    assert (old.lost, other.open) == (True, True)
    host.addresses.set(OUT, None)
    assert host.listening() == ["10.0.0.1:5060", "fd00::1:5060"]
    assert (host.service.families, host.service.transports) == ((), ())
    assert other.lost
    host.stop()
    assert host.left() == []


def test_ipv6_only() -> None:
    """A gateway without any IPv4."""
    host = Host(
        addresses=ipv6_only(),
        names={"sip.provider.test": "2001:db8::50"},
        phone=("fd00::10", 5060),
        provider=("2001:db8::50", 5060),
    ).start()
    assert host.sockets() == host.listening() == ["2001:db8::1:5060", "fd00::1:5060"]
    assert host.service.families == (6,)
    host.send(register("alice@sip.provider.test", "<sip:alice@[fd00::10]>"), to=("fd00::1", 5060))
    (sent,) = host.provider.take()
    assert sent.source == ("2001:db8::1", 5060)
    assert b"Via: SIP/2.0/UDP [2001:db8::1]:5060;" in sent.data
    assert b"Contact: <sip:alice@[2001:db8::1]" in sent.data
    host.stop()
    assert host.left() == []


# from the start to the end, and again


def test_stop_closes_connections(host: Host) -> None:
    """Accepted ones, with or without a word, made ones, and those that are being made."""
    provider = host.network.listen(("203.0.113.50", 5060))
    host.network.black_holes.add("203.0.113.51")
    host.start().register()
    phone, silent = host.connect(), host.connect()
    host.say(request("OPTIONS", "sip:sip.provider.test;transport=tcp"), phone)
    host.say(invite("sip:bob@203.0.113.51;transport=tcp", body=SDP.audio("10.0.0.10", 40000)), phone)
    (made,) = provider.peers
    assert (phone.open, silent.open, made.open) == (True, True, True)
    assert len(host.stop()) == 1
    assert (phone.lost, silent.lost, made.lost) == (True, True, True)
    assert host.left() == []


def test_started_again(host: Host) -> None:
    """The same object is as good as a new one, ten times: sockets, connections, calls and media."""
    provider = host.network.listen(("203.0.113.50", 5060))
    for _ in range(10):
        host.start().register()
        assert len(host.sockets()) == len(host.listening()) == 2
        phone = host.connect()
        called = invite("sip:bob@203.0.113.50;transport=tcp", body=SDP.audio("10.0.0.10", 40000))
        assert host.say(called, phone) == ["SIP/2.0 100 Trying"]
        (sent,) = provider.take()
        assert sent.startswith(b"INVITE sip:bob@203.0.113.50")
        assert len(host.sockets()) == 2 + 4
        assert len(host.stop()) == 1
        assert host.left() == []
    host.start()
    host.reactor.advance(64)
    status: Any = host.service.status()
    assert status["signalling"]["transactions"] == 0


def test_started_again_it_hears_of_a_change_once(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """And while it is stopped not at all."""
    for _ in range(3):
        host.start()
        host.stop()
    used: list[int] = []
    monkeypatch.setattr(host.service.signalling, "use", lambda table: used.append(len(table)))
    host.addresses.set(OUT, "203.0.113.3")
    assert used == []
    host.start()
    host.addresses.set(OUT, "203.0.113.4")
    assert used == [6, 6]
