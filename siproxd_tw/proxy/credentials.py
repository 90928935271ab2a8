# SPDX-License-Identifier: MIT
"""Whose password is what: `proxy_auth_pwfile` in siproxd's format, or one password for all.

The file has lines ``user password``; ``#`` starts a comment line. It is read again when it
has changed, looked at once a second at most.
"""

from __future__ import annotations

import os

from twisted.logger import Logger

from siproxd_tw.sip.digest import ha1

__all__ = ["Credentials"]

#: Seconds between two looks at the file.
LOOK = 1.0


class Credentials:
    """Finds the HA1 of a user; its passwords show up nowhere."""

    _log = Logger()

    def __init__(self, realm: str, password: str, path: str) -> None:
        self._realm = realm
        self._password = password
        self._path = path
        self._users: dict[str, str] = {}
        self._seen: tuple[int, int] | None = None
        self._trouble = ""
        self._next_look = float("-inf")

    def ha1(self, user: str, algorithm: str, now: float) -> str | None:
        """Return HA1 of `user`, None when there is no such user.

        With a file only the file counts; without, the one password is everybody's.
        """
        if self._path:
            self._look(now)
            password = self._users.get(user)
        else:
            password = self._password or None
        return None if password is None or not user else ha1(user, self._realm, password, algorithm)

    def _look(self, now: float) -> None:
        if now < self._next_look:
            return
        self._next_look = now + LOOK
        try:
            state = os.stat(self._path)
            stamp = (state.st_mtime_ns, state.st_size)
            if stamp == self._seen:
                return
            with open(self._path, encoding="utf-8", errors="surrogateescape") as file:
                self._users = dict(_pairs(file.read()))
            self._seen, self._trouble = stamp, ""
        except OSError as error:
            self._users, self._seen = {}, None
            if self._trouble != str(error):
                self._trouble = str(error)
                self._log.warn("nobody can be authenticated: {error}", error=self._trouble)


def _pairs(text: str) -> list[tuple[str, str]]:
    """Return user and password of each line that has both; more words are ignored."""
    lines = (line.split() for line in text.splitlines() if not line.lstrip().startswith("#"))
    return [(words[0], words[1]) for words in lines if len(words) >= 2]
