# SPDX-License-Identifier: MIT
"""Makes stores on Redis for tests."""

from __future__ import annotations

import asyncio
import itertools
import time
import uuid

from heartfelt.monitor.model import Level, State
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.store import RedisStore
from tests.monitor.store.values import change, instance

run = asyncio.run
_prefixes = itertools.count()
SHARDS = 4


def a_prefix():
    """Returns a prefix that no other test has."""
    return f"store{next(_prefixes)}-{uuid.uuid4().hex[:6]}"


def make_store(link, prefix, *, shards=SHARDS, **options):
    keys = Keys(prefix, shards)
    me = uuid.uuid4().hex
    options.setdefault("lease_ms", lambda row: row.timeout_ms or 60_000)
    return RedisStore(link, keys, Leases(link, keys, me), monitor_id=me, **options)


class Told:
    """A listener that remembers."""

    def __init__(self):
        self.changes, self.losses, self.refusals, self.renewals = [], [], [], []
        self.tasks = set()

    def accepted(self, changes):
        self.tasks.add(asyncio.current_task())  # None: called by the loop itself, in its thread
        asyncio.get_running_loop()
        self.changes += changes

    def recorded(self, losses):
        self.losses += losses

    def refused(self, refusals):
        self.refusals += refusals

    def renewed(self, renewal):
        self.renewals.append(renewal)


async def joined(store, *names, service="shop"):
    """Reserves names, puts their first change and row. Returns their rows."""
    entries = await store.reserve([(service, name) for name in names])
    rows = [instance(entry.id, service=service, instance_id=name) for entry, name in zip(entries, names, strict=True)]
    for row in rows:
        put(store, row, None, State.NEW)
    await store.flush()
    return rows


def put(store, row, old, new, **fields):
    store.put_change(
        change(0, id=row.id, service=row.service, instance_id=row.instance_id, old=old, new=new,
               **{"level": Level.NORMAL, **fields})
    )  # fmt: skip
    row.state = new
    if new is State.REMOVED:
        store.remove_instance(row.id)
    else:
        store.put_instance(row)


async def all_changes(store, **which):
    return await store.changes(**{"id": None, "service": None, "before": None, "limit": 1000, **which})


async def until(condition, what, seconds=30):
    """Polls until it holds."""
    ends_s = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends_s, f"waited {seconds} s for: {what}"
        await asyncio.sleep(0.005)
