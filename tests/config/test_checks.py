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
    for name in ("proxy_auth_passwd", "proxy_auth_pwfile"):
        assert checked({"proxy_auth_realm": [Occurrence(1, "r")], name: [Occurrence(2, "x")]}) == []
