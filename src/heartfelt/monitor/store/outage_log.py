# SPDX-License-Identifier: MIT
"""The log of a disk that cannot be written: a line when it begins, at most one a minute while it lasts or comes and
goes, and one when it is over."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

LOG_EVERY_S = 60.0


class OutageLog:
    """Belongs to the writer's thread. what: of which it is said that it can be written again."""

    def __init__(self, logger: logging.Logger, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._logger = logger
        self._what = what
        self._clock = clock
        self._logged_s = float("-inf")
        self._count = 0
        self._is_on = False

    def failed(self, error: str) -> None:
        self._count += 1
        now_s = self._clock()
        if now_s - self._logged_s < LOG_EVERY_S:
            return
        self._logged_s = now_s
        more = f" ({self._count} attempts since the last line)" if self._count > 1 else ""
        self._logger.error("%s; new records are kept in memory until then%s", error, more)
        self._count, self._is_on = 0, True

    def worked(self) -> None:
        """Logs the end of what was logged."""
        if self._is_on:
            self._is_on = False
            more = f", after {self._count} more attempts" if self._count else ""
            self._logger.warning("%s can be written again%s", self._what, more)
            self._count = 0
