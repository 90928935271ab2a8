# SPDX-License-Identifier: MIT
"""Who may register here, when a password is asked for (TC06)."""

from __future__ import annotations

import pytest

from siproxd_tw.config.settings import AuthConfig
from siproxd_tw.interfaces import Refused
from siproxd_tw.proxy.authentication import Authentication
from siproxd_tw.sip.digest import answer, ha1, parse_credentials
from siproxd_tw.sip.message import Request
from siproxd_tw.sip.parser import parse

CONFIG = AuthConfig(realm="My Realm", password="secret")


def register(*lines: str, user: str = "alice") -> Request:
    text = [
        "REGISTER sip:foo.bar.test SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKr",
        f"From: <sip:{user}@foo.bar.test>;tag=1",
        f"To: <sip:{user}@foo.bar.test>",
        "Call-ID: r1",
        "CSeq: 1 REGISTER",
        *lines,
        "",
        "",
    ]
    request = parse("\r\n".join(text).encode())
    assert isinstance(request, Request)
    return request


def refused(authentication: Authentication, request: Request, now: float = 1000.0) -> Refused:
    with pytest.raises(Refused) as caught:
        authentication.check(request, now)
    return caught.value


def credentials(challenge: bytes, user: str, password: str) -> str:
    """Answer the header line `challenge` as a phone does."""
    asked = parse_credentials(challenge.partition(b": ")[2])
    given = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": "sip:foo.bar.test"}
    response = answer(ha1(user, asked["realm"], password), "REGISTER", given)
    values = ", ".join(f'{name}="{value}"' for name, value in {**given, "response": response}.items())
    return f"Proxy-Authorization: Digest {values}"


def test_without_a_realm_everybody_passes() -> None:
    """Siproxd's switch is `proxy_auth_realm`."""
    Authentication(AuthConfig(password="secret"), b"key").check(register(), 1000.0)


def test_a_round_of_authentication() -> None:
    """>> REGISTER << 407 with a challenge >> REGISTER with the answer: passes."""
    authentication = Authentication(CONFIG, b"key")
    challenge = refused(authentication, register())
    assert challenge.status == 407
    [line] = challenge.headers
    assert line.startswith(b'Proxy-Authenticate: Digest realm="My Realm", nonce="')
    authentication.check(register(credentials(line, "alice", "secret")), 1001.0)


def test_a_wrong_password_is_asked_again() -> None:
    """407 with a fresh challenge, not the 503 of siproxd: a phone can ask its user."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    again = refused(authentication, register(credentials(line, "alice", "wrong")))
    assert again.status == 407
    assert b"stale" not in again.headers[0]


def test_an_old_nonce_is_stale() -> None:
    """The phone answers the new one without asking anybody."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    again = refused(authentication, register(credentials(line, "alice", "secret")), 5000.0)
    assert (again.status, again.headers[0].endswith(b", stale=TRUE")) == (407, True)


def test_a_valid_user_cannot_take_another_address_of_record() -> None:
    """Siproxd let any valid user register any address."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    assert refused(authentication, register(credentials(line, "bob", "secret"))).status == 403


@pytest.mark.parametrize("line", ["Proxy-Authorization: Basic abc", "Proxy-Authorization: Digest x"])
def test_credentials_that_cannot_be_read_are_none(line: str) -> None:
    """They get a challenge."""
    assert refused(Authentication(CONFIG, b"key"), register(line)).status == 407
