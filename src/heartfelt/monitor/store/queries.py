# SPDX-License-Identifier: MIT
"""Queries of the tables. Every function takes a read-only connection, and blocks. `damage` is told of rows that cannot
be read; they are left out.

This module, not SQLite, chooses the index of an event query, since SQLite does not know how the values are distributed:
it is the index of the first column in `_BY_SELECTIVITY` that the filter has, read in the order of `at_ms`, so that a
page ends as soon as it is full. A column with a plus sign is only compared. `time_ms` comes from the agents' clocks and
may be later than `at_ms`: if few events are in the range, they are found by the time's index and sorted; otherwise the
time is only compared, from the end of the range on.
"""

from __future__ import annotations

import sqlite3
from typing import Any

from msgspec import structs

from heartfelt.errors import ConfigError
from heartfelt.monitor.model import Change, Level, Run
from heartfelt.monitor.store import (
    HEAT_CELLS,
    TEXT_CHARS,
    TEXT_SCAN,
    EventCursor,
    EventFilter,
    HeatCell,
    StoredEvent,
    UptimeDay,
    tables,
)
from heartfelt.monitor.store import rows as rows
from heartfelt.monitor.store.damage import Damage

_BY_SELECTIVITY = (
    ("instance_id", "events_instance", "instance_ids"),
    ("name", "events_name", "names"),
    ("ip", "events_ip", "ips"),
    ("service", "events_service", "services"),
    ("level", "events_level", "levels"),
    ("type", "events_type", "types"),
    ("scope", None, "scopes"),
)
_FEW = 10_000  # a range of time with fewer events is sorted
_BRANCHES = 50  # a filter with at most this number of values searches the index once per value
_TEXT_COLUMNS = ("info", "service", "instance_id", "ip", "scope", "type")
_ALL = f"number, {rows.EVENT_COLUMNS}, at_ms"
_NEWEST_FIRST = "ORDER BY at_ms DESC, number DESC"

Params = list[Any]


def events(
    connection: sqlite3.Connection,
    damage: Damage,
    which: EventFilter,
    before: EventCursor | int | None,
    limit: int,
) -> list[StoredEvent]:
    cursor: EventCursor | None
    if isinstance(before, int):
        which, cursor = _from_number(connection, which, before)
    else:
        cursor = before

    def query(most: int) -> tuple[str, Params]:
        selects, params = _selects(connection, which, cursor, TEXT_SCAN if which.text else most)
        statement = " UNION ALL ".join(f"SELECT * FROM ({select})" for select in selects)
        if which.text:
            text, more = _text(which.text)
            statement, params = f"SELECT * FROM ({statement}) WHERE {text}", params + more
        return f"{statement} {_NEWEST_FIRST} LIMIT ?", [*params, most]

    return tables.EVENTS.page(connection, damage, query, limit)


def newest_event(connection: sqlite3.Connection) -> int:
    return int(connection.execute("SELECT coalesce(max(number), 0) FROM events").fetchone()[0])


def _from_number(
    connection: sqlite3.Connection, which: EventFilter, number: int
) -> tuple[EventFilter, EventCursor | None]:
    """Returns the filter and the cursor that continue from the event with this number. If there is none, which is so
    after it was deleted, the events with smaller numbers."""
    found = connection.execute("SELECT at_ms FROM events WHERE number = ?", (number,)).fetchone()
    if found is not None:
        return which, EventCursor(found[0], number)
    newest = number - 1 if which.newest is None else min(number - 1, which.newest)
    return structs.replace(which, newest=newest), None


def count_events(connection: sqlite3.Connection, which: EventFilter) -> dict[Level, int]:
    if which.text:
        selects, params = _selects(connection, which, None, TEXT_SCAN)
        text, more = _text(which.text)
        statement = f"SELECT level, count(*) FROM ({selects[0]}) WHERE {text} GROUP BY level"
        params += more
    else:
        walked = _walked(connection, which)
        source, conditions, params = _conditions(which, None, walked or ("events_level", "levels"))
        statement = f"SELECT level, count(*) FROM {source} WHERE {conditions} GROUP BY level"
    found = dict(connection.execute(statement, params).fetchall())
    return {level: found.get(rank, 0) for level, rank in rows.RANK.items()}


def changes(
    connection: sqlite3.Connection, damage: Damage, id: int | None, service: str | None, before: int | None, limit: int
) -> list[Change]:
    conditions: list[str] = ["1"]
    params: Params = []
    if id is not None:
        conditions.append("id = ?")
        params.append(id)
    if service is not None:
        conditions.append("service = ?" if id is None else "+service = ?")
        params.append(text_of(service))
    if before is not None:
        conditions.append("seq < ?")
        params.append(before)
    statement = f"SELECT {rows.CHANGE_COLUMNS} FROM changes WHERE {' AND '.join(conditions)} ORDER BY seq DESC LIMIT ?"
    return tables.CHANGES.page(connection, damage, lambda most: (statement, [*params, most]), limit)


def runs(connection: sqlite3.Connection, damage: Damage, id: int, before: int | None, limit: int) -> list[Run]:
    statement = f"SELECT {rows.RUN_COLUMNS} FROM runs WHERE id = ? AND number < ? ORDER BY number DESC LIMIT ?"
    first = rows.MOST if before is None else before
    return tables.RUNS.page(connection, damage, lambda most: (statement, [id, first, most]), limit)


def uptime(
    connection: sqlite3.Connection, damage: Damage, services: tuple[str, ...], days: int, today: int
) -> list[UptimeDay]:
    statement = f"SELECT {rows.DAY_COLUMNS} FROM days WHERE day BETWEEN ? AND ?"
    params: Params = [today - days + 1, today]
    if services:
        statement += f" AND service IN ({_marks(services)})"
        params += map(text_of, services)
    return tables.DAYS.read(connection, damage, f"{statement} ORDER BY day DESC, service", params)


