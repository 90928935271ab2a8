# SPDX-License-Identifier: MIT
"""The files that TLS needs: looked at, and left out with a word when they are no use."""

import pytest

from siproxd_tw.config.checks import Found, Occurrence
from siproxd_tw.config.files import check_files
from siproxd_tw.config.problems import Report
from siproxd_tw.config.values import Single

CERTIFICATE = b"-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"
KEY = b"-----BEGIN PRIVATE KEY-----\nMIIB\n-----END PRIVATE KEY-----\n"
FILES = {
    "/cert": CERTIFICATE,
    "/both": KEY + CERTIFICATE,
    "/key": KEY,
    "/rsa": b"-----BEGIN RSA PRIVATE KEY-----\n",
    "/locked": b"-----BEGIN ENCRYPTED PRIVATE KEY-----\n",
    "/der": b"0\x82\x01",
}


def look(path: str) -> bytes:
    if path not in FILES:
        raise FileNotFoundError(2, "No such file or directory", path)
    return FILES[path]


def checked(**paths: str) -> tuple[dict[str, Single | None], list[str]]:
    """Check files of directives in lines 1, 2, ...; return those that are left, and what was said."""
    found: Found = {name: [Occurrence(line, path)] for line, (name, path) in enumerate(paths.items(), 1)}
    report = Report("f")
    check_files(found, look, report)
    left = {name: occurrences[-1].value for name, occurrences in found.items()}
    return left, [f"{problem.severity} {problem.line}: {problem.text}" for problem in report.problems]


@pytest.mark.parametrize(
    "paths",
    [
        {},
        {"tls_certificate": "/both"},
        {"tls_certificate": "/cert", "tls_key": "/key", "tls_ca": "/cert"},
        {"tls_certificate": "/cert", "tls_key": "/rsa"},
        {"tls_certificate": "/cert", "tls_key": "/locked"},
        {"tls_ca": "/cert"},
    ],
)
def test_files_that_are_right(paths: dict[str, str]) -> None:
    """Key and certificate in one file or in two; nothing is said."""
    assert checked(**paths) == (paths, [])


@pytest.mark.parametrize(
    ("paths", "left", "said"),
    [
        (
            {"tls_certificate": "/none", "tls_key": "/key"},
            {},
            'error 1: tls_certificate: "/none" cannot be read: No such file or directory',
        ),
        (
            {"tls_certificate": "/der"},
            {},
            'error 1: tls_certificate: "/der" has no certificate, expected a PEM file',
        ),
        (
            {"tls_certificate": "/cert"},
            {},
            'error 1: tls_certificate: "/cert" has no private key, and there is no tls_key, '
            "expected a PEM file",
        ),
        (
            {"tls_certificate": "/cert", "tls_key": "/none"},
            {},
            'error 2: tls_key: "/none" cannot be read: No such file or directory',
        ),
        (
            {"tls_certificate": "/cert", "tls_key": "/cert"},
            {},
            'error 2: tls_key: "/cert" has no private key, expected a PEM file',
        ),
        (
            {"tls_certificate": "/both", "tls_ca": "/key"},
            {"tls_certificate": "/both"},
            'error 2: tls_ca: "/key" has no certificate, expected a PEM file',
        ),
    ],
)
def test_files_that_are_no_use(paths: dict[str, str], left: dict[str, str], said: str) -> None:
    """A line with the reason; a certificate and its key go together."""
    assert checked(**paths) == (left, [said])
