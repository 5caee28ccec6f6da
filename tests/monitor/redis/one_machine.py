# SPDX-License-Identifier: MIT
"""A store on Redis for tests that give ids to instances themselves: each name is reserved when it is put for the first
time, as by the part of a monitor that learns whose an instance is, and the test sees its own ids."""

from __future__ import annotations

import asyncio
import dataclasses
import threading

from msgspec import structs

from heartfelt.monitor.store.redis.keys import Entry

UNKNOWN = 1 << 40
"""Added to the id of an instance that was never put, so that it is no other one's."""


@dataclasses.dataclass
class Ids:
    """Ids of the instances of a place, for all stores that are made in it one after the other."""

    given: dict[int, int] = dataclasses.field(default_factory=dict)
    by_name: dict[tuple[str, str], int] = dataclasses.field(default_factory=dict)
    asked: dict[int, int] = dataclasses.field(default_factory=dict)
    highest: int = 0


class OneMachine:
    def __init__(self, store, ids):
        self._store, self._ids = store, ids
        self._with_row = set(ids.given)

    def __getattr__(self, name):
        return getattr(self._store, name)

    def open(self):
        saved = self._store.open()
        for row in saved.instances:  # as the test names it
            self._ids.asked[row.id] = self._ids.by_name[row.service, row.instance_id]
        saved.instances = sorted(map(self._seen, saved.instances), key=lambda row: row.id)
        saved.runs = list(map(self._seen, saved.runs))
        saved.next_id = self._ids.highest + 1
        return saved

    def _seen(self, one):
        return structs.replace(one, id=self._ids.asked.get(one.id, one.id % UNKNOWN))

    def _real(self, id):
        return self._ids.given.get(id, id + UNKNOWN)

    def _reserved(self, one):
        ids = self._ids
        ids.highest = max(ids.highest, one.id)
        if one.id not in ids.given and self._store.health().ok:
            (entry,) = in_a_thread(self._store.reserve([(one.service, one.instance_id)]))
            assert isinstance(entry, Entry), entry
            ids.given[one.id], ids.asked[entry.id] = entry.id, one.id
            ids.by_name[one.service, one.instance_id] = one.id
        return structs.replace(one, id=self._real(one.id))

    def put_instance(self, row):
        self._store.put_instance(self._reserved(row))
        self._with_row.add(row.id)

    def put_change(self, change):
        real = self._reserved(change)
        self._store.put_change(real)
        if change.id not in self._with_row and self._store.health().ok:
            self._store.remove_instance(real.id)
            self._ids.given.pop(change.id, None)

    def put_beats(self, last_beat_ms):
        self._store.put_beats({self._real(id): at_ms for id, at_ms in last_beat_ms.items()})

    def remove_instance(self, id):
        self._store.remove_instance(self._real(id))
        self._with_row.discard(id)

    def put_run(self, run):
        self._store.put_run(structs.replace(run, id=self._real(run.id)))

    async def changes(self, *, id, service, before, limit):
        id = None if id is None else self._real(id)
        found = await self._store.changes(id=id, service=service, before=before, limit=limit)
        return list(map(self._seen, found))

    async def runs(self, id, *, before, limit):
        return list(map(self._seen, await self._store.runs(self._real(id), before=before, limit=limit)))


def in_a_thread(coroutine):
    """Runs it in a loop of its own, also if this thread has one that runs."""
    found = []
    thread = threading.Thread(target=lambda: found.append(asyncio.run(coroutine)))
    thread.start()
    thread.join()
    return found[0]