def heat(
    connection: sqlite3.Connection, damage: Damage, services: tuple[str, ...], start_ms: int, end_ms: int
) -> list[HeatCell]:
    statement = f"SELECT {tables.HEAT.names} FROM heat WHERE minute_ms BETWEEN ? AND ?"
    params: Params = [start_ms, end_ms]
    if services:
        statement += f" AND service IN ({_marks(services)})"
        params += map(text_of, services)
    return tables.HEAT.read(
        connection, damage, f"{statement} ORDER BY minute_ms DESC, service LIMIT {HEAT_CELLS}", params
    )


_DOCUMENTS = f"SELECT {tables.DOCUMENTS.names} FROM documents WHERE kind = ?"


def document(connection: sqlite3.Connection, damage: Damage, kind: str, name: str) -> Any | None:
    found = tables.DOCUMENTS.read(connection, damage, f"{_DOCUMENTS} AND name = ?", (text_of(kind), text_of(name)))
    return found[0][2] if found else None


def documents(connection: sqlite3.Connection, damage: Damage, kind: str) -> dict[str, Any]:
    found = tables.DOCUMENTS.read(connection, damage, f"{_DOCUMENTS} ORDER BY name", (text_of(kind),))
    return {name: value for _, name, value in found}


def text_of(value: str) -> str:
    """Returns text that SQLite accepts: unpaired surrogates, which no row contains, become question marks."""
    return value.encode("utf-8", "replace").decode()


def _marks(values: tuple[Any, ...]) -> str:
    return ",".join("?" * len(values))


def _values(which: EventFilter, field: str) -> tuple[Any, ...]:
    given = getattr(which, field)
    if field == "levels":
        return tuple(rows.RANK[level] for level in given)
    return tuple(map(text_of, dict.fromkeys(given)))


def _selects(
    connection: sqlite3.Connection, which: EventFilter, before: EventCursor | None, limit: int
) -> tuple[list[str], Params]:
    """Returns one statement for each value of the column whose index is used, each newest first and with a limit; and
    the parameters of all of them."""
    walked = _walked(connection, which)
    parts = [which]
    if walked is not None and walked[1]:
        values = tuple(dict.fromkeys(getattr(which, walked[1])))
        if len(values) > _BRANCHES or (len(values) > 1 and which.text):
            walked = None
        elif len(values) > 1:
            parts = [structs.replace(which, **{walked[1]: (value,)}) for value in values]
    selects, params = [], []
    for part in parts:
        source, conditions, more = _conditions(part, before, walked)
        selects.append(f"SELECT {_ALL} FROM {source} WHERE {conditions} {_NEWEST_FIRST} LIMIT {int(limit)}")
        params += more
    return selects, params


def _walked(connection: sqlite3.Connection, which: EventFilter) -> tuple[str, str] | None:
    """Returns the index to use and its field of the filter ("" for the time). None: no field of it has an index."""
    if _has_range(which):
        (n_in_range,) = connection.execute(
            f"SELECT count(*) FROM (SELECT 1 FROM events WHERE time_ms BETWEEN ? AND ? LIMIT {_FEW})", _range(which)
        ).fetchone()
        if n_in_range < _FEW:
            return "events_time", ""
    for _, index, field in _BY_SELECTIVITY:
        if index and getattr(which, field):
            return index, field
    return None


def _conditions(
    which: EventFilter, before: EventCursor | None, walked: tuple[str, str] | None
) -> tuple[str, str, Params]:
    """Returns the table with the index to use, the conditions, and the parameters."""
    index, walked_field = walked or ("events_at", None)
    conditions: list[str] = ["1"]
    params: Params = []
    for column, _, field in _BY_SELECTIVITY:
        values = _values(which, field)
        if values:
            sign = "" if field == walked_field else "+"
            conditions.append(f"{sign}{column} IN ({_marks(values)})")
            params += values
    if _has_range(which):
        low, high = _range(which)
        conditions.append(f"{'' if walked_field == '' else '+'}time_ms BETWEEN ? AND ?")
        params += low, high
        if walked_field != "":  # skips those after the range: `at_ms` is never later than `time_ms`
            conditions.append("at_ms <= ?")
            params.append(high)
    if which.newest is not None:
        conditions.append("+number <= ?")
        params.append(which.newest)
    if before is not None:
        conditions.append("(at_ms, number) < (?, ?)")
        params += before.at_ms, before.number
    return f"events INDEXED BY {index}", " AND ".join(conditions), params


def _has_range(which: EventFilter) -> bool:
    return which.start_ms is not None or which.end_ms is not None


def _range(which: EventFilter) -> tuple[int, int]:
    low = -rows.MOST if which.start_ms is None else max(-rows.MOST, min(which.start_ms, rows.MOST))
    high = rows.MOST if which.end_ms is None else max(-rows.MOST, min(which.end_ms, rows.MOST))
    return low, high


def _text(text: str) -> tuple[str, Params]:
    if len(text) > TEXT_CHARS:
        raise ConfigError(
            f"the text to search for has {len(text)} characters; the limit is {TEXT_CHARS}: use a shorter one"
        )
    as_json = rows.to_json(text)[1:-1]  # as `info` has it
    conditions = [f"{column} LIKE ? ESCAPE '\\'" for column in _TEXT_COLUMNS]
    return f"({' OR '.join(conditions)})", [_pattern(as_json), *[_pattern(text_of(text))] * (len(_TEXT_COLUMNS) - 1)]


def _pattern(text: str) -> str:
    for special in ("\\", "%", "_"):
        text = text.replace(special, "\\" + special)
    return f"%{text}%"
