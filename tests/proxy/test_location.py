# SPDX-License-Identifier: MIT
"""The location service: who is found under which URI, and siproxd's registration file."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address
from siproxd_tw.proxy.location import GRACE, Binding, Location
from siproxd_tw.sip.grammar import unescape
from siproxd_tw.sip.uri import SIPURI, parse_uri

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
    location.expire(NOW + 1000)
    assert not any(vars(location).values())


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
    """A phone behind another NAT is known by where it comes from and its Contact; the port there changes."""
    alice = binding("sip:alice@192.168.7.7", source=Address("10.0.0.20", 1024))
    location = located(alice)
    assert location.behind(alice.contact, None, Address("10.0.0.20", 1024)) is alice
    assert location.behind(alice.contact, None, Address("10.0.0.20", 1025)) is alice
    assert location.behind(alice.contact, None, Address("10.0.0.21", 1024)) is None
    assert location.behind(uri("sip:alice@192.168.7.8"), None, Address("10.0.0.20", 1024)) is None
    assert location.behind(uri("sip:alice@10.0.0.20"), None, Address("10.0.0.20", 1025)) is None


def test_behind_one_flow_it_is_one_phone() -> None:
    """A phone that has learnt its address behind the NAT says so in its calls: same flow, user, account."""
    alice = binding("sip:alice@192.168.7.7", source=Address("10.0.0.20", 1024))
    location = located(alice)
    contact = uri("sip:alice@10.0.0.20:1024")
    assert location.behind(contact, alice.aor, Address("10.0.0.20", 1024)) is alice
    assert location.behind(contact, uri("sip:bob@sip.provider.test"), Address("10.0.0.20", 1024)) is None
    assert location.behind(contact, alice.aor, Address("10.0.0.20", 1025)) is None


def test_two_phones_with_one_private_address() -> None:
    """Behind two NATs, on one account: the NAT tells them apart, whoever registered last."""
    one = binding("sip:alice@192.168.1.2", source=Address("10.0.0.20", 1024))
    two = binding("sip:alice@192.168.1.2", masked="sip:a~2@203.0.113.1", source=Address("10.0.0.21", 1024))
    location = located(one, two)
    for aor in (one.aor, None, uri("sip:anonymous@anonymous.invalid")):
        assert location.behind(one.contact, aor, Address("10.0.0.20", 5555)) is one
        assert location.behind(one.contact, aor, Address("10.0.0.21", 5555)) is two
    location.remove(two)
    assert location.behind(one.contact, one.aor, Address("10.0.0.21", 5555)) is None


def test_behind_goes_by_the_port_before_it_goes_by_age() -> None:
    """Two lines of one account on one host: the message names the one that it is from."""
    one, two = binding("sip:alice@10.0.0.10:5062"), binding("sip:alice@10.0.0.10:5064", masked="sip:a~2@h")
    location = located(one, two)
    source = Address("10.0.0.10", 5062)
    assert location.behind(uri("sip:alice@10.0.0.10:5062;ob"), one.aor, source) is one
    assert location.behind(uri("sip:alice@10.0.0.10:5064"), one.aor, source) is two
    assert location.behind(uri("sip:alice@10.0.0.10:9"), one.aor, source) is two


def test_a_phone_that_registered_through_a_proxy_and_calls_itself() -> None:
    """It speaks from the host of its Contact."""
    alice = binding("sip:alice@10.0.0.77", source=Address("10.0.0.5", 5060))
    assert located(alice).behind(alice.contact, alice.aor, Address("10.0.0.77", 5060)) is alice


def test_ipv6_addresses_are_compared_by_value() -> None:
    """However the phone and its account write them, and with the zone of a link-local source."""
    alice = binding("sip:alice@[2001:DB8:0:0::1]", aor="sip:alice@[2001:db8::5]")
    alice.source = Address("2001:db8::1", 5060)
    link = binding("sip:bob@[fe80::1]", "sip:bob@p.test", "sip:bob@h", source=Address("fe80::1%eth0", 5060))
    location = located(alice, link)
    assert not link.is_behind_nat
    assert location.of(uri("sip:alice@[2001:0db8::0005]"), NOW) == [alice]
    assert location.knows_host("2001:db8::1")
    assert location.knows_host("fe80::1%eth0")
    assert location.behind(uri("sip:alice@[2001:db8::1]"), None, Address("2001:db8::1", 1)) is alice


# many phones


def test_the_answer_is_the_same_among_many() -> None:
    """A thousand accounts with one user, one Contact and one source host: each account has its own phone."""
    source = Address("10.0.0.5", 5060)
    many = [
        binding("sip:s@10.0.0.5", f"sip:100@tenant{n}.test", f"sip:100~{n}@203.0.113.1", source)
        for n in range(1000)
    ]
    location = located(*many)
    for n in (0, 500, 999):
        assert location.of(many[n].aor, NOW) == [many[n]]
        assert location.masked(many[n].masked, NOW) is many[n]
        assert location.behind(many[n].contact, many[n].aor, source) is many[n]
    assert location.with_user(b"100", NOW) == many
    for each in many[1:]:
        location.remove(each)
    assert location.of(many[0].aor, NOW) == [many[0]]
    assert location.with_user(b"100", NOW) == [many[0]]


def test_expire_looks_at_what_is_due() -> None:
    """Nobody else's expiry is even read: it goes by a calendar."""

    class Watched(float):
        def __lt__(self, other: float) -> bool:
            raise AssertionError("looked at")

        def __add__(self, other: float) -> float:
            return float(self) + other

    due, later = binding(expires=NOW), binding(masked="sip:b@h", expires=Watched(NOW + 100))
    location = located(due, later)
    assert location.expire(NOW + GRACE + 0.1) == [due]
    assert location.expire(NOW + 50) == []
    assert list(location) == [later]


