# SPDX-License-Identifier: MIT
"""Converts the monitor's values to rows of the tables and back, and JSON to text and back."""

from __future__ import annotations

import datetime
import json
from collections.abc import Callable, Iterator
from functools import lru_cache
from typing import Any

import msgspec

from heartfelt.monitor.model import (
    Ack,
    AgentEvent,
    Change,
    ExpectedBy,
    Hold,
    InstanceRow,
    Level,
    Run,
    RunResult,
    State,
)
from heartfelt.monitor.reasons import TEXT_CODE, Reason, read, text_reason
from heartfelt.monitor.store import Delivery, StoredEvent, UptimeDay

LEVELS = tuple(Level)
RANK = {level: rank for rank, level in enumerate(LEVELS)}
RESULTS = tuple(RunResult)
DELIVERY_STATES = ("waiting", "claimed", "done", "failed")
MOST = (1 << 63) - 1  # SQLite's largest integer; of a delivery: due when those before it are settled

INSTANCE_COLUMNS = (
    "id, service, instance_id, state, since_ms, reason, first_seen_ms, last_beat_ms, meta, via, peer, interval_ms, "
    "timeout_ms, skew_ms, lag_ms, paused_until_ms, reason_code, reason_args, before_pause, ack, down_since_ms, "
    "expected, every_ms, grace_ms, period_ms, is_job, min_duration_ms, max_duration_ms, expected_by"
)
CHANGE_COLUMNS = (
    "seq, time_ms, id, service, instance_id, old, new, level, reason, outage_ms, ip, reason_code, reason_args"
)
EVENT_COLUMNS = "time_ms, received_ms, service, instance_id, ip, scope, has_scope, level, type, name, info"
RUN_COLUMNS = "number, id, rid, begin_ms, end_ms, result, status, duration_ms, text, deadline_ms, liveness_ms"
DAY_COLUMNS = "day, service, watched_s, up_s, observed_s, available_s, losses, failures"
PUT_COLUMNS = "target, key, payload, created_ms, next_ms, subject, level"
DELIVERY_COLUMNS = "number, target, key, payload, created_ms, attempts, state, next_ms, answer"

# A call of an Enum takes longer than all other columns together.
_STATES = {state.value: state for state in State}
_EXPECTED_BY = {one.value: one for one in ExpectedBy}
_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder().decode


def to_json(value: Any) -> str:
    """Encodes a value. The slower `json` encodes what msgspec refuses: numbers of more than 64 bits, unpaired
    surrogates."""
    try:
        return _encode(value).decode()
    except (OverflowError, TypeError, ValueError, RecursionError):
        return json.dumps(value)  # if it refuses the value, too, its error says why


def from_json(text: str) -> Any:
    try:
        return _decode(text)
    except (msgspec.DecodeError, UnicodeEncodeError):
        return json.loads(text)


def object_of(text: str) -> dict[str, Any]:
    """Decodes a JSON object. Raises ValueError, msgspec.DecodeError or RecursionError."""
    found = from_json(text)
    if type(found) is not dict:
        raise ValueError(f"not a JSON object: {text[:40]}")
    return found


def reason_columns(reason: Reason) -> tuple[str, str, str]:
    """The columns reason, reason_code and reason_args. Words from elsewhere stand in the first, as they always did."""
    if reason.code == TEXT_CODE:
        return str(reason.values[0]), TEXT_CODE, "{}"
    return "", reason.code, to_json(reason.args)


def reason_of(text: str, code: str, args: str) -> Reason:
    """The reason in these columns; the words, if the code or its arguments are not what they should be."""
    return text_reason(text) if code == TEXT_CODE else read(code, from_json(args)) or text_reason(text or code)


known_reason = lru_cache(maxsize=4096)(reason_of)
"""The same, for many rows: most instances of a fleet are as they are for the same reasons."""


def hold_text(hold: Hold) -> str:
    """The hold as JSON."""
    fields = {name: getattr(hold, name) for name in Hold.__struct_fields__}
    reason, code, args = reason_columns(hold.reason)
    return to_json(fields | {"reason": reason, "reason_code": code, "reason_args": args})


def hold_of(text: str) -> Hold:
    fields = from_json(text)
    reason = reason_of(fields["reason"], fields.pop("reason_code", TEXT_CODE), fields.pop("reason_args", "{}"))
    hold = msgspec.convert(fields | {"reason": {}}, Hold)
    return msgspec.structs.replace(hold, reason=reason)


def instance_row(row: InstanceRow) -> tuple[Any, ...]:
    reason, code, args = reason_columns(row.reason)
    return (
        row.id,
        row.service,
        row.instance_id,
        row.state.value,
        row.since_ms,
        reason,
        row.first_seen_ms,
        row.last_beat_ms,
        to_json(row.meta if isinstance(row.meta, dict) else row.meta.meta()),
        row.via,
        row.peer,
        row.interval_ms,
        row.timeout_ms,
        row.skew_ms,
        row.lag_ms,
        row.paused_until_ms,
        code,
        args,
        None if row.before_pause is None else row.before_pause.value,
        None if row.ack is None else to_json(row.ack),
        row.down_since_ms,
        row.expected,
        row.every_ms,
        row.grace_ms,
        row.period_ms,
        row.is_job,
        row.min_duration_ms,
        row.max_duration_ms,
        row.expected_by.value,
    )


