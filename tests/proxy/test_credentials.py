# SPDX-License-Identifier: MIT
"""Passwords: siproxd's file, hashes in it, its changes, and that they show up nowhere."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from twisted.logger import LogLevel, capturedLogs, formatEvent

from siproxd_tw.proxy.credentials import Credentials
from siproxd_tw.sip.digest import ha1

FILE = "# comment\n\nalice secret\n bob\tpass2 more words\nlonely\n  # another\ncarl übung\r\ndora a\u00a0b\n"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "passwd"
    file.write_text(FILE, encoding="utf-8", newline="")
    return file


def test_the_file_of_siproxd(path: Path) -> None:
    """Comments, blank lines, lines with one word or with more than two, ends of lines from elsewhere."""
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "secret")
    assert credentials.ha1("bob", "SHA-256", 0.0) == ha1("bob", "realm", "pass2", "SHA-256")
    assert credentials.ha1("carl", "MD5", 0.0) == ha1("carl", "realm", "übung")
    assert credentials.ha1("dora", "MD5", 0.0) == ha1("dora", "realm", "a\u00a0b")
    assert [credentials.ha1(user, "MD5", 0.0) for user in ("lonely", "#", "", "nobody")] == [None] * 4


def test_a_password_that_is_not_utf_8(path: Path) -> None:
    """Its bytes go into the hash as they are, as in siproxd."""
    path.write_bytes(b"alice \xfcbung\n")
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "\udcfcbung")


def test_the_last_line_of_a_user_counts(path: Path) -> None:
    """Whoever adds a line at the end wants it to be true."""
    path.write_text("alice old\nalice new\n")
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "new")


def test_the_file_wins_over_the_password(path: Path) -> None:
    """Who is not in the file does not get in with the password of all."""
    credentials = Credentials("realm", "everybody", str(path))
    assert credentials.ha1("nobody", "MD5", 0.0) is None
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "secret")


MD5 = ha1("alice", "My Realm", "secret")
SHA = ha1("alice", "My Realm", "secret", "SHA-256")
SHA512 = ha1("alice", "My Realm", "secret", "SHA-512-256")


def hashes(path: Path, text: str, realm: str = "My Realm") -> dict[str, str | None]:
    """Write the file; return what it has for alice, by algorithm."""
    path.write_text(text)
    credentials = Credentials(realm, "", str(path))
    return {name: credentials.ha1("alice", name, 0.0) for name in ("MD5", "SHA-256", "SHA-512-256")}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (f"alice:My Realm:{MD5}", (MD5, None, None)),
        (f"  alice:My Realm:{MD5.upper()}\t\r\n", (MD5, None, None)),
        (f"alice:My Realm:{SHA}", (None, SHA, None)),
        (f"alice:My Realm:SHA-512-256:{SHA512}", (None, None, SHA512)),
        (f"alice:My Realm:MD5:{MD5}\nalice:My Realm:SHA-256:{SHA}", (MD5, SHA, None)),
        (f"alice secret\nalice:My Realm:{MD5}", (MD5, None, None)),
        (f"alice:My Realm:{MD5}\nalice secret", (MD5, SHA, SHA512)),
        (f"alice:Other:{SHA}\nalice:My Realm:{MD5}\nalice:Other:{SHA}", (MD5, None, None)),
        (f"bob:My Realm:{MD5}\nalice secret", (MD5, SHA, SHA512)),
        (f"alice:My Realm:{MD5}0", (None, None, None)),
        (f"alice:My Realm:MD5:{SHA}", (None, None, None)),
        (f"alice:{MD5}", (None, None, None)),
        (f"#alice:My Realm:{MD5}", (None, None, None)),
    ],
)
def test_hashes_in_the_file(path: Path, text: str, expected: tuple[str | None, ...]) -> None:
    """As htdigest writes them, mixed with siproxd's lines: hashes add up, and a password replaces them."""
    assert tuple(hashes(path, text).values()) == expected


