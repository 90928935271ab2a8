# SPDX-License-Identifier: MIT
"""Digest: the vectors of the RFCs, and everything that must not pass."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from siproxd_tw.sip.digest import ALGORITHMS, Challenger, Verdict, answer, ha1, parse_credentials
from siproxd_tw.sip.grammar import ParseError

KEY = b"key of this server"
NOW = 1000.0
URI = "sip:foo.bar.test"

RFC7616 = {
    "username": "Mufasa",
    "realm": "http-auth@example.org",
    "uri": "/dir/index.html",
    "nonce": "7ypf/xlj9XXwfDPEoM4URrv/xwf94BcCAzFZH4GiTo0v",
    "nc": "00000001",
    "cnonce": "f2/wE4q74E6zIJEtWaHKaf5wv/H5QzzpXusqGemxURZJ",
    "qop": "auth",
}


# the arithmetic


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


def test_vector_of_rfc_2069() -> None:
    """Section 2.4 as its erratum 749 corrects it: without qop."""
    credentials = {"uri": "/dir/index.html", "nonce": "dcd98b7102dd2f0e8b11d0f600bfb0c093"}
    secret = ha1("Mufasa", "testrealm@host.com", "CircleOfLife")
    assert answer(secret, "GET", credentials) == "1949323746fe6a43ef61f9606e7febea"


# a phone and a server


def challenger(life: float = 300.0, realm: str = "My Realm", key: bytes = KEY) -> Challenger:
    return Challenger(realm, key, life, ALGORITHMS)


CHALLENGER = challenger()


def secret_of(user: str, algorithm: str) -> str | None:
    return ha1("alice", "My Realm", "secret", algorithm) if user == "alice" else None


def credentials_for(now: float = NOW, **more: str | None) -> dict[str, str]:
    """What a phone that knows alice's password sends; `more` replaces or removes parameters."""
    asked = parse_credentials(challenger().challenges(now)[0])
    sent: dict[str, str | None] = {
        "username": "alice",
        "realm": asked["realm"],
        "nonce": asked["nonce"],
        "uri": URI,
        "algorithm": "MD5",
        "qop": "auth",
        "nc": "00000001",
        "cnonce": "abc",
    }
    kept = {name: value for name, value in {**sent, **more}.items() if value is not None}
    password = kept.pop("password", "secret")
    name = kept.get("algorithm", "MD5").upper().removesuffix("-SESS")
    secret = ha1(kept["username"], "My Realm", password, name)
    return {**kept, "response": answer(secret, "REGISTER", kept)}


def header(credentials: Mapping[str, str]) -> bytes:
    """Write `credentials` as phones do: some values quoted, some not."""

    def written(name: str, value: str) -> str:
        if name in ("algorithm", "qop", "nc"):
            return f"{name}={value}"
        value = value.replace("\\", "\\\\").replace('"', '\\"')
        return f'{name}="{value}"'

    return ("Digest " + ", ".join(written(*pair) for pair in credentials.items())).encode()


def judged(credentials: Mapping[str, str], now: float = NOW, method: str = "REGISTER") -> Verdict:
    return challenger().check(credentials, method, secret_of, now)


def test_tc06_the_challenge_is_what_phones_know() -> None:
    """The realm in quotes, hex digits, and what siproxd lacks: algorithm and qop, by default MD5."""
    [value] = Challenger("My Realm", KEY).challenges(NOW)
    nonce = parse_credentials(value)["nonce"]
    assert value == b'Digest realm="My Realm", nonce="%b", algorithm=MD5, qop="auth"' % nonce.encode()
    assert nonce[:16] == "000003e8" + "00000001"
    assert len(bytes.fromhex(nonce)) == 20
    assert Challenger("My Realm", KEY).challenges(NOW, stale=True) == [value + b", stale=TRUE"]


def test_no_two_clients_get_the_same_nonce() -> None:
    """Their counts would be taken for one another's."""
    asking = challenger()
    nonces = [{parse_credentials(value)["nonce"] for value in asking.challenges(NOW)} for _ in range(3)]
    assert [len(of_one) for of_one in nonces] == [1, 1, 1]
    assert len(set.union(*nonces)) == 3


def test_one_challenge_for_each_algorithm() -> None:
    """The strongest first (RFC 8760 section 2.3), in whatever order they are given."""
    values = Challenger("r", KEY, algorithms=("MD5", "SHA-512-256", "SHA-256")).challenges(NOW)
    assert [parse_credentials(value)["algorithm"] for value in values] == ["SHA-512-256", "SHA-256", "MD5"]


