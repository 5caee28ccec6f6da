# SPDX-License-Identifier: MIT
"""`RedisStore`: the store on Redis, for one of the monitors that share it."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level, Run, State
from heartfelt.monitor.store import REMOVED, Backlog, Health, Saved, WatchedTime, Who
from heartfelt.monitor.store import Keys as DeliveryKeys
from heartfelt.monitor.store.kept import Retention
from heartfelt.monitor.store.pending import Bounds, Dropped
from heartfelt.monitor.store.redis import documents, history
from heartfelt.monitor.store.redis.chunks import hold_key, written_key
from heartfelt.monitor.store.redis.forgetting import Forgetting
from heartfelt.monitor.store.redis.gathering import Gathered
from heartfelt.monitor.store.redis.instances import Instances
from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SEQ_EPOCH_MS, Keys
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.link import FLEET, Command, Link
from heartfelt.monitor.store.redis.outcomes import AskedLoss, Listener, Outcome, Recorded, WriteRefusal
from heartfelt.monitor.store.redis.owned import OwnedInstances
from heartfelt.monitor.store.redis.reader import HistoryReader
from heartfelt.monitor.store.redis.scripts import load
from heartfelt.monitor.store.redis.telling import Teller
from heartfelt.monitor.store.redis.values import checked, stream_id_at
from heartfelt.monitor.store.redis.writer import ANSWER_S, CLOSE_S, WATCH_S, RedisWriter
from heartfelt.monitor.store.rows import hold_of

__all__ = ["AskedLoss", "Listener", "Recorded", "RedisStore", "WriteRefusal"]

RESERVE_RUNS = load("reserve_runs")
RUN_NUMBERS = 1 << 32
"""How many numbers of runs a monitor reserves at its start."""
_CLOSED = "the store is not open"


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


def _timeout_ms(row: InstanceRow) -> int:
    return row.timeout_ms or 0


class RedisStore(HistoryReader, OwnedInstances):
    """See `Store`. `Store` is about this monitor's own instances, and about the history of all.

    link, leases: are closed with the store. monitor_id: of this incarnation. lease_ms: returns the timeout of an
    instance by its row; called by the writer's thread. leads: whether this monitor deletes what is old. listener: told
    of what Redis has accepted; without one, refusals are logged only. forget_ms: the time by which something is old.
    """

    def __init__(
        self,
        link: Link,
        keys: Keys,
        leases: Leases,
        *,
        monitor_id: str,
        name: str = "Redis",
        listener: Listener | None = None,
        lease_ms: Callable[[InstanceRow], int] = _timeout_ms,
        leads: Callable[[], bool] = lambda: True,
        retention: Retention | None = None,
        bounds: Bounds | None = None,
        close_s: float = CLOSE_S,
        answer_s: float = ANSWER_S,
        watch_s: float = WATCH_S,
        wall_ms: Callable[[], int] = _wall_ms,
        forget_ms: Callable[[], int] | None = None,
        logger: logging.Logger | None = None,
    ) -> None:
        self.name = name
        self.leases = leases
        self.left_running = 0
        self._logger = logger or logging.getLogger("heartfelt.monitor.store")
        self._answer_s = answer_s
        self._lost: set[int] = set()
        """Seqs of losses that Redis has recorded, and `put_change` will be told of."""
        self._teller = Teller(listener, self._lost, self._logger)
        bounds = bounds or Bounds()
        kept_dropped = Dropped()
        super().__init__(
            link, keys, name=name, claimer=monitor_id, keep=lambda: self._forgetting.keep,
            is_closing=lambda: self._state == "closed", wall_ms=wall_ms, answer_s=answer_s, logger=self._logger,
        )  # fmt: skip
        self._forgetting = Forgetting(link, keys, self._outbox, retention or Retention(), forget_ms or wall_ms)
        self._instances = Instances(
            leases, keys, lease_ms, wall_ms, link.now_ms, bounds.changes, kept_dropped, self._logger
        )
        self._writer = RedisWriter(
            name=name, link=link, keys=keys, writer_id=monitor_id, leases=leases, instances=self._instances,
            outbox=self._outbox, forgetting=self._forgetting, bounds=bounds, kept_dropped=kept_dropped,
            tell=self._teller.tell, leads=leads, wall_ms=wall_ms, logger=self._logger, close_s=close_s,
            answer_s=answer_s, watch_s=watch_s,
        )  # fmt: skip
        self._refused = 0
        self._bytes = 0
        self._state = "new"

    def open(self) -> Saved:
        """Registers this monitor, and takes over what monitors that are gone have left. Blocks. Raises StoreError."""
        if self._state != "new":
            raise StoreError(f"the store {self.name} was opened before; create another one")
        adopted = self.leases.start()
        instances = self.adopted(adopted)
        shards = range(self._keys.shards)
        counters = checked(
            self._link.execute(
                Command(shard, ("HMGET", self._keys.shard(shard, "next"), "id", "seq")) for shard in shards
            )
        )
        now = max(map(self._link.now_ms, shards))
        written = self._link.call(FLEET, "GET", written_key(self._keys))
        hold = self._link.call(FLEET, "GET", hold_key(self._keys))
        newest = self._changes.page(None, None, REMOVED)
        first_run = self._link.call(FLEET, RESERVE_RUNS, RUN_NUMBERS, SEQ_EPOCH_MS, keys=(self._keys.fleet("next"),))
        saved = Saved(
            instances=instances,
            next_id=(max(int(id or 0) for id, _ in counters) + 1) * MOST_SHARDS,
            next_seq=max(stream_id_at(now), *(int(seq or 0) + 1 for _, seq in counters)) * MOST_SHARDS,
            hold=Hold() if hold is None else hold_of(hold.decode()),
            runs=history.open_runs(self._link, self._keys, shards, self._instances.own.__contains__),
            next_run=int(first_run),
            closed_cleanly=True,  # Redis has all that was accepted, however a monitor ended
            last_written_ms=None if written is None else int(written),
            removed=[(one.instance_id, one.service) for one in reversed(newest) if one.new is State.REMOVED],
        )
        self.fleet_copy.look()
        self._bytes = self._forgetting.used_bytes()
        self._state = "open"
        self._writer.start()
        self._reading.open()
        self._serving.open()
        return saved

    def close(self) -> None:
        """Writes what is queued, and gives up the leases. Takes at most `stop_s`. Logs what is not written by then, and
        a thread whose server does not answer, which is left running. Idempotent."""
        if self._state != "open":
            return
        self._state = "closed"
        self.left_running += self._reading.close() + self._serving.close()
        written = self._writer.stop()
        self.left_running += self._writer.is_left
        if not written:
            self._logger.error("the store %s was not closed cleanly: %s", self.name, self._writer.error or "no answer")
        self._link.close()

    def retain(self, retention: Retention) -> None:
        """Keeps records as long as this says from now on; what has a time to live keeps it until it is written again.
        Any thread may call it."""
        self._forgetting.keep = retention

    @property
    def stop_s(self) -> float:
        return 2 * self._answer_s + self._writer.stop_s

    def health(self) -> Health:
        writer = self._writer
        one, two = writer.noted_dropped, writer.kept_dropped
        error = writer.error
        if error is None and self._reading.failed_s >= writer.written_s:
            error = self._reading.error
        if error is None and self._state == "open":
            error = self._link.refuses_writes()
        if self._state != "open":
            error = f"the store {self.name} is not open"
        return Health(
            ok=error is None,
            error=error,
            waiting=0 if self._state == "new" else writer.waiting(),
            dropped_changes=one.changes + two.changes,
            dropped_events=one.events + two.events,
            dropped_deliveries=one.deliveries + two.deliveries,
            dropped_counts=one.cells + two.cells,
            dropped_runs=one.runs + two.runs,
            dropped_days=one.days + two.days,
            refused=self._refused + writer.faults + self._instances.faults + writer.outgoing.faults,
            writes=writer.writes,
            failures=writer.failures,
            removed=self._forgetting.removed,
            unsent=self._forgetting.unsent,
            bytes=self._forgetting.used or self._bytes,
            last_written_ms=writer.last_written_ms,
            damaged_rows=self._damage.rows + self._outbox.damaged,
            last_beat_ms=writer.last_beat_ms,
        )

    async def flush(self) -> None:
        self._teller.see_loop()
        await self._writer.flush()

    # -- writing; before `open` and after `close` records are refused and counted

    def put_instance(self, row: InstanceRow) -> None:
        self._put("an instance", Gathered.instance, row, soon=True)

    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        self._put("beats", Gathered.some_beats, last_beat_ms)

    def remove_instance(self, id: int) -> None:
        self._put("a removal", lambda pending: pending.remove(id, is_stored=True), soon=True)

    def put_change(self, change: Change) -> None:
        if change.seq in self._lost:  # `lose` has recorded it
            self._lost.discard(change.seq)
            return
        self._put("a change", Gathered.change, change, soon=True)

    def put_event(self, event: AgentEvent) -> None:
        self._put("an event", Gathered.event, event)

    def put_hold(self, hold: Hold) -> None:
        self._put("a hold", lambda pending: setattr(pending, "hold", hold))

    def put_run(self, run: Run) -> None:
        self._put("a run", Gathered.run, run)

    def put_counts(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        self._put("counts", Gathered.minute, minute_ms, counts)

    def put_uptime(self, times: dict[tuple[int, str], WatchedTime]) -> None:
        self._put("uptime", Gathered.uptime, times)

    def put_delivery(
        self, target: str, key: str, payload: Any, *, subject: str = "", level: Level = Level.NORMAL
    ) -> None:
        self._put("a delivery", Gathered.delivery, target, key, payload, self._wall_ms(), subject, level)

    def put_told(self, target: str, instances: dict[Who, DeliveryKeys | None]) -> None:
        self._put("what a webhook was told", Gathered.was_told, target, instances)

    def _put(self, what: str, add: Callable[..., None], *values: Any, soon: bool = False) -> None:
        writer = self._writer
        try:
            if self._state != "open":
                raise StoreError(_CLOSED)
            with writer.lock:
                add(writer.pending, *values)
        except Exception as error:
            self._refuse(what, error)
            return
        writer.wake(soon=soon)

    def _refuse(self, what: str, error: Exception) -> None:
        self._refused += 1
        if self._refused & (self._refused - 1) == 0:  # the 1st, 2nd, 4th, 8th: many do not flood the log
            self._logger.error("skipped %s that can never be stored: %s", what, error)

    def is_unwritten(self, id: int) -> bool:
        """Returns whether something that was put of an instance waits to be written."""
        return self._writer.is_unwritten(id)

    # -- what needs the writer

    async def open_runs(self, ids: Iterable[int]) -> list[Run]:
        """Returns the runs of these instances that have not ended, as is needed for some that were adopted."""
        wanted = frozenset(ids)
        shards = {history.shard_of_id(self._keys, id) for id in wanted}
        return await self._reading.read(lambda: history.open_runs(self._link, self._keys, shards, wanted.__contains__))

    async def look_at_fleet(self) -> None:
        """See `FleetCopy.look`."""
        await self._serving.read(self.fleet_copy.look)

    async def put_document(self, kind: str, name: str, value: Any) -> None:
        def job(outcome: Outcome) -> None:
            self.fleet_copy.put(kind, *documents.put_document(self._link, self._keys, kind, name, value))

        await self._writer.do(job, urgent=True)

    async def delete_document(self, kind: str, name: str) -> bool:
        def job(outcome: Outcome) -> bool:
            was_there = documents.delete_document(self._link, self._keys, kind, name)
            self.fleet_copy.put(kind, documents.field_of(name), None)
            return was_there

        return await self._writer.do(job, urgent=True)

    async def drop_deliveries(self, target: str, answer: str, *, forget: bool = False) -> int:
        return await self._writer.do(lambda _: self._outbox.drop_deliveries(target, answer, forget=forget))

    async def lead(self, fence: int) -> Any:
        """Makes this monitor the one that puts deliveries: what others put, whose fence is lower, is refused from now
        on. Returns the position that was stored last; None: there is none. Raises Superseded."""
        self._teller.see_loop()
        return await self._writer.do(lambda _: self._writer.lead(fence))

    def end_claims(self) -> None:
        """Says that nothing is sent any more of the deliveries that were claimed: others may claim them at once. Never
        waits; it is done as soon as Redis can be reached."""
        self._outbox.end_claims()
        self._writer.wake()

    async def free_claims(self, living: Iterable[str]) -> int:
        """Lets deliveries be claimed at once that were claimed by monitors that live no more, and returns how many they
        are. Only for the one that leads. Raises Superseded."""
        return await self._writer.do(lambda _: self._outbox.free_claims(living, self._link.now_ms(FLEET)), urgent=True)

    async def restore_told(self, told: Mapping[str, Mapping[Who, DeliveryKeys]]) -> None:
        await self._writer.do(lambda _: self._outbox.restore_told(told), urgent=True)

    async def put_position(self, value: Any) -> None:
        """Stores the position of the webhooks, after the deliveries that were put before; raises StoreError if these
        cannot be written. Raises Superseded."""
        await self._writer.do(lambda _: self._writer.put_position(value))

    async def waiting_deliveries(self) -> dict[str, Backlog]:
        unwritten = self._writer.unwritten_deliveries
        return await self._serving.read(lambda: self._outbox.waiting_deliveries(unwritten))

    async def changes(self, *, id: int | None, service: str | None, before: int | None, limit: int) -> list[Change]:
        if id is None:
            return await self._reading.read(lambda: self._changes.page(service, before, limit))
        shard = self._instances.shard_of(id)
        if shard is None:
            shard = history.shard_of_id(self._keys, id)
        seqs, at_ms = self._instances.joined(id)
        return await self._reading.read(
            lambda: self._changes.of_instance(shard, id, service, before, limit, seqs, at_ms)
        )
