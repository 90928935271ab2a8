# SPDX-License-Identifier: MIT
"""Values: what the text behind the = means for each kind of directive."""

from ipaddress import ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.schema import Directive
from siproxd_tw.config.values import Single, Values, convert, default_of, text_of


def told(name: str, text: str) -> tuple[Single | None, list[str]]:
    """Convert, and return the value and what is said as "severity: text"."""
    value, findings = convert(DIRECTIVES[name], text)
    return value, [f"{finding.severity}: {finding.text}" for finding in findings]


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("rtp_timeout", "0x10", 16),
        ("debug_level", "0x00000000", 0),
        ("debug_level", "-1", -1),
        ("daemonize", "1", True),
        ("daemonize", "0", False),
        ("ua_string", "My user agent = v5", "My user agent = v5"),
        ("registration_file", "/home/user/regs", "/home/user/regs"),
        ("if_inbound", "eth0.10:1", "eth0.10:1"),
        ("host_outbound", "sip.example.org", "sip.example.org"),
        ("host_outbound", "SIP_1.example.org.", "SIP_1.example.org."),
        ("host_outbound", "1.2.3.4", "1.2.3.4"),
        ("host_outbound", "[2001:DB8::1]", "2001:db8::1"),
        ("outbound_proxy_host", "gateway", "gateway"),
        ("dns_server", "192.0.2.53", "192.0.2.53"),
        ("dns_server", "192.0.2.53:5353", "192.0.2.53:5353"),
        ("dns_server", "2001:DB8::53", "2001:db8::53"),
        ("dns_server", "[2001:db8::53]", "2001:db8::53"),
        ("dns_server", "[2001:db8::53]:053", "[2001:db8::53]:53"),
        ("hosts_allow_reg", "192.168.1.8/24", AccessList((ip_network("192.168.1.0/24"),))),
        ("plugin_blacklist_db_sync_mode", "full", "FULL"),
        ("load_plugin", "plugin_fix_DTAG.la", "fix_DTAG"),
        ("load_plugin", "plugin_fix_DTAG.so", "fix_DTAG"),
        ("load_plugin", "plugin_fix_DTAG", "fix_DTAG"),
        ("load_plugin", "/usr/lib/siproxd/plugin_logcall.la", "logcall"),
        ("plugin_defaulttarget_target", "sip:internal@dddd:port", "sip:internal@dddd:port"),
        ("mask_host", "<inbound_ip/hostname>", "<inbound_ip/hostname>"),
    ],
)
def test_what_is_written_right_is_taken_without_a_word(name: str, text: str, value: Single) -> None:
    """One or two of each kind; the odd ones stand in siproxd's example file."""
    found, words = told(name, text)
    assert found == value and type(found) is type(value)
    assert words == []


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("rtp_timeout", "soon", '"soon" is not a number, expected a whole number from 1 to 2147483647 (s)'),
        ("rtp_timeout", "99999999999", '"99999999999" is out of range (0 would'),
        ("rtp_timeout", "9" * 30, "is too large a number, expected a whole number from 1 to 2147483647 (s)"),
        ("rtp_timeout", "08", "a leading 0 makes it octal"),
        ("sip_listen_port", "0", '"0" is out of range, expected a whole number from 1 to 65535'),
        ("sip_dscp", "64", '"64" is out of range, expected a whole number from 0 to 63'),
        ("rtp_proxy_enable", "2", '"2" is neither, expected 0 or 1'),
        ("rtp_proxy_enable", "Yes", '"Yes" is not a number, expected 0 or 1, did you mean 1'),
        ("daemonize", "off", "expected 0 or 1, did you mean 0"),
        ("if_inbound", "eth0 eth1", '"eth0 eth1" is none, expected the name of one network interface'),
        ("if_inbound", "em1,em2", '"em1,em2" is none, expected the name of one network interface'),
        ("if_inbound", '"eth0"', 'did you mean "eth0"'),
        (
            "host_outbound",
            "sip.example.org:5060",
            'expected a host name or an IP address, did you mean "sip.ex',
        ),
        ("host_outbound", "300.1.2.3", '"300.1.2.3" is neither, expected a host name or an IP address'),
        ("host_outbound", "-a.example.org", "is neither"),
        ("host_outbound", "a" * 64 + ".example.org", "is neither"),
        ("host_outbound", "a." * 127 + "ab", "is neither"),
        ("host_outbound", "gr\xfcn.example.org", "is neither"),
        ("host_outbound", "fe80::1%eth0", "has a zone"),
        (
            "dns_server",
            "ns.example.org",
            "is none, expected an IP address as 192.0.2.1, 192.0.2.1:PORT, 2001",
        ),
        ("dns_server", "192.0.2.53:", "is none"),
        ("dns_server", "192.0.2.53:0", "has no port"),
        ("dns_server", "192.0.2.53:65536", "has no port"),
        ("dns_server", "192.0.2.53, 192.0.2.54", "is none"),
        ("dns_server", "192.0.2.300:53", "is none"),
        ("dns_server", "fe80::1%eth0", "has a zone"),
        ("plugin_blacklist_db_sync_mode", "ON", '"ON" is none of them, expected one of OFF, NORMAL, FULL'),
        ("load_plugin", "plugin_.la", '"plugin_.la" is none, expected the name of a plug-in'),
        ("load_plugin", "a b", "is none, expected the name of a plug-in"),
    ],
)
def test_what_is_wrong_is_an_error_that_says_what_is_expected(name: str, text: str, words: str) -> None:
    """The directive, the value, the expectation; and what was probably meant."""
    value, (error,) = told(name, text)
    assert value is None
    assert error.startswith(f"error: {name}: ")
    assert words in error


