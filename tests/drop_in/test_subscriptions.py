# SPDX-License-Identifier: MIT
"""Busy lamps, message waiting, presence: dialogs that last for hours (N37)."""

from __future__ import annotations

import pytest

from tests.support.calls import registered
from tests.support.lab import Lab
from tests.support.messages import Dialog, Message, answer, request, values
from tests.support.networks import on

pytestmark = on("udp", "tcp", "udp-tls", "tcp-udp", "ipv4-ipv6")

LAMP = "sip:bob@sip.provider.test"
CONTACT = "Contact: <sip:alice@10.0.0.10:5062>"
SERVER = "<sip:lamps@203.0.113.50>"
ROUTE = "Record-Route: <sip:203.0.113.50;lr>"
ACTIVE = "Subscription-State: active;expires=600"


def state(kilobytes: int = 0) -> str:
    """Return the state of a phone, as large as wanted."""
    note = "".join(f"  <note>{n:090d}</note>\n" for n in range(10 * kilobytes))
    return f'<?xml version="1.0"?>\n<dialog-info state="full">\n{note}</dialog-info>\n'


def asked(lab: Lab) -> Message:
    """Let P, registered, subscribe; return the SUBSCRIBE at V."""
    registered(lab)
    lab.p.send(request("SUBSCRIBE", LAMP, CONTACT, "Event: dialog", "Expires: 600", "Call-ID: lamp"))
    return lab.v.sees(f"""
        SUBSCRIBE {LAMP} SIP/2.0
        Contact: <sip:alice@203.0.113.1>
        Event: dialog
        Expires: 600
        """)


def subscribed(lab: Lab) -> tuple[Dialog, Dialog]:
    """Let the server accept; return the phone's dialog and the server's."""
    subscribe = asked(lab)
    lab.v.send(answer(subscribe, "200 OK", ROUTE, f"Contact: {SERVER}", "Expires: 600"))
    return Dialog.of_caller(lab.p.sees("SIP/2.0 200 OK\nExpires: 600")), Dialog.of_callee(subscribe)


