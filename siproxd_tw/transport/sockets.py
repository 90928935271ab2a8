# SPDX-License-Identifier: MIT
"""Options of sockets that are worth having and that nothing depends on: a refusal is logged, no more."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.interfaces import ISystemHandle
from twisted.logger import Logger

from siproxd_tw.interfaces import Address

__all__ = ["check_dscp", "give_up_after", "mark", "set_option"]

_log = Logger()


def check_dscp(dscp: int) -> int:
    """Return `dscp` if it is one (RFC 2474), raise ValueError if not."""
    if not 0 <= dscp <= 63:
        raise ValueError(f"DSCP {dscp} is not in 0..63")
    return dscp


def mark(transport: object, local: Address, dscp: int) -> None:
    """Mark what the socket of `transport` sends with `dscp`; 0 leaves it as it is."""
    if not dscp:
        return
    if ":" in local.host:
        set_option(transport, local, socket.IPPROTO_IPV6, socket.IPV6_TCLASS, dscp << 2)
    else:
        set_option(transport, local, socket.IPPROTO_IP, socket.IP_TOS, dscp << 2)


def give_up_after(seconds: float, transport: object, local: Address) -> None:
    """End the connection of `transport` when nothing sent was acknowledged for so long (RFC 5482), on Linux.

    Else the kernel tries for a quarter of an hour, and whatever is sent meanwhile waits with the rest: a
    NAT that has forgotten the connection says nothing.
    """
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        set_option(transport, local, socket.IPPROTO_TCP, option, round(1000 * seconds))


def set_option(transport: object, local: Address, level: int, option: int, value: int) -> None:
    """Set an option of the socket of `transport`, if it has one."""
    if not ISystemHandle.providedBy(transport):
        return
    handle: Any = transport.getHandle()
    try:
        handle.setsockopt(level, option, value)
    except OSError as error:
        _log.warn(
            "{local}: socket option {option} cannot be {value}: {error}",
            local=local,
            option=option,
            value=value,
            error=error,
        )
