# SPDX-License-Identifier: MIT
"""Reading a siproxd.conf: what it means, and what is said about it."""

from ipaddress import ip_network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.config import reader
from siproxd_tw.config.directives import DIRECTIVES, LATER
from siproxd_tw.config.networks import AccessList
from siproxd_tw.config.reader import Problem, Reading, candidates, load, read
from siproxd_tw.config.schema import Kind
from siproxd_tw.config.settings import (
    Config,
    DomainProxy,
    MediaConfig,
    NetworkConfig,
    RegistrarConfig,
    RoutingConfig,
    SIPConfig,
)

#: Directives that are nothing without others.
PARTNERS = {
    "outbound_domain_transport": (*DIRECTIVES["outbound_domain_name"].group, "outbound_domain_transport"),
    "tls_key": ("tls_certificate", "tls_key"),
    "proxy_auth_requests": ("proxy_auth_realm", "proxy_auth_passwd", "proxy_auth_requests"),
}

FILES = Path(__file__).parent / "files"
EXAMPLE = Path(__file__).parents[2] / "examples" / "siproxd.conf"


def said(reading: Reading, *severities: str) -> list[str]:
    """Return the problems of these severities as LINE: TEXT."""
    return [f"{p.line}: {p.text}" for p in reading.problems if p.severity in severities]


def test_a_small_file_means_what_it_says() -> None:
    """Blanks, tabs, comments, bases, an = in a value, a path with a keyword in it, a triple with port 0."""
    reading = load(str(FILES / "small.conf"))
    assert said(reading, "error") == []
    assert said(reading, "warning") == [
        "5: rtp_port_low: 20001 is odd, RTP ports are even: taken as 20002",
    ]
    assert reading.config == Config(
        network=NetworkConfig(
            inside="eth0",
            outside="ppp0",
            host_outbound="sip.example.org",
            inside_networks=(ip_network("192.168.10.0/24"), ip_network("2001:db8:1::/48")),
        ),
        sip=SIPConfig(port=5060, ua_string="My user agent = v5", rport_outside=True),
        registrar=RegistrarConfig(file="/home/user/regs"),
        routing=RoutingConfig(
            domains=(
                DomainProxy("example.com", "proxy.example.com", 5070),
                DomainProxy("example.net", "192.0.2.7"),
            )
        ),
        media=MediaConfig(port_low=20002, port_high=20010, timeout=300.0),
    )


def test_the_language_of_siproxd() -> None:
    """What a drop-in must understand, in the order of its manual."""
    config = read(
        b"rtp_timeout = 0x10\n"
        b"default_expires = 010\n"
        b"pid_file = /run/user/0/x.pid   # trailing comment\n"
        b'proxy_auth_realm = "My Realm"\n'
        b"user = first\n"
        b"user = second\n"
        b"plugin_stripheader_remove = Allow\n"
        b"plugin_stripheader_remove = Supported:100rel\n"
        b"registration_file = /home/user/regs\n",
        "f",
    ).config
    assert config.media.timeout == 16
    assert config.registrar.default_expires == 8
    assert config.process.pid_file == "/run/user/0/x.pid"
    assert config.auth.realm == '"My Realm"'
    assert config.process.user == "second"
    assert config.plugins.settings["stripheader"].texts("remove") == ("Allow", "Supported:100rel")
    assert config.registrar.file == "/home/user/regs"


def test_an_unknown_key_only_warns() -> None:
    """With a guess when there is one, and the rest of the file counts."""
    reading = read("rtp_timout = 60\ncolour = red\nrtp_timeout = 60", "siproxd.conf")
    assert list(map(str, reading.problems)) == [
        'siproxd.conf:1: unknown key "rtp_timout", did you mean rtp_timeout; the line is ignored',
        'siproxd.conf:2: unknown key "colour", expected a directive of siproxd.conf; the line is ignored',
    ]
    assert {problem.severity for problem in reading.problems} == {"warning"}
    assert reading.errors == ()
    assert reading.config.media.timeout == 60


