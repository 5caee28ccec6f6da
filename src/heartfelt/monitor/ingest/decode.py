# SPDX-License-Identifier: MIT
"""JSON bytes -> Beat, AgentEvent. All is checked here, so that what is known of an instance has the types it should.

Sermant's fields of all versions (1.1 to 2.2) may be there or not; of fields that nobody knows those of an object are
kept as they are, as metadata.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

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
    "parse_duration_ms",
]

MAX_EVENTS = 1000
"""Events in one message."""
_LONGEST_MS = 366 * 86_400_000
_LAST_TIME_MS = 1 << 53


class BadInput(ValueError):
    """What came cannot be taken. `reason` is a short name, good as a counter's label; the text says what and why.
    `field` names the field or parameter at fault, if it is one."""

    def __init__(self, reason: str, text: str, field: str | None = None) -> None:
        super().__init__(reason, text)
        self.reason = reason
        self.field = field

    def __str__(self) -> str:
        return str(self.args[1])


class _Part(msgspec.Struct):
    """A plugin, or another agent."""

    name: str | None = None
    version: str | None = None
    extInfo: dict[str, str | None] | None = None  # noqa: N815


class _Heartbeat(msgspec.Struct):
    """The types of what is known: nothing is taken out of it but the fields that a Beat has of its own."""

    service: str | None = None
    instanceId: str | None = None  # noqa: N815
    hostName: str | None = None  # noqa: N815
    ip: list[str] | None = None
    appType: str | None = None  # noqa: N815
    appName: str | None = None  # noqa: N815
    artifact: str | None = None
    processId: str | int | None = None  # noqa: N815
    version: str | None = None
    dynamicInstall: bool | None = None  # noqa: N815
    heartbeatTime: int | None = None  # noqa: N815
    lastHeartbeatTime: int | None = None  # noqa: N815
    pluginInfoMap: dict[str, _Part | None] | None = None  # noqa: N815
    externalAgentInfoMap: dict[str, _Part | None] | None = None  # noqa: N815
    intervalMs: int | None = None  # noqa: N815
    timeoutMs: int | None = None  # noqa: N815
    lagMs: int | None = None  # noqa: N815
    beat: int | None = None
    extInfoFailures: dict[str, str] | None = None  # noqa: N815
    goodbye: bool | None = None


class _Event(msgspec.Struct):
    time: int | None = None
    scope: str | None = None
    eventLevel: str | None = None  # noqa: N815
    eventType: str | None = None  # noqa: N815
    eventInfo: dict[str, Any] | None = None  # noqa: N815
    logInfo: dict[str, Any] | None = None  # noqa: N815


class _Events(msgspec.Struct):
    metaHash: str | None = None  # noqa: N815
    events: list[_Event] = []


_beat_decoder = msgspec.json.Decoder(_Heartbeat)
_any_decoder = msgspec.json.Decoder()
_events_decoder = msgspec.json.Decoder(_Events)
_OWN = (
    fields.SERVICE,
    fields.INSTANCE_ID,
    fields.HEARTBEAT_TIME,
    fields.LAST_HEARTBEAT_TIME,
    fields.INTERVAL_MS,
    fields.TIMEOUT_MS,
    fields.LAG_MS,
    fields.BEAT,
    fields.GOODBYE,
)
_LEVELS = {level.value: level for level in Level}


def decode_beat(text: bytes, via: str, peer: str, *, meta_bytes: int) -> Beat:
    """Raises BadInput: "json", "field" (missing, of a wrong type, or a value that cannot be), "key", "meta_size"."""
    told = _decode(_beat_decoder, text)
    service = check_name("service", told.service, "service_missing")
    instance_id = check_name("instanceId", told.instanceId, "instance_missing")
    for name, value, most in (
        ("heartbeatTime", told.heartbeatTime, _LAST_TIME_MS),
        ("lastHeartbeatTime", told.lastHeartbeatTime, _LAST_TIME_MS),
        ("intervalMs", told.intervalMs, _LONGEST_MS),
        ("timeoutMs", told.timeoutMs, _LONGEST_MS),
        ("lagMs", told.lagMs, _LAST_TIME_MS),
        ("beat", told.beat, _LAST_TIME_MS),
    ):
        if value is not None and not 0 <= value <= most:
            raise BadInput("field", f"{name} must be from 0 to {most}; got {value}", name)
    if told.timeoutMs == 0:
        raise BadInput(
            "field", "timeoutMs must be at least 1 ms; leave it out for the monitor's own timeout", "timeoutMs"
        )
    if len(text) > meta_bytes + 1024:  # the registry measures it exactly; this is before it is built
        raise BadInput("meta_size", f"a heartbeat of {len(text)} bytes; at most {meta_bytes} are taken (meta_bytes)")
    meta: dict[str, Any] = _decode(_any_decoder, text)
    for name in _OWN:
        meta.pop(name, None)
    return Beat(
        service=service,
        instance_id=instance_id,
        via=via,
        peer=peer,
        meta={name: value for name, value in meta.items() if value is not None},
        agent_time_ms=told.heartbeatTime,
        agent_last_time_ms=told.lastHeartbeatTime,
        interval_ms=told.intervalMs or None,
        timeout_ms=told.timeoutMs,
        lag_ms=told.lagMs,
        number=told.beat,
        goodbye=bool(told.goodbye),
    )


def decode_goodbye(text: bytes) -> tuple[str, str]:
    """Service and instance of a goodbye frame. Raises BadInput."""
    told = _decode(_beat_decoder, text)
    service = check_name("service", told.service, "service_missing")
    return service, check_name("instanceId", told.instanceId, "instance_missing")


def decode_events(text: bytes) -> tuple[str, list[_Event]]:
    """Whose events they are (an instance's id, "" if it is not told), and the events. Raises BadInput."""
    told = _decode(_events_decoder, text)
    if len(told.events) > MAX_EVENTS:
        raise BadInput("events", f"{len(told.events)} events in a message; at most {MAX_EVENTS} are taken")
    instance_id = told.metaHash or ""
    return (check_name("metaHash", instance_id, "") if instance_id else ""), told.events


def agent_event(event: _Event, service: str, instance_id: str, ip: str, now_ms: int, event_bytes: int) -> AgentEvent:
    """Raises BadInput "field", "event_size"."""
    level = _LEVELS.get((event.eventLevel or "NORMAL").upper())
    if level is None:
        known = ", ".join(_LEVELS)
        raise BadInput(
            "field", f"eventLevel must be one of {known}; got {(event.eventLevel or '')[:40]!r}", "eventLevel"
        )
    kind = (event.eventType or "OPERATION").upper()
    scope = event.scope or ""
    info = event.eventInfo if event.eventInfo is not None else event.logInfo or {}
    if max(len(kind), len(scope)) > 100:
        raise BadInput("field", "eventType and scope have at most 100 characters")
    size = len(msgspec.json.encode(info))
    if size > event_bytes:
        raise BadInput("event_size", f"an event of {size} bytes; at most {event_bytes} are taken (event_bytes)")
    time_ms = event.time if event.time is not None and 0 <= event.time <= _LAST_TIME_MS else now_ms
    return AgentEvent(
        time_ms=time_ms,
        received_ms=now_ms,
        service=service,
        instance_id=instance_id,
        ip=ip,
        scope=scope,
        level=level,
        type=kind,
        info=info,
    )


def _decode(decoder: msgspec.json.Decoder[Any], text: bytes) -> Any:
    try:
        return decoder.decode(text)
    except msgspec.ValidationError as error:
        raise BadInput("field", str(error), _field_at_fault(decoder, text)) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadInput("json", f"no JSON: {error}") from None
    except RecursionError:
        raise BadInput("json", "JSON that is nested too deep") from None


def _field_at_fault(decoder: msgspec.json.Decoder[Any], text: bytes) -> str | None:
    try:
        return field_at_fault(decoder.type, _any_decoder.decode(text))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):  # behind the fault the text is not even JSON
        return None


