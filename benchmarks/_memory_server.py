# SPDX-License-Identifier: MIT
"""The monitor process of benchmarks/memory_and_start.py: `heartfelt serve` with a probe of its event loop.

`_memory_server.py FOLDER` prints one line of JSON when it is ready. For each line on its standard input it prints one:
the longest stalls of the loop since the last line, what waits for the store, and the collector's work. The line
"objects" asks for the number and size of the objects of each type instead.

A stall is the time from one turn of the loop to the next but for the wait in between: by the clock on the wall, which
counts what other processes take, and by the processor time of the thread, which does not.
"""

from __future__ import annotations

import asyncio
import collections
import gc
import json
import sys
import time
from typing import Any

from heartfelt.monitor import server
from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.monitor import Monitor

PROBE_S = 0.002


class Probe:
    def __init__(self, monitor: Monitor) -> None:
        self.monitor = monitor
        self.wall_s = self.cpu_s = self.gc_s = self.gc_all_s = self._gc_began_s = 0.0
        self.collections = 0
        gc.callbacks.append(self._collecting)

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._gc_began_s = time.thread_time()  # of whatever thread collects
        else:
            took_s = time.thread_time() - self._gc_began_s
            self.gc_s = max(self.gc_s, took_s)
            self.gc_all_s += took_s
            self.collections += 1

    async def run(self) -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(0, self.answer)
        while True:
            wall_s, cpu_s = time.perf_counter(), time.thread_time()
            await asyncio.sleep(PROBE_S)
            self.wall_s = max(self.wall_s, time.perf_counter() - wall_s - PROBE_S)
            self.cpu_s = max(self.cpu_s, time.thread_time() - cpu_s)

    def answer(self) -> None:
        asked = sys.stdin.readline()
        if not asked:
            asyncio.get_running_loop().remove_reader(0)
            return
        if asked.strip() == "objects":
            print(json.dumps(objects()), flush=True)
            return
        said = {
            "stall_wall_ms": 1000 * self.wall_s,
            "stall_cpu_ms": 1000 * self.cpu_s,
            "gc_ms": 1000 * self.gc_s,
            "gc_all_ms": 1000 * self.gc_all_s,
            "collections": self.collections,
            "waiting": self.monitor.store.health().waiting,
            "instances": len(self.monitor.registry),
            "beats": self.monitor.registry.beats,
        }
        self.wall_s = self.cpu_s = self.gc_s = self.gc_all_s = 0.0
        self.collections = 0
        print(json.dumps(said), flush=True)


def objects() -> dict[str, tuple[int, int]]:
    """The containers that the collector knows, and what they alone refer to, by type: number and bytes."""
    gc.unfreeze()
    sizes: dict[str, list[int]] = collections.defaultdict(lambda: [0, 0])
    seen: set[int] = set()
    stack = gc.get_objects()
    while stack:
        one = stack.pop()
        if id(one) in seen or one is stack or one is seen or one is sizes:
            continue
        seen.add(id(one))
        entry = sizes[type(one).__qualname__]
        entry[0] += 1
        entry[1] += sys.getsizeof(one)
        if not isinstance(one, type(sys)):
            stack += [inner for inner in gc.get_referents(one) if not gc.is_tracked(inner) and id(inner) not in seen]
    return {name: (n, size) for name, (n, size) in sizes.items() if size > 100_000}


def main() -> None:
    began = server.Process._serve

    async def serve(self: server.Process, monitor: Monitor, *others: Any) -> None:
        probing = asyncio.ensure_future(Probe(monitor).run())
        try:
            await began(self, monitor, *others)
        finally:
            probing.cancel()

    server.Process._serve = serve  # type: ignore[method-assign,assignment]
    flags = {"data": sys.argv[1], "http.port": 0, "tcp.enable": False, "udp.enable": False, "log.level": "error"}
    # what joins need not beat again while it is measured, and all come from one client
    flags |= {"lease.timeout": "1h", "lease.cache": "2h", "limits.instances_of_client": 1_000_000}
    flags |= {"limits.instances": 1_000_000, "limits.beats_of_client_per_s": 10_000_000}
    server.run(MonitorConfig.load(None, flags=flags), ready_json=True)


if __name__ == "__main__":
    main()
