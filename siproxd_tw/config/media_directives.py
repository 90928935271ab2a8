# SPDX-License-Identifier: MIT
"""The directives of siproxd.conf for media."""

from __future__ import annotations

from siproxd_tw.config.schema import Directive, Kind

__all__ = ["LONGEST_DEJITTER", "MEDIA"]

#: Microseconds; siproxd complains about more and takes it.
LONGEST_DEJITTER = 1_500_000

_RTP_PORTS = "ports below 1024 belong to well-known services, and above 65534 there is none for RTCP"

MEDIA: dict[str, tuple[Directive, ...]] = {
    "Media": (
        Directive(
            "rtp_proxy_enable",
            Kind.BOOLEAN,
            "Whether media goes through this machine. With 0 session descriptions stay as they are.",
            default="1",
        ),
        Directive(
            "rtp_port_low",
            Kind.PORT,
            "The lowest port for RTP, an even number; an odd one is rounded up. RTCP has the port above "
            "each of them (RFC 3550 section 11). Each stream of a call needs two such pairs, one on each "
            "side, so that the default of 200 pairs is enough for 100 calls on one address, or 200 on two. "
            "The firewall has to let UDP to these ports in.",
            default="7070",
            low=1024,
            high=65535,
            reason=_RTP_PORTS,
            compatibility="siproxd's default is 0, which means no audio. An error is a range that has no "
            "pair, or that `sip_listen_port` is in.",
        ),
        Directive(
            "rtp_port_high",
            Kind.PORT,
            "The highest port for RTP, an even number; an odd one is rounded down. With an even number the "
            "RTCP port above it is used as well.",
            default="7468",
            low=1024,
            high=65535,
            reason=_RTP_PORTS,
            compatibility="As `rtp_port_low`.",
        ),
        Directive(
            "rtp_timeout",
            Kind.INTEGER,
            "How long a call may be without media before its ports are freed: without RTP or RTCP in any of "
            "its streams, in either direction. A call on hold has a day. One in which nothing has been heard "
            "yet has five minutes at least, for it may be ringing.",
            default="300",
            unit="s",
            low=1,
            reason="0 would end each call at its first pause",
            compatibility="siproxd's default is 0, which ends a stream at the first pause. It ends each "
            "stream by itself, on hold as well, and RTCP does not count.",
        ),
        Directive(
            "rtp_dscp",
            Kind.DSCP,
            "The DSCP that media is sent with (RFC 2474), such as 46; 0 leaves it to the system.",
            default="0",
            high=63,
        ),
        Directive(
            "rtp_input_dejitter",
            Kind.INTEGER,
            "How long to hold back media for the phone in order to even it out; 0 means not at all.",
            default="0",
            unit="µs",
            high=LONGEST_DEJITTER,
            compatibility="In siproxd every packet that is held back gets lost. OPNsense calls the unit "
            "milliseconds; it is microseconds.",
        ),
        Directive(
            "rtp_output_dejitter",
            Kind.INTEGER,
            "The same for media from the phone to the outside.",
            default="0",
            unit="µs",
            high=LONGEST_DEJITTER,
            compatibility="As `rtp_input_dejitter`.",
        ),
    ),
}
