# SPDX-License-Identifier: MIT
"""Directives that have to fit together."""

import pytest

from siproxd_tw.config.checks import Found, Occurrence, check
from siproxd_tw.config.problems import Report


def checked(found: Found) -> list[str]:
    """Check, and return what was reported as "severity line: text"."""
    report = Report("f")
    check(found, report)
    return [f"{p.severity} {p.line}: {p.text}" for p in report.problems]


def ports(**values: int) -> Found:
    """Return a file with these directives in lines 1, 2, ..."""
    return {name: [Occurrence(line, value)] for line, (name, value) in enumerate(values.items(), 1)}


def test_what_was_not_understood_is_gone_afterwards() -> None:
    """Its error has been told; the value before it counts."""
    found: Found = {"rtp_timeout": [Occurrence(1, 20), Occurrence(2, None)]}
    assert checked(found) == []
    assert found["rtp_timeout"] == [Occurrence(1, 20)]


def test_complete_groups_stay() -> None:
    """In the order of the file."""
    found: Found = {
        "mask_host": [Occurrence(1, "a"), Occurrence(3, "c")],
        "masked_host": [Occurrence(2, "b"), Occurrence(4, "d")],
    }
    before = {name: list(occurrences) for name, occurrences in found.items()}
    assert checked(found) == []
    assert {name: found[name] for name in before} == before


def test_an_incomplete_group_is_an_error_at_the_line_without_partner() -> None:
    """A line to go to; siproxd says at each call that there is one."""
    found: Found = {
        "outbound_domain_name": [Occurrence(1, "a"), Occurrence(4, "b")],
        "outbound_domain_host": [Occurrence(2, "h"), Occurrence(5, "h")],
        "outbound_domain_port": [Occurrence(3, 5060)],
    }
    (problem,) = checked(found)
    assert problem.startswith(
        "error 4: 2 outbound_domain_name, 2 outbound_domain_host, 1 outbound_domain_port: the first of each"
    )
    assert not any(found.values())


def test_a_member_that_is_missing_altogether_is_an_error_too() -> None:
    """No occurrence is a count as well."""
    (problem,) = checked({"mask_host": [Occurrence(9, "a")]})
    assert problem.startswith("error 9: 1 mask_host, 0 masked_host: ")


def test_a_wrong_value_takes_its_partners_along() -> None:
    """Or the third port would go to the second domain. One error has been told, no second one is."""
    found: Found = {
        "outbound_domain_name": [Occurrence(n, f"d{n}") for n in (1, 4, 7)],
        "outbound_domain_host": [Occurrence(n, f"h{n}") for n in (2, 5, 8)],
        "outbound_domain_port": [Occurrence(3, 5063), Occurrence(6, None), Occurrence(9, 5069)],
    }
    assert checked(found) == []
    assert {name: [o.value for o in occurrences] for name, occurrences in found.items() if occurrences} == {
        "outbound_domain_name": ["d1", "d7"],
        "outbound_domain_host": ["h2", "h8"],
        "outbound_domain_port": [5063, 5069],
    }


def test_an_odd_low_port_is_rounded_up_with_a_warning() -> None:
    """As siproxd does."""
    found = ports(rtp_port_low=7071, rtp_port_high=7080)
    assert checked(found) == ["warning 1: rtp_port_low: 7071 is odd, RTP ports are even: taken as 7072"]
    assert found["rtp_port_low"][-1].value == 7072


def test_an_odd_high_port_is_rounded_down_silently() -> None:
    """7089 is in every example, and means that RTCP of the last pair ends there."""
    found = ports(rtp_port_low=7070, rtp_port_high=7089)
    assert checked(found) == []
    assert found["rtp_port_high"][-1].value == 7088


def test_one_pair_is_enough() -> None:
    """One call in one direction; absurd, but a range."""
    assert checked(ports(rtp_port_low=7070, rtp_port_high=7071)) == []
    assert checked(ports(rtp_port_low=65534, rtp_port_high=65535)) == []


@pytest.mark.parametrize(
    ("low", "high", "words"),
    [
        (8000, 7998, "from 8000 to 7998"),
        (7071, 7071, "from 7072 to 7070"),
        (65535, 65535, "from 65536 to 65534"),
    ],
)
def test_a_range_without_a_pair_is_an_error(low: int, high: int, words: str) -> None:
    """The default range stays, as a whole."""
    found = ports(rtp_port_low=low, rtp_port_high=high)
    problems = checked(found)
    assert problems[-1].startswith("error 2: there is no pair of an even RTP port and its RTCP port " + words)
    assert "rtp_port_low" not in found and "rtp_port_high" not in found


