# SPDX-License-Identifier: MIT
"""Call-IDs on both sides of the gateway with obscure_loops, as traces of requests that cross it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.edits import apply
from siproxd_tw.proxy.callids import MARK, across, around, assign, inward, outward
from siproxd_tw.sip.message import Request, Response
from siproxd_tw.sip.parser import parse
from tests.support.messages import request, values, wire

VIA = "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKa"


def sent(method: str, call_id: str, sender: str, receiver: str = "", *headers: str) -> Request:
    """Return a request from the party with one tag to that with the other, if it has answered."""
    from_ = "<sip:a@a.test>" + (f";tag={sender}" if sender else "")
    to = "<sip:b@b.test>" + (f";tag={receiver}" if receiver else "")
    text = request(
        method, "sip:b@b.test", VIA, f"From: {from_}", f"To: {to}", f"Call-ID: {call_id}", *headers
    )
    message = parse(wire(text))
    assert isinstance(message, Request)
    return message


def out(message: Request) -> Request:
    """Let a request leave."""
    outward(message, message.from_tag)
    assert apply(message.original, message.edits()) == bytes(message)
    return message


def into(message: Request) -> Request:
    """Let a request come in."""
    inward(message, message.from_tag)
    assert apply(message.original, message.edits()) == bytes(message)
    return message


def call_id(message: Request) -> str:
    """Return the Call-ID of a request that has crossed."""
    return message.call_id.decode()


def test_a_call_from_inside_is_as_siproxd_has_it() -> None:
    """There is siproxd's own form, there and back: what a peer knows from siproxd stays valid."""
    assert call_id(out(sent("INVITE", "abc@h", "a1"))) == "abc-siproxda1@h"
    assert call_id(out(sent("ACK", "abc@h", "a1", "b1"))) == "abc-siproxda1@h"
    assert call_id(out(sent("BYE", "abc@h", "a1", "b1"))) == "abc-siproxda1@h"
    assert call_id(into(sent("BYE", "abc-siproxda1@h", "b1", "a1"))) == "abc@h"


def test_a_call_from_outside_has_its_mark_inside() -> None:
    """So the BYE of the phone that was called bears the Call-ID that the caller knows."""
    assert call_id(into(sent("INVITE", "abc@h", "w1"))) == "abc-siproxdw1@h"
    assert call_id(into(sent("UPDATE", "abc@h", "w1", "b1"))) == "abc-siproxdw1@h"
    assert call_id(out(sent("BYE", "abc-siproxdw1@h", "b1", "w1"))) == "abc@h"


def test_a_notification_before_the_answer() -> None:
    """A NOTIFY may be faster than the 2xx of its SUBSCRIBE; its tags say who asked."""
    assert call_id(out(sent("SUBSCRIBE", "s", "a1"))) == "s-siproxda1"
    assert call_id(into(sent("NOTIFY", "s-siproxda1", "w1", "a1"))) == "s"


def test_a_call_that_leaves_and_comes_back() -> None:
    """Its two legs inside are two calls, which is the purpose; outside they are one."""
    leaves = out(sent("INVITE", "abc@h", "a1"))
    assert call_id(leaves) == "abc-siproxda1@h"
    back = into(sent("INVITE", call_id(leaves), "a1"))
    assert call_id(back) == "abc-siproxda1-siproxda1@h"

    hangs_up = out(sent("BYE", call_id(back), "b1", "a1"))
    assert call_id(hangs_up) == "abc-siproxda1@h"
    assert call_id(into(sent("BYE", call_id(hangs_up), "b1", "a1"))) == "abc@h"

    holds = out(sent("INVITE", "abc@h", "a1", "b1"))
    assert call_id(into(sent("INVITE", call_id(holds), "a1", "b1"))) == call_id(back)


def test_a_call_that_came_back_goes_on_without_the_provider() -> None:
    """From leg to leg: whoever sends, the other one gets the Call-ID of its own leg."""
    assert around(b"abc@h", b"a1", b"b1") == b"abc-siproxda1-siproxda1@h"
    assert around(b"abc-siproxda1-siproxda1@h", b"b1", b"a1") == b"abc@h"


def test_a_pbx_that_keeps_the_call_id_for_its_own_call() -> None:
    """It begins a dialog under the Call-ID of the one it is in; only its tag is another one."""
    inside = call_id(into(sent("INVITE", "abc@h", "w1")))
    onward = call_id(out(sent("INVITE", inside, "p1")))
    assert onward == "abc-siproxdw1-siproxdp1@h"
    assert call_id(out(sent("BYE", inside, "p1", "v1"))) == onward
    assert call_id(into(sent("BYE", onward, "v1", "p1"))) == inside


@pytest.mark.parametrize("crosses", [inward, outward])
def test_registrations_keep_their_call_id(crosses: object) -> None:
    """A registrar knows a binding by it (RFC 3261 section 10.2)."""
    message = sent("REGISTER", "abc-siproxdb1@h", "a1", "b1", "Replaces: x;to-tag=1;from-tag=2")
    crosses(message, message.from_tag)  # type: ignore[operator]
    assert bytes(message) == message.original


