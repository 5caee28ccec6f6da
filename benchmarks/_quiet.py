# SPDX-License-Identifier: MIT
"""Measurements on a shared machine: the load of other programs, and waiting until they are idle."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

QUIET_PERCENT = 5.0  # of one core
Result = TypeVar("Result")


class OthersLoad:
    """Measures the load of other programs. Linux; 0 elsewhere."""

    def __init__(self) -> None:
        self._before = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        """The seconds of CPU that other programs have used, and the time."""
        stat = Path("/proc/stat")
        if not stat.exists():
            return 0.0, time.monotonic()
        ticks = [int(one) for one in stat.read_text().split("\n", 1)[0].split()[1:9]]
        busy_s = (sum(ticks) - ticks[3] - ticks[4]) / os.sysconf("SC_CLK_TCK")  # all but idle and waiting for a disk
        return busy_s - time.process_time(), time.monotonic()

    def percent(self) -> float:
        """The load since the start, in percent of one core."""
        (others_before, before), (others, now) = self._before, self._now()
        return 100 * max(0.0, others - others_before) / (now - before)


class Quiet:
    """Calls a measurement while other programs are idle, and again, once they are, if one was not."""

    def __init__(self, patience_s: float) -> None:
        self.patience_s = patience_s  # the rest of it, for all calls
        self.disturbed = 0  # measurements that were used although they were disturbed

    def __call__(self, measure: Callable[..., Result], *args: object) -> Result:
        while True:
            load = OthersLoad()
            result = measure(*args)
            if load.percent() < QUIET_PERCENT:
                return result
            if self.patience_s <= 0:
                self.disturbed += 1
                return result
            self.wait()

    def wait(self) -> None:
        start, load = time.monotonic(), OthersLoad()
        time.sleep(0.5)
        while load.percent() >= QUIET_PERCENT and time.monotonic() - start < self.patience_s:
            load = OthersLoad()
            time.sleep(0.5)
        self.patience_s -= time.monotonic() - start
