# SPDX-License-Identifier: MIT
"""Statistics of a hub and its shards, and the state of one key."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heartfelt._types import WatchState

Key = str | bytes | int


@dataclass(frozen=True)
class Watch:
    """The state of one key at the time of the call. Times are seconds since the epoch, timeout is in seconds.

    missed: timeouts since its last beat. deadline: when its next beat is, or was, due.
    """

    key: Key
    state: WatchState
    join_time: float
    beat_time: float
    deadline: float
    timeout: float
    disposable: bool
    extra: object
    missed: int


@dataclass(frozen=True)
class ShardStats:
    """Statistics of one shard. Counts are since the hub was made, times in seconds.

    visits: how often its worker looked at a block of 64 keys. moved: deadlines that passed in a stall and were moved.
    cpu_time: CPU time of its worker, as of its last sleep.
    """

    keys: int
    lost: int
    waiting: int
    joins: int
    timeouts: int
    recoveries: int
    removals: int
    wakeups: int
    visits: int
    moved: int
    cpu_time: float
    max_lateness: float


@dataclass(frozen=True)
class HubStats:
    """Statistics of all shards together, and of the events. Counts are since the hub was made, times in seconds.

    keys: watched now. lost: those of them that timed out and have not recovered. waiting: events not read yet;
    waiting_callbacks: events not delivered yet. dropped: events (never TIME_OUT) lost because the ring was full;
    overflows: runs of such losses. callback_errors: exceptions raised by callbacks. stalls, stalled: how often and how
    long the watcher, or Python, did not run; moved: deadlines that passed in a stall and were moved.
    max_lateness: longest time from a deadline to its verdict.
    """

    keys: int
    lost: int
    waiting: int
    waiting_callbacks: int
    joins: int
    timeouts: int
    recoveries: int
    removals: int
    dropped: int
    overflows: int
    callback_errors: int
    wakeups: int
    visits: int
    stalls: int
    stalled: float
    moved: int
    cpu_time: float
    max_lateness: float
    shards: tuple[ShardStats, ...]


def shard_stats(raw: dict[str, Any]) -> ShardStats:
    """Converts the core's counters."""
    counters = raw["counters"]
    return ShardStats(
        keys=raw["n_keys"],
        lost=raw["n_lost"],
        waiting=raw["n_pending"],
        joins=counters["n_joins"],
        timeouts=counters["n_verdicts"],
        recoveries=counters["n_recoveries"],
        removals=counters["n_removals"],
        wakeups=raw["n_wakeups"],
        visits=counters["n_visits"],
        moved=counters["n_moved"],
        cpu_time=raw["cpu_ns"] / 1e9,
        max_lateness=counters["max_lateness_ns"] / 1e9,
    )