def test_half_a_range_is_checked_against_the_default_of_the_other_half() -> None:
    """The error names the default, which stands nowhere in the file."""
    found = ports(rtp_port_low=20000)
    (problem,) = checked(found)
    assert problem.startswith("error 1: there is no pair")
    assert "from 20000 to 7468 (the default), expected rtp_port_low below rtp_port_high" in problem
    assert checked(ports(rtp_port_high=7089)) == []


@pytest.mark.parametrize("port", [7070, 7071, 7080, 7081])
def test_the_sip_port_is_none_of_the_media_ports(port: int) -> None:
    """RTCP of the last pair included. The range is the one that has to go."""
    found = ports(rtp_port_low=7070, sip_listen_port=port, rtp_port_high=7080)
    (problem,) = checked(found)
    assert problem.startswith(
        f"error 3: sip_listen_port {port} is one of the ports for media, from 7070 to 7080"
    )
    assert "rtp_port_low" not in found
    assert "sip_listen_port" not in found, "it is in the default range too"


def test_the_sip_port_stays_when_the_default_range_suits_it() -> None:
    """No more falls back than has to."""
    found = ports(sip_listen_port=5060, rtp_port_low=5000, rtp_port_high=5100)
    (problem,) = checked(found)
    assert problem.startswith("error 3: sip_listen_port 5060 is one of the ports for media")
    assert found["sip_listen_port"] == [Occurrence(1, 5060)]


def test_the_sip_port_may_be_just_outside() -> None:
    """The neighbours of the range are free."""
    assert checked(ports(rtp_port_low=7070, rtp_port_high=7080, sip_listen_port=7069)) == []
    assert checked(ports(rtp_port_low=7070, rtp_port_high=7080, sip_listen_port=7082)) == []


def test_a_sip_port_in_the_default_range_is_an_error() -> None:
    """It names the range, which the file does not."""
    (problem,) = checked(ports(sip_listen_port=7100))
    assert "from 7070 (the default) to 7468 (the default)" in problem


def test_without_a_relay_there_are_no_media_ports() -> None:
    """Somebody who turns it off may use these ports."""
    found = ports(sip_listen_port=7100) | {"rtp_proxy_enable": [Occurrence(2, False)]}
    assert checked(found) == []


def test_a_realm_needs_a_password_and_a_password_a_realm() -> None:
    """Each half alone looks like authentication and is not."""
    (problem,) = checked({"proxy_auth_realm": [Occurrence(4, "r")]})
    assert problem.startswith("warning 4: proxy_auth_realm without a password: nobody could register")
    (problem,) = checked({"proxy_auth_pwfile": [Occurrence(5, "/f")]})
    assert problem.startswith("warning 5: passwords without proxy_auth_realm: nobody will be asked")
    (problem,) = checked({"proxy_auth_requests": [Occurrence(6, "register"), Occurrence(7, "all")]})
    assert problem.startswith("warning 7: proxy_auth_requests without proxy_auth_realm: nobody will be")
    assert checked({"proxy_auth_requests": [Occurrence(6, "register")]}) == []
    for name in ("proxy_auth_passwd", "proxy_auth_pwfile"):
        assert checked({"proxy_auth_realm": [Occurrence(1, "r")], name: [Occurrence(2, "x")]}) == []


def domains(*rows: tuple[int, str]) -> Found:
    """Return domains in lines 1, 4, ..., whose transports follow in lines 101, 102, ..."""
    found: Found = {"outbound_domain_name": [], "outbound_domain_host": [], "outbound_domain_port": []}
    for number, (port, _) in enumerate(rows):
        line = 3 * number + 1
        found["outbound_domain_name"].append(Occurrence(line, f"d{number}"))
        found["outbound_domain_host"].append(Occurrence(line + 1, f"h{number}"))
        found["outbound_domain_port"].append(Occurrence(line + 2, port if port >= 0 else None))
    transports = [Occurrence(101 + n, word or None) for n, (_, word) in enumerate(rows) if word != "-"]
    return found | {"outbound_domain_transport": transports}


def transports(found: Found) -> list[tuple[object, object]]:
    """Return names and transports as they belong together."""
    names, words = found["outbound_domain_name"], found["outbound_domain_transport"]
    return [(name.value, word.value) for name, word in zip(names, words, strict=False)]


