# SPDX-License-Identifier: MIT
"""The effective configuration in print."""

from dataclasses import replace
from ipaddress import ip_network

from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.effective import effective
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.plugin_directives import PLUGINS
from siproxd_tw.config.reader import read
from siproxd_tw.config.schema import Directive, Kind
from siproxd_tw.config.settings import AccessConfig, AuthConfig, Config, SIPConfig


def line_of(key: str, printed: str) -> str:
    """Return the line about `key`, with single blanks."""
    (line,) = (line for line in printed.splitlines() if line.lstrip("#").startswith(f"{key} ="))
    return " ".join(line.split())


def test_each_value_says_where_it_came_from() -> None:
    """A line of the file, or nobody: the default."""
    printed = read("# first\nrtp_timeout = 60\nsip_listen_port = 0x13c4\n", "/etc/siproxd.conf").effective
    assert line_of("rtp_timeout", printed) == "rtp_timeout = 60 # /etc/siproxd.conf:2"
    assert line_of("sip_listen_port", printed) == "sip_listen_port = 5060 # /etc/siproxd.conf:3"
    assert line_of("default_expires", printed) == "default_expires = 3600 # default"
    assert line_of("ua_string", printed) == "#ua_string = # not set"
    assert line_of("load_plugin", printed) == "#load_plugin = # none"


def test_the_last_of_several_lines_is_the_place() -> None:
    """Since that is the one that counts; of an array each value has its own."""
    printed = read("user = a\nload_plugin = logcall\nuser = b\nload_plugin = stun", "f").effective
    assert line_of("user", printed) == "user = b # f:3"
    assert [" ".join(line.split()) for line in printed.splitlines() if line.startswith("load_plugin")] == [
        "load_plugin = plugin_logcall.la # f:2",
        "load_plugin = plugin_stun.la # f:4",
    ]


def test_a_value_that_was_refused_is_a_default() -> None:
    """The print shows what is in effect, not what was wished for."""
    printed = read("rtp_timeout = soon\nrtp_port_low = 9000\nrtp_port_high = 8000", "f").effective
    assert line_of("rtp_timeout", printed) == "rtp_timeout = 300 # default"
    assert line_of("rtp_port_low", printed) == "rtp_port_low = 7070 # default"
    assert line_of("rtp_port_high", printed) == "rtp_port_high = 7468 # default"


def test_a_port_that_was_rounded_is_shown_rounded() -> None:
    """With the line that it came from."""
    assert (
        line_of("rtp_port_high", read("rtp_port_high = 7089", "f").effective) == "rtp_port_high = 7088 # f:1"
    )


def test_a_secret_is_not_shown_and_that_is_said() -> None:
    """As a comment, so that no wrong password is read back."""
    printed = read("proxy_auth_realm = r\nproxy_auth_passwd = geheim", "f").effective
    assert "geheim" not in printed
    assert line_of("proxy_auth_passwd", printed) == (
        "#proxy_auth_passwd = # f:2, not shown because it is secret"
    )
    assert line_of("proxy_auth_passwd", effective(Config())) == "#proxy_auth_passwd = # not set"


def test_a_broken_access_list_is_shown_as_what_it_does() -> None:
    """It lets nobody in, and a print that left it out would say the opposite."""
    printed = read("hosts_allow_reg = oops/8\nhosts_deny_sip = 10.0.0.0/8,oops/8", "f").effective
    assert line_of("hosts_allow_reg", printed) == (
        "#hosts_allow_reg = # f:1, entries that are wrong left out: matches nobody"
    )
    assert line_of("hosts_deny_sip", printed) == (
        "hosts_deny_sip = 10.0.0.0/8 # f:2, entries that are wrong left out"
    )


def test_a_configuration_that_no_file_made_prints_too() -> None:
    """A program that embeds the proxy builds its own."""
    config = Config(sip=SIPConfig(port=5088), access=AccessConfig(AccessList((ip_network("10.0.0.0/8"),))))
    printed = effective(config)
    assert line_of("sip_listen_port", printed) == "sip_listen_port = 5088 # not from a file"
    assert line_of("hosts_allow_reg", printed) == "hosts_allow_reg = 10.0.0.0/8 # not from a file"
    assert read(printed, "f").config == config


def test_the_name_of_the_file_cannot_break_the_print() -> None:
    """A line break in it would make its rest a line of the configuration."""
    printed = read("user = a", "x\nuser = root").effective
    assert line_of("user", printed) == "user = a # x\\x0auser = root:1"


def test_every_directive_is_there() -> None:
    """But for those that mean nothing here."""
    printed = effective(Config())
    for name, directive in DIRECTIVES.items():
        assert (f"\n{name} =" in printed or f"\n#{name} =" in printed) != directive.ignored


TEXT = st.text(st.characters(exclude_characters="#\n\r\t\0"), min_size=1, max_size=20)
HOSTS = st.sampled_from(["sip.example.org", "192.0.2.7", "2001:db8::1", "gateway"])
NETWORKS = st.lists(
    st.sampled_from(["10.0.0.0/8", "192.168.1.8/24", "2001:db8::/32", "0.0.0.0/0"]), min_size=1
)


def texts(directive: Directive) -> st.SearchStrategy[str]:
    """Return right values of `directive`, and some wrong ones."""
    match directive.kind:
        case Kind.HOST:
            return HOSTS
        case Kind.NETWORKS:
            return NETWORKS.map(", ".join)
        case Kind.CHOICE:
            return st.sampled_from(directive.choices)
        case Kind.PLUGIN:
            return st.sampled_from(PLUGINS)
        case Kind.BOOLEAN:
            return st.sampled_from(["0", "1"])
        case kind if kind.numeric:
            return st.integers(directive.low, directive.high).map(str) | st.sampled_from(
                ["0x1f40", "010", "x"]
            )
    return TEXT


LINES = st.lists(
    st.sampled_from(list(DIRECTIVES.values())).flatmap(
        lambda directive: (
            st.tuples(*(texts(DIRECTIVES[name]) for name in directive.group)).map(
                lambda row: "\n".join(
                    f"{name} = {text}" for name, text in zip(directive.group, row, strict=True)
                )
            )
            if directive.group
            else texts(directive).map(lambda text: f"{directive.name} = {text}")
        )
    ),
    max_size=30,
)


@given(LINES)
def test_what_is_printed_means_the_same_configuration(lines: list[str]) -> None:
    """Whatever the file said, and whatever of it was wrong; secrets aside."""
    first = read("\n".join(lines), "f")
    again = read(first.effective, "printed")
    assert not again.errors
    shown = replace(first.config, auth=replace(first.config.auth, password=""))
    assert again.config == shown
    assert effective(again.config) == effective(shown)


def test_the_property_speaks_of_a_configuration_with_a_password() -> None:
    """The one thing that reading back loses."""
    config = Config(auth=AuthConfig("r", "geheim", "/f"))
    assert read(effective(config), "f").config == Config(auth=AuthConfig("r", "", "/f"))
