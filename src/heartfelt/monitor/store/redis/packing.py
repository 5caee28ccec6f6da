# SPDX-License-Identifier: MIT
"""Packs instances and changes for Redis, and unpacks them.

A value is a msgpack map from the number of a field to its value; fields that have their default are left out. So a
newer version may add fields: an older one ignores them, and a newer one has their defaults for old rows. Numbers of
fields are never used again. Names are bytes, and what comes from outside is JSON, since it may contain unpaired
surrogates and numbers of any size, which msgpack has not.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import msgspec

from heartfelt.monitor.model import Ack, Change, ExpectedBy, InstanceRow, State
from heartfelt.monitor.reasons import NO_REASON, Reason
from heartfelt.monitor.store.rows import LEVELS, RANK, from_json, reason_columns, reason_of, to_json
from heartfelt.monitor.store.shared_meta import SharedMeta

ROW_FIELDS = (
    "id", "service", "instance_id", "state", "since_ms", "reason", "first_seen_ms", "last_beat_ms", "meta", "via",
    "peer", "interval_ms", "timeout_ms", "skew_ms", "lag_ms", "paused_until_ms", "before_pause", "ack",
    "down_since_ms", "expected", "expected_by", "every_ms", "grace_ms", "period_ms", "is_job", "min_duration_ms",
    "max_duration_ms",
)  # fmt: skip
"""Fields by their number. Append only."""
CHANGE_FIELDS = (
    "time_ms", "id", "service", "instance_id", "old", "new", "level", "reason", "outage_ms", "ip",
)  # fmt: skip
_NUMBERS = {name: number for number, name in enumerate(ROW_FIELDS)}
_OPTIONAL = [
    (_NUMBERS[name], name)
    for name in ("interval_ms", "timeout_ms", "skew_ms", "lag_ms", "paused_until_ms", "down_since_ms", "every_ms",
                 "grace_ms", "period_ms", "min_duration_ms", "max_duration_ms")
]  # fmt: skip
_HEAD = struct.Struct(">BI").pack
_ARRAY, _STRING, _NUMBER = 0xDD, 0xDB, 0xCE
_MOST = (1 << 63) - 1
_STATES = {state.value: state for state in State}
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(dict[int, Any]).decode


def pack_words(words: Sequence[bytes | int]) -> bytes:
    """Packs arguments of a script as one: a msgpack array of strings, and of numbers below 2^32. Redis' Lua does not
    know msgpack's type of bytes, and its strings may have any bytes."""
    parts = [_HEAD(_ARRAY, len(words))]
    for word in words:
        if isinstance(word, int):
            parts.append(_HEAD(_NUMBER, word))
        else:
            parts += (_HEAD(_STRING, len(word)), word)
    return b"".join(parts)


class Unreadable(ValueError):
    """A row that this version cannot read."""


def pack_row(row: InstanceRow) -> bytes:
    """Packs an instance. Never raises: numbers beyond 64 bits become the nearest possible ones."""
    meta = row.meta
    fields: dict[int, Any] = {
        0: row.id,
        1: row.service.encode("utf-8", "surrogatepass"),
        2: row.instance_id.encode("utf-8", "surrogatepass"),
        3: row.state.value,
        4: row.since_ms,
        6: row.first_seen_ms,
        7: row.last_beat_ms,
        8: to_json(meta if isinstance(meta, dict) else meta.meta()),
        9: row.via,
        10: row.peer,
    }
    if row.reason != NO_REASON:
        fields[5] = _packed_reason(row.reason)
    for number, name in _OPTIONAL:
        value = getattr(row, name)
        if value is not None:
            fields[number] = value
    if row.before_pause is not None:
        fields[16] = row.before_pause.value
    if row.ack is not None:
        fields[17] = to_json(msgspec.structs.asdict(row.ack))
    if row.expected:
        fields[19] = True
    if row.expected_by is not ExpectedBy.SERVICE:
        fields[20] = row.expected_by.value
    if row.is_job:
        fields[24] = True
    return _pack(fields)