def test_keys_are_exact() -> None:
    """To siproxd a keyword may stand anywhere in the line."""
    reading = read("xrtp_timeoutx = 7\nRTP_TIMEOUT = 7\nrtp_timeout rtp_timeout = 7", "f")
    assert reading.config == Config()
    assert len(said(reading, "warning")) == 3


def test_a_wrong_value_leaves_what_was_there() -> None:
    """The default, or the line before."""
    reading = read("rtp_timeout = soon\ndefault_expires = 600\ndefault_expires = later", "f")
    assert reading.config.media.timeout == 300
    assert reading.config.registrar.default_expires == 600
    assert [(problem.line, problem.severity) for problem in reading.problems] == [(1, "error"), (3, "error")]
    assert reading.errors == reading.problems


def test_a_directive_that_is_set_again_is_told() -> None:
    """The last one counts, and the first one is why somebody wonders."""
    assert said(read("rtp_timeout = 60\n\nrtp_timeout = 90", "f"), "notice") == [
        "3: rtp_timeout is set again, line 1 no longer counts"
    ]


def test_every_mistake_has_its_line() -> None:
    """A file full of them: the golden list of what is said."""
    reading = load(str(FILES / "mistakes.conf"))
    assert said(reading, "error") == [
        '3: rtp_timeout: "soon" is not a number, expected a whole number from 1 to 2147483647 (s)',
        '4: rtp_timeout: "0" is out of range (0 would end each call at its first pause), '
        "expected a whole number from 1 to 2147483647 (s)",
        '5: sip_listen_port: "70000" is out of range, expected a whole number from 1 to 65535',
        '6: rtp_proxy_enable: "2" is neither, expected 0 or 1',
        '7: no = after "if_inbound", expected KEY = VALUE',
        "8: nothing before the =, expected KEY = VALUE",
        '10: hosts_allow_reg: "192.168.1.0/255.255.255.0" has no valid length, '
        "expected a length from 0 to 32, did you mean 192.168.1.0/24",
        "11: hosts_deny_sip: an entry is empty: write one comma between two networks and none at the ends",
        '11: hosts_deny_sip: "sip.example.org/32" has a host name, expected an address: '
        "access lists do not look names up",
        '12: outbound_proxy_host: "sip.example.org:5070" is neither, expected a host name or an IP address, '
        'did you mean "sip.example.org"',
        "13: 1 outbound_domain_name, 0 outbound_domain_host, 0 outbound_domain_port: the first of each "
        "belong together, the second, and so on; expected the same number of each, and none is used",
        '16: sip_dscp: "64" is out of range, expected a whole number from 0 to 63',
    ]
    assert said(reading, "warning") == [
        '1: unknown key "rtp_timout", did you mean rtp_timeout; the line is ignored',
        '2: unknown key "RTP_TIMEOUT", did you mean rtp_timeout; the line is ignored',
        '9: "host_outbound" has no value: the line is ignored',
        '14: load_plugin: there is no plug-in "logcal", did you mean plugin_logcall.la',
        '15: default_expires: "12abc" is taken as 12, expected a whole number from 1 to 2147483647 (s)',
    ]


def test_a_broken_access_list_admits_nobody() -> None:
    """The default of an access list is everybody; a typing error must not lead there."""
    access = load(str(FILES / "mistakes.conf")).config.access
    assert access.allow_register and not access.allow_register.matches("192.168.1.1")
    assert access.deny_sip.matches("10.0.0.1")
    assert access.allow_sip == AccessList()


