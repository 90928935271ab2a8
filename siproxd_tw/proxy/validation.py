# SPDX-License-Identifier: MIT
"""Who may speak at all, and the request validation of RFC 3261 section 16.3.

Everything here is decided without state; a refusal carries what to answer.
"""

from __future__ import annotations

from twisted.logger import Logger

from siproxd_tw.config.settings import AccessConfig
from siproxd_tw.interfaces import Flow, Refused, Side
from siproxd_tw.proxy.forwarding import hops_left
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Access", "unavailable", "validate"]


def unavailable(why: str) -> Refused:
    """Return the refusal of what may work in a moment: 503 with Retry-After (21.5.4)."""
    return Refused(503, why, headers=(b"Retry-After: 10",))


class Access:
    """The access lists hosts_allow_reg, hosts_allow_sip and hosts_deny_sip (siproxd's meaning)."""

    _log = Logger()

    def __init__(self, config: AccessConfig) -> None:
        self._config = config

    def admit(self, flow: Flow) -> None:
        """Refuse, silently, a source that has no right at all."""
        host = flow.remote.host
        if self._config.deny_sip and self._config.deny_sip.matches(host):
            raise Refused(None, "hosts_deny_sip")
        if not self.may_register(flow) and not self.may_use_sip(host):
            raise Refused(None, "not in hosts_allow_sip")

    def may_use_sip(self, host: str) -> bool:
        """Whether requests other than REGISTER, and responses, are taken from `host`."""
        allow = self._config.allow_sip
        return not allow or allow.matches(host) or self._is_listed_for_register(host)

    def may_register(self, flow: Flow) -> bool:
        """Whether REGISTER is taken from this peer.

        Without a list, only from inside: siproxd took it from everywhere and so
        registered strangers with third parties.
        """
        if self._config.allow_register:
            return self._is_listed_for_register(flow.remote.host)
        return flow.side is Side.INSIDE

    def _is_listed_for_register(self, host: str) -> bool:
        listed = self._config.allow_register
        return bool(listed) and listed.matches(host)

    def check(self, request: Request, flow: Flow) -> None:
        """Refuse, silently, a request that its source has no right to send."""
        if request.method == "REGISTER":
            if not self.may_register(flow):
                self._log.warn(
                    "non-authorized registration attempt from {peer}",
                    peer=flow.remote.host,
                    call_id=request.call_id,
                )
                raise Refused(None, "non-authorized registration attempt")
        elif not self.may_use_sip(flow.remote.host):
            self._log.info("non-authorized request received from {peer}", peer=flow.remote.host)
            raise Refused(None, "non-authorized request")


def validate(request: Request) -> None:
    """Check `request` as section 16.3 says, steps 2, 3 and 5.

    Step 1 was the parser's; step 4, loops, needs the target and is the core's.
    """
    if request.method != "ACK":
        _check_scheme(request)
        _check_max_forwards(request)
        _check_proxy_require(request)


def _check_scheme(request: Request) -> None:
    uri = request.uri
    if not isinstance(uri, SIPURI) or uri.scheme != "sip":
        raise Refused(416, "unsupported URI scheme")


def _check_max_forwards(request: Request) -> None:
    if hops_left(request) == 0 and request.method != "OPTIONS":
        raise Refused(483, "too many hops")


def _check_proxy_require(request: Request) -> None:
    """Refuse any option tag (16.3 step 5): none is understood here. ACK and CANCEL are exempt (8.2.2.3)."""
    tags = b", ".join(field.value for field in request.all(b"proxy-require"))
    if tags and request.method not in ("ACK", "CANCEL"):
        raise Refused(420, "Proxy-Require", headers=(b"Unsupported: " + tags,))
