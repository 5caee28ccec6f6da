# SPDX-License-Identifier: MIT
"""The shapes of all tables: which values their columns may have, and how a row is converted."""

from __future__ import annotations

import sqlite3
from typing import Any

from heartfelt.monitor.model import Change, InstanceRow, Run
from heartfelt.monitor.store import Delivery, HeatCell, Keys, StoredEvent, UptimeDay, rows
from heartfelt.monitor.store.check import bounded
from heartfelt.monitor.store.damage import FAILURES, Damage, is_broken
from heartfelt.monitor.store.shapes import (
    COUNT,
    DELTA,
    FLAG,
    ID,
    INT,
    SECONDS,
    SPAN,
    TEXT,
    TIME,
    ColumnKind,
    Row,
    Shape,
    below,
    maybe,
)

_KINDS: dict[str, dict[str, ColumnKind]] = {
    "instances": {
        "id": ID, "service": TEXT, "instance_id": TEXT, "state": TEXT, "since_ms": TIME, "reason": TEXT,
        "first_seen_ms": TIME, "last_beat_ms": TIME, "meta": TEXT, "via": TEXT, "peer": TEXT,
        "interval_ms": maybe(SPAN), "timeout_ms": maybe(SPAN), "skew_ms": maybe(INT), "lag_ms": maybe(INT),
        "paused_until_ms": maybe(TIME), "reason_code": TEXT, "reason_args": TEXT, "before_pause": maybe(TEXT),
        "ack": maybe(TEXT), "down_since_ms": maybe(TIME), "expected": FLAG, "every_ms": maybe(SPAN),
        "grace_ms": maybe(SPAN), "period_ms": maybe(SPAN), "is_job": FLAG, "min_duration_ms": maybe(SPAN),
        "max_duration_ms": maybe(SPAN), "expected_by": TEXT,
    },
    "changes": {
        "seq": ID, "time_ms": TIME, "id": ID, "service": TEXT, "instance_id": TEXT, "old": maybe(TEXT), "new": TEXT,
        "level": below(len(rows.LEVELS)), "reason": TEXT, "outage_ms": maybe(DELTA), "ip": TEXT, "reason_code": TEXT,
        "reason_args": TEXT,
    },
    "events": {
        "number": ID, "time_ms": INT, "received_ms": TIME, "service": TEXT, "instance_id": TEXT, "ip": TEXT,
        "scope": TEXT, "has_scope": FLAG, "level": below(len(rows.LEVELS)), "type": TEXT, "name": TEXT, "info": TEXT,
    },
    "runs": {
        "number": ID, "id": ID, "rid": TEXT, "begin_ms": maybe(TIME), "end_ms": maybe(TIME),
        "result": below(len(rows.RESULTS)), "status": maybe(INT), "duration_ms": maybe(DELTA), "text": TEXT,
        "deadline_ms": maybe(TIME), "liveness_ms": maybe(SPAN),
    },
    "days": {
        "day": ColumnKind(int, -700_000, 2_900_000), "service": TEXT, "watched_s": SECONDS, "up_s": SECONDS,
        "observed_s": SECONDS, "available_s": SECONDS, "losses": COUNT, "failures": COUNT,
    },
    "heat": {"service": TEXT, "minute_ms": TIME, "total": COUNT, "up": COUNT},
    "documents": {"kind": TEXT, "name": TEXT, "value": TEXT},
    "outbox": {
        "number": ID, "target": TEXT, "key": TEXT, "payload": TEXT, "created_ms": TIME, "attempts": COUNT,
        "state": below(len(rows.DELIVERY_STATES)), "next_ms": INT, "answer": TEXT,
    },
    "told": {"target": TEXT, "service": TEXT, "instance_id": TEXT, "keys": TEXT},
    "beats": {"id": ID, "last_beat_ms": TIME},
}  # fmt: skip


def _document_of(row: Row) -> tuple[str, str, Any]:
    return row[0], row[1], rows.from_json(row[2])