def test_nobody_is_asked_for_what_nobody_has() -> None:
    """The choice is made anew for each challenge: users come and go."""
    values = challenger().challenges(NOW, algorithms={"MD5", "SHA-256"})
    assert [parse_credentials(value)["algorithm"] for value in values] == ["SHA-256", "MD5"]


@pytest.mark.parametrize("realm", ['a "b" \\c', "Büro", "B\udcfcro", "a, b=c"])
def test_a_realm_that_needs_care(realm: str) -> None:
    """Quotes, commas, and bytes that are not UTF-8 go through the challenge and come back."""
    [value] = Challenger(realm, KEY).challenges(NOW)
    assert parse_credentials(value)["realm"] == realm


def test_tc06_a_phone_that_only_knows_rfc_2069() -> None:
    """Plain MD5 without qop and algorithm, which is all that siproxd understood."""
    assert judged(credentials_for(qop=None, nc=None, cnonce=None, algorithm=None)) is Verdict.OK


@pytest.mark.parametrize("algorithm", [*ALGORITHMS, "md5", *(f"{name}-sess" for name in ALGORITHMS)])
def test_the_right_password(algorithm: str) -> None:
    """With qop=auth, for every algorithm and its session variant."""
    assert judged(credentials_for(algorithm=algorithm)) is Verdict.OK


def test_a_session_variant_without_qop() -> None:
    """Its HA1 takes a cnonce all the same (RFC 7616 section 3.4.2)."""
    assert judged(credentials_for(algorithm="MD5-sess", qop=None, nc=None)) is Verdict.OK
    without = {k: v for k, v in credentials_for(algorithm="MD5-sess", qop=None).items() if k != "cnonce"}
    assert judged(without) is Verdict.MALFORMED


@pytest.mark.parametrize("algorithm", ["SHA-256", "SHA-512-256"])
def test_only_md5_may_do_without_qop(algorithm: str) -> None:
    """RFC 2069 knew nothing else, and whoever knows more knows qop (RFC 8760 section 2.6)."""
    credentials = credentials_for(algorithm=algorithm, qop=None)
    assert judged(credentials) is Verdict.MALFORMED
    assert challenger().flaw(credentials) == "qop is missing"


# the life of a nonce


class Phone:
    """Alice's phone: asks for a nonce, then answers it as often as it likes."""

    def __init__(self, asking: Challenger, now: float = NOW) -> None:
        self.asking = asking
        self.nonce = parse_credentials(asking.challenges(now)[0])["nonce"]

    def sends(self, count: int | None, now: float = NOW, **more: str) -> Verdict:
        counted = {"qop": None, "nc": None} if count is None else {"nc": f"{count:08x}"}
        credentials = credentials_for(nonce=self.nonce, **counted, **more)
        return self.asking.check(credentials, "REGISTER", secret_of, now)


def test_each_count_is_good_once() -> None:
    """What was seen on the wire is of no use to others, be it under another cnonce."""
    phone = Phone(challenger())
    assert [phone.sends(count) for count in (1, 1, 2, 2)] == [
        Verdict.OK,
        Verdict.REPLAYED,
        Verdict.OK,
        Verdict.REPLAYED,
    ]
    assert phone.sends(2, cnonce="other") is Verdict.REPLAYED


def test_counts_may_overtake_each_other() -> None:
    """Two requests of a phone arrive in any order; each counts once, and what is far behind does not."""
    phone = Phone(challenger())
    assert phone.sends(100) is Verdict.OK
    assert [phone.sends(count) for count in (99, 37, 36)] == [Verdict.OK, Verdict.OK, Verdict.REPLAYED]
    assert phone.sends(0xFFFFFFFF) is Verdict.OK
    assert [phone.sends(count) for count in (99, 100, 0xFFFFFFFF)] == [Verdict.REPLAYED] * 3
    assert phone.sends(0xFFFFFFFE) is Verdict.OK


def test_a_wrong_password_uses_no_count() -> None:
    """Or anybody could take a phone's next count away."""
    phone = Phone(challenger())
    assert phone.sends(1, password="wrong") is Verdict.WRONG_PASSWORD
    assert phone.sends(1) is Verdict.OK


