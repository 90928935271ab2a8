# SPDX-License-Identifier: MIT
"""REGISTER: passed on to the provider's registrar, or answered as the registrar.

Passed on, a binding counts when the 2xx to that very request says so, for the time
that it grants. Answered, this is the registrar of RFC 3261 section 10.3 for the
domains whose name is our own address.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from twisted.logger import Logger

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Address, Flow, IAddresses, Refused, Side
from siproxd_tw.proxy.location import Binding, Location
from siproxd_tw.proxy.masquerade import MASKED, Masquerade
from siproxd_tw.proxy.validation import unavailable
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Registrar", "Registration"]


@dataclass(slots=True, eq=False)
class Registration:
    """What a REGISTER on its way asks for."""

    aor: SIPURI
    wanted: list[tuple[Binding, int]]
    """For each contact the binding it will be, and the seconds asked for."""
    everything: bool = False
    """Whether all bindings of the address of record are to go (``Contact: *``)."""

    @property
    def bindings(self) -> list[Binding]:
        """The bindings that it is about."""
        return [binding for binding, _ in self.wanted]


class Registrar:
    """Keeps the location service true to what registrars have said."""

    _log = Logger()

    def __init__(
        self,
        config: RegistrarConfig,
        location: Location,
        addresses: IAddresses,
        masquerade: Masquerade,
        changed: Callable[[], None],
    ) -> None:
        self._config = config
        self._location = location
        self._addresses = addresses
        self._masquerade = masquerade
        self._changed = changed
        self._masks = dict(config.masks)
        self._pending: dict[bytes, Binding] = {}

    # passing on

    def pass_on(self, copy: Request, flow: Flow, now: float) -> Registration:
        """Masquerade the Contacts of `copy`, about to be sent to a registrar outside."""
        registration = self._read(copy, flow, now, local=False)
        for contact, binding in zip(_addresses_in(copy.contacts()), registration.bindings, strict=True):
            copy.replace_uri(contact, bytes(binding.masked), MASKED)
            self._pending[binding.masked_user] = binding
        return registration

    def answered(self, registration: Registration, response: Response, now: float) -> None:
        """Adopt what the registrar has granted, and give the phone its Contacts back."""
        if response.status < 200:
            return
        if response.status < 300:
            self._adopt(registration, response, now)
        self._masquerade.show(response, [*self._location.of(registration.aor, now), *registration.bindings])
        self.settled(registration)

    def settled(self, registration: Registration) -> None:
        """Forget that `registration` is on its way."""
        for binding in registration.bindings:
            if self._pending.get(binding.masked_user) is binding:
                del self._pending[binding.masked_user]

    def _adopt(self, registration: Registration, response: Response, now: float) -> None:
        if registration.everything:
            for binding in self._location.of(registration.aor, now):
                self._location.remove(binding)
        for binding, asked in registration.wanted:
            seconds = 0 if asked == 0 else _granted(response, binding.masked, asked)
            self._enter(binding, seconds, registration, now)
        self._changed()

    def _enter(self, binding: Binding, seconds: int, registration: Registration, now: float) -> None:
        """Replace what the phone had by `binding`; the Contacts of one REGISTER stand side by side."""
        for old in self._location.of(binding.aor, now):
            same = old.is_same_phone(binding.contact, binding.source, binding.instance)
            if same and old not in registration.bindings:
                self._location.remove(old)
        if seconds > 0:
            binding.expires = now + seconds
            self._location.add(binding)

    # being the registrar

    def answer(self, request: Request, flow: Flow, now: float, to_tag: bytes) -> Response:
        """Process `request` as section 10.3 says and return the 200 that lists the bindings."""
        if any(contact.is_wildcard for contact in request.contacts()):
            self._check_wildcard(request)
        registration = self._read(request, flow, now, local=True)
        if registration.everything:
            for binding in self._location.of(registration.aor, now):
                self._location.remove(binding)
        for binding, seconds in registration.wanted:
            self._enter(binding, seconds, registration, now)
        self._changed()
        lines = [
            b"Contact: <%s>;expires=%d" % (b.contact_text, round(b.expires - now))
            for b in self._location.of(registration.aor, now)
            if b.expires > now
        ]
        if lines and registration.wanted:
            lines.append(b"Expires: %d" % registration.wanted[0][1])
        return response_to(request, 200, to_tag=to_tag, headers=lines)

    def _check_wildcard(self, request: Request) -> None:
        if len(request.contacts()) != 1 or request.value(b"expires") != b"0":
            raise Refused(400, "Contact * without Expires 0", phrase="Contact: * needs Expires: 0")

    # both

    def _read(self, request: Request, flow: Flow, now: float, *, local: bool) -> Registration:
        aor = request.to.uri
        if not isinstance(aor, SIPURI):
            raise Refused(404, "address of record is not a SIP URI", phrase="To must be a SIP URI")
        contacts = request.contacts()
        registration = Registration(aor, [], everything=any(c.is_wildcard for c in contacts))
        for contact in _addresses_in(contacts):
            binding = self._binding(contact, registration, flow, now, local)
            registration.wanted.append((binding, _asked(request, contact, self._config)))
        return registration

    def _binding(
        self, contact: NameAddr, registration: Registration, flow: Flow, now: float, local: bool
    ) -> Binding:
        uri = contact.uri
        assert isinstance(uri, SIPURI)
        instance = contact.param(b"+sip.instance") or b""
        masked = self._mask(registration, uri, local, flow.remote, instance, now)
        return Binding(
            uri,
            contact.uri_text,
            registration.aor,
            masked if local else self._at_this_address(masked),
            now,
            flow.remote,
            instance,
            local,
        )

    def _mask(
        self,
        registration: Registration,
        uri: SIPURI,
        local: bool,
        source: Address,
        instance: bytes,
        now: float,
    ) -> SIPURI:
        """The mask that the phone has, if no other Contact of this REGISTER took it; else a new one."""
        aor, here = registration.aor, {b.masked_user for b in registration.bindings}
        same = [b for b in self._location.of(aor, now) if b.is_same_phone(uri, source, instance)]
        same = [b for b in same if b.masked_user not in here and not self._location.shares_mask(b)]
        if same:
            return next((b for b in same if b.contact == uri), same[-1]).masked

        def taken(user: bytes) -> bool:
            """Whether this REGISTER or another phone's, on its way, has that mask."""
            rival = self._pending.get(user)
            ours = rival is None or (rival.aor == aor and rival.is_same_phone(uri, source, instance))
            return user in here or not ours

        host = self._masks.get(aor.host, aor.host) if local else self._outside()
        return self._location.mask_for(aor, uri, host, self._masquerade.uri_port, taken)

    def _outside(self) -> str:
        host = self._addresses.advertised(Side.OUTSIDE)
        if host is None:
            raise unavailable("outside interface has no address")
        return host

    def _at_this_address(self, masked: SIPURI) -> SIPURI:
        return replace(masked, host=self._outside(), port=self._masquerade.uri_port)


