# SPDX-License-Identifier: MIT
"""The plug-ins and their directives."""

from siproxd_tw.config.plugin_directives import PLUGIN, PLUGINS

DIRECTIVES = [directive for section in PLUGIN.values() for directive in section]


def test_each_of_the_16_plugins_has_directives_but_logcall() -> None:
    """And no directive belongs to a plug-in that is not there."""
    assert len(set(PLUGINS)) == 16
    assert {directive.plugin for directive in DIRECTIVES} - {""} == set(PLUGINS) - {"logcall"}


def test_what_belongs_to_no_plugin() -> None:
    """Every other directive of this table is told to its plug-in."""
    assert [directive.name for directive in DIRECTIVES if not directive.plugin] == [
        "plugindir",
        "load_plugin",
    ]


def test_a_stats_interval_of_minus_one_is_a_signal() -> None:
    """The only numbers of plug-ins below 0."""
    assert [directive.key for directive in DIRECTIVES if directive.low < 0] == ["to_syslog", "to_file"]
