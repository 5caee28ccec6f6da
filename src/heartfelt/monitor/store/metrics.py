# SPDX-License-Identifier: MIT
"""The store's metrics: the fields of `Health`."""

from __future__ import annotations

from collections.abc import Iterator

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.store import Health

__all__ = ["FIGURES", "readings"]

_DROPPED = counter(
    "heartfelt_store_dropped",
    "Records that were dropped because too many waited to be written",
    labels=("kind",),
)

_DAMAGED_ROWS = counter(
    "heartfelt_store_damaged_rows", "Rows that could not be read and were left out", labels=("table",)
)

FIGURES: Figures = {
    "ok": gauge("heartfelt_store_ok", "1 if the last write succeeded, 0 if it failed"),
    "error": None,  # a text
    "waiting": gauge("heartfelt_store_waiting", "Rows that wait to be written"),
    "waiting_instances": gauge("heartfelt_store_waiting_instances", "Instances among the rows that wait to be written"),
    "writes": counter("heartfelt_store_writes", "Transactions that were written"),
    "failures": counter("heartfelt_store_failures", "Attempts to write that failed"),
    "dropped_changes": _DROPPED.of("change"),
    "dropped_events": _DROPPED.of("event"),
    "dropped_deliveries": _DROPPED.of("delivery"),
    "dropped_counts": _DROPPED.of("count"),
    "dropped_runs": _DROPPED.of("run"),
    "dropped_days": _DROPPED.of("day"),
    "refused": counter("heartfelt_store_refused", "Rows that can never be stored"),
    "removed": counter("heartfelt_store_removed", "Rows that were deleted because of their age or the file's size"),
    "unsent": counter("heartfelt_store_unsent", "Deleted deliveries that had been neither delivered nor given up"),
    "damaged": gauge("heartfelt_store_damaged", "1 if the structure of the database file is damaged, otherwise 0"),
    "damaged_rows": None,  # by table, below
    "damaged_by_table": None,
    "bytes": gauge("heartfelt_store_bytes", "Size of the database file and its write-ahead log", unit="bytes"),
    "last_beat_ms": gauge(
        "heartfelt_store_last_beat_timestamp_seconds",
        "Unix time of the newest heartbeat that was written since the start, of any instance",
        unit="seconds",
    ).from_ms(),
    "last_written_ms": gauge(
        "heartfelt_store_last_write_timestamp_seconds", "Unix time of the last successful write", unit="seconds"
    ).from_ms(),
}


def readings(health: Health) -> Iterator[Reading]:
    yield from read(FIGURES, {name: getattr(health, name) for name in health.__struct_fields__})
    yield _DAMAGED_ROWS, {(table,): n for table, n in health.damaged_by_table.items()}
