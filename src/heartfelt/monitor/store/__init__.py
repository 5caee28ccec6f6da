# SPDX-License-Identifier: MIT
"""Stores what the monitor remembers. `Store` is the interface; sqlite.py implements it for one machine.

Writing never waits: each `put_*` queues a record, and a thread of the store writes everything that is queued in one
transaction, at most `FLUSH_S` later. The queue is bounded while nothing can be written: only the newest row of an
instance is kept, and the oldest changes and events are dropped and counted. Reads are coroutines, which do not hold up
the loop. A coroutine raises StoreError if the store is closed, cannot be read or written now, or takes longer than
`READ_S`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from heartfelt.errors import StoreError
from heartfelt.monitor.model import AgentEvent, Change, Hold, InstanceRow, Level, Run

if TYPE_CHECKING:
    from heartfelt.monitor.store.kept import Retention

__all__ = [
    "FLUSH_S",
    "HEAT_CELLS",
    "LEASE_MS",
    "OPEN_RUNS",
    "READ_S",
    "REMOVED",
    "RUNS_KEPT",
    "TEXT_CHARS",
    "TEXT_SCAN",
    "Backlog",
    "Delivery",
    "EventCursor",
    "EventFilter",
    "Health",
    "HeatCell",
    "Keys",
    "Saved",
    "Store",
    "StoreError",
    "StoreReader",
    "StoredEvent",
    "Superseded",
    "UptimeDay",
    "WatchedTime",
    "Who",
]

Who = tuple[str, str]
"""A service and an instance of it."""
Keys = tuple[str, ...]
"""The keys of deliveries."""

FLUSH_S = 0.25
READ_S = 10.0
TEXT_SCAN = 100_000
"""How many events a search for text looks at: the newest below `before` that match the rest of the filter."""
TEXT_CHARS = 1000
"""The longest text that can be searched for."""
HEAT_CELLS = 200_000
"""The most cells that one call of `heat` returns: the newest."""
OPEN_RUNS = 10_000
"""How many runs that have not ended are read when the store is opened."""
RUNS_KEPT = 100
"""How many runs of an instance are kept: the newest."""
REMOVED = 10_000
"""How many removed instances `Saved` has, from the newest 10 * REMOVED changes."""
LEASE_MS = 120_000
"""After this time a delivery that was claimed and not finished may be claimed again: its monitor died."""


class Saved(msgspec.Struct, kw_only=True):
    """The contents of a store when it was opened."""

    instances: list[InstanceRow]
    """Their `meta` may be a `shared_meta.Packed`."""
    next_id: int
    next_seq: int
    hold: Hold
    runs: list[Run]
    """Those that have not ended: the newest OPEN_RUNS of all instances."""
    next_run: int
    closed_cleanly: bool
    last_written_ms: int | None
    removed: list[tuple[str, str]] = []
    """Instance id and service of the last instances that were removed, at most REMOVED, the newest last."""


class Health(msgspec.Struct, kw_only=True, frozen=True):
    """`ok` is False from the first write that fails until the next one that succeeds, while the disk cannot be read,
    and from when the file is known to be damaged until a start with one that is not."""

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
    """Cells of `put_counts`; a cell is one service in one minute."""
    dropped_runs: int = 0
    dropped_days: int = 0
    """Days of single services, with the losses and the times of `put_uptime` that waited for them."""
    refused: int = 0
    """Rows that can never be stored, such as those with a number of more than 64 bits; each is logged."""
    failures: int = 0
    """Attempts to write that failed."""
    removed: int = 0
    """Rows that were deleted because of their age or the file's size."""
    unsent: int = 0
    """Deliveries among `removed` that had been neither done nor given up."""
    damaged: bool = False
    """The structure of the file is damaged: `error` says what to do."""
    damaged_rows: int = 0
    """Rows that could not be read since the start, and were left out; each is logged."""
    damaged_by_table: dict[str, int] = {}
    """The same by table."""
    last_beat_ms: int | None = None
    """The newest heartbeat that was written since the start."""
    waiting_instances: int = 0
    """Instances among `waiting`."""


