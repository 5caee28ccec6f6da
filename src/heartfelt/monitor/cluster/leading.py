# SPDX-License-Identifier: MIT
"""The webhooks of a fleet: the monitor that leads runs them, from the changes of all monitors.

A leader begins where the last one has stored that everything is in the outbox, and the outbox refuses what an earlier
leader still puts (its fence is lower). So each loss is put once, whoever led when; README.md says why.

Events come to the leader from the monitors that took them, by notices. Those that come while nobody leads, or that do
not fit, are kept for a moment, at most MOST_EVENTS; what is dropped is counted.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.following import Follower, accepted_until_ms
from heartfelt.monitor.cluster.in_order import InOrder, at_its_moment, first_seq, moment_ms
from heartfelt.monitor.cluster.membership import Membership
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.model import AgentEvent, Change
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Link
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import Hung, TimedEvent, end_tasks, run_in_thread
from heartfelt.monitor.webhooks import Webhooks
from heartfelt.monitor.webhooks.history import Position, Positions

FOLLOW_S = 0.1
READ_S = 10.0
RETRY_S = 1.0
END_S = 1.0
MOST_EVENTS = 1000
EVENT = "event"
FIGURES: Figures = {
    "leads": gauge("heartfelt_cluster_leads", "Whether this monitor leads: it runs the fleet's webhooks"),
    "terms": counter("heartfelt_cluster_terms", "Times that this monitor began to lead"),
    "followed": counter("heartfelt_cluster_followed", "Changes of all monitors that were read for webhooks"),
    "follow_errors": counter("heartfelt_cluster_follow_errors", "Times that the changes could not be read"),
    "events_dropped": counter(
        "heartfelt_cluster_events_dropped", "Events that reached no webhook, since no monitor led for too long"
    ),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class _Kept(Position, kw_only=True, frozen=True):
    cursors: dict[str, int] = msgspec.field(default_factory=dict)
    """`InOrder.cursors`."""


class FencedPositions:
    """The position of the webhooks in Redis, with the fence of this leader, and where each shard was released to.

    accepted_until_ms: blocks, and returns until when all changes of all shards have been accepted.
    """

    def __init__(self, store: RedisStore, fence: int, accepted_until_ms: Callable[[], int]) -> None:
        self._store = store
        self._fence = fence
        self._accepted_until_ms = accepted_until_ms
        self.order: InOrder | None = None
        self.seq = -1
        """Of the position where this leader begins."""
        self.end_seq = 0
        """Changes from this one on are not replayed, as they are not all there yet."""
        self.cursors: dict[int, int] = {}

    @property
    def until_ms(self) -> int:
        return moment_ms(self.end_seq) - 1

    async def load(self) -> Position | None:
        found = await self._store.lead(self._fence)
        until_ms = await run_in_thread("follow", self._accepted_until_ms, seconds=READ_S)
        self.end_seq = first_seq(until_ms + 1)
        try:
            kept = None if found is None else msgspec.convert(found, _Kept)
        except msgspec.ValidationError as error:
            _logger.error("the position of the webhooks in Redis cannot be read and is ignored: %s", error)
            return None
        if kept is None:
            return None
        self.seq = kept.seq
        self.end_seq = max(self.end_seq, kept.seq + 1)  # of a primary whose clock is behind, the rest is late
        self.cursors = {int(shard): seq for shard, seq in kept.cursors.items()}
        return Position(seq=kept.seq, flushed=kept.flushed)

    async def save(self, position: Position) -> None:
        if self.order is None:  # the first one, when there was none
            self.seq = position.seq
        elif self.order.read_ms < self.until_ms and not position.flushed:
            return  # what was replayed would be beyond the cursors: late for the next leader, which would tell it again
        cursors = self.cursors if self.order is None else self.order.cursors
        kept = _Kept(seq=position.seq, flushed=position.flushed, cursors={str(n): seq for n, seq in cursors.items()})
        await self._store.put_position(msgspec.to_builtins(kept))


class _ReplayedStore:
    """The store, as webhooks see it that begin. failed: what is to be replayed could not be read."""

    def __init__(self, store: RedisStore, positions: FencedPositions) -> None:
        self._store = store
        self._positions = positions
        self.failed: StoreError | None = None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def changes(self, *, before: int | None, **which: Any) -> list[Change]:
        end_seq = self._positions.end_seq
        try:
            found = await self._store.changes(before=end_seq if before is None else min(before, end_seq), **which)
        except StoreError as error:
            self.failed = error
            raise
        return [at_its_moment(change) for change in found]


class Leading:
    """Belongs to the loop's thread. make: makes the webhooks, from a store, positions and a clock of what was heard.
    use: called with the webhooks that answer the API from now on."""

    def __init__(
        self,
        store: RedisStore,
        link: Link,
        keys: Keys,
        membership: Membership,
        channel: Channel,
        make: Callable[[Any, Positions | None, Callable[[], int] | None], Webhooks],
        use: Callable[[Webhooks], None],
    ) -> None:
        self._store, self._link, self._keys = store, link, keys
        self._membership, self._channel = membership, channel
        self._make, self._use = make, use
        self.webhooks = make(store, None, None)
        """Of this term; those of a monitor that does not lead are not started."""
        self._fence: int | None = None
        self._wanted: int | None = None
        self._heard_ms = 0
        self._wake = TimedEvent()
        self._running = False
        self._term: asyncio.Task[None] | None = None
        self._events: deque[AgentEvent] = deque()
        self.counts = dict.fromkeys(FIGURES, 0)
        membership.on_lead = self._led
        channel.on_notice(EVENT, self._event, AgentEvent)

    @property
    def leads(self) -> bool:
        """Whether this monitor runs the webhooks at this moment."""
        return self._fence is not None and self._membership.leads()

    # -- what happens in this monitor

    def offer(self, change: Change) -> None:
        """Changes come to the leader from Redis."""

    def offer_event(self, event: AgentEvent) -> None:
        """Passes an event to the monitor that leads."""
        if self.leads:
            self.webhooks.offer_event(event)
            return
        self._events.append(event)
        self._send_events()
        while len(self._events) > MOST_EVENTS:
            self._events.popleft()
            self.counts["events_dropped"] += 1

    def _send_events(self) -> None:
        leader = self._membership.leader
        if leader is None or leader == self._channel.own or leader not in self._channel.peers:
            return
        while self._events and self._channel.peers.notify(leader, EVENT, self._events[0]):
            self._events.popleft()

    def _event(self, peer: str, event: AgentEvent) -> None:
        self.offer_event(event)

    # -- terms

    def _led(self, fence: int | None) -> None:
        self._wanted = fence
        if fence is None:
            self.webhooks.supersede()
        self._wake.set()

    def start(self) -> None:
        self._running = True
        self._term = asyncio.create_task(self._serve(), name="webhooks of the fleet")

    @property
    def stop_s(self) -> float:
        return self.webhooks.stop_s + END_S

    async def stop(self) -> None:
        self._running = False
        self._wake.set()
        task, self._term = self._term, None
        if task is not None:
            await end_tasks([task], seconds=END_S)
        await self.webhooks.stop()

    async def _serve(self) -> None:
        while self._running:
            await self._wake.wait(RETRY_S)
            self._wake.clear()
            self._send_events()
            if self._fence is not None and (self._wanted != self._fence or self.webhooks.superseded):
                await self._end_term()  # superseded, though it leads: Redis has lost writes; it begins again
            if self._wanted is not None and self._fence is None and self._running:
                try:
                    await self._lead(self._wanted)
                except (StoreError, Hung) as error:
                    _logger.warning("this monitor leads, but its webhooks cannot begin yet: %s", error)
                    await self._end_term()

    async def _lead(self, fence: int) -> None:
        positions = FencedPositions(self._store, fence, functools.partial(accepted_until_ms, self._link, self._keys))
        replayed = _ReplayedStore(self._store, positions)
        self._heard_ms = 0
        webhooks = self._make(replayed, positions, lambda: self._heard_ms)
        await self.webhooks.stop()
        self.webhooks = webhooks
        self._fence = fence
        self.counts["terms"] += 1
        await webhooks.start()
        if replayed.failed is not None:  # nothing of these webhooks has run yet
            raise replayed.failed
        self._use(webhooks)
        _logger.info("this monitor leads the fleet now: it runs the webhooks")
        seen = {
            shard: max(0, min(positions.cursors.get(shard, positions.seq), positions.end_seq - 1))
            for shard in range(self._keys.shards)
        }
        follower = Follower(self._link, self._keys, seen)
        positions.order = order = InOrder(self._keys.shards, seen, positions.until_ms)
        self._heard_ms = order.heard_ms
        while self._events:
            webhooks.offer_event(self._events.popleft())
        while self._running and self._wanted == fence and not webhooks.superseded:
            if not await self._follow(follower, order, webhooks, range(positions.seq + 1, positions.end_seq)):
                await self._wake.wait(FOLLOW_S)

    async def _follow(self, follower: Follower, order: InOrder, webhooks: Webhooks, replayed: range) -> bool:
        """Reads once. Returns whether there is more. replayed: seqs of changes that the webhooks have had."""
        try:
            found = await run_in_thread("follow", follower.read, seconds=READ_S)
        except (StoreError, Hung) as error:
            self.counts["follow_errors"] += 1
            _logger.debug("the changes of the fleet cannot be read: %s", error)
            await self._wake.wait(RETRY_S)
            return False
        follower.took(found)
        for one in found:
            order.read(one.shard, one.changes, one.until_ms, more=one.more, last_seq=one.last_seq)
            self.counts["followed"] += len(one.changes)
        for change in order.release():
            if change.seq not in replayed:
                webhooks.offer(change)
        self._heard_ms = order.heard_ms
        return any(one.more for one in found)

    async def _end_term(self) -> None:
        webhooks = self.webhooks
        webhooks.supersede()
        self._fence = None
        self.webhooks = self._make(self._store, None, None)
        self._use(self.webhooks)
        await webhooks.stop()

    def stats(self) -> dict[str, int]:
        return self.counts | {"leads": int(self.leads)}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
