# SPDX-License-Identifier: MIT
"""Messages as tests write and read them: text with the headers that matter, good defaults for the others.

A message to send is text, first line first; `wire` makes bytes of it. A header given to a template
replaces the template's header of that name, and a header name alone removes it:
``request("OPTIONS", "sip:bob@sip.provider.test", "Max-Forwards: 0", "Contact")``.

A message that arrived is compared by `differences` with a *trace*:

    INVITE sip:alice@10.0.0.10:5062 SIP/2.0
    Via: SIP/2.0/UDP 10.0.0.1:5060;branch=z9hG4bK…
    Via: SIP/2.0/UDP 203.0.113.51:5060;branch=z9hG4bKw1
    Max-Forwards: 69
    no Expires

    (body)

Each header that the trace names must be there with exactly these values in this order, however the
message distributes them over lines and whatever name, long or compact, it uses; `…` stands for one
or more characters; ``no Name`` says that a header is absent. Headers that are not named are not
looked at. A trace with a body wants exactly this body, one without says nothing about it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from textwrap import dedent

from siproxd_tw.sip.message import Request, Response

__all__ = [
    "ALICE",
    "BOB",
    "SDP",
    "Dialog",
    "Message",
    "answer",
    "differences",
    "invite",
    "media",
    "register",
    "request",
    "uri_in",
    "values",
    "wire",
]

Message = Request | Response

ALICE = "alice@sip.provider.test"
BOB = "bob@sip.provider.test"


def request(method: str, uri: str, *headers: str, body: str = "") -> str:
    """Return a request from Alice to `uri` outside any dialog; its Via comes when a peer sends it."""
    to = uri.split(";")[0]
    defaults = [
        f"From: <sip:{ALICE}>;tag=a1",
        f"To: <{to}>",
        "Call-ID: c1",
        f"CSeq: 1 {method}",
        "Max-Forwards: 70",
    ]
    return _compose(f"{method} {uri} SIP/2.0", defaults, headers, body)


def register(aor: str, contact: str, *headers: str) -> str:
    """Return a REGISTER of `aor` (user@domain) at its domain with the Contact value `contact`."""
    user, _, domain = aor.partition("@")
    defaults = [
        f"From: <sip:{aor}>;tag=r1",
        f"To: <sip:{aor}>",
        f"Call-ID: reg-{user}@{domain}",
        "CSeq: 1 REGISTER",
        f"Contact: {contact}",
        "Expires: 3600",
        "Max-Forwards: 70",
    ]
    return _compose(f"REGISTER sip:{domain} SIP/2.0", defaults, headers, "")


def invite(uri: str, *headers: str, contact: str = "<sip:alice@10.0.0.10:5062>", body: str) -> str:
    """Return an INVITE from Alice's phone to `uri` with the session description `body`."""
    return request("INVITE", uri, f"Contact: {contact}", *headers, body=body)


def answer(to: Message, status: str, *headers: str, tag: str = "t1", body: str = "") -> str:
    """Return the response of a user agent server to the request `to` (RFC 3261 section 8.2.6).

    `status` is code and reason; `tag` goes into To unless it has one already.
    """
    recipient = values(to, "To")[0]
    if ";tag=" not in recipient:
        recipient += f";tag={tag}"
    defaults = [
        *(f"Via: {via}" for via in values(to, "Via")),
        *(f"Record-Route: {route}" for route in values(to, "Record-Route")),
        f"From: {values(to, 'From')[0]}",
        f"To: {recipient}",
        f"Call-ID: {values(to, 'Call-ID')[0]}",
        f"CSeq: {values(to, 'CSeq')[0]}",
    ]
    return _compose(f"SIP/2.0 {status}", defaults, headers, body)


class SDP:
    """Session descriptions of one party."""

    @staticmethod
    def audio(host: str, port: int, *, user: str = "alice", version: int = 1, extra: str = "") -> str:
        """Return one audio stream at `host` and `port`; `extra` lines go below its m= line."""
        lines = [
            "v=0",
            f"o={user} 1 {version} IN IP4 {host}",
            "s=-",
            f"c=IN IP4 {host}",
            "t=0 0",
            f"m=audio {port} RTP/AVP 0 8 101",
            "a=rtpmap:0 PCMU/8000",
            *extra.split(),
        ]
        return "".join(f"{line}\n" for line in lines)


def wire(text: str) -> bytes:
    """Make the bytes of a message: CRLF, and the Content-Length unless the text has one."""
    head, _, body = dedent(text).lstrip("\n").partition("\n\n")
    lines = head.rstrip("\n").split("\n")
    content = body.replace("\n", "\r\n").encode()
    if not any(_name(line) == "content-length" for line in lines[1:]):
        lines.append(f"Content-Length: {len(content)}")
    lengths = [line.replace("{length}", str(len(content))) for line in lines]
    return "\r\n".join(lengths).encode() + b"\r\n\r\n" + content


def values(message: Message, name: str) -> list[str]:
    """Return what every line of the header `name` says, top first."""
    return [field.value.decode() for field in message.all(name.lower().encode())]


def uri_in(value: str) -> str:
    """Return the URI of a header value such as that of Contact."""
    bracketed = re.search(r"<([^>]*)>", value)
    return bracketed[1] if bracketed else value.split(";")[0].strip()