def instance_of(row: tuple[Any, ...], meta_of: Callable[[str], Any] = object_of) -> InstanceRow:
    """The instance in these columns. meta_of: reads its metadata."""
    return InstanceRow(
        id=row[0],
        service=row[1],
        instance_id=row[2],
        state=_STATES.get(row[3]) or State(row[3]),
        since_ms=row[4],
        reason=known_reason(row[5], row[16], row[17]),
        first_seen_ms=row[6],
        last_beat_ms=row[7],
        meta=meta_of(row[8]),
        via=row[9],
        peer=row[10],
        interval_ms=row[11],
        timeout_ms=row[12],
        skew_ms=row[13],
        lag_ms=row[14],
        paused_until_ms=row[15],
        before_pause=None if row[18] is None else State(row[18]),
        ack=None if row[19] is None else msgspec.convert(from_json(row[19]), Ack),
        down_since_ms=row[20],
        expected=bool(row[21]),
        every_ms=row[22],
        grace_ms=row[23],
        period_ms=row[24],
        is_job=bool(row[25]),
        min_duration_ms=row[26],
        max_duration_ms=row[27],
        expected_by=_EXPECTED_BY.get(row[28]) or ExpectedBy(row[28]),
    )


def change_row(change: Change) -> tuple[Any, ...]:
    reason, code, args = reason_columns(change.reason)
    return (
        change.seq,
        change.time_ms,
        change.id,
        change.service,
        change.instance_id,
        None if change.old is None else change.old.value,
        change.new.value,
        RANK[change.level],
        reason,
        change.outage_ms,
        change.ip,
        code,
        args,
    )


def change_of(row: tuple[Any, ...]) -> Change:
    return Change(
        seq=row[0],
        time_ms=row[1],
        id=row[2],
        service=row[3],
        instance_id=row[4],
        old=None if row[5] is None else State(row[5]),
        new=State(row[6]),
        level=LEVELS[row[7]],
        reason=reason_of(row[8], row[11], row[12]),
        outage_ms=row[9],
        ip=row[10],
    )


def event_row(event: AgentEvent) -> tuple[Any, ...]:
    """Converts an event. Raises if it cannot be encoded. Times beyond SQLite's integers, which an agent may claim,
    become the nearest possible ones."""
    time_ms = event.time_ms
    if not -MOST <= time_ms <= MOST:
        time_ms = max(-MOST, min(time_ms, MOST))
    name = event.name
    return (
        time_ms,
        event.received_ms,
        event.service,
        event.instance_id,
        event.ip,
        event.scope or "",
        event.scope is not None,
        RANK[event.level],
        event.type,
        name if isinstance(name, str) else to_json(name),
        to_json(event.info),
    )


def event_of(row: tuple[Any, ...]) -> StoredEvent:
    event = AgentEvent(
        time_ms=row[1],
        received_ms=row[2],
        service=row[3],
        instance_id=row[4],
        ip=row[5],
        scope=row[6] if row[7] else None,
        level=LEVELS[row[8]],
        type=row[9],
        info=object_of(row[11]),
    )
    return StoredEvent(number=row[0], event=event)


def run_row(run: Run) -> tuple[Any, ...]:
    return (
        run.number,
        run.id,
        run.rid,
        run.begin_ms,
        run.end_ms,
        RESULTS.index(run.result),
        run.status,
        run.duration_ms,
        run.text,
        run.deadline_ms,
        run.liveness_ms,
    )


def run_of(row: tuple[Any, ...]) -> Run:
    return Run(
        number=row[0],
        id=row[1],
        rid=row[2],
        begin_ms=row[3],
        end_ms=row[4],
        result=RESULTS[row[5]],
        status=row[6],
        duration_ms=row[7],
        text=row[8],
        deadline_ms=row[9],
        liveness_ms=row[10],
    )


def put_row(row: tuple[str, str, str, int, str, int]) -> tuple[Any, ...]:
    target, key, payload, created_ms, subject, level = row
    return target, key, payload, created_ms, created_ms, subject, level


def delivery_of(row: tuple[Any, ...]) -> Delivery:
    state = DELIVERY_STATES[row[6]]
    return Delivery(
        number=row[0],
        target=row[1],
        key=row[2],
        payload=from_json(row[3]),
        created_ms=row[4],
        attempts=row[5],
        state=state,
        next_ms=row[7] if row[6] < 2 and row[7] < MOST else None,
        answer=row[8],
    )


def day_of(row: tuple[Any, ...]) -> UptimeDay:
    day = datetime.date(1970, 1, 1) + datetime.timedelta(days=row[0])
    watched_s, up_s, observed_s, available_s = (round(seconds, 3) for seconds in row[2:6])
    return UptimeDay(
        service=row[1],
        day=day.isoformat(),
        watched_s=watched_s,
        up_s=up_s,
        observed_s=observed_s,
        available_s=available_s,
        losses=row[6],
        failures=row[7],
    )


def slices(rows: list[Any], size: int) -> Iterator[list[Any]]:
    for start in range(0, len(rows), size):
        yield rows[start : start + size]
