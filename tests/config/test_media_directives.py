# SPDX-License-Identifier: MIT
"""The directives of media."""

from siproxd_tw.config.media_directives import LONGEST_DEJITTER, MEDIA
from siproxd_tw.config.values import convert

DIRECTIVES = {directive.name: directive for section in MEDIA.values() for directive in section}


def test_the_default_range_has_200_pairs() -> None:
    """Five or ten, as firewall packages set it, are too few for one office."""
    low, high = int(DIRECTIVES["rtp_port_low"].default), int(DIRECTIVES["rtp_port_high"].default)
    assert (high - low) // 2 + 1 == 200


def test_ports_out_of_range_are_refused_with_the_reason() -> None:
    """80 is somebody else's."""
    for text in ("80", "1023", "65536"):
        value, findings = convert(DIRECTIVES["rtp_port_low"], text)
        assert value is None
        assert "ports below 1024 belong to well-known services" in findings[0].text


def test_a_timeout_of_0_is_refused_with_the_reason() -> None:
    """It is siproxd's default and ends calls."""
    value, findings = convert(DIRECTIVES["rtp_timeout"], "0")
    assert value is None
    assert "0 would end each call at its first pause" in findings[0].text


def test_dejitter_ends_at_a_second_and_a_half() -> None:
    """More is taken by siproxd, with a complaint."""
    for name in ("rtp_input_dejitter", "rtp_output_dejitter"):
        assert convert(DIRECTIVES[name], str(LONGEST_DEJITTER)) == (1_500_000, [])
        assert convert(DIRECTIVES[name], str(LONGEST_DEJITTER + 1))[0] is None
