# SPDX-License-Identifier: MIT
"""Passwords: siproxd's file, its changes, and that they show up nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.logger import globalLogPublisher

from siproxd_tw.proxy.credentials import Credentials
from siproxd_tw.sip.digest import ha1

FILE = "# comment\n\nalice secret\n bob\tpass2 more words\nlonely\n  # another\ncarl übung\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "passwd"
    file.write_text(FILE, encoding="utf-8")
    return file


def test_the_file_of_siproxd(path: Path) -> None:
    """Comments, blank lines, lines with one word or with more than two."""
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "secret")
    assert credentials.ha1("bob", "SHA-256", 0.0) == ha1("bob", "realm", "pass2", "SHA-256")
    assert credentials.ha1("carl", "MD5", 0.0) == ha1("carl", "realm", "übung")
    assert [credentials.ha1(user, "MD5", 0.0) for user in ("lonely", "#", "", "nobody")] == [None] * 4


def test_the_file_wins_over_the_password(path: Path) -> None:
    """Who is not in the file does not get in with the password of all."""
    credentials = Credentials("realm", "everybody", str(path))
    assert credentials.ha1("nobody", "MD5", 0.0) is None


def test_one_password_for_all() -> None:
    """Any user, but a user; and without any password nobody."""
    credentials = Credentials("realm", "everybody", "")
    assert credentials.ha1("anybody", "MD5", 0.0) == ha1("anybody", "realm", "everybody")
    assert credentials.ha1("", "MD5", 0.0) is None
    assert Credentials("realm", "", "").ha1("alice", "MD5", 0.0) is None


def test_the_file_is_read_again_when_it_changes(path: Path) -> None:
    """Looked at once a second, read when time or size is another one."""
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "secret")
    path.write_text("alice changed\n")
    os.utime(path, ns=(1, 1))
    assert credentials.ha1("alice", "MD5", 0.9) == ha1("alice", "realm", "secret")
    assert credentials.ha1("alice", "MD5", 1.0) == ha1("alice", "realm", "changed")


def test_a_file_that_is_not_there(path: Path) -> None:
    """Nobody passes, one warning says so, and it comes back by itself."""
    events: list[dict[str, object]] = []
    globalLogPublisher.addObserver(events.append)
    try:
        path.unlink()
        credentials = Credentials("realm", "everybody", str(path))
        assert [credentials.ha1("alice", "MD5", now) for now in (0.0, 2.0, 4.0)] == [None] * 3
        path.write_text("alice back\n")
        assert credentials.ha1("alice", "MD5", 6.0) == ha1("alice", "realm", "back")
    finally:
        globalLogPublisher.removeObserver(events.append)
    assert len([event for event in events if "nobody can be authenticated" in str(event)]) == 1


def test_passwords_do_not_show(path: Path) -> None:
    """Not in the text of the object."""
    assert "everybody" not in repr(Credentials("realm", "everybody", str(path)))
