# SPDX-License-Identifier: MIT
"""The queue of records that were put and are not written yet.

The loop's thread adds to one `Pending`. The writer's thread takes it as a whole and puts an empty one in its place. If
it cannot be written, the writer keeps it as the older one and merges later ones into it with `absorb`. `Bounds` limits
each of the two, so together they hold at most twice that. Instances and their beats have no limit of their own: there
is one entry for each instance that exists, or existed when the file was written last. The same is true of `told`, for
each target.
"""

from __future__ import annotations

import operator
from collections import deque
from typing import Any

import msgspec

from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level, Run, State
from heartfelt.monitor.store import RUNS_KEPT, Keys, WatchedTime, Who
from heartfelt.monitor.store.kept import DAY_MS
from heartfelt.monitor.store.rows import RANK, event_row, to_json

EVENT_OVERHEAD = 700  # bytes of an event in memory besides its JSON: the tuple and nine small values
_BEATS_KEPT_APART = 8
DayFigures = tuple[float, ...]
"""The columns of a day after its key: the times, losses, failures."""
_COUNTED: dict[State, DayFigures] = {
    State.LOST: (0.0, 0.0, 0.0, 0.0, 1, 0),
    State.FAILED: (0.0, 0.0, 0.0, 0.0, 0, 1),
}

DeliveryRow = tuple[str, str, str, int, str, int]
"""target, key, payload, created_ms, subject, level."""


def day_figures(change: Change) -> DayFigures | None:
    """Returns what a change adds to the day of its service: a loss or a failure; otherwise None. None also for what is
    told again, and what goes on after a pause, though people were told before it."""
    goes_on = change.old is State.PAUSED and change.level is Level.NORMAL
    return None if change.new is change.old or goes_on else _COUNTED.get(change.new)


class Bounds(msgspec.Struct, kw_only=True, frozen=True):
    """Limits for the records that wait to be written, by kind."""

    changes: int = 200_000
    events: int = 50_000
    event_bytes: int = 64 << 20
    deliveries: int = 50_000
    cells: int = 100_000
    runs: int = 50_000
    days: int = 200_000


class Dropped(msgspec.Struct):
    """Counts of dropped records. Each of the two threads has one of its own."""

    changes: int = 0
    events: int = 0
    deliveries: int = 0
    cells: int = 0
    runs: int = 0
    days: int = 0


