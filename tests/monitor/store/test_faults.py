# SPDX-License-Identifier: MIT
"""The SQLite store when it cannot write: nothing waits, nothing raises, memory is bounded, and it goes on by itself."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sqlite3
import subprocess
import sys
import textwrap
import threading

import pytest

pytest.importorskip("msgspec")
from heartfelt.errors import StoreError
from heartfelt.monitor.model import Hold
from heartfelt.monitor.reasons import text_reason
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.store.sqlite import Bounds, SqliteStore
from tests.monitor.store.values import MINUTE_MS, NOON_MS, Clock, change, event, instance, until

run = asyncio.run
BOUNDS = Bounds(changes=100, events=80, event_bytes=1 << 20, deliveries=60, cells=50)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "heartfelt.db"


@pytest.fixture
def opened():
    """opened(path, **options): a store that is open, and closed when the test ends."""
    stores = []

    def make(path, **options):
        stores.append(SqliteStore(path, wall_ms=Clock(), **{"bounds": BOUNDS, **options}))
        stores[-1].open()
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def put_all(store, first, count):
    """Puts `count` records of each kind: five instances with new rows, and the rest under new numbers."""
    for n in range(first, first + count):
        store.put_instance(instance(1 + n % 5, reason=text_reason(f"reason {n}")))
        store.put_beats({1 + n % 5: NOON_MS + n})
        store.put_change(change(n))
        store.put_event(event(n))
        store.put_delivery("target", f"key {n}", n)
        store.put_counts(NOON_MS + n * MINUTE_MS, {"shop": (2, 1)})
        store.put_hold(Hold(reason=text_reason(f"hold {n}")))


def stored(store):
    """The numbers of the changes, events and deliveries that are in the file."""

    async def read():
        await store.flush()
        changes = await store.changes(id=None, service=None, before=None, limit=10_000)
        events = await store.events(EventFilter(), before=None, limit=10_000)
        deliveries = await store.deliveries(None, None, 10_000)
        heat = await store.heat((), NOON_MS, NOON_MS + 10_000 * MINUTE_MS)
        return (
            [c.seq for c in reversed(changes)],
            [e.event.time_ms - NOON_MS for e in reversed(events)],
            [d.payload for d in reversed(deliveries)],
            [(cell.minute_ms - NOON_MS) // MINUTE_MS for cell in reversed(heat)],
        )

    return run(read())


def newest(before, last, bounds=BOUNDS):
    """Returns what the file must hold: everything from before, and as much of the rest as may wait."""
    return tuple(
        [*range(1, before + 1), *range(max(before + 1, last - most + 1), last + 1)]
        for most in (bounds.changes, bounds.events, bounds.deliveries, bounds.cells)
    )


def goes_on(store, path, last):
    """It can be written again: everything within the bounds is there, and after a restart as well."""
    until(lambda: store.health().ok, "writing again")
    assert stored(store) == newest(10, last)
    health = store.health()
    assert health.error is None
    assert (health.dropped_changes, health.dropped_events) == (last - 110, last - 90)
    assert (health.dropped_deliveries, health.dropped_counts) == (last - 70, last - 60)
    assert run(store.uptime(("shop",), 1))[0].losses == last  # also those of the changes that were dropped
    store.close()
    again = SqliteStore(path, wall_ms=Clock())
    saved = again.open()
    again.close()
    assert [row.id for row in saved.instances] == [1, 2, 3, 4, 5]
    assert saved.instances[last % 5].reason == text_reason(f"reason {last}")
    assert saved.instances[last % 5].last_beat_ms == NOON_MS + last
    assert saved.hold.reason == text_reason(f"hold {last}")
    assert saved.closed_cleanly


def while_broken(store, words):
    """Puts more than may wait, in two goes, so that some waits with the thread that writes and some is newly noted."""
    failures = store.health().failures
    put_all(store, 11, 150)
    until(lambda: store.health().failures > failures + 1, "two failures")
    put_all(store, 161, 140)
    until(lambda: store.health().failures > failures + 3, "more failures")
    health = store.health()
    assert not health.ok
    for word in words:
        assert word in health.error
    limits = sum((BOUNDS.changes, BOUNDS.events, BOUNDS.deliveries, BOUNDS.cells, 5 + 5 + 7 + 1))
    assert health.waiting <= 2 * limits
    assert health.dropped_changes >= 100
    with pytest.raises(StoreError):
        run(store.flush())
    with pytest.raises(StoreError):
        run(store.put_document("a", "b", 1))
    assert run(store.documents("a")) == {}  # reading goes on
    assert stored_before(store) == list(range(1, 11))


def stored_before(store):
    return [c.seq for c in reversed(run(store.changes(id=None, service=None, before=None, limit=99)))]


def ten_in(store):
    put_all(store, 1, 10)
    assert stored(store) == newest(10, 10)


def test_deliveries_that_cannot_be_written_are_counted_among_the_waiting(opened, path):
    store = opened(path)
    store.put_delivery("a", "written", 1)
    asyncio.run(store.flush())
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        store.put_delivery("a", "kept", 2)
        store.put_delivery("b", "kept", 3)
        until(lambda: not store.health().ok, "an attempt to write that fails")
        store.put_delivery("b", "noted", 4)
        waiting = asyncio.run(store.waiting_deliveries())
        assert {target: one.count for target, one in waiting.items()} == {"a": 2, "b": 2}
        assert 0 < waiting["a"].oldest_ms <= waiting["b"].oldest_ms
        other.execute("ROLLBACK")
    until(lambda: store.health().ok, "a write that succeeds")
    asyncio.run(store.flush())
    assert {target: one.count for target, one in asyncio.run(store.waiting_deliveries()).items()} == {"a": 2, "b": 2}


def test_locked_by_another_process(opened, path):
    store = opened(path)
    ten_in(store)
    hold = """
        import sqlite3, sys
        connection = sqlite3.connect(sys.argv[1], isolation_level=None)
        connection.execute("BEGIN EXCLUSIVE")
        print("locked", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(hold), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"locked\n"
        while_broken(store, ["locked", "other program", str(path)])
        other.stdin.close()
        other.wait()
    goes_on(store, path, 300)


def test_full_by_its_number_of_pages(opened, path):
    store = opened(path)
    ten_in(store)
    connection = store._file.connection()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}").fetchone()
    put_all(store, 11, 150)
    until(lambda: not store.health().ok, "a full file")
    while_broken_again(store)
    connection.execute("PRAGMA max_page_count = 1000000").fetchone()
    goes_on(store, path, 300)