def _addresses_in(contacts: list[NameAddr]) -> list[NameAddr]:
    """The Contacts that are SIP addresses: no ``*``, no tel URI."""
    return [c for c in contacts if not c.is_wildcard and isinstance(c.uri, SIPURI)]


def _asked(request: Request, contact: NameAddr, config: RegistrarConfig) -> int:
    """Seconds asked for: the parameter, the header, or `default_expires` (10.2.1.1)."""
    for text in (contact.param(b"expires"), request.value(b"expires")):
        if text is not None and text.isdigit():
            return _seconds(text)
    return config.default_expires


def _seconds(digits: bytes) -> int:
    """Read delta-seconds; beyond 2**32-1, which nobody may ask for (20.19), that is what is meant."""
    return min(int(digits.lstrip(b"0")[:11] or b"0"), 2**32 - 1)


def _granted(response: Response, masked: SIPURI, asked: int) -> int:
    """Seconds granted (10.2.4): by our Contact, by the header, or what was asked for."""
    for contact in response.contacts():
        if contact.is_wildcard or not isinstance(contact.uri, SIPURI):
            continue
        if contact.uri.user == masked.user and contact.uri.host == masked.host:
            text = contact.param(b"expires")
            if text is not None and text.isdigit():
                return _seconds(text)
    header = response.value(b"expires")
    return _seconds(header) if header is not None and header.isdigit() else asked
