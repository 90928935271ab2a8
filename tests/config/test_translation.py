# SPDX-License-Identifier: MIT
"""Between the values of directives and the slices."""

from ipaddress import ip_network

from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.settings import Config, DomainProxy
from siproxd_tw.config.translation import config_from, values_from
from siproxd_tw.config.values import Value, Values, default_of


def config(**changes: Value) -> Config:
    """Translate the defaults with some changes."""
    return config_from(Values({name: default_of(DIRECTIVES[name]) for name in DIRECTIVES} | changes))


def test_every_directive_that_means_something_is_translated_back() -> None:
    """What the effective configuration does not show, nobody would miss."""
    values = values_from(Config())
    assert set(values) == {name for name, directive in DIRECTIVES.items() if not directive.ignored}
    assert all(values[name] == default_of(DIRECTIVES[name]) for name in values)


def test_times_become_seconds() -> None:
    """The file has seconds, milliseconds and microseconds."""
    slices = config(
        rtp_timeout=60,
        rtp_input_dejitter=20_000,
        rtp_output_dejitter=1,
        tcp_connect_timeout=250,
        tcp_keepalive=20,
    )
    assert slices.media.timeout == 60.0
    assert slices.media.input_dejitter == 0.02
    assert slices.media.output_dejitter == 1e-6
    assert slices.transports.tcp_connect_timeout == 0.25
    assert slices.transports.tcp_keepalive == 20.0


def test_use_rport_is_two_bits() -> None:
    """1 is inside, 2 is outside."""
    bits = [(config(use_rport=n).sip.rport_inside, config(use_rport=n).sip.rport_outside) for n in range(4)]
    assert bits == [(False, False), (True, False), (False, True), (True, True)]
    assert [values_from(config(use_rport=n)).number("use_rport") for n in range(4)] == [0, 1, 2, 3]


def test_triples_become_domains_and_port_0_is_none() -> None:
    """By position; without a port the DNS says, and without a transport as well."""
    routing = config(
        outbound_proxy_port=0,
        outbound_domain_name=("a.test", "b.test"),
        outbound_domain_host=("h1", "h2"),
        outbound_domain_port=(0, 5080),
    ).routing
    assert routing.proxy_port is None
    assert routing.domains == (DomainProxy("a.test", "h1"), DomainProxy("b.test", "h2", 5080))


def test_transports_are_as_via_spells_them() -> None:
    """In the file they are words in small letters; the last domains may have none."""
    routing = config(
        outbound_proxy_transport="tls",
        outbound_domain_name=("a.test", "b.test", "c.test"),
        outbound_domain_host=("h1", "h2", "h3"),
        outbound_domain_port=(0, 0, 0),
        outbound_domain_transport=("auto", "tcp"),
    ).routing
    assert routing.proxy_transport == "TLS"
    assert [domain.transport for domain in routing.domains] == ["", "TCP", ""]


def test_masks_become_pairs() -> None:
    """By position."""
    masks = config(mask_host=("10.0.0.1", "gw"), masked_host=("a.test", "b.test")).registrar.masks
    assert masks == (("10.0.0.1", "a.test"), ("gw", "b.test"))


def test_there_and_back() -> None:
    """Every kind of change survives both directions."""
    changed = config(
        if_inbound="eth0",
        sip_listen_port=5088,
        obscure_loops=True,
        outbound_domain_name=("a.test",),
        outbound_domain_host=("h",),
        outbound_domain_port=(5080,),
        outbound_proxy_port=0,
        outbound_proxy_transport="tcp",
        dns_server=("192.0.2.53", "[2001:db8::53]:5353"),
        hosts_allow_outside=AccessList((ip_network("203.0.113.0/24"),)),
        proxy_auth_requests="all",
        proxy_auth_algorithm=("SHA-256", "MD5"),
        tls_certificate="/etc/cert.pem",
        wss_listen_port=8443,
        min_expires=60,
        rtp_input_dejitter=123_457,
        tcp_connect_timeout=333,
        silence_log=4,
        user="nobody",
        load_plugin=("stun", "logcall"),
        plugin_stun_server="stun.example.org",
        plugin_regex_desc=("a", "b"),
    )
    assert config_from(Values({**dict.fromkeys(DIRECTIVES, ""), **values_from(changed)})) == changed
