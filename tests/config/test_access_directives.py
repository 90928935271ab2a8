# SPDX-License-Identifier: MIT
"""The directives of access and authentication."""

from siproxd_tw.config.access_directives import ACCESS
from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.schema import Kind

OURS = {directive.name: directive for section in ACCESS.values() for directive in section}


def test_every_access_list_is_networks_that_keep_somebody_out() -> None:
    """In one section, none is forgotten, and an error in one is fatal."""
    lists = [name for name in DIRECTIVES if name.startswith("hosts_")]
    assert lists == [directive.name for directive in ACCESS["Access"]]
    assert all(OURS[name].guard and OURS[name].kind is Kind.NETWORKS for name in lists)


def test_only_the_password_is_secret() -> None:
    """Its value must not appear in any message."""
    assert [name for name, directive in DIRECTIVES.items() if directive.secret] == ["proxy_auth_passwd"]
    assert "proxy_auth_passwd" in OURS


def test_registrations_only_is_what_siproxd_does() -> None:
    """A request is challenged when somebody has asked for that."""
    assert OURS["proxy_auth_requests"].default == "register"
