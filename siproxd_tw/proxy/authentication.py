# SPDX-License-Identifier: MIT
"""Digest authentication of inside users (RFC 3261 section 22).

Challenges are 407, as siproxd sends them: phones are configured for it. What a provider asks for is
between it and the phone: its challenges are 401, or 407 for another realm.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from twisted.logger import Logger

from siproxd_tw.config.settings import AuthConfig
from siproxd_tw.interfaces import Flow, Refused, Side
from siproxd_tw.proxy.credentials import Credentials
from siproxd_tw.sip.digest import Challenger, Verdict, parse_credentials, supported
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.headers import Field
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Authentication"]

_INSIDE = Side.INSIDE

#: Requests that cannot be sent again with credentials (RFC 3261 22.1).
_NEVER_CHALLENGED = frozenset({"ACK", "CANCEL"})

#: The user of a From that shows no identity (RFC 3261 8.1.1.3, RFC 3323 section 4.1).
_ANONYMOUS = b"anonymous"


class Authentication:
    """Asks for a password where `proxy_auth_realm` is set; else lets everybody pass.

    Each request is to be given to one of `check` and `check_request`, once: the credentials of a
    request are good for this request.
    """

    _log = Logger()

    def __init__(self, config: AuthConfig, secret: bytes) -> None:
        """Take what is configured, and a key for nonces."""
        self._realm = config.realm
        self._every_request = bool(config.realm) and config.every_request
        self._credentials = Credentials(
            config.realm, config.password, config.password_file, config.algorithms
        )
        self._challenger = Challenger(config.realm, secret, algorithms=supported()) if config.realm else None

    def refresh(self, now: float) -> None:
        """Look at the password file: a missing one is to be told at the start, not by the first phone."""
        if self._challenger is not None:
            self._credentials.refresh(now)

    def check(self, request: Request, now: float, flow: Flow | None = None) -> None:
        """Let a REGISTER that is answered here pass, or say by Refused what to answer.

        That is 407, or 403 for somebody else's address of record. `flow` names the peer in the log.
        """
        if self._challenger is not None:
            self._check(self._challenger, request, now, flow)

    def check_request(self, request: Request, flow: Flow, now: float, *, runs: bool = False) -> None:
        """Let a request that goes on pass, or say by Refused what to answer (16.3 step 6).

        Only where `proxy_auth_requests` says so, and only what an inside user begins: a dialog that runs
        was authenticated when it began: `runs` says that the request is of one, its To tag proves nothing.
        A REGISTER for a provider is asked as well.
        """
        if (
            self._every_request
            and flow.side is _INSIDE
            and request.method not in _NEVER_CHALLENGED
            and not runs
        ):
            assert self._challenger is not None
            self._check(self._challenger, request, now, flow)

    def strip(self, copy: Request) -> None:
        """Take the credentials for us out of `copy`, which goes on (22.3); those for others stay."""
        if self._challenger is None or copy.first(b"proxy-authorization") is None:
            return
        for field in copy.all(b"proxy-authorization"):
            if self._for_us(field) is not None:
                copy.remove(field, "credentials for our realm (22.3)")

    def _check(self, challenger: Challenger, request: Request, now: float, flow: Flow | None) -> None:
        credentials = self._ours(request)
        if credentials is None:
            raise self._challenge(challenger, now, "no credentials")
        verdict = challenger.check(credentials, request.method, partial(self._ha1, now), now)
        if verdict is not Verdict.OK:
            self._tell(challenger, verdict, credentials, request, flow)
            if verdict in (Verdict.STALE, Verdict.REPLAYED):
                raise self._challenge(challenger, now, "stale nonce", stale=True)
            raise self._challenge(challenger, now, "authentication failed")
        if credentials["uri"].encode("utf-8", "surrogateescape") != request.uri_text:
            # Phones write it in many ways, and it is in the hash: whoever changed it knows the password.
            self._log.debug("credentials are for {uri}", uri=credentials["uri"], call_id=request.call_id)
        if not _is_user(request, credentials["username"]):
            raise Refused(403, "authenticated as another user")

    def _tell(
        self,
        challenger: Challenger,
        verdict: Verdict,
        credentials: Mapping[str, str],
        request: Request,
        flow: Flow | None,
    ) -> None:
        """Log what somebody may have to do something about, or to look for."""
        if verdict is Verdict.MALFORMED:
            self._log.debug("malformed credentials: {flaw}", flaw=challenger.flaw(credentials))
        elif verdict in (Verdict.WRONG_PASSWORD, Verdict.UNKNOWN_USER):
            self._log.warn(
                "proxy authentication failed for {user}@{host} from {peer}",
                user=credentials["username"],
                host=_host_of(request),
                peer="unknown" if flow is None else flow.remote.host,
            )
        else:
            self._log.debug("{verdict}", verdict=verdict.value, call_id=request.call_id)

    def _ours(self, request: Request) -> Mapping[str, str] | None:
        """Return the credentials for our realm; there may be others (RFC 3261 22.3)."""
        if request.first(b"proxy-authorization") is None:
            return None
        found = map(self._for_us, request.all(b"proxy-authorization"))
        return next((credentials for credentials in found if credentials is not None), None)

    def _for_us(self, field: Field) -> Mapping[str, str] | None:
        """Return the credentials in `field` if they are for our realm."""
        try:
            credentials = parse_credentials(field.value)
        except ValueError as error:
            self._log.debug("credentials that cannot be read: {error}", error=error)
            return None
        return credentials if credentials.get("realm") == self._realm else None

    def _ha1(self, now: float, user: str, algorithm: str) -> str | None:
        return self._credentials.ha1(user, algorithm, now)

    def _challenge(self, challenger: Challenger, now: float, why: str, *, stale: bool = False) -> Refused:
        offered = self._credentials.offered(now)
        values = challenger.challenges(now, stale=stale, algorithms=offered)
        return Refused(407, why, headers=[b"Proxy-Authenticate: " + value for value in values])


def _is_user(request: Request, name: str) -> bool:
    """Whether `name` is who the request says that it is from; for a REGISTER, whom it is about."""
    registering = request.method == "REGISTER"
    uri = request.to.uri if registering else request.from_.uri
    user = (uri.user or b"") if isinstance(uri, SIPURI) else uri.text.partition(b";")[0]
    if not registering and user.lower() == _ANONYMOUS:
        return True  # a call with the identity withheld, of somebody who has proved it to us
    return unescape(user) == name.encode()


def _host_of(request: Request) -> str:
    uri = request.to.uri
    return uri.host if isinstance(uri, SIPURI) else ""