@pytest.mark.parametrize("tag", ["", '"two words"', "a=b", "a@b"])
def test_a_tag_that_is_no_part_of_a_call_id(tag: str) -> None:
    """There is no mark without a tag (RFC 2543), nor with one that would break the Call-ID."""
    message = out(sent("INVITE", "abc@h", tag))
    assert bytes(message) == message.original
    assert call_id(into(sent("BYE", "abc@h", "b1", tag))) == "abc-siproxdb1@h"


def test_a_mark_alone_is_a_call_id() -> None:
    """Nothing would be left of it."""
    assert across(b"-siproxda1", b"b1", b"a1") == b"-siproxda1-siproxdb1"
    assert across(b"-siproxda1@h", b"b1", b"a1") == b"@h"


def test_only_the_octets_of_the_mark_change() -> None:
    """Name, blanks and folding of the line are the sender's."""
    message = sent("INVITE", "X", "a1")
    message = parse(message.original.replace(b"Call-ID: X", b"i :\r\n\t abc@h "))
    assert isinstance(message, Request)
    assert b"\r\ni :\r\n\t abc-siproxda1@h \r\n" in bytes(out(message))


tags = st.text("ab1-.!%*_+`'~", min_size=1, max_size=4).map(str.encode)
words = st.one_of(
    st.text("ab@-siproxd", min_size=1, max_size=12),
    st.sampled_from(["c1@10.0.0.10", "abc-siproxda", "a-siproxdb-siproxda@h"]),
).map(str.encode)


@given(words, tags, tags)
def test_the_way_back_undoes_each_crossing(word: bytes, caller: bytes, callee: bytes) -> None:
    """However often a call has crossed, requests from its other end arrive with the Call-ID it began with."""
    legs = [word]
    for _ in range(3):
        legs.append(across(legs[-1], caller, b""))
    for there, here in zip(legs[1:], legs, strict=False):
        if not here.partition(b"@")[0].endswith(MARK + callee):
            assert across(here, caller, callee) == there  # in the dialog like before it
        assert across(there, callee, caller) == here


def response(call_id: str) -> Response:
    text = request("INVITE", "sip:x", VIA, f"Call-ID: {call_id}").replace(
        "INVITE sip:x SIP/2.0", "SIP/2.0 200 OK"
    )
    message = parse(wire(text))
    assert isinstance(message, Response)
    return message


def test_a_response_has_the_call_id_of_its_request() -> None:
    """Whatever was done to the request; one that has it already stays to the last octet."""
    message = response("abc-siproxda1@h")
    assign(message, b"abc@h")
    assert values(message, "Call-ID") == ["abc@h"]
    assert apply(message.original, message.edits()) == bytes(message)
    same = response("abc@h")
    assign(same, b"abc@h")
    assert bytes(same) == same.original
    assert not same.edits()


# References to other dialogs. In a request to the party with the tag r1, which is in a dialog with o1.


@pytest.mark.parametrize(
    ("name", "inside", "outside"),
    [
        ("Replaces", "abc@h;to-tag=r1;from-tag=o1", "abc-siproxdo1@h;to-tag=r1;from-tag=o1"),
        ("Replaces", "abc-siproxdr1@h;to-tag=r1;from-tag=o1", "abc@h;to-tag=r1;from-tag=o1"),
        (
            "replaces",
            "abc ; From-Tag = o1;early-only;to-tag=r1",
            "abc-siproxdo1 ; From-Tag = o1;early-only;to-tag=r1",
        ),
        ("Join", "abc@h;to-tag=r1;from-tag=o1", "abc-siproxdo1@h;to-tag=r1;from-tag=o1"),
        ("Target-Dialog", "abc@h;local-tag=r1;remote-tag=o1", "abc-siproxdo1@h;local-tag=r1;remote-tag=o1"),
        ("Replaces", "abc@h;to-tag=r1;from-tag=0", "abc@h;to-tag=r1;from-tag=0"),
        ("Replaces", "abc@h", "abc@h"),
        ("Replaces", ";to-tag=r1;from-tag=o1", ";to-tag=r1;from-tag=o1"),
        ("Replaces", "two words;to-tag=r1;from-tag=o1", "two words;to-tag=r1;from-tag=o1"),
        ("In-Reply-To", "a-siproxdx@h, b-siproxdy,c@h", "a@h, b,c@h"),
        ("In-Reply-To", "-siproxdx", "-siproxdx"),
        (
            "Refer-To",
            '"B" <sip:b@b.test?Replaces=abc%40h%3Bto-tag%3Dr1%3Bfrom-tag%3Do1&a=b>',
            '"B" <sip:b@b.test?Replaces=abc-siproxdo1%40h%3Bto-tag%3Dr1%3Bfrom-tag%3Do1&a=b>',
        ),
        (
            "r",
            "<sip:b@b.test?x=1&%52eplaces=%61bc-s%69proxdr1@h%3bto-tag=r1%3bfrom-tag%3d%6f1>",
            "<sip:b@b.test?x=1&%52eplaces=%61bc@h%3bto-tag=r1%3bfrom-tag%3d%6f1>",
        ),
        (
            "Refer-To",
            "<sip:b@b.test?Replaces=abc%3Bto-tag%3Dr1%3Bfrom-tag%3Do%60%251&Join=x;to-tag=r1;from-tag=o1>",
            "<sip:b@b.test?Replaces=abc-siproxdo%60%251%3Bto-tag%3Dr1%3Bfrom-tag%3Do%60%251"
            "&Join=x-siproxdo1;to-tag=r1;from-tag=o1>",
        ),
        ("Refer-To", "<sip:b@b.test?Subject=abc@h;to-tag=r1;from-tag=o1>", None),
        ("Refer-To", "<tel:+49?Replaces=abc;to-tag=r1;from-tag=o1>", None),
        ("Refer-To", "<<sip:b@b.test?Replaces=abc;to-tag=r1;from-tag=o1>", None),
    ],
)
def test_a_reference_to_a_dialog(name: str, inside: str, outside: str | None) -> None:
    """The dialog is named as the outside knows it; escapes, case, order and blanks stay."""
    message = out(sent("INVITE", "c2", "a9", "", f"{name}: {inside}"))
    line = f"\r\n{name}: {outside or inside}\r\n".encode()
    assert line in bytes(message)


