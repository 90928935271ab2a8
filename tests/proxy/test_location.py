# SPDX-License-Identifier: MIT
"""The location service: who is found under which URI, and siproxd's registration file."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.location import GRACE, SLOTS, Binding, Location, dumps, loads
from siproxd_tw.sip.grammar import unescape
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


def located(*bindings: Binding) -> Location:
    location = Location()
    for each in bindings:
        location.add(each)
    return location


# finding


def test_a_phone_is_found_by_each_of_its_names() -> None:
    """By its masqueraded URI, its address of record, its user alone, and by the host it is at."""
    alice = binding(masked="sip:alice~1f@203.0.113.1", source=Address("10.0.0.99", 5062))
    location = located(alice)
    assert location.masked(uri("sip:alice~1f@203.0.113.1"), NOW) is alice
    assert location.of(uri("sip:alice@sip.provider.test"), NOW) == [alice]
    assert location.with_user(b"alice", NOW) == [alice]
    assert location.knows_host("10.0.0.10")
    assert location.knows_host("10.0.0.99")


def test_and_by_no_other() -> None:
    """The token is no user of an address of record, another domain is another address of record."""
    location = located(binding(masked="sip:alice~1f@203.0.113.1"))
    assert location.masked(uri("sip:alice@203.0.113.1"), NOW) is None
    assert location.of(uri("sip:alice@sip.other.test"), NOW) == []
    assert location.of(uri("sip:Alice@sip.provider.test"), NOW) == []
    assert location.with_user(b"alice~1f", NOW) == []
    assert not location.knows_host("10.0.0.11")


def test_an_escaped_user_is_the_same_user() -> None:
    """``%61lice`` is alice (RFC 3261 19.1.4), whoever of the two wrote it that way."""
    alice = binding(aor="sip:%61lice@sip.provider.test", masked="sip:%61lice@203.0.113.1")
    location = located(alice)
    assert location.of(uri("sip:alice@sip.provider.test"), NOW) == [alice]
    assert location.masked(uri("sip:al%69ce@203.0.113.1"), NOW) is alice
    assert location.with_user(b"alice", NOW) == [alice]


def test_newest_last() -> None:
    """Of several phones of one address of record the one that registered last is the last."""
    first, second = binding(), binding("sip:alice@10.0.0.11", masked="sip:alice~2@203.0.113.1")
    location = located(first, second)
    assert location.of(first.aor, NOW) == [first, second]
    location.add(first)
    assert location.of(first.aor, NOW) == [second, first]
    assert len(location) == 2


def test_a_removed_phone_leaves_nothing_behind() -> None:
    """Every index forgets it; removing it twice does nothing."""
    alice, bob = binding(), binding("sip:bob@10.0.0.10", "sip:bob@sip.provider.test", "sip:bob@203.0.113.1")
    location = located(alice, bob)
    location.remove(alice)
    location.remove(alice)
    assert list(location) == [bob]
    assert location.knows_host("10.0.0.10")
    location.remove(bob)
    assert not location.knows_host("10.0.0.10")
    assert location._by_user == {} == location._by_host


def test_a_binding_outlives_its_expiry_by_the_grace() -> None:
    """Until then it is found and kept, after it neither, and `expire` hands it out."""
    alice = binding(expires=NOW)
    location = located(alice)
    for at in (NOW, NOW + GRACE):
        assert location.of(alice.aor, at) == [alice]
        assert location.masked(alice.masked, at) is alice
        assert location.with_user(b"alice", at) == [alice]
        assert location.expire(at) == []
    late = NOW + GRACE + 0.1
    assert location.of(alice.aor, late) == []
    assert location.masked(alice.masked, late) is None
    assert location.with_user(b"alice", late) == []
    assert location.expire(late) == [alice]
    assert len(location) == 0


def test_local_domains() -> None:
    """A domain is ours while we are the registrar of somebody in it."""
    here, elsewhere = binding(aor="sip:alice@foo.test"), binding(aor="sip:alice@sip.provider.test")
    here.local = True
    location = located(here, elsewhere)
    assert location.is_local_domain("foo.test")
    assert not location.is_local_domain("sip.provider.test")
    location.add(here)
    location.remove(here)
    assert not location.is_local_domain("foo.test")


# which binding a Contact means


def test_behind_goes_by_user_and_host_of_the_contact() -> None:
    """Port and parameters may differ: phones change them from message to message."""
    alice = binding("sip:alice@10.0.0.10:5062;line=1")
    location = located(alice)
    from_phone = Address("10.0.0.10", 5062)
    assert location.behind(uri("sip:alice@10.0.0.10:6000"), None, from_phone) is alice
    assert location.behind(uri("sip:al%69ce@10.0.0.10;ob"), None, from_phone) is alice
    assert location.behind(uri("sip:bob@10.0.0.10"), None, from_phone) is None
    assert location.behind(uri("sip:alice@10.0.0.11"), None, from_phone) is None


def test_behind_tells_two_accounts_of_one_line_apart() -> None:
    """One phone with the same Contact at two providers: the message's own address of record decides."""
    here = binding("sip:line1@10.0.0.10", "sip:alice@sip.provider.test")
    there = binding("sip:line1@10.0.0.10", "sip:alice@sip.other.test", "sip:alice~2@203.0.113.1")
    location = located(here, there)
    source = Address("10.0.0.10", 5060)
    assert location.behind(here.contact, uri("sip:alice@sip.provider.test"), source) is here
    assert location.behind(here.contact, uri("sip:alice@sip.other.test"), source) is there
    assert location.behind(here.contact, uri("sip:anonymous@anonymous.invalid"), source) is there


