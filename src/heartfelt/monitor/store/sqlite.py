# SPDX-License-Identifier: MIT
"""`SqliteStore`: the store in one SQLite file, for one monitor on one machine."""

from __future__ import annotations

import functools
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from heartfelt.errors import StoreError
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level, Run
from heartfelt.monitor.store import (
    Backlog,
    Delivery,
    EventCursor,
    EventFilter,
    Health,
    HeatCell,
    Keys,
    Saved,
    StoredEvent,
    UptimeDay,
    WatchedTime,
    Who,
    deliveries,
    queries,
)
from heartfelt.monitor.store.file import StoreFile
from heartfelt.monitor.store.kept import DAY_MS, Retention
from heartfelt.monitor.store.lock import real_path
from heartfelt.monitor.store.pending import Bounds
from heartfelt.monitor.store.readers import Readers
from heartfelt.monitor.store.retention import Forgetter
from heartfelt.monitor.store.rows import to_json
from heartfelt.monitor.store.writer import ANSWER_S, CLOSE_S, Writer

__all__ = ["Bounds", "Retention", "SqliteStore"]

_PUT_DOCUMENT = """INSERT INTO documents VALUES (?, ?, ?)
ON CONFLICT (kind, name) DO UPDATE SET value = excluded.value"""


def _wall_ms() -> int:
    return time.time_ns() // 1_000_000


