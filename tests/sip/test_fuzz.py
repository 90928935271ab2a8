# SPDX-License-Identifier: MIT
"""Damaged torture messages: the fuzzer's invariants with what hypothesis makes of the RFCs' vectors.

``make fuzz`` does the same for longer, led by coverage.
"""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fuzz.sip_messages import fuzz_one, mutated
from siproxd_tw.sip import parser
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Request, Response
from tests.support.generated import requests, responses
from tests.support.vectors import HERE, Vector, load

SEEDS = [
    vector
    for corpus in ("rfc4475", "rfc5118")
    for vector in load(HERE, corpus)
    if vector.kind.startswith("sip")
]


@pytest.mark.parametrize("vector", SEEDS, ids=str)
def test_torture_messages_themselves(vector: Vector) -> None:
    """Whole and cut behind any line."""
    fuzz_one(vector.data)
    for line in range(vector.data.count(b"\n")):
        fuzz_one(b"\n".join(vector.data.split(b"\n")[:line]) + b"\n")


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(SEEDS), st.sampled_from(SEEDS), st.randoms(use_true_random=False))
def test_damaged_torture_messages(seed: Vector, other: Vector, chance: random.Random) -> None:
    """Flipped, cut and repeated octets, and pieces of other messages."""
    fuzz_one(mutated(seed.data, other.data, chance))


@settings(max_examples=100, deadline=None)
@given(st.one_of(requests, responses))
def test_odd_messages(message: Request | Response) -> None:
    """Messages that are right but as odd as phones write them."""
    fuzz_one(message.original)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.sampled_from(SEEDS), min_size=2, max_size=3), st.randoms(use_true_random=False))
def test_streams_of_damaged_messages(several: list[Vector], chance: random.Random) -> None:
    """Several messages one after the other, where the framing has to hold or to break."""
    pieces = [mutated(v.data, v.data, chance) if chance.random() < 0.5 else v.data for v in several]
    fuzz_one(chance.choice([b"", b"\r\n", b"\r\n\r\n"]).join(pieces))


GOOD = next(vector.data for vector in SEEDS if vector.name.endswith("wsinv.dat"))


def test_a_parser_that_loses_an_octet_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer can fail: a field that is not what was received."""
    read = parser._read

    def lossy(data: bytes) -> Request | Response:
        message = read(data)
        *head, last, gap, body = message._lines
        message._bytes = b"".join([*head, last.replace(b"0", b"1"), gap, body])
        return message

    monkeypatch.setattr(parser, "_read", lossy)
    with pytest.raises(AssertionError):
        fuzz_one(GOOD)


def test_an_error_of_another_kind_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fuzzer can fail: an exception that is no ParseError, or one that cannot be answered as it says."""

    def broken(data: bytes) -> Request | Response:
        raise KeyError(data)

    monkeypatch.setattr(parser, "_read", broken)
    with pytest.raises(KeyError):
        fuzz_one(GOOD)

    def wrong(data: bytes) -> Request | Response:
        raise ParseError("wrong", "head", len(data) + 1)

    monkeypatch.setattr(parser, "_read", wrong)
    with pytest.raises(AssertionError):
        fuzz_one(GOOD)
