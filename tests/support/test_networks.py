# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from tests.support.networks import NETWORKS, plain

TCP, TLS, SIX = NETWORKS["tcp"], NETWORKS["udp-tls"], NETWORKS["ipv4-ipv6"]


@pytest.mark.parametrize(
    ("network", "text", "expected"),
    [
        (
            TCP,
            "Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…",
            "Via: SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK…",
        ),
        (
            TCP,
            "Contact: <sip:a@10.0.0.10:5062;x=1>;q=1",
            "Contact: <sip:a@10.0.0.10:5062;transport=tcp;x=1>;q=1",
        ),
        (TCP, "From: <sip:a@10.0.0.10>;tag=1", "From: <sip:a@10.0.0.10>;tag=1"),
        (TCP, "ACK sip:a@203.0.113.1 SIP/2.0", "ACK sip:a@203.0.113.1;transport=tcp SIP/2.0"),
        (TCP, "ACK sip:a@sip.provider.test SIP/2.0", "ACK sip:a@sip.provider.test SIP/2.0"),
        (TCP, "Contact: <sip:a@foo.bar.test>", "Contact: <sip:a@foo.bar.test;transport=tcp>"),
        (TCP, "c=IN IP4 10.0.0.10", "c=IN IP4 10.0.0.10"),
        (TLS, "Via: SIP/2.0/UDP 203.0.113.1:5060", "Via: SIP/2.0/TLS 203.0.113.1:5061"),
        (
            TLS,
            "Route: <sip:10.0.0.1:5060;lr>, <sip:203.0.113.50;lr>",
            "Route: <sip:10.0.0.1:5060;lr>, <sip:203.0.113.50;transport=tls;lr>",
        ),
        (SIX, "Via: SIP/2.0/UDP 203.0.113.1:5060", "Via: SIP/2.0/UDP [2001:db8::1]:5060"),
        (SIX, "OPTIONS sip:203.0.113.1 SIP/2.0", "OPTIONS sip:[2001:db8::1] SIP/2.0"),
        (SIX, "o=- 1 1 IN IP4 203.0.113.1", "o=- 1 1 IN IP6 2001:db8::1"),
        (SIX, "203.0.113.1:7070", "2001:db8::1:7070"),
        (SIX, "Via: SIP/2.0/UDP 192.0.2.9:5077", "Via: SIP/2.0/UDP 192.0.2.9:5077"),
    ],
)
def test_a_line_of_a_trace(network, text, expected):
    """Each kind of line is written for its side; what is written already stays."""
    assert network.written(text) == expected
    assert network.written(expected) == expected


def test_what_we_note_of_a_connection():
    """The Via of who has connected gets port and address of the connection, in place of a bare rport."""
    via = "Via: SIP/2.0/UDP 10.0.0.10:5062;rport;branch=z9hG4bK1, SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK2"
    source = {("10.0.0.10", 5062): ("10.0.0.10", 40001)}
    assert TCP.written(via, source.get) == (
        "Via: SIP/2.0/TCP 10.0.0.10:5062;branch=z9hG4bK1;rport=40001;received=10.0.0.10, "
        "SIP/2.0/TCP 10.0.0.1:5060;branch=z9hG4bK2"
    )


def test_the_addresses_of_traces():
    """Addresses of media are read as traces have them."""
    assert plain("2001:db8::1:7070 > fd00::10:40000") == "203.0.113.1:7070 > 10.0.0.10:40000"