class EventFilter(msgspec.Struct, kw_only=True, frozen=True):
    """Fields are ANDed, values within a field ORed; an empty field matches everything."""

    services: tuple[str, ...] = ()
    instance_ids: tuple[str, ...] = ()
    ips: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    levels: tuple[Level, ...] = ()
    names: tuple[str, ...] = ()
    """`AgentEvent.name`."""
    text: str = ""
    """Text that occurs somewhere in the event; the case of ASCII letters does not matter. At most TEXT_CHARS."""
    start_ms: int | None = None
    """The earliest `AgentEvent.time_ms` that matches."""
    end_ms: int | None = None
    """The latest one that matches."""
    newest: int | None = None
    """The highest number that matches: events that arrive later are left out, whatever their times."""


class EventCursor(msgspec.Struct, frozen=True):
    """The place of an event in a list of events, which stays the same when others arrive, late ones too."""

    at_ms: int
    """`AgentEvent.at_ms`."""
    number: int


class StoredEvent(msgspec.Struct, kw_only=True, frozen=True):
    number: int
    event: AgentEvent

    @property
    def cursor(self) -> EventCursor:
        return EventCursor(self.event.at_ms, self.number)


class UptimeDay(msgspec.Struct, kw_only=True, frozen=True):
    """One day of a service, in UTC. docs/uptime.md defines the times."""

    service: str
    day: str
    """2026-11-22."""
    watched_s: float
    """Time that its instances were watched, summed over them."""
    up_s: float
    """Time of `watched_s` in which the instance was up."""
    observed_s: float
    """Time in which at least one instance was watched. 0 on days before version 3 of the schema."""
    available_s: float
    """Time of `observed_s` in which at least `service.NAME.min_up` instances were up."""
    losses: int
    """How often an instance became LOST."""
    failures: int
    """How often an instance became FAILED."""


class WatchedTime(NamedTuple):
    """Seconds of a service on a day, to be added to what is stored; see UptimeDay."""

    watched_s: float
    up_s: float
    observed_s: float
    available_s: float


class HeatCell(msgspec.Struct, kw_only=True, frozen=True):
    """One minute of a service: the largest number of instances watched, and the smallest number of them up."""

    service: str
    minute_ms: int
    total: int
    up: int


class StoreReader(Protocol):
    """Reads. Lists are newest first.

    before: the number or seq to continue from. start_ms, end_ms: the first and the last that match.
    """

    async def changes(self, *, id: int | None, service: str | None, before: int | None, limit: int) -> list[Change]: ...
    async def events(self, which: EventFilter, *, before: EventCursor | int | None, limit: int) -> list[StoredEvent]:
        """Returns events in the order of `AgentEvent.at_ms`, and of their numbers where that is the same, the newest
        first. `before`: the cursor of the event to continue from, or its number. With `text`, only TEXT_SCAN events are
        searched: fewer results than `limit` may then mean that older events were not looked at. Raises ConfigError if
        the text is too long."""

    async def newest_event(self) -> int:
        """Returns the highest number of an event; 0 if there is none."""

    async def count_events(self, which: EventFilter) -> dict[Level, int]:
        """Returns a count for every level. With `text`, only the newest TEXT_SCAN events that match the rest are
        searched."""

    async def uptime(self, services: tuple[str, ...], days: int) -> list[UptimeDay]:
        """Returns today and the days before it, in UTC. `services` empty: all services."""

    async def heat(self, services: tuple[str, ...], start_ms: int, end_ms: int) -> list[HeatCell]: ...
    async def runs(self, id: int, *, before: int | None, limit: int) -> list[Run]:
        """Returns the runs of an instance, the newest first."""

    async def deliveries(self, target: str | None, before: int | None, limit: int) -> list[Delivery]: ...


