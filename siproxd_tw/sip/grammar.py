# SPDX-License-Identifier: MIT
r"""The grammar of RFC 3261 section 25 as regular expressions on bytes, and what breaks it.

1. Rules work on whole header lines, so that a position in a match is a position in the line.
   A line end inside of a header line is folding and counts as a blank.
2. Input is judged more mildly than section 25.1 where phones are known to be sloppy and nothing
   becomes ambiguous; each such place says so. What is ambiguous is refused.
3. Repetitions are possessive (``*+``): a rule does not go back, so that no input is expensive.
"""

from __future__ import annotations

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Any

__all__ = [
    "BRACKET",
    "COMPACT_FORMS",
    "CR",
    "HEADER_NAMES",
    "HOST",
    "LF",
    "LWS",
    "METHODS",
    "METHOD_NAMES",
    "PERCENT",
    "PORT",
    "QUESTION",
    "QUOTE",
    "QUOTED_STRING",
    "REASONS",
    "SEMICOLON",
    "SWS",
    "TOKEN",
    "VALUE",
    "ParseError",
    "canonical_name",
    "check_line",
    "host_text",
    "is_ip_address",
    "is_token",
    "parameters",
    "spelling",
    "unescape",
    "unquote",
    "via_parm",
]


class ParseError(ValueError):
    """A message, or a part of one, that cannot be used as it is; says what, where and what to answer."""

    reason: str
    """What was expected or is wrong, for a log line."""
    header: str
    """The name of the header field, "start line" or "body"."""
    position: int
    """The offset of the trouble, in bytes from the start of what was parsed."""
    status: int | None
    """The status to answer with; None when only a drop is possible."""
    request: Any
    """The `Request` to give to `response_to`, None when there is none or not enough of it was readable.

    It is there exactly when `status` is. Its Via can be read; any other value may be what is broken.
    """

    def __init__(self, reason: str, header: str, position: int, status: int | None = 400) -> None:
        super().__init__(reason)
        self.reason = reason
        self.header = header
        self.position = position
        self.status = status
        self.request = None

    def __str__(self) -> str:
        return f"{self.header} at {self.position}: {self.reason}"


# Octets as numbers, to look for one in bytes: ``BRACKET in line`` takes an eighth of ``b"[" in line``, which
# first tries to read its bytes as a number and fails. That made 5 us of a message.
LF, CR, QUOTE, PERCENT, SEMICOLON, QUESTION, BRACKET = b'\n\r"%;?['

TOKEN = rb"[A-Za-z0-9\-.!%*_+`'~]++"
LWS = rb"[ \t\r\n]++"
SWS = rb"[ \t\r\n]*+"
QUOTED_STRING = rb'"(?:[^"\\]++|\\.)*+"'

# hostname: an underscore is no letter of RFC 1123 but common in names of containers; the lengths of RFC
# 1035 keep every name resolvable. IPv6reference: only its letters here, `host_text` judges the address.
_LABEL = rb"[A-Za-z0-9_-]{1,63}+"
HOST = rb"(?:%b(?:\.%b)*+\.?|\[[0-9A-Fa-f:.]{2,50}\])" % (_LABEL, _LABEL)
# The longest first: where nothing may be taken back, "6090" of 60901 would be the port.
PORT = rb"(?:6553[0-5]|655[0-2][0-9]|65[0-4][0-9]{2}|6[0-4][0-9]{3}|[0-5]?[0-9]{1,4})"

# gen-value: token / host / quoted-string. Sloppy phones put any visible octet there ("=" of base64, ":"
# of an IPv6 address in `received`, "@"), and leave it empty; a separator still ends it.
VALUE = rb'[^\x00-\x20\x7f;,"<>]++'
_OCTET = rb"25[0-5]|2[0-4][0-9]|1[0-9][0-9]|[1-9]?[0-9]"

_line_end = re.compile(rb"\r(?!\n)|\n(?![ \t])").search
_is_token = re.compile(TOKEN).fullmatch
_is_ipv4 = re.compile(rf"(?:(?:{_OCTET.decode()})\.){{3}}(?:{_OCTET.decode()})").fullmatch
_is_ipv6 = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*").fullmatch
_escape = re.compile(rb"%([0-9A-Fa-f]{2})")
_quoted_pair = re.compile(rb"\\(.)", re.DOTALL)


