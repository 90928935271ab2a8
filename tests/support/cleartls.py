# SPDX-License-Identifier: MIT
"""TLS without encryption and without certificates: what the program does with it, in memory and to be read.

It takes the place of `siproxd_tw.transport.tls.TLS`. Whoever speaks with the gateway is believed; who is
believed and who is not is told in tests/transport/test_tls.py and on real sockets.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure

__all__ = ["ClearTLS"]


class ClearTLS:
    """Every handshake succeeds at once."""

    serves = True

    def __init__(self) -> None:
        self.asked: list[str] = []
        """The domain of each connection that was made, as SNI would say it."""

    def load(self) -> None:
        """There is nothing to load."""

    def accepting(self, protocol: Any) -> Protocol:
        """See TLS."""
        return _Secured(protocol)

    def connecting(self, protocol: Any, name: str) -> Protocol:
        """See TLS."""
        self.asked.append(name)
        return _Secured(protocol)

    def refusal(self, transport: Any, name: str, host: str) -> str:
        """See TLS."""
        return ""

    def distrust(self, transport: Any, name: str, host: str) -> str:
        """See TLS."""
        return ""

    def identities(self, transport: Any) -> frozenset[str]:
        """See TLS."""
        return frozenset()


class _Secured(Protocol):
    """Protocol of the network, and transport of the protocol above: as TLSMemoryBIOProtocol is both."""

    def __init__(self, above: Any) -> None:
        self._above = above

    def connectionMade(self) -> None:
        self._above.makeConnection(self)
        self._above.handshakeCompleted()

    def dataReceived(self, data: bytes) -> None:
        self._above.dataReceived(data)

    def connectionLost(self, reason: Failure) -> None:  # type: ignore[override]
        self._above.connectionLost(reason)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.transport, name)