def test_a_realm_with_a_colon(path: Path) -> None:
    """The user ends at the first one, the hash begins at the last one."""
    digits = ha1("alice", "sip:home", "secret")
    assert hashes(path, f"alice:sip:home:{digits}", "sip:home")["MD5"] == digits


def test_passwords_with_colons_stay_passwords(path: Path) -> None:
    """What is behind a blank is a password, whatever it looks like."""
    password = f"a:b:{MD5}"
    assert hashes(path, f"alice {password}")["MD5"] == ha1("alice", "My Realm", password)


@pytest.mark.parametrize(
    ("algorithms", "text", "offered"),
    [
        ((), "alice secret", {"MD5"}),
        ((), "", {"MD5"}),
        ((), f"alice:My Realm:{SHA}", {"SHA-256"}),
        ((), f"alice:My Realm:{SHA}\nalice:My Realm:{MD5}\nbob secret", {"MD5"}),
        ((), f"alice:My Realm:{SHA}\nbob secret", {"SHA-256", "MD5"}),
        (("SHA-256", "MD5"), "alice secret", {"SHA-256", "MD5"}),
        (("SHA-256", "MD5"), f"alice secret\nbob:My Realm:{MD5}", {"MD5"}),
        (("SHA-256",), f"alice secret\nbob:My Realm:{MD5}", {"SHA-256"}),
        (("SHA-256",), f"bob:My Realm:{MD5}", {"SHA-256"}),
    ],
)
def test_what_to_offer(path: Path, algorithms: tuple[str, ...], text: str, offered: set[str]) -> None:
    """What all can answer, else what some can; the same for everybody, whoever asks."""
    path.write_text(text)
    assert Credentials("My Realm", "", str(path), algorithms).offered(0.0) == offered


def test_what_is_not_wanted_is_not_accepted(path: Path) -> None:
    """Whoever asks for SHA-256 only does not want the hash of the same password in MD5 on the wire."""
    credentials = Credentials("My Realm", "", str(path), ("SHA-256",))
    assert credentials.ha1("alice", "MD5", 0.0) is None
    assert credentials.ha1("alice", "SHA-256", 0.0) == SHA


def test_a_line_that_means_nothing_is_told_by_its_number(path: Path) -> None:
    """Not with its text: a password may stand there. Once for each change."""
    path.write_text(f"alice secret\n\nlonely-secret\nalice:Other:{MD5}\n")
    credentials = Credentials("My Realm", "", str(path))
    with capturedLogs() as events:
        for now in (0.0, 2.0, 4.0):
            credentials.refresh(now)
    (event,) = events
    assert (formatEvent(event) or "").endswith("in lines 3, 4")


def test_one_password_for_all() -> None:
    """Any user, but a user; and without any password nobody."""
    credentials = Credentials("realm", "everybody", "")
    assert credentials.ha1("anybody", "MD5", 0.0) == ha1("anybody", "realm", "everybody")
    assert credentials.ha1("", "MD5", 0.0) is None
    assert Credentials("realm", "", "").ha1("alice", "MD5", 0.0) is None


def test_the_file_is_read_again_when_it_changes(path: Path) -> None:
    """Looked at once a second, read when time or size is another one; who was deleted is out."""
    credentials = Credentials("realm", "", str(path))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "secret")
    path.write_text("alice changed\n")
    os.utime(path, ns=(1, 1))
    assert credentials.ha1("alice", "MD5", 0.9) == ha1("alice", "realm", "secret")
    assert credentials.ha1("alice", "MD5", 1.0) == ha1("alice", "realm", "changed")
    assert credentials.ha1("bob", "MD5", 1.0) is None


def test_a_file_that_took_the_place_of_the_old_one(path: Path) -> None:
    """It is noticed, although its size is the same and its time was kept, as by cp -p and rsync."""
    credentials = Credentials("realm", "", str(path))
    path.write_text("alice one\n")
    os.utime(path, ns=(1, 1))
    assert credentials.ha1("alice", "MD5", 0.0) == ha1("alice", "realm", "one")
    other = path.with_suffix(".new")
    other.write_text("alice two\n")
    os.utime(other, ns=(1, 1))
    other.replace(path)
    assert credentials.ha1("alice", "MD5", 1.0) == ha1("alice", "realm", "two")