def test_the_counts_of_one_phone_are_none_of_another_s() -> None:
    """Challenged in the same second, each has a nonce of its own."""
    asking = challenger()
    phones = [Phone(asking), Phone(asking)]
    assert [phone.sends(1) for phone in phones] == [Verdict.OK, Verdict.OK]


def test_without_a_count_a_nonce_is_good_for_a_moment() -> None:
    """An answer of RFC 2069 is always the same, so its nonce must not live long."""
    phone = Phone(challenger())
    assert [phone.sends(None, NOW + age) for age in (0.0, 1.0, 30.0, 31.0)] == [
        Verdict.OK,
        Verdict.OK,
        Verdict.OK,
        Verdict.STALE,
    ]
    assert phone.sends(1, NOW + 31.0) is Verdict.OK


def test_a_nonce_that_is_forgotten_is_dead(monkeypatch: pytest.MonkeyPatch) -> None:
    """There is room for so many; the oldest goes, and its counts cannot come again for the first time."""
    monkeypatch.setattr("siproxd_tw.sip.digest.MOST_NONCES", 2)
    asking = challenger()
    early, late, later = Phone(asking), Phone(asking, NOW + 1), Phone(asking, NOW + 2)
    unused = Phone(asking)
    assert [phone.sends(1, NOW + 2) for phone in (early, late, later)] == [Verdict.OK] * 3
    assert early.sends(1, NOW + 2) is Verdict.STALE, "replayed"
    assert unused.sends(1, NOW + 2) is Verdict.STALE, (
        "as old as the one that was forgotten: could be that one"
    )
    assert [phone.sends(2, NOW + 2) for phone in (late, later)] == [Verdict.OK] * 2
    assert Phone(asking, NOW + 2).sends(1, NOW + 2) is Verdict.OK


@given(st.lists(st.integers(0, 200), max_size=60))
def test_no_count_is_good_twice(counts: list[int]) -> None:
    """In whatever order they come; and one that is ahead of all others always is."""
    phone = Phone(CHALLENGER)
    good = [count for count in counts if phone.sends(count) is Verdict.OK]
    assert len(set(good)) == len(good)
    assert not counts or max(counts) in good


def test_sloppy_phones() -> None:
    """A response and a qop in capitals mean the same."""
    credentials = credentials_for(qop="AUTH")
    assert judged({**credentials, "response": credentials["response"].upper()}) is Verdict.OK


@pytest.mark.parametrize(
    ("change", "verdict"),
    [
        ({"password": "wrong"}, Verdict.WRONG_PASSWORD),
        ({"username": "bob"}, Verdict.UNKNOWN_USER),
        ({"username": ""}, Verdict.UNKNOWN_USER),
        ({"realm": "Other"}, Verdict.MALFORMED),
        ({"nonce": "0" * 32}, Verdict.STALE),
        ({"nonce": "short"}, Verdict.STALE),
        ({"nonce": ""}, Verdict.STALE),
        ({"nonce": "ü" * 32}, Verdict.STALE),
        ({"qop": "auth-int"}, Verdict.MALFORMED),
        ({"nc": "1"}, Verdict.MALFORMED),
        ({"algorithm": "MD5-sess-sess"}, Verdict.MALFORMED),
    ],
)
def test_what_does_not_pass(change: dict[str, str], verdict: Verdict) -> None:
    """Each wrong parameter, where it can be with an answer that is calculated correctly over it."""
    credentials = credentials_for(**{k: v for k, v in change.items() if k != "algorithm"})
    assert judged({**credentials, **change}) is verdict


def test_an_algorithm_that_was_not_offered() -> None:
    """A challenge for MD5 is not answered with another one, nor a strong one with MD5."""
    only_md5 = Challenger("My Realm", KEY)
    credentials = credentials_for(algorithm="SHA-256")
    assert only_md5.check(credentials, "REGISTER", secret_of, NOW) is Verdict.MALFORMED
    only_sha = Challenger("My Realm", KEY, algorithms=["SHA-256"])
    assert only_sha.check(credentials, "REGISTER", secret_of, NOW) is Verdict.OK
    downgraded = credentials_for(algorithm=None)
    assert only_sha.check(downgraded, "REGISTER", secret_of, NOW) is Verdict.MALFORMED
    assert judged({**credentials, "algorithm": "ROT13"}) is Verdict.MALFORMED


