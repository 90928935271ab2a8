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


#: What listens for connections, in the order in which a port is given away; the first one always does.
_LISTENERS = ("sip_listen_port", "sip_tls_port", "ws_listen_port", "wss_listen_port")
_NEED_CERTIFICATE = ("sip_tls_port", "wss_listen_port")


def check(found: Found, report: Report) -> None:
    """Make `found` fit together: afterwards no value in it is None, and groups are complete."""
    transports = _domain_transports(found, report)
    for group in GROUPS:
        _check_group(group, found, report)
    _keep_transports(transports, found)
    for name in list(found):
        found[name] = [occurrence for occurrence in found[name] if occurrence.value is not None]
    _check_ports(found, report)
    _check_expires(found, report)
    _check_tls(found, report)
    _check_listeners(found, report)
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


def _domain_transports(found: Found, report: Report) -> list[tuple[Occurrence, Occurrence]]:
    """Return each `outbound_domain_name` that has a transport of its own, with that."""
    names, transports = found.get("outbound_domain_name", []), found.get("outbound_domain_transport", [])
    if len(transports) > len(names):
        report.error(
            transports[len(names)].line,
            f"{len(transports)} outbound_domain_transport, {len(names)} outbound_domain_name: the first of "
            "each belong together, the second, and so on; expected no more transports than names",
        )
    return list(zip(names, transports, strict=False))


def _keep_transports(transports: list[tuple[Occurrence, Occurrence]], found: Found) -> None:
    """Leave each transport with the domain that it stands with in the file, as far as that is still there."""
    if "outbound_domain_transport" not in found:
        return
    kept = {name.line: place for place, name in enumerate(found.get("outbound_domain_name", []))}
    aligned: list[Occurrence] = []
    for name, transport in transports:
        if name.line in kept:
            # A wrong one stays in its place, or the next ones would move up to it.
            aligned.append(transport if transport.value is not None else Occurrence(transport.line, "auto"))
    found["outbound_domain_transport"] = aligned


def _check_ports(found: Found, report: Report) -> None:
    _make_even(found, report)
    low, high = _number(found, "rtp_port_low"), _number(found, "rtp_port_high")
    if low > high:
        where = f"{_described(found, 'rtp_port_low')} to {_described(found, 'rtp_port_high')}"
        report.error(
            _last_line(found, "rtp_port_low", "rtp_port_high"),
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
    report.error(
        _last_line(found, "sip_listen_port", "rtp_port_low", "rtp_port_high"),
        f"sip_listen_port {_described(found, 'sip_listen_port')} is one of the ports for media, from "
        f"{_described(found, 'rtp_port_low')} to {_described(found, 'rtp_port_high')} and its RTCP port, "
        "expected a port outside of them",
    )
    _forget(found, "rtp_port_low", "rtp_port_high")
    if _sip_inside(found):
        _forget(found, "sip_listen_port")


def _check_expires(found: Found, report: Report) -> None:
    low, high = _number(found, "min_expires"), _number(found, "max_expires")
    if low > high:
        report.error(
            _last_line(found, "min_expires", "max_expires"),
            f"min_expires {_described(found, 'min_expires')} is above max_expires "
            f"{_described(found, 'max_expires')}: no time could be asked for, expected the lower one first",
        )
        _forget(found, "min_expires", "max_expires")


def _check_tls(found: Found, report: Report) -> None:
    """Say which settings of TLS need others that are missing."""
    if not found.get("tls_certificate"):
        if keys := found.pop("tls_key", []):
            report.error(keys[-1].line, "tls_key without its certificate, expected tls_certificate as well")
        for name in _NEED_CERTIFICATE:
            if found.get(name) and _number(found, name):
                text = f"{name} without tls_certificate: nothing will listen there"
                report.warning(found[name][-1].line, text)
    if _number(found, "tls_verify_clients") and not found.get("tls_ca"):
        report.warning(
            found["tls_verify_clients"][-1].line,
            "tls_verify_clients without tls_ca: everybody with a certificate of one of the system's "
            "authorities gets in, expected tls_ca as well",
        )


def _check_listeners(found: Found, report: Report) -> None:
    """Give each port to one listener only; media is no matter here, it has UDP and these have TCP."""
    taken: dict[int, str] = {}
    for name in _LISTENERS:
        port = _number(found, name)
        if port == 0 or (name in _NEED_CERTIFICATE and not found.get("tls_certificate")):
            continue
        if port not in taken:
            taken[port] = name
            continue
        line = _last_line(found, name, taken[port], "tls_certificate")
        report.error(
            line,
            f"{name} {_described(found, name)} is the port of {taken[port]} already, "
            "expected another one; nothing listens for it",
        )
        found[name] = [Occurrence(line, 0)]


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
    algorithms = {occurrence.value for occurrence in found.get("proxy_auth_algorithm", [])}
    if algorithms and "MD5" not in algorithms:
        report.notice(
            found["proxy_auth_algorithm"][-1].line,
            "without proxy_auth_algorithm = MD5 phones that know nothing else cannot authenticate",
        )
    everybody = [o.line for o in found.get("proxy_auth_requests", [])[-1:] if o.value == "all"]
    if everybody and not realms:
        report.warning(
            everybody[-1],
            "proxy_auth_requests without proxy_auth_realm: nobody will be asked, expected that as well",
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


def _last_line(found: Found, *names: str) -> int:
    """Return the last line that has one of these directives; there is one."""
    return max(occurrence.line for name in names for occurrence in found.get(name, []))


def _described(found: Found, name: str) -> str:
    return f"{_number(found, name)}{'' if found.get(name) else ' (the default)'}"


def _forget(found: Found, *names: str) -> None:
    for name in names:
        found.pop(name, None)
