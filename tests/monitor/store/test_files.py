# SPDX-License-Identifier: MIT
"""Files that cannot be used, two monitors on one file, and what is forgotten."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import stat
import subprocess
import sys
import textwrap

import pytest

pytest.importorskip("msgspec")
from heartfelt.errors import StoreError
from heartfelt.monitor.store import EventFilter, retention, schema, writer
from heartfelt.monitor.store.sqlite import Retention, SqliteStore
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, change, event, instance, until

run = asyncio.run


@pytest.fixture
def path(tmp_path):
    return tmp_path / "heartfelt.db"


def refused(path, *words):
    """Opening it is a StoreError with these words, and changes nothing in its folder."""

    def look():
        return {found.name: (found.read_bytes(), found.stat().st_mtime_ns) for found in path.parent.iterdir()}

    before = look()
    with pytest.raises(StoreError) as caught:
        SqliteStore(path).open()
    assert look() == before
    for word in (*words, str(path)):
        assert word in str(caught.value)


def test_no_sqlite_file(path):
    path.write_bytes(b"name = value\n" * 30)
    refused(path, "not an SQLite file", "use another data folder")
    path.write_bytes(b"SQLite format 3\0")
    refused(path, "not an SQLite file")


@pytest.mark.parametrize("wal", [False, True])
def test_the_file_of_another_program(path, wal):
    connection = sqlite3.connect(path)
    if wal:
        connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("CREATE TABLE mine (x)")
    connection.commit()
    refused(path, "another program")
    connection.close()
    refused(path, "another program")


@pytest.mark.parametrize("closed", [False, True])
def test_a_newer_schema(path, closed):
    store = SqliteStore(path)
    store.open()
    store.close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.execute("CREATE TABLE of_the_future (x)")
    connection.commit()
    if closed:
        connection.close()
    refused(path, "newer heartfelt", f"schema {schema.VERSION + 1}", "install that version")
    connection.close()


def test_a_damaged_file(path):
    store = SqliteStore(path)
    store.open()
    for id in range(1, 3000):
        store.put_instance(instance(id))
    run(store.flush())
    store.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xa5" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StoreError, match="damaged: move it"):
        SqliteStore(path).open()
    path.unlink()
    store = SqliteStore(path)  # the lock was let go of
    store.open()
    store.close()


def test_a_folder_in_which_nobody_may_write(tmp_path):
    """In a process without root's rights."""
    folder = tmp_path / "data"
    folder.mkdir()
    folder.chmod(0o555)
    script = """
        import os, sys
        from heartfelt.errors import StoreError
        from heartfelt.monitor.store.sqlite import SqliteStore
        os.chdir(sys.argv[1])
        if os.getuid() == 0:
            os.setuid(65534)
        try:
            SqliteStore("heartfelt.db").open()
        except StoreError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script), folder], capture_output=True, text=True, check=False
    )
    folder.chmod(0o755)
    assert done.stderr == ""
    assert "heartfelt.db cannot be opened for writing" in done.stdout
    assert "another data folder" in done.stdout
    assert list(folder.iterdir()) == []


def test_two_monitors_on_one_file(path):
    script = """
        import sys
        from heartfelt.monitor.store.sqlite import SqliteStore
        store = SqliteStore(sys.argv[1])
        store.open()
        print("open", flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout.readline() == b"open\n"
        with pytest.raises(StoreError, match=f"in use by process {other.pid}; stop that monitor"):
            SqliteStore(path).open()
        other.kill()
        other.communicate()
    store = SqliteStore(path)  # whoever is dead holds nothing
    store.open()
    with pytest.raises(StoreError, match=f"in use by process {os.getpid()}"):
        SqliteStore(path).open()
    store.close()


@pytest.mark.skipif(sys.platform == "win32", reason="rights are another matter there")
def test_nobody_else_may_read_it(path):
    store = SqliteStore(path)
    store.open()
    store.put_change(change(1))
    run(store.flush())
    for file in path.parent.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) & 0o077 == 0, file
    store.close()


