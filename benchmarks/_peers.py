# SPDX-License-Identifier: MIT
"""The alternatives to heartfelt. Each docstring says how one works, and where it is wrong for beats.

All answer the same question: which keys have not beaten within their timeout?
"""

from __future__ import annotations

import asyncio
import heapq
import threading
import time
from datetime import timedelta

from _keys import Keys
from _watcher import TIMEOUT_S, Watcher, due_at_once, wait_until


class Dict(Watcher):
    """A dict of the times of the last beats, and a scan of all of them.

    The cheapest possible beat in Python. But nothing happens at a deadline: somebody has to scan every key, say once a
    second, which holds the GIL as long as it takes, and a timeout is noticed up to a second late.
    """

    name = "dict"
    note = "nothing notices a timeout: all keys have to be scanned"
    tells = False

    def __init__(self) -> None:
        self.beaten: dict[str, float] = {}
        self.timeout = TIMEOUT_S

    def beat_each(self, keys: Keys) -> None:
        beaten, monotonic = self.beaten, time.monotonic
        for key in keys:
            beaten[key] = monotonic()

    def arm(self, keys: Keys) -> float:
        self.timeout = 0.001
        now = time.monotonic()
        self.beaten = dict.fromkeys(keys, now)
        return wait_until(now + self.timeout)

    def drain(self) -> list[object]:
        beaten = self.beaten
        before = time.monotonic() - self.timeout
        dead: list[object] = [key for key, beat in beaten.items() if beat <= before]
        for key in dead:
            del beaten[key]
        return dead


class Heap(Watcher):
    """A heapq of (deadline, key), pushed at each beat; stale entries are dropped at their deadlines.

    A watcher thread sleeps until the first deadline. The heap holds an entry for each beat of the last timeout, not one
    a key: two beats a second and a timeout of a minute make 120 entries a key, and each must be popped. Only the push
    is timed as the beat.
    """

    name = "heapq"
    note = "an entry for each beat of a timeout; its thread needs the GIL"

    def __init__(self) -> None:
        self.heap: list[tuple[float, str]] = []
        self.latest: dict[str, float] = {}
        self.timeout = TIMEOUT_S

    def beat_each(self, keys: Keys) -> None:
        heap, latest, timeout, push, monotonic = self.heap, self.latest, self.timeout, heapq.heappush, time.monotonic
        for key in keys:
            latest[key] = deadline = monotonic() + timeout
            push(heap, (deadline, key))

    def settle(self) -> None:
        # The stale ones have come up, and what is left is one entry a key. A sorted list is a heap.
        if len(self.heap) > 4 * len(self.latest):
            self.heap[:] = sorted((deadline, key) for key, deadline in self.latest.items())

    def arm(self, keys: Keys) -> float:
        self.heap, self.latest, self.timeout = [], {}, 0.0
        self.beat_each(keys)
        return time.monotonic()

    def drain(self) -> list[object]:
        heap, latest, pop = self.heap, self.latest, heapq.heappop
        now = time.monotonic()
        dead: list[object] = []
        while heap and heap[0][0] <= now:
            deadline, key = pop(heap)
            if latest.get(key) == deadline:
                del latest[key]
                dead.append(key)
        return dead


class Cachetools(Watcher):
    """cachetools.TTLCache: a dict and a linked list in the order of the beats, in Python.

    A beat sets the item again. Exact, but not thread-safe without a lock around it, and passive: items expire in the
    next call, whatever it is, and if that is a beat it drops them without a report, unless expire() was called before.
    One timeout for all keys.
    """

    name = "cachetools.TTLCache"
    package = "cachetools"
    note = "expires only when called; any beat may drop expired keys unreported; not thread-safe"
    tells = False

    def __init__(self) -> None:
        from cachetools import TTLCache

        self.cache = TTLCache(maxsize=1 << 40, ttl=TIMEOUT_S)

    def beat_each(self, keys: Keys) -> None:
        cache = self.cache
        for key in keys:
            cache[key] = None

    def arm(self, keys: Keys) -> float:
        from cachetools import TTLCache

        at = time.monotonic()
        self.cache = TTLCache(maxsize=1 << 40, ttl=TIMEOUT_S, timer=lambda: at - TIMEOUT_S)  # stands still
        self.beat_each(keys)
        self.due = at
        return time.monotonic()

    def drain(self) -> list[object]:
        return [key for key, _ in self.cache.expire(self.due)]


class Cachebox(Watcher):
    """cachebox.TTLCache: a hash table and a queue in the order of the first beats, in Rust.

    A beat sets the item again but leaves it where it is in the queue, and expire() stops at the first item that lives:
    keys that died behind one that beats stay. It does not report which keys expired: the user has to keep a list of
    them and ask for each. Passive. One timeout for all keys.
    """

    name = "cachebox.TTLCache"
    package = "cachebox"
    note = "expire() misses keys behind one that beats; does not report which expired"
    tells = False

    def __init__(self) -> None:
        from cachebox import TTLCache

        self.cache = TTLCache(0, TIMEOUT_S)

    def beat_each(self, keys: Keys) -> None:
        cache = self.cache
        for key in keys:
            cache[key] = None

    def arm(self, keys: Keys) -> float:
        from cachebox import TTLCache

        self.cache, self.watched = TTLCache(0, 0.2), keys
        self.beat_each(keys)
        return wait_until(time.monotonic() + 0.201)

    def drain(self) -> list[object]:
        cache = self.cache
        dead: list[object] = [key for key in self.watched if key not in cache]
        cache.expire()
        return dead


