# SPDX-License-Identifier: MIT
"""Checks of several directives at once.

Each takes what was found in the file, reports what does not fit together, and removes it from
there, so that the default stays.
"""

from __future__ import annotations

from typing import NamedTuple

from siproxd_tw.config.directives import DIRECTIVES, GROUPS
from siproxd_tw.config.problems import Report
from siproxd_tw.config.values import Single

__all__ = ["Found", "Occurrence", "check"]


class Occurrence(NamedTuple):
    """A directive in a line."""

    line: int
    value: Single | None
    """None when it was not understood, which has been reported."""


Found = dict[str, list[Occurrence]]
"""The occurrences of each directive, in the order of the file."""


def check(found: Found, report: Report) -> None:
    """Make `found` fit together: afterwards no value in it is None, and groups are complete."""
    for group in GROUPS:
        _check_group(group, found, report)
    for name in list(found):
        found[name] = [occurrence for occurrence in found[name] if occurrence.value is not None]
    _check_ports(found, report)
    _check_authentication(found, report)


def _check_group(group: tuple[str, ...], found: Found, report: Report) -> None:
    columns = [found.get(name, []) for name in group]
    rows = list(zip(*columns, strict=False))
    alone = [column[len(rows)].line for column in columns if len(column) > len(rows)]
    if alone:
        counts = ", ".join(f"{len(column)} {name}" for name, column in zip(group, columns, strict=True))
        report.error(
            min(alone),
            f"{counts}: the first of each belong together, the second, and so on; "
            "expected the same number of each, and none is used",
        )
        rows = []
    # A wrong value takes its partners along; without that the next ones would move up to them.
    rows = [row for row in rows if all(occurrence.value is not None for occurrence in row)]
    found.update({name: [row[column] for row in rows] for column, name in enumerate(group)})


def _check_ports(found: Found, report: Report) -> None:
    _make_even(found, report)
    low, high = _number(found, "rtp_port_low"), _number(found, "rtp_port_high")
    if low > high:
        where = f"{_described(found, 'rtp_port_low')} to {_described(found, 'rtp_port_high')}"
        report.error(
            max(o.line for name in ("rtp_port_low", "rtp_port_high") for o in found.get(name, [])),
            f"there is no pair of an even RTP port and its RTCP port from {where}, "
            "expected rtp_port_low below rtp_port_high",
        )
        _forget(found, "rtp_port_low", "rtp_port_high")
    elif _sip_inside(found):
        _report_sip_inside(found, report)


def _make_even(found: Found, report: Report) -> None:
    """Round the limits to even ports (RFC 3550 section 11)."""
    for line, value in found.get("rtp_port_low", [])[-1:]:
        if isinstance(value, int) and value % 2:
            found["rtp_port_low"] = [Occurrence(line, value + 1)]
            report.warning(line, f"rtp_port_low: {value} is odd, RTP ports are even: taken as {value + 1}")
    for line, value in found.get("rtp_port_high", [])[-1:]:
        if isinstance(value, int) and value % 2:
            found["rtp_port_high"] = [Occurrence(line, value - 1)]  # its RTCP port is then the odd one


def _sip_inside(found: Found) -> bool:
    low, high = _number(found, "rtp_port_low"), _number(found, "rtp_port_high")
    return bool(_number(found, "rtp_proxy_enable")) and low <= _number(found, "sip_listen_port") <= high + 1


def _report_sip_inside(found: Found, report: Report) -> None:
    names = ("sip_listen_port", "rtp_port_low", "rtp_port_high")
    lines = [occurrence.line for name in names for occurrence in found.get(name, [])]
    report.error(
        max(lines),
        f"sip_listen_port {_described(found, 'sip_listen_port')} is one of the ports for media, from "
        f"{_described(found, 'rtp_port_low')} to {_described(found, 'rtp_port_high')} and its RTCP port, "
        "expected a port outside of them",
    )
    _forget(found, "rtp_port_low", "rtp_port_high")
    if _sip_inside(found):
        _forget(found, "sip_listen_port")


def _check_authentication(found: Found, report: Report) -> None:
    """Say when what is there cannot work: a realm without a password, or the other way round."""
    passwords = [*found.get("proxy_auth_passwd", []), *found.get("proxy_auth_pwfile", [])]
    realms = found.get("proxy_auth_realm", [])
    if realms and not passwords:
        report.warning(
            realms[-1].line,
            "proxy_auth_realm without a password: nobody could register, "
            "expected proxy_auth_pwfile or proxy_auth_passwd as well",
        )
    if passwords and not realms:
        report.warning(
            max(occurrence.line for occurrence in passwords),
            "passwords without proxy_auth_realm: nobody will be asked for one, "
            "expected proxy_auth_realm as well",
        )


def _number(found: Found, name: str) -> int:
    """Return the number that counts: the last one of the file, or the default."""
    values = [o.value for o in found.get(name, []) if isinstance(o.value, int)]
    return values[-1] if values else int(DIRECTIVES[name].default)


def _described(found: Found, name: str) -> str:
    return f"{_number(found, name)}{'' if found.get(name) else ' (the default)'}"


def _forget(found: Found, *names: str) -> None:
    for name in names:
        found.pop(name, None)
