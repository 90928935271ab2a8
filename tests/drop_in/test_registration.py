# SPDX-License-Identifier: MIT
"""TC01 to TC07, without TC06 (test_authentication.py): phones register through the proxy, or with it."""

from __future__ import annotations

import pytest

from tests.support.calls import is_reachable, registered, registered_here
from tests.support.messages import answer, register, uri_in, values
from tests.support.networks import BOTH, DATAGRAMS, EVERYWHERE, MIXED

pytestmark = BOTH

REGISTER = """
    REGISTER sip:sip.provider.test SIP/2.0
    Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKreg1
    Max-Forwards: 70
    From: <sip:alice@sip.provider.test>;tag=ft1
    To: <sip:alice@sip.provider.test>
    Call-ID: reg1
    CSeq: 1 REGISTER
    Contact: <sip:alice@10.0.0.10:5062>
    Expires: 3600
    User-Agent: Phone/1.0
    """

MASKED = "sip:alice@203.0.113.1"
FOREIGN = "<sip:alice@198.51.100.9:5070>;expires=300"


@EVERYWHERE
def test_tc01_register_is_passed_on(lab):
    """A REGISTER for a provider goes there with our Via and our address in place of the phone's."""
    lab.p.send(REGISTER)
    lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKreg1
        Max-Forwards: 69
        From: <sip:alice@sip.provider.test>;tag=ft1
        To: <sip:alice@sip.provider.test>
        Call-ID: reg1
        CSeq: 1 REGISTER
        Contact: <sip:alice@203.0.113.1>
        Expires: 3600
        User-Agent: Phone/1.0
        Content-Length: 0
        no Record-Route
        """)
    lab.p.nothing()


@DATAGRAMS
def test_tc01_retransmission(lab):
    """The phone's retransmission is absorbed; ours, by timer E, has every byte of the first."""
    sent = lab.p.send(REGISTER)
    first = lab.v.datagram()
    lab.p.send(sent)
    lab.v.nothing()
    lab.advance(0.5)
    assert lab.v.datagram().data == first.data
    lab.advance(1.0)
    assert lab.v.datagram().data == first.data
    lab.v.nothing()


@EVERYWHERE
def test_tc02_its_200(lab):
    """The phone gets its own Contact back, foreign ones stay, and the binding lives as long as granted."""
    lab.p.send(REGISTER)
    passed_on = lab.v.receive()
    lab.v.send(answer(passed_on, "200 OK", f"Contact: <{MASKED}>;expires=600", f"Contact: {FOREIGN}"))
    lab.p.sees(f"""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKreg1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        From: <sip:alice@sip.provider.test>;tag=ft1
        To: <sip:alice@sip.provider.test>;tag=t1
        Call-ID: reg1
        CSeq: 1 REGISTER
        Contact: <sip:alice@10.0.0.10:5062>;expires=600
        Contact: {FOREIGN}
        """)
    lab.advance(590)
    assert is_reachable(lab, lab.p, MASKED)
    lab.advance(20)
    assert not is_reachable(lab, lab.p, MASKED)


@DATAGRAMS
@pytest.mark.parametrize("separate", [True, False], ids=["lines", "list"])
def test_tc02_only_our_own_contact_of_several(lab, separate):
    """Foreign bindings of the account stay where they are, in separate lines and in one list.

    The lifetime is that of our own binding, not that of the account's other phones.
    """
    lab.p.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062;line=7f>"))
    passed_on = lab.v.receive()
    (ours,) = values(passed_on, "Contact")
    contacts = [FOREIGN, f"{ours};expires=120", "<sip:other@198.51.100.7>;expires=3600"]
    lines = (
        [f"Contact: {contact}" for contact in contacts] if separate else ["Contact: " + ", ".join(contacts)]
    )
    lab.v.send(answer(passed_on, "200 OK", *lines))
    lab.p.sees(f"""
        SIP/2.0 200 OK
        Contact: {FOREIGN}, <sip:alice@10.0.0.10:5062;line=7f>;expires=120, {contacts[2]}
        """)
    lab.advance(110)
    assert is_reachable(lab, lab.p, uri_in(ours), "sip:alice@10.0.0.10:5062;line=7f")
    lab.advance(20)
    assert not is_reachable(lab, lab.p, uri_in(ours))


