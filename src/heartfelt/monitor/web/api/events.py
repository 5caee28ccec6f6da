# SPDX-License-Identifier: MIT
"""Events of agents and of the monitor, the counts for uptime and heat map, and the event stream."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import msgspec
from starlette.responses import Response, StreamingResponse
from starlette.types import Receive, Scope, Send

from heartfelt.monitor.credentials import secret_in
from heartfelt.monitor.model import AgentEvent, Level
from heartfelt.monitor.problems import Problem, bad
from heartfelt.monitor.store import EventFilter, HeatCell, UptimeDay
from heartfelt.monitor.web.api.endpoint import Call
from heartfelt.monitor.web.api.federated import Federated
from heartfelt.monitor.web.api.params import cursor_text
from heartfelt.monitor.web.auth import Scope as TokenScope
from heartfelt.monitor.web.http1.exchange import UNSENT
from heartfelt.monitor.web.stream import TOPICS, Stream, TooManyViewers, Viewer
from heartfelt.monitor.web.viewers import nothing_unsent

EVENT_STREAM = "text/event-stream"
LONGEST_HEAT_MS = 2 * 86_400_000
MINUTE_MS = 60_000


class NumberedEvent(AgentEvent, kw_only=True, frozen=True):
    number: int


class Events(msgspec.Struct, kw_only=True, frozen=True):
    events: list[NumberedEvent]
    """Newest first: by `time_ms`, or by `received_ms` where that is earlier, and where that is the same by `number`."""
    before: str | None
    """For the next page; null: this is the last one."""


class Uptime(msgspec.Struct, kw_only=True, frozen=True):
    days: list[UptimeDay]


class Heat(msgspec.Struct, kw_only=True, frozen=True):
    cells: list[HeatCell]


def _filter(call: Call) -> EventFilter:
    start_ms, end_ms = call["start_ms"], call["end_ms"]
    if start_ms is not None and end_ms is not None and start_ms > end_ms:
        raise bad("start_ms", start_ms, f"must not be after end_ms, {end_ms}")
    return EventFilter(
        services=call["service"],
        instance_ids=call["instance"],
        ips=call["ip"],
        scopes=call["scope"],
        types=call["type"],
        levels=call["level"],
        names=call["name"],
        text=call["text"],
        start_ms=start_ms,
        end_ms=end_ms,
    )


async def list_events(call: Call) -> Events:
    limit = call["limit"]
    found = await call.parts.store.events(_filter(call), before=call["before"], limit=limit)
    events = [NumberedEvent(number=one.number, **_fields(one.event)) for one in found]
    return Events(events=events, before=cursor_text(found[-1].cursor) if len(found) == limit else None)


def _fields(event: AgentEvent) -> dict[str, Any]:
    return {name: getattr(event, name) for name in AgentEvent.__struct_fields__}


async def count_events(call: Call) -> dict[Level, int]:
    return await call.parts.store.count_events(_filter(call))


async def _store_uptime(call: Call) -> None:
    await call.parts.store_uptime()


async def _uptime(call: Call, parts: Sequence[None]) -> Uptime:
    return Uptime(days=await call.parts.store.uptime(call["service"], call["days"]))


UPTIME = Federated(_store_uptime, None, _uptime)


async def heat(call: Call) -> Heat:
    end_ms = call["end_ms"] if call["end_ms"] is not None else call.parts.wall_ms()
    start_ms = call["start_ms"] if call["start_ms"] is not None else end_ms - 60 * MINUTE_MS
    if not 0 <= end_ms - start_ms <= LONGEST_HEAT_MS:
        raise bad("start_ms", start_ms, f"must be before end_ms, {end_ms}, by at most {LONGEST_HEAT_MS} ms")
    return Heat(cells=await call.parts.store.heat(call["service"], start_ms, end_ms))


async def stream(call: Call) -> Response:
    wanted = frozenset(call["topic"] or TOPICS)
    if unknown := wanted - set(TOPICS):
        raise bad("topic", min(unknown), f"must be one of {', '.join(TOPICS)}")
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    if call.request.method == "HEAD":
        response = Response(media_type=EVENT_STREAM, headers=headers)
        del response.headers["content-length"]  # a stream has none
        return response
    hub, auth = call.parts.stream, call.parts.auth
    secret = secret_in(call.request.scope["headers"]) if auth.needed else None
    unsent = call.request.scope.get("extensions", {}).get(UNSENT, nothing_unsent)
    try:
        viewer = hub.open(
            wanted, call.request.headers.get("last-event-id"), lambda: auth.allows(secret, TokenScope.READ), unsent
        )
    except TooManyViewers:
        detail = "all streams that http.viewers and http.viewers_bytes allow are open; close one, or raise a setting"
        raise Problem(503, "viewers", detail, {"Retry-After": "10"}) from None
    return _Stream(hub, viewer, headers)


class _Stream(StreamingResponse):
    """Frees the viewer's place however the answer ends. A viewer that does not read is ended by app.py."""

    def __init__(self, stream: Stream, viewer: Viewer, headers: dict[str, str]) -> None:
        super().__init__(stream.read(viewer), media_type=EVENT_STREAM, headers=headers)
        self._end = partial(stream.discard, viewer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            self._end()