@pytest.mark.parametrize(
    ("name", "text", "value", "words"),
    [
        ("rtp_timeout", "300s", 300, 'warning: rtp_timeout: "300s" is taken as 300, expected a whole number'),
        ("rtp_timeout", "1.5", 1, 'warning: rtp_timeout: "1.5" is taken as 1'),
        ("rtp_timeout", "010", 8, 'notice: rtp_timeout: "010" is octal by its leading 0: 8'),
        ("ua_string", '"X"', '"X"', "notice: ua_string: the quotes are taken as part of the value"),
        ("pid_file", "'/x'", "'/x'", "notice: pid_file: the quotes are taken as part of the value"),
        ("use_rport", "Option3", 2, 'notice: use_rport: "Option3" is read as 2'),
        ("load_plugin", "plugin_logcal.la", "logcal", "did you mean plugin_logcall.la"),
        (
            "load_plugin",
            "plugin_orange.la",
            "orange",
            'warning: load_plugin: there is no plug-in "orange", exp',
        ),
    ],
)
def test_what_siproxd_takes_is_taken_with_a_word(name: str, text: str, value: Single, words: str) -> None:
    """A file that works goes on working, and its author learns what is odd about it."""
    found, (word,) = told(name, text)
    assert found == value
    assert words in word


def test_a_list_is_told_of_entry_by_entry() -> None:
    """Each wrong entry is an error of its own, and the list stays one."""
    value, words = told("hosts_deny_sip", "10.0.0.0/8,a/8,b/8")
    assert value == AccessList((ip_network("10.0.0.0/8"),), incomplete=True)
    assert [word.split(" has")[0] for word in words] == [
        'error: hosts_deny_sip: "a/8"',
        'error: hosts_deny_sip: "b/8"',
    ]


def test_a_secret_is_never_quoted() -> None:
    """Problems go to logs and tickets."""
    _, words = told("proxy_auth_passwd", '"geheim"')
    assert words and all("geheim" not in word for word in words)


@given(
    st.sampled_from(list(DIRECTIVES.values())), st.text("0123456789abx-./:,\"' %", min_size=1, max_size=30)
)
def test_a_value_is_written_as_it_is_read(directive: Directive, text: str) -> None:
    """For any directive: what was taken can be written, means the same again, and has no fault left."""
    value, findings = convert(directive, text)
    if value is None:
        assert any(finding.severity == "error" for finding in findings)
        return
    written = text_of(directive, value)
    if isinstance(value, AccessList):
        value = AccessList(value.networks)
        if not written:
            return
    again, findings = convert(directive, written)
    assert again == value
    assert all(finding.severity != "error" for finding in findings)


def test_defaults_have_the_type_of_values() -> None:
    """What is not in the file is as usable as what is."""
    assert default_of(DIRECTIVES["rtp_proxy_enable"]) is True
    assert default_of(DIRECTIVES["rtp_timeout"]) == 300
    assert default_of(DIRECTIVES["ua_string"]) == ""
    assert default_of(DIRECTIVES["hosts_deny_sip"]) == AccessList()
    assert default_of(DIRECTIVES["load_plugin"]) == ()


VALUES = Values(
    {
        "text": "a",
        "number": 7,
        "flag": True,
        "networks": AccessList((ip_network("10.0.0.0/8"),)),
        "texts": ("a", "b"),
        "numbers": (1, 2),
    }
)


def test_values_are_typed() -> None:
    """Each method returns its type."""
    assert VALUES.text("text") == "a"
    assert VALUES.number("number") == 7
    assert VALUES.flag("flag") is True
    assert VALUES.networks("networks").matches("10.0.0.1")
    assert VALUES.texts("texts") == ("a", "b")
    assert VALUES.numbers("numbers") == (1, 2)


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("text", "number"),
        ("number", "text"),
        ("flag", "number"),
        ("networks", "text"),
        ("texts", "text"),
        ("texts", "numbers"),
        ("numbers", "texts"),
    ],
)
def test_a_wrong_type_is_a_mistake_of_the_program(method: str, name: str) -> None:
    """It fails at once and by name, not later and elsewhere."""
    with pytest.raises(TypeError, match=f"^{name} is a "):
        getattr(VALUES, method)(name)


def test_values_are_a_mapping_that_stays() -> None:
    """Equal by content, hashable, and apart from what they were made of."""
    source = {"a": 1}
    values = Values(source)
    source["a"] = 2
    assert values == Values({"a": 1}) and hash(values) == hash(Values({"a": 1}))
    assert dict(values) == {"a": 1} and len(values) == 1
    assert repr(values) == "Values({'a': 1})"
    with pytest.raises(KeyError):
        values["b"]
