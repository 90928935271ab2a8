# SPDX-License-Identifier: MIT
"""The registration file as text: siproxd's format, and what follows it."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.bindings import Binding
from siproxd_tw.proxy.regformat import SLOTS, dumps, loads
from siproxd_tw.sip.uri import SIPURI, parse_uri
from tests.support.generated import sip_uris

NOW = 1_800_000_000.0


def uri(text: str | bytes) -> SIPURI:
    found = parse_uri(text.encode() if isinstance(text, str) else text)
    assert isinstance(found, SIPURI)
    return found


def binding(
    contact: str = "sip:alice@10.0.0.10:5062",
    aor: str = "sip:alice@sip.provider.test",
    masked: str = "sip:alice@203.0.113.1",
    source: Address | None = None,
    expires: float = NOW + 60,
    instance: bytes = b"",
) -> Binding:
    return Binding(
        uri(contact), contact.encode(), uri(aor), uri(masked), expires, source=source, instance=instance
    )


SIPROXDS = (
    b"****:1:1800003600\n"
    b"sip:alice@10.0.0.10:5062;line=x\n"
    b"sip:alice@203.0.113.1\n"
    b"sip:alice@sip.provider.test\n"
    b"****:0:0\n"
    b"****:1:1800000120\n"
    b"sip:bob@10.0.0.11\n"
    b"sip:bob@foo.test\n"
    b"sip:bob@foo.test\n" + b"****:0:0\n" * 509
)


def told(bindings: list[Binding]) -> list[tuple[bytes, bytes, bytes, float]]:
    return [(b.contact_text, bytes(b.masked), bytes(b.aor), b.expires) for b in bindings]


def test_a_file_of_siproxd() -> None:
    """512 slots, two of them in use: who registered elsewhere, and who registered here."""
    bindings, problems = loads(SIPROXDS)
    assert problems == []
    assert told(bindings) == [
        (
            b"sip:alice@10.0.0.10:5062;line=x",
            b"sip:alice@203.0.113.1",
            b"sip:alice@sip.provider.test",
            1800003600,
        ),
        (b"sip:bob@10.0.0.11", b"sip:bob@foo.test", b"sip:bob@foo.test", 1800000120),
    ]
    assert [b.local for b in bindings] == [False, True]
    assert all(b.source is None for b in bindings)


def test_what_is_written_is_siproxds_format() -> None:
    """The slots in use first, then the free ones up to 512, every line ended."""
    bindings, _ = loads(SIPROXDS)
    lines = dumps(bindings).split(b"\n")
    assert lines[:5] == [*SIPROXDS.split(b"\n")[:4], b"****:1:1800000120"]
    assert [line for line in lines if line.startswith(b"****:")] == [
        b"****:1:1800003600",
        b"****:1:1800000120",
        *[b"****:0:0"] * (SLOTS - 2),
    ]
    assert lines[-1] == b""
    assert dumps([]) == b"****:0:0\n" * 512


def test_line_ends_of_another_system() -> None:
    """CRLF makes no difference, and neither does a missing last line end."""
    assert told(loads(SIPROXDS.replace(b"\n", b"\r\n"))[0]) == told(loads(SIPROXDS)[0])
    record = b"\n".join(SIPROXDS.split(b"\n")[:4])
    assert len(loads(record)[0]) == 1


def test_long_uris() -> None:
    """Where siproxd lost every line above 127 characters and all that followed, length does not matter."""
    long = binding(f"sip:{'a' * 3000}@10.0.0.10;line={'x' * 3000}")
    assert told(loads(dumps([long, binding()]))[0]) == told([long, binding()])


def test_more_phones_than_siproxd_has_slots() -> None:
    """600 bindings are 600 records."""
    many = [binding(f"sip:u{n}@10.0.0.10") for n in range(600)]
    assert told(loads(dumps(many))[0]) == told(many)


def test_a_damaged_record_costs_that_record_only() -> None:
    """What is wrong is named with its line; the records around it are read."""
    good = b"****:1:1800003600\nsip:%d@10.0.0.10\nsip:a@203.0.113.1\nsip:a@p.test\n"
    broken = {
        b"****:1:soon\nsip:x@h\nsip:x@h\nsip:x@h\n": "line 5: expected seconds since 1970, not b'soon'",
        b"****:1:1800003600\nsip:x@h\n": "line 5: expected three URIs",
        b"****:1:1800003600\n\nsip:x@h\nsip:x@h\n": "line 5: not a SIP URI: b''",
        b"****:1:1800003600\ntel:+49\nsip:x@h\nsip:x@h\n": "line 5: expected a sip: URI, not b'tel:+49'",
        b"no slot\n": "line 5: expected a slot",
        b"****:1:" + b"9" * 400 + b"\nsip:x@h\nsip:x@h\nsip:x@h\n": "line 5: ",
    }
    for damage, expected in broken.items():
        bindings, problems = loads(good % 1 + damage + good % 2)
        assert [b.contact_text for b in bindings] == [b"sip:1@10.0.0.10", b"sip:2@10.0.0.10"], damage
        assert len(problems) == 1
        assert problems[0].startswith(expected), problems


def test_a_file_that_was_cut_off() -> None:
    """The last record of a file cut in the middle is reported, the ones before it are there."""
    whole = dumps([binding(), binding("sip:bob@10.0.0.11")])
    bindings, problems = loads(whole[: whole.index(b"sip:bob") + 3])
    assert len(bindings) == 1
    assert len(problems) == 1


@given(st.lists(st.tuples(sip_uris, sip_uris, sip_uris, st.integers(0, 2**40)), max_size=4))
def test_what_is_written_is_read_again(records: list[tuple[bytes, bytes, bytes, int]]) -> None:
    """loads(dumps(x)) is x, Contacts byte for byte, whatever the URIs look like."""
    bindings = [
        Binding(uri(contact), contact, uri(aor), uri(masked), expires + 0.5)
        for contact, masked, aor, expires in records
    ]
    again, problems = loads(dumps(bindings))
    assert problems == []
    assert [(b.contact_text, b.contact, b.masked, b.aor, b.expires) for b in again] == [
        (b.contact_text, b.contact, b.masked, b.aor, int(b.expires)) for b in bindings
    ]


_pieces = st.sampled_from(
    [
        b"****:1:",
        b"****:0:0",
        b"****:",
        b"1800000000",
        b"9" * 5000,
        b"-1",
        b"\n",
        b"\r\n",
        b"\x00",
        b"sip:a@h",
        b"x:",
    ]
)


@given(st.one_of(st.binary(max_size=200), st.lists(_pieces, max_size=20).map(b"".join)))
@example(b"****:1:" + b"9" * 400 + b"\nsip:a@h\nsip:a@h\nsip:a@h\n")
def test_nothing_in_a_file_makes_it_raise(text: bytes) -> None:
    """Random bytes and random pieces of records give bindings and problems, never an exception."""
    bindings, problems = loads(text)
    assert all(isinstance(b.expires, float) for b in bindings)
    assert all(isinstance(problem, str) for problem in problems)
    dumps(bindings)


@given(st.data())
def test_damage_anywhere(data: st.DataObject) -> None:
    """One octet changed in a good file, other than a line end, costs one record at most."""
    whole = dumps([binding(f"sip:u{n}@10.0.0.10") for n in range(3)])[:400]
    at = data.draw(st.sampled_from([at for at, octet in enumerate(whole) if octet != 0x0A]))
    damaged = whole[:at] + data.draw(st.binary(min_size=1, max_size=1)) + whole[at + 1 :]
    bindings, _ = loads(damaged)
    assert len({b"sip:u%d@10.0.0.10" % n for n in range(3)} & {b.contact_text for b in bindings}) >= 2


def test_who_was_registered_here_is_known_by_his_mask() -> None:
    """A domain stands for him outside, the one of mask_host too; others have our address."""
    text = b"****:1:1800000120\nsip:a@10.0.0.11\n%b\nsip:a@foo.test\n"
    masks = (b"sip:a@foo.test", b"sip:a@shown.test", b"sip:a@203.0.113.1")
    assert [loads(text % mask)[0][0].local for mask in masks] == [True, True, False]
