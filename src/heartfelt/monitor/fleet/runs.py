# SPDX-License-Identifier: MIT
"""The runs of jobs that began and have not ended, in memory, and the timers of their deadlines.

A key has one open run of each id (`rid`); runs without an id share the empty one. A run that is OVERDUE stays open, so
that its end is recognised. Runs are bounded: when there are too many, the oldest is forgotten and counted, an OVERDUE
one first. A run that is forgotten is no longer watched, and its end is taken for that of a run whose start is unknown.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from heartfelt.monitor.fleet.timers import Timers
from heartfelt.monitor.model import Run, RunResult

__all__ = ["MOST_OF_ALL", "MOST_OF_KEY", "OpenRun", "OpenRuns"]

MOST_OF_KEY = 100
MOST_OF_ALL = 10_000
MOST_ENDED = 10_000
MOST_NEWEST = 1000


class OpenRun(msgspec.Struct, kw_only=True):
    """A run that has not ended."""

    run: Run
    began_ms: float | None
    """The time of its last start by the registry's clock. None: its start was not reported."""
    due_ms: float | None = None
    """Its deadline by the registry's clock; None: it has none."""
    moves_until_ms: float | None = None
    """Progress moves its deadline no further than this: the longest time that its key allows a run. None: no bound."""
    given_up: bool = False
    """It was OVERDUE when another run of its key succeeded: nobody waits for its end."""


class OpenRuns:
    """Belongs to the loop's thread. Everything is O(1) but `of`, which is O(open runs of the key)."""

    def __init__(self, timers: Timers) -> None:
        self._timers = timers
        self._by_number: dict[int, OpenRun] = {}
        self._of: dict[int, dict[str, OpenRun]] = {}
        """Instance -> id of the run -> the run, each in the order of their numbers."""
        self._overdue: dict[int, None] = {}
        """Numbers of those that are OVERDUE, in order."""
        self._ended: dict[tuple[int, str], None] = {}
        """Runs with an id that ended last, so that progress that arrives late does not open them again."""
        self._newest: dict[tuple[int, str], tuple[float, Run]] = {}
        """Runs that ended last, and when by the registry's clock."""
        self.next_number = 1
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._by_number)

    def find(self, id: int, rid: str) -> OpenRun | None:
        runs = self._of.get(id)
        return None if runs is None else runs.get(rid)

    def numbered(self, number: int) -> OpenRun | None:
        return self._by_number.get(number)

    def of(self, id: int) -> Iterator[OpenRun]:
        """The open runs of an instance, oldest first."""
        return iter(list(self._of.get(id, {}).values()))

    def is_awaited(self, id: int) -> bool:
        """Returns True if the instance has a run whose end somebody waits for."""
        return any(not one.given_up for one in self.of(id))

    def has_ended(self, id: int, rid: str) -> bool:
        return bool(rid) and (id, rid) in self._ended

    def take_number(self) -> int:
        number, self.next_number = self.next_number, self.next_number + 1
        return number

    def add(self, one: OpenRun) -> list[OpenRun]:
        """Adds an open run. Returns those that were forgotten to make room."""
        run = one.run
        mine = self._of.get(run.id, {})
        forgotten = []
        if len(mine) >= MOST_OF_KEY:
            forgotten.append(next((old for old in mine.values() if old.run.number in self._overdue), None)
                             or next(iter(mine.values())))  # fmt: skip
        elif len(self._by_number) >= MOST_OF_ALL:
            forgotten.append(self._by_number[next(iter(self._overdue or self._by_number))])
        for old in forgotten:
            self.remove(old)
            self.dropped += 1
        self._by_number[run.number] = one
        self._of.setdefault(run.id, {})[run.rid] = one
        if run.result is RunResult.OVERDUE:
            self._overdue[run.number] = None
        self._ended.pop((run.id, run.rid), None)
        return forgotten

    def set_due(self, one: OpenRun, now_ms: float, in_ms: float) -> None:
        """Sets its deadline: it is OVERDUE `in_ms` after now."""
        one.due_ms = now_ms + in_ms
        self._timers.set(self._timers.runs, one.run.number, max(in_ms, 1.0))

    def is_due(self, number: int) -> bool:
        """Returns True if its deadline has passed, however late that is read."""
        return number not in self._timers.runs

    def now_overdue(self, one: OpenRun) -> None:
        self._overdue[one.run.number] = None

    def running(self, one: OpenRun) -> None:
        """It is not OVERDUE any more."""
        self._overdue.pop(one.run.number, None)

    def give_up(self, id: int) -> None:
        """Another run has succeeded: nobody waits for the OVERDUE ones any more."""
        for one in self.of(id):
            if one.run.result is RunResult.OVERDUE:
                one.given_up = True

    def end(self, id: int, rid: str) -> None:
        """Notes the end of a run, whether its start is known or not."""
        one = self.find(id, rid)
        if one is not None:
            self.remove(one)
        if rid:
            if len(self._ended) >= MOST_ENDED:
                del self._ended[next(iter(self._ended))]
            self._ended[(id, rid)] = None

    def note_end(self, run: Run, at_ms: float) -> None:
        self._newest.pop((run.id, run.rid), None)
        if len(self._newest) >= MOST_NEWEST:
            del self._newest[next(iter(self._newest))]
        self._newest[run.id, run.rid] = at_ms, run

    def ended_after(self, id: int, rid: str, ms: float) -> tuple[float, Run] | None:
        """Returns the run with this id that has ended last, if it was after this time."""
        found = self._newest.get((id, rid))
        return None if found is None or found[0] < ms else found

    def remove(self, one: OpenRun) -> None:
        run = one.run
        self._timers.drop(self._timers.runs, run.number)
        del self._by_number[run.number]
        self._overdue.pop(run.number, None)
        mine = self._of[run.id]
        del mine[run.rid]
        if not mine:
            del self._of[run.id]

    def forget(self, id: int) -> None:
        """Forgets the runs of an instance that is removed."""
        for one in self.of(id):
            self.remove(one)
