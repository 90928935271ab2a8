# SPDX-License-Identifier: MIT
"""The location service: who is found under which URI, and siproxd's registration file."""

from __future__ import annotations

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