def test_a_transport_stays_with_its_domain() -> None:
    """A wrong one does not make the next ones move up, nor does a domain that falls out."""
    found = domains((5060, "tcp"), (5060, ""), (5060, "tls"))
    assert checked(found) == []
    assert transports(found) == [("d0", "tcp"), ("d1", "auto"), ("d2", "tls")]
    found = domains((5060, "tcp"), (-1, "udp"), (5060, "tls"))
    assert checked(found) == []
    assert transports(found) == [("d0", "tcp"), ("d2", "tls")]
    found = domains((5060, "tcp"), (5060, "-"))
    assert checked(found) == []
    assert transports(found) == [("d0", "tcp")]


def test_a_transport_without_a_domain_is_an_error() -> None:
    """It would be taken for that of a domain which somebody forgot."""
    found = domains((5060, "tcp")) | {
        "outbound_domain_transport": [Occurrence(8, "tcp"), Occurrence(9, "udp")]
    }
    (problem,) = checked(found)
    assert problem.startswith("error 9: 2 outbound_domain_transport, 1 outbound_domain_name: ")
    assert transports(found) == [("d0", "tcp")]


def test_the_shortest_time_is_not_above_the_longest() -> None:
    """No registration would be right."""
    found = ports(min_expires=600, max_expires=300)
    (problem,) = checked(found)
    assert problem.startswith("error 2: min_expires 600 is above max_expires 300: ")
    assert "min_expires" not in found and "max_expires" not in found
    assert checked(ports(min_expires=300, max_expires=300)) == []


def tls(**values: str | int) -> Found:
    """Return a file with a certificate in line 1 and these directives in lines 2, 3, ..."""
    return {
        name: [Occurrence(line, value)]
        for line, (name, value) in enumerate([("tls_certificate", "/c.pem"), *values.items()], 1)
    }


def test_a_key_needs_its_certificate() -> None:
    """And so do the ports for TLS."""
    found: Found = {"tls_key": [Occurrence(3, "/k.pem")]}
    assert checked(found) == ["error 3: tls_key without its certificate, expected tls_certificate as well"]
    assert "tls_key" not in found
    assert checked(tls(tls_key="/k.pem", wss_listen_port=443)) == []
    assert checked(ports(sip_tls_port=5061, wss_listen_port=443, ws_listen_port=80)) == [
        "warning 1: sip_tls_port without tls_certificate: nothing will listen there",
        "warning 2: wss_listen_port without tls_certificate: nothing will listen there",
    ]
    assert checked(ports(sip_tls_port=0)) == []


def test_clients_are_checked_with_authorities_of_our_own() -> None:
    """Those of the system give a certificate to everybody."""
    (problem,) = checked(tls(tls_verify_clients=True))
    assert problem.startswith("warning 2: tls_verify_clients without tls_ca: everybody with a certificate")
    assert checked(tls(tls_verify_clients=True, tls_ca="/ca.pem")) == []
    assert checked(tls(tls_verify_clients=False)) == []


def test_a_port_has_one_listener() -> None:
    """The one for SIP wins; the other is off, for its default may be taken as well."""
    found = tls(sip_listen_port=5061)
    assert checked(found) == [
        "error 2: sip_tls_port 5061 (the default) is the port of sip_listen_port already, "
        "expected another one; nothing listens for it"
    ]
    assert found["sip_tls_port"] == [Occurrence(2, 0)]
    found = tls(wss_listen_port=8443, ws_listen_port=8443)
    (problem,) = checked(found)
    assert problem.startswith("error 3: wss_listen_port 8443 is the port of ws_listen_port already")
    assert found["wss_listen_port"] == [Occurrence(3, 0)]


def test_ports_that_nothing_listens_on_are_free() -> None:
    """Without a certificate 5061 is a port as any other; 0 is none; media has UDP."""
    assert checked(ports(sip_listen_port=5061)) == []
    assert checked(tls(sip_tls_port=0, ws_listen_port=0)) == []
    assert checked(tls(sip_tls_port=7100)) == []


def test_without_md5_some_phones_stay_out() -> None:
    """Worth knowing, if that is what is wanted."""
    common: Found = {"proxy_auth_realm": [Occurrence(1, "r")], "proxy_auth_pwfile": [Occurrence(2, "/f")]}
    (problem,) = checked({**common, "proxy_auth_algorithm": [Occurrence(3, "SHA-256")]})
    assert problem.startswith("notice 3: without proxy_auth_algorithm = MD5 phones that know nothing else")
    both = [Occurrence(3, "SHA-256"), Occurrence(4, "MD5")]
    assert checked({**common, "proxy_auth_algorithm": both}) == []
