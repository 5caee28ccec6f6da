# SPDX-License-Identifier: MIT
"""Logs of an outage, such as that of a disk that is full: a line when it begins, at most one a minute while it lasts or
comes and goes, and one when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOG_EVERY_S = 60.0


class OutageLog:
    """Belongs to one thread. over: logged when it works again."""

    def __init__(self, logger: logging.Logger, over: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._over = over
        self._clock = clock
        self._logged_s = float("-inf")
        self._count = 0
        self._is_on = False

    def failed(self, text: str) -> None:
        self._count += 1
        now_s = self._clock()
        if now_s - self._logged_s < LOG_EVERY_S:
            return
        self._logged_s = now_s
        more = f" ({self._count} times since the last line)" if self._count > 1 else ""
        self._logger.error("%s%s", text, more)
        self._count, self._is_on = 0, True

    def worked(self) -> None:
        """Logs the end of an outage whose beginning was logged."""
        if self._is_on:
            self._is_on = False
            more = f", after {self._count} more failures" if self._count else ""
            self._logger.warning("%s%s", self._over, more)
            self._count = 0
