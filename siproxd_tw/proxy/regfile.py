# SPDX-License-Identifier: MIT
"""The registration file on disk: read leniently, written atomically.

A crash in the middle of writing leaves the old file or the new one, never a half.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

__all__ = ["RegistrationFile"]

InThread = Callable[..., "Deferred[Any]"]
Content = bytes | Callable[[], bytes]


class RegistrationFile:
    """Where the bindings survive a restart."""

    _log = Logger()

    def __init__(self, path: str, in_thread: InThread = maybeDeferred) -> None:
        self._path = Path(path)
        self._in_thread = in_thread
        self._writing: Deferred[Any] | None = None
        self._next: Content | None = None

    def load(self) -> bytes:
        """Return what was saved; nothing, with a warning, when it cannot be read."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            if self._path.parent.is_dir():
                self._log.info("no registrations yet: {path} does not exist", path=self._path)
            else:
                self._log.warn(
                    "registrations cannot be saved: there is no folder {folder}", folder=self._path.parent
                )
        except OSError as error:
            self._log.warn("cannot read the registrations: {error}", error=error)
        return b""

    def save(self, content: Content) -> Deferred[Any]:
        """Write `content`; while a write is under way only the newest content waits.

        A function is called in the thread that writes: 50,000 phones are half a second of work.
        """
        if self._writing is not None:
            self._next = content
            return self._writing
        # Before `_written`, which runs at once when there is no thread.
        self._writing = self._in_thread(self._write, content).addErrback(self._failed)
        return self._writing.addCallback(self._written)

    def _written(self, _: object) -> Deferred[Any] | None:
        self._writing = None
        content, self._next = self._next, None
        return None if content is None else self.save(content)

    def _failed(self, failure: Any) -> None:
        failure.trap(OSError)
        self._log.warn("cannot save the registrations: {error}", error=failure.value)

    def _write(self, content: Content) -> None:
        data = content() if callable(content) else content
        temporary = self._path.with_name(self._path.name + ".new")
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, self._path)