def media(message: Message) -> list[str]:
    """Return where each m= line of the body wants its media: ``["203.0.113.1:7070"]``."""
    session, streams = "", list[list[str]]()
    for line in bytes(message.body).decode().splitlines():
        if line.startswith("c="):
            host = line.split()[2]
            if streams:
                streams[-1][0] = host
            else:
                session = host
        elif line.startswith("m="):
            streams.append([session, line.split()[1]])
    return [f"{host}:{port}" for host, port in streams]


@dataclass
class Dialog:
    """One party's view of a dialog (RFC 3261 section 12): what its next request looks like."""

    call_id: str
    local: str
    remote: str
    target: str
    routes: Sequence[str]
    cseq: int

    @classmethod
    def of_caller(cls, response: Message) -> Dialog:
        """Return the dialog that `response` to an INVITE creates for who sent the INVITE."""
        return cls(
            values(response, "Call-ID")[0],
            values(response, "From")[0],
            values(response, "To")[0],
            uri_in(values(response, "Contact")[0]),
            _elements(values(response, "Record-Route"))[::-1],
            int(values(response, "CSeq")[0].split()[0]),
        )

    @classmethod
    def of_callee(cls, invitation: Message, tag: str = "t1") -> Dialog:
        """Return the dialog that answering `invitation` with `tag` creates for who answers."""
        return cls(
            values(invitation, "Call-ID")[0],
            f"{values(invitation, 'To')[0]};tag={tag}",
            values(invitation, "From")[0],
            uri_in(values(invitation, "Contact")[0]),
            _elements(values(invitation, "Record-Route")),
            100,
        )

    @property
    def next_hop(self) -> tuple[str, int]:
        """The host and port that the next request goes to."""
        uri = uri_in(self.routes[0]) if self.routes else self.target
        found = re.fullmatch(r"sips?:(?:[^@]*@)?(\[[^]]*\]|[^:;]*)(?::(\d+))?(?:;.*)?", uri)
        assert found is not None, uri
        return found[1].strip("[]"), int(found[2] or (5061 if ";transport=tls" in uri.lower() else 5060))

    def request(self, method: str, *headers: str, body: str = "") -> str:
        """Return the next request in this dialog; an ACK has the CSeq of the last one."""
        if method != "ACK":
            self.cseq += 1
        defaults = [
            *(f"Route: {route}" for route in self.routes),
            f"From: {self.local}",
            f"To: {self.remote}",
            f"Call-ID: {self.call_id}",
            f"CSeq: {self.cseq} {method}",
            "Max-Forwards: 70",
        ]
        return _compose(f"{method} {self.target} SIP/2.0", defaults, headers, body)


def differences(message: Message, trace: str) -> list[str]:
    """Say in which respects `message` is not as `trace` has it; see the top of this file."""
    head, separator, body = dedent(trace).strip("\n").partition("\n\n")
    start, *lines = head.strip().split("\n")
    found = (
        [] if _matches(start, _start_line(message)) else [f"starts {_start_line(message)!r}, not {start!r}"]
    )
    found += [
        f"has {name}: {', '.join(values(message, name))}, which should be absent"
        for name in (line[3:].strip() for line in lines if line.startswith("no "))
        if values(message, name)
    ]
    for name, expected in _wanted(line for line in lines if not line.startswith("no ")).items():
        have = ", ".join(values(message, name))
        if not _matches(", ".join(expected), have):
            found.append(f"has {name}: {have or '(nothing)'}\n   instead of {', '.join(expected)}")
    if separator:
        found += _body_differences(bytes(message.body).decode(), body)
    return found


def _body_differences(have: str, expected: str) -> list[str]:
    got, want = have.splitlines(), expected.rstrip("\n").split("\n")
    if len(got) == len(want) and all(map(_matches, want, got)):
        return []
    return ["has the body\n" + "\n".join(f"   {line}" for line in got)]


def _wanted(lines: Iterable[str]) -> dict[str, list[str]]:
    wanted: dict[str, list[str]] = {}
    for line in lines:
        name, _, value = line.partition(":")
        wanted.setdefault(name.strip(), []).append(value.strip())
    return wanted


def _matches(pattern: str, text: str) -> bool:
    parts = [re.escape(_tidy(part)) for part in _tidy(pattern).split("…")]
    return re.fullmatch("(.+?)".join(parts), _tidy(text)) is not None


def _tidy(text: str) -> str:
    """Make list separators and white space the same on both sides of a comparison."""
    return re.sub(r"\s*,\s*", ", ", re.sub(r"\s+", " ", text))


def _start_line(message: Message) -> str:
    return bytes(message).split(b"\r\n", 1)[0].decode()


def _elements(lines: Iterable[str]) -> list[str]:
    """Split Record-Route values into their elements; a comma inside angle brackets stays."""
    return [element.strip() for line in lines for element in re.split(r",(?![^<]*>)", line)]


def _name(line: str) -> str:
    name = line.partition(":")[0].strip().lower()
    return _COMPACT.get(name, name)


_COMPACT = {
    "v": "via",
    "f": "from",
    "t": "to",
    "i": "call-id",
    "m": "contact",
    "l": "content-length",
    "c": "content-type",
}


def _compose(start: str, defaults: Sequence[str], headers: Sequence[str], body: str) -> str:
    replaced = {_name(header) for header in headers}
    lines = [start, *(line for line in defaults if _name(line) not in replaced)]
    lines += [header for header in headers if ":" in header]
    if body and "content-type" not in replaced:
        lines.append("Content-Type: application/sdp")
    return "\n".join(lines) + "\n\n" + dedent(body).lstrip("\n")
