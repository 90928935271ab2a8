# SPDX-License-Identifier: MIT
"""The registration file on disk: what a restart finds, whatever happens in between."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.defer import Deferred, fail
from twisted.logger import LogLevel, capturedLogs, formatEvent

from siproxd_tw.proxy.regfile import RegistrationFile


class Threads:
    """A thread pool whose threads work when the test says so."""

    def __init__(self) -> None:
        self.waiting: list[tuple[Deferred[Any], Callable[..., Any], tuple[Any, ...]]] = []

    def __call__(self, work: Callable[..., Any], *args: Any) -> Deferred[Any]:
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, work, args))
        return done

    def finish(self) -> None:
        """Let the oldest one do its work."""
        done, work, args = self.waiting.pop(0)
        try:
            result = work(*args)
        except OSError:
            done.errback()
        else:
            done.callback(result)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "siproxd_registrations"


def test_saved_and_loaded(path: Path) -> None:
    """What was saved is there after a restart; every save counts, not only the first one."""
    file = RegistrationFile(str(path))
    for content in (b"one\n", b"two, longer\n", b"3\n"):
        assert file.save(content).called
        assert RegistrationFile(str(path)).load() == content


def test_nothing_saved_yet(path: Path) -> None:
    """A file that does not exist is no trouble, only news."""
    with capturedLogs() as events:
        assert RegistrationFile(str(path)).load() == b""
    assert [e["log_level"] for e in events] == [LogLevel.info]
    assert str(path) in formatEvent(events[0])


def test_a_file_that_cannot_be_read(path: Path) -> None:
    """The proxy starts without registrations, and a warning says why."""
    path.mkdir()
    with capturedLogs() as events:
        assert RegistrationFile(str(path)).load() == b""
    assert [e["log_level"] for e in events] == [LogLevel.warn]
    assert "Is a directory" in formatEvent(events[0])


def test_a_folder_that_is_missing(path: Path) -> None:
    """A file that cannot be written is one warning each time; the next save tries again."""
    file = RegistrationFile(str(path.parent / "gone" / "file"))
    with capturedLogs() as events:
        file.save(b"x")
        file.save(b"y")
    assert [e["log_level"] for e in events] == [LogLevel.warn] * 2
    assert "No such file" in formatEvent(events[0])
    (path.parent / "gone").mkdir()
    file.save(b"z")
    assert file.load() == b"z"


def test_a_crash_before_the_end_leaves_the_old_file(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new content takes the name of the file in one step, after it is on the disk."""
    steps: list[str] = []
    RegistrationFile(str(path)).save(b"old")

    def sync(number: int) -> None:
        steps.append(f"synced with {path.read_bytes().decode()} in place")

    def crash(source: Path, target: Path) -> None:
        steps.append(f"{Path(source).read_bytes().decode()} takes the place")
        raise OSError("power cut")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(os, "replace", crash)
    with capturedLogs() as events:
        RegistrationFile(str(path)).save(b"new")
    assert steps == ["synced with old in place", "new takes the place"]
    assert path.read_bytes() == b"old"
    assert [e["log_level"] for e in events] == [LogLevel.warn]


def test_while_one_write_is_under_way_the_newest_content_waits(path: Path) -> None:
    """Of many saves during a slow write only the last is written, after it; all of them report then."""
    threads = Threads()
    file = RegistrationFile(str(path), threads)
    saved = [file.save(content) for content in (b"1", b"2", b"3")]
    assert len(threads.waiting) == 1
    threads.finish()
    assert path.read_bytes() == b"1"
    assert not any(each.called and not each.paused for each in saved)
    threads.finish()
    assert path.read_bytes() == b"3"
    assert not threads.waiting
    reported: list[object] = []
    for each in saved:
        each.addCallback(reported.append)
    assert len(reported) == 3


def test_a_failed_write_does_not_stop_the_next(path: Path) -> None:
    """What waits behind a write that fails is written all the same."""
    threads = Threads()
    path.mkdir()
    file = RegistrationFile(str(path), threads)
    with capturedLogs() as events:
        file.save(b"1")
        file.save(b"2")
        threads.finish()
        path.rmdir()
        threads.finish()
    assert path.read_bytes() == b"2"
    assert len(events) == 1


def test_a_bug_is_not_taken_for_a_full_disk(path: Path) -> None:
    """What is no OSError comes out."""
    file = RegistrationFile(str(path), lambda work, *args: fail(ZeroDivisionError()))
    failures: list[Any] = []
    file.save(b"1").addErrback(failures.append)
    assert failures[0].check(ZeroDivisionError)


def test_content_is_made_by_whoever_writes_it(path: Path) -> None:
    """A function is called in the thread, and only if nothing newer has come."""
    threads = Threads()
    file = RegistrationFile(str(path), threads)
    made: list[bytes] = []

    def maker(content: bytes) -> Callable[[], bytes]:
        return lambda: made.append(content) or content  # type: ignore[func-returns-value]

    for content in (b"1", b"2", b"3"):
        file.save(maker(content))
    assert made == []
    threads.finish()
    threads.finish()
    assert made == [b"1", b"3"]
    assert path.read_bytes() == b"3"