def _told_of(row: Row) -> tuple[str, tuple[str, str], Keys]:
    keys = rows.from_json(row[3])
    if type(keys) is not list or not all(type(key) is str for key in keys):
        raise ValueError(f"keys is not a list of texts: {row[3][:40]}")
    return row[0], (row[1], row[2]), tuple(keys)


def _beat_of(row: Row) -> tuple[int, int]:
    return row[0], row[1]


def _heat_of(row: Row) -> HeatCell:
    return HeatCell(service=row[0], minute_ms=row[1], total=row[2], up=row[3])


_META_NUMBERS = frozenset(("next_id", "next_seq", "next_run", "closed_cleanly", "last_written_ms"))


def _meta_of(row: Row) -> tuple[str, Any]:
    name, value = row
    if name in _META_NUMBERS:
        if type(value) is not int or not 0 <= value <= 1 << 60:
            raise ValueError(f"{name} is {value!r}, not a number")
    elif type(value) is not str:
        raise ValueError(f"{name} is not text")
    elif name == "hold":
        rows.hold_of(value)
    return name, value


class _Meta(Shape[tuple[str, Any]]):
    """The table meta: its values are of any type, which `_meta_of` checks."""

    def check_all(self, found: list[Row]) -> None:
        for row in found:
            self.check(row)

    def check(self, row: Row) -> None:
        if type(row[0]) is not str:
            raise ValueError("name is not text")


INSTANCES: Shape[InstanceRow] = Shape("instances", _KINDS["instances"], rows.instance_of)
CHANGES: Shape[Change] = Shape("changes", _KINDS["changes"], rows.change_of)
EVENTS: Shape[StoredEvent] = Shape("events", _KINDS["events"], rows.event_of)
RUNS: Shape[Run] = Shape("runs", _KINDS["runs"], rows.run_of)
DAYS: Shape[UptimeDay] = Shape("days", _KINDS["days"], rows.day_of, n_key=2)
HEAT: Shape[HeatCell] = Shape("heat", _KINDS["heat"], _heat_of, n_key=2)
DOCUMENTS: Shape[tuple[str, str, Any]] = Shape("documents", _KINDS["documents"], _document_of, n_key=2)
OUTBOX: Shape[Delivery] = Shape("outbox", _KINDS["outbox"], rows.delivery_of)
_OUTBOX_WHOLE: Shape[Delivery] = Shape(
    "outbox", {**_KINDS["outbox"], "subject": TEXT, "level": below(len(rows.LEVELS))}, rows.delivery_of
)
TOLD: Shape[tuple[str, tuple[str, str], Keys]] = Shape("told", _KINDS["told"], _told_of, n_key=3)
BEATS: Shape[tuple[int, int]] = Shape("beats", _KINDS["beats"], _beat_of)
META: Shape[tuple[str, Any]] = _Meta("meta", {"name": TEXT, "value": TEXT}, _meta_of)

SHAPES: tuple[Shape[Any], ...] = (
    META, INSTANCES, BEATS, CHANGES, EVENTS, RUNS, DAYS, HEAT, DOCUMENTS, _OUTBOX_WHOLE, TOLD,
)  # fmt: skip
BY_TABLE = {shape.table: shape for shape in SHAPES}
assert all(
    BY_TABLE[table].names == names
    for table, names in (
        ("instances", rows.INSTANCE_COLUMNS),
        ("changes", rows.CHANGE_COLUMNS),
        ("events", f"number, {rows.EVENT_COLUMNS}"),
        ("runs", rows.RUN_COLUMNS),
        ("days", rows.DAY_COLUMNS),
        ("outbox", f"{rows.DELIVERY_COLUMNS}, subject, level"),
    )
)


def scan_wrong(connection: sqlite3.Connection, damage: Damage, seconds: float) -> bool:
    """Tells `damage` of the rows with a value of a wrong type or out of range, which a query with a condition would not
    find. Returns whether the time was enough for all tables."""
    try:
        with bounded(connection, seconds):
            for shape in SHAPES:
                if shape is not META and not shape.all_good(connection):
                    shape.scan(connection, damage)
    except FAILURES as error:
        if is_broken(error):  # its structure: the check of that says so
            return True
        return "interrupted" not in str(error)
    return True
