# SPDX-License-Identifier: MIT
"""Makes commands of what was put, and of what follows from changes that Redis has accepted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from heartfelt.monitor.model import Change
from heartfelt.monitor.store.kept import DAY_MS, Retention
from heartfelt.monitor.store.pending import DayFigures, day_figures
from heartfelt.monitor.store.redis import history
from heartfelt.monitor.store.redis.days import AddTimes
from heartfelt.monitor.store.redis.events import PutEvents, pack_event
from heartfelt.monitor.store.redis.gathering import Gathered
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Command
from heartfelt.monitor.store.redis.outcomes import Outcome
from heartfelt.monitor.store.redis.outgoing import CELLS, DAYS, EVENTS, OTHER, RUNS, Chunk
from heartfelt.monitor.store.redis.values import BAD_VALUE
from heartfelt.monitor.store.rows import hold_text

RUNS_MS = 400 * DAY_MS
"""How long the runs of a job are kept after its last one."""


class HistoryChunks:
    """Belongs to the writer's thread. fault: told of a record that can never be stored."""

    def __init__(
        self, keys: Keys, writer_id: str, keep: Callable[[], Retention], fault: Callable[[str, Exception], None]
    ) -> None:
        self._keys = keys
        self._keep = keep
        self._fault = fault
        self._put_events = PutEvents(keys, writer_id)
        self._add_times = AddTimes(keys, writer_id)

    def of_put(self, taken: Gathered) -> Iterator[Chunk]:
        keep = self._keep()
        rows = []
        for row, _ in taken.events:
            try:
                rows.append((row[1], row[0], *pack_event(row)))
            except BAD_VALUE as error:
                self._fault("an event", error)
        for command, n, size in self._put_events.commands(rows, 2 * keep.events_ms):
            yield Chunk(command, EVENTS, n, size) if n else Chunk(command, OTHER, 0, once=f"part {command.words[-1]}")
        yield from self._days(taken.days)
        for minute_ms, counts in taken.counts:
            for command, n in self._add_times.minute(minute_ms, counts, keep.heat_ms):
                yield Chunk(command, CELLS, n)
        for mine in taken.runs.values():
            for run in mine.values():
                try:
                    yield Chunk(history.put_run(self._keys, run, RUNS_MS), RUNS, 1)
                except BAD_VALUE as error:
                    self._fault("a run", error)
        if taken.hold is not None:
            yield Chunk(Command(FLEET, ("SET", hold_key(self._keys), hold_text(taken.hold))), OTHER, 1)

    def of_accepted(self, done: Outcome) -> Iterator[Chunk]:
        """Yields the lists of instances, losses and failures of days, and what is left of removed instances."""
        of_services: dict[str, list[int]] = {}
        for change in done.accepted:
            of_services.setdefault(change.service, []).append(change.seq)
        for command, n in history.put_seqs(self._keys, done.seqs, of_services, self._keep().changes_ms):
            yield Chunk(command, OTHER, n)
        for id in done.removed:
            yield Chunk(history.forget(self._keys, id), OTHER, 1)
        yield from self._days(_days_of(done.accepted))

    def written(self, wall_ms: int) -> Chunk:
        return Chunk(Command(FLEET, ("SET", written_key(self._keys), wall_ms)), OTHER, 0, once="written")

    def _days(self, days: dict[tuple[int, str], DayFigures]) -> Iterator[Chunk]:
        try:
            for command, n in self._add_times.days(days, self._keep().uptime_ms):
                yield Chunk(command, DAYS, n)
        except BAD_VALUE as error:
            self._fault("times of a day", error)


def _days_of(changes: list[Change]) -> dict[tuple[int, str], Any]:
    days: dict[tuple[int, str], Any] = {}
    for change in changes:
        figures = day_figures(change)
        if figures is not None:
            key = (change.time_ms // DAY_MS, change.service)
            days[key] = tuple(map(sum, zip(days.get(key, (0,) * len(figures)), figures, strict=True)))
    return days


def hold_key(keys: Keys) -> str:
    return keys.fleet("hold")


def written_key(keys: Keys) -> str:
    """When something was written last, by the clock of the monitor that wrote it."""
    return keys.fleet("written")
