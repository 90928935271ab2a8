# SPDX-License-Identifier: MIT
"""A phone made of one socket, for what no real one does: it writes requests and reads what comes."""

from __future__ import annotations

import hashlib
import itertools
import re
import socket
import ssl
import time
from pathlib import Path
from typing import Any

from tests.network.baresip import bracketed
from tests.network.kamailio import DOMAIN, PASSWORD
from tests.network.namespaces import Host

PORT = 5080
"""The port of its Contact, where nobody listens by TCP: it is reached by its connection or not at all."""

_numbers = itertools.count(1)


class Talker:
    """`user` of `domain` on `host`, connected with `proxy` by UDP, TCP or TLS."""

    def __init__(
        self,
        user: str,
        host: Host,
        proxy: str,
        transport: str = "UDP",
        domain: str = DOMAIN,
        authority: Path | None = None,
    ) -> None:
        self.user = user
        self.domain = domain
        self.host = host
        self._transport = transport
        self._proxy = proxy
        self._buffer = b""
        self.socket: Any = host.enter(lambda: self._connected(authority))

    def _connected(self, authority: Path | None) -> socket.socket:
        family = socket.AF_INET6 if ":" in self._proxy else socket.AF_INET
        if self._transport == "UDP":
            opened = socket.socket(family, socket.SOCK_DGRAM)
            opened.bind((self.host.address, PORT))
            opened.connect((self._proxy, 5060))
        else:
            port = 5061 if self._transport == "TLS" else 5060
            opened = socket.create_connection((self._proxy, port), 5)
        opened.settimeout(5)
        if self._transport == "TLS":
            context = ssl.create_default_context(cafile=str(authority) if authority else None)
            return context.wrap_socket(opened, server_hostname=self._proxy)
        return opened

    def __enter__(self) -> Talker:
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()

    def request(self, method: str, uri: str, *headers: str, body: str = "", sequence: int = 1) -> str:
        """Send a request, of a dialog of its own, and return it."""
        number = next(_numbers)
        own = f"{bracketed(self.host.address)}:{PORT}"
        me = f"sip:{self.user}@{self.domain}"
        text = "\r\n".join(
            (
                f"{method} {uri} SIP/2.0",
                f"Via: SIP/2.0/{self._transport} {own};branch=z9hG4bK-talker-{number}",
                "Max-Forwards: 70",
                f"From: <{me}>;tag=t{number}",
                f"To: <{me if method == 'REGISTER' else uri}>",
                f"Call-ID: talker-{number}@{self.host.address}",
                f"CSeq: {sequence} {method}",
                f"Contact: <sip:{self.user}@{own};transport={self._transport.lower()}>",
                *headers,
                f"Content-Length: {len(body)}",
                "",
                body,
            )
        )
        self.socket.sendall(text.encode())
        return text

    def register(self) -> str:
        """Register, with the answer to the challenge, and return the last response."""
        uri = f"sip:{self.domain}"
        self.request("REGISTER", uri, "Expires: 300")
        challenge = self.final()
        if not challenge.startswith("SIP/2.0 401"):
            return challenge
        answer = self.credentials(challenge, "REGISTER", uri)
        self.request("REGISTER", uri, "Expires: 300", f"Authorization: {answer}", sequence=2)
        return self.final()

    def credentials(self, challenge: str, method: str, uri: str) -> str:
        """Return the value of the header that answers a challenge (RFC 2617, without qop)."""
        realm, nonce = (self._quoted(challenge, name) for name in ("realm", "nonce"))
        first = _md5(f"{self.user}:{realm}:{PASSWORD}")
        response = _md5(f"{first}:{nonce}:{_md5(f'{method}:{uri}')}")
        fields = {"username": self.user, "realm": realm, "nonce": nonce, "uri": uri, "response": response}
        return "Digest " + ", ".join(f'{name}="{value}"' for name, value in fields.items())

    def _quoted(self, text: str, name: str) -> str:
        match = re.search(rf'{name}="([^"]*)"', text)
        assert match, text
        return match[1]

    def final(self, seconds: float = 5) -> str:
        """Return the next final response."""
        while True:
            message = self.receive(seconds)
            if re.match(r"SIP/2\.0 [2-6]", message):
                return message

    def receive(self, seconds: float = 5) -> str:
        """Return the next message, or an empty text when the peer has closed the connection."""
        deadline = time.monotonic() + seconds
        while True:
            message = self._message()
            if message:
                return message
            self.socket.settimeout(max(0.01, deadline - time.monotonic()))
            data = self.socket.recv(65536)
            if not data:
                return ""
            self._buffer += data

    def _message(self) -> str:
        """Take one whole message off what has come."""
        self._buffer = self._buffer.lstrip(b"\r\n")
        head, blank, body = self._buffer.partition(b"\r\n\r\n")
        match = re.search(rb"(?im)^(?:content-length|l)\s*:\s*(\d+)", head)
        length = int(match[1]) if match else 0
        if not blank or len(body) < length:
            return ""
        self._buffer = body[length:]
        return (head + blank + body[:length]).decode(errors="replace")

    def answer(self, request: str, status: str) -> None:
        """Answer a request with this status and reason, and nothing else."""
        kept = re.findall(r"(?im)^(?:via|from|call-id|cseq|record-route):.*\r$", request)
        to = re.findall(r"(?im)^to:.*(?=\r$)", request)[0]
        tagged = to if ";tag=" in to else f"{to};tag=talker"
        lines = [f"SIP/2.0 {status}", *(line.rstrip() for line in kept), tagged, "Content-Length: 0", "", ""]
        self.socket.sendall("\r\n".join(lines).encode())


def _md5(text: str) -> str:
    return hashlib.md5(text.encode()).hexdigest()