def test_behind_a_router_of_its_own() -> None:
    """A phone behind another NAT is known by its source, if the Contact is the registered one."""
    alice = binding("sip:alice@192.168.7.7", source=Address("10.0.0.20", 1024))
    location = located(alice)
    assert location.behind(alice.contact, None, Address("10.0.0.20", 1024)) is alice
    assert location.behind(uri("sip:alice@192.168.7.8"), None, Address("10.0.0.20", 1024)) is None
    assert location.behind(uri("sip:alice@10.0.0.20"), None, Address("10.0.0.20", 1025)) is None


def test_destination() -> None:
    """The Contact, or the source when the Contact is on another host."""
    assert binding(source=Address("10.0.0.10", 9)).destination == ("10.0.0.10", 5062)
    assert binding("sip:a@192.168.7.7", source=Address("10.0.0.20", 1024)).destination == ("10.0.0.20", 1024)
    assert binding("sip:a@192.168.7.7").destination == ("192.168.7.7", None)


def test_same_phone() -> None:
    """The instance decides where both have one, else the source, else user and host of the Contact."""
    source = Address("10.0.0.10", 5062)
    known = binding(source=source, instance=b'"<urn:uuid:1>"')
    contact = uri("sip:other@10.0.0.77")
    assert known.is_same_phone(contact, None, b'"<urn:uuid:1>"')
    assert not known.is_same_phone(known.contact, source, b'"<urn:uuid:2>"')
    assert known.is_same_phone(contact, source, b"")
    assert not known.is_same_phone(contact, Address("10.0.0.10", 5063), b"")
    assert known.is_same_phone(uri("sip:alice@10.0.0.10:7000"), Address("10.0.0.10", 7000), b"")
    assert not known.is_same_phone(uri("sip:alice@10.0.0.11"), Address("10.0.0.11", 5062), b"")


# masqueraded users


def free(user: bytes) -> bool:
    """No user is taken by anything but the bindings."""
    return False


def test_mask_is_the_user_of_the_address_of_record() -> None:
    """The form of siproxd, as long as nobody else has it; escapes stay as they are."""
    mask = Location().mask_for(
        uri("sip:%61lice:pw@sip.provider.test:99;x=1"), uri("sip:a@10.0.0.10"), "203.0.113.1", 5070, free
    )
    assert bytes(mask) == b"sip:%61lice@203.0.113.1:5070"


def test_mask_of_the_second_phone_has_a_token() -> None:
    """The token comes of phone and account; without the first phone there is none."""
    first = binding()
    location = located(first)
    aor, contact = uri("sip:alice@sip.other.test"), uri("sip:alice@10.0.0.11")
    mask = location.mask_for(aor, contact, "203.0.113.1", None, free)
    assert mask.user is not None
    assert mask.user.startswith(b"alice~")
    assert mask == location.mask_for(aor, contact, "203.0.113.1", None, free)
    assert mask != location.mask_for(aor, uri("sip:alice@10.0.0.12"), "203.0.113.1", None, free)
    assert mask != location.mask_for(first.aor, contact, "203.0.113.1", None, free)
    location.remove(first)
    assert location.mask_for(aor, contact, "203.0.113.1", None, free).user == b"alice"


def test_a_mask_that_is_taken_is_not_given_again() -> None:
    """Neither the plain user nor any token: three phones behind one NAT may look alike."""
    location = Location()
    aor, contact = uri("sip:%61lice@sip.provider.test"), uri("sip:alice@192.168.1.2")
    given: list[bytes] = []
    for _ in range(3):
        mask = location.mask_for(aor, contact, "203.0.113.1", None, lambda user: user in given)
        given.append(unescape(mask.user or b""))
    assert given[0] == b"alice"
    assert len(set(given)) == 3


def test_who_was_registered_here_is_known_by_his_mask() -> None:
    """A domain stands for him outside, the one of mask_host too; others have our address."""
    text = b"****:1:1800000120\nsip:a@10.0.0.11\n%b\nsip:a@foo.test\n"
    masks = (b"sip:a@foo.test", b"sip:a@shown.test", b"sip:a@203.0.113.1")
    assert [loads(text % mask)[0][0].local for mask in masks] == [True, True, False]


# the registration file

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
