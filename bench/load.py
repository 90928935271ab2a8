# SPDX-License-Identifier: MIT
"""The load generator: compiles sipbench.c when it is needed, and talks to it."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from bench.bed import FIRST_PHONE, INSIDE, OUTSIDE, PHONES, PROVIDER, SILENT, Bed
from tests.network.programs import find, output_of, path_of

SOURCE = Path(__file__).with_name("sipbench.c")
ARGUMENTS = (INSIDE, OUTSIDE, PROVIDER, FIRST_PHONE, str(PHONES), SILENT)

Result = dict[str, Any]
"""What sipbench answers to a command; delays are microseconds."""


def compile_in(directory: Path) -> Path:
    """Return the compiled program; the compiler's complaint is in the failure."""
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "sipbench"
    if not program.exists() or program.stat().st_mtime < SOURCE.stat().st_mtime:
        output_of([path_of("cc"), "-O2", "-Wall", "-o", program, SOURCE], 60)
    return program


def compiler() -> str | None:
    """Return the path of the C compiler, if there is one."""
    return find("cc")


class Generator:
    """All phones and the provider, running on `core`; a context manager."""

    def __init__(self, program: Path, bed: Bed, core: int) -> None:
        command: list[str | Path] = [
            path_of("setpriv"),
            "--pdeathsig",
            "KILL",
            program,
            str(core),
            *bed.handles,
            *ARGUMENTS,
        ]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> Generator:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def fill(self, users: int, window: int = 32) -> Result:
        """Register users until there are that many, `window` requests at a time."""
        return self._ask(f"fill {users} {window}")

    def dial(self, calls: int, window: int = 16) -> Result:
        """Set up calls that stay."""
        return self._ask(f"dial {calls} {window}")

    def hang_up(self, window: int = 16) -> Result:
        """End the calls of `dial`."""
        return self._ask(f"hangup {window}")

    def run(self, kind: str, rate: float, seconds: float, bad: float = 0, drain: float = 1) -> Result:
        """Start `rate` of `kind` (register, call, info) a second, whatever the proxy does; see sipbench.c."""
        return self._ask(f"run {kind} {rate} {seconds} {bad} {drain}")

    def _ask(self, command: str) -> Result:
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        assert answer, f"sipbench ended at {command!r}"
        result: Result = json.loads(answer)
        assert "error" not in result, f"{command!r}: {result['error']}"
        return result
