# SPDX-License-Identifier: MIT
"""Digest authentication of REGISTERs that we answer ourselves (RFC 3261 section 22).

Challenges are 407, as siproxd sends them: phones are configured for it. A REGISTER that
is passed on is challenged by the provider, never by us.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twisted.logger import Logger

from siproxd_tw.config.settings import AuthConfig
from siproxd_tw.interfaces import Refused
from siproxd_tw.proxy.credentials import Credentials
from siproxd_tw.sip.digest import Challenger, Verdict, parse_credentials
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Authentication"]


class Authentication:
    """Asks for a password where `proxy_auth_realm` is set; else lets everybody pass."""

    _log = Logger()

    def __init__(self, config: AuthConfig, secret: bytes) -> None:
        self._realm = config.realm
        self._credentials = Credentials(config.realm, config.password, config.password_file)
        self._challenger = Challenger(config.realm, secret) if config.realm else None

    def refresh(self, now: float) -> None:
        """Look at the password file: a missing one is to be told at the start, not by the first phone."""
        if self._challenger is not None:
            self._credentials.refresh(now)

    def check(self, request: Request, now: float) -> None:
        """Let `request` pass, or say by Refused what to answer: 407, or 403 for somebody else's address."""
        if self._challenger is None:
            return
        credentials = self._ours(request)
        if credentials is None:
            raise self._challenge(now, "no credentials")
        lookup = partial(self._ha1, now)
        verdict = self._challenger.check(credentials, request.method, lookup, now)
        user = credentials.get("username", "")
        if verdict is not Verdict.OK:
            if verdict is Verdict.MALFORMED:
                self._log.debug("malformed credentials: {flaw}", flaw=self._challenger.flaw(credentials))
            if verdict in (Verdict.WRONG_PASSWORD, Verdict.UNKNOWN_USER):
                self._log.warn(
                    "proxy authentication failed for {user}@{host}", user=user, host=_host_of(request)
                )
            raise self._challenge(now, "authentication failed", stale=verdict is Verdict.STALE)
        if unescape(_user_of(request)) != user.encode():
            raise Refused(403, "authenticated for another address of record")

    def _ours(self, request: Request) -> Mapping[str, str] | None:
        """Return the credentials for our realm; there may be others (RFC 3261 22.3)."""
        for field in request.all(b"proxy-authorization"):
            try:
                credentials = parse_credentials(field.value)
            except ValueError as error:
                self._log.debug("credentials that cannot be read: {error}", error=error)
                continue
            if credentials.get("realm") == self._realm:
                return credentials
        return None

    def _ha1(self, now: float, user: str, algorithm: str) -> str | None:
        return self._credentials.ha1(user, algorithm, now)

    def _challenge(self, now: float, why: str, *, stale: bool = False) -> Refused:
        assert self._challenger is not None
        lines = [b"Proxy-Authenticate: " + value for value in self._challenger.challenges(now, stale=stale)]
        return Refused(407, why, headers=lines)


def _user_of(request: Request) -> bytes:
    uri = request.to.uri
    return (uri.user or b"") if isinstance(uri, SIPURI) else b""


def _host_of(request: Request) -> str:
    uri = request.to.uri
    return uri.host if isinstance(uri, SIPURI) else ""