class SqliteStore:
    """See `Store`. Writes at most one transaction every FLUSH_S, in WAL mode: records that were put a second ago
    survive `kill -9` as long as `health().ok`. A power cut may lose the last moments, but does not damage the file.

    path: the file, which is created with its folder if necessary. Its -wal, its -shm and a .lock, by which a second
    monitor is refused, are beside it. retention: how long each kind of row is kept. bounds: limits for what waits to be
    written. close_s: how long `close` tries to write it; answer_s: how much longer it waits for a disk that does not
    respond. wall_ms: the clock that decides what is old. A store can be opened and closed once.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        retention: Retention | None = None,
        bounds: Bounds | None = None,
        close_s: float = CLOSE_S,
        answer_s: float = ANSWER_S,
        wall_ms: Callable[[], int] = _wall_ms,
        logger: logging.Logger | None = None,
    ) -> None:
        self.path = real_path(Path(path))
        retention = retention or Retention()
        self._wall_ms = wall_ms
        self._logger = logger or logging.getLogger("heartfelt.monitor.store")
        self._forgetter = Forgetter(retention, wall_ms)
        self._file = StoreFile(self.path, wall_ms, self._logger)
        self._writer = Writer(
            self._file,
            self._forgetter,
            bounds or Bounds(),
            self._logger,
            close_s=close_s,
            answer_s=answer_s,
        )
        self._damage = self._file.damage
        self._readers = Readers(self.path, self._damage, answer_s=answer_s, logger=self._logger)
        self._answer_s = answer_s
        self.left_running = 0
        self._refused = 0
        self._state = "new"

    def open(self) -> Saved:
        """Blocks, for 100,000 instances about a second. Raises StoreError, which says what is wrong with the file and
        what to do."""
        if self._state != "new":
            raise StoreError(f"the store {self.path} was opened before; create another one")
        saved = self._file.open()
        self._writer.start(saved.next_id - 1, saved.next_seq - 1)
        self._readers.open()
        self._state = "open"
        if self._file.to_check:
            self._readers.check()
        return saved

    def close(self) -> None:
        """Writes what is queued. Takes at most `stop_s`, five seconds. Logs what is not written by then, and a thread
        whose disk does not respond, which is left running. Idempotent."""
        if self._state != "open":
            return
        self._state = "closed"
        self.left_running += self._readers.close()
        written = self._writer.stop()
        self.left_running += self._writer.is_left
        if not written:
            why = self._writer.error or "its disk does not respond"
            self._logger.error("the store %s was not closed cleanly: %s", self.path, why)

    def retain(self, retention: Retention) -> None:
        """Keeps rows as long as this says from now on. Any thread may call it."""
        self._forgetter.keep = retention

    @property
    def stop_s(self) -> float:
        """The longest time that `close` takes: for the threads that read, then for the one that writes."""
        return self._answer_s + self._writer.stop_s

    def health(self) -> Health:
        writer = self._writer
        one, two = writer.noted_dropped, writer.kept_dropped
        error = self._damage.error or writer.error
        if error is None and self._readers.failed_s >= writer.written_s:
            error = self._readers.error
        if self._state != "open":
            error = f"the store {self.path} is not open"
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
            refused=self._refused + self._file.refused,
            writes=writer.writes,
            failures=writer.failures,
            removed=self._forgetter.removed,
            unsent=self._forgetter.unsent,
            bytes=writer.bytes,
            last_written_ms=self._file.last_written_ms,
            damaged=self._damage.structure is not None,
            damaged_rows=self._damage.n_rows,
            damaged_by_table=dict(self._damage.rows),
            last_beat_ms=self._file.last_beat_ms,
            waiting_instances=0 if self._state == "new" else writer.waiting_instances(),
        )

    async def flush(self) -> None:
        await self._writer.flush()

    # -- writing; before `open` and after `close` records are refused and counted

    def put_instance(self, row: InstanceRow) -> None:
        """Queues the row. The caller must not change it, or anything that it refers to, afterwards."""
        if self._state != "open":
            self._refuse("an instance", None)
            return
        writer = self._writer
        with writer.lock:
            writer.pending.instance(row)
        writer.wake()

    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        if self._state != "open":
            self._refuse("beats", None)
            return
        writer = self._writer
        with writer.lock:
            writer.pending.some_beats(last_beat_ms)
        writer.wake()

    def remove_instance(self, id: int) -> None:
        if self._state != "open":
            self._refuse("a removal", None)
            return
        writer = self._writer
        with writer.lock:
            writer.pending.remove(id, is_stored=id <= writer.taken_id)
        writer.wake()

    def put_change(self, change: Change) -> None:
        if self._state != "open":
            self._refuse("a change", None)
            return
        writer = self._writer
        with writer.lock:
            writer.pending.change(change)
        writer.wake()

    def put_event(self, event: AgentEvent) -> None:
        writer = self._writer
        try:
            self._check_open()
            with writer.lock:
                writer.pending.event(event)
        except Exception as error:
            self._refuse("an event", error)
        writer.wake()

    def put_hold(self, hold: Hold) -> None:
        if self._state != "open":
            self._refuse("a hold", None)
            return
        with self._writer.lock:
            self._writer.pending.hold = hold
        self._writer.wake()

    def put_run(self, run: Run) -> None:
        if self._state != "open":
            self._refuse("a run", None)
            return
        with self._writer.lock:
            self._writer.pending.run(run)
        self._writer.wake()

    def put_counts(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        """Queues counts. The store takes over the dict."""
        if self._state != "open":
            self._refuse("counts", None)
            return
        with self._writer.lock:
            self._writer.pending.minute(minute_ms, counts)
        self._writer.wake()

    def put_uptime(self, times: dict[tuple[int, str], WatchedTime]) -> None:
        if self._state != "open":
            self._refuse("uptime", None)
            return
        with self._writer.lock:
            self._writer.pending.uptime(times)
        self._writer.wake()

    def put_delivery(
        self, target: str, key: str, payload: Any, *, subject: str = "", level: Level = Level.NORMAL
    ) -> None:
        writer = self._writer
        try:
            self._check_open()
            with writer.lock:
                writer.pending.delivery(target, key, payload, self._wall_ms(), subject, level)
        except Exception as error:
            self._refuse("a delivery", error)
        writer.wake()

    def put_told(self, target: str, instances: dict[Who, Keys | None]) -> None:
        if self._state != "open":
            self._refuse("what a webhook was told", None)
            return
        with self._writer.lock:
            self._writer.pending.was_told(target, instances)
        self._writer.wake()

    def _check_open(self) -> None:
        if self._state != "open":
            raise StoreError("the store is not open")

    def _refuse(self, what: str, error: Exception | None) -> None:
        self._refused += 1
        if (
            self._refused & (self._refused - 1) == 0
        ):  # log the 1st, 2nd, 4th, 8th ..., so that many do not flood the log
            self._logger.error("skipped %s that can never be stored: %s", what, error or "the store is not open")

    # -- reading

    async def changes(self, *, id: int | None, service: str | None, before: int | None, limit: int) -> list[Change]:
        return await self._readers.read(lambda c: queries.changes(c, self._damage, id, service, before, limit))

    async def events(self, which: EventFilter, *, before: EventCursor | int | None, limit: int) -> list[StoredEvent]:
        return await self._readers.read(lambda c: queries.events(c, self._damage, which, before, limit))

    async def newest_event(self) -> int:
        return await self._readers.read(queries.newest_event)

    async def count_events(self, which: EventFilter) -> dict[Level, int]:
        return await self._readers.read(lambda c: queries.count_events(c, which))

    async def uptime(self, services: tuple[str, ...], days: int) -> list[UptimeDay]:
        today = self._wall_ms() // DAY_MS
        return await self._readers.read(lambda c: queries.uptime(c, self._damage, services, days, today))

    async def heat(self, services: tuple[str, ...], start_ms: int, end_ms: int) -> list[HeatCell]:
        return await self._readers.read(lambda c: queries.heat(c, self._damage, services, start_ms, end_ms))

    async def runs(self, id: int, *, before: int | None, limit: int) -> list[Run]:
        return await self._readers.read(lambda c: queries.runs(c, self._damage, id, before, limit))

    # -- documents

    async def get_document(self, kind: str, name: str) -> Any | None:
        return await self._readers.read(lambda c: queries.document(c, self._damage, kind, name))

    async def put_document(self, kind: str, name: str, value: Any) -> None:
        row = (queries.text_of(kind), queries.text_of(name), to_json(value))
        await self._writer.do(lambda c: c.execute(_PUT_DOCUMENT, row).rowcount)

    async def delete_document(self, kind: str, name: str) -> bool:
        key = (queries.text_of(kind), queries.text_of(name))
        deleted = await self._writer.do(
            lambda c: c.execute("DELETE FROM documents WHERE kind = ? AND name = ?", key).rowcount
        )
        return deleted > 0

    async def documents(self, kind: str) -> dict[str, Any]:
        return await self._readers.read(lambda c: queries.documents(c, self._damage, kind))

    # -- the outbox

    async def next_deliveries(self, now_ms: int, limit: int, room: Mapping[str, int] | None = None) -> list[Delivery]:
        """Writes only if one is due."""
        room = room or {}
        if not await self._readers.read(lambda c: deliveries.due(c, self._damage, now_ms, 1, room)):
            return []
        return await self._writer.do(lambda c: deliveries.claim(c, self._damage, now_ms, limit, room))

    async def finish_delivery(
        self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str, tried: bool = True
    ) -> None:
        result = deliveries.Result(ok=ok, retry_at_ms=retry_at_ms, answer=answer, tried=tried)
        await self._writer.do(functools.partial(deliveries.finish, number=number, result=result))

    async def drop_deliveries(self, target: str, answer: str, *, forget: bool = False) -> int:
        return await self._writer.do(lambda c: deliveries.drop(c, target, answer, forget))

    async def hasten_deliveries(self, target: str, now_ms: int) -> None:
        await self._writer.do(lambda c: deliveries.hasten(c, target, now_ms))

    async def delivery_states(self, target: str, keys: Iterable[str]) -> dict[str, str]:
        return await self._readers.read(lambda c: deliveries.states(c, target, keys))

    async def told(self) -> dict[str, dict[Who, Keys]]:
        return await self._readers.read(lambda c: deliveries.told(c, self._damage))

    async def waiting_deliveries(self) -> dict[str, Backlog]:
        unwritten = self._writer.unwritten_deliveries
        return await self._readers.read(lambda c: deliveries.waiting(c, self._damage, unwritten))

    async def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]:
        return await self._readers.read(lambda c: deliveries.deliveries(c, self._damage, target, before, limit))
