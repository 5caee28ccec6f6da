# SPDX-License-Identifier: MIT
"""The webhooks of a fleet: the monitor that leads runs them, from the changes of all monitors.

A leader begins where the last one has stored that everything is in the outbox, and the outbox refuses what an earlier
leader still puts (its fence is lower). So each loss is put once, whoever led when; README.md says why.

Events come to the leader from the monitors that took them (reporting.py). Webhooks are changed through the leader; one
that was changed through the last leader, just when this one began, is seen LOOK_S later, and a new term begins then.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import time
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from heartfelt.errors import HeartfeltError, StoreError
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.following import Follower, accepted_until_ms
from heartfelt.monitor.cluster.in_order import InOrder, at_its_moment, first_seq, moment_ms
from heartfelt.monitor.cluster.membership import Membership
from heartfelt.monitor.cluster.reporting import EventReports
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.model import AgentEvent, Change
from heartfelt.monitor.store import Keys as DeliveryKeys
from heartfelt.monitor.store import Who
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import Link
from heartfelt.monitor.store.redis.store import RedisStore
from heartfelt.monitor.tasks import Hung, TimedEvent, end_tasks, run_in_thread
from heartfelt.monitor.webhooks import KIND, Webhooks
from heartfelt.monitor.webhooks.history import Position, Positions

FOLLOW_S = 0.1
FOLLOW_FOR_NONE_S = 2.0
"""How often the changes of all monitors are read while there are no webhooks."""
READ_S = 10.0
RETRY_S = 1.0
END_S = 1.0
WRITTEN_S = 2.5
"""Time after which the former leader has seen that Redis was emptied, and has written again what was told."""
LATELY_S = 15.0
LOOK_S = 2.0
"""How often the leader looks whether the webhooks in Redis are those that it runs."""
FIGURES: Figures = {
    "leads": gauge("heartfelt_cluster_leads", "Whether this monitor leads: it runs the fleet's webhooks"),
    "terms": counter("heartfelt_cluster_terms", "Times that this monitor began to lead"),
    "followed": counter("heartfelt_cluster_followed", "Changes of all monitors that were read for webhooks"),
    "follow_errors": counter("heartfelt_cluster_follow_errors", "Times that the changes could not be read"),
    "freed": counter(
        "heartfelt_cluster_claims_freed", "Messages that a monitor was sending when it died, and that were sent again"
    ),
    "reread": counter(
        "heartfelt_cluster_webhooks_reread", "Times that a term began again, since webhooks had been changed elsewhere"
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
        """The place where this leader begins."""
        self.end_seq = 0
        """Changes from this one on are not replayed, as they are not all there yet."""
        self.cursors: dict[int, int] = {}

    @property
    def until_ms(self) -> int:
        return moment_ms(self.end_seq) - 1

    @property
    def has_followed(self) -> bool:
        """Whether the follower has read all that was replayed."""
        return self.order is not None and self.order.read_ms >= self.until_ms

    async def load(self) -> Position | None:
        found = await self._store.lead(self._fence)
        until_ms = await run_in_thread("follow", self._accepted_until_ms, seconds=READ_S)
        self.end_seq = first_seq(until_ms + 1)
        if found is None and (since_ms := self._store.fleet_copy.lost_after_ms) is not None:
            self.seq = first_seq(since_ms) - 1  # Redis was emptied: what it has was not told yet
            self.end_seq = max(self.end_seq, self.seq + 1)
            return Position(seq=self.seq, flushed=True)
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
        return Position(seq=kept.seq, flushed=kept.flushed, settled=kept.settled)

    async def save(self, position: Position) -> None:
        if self.order is None:  # the first one, when there was none
            self.seq = position.seq
        elif not self.has_followed:
            return  # what was replayed would be beyond the cursors: late for the next leader, which would tell it again
        cursors = {str(n): seq for n, seq in (self.order or self).cursors.items()}
        kept = _Kept(seq=position.seq, flushed=position.flushed, settled=position.settled, cursors=cursors)
        await self._store.put_position(msgspec.to_builtins(kept))


class NotReplayed(HeartfeltError):
    """Changes to be replayed cannot be read, so none of them may be told: a part of them makes other messages."""


class _ReplayedStore:
    """The store, as webhooks see it that begin. They go on without changes that raise StoreError, so none does."""

    def __init__(self, store: RedisStore, positions: FencedPositions) -> None:
        self._store = store
        self._positions = positions

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)

    async def changes(self, *, before: int | None, **which: Any) -> list[Change]:
        end_seq = self._positions.end_seq
        try:
            found = await self._store.changes(before=end_seq if before is None else min(before, end_seq), **which)
        except StoreError as error:
            raise NotReplayed(str(error)) from error
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
        """Those of this term; the ones of a monitor that does not lead are not started."""
        self._former, self._ended_s = self.webhooks, float("-inf")
        self._fence: int | None = None
        self._positions: FencedPositions | None = None
        """Those of this term, once it has replayed."""
        self._wanted: int | None = None
        self._heard_ms = 0
        self._wake = TimedEvent()
        self._running = False
        self._term: asyncio.Task[None] | None = None
        self._is_ready = False
        """The webhooks of this term have started, and answer the API."""
        self._looked_s = 0.0
        self._is_other = False
        self._lived: frozenset[str] | None = None
        """The monitors that lived when the claims of the others were freed last; None: not in this term."""
        self.reports = EventReports(channel, self._leader, self._take_event)
        self.counts = dict.fromkeys(FIGURES, 0)
        membership.on_lead = self._led

    @property
    def leads(self) -> bool:
        """Whether this monitor runs the webhooks at this moment."""
        return self._is_ready and self._fence is not None and self._membership.leads()

    # -- what happens in this monitor

    def offer(self, change: Change) -> None:
        """Changes come to the leader from Redis."""

    def offer_event(self, event: AgentEvent) -> None:
        """Passes an event to the monitor that leads."""
        self.reports.put(event)

    def _leader(self) -> str | None:
        return self._channel.own if self.leads else self._membership.leader

    def _take_event(self, event: AgentEvent) -> bool:
        if not self.leads or self.webhooks.superseded:
            return False
        self.webhooks.offer_event(event)
        return True

    # -- terms

    def _led(self, fence: int | None) -> None:
        self._wanted = fence
        if fence is None:
            self.webhooks.supersede()
        self._wake.set()

    def start(self) -> None:
        self._running = True
        self._term = asyncio.create_task(self._serve(), name="webhooks of the fleet")
        self.reports.start()

    @property
    def stop_s(self) -> float:
        return self.webhooks.stop_s + 3 * END_S

    async def stop(self) -> None:
        await self.reports.stop()
        self._running = False
        self._wake.set()
        task, self._term = self._term, None
        if task is not None:
            await end_tasks([task], seconds=END_S)
        if self._positions is not None and not self._positions.has_followed:
            self.webhooks.supersede()  # its position cannot be stored, so it ends as if it was killed
        await self.webhooks.stop()
        self._store.end_claims()

    async def _serve(self) -> None:
        while self._running:
            await self._wake.wait(RETRY_S)
            self._wake.clear()
            if self._fence is not None and (self._wanted != self._fence or self.webhooks.superseded):
                await self._end_term()  # superseded, though it leads: Redis has lost writes; it begins again
            if self._wanted is not None and self._fence is None and self._running:
                try:
                    await self._lead(self._wanted)
                except (HeartfeltError, Hung) as error:
                    _logger.warning("this monitor leads, but its webhooks cannot begin yet: %s", error)
                    await self._end_term()
                except Exception:  # a fault of this program: the next term may do better, none at all tells nothing
                    _logger.exception("the webhooks of this monitor, which leads, have failed; they begin again")
                    await self._end_term()

    def told_lately(self) -> dict[str, dict[Who, DeliveryKeys]] | None:
        """Returns what was told by the webhooks of this term, or of one that has just ended; None: there is none."""
        if time.monotonic() - self._ended_s < LATELY_S:
            return self._former.told.all()
        return self.webhooks.told.all() if self._fence is not None else None

    async def _wait_for_told(self) -> None:
        """If Redis was emptied, waits until the former leader has written again what was told."""
        await self._store.look_at_fleet()
        while self._running and (left_s := self._store.fleet_copy.emptied_s + WRITTEN_S - time.monotonic()) > 0:
            await asyncio.sleep(left_s)

    async def _lead(self, fence: int) -> None:
        await self._wait_for_told()
        positions = FencedPositions(self._store, fence, functools.partial(accepted_until_ms, self._link, self._keys))
        replayed = _ReplayedStore(self._store, positions)
        self._heard_ms = 0
        webhooks = self._make(replayed, positions, lambda: self._heard_ms)
        await self.webhooks.stop()
        self.webhooks = webhooks
        self._fence, self._is_ready = fence, False
        self.counts["terms"] += 1
        await webhooks.start()
        self._use(webhooks)
        self._is_ready, self._is_other = True, False
        self._looked_s, self._lived = time.monotonic(), None
        _logger.info("this monitor leads the fleet now: it runs the webhooks")
        seen = {
            shard: max(0, min(positions.cursors.get(shard, positions.seq), positions.end_seq - 1))
            for shard in range(self._keys.shards)
        }
        follower = Follower(self._link, self._keys, seen)
        positions.order = order = InOrder(self._keys.shards, seen, positions.until_ms)
        self._positions = positions
        self._heard_ms = order.heard_ms
        await self._free_claims(webhooks)
        while self._running and self._wanted == fence and not webhooks.superseded:
            await self._look(webhooks)
            if not await self._follow(follower, order, webhooks, range(positions.seq + 1, positions.end_seq)):
                await self._wake.wait(FOLLOW_S if webhooks.has_targets() else FOLLOW_FOR_NONE_S)

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

    async def _look(self, webhooks: Webhooks) -> None:
        """Ends the term if webhooks in Redis are others than those that run: a change through the last leader may have
        been stored after this one had begun. One that is just being made here is seen only once."""
        if time.monotonic() - self._looked_s < LOOK_S:
            return
        self._looked_s = time.monotonic()
        await self._free_claims(webhooks)
        try:
            is_other = webhooks.differ(await self._store.documents(KIND))
        except StoreError as error:
            _logger.debug("the webhooks in Redis cannot be read: %s", error)
            return
        if is_other and self._is_other:
            self.counts["reread"] += 1
            _logger.info("webhooks were changed elsewhere: they begin again")
            webhooks.supersede()
        self._is_other = is_other

    async def _free_claims(self, webhooks: Webhooks) -> None:
        """Has sent again what monitors were sending that live no more. One that was killed may be known to be gone only
        after this one has begun to lead."""
        living = frozenset(self._membership.living)
        if self._lived is not None and self._lived <= living:
            self._lived = living
            return
        try:
            freed = await self._store.free_claims(living)
        except StoreError as error:  # it is tried again; if another one leads by now, the position finds out
            _logger.debug("the claims of monitors that are gone cannot be given back yet: %s", error)
            return
        self._lived = living
        if freed:
            self.counts["freed"] += freed
            _logger.info("%d messages that a monitor was sending when it ended are sent again", freed)
            webhooks.look()

    async def _end_term(self) -> None:
        self._former = webhooks = self.webhooks
        self._ended_s = time.monotonic()
        self._is_ready = False
        webhooks.supersede()
        self._fence = self._positions = None
        self.webhooks = self._make(self._store, None, None)
        self._use(self.webhooks)
        try:
            await webhooks.stop()
        except Exception:  # the next term must begin all the same
            _logger.exception("the webhooks of a term that is over could not be stopped")
        self._store.end_claims()

    def stats(self) -> dict[str, int]:
        return self.counts | {"leads": int(self.leads)} | self.reports.stats()

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.counts | {"leads": int(self.leads)})
        yield from self.reports.readings()
