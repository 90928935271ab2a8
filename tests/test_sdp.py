# SPDX-License-Identifier: MIT
from __future__ import annotations

from textwrap import dedent

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import apply
from siproxd_tw.sdp import SDPError, SessionDescription
from tests.support.descriptions import check_relayed, relayed
from tests.support.vectors import HERE, Vector, load

RELAY = "203.0.113.1"
RELAY6 = "2001:db8::1"
VECTORS = load(HERE, "sdp-rfc")


def lines(text: str, end: str = "\r\n") -> bytes:
    """Return the body that the indented `text` shows."""
    return dedent(text).strip().replace("\n", end).encode() + end.encode()


CALL = lines("""
    v=0
    o=alice 53655765 2353687637 IN IP4 10.0.0.10
    s=-
    c=IN IP4 10.0.0.10
    t=0 0
    m=audio 40000 RTP/AVP 0 8 101
    a=rtpmap:101 telephone-event/8000
    a=sendrecv
""")


def edited(body: bytes) -> bytes:
    """Return `body` as it leaves the relay."""
    return relayed(SessionDescription.parse(body), RELAY)


def changed(body: bytes) -> list[str]:
    """Return the lines of the edited body that the original does not have."""
    before = body.decode().splitlines()
    return [line for line in edited(body).decode().splitlines() if line not in before]


def test_a_call():
    """Origin, connection address and port become ours; nothing else changes."""
    assert edited(CALL) == lines("""
        v=0
        o=alice 53655765 2353687637 IN IP4 203.0.113.1
        s=-
        c=IN IP4 203.0.113.1
        t=0 0
        m=audio 7070 RTP/AVP 0 8 101
        a=rtpmap:101 telephone-event/8000
        a=sendrecv
    """)


def test_reading_a_call():
    """What the relay needs to know about a stream."""
    (media,) = SessionDescription.parse(CALL).media
    assert (media.index, media.kind, media.port, media.proto) == (0, "audio", 40000, "RTP/AVP")
    assert media.formats == ("0", "8", "101")
    assert media.target == ("10.0.0.10", 40000)
    assert media.rtcp_target == ("10.0.0.10", 40001)
    assert media.is_udp and media.is_rtp and media.is_relayable and not media.is_held
    assert not media.rtcp_mux


def test_every_edit_says_why():
    """The reasons of the edits of a call."""
    edits = SessionDescription.parse(CALL).relayed(RELAY, {0: 7070})
    assert [(edit.replacement, edit.reason) for edit in edits] == [
        (b"203.0.113.1", "origin address"),
        (b"203.0.113.1", "connection address"),
        (b"7070", "media port"),
    ]


def test_nothing_to_change():
    """Where everything is ours already there is no edit."""
    body = edited(CALL)
    assert SessionDescription.parse(body).relayed(RELAY, {0: 7070}) == []


@pytest.mark.parametrize("vector", VECTORS, ids=str)
def test_rfc_examples(vector: Vector):
    """Every description printed in an RFC is read, and relayed with nothing but our addresses in it."""
    check_relayed(vector.data, RELAY)
    check_relayed(vector.data, "2001:db8::1")


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_line_ends(end):
    """Lines may end with LF, and the last one not at all."""
    for body in (CALL.replace(b"\r\n", end.encode()), CALL.replace(b"\r\n", end.encode()).rstrip()):
        description = SessionDescription.parse(body)
        assert description.media[0].target == ("10.0.0.10", 40000)
        assert relayed(description, RELAY).count(b"203.0.113.1") == 2
        assert relayed(description, RELAY).count(b"\n") == body.count(b"\n")


def test_every_truncation():
    """Cut off at any byte a description is read or refused; what is read is edited cleanly."""
    for length in range(len(CALL)):
        try:
            description = SessionDescription.parse(CALL[:length])
        except SDPError:
            continue
        SessionDescription.parse(relayed(description, RELAY))


def test_unusual_but_usable():
    """Another order, missing s= and t=, unknown lines, an empty line, blanks and tabs: kept as they are."""
    body = lines("""
        o=a b 1 1 IN IP4 10.0.0.10
        v=0
        c=IN\tIP4  10.0.0.10
        X-junk

        y=unknown
        m=audio  40000\tRTP/AVP 0
    """)
    assert edited(body) == lines("""
        o=a b 1 1 IN IP4 203.0.113.1
        v=0
        c=IN\tIP4  203.0.113.1
        X-junk

        y=unknown
        m=audio  7070\tRTP/AVP 0
    """)


