# SPDX-License-Identifier: MIT
"""Digest: the vectors of the RFCs, and everything that must not pass."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip.digest import ALGORITHMS, Challenger, Verdict, answer, ha1, parse_credentials

RFC7616 = {
    "username": "Mufasa",
    "realm": "http-auth@example.org",
    "uri": "/dir/index.html",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "qop": "auth",
}


@pytest.mark.parametrize(
    ("algorithm", "response"),
    [
        ("MD5", "8ca523f5e9506fed4657c9700eebdbec"),
        ("SHA-256", "753927fa0e85d155564e2e272a28d1802ca10daf4496794697cf8db5856cb6c1"),
        ("SHA-512-256", "430d05014cecc49cab6fbe03176d41a1da86cbfe24a16580e22aaad928d960d0"),
    ],
)
def test_vectors_of_rfc_7616(algorithm: str, response: str) -> None:
    """Section 3.9.1, and the same for the third algorithm of RFC 8760."""
    credentials = {**RFC7616, "algorithm": algorithm}
    secret = ha1("Mufasa", "http-auth@example.org", "Circle of Life", algorithm)
    assert answer(secret, "GET", credentials) == response


def test_vector_of_rfc_2617() -> None:
    """Section 3.5."""
    credentials = {
        "uri": "/dir/index.html",
        "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093",
        "nc": "00000001",
        "cnonce": "0a4f113b",
        "qop": "auth",
    }
    secret = ha1("Mufasa", "testrealm@host.com", "Circle Of Life")
    assert answer(secret, "GET", credentials) == "6629fae49393a05397450978507c4ef1"


def challenger(life: float = 300.0) -> Challenger:
    return Challenger("My Realm", b"secret", life, tuple(ALGORITHMS))


def secret_of(user: str, algorithm: str) -> str | None:
    return ha1("alice", "My Realm", "secret", algorithm) if user == "alice" else None


def credentials_for(now: float = 1000.0, **more: str | None) -> dict[str, str]:
    """What a phone that knows alice's password sends; `more` replaces or removes parameters."""
    asked = parse_credentials(challenger().challenges(now)[0])
    given = {
        "username": "alice",
        "realm": asked["realm"],
        "nonce": asked["nonce"],
        "uri": "sip:foo.bar.test",
        "algorithm": "MD5",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "abc",
    }
    given = {k: v for k, v in {**given, **more}.items() if v is not None}
    password = given.pop("password", "secret")
    name = given.get("algorithm", "MD5").upper().removesuffix("-SESS")
    secret = ha1(given["username"], "My Realm", password, name)
    return {**given, "response": answer(secret, "REGISTER", given)}


def judged(credentials: Mapping[str, str], now: float = 1000.0) -> Verdict:
    return challenger().check(credentials, "REGISTER", secret_of, now)


def test_the_challenge_is_what_phones_know() -> None:
    """TC06: the quoted realm and 32 hex digits; the algorithms in the order of preference (RFC 8760)."""
    values = challenger().challenges(1000.0, stale=True)
    assert [parse_credentials(value)["algorithm"] for value in values] == ["MD5", "SHA-256", "SHA-512-256"]
    assert values[0].startswith(b'Digest realm="My Realm", nonce="')
    assert len(parse_credentials(values[0])["nonce"]) == 32
    assert values[0].endswith(b", stale=TRUE")


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "md5", "MD5-sess", "SHA-256-sess"])
def test_the_right_password(algorithm: str) -> None:
    """With qop=auth, for every algorithm and its session variant."""
    assert judged(credentials_for(algorithm=algorithm)) is Verdict.OK


