# SPDX-License-Identifier: MIT
"""Damages databases, by a seed, and looks at what a start makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
import sqlite3
from collections import Counter
from pathlib import Path

from heartfelt.errors import StoreError
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import Intake
from heartfelt.monitor.model import Ack, Hold, HoldState, Level, Limits, RunResult, State
from heartfelt.monitor.reasons import text_reason
from heartfelt.monitor.store import EventFilter, WatchedTime, schema
from heartfelt.monitor.store.sqlite import Retention, SqliteStore
from heartfelt.testing import ManualClock
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, a_run, change, event, instance

LOGGER = logging.getLogger("heartfelt.monitor.store")
NAME = "heartfelt.db"
N = 60
LONG_MS = 1 << 60
KEEP = Retention(events_ms=LONG_MS, changes_ms=LONG_MS, deliveries_ms=LONG_MS, heat_ms=LONG_MS, uptime_ms=LONG_MS)
STATES = (State.UP, State.LOST, State.PAUSED, State.LEFT, State.FAILED, State.NEW)
DOCUMENTS = {"token": 4, "webhook": 3}
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


def make(folder):
    """A database that was closed cleanly, in `folder`/clean; the same as it was while a monitor used it, in
    `folder`/live."""
    path = folder / "clean" / NAME
    store = SqliteStore(path, wall_ms=Clock())
    fill(store, store.open())

    async def put():
        await store.flush()
        for kind, count in DOCUMENTS.items():
            for n in range(count):
                await store.put_document(kind, f"{kind} {n}", {"n": n, "text": "é"})

    asyncio.run(put())
    store.close()
    store = SqliteStore(path, wall_ms=Clock(NOON_MS + MINUTE_MS))
    fill(store, store.open())
    asyncio.run(store.flush())
    store._file.mark()
    shutil.copytree(path.parent, folder / "live")
    store.close()
    return {"clean": path.parent, "live": folder / "live"}


def contents(store, saved):
    """Everything that can be read, by kind."""

    async def read():
        events = await store.events(EventFilter(), before=None, limit=10_000)
        by_service = [
            one
            for n in range(5)
            for one in await store.events(EventFilter(services=(f"s{n}",)), before=None, limit=999)
        ]
        await store.count_events(EventFilter())
        await store.waiting_deliveries()
        found = {
            "changes": await store.changes(id=None, service=None, before=None, limit=10_000),
            "events": events,
            "events of services": by_service,
            "deliveries": await store.deliveries(None, None, 10_000),
            "heat": await store.heat((), -(10**14), NOON_MS + 10_000 * MINUTE_MS),
            "uptime": await store.uptime((), 10**6),
            "told": [(t, *one) for t, ones in (await store.told()).items() for one in ones.items()],
            "runs": [run for row in saved.instances for run in await store.runs(row.id, before=None, limit=999)],
        }
        for kind in DOCUMENTS:
            found[kind] = list((await store.documents(kind)).items())
        return found

    found = asyncio.run(read())
    found["instances"] = saved.instances
    found["open runs"] = saved.runs
    return {kind: Counter(map(repr, values)) for kind, values in found.items()}


def restore(saved):
    """Restores it into a registry."""
    registry = Registry(clock=ManualClock(), wall_ms=Clock())
    try:
        registry.restore(saved)
        Intake(registry, Limits(), wall_ms=Clock()).restore(saved.removed)
    finally:
        registry.close()


def whole(bases, place):
    """The contents of the databases before they are damaged."""
    found = {}
    for kind, folder in bases.items():
        copy = Path(place) / "whole" / kind
        shutil.copytree(folder, copy)
        result = start(copy)
        assert not result.reported, (result.refused, result.unread, result.log)
        found[kind] = result.found
    return found


class Log(logging.Handler):
    def __init__(self):
        super().__init__()
        self.lines, self.tracebacks = [], []

    def emit(self, record):
        self.lines.append(record.getMessage())
        if record.exc_info:
            self.tracebacks.append(record.getMessage() + logging.Formatter().formatException(record.exc_info))


@contextlib.contextmanager
def logged():
    log = Log()
    logger = logging.getLogger("heartfelt")
    logger.addHandler(log)
    before, logger.propagate = logger.propagate, False
    try:
        yield log
    finally:
        logger.removeHandler(log)
        logger.propagate = before


class Result:
    """refused: the StoreError's text. lost: reads that raised StoreError. found: the contents otherwise."""

    def __init__(self):
        self.refused = self.unread = self.found = None
        self.health = None
        self.is_same = False
        self.log = []
        self.tracebacks = []

    @property
    def kind(self):
        if self.refused is not None:
            return "refused"
        if not self.health.ok:
            return "started, known to be damaged"
        if self.health.damaged_rows:
            return "started without damaged rows"
        if self.log:
            return "started with a warning"
        return "started with all that was there" if self.is_same else "started with another valid value"

    @property
    def reported(self):
        return bool(self.refused or self.unread or not self.health.ok or self.health.damaged_rows or self.log)


