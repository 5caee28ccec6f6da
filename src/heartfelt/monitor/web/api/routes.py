# SPDX-License-Identifier: MIT
"""The table of all routes: handler, required scope, parameters, body and answer of each."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import lru_cache
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heartfelt.monitor.model import Level, State
from heartfelt.monitor.web.api import actions, control, events, fleet, health, instances, sermant, webhooks
from heartfelt.monitor.web.api.endpoint import JSON, Call, Endpoint, answer
from heartfelt.monitor.web.api.ingest_routes import INGEST_ENDPOINTS
from heartfelt.monitor.web.api.listing import SORT_NAMES, InstancePage
from heartfelt.monitor.web.api.openapi import document
from heartfelt.monitor.web.api.order import InstanceOrder
from heartfelt.monitor.web.api.params import choice, event_cursor, limit, moment, text, whole, wholes, words
from heartfelt.monitor.web.api.parts import ApiParts, Ready
from heartfelt.monitor.web.api.sermant_shapes import SermantEventPage, SermantEvents, SermantInstance, SermantWebhooks
from heartfelt.monitor.web.api.view import HoldView, InstanceDetail
from heartfelt.monitor.web.api.webhook_shapes import ChangedWebhook, NewWebhook, ShownWebhook, WebhookTried
from heartfelt.monitor.web.auth import Scope
from heartfelt.monitor.web.stream import TOPICS

READ, ADMIN = Scope.READ, Scope.ADMIN
_SEQ = 1 << 62


async def _openapi(call: Call) -> Response:
    text, tag = _description(call.parts.auth.needed)
    headers = {"ETag": tag, "Cache-Control": "no-cache"}
    asked = [one.strip().removeprefix("W/") for one in call.request.headers.get("if-none-match", "").split(",")]
    if tag in asked or "*" in asked:
        return Response(status_code=304, headers=headers)
    return Response(text, media_type=JSON, headers=headers)


@lru_cache(maxsize=2)
def _description(needs_tokens: bool) -> tuple[bytes, str]:
    text = document((*ENDPOINTS, *INGEST_ENDPOINTS), needs_tokens=needs_tokens)
    return text, f'"{hashlib.sha256(text).hexdigest()[:32]}"'


_SERVICE = text("service", "only these services", many=True)
_BEFORE = whole("before", "next page: `before` of the previous one", 0, _SEQ)
_BEFORE_EVENT = event_cursor("before", "next page: `before` of the previous one, or the number of its last event")
_INSTANCE = text("instance", "only these instance ids", many=True)
_FILTERS = (
    _SERVICE, _INSTANCE, choice("state", State, "only these states; one whose loss is held counts as LOST"),
    text("version", "only these versions of the agent", many=True), text("ip", "only these addresses", many=True),
    text("plugin", "only with one of these plugins: a name, or name:version", many=True),
    text("app", "only these applications", many=True), text("text", "only those that contain this text", default=""),
    words("held", "true: only those whose loss is held; also: also those, besides those in `state`",
          ("true", "false", "also"), "false"),
)  # fmt: skip
_IDS = wholes("id", "only these ids", 1, (1 << 63) - 1)
_MANY = (*_FILTERS, _IDS, words("all", "true: all instances, if no filter is given", ("true", "false"), "false"))
_CHOSEN = (
    *_FILTERS,
    words("sort", "sort by this; with - before the name: descending; state: the worst first", SORT_NAMES, "service"),
)  # fmt: skip
_BY = text("by", "the person or program that asks for it, for the record", default="")
_INSTANCES = (
    *_CHOSEN, _IDS, limit(100, 1000),
    text("cursor", "next page: `cursor` of the previous one"),
    words("ext", "true: include the extra information of plugins", ("true", "false"), "false"),
)  # fmt: skip
_EVENTS = (
    _SERVICE, _INSTANCE, text("ip", "only these addresses", many=True), text("scope", "only these scopes", many=True),
    text("type", "only these types", many=True), choice("level", Level, "only these levels"),
    text("name", "only these names", many=True), text("text", "only those that contain this text", default=""),
    moment("start_ms", "not before"), moment("end_ms", "not after"),
)  # fmt: skip
_SERMANT_EVENTS = (
    text("service", "", many=True), text("ip", "", many=True), text("scope", "", many=True),
    text("type", "", many=True), choice("level", Level, ""), text("name", "", many=True),
    text("instanceIds", "", many=True), moment("startTime", "not before"), moment("endTime", "not after"),
)  # fmt: skip
_AGES = (_SERVICE, moment("start_ms", "begin; default: an hour before the end"), moment("end_ms", "end; default: now"))
_LAST_ID = text("Last-Event-ID", "the id of the last message that was received: continue after it")
_IF_NONE_MATCH = text("If-None-Match", "the ETag of the description that is known already")
_ABOUT_STREAM = (
    "Each message has the fields `id`, `event` (its topic, or resync) and `data`, JSON: change: a ChangeView; event: "
    "an event as in /api/v1/events; hold: a HoldView; held: [id, ...], whose loss is held; acks: [{id, ack}, ...]; "
    "counts: instances by state, in total and by service; beats: [[id, last_beat_ms], ...]; resync: read everything "
    "again, as messages may be missing, which is also the first message of a new stream. The stream ends with the "
    "monitor, or when its token is revoked. 503: http.viewers streams are open."
)
_ABOUT_METRICS = "Prometheus's text format, or OpenMetrics if Accept asks for it. docs/metrics.md lists the metrics."
_NEW_WEBHOOKS = {
    "generic": {"kind": "generic", "url": "https://alerts.example.com/heartfelt", "secret": "a long random text"},
    "slack": {
        "kind": "slack", "name": "on call", "url": "https://hooks.slack.com/services/T0/B0/x",
        "filter": {"services": ["shop-*"], "levels": ["EMERGENCY"]},
    },
}  # fmt: skip
_ONE = "/api/v1/instances/{id:number}"
_HOOK = "/api/v1/webhooks/{id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/api/v1/instances", READ, instances.LIST, "Instances", _INSTANCES, answer=InstancePage),
    Endpoint("GET", "/api/v1/instances/order", READ, instances.ORDER, "Ids of all instances, sorted",
             _CHOSEN, answer=InstanceOrder),
    Endpoint("GET", "/api/v1/fleet", READ, fleet.FLEET, "All instances, in a compact form",
             (whole("after", "only ids greater than this", 0, _SEQ, 0),), answer=fleet.Fleet),
    Endpoint("GET", _ONE, READ, instances.DETAIL, "An instance and its newest changes of state",
             answer=instances.InstanceHistory),
    Endpoint("GET", _ONE + "/changes", READ, instances.instance_changes, "Changes of state of an instance",
             (_BEFORE, limit(100, 1000)), answer=instances.Changes),
    Endpoint("GET", _ONE + "/runs", READ, instances.RUNS, "Runs of an instance that is a job",
             (_BEFORE, limit(100, 100)), answer=instances.RunPage),
    Endpoint("POST", _ONE + "/pause", ADMIN, actions.PAUSE, "Pause an instance: no notifications about it",
             body=actions.Pause, answer=InstanceDetail),
    Endpoint("POST", _ONE + "/resume", ADMIN, actions.RESUME, "End the pause of an instance",
             body=actions.Asked, answer=InstanceDetail),
    Endpoint("POST", _ONE + "/ack", ADMIN, actions.ACK,
             "Acknowledge a loss or a failure: no notifications about it until it recovers", body=actions.Acknowledge,
             answer=InstanceDetail, errors=(409,)),
    Endpoint("DELETE", _ONE + "/ack", ADMIN, actions.WITHDRAW_ACK, "Withdraw an acknowledgement",
             (_BY, text("why", "the reason, for the record", default="")), status=204),
    Endpoint("DELETE", _ONE, ADMIN, actions.REMOVE, "Remove an instance, until it beats again",
             (_BY, text("reason", "the reason, for the record")), status=204),
    Endpoint("POST", "/api/v1/instances/pause", ADMIN, actions.PAUSE_ALL, "Pause all instances that match",
             _MANY, body=actions.Pause, answer=actions.Acted),
    Endpoint("POST", "/api/v1/instances/resume", ADMIN, actions.RESUME_ALL,
             "End the pauses of all instances that match", _MANY, body=actions.Asked, answer=actions.Acted),
    Endpoint("POST", "/api/v1/instances/ack", ADMIN, actions.ACK_ALL,
             "Acknowledge all losses and failures that match", _MANY, body=actions.Acknowledge, answer=actions.Acted),
    Endpoint("POST", "/api/v1/instances/remove", ADMIN, actions.REMOVE_ALL, "Remove all instances that match",
             _MANY, body=actions.Asked, answer=actions.Acted),
    Endpoint("GET", "/api/v1/services", READ, instances.SERVICES, "Services, with their instances by state",
             answer=instances.Services),
    Endpoint("GET", "/api/v1/changes", READ, instances.list_changes, "Changes of state, of all services or of one",
             (text("service", "only this service"), _BEFORE, limit(100, 1000)), answer=instances.Changes),
    Endpoint("GET", "/api/v1/events", READ, events.list_events, "Events", (*_EVENTS, _BEFORE_EVENT, limit(100, 1000)),
             answer=events.Events),
    Endpoint("GET", "/api/v1/events/counts", READ, events.count_events, "Number of events by level",
             _EVENTS, answer=dict[Level, int]),
    Endpoint("GET", "/api/v1/uptime", READ, events.UPTIME, "Uptime and availability of services, day by day (UTC)",
             (_SERVICE, whole("days", "number of days, including today", 1, 400, 90)), answer=events.Uptime),
    Endpoint("GET", "/api/v1/heat", READ, events.heat, "Instances watched, and instances up, minute by minute", _AGES,
             answer=events.Heat),
    Endpoint("GET", "/api/v1/stats", READ, control.stats, "Counters of the parts of the monitor", answer=control.Stats),
    Endpoint("GET", "/api/v1/hold", READ, control.HOLD, "The hold: whether losses are held back, and why",
             answer=HoldView),
    Endpoint("POST", "/api/v1/hold/release", ADMIN, control.RELEASE, "Release held losses, at the limited rate",
             body=control.Release, answer=HoldView),
    Endpoint("GET", "/api/v1/webhooks", ADMIN, webhooks.list_webhooks, "Webhooks", answer=webhooks.Webhooks,
             by_leader=True),
    Endpoint("POST", "/api/v1/webhooks", ADMIN, webhooks.create_webhook, "Create a webhook", body=NewWebhook,
             answer=ShownWebhook, status=201, examples=_NEW_WEBHOOKS, by_leader=True),
    Endpoint("GET", _HOOK, ADMIN, webhooks.get_webhook, "A webhook", answer=ShownWebhook, by_leader=True),
    Endpoint("PUT", _HOOK, ADMIN, webhooks.update_webhook, "Change a webhook; omitted fields keep their values",
             body=ChangedWebhook, answer=ShownWebhook, examples={"off": {"enabled": False}}, by_leader=True),
    Endpoint("DELETE", _HOOK, ADMIN, webhooks.delete_webhook, "Delete a webhook", status=204, by_leader=True),
    Endpoint("POST", _HOOK + "/test", ADMIN, webhooks.test_webhook, "Send a test message to a webhook",
             answer=WebhookTried, by_leader=True),
    Endpoint("GET", "/api/v1/deliveries", ADMIN, webhooks.list_deliveries, "Deliveries to webhooks, newest first",
             (text("webhook", "only this webhook"), _BEFORE, limit(100, 1000)), answer=control.Deliveries),
    Endpoint("GET", "/api/v1/tokens", ADMIN, control.list_tokens, "Tokens, without their secrets",
             answer=control.Tokens),
    Endpoint("POST", "/api/v1/tokens", ADMIN, control.create_token, "Create a token; its secret is shown only once",
             body=control.NewToken, answer=control.MadeToken, status=201,
             examples={"agents": {"name": "agents", "scopes": ["ingest"]}}),
    Endpoint("DELETE", "/api/v1/tokens/{id}", ADMIN, control.revoke_token, "Revoke a token, and end its connections",
             status=204),
    Endpoint("GET", "/api/v1/settings", ADMIN, control.settings, "All settings, and the source of each",
             answer=control.Settings),
    Endpoint("GET", "/api/v1/stream", READ, events.stream, "Server-sent events: changes, events, counts",
             (text("topic", f"only these topics: {', '.join(TOPICS)}", many=True),), answer=str,
             media="text/event-stream", about=_ABOUT_STREAM, headers=(_LAST_ID,), errors=(503,)),
    Endpoint("GET", "/api/v1/openapi.json", None, _openapi, "This description", answer=dict[str, Any],
             about="It has an ETag: If-None-Match is answered with 304.", headers=(_IF_NONE_MATCH,)),
    Endpoint("GET", "/metrics", READ, health.metrics, "Metrics for Prometheus", answer=str, media="text/plain",
             other_media=("application/openmetrics-text",), about=_ABOUT_METRICS, asks_basic=True),
    Endpoint("GET", "/healthz", None, health.healthz, "Whether the process answers", answer=dict[str, bool]),
    Endpoint("GET", "/readyz", None, health.readyz, "Whether beats may be sent here: all ports are open",
             answer=Ready, others={503: Ready}),
    Endpoint("GET", "/sermant/getPluginsInfo", READ, sermant.PLUGINS_INFO, "Sermant: all instances",
             answer=list[SermantInstance]),
    Endpoint("GET", "/sermant/event/events", READ, sermant.list_events, "Sermant: events, first page",
             _SERMANT_EVENTS, answer=SermantEvents),
    Endpoint("GET", "/sermant/event/events/page", READ, sermant.PAGE_OF_EVENTS,
             "Sermant: another page of the same query", (whole("page", "page number, from 1", 1, 1 << 31, 1),),
             answer=SermantEventPage),
    Endpoint("GET", "/sermant/event/webhooks", ADMIN, sermant.list_webhooks, "Sermant: its two webhooks",
             answer=SermantWebhooks, by_leader=True),
    Endpoint("PUT", "/sermant/event/webhooks/{id:number}", ADMIN, sermant.put_webhook, "Sermant: change a webhook",
             body=sermant.WebhookChange, answer=bool, by_leader=True),
    Endpoint("POST", "/sermant/event/webhooks/test", ADMIN, sermant.test_webhook, "Sermant: test a webhook",
             body=sermant.WebhookTest, answer=bool, by_leader=True),
)  # fmt: skip


def starlette_routes(parts: ApiParts) -> list[Route]:
    """Makes Starlette's routes from the table: one per path, so that a 405 answer lists all methods of the path.

    Sermant's backend (Spring Boot 2) ignores a slash at the end of a path, so its paths are served with one, too.
    """
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    by_path |= {f"{path}/": methods for path, methods in by_path.items() if path.startswith("/sermant/")}
    return [Route(path, _served(methods, parts), methods=[*methods]) for path, methods in by_path.items()]


def _served(methods: dict[str, Endpoint], parts: ApiParts) -> Callable[[Request], Any]:
    async def serve(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await answer(methods[method], parts, request)

    return serve
