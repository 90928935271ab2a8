# SPDX-License-Identifier: MIT
"""Whose password is what: `proxy_auth_pwfile` in siproxd's format, or one password for all.

The file has lines ``user password`` with blanks between them; further words are ignored, and so are
lines with one word. ``#`` starts a comment line; of several lines for one user the last one counts.
It is read again when it has changed, looked at once a second at most. The file is expected to be
local and small: looking at it and reading it happens at once.
"""

from __future__ import annotations

import os
import stat
from math import inf

from twisted.logger import Logger

from siproxd_tw.sip.digest import ha1

__all__ = ["Credentials"]

#: Seconds between two looks at the file.
LOOK = 1.0


class Credentials:
    """Finds the HA1 of a user; its passwords show up nowhere."""

    _log = Logger()

    def __init__(self, realm: str, password: str, path: str) -> None:
        """Take what `proxy_auth_realm`, `proxy_auth_passwd` and `proxy_auth_pwfile` say; empty: not set."""
        self._realm = realm
        self._password = password
        self._path = path
        self._users: dict[str, str] = {}
        self._seen: tuple[int, ...] | None = None
        self._trouble = ""
        self._looked = -inf

    def __repr__(self) -> str:
        return f"<Credentials {self._realm!r} {self._path!r}>"

    def ha1(self, user: str, algorithm: str, now: float) -> str | None:
        """Return HA1 of `user`, None when there is no such user.

        With a file only the file counts; without, the one password is everybody's.
        """
        self.refresh(now)
        password = self._users.get(user) if self._path else self._password or None
        return None if password is None or not user else ha1(user, self._realm, password, algorithm)

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
                self._users = _passwords(file.read())
            self._seen, self._trouble = seen, ""
        except (OSError, ValueError) as error:
            self._users, self._seen = {}, None
            if self._trouble != str(error):
                self._trouble = str(error)
                self._log.warn("nobody can be authenticated: {error}", error=self._trouble)


def _state(path: str) -> tuple[int, ...]:
    """Return what becomes different when the file does, also when its time of change is kept."""
    state = os.stat(path)
    if not stat.S_ISREG(state.st_mode):  # to open a pipe would wait for its other end
        raise ValueError(f"not a file: {path!r}")
    return state.st_mtime_ns, state.st_ctime_ns, state.st_size, state.st_ino


def _passwords(data: bytes) -> dict[str, str]:
    # As bytes: a str would also be split at blanks that Unicode has and siproxd does not.
    lines = (line.split() for line in data.splitlines())
    pairs = (words[:2] for words in lines if len(words) >= 2 and not words[0].startswith(b"#"))
    return {_text(user): _text(password) for user, password in pairs}


def _text(word: bytes) -> str:
    return word.decode("utf-8", "surrogateescape")
