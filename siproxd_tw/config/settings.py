# SPDX-License-Identifier: MIT
"""The configuration as the program sees it: frozen values, handed out in slices.

Each part of the program receives the slice that concerns it and nothing else. Times are seconds,
whatever unit the file has. ``Config()`` is what an empty file means.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from siproxd_tw.config.directives import DIRECTIVES
from siproxd_tw.config.networks import AccessList, Network
from siproxd_tw.config.plugin_directives import PLUGINS
from siproxd_tw.config.values import Value, Values, default_of

__all__ = [
    "AccessConfig",
    "AuthConfig",
    "Config",
    "DomainProxy",
    "LogConfig",
    "MediaConfig",
    "NetworkConfig",
    "PluginsConfig",
    "ProcessConfig",
    "RegistrarConfig",
    "RoutingConfig",
    "SIPConfig",
    "TransportConfig",
    "plugin_settings",
]


@dataclass(frozen=True, slots=True)
class NetworkConfig:
    """On which networks we are; for the addresses."""

    inside: str = ""
    """The inside interface (`if_inbound`), empty when it has to be found out."""
    outside: str = ""
    """The outside interface (`if_outbound`), empty when it has to be found out."""
    host_outbound: str = ""
    """A host name or IP address to present outside; empty: the address of the interface."""
    inside_networks: tuple[Network, ...] = ()
    """Networks that are inside in addition to that of the inside interface."""
    ipv6: bool = True
    """Whether IPv6 addresses of the interfaces are used too."""


@dataclass(frozen=True, slots=True)
class SIPConfig:
    """How SIP is spoken."""

    port: int = 5060
    """The port that is listened on and sent from (`sip_listen_port`)."""
    dscp: int = 0
    """The DSCP of what is sent, 0 to 63 (RFC 2474); 0: not set."""
    ua_string: str = ""
    """The User-Agent of what is sent outside; empty: as it came."""
    rport_inside: bool = False
    """Whether our Via in messages sent inside asks for rport (RFC 3581)."""
    rport_outside: bool = False
    """Whether our Via in messages sent outside asks for rport."""
    obscure_loops: bool = False
    """Whether the Call-ID is another one outside."""
    name_outbound: str = ""
    """The name to write into Contact and Via outside in place of our address; empty: the address."""
    single_via: bool = False
    """Whether the outside sees our Via only; the phone's come back with the response."""
    udp_max: int = 1300
    """Bytes above which a request is sent by TCP first (RFC 3261 section 18.1.1); 0: never."""
    most_transactions: int = 20_000
    """Transactions without an answer above which new requests are answered 503."""


@dataclass(frozen=True, slots=True)
class RegistrarConfig:
    """How registrations are kept."""

    file: str = ""
    """Where they are saved (`registration_file`); empty: not at all."""
    autosave: float = 0.0
    """Seconds that a change may wait until it is saved."""
    default_expires: int = 3600
    """Seconds that a registration is valid when nobody says (RFC 3261 section 10.3)."""
    min_expires: int = 0
    """Seconds below which a registration here is refused with 423; 0: none is."""
    max_expires: int = 86_400
    """Seconds that a registration here is valid at most."""
    masks: tuple[tuple[str, str], ...] = ()
    """Pairs of a domain and the domain shown outside in its place (`mask_host`, `masked_host`)."""


@dataclass(frozen=True, slots=True)
class AccessConfig:
    """Who may use the proxy. A list that is false restricts nothing."""

    allow_register: AccessList = field(default_factory=AccessList)
    """Who may register (`hosts_allow_reg`); whoever may register may use SIP."""
    allow_sip: AccessList = field(default_factory=AccessList)
    """Who may send anything else (`hosts_allow_sip`)."""
    deny_sip: AccessList = field(default_factory=AccessList)
    """Whose packets are dropped (`hosts_deny_sip`); wins over both."""
    allow_inside: AccessList = field(default_factory=AccessList)
    """Who may send anything from inside (`hosts_allow_inside`)."""
    allow_outside: AccessList = field(default_factory=AccessList)
    """Who may begin anything from outside (`hosts_allow_outside`); dialogs that run go on."""
    trusted_outside: AccessList = field(default_factory=AccessList)
    """Who may reach every inside address from outside (`hosts_trust_outside`)."""


@dataclass(frozen=True, slots=True)
class AuthConfig:
    """Digest authentication of registrations at this machine."""

    realm: str = ""
    """Empty: no authentication."""
    password: str = field(default="", repr=False)
    """The password of every user, unless there is a file."""
    password_file: str = ""
    algorithms: tuple[str, ...] = ()
    """The hash algorithms to offer and accept; empty: MD5, and what the password file has hashes for."""
    every_request: bool = False
    """Whether inside users authenticate every request that begins something, not only REGISTER here."""


@dataclass(frozen=True, slots=True)
class DomainProxy:
    """The next hop of one domain."""

    name: str
    """The domain, as the host of a From header has it."""
    host: str
    port: int | None = None
    """None: the DNS says, else the default."""
    transport: str = ""
    """As Via spells it; empty: the DNS says, else UDP."""