def test_lifetimes_of_centuries_do_not_fill_the_calendar() -> None:
    """A phone that asks for another lifetime each time leaves no trace of the ones before."""
    alice = binding()
    location = Location()
    for n in range(5000):
        location.remove(alice)
        alice.expires = NOW + 1000 * n
        location.add(alice)
    assert len(location._dates) < 1100
    assert len(location._calendar) == 1
    assert location.expire(NOW + 1000 * 5000) == [alice]


@given(
    st.lists(
        st.tuples(st.sampled_from(["add", "remove", "expire"]), st.integers(0, 5), st.integers(0, 30)),
        max_size=40,
    )
)
def test_every_index_says_the_same(steps: list[tuple[str, int, int]]) -> None:
    """Whatever is entered, taken out and expired: each question has the answer of a plain list."""
    now, location = NOW, Location()
    model: list[Binding] = []
    phones = [
        binding(f"sip:u{n % 2}@10.0.0.1{n % 3}", f"sip:a{n % 2}@p.test", f"sip:m{n % 4}@203.0.113.1")
        for n in range(6)
    ]
    for what, number, seconds in steps:
        phone = phones[number]
        if what == "add":
            location.remove(phone)
            phone.expires = now + seconds
            location.add(phone)
            model = [b for b in model if b is not phone] + [phone]
        elif what == "remove":
            location.remove(phone)
            model = [b for b in model if b is not phone]
        else:
            now += seconds
            assert set(location.expire(now)) == {b for b in model if b.expires + GRACE < now}
            model = [b for b in model if b.expires + GRACE >= now]
        live = [b for b in model if b.expires + GRACE >= now]
        assert list(location) == model
        for each in phones:
            assert location.of(each.aor, now) == [b for b in live if b.is_of(each.aor)]
            masked = [b for b in live if b.masked_user == each.masked_user]
            assert location.masked(each.masked, now) in (masked or [None])
            assert location.knows_host(each.contact.host) == any(
                b.contact.host == each.contact.host for b in model
            )
            rivals = [b for b in model if b is not each and b.masked_user == each.masked_user]
            assert location.shares_mask(each) == bool(rivals)


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
