# SPDX-License-Identifier: MIT
"""The directives of siproxd.conf that say who may use the proxy, and how users prove who they are."""

from __future__ import annotations

from siproxd_tw.config.schema import NEW, Directive, Kind

__all__ = ["ACCESS"]

_STRICT = "In siproxd a wrong entry ends the list, and a length that is no number matches everybody."

ACCESS: dict[str, tuple[Directive, ...]] = {
    "Access": (
        Directive(
            "hosts_allow_reg",
            Kind.NETWORKS,
            "The networks that may register; they may use SIP too. Without it everybody inside may register, "
            "and nobody outside.",
            compatibility=f"{_STRICT} siproxd takes registrations from everywhere without it.",
            guard=True,
        ),
        Directive(
            "hosts_allow_sip",
            Kind.NETWORKS,
            "The networks that may send anything but a registration. Without it nobody is excluded.",
            compatibility=_STRICT,
            guard=True,
        ),
        Directive(
            "hosts_deny_sip",
            Kind.NETWORKS,
            "The networks whose packets are dropped without an answer; it wins over all lists of those "
            "allowed.",
            compatibility=_STRICT,
            guard=True,
        ),
        Directive(
            "hosts_allow_inside",
            Kind.NETWORKS,
            "The networks inside that may send anything at all; others get no answer. It narrows the other "
            "lists. Without it nobody is excluded.",
            compatibility=NEW,
            guard=True,
        ),
        Directive(
            "hosts_allow_outside",
            Kind.NETWORKS,
            "The networks outside that may begin anything: call a phone, ask for our abilities. Others get "
            "no answer, so that scanners find nothing; calls that run go on. Servers at which our phones are "
            "registered need not be in it. Without it nobody is excluded.",
            compatibility=NEW,
            guard=True,
        ),
        Directive(
            "hosts_trust_outside",
            Kind.NETWORKS,
            "The networks outside that may reach every inside address that they name in the Request-URI, not "
            "only registered phones: a trunk without registration. They need not be in `hosts_allow_sip` and "
            "`hosts_allow_outside` as well.",
            compatibility=NEW,
            guard=True,
        ),
    ),
    "Authentication": (
        Directive(
            "proxy_auth_realm",
            Kind.STRING,
            "The realm of digest authentication (RFC 7616) for registrations at this machine. Without it "
            "there is none. Registrations that are passed on are the business of the registrar they go to.",
            guard=True,
        ),
        Directive(
            "proxy_auth_passwd",
            Kind.STRING,
            "One password for all users. Prefer `proxy_auth_pwfile`, which wins.",
            secret=True,
        ),
        Directive(
            "proxy_auth_pwfile",
            Kind.PATH,
            "A file with a user on each line, in one of two forms that may be mixed: `user password`, or "
            "`user:realm:HA1` as htdigest writes it, in which HA1 is the hash of `user:realm:password` in "
            "hex: 32 digits for MD5, 64 for SHA-256; `user:realm:SHA-512-256:HA1` for that one. Several "
            "lines with HA1 for one user add up, else the last line counts. Lines for other realms and "
            "comments (`#`) do not count. The file is read again when it has changed.",
            compatibility="siproxd knows the first form, and reads the file once.",
        ),
        Directive(
            "proxy_auth_algorithm",
            Kind.CHOICE,
            "A hash algorithm to offer and to accept, one on each line; several are offered strongest first "
            "(RFC 8760). Without it: MD5, and for users with an HA1 what that is made for. Where users "
            "differ, what all of them can answer is offered. Many phones look at the first offer only and "
            "give up when they do not know it, so try yours before adding another one to MD5.",
            choices=("SHA-512-256", "SHA-256", "MD5"),
            repeated=True,
            compatibility=NEW,
            guard=True,
        ),
        Directive(
            "proxy_auth_requests",
            Kind.CHOICE,
            "What inside users have to authenticate, where `proxy_auth_realm` is set: `register`, their "
            "registrations at this machine, or `all`, every request that begins something too.",
            default="register",
            choices=("register", "all"),
            compatibility=NEW,
            guard=True,
        ),
    ),
}
