# SPDX-License-Identifier: MIT
"""Python's garbage collector in the process of `heartfelt serve`: what it need not visit, and how long it takes.

A full collection visits every object that may be part of a cycle, and the event loop waits. So

- instances, their timers and the tables of them, the only objects of which there are hundreds of thousands, are not
  tracked at all (`heartfelt._known.untrack`): they are in no cycle, and their memory is given back when the last
  reference goes;
- what exists once the monitor has started is frozen (`freeze`): modules, tables, the parts of the monitor.

What is made later is collected as usual: thresholds are Python's own, and the collector is never off after the start.
In a program that embeds the monitor (`create_app`) the collector is that program's, and nothing here is used.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator
from typing import Any

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read

FIGURES: Figures = {
    "collections": counter("heartfelt_gc_collections", "Runs of Python's garbage collector"),
    "seconds": counter(
        "heartfelt_gc_duration_seconds", "Time that Python's garbage collector has taken", unit="seconds"
    ),
    "longest_s": gauge(
        "heartfelt_gc_longest_pause_seconds", "The longest run of Python's garbage collector", unit="seconds"
    ),
}


def freeze() -> None:
    """Collects, and excludes what is left from further collections. Blocks for a tenth of a second."""
    gc.collect()
    gc.freeze()


class Garbage:
    """Measures collections between `start` and `stop`. clock: returns seconds."""

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began_s: float | None = None
        self.collections = 0
        self.seconds = 0.0
        self.longest_s = 0.0

    def start(self) -> None:
        gc.callbacks.append(self._observe)

    def stop(self) -> None:
        """Idempotent."""
        if self._observe in gc.callbacks:
            gc.callbacks.remove(self._observe)

    def _observe(self, phase: str, info: dict[str, int]) -> None:
        if phase == "start":
            self._began_s = self._clock()
        elif self._began_s is not None:
            took_s = self._clock() - self._began_s
            self._began_s = None
            self.collections += 1
            self.seconds += took_s
            self.longest_s = max(self.longest_s, took_s)

    def stats(self) -> dict[str, Any]:
        return {"collections": self.collections, "seconds": self.seconds, "longest_s": self.longest_s}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
