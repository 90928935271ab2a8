# SPDX-License-Identifier: MIT
"""Between the values of directives and the slices of `Config`, in both directions.

``values_from(config_from(values))`` is `values`, but for what is accepted and means nothing here
and for ports that are written as 0.
"""

from __future__ import annotations

from itertools import zip_longest

from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.settings import (
    AccessConfig,
    AuthConfig,
    Config,
    DomainProxy,
    LogConfig,
    MediaConfig,
    NetworkConfig,
    PluginsConfig,
    ProcessConfig,
    RegistrarConfig,
    RoutingConfig,
    SIPConfig,
    TransportConfig,
    plugin_settings,
)
from siproxd_tw.config.values import Value, Values

__all__ = ["config_from", "values_from"]

AUTO = "auto"
"""The word for a transport that the DNS may choose."""
RPORT_INSIDE = 1
RPORT_OUTSIDE = 2


def config_from(values: Values) -> Config:
    """Return the configuration that `values`, one for each directive of the table, describe."""
    return Config(
        network=NetworkConfig(
            inside=values.text("if_inbound"),
            outside=values.text("if_outbound"),
            host_outbound=values.text("host_outbound"),
            inside_networks=values.networks("inside_networks").networks,
            ipv6=values.flag("ipv6_enable"),
        ),
        sip=SIPConfig(
            port=values.number("sip_listen_port"),
            dscp=values.number("sip_dscp"),
            ua_string=values.text("ua_string"),
            rport_inside=bool(values.number("use_rport") & RPORT_INSIDE),
            rport_outside=bool(values.number("use_rport") & RPORT_OUTSIDE),
            obscure_loops=values.flag("obscure_loops"),
            name_outbound=values.text("name_outbound"),
            single_via=values.flag("single_via"),
            udp_max=values.number("sip_udp_max"),
            most_transactions=values.number("sip_max_transactions"),
        ),
        registrar=RegistrarConfig(
            file=values.text("registration_file"),
            autosave=float(values.number("autosave_registrations")),
            default_expires=values.number("default_expires"),
            min_expires=values.number("min_expires"),
            max_expires=values.number("max_expires"),
            masks=tuple(zip(values.texts("mask_host"), values.texts("masked_host"), strict=True)),
        ),
        access=AccessConfig(
            allow_register=values.networks("hosts_allow_reg"),
            allow_sip=values.networks("hosts_allow_sip"),
            deny_sip=values.networks("hosts_deny_sip"),
            allow_inside=values.networks("hosts_allow_inside"),
            allow_outside=values.networks("hosts_allow_outside"),
            trusted_outside=values.networks("hosts_trust_outside"),
        ),
        auth=AuthConfig(
            realm=values.text("proxy_auth_realm"),
            password=values.text("proxy_auth_passwd"),
            password_file=values.text("proxy_auth_pwfile"),
            algorithms=values.texts("proxy_auth_algorithm"),
            every_request=values.text("proxy_auth_requests") == "all",
        ),
        routing=_routing(values),
        media=MediaConfig(
            enabled=values.flag("rtp_proxy_enable"),
            port_low=values.number("rtp_port_low"),
            port_high=values.number("rtp_port_high"),
            timeout=float(values.number("rtp_timeout")),
            dscp=values.number("rtp_dscp"),
            input_dejitter=values.number("rtp_input_dejitter") / 1e6,
            output_dejitter=values.number("rtp_output_dejitter") / 1e6,
        ),
        transports=TransportConfig(
            tcp_timeout=float(values.number("tcp_timeout")),
            tcp_connect_timeout=values.number("tcp_connect_timeout") / 1e3,
            tcp_keepalive=float(values.number("tcp_keepalive")),
            tls_port=values.number("sip_tls_port"),
            ws_port=values.number("ws_listen_port"),
            wss_port=values.number("wss_listen_port"),
            certificate=values.text("tls_certificate"),
            key=values.text("tls_key"),
            ca=values.text("tls_ca"),
            verify_servers=values.flag("tls_verify"),
            verify_clients=values.flag("tls_verify_clients"),
        ),
        process=ProcessConfig(
            daemonize=values.flag("daemonize"),
            user=values.text("user"),
            chrootjail=values.text("chrootjail"),
            pid_file=values.text("pid_file"),
        ),
        log=LogConfig(
            silence_log=values.number("silence_log"),
            debug_level=values.number("debug_level"),
            debug_port=values.number("debug_port"),
        ),
        plugins=PluginsConfig(load=values.texts("load_plugin"), settings=plugin_settings(values)),
    )