class Pending:
    __slots__ = (
        "beats",
        "bounds",
        "cells",
        "changes",
        "counts",
        "days",
        "deliveries",
        "dropped",
        "event_bytes",
        "events",
        "highest_id",
        "highest_seq",
        "hold",
        "instances",
        "n_runs",
        "removed",
        "runs",
        "told",
    )

    def __init__(self, bounds: Bounds, dropped: Dropped, highest_id: int, highest_seq: int) -> None:
        self.bounds = bounds
        self.dropped = dropped
        self.highest_id = highest_id  # the highest ever put, also before this start
        self.highest_seq = highest_seq
        self.instances: dict[int, InstanceRow] = {}
        self.beats: list[dict[int, int]] = []
        self.removed: dict[int, None] = {}
        self.changes: deque[Change] = deque()
        # (day, service): what is added to its columns. Losses and failures are counted even if the change is dropped.
        self.days: dict[tuple[int, str], DayFigures] = {}
        self.events: deque[tuple[tuple[Any, ...], int]] = deque()  # row, size
        self.event_bytes = 0
        self.hold: Hold | None = None
        self.counts: deque[tuple[int, dict[str, tuple[int, int]]]] = deque()
        self.cells = 0
        self.deliveries: deque[DeliveryRow] = deque()
        self.told: dict[str, dict[Who, Keys | None]] = {}
        self.runs: dict[int, dict[int, Run]] = {}  # instance -> number -> its run, oldest first
        self.n_runs = 0

    def waiting(self) -> int:
        """Returns the number of rows. Callable from any thread: it only adds lengths."""
        beats = sum(map(len, self.beats))
        kinds = len(self.instances) + len(self.removed) + len(self.changes) + len(self.events) + len(self.deliveries)
        told = sum(map(len, list(self.told.values())))
        return kinds + beats + self.cells + self.n_runs + len(self.days) + told + (self.hold is not None)

    def is_empty(self) -> bool:
        return not (
            self.instances
            or self.beats
            or self.removed
            or self.changes
            or self.days
            or self.events
            or self.deliveries
            or self.counts
            or self.runs
            or self.told
            or self.hold is not None
        )

    # -- adding

    def instance(self, row: InstanceRow) -> None:
        self.instances[row.id] = row
        if row.id > self.highest_id:
            self.highest_id = row.id
        if self.removed:
            self.removed.pop(row.id, None)

    def some_beats(self, last_beat_ms: dict[int, int]) -> None:
        """Adds beats without a loop over them, so that many do not hold up the event loop. Merges older dicts now and
        then."""
        if last_beat_ms:
            self.beats.append(last_beat_ms)
            if len(self.beats) > _BEATS_KEPT_APART:
                second = self.beats.pop(1)
                self.beats[0].update(second)

    def newest_beat_ms(self) -> int | None:
        """Returns the time of the newest beat in it, None if it has none. O(instances that have beaten)."""
        times = [max(some.values()) for some in self.beats if some]
        times += (row.last_beat_ms for row in self.instances.values())
        return max(times, default=None)

    def remove(self, id: int, *, is_stored: bool) -> None:
        self.instances.pop(id, None)
        self.n_runs -= len(self.runs.pop(id, ()))
        for some in self.beats:
            some.pop(id, None)
        if is_stored:
            self.removed[id] = None

    def change(self, change: Change) -> None:
        if len(self.changes) >= self.bounds.changes:
            self.changes.popleft()
            self.dropped.changes += 1
        self.changes.append(change)
        if change.seq > self.highest_seq:
            self.highest_seq = change.seq
        self._count(change)

    def _count(self, change: Change) -> None:
        figures = day_figures(change)
        if figures is not None:
            self._day((change.time_ms // DAY_MS, change.service), figures)

    def uptime(self, times: dict[tuple[int, str], WatchedTime]) -> None:
        for key, time in times.items():
            self._day(key, (*time, 0, 0))

    def _day(self, key: tuple[int, str], figures: DayFigures) -> None:
        before = self.days.get(key)
        if before is not None:
            self.days[key] = tuple(map(operator.add, before, figures))
            return
        if len(self.days) >= self.bounds.days:
            del self.days[next(iter(self.days))]
            self.dropped.days += 1
        self.days[key] = figures

    def event(self, event: AgentEvent) -> None:
        """Converts the event to a row at once, so that its size is known and it cannot change. Raises if that fails."""
        row = event_row(event)
        self._event(row, len(row[-1]) + EVENT_OVERHEAD)

    def _event(self, row: tuple[Any, ...], size: int) -> None:
        self.events.append((row, size))
        self.event_bytes += size
        while len(self.events) > self.bounds.events or (
            self.event_bytes > self.bounds.event_bytes and len(self.events) > 1
        ):
            self.event_bytes -= self.events.popleft()[1]
            self.dropped.events += 1

    def minute(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        self.counts.append((minute_ms, counts))
        self.cells += len(counts)
        while self.cells > self.bounds.cells and len(self.counts) > 1:
            _, oldest = self.counts.popleft()
            self.cells -= len(oldest)
            self.dropped.cells += len(oldest)

    def run(self, run: Run) -> None:
        mine = self.runs.setdefault(run.id, {})
        self.n_runs += run.number not in mine
        mine[run.number] = run
        if len(mine) > RUNS_KEPT:  # the file would not keep it either
            del mine[min(mine)]
            self.n_runs -= 1
        if self.n_runs > self.bounds.runs:
            id, oldest = next(iter(self.runs.items()))
            del oldest[min(oldest)]
            if not oldest:
                del self.runs[id]
            self.n_runs -= 1
            self.dropped.runs += 1

    def delivery(self, target: str, key: str, payload: Any, created_ms: int, subject: str, level: Level) -> None:
        """Raises if the payload cannot be encoded."""
        self._delivery((target, key, to_json(payload), created_ms, subject, RANK[level]))

    def was_told(self, target: str, instances: dict[Who, Keys | None]) -> None:
        self.told.setdefault(target, {}).update(instances)

    def _delivery(self, row: DeliveryRow) -> None:
        if len(self.deliveries) >= self.bounds.deliveries:
            self.deliveries.popleft()
            self.dropped.deliveries += 1
        self.deliveries.append(row)

    # -- the writer's

    def absorb(self, newer: Pending, stored_id: int) -> None:
        """Merges records that were added later; `newer` must not be used afterwards. Instances with ids above
        `stored_id` are not in the file yet, so they need not be deleted from it."""
        self.highest_id, self.highest_seq = newer.highest_id, newer.highest_seq
        for id in newer.removed:
            self.remove(id, is_stored=id <= stored_id)
        self.instances.update(newer.instances)
        for id in newer.instances:
            self.removed.pop(id, None)
        for some in newer.beats:
            self.some_beats(some)
        excess = len(self.changes) + len(newer.changes) - self.bounds.changes
        for _ in range(excess):  # `newer` alone is within the limit, so there are enough here
            self.changes.popleft()
            self.dropped.changes += 1
        self.changes.extend(newer.changes)
        for key, figures in newer.days.items():
            self._day(key, figures)
        for row, size in newer.events:
            self._event(row, size)
        for minute_ms, counts in newer.counts:
            self.minute(minute_ms, counts)
        for mine in newer.runs.values():
            for run in mine.values():
                self.run(run)
        for delivery in newer.deliveries:
            self._delivery(delivery)
        for target, instances in newer.told.items():
            self.was_told(target, instances)
        if newer.hold is not None:
            self.hold = newer.hold
