# SPDX-License-Identifier: MIT
"""Sermant's paths, shape for shape."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
from heartfelt.monitor.fleet.own_events import described, hold_changed, stalled
from heartfelt.monitor.model import Hold, HoldState, State
from heartfelt.monitor.reasons import NO_REASON
from heartfelt.monitor.web.api.sermant import event_row
from tests.monitor.serving import until
from tests.monitor.store.values import event

COOKIE = "JSESSIONID"


def test_all_instances(serve):
    serving = serve(lease_timeout="1 s")
    assert serving.get("/sermant/getPluginsInfo").body == b"[]"
    plugin = {"name": "template", "version": "1.0.0", "extInfo": {"status": "started"}}
    beat = {
        "hostName": "h", "ip": ["10.0.0.1"], "appType": "Java", "heartbeatTime": 1700000000000,
        "lastHeartbeatTime": 1699999997000, "version": "2.2.0", "appName": "a", "artifact": "x.jar", "processId": "7",
        "dynamicInstall": False, "pluginInfoMap": {"template": plugin},
        "externalAgentInfoMap": {"otel": {"name": "otel", "version": "1"}},
    }  # fmt: skip
    serving.beat("shop", "one", **beat)
    serving.beat("shop", "bare")
    rows = {row["instanceId"]: row for row in serving.json("/sermant/getPluginsInfo")}
    one = rows["one"]
    assert one["pluginInfoMap"] == [plugin]
    assert one["health"] is True
    assert {name: one[name] for name in beat if name != "pluginInfoMap"} == {
        name: value for name, value in beat.items() if name != "pluginInfoMap"
    }
    assert rows["bare"] == {
        "service": "shop", "instanceId": "bare", "pluginInfoMap": [], "externalAgentInfoMap": {}, "health": True,
        "dynamicInstall": False, "heartbeatTime": rows["bare"]["heartbeatTime"], "lastHeartbeatTime": 0,
    }  # fmt: skip
    assert rows["bare"]["heartbeatTime"] > 1700000000000  # when it was received, for it said nothing
    until(lambda: not any(row["health"] for row in serving.json("/sermant/getPluginsInfo")), "the loss")


def test_a_large_list_is_whole(serve):
    serving = serve()
    serving.beats(3000)
    rows = serving.json("/sermant/getPluginsInfo")
    assert len({row["instanceId"] for row in rows}) == len(rows) == 3000


def pages(serving, **query):
    first = serving.get("/sermant/event/events", **query)
    assert first.status == 200, first.body
    cookie = first.headers["set-cookie"].split(";")[0]
    assert cookie.startswith(f"{COOKIE}=")
    return first.json, lambda n: serving.get("/sermant/event/events/page", page=n, headers={"Cookie": cookie})


def test_events_page_by_page_and_later_ones_shift_nothing(serve):
    serving = serve()
    serving.beats(34, "a_b")
    until(lambda: serving.json("/sermant/event/events")["eventCount"]["normal"] == 34, "all events")
    first, page = pages(serving)
    assert set(first) == {"totalPage", "events", "eventCount"}
    assert (first["totalPage"], len(first["events"])) == (4, 10)
    assert first["eventCount"] == {"emergency": 0, "important": 0, "normal": 34}
    serving.beats(5, "later")
    until(lambda: serving.json("/sermant/event/events")["eventCount"]["normal"] == 39, "five more")
    assert page(1).json["events"] == first["events"]
    found = [row["meta"]["instanceId"] for n in (4, 1, 3, 2) for row in page(n).json["events"]]  # in any order
    assert sorted(found) == sorted(f"a_b-{n}" for n in range(34))
    assert page(5).json == {"events": []}
    for bad in (0, -1, "x"):
        assert page(bad).status == 400
    assert page(100_000).json == {"events": []}


def test_an_events_shape_and_the_filters(serve):
    serving = serve()
    serving.beat("shop_1", "one", ip=["10.0.0.1"])
    serving.beat("cart", "two", ip=["10.0.0.2"])
    until(lambda: serving.json("/sermant/event/events")["eventCount"]["normal"] == 2, "the events")
    (event,) = serving.json("/sermant/event/events", service="shop_1")["events"]
    assert event["meta"] == {"service": "shop_1", "ip": "10.0.0.1", "instanceId": "one"}
    assert (event["level"], event["type"]) == ("normal", "operation")
    assert (event["info"]["name"], event["info"]["event"]) == ("SERMANT_START", "INSTANCE_NEW")
    assert set(event) == {"meta", "time", "scope", "level", "type", "info"}
    for query, count in (
        ({"service": ["shop_1", "cart"]}, 2), ({"ip": "10.0.0.2"}, 1), ({"instanceIds": "one"}, 1),
        ({"level": "EMERGENCY"}, 0), ({"level": "normal"}, 2), ({"type": "state"}, 2), ({"type": "LOG"}, 0),
        ({"type": "operation"}, 2), ({"type": ["log", "governance"]}, 0), ({"name": "SERMANT_START"}, 0),
        ({"name": "INSTANCE_NEW"}, 2), ({"scope": "none"}, 0), ({"startTime": event["time"] + 60_000}, 0),
        ({"endTime": event["time"] + 60_000, "startTime": 0}, 2), ({"service": "shopX1"}, 0),
    ):  # fmt: skip
        answer = serving.json("/sermant/event/events", **query)
        assert (len(answer["events"]), sum(answer["eventCount"].values())) == (count, count), query


def test_a_query_expires(serve):
    serving = serve(session_expire="1 s")
    _, page = pages(serving)
    assert page(1).status == 200
    for headers in ({}, {"Cookie": f"{COOKIE}=wrong"}):
        answer = serving.get("/sermant/event/events/page", headers=headers)
        assert (answer.status, answer.json["code"]) == (400, "session")
    # Each use makes it valid anew, so nothing is asked until it must have ended.
    started = serving.json("/api/v1/stats")["uptime_s"]
    until(lambda: serving.json("/api/v1/stats")["uptime_s"] > started + 1.1, "a second")
    assert page(1).json["code"] == "session"


NAMES = {
    "SERMANT_START", "SERMANT_STOP", "SERMANT_SERVICE_START", "SERMANT_SERVICE_STOP", "WARNING", "SEVERE",
    "INSTANCE_REMOVAL", "INSTANCE_RECOVERY",
}  # fmt: skip
"""Names that Sermant's panel knows, among others."""


