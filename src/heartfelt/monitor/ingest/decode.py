# SPDX-License-Identifier: MIT
"""Decodes JSON bytes to Beat and AgentEvent, and checks all types, so that the rest of the monitor can rely on them.

All of Sermant's fields (versions 1.1 to 2.2) are optional. Unknown fields of a heartbeat are kept as metadata.
"""

from __future__ import annotations

from typing import Any

import msgspec

from heartfelt._duration import EXAMPLES, parse_duration_ns
from heartfelt.monitor.ingest.heartbeat import BOUNDS, LAST_TIME_MS, LONGEST_MS, Heartbeat
from heartfelt.monitor.model import AgentEvent, Beat, Level
from heartfelt.monitor.problems import field_at_fault
from heartfelt.wire import fields

__all__ = [
    "MAX_EVENTS",
    "BadInput",
    "check_name",
    "decode_beat",
    "decode_events",
    "decode_goodbye",
    "most_of_beat",
    "parse_duration_ms",
    "too_large",
]

MAX_EVENTS = 1000
"""Events in one message."""
_BESIDE_META = 1024
"""Room for the fields of a heartbeat or an event that are not metadata."""
_MOST_GOODBYE = 160 << 10
"""Room for two names of the longest that limits.key_bytes permits."""


class BadInput(ValueError):
    """The input is refused. `reason` is a short name that also labels a counter; the text explains what is wrong.

    field: the field or parameter at fault; None if it is not a single one.
    """

    def __init__(self, reason: str, text: str, field: str | None = None) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return str(self.args[1])


class _Event(msgspec.Struct):
    time: int | None = None
    scope: str | None = None
    eventLevel: str | None = None  # noqa: N815
    eventType: str | None = None  # noqa: N815
    eventInfo: dict[str, Any] | None = None  # noqa: N815
    logInfo: dict[str, Any] | None = None  # noqa: N815


class _Sender(msgspec.Struct):
    """The field of an event that repeats the instance."""

    metaHash: str | None = None  # noqa: N815


class _Events(msgspec.Struct):
    metaHash: str | None = None  # noqa: N815
    events: list[msgspec.Raw] | None = None
    """Each is decoded alone, so that one that is refused does not affect the others."""


_beat_decoder = msgspec.json.Decoder(Heartbeat)
_any_decoder = msgspec.json.Decoder()
_event_decoder = msgspec.json.Decoder(_Event)
_sender_decoder = msgspec.json.Decoder(_Sender)
_events_decoder = msgspec.json.Decoder(_Events)
_OWN = (
    fields.SERVICE,
    fields.INSTANCE_ID,
    fields.HEARTBEAT_TIME,
    fields.LAST_HEARTBEAT_TIME,
    fields.INTERVAL_MS,
    fields.TIMEOUT_MS,
    fields.EVERY_MS,
    fields.GRACE_MS,
    fields.EXPECTED,
    fields.MIN_DURATION_MS,
    fields.MAX_DURATION_MS,
    fields.LAG_MS,
    fields.BEAT,
    fields.GOODBYE,
)
_LEVELS = {level.value: level for level in Level}


def most_of_beat(meta_bytes: int) -> int:
    """Returns how many bytes of JSON a heartbeat may have whose metadata has at most `meta_bytes`."""
    return meta_bytes + _BESIDE_META


def too_large(size: int, meta_bytes: int) -> BadInput:
    """Makes the refusal of a heartbeat of so many bytes."""
    return BadInput("meta_size", f"the heartbeat has {size} bytes; the limit is {meta_bytes} (limits.meta_bytes)")


def decode_beat(text: bytes, via: str, peer: str, *, meta_bytes: int) -> Beat:
    """Decodes a heartbeat. Raises BadInput: "json", "field" (missing, of a wrong type or out of range), "key" or
    "meta_size"."""
    if len(text) > most_of_beat(meta_bytes):  # before it costs anything; the registry measures the metadata exactly
        raise too_large(len(text), meta_bytes)
    found = _decode(_beat_decoder, text)
    service = check_name("service", found.service, "service_missing")
    instance_id = check_name("instanceId", found.instanceId, "instance_missing")
    for name, lowest, most in BOUNDS:
        value = getattr(found, name)
        if value is not None and not lowest <= value <= most:
            remedy = "; leave it out for the monitor's own" if value == 0 else ""
            raise BadInput("field", f"{name} must be from {lowest} to {most}{remedy}; got {value}", name)
    least, longest = found.minDurationMs, found.maxDurationMs
    if least is not None and longest is not None and least > longest:
        raise BadInput("field", f"minDurationMs {least} is above maxDurationMs {longest}; swap them", "minDurationMs")
    meta: dict[str, Any] = _decode(_any_decoder, text)
    for name in _OWN:
        meta.pop(name, None)
    return Beat(
        service=service,
        instance_id=instance_id,
        via=via,
        peer=peer,
        meta={name: value for name, value in meta.items() if value is not None},
        agent_time_ms=found.heartbeatTime,
        agent_last_time_ms=found.lastHeartbeatTime,
        interval_ms=found.intervalMs or None,
        timeout_ms=found.timeoutMs,
        every_ms=found.everyMs,
        grace_ms=found.graceMs,
        expected=found.expected,
        min_duration_ms=found.minDurationMs,
        max_duration_ms=found.maxDurationMs,
        lag_ms=found.lagMs,
        number=found.beat,
        goodbye=bool(found.goodbye),
    )


