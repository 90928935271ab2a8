# SPDX-License-Identifier: MIT
"""Who may register here and send requests, when a password is asked for (TC06)."""

from __future__ import annotations

from pathlib import Path

import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from siproxd_tw.config.settings import AuthConfig
from siproxd_tw.interfaces import Address, Flow, Refused, Side
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


def credentials(
    challenge: bytes, user: str, password: str, method: str = "REGISTER", count: int | None = None
) -> str:
    """Answer the header line `challenge` as a phone does; with `count` as one that knows qop."""
    asked = parse_credentials(challenge.partition(b": ")[2])
    given = {"username": user, "realm": asked["realm"], "nonce": asked["nonce"], "uri": "sip:foo.bar.test"}
    if count is not None:
        given |= {"qop": "auth", "nc": f"{count:08x}", "cnonce": "0a4f113b", "algorithm": asked["algorithm"]}
    response = answer(ha1(user, asked["realm"], password, asked["algorithm"]), method, given)
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


def test_credentials_are_good_once() -> None:
    """Seen on the wire and sent again, they get a new challenge; the phone's own next ones pass."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    authentication.check(register(credentials(line, "alice", "secret", count=1)), 1000.0)
    again = refused(authentication, register(credentials(line, "alice", "secret", count=1)))
    assert (again.status, again.why) == (407, "stale nonce")
    assert again.headers[0].endswith(b", stale=TRUE")
    authentication.check(register(credentials(line, "alice", "secret", count=2)), 1000.0)


def test_a_phone_that_was_given_two_realms() -> None:
    """A provider's credentials are none for us, wherever they stand."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    other = 'Proxy-Authorization: Digest username="a", realm="sip.provider.test", nonce="1", uri="sip:x"'
    assert refused(authentication, register(other)).why == "no credentials"
    authentication.check(register(other, credentials(line, "alice", "secret")), 1000.0)


def test_strongest_first_where_that_is_wanted() -> None:
    """One challenge for each algorithm; the answer to any of them passes (RFC 8760 section 2.3)."""
    config = AuthConfig(realm="My Realm", password="secret", algorithms=("MD5", "SHA-256"))
    authentication = Authentication(config, b"key")
    lines = refused(authentication, register()).headers
    algorithms = [parse_credentials(line.partition(b": ")[2])["algorithm"] for line in lines]
    assert algorithms == ["SHA-256", "MD5"]
    for count, line in enumerate(lines, 1):
        authentication.check(register(credentials(line, "alice", "secret", count=count)), 1000.0)


def test_a_user_with_a_hash_of_one_algorithm(tmp_path: Path) -> None:
    """It is offered and accepted, and no other."""
    file = tmp_path / "passwords"
    file.write_text(f"alice:My Realm:{ha1('alice', 'My Realm', 'secret', 'SHA-256')}\n")
    authentication = Authentication(AuthConfig(realm="My Realm", password_file=str(file)), b"key")
    [line] = refused(authentication, register()).headers
    assert b"algorithm=SHA-256" in line
    authentication.check(register(credentials(line, "alice", "secret", count=1)), 1000.0)
    downgraded = line.replace(b"SHA-256", b"MD5")
    again = refused(authentication, register(credentials(downgraded, "alice", "secret", count=2)))
    assert again.why == "authentication failed"


def test_failures_are_told_with_their_source() -> None:
    """Only those with credentials: the first challenge of a phone is no attack."""
    authentication = Authentication(CONFIG, b"key")
    with capturedLogs() as events:
        [line] = refused(authentication, register()).headers
        with pytest.raises(Refused):
            authentication.check(register(credentials(line, "alice", "wrong")), 1000.0, PHONE)
        with pytest.raises(Refused):
            authentication.check(register(credentials(line, "alice", "secret")), 5000.0, PHONE)
    told = [formatEvent(event) for event in events if event["log_level"] is LogLevel.warn]
    assert told == ["proxy authentication failed for alice@foo.bar.test from 10.0.0.10"]


# every request


EVERY = AuthConfig(realm="My Realm", password="secret", every_request=True)
PHONE = Flow(None, Address("10.0.0.10", 5062), Side.INSIDE)
PROVIDER = Flow(None, Address("203.0.113.50", 5060), Side.OUTSIDE)


def begun(
    method: str, *lines: str, caller: str = "<sip:alice@sip.provider.test>;tag=1", tag: str = ""
) -> Request:
    text = [
        f"{method} sip:bob@sip.provider.test SIP/2.0",
        "Via: SIP/2.0/UDP 10.0.0.10:5062;branch=z9hG4bKi",
        f"From: {caller}",
        f"To: <sip:bob@sip.provider.test>{tag}",
        "Call-ID: i1",
        f"CSeq: 1 {method}",
        *lines,
        "",
        "",
    ]
    request = parse("\r\n".join(text).encode())
    assert isinstance(request, Request)
    return request


def outcome(authentication: Authentication, request: Request, flow: Flow = PHONE, now: float = 1000.0) -> str:
    """Say what becomes of a request that goes on: "passes" or the status and the reason."""
    try:
        authentication.check_request(request, flow, now)
    except Refused as refusal:
        return f"{refusal.status} {refusal.why}"
    return "passes"


