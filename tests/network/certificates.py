# SPDX-License-Identifier: MIT
"""The certificates of the bed: one authority that everybody there knows, and one that nobody knows."""

from __future__ import annotations

from pathlib import Path

import trustme


class Certificates:
    """Issues certificates into PEM files in `directory`, each with its key and its chain."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._authorities = {"": trustme.CA(), "unknown-": trustme.CA()}
        self.authority = directory / "authority.pem"
        """The certificate of the authority that is known."""
        self._authorities[""].cert_pem.write_to_path(str(self.authority))

    def issue(self, name: str, *names: str, unknown: bool = False) -> Path:
        """Return the file of a new certificate for `names`, or `name`; it takes the place of the former one.

        With `unknown` it is of the authority that nobody knows.
        """
        prefix = "unknown-" if unknown else ""
        issued = self._authorities[prefix].issue_cert(*(names or (name,)))
        path = self._directory / f"{prefix}{name}.pem"
        new = path.with_suffix(".new")
        issued.private_key_and_cert_chain_pem.write_to_path(str(new))
        new.replace(path)
        return path
