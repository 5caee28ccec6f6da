# SPDX-License-Identifier: MIT
"""The clocks of Redis' primaries, estimated by this process' monotonic clock from readings of TIME."""

from __future__ import annotations

import threading

DRIFT = 500e-6
"""How much faster or slower one clock may run than the other: an adjustment of the time by NTP."""
JUMP_MS = 2000.0
"""A clock that is found further ahead than this has jumped."""


class PrimaryClock:
    """The clock of a shard's primary, whichever server that is. Any thread.

    A reading says: the primary's TIME was read at some moment between `sent_s` and `received_s`. So its offset from the
    monotonic clock is in an interval as wide as the round trip. An interval gets wider with its age, by DRIFT; a new
    one is cut with it, or, if they do not meet, replaces it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._low_ms = self._high_ms = 0.0
        self._read_s = 0.0
        self._told_ms = 0
        self.readings = 0

    def feed(self, time_ms: float, sent_s: float, received_s: float) -> float:
        """Takes a reading. Returns by how many ms the primary's clock has jumped, at the least: 0.0 if it has not."""
        low_ms, high_ms = time_ms - received_s * 1000, time_ms - sent_s * 1000
        with self._lock:
            jumped_ms = 0.0
            if self.readings:
                wider_ms = max(0.0, received_s - self._read_s) * 1000 * DRIFT
                old_low_ms, old_high_ms = self._low_ms - wider_ms, self._high_ms + wider_ms
                if low_ms > old_high_ms:
                    jumped_ms = low_ms - old_high_ms
                elif high_ms < old_low_ms:
                    jumped_ms = high_ms - old_low_ms
                else:
                    low_ms, high_ms = max(low_ms, old_low_ms), min(high_ms, old_high_ms)
            self.readings += 1
            self._low_ms, self._high_ms, self._read_s = low_ms, high_ms, received_s
            return jumped_ms

    def now_ms(self, now_s: float) -> int:
        """Returns the estimate, which never falls: after a jump back it stands still until it is right again."""
        with self._lock:
            estimate = int((self._low_ms + self._high_ms) / 2 + now_s * 1000)
            self._told_ms = max(self._told_ms, estimate)
            return self._told_ms
