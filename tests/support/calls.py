# SPDX-License-Identifier: MIT
"""What most traces begin with: a phone is registered, a call is up."""

from __future__ import annotations

from dataclasses import dataclass

from tests.support.lab import Lab, Party
from tests.support.messages import (
    ALICE,
    SDP,
    Dialog,
    Message,
    answer,
    invite,
    register,
    request,
    values,
)
from tests.support.messages import media as media_of
from tests.support.networks import plain

__all__ = [
    "Call",
    "call_from_w",
    "call_to_m",
    "hang_up",
    "is_reachable",
    "media",
    "registered",
    "registered_here",
    "without_top_via",
]

CONTACT = "<sip:alice@10.0.0.10:5062>"


def media(message: Message) -> list[str]:
    """Return where each m= line of the body wants its media, in the addresses that traces have."""
    return [plain(place) for place in media_of(message)]


def without_top_via(message: Message) -> bytes:
    """Return a message as it goes on after a proxy has taken its own Via, the first line, out."""
    start, via, rest = bytes(message).split(b"\r\n", 2)
    assert via.startswith(b"Via: ") and b"," not in via, via
    return start + b"\r\n" + rest


def registered(
    lab: Lab,
    phone: Party | None = None,
    aor: str = ALICE,
    contact: str = CONTACT,
    expires: int = 3600,
    registrar: Party | None = None,
) -> str:
    """Register `phone` (P) at the provider (V), which grants `expires` seconds; return the Contact V saw."""
    phone, registrar = phone or lab.p, registrar or lab.v
    phone.send(register(aor, contact, f"Expires: {expires}"))
    passed_on = registrar.sees(f"REGISTER sip:{aor.partition('@')[2]} SIP/2.0")
    masked = values(passed_on, "Contact")[0]
    registrar.send(answer(passed_on, "200 OK", f"Contact: {masked};expires={expires}"))
    phone.sees(f"""
        SIP/2.0 200 OK
        Contact: {contact};expires={expires}
        """)
    return masked


def registered_here(lab: Lab, phone: Party, aor: str, contact: str) -> None:
    """Register `phone` at the proxy itself."""
    phone.send(register(aor, contact))
    phone.sees("SIP/2.0 200 OK")


def is_reachable(lab: Lab, phone: Party, uri: str, contact: str | None = None) -> bool:
    """Try with an OPTIONS from W whether `uri` leads to `phone`, under `contact`; the answer goes back."""
    lab.w.send(request("OPTIONS", uri, "From: <sip:carol@sip.other.test>;tag=o", "Call-ID: probe"))
    lab.advance(0)
    if phone.unread():
        ping = phone.sees(f"OPTIONS {contact or '…'} SIP/2.0")
        phone.send(answer(ping, "200 OK"))
        lab.w.sees("SIP/2.0 200 OK")
        return True
    lab.w.sees("SIP/2.0 404 …")
    return False


@dataclass
class Call:
    """A call that is up: both parties' dialogs, and the messages that made it."""

    caller: Dialog
    callee: Dialog
    offered: Message
    """The INVITE as the callee saw it."""
    answered: Message
    """The 200 as the caller saw it."""


def call_to_m(lab: Lab, call_id: str = "call1", port: int = 40000) -> Call:
    """Let P, which is registered, call M, with media between P:`port` and M:50000."""
    lab.p.send(invite("sip:dora@203.0.113.60:5090", f"Call-ID: {call_id}", body=SDP.audio("10.0.0.10", port)))
    offered = lab.m.sees("INVITE sip:dora@203.0.113.60:5090 SIP/2.0")
    lab.p.sees("SIP/2.0 100 …")
    callee = Dialog.of_callee(offered)
    contact = "Contact: <sip:dora@203.0.113.60:5090>"
    lab.m.send(answer(offered, "200 OK", contact, body=SDP.audio("203.0.113.60", 50000, user="dora")))
    answered = lab.p.sees("SIP/2.0 200 OK")
    caller = Dialog.of_caller(answered)
    lab.p.send(caller.request("ACK"), to=caller.next_hop)
    lab.m.sees("ACK sip:dora@203.0.113.60:5090 SIP/2.0")
    return Call(caller, callee, offered, answered)


def call_from_w(lab: Lab, call_id: str = "call2", contact: str = "sip:alice@10.0.0.10:5062") -> Call:
    """Let W call P, which is registered with `contact`, with media between W:51000 and P:40000."""
    lab.w.send(
        invite(
            "sip:alice@203.0.113.1",
            "From: <sip:carol@sip.other.test>;tag=w1",
            f"To: <sip:{ALICE}>",
            f"Call-ID: {call_id}",
            contact="<sip:carol@203.0.113.51>",
            body=SDP.audio("203.0.113.51", 51000, user="carol"),
        )
    )
    offered = lab.p.sees(f"INVITE {contact} SIP/2.0")
    lab.w.sees("SIP/2.0 100 …")
    callee = Dialog.of_callee(offered)
    lab.p.send(answer(offered, "200 OK", f"Contact: <{contact}>", body=SDP.audio("10.0.0.10", 40000)))
    answered = lab.w.sees("SIP/2.0 200 OK")
    caller = Dialog.of_caller(answered)
    lab.w.send(caller.request("ACK"), to=caller.next_hop)
    lab.p.sees(f"ACK {contact} SIP/2.0")
    return Call(caller, callee, offered, answered)


def hang_up(lab: Lab, by: Party, dialog: Dialog, other: Party) -> None:
    """End a call from the side of `by`."""
    by.send(dialog.request("BYE"), to=dialog.next_hop)
    bye = other.sees("BYE … SIP/2.0")
    other.send(answer(bye, "200 OK"))
    by.sees("SIP/2.0 200 OK")
