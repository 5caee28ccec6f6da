# SPDX-License-Identifier: MIT
"""Uses of the public API for the type checker. Checked by mypy, never run.

Right uses are assigned to annotated names. Wrong uses carry an ignore, and mypy warns of one that is not needed.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from heartfelt import (
    Event,
    Events,
    EventType,
    Heart,
    HeartHub,
    HubClosed,
    HubStats,
    KeyNotWatched,
    ShardStats,
    SnapshotError,
    Watch,
    WatchState,
)
from heartfelt.testing import ManualClock

clock = ManualClock()
hub: HeartHub = HeartHub(1, parallelism=2, subscribe={EventType.JOIN}, clock=clock, on_full="block")
HeartHub(timedelta(seconds=1), on_event=print, logger=None)
HeartHub(timeout="1")  # type: ignore[arg-type]
HeartHub(1.0, 2)  # type: ignore[call-arg]
HeartHub(subscribe=EventType.JOIN)  # type: ignore[arg-type]
HeartHub(on_event=lambda: None)  # type: ignore[misc, arg-type]
HeartHub(clock=0)  # type: ignore[arg-type]


def beats() -> None:
    hub.heartbeat("a")
    hub.heartbeat(b"a", timeout=0.5, extra={"v": 1}, disposable=False)
    hub.heartbeat(1, timeout=timedelta(1), extra=None)
    hub.heartbeat(1.5)  # type: ignore[arg-type]
    hub.heartbeat(None)  # type: ignore[arg-type]
    hub.heartbeat("a", 1)  # type: ignore[call-arg]
    hub.heartbeat("a", timeout="1")  # type: ignore[arg-type]
    hub.heartbeat("a", disposable="no")  # type: ignore[arg-type]
    nothing: int = hub.heartbeat("a")  # type: ignore[func-returns-value, assignment]
    del nothing
    hub.heartbeat_many(["a", b"b", 1])
    hub.heartbeat_many((key for key in ["a"]), timeout=1)
    hub.heartbeat_many([1.5])  # type: ignore[list-item]
    hub.heartbeat_many(1)  # type: ignore[arg-type]
    hub.heartbeat_ids(hub.ids(["a"]))
    hub.heartbeat_ids(array("q", [1]))
    hub.heartbeat_ids(memoryview(b""))
    hub.heartbeat_ids([1, 2])  # type: ignore[arg-type]
    hub.remove("a", missing_ok=True)
    hub.remove("a", True)  # type: ignore[call-arg]


def hearts() -> None:
    heart: Heart = hub.heart("a", timeout=1, extra=None, disposable=True)
    beat: Callable[[], None] = heart
    beat()
    heart.beat()
    heart.beat("a")  # type: ignore[call-arg]
    key: str | bytes | int = heart.key
    of: HeartHub = heart.hub
    heart.key = "b"  # type: ignore[misc]
    del key, of


def as_a_mapping() -> None:
    mapping: Mapping[str | bytes | int, Watch] = hub
    keys: Iterator[str | bytes | int] = iter(hub)
    watch: Watch = hub["a"]
    maybe: Watch | None = hub.get("a")
    state: WatchState = watch.state
    known: bool = "a" in hub
    size: int = len(hub)
    watch.missed = 1  # type: ignore[misc]
    hub["a"] = watch  # type: ignore[index]
    del hub["a"]  # type: ignore[attr-defined]
    del mapping, keys, maybe, state, known, size


def reading() -> None:
    events: Events = hub.events
    event: Event = events.get(timeout=1)
    event = events.get(False)
    event = events.get_nowait()
    some: list[Event] = events.get_many(3, timeout=timedelta(seconds=1))
    for event in events:
        kind: EventType = event.type
        times: tuple[float, float, float, float, float, float] = (
            event.timeout,
            event.join_time,
            event.beat_time,
            event.deadline,
            event.event_time,
            event.lateness,
        )
        missed: int = event.missed
        disposable: bool = event.disposable
        fields: dict[str, Any] = event.to_dict()
        del kind, times, missed, disposable, fields
    descriptor: int = events.fileno()
    waits: int = events.qsize()
    none: bool = events.empty()
    events.get_many()  # type: ignore[call-arg]
    events.get(timeout="1")  # type: ignore[arg-type]
    event.key = "b"  # type: ignore[misc]
    events.nothing()  # type: ignore[attr-defined]
    del some, descriptor, waits, none


async def reading_in_asyncio() -> None:
    event: Event = await hub.events.aget()
    async for event in hub.events:
        del event
    wrong: Event = hub.events.aget()  # type: ignore[assignment]
    del wrong


def matching(event: Event) -> str:
    match event:
        case Event(EventType.TIME_OUT, key, missed=missed):
            return f"{key} {missed}"
        case _:
            return ""


def callbacks() -> None:
    @hub.on(EventType.TIME_OUT)
    def told(event: Event) -> int:
        return event.missed

    same: Callable[[Event], int] = told  # the decorator keeps the function's own type
    del same

    @hub.on()  # type: ignore[type-var]
    def takes_no_event() -> None: ...

    hub.on("TIME_OUT")  # type: ignore[arg-type]


class Mine(HeartHub):
    """A subclass stays itself in `with`."""


def saving() -> None:
    hub.save("hub.snapshot", extras=True)
    hub.save(Path("hub.snapshot"))
    hub.save(1)  # type: ignore[arg-type]
    same: Mine = Mine.restore("hub.snapshot", grace=timedelta(minutes=5), extras=False, timeout=30, parallelism=2)
    HeartHub.restore("hub.snapshot", 5)  # type: ignore[call-arg]
    as_value_error: type[ValueError] = SnapshotError
    del same, as_value_error


def the_rest() -> None:
    with Mine() as mine:
        mine_still: Mine = mine
    del mine_still
    with hub as entered:
        again: HeartHub = entered
    stats: HubStats = hub.stats()
    shards: tuple[ShardStats, ...] = stats.shards
    closed: bool = hub.closed
    clock.advance(1)
    clock.advance(timedelta(seconds=1))
    clock.advance("1")  # type: ignore[arg-type]
    time: float = clock.time()
    as_key_error: type[KeyError] = KeyNotWatched
    as_exception: type[Exception] = HubClosed
    stats.keys = 1  # type: ignore[misc]
    hub.closed = True  # type: ignore[misc]
    del again, shards, closed, time, as_key_error, as_exception
