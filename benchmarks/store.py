# SPDX-License-Identifier: MIT
"""The monitor's store in SQLite: the cost of a put, rows written a second, delays of its loop, and large queries.

`python benchmarks/store.py [--events 1000000] [--folder FOLDER]`; needs heartfelt[monitor].

Puts are timed one by one, less the cost of reading the clock. Writing takes from the first put to the end of `flush`,
and is compared with `executemany` of prepared rows, into the same tables, in one transaction.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from heartfelt.monitor.model import AgentEvent, Change, InstanceRow, Level, State
from heartfelt.monitor.store import EventFilter, rows
from heartfelt.monitor.store.schema import configure, prepare
from heartfelt.monitor.store.sqlite import Bounds, Retention, SqliteStore

ROWS = 50_000
NO_BOUNDS = Bounds(changes=1 << 40, events=1 << 40, event_bytes=1 << 50, deliveries=1 << 40, cells=1 << 40)
ALL = Retention(file_bytes=1 << 50)
META = {
    "hostName": "host",
    "ip": ["10.0.0.1"],
    "appName": "shop",
    "version": "2.2.0",
    "pluginInfoMap": {f"plugin-{n}": {"name": f"plugin-{n}", "version": "2.2.0"} for n in range(13)},
}
draw = random.Random(1)


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def event(n: int, start_ms: int) -> AgentEvent:
    return AgentEvent(
        time_ms=start_ms + n,
        received_ms=start_ms + n,
        service=f"service-{draw.randrange(100)}",
        instance_id=f"6f9619ff-8b86-d011-b42d-00c04fc9{draw.randrange(10_000):04}",
        ip=f"10.0.{draw.randrange(16)}.{draw.randrange(250)}",
        scope="framework",
        level=draw.choices(list(Level), (1, 9, 90))[0],
        type=draw.choice(("OPERATION", "GOVERNANCE", "LOG")),
        info={"name": f"NAME_{draw.randrange(30)}", "description": f"what happened the {n}th time, in a few words"},
    )


def instance(n: int) -> InstanceRow:
    return InstanceRow(
        id=n,
        service=f"service-{n % 100}",
        instance_id=f"instance-{n}",
        state=State.UP,
        since_ms=0,
        reason="It beats.",
        first_seen_ms=0,
        last_beat_ms=0,
        meta=META,
        via="sermant",
        peer="10.0.0.1:5000",
    )


def change(n: int) -> Change:
    return Change(
        seq=n,
        time_ms=now_ms(),
        id=n,
        service=f"service-{n % 100}",
        instance_id=f"instance-{n}",
        old=State.UP,
        new=State.LOST,
        level=Level.IMPORTANT,
        reason="No beat for 60 s.",
        ip="10.0.0.1",
    )


def clock_ns() -> float:
    clock = time.perf_counter_ns
    return statistics.median(-(clock() - clock()) for _ in range(10_000))


def timed_puts(put: Callable[..., None], values: list[Any]) -> list[float]:
    clock, cost = time.perf_counter_ns, clock_ns()
    took = []
    for value in values:
        begin = clock()
        put(value)
        took.append(clock() - begin - cost)
    return sorted(took)


async def puts_and_writing(folder: Path) -> None:
    store = SqliteStore(folder / "puts.db", bounds=NO_BOUNDS, retention=ALL)
    store.open()
    start = now_ms()
    kinds: dict[str, tuple[Callable[..., None], list[Any]]] = {
        "put_instance (1 kB of metadata)": (store.put_instance, [instance(n) for n in range(1, ROWS)]),
        "put_beats (of one instance)": (store.put_beats, [{n: start} for n in range(1, ROWS)]),
        "put_change": (store.put_change, [change(n) for n in range(1, ROWS)]),
        "put_event": (store.put_event, [event(n, start) for n in range(1, ROWS)]),
    }
    plain = {"put_event": plain_events, "put_change": plain_changes}
    print(f"{'':34}{'p50':>9}{'p99':>9}{'max':>9}   rows a second")
    for name, (put, values) in kinds.items():
        begin = time.perf_counter()
        took = timed_puts(put, values)
        await store.flush()
        rate = len(values) / (time.perf_counter() - begin)
        line = f"{name:34}{took[len(took) // 2]:6.0f} ns{took[len(took) * 99 // 100]:6.0f} ns{took[-1] / 1e6:6.1f} ms"
        line += f"   {rate:9,.0f}"
        if name in plain:
            line += f", {rate / plain[name](folder, values):.2f} times a plain executemany"
        print(line)
    many = dict.fromkeys(range(1, ROWS), start + 1)
    begin = time.perf_counter()
    store.put_beats(many)
    put = time.perf_counter() - begin
    await store.flush()
    rate = len(many) / (time.perf_counter() - begin)
    print(f"{f'put_beats (of {ROWS:,})':34}{put * 1e9:6.0f} ns{'':18}   {rate:9,.0f}")
    await held_up(store)
    store.close()


def plain_events(folder: Path, values: list[AgentEvent]) -> float:
    return plain(folder, "events", rows.EVENT_COLUMNS, [rows.event_row(value) for value in values])


def plain_changes(folder: Path, values: list[Change]) -> float:
    return plain(folder, "changes", rows.CHANGE_COLUMNS, [rows.change_row(value) for value in values])


def plain(folder: Path, table: str, columns: str, values: list[Any]) -> float:
    path = folder / f"plain-{table}.db"
    connection = sqlite3.connect(path, isolation_level=None)
    configure(connection, busy_ms=100)
    prepare(connection)
    begin = time.perf_counter()
    connection.execute("BEGIN")
    marks = ",".join("?" * len(values[0]))
    connection.executemany(f"INSERT INTO {table} ({columns}) VALUES ({marks})", values)
    connection.execute("COMMIT")
    took = time.perf_counter() - begin
    connection.close()
    return len(values) / took


async def held_up(store: SqliteStore) -> None:
    """The lateness of a coroutine that sleeps for 1 ms again and again: idle, and while the store writes."""

    async def lateness(stop: asyncio.Event) -> list[float]:
        late = []
        while not stop.is_set():
            begin = time.perf_counter()
            await asyncio.sleep(0.001)
            late.append((time.perf_counter() - begin - 0.001) * 1000)
        return sorted(late)

    for name, number in (("idle", 0), (f"{ROWS:,} events are written", ROWS)):
        for n in range(number):
            store.put_event(event(n, now_ms()))
        stop = asyncio.Event()
        late = asyncio.create_task(lateness(stop))
        await store.flush()
        if not number:
            await asyncio.sleep(1)
        stop.set()
        found = await late
        print(
            f"a coroutine that sleeps 1 ms, {name}: late by p50 {found[len(found) // 2]:.2f}, "
            f"p99 {found[len(found) * 99 // 100]:.2f}, at most {found[-1]:.2f} ms ({len(found)} times)"
        )


async def queries(folder: Path, count: int) -> None:
    store = SqliteStore(folder / "events.db", bounds=NO_BOUNDS, retention=ALL)
    store.open()
    start = now_ms() - count
    begin = time.perf_counter()
    for first in range(0, count, ROWS):
        for n in range(first, min(first + ROWS, count)):
            store.put_event(event(n, start))
        await store.flush()
    took = time.perf_counter() - begin
    print(f"{count:,} events: written at {count / took:,.0f}/s, {store.health().bytes / count:.0f} bytes each")
    minute = 60_000
    middle = start + count // 2
    one = "6f9619ff-8b86-d011-b42d-00c04fc90042"
    asked = {
        "the newest 50": EventFilter(),
        "of a service": EventFilter(services=("service-7",)),
        "of five services": EventFilter(services=tuple(f"service-{n}" for n in range(5))),
        "of an instance": EventFilter(instance_ids=(one,)),
        "EMERGENCY": EventFilter(levels=(Level.EMERGENCY,)),
        "EMERGENCY, of a service, LOG": EventFilter(levels=(Level.EMERGENCY,), services=("service-7",), types=("LOG",)),
        "of 5 s, long ago": EventFilter(start_ms=middle, end_ms=middle + 5000),
        "of 2 minutes, long ago": EventFilter(start_ms=middle, end_ms=middle + 2 * minute),
        "of a service, 2 minutes, long ago": EventFilter(
            services=("service-7",), start_ms=middle, end_ms=middle + 2 * minute
        ),
        "with a text that is rare": EventFilter(text=f"the {count - 50_000}th"),
        "with a text that is nowhere": EventFilter(text="nowhere"),
        "of nobody": EventFilter(services=("nobody",)),
    }
    print(f"{'50 events, newest first':38}{'events()':>12}{'count_events()':>18}")
    for name, which in asked.items():
        listing = [await took_ms(store.events(which, before=None, limit=50)) for _ in range(7)]
        counting = [await took_ms(store.count_events(which)) for _ in range(3)]
        print(f"{name:38}{statistics.median(listing):9.2f} ms{statistics.median(counting):15.2f} ms")
    store.close()


async def took_ms(call: Any) -> float:
    begin = time.perf_counter()
    await call
    return (time.perf_counter() - begin) * 1000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the files are made: on the disk that is of interest")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=options.folder) as folder:
        print(f"SQLite {sqlite3.sqlite_version}")
        asyncio.run(puts_and_writing(Path(folder)))
        asyncio.run(queries(Path(folder), options.events))


if __name__ == "__main__":
    main()
