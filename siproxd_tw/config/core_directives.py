# SPDX-License-Identifier: MIT
"""The directives of siproxd.conf for signalling and for the process, in the sections of the manual page."""

from __future__ import annotations

from siproxd_tw.config.access_directives import ACCESS
from siproxd_tw.config.schema import NEW, Directive, Kind
from siproxd_tw.config.stream_directives import STREAMS

__all__ = ["CORE"]

_MASKS = ("mask_host", "masked_host")
_DOMAINS = ("outbound_domain_name", "outbound_domain_host", "outbound_domain_port")
_TRANSPORTS = ("auto", "udp", "tcp", "tls")
_BY_POSITION = (
    "A different number of each is an error, and then none counts; siproxd says so at each message instead."
)

CORE: dict[str, tuple[Directive, ...]] = {
    "Networks": (
        Directive(
            "if_inbound",
            Kind.INTERFACE,
            "The interface of the inside network, where the phones are. Its first IPv4 address is the one "
            "that phones register at. It may be the same as `if_outbound` on a machine with one interface.",
        ),
        Directive(
            "if_outbound",
            Kind.INTERFACE,
            "The interface of the outside network, where the provider is. Its address may change at any "
            "time.",
        ),
        Directive(
            "host_outbound",
            Kind.HOST,
            "The address, or the name of it, to present to the outside in place of the address of "
            "`if_outbound`: the public address of a router in front of this machine. Sockets are bound to "
            "the address of the interface all the same.",
        ),
        Directive(
            "inside_networks",
            Kind.NETWORKS,
            "More networks whose members count as inside, in addition to the network of `if_inbound`: those "
            "that are reached through a router. Needed on a machine with one interface, where the interface "
            "that a message comes in on does not tell the sides apart.",
            compatibility=NEW,
        ),
        Directive(
            "ipv6_enable",
            Kind.BOOLEAN,
            "Whether the IPv6 addresses of both interfaces are used as well, for signalling and media: its "
            "first address that is not link-local. A call between an IPv4 and an IPv6 party is relayed.",
            default="1",
            compatibility="New; siproxd knows IPv4 only.",
        ),
    ),
    "SIP": (
        Directive(
            "sip_listen_port",
            Kind.PORT,
            "The port for SIP on both sides, and the source port of what is sent.",
            default="5060",
            low=1,
            high=65535,
        ),
        Directive(
            "sip_dscp",
            Kind.DSCP,
            "The DSCP that SIP packets are sent with (RFC 2474), such as 26; 0 leaves it to the system.",
            default="0",
            high=63,
        ),
        Directive(
            "ua_string",
            Kind.STRING,
            "The User-Agent header of every message that goes outside, requests and responses. "
            "The Server header is left alone.",
        ),
        Directive(
            "use_rport",
            Kind.INTEGER,
            "Whether to ask for `rport` (RFC 3581) in our own Via: 0 never, 1 in messages sent inside, "
            "2 in messages sent outside, 3 in both.",
            default="0",
            high=3,
            synonyms={"Option1": "0", "Option2": "1", "Option3": "2", "Option4": "3"},
            compatibility="Option1 to Option4, which OPNsense may write, mean 0 to 3; siproxd refuses them.",
        ),
        Directive(
            "obscure_loops",
            Kind.BOOLEAN,
            "Whether the outside sees another Call-ID than the inside, for providers that take the two legs "
            "of a call that comes back for a loop.",
            default="0",
        ),
        Directive(
            "name_outbound",
            Kind.HOST,
            "The name to write into Contact and Via outside in place of the address there, for providers "
            "that want a domain which is in our certificate. It must lead here.",
            compatibility=NEW,
        ),
        Directive(
            "single_via",
            Kind.BOOLEAN,
            "Whether the outside sees our own Via only, for providers that take no requests from behind a "
            "proxy and to show no inside addresses. Responses get the other ones back.",
            default="0",
            compatibility=NEW,
        ),
        Directive(
            "sip_udp_max",
            Kind.INTEGER,
            "The size above which a request that would go by UDP is sent by TCP first, as datagrams of that "
            "size get lost on the way (RFC 3261 section 18.1.1); who does not take it gets it by UDP. 0 "
            "means never.",
            default="1300",
            unit="bytes",
            compatibility=NEW,
        ),
        Directive(
            "sip_max_transactions",
            Kind.INTEGER,
            "How many transactions may wait for an answer before new requests are answered 503 with "
            "Retry-After. What belongs to calls that run is served up to twice as many. Those that have "
            "their answer and only wait for repeated messages are kept up to five times as many.",
            default="20000",
            low=10,
            compatibility=NEW,
        ),
    ),
    "Registrations": (
        Directive(
            "registration_file",
            Kind.PATH,
            "The file in which registrations survive a restart. Without one they are forgotten.",
        ),
        Directive(
            "autosave_registrations",
            Kind.INTEGER,
            "How long a change may wait until `registration_file` is written; 0 means a second. At the end "
            "it is written in any case.",
            default="0",
            unit="s",
            compatibility="In siproxd 0 means only at the end, and registrations are lost with the power.",
        ),
        Directive(
            "default_expires",
            Kind.INTEGER,
            "How long a registration is valid when the phone does not say.",
            default="3600",
            unit="s",
            low=1,
        ),
        Directive(
            "min_expires",
            Kind.INTEGER,
            "The shortest time that may be asked for at a registration here; less is refused with 423 "
            "(RFC 3261 section 10.3). 0 means that any is taken.",
            default="0",
            unit="s",
            high=3600,
            reason="an hour must always be accepted",
            compatibility=NEW,
        ),
        Directive(
            "max_expires",
            Kind.INTEGER,
            "The longest time that a registration here is valid, whatever the phone asks for.",
            default="86400",
            unit="s",
            low=60,
            compatibility=NEW,
        ),
        Directive(
            "mask_host",
            Kind.STRING,
            "For phones that register here, at this machine, and use its address as their domain: when the "
            "domain of a registration is the n-th `mask_host`, the n-th `masked_host` takes its place "
            "outside.",
            repeated=True,
            group=_MASKS,
            compatibility=_BY_POSITION,
        ),
        Directive(
            "masked_host",
            Kind.STRING,
            "The domain that is shown outside in place of the `mask_host` with the same number.",
            repeated=True,
            group=_MASKS,
            compatibility=_BY_POSITION,
        ),
    ),
    **ACCESS,
    "Routing": (
        Directive(
            "outbound_proxy_host",
            Kind.HOST,
            "The next hop of everything that goes outside, unless an `outbound_domain_name` applies.",
        ),
        Directive(
            "outbound_proxy_port",
            Kind.PORT,
            "The port of `outbound_proxy_host`. 0 means the one that the DNS says (RFC 3263), else 5060, or "
            "5061 for TLS.",
            default="0",
            high=65535,
        ),
        Directive(
            "outbound_proxy_transport",
            Kind.CHOICE,
            "How to reach `outbound_proxy_host`; `auto` asks the DNS, and takes UDP when it does not say.",
            default="auto",
            choices=_TRANSPORTS,
            compatibility=NEW,
        ),
        Directive(
            "outbound_domain_name",
            Kind.HOST,
            "A domain with a next hop of its own: calls whose From header has the n-th of these domains go "
            "to the n-th `outbound_domain_host` and `outbound_domain_port`.",
            repeated=True,
            group=_DOMAINS,
            compatibility=_BY_POSITION,
        ),
        Directive(
            "outbound_domain_host",
            Kind.HOST,
            "The next hop of the `outbound_domain_name` with the same number.",
            repeated=True,
            group=_DOMAINS,
            compatibility=_BY_POSITION,
        ),
        Directive(
            "outbound_domain_port",
            Kind.PORT,
            "The port of the `outbound_domain_host` with the same number; 0 as for `outbound_proxy_port`.",
            high=65535,
            repeated=True,
            group=_DOMAINS,
            compatibility=_BY_POSITION,
        ),
        Directive(
            "outbound_domain_transport",
            Kind.CHOICE,
            "How to reach the `outbound_domain_host` with the same number, as `outbound_proxy_transport`. It "
            "may be there fewer times than the others: the rest is `auto`.",
            choices=_TRANSPORTS,
            repeated=True,
            compatibility=NEW,
        ),
        Directive(
            "dns_server",
            Kind.SERVER,
            "The IP address of a DNS server to ask, with `:PORT` behind it if that is not 53; an IPv6 "
            "address then in brackets. Without it those of the system.",
            repeated=True,
            compatibility=NEW,
        ),
    ),
    **STREAMS,
    "Process": (
        Directive("daemonize", Kind.BOOLEAN, "Whether to go into the background.", default="0"),
        Directive("user", Kind.STRING, "The user to become after the start as root."),
        Directive("chrootjail", Kind.PATH, "The folder to lock the process into after the start as root."),
        Directive("pid_file", Kind.PATH, "The file to write the process number to."),
        Directive(
            "thread_stack_size",
            Kind.INTEGER,
            "Accepted without effect: media needs no thread here.",
            default="0",
            unit="kB",
            ignored=True,
        ),
    ),
    "Log": (
        Directive(
            "silence_log",
            Kind.INTEGER,
            "What is logged: 0 everything, 1 information and above, 2 warnings and errors, 3 errors, 4 "
            "nothing.",
            default="1",
            high=4,
        ),
        Directive(
            "debug_level",
            Kind.INTEGER,
            "Which debug messages are written, the sum of: 0x1 details, 0x2 network, 0x4 SIP, 0x8 "
            "registrations, 0x10 what fits nowhere else, 0x20 proxy, 0x40 names, 0x80 packets, 0x100 "
            "configuration, 0x200 media, 0x400 access lists, 0x800 authentication, 0x1000 plug-ins, 0x2000 "
            "details of media; -1 is everything.",
            default="0",
            low=-1,
            high=2**32 - 1,
        ),
        Directive(
            "debug_port",
            Kind.PORT,
            "The TCP port at which the log can be watched; 0 means none.",
            default="0",
            high=65535,
        ),
    ),
}
