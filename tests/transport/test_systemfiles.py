# SPDX-License-Identifier: MIT
from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.interfaces import Address
from siproxd_tw.transport.systemfiles import LARGEST, HostsFile, ResolvConf, name_server

LOCAL = (Address("127.0.0.1", 53),)


@pytest.fixture
def file(tmp_path):
    """A file that does not exist yet."""
    return tmp_path / "file"


def test_hosts(file):
    """Names and aliases in any case, comments, several lines for one name, IPv4 first."""
    file.write_text(
        "# the network\n127.0.0.1\tlocalhost\n2001:db8::7 PBX.home.test. pbx # in the cellar\n192.0.2.7 pbx\n"
        "192.0.2.7 pbx\nnot-an-address nobody\n192.0.2.9\n\n"
    )
    hosts = HostsFile(str(file))
    assert hosts.addresses("localhost") == ("127.0.0.1",)
    assert hosts.addresses("pbx") == ("192.0.2.7", "2001:db8::7")
    assert hosts.addresses("pbx.home.test") == ("2001:db8::7",)
    for name in ("nobody", "cellar", "in", ""):
        assert hosts.addresses(name) == ()


def test_hosts_that_change(file):
    """The file is read again when it was replaced, and it may come and go."""
    hosts = HostsFile(str(file))
    assert hosts.addresses("pbx") == ()
    file.write_text("192.0.2.7 pbx\n")
    assert hosts.addresses("pbx") == ("192.0.2.7",)
    other = file.with_name("other")
    other.write_text("192.0.2.8 pbx\n")
    os.replace(other, file)
    assert hosts.addresses("pbx") == ("192.0.2.8",)
    file.unlink()
    assert hosts.addresses("pbx") == ()


def test_hosts_are_not_read_without_need(file):
    """As long as its date, size and number are the same the file is not opened."""
    file.write_text("192.0.2.7 pbx\n")
    hosts, date = HostsFile(str(file)), os.stat(file)
    assert hosts.addresses("pbx") == ("192.0.2.7",)
    file.write_text("192.0.2.8 pbx\n")
    os.utime(file, ns=(date.st_atime_ns, date.st_mtime_ns))
    assert hosts.addresses("pbx") == ("192.0.2.7",)


def test_a_list_of_blocked_domains(file):
    """A file that would take long to read is left to the system's resolver."""
    file.write_text("192.0.2.7 pbx\n" + "0.0.0.0 ads.example\n" * (LARGEST // 20))
    assert HostsFile(str(file)).addresses("pbx") == ()


def test_resolv_conf(file):
    """The first three name servers count, in their order; what is no address is left out."""
    file.write_text(
        "search home.test\n; old\n#nameserver 192.0.2.1\nnameserver\nnameserver nobody\n"
        "nameserver 192.0.2.2\nnameserver fe80::1%eth0\noptions ndots:2\nnameserver 192.0.2.2\n"
        "nameserver 2001:DB8:0::53 # v6\n"
        "nameserver 192.0.2.4\n"
    )
    assert ResolvConf(str(file)).servers() == (
        Address("192.0.2.2", 53),
        Address("fe80::1%eth0", 53),
        Address("2001:db8::53", 53),
    )


def test_resolv_conf_that_changes(file):
    """Without the file the server on this machine is asked; a new one counts with the next question."""
    conf = ResolvConf(str(file))
    assert conf.servers() == LOCAL
    file.write_text("nameserver 192.0.2.2\n")
    assert conf.servers() == (Address("192.0.2.2", 53),)
    file.write_text("search home.test\n")
    assert conf.servers() == LOCAL


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("192.0.2.1", "192.0.2.1", 53),
        ("192.0.2.1:5353", "192.0.2.1", 5353),
        ("2001:db8::1", "2001:db8::1", 53),
        ("[2001:DB8::1]", "2001:db8::1", 53),
        ("[2001:db8::1]:65535", "2001:db8::1", 65535),
        ("fe80::1%eth0", "fe80::1%eth0", 53),
        ("[fe80::1%eth0]:54", "fe80::1%eth0", 54),
    ],
)
def test_name_servers(text, host, port):
    """Addresses with and without a port."""
    assert name_server(text) == Address(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "ns.provider.test", "192.0.2.1:", "192.0.2.1:0", "192.0.2.1:65536", "192.0.2.1:dns", "[::1"),
        *("[::1]x", "[::1]:", "::1%", "192.0.2.1:5353:1", "[]", "192.0.2.1:²"),
    ],
)
def test_no_name_servers(text):
    """Everything else is refused with the text in question."""
    with pytest.raises(ValueError, match=r"is not the address of a name server|has no valid port"):
        name_server(text)


@given(st.binary(max_size=200))
def test_any_file_can_be_read(tmp_path_factory, data):
    """Whatever is in the files, reading them raises nothing and there is somebody to ask."""
    file = tmp_path_factory.mktemp("any") / "file"
    file.write_bytes(data)
    assert HostsFile(str(file)).addresses("a") is not None
    assert ResolvConf(str(file)).servers()
