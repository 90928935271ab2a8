# SPDX-License-Identifier: MIT
"""`twistd siproxd`: its options, and that every failure is one clear line."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from zope.interface.verify import verifyObject

from siproxd_tw import tap
from siproxd_tw.config.settings import Config, SIPConfig, TransportConfig
from siproxd_tw.tap import MOST_DESCRIPTORS, Options, makeService, welcome
from siproxd_tw.transport.netif import Interface
from tests.support.addresses import (
    FixedAddresses,
    dual_stack,
    in_front_of_nat,
    ipv6_only,
    one_armed,
    two_armed,
)
from tests.support.certificates import certificate

TWISTD = Path(sys.executable).with_name("twistd")
GOOD = "if_inbound = lo\nif_outbound = lo\nsip_listen_port = {port}\n"


@pytest.fixture
def free_port() -> int:
    """A UDP port of the loopback address that nobody has at the moment."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@pytest.fixture
def good(tmp_path: Path, free_port: int) -> Path:
    """A configuration that works on every machine: one-armed on the loopback interface."""
    file = tmp_path / "siproxd.conf"
    file.write_text(GOOD.format(port=free_port))
    return file


def text_of(process: subprocess.Popen[str], seconds: float = 20) -> str:
    """Wait for the end, and return what it has said."""
    return process.communicate(timeout=seconds)[0]


def options(*words: str) -> Options:
    parsed = Options()
    parsed.parseOptions(list(words))
    return parsed


@contextmanager
def running(config: Path) -> Iterator[subprocess.Popen[str]]:
    """Run `twistd siproxd`, from when it has started until it has ended."""
    command = [TWISTD, "-n", "--pidfile=", "siproxd", "--config", config]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=config.parent
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def until(process: subprocess.Popen[str], text: str) -> list[str]:
    """Read the log up to the line with `text`."""
    assert process.stdout is not None
    lines = []
    for line in process.stdout:
        lines.append(line)
        if text in line:
            return lines
    raise AssertionError(f"never said {text!r}:\n{''.join(lines)}")


