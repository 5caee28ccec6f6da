# SPDX-License-Identifier: MIT
"""Log lines that strangers can cause: each once an hour, and few in a minute."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MOST_REMEMBERED = 1000
_AGAIN_S = 3600.0
_PER_MINUTE = 10
_logger = logging.getLogger("heartfelt.monitor")


class Once:
    """`warn` logs a text once an hour for each `about`, and at most ten of all in a minute.

    `left_out` counts those beyond ten; repeats are in the caller's own counter. Belongs to the loop's thread.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._told_s: dict[object, float] = {}
        self._minute_s = -60.0
        self._lines = 0
        self.left_out = 0

    def warn(self, about: object, text: Callable[[], str]) -> None:
        """about: whom or what the line is about. text: makes the line, without control characters."""
        now_s = self._clock()
        if now_s - self._told_s.get(about, now_s - _AGAIN_S) < _AGAIN_S:
            return
        if now_s - self._minute_s >= 60.0:
            self._minute_s, self._lines = now_s, 0
        if self._lines >= _PER_MINUTE:
            self.left_out += 1
            return
        self._lines += 1
        self._told_s.pop(about, None)
        while len(self._told_s) >= MOST_REMEMBERED:
            del self._told_s[next(iter(self._told_s))]
        self._told_s[about] = now_s
        _logger.warning("%s", text())
