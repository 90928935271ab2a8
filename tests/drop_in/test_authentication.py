# SPDX-License-Identifier: MIT
"""TC06: the proxy as registrar asks for a password."""

from __future__ import annotations

import hashlib
import re

import pytest

from tests.support.lab import Lab
from tests.support.messages import Message, register, values
from tests.support.networks import BOTH, MIXED

pytestmark = BOTH

CONTACT = "<sip:alice@10.0.0.10:5062>"
URI = "sip:foo.bar.test"


@pytest.fixture
def lab(laboratory, tmp_path):
    """Open a laboratory whose registrar knows alice, and her only."""
    passwords = tmp_path / "passwords"
    passwords.write_text("# user password\n\nalice secret\n")
    return laboratory("proxy_auth_realm = My Realm", f"proxy_auth_pwfile = {passwords}")


def challenged(lab: Lab) -> str:
    """Register without credentials; return the nonce of the challenge that comes."""
    lab.p.send(register("alice@foo.bar.test", CONTACT))
    return nonce_of(lab.p.sees("SIP/2.0 407 Proxy Authentication Required"))


def nonce_of(challenge: Message) -> str:
    """Return the nonce of the challenge that a phone understands which knows MD5 only."""
    (plain,) = (value for value in values(challenge, "Proxy-Authenticate") if "SHA-" not in value)
    assert plain.startswith('Digest realm="My Realm"')
    return re.findall(r'nonce="([^"]+)"', plain)[0]


def credentials(nonce: str, password: str = "secret", user: str = "alice", qop: bool = False) -> str:
    """Return the header that answers a challenge (RFC 2617 section 3.2.2)."""

    def md5(text: str) -> str:
        return hashlib.md5(text.encode()).hexdigest()

    extra = ":00000001:0a4f113b:auth" if qop else ""
    response = md5(f"{md5(f'{user}:My Realm:{password}')}:{nonce}{extra}:{md5(f'REGISTER:{URI}')}")
    protection = ', qop=auth, nc=00000001, cnonce="0a4f113b"' if qop else ""
    return (
        f'Proxy-Authorization: Digest username="{user}", realm="My Realm", nonce="{nonce}", uri="{URI}", '
        f'response="{response}"{protection}'
    )


@MIXED
@pytest.mark.parametrize("qop", [False, True], ids=["RFC 2069", "qop=auth"])
def test_tc06_the_right_password(lab, qop):
    """A phone that answers the challenge is registered, with or without quality of protection."""
    nonce = challenged(lab)
    lab.p.send(register("alice@foo.bar.test", CONTACT, "CSeq: 2 REGISTER", credentials(nonce, qop=qop)))
    lab.p.sees("""
        SIP/2.0 200 OK
        Contact: <sip:alice@10.0.0.10:5062>;expires=3600
        """)
    lab.v.nothing()


@pytest.mark.parametrize(("user", "password"), [("alice", "wrong"), ("mallory", "secret")])
def test_tc06_the_wrong_password(lab, user, password):
    """Wrong credentials get another challenge or a refusal, never a registration and never a 503."""
    nonce = challenged(lab)
    lab.p.send(
        register("alice@foo.bar.test", CONTACT, "CSeq: 2 REGISTER", credentials(nonce, password, user))
    )
    assert lab.p.receive().status in (403, 407)
    assert lab.service.status()["registrations"] == 0


def test_tc06_a_made_up_nonce(lab):
    """A nonce that we never gave is not accepted, whatever was calculated with it."""
    lab.p.send(register("alice@foo.bar.test", CONTACT, credentials("eaf79b83341d35a8db7774c232424692")))
    lab.p.sees("SIP/2.0 407 …")


def test_tc06_somebody_else_s_address(lab):
    """Alice's password registers alice and nobody else."""
    nonce = challenged(lab)
    lab.p.send(register("bob@foo.bar.test", CONTACT, "CSeq: 2 REGISTER", credentials(nonce)))
    lab.p.sees("SIP/2.0 403 …")


def test_tc06_a_provider_s_registrations_are_not_ours_to_check(lab):
    """A REGISTER that is passed on is not challenged by us, and credentials for others pass unread."""
    lab.p.send(register("alice@sip.provider.test", CONTACT, 'Authorization: Digest username="alice"'))
    lab.v.sees("""
        REGISTER sip:sip.provider.test SIP/2.0
        Authorization: Digest username="alice"
        """)
    lab.p.nothing()


def test_tc06_one_password_for_all(laboratory):
    """proxy_auth_passwd is every user's password."""
    lab = laboratory("proxy_auth_realm = My Realm", "proxy_auth_passwd = secret")
    nonce = challenged(lab)
    lab.p.send(register("alice@foo.bar.test", CONTACT, "CSeq: 2 REGISTER", credentials(nonce)))
    lab.p.sees("SIP/2.0 200 OK")