def test_the_method_and_the_uri_take_part() -> None:
    """An answer for REGISTER is none for INVITE, one for a URI none for another."""
    assert judged(credentials_for(), method="INVITE") is Verdict.WRONG_PASSWORD
    assert judged({**credentials_for(), "uri": "sip:elsewhere.test"}) is Verdict.WRONG_PASSWORD


def test_the_hash_of_no_password_opens_nothing() -> None:
    """Not even to an answer over an empty HA1, which anybody can calculate."""
    credentials = credentials_for(username="mallory")
    credentials["response"] = answer("", "REGISTER", credentials)
    assert judged(credentials) is Verdict.UNKNOWN_USER


def test_a_nonce_has_a_life() -> None:
    """Right but too old: the phone may answer a new nonce without asking its user."""
    credentials = credentials_for(NOW)
    assert judged(credentials, NOW + 300.9) is Verdict.OK
    assert judged(credentials, NOW + 301.0) is Verdict.STALE
    assert judged(credentials, NOW - 1.0) is Verdict.STALE
    assert judged(credentials_for(NOW, password="wrong"), NOW + 301.0) is Verdict.WRONG_PASSWORD


def test_a_nonce_lives_on_when_its_eight_digits_overflow() -> None:
    """In the year 2106, and for clocks that start anywhere."""
    credentials = credentials_for(2.0**32 - 10)
    assert judged(credentials, 2.0**32 + 10) is Verdict.OK


@pytest.mark.parametrize("other", [challenger(key=b"other"), challenger(realm="Other")])
def test_a_nonce_of_another_server_is_no_nonce(other: Challenger) -> None:
    """The keyed hash tells: only who knows the key makes nonces, and each realm has its own."""
    nonce = parse_credentials(other.challenges(NOW)[0])["nonce"]
    assert judged(credentials_for(nonce=nonce)) is Verdict.STALE


def test_a_nonce_is_no_other_hash_with_the_same_key() -> None:
    """Branches and tags are hashed with that key, too, over text that peers choose."""
    stamp = "000003e800000001"
    mark = hashlib.blake2b(f"{stamp}:My Realm".encode(), digest_size=12, key=KEY).hexdigest()
    assert judged(credentials_for(nonce=stamp + mark)) is Verdict.STALE


def test_a_nonce_cannot_be_made_younger() -> None:
    """Its time is part of what the keyed hash protects."""
    nonce = credentials_for(NOW)["nonce"]
    assert judged(credentials_for(nonce="000003e9" + nonce[8:]), NOW + 301.0) is Verdict.STALE


@pytest.mark.parametrize("name", ["username", "realm", "nonce", "uri", "response", "nc", "cnonce"])
def test_a_parameter_is_missing(name: str) -> None:
    """It is named, and nothing passes."""
    credentials = credentials_for()
    del credentials[name]
    assert judged(credentials) is Verdict.MALFORMED
    assert challenger().flaw(credentials) == f"{name} is missing"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"realm": "Other"}, "for another realm"),
        ({"algorithm": "ROT13"}, "algorithm was not offered"),
        ({"qop": "auth-int"}, "qop was not offered"),
        ({"nc": "+0000001"}, "nc is not 8 hex digits"),
        ({"password": "wrong"}, None),
    ],
)
def test_flaws_have_words(change: dict[str, str], reason: str | None) -> None:
    """What is wrong with the form, for a log line; a wrong password is no such thing."""
    assert challenger().flaw({**credentials_for(), **change}) == reason


@pytest.mark.parametrize(
    "arguments",
    [
        {"realm": "r\r\nX-Evil: 1"},
        {"secret": b""},
        {"secret": b"x" * 65},
        {"algorithms": ()},
        {"algorithms": ("MD5", "ROT13")},
    ],
)
def test_a_challenger_that_cannot_work(arguments: dict[str, object]) -> None:
    """It says so at once and not at the first request."""
    usual: dict[str, object] = {"realm": "r", "secret": KEY}
    with pytest.raises(ValueError, match=r"expected|control"):
        Challenger(**{**usual, **arguments})  # type: ignore[arg-type]


def test_the_key_does_not_show() -> None:
    """Neither in the text of the object nor in what goes out."""
    asking = Challenger("My Realm", KEY)
    assert "key of" not in repr(asking)
    assert KEY not in asking.challenges(NOW)[0]


# the header


