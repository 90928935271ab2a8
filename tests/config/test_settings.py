# SPDX-License-Identifier: MIT
"""The slices of the configuration."""

from dataclasses import FrozenInstanceError

import pytest

from siproxd_tw.config.reader import read
from siproxd_tw.config.settings import AuthConfig, Config, DomainProxy, PluginsConfig, RoutingConfig


def test_an_empty_file_means_the_defaults_of_the_slices() -> None:
    """The defaults stand in the table and in the slices; this keeps them the same."""
    assert read("", "f").config == Config()


def test_the_slices_do_not_change() -> None:
    """What one part of the program got, no other part alters."""
    with pytest.raises(FrozenInstanceError):
        Config().sip.port = 5061
    with pytest.raises(TypeError):
        PluginsConfig().settings["stun"] = {}


def test_a_domain_has_its_next_hop_in_any_case() -> None:
    """Names of hosts are compared without case (RFC 3261 section 19.1.4), and the first entry wins."""
    routing = RoutingConfig(
        domains=(
            DomainProxy("sip.Other.test", "203.0.113.60", 5080),
            DomainProxy("sip.other.test", "203.0.113.61", 5090),
        )
    )
    assert routing.for_domain("SIP.other.TEST") == DomainProxy("sip.Other.test", "203.0.113.60", 5080)
    assert routing.for_domain("other.test") is None
    assert RoutingConfig().for_domain("") is None


def test_each_plugin_finds_its_own_values() -> None:
    """Under the short key, typed, with defaults, and also for a plug-in without directives."""
    settings = PluginsConfig().settings
    assert settings["stun"].number("port") == 3478
    assert settings["blacklist"].text("db_sync_mode") == "OFF"
    assert settings["blacklist"].flag("simulate") is False
    assert settings["regex"].texts("pattern") == settings["regex_body"].texts("pattern") == ()
    assert not settings["fix_DTAG"].networks("networks")
    assert len(settings["logcall"]) == 0


def test_a_password_does_not_show() -> None:
    """Slices are logged and appear in failures of tests."""
    assert "geheim" not in repr(AuthConfig(realm="r", password="geheim"))
