# SPDX-License-Identifier: MIT
"""Strategies for hypothesis: SIP URIs as odd as phones write them, and whole messages around them."""

from __future__ import annotations

from hypothesis import strategies as st

from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.uri import SIPURI, parse_uri

__all__ = ["contacts", "hosts", "requests", "responses", "sip_uris"]

_FORBIDDEN = set(b'\x00 "<>') | set(range(0x21)) | {0x7F}
_USER = bytes(octet for octet in range(256) if octet not in _FORBIDDEN | set(b"@:"))
_PARAMS = bytes(octet for octet in range(256) if octet not in _FORBIDDEN | set(b"?@"))


def _octets(allowed: bytes, most: int) -> st.SearchStrategy[bytes]:
    return st.lists(st.sampled_from(allowed), max_size=most).map(bytes)


hosts = st.sampled_from(
    [b"10.0.0.10", b"10.0.0.11", b"phone.Example.test", b"[2001:db8::1]", b"[::ffff:10.0.0.10]", b"192.0.2.7"]
)
_users = st.one_of(
    st.sampled_from(
        [b"alice", b"%61lice", b"+49-30;phone-context=+49", b"a,b", b"1?x=1", b"%25", b"%00", b"%zz"]
    ),
    _octets(_USER, 12),
)
_params = st.one_of(
    st.sampled_from(
        [b"", b";ob", b";line=7f", b";uniq=A8F", b";transport=UDP", b";x=%3B,%2c", b";lr;LR=on;"]
    ),
    _octets(_PARAMS, 12).map(lambda octets: b";" + octets),
)


@st.composite
def _uri_texts(draw: st.DrawFn) -> bytes:
    scheme = draw(st.sampled_from([b"sip:", b"SIP:", b"sips:"]))
    user = draw(st.one_of(st.none(), _users))
    password = draw(st.sampled_from([b"", b"", b":", b":s;e%40cret"])) if user is not None else b""
    at = b"" if user is None else user + password + b"@"
    port = draw(st.sampled_from([b"", b":5060", b":0", b":05062", b":65535"]))
    return scheme + at + draw(hosts) + port + draw(_params)


def _is_sip(text: bytes) -> bool:
    try:
        return isinstance(parse_uri(text), SIPURI)
    except ParseError:
        return False


sip_uris = _uri_texts().filter(_is_sip)
"""SIP URIs as text; every one of them can be parsed."""

contacts = st.builds(
    lambda display, uri, params: display + b"<" + uri + b">" + params,
    st.sampled_from([b"", b'"A \\" <x>, B" ', b"Alice ", b'"" ', b"\t"]),
    sip_uris,
    st.sampled_from([b"", b";expires=60", b' ; q = 0.5;+sip.instance="<urn:uuid:1,2>"', b";tag=x"]),
)
"""Values of a Contact header field, URI in brackets."""

_extra_lines = st.lists(
    st.sampled_from(
        [
            b"X-Odd : kept,  as it is ",
            b"x-odd: twice",
            b"P-Charging-Vector: icid-value=1234bc9876e;\r\n\ticid-generated-at=192.0.6.8",
            b"s:  folded\r\n  subject",
            b"k:timer,  100rel",
            b"Session-Expires: 90;refresher=uac",
            b"Refer-To: <sip:x@10.0.0.12?Replaces=a%40b%3Bto-tag%3D1>",
            b"P-Asserted-Identity: <sip:alice@10.0.0.10>",
            b"Empty:",
            b"Record-Route: <sip:siproxd@10.0.0.1:5060;lr>",
            b"Record-Route: <sip:p2.provider.test;lr> ,<sip:siproxd@10.0.0.1;lr>,<sip:p1.provider.test;lr>",
            b"User-Agent:Odd/1.0 ",
        ]
    ),
    max_size=5,
)
_vias = st.sampled_from(
    [
        [b"Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bK1"],
        [b"v:SIP / 2.0 / UDP\t10.0.0.10 ;rport;branch=z9hG4bK1 ,", b" SIP/2.0/TCP first.example.test"],
        [b"VIA: SIP/2.0/UDP a.example.test;branch=1", b"Via: SIP/2.0/UDP [2001:db8::9]:5060"],
    ]
)
_bodies = st.sampled_from([b"", b"v=0\r\no=- 1 1 IN IP4 10.0.0.10\r\n", b"\x00\xff\r\n\r\nraw"])


@st.composite
def _messages(draw: st.DrawFn, start: bytes) -> bytes:
    vias = b"\r\n".join(draw(_vias))
    body = draw(_bodies)
    own = draw(st.lists(contacts, max_size=3))
    together = draw(st.booleans())
    lines = [b"m: " + b" , ".join(own)] if own and together else [b"Contact: " + value for value in own]
    lines += [b"Max-Forwards: " + hops for hops in draw(st.sampled_from([[], [b"70"], [b" 1 "], [b"999"]]))]
    lines += draw(_extra_lines)
    lines += draw(st.sampled_from([[], [b"Content-Length:  %d " % len(body)], [b"l: %d" % len(body)]]))
    head = [
        b'From: "A" <sip:alice@sip.provider.test>;tag=a1',
        b"t: <sip:bob@sip.other.test>;tag=b1",
        b"i:c1@10.0.0.10",
        b"CSeq: 0001\tINVITE",
    ]
    head = draw(st.permutations([*head, *lines]))
    return b"\r\n".join([start, vias, *head]) + b"\r\n\r\n" + body


def _parsed(data: bytes) -> Request | Response:
    message = parse(data)
    assert bytes(message) == data
    return message


requests: st.SearchStrategy[Request] = sip_uris.flatmap(
    lambda uri: _messages(b"INVITE " + uri + b" SIP/2.0")
).map(_parsed)  # type: ignore[assignment]
"""INVITEs inside a dialog with odd Contacts, Vias, bodies and unknown header fields."""

responses: st.SearchStrategy[Response] = (
    st.sampled_from([b"180 Ringing", b"200 OK", b"200 ", b"302 Moved, really", b"486 Besetzt \xc3\xbc"])
    .flatmap(lambda line: _messages(b"SIP/2.0 " + line))
    .map(_parsed)  # type: ignore[assignment]
)
"""Responses to such INVITEs; the topmost Via is not ours."""
