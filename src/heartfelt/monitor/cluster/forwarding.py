# SPDX-License-Identifier: MIT
"""Carries beats to the monitors that own their instances, and from the others that heard ours.

Beats of others' instances are sent at least twice in `settle`. An answer, and the notice that an
instance was moved, wait for a connection if there is none.

A monitor that cannot renew a lease is, by its own clock, not the owner any more: others take its instances over, and
its agents do not know. So it passes what it hears on to another monitor (passing.py), which finds out whose that is, as
soon as Redis can be reached.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Protocol

import msgspec

from heartfelt.monitor.cluster.channel.feed import Undelivered
from heartfelt.monitor.cluster.channel.frames import BeatBatch, Input
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.passing import PASSED_ON, Passing
from heartfelt.monitor.fleet.owners import Forward, Raw, Reply
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest.foreign import Foreign
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.store.redis.keys import ENTRY_BYTES, Entry

REPLY = "taken"
"""The notice that answers forwarded beats."""
MOVED = "moved"
"""The notice that instances were moved away from the one that gets it, to the sender."""
LEFT = "left"
"""The notice that the sender has given up its leases."""
BACK = "back"
"""The notice that instances of a monitor that has stopped beat again."""
MOST_UNSAID = 100_000
"""Ids and entries in notices that wait for a connection to one monitor."""
IDS_IN_NOTICE = 20_000
FIGURES: Figures = {
    "forwarded": counter("heartfelt_ownership_forwarded", "Beats that were forwarded to the instances' owners"),
    "taken_back": counter(
        "heartfelt_ownership_taken_back", "Goodbyes and results that were sent to an owner that cannot be reached"
    ),
    "received": counter("heartfelt_ownership_received", "Beats that other monitors have forwarded to this one"),
    "passed_on": counter(
        "heartfelt_ownership_passed_on", "Beats that were passed on since this monitor could not reach Redis in time"
    ),
    "passed_to": counter(
        "heartfelt_ownership_passed_to", "Beats that monitors without a lease have passed on to this one"
    ),
    "told_moved": counter(
        "heartfelt_ownership_told_moved", "Instances of which another monitor said that it has taken them over"
    ),
    "unsaid_dropped": counter(
        "heartfelt_ownership_unsaid_dropped", "Parts of notices that were dropped, since a monitor was away too long"
    ),
}


class _Taken(msgspec.Struct, array_like=True):
    """A Reply, as a notice."""

    take: list[int]
    gone: list[int]


class _Unsaid:
    """Notices that wait for a connection to one monitor."""

    def __init__(self) -> None:
        self.take: dict[int, None] = {}
        self.gone: dict[int, None] = {}
        self.moved: dict[bytes, None] = {}

    def __len__(self) -> int:
        return len(self.take) + len(self.gone) + len(self.moved)


class Owning(Protocol):
    """The part of Ownership that beats need."""

    def is_unwritten(self, id: int) -> bool:
        """Returns whether a change of an instance waits to be written."""

    def still_has(self, entry: Entry) -> bool:
        """Returns whether an entry that was moved away is what this monitor has of its instance."""

    def take(self, ids: Iterable[int], peer: str) -> None:
        """Moves instances here, of which their owner has said so."""

    def went(self, ids: list[int], peer: str) -> None:
        """Notes that instances are another monitor's."""

    def left(self, peer: str) -> None:
        """Notes that a monitor has given up its leases."""