@pytest.mark.parametrize(
    ("body", "line", "why"),
    [
        (b"", 1, "v="),
        (b"\r\n\r\n", 1, "v="),
        (b"<xml/>", 1, "v="),
        (b"\n\n--boundary\n", 3, "v="),
        (b"a=sendrecv\n", 1, "neither"),
        (b"v=0\nm=audio 1\n", 2, "an m= line needs"),
        (b"v=0\nm=audio x RTP/AVP 0\n", 2, "'x'"),
        (b"v=0\nm=audio 65536 RTP/AVP 0\n", 2, "65536"),
        (b"v=0\nm=audio 40000/ RTP/AVP 0\n", 2, "40000/"),
        (b"v=0\nm=audio -1 RTP/AVP 0\n", 2, "-1"),
        (b"v=0\nc=IN IP4\nm=audio 40000 RTP/AVP 0\n", 2, "a c= line needs"),
        (b"v=0\nm=audio 40000 RTP/AVP 0\nc=IN\n", 3, "a c= line needs"),
    ],
)
def test_refused(body, line, why):
    """What is no description, or cannot be relayed, is refused with its line and the reason."""
    with pytest.raises(SDPError, match=why) as refused:
        SessionDescription.parse(body)
    assert refused.value.line == line
    assert str(refused.value).startswith(f"line {line}: ")


@given(st.binary(max_size=400) | st.text("vomca=:/ \r\n0129INIP4", max_size=200).map(str.encode))
def test_any_bytes(body):
    """No input does anything else than be read or refused; without streams nothing of it is lost."""
    try:
        description = SessionDescription.parse(body)
    except SDPError:
        return
    assert apply(body, description.relayed(RELAY, {})).count(b"m=") <= body.count(b"m=")


