# SPDX-License-Identifier: MIT
"""Messages that others have collected: from RFCs, captures, other stacks' tests and fuzzers.

Whatever they are, there is either a message whose bytes are those received and whose values can be
read, or a ParseError. What is called valid or was seen between real devices is accepted, with the
exceptions listed here.
"""

from __future__ import annotations

import re
from collections import defaultdict

import pytest

from siproxd_tw.edits import Edit, apply
from siproxd_tw.sip.framing import Framer
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Message, Request, Response, response_to
from siproxd_tw.sip.parser import parse
from tests.support.vectors import Vector, captured

VECTORS: dict[str, list[Vector]] = defaultdict(list)
for _vector in captured("sip-re"):
    VECTORS[_vector.name.partition("/")[0]].append(_vector)

_TYPESET = "the RFC breaks a line where SIP does not allow folding, or leaves something out"
_NO_VIA = "the RFC prints it without Via"

#: Refused although their collectors call them valid, or although they were captured.
EXCEPTIONS = {
    "jain-torture/013.sip": "blanks inside of the angle brackets, as in RFC 4475 section 3.1.2.14",
    "jain-torture/024.sip": "a response of two Vias, CSeq, Contact and Subject only",
    "jain-torture/229.sip": "folding inside of a URI",
    "jain-torture/358.sip": "no empty line between a message and what follows it",
    "jain-torture/363.sip": "RFC 4475's notation <hex> taken literally",
    "osip2/sip90": "CSeq names another method than the request line",
    "osip2/sip45": "a blank inside of the angle brackets",
    "osip2/sip77": "SIP/7.0",
    "osip2/sip88": "the last line has no end",
    "osip2/sip-malformed1": "no From, To and Call-ID",
    "osip2/sip93": "what a fuzzer left of a message",
    "pcap-messages/PcapPlusPlus_sip_reqs/00004-udp.sip": "cut off in the middle of a line",
    **{
        f"php-sip-flows/rfc5626_9.3_incoming_call_and_proxy_crash-F0{number}.sip": _NO_VIA
        for number in range(1, 9)
    },
    "php-sip-flows/rfc5626_9.4_re-registration-F01.sip": _NO_VIA,
    "php-sip-flows/rfc5626_9.5_outgoing_call-F01.sip": _NO_VIA,
    "php-sip-flows/rfc5626_9.5_outgoing_call-F02.sip": _NO_VIA,
    **{f"rfc-examples/rfc3608-{number:03}.sip": _TYPESET for number in (1, 2, 3, 7, 8, 9, 10)},
    "rfc-examples/rfc3665-159.sip": "Record-Route ends with a comma",
    "rfc-examples/rfc3666-117.sip": "no From",
    "rfc-examples/rfc4244-002.sip": "a Via that is indented, so that it continues the one before",
    "rfc-examples/rfc4244-012.sip": "no blank between UDP and the host",
    "rfc-examples/rfc4458-004.sip": _TYPESET,
    "rfc-examples/rfc4458-005.sip": _TYPESET,
    "rfc-examples/rfc5589-010.sip": "CSeq names another method than the request line",
    "rfc-examples/rfc5589-012.sip": "CSeq names another method than the request line",
    "rfc-examples/rfc5626-001.sip": "two semicolons in a row",
    "rfc-examples/rfc5626-002.sip": "a To without scheme",
    "rfc-examples/rfc5853-002.sip": "a URI where Via has a host",
    "rfc-examples/rfc7118-003.sip": _TYPESET,
    "rfc-examples/rfc7118-005.sip": _TYPESET,
    "rfc-examples/rfc7118-008.sip": "Route ends with a comma",
    **{f"rfc-examples/rfc8599-00{number}.sip": _TYPESET for number in (1, 2, 3)},
    **{f"rfc4475/{name}.dat": "see test_parser.py" for name in ("insuf", "multi01", "mcl01")},
    "voiper-torturer/other_sip_files_cancel.sip": "a template with [SIP-URI]",
    "voiper-torturer/other_sip_files_invite_basic.sip": "a template with [SIP-URI]",
    "voiper-torturer/rfc4475_tests_longreq.valid": "RFC 4475's notation <allOneLine> taken literally",
    "voiper-torturer/rfc4475_tests_noreason.valid": "RFC 4475's notation <hex> taken literally",
}

ACCEPTABLE = frozenset({"valid", "valid-syntax", "real-world"})


