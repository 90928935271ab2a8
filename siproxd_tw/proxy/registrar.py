# SPDX-License-Identifier: MIT
"""REGISTER: passed on to the provider's registrar, or answered as the registrar.

Passed on, a binding counts when the 2xx to that very request says so, for the time
that it grants. What the registrar refuses or never answers changes nothing. Answered,
it is the matter of `siproxd_tw.proxy.localregistrar`.
"""

from __future__ import annotations

from collections.abc import Callable

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Flow
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.localregistrar import LocalRegistrar
from siproxd_tw.proxy.location import Location
from siproxd_tw.proxy.masks import Masks
from siproxd_tw.proxy.masquerade import MASKED, UNMASKED, Masquerade
from siproxd_tw.proxy.refreshes import Known, Refreshes
from siproxd_tw.proxy.registration import Registration, delta_seconds, read
from siproxd_tw.sip.headers import NameAddr
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.uri import SIPURI

__all__ = ["Registrar", "Registration"]


class Registrar:
    """Keeps the location service true to what registrars have said."""

    def __init__(
        self,
        config: RegistrarConfig,
        location: Location,
        masquerade: Masquerade,
        changed: Callable[[], None],
    ) -> None:
        """Take what is needed; `changed` is called when the location service has become another one."""
        self._config = config
        self._location = location
        self._masquerade = masquerade
        self._changed = changed
        self._masks = Masks(location)
        self._local = LocalRegistrar(config, location, self._masks, masquerade.uri_port)
        self._passing: dict[bytes, dict[Registration, None]] = {}
        self._refreshes = Refreshes(location)

    # being the registrar

    def answer(self, request: Request, flow: Flow, now: float, to_tag: bytes) -> Response:
        """Process `request` as section 10.3 says and return the 200 that lists the bindings.

        Raises Refused, and has changed nothing then.
        """
        response, changed = self._local.answer(request, flow, now, to_tag)
        if changed:
            self._changed()
        return response

    # passing on

    def pass_on(
        self, copy: Request, flow: Flow, host: str, now: float, *, transport: str = ""
    ) -> Registration:
        """Masquerade the Contacts of `copy`, which came by `flow`, for a registrar outside.

        `host` is the IP address or name that we have there, `transport` that of the leg to the registrar
        where it is to be named ("tcp"). Its Vias must still be those that it came with. Each call is
        followed by `answered` with a final response, or by `settled`.
        """
        key = self._refreshes.key(copy, flow)
        known = self._refreshes.find(key, host, transport)
        if known is not None:
            return self._repeated(copy, known)
        port = self._masquerade.uri_port

        def masked(binding: Binding, registration: Registration, stays: bool) -> None:
            binding.show_as(self._masks.choose(binding, registration, host, port, now, stays=stays))

        default = self._config.default_expires
        registration = read(copy, flow, now, default_expires=default, masked=masked, local=False)
        contacts = [c for c in copy.contacts() if not c.is_wildcard and isinstance(c.uri, SIPURI)]
        for contact, binding in zip(contacts, registration.named, strict=True):
            secure = binding.contact.scheme == "sips"
            shown = self._masquerade.written(binding.masked, transport, secure)
            copy.replace_uri(contact, shown, MASKED)
        if len(contacts) == 1:
            registration.shown = shown
            asked = delta_seconds(contacts[0].param(b"expires"))
            self._refreshes.remember(key, Known(registration.named[0], host, transport, shown, asked))
        return self._on_its_way(registration)

    def _repeated(self, copy: Request, known: Known) -> Registration:
        """Pass on a REGISTER that was passed on before."""
        binding, shown, seconds = known.binding, known.shown, known.asked
        if seconds is None:
            seconds = delta_seconds(copy.value(b"expires"))
        if seconds is None:
            seconds = self._config.default_expires
        copy.replace_uri(copy.contacts()[0], shown, MASKED)
        wanted = [(binding, seconds)]
        return self._on_its_way(
            Registration(
                binding.aor, wanted, False, copy.call_id, copy.cseq.number, named=[binding], shown=shown
            )
        )

    def _on_its_way(self, registration: Registration) -> Registration:
        self._masks.reserve(registration)
        self._passing.setdefault(registration.call_id, {})[registration] = None
        return registration

    def answered(self, registration: Registration, response: Response, now: float) -> None:
        """Adopt what the registrar has granted, and give the phone its Contacts back."""
        if response.status < 200:
            return
        passing = self._is_passing(registration)
        if passing and response.status < 300:
            only = self._only_ours(registration, response)
            self._adopt(registration, response, only, now)
            if only is not None:
                response.replace_uri(only, registration.named[0].contact_text, UNMASKED)
                self.settled(registration)
                return
        self._masquerade.show(response, [*self._location.of(registration.aor, now), *registration.bindings])
        self.settled(registration)

    def settled(self, registration: Registration) -> None:
        """Forget that `registration` is on its way."""
        if not self._is_passing(registration):
            return
        of_call = self._passing[registration.call_id]
        del of_call[registration]
        if not of_call:
            del self._passing[registration.call_id]
        self._masks.release(registration)

    def _is_passing(self, registration: Registration) -> bool:
        return registration in self._passing.get(registration.call_id, ())

    def _only_ours(self, registration: Registration, response: Response) -> NameAddr | None:
        """Return the Contact of `response` if it has just one, and that as we have written it."""
        contacts = response.contacts() if registration.shown else []
        return contacts[0] if len(contacts) == 1 and contacts[0].uri_text == registration.shown else None

    def _adopt(
        self, registration: Registration, response: Response, only: NameAddr | None, now: float
    ) -> None:
        lifetimes = {
            binding: self._granted(response, binding, asked, only) if asked else 0
            for binding, asked in registration.wanted
        }
        if registration.enter(self._location, lifetimes, now):
            self._changed()
        for other in self._passing[registration.call_id]:
            # Its 2xx, if it is still to come, was sent before this one (RFC 3261 section 10.2).
            if other.cseq < registration.cseq:
                other.overtaken_by.append(registration)

    def _granted(self, response: Response, binding: Binding, asked: int, only: NameAddr | None) -> int:
        """Seconds granted (10.2.4): by our Contact, by the header, or what was asked for."""
        for contact in response.contacts() if only is None else [only]:
            if only is not None or self._masquerade.stands_for(contact, [binding]) is not None:
                seconds = delta_seconds(contact.param(b"expires"))
                if seconds is not None:
                    return seconds
        seconds = delta_seconds(response.value(b"expires"))
        return asked if seconds is None else seconds
