# SPDX-License-Identifier: MIT
"""Leases of one monitor that shares its Redis with no other: what the store needs of them, without scripts and pages of
bytes. It keeps entries, rows and changes in the keys of the design."""

from __future__ import annotations

import itertools

from heartfelt.monitor.store.redis.keys import MOST_SHARDS, SLOTS, Entry
from heartfelt.monitor.store.redis.leases import Accepted, Adopted, Owned, Refused, Renewal
from heartfelt.monitor.store.redis.packing import pack_change, pack_row, unpack_row
from heartfelt.monitor.store.redis.values import pairs_of, stream_id_at
from heartfelt.monitor.store.shared_meta import SharedMeta


class FakeLeases:
    """others: names that belong to another monitor."""

    def __init__(self, link, keys):
        self.link, self.keys = link, keys
        self.deadlines = {}
        self.others = {}
        self.shards = {}
        self.slots = itertools.count()
        self.stopped = False
        self.renewals = []
        self.writes = []

    def start(self):
        found = []
        for shard in range(self.keys.shards):
            entries = self.link.call(shard, "HGETALL", self.keys.shard(shard, "slot"))
            for _, data in pairs_of(entries):
                entry = Entry.unpack(data)
                row = self.link.call(shard, "HGET", self.keys.shard(shard, "rows", entry.page), entry.index)
                at = self.link.call(shard, "HGET", self.keys.shard(shard, "fakepages"), entry.pack())
                next(self.slots)
                self.shards[entry] = shard
                if row is not None:
                    found.append(Adopted(entry, unpack_row(row, SharedMeta()), int(at or 0)))
        return found

    def renew(self):
        return self.renewals.pop() if self.renewals else Renewal((), (), ())

    def reserve(self, names, ids=None):
        answers = []
        for name, id in zip(names, ids or itertools.repeat(None), strict=False):
            shard = self.keys.shard_of(name)
            if name in self.others:
                answers.append(Owned(Entry(0, 0, 0, 1), self.others[name], True))
                continue
            known = self.link.call(shard, "HGET", self.keys.shard(shard, "slot"), name)
            if known is not None:
                answers.append(Entry.unpack(known))
                continue
            counter = int(self.link.call(shard, "HGET", self.keys.shard(shard, "next"), "id") or 0)
            counter = counter + 1 if id is None else max(counter, id // MOST_SHARDS)
            page, index = divmod(next(self.slots), SLOTS)
            entry = Entry(page, index, 0, counter * MOST_SHARDS + shard if id is None else id)
            self.link.call(shard, "HSET", self.keys.shard(shard, "next"), "id", counter)
            self.link.call(shard, "HSET", self.keys.shard(shard, "slot"), name, entry.pack())
            self.shards[entry] = shard
            answers.append(entry)
        return answers

    def change(self, writes):
        packed = [(None if one.row is None else pack_row(one.row), *map(pack_change, one.changes)) for one in writes]
        self.writes += writes
        answers = []
        for one, (row, *changes) in zip(writes, packed, strict=True):
            shard = self.keys.shard_of(one.name)
            if one.name in self.others:
                answers.append(Refused())
                continue
            if one.loss_deadline_ms is not None and one.loss_deadline_ms > self.link.now_ms(shard):
                answers.append(Refused(early=True))
                continue
            rows, slot = self.keys.shard(shard, "rows", one.entry.page), self.keys.shard(shard, "slot")
            if row is None:
                self.link.call(shard, "HDEL", rows, one.entry.index)
                self.link.call(shard, "HDEL", slot, one.name)
            else:
                self.link.call(shard, "HSET", rows, one.entry.index, row)
            answers.append(Accepted([self._append(shard, change) for change in changes]))
        return answers

    def _append(self, shard, change):
        next_key, stream = self.keys.shard(shard, "next"), self.keys.shard(shard, "ev")
        last = int(self.link.call(shard, "HGET", next_key, "seq") or 0)
        at = max(last + 1, stream_id_at(self.link.now_ms(shard)))
        self.link.call(shard, "XADD", stream, f"{at}-0", "c", change)
        self.link.call(shard, "HSET", next_key, "seq", at)
        return at * MOST_SHARDS + shard

    def set_deadline(self, entry, ms):
        self.deadlines[entry] = ms

    def flush(self):
        for entry, ms in self.deadlines.items():
            shard = self.shards[entry]
            self.link.call(shard, "HSET", self.keys.shard(shard, "fakepages"), entry.pack(), ms)
        self.deadlines = {}
        return []

    def stop(self):
        self.stopped = True