def parameters(sws: bytes, named: bytes = b"") -> bytes:
    """Return the rule ``*( SEMI generic-param )`` with `sws` around its separators.

    With `named`, the group of that name holds the value of that parameter if it stands first, which for
    the branch of a Via and the tag of an address it nearly always does.
    """
    # Blanks belong to a value only if there is one: behind an empty one the line may end.
    value = rb"(?:%b=(?:%b(?:%b|%b))?)?" % (sws, sws, VALUE, QUOTED_STRING)
    first = rb"(?:;%b=(?P<%b>%b))?+" % (named, named, VALUE) if named else b""
    return first + rb"(?:%b;%b%b%b)*+" % (sws, sws, TOKEN, value)


def via_parm(sws: bytes, lws: bytes) -> bytes:
    """Return the rule ``via-parm``, with these blanks between its parts."""
    # What nearly everybody writes is tried first: 0.1 of the 0.8 us that a Via line costs.
    protocol = rb"(?:SIP/2\.0|%b%b/%b%b)%b/%b(?P<transport>%b)" % (TOKEN, sws, sws, TOKEN, sws, sws, TOKEN)
    sent_by = rb"(?P<host>%b)(?:%b:%b(?P<port>%b))?" % (HOST, sws, sws, PORT)
    return rb"(?P<first>%b)%b%b(?P<params>%b)" % (protocol, lws, sent_by, parameters(sws, b"branch"))


@lru_cache(1024)
def _ipv6(text: str) -> bool:
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True


@lru_cache(1024)
def host_text(host: bytes) -> str:
    """Return `host` as text: lower case, an IPv6 reference without its brackets.

    Raises ParseError for an IPv6 reference that is no address. One colon too many (``:::``), which the
    ABNF of RFC 3261 produces by mistake, is read as it was meant (RFC 5118 section 4.5).
    """
    text = host.decode("ascii").lower()
    if not text.startswith("["):
        return text
    text = text[1:-1].replace(":::", "::")
    if not _ipv6(text):
        raise ParseError("expected an IPv6 address between the brackets", "host", 0)
    return text


@lru_cache(1024)
def is_ip_address(host: str) -> bool:
    """Return whether `host`, as `host_text` writes it, is an IP address and no name."""
    if _is_ipv4(host) is not None:
        return True
    return _is_ipv6(host) is not None and _ipv6(host)


def is_token(text: bytes) -> bool:
    """Return whether `text` is a ``token``."""
    return _is_token(text) is not None


def check_line(text: bytes) -> None:
    """Raise ValueError when `text` holds a line end that is not folding.

    Written into a header line, it would make a new header field of what follows, or the body.
    """
    if (LF in text or CR in text) and _line_end(text) is not None:
        raise ValueError("a line end in what goes into a header line")


def unescape(text: bytes) -> bytes:
    """Replace each ``%HH`` by the octet it stands for; a per cent sign without digits stays."""
    if PERCENT not in text:
        return text
    return _escape.sub(lambda match: bytes([int(match[1], 16)]), text)


def unquote(text: bytes) -> bytes:
    """Return what a ``quoted-string`` says; text without quotes comes back as it is."""
    if not text.startswith(b'"'):
        return text
    return _quoted_pair.sub(rb"\1", text[1:-1])


METHODS = frozenset(
    {
        *("ACK", "BYE", "CANCEL", "INFO", "INVITE", "MESSAGE", "NOTIFY"),
        *("OPTIONS", "PRACK", "PUBLISH", "REFER", "REGISTER", "SUBSCRIBE", "UPDATE"),
    }
)
"""The registered methods; every other token is a method as well, just an unknown one."""
METHOD_NAMES = {name.encode(): name for name in METHODS}
"""The same as they stand in a message."""

