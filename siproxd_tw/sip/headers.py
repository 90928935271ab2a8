# SPDX-License-Identifier: MIT
"""Typed views of the header fields that a proxy reads: Via, CSeq, and what holds addresses (section 20)."""

from __future__ import annotations

import re
from typing import NamedTuple

from siproxd_tw.sip.field import KINDS, Element, Field, Item, Rule, field_error, value_of
from siproxd_tw.sip.grammar import LWS, SWS, ParseError, host_text, via_parm
from siproxd_tw.sip.uri import ADDR_SPEC, SIPURI, OtherURI, address, parse_uri

__all__ = [
    "USUAL_ADDRESS",
    "USUAL_VIA",
    "CSeq",
    "Element",
    "Field",
    "Item",
    "NameAddr",
    "Via",
    "field_error",
    "value_of",
]

USUAL_VIA: Rule = re.compile(rb" ?%b\r\n" % via_parm(b"", b" ")).fullmatch
"""A complete Via line, after the colon, the way nearly everybody writes it; holds no IPv6 check."""

USUAL_ADDRESS: Rule = re.compile(rb" ?(?![ \t\r\n])%b\r\n" % address(b"", ADDR_SPEC)).fullmatch
"""The same for one name-addr or addr-spec; not for ``Contact: *``."""


class CSeq(NamedTuple):
    """The value of CSeq (section 20.16)."""

    number: int
    method: str


class Via(Element):
    """One ``via-parm`` (section 20.42)."""

    __slots__ = ()
    pattern = re.compile(SWS + via_parm(SWS, LWS) + SWS)
    usual = USUAL_VIA
    expected = "SIP/2.0/transport, blank, host"

    def check(self) -> None:
        """Check that an IPv6 reference is one."""
        match = self._matched()
        try:
            host_text(match["host"])
        except ParseError as error:
            raise field_error(self.field, error.reason, match.start("host")) from None

    @property
    def transport(self) -> str:
        """The transport in upper case: "UDP"."""
        return self._matched()["transport"].decode("ascii").upper()

    @property
    def host(self) -> str:
        """The host of sent-by, lower case, IPv6 without brackets."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return host_text(match["host"])

    @property
    def port(self) -> int | None:
        """The port of sent-by, None when it is not written."""
        match = self._match if self.seen is self.field.changes else self._matched()
        port: bytes | None = match["port"]
        return None if port is None else int(port)

    @property
    def sent_by(self) -> tuple[str, int | None]:
        """Host and port together, as they are compared (section 17.2.3)."""
        return self.host, self.port

    @property
    def sent_by_span(self) -> tuple[int, int]:
        """Where in ``field.raw`` host and port stand."""
        match = self._matched()
        return match.start("host"), match.end("host" if match["port"] is None else "port")

    @property
    def branch(self) -> bytes | None:
        """The branch parameter, None without one."""
        match = self._match if self.seen is self.field.changes else self._matched()
        found: bytes | None = match["branch"]
        return self.param(b"branch") if found is None or match.end("branch") > self._intact else found

    @property
    def received(self) -> str | None:
        """The received parameter; IPv6 without brackets, which some write (RFC 5118 section 4.5)."""
        value = self.param(b"received")
        return None if value is None else value.decode("ascii", "backslashreplace").strip("[]").lower()

    @property
    def rport(self) -> int | None:
        """The value of rport (RFC 3581 section 5); None when it is absent or has no value."""
        value = self.param(b"rport") or b""
        return int(value) if value.isdigit() and len(value) < 6 else None


class NameAddr(Element):
    """One ``name-addr`` or ``addr-spec`` with the parameters of the header field (section 20.10)."""

    __slots__ = ()
    pattern = re.compile(SWS + address(SWS, rb"\*|" + ADDR_SPEC) + SWS)
    usual = USUAL_ADDRESS
    expected = "an address"

    def check(self) -> None:
        """Check IPv6 references, and that ``*`` stands alone and in a Contact only."""
        if self.is_wildcard:
            raw = self.field.raw
            if self.field.name != b"contact" or raw[self.field.raw.index(b":") + 1 :].strip() != b"*":
                raise field_error(
                    self.field, "expected an address, * only stands alone in Contact", self.start
                )
            return
        try:
            parse_uri(self.uri_text)
        except ParseError as error:
            raise field_error(self.field, error.reason, self.uri_start + error.position) from None

    def _span(self, match: re.Match[bytes]) -> tuple[int, int]:
        return max(match.start("first"), match.start("bare")), match.end("params")

    @property
    def display(self) -> bytes:
        """The display name as written, with its quotes; b"" without one."""
        return (self._matched()["display"] or b"").rstrip(b" \t\r\n")

    @property
    def bracketed(self) -> bool:
        """Whether the URI stands in angle brackets."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return match["uri"] is not None

    @property
    def uri_span(self) -> tuple[int, int]:
        """Where in ``field.raw`` the URI stands, without the brackets."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return match.span("bare" if match["uri"] is None else "uri")

    @property
    def uri_start(self) -> int:
        """Where in ``field.raw`` the URI starts."""
        return self.uri_span[0]

    @property
    def uri_end(self) -> int:
        """Where in ``field.raw`` the URI ends."""
        return self.uri_span[1]

    @property
    def uri_text(self) -> bytes:
        """The URI as written."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return match["uri"] or match["bare"]

    @property
    def uri(self) -> SIPURI | OtherURI:
        """The URI, taken apart."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return parse_uri(match["uri"] or match["bare"])

    @property
    def tag(self) -> bytes | None:
        """The tag parameter, None without one."""
        match = self._match if self.seen is self.field.changes else self._matched()
        found: bytes | None = match["tag"]
        return self.param(b"tag") if found is None or match.end("tag") > self._intact else found

    @property
    def is_wildcard(self) -> bool:
        """Whether this is ``Contact: *``."""
        match = self._match if self.seen is self.field.changes else self._matched()
        return match["bare"] == b"*"


KINDS[b"via"] = Via
KINDS |= dict.fromkeys(
    (
        *(b"from", b"to", b"contact", b"route", b"record-route", b"path", b"service-route"),
        *(b"refer-to", b"referred-by", b"reply-to", b"diversion", b"remote-party-id"),
        *(b"p-asserted-identity", b"p-preferred-identity", b"p-associated-uri", b"p-called-party-id"),
        *(b"history-info", b"alert-info", b"call-info", b"error-info"),
    ),
    NameAddr,
)