@pytest.mark.parametrize(
    "line",
    [
        "hosts_allow_reg = 192.168.1.0",
        "hosts_allow_sip = 192.168.1.0/33",
        "hosts_deny_sip = scanner.example.org/32",
        "hosts_allow_inside = 10.0.0.0/8 10.1.0.0/16",
        "hosts_allow_outside = 203.0.113.0/24,",
        "hosts_trust_outside = /abc",
        "hosts_deny_sip 10.0.0.0/8",
        "hosts_deny_sip\t10.0.0.0/8",
        "hosts_deny_sip = 10.0.0.0/8\x00",
        "host_deny_sip = 10.0.0.0/8",
        "HOSTS_DENY_SIP = 10.0.0.0/8",
        "set hosts_deny_sip = 10.0.0.0/8",
        "proxy_auth_relm = My Realm",
        "proxy_auth_requests = every",
        "tls_verify_clients = yes",
    ],
)
def test_a_mistake_in_what_keeps_somebody_out_is_fatal(line: str) -> None:
    """Whatever is wrong with the line, name included: going on would leave a door open."""
    reading = read(f"if_inbound = eth0\n{line}\nrtp_timeout = soon\n", "f")
    (problem,) = reading.fatal
    assert (problem.line, problem.severity) == (2, "error")
    assert len(reading.errors) == 2


@pytest.mark.parametrize(
    "line",
    [
        "hosts_deny_sip = 10.0.0.1/8",
        "inside_networks = 10.0.0.1",
        "rtp_timeout = soon",
        "mask_host = a",
        "colour = red",
        "plugin_fix_DTAG_networks = everybody",
        "hosts_allow_reg =",
        "",
    ],
)
def test_another_mistake_is_not(line: str) -> None:
    """A file that works with siproxd goes on working; an empty list is no list there either."""
    assert read(line, "f").fatal == ()


def test_a_file_that_says_nothing_is_fatal(tmp_path: Path) -> None:
    """Nobody knows what it would have kept out."""
    assert load(str(tmp_path / "nothing.conf")).fatal
    assert read("hosts_deny_sip = 10.0.0.0/8".encode("utf-16"), "f").fatal


def test_files_of_tls_are_looked_at(tmp_path: Path) -> None:
    """By `load`, and by `read` only when it is told how."""
    path = tmp_path / "siproxd.conf"
    path.write_text("tls_certificate = /nowhere/cert.pem\ntls_ca = /nowhere/ca.pem\n")
    reading = load(str(path))
    assert said(reading, "error") == [
        '1: tls_certificate: "/nowhere/cert.pem" cannot be read: No such file or directory',
        '2: tls_ca: "/nowhere/ca.pem" cannot be read: No such file or directory',
    ]
    assert reading.config.transports.certificate == ""
    assert [problem.line for problem in reading.fatal] == [2], "without it any authority would do"
    assert read(path.read_text(), "f").config.transports.certificate == "/nowhere/cert.pem"


@pytest.mark.parametrize("name", ["pfsense.conf", "openwrt.conf", "opnsense.conf"])
def test_generated_files_load_without_errors(name: str) -> None:
    """What the packages of other gateways write works as it is, unknown keys included."""
    reading = load(str(FILES / name))
    assert said(reading, "error") == []
    assert not any("unknown" in text for text in said(reading, "warning"))


def test_pfsense() -> None:
    """Its five pairs, relative paths for the jail, and a trunk."""
    config = load(str(FILES / "pfsense.conf")).config
    assert (config.media.port_low, config.media.port_high, config.media.dscp) == (7070, 7078, 46)
    assert config.registrar == RegistrarConfig("siproxd_registrations", 10.0, 600)
    assert config.process.chrootjail == "/var/siproxd/"
    assert config.log.silence_log == 0 and config.log.debug_level == 1
    assert config.plugins.load == ("logcall", "siptrunk")
    trunk = config.plugins.settings["siptrunk"]
    assert trunk.texts("numbers_regex") == ("^555123(10[0-9]|11[012])$",)


def test_openwrt() -> None:
    """Plug-ins are called .so there."""
    config = load(str(FILES / "openwrt.conf")).config
    assert config.network == NetworkConfig("br-lan", "pppoe-wan")
    assert config.plugins.load == ("shortdial", "codecfilter")
    assert config.plugins.settings["shortdial"].texts("entry") == ("17474743246", "17474745000")
    assert config.transports.tcp_timeout == 600.0 and config.transports.tcp_connect_timeout == 0.5