REASONS: dict[int, bytes] = {
    100: b"Trying",
    180: b"Ringing",
    181: b"Call Is Being Forwarded",
    182: b"Queued",
    183: b"Session Progress",
    199: b"Early Dialog Terminated",
    200: b"OK",
    202: b"Accepted",
    204: b"No Notification",
    300: b"Multiple Choices",
    301: b"Moved Permanently",
    302: b"Moved Temporarily",
    305: b"Use Proxy",
    380: b"Alternative Service",
    400: b"Bad Request",
    401: b"Unauthorized",
    402: b"Payment Required",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    406: b"Not Acceptable",
    407: b"Proxy Authentication Required",
    408: b"Request Timeout",
    410: b"Gone",
    412: b"Conditional Request Failed",
    413: b"Request Entity Too Large",
    414: b"Request-URI Too Long",
    415: b"Unsupported Media Type",
    416: b"Unsupported URI Scheme",
    417: b"Unknown Resource-Priority",
    420: b"Bad Extension",
    421: b"Extension Required",
    422: b"Session Interval Too Small",
    423: b"Interval Too Brief",
    424: b"Bad Location Information",
    425: b"Bad Alert Message",
    428: b"Use Identity Header",
    429: b"Provide Referrer Identity",
    430: b"Flow Failed",
    433: b"Anonymity Disallowed",
    436: b"Bad Identity Info",
    437: b"Unsupported Credential",
    438: b"Invalid Identity Header",
    439: b"First Hop Lacks Outbound Support",
    440: b"Max-Breadth Exceeded",
    469: b"Bad Info Package",
    470: b"Consent Needed",
    480: b"Temporarily Unavailable",
    481: b"Call/Transaction Does Not Exist",
    482: b"Loop Detected",
    483: b"Too Many Hops",
    484: b"Address Incomplete",
    485: b"Ambiguous",
    486: b"Busy Here",
    487: b"Request Terminated",
    488: b"Not Acceptable Here",
    489: b"Bad Event",
    491: b"Request Pending",
    493: b"Undecipherable",
    494: b"Security Agreement Required",
    500: b"Server Internal Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Server Time-out",
    505: b"Version Not Supported",
    513: b"Message Too Large",
    555: b"Push Notification Service Not Supported",
    580: b"Precondition Failure",
    600: b"Busy Everywhere",
    603: b"Decline",
    604: b"Does Not Exist Anywhere",
    606: b"Not Acceptable",
    607: b"Unwanted",
    608: b"Rejected",
}
"""The standard reason phrases of the registered status codes."""

COMPACT_FORMS = {
    b"a": b"accept-contact",
    b"b": b"referred-by",
    b"c": b"content-type",
    b"d": b"request-disposition",
    b"e": b"content-encoding",
    b"f": b"from",
    b"i": b"call-id",
    b"j": b"reject-contact",
    b"k": b"supported",
    b"l": b"content-length",
    b"m": b"contact",
    b"n": b"identity-info",
    b"o": b"event",
    b"r": b"refer-to",
    b"s": b"subject",
    b"t": b"to",
    b"u": b"allow-events",
    b"v": b"via",
    b"x": b"session-expires",
    b"y": b"identity",
}
"""The one-letter names that IANA has registered, and what they stand for."""

_SPELLINGS = b"""
Accept Accept-Contact Accept-Encoding Accept-Language Alert-Info Allow Allow-Events Answer-Mode
Authentication-Info Authorization Call-ID Call-Info Contact Content-Disposition Content-Encoding
Content-Language Content-Length Content-Type CSeq Date Diversion Error-Info Event Expires Feature-Caps
Flow-Timer From Geolocation History-Info Identity Identity-Info In-Reply-To Join Max-Breadth Max-Forwards
MIME-Version Min-Expires Min-SE Organization P-Access-Network-Info P-Answer-State P-Asserted-Identity
P-Asserted-Service P-Associated-URI P-Called-Party-ID P-Charging-Function-Addresses P-Charging-Vector
P-Early-Media P-Preferred-Identity P-Preferred-Service P-RTP-Stat P-Visited-Network-ID Path Priority Privacy
Proxy-Authenticate Proxy-Authorization Proxy-Require RAck Reason Record-Route Recv-Info Refer-Sub Refer-To
Referred-By Reject-Contact Remote-Party-ID Replaces Reply-To Request-Disposition Require Retry-After Route
RSeq Security-Client Security-Server Security-Verify Server Service-Route Session-Expires Session-ID SIP-ETag
SIP-If-Match Subject Subscription-State Supported Target-Dialog Timestamp To Unsupported User-Agent Via
Warning WWW-Authenticate X-Asterisk-HangupCause X-Asterisk-HangupCauseCode
""".split()

HEADER_NAMES: dict[bytes, bytes] = {
    spelling: name
    for name in (*(word.lower() for word in _SPELLINGS), *COMPACT_FORMS.values())
    for spelling in (name, name.title(), name.upper())
}
"""Usual spellings of header names, and the canonical one of each: lower case, long form."""
HEADER_NAMES |= {word: word.lower() for word in _SPELLINGS}
HEADER_NAMES |= COMPACT_FORMS | {letter.upper(): name for letter, name in COMPACT_FORMS.items()}


def canonical_name(name: bytes) -> bytes:
    """Return the lower-case long form of a header name (RFC 3261 section 7.3.1 and 7.3.3)."""
    known = HEADER_NAMES.get(name)
    if known is not None:
        return known
    lower = name.lower()
    return COMPACT_FORMS.get(lower, lower)


def spelling(name: bytes) -> str:
    """Return `name` the way it is printed for people: Call-ID, CSeq, Max-Forwards."""
    special = {b"call-id": "Call-ID", b"cseq": "CSeq", b"www-authenticate": "WWW-Authenticate"}
    return special.get(name) or name.decode("ascii", "backslashreplace").title()
