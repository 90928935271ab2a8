# SPDX-License-Identifier: MIT
"""Whose password is what: `proxy_auth_pwfile`, or one password for all.

The file has lines of two forms, mixed as one likes:

- ``user password``, siproxd's: blanks between them, further words are ignored;
- ``user:realm:HA1``, htdigest's: the hash of ``user:realm:password`` in hex, 32 digits for MD5 and 64 for
  SHA-256. The third algorithm has 64 digits as well and is named: ``user:realm:SHA-512-256:HA1``. Lines for
  other realms are for other programs.

``#`` starts a comment line, and what is neither is ignored. Several lines with hashes for one user add up;
otherwise the last line of a user counts. The file is read again when it has changed, looked at once a second
at most. It is expected to be local and small: looking at it and reading it happens at once.
"""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Collection, Mapping
from math import inf

from twisted.logger import Logger

from siproxd_tw.sip.digest import ha1

__all__ = ["Credentials"]

#: Seconds between two looks at the file.
LOOK = 1.0

#: What is offered to users with a password when nothing is configured. pjsip until 2.10, SIPp and others give
#: up at a first challenge with an algorithm that they do not know, whatever the second one has.
USUAL = ("MD5",)

Secret = str | Mapping[str, str]
"""A password, or the HA1 of each algorithm."""

# The realm may have blanks and colons; the user name has neither, or its line would be siproxd's.
_hashed = re.compile(
    rb"([^\s:]+):(.*?):(?:(?:(MD5):)?([0-9A-Fa-f]{32})|(?:(SHA-256|SHA-512-256):)?([0-9A-Fa-f]{64}))"
).fullmatch


class Credentials:
    """Finds the HA1 of a user; its passwords show up nowhere."""

    _log = Logger()

    def __init__(self, realm: str, password: str, path: str, algorithms: Collection[str] = ()) -> None:
        """Take what `proxy_auth_realm`, `_passwd`, `_pwfile` and `_algorithm` say; empty: not set."""
        self._realm = realm
        self._password = password
        self._path = path
        self._wanted = frozenset(algorithms)
        self._users: dict[str, Secret] = {}
        self._offered = self._answerable()
        self._seen: tuple[int, ...] | None = None
        self._trouble = ""
        self._looked = -inf

    def __repr__(self) -> str:
        return f"<Credentials {self._realm!r} {self._path!r}>"

    def ha1(self, user: str, algorithm: str, now: float) -> str | None:
        """Return HA1 of `user`, None when there is no such user or none for this `algorithm`.

        With a file only the file counts; without, the one password is everybody's.
        """
        self.refresh(now)
        secret = self._users.get(user) if self._path else self._password
        if not secret or not user or (self._wanted and algorithm not in self._wanted):
            return None
        return ha1(user, self._realm, secret, algorithm) if isinstance(secret, str) else secret.get(algorithm)

    def offered(self, now: float) -> frozenset[str]:
        """Return the algorithms to challenge with: those that every user can answer.

        What one user can answer is not offered to that user alone: it would tell who exists. Where
        the users have nothing in common, it is what any of them can answer.
        """
        self.refresh(now)
        return self._offered

    def _answerable(self) -> frozenset[str]:
        usual = self._wanted or frozenset(USUAL)
        each = [usual if isinstance(secret, str) else frozenset(secret) for secret in self._users.values()]
        if self._wanted:
            each = [algorithms & self._wanted for algorithms in each]
        each = [algorithms for algorithms in each if algorithms] or [usual]
        return frozenset.intersection(*each) or frozenset.union(*each)

    def refresh(self, now: float) -> None:
        """Read the file if it has changed since the last look; while it cannot be read nobody is known."""
        # abs: a clock that was set back must not stop the looking
        if not self._path or abs(now - self._looked) < LOOK:
            return
        self._looked = now
        try:
            seen = _state(self._path)
            if seen == self._seen:
                return
            with open(self._path, "rb") as file:
                self._take(file.read())
            self._seen, self._trouble = seen, ""
        except (OSError, ValueError) as error:
            self._users, self._seen = {}, None
            if self._trouble != str(error):
                self._trouble = str(error)
                self._log.warn("nobody can be authenticated: {error}", error=self._trouble)

    def _take(self, data: bytes) -> None:
        self._users, ignored = _users(data, self._realm)
        self._offered = self._answerable()
        if ignored:
            # Not the lines themselves: a password may stand there.
            self._log.info(
                "{path}: neither `user password` nor `user:realm:HA1` of our realm in lines {lines}",
                path=self._path,
                lines=", ".join(map(str, ignored)),
            )


def _state(path: str) -> tuple[int, ...]:
    """Return what becomes different when the file does, also when its time of change is kept."""
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for its other end
        raise ValueError(f"not a file: {path!r}")
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _users(data: bytes, realm: str) -> tuple[dict[str, Secret], list[int]]:
    """Return the users of a file, and the numbers of lines that mean nothing here."""
    users: dict[str, Secret] = {}
    ignored: list[int] = []
    # As bytes: a str would also be split at blanks that Unicode has and siproxd does not.
    for number, line in enumerate(data.splitlines(), 1):
        words = line.split()
        if not words or words[0].startswith(b"#"):
            continue
        hashed = _hashed(line.strip())
        if hashed is not None and _text(hashed[2]) == realm:
            _add(users, _text(hashed[1]), *_hash_of(hashed))
        elif hashed is None and len(words) >= 2:
            users[_text(words[0])] = _text(words[1])
        else:
            ignored.append(number)
    return users, ignored


def _hash_of(line: re.Match[bytes]) -> tuple[str, str]:
    _, _, short, md5, long, sha = line.groups()
    name, digits = (short or b"MD5", md5) if md5 else (long or b"SHA-256", sha)
    return name.decode(), digits.decode().lower()


def _add(users: dict[str, Secret], user: str, algorithm: str, digits: str) -> None:
    known = users.get(user)
    users[user] = {**({} if known is None or isinstance(known, str) else known), algorithm: digits}


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
