# SPDX-License-Identifier: MIT
"""TC30, its part about registrations: siproxd's file is read, served at once, and written again.

A file is 512 records: ``****:<active>:<expires>`` and, where active, the phone's Contact, the
masqueraded URI and the address of record, one bare URI a line.
"""

from __future__ import annotations

import pytest

from tests.support.calls import is_reachable, registered, registered_here
from tests.support.lab import START
from tests.support.messages import request
from tests.support.networks import DATAGRAMS, EVERYWHERE, on

#: The records are those of UDP phones with IPv4; how others come back is told by test_tc30_restart.
pytestmark = on("udp", "udp-tcp")

UNUSED = "****:0:0\n"


def record(contact: str, masked: str, aor: str, expires: float = START + 3600, active: int = 1) -> str:
    """Return one record of the file."""
    return f"****:{active}:{int(expires)}\n{contact}\n{masked}\n{aor}\n"


JOE = record("sip:joe@10.0.0.10:5062;line=x", "sip:joe@203.0.113.1", "sip:joe@sip.provider.test")
EVE = record("sip:eve@10.0.0.11:5060", "sip:eve@foo.bar.test", "sip:eve@foo.bar.test")


@pytest.fixture
def file(tmp_path):
    """Return where the registrations are."""
    return tmp_path / "siproxd_registrations"


@pytest.fixture
def restarted(laboratory, file):
    """Open laboratories whose program has just started with what is in the file."""
    return lambda *directives: laboratory(f"registration_file = {file}", *directives)


def test_tc30_import(file, restarted):
    """What siproxd saved is served from the first packet on, unused rows or not."""
    file.write_text(UNUSED * 2 + JOE + UNUSED + EVE + UNUSED * 507)
    lab = restarted()
    lab.w.send(request("OPTIONS", "sip:joe@203.0.113.1", "From: <sip:carol@sip.other.test>;tag=w1"))
    lab.p.sees("""
        OPTIONS sip:joe@10.0.0.10:5062;line=x SIP/2.0
        Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
        Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKW1
        Record-Route: <sip:siproxd@10.0.0.1:5060;lr>
        """)
    assert is_reachable(lab, lab.q, "sip:eve@foo.bar.test", "sip:eve@10.0.0.11:5060")


def test_tc30_imported_phones_call_out(file, restarted):
    """A phone that is in the file need not register again before it calls."""
    file.write_text(JOE + UNUSED * 511)
    lab = restarted()
    contact = "Contact: <sip:joe@10.0.0.10:5062;line=x>"
    lab.p.send(request("OPTIONS", "sip:bob@sip.provider.test", contact))
    lab.v.sees("""
        OPTIONS sip:bob@sip.provider.test SIP/2.0
        Contact: <sip:joe@203.0.113.1>
        """)


def test_tc30_what_has_expired_is_not_served(file, restarted):
    """The lifetime goes on while nobody is there to serve; an inactive row is none."""
    file.write_text(
        record("sip:old@10.0.0.10", "sip:old@203.0.113.1", "sip:old@sip.provider.test", START - 60)
        + record("sip:gone@10.0.0.10", "sip:gone@203.0.113.1", "sip:gone@sip.provider.test", active=0)
        + record("sip:soon@10.0.0.10:5062", "sip:soon@203.0.113.1", "sip:soon@sip.provider.test", START + 60)
        + UNUSED * 509
    )
    lab = restarted()
    assert is_reachable(lab, lab.p, "sip:soon@203.0.113.1")
    assert not is_reachable(lab, lab.p, "sip:old@203.0.113.1")
    lab.advance(80)
    assert not is_reachable(lab, lab.p, "sip:soon@203.0.113.1")


def test_tc30_saved_when_it_stops(file, restarted):
    """The file that is left has the format that siproxd reads: 512 records, used ones with bare URIs."""
    lab = restarted()
    registered(lab, contact="<sip:alice@10.0.0.10:5062;line=x>", expires=600)
    registered_here(lab, lab.q, "bob@foo.bar.test", '"Bob" <sip:bob@10.0.0.11:5060>;q=0.5')
    lab.stop()
    text = file.read_text()
    assert text.count("****:") == 512
    alice = "sip:alice@10.0.0.10:5062;line=x", "sip:alice@203.0.113.1", "sip:alice@sip.provider.test"
    bob = "sip:bob@10.0.0.11:5060", "sip:bob@foo.bar.test", "sip:bob@foo.bar.test"
    assert record(*alice, START + 600) in text
    assert record(*bob, START + 3600) in text
    assert text.count(UNUSED) == 510


