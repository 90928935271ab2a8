# SPDX-License-Identifier: MIT
"""A user agent in the test itself that keeps to RFC 3261 also where nearly every message is lost.

It makes and takes any number of calls on one UDP socket of a host, answers challenges, acknowledges each 2xx
as often as it comes (section 13.2.2.4), repeats its own until the ACK is there and hangs up when that never
comes (13.3.1.4). sipp gives such calls up, and then nobody knows whether the proxy has done its part.
To be used within a running asyncio loop.
"""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from siproxd_tw.sip import digest
from siproxd_tw.sip.message import Request, Response, response_to
from siproxd_tw.sip.parser import parse
from siproxd_tw.sip.transactionlayer import (
    AckReceived,
    CancelReceived,
    ClientTransaction,
    Event,
    RequestReceived,
    ResponseReceived,
    ServerTransaction,
    TransactionFailed,
    TransactionLayer,
)
from siproxd_tw.sip.uri import SIPURI
from tests.network.kamailio import DOMAIN, PASSWORD
from tests.network.namespaces import Host

PORT = 5090
T1, T2 = 0.5, 4.0
"""Seconds, RFC 3261 table 4."""

NO_RESPONSE = 0
"""In place of a status: the transaction has timed out."""

Address = tuple[str, int]
_numbers = itertools.count(1)


class State(Enum):
    """What a party of a call knows of it."""

    CALLING = "no answer yet"
    RINGING = "rings"
    UP = "up"
    FAILED = "refused, cancelled or timed out"
    OVER = "over"


