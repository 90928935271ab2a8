# SPDX-License-Identifier: MIT
"""The rewrite contract for real messages: captured ones, and those of standards and other programs' tests."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import SIPConfig
from siproxd_tw.interfaces import Side
from siproxd_tw.sip.grammar import ParseError
from siproxd_tw.sip.message import Message, Request, Response
from siproxd_tw.sip.parser import parse
from tests.support.rewriting import Wardrobe, violations
from tests.support.vectors import captured


def _parsed() -> list[tuple[str, Message]]:
    found = []
    for vector in captured("sip-"):
        try:
            found.append((vector.name, parse(vector.data)))
        except ParseError:
            continue
    return found


MESSAGES = _parsed()
REQUESTS = [(name, message) for name, message in MESSAGES if isinstance(message, Request)]
RESPONSES = [(name, message) for name, message in MESSAGES if isinstance(message, Response)]


def test_there_is_something_to_test() -> None:
    """Hundreds of each."""
    assert len(REQUESTS) > 500
    assert len(RESPONSES) > 300


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("ua_string", ["", "Gateway"])
def test_requests(side: Side, ua_string: str) -> None:
    """Dressed for `side`: only the fields that have to change, and the edits say how."""
    wardrobe = Wardrobe(SIPConfig(ua_string=ua_string))
    found = {}
    for name, received in REQUESTS:
        sent = wardrobe.send_on(received, side, b"sip:a@10.0.0.10" if side is Side.INSIDE else None)
        if wrong := violations(received, sent, user_agent=bool(ua_string)):
            found[name] = wrong
    assert found == {}


@pytest.mark.parametrize("side", list(Side))
@pytest.mark.parametrize("ua_string", ["", "Gateway"])
def test_responses(side: Side, ua_string: str) -> None:
    """The same for responses."""
    wardrobe = Wardrobe(SIPConfig(ua_string=ua_string))
    found = {}
    for name, received in RESPONSES:
        sent = wardrobe.send_back(received, side)
        if wrong := violations(received, sent, user_agent=bool(ua_string)):
            found[name] = wrong
    assert found == {}
