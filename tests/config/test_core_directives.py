# SPDX-License-Identifier: MIT
"""The directives of signalling and process."""

import pytest

from siproxd_tw.config.core_directives import CORE
from siproxd_tw.config.values import convert

DIRECTIVES = {directive.name: directive for section in CORE.values() for directive in section}


@pytest.mark.parametrize(
    ("name", "low", "high"),
    [
        ("sip_listen_port", 1, 65535),
        ("sip_dscp", 0, 63),
        ("use_rport", 0, 3),
        ("outbound_proxy_port", 0, 65535),
        ("silence_log", 0, 4),
        ("debug_level", -1, 0xFFFFFFFF),
        ("debug_port", 0, 65535),
        ("default_expires", 1, 2**31 - 1),
        ("sip_max_transactions", 10, 2**31 - 1),
        ("min_expires", 0, 3600),
        ("max_expires", 60, 2**31 - 1),
    ],
)
def test_ranges(name: str, low: int, high: int) -> None:
    """The ends are taken and what lies beyond is not."""
    directive = DIRECTIVES[name]
    assert convert(directive, str(low)) == (low, [])
    assert convert(directive, str(high)) == (high, [])
    assert convert(directive, str(low - 1))[0] is None
    assert convert(directive, str(high + 1))[0] is None
