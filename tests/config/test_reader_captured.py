# SPDX-License-Identifier: MIT
"""The example file of siproxd, as it comes and with everything turned on, loads unchanged."""

from ipaddress import ip_network

import pytest

from siproxd_tw.config.directives import DIRECTIVES, LATER
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.plugin_directives import PLUGINS
from siproxd_tw.config.reader import Reading, load
from siproxd_tw.config.settings import AccessConfig, DomainProxy, MediaConfig
from tests.support.vectors import CAPTURED


def example(name: str) -> Reading:
    """Read one of the two files."""
    return load(str(CAPTURED / "config" / name))


@pytest.mark.parametrize("name", ["upstream-active.conf", "upstream-everything-on.conf"])
def test_nothing_is_wrong_with_it(name: str) -> None:
    """Nothing but notices of what comes later, and warnings of what is dangerous until then."""
    reading = example(name)
    assert reading.errors == ()
    later = [problem for problem in reading.problems if "has no effect yet" in problem.text]
    assert list(reading.problems) == later
    told = [problem.text.partition(" ")[0] for problem in later]
    assert len(told) == len(set(told)) and set(told) <= LATER


def test_what_the_active_lines_mean() -> None:
    """The values that everybody who installed siproxd starts with."""
    config = example("upstream-active.conf").config
    assert (config.network.inside, config.network.outside) == ("eth0", "ppp0")
    assert config.sip.port == 5060
    assert config.registrar.file == "/var/lib/siproxd/siproxd_registrations"
    assert config.registrar.autosave == 300.0
    assert config.media == MediaConfig(port_low=7070, port_high=7088, timeout=300.0, dscp=46)
    assert config.routing.domains == (DomainProxy("easybell.de", "sip.easybell.de", 5060),)
    assert config.plugins.load == ("logcall",)
    assert config.plugins.settings["regex"].texts("replace") == (r"\1+", r"\1+a", r"\1:001")
    assert config.access == AccessConfig()


def test_what_every_line_together_means() -> None:
    """All plug-ins, access lists with host bits, two domains, authentication."""
    config = example("upstream-everything-on.conf").config
    assert config.access.allow_register == AccessList((ip_network("192.168.1.0/24"),))
    assert config.access.deny_sip.matches("11.1.2.3")
    assert [domain.name for domain in config.routing.domains] == ["freenet.de", "easybell.de"]
    assert config.routing.for_domain("EASYBELL.de") == DomainProxy("easybell.de", "sip.easybell.de", 5060)
    assert (config.auth.realm, config.auth.password) == ("Authentication_Realm", "password")
    assert config.registrar.masks == (("<inbound_ip/hostname>", "<hostname_to_be_masqueraded_as>"),)
    assert set(config.plugins.load) == set(PLUGINS)
    assert config.plugins.settings["siptrunk"].texts("name") == ("Example Trunk, 555-123100 ... 555-123112",)


def test_every_directive_of_the_example_is_known() -> None:
    """And where each one stands."""
    reading = example("upstream-everything-on.conf")
    assert set(reading.origins) <= set(DIRECTIVES)
    assert reading.origins["if_inbound"] == (f"{reading.filename}:1",)
