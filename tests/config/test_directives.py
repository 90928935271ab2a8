# SPDX-License-Identifier: MIT
"""The directive table as a whole: complete, consistent, and able to guess."""

import pytest

from siproxd_tw.config.core_directives import CORE
from siproxd_tw.config.directives import (
    ALIASES,
    DIRECTIVES,
    GROUPS,
    GUARDS,
    LATER,
    LATER_AND_DANGEROUS,
    SECTIONS,
    suggestion,
)
from siproxd_tw.config.media_directives import MEDIA
from siproxd_tw.config.plugin_directives import PLUGIN
from siproxd_tw.config.schema import Directive, Kind
from siproxd_tw.config.values import convert

#: Every directive of siproxd 0.8.5 with its kind: I a number, S text, A an array of either.
SIPROXD = {
    "I": """
        debug_level debug_port sip_listen_port daemonize silence_log rtp_port_low rtp_port_high
        rtp_timeout rtp_proxy_enable rtp_dscp rtp_input_dejitter rtp_output_dejitter
        outbound_proxy_port default_expires autosave_registrations use_rport obscure_loops sip_dscp
        tcp_timeout tcp_connect_timeout tcp_keepalive thread_stack_size plugin_defaulttarget_log
        plugin_stun_port plugin_stun_period plugin_stats_to_syslog plugin_stats_to_file
        plugin_blacklist_simulate plugin_blacklist_duration plugin_blacklist_hitcount
        plugin_blacklist_register_window""",
    "S": """
        if_inbound if_outbound host_outbound user chrootjail hosts_allow_reg hosts_allow_sip
        hosts_deny_sip proxy_auth_realm proxy_auth_passwd proxy_auth_pwfile outbound_proxy_host
        registration_file pid_file ua_string plugindir plugin_demo_string plugin_shortdial_akey
        plugin_defaulttarget_target plugin_fix_bogus_via_networks plugin_fix_DTAG_networks
        plugin_fix_fbox_anoncall_networks plugin_stun_server plugin_prefix_akey
        plugin_stats_filename plugin_blacklist_dbpath plugin_blacklist_db_sync_mode""",
    "A": """
        mask_host masked_host outbound_domain_name outbound_domain_host outbound_domain_port
        load_plugin plugin_shortdial_entry plugin_regex_desc plugin_regex_pattern
        plugin_regex_replace plugin_regex_body_desc plugin_regex_body_pattern
        plugin_regex_body_replace plugin_stripheader_remove plugin_codecfilter_blacklist
        plugin_siptrunk_name plugin_siptrunk_account plugin_siptrunk_numbers_regex""",
}
#: Every directive that siproxd does not have.
OURS = """
    inside_networks ipv6_enable name_outbound single_via sip_udp_max sip_max_transactions min_expires
    max_expires hosts_allow_inside hosts_allow_outside hosts_trust_outside
    proxy_auth_algorithm proxy_auth_requests
    outbound_proxy_transport outbound_domain_transport dns_server tls_certificate tls_key tls_ca tls_verify
    tls_verify_clients sip_tls_port ws_listen_port wss_listen_port"""


def test_every_directive_of_siproxd_is_there_and_no_other() -> None:
    """A drop-in knows the whole language; what is new stands here by name."""
    known = {name for names in SIPROXD.values() for name in names.split()}
    assert set(DIRECTIVES) == known | set(OURS.split())


def test_no_directive_stands_in_the_table_twice() -> None:
    """The later one would hide the first."""
    assert sum(map(len, SECTIONS.values())) == len(DIRECTIVES)
    assert len(CORE) + len(MEDIA) + len(PLUGIN) == len(SECTIONS)


@pytest.mark.parametrize("letter", SIPROXD)
def test_types_are_those_of_siproxd(letter: str) -> None:
    """A number stays a number and an array an array, or old files would change their meaning."""
    for name in SIPROXD[letter].split():
        directive = DIRECTIVES[name]
        assert directive.repeated == (letter == "A"), name
        if letter != "A":
            assert directive.kind.numeric == (letter == "I"), name


@pytest.mark.parametrize(
    ("name", "default"),
    [
        # as siproxd has them in its program
        ("sip_listen_port", "5060"),
        ("silence_log", "1"),
        ("default_expires", "3600"),
        ("tcp_timeout", "300"),
        ("tcp_connect_timeout", "500"),
        ("rtp_proxy_enable", "1"),
        ("plugin_stun_port", "3478"),
        ("plugin_blacklist_hitcount", "10"),
        # where its defaults do not work
        ("rtp_port_low", "7070"),
        ("rtp_port_high", "7468"),
        ("rtp_timeout", "300"),
    ],
)
def test_defaults(name: str, default: str) -> None:
    """siproxd's, but for those that mean no audio."""
    assert DIRECTIVES[name].default == default


@pytest.mark.parametrize("directive", DIRECTIVES.values(), ids=lambda directive: directive.name)
def test_each_row_is_complete(directive: Directive) -> None:
    """What the documentation and the reader rely on."""
    assert directive.meaning.endswith(".")
    assert directive.since
    assert directive.low < directive.high
    assert not (directive.repeated and directive.default)
    assert bool(directive.choices) == (directive.kind is Kind.CHOICE)
    assert bool(directive.default) or directive.repeated or not directive.kind.numeric
    for text in (directive.default, *directive.synonyms.values()):
        value, findings = convert(directive, text) if text else ("", [])
        assert value is not None and not findings
    if directive.plugin:
        assert directive.name == f"plugin_{directive.plugin}_{directive.key}"


def test_groups_name_their_members() -> None:
    """Each member knows the same group, in the order of its columns."""
    assert [len(group) for group in GROUPS] == [2, 3, 3, 3, 3]
    for group in GROUPS:
        assert all(DIRECTIVES[name].group == group and DIRECTIVES[name].repeated for name in group)


def test_what_keeps_somebody_out() -> None:
    """An error in one of these is fatal; each access list is one of them."""
    lists = {name for name in DIRECTIVES if name.startswith("hosts_")}
    assert lists < GUARDS
    assert GUARDS - lists == {
        "proxy_auth_realm",
        "proxy_auth_algorithm",
        "proxy_auth_requests",
        "tls_ca",
        "tls_verify_clients",
    }


def test_aliases_lead_to_directives() -> None:
    """And are none themselves."""
    assert set(ALIASES.values()) <= set(DIRECTIVES)
    assert not set(ALIASES) & set(DIRECTIVES)


def test_what_comes_later_is_in_the_table() -> None:
    """The set holds names, and a dangerous one is one of them until its feature is there."""
    assert set(DIRECTIVES) >= LATER
    assert all(text and not text.endswith(".") for text in LATER_AND_DANGEROUS.values())
    assert set(LATER_AND_DANGEROUS) <= set(DIRECTIVES)


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("rtp_timout", "rtp_timeout"),
        ("RTP_TIMEOUT", "rtp_timeout"),
        ("xrtp_timeoutx", "rtp_timeout"),
        ("plugin_fix_dtag_networks", "plugin_fix_DTAG_networks"),
        ("set if_inbound", "if_inbound"),
        ("host_allow_reg", "hosts_allow_reg"),
        ("colour", ""),
        ("", ""),
        ("rtp_timeout" * 1000, ""),
    ],
)
def test_suggestions(key: str, meant: str) -> None:
    """A misspelling finds its directive, anything else finds none."""
    assert suggestion(key) == meant
