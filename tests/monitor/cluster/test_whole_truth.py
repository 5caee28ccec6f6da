# SPDX-License-Identifier: MIT
"""Three monitors in processes of their own on one Redis: whichever a user asks, the answer is of the whole fleet."""

from __future__ import annotations

import subprocess
import threading

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import Viewer, WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import command, plain_environ, run_command, until

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
    a, b, _ = fleet.monitors
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


# -- what administrators do, at any monitor, to instances of any other


def test_pause_ack_resume_remove_and_bulk_actions_reach_instances_of_all(fleet):
    names = join(fleet, "acts", timeout_ms=1000)
    everywhere(fleet, lambda one: {row["state"] for row in ids(one, service="acts").values()} == {"LOST"})
    a, b, c = fleet.monitors
    viewers = [Viewer(one) for one in fleet.monitors]
    try:
        for name in names:
            id_ = ids(a, instance=name)[name]["id"]
            assert b.post(f"/api/v1/instances/{id_}/ack", {"by": "me"}).status == 200
        everywhere(fleet, lambda one: all(row["ack"] for row in ids(one, service="acts").values()))
        for viewer in viewers:  # what happened before the others were watched is not in the stream, which says so
            until(
                lambda v=viewer: len({x["id"] for m in v.of("acks") for x in m}) >= 9 or len(v.of("resync")) > 1, "acks"
            )
        id_ = ids(a, instance=names[0])[names[0]]["id"]
        assert c.request("DELETE", f"/api/v1/instances/{id_}/ack").status == 204
        everywhere(fleet, lambda one: ids(one, instance=names[0])[names[0]]["ack"] is None)
        acted = c.post("/api/v1/instances/pause", {"by": "me"}, service="acts")
        assert acted.json == {"matched": 9, "changed": 9}
        everywhere(fleet, lambda one: {row["state"] for row in ids(one, service="acts").values()} == {"PAUSED"})
        acted = a.post("/api/v1/instances/resume", {"by": "me"}, service="acts")
        assert acted.json["changed"] == 9
        acted = b.post("/api/v1/instances/remove", {"by": "me", "why": "gone"}, service="acts")
        assert acted.json == {"matched": 9, "changed": 9}
        everywhere(fleet, lambda one: not ids(one, service="acts"))
        for viewer in viewers:
            until(lambda v=viewer: sum(m["new"] == "REMOVED" for m in v.of("change")) == 9, "changes in each stream")
            seen = [(m["seq"], m["new"]) for m in viewer.of("change") if m["service"] == "acts"]
            assert len(set(seen)) == len(seen)
        found = [one.json("/api/v1/changes", service="acts", limit=1000)["changes"] for one in fleet.monitors]
        assert found[0] == found[1] == found[2]
    finally:
        for viewer in viewers:
            viewer.end()


def test_counts_in_each_stream_are_of_the_whole_fleet(fleet):
    viewers = [Viewer(one, topics=["counts"]) for one in fleet.monitors]
    try:
        join(fleet, "counted")
        for viewer in viewers:
            until(lambda v=viewer: any(m["services"].get("counted", {}) and m["services"]["counted"]["total"] == 9
                                       for m in v.of("counts")), "counts")  # fmt: skip
        total = fleet.monitors[0].json("/api/v1/services")["all"]["total"]
        until(lambda: all(v.of("counts")[-1]["all"]["total"] == total for v in viewers), "the same total")
    finally:
        for viewer in viewers:
            viewer.end()


def runs_of(monitor, key):
    found = ids(monitor, instance=key)
    return monitor.json(f"/api/v1/instances/{found[key]['id']}/runs")["runs"] if found else []


def results_of(monitor, key):
    return [(run["rid"], run["result"]) for run in runs_of(monitor, key)]


def test_runs_of_a_job_whose_pings_go_to_different_monitors(fleet):
    for n in range(6):
        where = fleet.monitors[n % 3 :] + fleet.monitors[: n % 3]
        assert where[0].post(f"/ping/job/start?rid=r{n}").status == 200
        assert where[1].post(f"/ping/job?rid=r{n}", f"half of {n}").status == 200
        word = "fail" if n == 4 else "ok"
        assert where[2].post(f"/ping/job/{word}?rid=r{n}", f"end of {n}").status == 200
        wanted = "FAILED" if n == 4 else "OK"
        everywhere(fleet, lambda one, n=n, wanted=wanted: (f"r{n}", wanted) in results_of(one, "job"))
    for monitor in fleet.monitors:
        until(lambda one=monitor: all(run["begin_ms"] and run["end_ms"] for run in runs_of(one, "job")), "all begins")
        runs = runs_of(monitor, "job")
        assert [(one["rid"], one["text"]) for one in runs] == [(f"r{n}", f"end of {n}") for n in range(5, -1, -1)]
        assert len({one["number"] for one in runs}) == 6


def test_a_run_that_is_overdue_is_so_everywhere_wherever_it_began(fleet):
    a, b, c = fleet.monitors
    a.post("/ping/late-job/ok")
    everywhere(fleet, lambda one: "late-job" in ids(one))
    assert b.post("/ping/late-job/start?rid=x&timeout=1s").status == 200, "start"
    everywhere(fleet, lambda one: ("x", "OVERDUE") in results_of(one, "late-job"))
    assert c.post("/ping/late-job/ok?rid=x").status == 200
    everywhere(fleet, lambda one: ("x", "OVERDUE") not in results_of(one, "late-job"))


def test_uptime_and_heat_are_the_same_everywhere(fleet):
    join(fleet, "up")
    days = [monitor.json("/api/v1/uptime", service="up", days=1)["days"] for monitor in fleet.monitors]
    everywhere(fleet, lambda one: one.json("/api/v1/uptime", service="up", days=1)["days"])
    days = [monitor.json("/api/v1/uptime", service="up", days=1)["days"][0] for monitor in fleet.monitors]
    assert all(0 < one["watched_s"] == one["up_s"] for one in days), days
    assert [one["watched_s"] for one in days] == sorted(one["watched_s"] for one in days)
    assert all(0 < one["observed_s"] < one["watched_s"] for one in days), "nine instances"
    cells = [monitor.json("/api/v1/heat")["cells"] for monitor in fleet.monitors]
    assert cells[0] == cells[1] == cells[2]


def test_events_are_followed_at_each_monitor(fleet):
    """The others are watched only once there is a viewer; that must not end the command."""
    processes = [
        subprocess.Popen(
            command("events", "--follow", "--service", "followed", "--url", one.url), stdout=subprocess.PIPE, text=True,
            env=plain_environ(),
        )
        for one in fleet.monitors
    ]  # fmt: skip
    lines = [[] for _ in processes]
    readers = [
        threading.Thread(target=lambda p=p, to=to: to.extend(iter(p.stdout.readline, "")))
        for p, to in zip(processes, lines, strict=True)
    ]
    for reader in readers:
        reader.start()
    try:
        until(lambda: all(WholeFleet.part(one, "stream")["viewers"] for one in fleet.monitors), "viewers")
        for n in range(20):
            fleet.monitors[n % 3].post("/ping/followed/log", f"text {n}.")
            until(lambda n=n: all(sum(f"text {n}." in line for line in some) == 1 for some in lines), f"text {n}")
        assert all(process.poll() is None for process in processes)
    finally:
        for process in processes:
            process.terminate()
            process.wait(30)
        for reader, process in zip(readers, processes, strict=True):
            reader.join(30)
            process.stdout.close()
