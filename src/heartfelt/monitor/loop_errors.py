# SPDX-License-Identifier: MIT
"""Counts and logs what the event loop reports to its exception handler: errors that no task or caller gets, such as
those of an accept or of a callback."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Iterator
from typing import Any

from heartfelt.monitor.metric import Figures, Reading, counter, read

__all__ = ["LoopErrors"]

LOG_EVERY_S = 1.0
FIGURES: Figures = {
    "loop_errors": counter("heartfelt_loop_errors", "Errors that the event loop reported, as of an accept"),
}
_logger = logging.getLogger("heartfelt.monitor")


class LoopErrors:
    """`loop.set_exception_handler(errors.handle)`. Logs at most one error in LOG_EVERY_S."""

    def __init__(self) -> None:
        self.count = 0
        self._left_out = 0
        self._next_s = 0.0

    def handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.count += 1
        now_s = time.monotonic()
        if now_s < self._next_s:
            self._left_out += 1
            return
        self._next_s = now_s + LOG_EVERY_S
        more = f" ({self._left_out} more were suppressed)" if self._left_out else ""
        self._left_out = 0
        error = context.get("exception")
        is_bug = error is not None and not isinstance(error, OSError)
        _logger.error(
            "event loop: %s: %r%s", context.get("message", "error"), error, more, exc_info=error if is_bug else None
        )

    def stats(self) -> dict[str, int]:
        return {"loop_errors": self.count}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
