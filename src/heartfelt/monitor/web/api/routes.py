# SPDX-License-Identifier: MIT
"""The one table of all routes: who serves them, who may call them, what they take and give."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from heartfelt.monitor.model import Level, State
from heartfelt.monitor.web.api import control, events, fleet, health, instances, sermant, webhooks
from heartfelt.monitor.web.api.endpoint import Call, Endpoint, answer
from heartfelt.monitor.web.api.listing import SORT_NAMES, InstancePage
from heartfelt.monitor.web.api.order import InstanceOrder
from heartfelt.monitor.web.api.params import choice, limit, moment, text, whole, wholes, words
from heartfelt.monitor.web.api.view import HoldView, InstanceDetail
from heartfelt.monitor.web.auth import Scope
from heartfelt.monitor.web.stream import TOPICS

if TYPE_CHECKING:
    from heartfelt.monitor.monitor import Monitor

READ, ADMIN, INGEST = Scope.READ, Scope.ADMIN, Scope.INGEST
_SEQ = 1 << 62
_SERVICE = text("service", "of these services", many=True)
_BEFORE = whole("before", "to go on: as the page before gave it", 0, _SEQ)
_INSTANCE = text("instance", "of these instance ids", many=True)
_CHOSEN = (
    _SERVICE, _INSTANCE, choice("state", State, "in these states"),
    text("version", "with these versions of the agent", many=True), text("ip", "with these addresses", many=True),
    text("plugin", "with these plugins: a name, or name:version", many=True),
    text("app", "of these applications", many=True), text("text", "in which this text occurs", default=""),
    words("held", "only those whose loss is held", ("true", "false"), "false"),
    words("sort", "the order; - before the name: descending", SORT_NAMES, "service"),
)  # fmt: skip
_INSTANCES = (
    *_CHOSEN, wholes("id", "with these ids", 1, (1 << 63) - 1), limit(100, 1000),
    text("cursor", "to go on: as the page before gave it"),
    words("ext", "with the extra information of their plugins", ("true", "false"), "false"),
)  # fmt: skip
_EVENTS = (
    _SERVICE, _INSTANCE, text("ip", "from these addresses", many=True), text("scope", "of these scopes", many=True),
    text("type", "of these types", many=True), choice("level", Level, "of these levels"),
    text("name", "with these names", many=True), text("text", "in which this text occurs", default=""),
    moment("start_ms", "from then on"), moment("end_ms", "until then"),
)  # fmt: skip
_SERMANT_EVENTS = (
    text("service", "", many=True), text("ip", "", many=True), text("scope", "", many=True),
    text("type", "", many=True), choice("level", Level, ""), text("name", "", many=True),
    text("instanceIds", "", many=True), moment("startTime", "from"), moment("endTime", "until"),
)  # fmt: skip
_AGES = (_SERVICE, moment("start_ms", "from; an hour before the end if not given"), moment("end_ms", "until; or now"))
_ONE = "/api/v1/instances/{id:int}"
_HOOK = "/api/v1/webhooks/{id}"

ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("GET", "/api/v1/instances", READ, instances.list_instances, "Instances", _INSTANCES, answer=InstancePage),
    Endpoint("GET", "/api/v1/instances/order", READ, instances.order_instances, "The ids of all instances, in order",
             _CHOSEN, answer=InstanceOrder),
    Endpoint("GET", "/api/v1/fleet", READ, fleet.get_fleet, "All instances, in short",
             (whole("after", "only those whose id is greater", 0, _SEQ, 0),), answer=fleet.Fleet),
    Endpoint("GET", _ONE, READ, instances.get_instance, "An instance and its newest changes",
             answer=instances.InstanceHistory),
    Endpoint("GET", _ONE + "/changes", READ, instances.instance_changes, "Its changes of state",
             (_BEFORE, limit(100, 1000)), answer=instances.Changes),
    Endpoint("POST", _ONE + "/pause", ADMIN, instances.pause_instance, "Tell nobody about it for a while",
             body=instances.Pause, answer=InstanceDetail),
    Endpoint("POST", _ONE + "/resume", ADMIN, instances.resume_instance, "End its pause", answer=InstanceDetail),
    Endpoint("DELETE", _ONE, ADMIN, instances.remove_instance, "Forget it, until it beats again",
             (text("reason", "for the record"),), status=204),
    Endpoint("GET", "/api/v1/services", READ, instances.list_services, "Services, with counts by state",
             answer=instances.Services),
    Endpoint("GET", "/api/v1/changes", READ, instances.list_changes, "Changes of state, of all or of a service",
             (text("service", "of this service"), _BEFORE, limit(100, 1000)), answer=instances.Changes),
    Endpoint("GET", "/api/v1/events", READ, events.list_events, "Events", (*_EVENTS, _BEFORE, limit(100, 1000)),
             answer=events.Events),
    Endpoint("GET", "/api/v1/events/counts", READ, events.count_events, "How many events there are of each level",
             _EVENTS, answer=dict[Level, int]),
    Endpoint("GET", "/api/v1/uptime", READ, events.uptime, "Uptime of services, day by day (UTC)",
             (_SERVICE, whole("days", "how many days, with today", 1, 400, 90)), answer=events.Uptime),
    Endpoint("GET", "/api/v1/heat", READ, events.heat, "Instances up and in all, minute by minute", _AGES,
             answer=events.Heat),
    Endpoint("GET", "/api/v1/stats", READ, control.stats, "Counters of the monitor's parts", answer=control.Stats),
    Endpoint("GET", "/api/v1/hold", READ, control.get_hold, "Whether losses are held, and why", answer=HoldView),
    Endpoint("POST", "/api/v1/hold/release", ADMIN, control.release_hold, "Tell what is held, at the limited rate",
             body=control.Release, answer=HoldView),
    Endpoint("GET", "/api/v1/webhooks", ADMIN, webhooks.list_webhooks, "Webhooks", answer=webhooks.Webhooks),
    Endpoint("POST", "/api/v1/webhooks", ADMIN, webhooks.create_webhook, "Make a webhook", body=dict[str, Any],
             answer=dict[str, Any], status=201),
    Endpoint("GET", _HOOK, ADMIN, webhooks.get_webhook, "A webhook", answer=dict[str, Any]),
    Endpoint("PUT", _HOOK, ADMIN, webhooks.update_webhook, "Change a webhook; what is not named stays",
             body=dict[str, Any], answer=dict[str, Any]),
    Endpoint("DELETE", _HOOK, ADMIN, webhooks.delete_webhook, "Delete a webhook", status=204),
    Endpoint("POST", _HOOK + "/test", ADMIN, webhooks.test_webhook, "Call a webhook now, with a message that says so",
             answer=dict[str, Any]),
    Endpoint("GET", "/api/v1/deliveries", ADMIN, webhooks.list_deliveries, "What was sent to webhooks, and waits",
             (text("webhook", "to this one"), _BEFORE, limit(100, 1000)), answer=control.Deliveries),
    Endpoint("GET", "/api/v1/tokens", ADMIN, control.list_tokens, "Tokens, without their secrets",
             answer=control.Tokens),
    Endpoint("POST", "/api/v1/tokens", ADMIN, control.create_token, "Make a token; its secret is told this once",
             body=control.NewToken, answer=control.MadeToken, status=201),
    Endpoint("DELETE", "/api/v1/tokens/{id}", ADMIN, control.revoke_token, "Revoke a token; what is open by it ends",
             status=204),
    Endpoint("GET", "/api/v1/settings", ADMIN, control.settings, "All settings, and where each comes from",
             answer=control.Settings),
    Endpoint("GET", "/api/v1/stream", READ, events.stream, "What happens, as server-sent events",
             (text("topic", f"only these: {', '.join(TOPICS)}", many=True),), media="text/event-stream"),
    Endpoint("GET", "/api/v1/openapi.json", None, health.openapi, "This description", answer=dict[str, Any]),
    Endpoint("GET", "/metrics", READ, health.metrics, "Metrics for Prometheus", media="text/plain"),
    Endpoint("GET", "/healthz", None, health.healthz, "Whether the process answers", answer=dict[str, bool]),
    Endpoint("GET", "/readyz", None, health.readyz, "Whether the store works and all ports are open",
             answer=health.Ready),
    Endpoint("GET", "/sermant/getPluginsInfo", READ, sermant.get_plugins_info, "Sermant: all instances",
             answer=list[dict[str, Any]]),
    Endpoint("GET", "/sermant/event/events", READ, sermant.list_events, "Sermant: events, first page",
             _SERMANT_EVENTS, answer=dict[str, Any]),
    Endpoint("GET", "/sermant/event/events/page", READ, sermant.events_page, "Sermant: another page of the same query",
             (whole("page", "from 1", 1, 1 << 31, 1),), answer=dict[str, Any]),
    Endpoint("GET", "/sermant/event/webhooks", ADMIN, sermant.list_webhooks, "Sermant: its two webhooks",
             answer=dict[str, Any]),
    Endpoint("PUT", "/sermant/event/webhooks/{id:int}", ADMIN, sermant.put_webhook, "Sermant: change one",
             body=sermant.WebhookChange, answer=bool),
    Endpoint("POST", "/sermant/event/webhooks/test", ADMIN, sermant.test_webhook, "Sermant: try one",
             body=sermant.WebhookTest, answer=bool),
)  # fmt: skip


async def _elsewhere(call: Call) -> Any:
    raise AssertionError("the ingest serves this; app.py dispatches it")


INGEST_ENDPOINTS: tuple[Endpoint, ...] = (
    Endpoint("POST", "/api/v1/beats", INGEST, _elsewhere, "One heartbeat, or a list of them", body=dict[str, Any],
             answer=dict[str, Any], external=True),
    *(
        Endpoint(method, f"/ping/{{key}}{suffix}", INGEST, _elsewhere, summary, media="text/plain", external=True)
        for suffix, summary in (
            ("", "A simple beat of a key"), ("/start", "A job starts"), ("/ok", "A job is done"),
            ("/fail", "A job failed"), ("/{status:int}", "A job ended with this exit status"),
        )
        for method in ("GET", "POST")
    ),
)  # fmt: skip


def starlette_routes(monitor: Callable[[], Monitor]) -> list[Route]:
    """Of the table; each path's methods in one route, so that another method is answered 405 with those that are."""
    by_path: dict[str, dict[str, Endpoint]] = {}
    for endpoint in ENDPOINTS:
        by_path.setdefault(endpoint.path, {})[endpoint.method] = endpoint
    return [Route(path, _served(methods, monitor), methods=[*methods]) for path, methods in by_path.items()]


def _served(methods: dict[str, Endpoint], monitor: Callable[[], Monitor]) -> Callable[[Request], Any]:
    async def serve(request: Request) -> Response:
        method = "GET" if request.method == "HEAD" else request.method
        return await answer(methods[method], monitor(), request)

    return serve
