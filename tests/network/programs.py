# SPDX-License-Identifier: MIT
"""Programs in the background: their output in a file, waited for with a deadline, always ended.

Nothing here waits for a fixed time: `until` polls for the thing itself.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

SEARCH_PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
"""Where programs are looked for: Debian keeps daemons and `ip` out of the PATH of ordinary users."""

COLOURS = re.compile(r"\x1b\[[0-9;]*m")


def until(condition: Callable[[], T | None], seconds: float, what: str, pause: float = 0.02) -> T:
    """Poll `condition` until it returns something true, and return that; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() >= deadline:
            raise AssertionError(f"not within {seconds:g} s: {what}")
        time.sleep(pause)


def find(program: str) -> str | None:
    """Return the path of an installed program."""
    return shutil.which(program, path=SEARCH_PATH)


def path_of(program: str) -> str:
    """Return the path of a program that is known to be installed."""
    found = find(program)
    assert found, f"{program} is not installed"
    return found


def output_of(command: Sequence[str | Path], seconds: float = 20) -> str:
    """Run a short command and return what it prints; its complaint is in the failure."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, errors="replace")
    assert done.returncode == 0, f"{' '.join(map(str, command))}: {done.stderr.strip() or done.returncode}"
    return done.stdout


class Program:
    """One program running in the background, with all its output in `log`."""

    def __init__(self, name: str, command: Sequence[str | Path], log: Path) -> None:
        self.name = name
        self.log = log
        self._mark = 0
        # It ends even when the test runner dies without a chance to clean up.
        guarded = [path_of("setpriv"), "--pdeathsig", "TERM", *command]
        with log.open("wb") as sink:
            self._process = subprocess.Popen(
                guarded, stdin=subprocess.DEVNULL, stdout=sink, stderr=subprocess.STDOUT, cwd=log.parent
            )

    def output(self, start: int = 0) -> str:
        """Return what it has printed since byte `start` of its output."""
        with self.log.open("rb") as file:
            file.seek(start)
            return COLOURS.sub("", file.read().decode(errors="replace"))

    def size(self) -> int:
        """Return how much it has printed, bytes: a position for `output` and `wait_for`."""
        return self.log.stat().st_size

    def mark(self) -> None:
        """Let a test begin here: `recent` starts from now."""
        self._mark = self.size()

    def recent(self, lines: int) -> str:
        """Return the last lines printed since `mark`."""
        return "\n".join(self.since_mark().splitlines()[-lines:])

    def since_mark(self) -> str:
        """Return what it has printed since `mark`."""
        return self.output(self._mark)

    def running(self) -> bool:
        """Return whether it has not ended."""
        return self._process.poll() is None

    def wait_for(self, pattern: str, seconds: float, start: int = 0) -> re.Match[str]:
        """Wait until its output since byte `start` matches `pattern`."""

        def printed() -> re.Match[str] | None:
            # Asked before the output is read: what it printed last is not missed.
            ended = not self.running()
            match = re.search(pattern, self.output(start), re.MULTILINE)
            if match is None and ended:
                raise AssertionError(f"{self.name} ended ({self._process.returncode}):\n{self.recent(20)}")
            return match

        return until(printed, seconds, f"{self.name} prints {pattern!r}, see {self.log}")

    def wait(self, seconds: float) -> int:
        """Wait until it has ended by itself and return its exit status."""
        until(lambda: not self.running(), seconds, f"{self.name} ends, see {self.log}")
        return self._process.returncode

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.running():
            self._process.send_signal(number)

    def stop(self, seconds: float = 1) -> None:
        """End it: politely first, after `seconds` for good."""
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
