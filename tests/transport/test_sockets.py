# SPDX-License-Identifier: MIT
from __future__ import annotations

import os
import socket
from errno import EPERM

import pytest
from twisted.internet.interfaces import ISystemHandle
from twisted.logger import LogLevel, globalLogPublisher
from zope.interface import implementer

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.sockets import check_dscp, give_up_after, mark, set_option
from tests.support.memorysocket import MemorySocket

LOCAL = Address("10.0.0.1", 5060)


@implementer(ISystemHandle)
class Transport:
    """Something with a socket."""

    def __init__(self):
        self.handle = MemorySocket()

    def getHandle(self):
        return self.handle


@pytest.mark.parametrize(
    ("host", "option"),
    [
        ("10.0.0.1", (socket.IPPROTO_IP, socket.IP_TOS)),
        ("fd00::1", (socket.IPPROTO_IPV6, socket.IPV6_TCLASS)),
    ],
)
def test_the_mark_is_in_the_upper_six_bits(host, option):
    """Of the TOS octet or the traffic class (RFC 2474 section 3); 0 touches nothing."""
    transport = Transport()
    mark(transport, Address(host, 5060), 0)
    assert transport.handle.options == {}
    mark(transport, Address(host, 5060), 46)
    assert transport.handle.options == {option: 184}


def test_a_connection_that_nobody_hears_of_any_more(monkeypatch):
    """It ends after the time that is given, where the system can do that."""
    transport = Transport()
    give_up_after(2.5, transport, LOCAL)
    assert transport.handle.options == {(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT): 2500}
    monkeypatch.delattr(socket, "TCP_USER_TIMEOUT")
    elsewhere = Transport()
    give_up_after(2.5, elsewhere, LOCAL)
    assert elsewhere.handle.options == {}


def test_what_has_no_socket_is_left_alone():
    """A transport in memory is not asked."""
    mark(object(), LOCAL, 46)


def test_a_refusal_is_a_warning(monkeypatch):
    """It costs one line."""

    def refuse(self, level, option, value):
        raise OSError(EPERM, os.strerror(EPERM))

    monkeypatch.setattr(MemorySocket, "setsockopt", refuse)
    events = []
    globalLogPublisher.addObserver(events.append)
    set_option(Transport(), LOCAL, socket.SOL_SOCKET, socket.SO_RCVBUF, 7)
    globalLogPublisher.removeObserver(events.append)
    assert [(event["log_level"], event["value"]) for event in events] == [(LogLevel.warn, 7)]


@pytest.mark.parametrize("dscp", [-1, 64])
def test_six_bits(dscp):
    """A DSCP has no more."""
    assert check_dscp(63) == 63
    with pytest.raises(ValueError, match=f"DSCP {dscp} is not in 0..63"):
        check_dscp(dscp)
