# SPDX-License-Identifier: MIT
"""Digest authentication (RFC 2617, RFC 7616, RFC 8760): the server's side of it, and the arithmetic.

1. A challenge needs no memory: a nonce is the time, a serial number and a keyed hash over both, so that
   it cannot be forged, has a life, and is given to one client only.
2. A nonce that somebody with the right password has used is remembered with the counts (``nc``) that came,
   and each of them is good once: what was seen on the wire is of no use to others. Where there is no room for
   another nonce, the oldest is as if its life were over.
3. Clients that know RFC 2069 only send no count. Their nonces have a short life instead.
4. What is not UTF-8 is kept as Python keeps it (PEP 383) and goes into the hashes as it came. The
   user name alone must be UTF-8 (RFC 3261 section 7.3.1), and nothing may hold control characters:
   these values are shown in logs and compared with addresses.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Mapping
from enum import Enum

from siproxd_tw.sip.grammar import QUOTED_STRING, SWS, TOKEN, ParseError, unquote

__all__ = ["ALGORITHMS", "Challenger", "Verdict", "answer", "ha1", "parse_credentials", "supported"]

#: The algorithms by their names in headers, strongest first, and hashlib's names for them.
ALGORITHMS = {"SHA-512-256": "sha512_256", "SHA-256": "sha256", "MD5": "md5"}

#: Seconds that a nonce may be used by who sends no count.
SHORT_LIFE = 30.0

#: How many used nonces are remembered; each belongs to a phone that is there.
MOST_NONCES = 10_000

#: How far a count may be behind the highest one: requests overtake each other on the way.
WINDOW = 64

# What has no quotes should be a token, but clients leave them out of uri, nonce and user name, too.
_parameter = re.compile(
    rb'%b(%b)%b=%b(%b|[^\x00-\x20\x7f",]*+)%b' % (SWS, TOKEN, SWS, SWS, QUOTED_STRING, SWS)
).match
_scheme = re.compile(rb"%bdigest(?=[ \t\r\n])" % SWS, re.IGNORECASE).match
_control = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f]").search
_is_count = re.compile(r"[0-9A-Fa-f]{8}").fullmatch
_quotable = re.compile(r'["\\]')


class Verdict(Enum):
    """What credentials are worth."""

    OK = "ok"
    STALE = "the nonce is too old or not ours, the rest may be right"
    REPLAYED = "right, but the count of the nonce was there before"
    UNKNOWN_USER = "unknown user"
    WRONG_PASSWORD = "wrong password"
    MALFORMED = "a parameter is missing or not what was asked for"
    """`Challenger.flaw` says which."""


def parse_credentials(value: bytes) -> Mapping[str, str]:
    """Read ``Digest name=value, name="value"``; names in lower case, values without quotes.

    A challenge has the same form. Raises ParseError with the position of what cannot be read,
    and for a parameter that occurs twice.
    """
    scheme = _scheme(value)
    if scheme is None:
        raise _error("expected the scheme Digest", 0)
    found: dict[str, str] = {}
    at = scheme.end()
    while True:
        match = _parameter(value, at)
        if match is None:
            raise _error("expected name=value", at)
        name = match[1].decode("ascii").lower()
        if name in found:
            raise _error(f"{name} is there twice", match.start(1))
        found[name] = _text(name, match[2], match.start(2))
        at = match.end()
        if at == len(value):
            return found
        if value[at] != 0x2C:
            raise _error("expected a comma or the end", at)
        at += 1


def _text(name: str, value: bytes, at: int) -> str:
    try:
        text = unquote(value).decode("utf-8", "strict" if name == "username" else "surrogateescape")
    except UnicodeDecodeError:
        raise _error(f"{name} is not UTF-8", at) from None
    if _control(text):
        raise _error(f"control character in {name}", at)
    return text


def _error(reason: str, at: int) -> ParseError:
    return ParseError(reason, "digest parameters", at)


def ha1(user: str, realm: str, password: str, algorithm: str = "MD5") -> str:
    """Return the hash that stands for a password (RFC 7616 3.4.2); `algorithm` without -sess."""
    return _hash(algorithm, f"{user}:{realm}:{password}")


def answer(secret: str, method: str, credentials: Mapping[str, str]) -> str:
    """Return the ``response`` that belongs to `credentials`; `secret` is HA1 (RFC 7616 3.4.1).

    Without ``qop`` it is the calculation of RFC 2069. Raises KeyError when a parameter
    that takes part is missing.
    """
    algorithm, session = _algorithm(credentials)
    nonce = credentials["nonce"]
    if session:
        secret = _hash(algorithm, f"{secret}:{nonce}:{credentials['cnonce']}")
    ha2 = _hash(algorithm, f"{method}:{credentials['uri']}")
    qop = credentials.get("qop")
    if qop is None:
        return _hash(algorithm, f"{secret}:{nonce}:{ha2}")
    return _hash(algorithm, f"{secret}:{nonce}:{credentials['nc']}:{credentials['cnonce']}:{qop}:{ha2}")


def supported() -> tuple[str, ...]:
    """Return the algorithms that this Python can calculate, strongest first."""
    return tuple(name for name in ALGORITHMS if _can_calculate(name))


def _can_calculate(algorithm: str) -> bool:
    try:
        _hash(algorithm, "")
    except ValueError:  # not in this OpenSSL
        return False
    return True


def _algorithm(credentials: Mapping[str, str]) -> tuple[str, bool]:
    """Return the algorithm in upper case, and whether it is the -sess variant."""
    name = credentials.get("algorithm", "MD5").upper()
    return name.removesuffix("-SESS"), name.endswith("-SESS")


def _hash(algorithm: str, text: str) -> str:
    # usedforsecurity: hosts in FIPS mode refuse MD5 otherwise, and phones know nothing else
    data = text.encode("utf-8", "surrogateescape")
    return hashlib.new(ALGORITHMS[algorithm], data, usedforsecurity=False).hexdigest()


class Challenger:
    """Makes challenges for one realm and judges what comes back; remembers which nonces were used."""

    def __init__(
        self, realm: str, secret: bytes, life: float = 300.0, algorithms: Iterable[str] = ("MD5",)
    ) -> None:
        """Take a key of 1 to 64 bytes, the life of a nonce in seconds, and what to offer and accept.

        Raises ValueError for a realm that cannot be written, for another length of the key,
        and for an algorithm that is unknown or that this Python cannot calculate.
        """
        wanted = set(algorithms)
        if not wanted or not wanted <= ALGORITHMS.keys():
            raise ValueError(f"expected algorithms out of {', '.join(ALGORITHMS)}")
        if not 1 <= len(secret) <= 64:
            raise ValueError("expected a key of 1 to 64 bytes")
        if _control(realm):
            raise ValueError("control character in the realm")
        self._realm = realm
        self._secret = secret
        self._life = life
        self._algorithms = [name for name in ALGORITHMS if name in wanted]
        for name in self._algorithms:
            _hash(name, "")
        self._serial = 0
        self._used: OrderedDict[str, _Counts] = OrderedDict()  # by nonce, in the order of their first use
        self._forgotten = -1  # when the youngest of those was made that are no longer in there

    def challenges(
        self, now: float, *, stale: bool = False, algorithms: Container[str] = ALGORITHMS
    ) -> list[bytes]:
        """Return the values of the challenge headers, the strongest algorithm first (RFC 8760 2.3).

        `stale` tells the client to answer this nonce without asking anybody for a password;
        `algorithms` leaves out what nobody could answer.
        """
        realm = _quotable.sub(r"\\\g<0>", self._realm)
        nonce = self._nonce(now)
        tail = ", stale=TRUE" if stale else ""
        return [
            f'Digest realm="{realm}", nonce="{nonce}", algorithm={name}, qop="auth"{tail}'.encode(
                "utf-8", "surrogateescape"
            )
            for name in self._algorithms
            if name in algorithms
        ]

    def check(
        self,
        credentials: Mapping[str, str],
        method: str,
        secret_of: Callable[[str, str], str | None],
        now: float,
    ) -> Verdict:
        """Judge `credentials` for a request with `method`; their uri is taken as sent.

        Each request is to be judged once: the second time its count was there before.

        `secret_of` returns the HA1 of a user for an algorithm (without -sess), None for an unknown
        user. The peer must not be told UNKNOWN_USER from WRONG_PASSWORD: it would learn who exists.
        """
        if self.flaw(credentials):
            return Verdict.MALFORMED
        if not self._is_ours(credentials["nonce"]):
            return Verdict.STALE  # also the empty one of clients that start with a user name only
        secret = secret_of(credentials["username"], _algorithm(credentials)[0])
        if secret is None:
            return Verdict.UNKNOWN_USER
        expected = answer(secret, method, credentials).encode()
        given = credentials["response"].lower().encode("utf-8", "surrogateescape")
        if not hmac.compare_digest(expected, given):
            return Verdict.WRONG_PASSWORD
        return self._fresh(credentials, now)

    def flaw(self, credentials: Mapping[str, str]) -> str | None:
        """Say what makes `credentials` MALFORMED; None for nothing."""
        algorithm, session = _algorithm(credentials)
        needed = ["username", "realm", "nonce", "uri", "response"]
        if "qop" in credentials:
            needed += ["nc", "cnonce"]
        elif session:
            needed.append("cnonce")
        elif algorithm != "MD5":
            needed.append("qop")  # only RFC 2069 had none, and it knew nothing but MD5
        for name in needed:
            if name not in credentials:
                return f"{name} is missing"
        if credentials["realm"] != self._realm:
            return "for another realm"
        if algorithm not in self._algorithms:
            return "algorithm was not offered"
        if "qop" in credentials and credentials["qop"].lower() != "auth":
            return "qop was not offered"
        if "qop" in credentials and not _is_count(credentials["nc"]):
            return "nc is not 8 hex digits"
        return None

    def _nonce(self, now: float) -> str:
        """40 hex digits: 8 of the time, 8 of the serial number, 24 of a keyed hash."""
        self._serial = (self._serial + 1) & 0xFFFFFFFF
        stamp = f"{int(now) & 0xFFFFFFFF:08x}{self._serial:08x}"
        return stamp + self._mark(stamp)

    def _mark(self, stamp: str) -> str:
        # person: the key has other uses, and none of them may ever produce a nonce
        text = f"{stamp}:{self._realm}".encode("utf-8", "surrogateescape")
        return hashlib.blake2b(text, digest_size=12, key=self._secret, person=b"digest nonce").hexdigest()

    def _is_ours(self, nonce: str) -> bool:
        text = nonce.encode("utf-8", "surrogateescape")
        return hmac.compare_digest(text[16:], self._mark(nonce[:16]).encode())

    def _fresh(self, credentials: Mapping[str, str], now: float) -> Verdict:
        """Judge the age of a nonce, and the count of it, of credentials that are right otherwise."""
        nonce = credentials["nonce"]
        age = (int(now) - int(nonce[:8], 16)) & 0xFFFFFFFF
        counted = "qop" in credentials
        if age > (self._life if counted else min(self._life, SHORT_LIFE)):
            return Verdict.STALE
        if not counted:
            return Verdict.OK
        used = self._used.get(nonce)
        if used is None:
            made = int(now) - age
            if made <= self._forgotten:
                return Verdict.STALE
            used = self._used[nonce] = _Counts(made)
            self._make_room()
        return Verdict.OK if used.take(int(credentials["nc"], 16)) else Verdict.REPLAYED

    def _make_room(self) -> None:
        """Forget the nonce that was used first; none that is as old may come for the first time."""
        if len(self._used) > MOST_NONCES:
            _, oldest = self._used.popitem(last=False)
            self._forgotten = max(self._forgotten, oldest.made)


class _Counts:
    """The counts of one nonce that were there."""

    __slots__ = ("_highest", "_seen", "made")

    def __init__(self, made: int) -> None:
        self.made = made
        """When the nonce was made."""
        self._highest = -1
        self._seen = 0
        """A bit for each count: the lowest for the highest one, the next for the one before."""

    def take(self, count: int) -> bool:
        """Take note of `count`; say whether it is there for the first time."""
        ahead = count - self._highest
        if ahead > 0:
            # not shifted further than the window: a count may be as high as 2**32
            self._seen = ((self._seen << min(ahead, WINDOW)) | 1) & ((1 << WINDOW) - 1)
            self._highest = count
            return True
        bit = 1 << -ahead if -ahead < WINDOW else 0
        first = bit != 0 and not self._seen & bit
        self._seen |= bit
        return first
