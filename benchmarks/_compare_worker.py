# SPDX-License-Identifier: MIT
"""One side of compare.py: a process that has one build of heartfelt, and times operations on request.

Started with a number of keys. Lists its operations, as JSON, in its first line. For each line "operation TAB passes"
that it reads it makes that number of passes over all keys, and answers with ns an operation. Works with the API of any
revision: an operation that the revision does not offer is reported as missing.
"""

from __future__ import annotations

import gc
import json
import random
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import heartfelt
from heartfelt import HeartHub
from heartfelt.testing import ManualClock

TIMEOUT_S = 3600  # nothing is due, however long the machine stands still


def nothing() -> None:
    pass


@dataclass(frozen=True)
class Operation:
    run: Callable[[], object]  # one pass over all keys
    prepare: Callable[[], object] = nothing  # before each pass, untimed

    def ns(self, passes: int, n_keys: int) -> float:
        total = 0
        if self.prepare is nothing:
            start = time.perf_counter_ns()
            for _ in range(passes):
                self.run()
            total = time.perf_counter_ns() - start
        else:
            for _ in range(passes):
                self.prepare()
                start = time.perf_counter_ns()
                self.run()
                total += time.perf_counter_ns() - start
        return total / (passes * n_keys)


def shuffled(items: list, seed: int) -> list:
    items = list(items)
    random.Random(seed).shuffle(items)
    return items


class Side:
    """The hub and keys that the operations share. Keys join in one order, and beat in another."""

    def __init__(self, n_keys: int) -> None:
        joined = [f"service/{n}" for n in range(n_keys)]
        self.keys = shuffled(joined, 1)
        self.hub = HeartHub(TIMEOUT_S)
        for key in joined:
            self.hub.heartbeat(key)

    def heartbeat(self) -> Operation:
        beat, keys = self.hub.heartbeat, self.keys

        def run() -> None:
            for key in keys:
                beat(key)

        return Operation(run)

    def heartbeat_equal(self) -> Operation:
        beat, keys = self.hub.heartbeat, [key.encode().decode() for key in self.keys]

        def run() -> None:
            for key in keys:
                beat(key)

        return Operation(run)

    def heart_beat(self) -> Operation:
        hearts = [self.hub.heart(key) for key in self.keys]

        def run() -> None:
            for heart in hearts:
                heart.beat()

        return Operation(run)

    def heartbeat_many(self) -> Operation:
        many, keys = self.hub.heartbeat_many, self.keys
        return Operation(lambda: many(keys))

    def heartbeat_ids(self) -> Operation:
        by_id, ids = self.hub.heartbeat_ids, self.hub.ids(self.keys)
        return Operation(lambda: by_id(ids))

    def join(self) -> Operation:
        hub = HeartHub(TIMEOUT_S)

        def empty() -> None:
            nonlocal hub
            hub.close()
            hub = HeartHub(TIMEOUT_S)

        def run() -> None:
            beat = hub.heartbeat
            for key in self.keys:
                beat(key)

        return Operation(run, empty)

    def expire_and_drain(self) -> Operation:
        clock = ManualClock()
        hub = HeartHub(1, clock=clock)

        def join() -> None:
            for key in self.keys:
                hub.heartbeat(key)

        def run() -> None:
            clock.advance(1)
            read = len(hub.events.get_many(len(self.keys)))
            assert read == len(self.keys), f"{read} events of {len(self.keys)} keys"

        return Operation(run, join)

    def events_get(self) -> Operation:
        clock = ManualClock()
        hub = HeartHub(1, clock=clock)

        def expire() -> None:
            for key in self.keys:
                hub.heartbeat(key)
            clock.advance(1)

        def run() -> None:
            get = hub.events.get
            for _ in self.keys:
                get()

        return Operation(run, expire)


OPERATIONS: dict[str, Callable[[Side], Operation]] = {
    "heartbeat(key)": Side.heartbeat,
    "heartbeat(equal key)": Side.heartbeat_equal,
    "heart.beat()": Side.heart_beat,
    "heartbeat_many(list)": Side.heartbeat_many,
    "heartbeat_ids(ids)": Side.heartbeat_ids,
    "join by heartbeat": Side.join,
    "expire, get_many": Side.expire_and_drain,
    "events.get()": Side.events_get,
}


def main() -> None:
    n_keys = int(sys.argv[1])
    side = Side(n_keys)
    known: dict[str, Operation] = {}
    missing: dict[str, str] = {}
    for name, make in OPERATIONS.items():
        try:
            known[name] = make(side)
        except (AttributeError, ImportError, TypeError) as error:
            missing[name] = f"{type(error).__name__}: {error}"
    gc.collect()
    gc.freeze()
    gc.disable()
    print(json.dumps({"heartfelt": heartfelt.__file__, "known": list(known), "missing": missing}), flush=True)
    for order in sys.stdin:
        name, passes = order.rstrip("\n").split("\t")
        print(known[name].ns(int(passes), n_keys), flush=True)


if __name__ == "__main__":
    main()
