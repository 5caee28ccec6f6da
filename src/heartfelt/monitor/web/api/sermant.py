# SPDX-License-Identifier: MIT
"""The paths of Sermant's backend with the same JSON shapes, for its panel and for programs written against it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

import msgspec
from starlette.responses import Response, StreamingResponse

from heartfelt.monitor.config.build import webhook_levels
from heartfelt.monitor.fleet.own_events import OWN_SCOPE
from heartfelt.monitor.model import HOLD_TYPE, AgentEvent, Level, State
from heartfelt.monitor.problems import Problem, no_such
from heartfelt.monitor.store import EventFilter
from heartfelt.monitor.web.api.endpoint import JSON, Call
from heartfelt.monitor.web.api.federated import Federated, Streamed, first
from heartfelt.monitor.web.api.listing import in_slices
from heartfelt.monitor.web.api.sessions import Session
from heartfelt.monitor.webhooks import UnknownTarget

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.instance import Instance

PAGE = 10
COOKIE = "JSESSIONID"
MOST_PAGES_AHEAD = 1000
"""A request may skip at most this many pages."""
WEBHOOKS = ((0, "Feishu", "feishu"), (1, "DingDing", "dingtalk"))
OPERATION = "OPERATION"
OWN_TYPES = ("STATE", "PING", HOLD_TYPE)
"""Types that only this monitor has. Sermant's panel shows no others than operation, governance and log."""
OWN_NAMES = {
    "INSTANCE_NEW": "SERMANT_START",
    "INSTANCE_UP": "INSTANCE_RECOVERY",
    "INSTANCE_LEFT": "SERMANT_STOP",
    "INSTANCE_LOST": "SEVERE",
    "INSTANCE_FAILED": "SEVERE",
    "INSTANCE_REMOVED": "INSTANCE_REMOVAL",
    "started": "SERMANT_SERVICE_START",
    "succeeded": "SERMANT_SERVICE_STOP",
    "failed": "SEVERE",
    "HOLD_BEGAN": "SEVERE",
}
"""Names of this monitor's events, and Sermant's nearest ones: its panel shows no name that it does not know."""
OTHER_NAME = "WARNING"
"""Sermant's name for this monitor's other events."""
_HEALTHY = frozenset({State.NEW, State.UP, State.LATE, State.STUCK})
_encode = msgspec.json.Encoder().encode


def plugins_info(instance: Instance) -> dict[str, Any]:
    """Returns a row of getPluginsInfo: the fields of the heartbeat, its plugins as a list, and whether it is alive."""
    row: dict[str, Any] = {"dynamicInstall": False, "externalAgentInfoMap": {}} | instance.meta
    plugins = instance.meta.get("pluginInfoMap")
    row["service"] = instance.service
    row["instanceId"] = instance.instance_id
    sent_ms = instance.agent_time_ms
    row["heartbeatTime"] = instance.last_beat_ms + (instance.skew_ms or 0) if sent_ms is None else sent_ms
    row["lastHeartbeatTime"] = instance.agent_last_time_ms or 0
    row["pluginInfoMap"] = [one for one in plugins.values() if one] if isinstance(plugins, dict) else []
    beats_in_pause = instance.before_pause in (None, State.UP)
    row["health"] = instance.counts_as in _HEALTHY or (instance.state is State.PAUSED and beats_in_pause)
    return row


async def _plugins_info(call: Call) -> AsyncGenerator[bytes, None]:
    """Yields the rows, with a comma before each."""
    async for some in in_slices(call.parts.registry.instances(), 200):
        yield b"," + _encode([plugins_info(one) for one in some])[1:-1]


def _all_plugins_info(call: Call, parts: Sequence[AsyncGenerator[bytes, None]]) -> Response:
    async def text() -> AsyncIterator[bytes]:
        begun = False
        try:
            for part in parts:
                async for some in part:
                    yield some if begun else b"[" + some[1:]
                    begun = True
            yield b"]" if begun else b"[]"
        finally:
            for part in parts:
                await part.aclose()

    return StreamingResponse(text(), media_type=JSON, headers={"Cache-Control": "no-store"})


PLUGINS_INFO = Streamed(_plugins_info, _all_plugins_info)


def event_row(event: AgentEvent) -> dict[str, Any]:
    """Returns a row of the list of events. One of this monitor's own has Sermant's nearest type and name; its own name,
    by which it is found, is in `info.event`."""
    type_, info = event.type, event.info
    if type_ in OWN_TYPES or (event.scope == OWN_SCOPE and not event.instance_id):
        type_ = OPERATION
        name = info.get("name")
        shown = OWN_NAMES.get(name, OTHER_NAME) if isinstance(name, str) else OTHER_NAME
        words = ": ".join(str(info[part]) for part in ("description", "text") if info.get(part))
        info = info | {"name": shown, "event": name, "description": words}
    return {
        "meta": {"service": event.service, "ip": event.ip, "instanceId": event.instance_id},
        "time": event.time_ms,
        "scope": event.scope,
        "level": event.level.value.lower(),
        "type": type_.lower(),
        "info": info,
    }