def while_broken_again(store):
    failures = store.health().failures
    put_all(store, 161, 140)
    until(lambda: store.health().failures > failures + 1, "more failures")
    assert "full" in store.health().error
    assert "free some space" in store.health().error


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", folder], capture_output=True, check=False)
    if made.returncode:
        pytest.skip("no file system can be mounted here")
    yield folder
    subprocess.run(["umount", folder], check=True)


def test_full_disk(small_disk):
    store = SqliteStore(small_disk / "heartfelt.db", wall_ms=Clock(), bounds=BOUNDS)
    store.open()
    try:
        ten_in(store)
        ballast = small_disk / "ballast"
        with contextlib.suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(4096))
        while_broken(store, ["full", "free some space", str(small_disk)])
        ballast.unlink()
        goes_on(store, small_disk / "heartfelt.db", 300)
    finally:
        store.close()


def test_a_connection_that_may_only_read(opened, path):
    store = opened(path)
    ten_in(store)
    store._file.connection().execute("PRAGMA query_only = ON")
    put_all(store, 11, 20)
    until(lambda: store.health().failures, "a failure")
    until(lambda: store.health().ok, "writing again, by a new connection")
    assert stored(store) == newest(10, 30)


def test_the_file_is_moved_away_and_put_back(opened, path):
    store = opened(path)
    ten_in(store)
    away = path.with_name("away.db")
    path.rename(away)
    store._readers.close()
    store._readers.open()
    with pytest.raises(StoreError, match="cannot be read"):  # by a new connection, which makes no new file
        run(store.documents("a"))
    put_all(store, 11, 20)
    until(lambda: store.health().failures, "a failure")
    assert "is gone" in store.health().error
    away.rename(path)
    until(lambda: store.health().ok, "writing again")
    assert stored(store) == newest(10, 30)
    path.rename(away)
    path.write_bytes(b"")
    put_all(store, 31, 1)
    until(lambda: not store.health().ok, "a failure")
    assert "another file" in store.health().error
    away.replace(path)
    until(lambda: store.health().ok, "writing again")
    assert stored(store) == newest(10, 31)


@pytest.fixture
def hung(opened, path, monkeypatch):
    """A store whose disk does not answer until `answers` is set."""
    store = opened(path)
    ten_in(store)
    answers, asked = threading.Event(), threading.Event()
    write = store._file.write

    def hang(batch):
        asked.set()
        answers.wait()
        write(batch)

    monkeypatch.setattr(store._file, "write", hang)
    store.put_hold(Hold(reason=text_reason("so that it begins to write")))
    assert asked.wait(30)
    yield store, answers
    answers.set()


def test_a_disk_that_does_not_answer(hung, path):
    """That any of this returns is the test: the thread that writes holds what it holds."""
    store, answers = hung
    put_all(store, 11, 290)
    health = store.health()
    beats = 5 + 7  # of the five instances, and the last seven calls, which are not merged yet
    one_day = 1  # of the service, with its losses
    many = sum((BOUNDS.changes, BOUNDS.events, BOUNDS.deliveries, BOUNDS.cells))
    assert health.waiting == 1 + 5 + beats + 1 + one_day + many
    answers.set()
    goes_on(store, path, 300)


def test_what_comes_and_goes_meanwhile_leaves_nothing_behind(hung):
    store, answers = hung
    for id in range(1000, 51_000):
        store.put_instance(instance(id))
        store.remove_instance(id)
    assert store.health().waiting <= 1
    answers.set()
    run(store.flush())


def test_large_events_are_bounded_by_their_bytes(hung):
    store, answers = hung
    for n in range(40):
        store.put_event(event(n, info={"name": "x" * 100_000}))
    health = store.health()
    assert health.dropped_events == 40 - (1 << 20) // 101_000
    store.put_event(event(99, info={"name": "x" * (2 << 20)}))  # one alone is never too large
    assert health.waiting > store.health().waiting > 0
    answers.set()
    run(store.flush())
    (got, *_) = run(store.events(EventFilter(), before=None, limit=1))
    assert got.event.time_ms == NOON_MS + 99


def test_closing_a_store_that_cannot_be_written(opened, path, caplog):
    store = opened(path, close_s=0.3)
    ten_in(store)
    away = path.with_name("away.db")
    path.rename(away)
    put_all(store, 11, 5)
    with caplog.at_level(logging.ERROR):
        store.close()
    assert "rows that could not be written" in caplog.text
    away.rename(path)
    saved = opened(path)
    assert not store.health().ok
    assert stored(saved) == newest(10, 10)


def test_a_start_after_a_crash_says_so(path):
    script = """
        import os, sys
        from heartfelt.monitor.store.sqlite import SqliteStore
        SqliteStore(sys.argv[1]).open()
        os._exit(0)
    """
    subprocess.run([sys.executable, "-c", textwrap.dedent(script), path], check=True)
    store = SqliteStore(path)
    assert not store.open().closed_cleanly
    store.close()