def decode_goodbye(text: bytes) -> tuple[str, str]:
    """Returns the service and the instance of a goodbye frame. Raises BadInput."""
    if len(text) > _MOST_GOODBYE:
        raise BadInput("meta_size", f"the goodbye has {len(text)} bytes; send service and instanceId only")
    found = _decode(_beat_decoder, text)
    service = check_name("service", found.service, "service_missing")
    return service, check_name("instanceId", found.instanceId, "instance_missing")


def decode_events(text: bytes) -> tuple[str, list[msgspec.Raw]]:
    """Returns the id of the instance that reports the events ("" if neither the message nor its first event names it),
    and the texts of the events. Raises BadInput."""
    found = _decode(_events_decoder, text)
    events = found.events or []
    if len(events) > MAX_EVENTS:
        raise BadInput(
            "events", f"the message has {len(events)} events; the limit is {MAX_EVENTS}: send fewer at a time"
        )
    instance_id = found.metaHash
    if not instance_id and events:
        instance_id = _decode(_sender_decoder, events[0]).metaHash
    return (check_name("metaHash", instance_id, "") if instance_id else ""), events


def agent_event(
    text: msgspec.Raw, service: str, instance_id: str, ip: str, now_ms: int, event_bytes: int
) -> AgentEvent:
    """Decodes and checks an event. Raises BadInput "field" or "event_size"."""
    size = len(bytes(text))
    if size > 2 * event_bytes + _BESIDE_META:  # before it costs anything; it is measured exactly below
        raise BadInput("event_size", f"the event has {size} bytes; the limit is {event_bytes} (limits.event_bytes)")
    event: _Event = _decode(_event_decoder, text)
    level = _LEVELS.get((event.eventLevel or "NORMAL").upper())
    if level is None:
        known = ", ".join(_LEVELS)
        raise BadInput(
            "field", f"eventLevel must be one of {known}; got {(event.eventLevel or '')[:40]!r}", "eventLevel"
        )
    kind = (event.eventType or "OPERATION").upper()
    infos = (event.logInfo, event.eventInfo) if kind == "LOG" else (event.eventInfo, event.logInfo)
    info = next((one for one in infos if one is not None), {})
    scope_size = len(event.scope or "")
    if max(len(kind), scope_size) > 100:
        raise BadInput("field", f"eventType and scope may have 100 characters each; got {len(kind)} and {scope_size}")
    size = len(msgspec.json.encode(info))
    if size > event_bytes:
        raise BadInput("event_size", f"the event has {size} bytes; the limit is {event_bytes} (limits.event_bytes)")
    time_ms = event.time if event.time is not None and 0 <= event.time <= LAST_TIME_MS else now_ms
    return AgentEvent(
        time_ms=time_ms,
        received_ms=now_ms,
        service=service,
        instance_id=instance_id,
        ip=ip,
        scope=event.scope,
        level=level,
        type=kind,
        info=info,
    )


def _decode(decoder: msgspec.json.Decoder[Any], text: bytes | msgspec.Raw) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadInput("field", str(error), _field_at_fault(decoder, text)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput("json", f"not valid JSON: {error}") from None
    except RecursionError:
        raise BadInput("json", "the JSON is nested too deeply") from None


def _field_at_fault(decoder: msgspec.json.Decoder[Any], text: bytes | msgspec.Raw) -> str | None:
    try:
        return field_at_fault(decoder.type, _any_decoder.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # behind the fault the text is not even JSON
        return None


def check_name(what: str, name: str | None, missing: str) -> str:
    """Returns the name of a service or an instance if it is valid. The registry checks its length. Raises BadInput."""
    if not name:
        raise BadInput(missing, f"{what} is missing; every heartbeat must have a service and an instanceId", what)
    if not name.isprintable():
        raise BadInput("key", f"{what} must consist of printable characters; got {name[:60]!r}", what)
    return name


def parse_duration_ms(name: str, text: str) -> int:
    """Parses `90`, `90s`, `1.5h`, `1d12h` to ms; a number alone is seconds. Raises BadInput "field"."""
    try:
        ms = round(parse_duration_ns(text, "s") / 1_000_000)
    except ValueError as error:
        detail = f"{name} must be a duration such as {EXAMPLES}: {error}; got {text[:40]!r}"
        raise BadInput("field", detail, name) from None
    if not 1 <= ms <= LONGEST_MS:
        raise BadInput("field", f"{name} must be a duration from 1 ms to 366 d; got {text[:40]!r}", name)
    return ms
