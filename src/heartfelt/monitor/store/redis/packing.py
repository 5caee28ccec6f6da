# SPDX-License-Identifier: MIT
"""Packs instances and changes for Redis, and unpacks them.

A value is a msgpack map from the letter of a field to its value; fields that have their default are left out. So a
newer version may add fields: an older one ignores them, and a newer one has their defaults for old rows. Letters are
never used again. Names are bytes, and what comes from outside is JSON, since it may contain unpaired surrogates and
numbers of any size, which msgpack has not.
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

ROW_LETTERS = {
    "id": "i", "service": "s", "instance_id": "n", "state": "t", "since_ms": "c", "reason": "r", "first_seen_ms": "f",
    "last_beat_ms": "b", "meta": "m", "via": "v", "peer": "p", "interval_ms": "I", "timeout_ms": "T", "skew_ms": "S",
    "lag_ms": "L", "paused_until_ms": "P", "before_pause": "B", "ack": "A", "down_since_ms": "D", "expected": "e",
    "expected_by": "E", "every_ms": "y", "grace_ms": "g", "period_ms": "d", "is_job": "j", "min_duration_ms": "k",
    "max_duration_ms": "l",
}  # fmt: skip
CHANGE_LETTERS = {
    "time_ms": "t", "id": "i", "service": "s", "instance_id": "n", "old": "o", "new": "w", "level": "l",
    "reason": "r", "outage_ms": "u", "ip": "p",
}  # fmt: skip
_HEAD = struct.Struct(">BI").pack
_ARRAY, _STRING, _NUMBER = 0xDD, 0xDB, 0xCE
_MOST = (1 << 63) - 1
_UNREADABLE = (msgspec.MsgspecError, ValueError, TypeError, KeyError, IndexError, AttributeError, RecursionError)

_PackedReason = tuple[str, ...]
"""The text, the code and, if there are any, the arguments as JSON, as in the tables."""


class _Row(msgspec.Struct, kw_only=True, omit_defaults=True, rename=ROW_LETTERS, gc=False):
    id: int
    service: bytes
    instance_id: bytes
    state: State
    since_ms: int
    reason: _PackedReason | None = None
    first_seen_ms: int
    last_beat_ms: int
    meta: str
    via: str
    peer: str
    interval_ms: int | None = None
    timeout_ms: int | None = None
    skew_ms: int | None = None
    lag_ms: int | None = None
    paused_until_ms: int | None = None
    before_pause: State | None = None
    ack: str | None = None
    down_since_ms: int | None = None
    expected: bool = False
    expected_by: ExpectedBy = ExpectedBy.SERVICE
    every_ms: int | None = None
    grace_ms: int | None = None
    period_ms: int | None = None
    is_job: bool = False
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None


class _Change(msgspec.Struct, kw_only=True, omit_defaults=True, rename=CHANGE_LETTERS, gc=False):
    time_ms: int
    id: int
    service: bytes
    instance_id: bytes
    old: State | None = None
    new: State
    level: int
    reason: _PackedReason | None = None
    outage_ms: int | None = None
    ip: str = ""


_encode = msgspec.msgpack.Encoder().encode
_decode_row = msgspec.msgpack.Decoder(_Row).decode
_decode_change = msgspec.msgpack.Decoder(_Change).decode


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
    return _pack(
        _Row(
            id=row.id,
            service=row.service.encode("utf-8", "surrogatepass"),
            instance_id=row.instance_id.encode("utf-8", "surrogatepass"),
            state=row.state,
            since_ms=row.since_ms,
            reason=_packed_reason(row.reason),
            first_seen_ms=row.first_seen_ms,
            last_beat_ms=row.last_beat_ms,
            meta=to_json(meta if isinstance(meta, dict) else meta.meta()),
            via=row.via,
            peer=row.peer,
            interval_ms=row.interval_ms,
            timeout_ms=row.timeout_ms,
            skew_ms=row.skew_ms,
            lag_ms=row.lag_ms,
            paused_until_ms=row.paused_until_ms,
            before_pause=row.before_pause,
            ack=None if row.ack is None else to_json(msgspec.structs.asdict(row.ack)),
            down_since_ms=row.down_since_ms,
            expected=row.expected,
            expected_by=row.expected_by,
            every_ms=row.every_ms,
            grace_ms=row.grace_ms,
            period_ms=row.period_ms,
            is_job=row.is_job,
            min_duration_ms=row.min_duration_ms,
            max_duration_ms=row.max_duration_ms,
        )
    )


def unpack_row(data: bytes, shared: SharedMeta) -> InstanceRow:
    """Unpacks an instance; equal parts of metadata are shared. Raises Unreadable."""
    try:
        row = _decode_row(data)
        return InstanceRow(
            id=row.id,
            service=row.service.decode("utf-8", "surrogatepass"),
            instance_id=row.instance_id.decode("utf-8", "surrogatepass"),
            state=row.state,
            since_ms=row.since_ms,
            reason=_reason(row.reason),
            first_seen_ms=row.first_seen_ms,
            last_beat_ms=row.last_beat_ms,
            meta=shared.unpack(row.meta),
            via=row.via,
            peer=row.peer,
            interval_ms=row.interval_ms,
            timeout_ms=row.timeout_ms,
            skew_ms=row.skew_ms,
            lag_ms=row.lag_ms,
            paused_until_ms=row.paused_until_ms,
            before_pause=row.before_pause,
            ack=None if row.ack is None else msgspec.convert(from_json(row.ack), Ack),
            down_since_ms=row.down_since_ms,
            expected=row.expected,
            expected_by=row.expected_by,
            every_ms=row.every_ms,
            grace_ms=row.grace_ms,
            period_ms=row.period_ms,
            is_job=row.is_job,
            min_duration_ms=row.min_duration_ms,
            max_duration_ms=row.max_duration_ms,
        )
    except _UNREADABLE as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


def pack_change(change: Change) -> bytes:
    """Packs a change without its seq, which the script assigns. Never raises."""
    return _pack(
        _Change(
            time_ms=change.time_ms,
            id=change.id,
            service=change.service.encode("utf-8", "surrogatepass"),
            instance_id=change.instance_id.encode("utf-8", "surrogatepass"),
            old=change.old,
            new=change.new,
            level=RANK[change.level],
            reason=_packed_reason(change.reason),
            outage_ms=change.outage_ms,
            ip=change.ip,
        )
    )


def unpack_change(seq: int, data: bytes) -> Change:
    """Unpacks a change of the stream `ev`. Raises Unreadable."""
    try:
        change = _decode_change(data)
        return Change(
            seq=seq,
            time_ms=change.time_ms,
            id=change.id,
            service=change.service.decode("utf-8", "surrogatepass"),
            instance_id=change.instance_id.decode("utf-8", "surrogatepass"),
            old=change.old,
            new=change.new,
            level=LEVELS[change.level],
            reason=_reason(change.reason),
            outage_ms=change.outage_ms,
            ip=change.ip,
        )
    except _UNREADABLE as error:
        raise Unreadable(f"{type(error).__name__}: {error}") from error


@lru_cache(maxsize=1024)  # many instances are as they are for the same reason
def _packed_reason(reason: Reason) -> _PackedReason | None:
    if reason == NO_REASON:
        return None
    text, code, args = reason_columns(reason)
    return (text, code) if args == "{}" else (text, code, args)


@lru_cache(maxsize=4096)
def _reason(fields: _PackedReason | None) -> Reason:
    if fields is None:
        return NO_REASON
    text, code, *args = fields
    return reason_of(text, code, args[0] if args else "{}")


def _pack(value: msgspec.Struct) -> bytes:
    try:
        return _encode(value)
    except (OverflowError, ValueError):  # also of text that is not UTF-8
        for name in value.__struct_fields__:
            setattr(value, name, _plain(getattr(value, name)))
        return _encode(value)


def _plain(value: Any) -> Any:
    if type(value) is str:
        return value.encode("utf-8", "replace").decode()
    if type(value) is int:
        return max(-_MOST, min(value, _MOST))
    return tuple(map(_plain, value)) if isinstance(value, tuple) else value