def start(folder):
    """Opens the database as a monitor does, and reads all of it. Only StoreError is allowed."""
    result = Result()
    with logged() as log:
        store = SqliteStore(folder / NAME, wall_ms=Clock(NOON_MS + 2 * MINUTE_MS), close_s=0.2, retention=KEEP)
        try:
            saved = store.open()
        except StoreError as error:
            result.refused = str(error)
            result.log, result.tracebacks = log.lines, log.tracebacks
            return result
        try:
            restore(saved)
            try:
                asyncio.run(claims(store))
                result.found = contents(store, saved)
            except StoreError as error:
                result.unread = str(error)
            store.put_event(event(1))
            store.put_counts(NOON_MS, {"s1": (5, 4)})
            with contextlib.suppress(StoreError):
                asyncio.run(store.flush())
            result.health = store.health()
        finally:
            store.close()
        result.log = [line for line in log.lines if "is checked while" not in line]
        result.tracebacks = log.tracebacks
    return result


async def claims(store):
    """Takes what is due, as the webhooks do."""
    for one in await store.next_deliveries(NOON_MS + 3 * MINUTE_MS, 3):
        await store.finish_delivery(one.number, ok=False, retry_at_ms=one.created_ms, answer="", tried=False)


REMEDIES = ("heartfelt restore", "doctor --repair", "move it away", "another data folder", "install that version")
TABLES = {"events of services": "events", "open runs": "runs", "uptime": "days", "deliveries": "outbox",
          **dict.fromkeys(DOCUMENTS, "documents")}  # fmt: skip


# -- mutations: each returns what it did


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


MUTATIONS = (flip_bytes, flip_bytes, overwrite_pages, swap_pages, truncate, damage_wal, damage_wal, other_wal,
             change_schema, change_values, change_values, change_values)  # fmt: skip


def trial(seed, bases, whole, place):
    """Damages a copy and starts it twice. Raises AssertionError if it fails otherwise than it should."""
    chance = random.Random(seed)
    kind = chance.choice(tuple(bases))
    folder = Path(place) / str(seed)
    shutil.copytree(bases[kind], folder)
    try:
        mutation = MUTATIONS[seed % len(MUTATIONS)]
        what = f"seed {seed}: {kind}, {mutation.__name__}: {mutation(folder, chance)}"
        result = start(folder)
        judge(what, result, whole[kind])
        if seed % 4:
            return what, result
        again = start(folder)  # a second start is no worse: what was damaged has been moved aside
        assert not again.tracebacks, f"{what}, again: {again.tracebacks[0]}"
        assert (again.refused is None) == (result.refused is None), f"{what}, again: {again.refused}"
        return what, result
    finally:
        shutil.rmtree(folder)


def judge(what, result, whole):
    """Checks that what is missing was reported, and nothing is logged with a traceback. A value that was replaced by
    another valid one cannot be noticed; a row that is gone can."""
    assert not result.tracebacks, f"{what}: {result.tracebacks[0]}"
    if result.refused is not None:
        assert any(word in result.refused for word in REMEDIES), f"{what}: no remedy in {result.refused!r}"
        return
    if not result.health.ok:
        assert any(word in result.health.error for word in REMEDIES), f"{what}: {result.health.error!r}"
        assert result.log, what
        return
    assert result.unread is None, f"{what}: {result.unread!r}, though health is ok"
    if any("is missing" in line or "is gone" in line or "was empty" in line for line in result.log):
        return
    result.is_same = result.found == whole
    for kind, found in result.found.items():
        if kind == "events of services" and "events.service" in what:
            continue  # another service is as good as the right one
        if kind == "open runs" and "runs.end_ms" in what:
            continue  # it has ended: who knows
        table = TABLES.get(kind, kind)
        bad = result.health.damaged_by_table[table]
        if table == "runs":
            bad += result.health.damaged_by_table["instances"] * 3
        missing = whole[kind].total() - found.total()
        assert missing <= bad, f"{what}: {missing} {kind} are missing, {bad} were reported; log: {result.log}"
        assert missing >= 0, f"{what}: {-missing} {kind} too many"
        assert not bad or result.log, f"{what}: nothing was logged"
