# SPDX-License-Identifier: MIT
"""What the monitor remembers. `Store` is the interface; sqlite.py is the embedded one, for one machine.

Writing never waits: each `put_*` notes what is to be written, and a thread of the store's writes all that was noted,
in one transaction, at most `FLUSH_S` later. What is noted while nothing can be written is bounded: of an instance the
newest row counts, of changes and events the oldest are dropped, and counted. Reading is by coroutines, which do not
hold up the loop. A coroutine raises StoreError if the store is closed, cannot be read or written now, or takes longer
than `READ_S`.
"""

from __future__ import annotations

from typing import Any, Protocol

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level

__all__ = [
    "FLUSH_S",
    "HEAT_CELLS",
    "LEASE_MS",
    "READ_S",
    "TEXT_CHARS",
    "TEXT_SCAN",
    "Backlog",
    "Delivery",
    "EventFilter",
    "Health",
    "HeatCell",
    "Saved",
    "Store",
    "StoreError",
    "StoredEvent",
    "UptimeDay",
]

FLUSH_S = 0.25
READ_S = 10.0
TEXT_SCAN = 100_000
"""A search for text looks at so many events at most: the newest below `before` that fit the rest of the filter."""
TEXT_CHARS = 1000
"""The longest text that is searched for."""
HEAT_CELLS = 200_000
"""So many cells at most, the newest, are given by one call of `heat`."""
LEASE_MS = 120_000
"""A delivery that was claimed and not finished for so long may be claimed again: its monitor died."""


class Saved(msgspec.Struct, kw_only=True):
    """What a store knew when it was opened."""

    instances: list[InstanceRow]
    next_id: int
    next_seq: int
    hold: Hold
    closed_cleanly: bool
    last_written_ms: int | None


class Health(msgspec.Struct, kw_only=True, frozen=True):
    """`ok` is False from the first write that failed to the next that did not."""

    ok: bool
    error: str | None
    waiting: int
    dropped_changes: int
    dropped_events: int
    writes: int
    bytes: int
    last_written_ms: int | None
    dropped_deliveries: int = 0
    dropped_counts: int = 0
    """Cells (a service, a minute) of `put_counts`."""
    refused: int = 0
    """Rows that can never be stored, as with a number of more than 64 bits; each is logged."""
    failures: int = 0
    """Attempts to write that failed."""
    removed: int = 0
    """Rows that were deleted because of their age or the file's size."""
    unsent: int = 0
    """Of these, deliveries that had been neither done nor given up."""


class EventFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Of each that is given one must fit; what is empty fits all."""

    services: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    names: tuple[str, ...] = ()
    """`info["name"]`."""
    text: str = ""
    """Occurs somewhere in the event's words; ASCII letters of either case. At most TEXT_CHARS."""
    start_ms: int | None = None
    """The first `AgentEvent.time_ms` that fits."""
    end_ms: int | None = None
    """The last one that fits."""


class StoredEvent(msgspec.Struct, kw_only=True, frozen=True):
    number: int
    event: AgentEvent


class UptimeDay(msgspec.Struct, kw_only=True, frozen=True):
    """Of a service, one day in UTC: instance-seconds watched, and of these those in which the instance was up."""

    service: str
    day: str
    """2026-11-22."""
    watched_s: float
    up_s: float
    losses: int


class HeatCell(msgspec.Struct, kw_only=True, frozen=True):
    """Of a service, a minute: how many instances there were, and how many were up, at most and at least."""

    service: str
    minute_ms: int
    total: int
    up: int


class Store(Protocol):
    def open(self) -> Saved:
        """Blocks. Raises StoreError if the file cannot be used: it says what to do."""

    def close(self) -> None:
        """Writes what waits, for at most a few seconds; blocks. Idempotent."""

    def health(self) -> Health:
        """From memory: never waits. From any thread."""

    async def flush(self) -> None:
        """Returns when all that was put before the call is stored, and can be read. StoreError if it cannot be now."""

    # -- written by the loop's thread alone; none waits, none raises
    def put_instance(self, row: InstanceRow) -> None: ...
    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        """Last beats of instances of which nothing else is new. The dict is the store's from now on."""

    def remove_instance(self, id: int) -> None: ...
    def put_change(self, change: Change) -> None: ...
    def put_event(self, event: AgentEvent) -> None: ...
    def put_hold(self, hold: Hold) -> None: ...
    def put_counts(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        """Of each service: instances, and instances up, in this minute. Uptime and heat map are made of it."""

    # -- read; newest first; `before`: a number or seq, to go on from
    # -- start_ms, end_ms: the first and the last that fit
    async def changes(self, *, id: int | None, service: str | None, before: int | None, limit: int) -> list[Change]: ...
    async def events(self, which: EventFilter, *, before: int | None, limit: int) -> list[StoredEvent]:
        """In the order in which they were received. With `text`, see TEXT_SCAN: fewer than `limit` may then mean that
        the rest was not looked at; ConfigError if the text is too long."""

    async def count_events(self, which: EventFilter) -> dict[Level, int]:
        """Every level is in it. With `text`: of the newest TEXT_SCAN that fit the rest."""

    async def uptime(self, services: tuple[str, ...], days: int) -> list[UptimeDay]:
        """Of today and the days before it, in UTC; no services: all."""

    async def heat(self, services: tuple[str, ...], start_ms: int, end_ms: int) -> list[HeatCell]: ...

    # -- small documents by name, written at once: tokens, webhook targets, settings changed at run time
    async def get_document(self, kind: str, name: str) -> Any | None: ...
    async def put_document(self, kind: str, name: str, value: Any) -> None: ...
    async def delete_document(self, kind: str, name: str) -> bool: ...
    async def documents(self, kind: str) -> dict[str, Any]: ...

    # -- the outbox: deliveries that wait, in order per target; claimed by one worker (a conditional UPDATE)
    def put_delivery(self, target: str, key: str, payload: Any) -> None:
        """Nothing if a delivery with this key was put for this target before: one delivery a change."""

    async def next_deliveries(self, now_ms: int, limit: int) -> list[Delivery]:
        """The oldest of each target, if it is due, claimed for LEASE_MS, so that no other reader has it. The next one
        of a target is given only when the one before is done or given up. `attempts` counts the one that now
        begins."""

    async def finish_delivery(self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str) -> None:
        """Done; or to be tried again at that time; or, if neither, given up. Nothing if that is settled already."""

    async def waiting_deliveries(self) -> dict[str, Backlog]:
        """The deliveries of each target that are neither done nor given up, also those not written yet."""

    async def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]: ...


class Backlog(msgspec.Struct, kw_only=True, frozen=True):
    """What waits for one target."""

    count: int
    oldest_ms: int
    """When the oldest of them was put."""


class Delivery(msgspec.Struct, kw_only=True, frozen=True):
    number: int
    target: str
    key: str
    payload: Any
    created_ms: int
    attempts: int
    state: str
    """"waiting", "claimed", "done" or "failed"."""
    next_ms: int | None
    """When it is due; if claimed, when the claim ends."""
    answer: str
    """Of the last attempt: its status, or what went wrong."""