class TestAddresses:
    def test_of_the_media_only(self):
        """Each stream has its own address; all become ours."""
        body = lines("""
            v=0
            o=- 1 1 IN IP4 10.0.0.10
            m=audio 40000 RTP/AVP 0
            c=IN IP4 10.0.0.10
            m=video 40010 RTP/AVP 96
            c=IN IP4 10.0.0.11
        """)
        description = SessionDescription.parse(body)
        assert [m.target for m in description.media] == [("10.0.0.10", 40000), ("10.0.0.11", 40010)]
        assert changed(body) == [
            "o=- 1 1 IN IP4 203.0.113.1",
            "m=audio 7070 RTP/AVP 0",
            "c=IN IP4 203.0.113.1",
            "m=video 7072 RTP/AVP 96",
            "c=IN IP4 203.0.113.1",
        ]

    def test_several_of_one_stream(self):
        """The first one counts, all are changed."""
        body = CALL + b"c=IN IP4 10.0.0.77\r\nc=IN IP4 10.0.0.78\r\n"
        description = SessionDescription.parse(body)
        assert description.media[0].target == ("10.0.0.77", 40000)
        assert b"10.0.0." not in relayed(description, RELAY)

    @pytest.mark.parametrize(
        ("address", "host", "after"),
        [
            ("IN IP4 0.0.0.0", RELAY, "IN IP4 0.0.0.0"),
            ("IN IP6 ::", RELAY6, "IN IP6 ::"),
            ("IN IP6 0:0:0:0:0:0:0:0", RELAY6, "IN IP6 0:0:0:0:0:0:0:0"),
            ("IN IP4 0.0.0.0", RELAY6, "IN IP6 ::"),
            ("IN IP6 ::", RELAY, "IN IP4 0.0.0.0"),
            ("IN IP6 0:0:0:0:0:0:0:0", RELAY, "IN IP4 0.0.0.0"),
            ("IN IP6 0.0.0.0", RELAY, "IN IP6 0.0.0.0"),
        ],
    )
    def test_hold(self, address, host, after):
        """The address that means hold stays, or becomes that of the other family; the origin becomes ours."""
        for body in (
            CALL.replace(b"c=IN IP4 10.0.0.10", f"c={address}".encode()),
            CALL + f"c={address}\r\n".encode(),
        ):
            description = SessionDescription.parse(body)
            assert description.media[0].is_held
            assert description.media[0].target is description.media[0].rtcp_target is None
            edited = relayed(description, host)
            assert f"c={after}\r\n".encode() in edited
            assert b"m=audio 7070 " in edited and b"10.0.0.10" not in edited
            assert SessionDescription.parse(edited).media[0].is_held

    def test_origin_of_a_held_session(self):
        """An origin of 0.0.0.0 becomes ours all the same."""
        assert b"o=a 1 1 IN IP4 203.0.113.1" in relayed(
            SessionDescription.parse(b"v=0\no=a 1 1 IN IP4 0.0.0.0\nc=IN IP4 0.0.0.0\n"), RELAY
        )

    def test_multicast_keeps_its_ttl(self):
        """What follows the address stays: the TTL and the count."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP4 233.252.0.1/127/3")
        assert b"c=IN IP4 203.0.113.1/127/3\r\n" in edited(body)

    @pytest.mark.parametrize("address", ["IP4 233.252.0.1/127/3", "IP6 FF15::101/3"])
    def test_a_ttl_is_no_count(self, address):
        """In the other family the numbers behind the address mean something else, and go with its type."""
        host = RELAY6 if "IP4" in address else RELAY
        body = CALL.replace(b"c=IN IP4 10.0.0.10", f"c=IN {address}".encode())
        kind = "IP6" if "IP4" in address else "IP4"
        assert f"c=IN {kind} {host}\r\n".encode() in relayed(SessionDescription.parse(body), host)

    def test_the_type_follows_the_address(self):
        """From IPv4 to IPv6 and back the address type changes with the address, spelt as one likes."""
        six = relayed(SessionDescription.parse(CALL), "2001:db8::1")
        assert b"o=alice 53655765 2353687637 IN IP6 2001:db8::1\r\n" in six
        assert b"c=IN IP6 2001:db8::1\r\n" in six
        back = relayed(SessionDescription.parse(six.replace(b"IP6", b"ip6")), RELAY)
        assert back == edited(CALL)

    def test_a_change_of_family_is_two_edits(self):
        """The type and the address are replaced, each by itself; what is between them stays."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN\tip4  10.0.0.10")
        edits = SessionDescription.parse(body).relayed(RELAY6, {})
        assert [(body[e.start : e.end], e.replacement) for e in edits] == [
            (b"IP4", b"IP6"),
            (b"10.0.0.10", b"2001:db8::1"),
            (b"ip4", b"IP6"),
            (b"10.0.0.10", b"2001:db8::1"),
        ]

    @pytest.mark.parametrize("host", [RELAY, RELAY6])
    def test_a_type_that_does_not_fit(self, host):
        """The address that is written in the place of the type's own becomes right."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP4 2001:db8::7")
        description = SessionDescription.parse(body)
        assert description.family == 6
        kind = "IP6" if ":" in host else "IP4"
        assert f"c=IN {kind} {host}\r\n".encode() in relayed(description, host)

    def test_ipv4_in_ipv6_clothes(self):
        """A mapped address (RFC 4291 section 2.5.5.2) is met over IPv4: no IPv6 packet can go there."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP6 ::ffff:10.0.0.10")
        description = SessionDescription.parse(body)
        assert description.media[0].target == ("10.0.0.10", 40000) and description.family == 4

    def test_a_scope(self):
        """The scope of another host says nothing here, so the address does not either."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP6 fe80::7%eth0")
        description = SessionDescription.parse(body)
        assert description.media[0].target is None and description.family == 6
        assert b"c=IN IP4 203.0.113.1\r\n" in relayed(description, RELAY)

    def test_ipv6_in_usual_form(self):
        """An IPv6 address is compared in its usual form, whatever the spelling."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP6 2001:DB8:0::0:7")
        assert SessionDescription.parse(body).media[0].target == ("2001:db8::7", 40000)

    def test_host_name(self):
        """A name is replaced; where it is cannot be told from here."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=IN IP4 phone.example.com")
        description = SessionDescription.parse(body)
        assert description.media[0].target is None
        assert b"c=IN IP4 203.0.113.1\r\n" in relayed(description, RELAY)

    def test_another_network(self):
        """Telephone numbers and ATM (RFC 7195) are not ours: neither address nor port changes."""
        body = CALL.replace(b"c=IN IP4 10.0.0.10", b"c=TN RFC2543 +1-201-406-4090")
        description = SessionDescription.parse(body)
        assert not description.media[0].is_relayable
        assert changed(body) == ["o=alice 53655765 2353687637 IN IP4 203.0.113.1"]

    @pytest.mark.parametrize("origin", ["o=- 1001 1 IN", "o=", "o=- 1 1 IN IP4", "o=x 1 1 TN RFC2543 +1"])
    def test_origin_without_an_address(self, origin):
        """An o= line that has no address is left alone; it matters to nobody."""
        body = CALL.replace(b"o=alice 53655765 2353687637 IN IP4 10.0.0.10", origin.encode())
        assert changed(body) == ["c=IN IP4 203.0.113.1", "m=audio 7070 RTP/AVP 0 8 101"]

    def test_none_at_all(self):
        """A stream without any address is relayed to whoever sends; the port becomes ours."""
        body = b"v=0\r\nm=audio 40000 RTP/AVP 0\r\n"
        description = SessionDescription.parse(body)
        assert description.media[0].is_relayable and description.media[0].target is None
        assert relayed(description, RELAY) == b"v=0\r\nm=audio 7070 RTP/AVP 0\r\n"


class TestFamily:
    @pytest.mark.parametrize(
        ("streams", "family"),
        [
            ([], 0),
            (["audio 40000 RTP/AVP 0"], 4),
            (["audio 40000 RTP/AVP 0", "c=IN IP6 2001:db8::7"], 6),
            (["audio 0 RTP/AVP 0", "c=IN IP6 ::1", "audio 40000 RTP/AVP 0"], 4),
            (["message 7394 TCP/MSRP *", "c=IN IP4 10.0.0.9", "audio 4000 udp 0", "c=IN IP6 fd00::7"], 6),
            (["audio 40000 RTP/AVP 0", "c=IN IP4 0.0.0.0", "video 40010 RTP/AVP 96", "c=IN IP6 fd00::7"], 6),
            (["audio 40000 RTP/AVP 0", "c=IN IP4 0.0.0.0"], 0),
            (["audio 40000 RTP/AVP 0", "c=IN IP6 ::"], 0),
            (["audio 40000 RTP/AVP 0", "c=IN IP6 phone.example.com"], 6),
            (["audio 40000 RTP/AVP 0", "c=IN X phone.example.com"], 0),
            (["audio 40000 RTP/AVP 0", "c=TN RFC2543 +1-201-406-4090"], 0),
        ],
    )
    def test_of_a_description(self, streams, family):
        """The first stream for a relay that says where it is shows the family; a hold does not."""
        body = b"v=0\r\nc=IN IP4 10.0.0.10\r\n"
        body += "".join(f"{'' if line[1] == '=' else 'm='}{line}\r\n" for line in streams).encode()
        assert SessionDescription.parse(body).family == family

    def test_without_any_address(self):
        """A stream that says nothing about where it is shows no family."""
        assert SessionDescription.parse(b"v=0\r\nm=audio 40000 RTP/AVP 0\r\n").family == 0


ADDRESSES = st.sampled_from(
    ["IP4 10.0.0.10", "IP6 2001:db8::7", "IP6 FD00:0:0::7", "IP4 phone.example.com", "IP6 phone.example.com"]
)
HOLDS = {RELAY: {"IP6 ::": "IP4 0.0.0.0"}, RELAY6: {"IP4 0.0.0.0": "IP6 ::"}}
BLANKS = st.sampled_from([" ", "  ", "\t"])
Lines = list[tuple[str, str]]
"""Lines before and after."""


@st.composite
def connection(draw, host) -> tuple[str, str]:
    """Draw a c= line, and how it has to leave towards `host`."""
    before, blank = draw(ADDRESSES | st.sampled_from(["IP4 0.0.0.0", "IP6 ::"])), draw(BLANKS)
    after = f"IP{6 if ':' in host else 4} {host}"
    if before in ("IP4 0.0.0.0", "IP6 ::"):
        after = HOLDS[host].get(before, before)
    return f"c=IN {before.replace(' ', blank)}", f"c=IN {after.replace(' ', blank)}"


@st.composite
def section(draw, host, number) -> Lines:
    """Draw an m= section over UDP, and how it has to leave."""
    port, ours, blank = draw(st.sampled_from([0, 40000, 65535])), 7070 + 2 * number, draw(BLANKS)
    found = [(f"m=audio {port} RTP/AVP 0", f"m=audio {ours if port else 0} RTP/AVP 0")]
    found += draw(st.lists(connection(host), max_size=2))
    if draw(st.booleans()):
        after = f"IN IP{6 if ':' in host else 4} {host}".replace(" ", blank)
        before = f"IN {draw(ADDRESSES)}".replace(" ", blank)
        rtcp = f"a=rtcp:{ours + 1 if port else 53020}"
        found.append((f"a=rtcp:53020{blank}{before}", f"{rtcp}{blank}{after}"))
    kept = draw(st.lists(st.sampled_from(["a=sendonly", "b=AS:64", "a=x:10.0.0.10", "i=IP4 10.0.0.10"])))
    return found + [(line, line) for line in kept]


@st.composite
def conversation(draw) -> tuple[str, Lines]:
    """Draw the relay's address, and a description line by line as it comes and as it has to leave."""
    host = draw(st.sampled_from([RELAY, RELAY6]))
    origin, kind = draw(ADDRESSES), f"IP{6 if ':' in host else 4}"
    found = [("v=0", "v=0"), (f"o=- 1 1 IN {origin}", f"o=- 1 1 IN {kind} {host}")]
    found += draw(st.lists(connection(host), max_size=1))
    for number in range(draw(st.integers(0, 3))):
        found += draw(section(host, number))
    return host, found


