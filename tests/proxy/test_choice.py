# SPDX-License-Identifier: MIT
"""Which of several final responses the caller gets."""

from __future__ import annotations

from itertools import permutations

import pytest

from siproxd_tw.edits import apply
from siproxd_tw.proxy.choice import aggregate, best
from siproxd_tw.sip.message import Response
from siproxd_tw.sip.parser import parse


def response(status: int, *lines: bytes) -> Response:
    """Return a response as one of several places has given it."""
    head = [
        b"SIP/2.0 %d Because" % status,
        b"Via: SIP/2.0/UDP 10.0.0.10",
        b"From: <sip:a@a.test>;tag=a",
        b"To: <sip:b@b.test>;tag=%d" % status,
        b"Call-ID: c1",
        b"CSeq: 1 INVITE",
        *lines,
        b"Content-Length: 0",
    ]
    message = parse(b"\r\n".join(head) + b"\r\n\r\n")
    assert isinstance(message, Response)
    return message


@pytest.mark.parametrize(
    ("statuses", "winner"),
    [
        ([486, 603, 302], 603),  # nobody else is to be asked
        ([600, 486], 600),
        ([486, 302, 500], 302),  # the lowest class
        ([500, 486], 486),
        ([486, 401], 401),  # what tells how to ask again
        ([404, 407, 480], 407),
        ([486, 415, 488], 415),
        ([480, 420], 420),
        ([486, 484, 404], 484),
        ([404, 486], 486),  # one phone is busy, the other one is not for this callee any more
        ([480, 486, 408], 486),
        ([408, 480], 480),
        ([487, 408], 408),  # a place that we have cancelled says nothing of the callee
        ([487, 500], 500),
        ([503, 504], 504),
        ([503, 501], 501),
    ],
)
def test_the_best_one_whatever_the_order(statuses: list[int], winner: int) -> None:
    """RFC 3261 section 16.7 step 6, and what it leaves to us."""
    for order in permutations(statuses):
        assert best([response(status) for status in order]).status == winner


def test_of_equally_good_ones_the_first() -> None:
    """Nothing makes one 6xx better than another, or one 4xx."""
    for statuses in ([603, 600], [600, 603], [486, 488], [488, 486], [401, 407], [407, 401], [301, 302]):
        responses = [response(status) for status in statuses]
        assert best(responses) is responses[0]


def test_what_is_not_changed() -> None:
    """The choice alone leaves the response as it came: the Contacts of a 3xx, the Retry-After of a 480."""
    for lines in ([b"Contact: <sip:x@10.0.0.9>", b"m: <sip:y@y.test>;q=0.1"], [b"Retry-After: 30 (away)"]):
        responses = [response(480 if b"Retry" in lines[0] else 302, *lines), response(500)]
        chosen = best(responses)
        aggregate(chosen, responses)
        assert chosen is responses[0]
        assert bytes(chosen) == chosen.original


def test_one_place_out_of_service_is_not_us() -> None:
    """A 503 would make the caller's proxy avoid the gateway, with all calls; the only one is passed on."""
    chosen = best([response(503, b"Retry-After: 5"), response(503)])
    assert bytes(chosen).startswith(b"SIP/2.0 500 Server Internal Error\r\n")
    assert chosen.value(b"retry-after") == b"5"
    assert apply(chosen.original, chosen.edits()) == bytes(chosen)
    assert best([response(503)]).status == 503


WWW = b'WWW-Authenticate: Digest realm="a.test", nonce="1",qop="auth"'
OTHER = b'www-authenticate:  Digest realm="b.test",\r\n\tnonce="2"'
PROXY = b'Proxy-Authenticate: Digest realm="c.test", nonce="3"'


def test_all_challenges_come_together() -> None:
    """16.7 step 7: byte for byte, each beside those of its name, and nothing else of the other responses."""
    responses = [
        response(401, WWW),
        response(407, PROXY, b"X: 1"),
        response(401, OTHER, b"Server: s"),
        response(486, WWW),
    ]
    chosen = best(responses)
    aggregate(chosen, responses)
    before = responses[0].original
    expected = before.replace(WWW + b"\r\n", WWW + b"\r\n" + OTHER + b"\r\n")
    expected = expected.replace(b"Content-Length: 0\r\n", b"Content-Length: 0\r\n" + PROXY + b"\r\n")
    assert bytes(chosen) == expected
    assert apply(chosen.original, chosen.edits()) == bytes(chosen)


def test_a_challenge_of_two_places_comes_once() -> None:
    """Two phones of one server have the same; the caller need not answer it twice."""
    responses = [response(401, WWW), response(401, WWW, WWW), response(407, WWW)]
    chosen = best(responses)
    aggregate(chosen, responses)
    assert bytes(chosen) == chosen.original


@pytest.mark.parametrize("status", [403, 484, 600])
def test_other_responses_get_no_challenges(status: int) -> None:
    """Who is told something else has nothing to answer."""
    chosen = response(status)
    aggregate(chosen, [response(401, WWW), chosen])
    assert bytes(chosen) == chosen.original
