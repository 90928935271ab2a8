# SPDX-License-Identifier: MIT
"""Certificates for tests, from authorities that live as long as the test run."""

from __future__ import annotations

import datetime
from functools import lru_cache
from pathlib import Path
from typing import Any

import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec


@lru_cache
def authority(name: str = "ours") -> trustme.CA:
    """Return the authority with this name; one key each is enough for all tests."""
    return trustme.CA(organization_name=name)


@lru_cache
def _issued(names: tuple[str, ...], by: str, expired: bool) -> trustme.LeafCert:
    past = datetime.datetime(2001, 1, 1, tzinfo=datetime.UTC) if expired else None
    return authority(by).issue_cert(*names, not_after=past)


def certificate(path: Path, *names: str, by: str = "ours", expired: bool = False) -> str:
    """Write a certificate for `names`, its chain and its key into one file, and return its name."""
    path.write_bytes(_issued(names, by, expired).private_key_and_cert_chain_pem.bytes())
    return str(path)


def authorities(path: Path, by: str = "ours") -> str:
    """Write the certificate of an authority, and return the name of the file."""
    path.write_bytes(authority(by).cert_pem.bytes())
    return str(path)


@lru_cache
def _key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


def with_names(*names: x509.GeneralName) -> Any:
    """Return a certificate that has exactly these names; none: not even the extension."""
    nobody, now = x509.Name([]), datetime.datetime(2026, 1, 1)
    builder = x509.CertificateBuilder(nobody, nobody, _key().public_key(), 1, now, now)
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=True)
    return builder.sign(_key(), hashes.SHA256())