def _types(asked: tuple[str, ...]) -> tuple[str, ...]:
    """Returns the types that are shown as one of those asked for."""
    types = tuple(one.upper() for one in asked)
    return (*types, *OWN_TYPES) if OPERATION in types else types


async def _page(call: Call, session: Session, number: int) -> list[dict[str, Any]]:
    """Returns the events of page `number`, from 1; an empty list if there is no such page."""
    store = call.parts.store
    if number > session.pages:
        return []
    while len(session.starts) < number:
        known = len(session.starts)
        if number - known > MOST_PAGES_AHEAD:
            detail = f"page {number} is too far ahead; skip at most {MOST_PAGES_AHEAD} pages at once"
            raise Problem(400, "page", detail, field="page")
        found = await store.events(session.which, before=session.starts[-1], limit=PAGE)
        if len(found) < PAGE:
            return []
        if len(session.starts) == known:  # otherwise another request of this session has found it meanwhile
            session.starts.append(found[-1].cursor)
    found = await store.events(session.which, before=session.starts[number - 1], limit=PAGE)
    return [event_row(one.event) for one in found]


async def list_events(call: Call) -> Response:
    store = call.parts.store
    which = EventFilter(
        services=call["service"],
        ips=call["ip"],
        scopes=call["scope"],
        types=_types(call["type"]),
        levels=call["level"],
        names=call["name"],
        instance_ids=call["instanceIds"],
        start_ms=call["startTime"],
        end_ms=call["endTime"],
        newest=await store.newest_event(),
    )
    counts = await store.count_events(which)
    pages = -(-sum(counts.values()) // PAGE)
    name = call.parts.sessions.begin(which, pages)
    first = await store.events(which, before=None, limit=PAGE)
    answer = {
        "totalPage": pages,
        "events": [event_row(one.event) for one in first],
        "eventCount": {level.value.lower(): counts.get(level, 0) for level in Level},
    }
    response = Response(_encode(answer), media_type=JSON, headers={"Cache-Control": "no-store"})
    secure = call.request.url.scheme == "https"
    response.set_cookie(COOKIE, name, path="/sermant", httponly=True, samesite="strict", secure=secure)
    return response


async def _events_page(call: Call) -> list[dict[str, Any]] | None:
    session = call.parts.sessions.find(call.request.cookies.get(COOKIE))
    return None if session is None else await _page(call, session, call["page"])


async def _found_page(call: Call, parts: Sequence[list[dict[str, Any]] | None]) -> dict[str, Any]:
    events = first(parts)
    if events is None:
        detail = "this query has expired (session.expire) or never existed; call /sermant/event/events first"
        raise Problem(400, "session", detail)
    return {"events": events}


PAGE_OF_EVENTS = Federated(_events_page, list[dict[str, Any]] | None, _found_page)
"""The monitor that has the session answers: a balancer may send each page to another one."""


# -- webhooks: Sermant has exactly two, Feishu and DingDing, which always exist


class WebhookChange(msgspec.Struct, kw_only=True, frozen=True):
    url: str = ""
    enable: bool = False


class WebhookTest(msgspec.Struct, kw_only=True, frozen=True):
    id: int


def _kind(number: int) -> tuple[str, str]:
    for id_, _, kind in WEBHOOKS:
        if id_ == number:
            return f"sermant-{kind}", kind
    raise no_such("webhook", number, "0 is Feishu, 1 is DingDing")


def _find(call: Call, id: str) -> dict[str, Any] | None:
    try:
        return call.parts.webhooks.get(id)
    except UnknownTarget:
        return None


async def list_webhooks(call: Call) -> dict[str, Any]:
    rows = []
    for number, name, kind in WEBHOOKS:
        target = _find(call, f"sermant-{kind}")
        rows.append(
            {
                "id": number,
                "url": "" if target is None else target["url"],
                "name": name,
                "enable": target is not None and target["enabled"],
            }
        )
    return {"total": len(rows), "webhooks": rows}


async def put_webhook(call: Call) -> bool:
    id_, kind = _kind(call.path["id"])
    wanted = await call.body(WebhookChange)
    webhooks = call.parts.webhooks
    if _find(call, id_) is not None:
        fields: dict[str, Any] = {"enabled": wanted.enable}
        if wanted.url:
            fields["url"] = wanted.url
        await webhooks.update(id_, fields)
    else:
        levels = webhook_levels(call.parts.config) or (Level.EMERGENCY,)  # Sermant's default
        fields = {"kind": kind, "url": wanted.url, "enabled": wanted.enable, "language": "zh"}
        filter_ = {"levels": [level.value for level in levels], "event_types": ["*"], "states": []}
        await webhooks.create({**fields, "filter": filter_}, id=id_)
    return True


async def test_webhook(call: Call) -> bool:
    id_, _ = _kind((await call.body(WebhookTest)).id)
    if _find(call, id_) is None:
        raise Problem(400, "no_url", "this webhook has no URL yet; PUT one to /sermant/event/webhooks/{id}")
    return bool((await call.parts.webhooks.test(id_))["ok"])
