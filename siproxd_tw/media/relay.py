# SPDX-License-Identifier: MIT
"""The providers of `IMediaRelay` on this machine: `LocalRelay`, and `NoRelay` for no relaying at all.

`LocalRelay` joins what the other files of this package know: `session` who has agreed on what,
`allocator` which ports are free, `userspace` how packets walk. It opens and closes what the
sessions ask for, all or nothing, and looks every few seconds for calls that have died.

Each party is met in its own address family, so that calls between IPv4 and IPv6 come by themselves.

A faster way for established streams has its place beside `RelayPort.refresh`, which is called
with every change of what is known about a port: when a port and its partner both have a source,
they may be promoted there, and the next change brings them back.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import chain
from typing import Any

from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from siproxd_tw.config.settings import MediaConfig
from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import (
    Exchange,
    IAddresses,
    IMediaRelay,
    IStatus,
    MediaNotAcceptable,
    MediaUnavailable,
    Side,
)
from siproxd_tw.media.allocator import NoPortFree, Order, PortAllocator, sequential
from siproxd_tw.media.latch import Policy, comedia
from siproxd_tw.media.session import MediaSession, Offer, Party, Stream, family_of
from siproxd_tw.media.userspace import ListenUDP, Sockets, StreamPorts
from siproxd_tw.sdp import SDPError, SessionDescription

__all__ = ["LocalRelay", "NoRelay"]

LONGEST_SWEEP = 5.0
"""Seconds between two looks at the counters, at most."""
MOST_STREAMS = 16
"""What one description may have ports for: a phone has two or three streams, a hostile INVITE thousands."""
_ANYBODY = {0: "", 4: "0.0.0.0", 6: "::"}
"""Peers that stand for their address family."""


@implementer(IMediaRelay, IStatus)
class LocalRelay:
    """Relays media through sockets of this process."""

    _log = Logger()

    def __init__(
        self,
        config: MediaConfig,
        addresses: IAddresses,
        listen_udp: ListenUDP,
        clock: IReactorTime,
        *,
        expired: Callable[[Exchange], None] = lambda first: None,
        policy: Policy = comedia,
        order: Order = sequential,
    ) -> None:
        """Take what is needed; binds nothing yet.

        `expired` is called with the exchange that began a session when that session has
        ended because no media came any more.
        """
        self._timeout = config.timeout
        self._addresses = addresses
        self._clock = clock
        self._expired = expired
        self._allocator = PortAllocator(config.port_low, config.port_high, order=order)
        self._sockets = Sockets(self._allocator, listen_udp, clock, config.dscp, policy)
        self._sessions: dict[bytes, list[MediaSession]] = {}
        self._open: dict[Stream, StreamPorts] = {}
        self._sweep: IDelayedCall | None = None
        self._counts: Counter[str] = Counter()
        self._dropped: Counter[str] = Counter()

    # IMediaRelay

    def offer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay."""
        description = self._parse(exchange, sdp)
        if description is None:
            return succeed([])
        try:
            return succeed(self._offer(exchange, description))
        except MediaUnavailable as unavailable:
            reason = "not acceptable" if isinstance(unavailable, MediaNotAcceptable) else "refused"
            self._counts[reason] += 1
            return fail(unavailable)

    def answer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay (RFC 3264 section 6)."""
        description = self._parse(exchange, sdp)
        session, offer = self._answered_in(exchange)
        if description is None or session is None:
            return succeed([])
        receiver = 1 - (session.party_of(exchange) or 0) if offer is None else offer.party
        is_news = offer is not None and not offer.is_accepted
        family = offer.families[receiver] if offer and is_news else session.parties[receiver].family
        host = self._addresses.advertised(exchange.receiver_side, _ANYBODY[family])
        if host is None:
            return succeed([])
        if offer is not None:
            self._close(session.answered(offer, exchange.sender, description, self._clock.seconds()))
            self._refresh(session)
            self._note_astray(session, session.parties[1 - receiver], description)
        return succeed(description.relayed(host, session.ports(receiver)))

    def withdraw(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        for session in self._sessions.get(exchange.call_id, ()):
            offer = session.offer_of(exchange)
            if offer is not None:
                self._withdraw(session, offer)
                break
        return succeed(None)

    def delete(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        for session in list(self._sessions.get(exchange.call_id, ())):
            if session.party_of(exchange) is not None and not session.forget_fork(exchange):
                self._end(session)
        return succeed(None)

    def query(self, call_id: bytes) -> Deferred[Sequence[Mapping[str, object]]]:
        """See IMediaRelay."""
        now = self._clock.seconds()
        sessions = self._sessions.get(call_id, ())
        return succeed([self._describe(s, stream, now) for s in sessions for stream in s.all_streams()])

    def streams(self) -> Sequence[Mapping[str, object]]:
        """Describe every stream of every call as `query` does."""
        now = self._clock.seconds()
        sessions = chain.from_iterable(self._sessions.values())
        return [
            self._describe(session, stream, now) for session in sessions for stream in session.all_streams()
        ]

    # IStatus

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        counts = Counter(self._counts)
        dropped = Counter(self._dropped)
        for ports in self._open.values():
            ports.count(counts, dropped)
        hosts = {host for side in Side for host in self._addresses.bound(side)}
        return {
            "sessions": sum(len(sessions) for sessions in self._sessions.values()),
            "streams": len(self._open),
            "ports": self._allocator.figures(hosts),
            "packets": counts["packets"],
            "octets": counts["octets"],
            "errors": counts["errors"],
            "dropped": dict(dropped),
            "refused": counts["refused"],
            "not acceptable": counts["not acceptable"],
            "expired": counts["expired"],
        }

    def stop(self) -> Deferred[Any]:
        """End every session; the Deferred fires when all sockets are closed."""
        for session in list(chain.from_iterable(self._sessions.values())):
            self._end(session)
        return self._sockets.closed()

    # Offers and answers

    def _parse(self, exchange: Exchange, sdp: bytes) -> SessionDescription | None:
        try:
            return SessionDescription.parse(sdp)
        except SDPError as error:
            call_id = _text(exchange.call_id)
            self._log.debug("{call_id}: a body is not relayed: {error}", call_id=call_id, error=error)
            return None

    def _offer(self, exchange: Exchange, description: SessionDescription) -> list[Edit]:
        session = self._offered_in(exchange) or MediaSession(exchange, self._clock.seconds())
        known = session.offer_of(exchange)
        if known is not None and known.description.body == description.body:
            known.at = self._clock.seconds()
            return known.edits
        if known is not None and known.is_accepted:
            told = session.parties[1 - known.party]
            return description.relayed(self._shown(told, told.family), session.ports(1 - known.party))
        offer = Offer(exchange, session.party_of(exchange) or 0, description, self._clock.seconds())
        offer.families = session.families(offer)
        hosts = self._hosts(session, offer) if offer.wanted else []
        told = session.parties[1 - offer.party]
        host = self._shown(told, offer.families[1 - offer.party])
        offer.streams = dict(known.streams) if known is not None else {}
        offer.streams |= self._open_streams(session, offer, hosts)
        offer.drop_unwanted()
        if known is not None:  # what the same offer wanted when it was said in other words
            self._close([s for i, s in known.streams.items() if offer.streams.get(i) is not s])
        session.offered(offer)
        self._keep(session)
        self._refresh(session)
        offer.edits = description.relayed(host, session.ports(1 - offer.party, offer))
        return offer.edits

    def _offered_in(self, exchange: Exchange) -> MediaSession | None:
        """Find the session of an offer: by its transaction, in a dialog by the two tags."""
        sessions = self._sessions.get(exchange.call_id, ())
        for session in sessions:
            if session.offer_of(exchange) is not None:
                return session
        if not exchange.receiver:
            return None  # a new call: also one that passes here a second time, or is tried again
        return next((s for s in sessions if s.party_of(exchange) is not None), None)

    def _answered_in(self, exchange: Exchange) -> tuple[MediaSession | None, Offer | None]:
        """Find what is answered; for an answer that is out of date only the session."""
        sessions = self._sessions.get(exchange.call_id, ())
        for session in sessions:
            offer = session.offer_of(exchange.reply)
            if offer is not None:
                return session, offer
        return next((s for s in sessions if s.party_of(exchange) is not None), None), None

    def _withdraw(self, session: MediaSession, offer: Offer) -> None:
        if offer.exchange.transaction == session.first.transaction:
            self._end(session)
            return
        self._close(session.withdrawn(offer, self._clock.seconds()))
        self._refresh(session)

    def _refresh(self, session: MediaSession) -> None:
        for stream in session.all_streams():
            self._open[stream].refresh()

    def _note_astray(self, session: MediaSession, party: Party, answer: SessionDescription) -> None:
        """Say once that a party has answered in another address family than it was offered."""
        if answer.family in (0, party.family) or party.is_astray:
            return
        party.is_astray = True
        self._log.info(
            "{call_id}: IPv{family} in the answer to an offer of IPv{ours}; its media is found when it comes",
            call_id=_text(session.first.call_id),
            family=answer.family,
            ours=party.family,
        )

    # Addresses

    def _hosts(self, session: MediaSession, offer: Offer) -> list[str]:
        """Find the address for the legs of each party, and settle the families of `offer` by them."""
        hosts = []
        for party, family in zip(session.parties, offer.families, strict=True):
            host = self._addresses.listening(party.side, _ANYBODY[family])
            if host is None:
                raise self._no_address(party.side, family, offer)
            hosts.append(host)
        offer.families = family_of(hosts[0]), family_of(hosts[1])
        return hosts

    def _shown(self, party: Party, family: int) -> str:
        """Return the address to write into descriptions for `party`."""
        host = self._addresses.advertised(party.side, _ANYBODY[family])
        if host is None:
            raise _nowhere(party.side)
        return host

    def _no_address(self, side: Side, family: int, offer: Offer) -> MediaUnavailable:
        """Say what `side` lacks, and whether it is what the description of `offer` asks for."""
        if not family or not self._addresses.bound(side):
            return _nowhere(side)
        lacking = f"the {side.value} interface has no IPv{family} address"
        media = offer.description.located
        is_said = side is offer.exchange.sender_side and family == offer.description.family
        if media is None or media.connection is None or not is_said:
            return MediaUnavailable(f"{lacking} to relay media on")
        return MediaNotAcceptable(f"m= line {media.index} is at {media.connection.text}, and {lacking}")

    # Sockets

    def _open_streams(self, session: MediaSession, offer: Offer, hosts: Sequence[str]) -> dict[int, Stream]:
        """Open what `offer` needs and the session does not have; all of it or nothing.

        The ports that are advertised now are taken first, those of the other party after them.
        """
        wanted = [media for media in offer.description.media if media.is_relayable]
        if len(wanted) > MOST_STREAMS:
            raise MediaNotAcceptable(
                f"{len(wanted)} streams in one description, at most {MOST_STREAMS} are relayed"
            )
        sides = [party.side for party in session.parties]
        existing = {**session.streams, **offer.streams}
        missing = [m for m in wanted if not _fits(existing.get(m.index), hosts)]
        receiver, sender = 1 - offer.party, offer.party
        legs = [(media, party) for party in (receiver, sender) for media in missing]
        try:
            pairs = self._sockets.open([(sides[party], hosts[party], media.is_rtp) for media, party in legs])
        except (NoPortFree, CannotListenError) as why:
            raise MediaUnavailable(str(why)) from why
        streams = {}
        for number, media in enumerate(missing):
            facing = {receiver: pairs[number], sender: pairs[number + len(missing)]}
            stream = Stream(media.index, (facing[0].leg, facing[1].leg), media.is_rtp)
            self._open[stream] = StreamPorts(stream, (facing[0], facing[1]))
            streams[media.index] = stream
        return streams

    def _close(self, streams: Sequence[Stream]) -> None:
        for stream in streams:
            ports = self._open.pop(stream)
            ports.count(self._counts, self._dropped)
            self._sockets.close(ports.pairs)

    # Life and death

    def _keep(self, session: MediaSession) -> None:
        sessions = self._sessions.setdefault(session.first.call_id, [])
        if session not in sessions:
            sessions.append(session)
        if self._sweep is None:
            self._schedule_sweep()

    def _end(self, session: MediaSession) -> None:
        self._close(session.ended())
        call_id = session.first.call_id
        self._sessions[call_id].remove(session)
        if not self._sessions[call_id]:
            del self._sessions[call_id]
        if not self._sessions and self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None

    def _schedule_sweep(self) -> None:
        self._sweep = self._clock.callLater(min(LONGEST_SWEEP, max(self._timeout / 4, 0.5)), self._look)

    def _look(self) -> None:
        """Look for offers without an answer and for calls without media."""
        self._schedule_sweep()
        now = self._clock.seconds()
        for session in list(chain.from_iterable(self._sessions.values())):
            while (offer := session.stale_offer(now)) is not None:
                self._withdraw(session, offer)
            if session.is_over(now, self._timeout):
                self._expire(session)

    def _expire(self, session: MediaSession) -> None:
        self._counts["expired"] += 1
        call_id = _text(session.first.call_id)
        for stream in session.streams.values():
            self._log.info(
                "RTP stream {call_id} (media={media}) has expired",
                call_id=call_id if "@" in call_id else call_id + "@",
                media=stream.index,
            )
        self._end(session)
        self._expired(session.first)

    def _describe(self, session: MediaSession, stream: Stream, now: float) -> Mapping[str, object]:
        legs = [pair.describe() for pair in self._open[stream].pairs]
        return {
            "call_id": _text(session.first.call_id),
            "media": stream.index,
            "agreed": session.streams.get(stream.index) is stream,
            "hold": session.is_on_hold,
            "idle": session.idle(now),
            "legs": legs,
        }


def _text(call_id: bytes) -> str:
    return call_id.decode("utf-8", "replace")


def _nowhere(side: Side) -> MediaUnavailable:
    return MediaUnavailable(f"the {side.value} interface has no address to relay media on")


def _fits(stream: Stream | None, hosts: Sequence[str]) -> bool:
    """Whether there is a stream and its sockets are on the addresses that we have now."""
    return stream is not None and [leg.host for leg in stream.legs] == list(hosts)


@implementer(IMediaRelay, IStatus)
class NoRelay:
    """Leaves session descriptions as they are and relays nothing (`rtp_proxy_enable = 0`)."""

    def offer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay."""
        return succeed([])

    def answer(self, exchange: Exchange, sdp: bytes) -> Deferred[list[Edit]]:
        """See IMediaRelay."""
        return succeed([])

    def withdraw(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        return succeed(None)

    def delete(self, exchange: Exchange) -> Deferred[None]:
        """See IMediaRelay."""
        return succeed(None)

    def query(self, call_id: bytes) -> Deferred[Sequence[Mapping[str, object]]]:
        """See IMediaRelay."""
        return succeed([])

    def streams(self) -> Sequence[Mapping[str, object]]:
        """Return none; here because `LocalRelay` has it."""
        return []

    def status(self) -> Mapping[str, object]:
        """See IStatus."""
        return {}

    def stop(self) -> Deferred[Any]:
        """Do nothing; here because `LocalRelay` has it."""
        return succeed(None)