def test_own_events_have_names_and_types_that_sermants_panel_knows():
    infos = [described(f"INSTANCE_{state.value}", NO_REASON) for state in State]
    infos += [{"name": name} for name in ("ping", "started", "succeeded", "failed", ["no text"], None)] + [{}]
    rows = [event_row(event(1, type=type_, scope="job", info=info)) for info in infos for type_ in ("STATE", "PING")]
    holds = [Hold(), Hold(state=HoldState.HOLDING), Hold(state=HoldState.RELEASING)]
    own = [hold_changed(1, old, new) for old in holds for new in holds if old is not new]
    rows += map(event_row, [*own, stalled(1, 5.0)])
    assert {row["type"] for row in rows} == {"operation"}
    assert {row["info"]["name"] for row in rows} <= NAMES
    assert rows[-1]["info"]["event"] == "MONITOR_STALLED"
    (lost,) = [row for row in rows[::2] if row["info"]["event"] == "INSTANCE_LOST"]
    assert lost["info"]["name"] == "SEVERE"


def test_an_agents_event_stays_as_it_is():
    for info in ({"name": "SERMANT_START"}, {"logLevel": "WARNING"}, {}):
        one = event(1, type="GOVERNANCE", scope="monitor", info=info)  # Sermant has a plugin of this name
        row = event_row(one)
        assert (row["type"], row["info"], row["scope"]) == ("governance", info, "monitor")


@pytest.mark.parametrize(("number", "name"), [(0, "Feishu"), (1, "DingDing")])
def test_webhooks(serve, number, name):
    serving = serve()
    listed = serving.json("/sermant/event/webhooks")
    assert listed["total"] == 2
    assert listed["webhooks"][number] == {"id": number, "url": "", "name": name, "enable": False}
    url = "https://hooks.example/robot/send?access_token=abc"
    done = serving.request("PUT", f"/sermant/event/webhooks/{number}", {"url": url, "enable": True})
    assert (done.status, done.json) == (200, True)
    row = serving.json("/sermant/event/webhooks")["webhooks"][number]
    assert (row["enable"], row["id"]) == (True, number)
    assert "hooks.example" in row["url"]
    assert "abc" not in row["url"]  # its address is a secret
    assert (
        serving.request("PUT", f"/sermant/event/webhooks/{number}", {"url": row["url"], "enable": False}).json is True
    )
    assert serving.json("/sermant/event/webhooks")["webhooks"][number]["enable"] is False
    assert serving.request("PUT", "/sermant/event/webhooks/7", {"url": url, "enable": True}).status == 404
    private = {"url": "https://127.0.0.1/x", "enable": True}
    assert serving.request("PUT", f"/sermant/event/webhooks/{1 - number}", private).status == 400
    assert serving.post("/sermant/event/webhooks/test", {"id": 1 - number}).status == 400