def test_the_keys_that_opnsense_misspells() -> None:
    """They are read as what its user filled in, and named."""
    reading = load(str(FILES / "opnsense.conf"))
    stun = reading.config.plugins.settings["stun"]
    assert (stun.text("server"), stun.number("port"), stun.number("period")) == (
        "stun.example.org",
        3479,
        120,
    )
    assert reading.config.plugins.settings["fix_fbox_anoncall"].networks("networks").matches("192.168.1.7")
    notices = [text for text in said(reading, "notice") if "OPNsense" in text]
    assert notices == [
        "29: plugin_fbox_anoncall_networks is OPNsense's spelling, read as plugin_fix_fbox_anoncall_networks",
        "31: plugin_stun_server_host is OPNsense's spelling, read as plugin_stun_server",
        "32: plugin_stun_server_port is OPNsense's spelling, read as plugin_stun_port",
        "33: plugin_stun_server_period is OPNsense's spelling, read as plugin_stun_period",
    ]


def test_a_feature_that_comes_later_is_told_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the first line that asks for it."""
    monkeypatch.setattr(reader, "LATER", frozenset({"plugin_stripheader_remove"}))
    reading = read("\nplugin_stripheader_remove = Allow\nplugin_stripheader_remove = Supported", "f")
    assert said(reading, "notice", "warning") == [
        "2: plugin_stripheader_remove is accepted and has no effect yet: its feature comes later"
    ]


def test_a_feature_that_is_not_wanted_is_not_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """Generated files turn off everything by name."""
    monkeypatch.setattr(reader, "LATER", frozenset(DIRECTIVES))
    off = [name for name, directive in DIRECTIVES.items() if directive.default == "0"]
    assert len(off) > 10
    assert read("\n".join(f"{name} = 0" for name in off), "f").problems == ()


def test_privileges_that_are_not_dropped_are_a_loud_warning() -> None:
    """Accepted in silence they would be believed."""
    text = "user = nobody\nchrootjail = /var/lib/siproxd\n"
    assert said(read(text, "f"), "warning") == [
        "1: user has no effect yet: the process keeps the user that it was started as",
        "2: chrootjail has no effect yet: the process is not locked into this folder",
    ]


@pytest.mark.parametrize("name", DIRECTIVES)
def test_each_directive_is_taken(name: str) -> None:
    """Its default or another right value gives no error, and "later" is said exactly of those marked so."""
    directive = DIRECTIVES[name]
    texts = {
        "networks": "10.0.0.0/8",
        "host": "example.org",
        "plug-in": "plugin_logcall.la",
        "choice": directive.choices[0] if directive.choices else "",
        "server": "192.0.2.53",
    }
    partners = directive.group or PARTNERS.get(name, (name,))
    lines = [f"{n} = {texts.get(DIRECTIVES[n].kind.value, '2')}" for n in partners]
    if directive.high == 1 or directive.kind is Kind.BOOLEAN:
        lines = [f"{name} = 1"]
    if directive.low > 1:
        lines = [f"{name} = 7200"]
    reading = read("\n".join(lines), "f")
    assert reading.errors == ()
    told = [problem for problem in reading.problems if "has no effect yet" in problem.text]
    assert bool(told) == (name in LATER)


@pytest.mark.parametrize("first", ["if_inbound = eth0", ""])
def test_bytes_and_text_mean_the_same(first: str) -> None:
    """With a byte order mark and other line ends too."""
    text = first + "\nrtp_timeout = 60\n"
    readings = [read(text, "f"), read(text.encode(), "f"), read("\ufeff" + text.replace("\n", "\r\n"), "f")]
    assert readings[0].config == readings[1].config == readings[2].config
    assert not any(reading.problems for reading in readings)


def test_problems_are_in_the_order_of_the_file() -> None:
    """Those that need the whole file stand between the others."""
    reading = read("mask_host = a\nrtp_timout = 1\nrtp_timeout = x", "f")
    assert [problem.line for problem in reading.problems if problem.severity != "notice"] == [1, 2, 3]


def test_a_file_that_is_not_there_is_one_problem(tmp_path: Path) -> None:
    """It says which and why, and the reading is that of an empty file."""
    path = str(tmp_path / "siproxd.conf")
    reading = load(path)
    assert reading.config == Config()
    assert reading.problems == (
        Problem(path, 0, "error", "the configuration file cannot be read: No such file or directory"),
    )
    assert str(reading.problems[0]).startswith(f"{path}: the configuration file")


@pytest.mark.parametrize(
    ("path", "reason"),
    [("", "No such file"), ("/", "Is a directory"), ("a\0b", "null byte"), ("x" * 5000, "too long")],
)
def test_a_path_that_cannot_be_opened_is_one_problem(path: str, reason: str) -> None:
    """Whatever is wrong with it; siproxd cuts it to 63 characters and opens that."""
    (problem,) = load(path).problems
    assert reason in problem.text and problem.severity == "error"


def test_a_file_is_read_by_its_path(tmp_path: Path) -> None:
    """Also by one that is not UTF-8, and problems name it."""
    path = tmp_path / "sipröxd.conf"
    path.write_bytes(b"rtp_timeout = x\n")
    (problem,) = load(str(path)).problems
    assert str(problem).startswith(f"{path}:1: rtp_timeout")


def test_where_a_file_may_be() -> None:
    """The order of siproxd, without the folder of its build."""
    assert candidates("/root") == [
        "/root/.siproxdrc",
        "/etc/siproxd.conf",
        "/etc/siproxd/siproxd.conf",
        "/usr/etc/siproxd.conf",
        "/usr/local/etc/siproxd.conf",
    ]
    assert candidates("/")[0] == "/.siproxdrc"
    assert candidates("")[0] == "/etc/siproxd.conf"


def test_the_example_for_newcomers_has_no_problem() -> None:
    """It is what the documentation points to; its comments are directives that work too."""
    reading = load(str(EXAMPLE))
    assert reading.problems == ()
    assert (reading.config.network.inside, reading.config.network.outside) == ("eth0", "eth1")
    uncommented = [
        line.removeprefix("#") if line.startswith("#") and " = " in line else line
        for line in EXAMPLE.read_text().splitlines()
    ]
    everything = read("\n".join(uncommented), "f")
    assert everything.problems == ()
    assert everything.config.network.host_outbound and everything.config.network.inside_networks


KEYS = st.sampled_from([*DIRECTIVES, "rtp_timout", "plugin_stun_server_host", ""])
JUNK = st.text(st.characters(exclude_characters="\n"), max_size=20) | st.sampled_from(
    ["0", "1", "7101", "x/8", "9" * 5000]
)


@given(st.binary() | st.text(st.characters()))
def test_any_file_can_be_read(text: bytes | str) -> None:
    """Nothing raises, and each problem names file and line."""
    reading = read(text, "f")
    assert all(
        p.filename == "f" and str(p).startswith(f"f:{p.line}: " if p.line else "f: ")
        for p in reading.problems
    )


@given(st.lists(st.tuples(KEYS, st.sampled_from([" = ", "=", "\t"]), JUNK).map("".join), max_size=20))
def test_any_values_can_be_read(lines: list[str]) -> None:
    """Known keys with any values: nothing raises, lines are right, and the range of ports always works."""
    reading = read("\n".join(lines), "f")
    assert all(1 <= problem.line <= len(lines) for problem in reading.problems)
    media, port = reading.config.media, reading.config.sip.port
    assert media.port_low % 2 == media.port_high % 2 == 0
    assert 1024 <= media.port_low <= media.port_high <= 65534
    assert not media.enabled or not media.port_low <= port <= media.port_high + 1
    read(reading.effective, "again")
