# SPDX-License-Identifier: MIT
"""Reading rows that may be damaged: the types and ranges of each table's columns.

Rows are read together, and converted as if all were well; only their types and ranges are looked at. If that fails, the
query is repeated with the text as bytes, and the rows are looked at one by one: `Damage` is told of each that cannot be
read, and the others are returned.
"""

from __future__ import annotations

import contextlib
import json
import operator
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from heartfelt.monitor.store.damage import FAILURES, BadRow, BadValue, Damage, is_undecodable

T = TypeVar("T")
Row = tuple[Any, ...]

# Errors of a row's values: from decoding, converting, or an index or a word that there is not.
BAD_VALUE = (ValueError, TypeError, LookupError, OverflowError, RecursionError, AttributeError, msgspec.MsgspecError)


class ColumnKind(NamedTuple):
    """A column's values: their type, and for integers and reals the lowest and the highest."""

    type: type
    low: float = 0
    high: float = 0
    optional: bool = False

    def condition(self, column: str) -> str:
        """Returns the SQL that holds for good values."""
        if self.type is str:
            good = f"typeof({column}) = 'text'"
        else:
            types = "typeof({0}) = 'integer'" if self.type is int else "typeof({0}) IN ('real', 'integer')"
            good = f"{types.format(column)} AND {column} BETWEEN {self.low} AND {self.high}"
        return f"({column} IS NULL OR ({good}))" if self.optional else f"({good})"


MOST_ID = 1 << 53
TIME = ColumnKind(int, -62_135_596_800_000, 253_402_300_799_999)  # the years 1 to 9999
SPAN = ColumnKind(int, 0, 3_155_760_000_000)  # 100 years
INT = ColumnKind(int, -(1 << 63), (1 << 63) - 1)
DELTA = ColumnKind(int, -SPAN.high, SPAN.high)
ID = ColumnKind(int, 0, MOST_ID)
COUNT = ColumnKind(int, 0, MOST_ID)
FLAG = ColumnKind(int, 0, 1)
SECONDS = ColumnKind(float, 0, 1e15)
TEXT = ColumnKind(str)


def maybe(kind: ColumnKind) -> ColumnKind:
    return kind._replace(optional=True)


def below(n: int) -> ColumnKind:
    return ColumnKind(int, 0, n - 1)


_SLICE = 500  # rows that stay in the cache of the processor


class _Text(bytes):
    """Text as its bytes. A blob is plain bytes."""


@contextlib.contextmanager
def as_bytes(connection: sqlite3.Connection) -> Iterator[None]:
    """Text is read as its bytes meanwhile, which always works."""
    before, connection.text_factory = connection.text_factory, _Text
    try:
        yield
    finally:
        connection.text_factory = before


