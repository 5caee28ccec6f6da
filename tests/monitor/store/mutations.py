# SPDX-License-Identifier: MIT
"""Ways to damage a database. Each mutation takes a data folder and a source of randomness, and returns what it did."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import struct

from heartfelt.monitor.model import Ack, Hold, HoldState, Level, RunResult, State
from heartfelt.monitor.reasons import text_reason
from heartfelt.monitor.store import WatchedTime, schema
from heartfelt.monitor.store.sqlite import SqliteStore
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, a_run, change, event, instance

NAME = "heartfelt.db"
N = 60
STATES = (State.UP, State.LOST, State.PAUSED, State.LEFT, State.FAILED, State.NEW)
COLUMNS = {
    "instances": ("service", "instance_id", "state", "since_ms", "reason", "last_beat_ms", "meta", "peer", "timeout_ms",
                  "reason_code", "reason_args", "ack", "expected", "expected_by", "paused_until_ms"),
    "beats": ("last_beat_ms",),
    "changes": ("time_ms", "service", "instance_id", "old", "new", "level", "reason_args", "outage_ms", "ip"),
    "events": ("time_ms", "received_ms", "service", "scope", "level", "type", "name", "info"),
    "runs": ("rid", "begin_ms", "end_ms", "result", "text", "deadline_ms"),
    "days": ("service", "watched_s", "up_s", "losses"),
    "heat": ("service", "minute_ms", "total", "up"),
    "documents": ("name", "value"),
    "outbox": ("target", "key", "payload", "created_ms", "attempts", "state", "next_ms", "level", "answer"),
    "told": ("target", "service", "keys"),
    "meta": ("value",),
}  # fmt: skip
WRONG = (b"\xff\xfe", b"a\x80b", "text", "", "{", "[1]", "null", '{"a":', -1, 99, 1 << 62, -(1 << 62), 1.5, 1e300,
         "NULL", "9" * 40, "[" * 100_000)  # fmt: skip


def fill(store, saved):
    """Puts something of each kind."""
    first = saved.next_id
    for n in range(N):
        id = first + n
        state = STATES[n % len(STATES)]
        acked = Ack(by="me", why="known", at_ms=NOON_MS) if state is State.LOST and n % 4 else None
        store.put_instance(
            instance(id, service=f"s{n % 5}", state=state, ack=acked, is_job=state is State.FAILED,
                     down_since_ms=NOON_MS if state in (State.LOST, State.FAILED) else None,
                     meta={"ip": ["10.0.0.9"], "text": f"é{n}" * (1 if n % 9 else 900)})
        )  # fmt: skip
        store.put_beats({id: NOON_MS + n})
        store.put_change(change(saved.next_seq + n, id=id, service=f"s{n % 5}"))
        store.put_event(event(n, service=f"s{n % 5}", level=tuple(Level)[n % 3]))
        store.put_event(event(n, type="LOG", scope=None, info={"logLevel": "WARN", "text": "x" * (50 * n)}))
        store.put_delivery(f"t{n % 3}", f"key {id}", {"n": n}, subject=f"s{n % 7}")
        store.put_run(a_run(saved.next_run + n, id=id, end_ms=None if n % 2 else NOON_MS, text=f"run {n}",
                            result=RunResult.RUNNING if n % 2 else RunResult.OK))  # fmt: skip
    for n in range(20):
        store.put_counts(NOON_MS + n * MINUTE_MS, {"s1": (5, 4), "s2": (3, 3)})
        store.put_uptime({(NOON_MS // DAY_MS - n, "s1"): WatchedTime(60.0, 50.0, 60.0, 55.5)})
    store.put_hold(Hold(state=HoldState.HOLDING, reason=text_reason("held"), scope="s1", held=3))
    store.put_told("t1", {("s1", f"i-{n}"): ("a", "b") for n in range(9)})


def flip_bytes(folder, chance):
    data = bytearray((folder / NAME).read_bytes())
    places = [chance.randrange(len(data)) for _ in range(chance.choice((1, 1, 3, 10, 40)))]
    for at in places:
        data[at] = chance.randrange(256)
    (folder / NAME).write_bytes(data)
    return f"bytes {places[:5]}"


def overwrite_pages(folder, chance):
    data = bytearray((folder / NAME).read_bytes())
    pages = [chance.randrange(len(data) // 4096) for _ in range(chance.choice((1, 1, 2, 25)))]
    for page in pages:
        with_what = chance.choice((bytes(4096), b"\xa5" * 4096, chance.randbytes(4096)))
        data[page * 4096 : (page + 1) * 4096] = with_what
    (folder / NAME).write_bytes(data)
    return f"pages {pages}"


def swap_pages(folder, chance):
    data = bytearray((folder / NAME).read_bytes())
    one, two = (chance.randrange(1, len(data) // 4096) * 4096 for _ in range(2))
    data[one : one + 4096], data[two : two + 4096] = data[two : two + 4096], data[one : one + 4096]
    (folder / NAME).write_bytes(data)
    return f"swapped pages at {one}, {two}"


def truncate(folder, chance):
    size = (folder / NAME).stat().st_size
    left = chance.choice((0, 50, 100, 4096, size // 2, size - 4096, size - 100, size - 1))
    with (folder / NAME).open("rb+") as file:
        file.truncate(left)
    return f"truncated to {left} of {size}"


def damage_wal(folder, chance):
    path = folder / (NAME + "-wal")
    if not path.exists() or not path.stat().st_size:
        return flip_bytes(folder, chance)
    data = bytearray(path.read_bytes())
    how = chance.choice(("missing", "empty", "cut", "flipped", "foreign", "header"))
    if how == "missing":
        path.unlink()
        return "no -wal"
    if how == "empty":
        data = b""
    elif how == "cut":
        data = data[: chance.randrange(len(data))]
    elif how == "flipped":
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    elif how == "header":
        data[chance.randrange(32)] ^= 1 << chance.randrange(8)
    else:
        data[16:24] = chance.randbytes(8)
    path.write_bytes(data)
    return f"-wal {how}"


def other_wal(folder, chance):
    """The log of another database."""
    other = folder / "other" / NAME
    store = SqliteStore(other, wall_ms=Clock())
    fill(store, store.open())
    asyncio.run(store.flush())
    shutil.copy(other.with_name(NAME + "-wal"), folder / (NAME + "-wal"))
    store.close()
    return "the -wal of another database"


def pages_in_log(path):
    """The numbers of the pages that a write-ahead log has."""
    data = path.read_bytes()
    (page_bytes,) = struct.unpack_from(">I", data, 8)
    return {struct.unpack_from(">I", data, at)[0] for at in range(32, len(data), 24 + page_bytes)}


def change_schema(folder, chance):
    with writable(folder) as connection:
        version = chance.choice((0, 1, 2, schema.VERSION + 1, 99))
        how = chance.choice((f"PRAGMA user_version = {version}", "PRAGMA application_id = 7", "DROP TABLE runs",
                             "DROP TABLE instances", "DROP TABLE meta", "ALTER TABLE events DROP COLUMN has_scope",
                             "DROP INDEX events_at"))  # fmt: skip
        connection.execute(how)
    return how


def change_values(folder, chance):
    table = chance.choice(tuple(COLUMNS))
    column = chance.choice(COLUMNS[table])
    value = chance.choice(WRONG)
    with writable(folder) as connection:
        (count,) = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
        offset, limit = chance.randrange(count), chance.choice((1, 1, 3, 10_000))
        wrong = "CAST(? AS TEXT)" if isinstance(value, bytes) and chance.random() < 0.8 else "?"
        key = {"days": "day, service", "heat": "service, minute_ms", "documents": "kind, name",
               "told": "target, service, instance_id", "meta": "name"}.get(table, "rowid")  # fmt: skip
        with contextlib.suppress(sqlite3.IntegrityError):
            connection.execute(
                f"UPDATE {table} SET {column} = {wrong} WHERE ({key}) IN "
                f"(SELECT {key} FROM {table} LIMIT {limit} OFFSET {offset})", (value,),
            )  # fmt: skip
    return f"{table}.{column} = {value!r:.20} {limit}"


@contextlib.contextmanager
def writable(folder):
    """A connection for damage: constraints are not checked."""
    connection = sqlite3.connect(folder / NAME, isolation_level=None)
    try:
        for trigger in ("outbox_waits", "outbox_settled", "outbox_deleted"):
            connection.execute(f"DROP TRIGGER IF EXISTS {trigger}")
        yield connection
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    finally:
        connection.close()


def change_row(folder, statement, *values):
    with writable(folder) as connection:
        assert connection.execute(statement, values).rowcount


MUTATIONS = (flip_bytes, flip_bytes, overwrite_pages, swap_pages, truncate, damage_wal, damage_wal, other_wal,
             change_schema, change_values, change_values, change_values)  # fmt: skip
