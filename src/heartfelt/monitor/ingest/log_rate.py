# SPDX-License-Identifier: MIT
"""Limits the rate of log lines that clients can cause. Suppressed lines are counted."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

from heartfelt.monitor.problems import masked

__all__ = ["RateLog"]

_log = logging.getLogger("heartfelt.monitor.ingest")
_LONGEST_TEXT = 300


class RateLog:
    """`warn` logs at most `most` lines of a kind in `per_s` seconds; the next line after that says how many were
    suppressed.

    There are few kinds, which the caller chooses, never a client. Control characters in a client's text are escaped,
    tokens are masked and lines are cut, so that a client can neither forge log lines nor put secrets into them.
    """

    __slots__ = ("_clock", "_kinds", "_log", "_most", "_per_s", "left_out")

    def __init__(
        self,
        *,
        most: int = 5,
        per_s: float = 60.0,
        clock: Callable[[], float] = time.monotonic,
        log: logging.Logger = _log,
    ) -> None:
        self._most = most
        self._per_s = per_s
        self._clock = clock
        self._log = log
        self._kinds: dict[str, list[float]] = {}  # kind -> [start of its period, lines in it, suppressed since]
        self.left_out = 0

    def warn(self, kind: str, text: str) -> None:
        now = self._clock()
        state = self._kinds.setdefault(kind, [now, 0, 0])
        if now - state[0] >= self._per_s:
            state[0], state[1] = now, 0
        if state[1] >= self._most:
            state[2] += 1
            self.left_out += 1
            return
        state[1] += 1
        text = masked(text)
        shown = "".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in text[:_LONGEST_TEXT])
        if state[2]:
            shown += f" ({int(state[2])} more of this kind were suppressed)"
            state[2] = 0
        self._log.warning("%s", shown)
