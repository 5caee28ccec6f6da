# SPDX-License-Identifier: MIT
"""Three monitors in processes of their own on one Redis: whichever a user asks, the answer is of the whole fleet."""

from __future__ import annotations

import json
import os
import signal

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import Viewer, WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import run_command, until

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    made = WholeFleet(tmp_path_factory.mktemp("whole"))
    yield made
    made.end()


def everywhere(fleet, what, text="the same everywhere"):
    """Waits until `what(monitor)` is true for each monitor."""
    return until(lambda: all(map(what, fleet.monitors)), text)


def ids(monitor, **query):
    found = monitor.json("/api/v1/instances", limit=1000, **query)["instances"]
    return {one["instance_id"]: one for one in found}


def join(fleet, service, n=9, timeout_ms=60_000, **fields):
    """Instances that join at one monitor after the other. Returns their names."""
    names = [f"{service}-{k}" for k in range(n)]
    for k, name in enumerate(names):
        fleet.monitors[k % len(fleet.monitors)].beat(service, name, timeoutMs=timeout_ms, **fields)
    everywhere(fleet, lambda one: len(ids(one, service=service)) == n)
    return names


def texts_of(monitor, **query):
    found = monitor.json("/api/v1/events", service="paged", name="logged", limit=100, **query)["events"]
    return [one["info"]["text"] for one in found]


def test_lists_counts_sermant_and_commands_show_everything_at_each(fleet):
    names = join(fleet, "lists", version="1.2")
    for monitor in fleet.monitors:
        assert sorted(ids(monitor, service="lists")) == names
        assert monitor.json("/api/v1/services")["services"]["lists"]["total"] == 9
        rows = [one for one in monitor.json("/sermant/getPluginsInfo") if one["service"] == "lists"]
        assert sorted(one["instanceId"] for one in rows) == names
        assert all(one["health"] for one in rows)
        shown = run_command("ls", "--url", monitor.url)
        assert all(name in shown.stdout for name in names), shown.stdout + shown.stderr
        listed = monitor.json("/api/v1/fleet")
        at = listed["services"].index("lists")
        assert sum(row[1] == at for row in listed["rows"]) == 9


def test_names_and_metadata_of_any_form_and_answers_of_many_megabytes(fleet):
    a, b, c = fleet.monitors
    odd = ["{a}", "*?[x]", "{}{1}", "%s", "'", '"', "a:b", "\\", "ü{ß}", "a b", "$1", "KEYS[1]"]
    for k, name in enumerate(odd):
        fleet.monitors[k % 3].beat("{svc}*", name, timeoutMs=60_000)
    everywhere(fleet, lambda one: sorted(ids(one, service="{svc}*")) == sorted(odd))
    for text in ("a\nb", "\0"):
        assert a.post("/api/v1/beats", {"service": "x", "instanceId": text}).status == 400
    text = "{}*\n[%s]" * 7_000
    for k in range(90):
        plugin = {"k": {"name": "k", "version": "1", "extInfo": {"text": text}}}
        b.beat("large", f"large-{k}", timeoutMs=60_000, pluginInfoMap=plugin)
    everywhere(fleet, lambda one: len(ids(one, service="large")) == 90)
    sizes = set()
    for monitor in fleet.monitors:
        answer = monitor.get("/api/v1/instances", service="large", limit=1000, ext="true")
        assert answer.status == 200 and "heartfelt-missing" not in answer.headers, answer.body[:500]
        sizes.add(len(answer.body))
        rows = [one for one in monitor.json("/sermant/getPluginsInfo") if one["service"] == "large"]
        assert len(rows) == 90
        assert {one["pluginInfoMap"][0]["extInfo"]["text"] for one in rows} == {text}
    assert min(sizes) > 90 * 50_000


def test_pages_of_sermants_events_behind_a_balancer(fleet):
    fleet.monitors[0].post("/ping/paged", "")
    for k in range(25):
        assert fleet.monitors[k % 3].post("/ping/paged/log", f"text {k}").status == 200
    texts = sorted(f"text {k}" for k in range(25))
    everywhere(fleet, lambda one: sorted(texts_of(one, text="text ")) == texts)
    everywhere(fleet, lambda one: texts_of(one, text="text 17") == ["text 17"])
    everywhere(fleet, lambda one: not texts_of(one, level="EMERGENCY"))
    a, b, c = fleet.monitors
    first = a.get("/sermant/event/events", service="paged", name="logged")
    cookie = {"Cookie": first.headers["set-cookie"].split(";")[0]}
    assert first.json["totalPage"] == 3
    found = [one["info"]["text"] for one in first.json["events"]]
    for page, monitor in ((2, b), (3, c)):
        rows = monitor.json("/sermant/event/events/page", page=page, headers=cookie)["events"]
        found += [one["info"]["text"] for one in rows]
    assert sorted(found) == texts
    assert c.get("/sermant/event/events/page", page=1, headers={"Cookie": "JSESSIONID=none"}).status == 400
