# SPDX-License-Identifier: MIT
"""The proxy as a service: its registrations, its end; its sockets are in test_service_sockets.py."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.logger import LogLevel, capturedLogs, formatEvent
from zope.interface.verify import verifyObject

from siproxd_tw.config.settings import Config, MediaConfig, RegistrarConfig
from siproxd_tw.interfaces import IStatus
from siproxd_tw.proxy.location import GRACE
from siproxd_tw.proxy.regformat import loads
from siproxd_tw.service import SAVE_DELAY, TICK
from tests.support.host import Host
from tests.support.lab import START
from tests.support.messages import SDP, invite, register, request

RECORD = b"****:1:%d\nsip:alice@10.0.0.10:5062\nsip:alice@203.0.113.1\nsip:alice@sip.provider.test\n"


@pytest.fixture
def host() -> Iterator[Host]:
    host = Host()
    yield host
    if host.service.running:
        host.stop()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "registrations"


def saving(file: Path) -> Config:
    return Config(registrar=RegistrarConfig(file=str(file)))


def test_provides(host: Host) -> None:
    """It is a service, with a name for `IServiceCollection.getServiceNamed`, and can say how it is."""
    assert verifyObject(IService, host.service)
    assert verifyObject(IStatus, host.service)
    assert host.service.name == "siproxd"
    assert host.service.port == 5060


# registrations


def test_registrations_are_loaded(file: Path) -> None:
    """Who was registered before the restart can be called; what has run out meanwhile is gone."""
    late = RECORD.replace(b"alice", b"bob") % (START - GRACE - 1)
    file.write_bytes(RECORD % (START + 60) + late)
    host = Host(saving(file)).start()
    assert [b.user for b in host.service.location] == [b"alice"]
    host.send(request("OPTIONS", "sip:alice@203.0.113.1"), host.provider, ("203.0.113.1", 5060))
    assert host.received() == ["OPTIONS sip:alice@10.0.0.10:5062 SIP/2.0"]
    host.stop()


def test_a_damaged_file(file: Path) -> None:
    """One warning for each record that is lost; the others are there."""
    file.write_bytes(b"nonsense\n" + RECORD % (START + 60))
    with capturedLogs() as events:
        host = Host(saving(file)).start()
    assert len(host.service.location) == 1
    warnings = [formatEvent(e) for e in events if e["log_level"] is LogLevel.warn]
    assert warnings == ["registration file: line 1: expected a slot that starts with ****:"]
    host.stop()


def test_registrations_are_saved_soon_after_a_change(file: Path) -> None:
    """Not at once, since one change seldom comes alone; and not only at the end."""
    host = Host(saving(file)).start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    host.send(register("dora@foo.test", "<sip:dora@10.0.0.10>"))
    assert host.received() == ["SIP/2.0 200 OK"] * 2
    host.reactor.advance(SAVE_DELAY / 2)
    assert not file.exists()
    host.reactor.advance(SAVE_DELAY / 2)
    assert [b.user for b in loads(file.read_bytes())[0]] == [b"carol", b"dora"]
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>;expires=0", "CSeq: 2 REGISTER"))
    host.reactor.advance(SAVE_DELAY)
    assert [b.user for b in loads(file.read_bytes())[0]] == [b"dora"]
    host.stop()


def test_registrations_are_saved_as_seldom_as_wanted(file: Path) -> None:
    """With autosave_registrations a change waits so long for others, for the sake of flash memory."""
    config = saving(file)
    registrar = replace(config.registrar, autosave=300.0)
    host = Host(replace(config, registrar=registrar)).start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    assert host.received() == ["SIP/2.0 200 OK"]
    host.reactor.pump([1.0] * 299)
    assert not file.exists()
    host.reactor.advance(1)
    assert [b.user for b in loads(file.read_bytes())[0]] == [b"carol"]
    host.stop()


def test_what_runs_out_is_saved(file: Path) -> None:
    """The tick removes it and the file follows."""
    file.write_bytes(RECORD % (START + 60))
    host = Host(saving(file)).start()
    host.reactor.pump([1.0] * int(60 + GRACE + TICK + SAVE_DELAY + 1))
    assert len(host.service.location) == 0
    assert loads(file.read_bytes()) == ([], [])
    host.stop()


def test_registrations_are_saved_at_the_end(file: Path) -> None:
    """Also what has not been saved yet."""
    host = Host(saving(file)).start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    host.stop()
    assert [b.user for b in loads(file.read_bytes())[0]] == [b"carol"]
    assert host.reactor.getDelayedCalls() == []


def test_without_a_file(host: Host) -> None:
    """Nothing is saved and nothing waits to be."""
    host.start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    assert len(host.reactor.getDelayedCalls()) == 2  # the tick and the transaction


def test_a_second_start(file: Path) -> None:
    """Stopped and started again it has every phone once, and saves as before."""
    host = Host(saving(file)).start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    host.stop()
    host.start()
    assert [b.user for b in host.service.location] == [b"carol"]
    assert host.sockets() == ["10.0.0.1:5060", "203.0.113.1:5060"]
    host.send(request("OPTIONS", "sip:10.0.0.1"))
    assert host.received()[-1] == "SIP/2.0 200 OK"
    host.stop()


# the end


def test_stop(host: Host) -> None:
    """No socket and no timer is left, of the proxy nor of its media; then the Deferred fires."""
    host.start()
    host.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10>"))
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    host.send(invite("sip:bob@sip.provider.test", body=SDP.audio("10.0.0.10", 40000)))
    assert len(host.sockets()) > 2
    assert len(host.stop()) == 1
    assert host.sockets() == []
    assert host.reactor.getDelayedCalls() == []


def test_stop_waits_for_the_disk(file: Path) -> None:
    """A slow write is waited for."""
    waiting: list[tuple[Deferred[Any], Callable[..., Any], Any]] = []

    def slowly(work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        waiting.append((done, work, args))
        return done

    host = Host(saving(file), in_thread=slowly).start()
    fired = host.stop()
    assert fired == []
    ((done, work, args),) = waiting
    done.callback(work(*args))
    assert len(fired) == 1
    assert file.exists()


def test_what_still_waits_at_the_end(host: Host) -> None:
    """A name that is found after the stop, or a REGISTER, starts nothing again: no timer, no socket."""
    host = Host(Config(registrar=RegistrarConfig(file="/nonexistent/registrations")))
    host.start()
    host.resolver.hold()
    host.send(invite("sip:bob@sip.provider.test", body=SDP.audio("10.0.0.10", 40000)))
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    with capturedLogs():
        assert len(host.stop()) == 1
        host.resolver.release()
    assert host.sockets() == []
    assert host.reactor.getDelayedCalls() == []
    gc.collect()


# looking inside


def test_status(host: Host) -> None:
    """Every part says how it is; only plain values, so that it can be written as JSON."""
    host.start()
    host.send(register("carol@foo.test", "<sip:carol@10.0.0.10>"))
    host.send(request("MESSAGE", "sip:nobody@10.0.0.1"))
    status: Any = host.service.status()
    assert status["registrations"] == 1
    assert status["signalling"]["received"] == 2
    assert status["signalling"]["refused: no such phone"] == 1
    assert status["proxy"]["dialogs"] == 0
    assert [(each["name"], each["local"]) for each in status["transports"]] == [
        ("UDP", "203.0.113.1:5060"),
        ("TCP", "203.0.113.1:5060"),
        ("TLS", "203.0.113.1:5061"),
        ("UDP", "10.0.0.1:5060"),
        ("TCP", "10.0.0.1:5060"),
        ("TLS", "10.0.0.1:5061"),
    ]
    assert "media" in status

    def plain(value: object) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(each) for key, each in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return isinstance(value, str | int | float) or value is None

    assert plain(dict(status))


def test_without_media_relaying() -> None:
    """`rtp_proxy_enable = 0`: descriptions pass as they are, and no socket is opened for them."""
    host = Host(Config(media=replace(MediaConfig(), enabled=False))).start()
    host.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10>"))
    host.send(request("OPTIONS", "sip:10.0.0.1"))
    description = SDP.audio("10.0.0.10", 40000)
    host.send(invite("sip:bob@203.0.113.50", "To: <sip:b@h>;tag=1", body=description))
    offered = host.provider.take()[-1].data
    assert offered.endswith(description.replace("\n", "\r\n").encode())
    assert len(host.sockets()) == 2
    host.stop()
