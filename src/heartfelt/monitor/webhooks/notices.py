# SPDX-License-Identifier: MIT
"""What is to be told: one message, as it waits in the outbox. In no language yet, and with no secret in it."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from heartfelt.monitor.model import AgentEvent, Change, Level
from heartfelt.monitor.reasons import NO_REASON, read, sentence

__all__ = ["LEVELS", "RECOVERED", "Entry", "Notice", "event_entry", "of_change", "of_entry", "why", "worst"]

LEVELS = (Level.NORMAL, Level.IMPORTANT, Level.EMERGENCY)
RECOVERED = "RECOVERED"
_MAX_INFO = 4000


class Entry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One change of state, or one event; or several changes of one instance (`count` > 1), whose last this is."""

    key: str
    time_ms: int
    level: Level
    service: str
    instance_id: str
    ip: str = ""
    seq: int | None = None
    first_seq: int | None = None
    """With `count`: of the first change that was held back."""
    old: str | None = None
    new: str | None = None
    """A state; None of an event."""
    reason_code: str = ""
    reason_args: dict[str, Any] = {}
    reason: str = ""
    """What others said, such as an agent's description or a job's output. In a delivery that an older version put into
    the outbox: the whole reason."""
    outage_ms: int | None = None
    count: int = 1
    span_ms: int = 0
    """With `count`: from the first change to the last."""
    recovery: bool = False
    event_type: str | None = None
    event_name: str = ""
    info: str = ""
    """An event's, as JSON text, cut to a length that a message can have."""


class Notice(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A message. kind: "change", "flapping", "event", "mass" (several of one service), or "test"."""

    kind: str
    key: str
    """The idempotency key: of the same changes always the same."""
    time_ms: int
    level: Level
    service: str = ""
    entry: Entry | None = None
    """Of all kinds but "mass" and "test"."""
    count: int = 1
    """Changes or events that this message stands for."""
    counts: dict[str, int] = {}
    """mass: by new state, or by type of event; recoveries under RECOVERED, whatever their new state."""
    instances: int = 1
    names: tuple[str, ...] = ()
    """mass: the first instances."""
    outage_ms: int | None = None
    """mass: the longest of those that recovered."""
    until_ms: int | None = None
    last_seq: int | None = None
    """Of the last change in it."""


def worst(levels: list[Level]) -> Level:
    return max(levels, key=LEVELS.index)


def of_change(change: Change, recovery: bool) -> Entry:
    return Entry(
        key=f"change-{change.seq}",
        time_ms=change.time_ms,
        level=change.level,
        service=change.service,
        instance_id=change.instance_id,
        ip=change.ip,
        seq=change.seq,
        old=None if change.old is None else change.old.value,
        new=change.new.value,
        **change.reason.fields(),
        outage_ms=change.outage_ms,
        recovery=recovery,
    )


_SAID = ("description", "logMessage", "text")


def event_entry(event: AgentEvent) -> Entry:
    """An event that is reported twice, as after a connection that broke, has the same key both times."""
    info = msgspec.json.encode(event.info, order="deterministic", enc_hook=str)
    facts: list[Any] = [event.service, event.instance_id, event.time_ms, event.scope, event.type, event.level.value]
    digest = hashlib.sha256(msgspec.json.encode(facts) + info).hexdigest()[:32]
    name = event.info.get("name")
    text = info.decode(errors="replace")
    own = read(event.info.get("reason_code"), event.info.get("reason_args")) or NO_REASON
    said = _SAID if own is NO_REASON else _SAID[1:]  # the description is the reason, in English
    return Entry(
        key=f"event-{digest}",
        time_ms=event.received_ms,
        level=event.level,
        service=event.service,
        instance_id=event.instance_id,
        ip=event.ip,
        event_type=event.type,
        event_name=name if isinstance(name, str) else "",
        **own.fields(),
        reason=": ".join(str(event.info[name]) for name in said if event.info.get(name))[:_MAX_INFO],
        info=text if len(text) <= _MAX_INFO else text[:_MAX_INFO] + " ...",
    )


def why(entry: Entry, language: str) -> str:
    """The reason in a language, and what others said, in theirs."""
    own = read(entry.reason_code, entry.reason_args) or NO_REASON
    return ": ".join(filter(None, (sentence(own, language), entry.reason)))


def of_entry(entry: Entry) -> Notice:
    """An entry alone, as a message."""
    kind = "change" if entry.count == 1 else "flapping"
    return Notice(
        kind=kind if entry.event_type is None else "event",
        key=entry.key,
        time_ms=entry.time_ms,
        level=entry.level,
        service=entry.service,
        entry=entry,
        count=entry.count,
        outage_ms=entry.outage_ms,
        last_seq=entry.seq,
    )