class Store(StoreReader, Protocol):
    left_running: int
    """Threads that did not end in time."""

    @property
    def stop_s(self) -> float:
        """The longest time that `close` takes."""

    def retain(self, retention: Retention) -> None:
        """Keeps records as long as this says from now on. Any thread may call it."""

    def open(self) -> Saved:
        """Blocks. Raises StoreError, with the remedy, if the file cannot be used."""

    def close(self) -> None:
        """Writes what is queued, for at most a few seconds; blocks. Idempotent."""

    def health(self) -> Health:
        """Returns the state from memory, without waiting. Callable from any thread."""

    async def flush(self) -> None:
        """Returns when everything that was put before the call is stored and can be read. Raises StoreError if
        it cannot be stored now."""

    # -- writing: only from the loop's thread; none of these waits or raises
    def put_instance(self, row: InstanceRow) -> None: ...
    def put_beats(self, last_beat_ms: dict[int, int]) -> None:
        """Stores the last beats of instances that did not change otherwise. The store takes over the dict."""

    def remove_instance(self, id: int) -> None: ...
    def put_change(self, change: Change) -> None: ...
    def put_event(self, event: AgentEvent) -> None: ...
    def put_run(self, run: Run) -> None:
        """Stores a run, in place of an earlier state of it. Only the newest RUNS_KEPT of its instance are kept."""

    def put_hold(self, hold: Hold) -> None: ...
    def put_counts(self, minute_ms: int, counts: dict[str, tuple[int, int]]) -> None:
        """Stores (instances watched, instances up) of each service in this minute, for the heat map."""

    def put_uptime(self, times: dict[tuple[int, str], WatchedTime]) -> None:
        """Adds times to the days of services. Keys: (days since 1970 in UTC, service)."""

    # -- small named documents, written at once: tokens, webhook targets, settings changed at run time
    async def get_document(self, kind: str, name: str) -> Any | None: ...
    async def put_document(self, kind: str, name: str, value: Any) -> None: ...
    async def delete_document(self, kind: str, name: str) -> bool: ...
    async def documents(self, kind: str) -> dict[str, Any]: ...

    # -- the outbox: waiting deliveries, in order per subject; each is claimed by one worker (a conditional UPDATE)
    def put_delivery(
        self, target: str, key: str, payload: Any, *, subject: str = "", level: Level = Level.NORMAL
    ) -> None:
        """Queues a delivery, unless one with this key was put for this target before: one delivery per change. Those of
        one target and subject are in order: each waits until those before it are done or given up."""

    async def next_deliveries(self, now_ms: int, limit: int, room: Mapping[str, int] | None = None) -> list[Delivery]:
        """Returns deliveries that are due, the most urgent levels first, then the longest due, and claims them for
        LEASE_MS, so that no other worker gets them. room: the most for a target; `limit` for a target that is not in
        it. `attempts` includes the attempt that begins now."""

    async def finish_delivery(
        self, number: int, *, ok: bool, retry_at_ms: int | None, answer: str, tried: bool = True
    ) -> None:
        """Marks a delivery as done if `ok`, as waiting until `retry_at_ms` if that is given, otherwise as given up.
        Does nothing if it is done or given up already. tried: False, if the target was not called: the attempt does not
        count."""

    async def drop_deliveries(self, target: str, answer: str, *, forget: bool = False) -> int:
        """Marks all waiting deliveries of a target as given up, also claimed ones, and returns their number. forget:
        also forgets what the target was told."""

    async def hasten_deliveries(self, target: str, now_ms: int) -> None:
        """Makes deliveries due that wait for their next attempt."""

    async def delivery_states(self, target: str, keys: Iterable[str]) -> dict[str, str]:
        """Returns the state of each of these deliveries that is stored. Those put before the call may be missing for
        FLUSH_S."""

    def put_told(self, target: str, instances: dict[Who, Keys | None]) -> None:
        """Records by which deliveries a target was told that these instances are down; None: that is over. Never waits.
        The store takes over the dict."""

    async def told(self) -> dict[str, dict[Who, Keys]]:
        """Returns what was recorded by `put_told`, by target."""

    async def waiting_deliveries(self) -> dict[str, Backlog]:
        """Returns how many deliveries of each target are neither done nor given up, including those not written yet."""


class Superseded(StoreError):
    """Another monitor leads now, so this one may not write what only the leader writes."""


class Backlog(msgspec.Struct, kw_only=True, frozen=True):
    """The deliveries that wait for one target."""

    count: int
    oldest_ms: int
    """When the oldest one was put."""


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
    """When it is due, or, if it is claimed, when the claim ends. None: it is settled, or waits for an earlier one."""
    answer: str
    """The result of the last attempt: the HTTP status, or the error."""