@EVERYWHERE
def test_tc30_restart(file, restarted):
    """What one run saves the next one serves; long URIs survive too. A connection is made to the Contact."""
    contact = f"sip:alice@10.0.0.20:5066;line={'y' * 300}"
    lab = restarted()
    phone = lab.party("L", "10.0.0.20", 5066, listens=True)
    registered(lab, phone, contact=f"<{contact}>")
    lab.stop()
    lab = restarted()
    phone = lab.party("L", "10.0.0.20", 5066, listens=True)
    assert is_reachable(lab, phone, "sip:alice@203.0.113.1", contact)


@on("tcp", "tls-udp")
def test_tc30_restart_without_the_connection(file, restarted):
    """A phone that nobody can connect to is away until it has registered again."""
    lab = restarted()
    registered(lab)
    lab.stop()
    lab = restarted()
    lab.w.send(request("OPTIONS", "sip:alice@203.0.113.1", "From: <sip:carol@sip.other.test>;tag=w1"))
    lab.advance(1)
    assert lab.w.receive().status in (480, 503)
    registered(lab)
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1")


@DATAGRAMS
def test_tc30_two_phones_that_siproxd_mixed_up(file, restarted):
    """One user at two providers has one masqueraded URI in siproxd's file; a REGISTER sets that right."""
    masked = "sip:100@203.0.113.1"
    file.write_text(
        record("sip:100@10.0.0.10:5062", masked, "sip:100@sip.provider.test")
        + record("sip:100@10.0.0.11:5060", masked, "sip:100@sip.other.test")
    )
    lab = restarted()
    one = registered(lab, lab.p, "100@sip.provider.test", "<sip:100@10.0.0.10:5062>")
    other = registered(lab, lab.q, "100@sip.other.test", "<sip:100@10.0.0.11:5060>", registrar=lab.w)
    assert is_reachable(lab, lab.p, one.strip("<>"))
    assert is_reachable(lab, lab.q, other.strip("<>"))


@DATAGRAMS
def test_tc30_autosave(file, restarted):
    """With autosave_registrations the file is true while the program runs."""
    lab = restarted("autosave_registrations = 10")
    registered(lab)
    lab.advance(15)
    assert (
        "sip:alice@10.0.0.10:5062\nsip:alice@203.0.113.1\nsip:alice@sip.provider.test\n" in file.read_text()
    )
    lab.advance(4000)
    assert "alice" not in file.read_text()


@DATAGRAMS
@pytest.mark.parametrize("damage", ["nonsense\n", "****:1:soon\nx\ny\nz\n", "\0\xff\n", "****:1:9\n\n\n\n"])
def test_tc30_a_damaged_file(file, restarted, damage):
    """A damaged record costs a warning, not the start, and not the records before it."""
    file.write_bytes((JOE + damage + UNUSED * 3).encode("latin-1"))
    lab = restarted()
    assert is_reachable(lab, lab.p, "sip:joe@203.0.113.1")
    registered(lab)


@DATAGRAMS
@pytest.mark.parametrize("left", [UNUSED * 300, "", "\n"], ids=["fewer records", "empty", "blank"])
def test_tc30_a_short_file(file, restarted, left):
    """A file with fewer records than siproxd's table, or none, is a table with fewer entries."""
    file.write_text(left)
    lab = restarted()
    registered(lab)
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1")


@DATAGRAMS
def test_tc30_a_file_that_cannot_be_written(tmp_path, laboratory):
    """A path that does not exist is a warning; the phones register all the same."""
    lab = laboratory(f"registration_file = {tmp_path}/nowhere/regs", "autosave_registrations = 10")
    registered(lab)
    lab.advance(20)
    assert is_reachable(lab, lab.p, "sip:alice@203.0.113.1")
    assert any("registrations" in line for line in lab.logged())
