# SPDX-License-Identifier: MIT
"""heartfelt's own ways to beat, and its expiry."""

from __future__ import annotations

import time
from typing import Any

from _keys import Keys
from _watcher import TIMEOUT_S, Watcher, due_at_once

from heartfelt import Heart, HeartHub

CHUNK = 50  # keys whose timeouts are computed from one reading of the clock, so their deadlines differ


class ByKey(Watcher):
    """`hub.heartbeat(key)`."""

    name = "hub.heartbeat(key)"

    def __init__(self, parallelism: int = 1) -> None:
        self.parallelism = parallelism
        self.hub = HeartHub(TIMEOUT_S, parallelism=parallelism)
        self.n_keys = 0

    def beat_each(self, keys: Keys) -> None:
        hub = self.hub
        for key in keys:
            hub.heartbeat(key)

    def arm(self, keys: Keys) -> float:
        self.n_keys = len(keys)

        def watch(at: float) -> None:
            self.hub.close()
            self.hub = hub = HeartHub(TIMEOUT_S, parallelism=self.parallelism)
            hub.heartbeat("short", timeout=1)  # from now on all beats of this hub read the exact clock
            hub.remove("short")
            for start in range(0, len(keys), CHUNK):
                left = at - time.monotonic()
                if left <= 0:
                    return  # too slow for this instant: due_at_once tries a later one
                hub.heartbeat_many(keys[start : start + CHUNK], timeout=left)

        return due_at_once(self.name, len(keys), 2e-6, watch)

    def drain(self) -> list[object]:
        take, n_keys = self.hub.events.get_many, self.n_keys
        found: list[object] = []
        while len(found) < n_keys:
            found += take(n_keys)
        return found

    def close(self) -> None:
        self.hub.close()


class ByHeart(ByKey):
    """`heart.beat()`: a handle for each key."""

    name = "heart.beat()"

    def join(self, keys: Keys) -> None:
        self.by_key = {key: self.hub.heart(key) for key in keys}

    def ready(self, keys: Keys) -> list[Heart]:
        return [self.by_key[key] for key in keys]

    def beat_each(self, keys: list[Heart]) -> None:
        for heart in keys:
            heart.beat()


class ByMany(ByKey):
    """`hub.heartbeat_many(list)`: all keys in one call."""

    name = "hub.heartbeat_many(keys)"

    def beat_each(self, keys: Keys) -> None:
        self.hub.heartbeat_many(keys)


class ByIds(ByKey):
    """`hub.heartbeat_ids(ids)`: all keys in one call, as numbers."""

    name = "hub.heartbeat_ids(ids)"
    package = "numpy"

    def join(self, keys: Keys) -> None:
        self.hub.heartbeat_many(keys)

    def ready(self, keys: Keys) -> Any:
        return self.hub.ids(keys)

    def beat_each(self, keys: Any) -> None:
        self.hub.heartbeat_ids(keys)


OURS: list[type[Watcher]] = [ByKey, ByHeart, ByMany, ByIds]