class Shape(Generic[T]):
    """The columns of a table as a query returns them.

    columns: kinds by name, in the order of the query; the first `n_key` are the key. of: converts a row.
    """

    def __init__(self, table: str, columns: dict[str, ColumnKind], of: Callable[[Row], T], *, n_key: int = 1) -> None:
        self.table = table
        self.columns = columns
        self.n_key = n_key
        self.names = ", ".join(columns)
        self._kinds = tuple(columns.values())
        self._of = of
        self._known: dict[tuple[type, ...], tuple[_Check, ...]] = {}

    def read(
        self, connection: sqlite3.Connection, damage: Damage, statement: str, params: Sequence[Any] = (), *,
        checked: bool = False,
    ) -> list[T]:  # fmt: skip
        """Returns the rows that can be read. checked: their types and ranges were looked at before. Raises
        sqlite3.Error."""
        return self._read(connection, damage, statement, params, checked=checked)[0]

    def page(
        self, connection: sqlite3.Connection, damage: Damage, query: Callable[[int], tuple[str, Sequence[Any]]],
        limit: int,
    ) -> list[T]:  # fmt: skip
        """Returns `limit` rows that can be read, if there are so many: a shorter page would be taken for the last.
        query: makes the statement for a limit."""
        most = limit
        while True:
            found, bad = self._read(connection, damage, *query(most))
            if not bad or len(found) >= limit or len(found) + bad < most:
                return found[:limit]
            most += max(bad, limit)

    def _read(
        self, connection: sqlite3.Connection, damage: Damage, statement: str, params: Sequence[Any], *,
        checked: bool = False,
    ) -> tuple[list[T], int]:  # fmt: skip
        try:
            read: list[T] = []
            with contextlib.closing(connection.execute(statement, params)) as cursor:
                while found := cursor.fetchmany(_SLICE):
                    if not checked:
                        self.check_all(found)
                    read += map(self._of, found)
            return read, 0
        except BAD_VALUE:
            pass
        except FAILURES as error:
            if not is_undecodable(error):
                raise
        with as_bytes(connection):
            raws = connection.execute(statement, params).fetchall()
        good = [one for raw in raws if (one := self._one(raw, damage)) is not None]
        return good, len(raws) - len(good)

    def _one(self, raw: Row, damage: Damage) -> T | None:
        try:
            row = self._decoded(raw)
            self.check(row)
            return self._of(row)
        except BAD_VALUE as error:
            damage.row(self._bad(raw, error))
            return None

    def readable(self, raw: Row, damage: Damage) -> Row | None:
        """Returns a row of `as_bytes` with its text decoded, if it can be converted."""
        return None if self._one(raw, damage) is None else self._decoded(raw)

    def decoded_or_none(self, raw: Row) -> Row | None:
        """Does as `readable`, without a look at what the values mean."""
        try:
            return self._decoded(raw)
        except BadRow:
            return None

    def scan(self, connection: sqlite3.Connection, damage: Damage) -> int:
        """Looks at all rows of the table and returns how many cannot be read. Raises sqlite3.Error."""
        with as_bytes(connection):
            found = connection.execute(f"SELECT {self.names} FROM {self.table}")
            return sum(self._one(raw, damage) is None for raw in found)

    def all_good(self, connection: sqlite3.Connection) -> bool:
        """Whether the types and ranges of all rows are good. Scans the table without the GIL. Raises sqlite3.Error."""
        good = " AND ".join(kind.condition(f"{self.table}.{name}") for name, kind in self.columns.items())
        (bad,) = connection.execute(f"SELECT EXISTS (SELECT 1 FROM {self.table} WHERE NOT ({good}))").fetchone()
        return not bad

    def check_all(self, found: list[Row]) -> None:
        """Raises BadRow if one of the rows is bad. Looks at them column by column."""
        for name, kind, values in zip(self.columns, self._kinds, zip(*found, strict=True), strict=False):
            types = set(map(type, values))
            if kind.optional and type(None) in types:
                types.discard(type(None))
                values = tuple(value for value in values if value is not None)
            types.discard(kind.type)
            if kind.type is float:
                types.discard(int)
            in_range = kind.type is str or not values
            if types or not (in_range or (kind.low <= min(values) and max(values) <= kind.high)):
                raise BadRow(f"{name} has a value that it must not have")

    def check(self, row: Row) -> None:
        """Raises BadRow, which says why."""
        types = tuple(map(type, row[: len(self._kinds)]))
        checks = self._known.get(types)
        if checks is None:
            checks = self._learn(types)
        for check in checks:
            check(row)

    def _learn(self, types: tuple[type, ...]) -> tuple[_Check, ...]:
        ranges: dict[tuple[float, float], list[int]] = {}
        for n, (name, kind, found) in enumerate(zip(self.columns, self._kinds, types, strict=True)):
            if found is type(None) and kind.optional:
                continue
            if found is not kind.type and not (kind.type is float and found is int):
                raise BadRow(f"{name} is {_TYPES.get(found, found.__name__)}, not {_TYPES[kind.type]}")
            if kind.type is not str and kind is not INT:
                ranges.setdefault((kind.low, kind.high), []).append(n)
        names = tuple(self.columns)
        checks = tuple(_Check(names, columns, low, high) for (low, high), columns in ranges.items())
        self._known[types] = checks
        return checks

    def _decoded(self, raw: Row) -> Row:
        values = []
        for n, value in enumerate(raw):
            if type(value) is _Text:
                try:
                    value = value.decode()
                except UnicodeDecodeError as error:
                    name = tuple(self.columns)[n] if n < len(self.columns) else f"column {n + 1}"
                    raise BadRow(f"{name} is not UTF-8: {error.reason} at byte {error.start}") from None
            values.append(value)
        return tuple(values)

    def _bad(self, raw: Row, error: BaseException) -> BadValue:
        names = tuple(self.columns)
        key = {name: _shown(value) for name, value in zip(names[: self.n_key], raw, strict=False)}
        data = {name: _shown(value) for name, value in zip(names, raw, strict=False)}
        marks = ("CAST(? AS TEXT)" if type(value) is _Text else "?" for value in raw[: self.n_key])
        return BadValue(
            table=self.table,
            key=", ".join(f"{name} {str(value)[:200]}" for name, value in key.items()),
            reason=str(error)[:300] if isinstance(error, BadRow) else f"{type(error).__name__}: {error}"[:300],
            data=json.dumps(data),
            where=" AND ".join(f"{name} IS {mark}" for name, mark in zip(names, marks, strict=False)),
            params=tuple(bytes(value) if type(value) is _Text else value for value in raw[: self.n_key]),
        )


class _Check:
    """Checks the range of some columns."""

    __slots__ = ("_columns", "_get", "_high", "_low", "_names", "_single")

    def __init__(self, names: tuple[str, ...], columns: list[int], low: float, high: float) -> None:
        self._names, self._columns = names, columns
        self._get, self._single = operator.itemgetter(*columns), len(columns) == 1
        self._low, self._high = low, high

    def __call__(self, row: Row) -> None:
        values: Any = self._get(row)
        if self._single:
            if self._low <= values <= self._high:
                return
        elif self._low <= min(values) and max(values) <= self._high:
            return
        for n in self._columns:
            if not self._low <= row[n] <= self._high:
                raise BadRow(f"{self._names[n]} is {row[n]}, out of range")


_TYPES = {int: "an integer", float: "a number", str: "text", bytes: "a blob", type(None): "NULL"}


def _shown(value: Any) -> Any:
    if not isinstance(value, bytes):
        return value
    try:
        return value.decode() if type(value) is _Text else {"blob": value.hex()}
    except UnicodeDecodeError:
        return {"bytes": value.hex()}