@MIXED
def test_tc03_a_challenge_makes_no_binding(lab):
    """A 401 passes with its challenge intact, and nobody can reach a phone that is not registered."""
    challenge = 'Digest realm="x", nonce="abc", algorithm=MD5, qop="auth"'
    lab.p.send(REGISTER)
    lab.v.send(answer(lab.v.receive(), "401 Unauthorized", f"WWW-Authenticate: {challenge}"))
    lab.p.sees(f"""
        SIP/2.0 401 Unauthorized
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKreg1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        WWW-Authenticate: {challenge}
        """)
    assert not is_reachable(lab, lab.p, MASKED)
    lab.w.send("""
        INVITE sip:alice@203.0.113.1 SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        Max-Forwards: 70
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>
        Call-ID: call2
        CSeq: 1 INVITE
        Contact: <sip:carol@203.0.113.51>
        """)
    lab.w.sees("""
        SIP/2.0 404 Not Found
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
        From: <sip:carol@sip.other.test>;tag=w1
        To: <sip:alice@sip.provider.test>;tag=…
        Call-ID: call2
        CSeq: 1 INVITE
        Content-Length: 0
        """)


@DATAGRAMS
@pytest.mark.parametrize("status", ["403 Forbidden", "423 Interval Too Brief", "500 Server Internal Error"])
def test_tc03_a_refusal_makes_no_binding(lab, status):
    """Neither does any other refusal; what it says, such as Min-Expires, passes."""
    lab.p.send(REGISTER)
    lab.v.send(answer(lab.v.receive(), status, "Min-Expires: 7200"))
    lab.p.sees(f"""
        SIP/2.0 {status}
        Min-Expires: 7200
        """)
    assert not is_reachable(lab, lab.p, MASKED)


def test_tc03_a_refused_refresh_leaves_the_binding(lab):
    """A phone that is registered and is asked for credentials at its refresh stays reachable."""
    registered(lab, expires=600)
    lab.p.send(REGISTER)
    lab.v.send(answer(lab.v.receive(), "401 Unauthorized"))
    lab.p.sees("SIP/2.0 401 …")
    lab.advance(500)
    assert is_reachable(lab, lab.p, MASKED)


@DATAGRAMS
@pytest.mark.parametrize(
    ("headers", "lifetime"),
    [
        ((f"Contact: <{MASKED}>;expires=600",), 600),
        ((f"Contact: <{MASKED}>", "Expires: 500"), 500),
        ((f"Contact: <{MASKED}>;expires=400", "Expires: 500"), 400),
        ((f"Contact: <{MASKED}>",), 3600),
        ((), 3600),
        (("Expires: 500",), 500),
        (("Contact: <sip:alice@198.51.100.9>;expires=300",), 3600),
    ],
    ids=["parameter", "header", "both", "neither", "no Contact", "no Contact but Expires", "other Contact"],
)
def test_tc04_lifetimes(lab, headers, lifetime):
    """The 2xx says how long: parameter, else header, else what was asked for; without our Contact too."""
    lab.p.send(REGISTER)
    lab.v.send(answer(lab.v.receive(), "200 OK", *headers))
    lab.p.sees("SIP/2.0 200 OK")
    lab.advance(lifetime - 10)
    assert is_reachable(lab, lab.p, MASKED)
    lab.advance(20)
    assert not is_reachable(lab, lab.p, MASKED)


def test_tc04_a_shorter_lifetime_counts(lab):
    """A refresh that is granted less time than is left makes the binding shorter."""
    registered(lab, expires=3600)
    registered(lab, expires=60)
    lab.advance(55)
    assert is_reachable(lab, lab.p, MASKED)
    lab.advance(20)
    assert not is_reachable(lab, lab.p, MASKED)


@EVERYWHERE
def test_tc05_registrar(lab):
    """A REGISTER for a domain that is the proxy itself is answered here and goes no further."""
    lab.p.send(register("alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>", "Expires", "Call-ID: reg1"))
    lab.p.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKP1
        From: <sip:alice@foo.bar.test>;tag=r1
        To: <sip:alice@foo.bar.test>;tag=…
        Call-ID: reg1
        CSeq: 1 REGISTER
        Contact: <sip:alice@10.0.0.10:5062>;expires=3600
        Expires: 3600
        Content-Length: 0
        """)
    lab.v.nothing()
    lab.p.send("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Max-Forwards: 70
        From: <sip:alice@foo.bar.test>;tag=a1
        To: <sip:bob@sip.provider.test>
        Call-ID: c1
        CSeq: 1 OPTIONS
        Contact: <sip:alice@10.0.0.10:5062>
        """)
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Contact: <sip:alice@foo.bar.test>
        """)


def test_tc05_callers_use_the_address_of_record(lab):
    """Whoever registered here is reachable at the address of record, and at our address."""
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062;uniq=1>")
    assert is_reachable(lab, lab.p, "sip:alice@foo.bar.test", "sip:alice@10.0.0.10:5062;uniq=1")
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1", "sip:alice@10.0.0.10:5062;uniq=1")


def test_tc05_a_lifetime_can_shrink(lab):
    """The registrar takes the last word of the phone, also when it is less."""
    lab.p.send(register("alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>", "Expires: 3600"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.p.send(register("alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>;expires=60", "CSeq: 2 REGISTER"))
    lab.p.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=60
        """)
    lab.advance(75)
    assert not is_reachable(lab, lab.p, "sip:alice@foo.bar.test")