@dataclass(eq=False, repr=False)
class Call:
    """One party's view of a call, or of a registration: what its next request looks like."""

    endpoint: Endpoint
    call_id: str
    local: bytes
    """The value of From in our requests."""
    remote: bytes
    """The value of To in our requests."""
    target: bytes
    """The next Request-URI."""
    cseq: int = 0
    routes: list[bytes] = field(default_factory=list)
    state: State = State.CALLING
    rang: bool = False
    status: int | None = None
    """The final status of the INVITE."""
    heard: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when a provisional response with a tag has come."""
    acknowledged: asyncio.Event = field(default_factory=asyncio.Event)
    seen: list[str] = field(default_factory=list)
    """The methods of the requests from the other party."""
    invite: Any = None
    """The INVITE transaction."""
    responses: asyncio.Queue[Response | None] = field(default_factory=asyncio.Queue)
    """Those of the last request; None is the end without any."""
    ack: bytes = b""
    acked: int = 0
    """The CSeq of the INVITE that `ack` belongs to."""

    def __repr__(self) -> str:
        return f"<Call {self.call_id} of {self.endpoint.user}: {self.state.value}, status {self.status}>"

    # as the caller

    async def dial(self) -> int:
        """Send an INVITE, also the answer to its challenge, and return the final status."""
        self.status = await self.ask("INVITE")
        if self.status // 100 != 2:
            self.state = State.FAILED
        return self.status

    def cancel(self) -> None:
        """Stop calling; a 2xx that comes all the same is acknowledged and hung up."""
        self.endpoint.cancel(self.invite)

    async def hang_up(self) -> int:
        """Send a BYE and return the status."""
        self.state = State.OVER
        return await self.ask("BYE")

    async def ask(self, method: str, headers: Sequence[bytes] = ()) -> int:
        """Send a request, and again with credentials if they are asked for; return the final status."""
        status, challenge = await self._try(method, headers)
        if challenge:
            status, _ = await self._try(method, [*headers, self._credentials(method, challenge)])
        return status

    async def _try(self, method: str, headers: Sequence[bytes]) -> tuple[int, bytes]:
        self.cseq += 1
        body = self.endpoint.description if method == "INVITE" else b""
        self.responses = responses = asyncio.Queue[Response | None]()
        transaction = self.endpoint.send(
            self.request(method, self.cseq, headers, body), self.hop, (self, responses)
        )
        if method == "INVITE":
            self.invite = transaction
        while (response := await responses.get()) is not None:
            if response.status >= 200:
                name = {401: b"www-authenticate", 407: b"proxy-authenticate"}.get(response.status, b"")
                return response.status, response.value(name) or b""
            if method == "INVITE" and response.to_tag:
                self.heard.set()
        return NO_RESPONSE, b""

    def accepted(self, response: Response) -> None:
        """Take a 2xx of our INVITE, be it the first one or not (13.2.2.4)."""
        if response.cseq.number != self.acked:
            self.acked = response.cseq.number
            self.remote = response.value(b"to") or b""
            self.target = response.contacts()[0].uri_text
            if self.state is State.CALLING:
                self.state = State.UP
                self.routes = [route.text for route in reversed(response.record_routes())]
            self.ack = bytes(self.request("ACK", self.acked))
        self.endpoint.write(self.ack, self.hop)

    # requests

    @property
    def hop(self) -> Address:
        """Where requests go: to the first of the route set, else to the target (12.2.1.1)."""
        if not self.remote.count(b";tag="):
            return self.endpoint.proxy
        first = self.routes[0] if self.routes else b"<" + self.target + b">"
        uri = Request.build("ACK", b"sip:a", [b"Route: " + first]).routes()[0].uri
        assert isinstance(uri, SIPURI)
        return uri.host, uri.port or 5060

    def request(self, method: str, cseq: int, headers: Sequence[bytes] = (), body: bytes = b"") -> Request:
        """Return a request of ours in this dialog, or before there is one."""
        contact = b"Contact: <sip:%b@%b:%d>" % (self.endpoint.user.encode(), *self.endpoint.own)
        lines = [
            b"Via: SIP/2.0/UDP %b:%d;branch=z9hG4bK-%d;rport" % (*self.endpoint.own, next(_numbers)),
            b"Max-Forwards: 70",
            *(b"Route: " + route for route in self.routes),
            b"From: " + self.local,
            b"To: " + self.remote,
            b"Call-ID: " + self.call_id.encode(),
            b"CSeq: %d %b" % (cseq, method.encode()),
            *([] if method in ("ACK", "BYE") else [contact]),
            *headers,
            *([b"Content-Type: application/sdp"] if body else []),
        ]
        return Request.build(method, self.target, lines, body)

    def _credentials(self, method: str, challenge: bytes) -> bytes:
        known = digest.parse_credentials(challenge)
        user, uri = self.endpoint.user, self.target.decode()
        said = {"username": user, "realm": known["realm"], "nonce": known["nonce"], "uri": uri}
        if "qop" in known:
            said |= {"qop": "auth", "cnonce": "0a4f113b", "nc": "00000001"}
        said["response"] = digest.answer(digest.ha1(user, known["realm"], PASSWORD), method, said)
        bare = ("qop", "nc")
        text = ", ".join(
            f"{key}={value}" if key in bare else f'{key}="{value}"' for key, value in said.items()
        )
        name = "Authorization" if method == "REGISTER" else "Proxy-Authorization"
        return f"{name}: Digest {text}".encode()

    # as the one who is called

    def ring(self) -> None:
        """Say 180."""
        self.state, self.rang = State.RINGING, True
        self.answer(180)

    def answer(self, status: int, body: bytes = b"") -> None:
        """Respond to the INVITE."""
        self.status = status if status >= 200 else None
        self.endpoint.respond(self.invite, status, body)

    def refuse(self, status: int) -> None:
        """Do not take the call."""
        self.state = State.FAILED
        self.answer(status)

    async def take(self) -> bool:
        """Say 200 until the ACK has come and return True; hang up and return False when it never does."""
        self.state = State.UP
        pause, left = T1, 64 * T1
        while left > 0 and not self.acknowledged.is_set():
            self.answer(200, self.endpoint.description)
            try:
                await asyncio.wait_for(self.acknowledged.wait(), min(pause, left))
            except TimeoutError:
                pause, left = min(2 * pause, T2), left - pause
        if not self.acknowledged.is_set() and self.state is State.UP:
            await self.hang_up()
        return self.acknowledged.is_set()


Taker = Callable[[Call], Coroutine[Any, Any, None]]


class Endpoint(asyncio.DatagramProtocol):
    """`user` of `domain` on a UDP socket of `host`; requests outside of a dialog go to `proxy`.

    `take` is run with each call that comes in; what it leaves ringing rings on. An async context manager:
    on the way out the socket is closed, and whatever still ran in the background is cancelled.
    """

    def __init__(
        self,
        user: str,
        host: Host,
        proxy: str,
        take: Taker | None = None,
        *,
        port: int = PORT,
        domain: str = DOMAIN,
    ) -> None:
        self.user = user
        self.domain = domain
        self.proxy: Address = (proxy, 5060)
        self.own = (host.address.encode(), port)
        self.description = b"".join(
            line % host.address.encode() if b"%" in line else line
            for line in (
                b"v=0\r\no=- 1 1 IN IP4 %b\r\n",
                b"s=-\r\nc=IN IP4 %b\r\n",
                b"t=0 0\r\nm=audio 40000 RTP/AVP 0\r\n",
            )
        )
        self.calls: dict[str, Call] = {}
        """By Call-ID, all there have been."""
        self.tasks: set[asyncio.Task[None]] = set()
        self._host = host
        self._take = take
        self._layer = TransactionLayer()
        self._timer: asyncio.TimerHandle | None = None

    async def __aenter__(self) -> Endpoint:
        self._loop = asyncio.get_running_loop()
        self._transport, _ = await self._loop.create_datagram_endpoint(
            lambda: self, sock=self._host.enter(self._bound)
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        for task in self.tasks:
            task.cancel()
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()

    def _bound(self) -> socket.socket:
        opened = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        opened.bind((self._host.address, self.own[1]))
        opened.setblocking(False)
        return opened

    # what it does

    async def register(self, registrar: str = "") -> int:
        """Register, by way of the proxy or directly at `registrar`, and return the final status."""
        address = f"<sip:{self.user}@{self.domain}>".encode()
        registration = self._new(f"register-{self.user}", b"sip:" + self.domain.encode(), address)
        before, self.proxy = self.proxy, (registrar or self.proxy[0], 5060)
        status = await registration.ask("REGISTER", [b"Expires: 600"])
        self.proxy = before
        return status

    def call(self, callee: str, name: str = "call") -> Call:
        """Return a new call to a user of the same domain; its Call-ID begins with `name`."""
        uri = f"sip:{callee}@{self.domain}".encode()
        call = self._new(name, uri, b"<" + uri + b">")
        self.calls[call.call_id] = call
        return call

    def _new(self, name: str, uri: bytes, remote: bytes) -> Call:
        number = next(_numbers)
        local = f"<sip:{self.user}@{self.domain}>;tag={self.user}{number}".encode()
        return Call(self, f"{name}-{number}", local, remote, uri)

    def background(self, what: Coroutine[Any, Any, Any]) -> None:
        """Let something go on beside."""
        task = self._loop.create_task(what)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    # transactions

    def send(self, request: Request, hop: Address, user: object) -> ClientTransaction:
        """Begin a client transaction."""
        transaction = self._layer.request(request, hop, self._loop.time(), user=user)
        self._drain()
        return transaction

    def cancel(self, transaction: ClientTransaction) -> None:
        """Send a CANCEL, as soon as that is allowed."""
        self._layer.cancel(transaction, self._loop.time())
        self._drain()

    def respond(self, transaction: ServerTransaction, status: int, body: bytes = b"") -> None:
        """Answer a request."""
        request = transaction.request
        headers = [b"Contact: <sip:%b@%b:%d>" % (self.user.encode(), *self.own)]
        headers += [line.raw.rstrip(b"\r\n") for line in request.all(b"record-route")]
        headers += [b"Content-Type: application/sdp"] if body else []
        tag = b"t" + self.user.encode()
        response = response_to(request, status, to_tag=tag, headers=headers, body=body)
        self._layer.respond(transaction, response, self._loop.time())
        self._drain()

    def write(self, data: bytes, address: Address) -> None:
        """Send a datagram."""
        self._transport.sendto(data, address)

    def datagram_received(self, data: bytes, addr: Address) -> None:
        """Take a message."""
        if not data.strip():
            return
        message, now = parse(data), self._loop.time()
        if isinstance(message, Response):
            self._layer.match(message, addr, now)
        elif not self._layer.absorb(message, now):
            self._layer.begin(message, addr, now, reply=addr)
        self._drain()

    def _expired(self) -> None:
        self._layer.handle_timer(self._loop.time())
        self._drain()

    def _drain(self) -> None:
        while (event := self._layer.next_event()) is not None:
            self._event(event)
        for data, address in self._layer.messages_to_send():
            self.write(data, address)
        if self._timer is not None:
            self._timer.cancel()
        at = self._layer.get_timer()
        self._timer = None if at is None else self._loop.call_at(at, self._expired)

    def _event(self, event: Event) -> None:
        if isinstance(event, ResponseReceived) and event.user:
            call, responses = event.user
            if event.response.status // 100 == 2 and event.transaction.request.method == "INVITE":
                call.accepted(event.response)
            responses.put_nowait(event.response)
        elif isinstance(event, TransactionFailed) and isinstance(event.transaction, ClientTransaction):
            if event.transaction.user:
                event.transaction.user[1].put_nowait(None)
        elif isinstance(event, AckReceived):
            if call := self._known(event.request):
                call.acknowledged.set()
        elif isinstance(event, CancelReceived):
            self._cancelled(event)
        elif isinstance(event, RequestReceived):
            self._asked(event.transaction)

    def _known(self, request: Request) -> Call | None:
        return self.calls.get(request.call_id.decode())

    def _cancelled(self, event: CancelReceived) -> None:
        self.respond(event.transaction, 481 if event.invite is None else 200)
        if (
            event.invite is not None
            and not event.invite.answered
            and (call := self._known(event.invite.request))
        ):
            call.refuse(487)

    def _asked(self, transaction: ServerTransaction) -> None:
        request, call = transaction.request, self._known(transaction.request)
        if request.method == "INVITE" and not request.to_tag:
            if call is None:
                self._called(transaction)
            else:
                self.respond(transaction, 482)  # the same once more by another way (8.2.2.2)
        elif call is None or not request.to_tag:
            self.respond(transaction, 200 if request.method == "OPTIONS" else 481)
        else:
            self._asked_in_dialog(call, transaction)

    def _called(self, transaction: ServerTransaction) -> None:
        request = transaction.request
        local = (request.value(b"to") or b"") + b";tag=t" + self.user.encode()
        call = Call(
            self,
            request.call_id.decode(),
            local,
            request.value(b"from") or b"",
            request.contacts()[0].uri_text,
            routes=[route.text for route in request.record_routes()],
            invite=transaction,
        )
        self.calls[call.call_id] = call
        if self._take is None:
            call.refuse(480)
        else:
            self.background(self._take(call))

    def _asked_in_dialog(self, call: Call, transaction: ServerTransaction) -> None:
        method = transaction.request.method
        call.seen.append(method)
        if method == "BYE":
            if call.state is State.CALLING:  # the 2xx is lost, each time, and there will not be another one
                call.responses.put_nowait(None)
            call.state = State.OVER
        self.respond(transaction, 200, self.description if method == "INVITE" else b"")