@given(conversation(), st.sampled_from(["\n", "\r\n"]))
def test_any_mixture_of_families(made, end):
    """Whatever families a description mixes, it leaves in that of the relay, and holds stay holds."""
    host, found = made
    before, after = ("".join(line + end for line in side).encode() for side in zip(*found, strict=True))
    description = SessionDescription.parse(before)
    assert relayed(description, host) == after
    again = SessionDescription.parse(after)
    assert [m.is_held for m in again.media] == [m.is_held for m in description.media]
    for edit in description.relayed(host, {}):
        assert not edit.replacement or not set(before[edit.start : edit.end]) & set(b" \t\r\n")
        assert before[edit.start : edit.end] != edit.replacement


class TestMedia:
    def test_disabled(self):
        """Port 0 stays 0 and keeps its place."""
        body = CALL + b"m=video 0 RTP/AVP 96\r\nm=audio 40020 RTP/AVP 0\r\n"
        after = edited(body)
        assert [line for line in after.decode().splitlines() if line.startswith("m=")] == [
            "m=audio 7070 RTP/AVP 0 8 101",
            "m=video 0 RTP/AVP 96",
            "m=audio 7074 RTP/AVP 0",
        ]

    def test_number_of_ports(self):
        """The count behind the port stays."""
        body = CALL.replace(b"40000 RTP", b"40000/2 RTP")
        assert b"m=audio 7070/2 RTP/AVP" in edited(body)

    def test_without_formats(self):
        """A rejected stream without formats is not worth a refusal."""
        assert SessionDescription.parse(CALL + b"m=video 0 RTP/AVP\r\n").media[1].formats == ()

    @pytest.mark.parametrize(
        "proto", ["RTP/AVP", "RTP/SAVP", "UDP/TLS/RTP/SAVPF", "udptl", "UDPTL", "udp", "UDP/BFCP", "H323"]
    )
    def test_over_udp(self, proto):
        """Whatever is not known to run over TCP is relayed."""
        body = CALL.replace(b"RTP/AVP", proto.encode())
        media = SessionDescription.parse(body).media[0]
        assert media.is_relayable and media.is_rtp == ("RTP" in proto)
        assert f"m=audio 7070 {proto} ".encode() in edited(body)

    @pytest.mark.parametrize(
        "proto", ["TCP/MSRP", "msrp/tcp", "TCP/TLS/MSRP", "MSRP", "TCP/BFCP", "RTP/AVP/TCP"]
    )
    def test_over_tcp(self, proto):
        """Media over TCP is left alone, with its own address and with the session's."""
        body = CALL.replace(b"m=audio 40000 RTP/AVP", f"m=message 7394 {proto}".encode())
        assert changed(body) == ["o=alice 53655765 2353687637 IN IP4 203.0.113.1"]
        with_own = body + b"c=IN IP4 10.0.0.10\r\na=rtcp:7395 IN IP4 10.0.0.10\r\n"
        assert edited(with_own).endswith(b"c=IN IP4 10.0.0.10\r\na=rtcp:7395 IN IP4 10.0.0.10\r\n")

    def test_tcp_beside_udp(self):
        """The session's address becomes ours as soon as one stream over UDP uses it."""
        body = CALL + b"m=message 7394 TCP/MSRP *\r\n"
        after = edited(body)
        assert b"c=IN IP4 203.0.113.1\r\n" in after and b"m=message 7394 TCP/MSRP *\r\n" in after

    @pytest.mark.parametrize("direction", ["sendonly", "recvonly", "inactive"])
    def test_direction(self, direction):
        """A stream's own direction counts, without one the session's, without that sendrecv."""
        session = f"v=0\na={direction}\nm=audio 1000 RTP/AVP 0\nm=video 1002 RTP/AVP 96\na=sendrecv\n"
        one, other = SessionDescription.parse(session.encode()).media
        assert (one.direction, one.is_held) == (direction, True)
        assert (other.direction, other.is_held) == ("sendrecv", False)

    def test_ports_that_are_not_given(self):
        """A stream for which the relay has no port keeps its own."""
        edits = SessionDescription.parse(CALL).relayed(RELAY, {})
        assert b"m=audio 40000 " in apply(CALL, edits)


