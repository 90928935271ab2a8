# SPDX-License-Identifier: MIT
"""Checks of the files that directives of TLS name: that they can be read and hold what they should.

The content itself is for whoever uses it; here it is only looked at, so that a wrong path is a line in a
report and not a phone that cannot connect.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from siproxd_tw.config.checks import Found
from siproxd_tw.config.problems import Report, quoted

__all__ = ["Look", "check_files"]

Look = Callable[[str], bytes]
"""Returns the content of the file at a path; raises OSError."""

# The labels of RFC 7468; a key may be encrypted or name its kind.
_CERTIFICATE = re.compile(rb"-----BEGIN CERTIFICATE-----")
_KEY = re.compile(rb"-----BEGIN (?:[A-Z]+ )*PRIVATE KEY-----")


def check_files(found: Found, look: Look, report: Report) -> None:
    """Take out of `found` the files that are no use, and say why."""
    if not _holds(found, "tls_certificate", _CERTIFICATE, "certificate", look, report):
        _drop(found, "tls_certificate", "tls_key")
    elif not found.get("tls_key"):
        if not _holds(found, "tls_certificate", _KEY, "private key, and there is no tls_key", look, report):
            _drop(found, "tls_certificate")
    elif not _holds(found, "tls_key", _KEY, "private key", look, report):
        _drop(found, "tls_certificate", "tls_key")
    if not _holds(found, "tls_ca", _CERTIFICATE, "certificate", look, report):
        _drop(found, "tls_ca")


def _holds(found: Found, name: str, label: re.Pattern[bytes], what: str, look: Look, report: Report) -> bool:
    """Say whether the file of directive `name`, if there is one, has a line with `label`."""
    for line, value in found.get(name, [])[-1:]:
        path = str(value)
        try:
            content = look(path)
        except (OSError, ValueError) as fault:
            reason = getattr(fault, "strerror", None) or str(fault)
            report.error(line, f"{name}: {quoted(path)} cannot be read: {reason}", name)
            return False
        if not label.search(content):
            report.error(line, f"{name}: {quoted(path)} has no {what}, expected a PEM file", name)
            return False
    return True


def _drop(found: Found, *names: str) -> None:
    for name in names:
        found.pop(name, None)