class Theine(Watcher):
    """theine.Cache: a W-TinyLFU cache with a hierarchical timing wheel, in Python and Rust.

    A beat sets the item again. The wheel turns once a second, in a thread that takes the GIL, and removes expired
    keys without a report: the user has to keep a list of the keys and ask for each. It is a cache: when it is full it
    evicts living keys; here it has room for twice as many.
    """

    name = "theine"
    package = "theine"
    note = "turns once a second; does not report which expired; evicts living keys when full"
    tells = False

    def __init__(self) -> None:
        from theine import Cache

        self.cache = Cache(1000)

    def join(self, keys: Keys) -> None:
        from theine import Cache

        self.cache.close()
        self.cache = Cache(2 * len(keys))
        self.beat_each(keys)

    def beat_each(self, keys: Keys) -> None:
        cache, ttl = self.cache, timedelta(seconds=TIMEOUT_S)
        for key in keys:
            cache.set(key, None, ttl)

    def arm(self, keys: Keys) -> float:
        return due_at_once(self.name, len(keys), 1e-5, lambda at: self._watch(keys, at))

    def _watch(self, keys: Keys, at: float) -> None:
        from theine import Cache

        self.cache.close()
        self.cache, self.watched, self.due = Cache(2 * len(keys)), keys, at
        cache, now = self.cache, time.monotonic
        for key in keys:
            left = at - now()
            if left <= 0:
                return
            cache.set(key, None, timedelta(seconds=left))

    def drain(self) -> list[object]:
        wait_until(self.due)
        cache, left = self.cache, self.watched
        dead: list[object] = []
        while left:  # asks again for a key whose ttl was set a moment late
            alive: Keys = []
            for key in left:
                (alive if cache.get(key)[1] else dead).append(key)
            left = alive
        return dead

    def close(self) -> None:
        self.cache.close()


class AsyncioCallLater(Watcher):
    """asyncio's loop.call_later for each key, cancelled and set again at each beat.

    Exact, and it reports; but only from the loop's own thread, and while that is busy nothing expires. A beat allocates
    a timer and its context, and leaves the cancelled one in the loop's heap until half of them are.
    """

    name = "asyncio call_later"
    note = "only in the loop's thread; late while that is busy"

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.timers: dict[str, asyncio.TimerHandle] = {}
        self.dead: list[object] = []

    def expire(self, key: str) -> None:
        del self.timers[key]
        self.dead.append(key)

    def beat_each(self, keys: Keys) -> None:
        self.loop.run_until_complete(self._beat_each(keys))

    async def _beat_each(self, keys: Keys) -> None:
        timers, call_later, expire = self.timers, self.loop.call_later, self.expire
        for start in range(0, len(keys), 1000):
            for key in keys[start : start + 1000]:
                timer = timers.get(key)
                if timer is not None:
                    timer.cancel()
                timers[key] = call_later(TIMEOUT_S, expire, key)
            await asyncio.sleep(0)  # the loop drops the cancelled timers in between, as it does in a program

    def arm(self, keys: Keys) -> float:
        return due_at_once(self.name, len(keys), 4e-6, lambda at: self._watch(keys, at))

    def _watch(self, keys: Keys, at: float) -> None:
        self.loop.close()
        self.loop = asyncio.new_event_loop()
        self.dead = []
        self.timers = {key: self.loop.call_at(at, self.expire, key) for key in keys}
        self.loop.call_at(at + 1e-6, self.loop.stop)

    def drain(self) -> list[object]:
        self.loop.run_forever()
        return self.dead

    def close(self) -> None:
        self.loop.close()


class ThreadingTimer(Watcher):
    """A threading.Timer for each key, cancelled and started again at each beat.

    Correct, and it reports; but it takes a thread for each key, and a beat starts one. With 10,000 of them, only the
    beats of a few are timed.
    """

    name = "threading.Timer"
    note = "a thread a key"
    most_keys = 10_000
    sample = 50
    slow_to_join = True
    in_one_thread = False

    def __init__(self) -> None:
        self.timers: dict[str, threading.Timer] = {}
        self.cancelled: list[threading.Timer] = []
        self.timeout = TIMEOUT_S
        self.dead: list[object] = []
        self.all_dead = threading.Event()
        self.n_keys = 0

    def expire(self, key: str) -> None:
        self.dead.append(key)
        if len(self.dead) == self.n_keys:
            self.all_dead.set()

    def beat_each(self, keys: Keys) -> None:
        timers, timeout, expire, cancelled = self.timers, self.timeout, self.expire, self.cancelled
        for key in keys:
            timer = timers.get(key)
            if timer is not None:
                timer.cancel()
                cancelled.append(timer)
            timer = threading.Timer(timeout, expire, (key,))
            timer.daemon = True
            timer.start()
            timers[key] = timer

    def settle(self) -> None:
        for timer in self.cancelled:
            timer.join()
        self.cancelled.clear()

    def arm(self, keys: Keys) -> float:
        return due_at_once(self.name, len(keys), 5e-4, lambda at: self._watch(keys, at))

    def _watch(self, keys: Keys, at: float) -> None:
        self.close()
        self.dead, self.n_keys = [], len(keys)
        self.all_dead.clear()
        for key in keys:
            self.timeout = max(at - time.monotonic(), 0.0)
            self.beat_each([key])

    def drain(self) -> list[object]:
        self.all_dead.wait()
        return self.dead

    def close(self) -> None:
        for timer in self.timers.values():
            timer.cancel()
            timer.join()  # one after the other: 10,000 that wake together would fight for the GIL
        self.timers = {}
        self.settle()


PEERS: list[type[Watcher]] = [Dict, Heap, Cachetools, Cachebox, Theine, AsyncioCallLater, ThreadingTimer]
