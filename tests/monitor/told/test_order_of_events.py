# SPDX-License-Identifier: MIT
"""Events of agents, which come late: their order, pages and names, as `/sermant/` and `/api/v1/` give them."""

from __future__ import annotations

import socket
import time

import pytest

from tests.monitor.serving import PATIENCE_S, run_command, until
from tests.sermant_frames import ORDERS, beat, event, events, frame, log, recorded

SERMANT = "/sermant/event/events"
OURS = "/api/v1/events"


@pytest.fixture
def serving(serve):
    return serve()


@pytest.fixture
def now_ms():
    return time.time_ns() // 1_000_000


def send(serving, *frames):
    with socket.create_connection(serving.ready["tcp"], PATIENCE_S) as connection:
        connection.sendall(b"".join(frames))


def stored(serving, count, **which):
    until(lambda: sum(serving.json(f"{OURS}/counts", **which).values()) == count, f"{count} events")


def sermant(serving, **query):
    """The first page, and the function for the others."""
    first = serving.get(SERMANT, **query)
    assert first.status == 200, first.body
    headers = {"Cookie": first.headers["set-cookie"].split(";")[0]}
    return first.json, lambda n: serving.json(f"{SERMANT}/page", page=n, headers=headers)["events"]


def all_pages(serving, **query):
    found, before = [], None
    while True:
        page = serving.json(OURS, before=before, **query)
        found += page["events"]
        if (before := page["before"]) is None:
            return found


def test_newest_first_however_late_they_come(serving, now_ms):
    late = [event(now_ms - 1000 * n) for n in (40, 90, 60)]
    send(serving, frame(beat("shop", "a", now_ms), events("a", *late)))
    stored(serving, 3, scope="framework")
    send(serving, frame(beat("shop", "b", now_ms), events("b", *(event(now_ms - 1000 * n) for n in (120, 50, 1)))))
    stored(serving, 6, scope="framework")
    expected = [now_ms - 1000 * n for n in (1, 40, 50, 60, 90, 120)]
    first, _ = sermant(serving, scope="framework")
    assert [one["time"] for one in first["events"]] == expected
    assert [one["time_ms"] for one in serving.json(OURS, scope="framework")["events"]] == expected
    for query in ({"service": "shop"}, {"level": "NORMAL"}, {"name": "TEST"}, {"start_ms": 0}, {"text": "TEST"}):
        times = [one["time_ms"] for one in serving.json(OURS, **query)["events"] if one["type"] == "OPERATION"]
        assert times == expected, query
    listed = run_command("events", "--url", serving.url, "--json", "--limit", 50).stdout.splitlines()
    assert [str(at_ms) in line for at_ms, line in zip(expected[::-1], listed, strict=False)] == [True] * 6


def test_no_page_skips_or_repeats_an_event_while_late_ones_come(serving, now_ms):
    at = [now_ms - 1000 * n for n in range(1, 36)]
    send(serving, frame(beat("shop", "a", now_ms), events("a", *map(event, at))))
    stored(serving, 35, scope="framework")
    query = {"scope": "framework", "startTime": 0, "endTime": now_ms}
    first, page = sermant(serving, **query)
    assert (first["totalPage"], first["eventCount"]["normal"]) == (4, 35)
    ours = serving.json(OURS, scope="framework", limit=10)
    by_number = ours["events"][-1]["number"]

    late = [now_ms - 500, at[4] - 1, at[14] - 1, at[30] - 1]
    send(serving, frame(events("a", *map(event, late))))
    stored(serving, 39, scope="framework")
    pages = [page(n) for n in (1, 2, 3, 4)]
    assert [one["time"] for rows in pages for one in rows] == at  # as it was when it was asked
    assert pages[0] == first["events"]
    assert page(5) == []

    rest = all_pages(serving, scope="framework", limit=10)
    assert [one["time_ms"] for one in rest] == sorted(at + late, reverse=True)
    expected = [one for one in sorted(at + late, reverse=True) if one < at[9]]
    for before in (ours["before"], by_number):  # clients may still give a number
        page = serving.json(OURS, scope="framework", limit=100, before=before)
        assert [one["time_ms"] for one in page["events"]] == expected
        assert page["before"] is None


def test_a_clock_that_is_ahead_keeps_nothing_on_top_and_is_shown(serving, now_ms):
    far_ms = now_ms + 86_400_000
    send(serving, frame(beat("shop", "a", far_ms), events("a", event(far_ms, "AHEAD"))))
    stored(serving, 1, name="AHEAD")
    serving.beat("shop", "b")
    until(lambda: serving.json(OURS, limit=1)["events"][0]["instance_id"] == "b", "what came after it")
    first, _ = sermant(serving, name="AHEAD", startTime=far_ms, endTime=far_ms)
    assert [one["time"] for one in first["events"]] == [far_ms]