def test_a_store_is_opened_once(path):
    store = SqliteStore(path)
    store.open()
    with pytest.raises(StoreError, match="opened before"):
        store.open()
    store.close()
    with pytest.raises(StoreError, match="opened before"):
        store.open()


# -- forgetting


@pytest.fixture
def store_with(path, monkeypatch):
    """store_with(retention, wall): a store that forgets at once."""
    monkeypatch.setattr(writer, "FORGET_EVERY_S", 0.01)
    stores = []

    def make(retention, wall):
        stores.append(SqliteStore(path, retention=retention, wall_ms=wall))
        stores[-1].open()
        return stores[-1]

    yield make
    for store in stores:
        store.close()


def test_what_is_old_is_forgotten(store_with):
    wall = Clock()
    store = store_with(Retention(), wall)

    def put(day):
        wall.ms = NOON_MS + day * DAY_MS
        for n in range(1200):
            store.put_event(event(n, received_ms=wall.ms, time_ms=NOON_MS))
            store.put_change(change(1 + day * 1200 + n, time_ms=wall.ms))
        store.put_delivery("t", f"sent {day}", 1)
        store.put_delivery("u", f"not {day}", 1)
        store.put_counts(wall.ms, {"shop": (1, 1)})
        run(store.flush())
        for one in run(store.next_deliveries(wall.ms, 10)):
            if one.target == "t":
                run(store.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="200"))

    def left():
        async def read():
            return (
                sum((await store.count_events(EventFilter())).values()),
                len(await store.changes(id=None, service=None, before=None, limit=99_999)),
                len(await store.deliveries(None, None, 999)),
                len(await store.heat((), 0, NOON_MS + 999 * DAY_MS)),
                len(await store.uptime((), 999)),
            )

        return run(read())

    put(0)
    put(1)
    assert left() == (2400, 2400, 4, 2, 2)
    for day, expected in (
        (2.5, (2400, 2400, 4, 1, 2)),
        (7.5, (1200, 2400, 2, 0, 2)),
        (8.5, (0, 2400, 0, 0, 2)),
        (90.5, (0, 1200, 0, 0, 2)),
        (91.5, (0, 0, 0, 0, 2)),
        (401.5, (0, 0, 0, 0, 0)),
    ):
        wall.ms = NOON_MS + int(day * DAY_MS)
        until(lambda e=expected: left() == e, f"on day {day}: {expected}, found {left()}")
    health = store.health()
    assert (health.ok, health.unsent) == (True, 2)


def used(path):
    connection = sqlite3.connect(path)
    try:
        return retention.used_bytes(connection)
    finally:
        connection.close()


def test_a_file_that_is_too_large_forgets_the_oldest_events(store_with, path):
    limit = 2 << 20
    store = store_with(Retention(file_bytes=limit), Clock())
    store.put_instance(instance(1))
    store.put_change(change(1))
    for first in range(0, 12_000, 1000):
        for n in range(first, first + 1000):
            store.put_event(event(n, info={"name": "n", "text": "x" * 1000}))
        run(store.flush())
    until(lambda: used(path) <= limit and path.stat().st_size < limit + (5 << 20), "a smaller file")
    events = run(store.events(EventFilter(), before=None, limit=100_000))
    times = [stored.event.time_ms - NOON_MS for stored in events]
    assert times == list(range(11_999, 11_999 - len(times), -1))
    assert 500 < len(times) < 2000
    assert len(run(store.changes(id=None, service=None, before=None, limit=9))) == 1
    health = store.health()
    assert health.removed == 12_000 - len(times)
    assert health.ok


def test_a_file_of_nothing_but_what_has_to_be_kept(store_with):
    store = store_with(Retention(file_bytes=1), Clock())
    store.put_instance(instance(1))
    store.put_change(change(1))
    store.put_counts(NOON_MS + MINUTE_MS, {"shop": (1, 1)})
    store.put_delivery("t", "k", 1)
    run(store.flush())
    until(lambda: store.health().removed == 2, "the change and the heat are forgotten")
    assert run(store.waiting_deliveries())["t"].count == 1
    assert len(run(store.uptime((), 1))) == 1
