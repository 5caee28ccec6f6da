# SPDX-License-Identifier: MIT
"""Deletes what is old: only the monitor that leads does it, in small steps. Days, minutes, runs and lists expire by
themselves; so do events, after twice their age, should no monitor delete them."""

from __future__ import annotations

from collections.abc import Callable

from heartfelt.monitor.store.kept import Retention
from heartfelt.monitor.store.redis.events import PART_MS, Events, Part, part_key, parts_key
from heartfelt.monitor.store.redis.history import stream_key
from heartfelt.monitor.store.redis.keys import Keys
from heartfelt.monitor.store.redis.link import FLEET, Command, Link
from heartfelt.monitor.store.redis.outbox import RedisOutbox
from heartfelt.monitor.store.redis.values import checked, stream_id_at

SLICE_ROWS = 500
SLICE_CHANGES = 1000
LEAST_CHANGES = 1000
"""How many changes of a shard are kept, however large everything is."""


class Forgetting:
    """`step` deletes one slice. Belongs to the writer's thread. Raises Unreachable, or Redis' own error."""

    def __init__(
        self, link: Link, keys: Keys, outbox: RedisOutbox, retention: Retention, wall_ms: Callable[[], int]
    ) -> None:
        self.keep = retention
        self.removed = 0
        self.unsent = 0
        self.bytes = 0
        """The size of events and changes, when it was measured last."""
        self.used = 0
        """Bytes that Redis uses in all, on the server that has the fleet's keys."""
        self._link = link
        self._keys = keys
        self._outbox = outbox
        self._wall_ms = wall_ms
        self._events = Events(link, keys)
        self._measured = False

    def begin(self) -> None:
        """Begins a round of steps."""
        self._measured = False
        self.used = self.used_bytes()

    def used_bytes(self) -> int:
        for line in bytes(self._link.call(FLEET, "INFO", "memory")).splitlines():
            if line.startswith(b"used_memory:"):
                return int(line.partition(b":")[2])
        return 0

    def step(self) -> bool:
        """Returns True if there may be more to do."""
        parts = self._events.parts()
        return self._by_age(parts) or self._by_size(parts)

    def _by_age(self, parts: list[Part]) -> bool:
        now_ms = self._wall_ms()
        more = False
        if parts and parts[-1].end_ms <= now_ms - self.keep.events_ms:
            self._forget_events(parts[-1])
            more = True
        oldest = stream_id_at(now_ms - self.keep.changes_ms)
        if oldest:
            trim = ("XTRIM", "MINID", "~", oldest, "LIMIT", SLICE_CHANGES)
            trimmed = self._of_streams(trim)
            self.removed += sum(trimmed)
            more |= max(trimmed) >= SLICE_CHANGES
        deliveries = self._outbox.trim(now_ms - self.keep.deliveries_ms)
        self.removed += deliveries.removed
        self.unsent += deliveries.unsent
        return more or deliveries.more

    def _by_size(self, parts: list[Part]) -> bool:
        if not self._measured:
            self.bytes = self._measure(parts)
            self._measured = True
        if self.bytes <= self.keep.file_bytes:
            return False
        self._measured = False
        if parts:
            self._forget_events(parts[-1])
            return True
        lengths = self._of_streams(("XLEN",))
        longest = max(range(len(lengths)), key=lengths.__getitem__)
        if lengths[longest] <= LEAST_CHANGES:
            self._measured = True
            return False  # the rest must be kept
        most = max(LEAST_CHANGES, lengths[longest] - SLICE_CHANGES)
        self.removed += int(self._link.call(longest, "XTRIM", stream_key(self._keys, longest), "MAXLEN", most))
        return True

    def _forget_events(self, part: Part) -> None:
        key = part_key(self._keys, part.number)
        n = int(self._link.call(part.shard, "ZREMRANGEBYRANK", key, 0, SLICE_ROWS - 1))
        self.removed += n
        if n < SLICE_ROWS and (part.number + 1) * PART_MS < self._wall_ms():  # nothing comes into it any more
            self._link.call(part.shard, "HDEL", self._keys.shard(part.shard, "evfig"), part.number)
            self._link.call(FLEET, "ZREM", parts_key(self._keys), part.number)

    def _measure(self, parts: list[Part]) -> int:
        asked = [Command(part.shard, ("MEMORY", "USAGE", part_key(self._keys, part.number))) for part in parts]
        sizes = checked(self._link.execute(asked))
        return sum(int(size or 0) for size in sizes) + sum(self._of_streams(("MEMORY", "USAGE")))

    def _of_streams(self, words: tuple[str | int, ...]) -> list[int]:
        """Executes a command on each stream of changes; the key comes after its name."""
        n_name = 2 if words[0] == "MEMORY" else 1
        commands = [
            Command(shard, (*words[:n_name], stream_key(self._keys, shard), *words[n_name:]))
            for shard in range(self._keys.shards)
        ]
        return [int(one or 0) for one in checked(self._link.execute(commands))]