def _routing(values: Values) -> RoutingConfig:
    # Only the transports may be fewer, never more: config.checks sees to that.
    domains = zip_longest(
        values.texts("outbound_domain_name"),
        values.texts("outbound_domain_host"),
        values.numbers("outbound_domain_port"),
        values.texts("outbound_domain_transport"),
    )
    return RoutingConfig(
        proxy_host=values.text("outbound_proxy_host"),
        proxy_port=values.number("outbound_proxy_port") or None,
        proxy_transport=_transport(values.text("outbound_proxy_transport")),
        domains=tuple(
            DomainProxy(name, host, port or None, _transport(word)) for name, host, port, word in domains
        ),
        name_servers=values.texts("dns_server"),
    )


def _transport(word: str | None) -> str:
    return "" if word in (None, "", AUTO) else str(word).upper()


def values_from(config: Config) -> Values:
    """Return the values that describe `config`, in the units of the file."""
    return Values(
        {
            **_signalling(config),
            **_registrations(config),
            **_media(config),
            **_surroundings(config),
            "load_plugin": config.plugins.load,
            **{
                f"plugin_{plugin}_{key}": value
                for plugin, settings in config.plugins.settings.items()
                for key, value in settings.items()
            },
        }
    )


def _signalling(config: Config) -> dict[str, Value]:
    network, sip, routing = config.network, config.sip, config.routing
    return {
        "if_inbound": network.inside,
        "if_outbound": network.outside,
        "host_outbound": network.host_outbound,
        "inside_networks": AccessList(network.inside_networks),
        "ipv6_enable": network.ipv6,
        "sip_listen_port": sip.port,
        "sip_dscp": sip.dscp,
        "ua_string": sip.ua_string,
        "use_rport": RPORT_INSIDE * sip.rport_inside | RPORT_OUTSIDE * sip.rport_outside,
        "obscure_loops": sip.obscure_loops,
        "name_outbound": sip.name_outbound,
        "single_via": sip.single_via,
        "sip_udp_max": sip.udp_max,
        "sip_max_transactions": sip.most_transactions,
        "outbound_proxy_host": routing.proxy_host,
        "outbound_proxy_port": routing.proxy_port or 0,
        "outbound_proxy_transport": routing.proxy_transport.lower() or AUTO,
        "outbound_domain_name": tuple(domain.name for domain in routing.domains),
        "outbound_domain_host": tuple(domain.host for domain in routing.domains),
        "outbound_domain_port": tuple(domain.port or 0 for domain in routing.domains),
        "outbound_domain_transport": tuple(domain.transport.lower() or AUTO for domain in routing.domains),
        "dns_server": routing.name_servers,
    }


def _registrations(config: Config) -> dict[str, Value]:
    registrar, access, auth = config.registrar, config.access, config.auth
    return {
        "registration_file": registrar.file,
        "autosave_registrations": round(registrar.autosave),
        "default_expires": registrar.default_expires,
        "min_expires": registrar.min_expires,
        "max_expires": registrar.max_expires,
        "mask_host": tuple(domain for domain, _ in registrar.masks),
        "masked_host": tuple(shown for _, shown in registrar.masks),
        "hosts_allow_reg": access.allow_register,
        "hosts_allow_sip": access.allow_sip,
        "hosts_deny_sip": access.deny_sip,
        "hosts_allow_inside": access.allow_inside,
        "hosts_allow_outside": access.allow_outside,
        "hosts_trust_outside": access.trusted_outside,
        "proxy_auth_realm": auth.realm,
        "proxy_auth_passwd": auth.password,
        "proxy_auth_pwfile": auth.password_file,
        "proxy_auth_algorithm": auth.algorithms,
        "proxy_auth_requests": "all" if auth.every_request else "register",
    }


def _media(config: Config) -> dict[str, Value]:
    media = config.media
    return {
        "rtp_proxy_enable": media.enabled,
        "rtp_port_low": media.port_low,
        "rtp_port_high": media.port_high,
        "rtp_timeout": round(media.timeout),
        "rtp_dscp": media.dscp,
        "rtp_input_dejitter": round(media.input_dejitter * 1e6),
        "rtp_output_dejitter": round(media.output_dejitter * 1e6),
    }


def _surroundings(config: Config) -> dict[str, Value]:
    transports, process, log = config.transports, config.process, config.log
    return {
        "tcp_timeout": round(transports.tcp_timeout),
        "tcp_connect_timeout": round(transports.tcp_connect_timeout * 1e3),
        "tcp_keepalive": round(transports.tcp_keepalive),
        "tls_certificate": transports.certificate,
        "tls_key": transports.key,
        "tls_ca": transports.ca,
        "tls_verify": transports.verify_servers,
        "tls_verify_clients": transports.verify_clients,
        "sip_tls_port": transports.tls_port,
        "ws_listen_port": transports.ws_port,
        "wss_listen_port": transports.wss_port,
        "daemonize": process.daemonize,
        "user": process.user,
        "chrootjail": process.chrootjail,
        "pid_file": process.pid_file,
        "silence_log": log.silence_log,
        "debug_level": log.debug_level,
        "debug_port": log.debug_port,
    }