def test_logs_have_the_names_and_scopes_that_they_were_sent_with(serving):
    send(serving, recorded("heartbeat_plugins_ext_info"), recorded("events_start"))
    stored(serving, 9, instance=ORDERS, type=["LOG", "OPERATION"])
    first, _ = sermant(serving, name="WARNING")
    (row,) = first["events"]
    assert (row["type"], row["scope"], row["meta"]["service"]) == ("log", None, "orders-svc")
    assert first["eventCount"] == {"emergency": 0, "important": 1, "normal": 0}
    (one,) = serving.json(OURS, name="WARNING")["events"]
    assert (one["scope"], one["type"], one["info"]["logLevel"]) == (None, "LOG", "WARNING")
    first, _ = sermant(serving, instanceIds=ORDERS, scope="framework")
    assert [row["info"]["name"] for row in first["events"]] == [
        "SERMANT_START", *["SERMANT_PLUGIN_LOAD"] * 5, *["SERMANT_SERVICE_START"] * 2,
    ]  # fmt: skip
    times = [one["time_ms"] for one in serving.json(OURS, instance=ORDERS, type=["LOG", "OPERATION"])["events"]]
    assert times == sorted(times, reverse=True)


def test_events_of_an_instance_removed_before_have_its_service_after_a_restart_too(serve, tmp_path, now_ms):
    serving = serve(data=tmp_path / "data")
    send(serving, frame(beat("shop", "gone", now_ms)))
    until(lambda: serving.find("gone"), "its heartbeat")
    assert serving.request("DELETE", f"/api/v1/instances/{serving.find('gone')['id']}").status == 204
    for count in (1, 2):
        send(serving, frame(events("gone", log(now_ms + count))))
        stored(serving, count, service="shop", name="WARNING")
        if count == 1:
            assert serving.stop() == 0
            serving = serve(data=tmp_path / "data")


def test_the_list_of_instances_has_what_sermants_panel_reads(serving):
    names = ("heartbeat_plugins_ext_info", "heartbeat_utf8_underscore", "heartbeat_external_agent", "heartbeat_v1_1_0")
    send(serving, *map(recorded, names), recorded("messages_12"))
    rows = until(lambda: len(found := serving.json("/sermant/getPluginsInfo")) == 5 and found, "five instances")
    by_service = {row["service"]: row for row in rows}
    assert all({"lastHeartbeatTime", "dynamicInstall", "externalAgentInfoMap"} <= set(row) for row in rows)
    old = by_service["old-svc"]
    assert (old["heartbeatTime"], old["lastHeartbeatTime"]) == (1795985042922, 1795985042607)
    assert (old["dynamicInstall"], old["externalAgentInfoMap"]) == (False, {})
    chinese = by_service["订单_svc"]
    assert (chinese["heartbeatTime"], chinese["lastHeartbeatTime"]) == (1795983667868, 1795983664888)
    assert {"name": "nover", "version": "unknown"} in chinese["pluginInfoMap"]
    assert chinese["pluginInfoMap"][0]["extInfo"]["中文"] == "值 <b>&\"'"
    others = [row["externalAgentInfoMap"] for row in rows if row["service"] == "orders-svc"]
    assert {"OTHER": {"name": "OTHER", "version": "2.11.0"}} in others
    assert by_service["multi-extra"]["lastHeartbeatTime"] == 0
    send(serving, *[frame(beat("shop", "i", 1_700_000_000_000 + n, lastHeartbeatTime=n)) for n in range(40)])
    until(lambda: (one := serving.find("i")) and one["beats"] == 40, "40 heartbeats")
    (row,) = [row for row in serving.json("/sermant/getPluginsInfo") if row["instanceId"] == "i"]
    assert (row["heartbeatTime"], row["lastHeartbeatTime"]) == (1_700_000_000_039, 39)


def test_the_monitors_own_events_have_names_and_types_there(serve):
    serving = serve(lease_timeout="1 s")
    serving.beat("shop", "one")
    serving.post("/ping/job/fail", b"disk full")
    until(lambda: serving.json(f"{OURS}/counts", name="INSTANCE_LOST")["EMERGENCY"], "the loss")
    first, _ = sermant(serving)
    assert {row["type"] for row in first["events"]} == {"operation"}
    assert {row["info"]["name"] for row in first["events"]} <= {"SERMANT_START", "SEVERE", "WARNING"}
    assert {"INSTANCE_NEW", "INSTANCE_LOST", "failed"} <= {row["info"]["event"] for row in first["events"]}
    (failed,) = [row["info"] for row in first["events"] if row["info"]["event"] == "failed"]
    assert failed["description"] == "disk full"
    by_type, _ = sermant(serving, type="operation", endTime=max(row["time"] for row in first["events"]))
    assert by_type["events"][-1] == first["events"][-1]
