# SPDX-License-Identifier: MIT
"""What two parties have agreed about their media, and what was learnt about where they are.

A `MediaSession` follows the offer/answer exchanges of one call (RFC 3264) through one passage
of the gateway: two parties, each known by its tag and the side it is on, and one `Stream` for
each m= line that is relayed. A stream has a `Leg` for each party, on which the relay meets
it; a leg has a `Latch` for RTP and one for RTCP, which know where the party is.

Sockets, clocks and logs are elsewhere: `now` comes in as an argument, the relay opens and
closes what is added and removed here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from siproxd_tw.edits import Edit
from siproxd_tw.interfaces import Address, Exchange, Side
from siproxd_tw.media.latch import Latch
from siproxd_tw.sdp import MediaDescription, SessionDescription

__all__ = ["Leg", "MediaSession", "Offer", "Party", "Stream", "family_of"]

LONGEST_OFFER = 300.0
"""Seconds an offer waits for its answer: timer C (RFC 3261 section 16.6) and time to spare."""
LONGEST_RINGING = LONGEST_OFFER
"""Seconds without any packet since a call began: a description in a 183 is an answer to the relay, and
there may be silence until somebody picks up."""
LONGEST_HOLD = 86400.0
"""Seconds a call may be on hold: a call whose BYE was lost must not keep its ports for ever."""


def family_of(host: str) -> int:
    """Return the address family of `host`, 4 or 6; 0 for none at all."""
    if not host:
        return 0
    return 6 if ":" in host else 4


@dataclass(eq=False, slots=True)
class Leg:
    """One party's end of a stream: the pair of ports on which the relay meets it."""

    side: Side
    host: str
    """The address that the pair is bound to."""
    port: int
    """The port for RTP; RTCP has the next one."""
    rtp: Latch = field(default_factory=Latch)
    rtcp: Latch = field(default_factory=Latch)

    def agree(self, media: MediaDescription | None, now: float) -> None:
        """Take what the party says about this stream; None or port 0: it does not take part."""
        if media is None or not media.is_relayable or _means_hold(media):
            self.rtp.hold()
            self.rtcp.hold()
        else:
            self.rtp.agree(self._reachable(media.target), now)
            self.rtcp.agree(self._reachable(media.rtcp_target), now)

    def _reachable(self, target: tuple[str, int] | None) -> Address | None:
        """Drop a target of the address family that this leg does not have."""
        if target is None or (":" in target[0]) != (":" in self.host):
            return None
        return Address(*target)


def _means_hold(media: MediaDescription) -> bool:
    return media.connection is not None and media.connection.is_hold


@dataclass(eq=False, slots=True)
class Stream:
    """What is relayed for one m= line."""

    index: int
    legs: tuple[Leg, Leg]
    """In the order of the session's parties."""
    is_rtp: bool
    """Whether what was last said makes it RTP; a call may become a fax in the same place
    (RFC 3264 section 8.3.3)."""

    def agree(self, party: int, media: MediaDescription | None, now: float) -> None:
        """Take what one party says about this stream."""
        self.legs[party].agree(media, now)
        if media is not None and media.is_relayable:
            self.is_rtp = media.is_rtp

    def latches(self) -> Iterator[Latch]:
        """Go through the four places where packets come in."""
        for leg in self.legs:
            yield leg.rtp
            yield leg.rtcp


@dataclass(eq=False, slots=True)
class Party:
    """One of the two ends of a session."""

    side: Side
    tags: set[bytes]
    """More than one after forking (RFC 3261 section 16.7); none before the first answer."""
    current: bytes = b""
    """The tag whose description counts."""
    media: Sequence[MediaDescription] = ()
    """What it last said."""
    family: int = 0
    """The address family of its legs, 4 or 6; 0 while there are none."""
    met: int = 0
    """The address family in which signalling met it last; 0 while nobody has said."""
    is_astray: bool = False
    """Whether it has answered in the other family than it was offered, and that was noted."""

    def family_at(self, at: str) -> int:
        """Return the family for its legs when signalling meets it at `at` and nothing better is known.

        What it had stays, as a dual-stack party may use one family for signalling and the other one
        for media, unless signalling meets it in another family than before.
        """
        met = family_of(at)
        is_news = met != self.met if self.met else not self.family
        return met if met and is_news else self.family

    def is_named(self, tag: bytes, side: Side) -> bool:
        """Return whether `tag` on `side` is this party, or may become it."""
        return side is self.side and (tag in self.tags or not self.tags)


