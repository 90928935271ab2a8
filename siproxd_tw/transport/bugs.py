# SPDX-License-Identifier: MIT
"""Bugs of ours that messages from the network bring to light.

Nothing of that may close a socket which serves everybody, so it ends here: the first time at each place
in the code it is logged in full, from then on it is counted, so that no peer can fill the disk.
"""

from __future__ import annotations

from collections import Counter

from twisted.logger import Logger
from twisted.python.failure import Failure

from siproxd_tw.interfaces import Address

__all__ = ["Bugs"]


class Bugs:
    """What has gone wrong in one transport."""

    _log = Logger()

    def __init__(self) -> None:
        self.count = 0
        self._seen: Counter[object] = Counter()

    def caught(self, transport: str, local: Address, what: str, peer: Address) -> None:
        """Take note of the exception that is being handled; `what` it failed at came from `peer`."""
        failure = Failure()
        self.count += 1
        place = (failure.type, failure.frames[-1][:3] if failure.frames else None)
        self._seen[place] += 1
        if self._seen[place] == 1:
            self._log.failure(
                "{transport} {local}: failed at {what} from {peer}",
                failure=failure,
                transport=transport,
                local=local,
                what=what,
                peer=peer,
            )