# An attended transfer: a REFER crosses one way and the INVITE that it leads to the other way.

OUTWARD = {
    "Alice's call to the outside, to be replaced there": ("abc@h", "w1", "a1", "abc-siproxda1@h"),
    "a call from outside, to be replaced there": ("abc-siproxdw1@h", "w1", "a1", "abc@h"),
    "Alice's call to the outside, to be replaced at hers": ("abc@h", "a1", "w1", "abc-siproxdw1@h"),
    "a call from outside, to be replaced at Alice's": ("abc-siproxdw1@h", "a1", "w1", "abc@h"),
    "Alice's call to Bob inside": ("abc@h", "b1", "a1", "abc-siproxda1@h"),
    "Bob's call to Alice inside": ("abc@h", "a1", "b1", "abc-siproxdb1@h"),
}
RETURNING = [name for name in OUTWARD if "replaced there" not in name]


def reference(name: str, call_id: str, to_tag: str, from_tag: str) -> str:
    dialog = f"{call_id};to-tag={to_tag};from-tag={from_tag}"
    if name == "Replaces":
        return dialog
    escaped = dialog.replace("@", "%40").replace(";", "%3B").replace("=", "%3D")
    return f"<sip:b@b.test?Replaces={escaped}&a=b>"


@pytest.mark.parametrize("call", OUTWARD)
@pytest.mark.parametrize("name", ["Replaces", "Refer-To"])
def test_an_attended_transfer_by_a_phone_inside(call: str, name: str) -> None:
    """The outside gets a Call-ID that it knows, or one that becomes that of the phone when it comes back."""
    inside, to_tag, from_tag, outside = OUTWARD[call]
    value = reference(name, inside, to_tag, from_tag)
    leaves = out(sent("REFER", "c2", "a9", "w9", f"{name}: {value}"))
    assert values(leaves, name) == [reference(name, outside, to_tag, from_tag)]
    if call in RETURNING:
        returns = into(sent("INVITE", "c3", "w8", "", f"{name}: {values(leaves, name)[0]}"))
        assert values(returns, name) == [value]


@pytest.mark.parametrize(
    ("outside", "to_tag", "from_tag", "inside"),
    [
        ("abc@h", "b1", "w1", "abc-siproxdw1@h"),  # the transferor's call to Bob inside
        ("abc-siproxdb1@h", "b1", "w1", "abc@h"),  # Bob's call to the transferor
        ("abc@h", "v1", "w1", "abc-siproxdw1@h"),  # a call of the transferor with somebody outside
    ],
)
@pytest.mark.parametrize("name", ["Replaces", "Refer-To"])
def test_an_attended_transfer_from_outside(
    outside: str, to_tag: str, from_tag: str, inside: str, name: str
) -> None:
    """A phone gets the Call-ID that the other phone knows; if it goes outside again, it is what it was."""
    value = reference(name, outside, to_tag, from_tag)
    enters = into(sent("REFER", "c2", "w9", "a9", f"{name}: {value}"))
    assert values(enters, name) == [reference(name, inside, to_tag, from_tag)]
    if to_tag == "v1":
        leaves = out(sent("INVITE", "c3", "a8", "", f"{name}: {values(enters, name)[0]}"))
        assert values(leaves, name) == [value]
