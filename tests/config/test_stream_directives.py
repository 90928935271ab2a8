# SPDX-License-Identifier: MIT
"""The directives of TCP, TLS and WebSockets."""

import pytest

from siproxd_tw.config.stream_directives import STREAMS
from siproxd_tw.config.values import convert

DIRECTIVES = {directive.name: directive for section in STREAMS.values() for directive in section}


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("tcp_timeout", 1, 2**31 - 1),
        ("tcp_connect_timeout", 1, 2**31 - 1),
        ("tcp_keepalive", 0, 2**31 - 1),
        ("sip_tls_port", 0, 65535),
        ("ws_listen_port", 0, 65535),
        ("wss_listen_port", 0, 65535),
    ],
)
def test_ranges(name: str, low: int, high: int) -> None:
    """The ends are taken and what lies beyond is not."""
    directive = DIRECTIVES[name]
    assert convert(directive, str(low)) == (low, [])
    assert convert(directive, str(high)) == (high, [])
    assert convert(directive, str(low - 1))[0] is None
    assert convert(directive, str(high + 1))[0] is None


def test_tls_is_checked_by_default() -> None:
    """Servers must prove who they are, unless somebody says that they need not."""
    assert DIRECTIVES["tls_verify"].default == "1"
