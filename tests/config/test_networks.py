# SPDX-License-Identifier: MIT
"""Access lists: strict to write, and never open by a mistake."""

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.networks import AccessList, Network, parse


def understood(text: str) -> AccessList:
    """Parse a list that is right."""
    found, faults = parse(text)
    assert not faults and not found.incomplete
    return found


@pytest.mark.parametrize(
    ("text", "networks"),
    [
        ("10.0.0.10/32", ["10.0.0.10/32"]),
        ("10.0.0.0/8,172.16.0.0/12,192.168.0.0/16", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
        ("10.0.0.0/8 ,\t172.16.0.0/12 , 192.168.0.0 / 16", ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]),
        ("192.168.1.8/24", ["192.168.1.0/24"]),
        ("0.0.0.0/0", ["0.0.0.0/0"]),
        ("2001:db8::1/32, [fd00::]/8", ["2001:db8::/32", "fd00::/8"]),
        ("::ffff:10.0.0.1/104, ::ffff:0:0/95", ["10.0.0.0/8", "::fffe:0:0/95"]),
    ],
)
def test_networks_are_address_and_length(text: str, networks: list[str]) -> None:
    """Blanks around commas and host bits are fine; siproxd ends the list at such a blank."""
    assert understood(text).networks == tuple(map(ip_network, networks))


def test_a_list_matches_its_members() -> None:
    """The host is the source address of a packet, as text."""
    allowed = understood("10.0.0.0/24, 2001:db8::/32")
    assert allowed.matches("10.0.0.255")
    assert allowed.matches("2001:db8:ffff::1")
    assert not allowed.matches("10.0.1.0")
    assert not allowed.matches("2001:db9::")


def test_an_ipv4_address_from_an_ipv6_socket_is_itself() -> None:
    """A dual-stack socket reports IPv4 peers as mapped addresses; a deny list must catch them."""
    assert understood("10.0.0.0/24").matches("::ffff:10.0.0.1")
    assert not understood("::/0").matches("::ffff:10.0.0.1")


def test_an_address_may_carry_its_zone() -> None:
    """Link-local peers are reported with the interface."""
    assert understood("fe80::/10").matches("fe80::1%eth0")


@pytest.mark.parametrize("host", ["", "sip.example.org", "10.0.0", "10.0.0.1:5060", "[::1]"])
def test_what_is_no_address_matches_nothing(host: str) -> None:
    """Not even the list of everybody."""
    assert not understood("0.0.0.0/0, ::/0").matches(host)


@pytest.mark.parametrize(
    ("entry", "fault"),
    [
        ("", "an entry is empty"),
        ("10.0.0.1", "has no length, expected ADDRESS/LENGTH, did you mean 10.0.0.1/32"),
        ("::1", "did you mean ::1/128"),
        ("10.0.0.0/", "expected a length from 0 to 32"),
        ("10.0.0.0/abc", "expected a length from 0 to 32"),
        ("10.0.0.0/-1", "expected a length from 0 to 32"),
        ("10.0.0.0/33", "expected a length from 0 to 32"),
        ("::/129", "expected a length from 0 to 128"),
        ("10.0.0.0/8/8", "expected a length from 0 to 32"),
        ("192.168.1.0/255.255.255.0", "did you mean 192.168.1.0/24"),
        ("192.168.1.0/255.0.255.0", "expected a length from 0 to 32"),
        ("192.168.1.0/२४", "expected a length from 0 to 32"),
        ("/abc", "expected an address"),
        ("sip.example.org/32", "access lists do not look names up"),
        ("10.0.0/8", "has no valid address"),
        ("010.0.0.0/8", "has no valid address"),
        ("300.0.0.0/8", "has no valid address"),
        ("20g1::/16", "has no valid address"),
        ("fe80::1%eth0/64", "has a zone"),
        ("10.0.0.0/8;11.0.0.0/8", "expected a length from 0 to 32"),
        ("10.0.0.0 11.0.0.0/8", "expected commas"),
    ],
)
def test_a_wrong_entry_has_a_reason_and_opens_nothing(entry: str, fault: str) -> None:
    """In siproxd /abc matches everybody and most of the others end the list. Here they match nobody."""
    found, faults = parse(entry)
    assert len(faults) == 1 and fault in faults[0]
    assert found.networks == ()
    assert found, "an allow list in which every entry is wrong is still a list"
    assert not found.matches("10.0.0.1")


def test_the_entries_around_a_wrong_one_count() -> None:
    """A deny list goes on denying what it names."""
    denied, faults = parse("10.0.0.0/8,oops/8,11.0.0.0/8")
    assert len(faults) == 1
    assert denied.incomplete
    assert denied.matches("10.1.1.1") and denied.matches("11.1.1.1") and not denied.matches("12.1.1.1")


def test_a_list_that_nobody_asked_for_is_false() -> None:
    """It restricts nothing; whether it matches is then never asked."""
    assert not AccessList()
    assert not AccessList().matches("10.0.0.1")


def mapped(address: IPv4Address | IPv6Address) -> bool:
    """Return whether this is an IPv4 address in IPv6 clothes."""
    return isinstance(address, IPv6Address) and address.ipv4_mapped is not None


NETWORKS = st.lists(
    st.builds(
        lambda address, length: ip_network(f"{address}/{length % (address.max_prefixlen + 1)}", strict=False),
        st.ip_addresses().filter(lambda address: not mapped(address)),
        st.integers(0, 128),
    ),
    min_size=1,
    max_size=5,
)


@given(NETWORKS)
def test_a_list_is_written_as_it_is_read(networks: list[Network]) -> None:
    """Its text means the same list, and iterating gives its networks."""
    written = AccessList(tuple(networks))
    assert understood(str(written)) == written
    assert list(written) == networks
    assert all(written.matches(str(network[-1])) for network in networks if not mapped(network[-1]))


@given(st.text(alphabet="0123456789abf.:/, %-[];x", max_size=60) | st.text())
def test_any_text_is_networks_and_reasons(text: str) -> None:
    """Nothing raises, and every entry is either a network or told."""
    found, faults = parse(text)
    assert len(found.networks) + len(faults) == text.count(",") + 1
    assert bool(faults) == found.incomplete


@given(st.text(alphabet="0123456789.:/%"))
def test_any_host_can_be_asked_for(host: str) -> None:
    """The list of everybody matches exactly the addresses."""
    try:
        ip_address(host)
    except ValueError:
        assert not understood("0.0.0.0/0, ::/0").matches(host)
    else:
        assert understood("0.0.0.0/0, ::/0").matches(host)
