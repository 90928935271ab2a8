# SPDX-License-Identifier: MIT
"""The directives of siproxd.conf for SIP over connections: TCP, TLS and WebSockets."""

from __future__ import annotations

from siproxd_tw.config.schema import NEW, Directive, Kind

__all__ = ["STREAMS"]

STREAMS: dict[str, tuple[Directive, ...]] = {
    "SIP over TCP": (
        Directive(
            "tcp_timeout",
            Kind.INTEGER,
            "How long a connection may be idle before it is closed. One that we have sent registrations by "
            "is kept for a day, as calls may come by it.",
            default="300",
            unit="s",
            low=1,
            reason="0 would close each connection at once",
            compatibility="siproxd takes 0 and closes each connection within 5 s.",
        ),
        Directive(
            "tcp_connect_timeout",
            Kind.INTEGER,
            "How long to wait for a connection to be made.",
            default="500",
            unit="ms",
            low=1,
            compatibility="siproxd handles no other message while it waits.",
        ),
        Directive(
            "tcp_keepalive",
            Kind.INTEGER,
            "How often to send CRLF on an idle connection (RFC 5626); 0 means never.",
            default="0",
            unit="s",
            compatibility="In siproxd 0 sends one every 5 s, against its manual.",
        ),
    ),
    "SIP over TLS and WebSocket": (
        Directive(
            "tls_certificate",
            Kind.PATH,
            "The PEM file with our certificate and those that lead to its authority. With it TLS is listened "
            "for; it is also shown to servers that ask for one. A renewed file is used from the next "
            "connection on.",
            compatibility=NEW,
        ),
        Directive(
            "tls_key",
            Kind.PATH,
            "The PEM file with the key of `tls_certificate`; without it the key is in the same file.",
            compatibility=NEW,
        ),
        Directive(
            "tls_ca",
            Kind.PATH,
            "The PEM file with the authorities that certificates of peers are checked with. Without it those "
            "of the system.",
            compatibility=NEW,
            guard=True,
        ),
        Directive(
            "tls_verify",
            Kind.BOOLEAN,
            "Whether a server that we connect to must prove that it is the domain that was configured or "
            "called. Without that anybody on the way can listen.",
            default="1",
            compatibility=NEW,
        ),
        Directive(
            "tls_verify_clients",
            Kind.BOOLEAN,
            "Whether whoever connects here by TLS must have a certificate of an authority of `tls_ca`.",
            default="0",
            compatibility=NEW,
            guard=True,
        ),
        Directive(
            "sip_tls_port",
            Kind.PORT,
            "The port for TLS on both sides, when there is a `tls_certificate`. 0 means no TLS at all, not "
            "even to servers.",
            default="5061",
            high=65535,
            compatibility=NEW,
        ),
        Directive(
            "ws_listen_port",
            Kind.PORT,
            "The port for WebSockets (RFC 7118) on both sides, for phones in browsers; 0 means none.",
            default="0",
            high=65535,
            compatibility=NEW,
        ),
        Directive(
            "wss_listen_port",
            Kind.PORT,
            "The port for WebSockets over TLS, when there is a `tls_certificate`; 0 means none.",
            default="0",
            high=65535,
            compatibility=NEW,
        ),
    ),
}
