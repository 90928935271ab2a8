# SPDX-License-Identifier: MIT
"""The directive table: every directive that a siproxd.conf may have, and other programs' spellings.

What becomes true of a directive when its feature arrives is one edit: take its name out of `LATER`.
"""

from __future__ import annotations

from difflib import get_close_matches
from itertools import chain

from siproxd_tw.config.core_directives import CORE
from siproxd_tw.config.media_directives import MEDIA
from siproxd_tw.config.plugin_directives import PLUGIN
from siproxd_tw.config.schema import Directive

__all__ = [
    "ALIASES",
    "DIRECTIVES",
    "GROUPS",
    "GUARDS",
    "LATER",
    "LATER_AND_DANGEROUS",
    "SECTIONS",
    "suggestion",
]

#: The directives by the section of the documentation that they are in.
SECTIONS: dict[str, tuple[Directive, ...]] = {**CORE, **MEDIA, **PLUGIN}

#: All of them by name.
DIRECTIVES: dict[str, Directive] = {d.name: d for d in chain.from_iterable(SECTIONS.values())}

#: The directives whose n-th values belong together.
GROUPS: tuple[tuple[str, ...], ...] = tuple(dict.fromkeys(d.group for d in DIRECTIVES.values() if d.group))

#: The directives that keep somebody out.
GUARDS: frozenset[str] = frozenset(name for name, directive in DIRECTIVES.items() if directive.guard)

#: Keys that OPNsense's generator writes and siproxd never knew. The first worked by accident
#: there, as long as the other two STUN ones were not in the file.
ALIASES = {
    "plugin_stun_server_host": "plugin_stun_server",
    "plugin_stun_server_port": "plugin_stun_port",
    "plugin_stun_server_period": "plugin_stun_period",
    "plugin_fbox_anoncall_networks": "plugin_fix_fbox_anoncall_networks",
}

#: Directives whose feature is not there yet: accepted, and said once.
LATER: frozenset[str] = frozenset(
    {
        "chrootjail",
        "daemonize",
        "debug_level",
        "debug_port",
        "load_plugin",
        "pid_file",
        "rtp_input_dejitter",
        "rtp_output_dejitter",
        "silence_log",
        "user",
        *(name for name in DIRECTIVES if name.startswith("plugin_")),
    }
)

#: Those among them whose absence somebody could be harmed by, and how: a warning, not a notice.
LATER_AND_DANGEROUS = {
    "user": "the process keeps the user that it was started as",
    "chrootjail": "the process is not locked into this folder",
}

#: A key longer than this is no misspelt directive, and comparing it would take long.
_LONGEST_KEY = 100


def suggestion(key: str) -> str:
    """Return the name of the directive that `key` probably means, empty when none comes near."""
    if len(key) > _LONGEST_KEY:
        return ""
    names = {name.lower(): name for name in DIRECTIVES}
    close = get_close_matches(key.lower(), names, n=1, cutoff=0.75)
    return names[close[0]] if close else ""