@dataclass(eq=False, slots=True)
class Offer:
    """An offer, until it is withdrawn or its answer has been superseded."""

    exchange: Exchange
    party: int
    """Which party made it."""
    description: SessionDescription
    at: float
    edits: list[Edit] = field(default_factory=list)
    """What it was answered with by the relay, for when it comes again."""
    answers: dict[bytes, bytes] = field(default_factory=dict)
    """The last answer by its tag."""
    streams: dict[int, Stream] = field(default_factory=dict)
    """What it adds or replaces, until it is accepted."""
    families: tuple[int, int] = (0, 0)
    """The address families of the parties' legs with this offer, see `MediaSession.families`."""

    @property
    def is_accepted(self) -> bool:
        """Whether it has had an answer."""
        return bool(self.answers)

    @property
    def wanted(self) -> set[int]:
        """The places of the streams that it wants relayed."""
        return {media.index for media in self.description.media if media.is_relayable}

    def drop_unwanted(self) -> None:
        """Keep of `streams` what the description wants."""
        self.streams = {index: self.streams[index] for index in self.wanted & set(self.streams)}


class MediaSession:
    """The media between two parties, from the first offer on."""

    def __init__(self, first: Exchange, now: float) -> None:
        self.first = first
        """The exchange that began it."""
        self.parties = (
            Party(first.sender_side, {first.sender}, first.sender),
            Party(first.receiver_side, {first.receiver} - {b""}, first.receiver),
        )
        self.streams: dict[int, Stream] = {}
        """What is agreed, by media index."""
        self.offers: dict[bytes, Offer] = {}
        self.is_answered = False
        """Whether the two have ever agreed on anything."""
        self.active_at = now
        """When a packet was last noticed, or an exchange came to its end."""
        self._latest: Offer | None = None
        self._before: tuple[Sequence[MediaDescription], Sequence[MediaDescription]] | None = None

    def party_of(self, exchange: Exchange) -> int | None:
        """Return which party the sender of `exchange` is, if these are its two parties."""
        for number, (sender, receiver) in enumerate((self.parties, self.parties[::-1])):
            if sender.is_named(exchange.sender, exchange.sender_side) and receiver.is_named(
                exchange.receiver, exchange.receiver_side
            ):
                return number
        return None

    def offer_of(self, exchange: Exchange) -> Offer | None:
        """Return the offer that the sender of `exchange` made in the same transaction."""
        offer = self.offers.get(exchange.transaction)
        if offer is None:
            return None
        same = offer.exchange.sender == exchange.sender and offer.exchange.sender_side is exchange.sender_side
        return offer if same else None

    def all_streams(self) -> list[Stream]:
        """Return what is agreed and what is offered."""
        offered = [stream for offer in self.offers.values() for stream in offer.streams.values()]
        return list(dict.fromkeys([*self.streams.values(), *offered]))

    def ports(self, party: int, offer: Offer | None = None) -> dict[int, int]:
        """Return the RTP ports on which `party` meets the relay, with those that `offer` adds."""
        streams = {**self.streams, **(offer.streams if offer else {})}
        return {index: stream.legs[party].port for index, stream in streams.items()}

    def families(self, offer: Offer) -> tuple[int, int]:
        """Return the address family, 4 or 6, in which `offer` needs each party's legs; 0: whichever there is.

        Its sender's is what its description shows, else it is where signalling meets them.
        """
        sender, receiver = self.parties[offer.party], self.parties[1 - offer.party]
        from_it = offer.description.family or sender.family_at(offer.exchange.sender_at)
        for_other = receiver.family_at(offer.exchange.receiver_at)
        return (from_it, for_other) if offer.party == 0 else (for_other, from_it)

    def offered(self, offer: Offer) -> None:
        """Take an offer; the media that runs does not change until it is answered.

        So RFC 3264 sections 8 and 8.1 want it. Streams that only this offer has can be sent to its party at
        once: early media.
        """
        self.offers[offer.exchange.transaction] = offer
        for index, stream in offer.streams.items():
            stream.agree(offer.party, _at(offer.description.media, index), offer.at)

    def answered(self, offer: Offer, tag: bytes, answer: SessionDescription, now: float) -> list[Stream]:
        """Take an answer and return the streams that are not needed any more (RFC 3264 sections 7 and 8.2).

        The first answer commits the offer; later ones, of other forks or with other
        content, change the answering party's side. An old answer that comes
        again after a newer exchange changes nothing.
        """
        party = self.parties[1 - offer.party]
        party.tags.add(tag)
        again = offer.answers.get(tag) == answer.body
        if again and (offer is not self._latest or party.current == tag):
            return []
        unneeded = self._commit(offer, now) if not offer.is_accepted else []
        offer.answers[tag] = answer.body
        party.current = tag
        self._apply(1 - offer.party, answer.media, now)
        self.active_at = now
        return unneeded

    def _commit(self, offer: Offer, now: float) -> list[Stream]:
        wanted = offer.wanted
        kept = wanted - set(offer.streams)
        unneeded = [stream for index, stream in self.streams.items() if index not in kept]
        streams = {**self.streams, **offer.streams}
        self.streams = {index: stream for index, stream in streams.items() if index in wanted}
        self._before = (self.parties[0].media, self.parties[1].media)
        self._latest = offer
        self.is_answered = True
        self._settle(offer)
        offer.streams = {}
        first = self.first.transaction
        self.offers = {t: o for t, o in self.offers.items() if not o.is_accepted or o is offer or t == first}
        self._apply(offer.party, offer.description.media, now)
        return unneeded

    def _settle(self, offer: Offer) -> None:
        """Note the families in which the two are relayed and met from now on."""
        sender, receiver = self.parties[offer.party], self.parties[1 - offer.party]
        sender.met = family_of(offer.exchange.sender_at) or sender.met
        receiver.met = family_of(offer.exchange.receiver_at) or receiver.met
        for party, family in zip(self.parties, offer.families, strict=True):
            party.family = family or party.family

    def _apply(self, party: int, media: Sequence[MediaDescription], now: float) -> None:
        self.parties[party].media = media
        for index, stream in self.streams.items():
            stream.agree(party, _at(media, index), now)

    def withdrawn(self, offer: Offer, now: float) -> list[Stream]:
        """Take an offer back and return the streams that are not needed any more.

        When a provisional answer had committed it already, the addresses of before count again.
        """
        del self.offers[offer.exchange.transaction]
        if offer is self._latest and self._before is not None:
            for party, media in enumerate(self._before):
                self._apply(party, media, now)
            self._latest, self._before = None, None
            self.active_at = now
        return list(offer.streams.values())

    def forget_fork(self, exchange: Exchange) -> bool:
        """Drop the tag of a fork that is over and that is not the one that counts; return whether it was."""
        for party, tag in zip(self.parties, _tags(exchange, self.party_of(exchange)), strict=True):
            if len(party.tags) > 1 and tag != party.current:
                party.tags.discard(tag)
                return True
        return False

    def ended(self) -> list[Stream]:
        """Return the streams, none of which is needed any more; nothing happens here after this."""
        streams = self.all_streams()
        self.offers = {}
        self.streams = {}
        return streams

    def stale_offer(self, now: float) -> Offer | None:
        """Return an offer that nobody will answer any more."""
        stale = (o for o in self.offers.values() if not o.is_accepted and now - o.at >= LONGEST_OFFER)
        return next(stale, None)

    @property
    def is_on_hold(self) -> bool:
        """Whether silence is what they agreed on, for all of the streams that there are."""
        running = [pair for pair in self._agreed() if all(media.is_relayable for media in pair)]
        return all(any(media.is_held for media in pair) for pair in running)

    def _agreed(self) -> Iterator[tuple[MediaDescription, MediaDescription]]:
        for index in self.streams:
            one, other = (_at(party.media, index) for party in self.parties)
            if one is not None and other is not None:
                yield one, other

    def idle(self, now: float) -> float:
        """Return for how many seconds no stream has had a packet, nor an exchange come to its end."""
        heard = (latch.heard(now) for stream in self.streams.values() for latch in stream.latches())
        self.active_at = max([self.active_at, *heard])
        return now - self.active_at

    def is_over(self, now: float, timeout: float) -> bool:
        """Return whether nothing has come for too long; `timeout` seconds count except on hold.

        Without any answer it is not over: its first offer becomes stale.
        """
        if not self.is_answered or not self.offers or timeout <= 0:
            return False
        if self.is_on_hold:
            timeout = LONGEST_HOLD
        elif not self._was_heard():
            timeout = max(timeout, LONGEST_RINGING)
        return self.idle(now) >= timeout

    def _was_heard(self) -> bool:
        return any(latch.packets for stream in self.streams.values() for latch in stream.latches())


def _at(media: Sequence[MediaDescription], index: int) -> MediaDescription | None:
    return media[index] if index < len(media) else None


def _tags(exchange: Exchange, sender: int | None) -> tuple[bytes, bytes]:
    tags = exchange.sender, exchange.receiver
    return tags if sender == 0 else (tags[1], tags[0])
