# SPDX-License-Identifier: MIT
"""Being the registrar: section 10.3 of RFC 3261, for the domains whose name is our own address.

All of a REGISTER is checked before any of it is done, so that what is refused has changed nothing.
"""

from __future__ import annotations

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Flow, Refused
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masks import Masks
from siproxd_tw.proxy.registration import Registration, delta_seconds, read
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.uri import SIPURI

__all__ = ["MOST_CONTACTS", "LocalRegistrar"]

#: Bindings of one address of record: a call to it goes to all of them.
MOST_CONTACTS = 10

#: Extensions that a REGISTER may require.
UNDERSTOOD = frozenset({b"path", b"outbound"})

#: Seconds above which nothing is too brief (10.3 step 7).
HOUR = 3600


class LocalRegistrar:
    """Answers REGISTER requests."""

    def __init__(
        self, config: RegistrarConfig, location: Location, masks: Masks, uri_port: int | None
    ) -> None:
        self._config = config
        self._location = location
        self._masks = masks
        self._shown = dict(config.masks)
        self._uri_port = uri_port
        self._least = min(config.min_expires, HOUR)

    def answer(self, request: Request, flow: Flow, now: float, to_tag: bytes) -> tuple[Response, bool]:
        """Process `request`; return the 200 that lists the bindings, and whether any has changed.

        Raises Refused: 400 for a ``*`` that is more than "remove all" or a Path that cannot be read, 403
        for too many contacts, 404 for an address of record that is none, 420 for an extension, 423 for
        too few seconds, 500 for a REGISTER that a later one has overtaken.
        """
        _check_extensions(request)
        if any(contact.is_wildcard for contact in request.contacts()):
            _check_wildcard(request)
        registration = self._read(request, flow, now)
        live = self._location.of(registration.aor, now)
        repeated = _check_order(registration, live)
        self._check_seconds(registration)
        lifetimes = {b: min(asked, self._config.max_expires) for b, asked in registration.wanted}
        seconds = lifetimes[registration.wanted[0][0]] if registration.wanted else None
        registration.wanted = [entry for entry in registration.wanted if entry[0] not in repeated]
        self._check_number(registration, live)
        changed = registration.enter(self._location, lifetimes, now)
        lines = self._listed(registration.aor, now)
        if lines and seconds is not None:
            lines.append(b"Expires: %d" % seconds)
        lines += [b"Path: " + field.value for field in request.all(b"path")]
        if any(_keeps_flow(request, flow, b) for b in lifetimes if lifetimes[b]):
            lines.append(b"Require: outbound")
        return response_to(request, 200, to_tag=to_tag, headers=lines), changed

    def _read(self, request: Request, flow: Flow, now: float) -> Registration:
        def masked(binding: Binding, registration: Registration, stays: bool) -> None:
            domain = binding.aor.host
            host = self._shown.get(domain, domain)
            mask = self._masks.choose(binding, registration, host, self._uri_port, now, stays=stays)
            binding.show_as(mask)

        default, path = self._config.default_expires, _path(request)
        return read(request, flow, now, default_expires=default, masked=masked, local=True, path=path)

    def _check_seconds(self, registration: Registration) -> None:
        if any(0 < asked < self._least for _, asked in registration.wanted):
            raise Refused(423, "interval too brief", headers=(b"Min-Expires: %d" % self._least,))

    def _check_number(self, registration: Registration, live: list[Binding]) -> None:
        """Refuse more contacts than there may be; who is registered stays registered."""
        stay = sum(not registration.replaces(old) for old in live)
        come = sum(asked > 0 for _, asked in registration.wanted)
        if come and stay + come > max(MOST_CONTACTS, len(live)):
            phrase = f"Too Many Contacts, {MOST_CONTACTS} at Most"
            raise Refused(403, "too many contacts of one address of record", phrase=phrase)

    def _listed(self, aor: SIPURI, now: float) -> list[bytes]:
        """The bindings as step 8 lists them, with what RFC 5626 section 6 adds."""
        lines = []
        for binding in self._location.of(aor, now):
            if binding.expires <= now:
                continue
            line = b"Contact: <%b>" % binding.contact_text
            if binding.q != 1.0:
                line += b";q=%b" % f"{binding.q:.3f}".rstrip("0").rstrip(".").encode()
            if binding.instance:
                line += b";+sip.instance=" + binding.instance
            if binding.reg_id:
                line += b";reg-id=" + binding.reg_id
            lines.append(line + b";expires=%d" % round(binding.expires - now))
        return lines


def _check_extensions(request: Request) -> None:
    """Refuse what must be understood and is not (8.2.2.3)."""
    tags = [element.text for element in request.elements(b"require")]
    unknown = [tag for tag in tags if tag.lower() not in UNDERSTOOD]
    if unknown:
        raise Refused(420, "Require", headers=(b"Unsupported: " + b", ".join(unknown),))


def _check_wildcard(request: Request) -> None:
    if len(request.contacts()) != 1 or delta_seconds(request.value(b"expires")) != 0:
        raise Refused(400, "Contact * without Expires 0", phrase="Contact: * needs Expires: 0")


def _check_order(registration: Registration, live: list[Binding]) -> set[Binding]:
    """Refuse a REGISTER that was sent before one that has been done (10.3 steps 6 and 7).

    Returns the bindings that have been done by this very one: a retransmission is answered alike.
    """
    repeated: set[Binding] = set()
    for old in live:
        if old.call_id != registration.call_id:
            continue
        about = [b for b in registration.bindings if old.is_same_phone(b)]
        if old.cseq > registration.cseq and (about or registration.everything):
            raise Refused(500, "REGISTER out of order", phrase="REGISTER Older Than the Last One")
        if old.cseq == registration.cseq:
            repeated.update(about)
    return repeated


def _path(request: Request) -> tuple[bytes, ...]:
    """The proxies between the phone and us (RFC 3327 section 5.3).

    They are kept also when the phone does not say that it supports Path: whoever put them there is between
    us and the phone all the same, and a phone that learns it from the answer ignores it.
    """
    try:
        found = request.elements(b"path")
        right = all(isinstance(e, NameAddr) and isinstance(e.uri, SIPURI) for e in found)
    except ParseError:
        right = False
    if not right:
        raise Refused(400, "Path cannot be read", phrase="Path Is No List of SIP URIs")
    return tuple(b"<%b>" % e.uri_text for e in found if isinstance(e, NameAddr))


def _keeps_flow(request: Request, flow: Flow, binding: Binding) -> bool:
    """Whether the phone will be called by this very connection, as RFC 5626 section 6 promises then.

    Only without a proxy between: the connection is the proxy's else.
    """
    if not binding.reg_id or binding.relayed or not flow.transport.reliable:
        return False
    tags = [*request.elements(b"supported"), *request.elements(b"require")]
    return any(tag.text.lower() == b"outbound" for tag in tags)