def test_a_file_that_did_not_change_is_not_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A flood of REGISTERs costs one look a second."""
    credentials = Credentials("realm", "", str(path))
    credentials.refresh(-10.0)
    looks: list[str] = []
    stat = os.stat
    monkeypatch.setattr("os.stat", lambda path: (looks.append(path), stat(path))[1])
    monkeypatch.setattr("builtins.open", lambda *_: pytest.fail("read"))
    for tenth in range(25):
        credentials.ha1("alice", "MD5", tenth / 10)
    assert len(looks) == 3


def test_a_clock_that_was_set_back(path: Path) -> None:
    """Passwords go on being read again."""
    credentials = Credentials("realm", "", str(path))
    credentials.refresh(1e9)
    path.write_text("alice changed\n")
    assert credentials.ha1("alice", "MD5", 5.0) == ha1("alice", "realm", "changed")


def test_a_file_that_is_not_there(path: Path) -> None:
    """Nobody passes, one warning says so; it comes back by itself, and is missed anew."""
    path.unlink()
    credentials = Credentials("realm", "everybody", str(path))
    with capturedLogs() as events:
        assert [credentials.ha1("alice", "MD5", now) for now in (0.0, 2.0, 4.0)] == [None] * 3
        path.write_text("alice back\n")
        assert credentials.ha1("alice", "MD5", 6.0) == ha1("alice", "realm", "back")
        path.unlink()
        assert [credentials.ha1("alice", "MD5", now) for now in (8.0, 10.0)] == [None] * 2
    assert [event["log_level"] for event in events] == [LogLevel.warn] * 2
    assert all(str(path) in (formatEvent(event) or "") for event in events)


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir], ids=["pipe", "folder"])
def test_something_that_is_no_file(path: Path, make) -> None:
    """Nobody passes, one warning; opening a pipe would stop the whole program."""
    path.unlink()
    make(path)
    credentials = Credentials("realm", "everybody", str(path))
    with capturedLogs() as events:
        assert [credentials.ha1("alice", "MD5", now) for now in (0.0, 2.0)] == [None] * 2
    assert len(events) == 1
    assert "not a file" in (formatEvent(events[0]) or "")


def test_a_file_that_may_not_be_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One warning; and it is read as soon as that is possible, although it did not change."""
    credentials = Credentials("realm", "", str(path))
    with capturedLogs() as events, monkeypatch.context() as patch:

        def refuse(*_: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        patch.setattr("builtins.open", refuse)
        assert [credentials.ha1("alice", "MD5", now) for now in (0.0, 2.0)] == [None] * 2
    assert ["Permission denied" in (formatEvent(event) or "") for event in events] == [True]
    assert credentials.ha1("alice", "MD5", 4.0) == ha1("alice", "realm", "secret")


def test_a_file_that_was_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody passes while its folder cannot be reached; afterwards the same file counts again."""
    credentials = Credentials("realm", "", str(path))
    credentials.refresh(0.0)
    with monkeypatch.context() as patch:

        def refuse(_: object) -> None:
            raise PermissionError(13, "Permission denied", str(path))

        patch.setattr("os.stat", refuse)
        assert credentials.ha1("alice", "MD5", 2.0) is None
    assert credentials.ha1("alice", "MD5", 4.0) == ha1("alice", "realm", "secret")


def test_passwords_do_not_show(path: Path) -> None:
    """Not in the text of the object, nor in anything that is logged, nor as what comes back."""
    with capturedLogs() as events:
        credentials = Credentials("realm", "everybody", str(path))
        assert "secret" not in str(credentials.ha1("alice", "MD5", 0.0))
        path.unlink()
        credentials.ha1("alice", "MD5", 2.0)
    assert [event["log_level"] for event in events] == [LogLevel.info, LogLevel.warn]
    shown = [repr(credentials), repr(events), *(formatEvent(event) or "" for event in events)]
    assert not [text for text in shown if "everybody" in text or "secret" in text or "pass2" in text]