def test_check_of_a_good_file(good: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The effective configuration, nothing to complain, exit status 0."""
    with pytest.raises(SystemExit) as ended:
        options("--config", str(good), "--check")
    out, err = capsys.readouterr()
    assert (ended.value.code, err) == (0, "")
    assert "if_inbound = lo" in out
    assert f"# {good}:1" in out


def test_check_of_a_bad_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every problem with file, line, expectation and suggestion; exit status 1."""
    file = tmp_path / "bad.conf"
    file.write_text("if_inbund = eth0\nsip_listen_port = many\n")
    with pytest.raises(SystemExit) as ended:
        options("--config", str(file), "--check")
    problems = capsys.readouterr().err.splitlines()
    assert ended.value.code == 1
    assert problems[0].startswith(f"{file}:1: ")
    assert "did you mean if_inbound" in problems[0]
    assert problems[1].startswith(f"{file}:2: ")


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """One sentence that names the file."""
    with pytest.raises(SystemExit, match=r"nothing\.conf: the configuration file cannot be read"):
        options("--config", str(tmp_path / "nothing.conf"))


def test_a_wrong_value_does_not_keep_it_from_starting(good: Path) -> None:
    """As with siproxd: the default counts and the log will say so."""
    good.write_text(good.read_text() + "sip_dscp = 64\n")
    assert len(options("--config", str(good)).reading.errors) == 1


def test_a_mistake_in_an_access_list_does(good: Path) -> None:
    """A door that was to be shut would be open: exit status 1, with each such line and no other."""
    lines = "hosts_deny_sip = 10.0.0.0/8, oops\nsip_dscp = 64\nhost_allow_reg = 10.0.0.0/8\n"
    good.write_text(good.read_text() + lines)
    with pytest.raises(SystemExit) as ended:
        options("--config", str(good))
    first, second = str(ended.value.code).splitlines()
    assert first.startswith(f'{good}:4: hosts_deny_sip: "oops"')
    assert second == (
        f'{good}:6: unknown key "host_allow_reg", did you mean hosts_allow_reg; the line is ignored'
    )


def test_one_interface_is_missing(tmp_path: Path) -> None:
    """Half a configuration is no reason to guess the other half."""
    file = tmp_path / "half.conf"
    file.write_text("if_inbound = lo\n")
    with pytest.raises(SystemExit, match="if_outbound is missing"):
        makeService(options("--config", str(file)))
    file.write_text("if_inbound = lo\nif_outbund = lo\n")
    with pytest.raises(
        SystemExit, match=r"(?s)2: unknown key .* did you mean if_outbound.*if_outbound is miss"
    ):
        makeService(options("--config", str(file)))
    file.write_text("if_inbound = lo\n")
    with pytest.raises(SystemExit) as ended:
        options("--config", str(file), "--check")
    assert ended.value.code == 1


def test_the_service(good: Path) -> None:
    """What makeService gives is what twistd asks for."""
    service = makeService(options("--config", str(good)))
    verifyObject(IService, service)


def test_a_run_from_start_to_end(good: Path, free_port: int) -> None:
    """It says what to type into a phone, answers SIP, takes its signals, and ends with 0."""
    with running(good) as process, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone:
        told = "".join(until(process, "outside the phones are at"))
        assert f"bound to port {free_port}" in told
        assert f"type into the phone: outbound proxy (or SIP proxy) 127.0.0.1:{free_port}" in told
        phone.settimeout(20)
        phone.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{phone.getsockname()[1]}"
        lines = (
            f"OPTIONS sip:127.0.0.1:{free_port} SIP/2.0",
            f"Via: SIP/2.0/UDP {here};branch=z9hG4bKo",
            f"From: <sip:me@{here}>;tag=1",
            f"To: <sip:127.0.0.1:{free_port}>",
            "Call-ID: o1",
            "CSeq: 1 OPTIONS",
            "",
            "",
        )
        phone.sendto("\r\n".join(lines).encode(), ("127.0.0.1", free_port))
        assert phone.recv(65536).startswith(b"SIP/2.0 200 OK\r\n")
        os.kill(process.pid, signal.SIGUSR1)
        status = json.loads(until(process, "status {")[-1].partition("status ")[2])
        assert status["signalling"]["received"] == 1
        assert status["resolver"]["searches"] == 0
        assert status["addresses"]["inside"]["interface"] == "lo"
        assert {each["name"] for each in status["transports"]} >= {"UDP", "TCP"}
        os.kill(process.pid, signal.SIGHUP)
        until(process, "SIGHUP")
        process.terminate()
        process.send_signal(signal.SIGINT)  # impatient, or a terminal and make that both say it
        assert "Traceback" not in "".join(until(process, "Server Shut Down"))
        assert process.wait(20) == 0


def test_a_name_server_that_never_answers(good: Path, free_port: int) -> None:
    """Who waits for a name keeps nobody else from being answered, nor the program from ending."""
    with (
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole,
        socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as phone,
    ):
        for each in (hole, phone):
            each.settimeout(20)
            each.bind(("127.0.0.1", 0))
        with good.open("a") as file:
            file.write(f"dns_server = 127.0.0.1:{hole.getsockname()[1]}\n")
        with running(good) as process:
            until(process, "outside the phones are at")
            here = f"127.0.0.1:{phone.getsockname()[1]}"
            for number, target in enumerate(("sip:somebody@provider.test", f"sip:127.0.0.1:{free_port}")):
                lines = (
                    f"OPTIONS {target} SIP/2.0",
                    f"Via: SIP/2.0/UDP {here};branch=z9hG4bKo{number}",
                    "Max-Forwards: 70",
                    f"From: <sip:me@{here}>;tag=1",
                    f"To: <{target}>",
                    f"Call-ID: o{number}",
                    "CSeq: 1 OPTIONS",
                    "",
                    "",
                )
                phone.sendto("\r\n".join(lines).encode(), ("127.0.0.1", free_port))
                if not number:
                    asked = [hole.recv(512) for _ in range(2)]
            assert phone.recv(65536).startswith(b"SIP/2.0 200 OK\r\n")
            process.terminate()
            assert "Traceback" not in "".join(until(process, "Server Shut Down"))
            assert process.wait(20) == 0
    assert any(b"\x08provider\x04test\x00\x00\x23" in question for question in asked)  # NAPTR


def test_the_port_is_taken(good: Path, free_port: int) -> None:
    """One line says which one and who has it; exit status 1, no traceback."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as other:
        other.bind(("127.0.0.1", free_port))
        with running(good) as process:
            said = text_of(process)
    assert process.returncode == 1
    assert f"cannot listen on UDP 127.0.0.1:{free_port}: in use by" in said
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("limits", "asked"),
    [
        ((1024, 4096), [(4096, 4096)]),
        ((1024, 1_000_000), [(MOST_DESCRIPTORS, 1_000_000)]),
        ((1024, resource.RLIM_INFINITY), [(MOST_DESCRIPTORS, resource.RLIM_INFINITY)]),
        ((MOST_DESCRIPTORS, MOST_DESCRIPTORS), []),
        ((resource.RLIM_INFINITY, resource.RLIM_INFINITY), []),
    ],
)
def test_descriptors(monkeypatch: pytest.MonkeyPatch, limits: tuple[int, int], asked: list[Any]) -> None:
    """As many as the system lets us have, as connections must not take away what media needs."""
    told: list[Any] = []
    monkeypatch.setattr(resource, "getrlimit", lambda what: limits)
    monkeypatch.setattr(resource, "setrlimit", lambda what, new: told.append(new))
    tap._allow_descriptors()
    assert told == asked


def test_the_port_is_taken_for_tcp(good: Path, free_port: int) -> None:
    """UDP is free, and TCP is somebody else's: the same."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as other:
        other.bind(("127.0.0.1", free_port))
        other.listen()
        with running(good) as process:
            said = text_of(process)
    assert process.returncode == 1
    assert f"cannot listen on TCP 127.0.0.1:{free_port}: in use by" in said
    assert "Traceback" not in said


def test_a_certificate_that_cannot_be_used(good: Path) -> None:
    """The key is that of another one: one line says so; exit status 1, no traceback."""
    folder = good.parent
    with good.open("a") as file:
        file.write(f"tls_certificate = {certificate(folder / 'one.pem', 'one.test')}\n")
        file.write(f"tls_key = {certificate(folder / 'other.pem', 'other.test')}\n")
    with running(good) as process:
        said = text_of(process)
    assert process.returncode == 1
    why = r"tls_key .*other\.pem: key values mismatch\n"
    assert re.search(r"siproxd: cannot listen on TLS 127\.0\.0\.1:5061: " + why, said)
    assert "Traceback" not in said


# what to type into a phone

PHONE = "type into the phone: outbound proxy (or SIP proxy) "
REST = "  registrar, domain, user and password: as the provider says; STUN, ICE and SIP ALG off"


@pytest.mark.parametrize(
    ("addresses", "proxy", "outside"),
    [
        (two_armed(), "10.0.0.1", "203.0.113.1"),
        (in_front_of_nat(), "10.0.0.1", "198.51.100.7"),
        (one_armed(), "10.0.0.1", "198.51.100.7"),
        (dual_stack(), "10.0.0.1 or [fd00::1]", "203.0.113.1 and 2001:db8::1"),
        (ipv6_only(), "[fd00::1]", "2001:db8::1"),
        (FixedAddresses(outside=None), "10.0.0.1", "an address that is not there yet"),
    ],
    ids=["two armed", "behind NAT", "one armed", "both families", "IPv6 only", "no address outside"],
)
def test_what_to_type_into_a_phone(addresses: FixedAddresses, proxy: str, outside: str) -> None:
    """Our inside addresses, and as what the provider will see the phone."""
    assert welcome(addresses, Config()) == [
        f"{PHONE}{proxy}, transport UDP or TCP",
        REST,
        f"outside the phones are at {outside}",
    ]


def test_another_port_is_typed_in_too() -> None:
    """An IPv6 address has brackets with a port and without: a URI wants them (RFC 3261 section 25.1)."""
    (first, *_) = welcome(dual_stack(), Config(sip=SIPConfig(port=5070)))
    assert first == f"{PHONE}10.0.0.1:5070 or [fd00::1]:5070, transport UDP or TCP"


def test_tls_is_offered_with_a_certificate_only() -> None:
    """The usual port goes without saying; none is no offer."""
    line = "  or 10.0.0.1, transport TLS; by a name that is in the certificate if the phone checks it"
    assert line in welcome(two_armed(), Config(transports=TransportConfig(certificate="x.pem")))
    moved = welcome(two_armed(), Config(transports=TransportConfig(certificate="x.pem", tls_port=5071)))
    assert line.replace("10.0.0.1", "10.0.0.1:5071") in moved
    for without in (TransportConfig(), TransportConfig(certificate="x.pem", tls_port=0)):
        assert not [each for each in welcome(two_armed(), Config(transports=without)) if "TLS" in each]


def test_what_browsers_need() -> None:
    """The URLs of WebSockets; those over TLS with a certificate only."""
    ports = TransportConfig(ws_port=8080, wss_port=8443)
    told = welcome(dual_stack(), Config(transports=ports))
    assert told[1] == "  into a phone in a browser: ws://10.0.0.1:8080 or ws://[fd00::1]:8080"
    assert "wss:" not in "".join(told)
    with_tls = TransportConfig(ws_port=8080, wss_port=8443, certificate="x.pem")
    told = welcome(two_armed(), Config(transports=with_tls))
    assert told[3] == "  into a phone in a browser: wss://10.0.0.1:8443"


def test_without_an_inside_there_is_nothing_to_type_in() -> None:
    """The log says already what is missing."""
    assert welcome(FixedAddresses(inside=None), Config()) == []


# finding out


def machine(monkeypatch: pytest.MonkeyPatch, default: str, **addresses: tuple[str, ...]) -> None:
    """Let the machine have these interfaces, and send to the outside from `default`."""
    found = [Interface(name, True, tuple(map(ip_interface, own))) for name, own in addresses.items()]
    monkeypatch.setattr(tap, "interfaces", lambda: found)
    monkeypatch.setattr(tap, "default_route_address", lambda: default)


def detected(file: Path, text: str) -> tuple[str, str]:
    file.write_text(text)
    network = tap._with_interfaces(options("--config", str(file)).reading).network
    return network.inside, network.outside


def test_interfaces_are_found_without_ipv6_if_that_is_switched_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A way out by IPv6 is none then."""
    machine(
        monkeypatch, "2001:db8::5", lan=("10.0.0.1/24",), wan=("203.0.113.1/24",), six=("2001:db8::5/64",)
    )
    file = tmp_path / "siproxd.conf"
    assert detected(file, "\n") == ("lan", "six")
    assert detected(file, "ipv6_enable = 0\n") == ("lan", "wan")
    machine(monkeypatch, "2001:db8::5", six=("2001:db8::5/64",))
    assert detected(file, "ipv6_enable = 1\n") == ("six", "six")
    with pytest.raises(SystemExit, match=r"^siproxd: no network interface is up and has an IPv4 address"):
        detected(file, "ipv6_enable = 0\n")
