# SPDX-License-Identifier: MIT
"""Commands that add to the history, on their way to Redis. Belongs to the writer's thread.

Each may be repeated: one that was executed, but whose answer was lost, has no effect the second time. Those of a shard
are executed in their order. What a server that cannot be reached has not taken waits, within bounds, and does not hold
up what is for the others.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from heartfelt.monitor.store.outage_log import OutageLog
from heartfelt.monitor.store.pending import Bounds, Dropped
from heartfelt.monitor.store.redis.link import Command, Link, Unreachable

COMMANDS_AT_ONCE = 1000
BYTES_AT_ONCE = 4 << 20
EVENTS, DAYS, CELLS, RUNS, OTHER = "events", "days", "cells", "runs", "other"
_MOST_OTHER = 200_000


class Chunk(NamedTuple):
    command: Command
    kind: str
    rows: int
    bytes: int = 0
    once: str = ""
    """Only one chunk with this mark waits: another one would do the same. "": all wait."""


class Outgoing:
    def __init__(self, link: Link, bounds: Bounds, dropped: Dropped, logger: logging.Logger) -> None:
        self.faults = 0
        """Rows that Redis refuses to store at any time."""
        self._link = link
        self._bounds = bounds
        self._most = {
            EVENTS: bounds.events,
            DAYS: bounds.days,
            CELLS: bounds.cells,
            RUNS: bounds.runs,
            OTHER: _MOST_OTHER,
        }
        self._dropped = dropped
        self._log = OutageLog(logger, "Redis stores all of the history again")
        self._chunks: dict[int, deque[Chunk]] = {}
        self._rows = dict.fromkeys(self._most, 0)
        self._event_bytes = 0
        self._once: set[str] = set()

    def __len__(self) -> int:
        """How many rows wait. Any thread."""
        return sum(self._rows.values())

    def put(self, chunk: Chunk) -> None:
        if chunk.once in self._once:
            return
        if chunk.once:
            self._once.add(chunk.once)
        self._chunks.setdefault(chunk.command.shard, deque()).append(chunk)
        self._rows[chunk.kind] += chunk.rows
        self._event_bytes += chunk.bytes

    def bound(self) -> None:
        """Drops the oldest of what there is too much of. To be called when what can be sent was."""
        for kind, most in self._most.items():
            while self._rows[kind] > most or (kind == EVENTS and self._event_bytes > self._bounds.event_bytes):
                if not self._drop(kind):
                    break

    def _drop(self, kind: str) -> bool:
        """Drops the oldest chunk of this kind of the shard that has most."""
        for chunks in sorted(self._chunks.values(), key=len, reverse=True):
            for chunk in chunks:
                if chunk.kind == kind and chunk.rows:
                    chunks.remove(chunk)
                    self._done(chunk)
                    if kind != OTHER:
                        setattr(self._dropped, kind, getattr(self._dropped, kind) + chunk.rows)
                    return True
        return False

    def send(self) -> Iterator[Unreachable | None]:
        """Sends what waits, in parts. Yields after each why something of it still waits."""
        failed: set[int] = set()
        while some := self._next(failed):
            error = None
            answers = self._link.execute([chunk.command for chunk in some])
            for chunk, answer in zip(some, answers, strict=True):
                shard = chunk.command.shard
                if isinstance(answer, Unreachable):
                    error = answer
                    failed.add(shard)
                elif shard not in failed:  # otherwise one before it is repeated, and so is this one
                    self._chunks[shard].popleft()
                    self._done(chunk)
                    if isinstance(answer, Exception):
                        self._fault(chunk, answer)
            yield error

    def _next(self, failed: set[int]) -> list[Chunk]:
        some: list[Chunk] = []
        size = 0
        for shard in list(self._chunks):
            if not self._chunks[shard]:
                del self._chunks[shard]
            elif shard not in failed:
                for chunk in self._chunks[shard]:
                    some.append(chunk)
                    size += chunk.bytes
                    if len(some) >= COMMANDS_AT_ONCE or size >= BYTES_AT_ONCE:
                        return some
        return some

    def _done(self, chunk: Chunk) -> None:
        self._rows[chunk.kind] -= chunk.rows
        self._event_bytes -= chunk.bytes
        self._once.discard(chunk.once)

    def _fault(self, chunk: Chunk, error: Exception) -> None:
        self.faults += chunk.rows
        self._log.failed(f"Redis refuses to store {chunk.rows} rows ({chunk.kind}): {error}")
