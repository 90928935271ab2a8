# SPDX-License-Identifier: MIT
"""The columns of the directive table."""

import pytest

from siproxd_tw.config.schema import Directive, Kind


def test_the_key_inside_a_plugin_is_the_rest_of_the_name() -> None:
    """plugin_regex and plugin_regex_body share a beginning; the column tells them apart."""
    assert Directive("plugin_stun_port", Kind.PORT, "", plugin="stun").key == "port"
    assert Directive("plugin_regex_body_desc", Kind.STRING, "", plugin="regex_body").key == "desc"
    assert Directive("user", Kind.STRING, "").key == "user"


@pytest.mark.parametrize(
    ("directive", "expected"),
    [
        (Directive("x", Kind.BOOLEAN, ""), "0 or 1"),
        (Directive("x", Kind.INTEGER, "", unit="s", low=1, high=9), "a whole number from 1 to 9 (s)"),
        (Directive("x", Kind.DSCP, "", high=63), "a whole number from 0 to 63"),
        (Directive("x", Kind.HOST, ""), "a host name or an IP address"),
        (
            Directive("x", Kind.SERVER, ""),
            "an IP address as 192.0.2.1, 192.0.2.1:PORT, 2001:db8::1 or [2001:db8::1]:PORT",
        ),
        (Directive("x", Kind.INTERFACE, ""), "the name of one network interface"),
        (Directive("x", Kind.NETWORKS, ""), "networks as ADDRESS/LENGTH with commas between them"),
        (Directive("x", Kind.CHOICE, "", choices=("A", "B")), "one of A, B"),
        (Directive("x", Kind.PLUGIN, ""), "the name of a plug-in, such as plugin_logcall.la"),
        (Directive("x", Kind.PATH, ""), "a path"),
        (Directive("x", Kind.STRING, ""), "text"),
    ],
)
def test_each_kind_says_what_it_expects(directive: Directive, expected: str) -> None:
    """The words of an error message."""
    assert directive.expected == expected


def test_the_numeric_kinds() -> None:
    """Those whose values are written as whole numbers."""
    assert [kind.name for kind in Kind if kind.numeric] == ["BOOLEAN", "INTEGER", "PORT", "DSCP"]