def check_name(what: str, name: str | None, missing: str) -> str:
    """The name of a service or an instance, if it can be one; the registry checks its length. Raises BadInput."""
    if not name:
        raise BadInput(missing, f"{what} is missing; every beat names its service and its instanceId", what)
    if not name.isprintable():
        raise BadInput("key", f"{what} must have printable characters only; got {name[:60]!r}", what)
    return name


_UNITS = {"ms": 1, "": 1000, "s": 1000, "sec": 1000, "m": 60_000, "min": 60_000, "h": 3_600_000, "d": 86_400_000}
_UNITS["w"] = 7 * _UNITS["d"]
_PARTS = re.compile(r"(\d{1,12}(?:\.\d{1,6})?)(ms|sec|min|[smhdw]?)")


def parse_duration_ms(name: str, text: str) -> int:
    """`90`, `90s`, `1.5h`, `1d12h`: in ms; a bare number is seconds. Raises BadInput "field"."""
    at, total = 0, 0.0
    text = text.strip().lower()
    while at < len(text):
        match = _PARTS.match(text, at)
        if match is None or (not match[2] and match.end() - match.start() != len(text)):
            break
        total += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    if not text or at < len(text) or not 1 <= total <= _LONGEST_MS:
        raise BadInput(
            "field",
            f"{name} must be a duration of 1 ms to 366 d, as 90, 90s, 5m, 1h30m or 1d; got {text[:40]!r}",
            name,
        )
    return round(total)