def test_tc07a_unregister_of_a_stranger_is_passed_on(lab):
    """A phone that unregisters at boot gets the provider's answer, and no binding comes of it."""
    lab.q.send(register("bob@sip.provider.test", "<sip:bob@10.0.0.11>", "Expires: 0"))
    passed_on = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Via: SIP/2.0/UDP 203.0.113.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKQ1
        Contact: <sip:bob@203.0.113.1>
        Expires: 0
        """)
    lab.v.send(answer(passed_on, "200 OK"))
    lab.q.sees("""
        SIP/2.0 200 OK
        Via: SIP/2.0/UDP 10.0.0.11:5060;branch=z9hG4bKQ1
        no Contact
        """)
    assert not is_reachable(lab, lab.q, "sip:bob@203.0.113.1")


@MIXED
def test_tc07a_unregister(lab):
    """A binding ends with the 200 to its Expires: 0, not before."""
    registered(lab)
    lab.p.send(register("alice@sip.provider.test", "<sip:alice@10.0.0.10:5062>", "Expires: 0"))
    passed_on = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Contact: <sip:alice@203.0.113.1>
        Expires: 0
        """)
    assert is_reachable(lab, lab.p, MASKED)
    lab.v.send(answer(passed_on, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.advance(10)
    assert not is_reachable(lab, lab.p, MASKED)


@MIXED
def test_tc07b_query_here(lab):
    """A REGISTER without Contact asks what is registered: one 200 with all of it, nothing forwarded."""
    lab.q.send(register("alice@foo.bar.test", "", "Contact", "Expires"))
    lab.q.sees("""
        SIP/2.0 200 OK
        no Contact
        """)
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062;uniq=1>")
    lab.advance(600)
    lab.q.send(register("alice@foo.bar.test", "", "Contact", "Expires", "CSeq: 2 REGISTER"))
    lab.q.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062;uniq=1>;expires=3000
        """)
    lab.q.nothing()
    lab.v.nothing()


def test_tc07b_remove_all_here(lab):
    """`Contact: *` with Expires 0 removes the address of record's bindings; one 200, nothing forwarded."""
    lab.q.send(register("bob@foo.bar.test", "*", "Expires: 0"))
    lab.q.sees("""
        SIP/2.0 200 OK
        no Contact
        """)
    lab.q.nothing()
    registered_here(lab, lab.p, "alice@foo.bar.test", "<sip:alice@10.0.0.10:5062>")
    lab.p.send(register("alice@foo.bar.test", "*", "Expires: 0", "CSeq: 2 REGISTER"))
    lab.p.sees("""
        SIP/2.0 200 OK
        no Contact
        """)
    lab.p.nothing()
    assert not is_reachable(lab, lab.p, "sip:alice@foo.bar.test")
    lab.v.nothing()


def test_tc07b_query_at_the_provider(lab):
    """A query passes like any REGISTER and changes nothing here."""
    registered(lab)
    lab.p.send(register("alice@sip.provider.test", "", "Contact", "Expires", "CSeq: 2 REGISTER"))
    query = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        no Contact
        no Expires
        """)
    lab.v.send(answer(query, "200 OK", f"Contact: <{MASKED}>;expires=3000", f"Contact: {FOREIGN}"))
    lab.p.sees(f"""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=3000
        Contact: {FOREIGN}
        """)
    assert is_reachable(lab, lab.p, MASKED)


@MIXED
def test_tc07c_remove_all_at_the_provider(lab):
    """`Contact: *` of a registered phone is passed on as it is; its 200 ends the phone's binding only."""
    registered(lab)
    registered(lab, lab.q, "bob@sip.provider.test", "<sip:bob@10.0.0.11>")
    lab.p.send(register("alice@sip.provider.test", "*", "Expires: 0", "CSeq: 2 REGISTER"))
    remove = lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Contact: *
        Expires: 0
        """)
    lab.v.send(answer(remove, "200 OK"))
    lab.p.sees("SIP/2.0 200 OK")
    lab.advance(10)
    assert not is_reachable(lab, lab.p, MASKED)
    assert is_reachable(lab, lab.q, "sip:bob@203.0.113.1")
