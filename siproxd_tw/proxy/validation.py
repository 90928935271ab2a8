# SPDX-License-Identifier: MIT
"""Who may speak at all, and the request validation of RFC 3261 section 16.3.

Everything here is decided without state; a refusal carries what to answer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from twisted.logger import Logger

from siproxd_tw.config.settings import AccessConfig
from siproxd_tw.interfaces import Flow, Refused, Side
from siproxd_tw.proxy.forwarding import hops_left
from siproxd_tw.sip.message import Request

__all__ = ["Access", "unavailable", "validate"]

#: How many hosts the lists are not asked for again.
MOST_HOSTS = 100_000

_INSIDE = Side.INSIDE


def unavailable(why: str) -> Refused:
    """Return the refusal of what may work in a moment: 503 with Retry-After (21.5.4)."""
    return Refused(503, why, headers=(b"Retry-After: 10",))


@dataclass(frozen=True, slots=True)
class _Rights:
    """What the lists say of one host on one side."""

    refused: str
    """Why nothing is taken from it; empty: something is."""
    register: bool
    """Whether REGISTER is taken from it."""
    sip: bool
    """Whether anything else is, responses included."""
    begin: bool
    """Whether that includes what begins something."""
    trusted: bool
    """Whether it may reach every inside address."""


class Access:
    """The access lists: siproxd's three with its meaning, and one for each side.

    siproxd's: hosts_deny_sip wins, hosts_allow_reg gives both rights, hosts_allow_sip the right to
    everything but REGISTER. hosts_allow_inside narrows them for peers inside, hosts_allow_outside what
    peers outside may begin (whoever is in hosts_allow_reg may); hosts_trust_outside widens both for peers
    outside.
    """

    _log = Logger()

    def __init__(
        self, config: AccessConfig, *, is_known_peer: Callable[[str], bool] = lambda host: False
    ) -> None:
        """Take the lists; `is_known_peer` says of an IP address whether our phones are registered there.

        Such a peer may begin something from outside also when hosts_allow_outside has forgotten it.
        """
        self._config = config
        self._is_known_peer = is_known_peer
        # One dictionary for each side: looking there is all that a message costs.
        self._inside: dict[str, _Rights] = {}
        self._outside: dict[str, _Rights] = {}

    def admit(self, flow: Flow) -> None:
        """Refuse, silently, a source that has no right at all."""
        rights = self._rights(flow)
        if rights.refused:
            raise Refused(None, rights.refused)

    def check(self, request: Request, flow: Flow) -> None:
        """Refuse, silently, a request that its source has no right to send.

        What belongs to a dialog (it has a To tag) passes: whether there is that dialog is for routing to say.
        """
        rights = self._rights(flow)
        if request.method == "REGISTER":
            if not rights.register:
                self._log.warn(
                    "non-authorized registration attempt from {peer}",
                    peer=flow.remote.host,
                    call_id=request.call_id,
                )
                raise Refused(None, "non-authorized registration attempt")
        elif not rights.sip:
            raise self._unauthorized(flow, "non-authorized request")
        elif not rights.begin and not request.to_tag and not self._is_known_peer(flow.remote.host):
            raise self._unauthorized(flow, "not in hosts_allow_outside")

    def may_register(self, flow: Flow) -> bool:
        """Whether REGISTER is taken from this peer.

        Without a list, only from inside: siproxd took it from everywhere and so
        registered strangers with third parties.
        """
        return self._rights(flow).register

    def may_begin(self, flow: Flow) -> bool:
        """Whether this peer may begin anything: who may not is to learn nothing either."""
        return self._rights(flow).begin or self._is_known_peer(flow.remote.host)

    def trusts(self, flow: Flow) -> bool:
        """Whether this peer outside may reach every inside address that it names (hosts_trust_outside)."""
        return self._rights(flow).trusted

    def _unauthorized(self, flow: Flow, why: str) -> Refused:
        self._log.info("non-authorized request received from {peer}", peer=flow.remote.host)
        return Refused(None, why)

    def _rights(self, flow: Flow) -> _Rights:
        known = self._inside if flow.side is _INSIDE else self._outside
        host = flow.remote.host
        rights = known.get(host)
        if rights is None:
            if len(known) >= MOST_HOSTS:
                known.clear()  # strangers only: everybody else is back with the next message
            rights = known[host] = self._find(host, inside=flow.side is _INSIDE)
        return rights

    def _find(self, host: str, *, inside: bool) -> _Rights:
        lists = self._config
        denied = lists.deny_sip.matches(host)
        trusted = not inside and not denied and lists.trusted_outside.matches(host)
        listed = lists.allow_register.matches(host)
        register = listed if lists.allow_register else inside
        sip = not lists.allow_sip or lists.allow_sip.matches(host) or listed or trusted
        begin = inside or not lists.allow_outside or lists.allow_outside.matches(host) or listed or trusted
        refused = ""
        if denied:
            refused = "hosts_deny_sip"
        elif inside and lists.allow_inside and not lists.allow_inside.matches(host):
            refused = "not in hosts_allow_inside"
        elif not register and not sip:
            refused = "not in hosts_allow_sip"
        return _Rights(refused, register, sip, begin, trusted)


#: What can be routed: a tel URI as well, where an outbound proxy or a phone has the number (16.5).
_SCHEMES = frozenset({b"sip", b"sips", b"tel"})


def validate(request: Request) -> None:
    """Check `request` as section 16.3 says, steps 2, 3 and 5.

    Step 1 was the parser's; step 4, loops, needs the target and is the core's. Require is between the
    ends and not looked at.
    """
    if request.method != "ACK":
        _check_scheme(request)
        _check_max_forwards(request)
        if request.first(b"proxy-require") is not None:
            _check_proxy_require(request)


def _check_scheme(request: Request) -> None:
    if not request.uri_text.startswith(b"sip:"):
        scheme = request.uri_text.partition(b":")[0].lower()
        if scheme not in _SCHEMES:
            raise Refused(416, "unsupported URI scheme")


def _check_max_forwards(request: Request) -> None:
    value = request.value(b"max-forwards")
    if value is None or value.strip(b"-0"):
        return  # the ordinary case, without making a number of it
    if hops_left(request) == 0 and request.method != "OPTIONS":
        raise Refused(483, "too many hops")


def _check_proxy_require(request: Request) -> None:
    """Refuse any option tag (16.3 step 5): none is understood here. ACK and CANCEL are exempt (8.2.2.3)."""
    tags = b", ".join(field.value for field in request.all(b"proxy-require"))
    if tags and request.method not in ("ACK", "CANCEL"):
        raise Refused(420, "Proxy-Require", headers=(b"Unsupported: " + tags,))
