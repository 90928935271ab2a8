# SPDX-License-Identifier: MIT
"""The registration file as text: siproxd's format, and what follows it."""

from __future__ import annotations

from dataclasses import fields

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address, Side
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
    long, short = binding(f"sip:{'a' * 3000}@10.0.0.10;line={'x' * 3000}"), binding()
    long.since, short.since = NOW - 2, NOW - 1
    text = dumps([long, short])
    assert told(loads(text)[0]) == told([long, short])
    assert text.index(short.contact_text) < text.index(b"aaa"), "siproxd reads as far as it can"


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


# what follows the slots


def full(number: int = 1) -> Binding:
    """Return a binding with a value of its own in every field."""
    each = binding(f"sip:u{number}@192.168.7.7:5062;x=1", source=Address("10.0.0.20", 1024))
    each.local, each.side, each.transport, each.relayed = True, Side.OUTSIDE, "WSS", True
    each.instance, each.reg_id, each.q = b'"<urn:uuid:\xe9\\">"', b"2", 0.25
    each.call_id, each.cseq, each.since = b"c\xff@h", 2**31, NOW - 0.5
    each.path = (b"<sip:p@10.0.0.5;lr;ob>", b"<sip:[2001:db8::1];lr>")
    return each


def facts(each: Binding) -> dict[str, object]:
    return {f.name: getattr(each, f.name) for f in fields(Binding)}


def test_everything_survives() -> None:
    """Each field of a binding, none at its default, and the order of the bindings."""
    kept, plain = full(), binding("sip:later@10.0.0.11")
    plain.since = NOW
    shared = {name for name, value in facts(kept).items() if value == facts(binding("sip:x@h"))[name]}
    assert shared == {"aor", "masked", "expires", "user", "masked_user"}
    again, problems = loads(dumps([kept, plain]))
    assert problems == []
    assert [facts(each) for each in again] == [facts(kept), facts(plain)]
    assert again[0].is_behind_nat


def test_siproxd_sees_its_own_format() -> None:
    """Its 512 slots come first; the lines after them it never reads."""
    text = dumps([full(1), full(2)])
    slots, _, more = text.partition(b"++++:")
    assert slots.count(b"****:") == SLOTS
    assert slots.split(b"\n")[:5] == [
        b"****:1:1800000060",
        b"sip:u1@192.168.7.7:5062;x=1",
        b"sip:alice@203.0.113.1",
        b"sip:alice@sip.provider.test",
        b"****:1:1800000060",
    ]
    assert b"****:" not in more
    assert all(len(line) < 127 for line in slots.split(b"\n"))


def test_what_siproxd_wrote_in_between() -> None:
    """Without the lines behind the slots, and for a record that was edited, the rest is unknown again."""
    text = dumps([full()])
    plain = facts(loads(text[: text.index(b"++++:")])[0][0])
    assert (plain["source"], plain["transport"], plain["call_id"]) == (None, "UDP", b"")
    edited, problems = loads(text.replace(b"sip:u1@192.168.7.7:5062;x=1", b"sip:u1@10.0.0.77"))
    assert problems == []
    assert (edited[0].source, edited[0].contact.host) == (None, "10.0.0.77")


def test_two_records_that_are_alike() -> None:
    """Each has its own line, in order."""
    one, two = full(), full()
    one.call_id, two.call_id = b"first", b"second"
    assert [each.call_id for each in loads(dumps([one, two]))[0]] == [b"first", b"second"]


@pytest.mark.parametrize(
    "text",
    [
        b"++++:",
        b"++++:00",
        b"++++:00:",
        b"++++:00:[1]",
        b"++++:00:" + b"[" * 100_000,
        b"++++:00:" + b'{"q":' + b"9" * 5000 + b"}",
        *(
            b"++++:00:{%b}" % fact
            for fact in (
                b'"local":1',
                b'"transport":"SMOKE"',
                b'"transport":[]',
                b'"side":"above"',
                b'"side":[]',
                b'"since":NaN',
                b'"since":"x"',
                b'"q":2',
                b'"cseq":-1',
                b'"cseq":true',
                b'"source":"10.0.0.1"',
                b'"source":["phone.local",1]',
                b'"source":["10.0.0.1",65536]',
                b'"source":["10.0.0.1"]',
                b'"call_id":"a\\r\\nVia: x"',
                b'"call_id":7',
                b'"call_id":"\\u20ac"',
                b'"instance":"\\"a\\r\\nb\\""',
                b'"instance":"a,b"',
                b'"reg_id":"1;x"',
                b'"path":["sip:a@h"]',
                b'"path":["<sip:a@h>\\r\\n"]',
                b'"path":["<tel:1>"]',
                b'"path":{}',
            )
        ),
    ],
)
def test_damage_behind_the_slots(text: bytes) -> None:
    """One problem that names the line; the records stay, and nothing comes out that `dumps` did not write."""
    whole = dumps([binding()])
    bindings, problems = loads(whole + text + b"\n")
    assert told(bindings) == told([binding()])
    assert len(problems) == 1
    assert problems[0].startswith(f"line {whole.count(10) + 1}: ")


def test_a_fact_of_a_later_version() -> None:
    """Unknown names are passed over."""
    text = dumps([full()]).replace(b'{"local"', b'{"colour":"blue","local"')
    again, problems = loads(text)
    assert problems == []
    assert facts(again[0]) == facts(full())


def test_six_hundred_phones_keep_their_facts() -> None:
    """With more slots than siproxd has, nothing is mixed up."""
    many = [full(number) for number in range(600)]
    again, problems = loads(dumps(many))
    assert problems == []
    assert [facts(each) for each in again] == [facts(each) for each in many]