@dataclass(frozen=True, slots=True)
class RoutingConfig:
    """Where messages to the outside go."""

    proxy_host: str = ""
    """The next hop of all of them; empty: wherever the message says (RFC 3261 section 16.6)."""
    proxy_port: int | None = None
    proxy_transport: str = ""
    domains: tuple[DomainProxy, ...] = ()
    """The domains with a next hop of their own, in the order of the file."""
    name_servers: tuple[str, ...] = ()
    """Addresses of the DNS servers to ask; empty: those of the system."""

    def for_domain(self, name: str) -> DomainProxy | None:
        """Return the first entry for the domain `name`, in any case; None when there is none."""
        return next((domain for domain in self.domains if domain.name.lower() == name.lower()), None)


@dataclass(frozen=True, slots=True)
class MediaConfig:
    """How media is relayed."""

    enabled: bool = True
    """Whether session descriptions are rewritten at all (`rtp_proxy_enable`)."""
    port_low: int = 7070
    """The lowest RTP port; even."""
    port_high: int = 7468
    """The highest RTP port; even, and its RTCP port is one above (RFC 3550 section 11)."""
    timeout: float = 300.0
    """Seconds without RTP after which a stream ends."""
    dscp: int = 0
    """The DSCP of media, 0 to 63; 0: not set."""
    input_dejitter: float = 0.0
    """Seconds to hold back media for the inside."""
    output_dejitter: float = 0.0
    """Seconds to hold back media for the outside."""


@dataclass(frozen=True, slots=True)
class TransportConfig:
    """How connections are treated."""

    tcp_timeout: float = 300.0
    """Seconds until an idle connection is closed."""
    tcp_connect_timeout: float = 0.5
    """Seconds to wait for a new connection."""
    tcp_keepalive: float = 0.0
    """Seconds between keepalives (RFC 5626 section 3.5.1); 0: none."""
    tls_port: int = 5061
    """Where TLS is listened for, when there is a certificate; 0: nowhere."""
    ws_port: int = 0
    """Where WebSockets are listened for (RFC 7118); 0: nowhere."""
    wss_port: int = 0
    """Where WebSockets over TLS are listened for, when there is a certificate; 0: nowhere."""
    certificate: str = ""
    """The PEM file with our certificate and its chain; empty: no TLS server."""
    key: str = ""
    """The PEM file with its key; empty: the same file."""
    ca: str = ""
    """The PEM file with the authorities that peers' certificates are checked with; empty: the system's."""
    verify_servers: bool = True
    """Whether a TLS server must prove that it is the domain we asked for."""
    verify_clients: bool = False
    """Whether whoever connects by TLS must have a certificate."""


@dataclass(frozen=True, slots=True)
class ProcessConfig:
    """What becomes of the process; empty texts mean no change."""

    daemonize: bool = False
    user: str = ""
    chrootjail: str = ""
    pid_file: str = ""


@dataclass(frozen=True, slots=True)
class LogConfig:
    """What is logged and where it can be watched."""

    silence_log: int = 1
    """0 everything, 1 information and above, 2 warnings and errors, 3 errors, 4 nothing."""
    debug_level: int = 0
    """siproxd's bits of debug classes; -1: all of them."""
    debug_port: int = 0
    """0: none."""


def plugin_settings(values: Mapping[str, Value]) -> Mapping[str, Values]:
    """Return the part of `values`, which stand under the names of directives, by plug-in and short key."""
    settings: dict[str, dict[str, Value]] = {plugin: {} for plugin in PLUGINS}
    for directive in DIRECTIVES.values():
        if directive.plugin:
            settings[directive.plugin][directive.key] = values[directive.name]
    return MappingProxyType({plugin: Values(own) for plugin, own in settings.items()})


def _plugin_defaults() -> Mapping[str, Values]:
    return plugin_settings({name: default_of(directive) for name, directive in DIRECTIVES.items()})


@dataclass(frozen=True, slots=True)
class PluginsConfig:
    """Which plug-ins are used, and what they are told."""

    load: tuple[str, ...] = ()
    """Names without the prefix plugin_ and without .la, in the order in which they see a message."""
    settings: Mapping[str, Values] = field(default_factory=_plugin_defaults)
    """For each plug-in its values: ``settings["stun"].number("port")`` is `plugin_stun_port`."""


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that siproxd.conf says."""

    network: NetworkConfig = field(default_factory=NetworkConfig)
    sip: SIPConfig = field(default_factory=SIPConfig)
    registrar: RegistrarConfig = field(default_factory=RegistrarConfig)
    access: AccessConfig = field(default_factory=AccessConfig)
    auth: AuthConfig = field(default_factory=AuthConfig)
    routing: RoutingConfig = field(default_factory=RoutingConfig)
    media: MediaConfig = field(default_factory=MediaConfig)
    transports: TransportConfig = field(default_factory=TransportConfig)
    process: ProcessConfig = field(default_factory=ProcessConfig)
    log: LogConfig = field(default_factory=LogConfig)
    plugins: PluginsConfig = field(default_factory=PluginsConfig)