class Forwarding:
    """Belongs to the loop's thread."""

    def __init__(self, owning: Owning, passing: Passing) -> None:
        self._owning, self._passing = owning, passing
        self._unsaid: dict[str, _Unsaid] = {}
        self.counts = dict.fromkeys(FIGURES, 0)
        self.is_away: Callable[[str], bool] = lambda owner: False
        """Returns whether an owner lives, and cannot be reached from here."""
        self.on_forward: Callable[[Forward], None] | None = None
        """Called with what is forwarded."""
        self.on_unsaid: Callable[[], None] = lambda: None
        """Called when something could not be said at once: `send` says it, and must be called soon."""

    def attach(self, registry: Registry, foreign: Foreign, channel: Channel) -> None:
        self._foreign, self._channel = foreign, channel
        self._passing.attach(registry, foreign, channel.peers, partial(self._count, "passed_on"))
        channel.on_beats(self._beats)
        channel.on_inputs(self._inputs)
        channel.on_notice(REPLY, self._replied, _Taken)
        channel.on_notice(MOVED, self._moved_away, list[bytes])
        channel.on_notice(LEFT, lambda peer, nothing: self._owning.left(peer))
        asking = registry.owned.asking  # type: ignore[union-attr]
        asking.on_back = self._tell_back
        channel.on_notice(BACK, lambda peer, nothing: asking.came_back_elsewhere())
        channel.peers.on_undelivered = self._undelivered

    @property
    def has_unsaid(self) -> bool:
        return bool(self._unsaid)

    def _count(self, what: str) -> None:
        self.counts[what] += 1

    # -- beats for others

    def send(self) -> None:
        """Sends what was heard of others' instances, and what could not be said."""
        peers, now_ms = self._channel.peers, monotonic_ms()
        for one in self._foreign.take_forwards():
            if one.owner not in peers:
                self._foreign.unsent(one)
                continue
            if one.raws and self.is_away(one.owner):  # what is more than a plain beat must not wait for its owner
                self._foreign.again([raw for raw in one.raws if not raw.repeats])
                one.raws = [raw for raw in one.raws if raw.repeats]
            heard_ms = {id: now_ms - age for id, age in zip(one.ids, one.ages_ms, strict=True)}
            refused = peers.forward(one.owner, heard_ms) if heard_ms else []
            raws = [raw for raw in one.raws if not peers.forward_input(one.owner, _input(raw, now_ms))]
            self.counts["forwarded"] += len(one.ids) + len(one.raws) - len(refused) - len(raws)
            if self.on_forward is not None:
                self.on_forward(one)
            if refused or raws:
                self._foreign.unsent(Forward(owner=one.owner, ids=refused, ages_ms=[], raws=raws))
        if self._unsaid:
            self._say()

    def take_back(self, owner: str) -> None:
        """Takes back what is more than a plain beat, and was sent to an owner just before it was found to be away: it
        would wait for the network, and an instance that said goodbye would be told as lost meanwhile."""
        taken = self._channel.peers.take_inputs(owner, _says_more)
        if taken:
            now_ms = monotonic_ms()
            self.counts["taken_back"] += len(taken)
            self._foreign.again([_raw(one, now_ms) for one in taken])

    def _undelivered(self, peer: str, left: Undelivered) -> None:
        now_ms = monotonic_ms()
        raws = [_raw(one, now_ms) for one in left.inputs]
        self._foreign.unsent(Forward(owner=peer, ids=list(left.beats), ages_ms=[], raws=raws))

    # -- beats from others

    def _beats(self, peer: str, batch: BeatBatch) -> None:
        late_ms = max(monotonic_ms() - batch.at_ms, 0)
        self.counts["received"] += len(batch.ids)
        ages_ms = [age + late_ms for age in batch.ages]
        forward = Forward(owner=self._channel.own, ids=list(batch.ids), ages_ms=ages_ms, raws=[])
        self._reply(peer, self._foreign.forwarded(forward, peer))

    def _inputs(self, peer: str, inputs: list[Input]) -> None:
        now_ms = monotonic_ms()
        self.counts["received"] += len(inputs)
        raws = []
        for one in inputs:
            raws.append(raw := _raw(one, now_ms))
            if one.kind == PASSED_ON:
                self.counts["passed_to"] += 1
                self._foreign.doubt((raw.service, raw.instance_id), peer)
        forward = Forward(owner=self._channel.own, ids=[], ages_ms=[], raws=raws)
        self._reply(peer, self._foreign.forwarded(forward, peer))

    # -- notices

    def _reply(self, peer: str, reply: Reply) -> None:
        take = [id for id in reply.take if not self._owning.is_unwritten(id)]
        if take or reply.gone:
            unsaid = self._unsaid.setdefault(peer, _Unsaid())
            unsaid.take.update(dict.fromkeys(take))
            unsaid.gone.update(dict.fromkeys(reply.gone))
            self._say_at_once()

    def tell_moved(self, former: str, entries: Iterable[bytes]) -> None:
        """Tells the former owner of instances that they are this monitor's now."""
        self._unsaid.setdefault(former, _Unsaid()).moved.update(dict.fromkeys(entries))
        self._say_at_once()

    def _say_at_once(self) -> None:
        self._say()
        if self._unsaid:
            self.on_unsaid()

    def _say(self) -> None:
        peers = self._channel.peers
        for peer in list(self._unsaid):
            unsaid = self._unsaid[peer]
            if peer in peers and self._say_to(peer, unsaid):
                del self._unsaid[peer]
            elif peer not in peers or len(unsaid) > MOST_UNSAID:  # it finds out by Redis, or its beats come again
                self.counts["unsaid_dropped"] += len(unsaid)
                del self._unsaid[peer]

    def _say_to(self, peer: str, unsaid: _Unsaid) -> bool:
        """Says what waits for one monitor. Returns False if something is left."""
        notify = self._channel.peers.notify
        if not self._channel.peers.is_connected(peer):
            return False
        while unsaid.moved:
            some = list(unsaid.moved)[:IDS_IN_NOTICE]
            if not notify(peer, MOVED, some):
                return False
            for entry in some:
                del unsaid.moved[entry]
        while unsaid.take or unsaid.gone:
            # What was said may be done much later: nothing may have changed meanwhile.
            take = list(unsaid.take)[:IDS_IN_NOTICE]
            gone = list(unsaid.gone)[:IDS_IN_NOTICE]
            agreed = [id for id in take if not self._owning.is_unwritten(id)]
            if (agreed or gone) and not notify(peer, REPLY, _Taken(agreed, gone)):
                return False
            for id in take:
                del unsaid.take[id]
            for id in gone:
                del unsaid.gone[id]
        return True

    def tell_left(self) -> None:
        """Tells all others that this monitor has given up its leases. Those that are not told find out by Redis."""
        for peer in self._channel.peers.connected:
            self._channel.peers.notify(peer, LEFT)

    def _tell_back(self) -> None:
        for peer in self._channel.peers.connected:
            self._channel.peers.notify(peer, BACK)

    def _replied(self, peer: str, reply: _Taken) -> None:
        self._foreign.gone(peer, reply.gone)
        self._owning.take(reply.take, peer)

    def _moved_away(self, peer: str, entries: list[bytes]) -> None:
        found = [Entry.unpack(entry) for entry in entries if len(entry) == ENTRY_BYTES]
        ids = [entry.id for entry in found if self._owning.still_has(entry)]
        self.counts["told_moved"] += len(ids)
        self._owning.went(ids, peer)

    # -- figures

    def stats(self) -> dict[str, int]:
        return dict(self.counts)

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.counts)


def monotonic_ms() -> int:
    return time.monotonic_ns() // 1_000_000


_encode = msgspec.msgpack.Encoder().encode
_decode_raw = msgspec.msgpack.Decoder(Raw).decode


def _input(raw: Raw, now_ms: int) -> Input:
    return Input(raw.kind.value, _encode(raw), raw.via, raw.peer, now_ms - raw.age_ms)


def _says_more(one: Input) -> bool:
    return one.kind != PASSED_ON and not _decode_raw(one.data).repeats


def _raw(one: Input, now_ms: int) -> Raw:
    raw = _decode_raw(one.data)
    raw.age_ms = max(now_ms - one.heard_ms, 0)
    return raw