def test_a_phone_that_only_knows_rfc_2069() -> None:
    """Without qop and algorithm, which is all that siproxd understood."""
    assert judged(credentials_for(qop=None, nc=None, cnonce=None, algorithm=None)) is Verdict.OK


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"password": "wrong"}, Verdict.WRONG_PASSWORD),
        ({"username": "bob"}, Verdict.UNKNOWN_USER),
        ({"realm": "Other"}, Verdict.STALE),
        ({"nonce": "0" * 32}, Verdict.STALE),
        ({"nonce": "short"}, Verdict.STALE),
        ({"qop": "auth-int"}, Verdict.MALFORMED),
    ],
)
def test_what_does_not_pass(change: dict[str, str], verdict: Verdict) -> None:
    """Each wrong parameter, with an answer that is calculated correctly over it."""
    assert judged(credentials_for(**change)) is verdict


def test_an_algorithm_that_was_not_offered() -> None:
    """A challenge for MD5 is not answered with another one."""
    only_md5 = Challenger("My Realm", b"secret")
    credentials = credentials_for(algorithm="SHA-256")
    assert only_md5.check(credentials, "REGISTER", secret_of, 1000.0) is Verdict.MALFORMED
    unknown = {**credentials, "algorithm": "ROT13"}
    assert challenger().check(unknown, "REGISTER", secret_of, 1000.0) is Verdict.MALFORMED


def test_the_method_takes_part() -> None:
    """An answer for REGISTER is none for INVITE."""
    assert challenger().check(credentials_for(), "INVITE", secret_of, 1000.0) is Verdict.WRONG_PASSWORD


def test_a_nonce_has_a_life() -> None:
    """Right but too old: the phone may answer a new nonce without asking its user."""
    credentials = credentials_for(1000.0)
    assert judged(credentials, 1300.0) is Verdict.OK
    assert judged(credentials, 1301.0) is Verdict.STALE
    assert judged(credentials, 999.0) is Verdict.STALE


def test_a_nonce_of_another_server_is_no_nonce() -> None:
    """The keyed hash tells: only who knows the secret makes nonces."""
    other = parse_credentials(Challenger("My Realm", b"other").challenges(1000.0)[0])
    assert judged(credentials_for(nonce=other["nonce"])) is Verdict.STALE


@pytest.mark.parametrize("name", ["uri", "nonce", "cnonce", "nc", "response", "username"])
def test_a_parameter_is_missing(name: str) -> None:
    """Nothing passes, and nothing raises."""
    credentials = credentials_for()
    del credentials[name]
    assert judged(credentials) is not Verdict.OK


def test_parsing() -> None:
    """Quoted pairs, commas in quotes, blanks, names in any case."""
    value = rb'Digest  Username = "al\"i,ce" ,REALM="a b",uri="sip:x;y=z",nc=00000001'
    assert parse_credentials(value) == {
        "username": 'al"i,ce',
        "realm": "a b",
        "uri": "sip:x;y=z",
        "nc": "00000001",
    }


@pytest.mark.parametrize("value", [b"", b"Basic abc", b"Digest username", b'Digest username="a', b"Digest ="])
def test_parsing_nonsense(value: bytes) -> None:
    """A ValueError says where."""
    with pytest.raises(ValueError, match=" at "):
        parse_credentials(value)


@given(st.binary(max_size=200))
def test_parsing_anything(value: bytes) -> None:
    """Whatever comes, it is read or it is a ValueError; and it never passes."""
    try:
        credentials = parse_credentials(b"Digest " + value)
    except ValueError:
        return
    assert judged(credentials) is not Verdict.OK


@given(user=st.text(min_size=1), password=st.text(), name=st.sampled_from([*ALGORITHMS]))
def test_any_password_answers_its_own_challenge(user: str, password: str, name: str) -> None:
    """And no other one does."""
    user, password = (text.encode("utf-8", "replace").decode() for text in (user, password))
    given_ = credentials_for(username=user, password=password, algorithm=name)
    right = challenger().check(given_, "REGISTER", lambda u, a: ha1(u, "My Realm", password, a), 1000.0)
    wrong = challenger().check(given_, "REGISTER", lambda u, a: ha1(u, "My Realm", password + "x", a), 1000.0)
    assert (right, wrong) == (Verdict.OK, Verdict.WRONG_PASSWORD)
