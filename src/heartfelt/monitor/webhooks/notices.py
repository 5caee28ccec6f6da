# SPDX-License-Identifier: MIT
"""Messages as they wait in the outbox: independent of language, and without secrets."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import msgspec

from heartfelt.monitor.model import HOLD_TYPE, MONITOR_SERVICE, AgentEvent, Change, Level
from heartfelt.monitor.reasons import NO_REASON, described, make, read, sentence

__all__ = [
    "LEVELS",
    "RECOVERED",
    "Member",
    "Notice",
    "NoticeEntry",
    "event_entry",
    "of_change",
    "of_entry",
    "subject_of",
    "why",
    "worst",
]  # fmt: skip

LEVELS = (Level.NORMAL, Level.IMPORTANT, Level.EMERGENCY)
RECOVERED = "RECOVERED"
_MAX_INFO = 4000


class NoticeEntry(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """One change of state or one event; or, with `count` > 1, the last of several changes of one instance."""

    key: str
    time_ms: int
    level: Level
    service: str
    instance_id: str
    ip: str = ""
    seq: int | None = None
    first_seq: int | None = None
    """With `count`: the first change that was muted."""
    old: str | None = None
    new: str | None = None
    """The new state; None for an event."""
    reason_code: str = ""
    reason_args: dict[str, Any] = {}
    reason: str = ""
    """Words of others, such as an agent's description or a job's output. In a delivery that an older version put into
    the outbox: the whole reason."""
    outage_ms: int | None = None
    count: int = 1
    span_ms: int = 0
    """With `count`: from the first change to the last."""
    recovery: bool = False
    alarmed: bool = False
    """With `count`: not all of its changes are recoveries, so it needs no earlier message of the loss."""
    event_type: str | None = None
    event_name: str = ""
    info: str = ""
    """The event's `info` as JSON text, cut to a length that a message can have."""


class Member(msgspec.Struct):
    """An instance in a message of several."""

    is_down: bool | None = None
    """Its last change in the message that began an outage or ended one: True if it began one."""
    recovered_first: bool = False
    """Its first change in the message is a recovery, so its loss must have been told before."""
    changes: int = 0
    outage_ms: int | None = None


class Notice(msgspec.Struct, kw_only=True, frozen=True, omit_defaults=True):
    """A message. kind: "change", "flapping", "event", "mass" (several of one service), or "test"."""

    kind: str
    key: str
    """The idempotency key: the same changes always have the same key."""
    time_ms: int
    level: Level
    service: str = ""
    entry: NoticeEntry | None = None
    """Set for all kinds but "mass" and "test"."""
    count: int = 1
    """How many changes or events this message stands for."""
    counts: dict[str, int] = {}
    """mass: numbers by new state, or by type of event; recoveries count as RECOVERED, whatever their new state."""
    instances: int = 1
    names: tuple[str, ...] = ()
    """mass: ids of the first instances."""
    now: str = ""
    """mass, if all changes are of one instance: its state after them."""
    outage_ms: int | None = None
    """The outage; mass: the longest outage of those that recovered."""
    until_ms: int | None = None
    last_seq: int | None = None
    """The number of the last change in it."""
    alarms: tuple[str, ...] = ()
    """The keys of the messages that told what ends with this one: they are sent before it. If all of them were given
    up, a message of recoveries only is not sent."""
    generation: str = ""
    """`Target.generation` when the message was put."""
    members: dict[str, Member] = {}
    """mass: the instances, by id. Not stored."""


def worst(levels: list[Level]) -> Level:
    return max(levels, key=LEVELS.index)


def of_change(change: Change, recovery: bool) -> NoticeEntry:
    return NoticeEntry(
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


def _encoded(value: Any) -> bytes:
    """Encodes what agents sent, always in the same way. The slower `json` takes what msgspec refuses: numbers of more
    than 64 bits, unpaired surrogates."""
    try:
        return msgspec.json.encode(value, order="deterministic", enc_hook=str)
    except (OverflowError, UnicodeEncodeError, ValueError):
        return json.dumps(value, sort_keys=True, default=str).encode()


def event_entry(event: AgentEvent) -> NoticeEntry:
    """Makes an entry of an event. One that is reported twice, as after a broken connection, keeps its key."""
    info = _encoded(event.info)
    facts: list[Any] = [event.service, event.instance_id, event.time_ms, event.scope, event.type, event.level.value]
    digest = hashlib.sha256(_encoded(facts) + info).hexdigest()[:32]
    name = event.info.get("name")
    text = info.decode(errors="replace")
    own = read(event.info.get("reason_code"), event.info.get("reason_args")) or NO_REASON
    said = _SAID if own is NO_REASON else _SAID[1:]  # the description is the reason, in English
    return NoticeEntry(
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


def subject_of(notice: Notice) -> str:
    """Names what messages must be in order: an instance, the messages of several of one service, or all holds."""
    entry = notice.entry
    if entry is None:
        return notice.service
    if entry.event_type == HOLD_TYPE:
        return HOLD_TYPE
    return f"{entry.service}\n{entry.instance_id}".encode(errors="replace").decode()


def refusal_event(target: str, name: str, answer: str, remedy: str, now_ms: int) -> AgentEvent:
    """Makes the event that reports a message that was given up because a target refused it."""
    reason = make("webhook_refused", name=name, answer=answer, remedy=remedy)
    return AgentEvent(
        time_ms=now_ms,
        received_ms=now_ms,
        service=MONITOR_SERVICE,
        instance_id="",
        ip="",
        scope="monitor",
        level=Level.IMPORTANT,
        type="OPERATION",
        info={**described("WEBHOOK_REFUSED", reason), "webhook": target},
    )


def why(entry: NoticeEntry, language: str) -> str:
    """Returns the reason in a language, followed by what others said, as they said it."""
    own = read(entry.reason_code, entry.reason_args) or NO_REASON
    return ": ".join(filter(None, (sentence(own, language), entry.reason)))


def of_entry(entry: NoticeEntry) -> Notice:
    """Makes a message of a single entry."""
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
