# SPDX-License-Identifier: MIT
"""The plug-ins of siproxd by name, and their directives."""

from __future__ import annotations

from siproxd_tw.config.schema import Directive, Kind

__all__ = ["PLUGIN", "PLUGINS"]

#: The plug-ins that siproxd comes with, without the prefix ``plugin_``.
PLUGINS = (
    "blacklist",
    "codecfilter",
    "defaulttarget",
    "demo",
    "fix_DTAG",
    "fix_bogus_via",
    "fix_fbox_anoncall",
    "logcall",
    "prefix",
    "regex",
    "regex_body",
    "shortdial",
    "siptrunk",
    "stats",
    "stripheader",
    "stun",
)


def _group(plugin: str, *keys: str) -> tuple[str, ...]:
    return tuple(f"plugin_{plugin}_{key}" for key in keys)


_REGEX = _group("regex", "desc", "pattern", "replace")
_REGEX_BODY = _group("regex_body", "desc", "pattern", "replace")
_SIPTRUNK = _group("siptrunk", "name", "account", "numbers_regex")
_BY_POSITION = "A different number of each is an error, and then none counts."

PLUGIN: dict[str, tuple[Directive, ...]] = {
    "Plug-ins": (
        Directive(
            "plugindir",
            Kind.PATH,
            "Accepted without effect: the plug-ins are part of the program.",
            ignored=True,
        ),
        Directive(
            "load_plugin",
            Kind.PLUGIN,
            "A plug-in to use. Their order here is the order in which they see a message. "
            "The name may end in .la or .so.",
            repeated=True,
        ),
    ),
    "Plug-in blacklist": (
        Directive(
            "plugin_blacklist_dbpath",
            Kind.PATH,
            "The SQLite database of who is blocked.",
            default="/var/lib/siproxd/blacklist.sqlite",
            plugin="blacklist",
        ),
        Directive(
            "plugin_blacklist_db_sync_mode",
            Kind.CHOICE,
            "How carefully SQLite writes (its pragma `synchronous`).",
            default="OFF",
            choices=("OFF", "NORMAL", "FULL"),
            plugin="blacklist",
        ),
        Directive(
            "plugin_blacklist_simulate",
            Kind.BOOLEAN,
            "Whether to log only, and block nobody.",
            default="0",
            plugin="blacklist",
        ),
        Directive(
            "plugin_blacklist_duration",
            Kind.INTEGER,
            "How long somebody stays blocked after the last attempt; 0 means for ever.",
            default="3600",
            unit="s",
            plugin="blacklist",
        ),
        Directive(
            "plugin_blacklist_hitcount",
            Kind.INTEGER,
            "How many registrations may fail; one more and the sender is blocked.",
            default="10",
            plugin="blacklist",
        ),
        Directive(
            "plugin_blacklist_register_window",
            Kind.INTEGER,
            "How long after a registration its answer still counts.",
            default="30",
            unit="s",
            plugin="blacklist",
        ),
    ),
    "Plug-in codecfilter": (
        Directive(
            "plugin_codecfilter_blacklist",
            Kind.STRING,
            "A codec to remove from session descriptions: a part of its name, in any case.",
            repeated=True,
            plugin="codecfilter",
        ),
    ),
    "Plug-in defaulttarget": (
        Directive(
            "plugin_defaulttarget_target",
            Kind.STRING,
            "Where calls for nobody that is known are redirected to: `sip:user@host`.",
            plugin="defaulttarget",
        ),
        Directive(
            "plugin_defaulttarget_log",
            Kind.BOOLEAN,
            "Whether to log each of these calls.",
            default="0",
            plugin="defaulttarget",
        ),
    ),
    "Plug-in demo": (
        Directive("plugin_demo_string", Kind.STRING, "A text that the demonstration logs.", plugin="demo"),
    ),
    "Plug-in fix_DTAG": (
        Directive(
            "plugin_fix_DTAG_networks",
            Kind.NETWORKS,
            "The networks of the provider whose responses come back with the topmost Via overwritten.",
            plugin="fix_DTAG",
        ),
    ),
    "Plug-in fix_bogus_via": (
        Directive(
            "plugin_fix_bogus_via_networks",
            Kind.NETWORKS,
            "Networks that cannot be right in the topmost Via of a request from outside, the private ones: "
            "the address that the request came from takes their place.",
            plugin="fix_bogus_via",
        ),
    ),
    "Plug-in fix_fbox_anoncall": (
        Directive(
            "plugin_fix_fbox_anoncall_networks",
            Kind.NETWORKS,
            "The inside networks with a Fritz!Box, whose Contact in anonymous calls has to be repaired.",
            plugin="fix_fbox_anoncall",
        ),
    ),
    "Plug-in prefix": (
        Directive(
            "plugin_prefix_akey",
            Kind.STRING,
            "What to put before each number that is dialled.",
            plugin="prefix",
        ),
    ),
    "Plug-in regex": (
        Directive(
            "plugin_regex_desc",
            Kind.STRING,
            "The name of the n-th rule, for the log.",
            repeated=True,
            group=_REGEX,
            plugin="regex",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_regex_pattern",
            Kind.STRING,
            "The extended regular expression that the To URI of an outgoing call must match, in any case. "
            "It cannot have a # in it.",
            repeated=True,
            group=_REGEX,
            plugin="regex",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_regex_replace",
            Kind.STRING,
            "What takes the place of the part that matched; `\\1` to `\\9` are its groups.",
            repeated=True,
            group=_REGEX,
            plugin="regex",
            compatibility=_BY_POSITION,
        ),
    ),
    "Plug-in regex_body": (
        Directive(
            "plugin_regex_body_desc",
            Kind.STRING,
            "The name of the n-th rule, for the log.",
            repeated=True,
            group=_REGEX_BODY,
            plugin="regex_body",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_regex_body_pattern",
            Kind.STRING,
            "The extended regular expression that is looked for in the body of every message.",
            repeated=True,
            group=_REGEX_BODY,
            plugin="regex_body",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_regex_body_replace",
            Kind.STRING,
            "What takes the place of the part that matched; `\\1` to `\\9` are its groups.",
            repeated=True,
            group=_REGEX_BODY,
            plugin="regex_body",
            compatibility=_BY_POSITION,
        ),
    ),
    "Plug-in shortdial": (
        Directive(
            "plugin_shortdial_akey",
            Kind.STRING,
            "The pattern of short numbers: `*00` means a star and two digits, the number of an entry.",
            plugin="shortdial",
        ),
        Directive(
            "plugin_shortdial_entry",
            Kind.STRING,
            "The n-th entry: `user`, `user@host`, or `user@` for the host that was dialled.",
            repeated=True,
            plugin="shortdial",
        ),
    ),
    "Plug-in siptrunk": (
        Directive(
            "plugin_siptrunk_name",
            Kind.STRING,
            "The name of the n-th trunk, for the log.",
            repeated=True,
            group=_SIPTRUNK,
            plugin="siptrunk",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_siptrunk_account",
            Kind.STRING,
            "The account that the n-th trunk registered: `sip:user@host`.",
            repeated=True,
            group=_SIPTRUNK,
            plugin="siptrunk",
            compatibility=_BY_POSITION,
        ),
        Directive(
            "plugin_siptrunk_numbers_regex",
            Kind.STRING,
            "The extended regular expression of the numbers that belong to the n-th trunk.",
            repeated=True,
            group=_SIPTRUNK,
            plugin="siptrunk",
            compatibility=_BY_POSITION,
        ),
    ),
    "Plug-in stats": (
        Directive(
            "plugin_stats_to_syslog",
            Kind.INTEGER,
            "How often to log the numbers of calls and phones; 0 means never, -1 only on SIGUSR1.",
            default="0",
            unit="s",
            low=-1,
            plugin="stats",
        ),
        Directive(
            "plugin_stats_to_file",
            Kind.INTEGER,
            "How often to write them to `plugin_stats_filename`; 0 means never, -1 only on SIGUSR1.",
            default="0",
            unit="s",
            low=-1,
            plugin="stats",
        ),
        Directive(
            "plugin_stats_filename", Kind.PATH, "The file for them, written anew each time.", plugin="stats"
        ),
    ),
    "Plug-in stripheader": (
        Directive(
            "plugin_stripheader_remove",
            Kind.STRING,
            "A header to remove: `name`, or `name:value` for one value of a list.",
            repeated=True,
            plugin="stripheader",
        ),
    ),
    "Plug-in stun": (
        Directive(
            "plugin_stun_server",
            Kind.HOST,
            "The STUN server (RFC 8489) that tells the public address.",
            plugin="stun",
        ),
        Directive(
            "plugin_stun_port",
            Kind.PORT,
            "The port of the STUN server.",
            default="3478",
            low=1,
            high=65535,
            plugin="stun",
        ),
        Directive(
            "plugin_stun_period",
            Kind.INTEGER,
            "How often to ask it.",
            default="300",
            unit="s",
            low=1,
            plugin="stun",
        ),
    ),
}