def notified(lab: Lab, server: Dialog, body: str = "") -> None:
    """Let the server notify the phone."""
    kind = "Content-Type: application/dialog-info+xml"
    lab.v.send(
        server.request("NOTIFY", f"Contact: {SERVER}", "Event: dialog", ACTIVE, kind, body=body or state())
    )
    lab.advance(0)
    notify = lab.p.sees(f"""
        NOTIFY sip:alice@10.0.0.10:5062 SIP/2.0
        Contact: {SERVER}
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        Event: dialog
        {ACTIVE}
        {kind}
        Content-Length: {len((body or state()).encode()) + (body or state()).count(chr(10))}
        """)
    lab.p.send(answer(notify, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK\nno Record-Route")


def test_n37_three_hours(lab):
    """Refreshes every ten minutes and notifications in between find their way, however long that goes."""
    phone, server = subscribed(lab)
    for _ in range(3):
        for _ in range(6):
            lab.advance(550)
            lab.p.send(
                phone.request("SUBSCRIBE", CONTACT, "Event: dialog", "Expires: 600"), to=phone.next_hop
            )
            refresh = lab.v.sees("""
                SUBSCRIBE sip:lamps@203.0.113.50 SIP/2.0
                Route: <sip:203.0.113.50;lr>
                Contact: <sip:alice@203.0.113.1>
                """)
            lab.v.send(answer(refresh, "200 OK", f"Contact: {SERVER}", "Expires: 600"))
            lab.p.sees("SIP/2.0 200 OK")
            notified(lab, server)
        registered(lab)  # which lasts an hour


def test_n37_a_subscription_outlives_the_registration(lab):
    """A phone that is late with its REGISTER is notified all the same."""
    registered(lab, expires=120)
    lab.p.send(request("SUBSCRIBE", LAMP, CONTACT, "Event: dialog", "Call-ID: lamp"))
    subscribe = lab.v.receive()
    lab.v.send(answer(subscribe, "200 OK", f"Contact: {SERVER}"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.advance(1000)
    notified(lab, Dialog.of_callee(subscribe))


def test_n37_a_notification_before_the_answer(lab):
    """The first NOTIFY may overtake the 200 (RFC 6665 section 4.4.1): it reaches the phone."""
    subscribe = asked(lab)
    notified(lab, Dialog.of_callee(subscribe))
    lab.v.send(answer(subscribe, "200 OK", f"Contact: {SERVER}"))
    lab.p.sees("SIP/2.0 200 OK")


def test_n37_a_large_notification(lab):
    """Three kilobytes come by datagrams too, where nobody takes connections; not a byte is lost."""
    _, server = subscribed(lab)
    notified(lab, server, state(3))


@pytest.mark.parametrize("package", ["message-summary", "presence", "reg", "x-broadworks-hoteling"])
@on("udp")
def test_n37_notifications_without_a_subscription(lab, package):
    """Message waiting that nobody has asked for reaches the registered phone."""
    registered(lab)
    lab.v.send(request("NOTIFY", "sip:alice@203.0.113.1", f"Event: {package}", ACTIVE, f"Contact: {SERVER}"))
    notify = lab.p.sees(f"NOTIFY sip:alice@10.0.0.10:5062 SIP/2.0\nEvent: {package}")
    lab.p.send(answer(notify, "200 OK"))
    lab.v.sees("SIP/2.0 200 OK")


def test_n37_the_end_of_a_subscription(lab):
    """Expires: 0, its 200, and the last notification, which comes behind them."""
    phone, server = subscribed(lab)
    lab.p.send(phone.request("SUBSCRIBE", CONTACT, "Event: dialog", "Expires: 0"), to=phone.next_hop)
    bye = lab.v.sees("SUBSCRIBE sip:lamps@203.0.113.50 SIP/2.0\nExpires: 0")
    lab.v.send(answer(bye, "200 OK", f"Contact: {SERVER}", "Expires: 0"))
    lab.p.sees("SIP/2.0 200 OK\nExpires: 0")
    notified(lab, server)


@on("udp", "tcp")
def test_n37_a_lamp_of_an_office_phone(lab):
    """Somebody outside watches a phone: the phone notifies, and learns of the refresh."""
    registered(lab)
    watcher = "From: <sip:carol@sip.other.test>;tag=w1"
    lab.w.send(request("SUBSCRIBE", "sip:alice@203.0.113.1", watcher, "Contact: <sip:carol@203.0.113.51>"))
    subscribe = lab.p.sees("SUBSCRIBE sip:alice@10.0.0.10:5062 SIP/2.0")
    lab.p.send(answer(subscribe, "200 OK", CONTACT, "Expires: 3600"))
    dialog = Dialog.of_caller(lab.w.sees("SIP/2.0 200 OK\nContact: <sip:alice@203.0.113.1>\nExpires: 3600"))
    phone = Dialog.of_callee(subscribe)
    for _ in range(3):
        lab.advance(3000)
        registered(lab)
        lab.p.send(phone.request("NOTIFY", CONTACT, ACTIVE), to=phone.next_hop)
        notify = lab.w.sees("NOTIFY sip:carol@203.0.113.51 SIP/2.0\nContact: <sip:alice@203.0.113.1>")
        lab.w.send(answer(notify, "200 OK"))
        lab.p.sees("SIP/2.0 200 OK")
        lab.w.send(dialog.request("SUBSCRIBE", "Contact: <sip:carol@203.0.113.51>"), to=dialog.next_hop)
        refresh = lab.p.sees("SUBSCRIBE sip:alice@10.0.0.10:5062 SIP/2.0")
        lab.p.send(answer(refresh, "200 OK", CONTACT))
        lab.w.sees("SIP/2.0 200 OK")


@on("udp", "udp-tls")
def test_n37_a_forked_subscription(lab):
    """Notifications of a second notifier, in a dialog of its own, reach the phone, too."""
    subscribe = asked(lab)
    other = Dialog.of_callee(subscribe, tag="t2")
    lab.v.send(answer(subscribe, "200 OK", f"Contact: {SERVER}"))
    lab.p.sees("SIP/2.0 200 OK")
    notified(lab, other)
    assert values(subscribe, "Call-ID") == ["lamp"]
