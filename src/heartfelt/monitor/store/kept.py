# SPDX-License-Identifier: MIT
"""Says how long records are kept."""

from __future__ import annotations

import msgspec

DAY_MS = 86_400_000


class Retention(msgspec.Struct, kw_only=True, frozen=True):
    """How long each kind of row is kept, in ms, and the largest size of the file in bytes, without its WAL."""

    events_ms: int = 7 * DAY_MS
    changes_ms: int = 90 * DAY_MS
    deliveries_ms: int = 7 * DAY_MS
    heat_ms: int = 2 * DAY_MS
    uptime_ms: int = 400 * DAY_MS
    file_bytes: int = 1 << 30