def test_parsing() -> None:
    """Quoted pairs, commas in quotes, blanks, folding, names in any case."""
    value = b'DIGEST\r\n Username = "al\\"i,ce" ,\tREALM="a b",uri="sip:x;y=z",nc=00000001'
    assert parse_credentials(value) == {
        "username": 'al"i,ce',
        "realm": "a b",
        "uri": "sip:x;y=z",
        "nc": "00000001",
    }


def test_parsing_what_sloppy_phones_send() -> None:
    """Without quotes where there should be some, and without anything."""
    value = b'Digest username=alice@foo.test, uri=sip:foo.test;transport=udp, nonce=YWI=, opaque=,cnonce=""'
    assert parse_credentials(value) == {
        "username": "alice@foo.test",
        "uri": "sip:foo.test;transport=udp",
        "nonce": "YWI=",
        "opaque": "",
        "cnonce": "",
    }


@pytest.mark.parametrize(
    ("value", "position"),
    [
        (b"", 0),
        (b"Digest", 0),
        (b"Basic abc", 0),
        (b"Digestion a=b", 0),
        (b"Digest ", 6),
        (b"Digest username", 6),
        (b"Digest =", 6),
        (b'Digest username="a', 16),
        (b'Digest username="a\\"', 16),
        (b"Digest a=b,", 11),
        (b"Digest a=b,,c=d", 11),
        (b"Digest a=b c=d", 11),
        (b'Digest a=b"c"', 10),
        (b'Digest realm="a", Realm="b"', 18),
        (b'Digest username="\xff"', 16),
        (b'Digest username="a\x1b[2J"', 16),
        (b'Digest username="a\\\x1b"', 16),
        (b'Digest username="\xc2\x9b2J"', 16),
        (b'Digest username="a\r\nb"', 16),
        (b'Digest username="a"\x00', 19),
    ],
)
def test_parsing_nonsense(value: bytes, position: int) -> None:
    """An error says where; nothing comes out that a log or a comparison could stumble over."""
    with pytest.raises(ParseError) as caught:
        parse_credentials(value)
    assert caught.value.position == position


PIECES = st.sampled_from(
    [
        b'"',
        b"\\",
        b",",
        b"=",
        b" ",
        b"\t",
        b"\r\n ",
        b"\n",
        b"\xff",
        b"\xc3\xbc",
        b"\x00",
        b"a",
        b"nonce",
        b"uri",
    ]
)


@given(st.lists(PIECES).map(b"".join) | st.binary(max_size=60))
def test_parsing_anything(value: bytes) -> None:
    """Whatever comes, it is read or it is a ValueError; and it never passes."""
    try:
        credentials = parse_credentials(b"Digest " + value)
    except ValueError:
        return
    assert judged(credentials) is Verdict.MALFORMED


@given(st.data())
def test_credentials_that_were_garbled(data: st.DataObject) -> None:
    """One octet changed anywhere: read or refused, never an exception, and never another user."""
    value = bytearray(header(credentials_for()))
    value[data.draw(st.integers(0, len(value) - 1))] = data.draw(st.integers(0, 255))
    try:
        credentials = parse_credentials(bytes(value))
    except ValueError:
        return
    assert judged(credentials) is not Verdict.OK or credentials["username"] == "alice"


# Printable: what a phone can send in a header. The category Cs is what cannot be UTF-8.
TEXT = st.text(st.characters(exclude_categories=["Cc", "Cs"]))


@given(user=TEXT, password=st.text(), uri=TEXT, cnonce=TEXT, name=st.sampled_from([*ALGORITHMS]))
def test_any_password_answers_its_own_challenge(
    user: str, password: str, uri: str, cnonce: str, name: str
) -> None:
    """Written as a header and read again; and no other password does, nor any other parameter."""
    password = password.encode("utf-8", "replace").decode()
    sent = credentials_for(username=user, password=password, uri=uri, cnonce=cnonce, algorithm=name)
    came = parse_credentials(header(sent))
    assert came == sent

    def verdict(credentials: Mapping[str, str], known: str = password) -> Verdict:
        return challenger().check(credentials, "REGISTER", lambda u, a: ha1(u, "My Realm", known, a), NOW)

    assert verdict(came) is Verdict.OK
    assert verdict(came, password + "x") is Verdict.WRONG_PASSWORD
    for parameter, value in came.items():
        changed = ("1" if value[:1] != "1" else "2") + value[1:]
        assert verdict({**came, parameter: changed}) is not Verdict.OK