def unpack_row(data: bytes, shared: SharedMeta) -> InstanceRow:
    """Unpacks an instance; equal parts of metadata are shared. Raises Unreadable."""
    try:
        fields = _decode(data)
        found: dict[str, Any] = {ROW_FIELDS[n]: value for n, value in fields.items() if 0 <= n < len(ROW_FIELDS)}
        found["service"] = fields[1].decode("utf-8", "surrogatepass")
        found["instance_id"] = fields[2].decode("utf-8", "surrogatepass")
        found["state"] = _STATES[fields[3]]
        found["reason"] = _reason(fields.get(5))
        found["meta"] = shared.unpack(fields[8])
        if 16 in fields:
            found["before_pause"] = _STATES[fields[16]]
        if 17 in fields:
            found["ack"] = msgspec.convert(from_json(fields[17]), Ack)
        if 20 in fields:
            found["expected_by"] = ExpectedBy(fields[20])
        row = InstanceRow(**found)
        _check(row, ("id", "since_ms", "first_seen_ms", "last_beat_ms"), int)
        _check(row, ("via", "peer"), str)
        _check(row, ("expected", "is_job"), bool)
        for _, name in _OPTIONAL:
            if getattr(row, name) is not None:
                _check(row, (name,), int)
        return row
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def pack_change(change: Change) -> bytes:
    """Packs a change without its seq, which the script assigns. Never raises."""
    fields: dict[int, Any] = {
        0: change.time_ms,
        1: change.id,
        2: change.service.encode("utf-8", "surrogatepass"),
        3: change.instance_id.encode("utf-8", "surrogatepass"),
        5: change.new.value,
        6: RANK[change.level],
    }
    if change.old is not None:
        fields[4] = change.old.value
    if change.reason != NO_REASON:
        fields[7] = _packed_reason(change.reason)
    if change.outage_ms is not None:
        fields[8] = change.outage_ms
    if change.ip:
        fields[9] = change.ip
    return _pack(fields)


def unpack_change(seq: int, data: bytes) -> Change:
    """Unpacks a change of the stream `ev`. Raises Unreadable."""
    try:
        fields = _decode(data)
        old = fields.get(4)
        return Change(
            seq=seq,
            time_ms=int(fields[0]),
            id=int(fields[1]),
            service=fields[2].decode("utf-8", "surrogatepass"),
            instance_id=fields[3].decode("utf-8", "surrogatepass"),
            old=None if old is None else _STATES[old],
            new=_STATES[fields[5]],
            level=LEVELS[fields[6]],
            reason=_reason(fields.get(7)),
            outage_ms=fields.get(8),
            ip=str(fields.get(9, "")),
        )
    except (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError) as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=1024)  # many instances are as they are for the same reason
def _packed_reason(reason: Reason) -> tuple[str, ...]:
    """The text, the code and the arguments as JSON, as in the tables; or only the first two."""
    text, code, args = reason_columns(reason)
    return (text, code) if args == "{}" else (text, code, args)


def _reason(fields: Any) -> Reason:
    return NO_REASON if fields is None else _known_reason(*fields)


@lru_cache(maxsize=4096)
def _known_reason(text: str, code: str, args: str = "{}") -> Reason:
    return reason_of(text, code, args)


def _check(row: InstanceRow, names: tuple[str, ...], kind: type) -> None:
    for name in names:
        if type(getattr(row, name)) is not kind:
            raise TypeError(f"{name} is not of type {kind.__name__}")


def _pack(fields: dict[int, Any]) -> bytes:
    try:
        return _encode(fields)
    except (OverflowError, UnicodeEncodeError, ValueError):
        return _encode({number: _plain(value) for number, value in fields.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and not isinstance(value, bool):
        return max(-_MOST, min(value, _MOST))
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