def challenge(authentication: Authentication, request: Request) -> bytes:
    with pytest.raises(Refused) as caught:
        authentication.check_request(request, PHONE, 1000.0)
    [line] = caught.value.headers
    return line


def test_requests_are_asked_only_where_that_is_configured() -> None:
    """Siproxd asks for registrations at itself and for nothing else."""
    assert outcome(Authentication(CONFIG, b"key"), begun("INVITE")) == "passes"
    assert outcome(Authentication(AuthConfig(every_request=True), b"key"), begun("INVITE")) == "passes"


@pytest.mark.parametrize(
    "method", ["INVITE", "MESSAGE", "SUBSCRIBE", "OPTIONS", "PUBLISH", "REGISTER", "UNHEARDOF"]
)
def test_what_begins_something_is_asked(method: str) -> None:
    """>> INVITE << 407 >> INVITE with the answer: passes; once."""
    authentication = Authentication(EVERY, b"key")
    user = "bob" if method == "REGISTER" else "alice"
    line = challenge(authentication, begun(method))
    answered = begun(method, credentials(line, user, "secret", method, count=1))
    assert outcome(authentication, answered) == "passes"
    assert outcome(authentication, answered) == "407 stale nonce"


@pytest.mark.parametrize(
    ("request_", "flow"),
    [
        (begun("ACK"), PHONE),
        (begun("CANCEL"), PHONE),
        (begun("INVITE"), PROVIDER),
    ],
)
def test_what_is_not_asked(request_: Request, flow: Flow) -> None:
    """What cannot come again, and callers outside, who have no password here."""
    assert outcome(Authentication(EVERY, b"key"), request_, flow) == "passes"


def test_a_dialog_that_runs_is_not_asked_again() -> None:
    """Whether it runs others know: anybody can write a To tag."""
    authentication, within = Authentication(EVERY, b"key"), begun("INVITE", tag=";tag=b1")
    authentication.check_request(within, PHONE, 0.0, runs=True)
    assert outcome(authentication, within, PHONE) == "407 no credentials"


@pytest.mark.parametrize(
    ("caller", "expected"),
    [
        ("<sip:alice@elsewhere.test>;tag=1", "passes"),
        ("<sip:%61lice@sip.provider.test>;tag=1", "passes"),
        ("<sip:bob@sip.provider.test>;tag=1", "403 authenticated as another user"),
        ("<sip:ALICE@sip.provider.test>;tag=1", "403 authenticated as another user"),
        ("<sip:sip.provider.test>;tag=1", "403 authenticated as another user"),
        ("<tel:+4930123;ext=1>;tag=1", "403 authenticated as another user"),
        ("Anonymous <sip:anonymous@anonymous.invalid>;tag=1", "passes"),
    ],
)
def test_the_user_is_who_the_request_is_from(caller: str, expected: str) -> None:
    """Nobody calls in another's name; to call without a name is anybody's right."""
    authentication = Authentication(EVERY, b"key")
    line = challenge(authentication, begun("INVITE"))
    request = begun("INVITE", credentials(line, "alice", "secret", "INVITE", count=1), caller=caller)
    assert outcome(authentication, request) == expected


def test_a_caller_with_a_number() -> None:
    """The user of a tel URI is its number."""
    authentication = Authentication(EVERY, b"key")
    line = challenge(authentication, begun("INVITE"))
    given = credentials(line, "+4930123", "secret", "INVITE", count=1)
    assert outcome(authentication, begun("INVITE", given, caller="<tel:+4930123;ext=1>;tag=1")) == "passes"


def test_an_anonymous_registration_is_nobody_s() -> None:
    """It has to be about the user who authenticates."""
    authentication = Authentication(CONFIG, b"key")
    [line] = refused(authentication, register()).headers
    given = credentials(line, "alice", "secret", count=1)
    assert refused(authentication, register(given, user="anonymous")).status == 403


def test_credentials_for_one_method_are_none_for_another() -> None:
    """What was an OPTIONS does not become a call."""
    authentication = Authentication(EVERY, b"key")
    given = credentials(challenge(authentication, begun("INVITE")), "alice", "secret", "OPTIONS", count=1)
    assert outcome(authentication, begun("INVITE", given)) == "407 authentication failed"


# what goes on


def test_credentials_for_us_stay_here() -> None:
    """Byte for byte the rest goes on, credentials for others and unreadable ones included (22.3)."""
    others = [
        'Proxy-Authorization:  Digest realm="sip.provider.test",username=alice',
        "Proxy-Authorization: Basic YTpi",
        'Authorization: Digest realm="My Realm", username="alice"',
    ]
    ours = 'Proxy-Authorization: Digest realm="My Realm",\r\n username="alice"'
    copy = begun("INVITE", others[0], ours, *others[1:]).copy()
    Authentication(CONFIG, b"key").strip(copy)
    assert bytes(copy) == bytes(begun("INVITE", *others))
    assert [edit.reason for edit in copy.edits()] == ["credentials for our realm (22.3)"]


@pytest.mark.parametrize("config", [AuthConfig(), CONFIG])
def test_without_credentials_for_us_nothing_changes(config: AuthConfig) -> None:
    """Not a byte, and no edit."""
    copy = begun("INVITE", 'Proxy-Authorization: Digest realm="sip.provider.test"').copy()
    Authentication(config, b"key").strip(copy)
    assert copy.edits() == []
    assert bytes(copy) == copy.original