class TestRTCP:
    @pytest.mark.parametrize(
        ("line", "target", "after"),
        [
            ("a=rtcp:53020", ("10.0.0.10", 53020), "a=rtcp:7071"),
            ("a=rtcp:53020 IN IP4 10.0.0.99", ("10.0.0.99", 53020), "a=rtcp:7071 IN IP4 203.0.113.1"),
            ("a=rtcp:53020 IN IP6 2001:db8::9", ("2001:db8::9", 53020), "a=rtcp:7071 IN IP4 203.0.113.1"),
            ("a=RTCP: 53020", ("10.0.0.10", 53020), "a=RTCP: 7071"),
            ("a=rtcp:40000", ("10.0.0.10", 40000), "a=rtcp:7070"),
            ("a=rtcp:x", ("10.0.0.10", 40001), None),
            ("a=rtcp:70000", ("10.0.0.10", 40001), None),
            ("a=rtcp", ("10.0.0.10", 40001), None),
            ("a=rtcp:0", None, "a=rtcp:7071"),
        ],
    )
    def test_attribute(self, line, target, after):
        """The RTCP port is ours; equal to the RTP port it stays equal (RFC 5761 section 5.1.3)."""
        body = CALL + line.encode() + b"\r\na=rtcp-mux\r\n"
        description = SessionDescription.parse(body)
        assert description.media[0].rtcp_target == target
        assert description.media[0].rtcp_mux
        expected = ["m=audio 7070 RTP/AVP 0 8 101"] + ([after] if after else [])
        assert changed(body)[2:] == expected

    def test_of_a_disabled_stream(self):
        """Of a stream with port 0 only the address changes."""
        body = CALL + b"m=video 0 RTP/AVP 96\r\na=rtcp:53020 IN IP4 10.0.0.10\r\n"
        assert b"a=rtcp:53020 IN IP4 203.0.113.1\r\n" in edited(body)

    def test_outside_any_media(self):
        """RFC 3605 has it in media only; elsewhere it would say where the phone is, and goes."""
        body = CALL.replace(b"t=0 0\r\n", b"t=0 0\r\na=rtcp:53020 IN IP4 10.0.0.10\r\n")
        assert edited(body) == relayed(SessionDescription.parse(CALL), RELAY)

    def test_above_the_last_port(self):
        """RTP on port 65535 leaves no port for RTCP."""
        body = CALL.replace(b"40000", b"65535")
        assert SessionDescription.parse(body).media[0].rtcp_target is None


def test_ice_goes():
    """Everything of ICE goes, in the session and in every stream, and takes its line end with it."""
    ice = lines("""
        a=ice-ufrag:8hhY
        a=ice-pwd:asd88fgpdd777uzjYhagZg
        a=candidate:1 1 UDP 2130706431 10.0.0.10 40000 typ host
        a=remote-candidates:1 10.0.0.10 40000
        a=end-of-candidates
    """)
    session = lines("""
        a=ice-options:trickle
        a=ice-lite
        a=ice-mismatch
        a=ice-pacing:50
    """)
    body = CALL.replace(b"t=0 0\r\n", b"t=0 0\r\n" + session) + ice
    assert edited(body) == edited(CALL)
    others = b"a=icebox:1\r\na=candidates\r\na=setup:actpass\r\na=fingerprint:sha-1 00\r\n"
    assert edited(CALL + others) == edited(CALL) + others