def completed(data: bytes) -> bytes:
    """Write a Content-Length that fits: collectors shorten bodies, RFCs print ``...`` as the number."""
    head, gap, body = data.partition(b"\r\n\r\n" if b"\r\n\r\n" in data else b"\n\n")
    length = b"Content-Length: %d" % len(body)
    return re.sub(rb"^(content-length|l)[ \t]*:[^\r\n]*", length, head, flags=re.I | re.M) + gap + body


def messages(vectors: list[Vector]) -> list[Message]:
    """Parse those that can be, after `completed`."""
    found: list[Message] = []
    for vector in vectors:
        try:
            found.append(parse(completed(vector.data)))
        except ParseError:
            continue
    return found


def read_everything(message: Message) -> None:
    """Ask for each typed value; none of them may fail on a message that was accepted."""
    assert message.call_id
    assert message.cseq.method
    assert message.from_tag is not None
    assert message.to_tag is not None
    for via in message.vias():
        assert via.transport
        assert via.host
        assert via.port is None or via.port < 65536
        assert via.branch is None or via.text
    for address in [
        message.from_,
        message.to,
        *message.contacts(),
        *message.routes(),
        *message.record_routes(),
    ]:
        assert address.is_wildcard or address.uri
        assert address.field.raw[address.uri_start : address.uri_end] == address.uri_text
    assert isinstance(message.content_type, bytes)
    assert message.max_forwards is None or isinstance(message.max_forwards, int)
    if isinstance(message, Request):
        assert message.uri
        assert message.method


@pytest.mark.parametrize("corpus", sorted(VECTORS))
def test_each_is_a_message_with_the_bytes_received_or_a_parse_error(corpus: str) -> None:
    """As they were collected, whatever they are."""
    for vector in VECTORS[corpus]:
        try:
            message = parse(vector.data)
        except ParseError as error:
            assert error.header, vector
            assert 0 <= error.position <= len(vector.data), vector
            assert (error.status is None) == (error.request is None), vector
            if error.request is not None:
                assert response_to(error.request, 400, to_tag=b"x").top_via.host, vector
            continue
        assert vector.data.lstrip(b"\r\n").startswith(bytes(message)), vector
        assert message.edits() == [], vector
        read_everything(message)


@pytest.mark.parametrize("corpus", sorted(VECTORS))
def test_what_is_valid_or_real_is_accepted(corpus: str) -> None:
    """With a Content-Length that fits; every exception has its reason, and none is there without need."""
    refused = set()
    for vector in VECTORS[corpus]:
        if vector.expected in ACCEPTABLE:
            try:
                parse(completed(vector.data) if corpus != "rfc4475" else vector.data)
            except ParseError:
                refused.add(vector.name)
    assert refused == {name for name in EXCEPTIONS if name.startswith(corpus + "/")}


@pytest.mark.parametrize("corpus", sorted(VECTORS))
def test_a_proxy_changes_nothing_but_what_it_records(corpus: str) -> None:
    """Edited the way a proxy edits them: the record is complete, and the result is a message again."""
    for message in messages(VECTORS[corpus]):
        received = bytes(message)
        message.insert(b"Via: SIP/2.0/UDP 192.0.2.1;branch=z9hG4bKx", "ours", before=b"via")
        message.insert(b"Record-Route: <sip:192.0.2.1;lr>", "stay", before=b"record-route")
        for contact in message.contacts():
            if not contact.is_wildcard:
                message.replace_uri(contact, b"sip:masked@192.0.2.1;x=1", "masquerade")
        if message.routes():
            message.remove_element(message.routes()[0], "ours")
        if isinstance(message, Request):
            message.set_uri(b"sip:target@192.0.2.2", "target")
        if isinstance(message, Response):
            message.remove_element(message.vias()[-1], "test")
        message.edit_body([Edit(0, len(message.body) // 2, b"changed", "body")])
        assert message.original == received
        assert apply(received, message.edits()) == bytes(message)
        again = parse(bytes(message))
        assert bytes(again) == bytes(message)
        assert len(again.fields) == len(message.fields)
        read_everything(again)


@pytest.mark.parametrize("corpus", sorted(VECTORS))
def test_all_of_them_in_one_stream(corpus: str) -> None:
    """One after the other, cut into segments that know nothing of messages."""
    sent = [message for message in messages(VECTORS[corpus]) if message.first(b"content-length") is not None]
    sent = [message for message in sent if re.search(rb"\n\r?\n", bytes(message)) is not None]
    data = b"".join(map(bytes, sent))
    stream = Framer()
    received: list[object] = []
    for at in range(0, len(data), 1448):
        received += stream.feed(data[at : at + 1448])
    assert received == [bytes(item) for item in sent]
    assert stream.broken == ""
