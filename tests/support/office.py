# SPDX-License-Identifier: MIT
"""A registrar with its location service, and REGISTERs to try on them."""

from __future__ import annotations

from siproxd_tw.config.settings import RegistrarConfig
from siproxd_tw.interfaces import Address, Flow, Side
from siproxd_tw.proxy.location import GRACE, Location
from siproxd_tw.proxy.masquerade import Masquerade
from siproxd_tw.proxy.registrar import Registrar, Registration
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from tests.support.addresses import FixedAddresses, two_armed
from tests.support.messages import ALICE, answer, register, values, wire
from tests.support.signalling import MemoryTransport

__all__ = ["NOW", "Office", "P", "Q", "Sent", "flow_from"]

NOW = 1_800_000_000.0
P, Q = Address("10.0.0.10", 5062), Address("10.0.0.11", 5060)


def flow_from(source: Address, name: str = "UDP") -> Flow:
    """Return the flow by which a phone at `source` reaches the proxy."""
    transport = MemoryTransport(Address("10.0.0.1", 5060), Side.INSIDE, name=name, reliable=name != "UDP")
    return Flow(transport, source, Side.INSIDE)


class Office:
    """A registrar, who is registered with it, and a clock."""

    def __init__(
        self,
        config: RegistrarConfig | None = None,
        *,
        addresses: FixedAddresses | None = None,
        port: int = 5060,
    ) -> None:
        self.now = NOW
        self.addresses = addresses or two_armed()
        self.location = Location()
        self.changes = 0
        self.masquerade = Masquerade(self.addresses, self.location, port)
        self.registrar = Registrar(config or RegistrarConfig(), self.location, self.masquerade, self._changed)
        self._branch = 0

    def _changed(self) -> None:
        self.changes += 1

    def register(
        self,
        contact: str,
        *headers: str,
        aor: str = ALICE,
        source: Address = P,
        host: str = "",
        transport: str = "",
    ) -> Sent:
        """Pass a REGISTER on to a provider who is to see us at `host`, by default our address."""
        request = self._request(contact, headers, aor, source)
        copy = request.copy()
        host = host or self.addresses.advertised(Side.OUTSIDE) or "nowhere"
        flow = flow_from(source)
        return Sent(self, copy, self.registrar.pass_on(copy, flow, host, self.now, transport=transport))

    def answer(
        self, contact: str, *headers: str, aor: str = ALICE, source: Address = P, transport: str = "UDP"
    ) -> Response:
        """Answer a REGISTER as the registrar."""
        request = self._request(contact, headers, aor, source)
        return self.registrar.answer(request, flow_from(source, transport), self.now, b"tag")

    def next_branch(self) -> int:
        """Return a number that no branch and no CSeq has had."""
        self._branch += 1
        return self._branch

    def _request(self, contact: str, headers: tuple[str, ...], aor: str, source: Address) -> Request:
        via = f"Via: SIP/2.0/UDP {source};branch=z9hG4bK{self.next_branch()}"
        order = (
            () if any(line.startswith("CSeq") for line in headers) else (f"CSeq: {self._branch} REGISTER",)
        )
        text = register(aor, contact, via, *order, *headers)
        request = parse(wire(text))
        assert isinstance(request, Request)
        return request

    def bound(self, aor: str = "") -> dict[str, str]:
        """Return the Contacts of the phones that are registered and what each is outside."""
        return {
            each.contact_text.decode(): str(each.masked)
            for each in self.location
            if each.expires + GRACE >= self.now and str(each.aor).endswith(aor)
        }

    def lifetimes(self) -> list[int]:
        """Return for how long the bindings are, in seconds from now."""
        return sorted(round(each.expires - self.now) for each in self.location)


class Sent:
    """A REGISTER on its way to the provider."""

    def __init__(self, office: Office, copy: Request, registration: Registration) -> None:
        self.office = office
        self.copy = copy
        self.registration = registration

    @property
    def contacts(self) -> list[str]:
        """What the provider sees as Contacts."""
        return values(self.copy, "Contact")

    def answered(self, status: str = "200 OK", *headers: str) -> Response:
        """Let the provider answer; return the response as the phone gets it."""
        response = parse(wire(answer(self.copy, status, *headers)))
        assert isinstance(response, Response)
        self.office.registrar.answered(self.registration, response, self.office.now)
        return response
