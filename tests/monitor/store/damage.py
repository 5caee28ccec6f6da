# SPDX-License-Identifier: MIT
"""Damages databases, by a seed, and looks at what a start makes of them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
import shutil
from collections import Counter
from pathlib import Path

from heartfelt.errors import StoreError
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.ingest import Intake
from heartfelt.monitor.model import Limits
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.store.sqlite import Retention, SqliteStore
from heartfelt.testing import ManualClock
from tests.monitor.store.mutations import MUTATIONS, NAME, fill
from tests.monitor.store.values import MINUTE_MS, NOON_MS, Clock, event

LOGGER = logging.getLogger("heartfelt.monitor.store")
LONG_MS = 1 << 60
KEEP = Retention(events_ms=LONG_MS, changes_ms=LONG_MS, deliveries_ms=LONG_MS, heat_ms=LONG_MS, uptime_ms=LONG_MS)
DOCUMENTS = {"token": 4, "webhook": 3}


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
