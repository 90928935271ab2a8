# SPDX-License-Identifier: MIT
"""Digest authentication (RFC 2617, RFC 7616, RFC 8760), the server's side of it and the arithmetic.

Nonces need no memory: they are the time and a keyed hash over it, so they cannot be
forged and have a life. Within that life an answer could be sent again by whoever saw it;
a count of each nonce (``nc``) is not kept.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from enum import Enum

__all__ = ["ALGORITHMS", "Challenger", "Verdict", "answer", "ha1", "parse_credentials"]

#: The algorithms by their names in headers, and hashlib's names for them.
ALGORITHMS = {"MD5": "md5", "SHA-256": "sha256", "SHA-512-256": "sha512_256"}

_PARAMETER = re.compile(
    rb"[ \t\r\n]*([A-Za-z0-9!#$%&\'*+.^_`|~-]+)[ \t\r\n]*=[ \t\r\n]*"
    rb'(?:"((?:[^"\\]|\\.)*)"|([^ \t\r\n",]+))[ \t\r\n]*(?:,|$)',
    re.DOTALL,
)
_QUOTED_PAIR = re.compile(r"\\(.)", re.DOTALL)


class Verdict(Enum):
    """What credentials are worth."""

    OK = "ok"
    STALE = "the nonce is too old, the rest may be right"
    UNKNOWN_USER = "unknown user"
    WRONG_PASSWORD = "wrong password"
    MALFORMED = "a parameter is missing or not what was asked for"


def parse_credentials(value: bytes) -> Mapping[str, str]:
    """Read ``Digest name=value, name="value"``; names in lower case, values without quotes.

    Raises ValueError with the position of what cannot be read.
    """
    scheme, _, rest = value.strip().partition(b" ")
    if scheme.lower() != b"digest":
        raise ValueError("expected the scheme Digest at 0")
    found: dict[str, str] = {}
    at = 0
    while at < len(rest):
        match = _PARAMETER.match(rest, at)
        if match is None:
            raise ValueError(f"expected name=value at {len(scheme) + 1 + at}")
        name, quoted, plain = match.groups()
        text = (plain if quoted is None else quoted).decode("utf-8", "surrogateescape")
        found.setdefault(name.decode().lower(), text if quoted is None else _QUOTED_PAIR.sub(r"\1", text))
        at = match.end()
    return found


def ha1(user: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """Return the hash that stands for a password (RFC 7616 3.4.2)."""
    return _hash(algorithm, f"{user}:{realm}:{password}")


def answer(
    secret: str,
    method: str,
    credentials: Mapping[str, str],
) -> str:
    """Return the ``response`` that belongs to `credentials`; `secret` is HA1 (RFC 7616 3.4.1).

    Without ``qop`` it is the calculation of RFC 2069. Raises KeyError when a parameter
    that takes part is missing.
    """
    algorithm, session = _algorithm(credentials)
    if session:
        secret = _hash(algorithm, f"{secret}:{credentials['nonce']}:{credentials['cnonce']}")
    ha2 = _hash(algorithm, f"{method}:{credentials['uri']}")
    qop = credentials.get("qop")
    if qop is None:
        return _hash(algorithm, f"{secret}:{credentials['nonce']}:{ha2}")
    middle = f"{credentials['nonce']}:{credentials['nc']}:{credentials['cnonce']}:{qop}"
    return _hash(algorithm, f"{secret}:{middle}:{ha2}")


def _algorithm(credentials: Mapping[str, str]) -> tuple[str, bool]:
    """Return the algorithm in upper case, and whether it is the -sess variant."""
    name = credentials.get("algorithm", "MD5").upper()
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _hash(algorithm: str, text: str) -> str:
    return hashlib.new(ALGORITHMS[algorithm], text.encode("utf-8", "surrogateescape")).hexdigest()


class Challenger:
    """Makes challenges for one realm and judges what comes back."""

    def __init__(
        self, realm: str, secret: bytes, life: float = 300.0, algorithms: tuple[str, ...] = ("MD5",)
    ) -> None:
        """Take the life of a nonce in seconds, and the algorithms to offer, strongest first."""
        self._realm = realm
        self._secret = secret
        self._life = life
        self._algorithms = algorithms

    def challenges(self, now: float, *, stale: bool = False) -> list[bytes]:
        """Return the values of the challenge headers, one for each algorithm (RFC 8760 2.3)."""
        realm = self._realm.replace("\\", "\\\\").replace('"', '\\"')
        tail = ", stale=TRUE" if stale else ""
        return [
            f'Digest realm="{realm}", nonce="{self._nonce(now)}", algorithm={name}, qop="auth"{tail}'.encode(
                "utf-8", "surrogateescape"
            )
            for name in self._algorithms
        ]

    def check(
        self,
        credentials: Mapping[str, str],
        method: str,
        secret_of: Callable[[str, str], str | None],
        now: float,
    ) -> Verdict:
        """Judge `credentials` for a request with `method`.

        `secret_of` returns the HA1 of a user for an algorithm, None for an unknown user.
        """
        algorithm, _ = _algorithm(credentials)
        if algorithm not in self._algorithms or credentials.get("qop", "auth") != "auth":
            return Verdict.MALFORMED
        if credentials.get("realm") != self._realm or not self._is_ours(credentials.get("nonce", "")):
            return Verdict.STALE  # another realm or a forged nonce: ask anew, without a hint
        secret = secret_of(credentials.get("username", ""), algorithm)
        try:
            expected = answer(secret or "", method, credentials)
        except KeyError:
            return Verdict.MALFORMED
        given = credentials.get("response", "").lower().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(expected.encode(), given):
            return Verdict.UNKNOWN_USER if secret is None else Verdict.WRONG_PASSWORD
        if secret is None:
            return Verdict.UNKNOWN_USER
        return Verdict.OK if self._is_alive(credentials["nonce"], now) else Verdict.STALE

    def _nonce(self, now: float) -> str:
        """32 hex digits, as siproxd has: 8 of the time, 24 of a keyed hash."""
        stamp = f"{int(now) & 0xFFFFFFFF:08x}"
        return stamp + self._mark(stamp)

    def _mark(self, stamp: str) -> str:
        text = f"{stamp}:{self._realm}".encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=12, key=self._secret).hexdigest()

    def _is_ours(self, nonce: str) -> bool:
        text = nonce.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(text[8:], self._mark(nonce[:8]).encode())

    def _is_alive(self, nonce: str, now: float) -> bool:
        return (int(now) - int(nonce[:8], 16)) & 0xFFFFFFFF <= self._life
