# SPDX-License-Identifier: MIT
"""While a monitor of a fleet does not answer: the others answer in bounded time, and say what is missing."""

from __future__ import annotations

import contextlib
import signal

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.web.api.federated import Federated, Streamed
from heartfelt.monitor.web.api.routes import ENDPOINTS
from tests.monitor.cluster.test_whole_truth_takeover import rows
from tests.monitor.cluster.whole import Viewer, WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import run_command, until

pytestmark = [
    pytest.mark.skipif(REDIS is None, reason="redis-server is not installed"),
    pytest.mark.time_limit(120, reason="monitors start, and one of them does not answer for a while"),
]
N = 30


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    """A monitor that is stopped for a while stays a member: its lease is long."""
    made = WholeFleet(tmp_path_factory.mktemp("missing"), cluster_lease="30 s")
    for n in range(N):
        made.monitors[n % 3].beat("shop", f"i{n:02}", timeoutMs=600_000)
    for one in made.monitors:
        until(lambda one=one: len(names(one)) == N, "all everywhere")
    yield made
    made.end()


def names(monitor):
    found = monitor.json("/api/v1/instances", service="shop", limit=1000)["instances"]
    return sorted(one["instance_id"] for one in found)


def address(monitor):
    return next(one["address"] for one in monitor.json("/api/v1/stats")["monitors"] if one["asked"])


@contextlib.contextmanager
def stopped(monitor):
    monitor.process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        monitor.process.send_signal(signal.SIGCONT)


def samples(monitor, name):
    """The values of a metric, by its labels as text."""
    lines = monitor.get("/metrics").body.decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if line.partition("{")[0].split()[0] == name)
    return {labels.removeprefix(name): float(value) for labels, _, value in pairs}


@pytest.mark.parametrize("sort", ["instance_id", "-instance_id", "id", "state"])
def test_a_list_by_pages_has_the_instances_of_all_owners_once_in_order(fleet, sort):
    lists = []
    for monitor in fleet.monitors:
        found, cursor = [], None
        while True:
            page = monitor.json("/api/v1/instances", service="shop", sort=sort, limit=7, cursor=cursor)
            found += [one["instance_id"] for one in page["instances"]]
            assert page["matched"] == N
            cursor = page["cursor"]
            if cursor is None:
                break
        lists.append(found)
    assert lists[0] == lists[1] == lists[2]
    assert sorted(lists[0]) == [f"i{n:02}" for n in range(N)]
    if "instance" in sort:
        assert lists[0] == sorted(lists[0], reverse=sort.startswith("-"))


def test_pages_may_be_asked_from_different_monitors(fleet):
    found, cursor, k = [], None, 0
    while True:
        page = fleet.monitors[k % 3].json(
            "/api/v1/instances", service="shop", sort="instance_id", limit=4, cursor=cursor
        )
        found += [one["instance_id"] for one in page["instances"]]
        cursor, k = page["cursor"], k + 1
        if cursor is None:
            break
    assert found == [f"i{n:02}" for n in range(N)]


def test_own_figures_add_up_to_those_of_the_fleet(fleet):
    own = [sum(samples(one, "heartfelt_instances").values()) for one in fleet.monitors]
    assert sum(own) == N and all(0 < n < N for n in own)
    for monitor in fleet.monitors:
        assert sum(samples(monitor, "heartfelt_fleet_instances").values()) == N
    beats = [samples(one, "heartfelt_beats_total")[""] for one in fleet.monitors]
    assert sum(beats) == N


def merged():
    """Lists and figures that all monitors make together, and that need nothing but the path."""
    for one in ENDPOINTS:
        if one.method == "GET" and isinstance(one.handler, (Federated, Streamed)) and "{" not in one.path:
            if one.path.endswith("/page"):  # it needs a query that went before
                continue
            yield one.path


def test_each_answer_without_a_monitor_names_it_and_comes_nevertheless(fleet):
    a, b, c = fleet.monitors
    silent = address(c)
    paths = list(merged())
    assert "/api/v1/instances" in paths and "/api/v1/services" in paths
    with stopped(c):
        for monitor in (a, b):
            for path in paths:
                query = {"service": "shop"} if "uptime" in path else {}
                answer = monitor.get(path, **query)
                assert answer.status == 200, (path, answer.body)
                assert silent in answer.headers["heartfelt-missing"], path
            assert len(names(monitor)) == N * 2 // 3
            assert sum(samples(monitor, "heartfelt_fleet_instances").values()) >= N * 2 // 3
            assert samples(monitor, "heartfelt_fleet_monitors_silent") == {"": 1}
        refused = a.post("/api/v1/instances/pause", {"by": "me"}, service="nobody")
        assert refused.status == 503 and refused.json["code"] == "monitors_missing" and silent in refused.json["detail"]
        listed = run_command("ls", "--service", "shop", "--url", a.url)
        assert listed.returncode == 0 and len(listed.stdout.splitlines()) == 1 + N * 2 // 3
        assert f"({silent})" in listed.stderr and "may be missing" in listed.stderr
    until(lambda: len(names(a)) == N and "heartfelt-missing" not in a.get("/api/v1/instances").headers, "all again")
    listed = run_command("ls", "--service", "shop", "--url", a.url)
    assert listed.stderr == "" and len(listed.stdout.splitlines()) == 1 + N


def test_the_others_streams_go_on(fleet):
    a, b, c = fleet.monitors
    viewer = Viewer(a, topics=["change"])
    try:
        until(lambda: WholeFleet.part(a, "relay")["watching"] == 2, "watches")
        with stopped(c):
            b.beat("stream", "short", timeoutMs=1000)
            until(lambda: any((m["instance_id"], m["new"]) == ("short", "LOST") for m in viewer.of("change")), "a loss")
        assert b.request("DELETE", f"/api/v1/instances/{b.find('short')['id']}").status == 204
    finally:
        viewer.end()


def test_top_says_what_is_missing_and_becomes_whole_again(fleet):
    pytest.importorskip("textual")
    from tests.cli.top_screen import run, screen_of

    a, _, c = fleet.monitors
    silent = address(c)

    async def main():
        c.process.send_signal(signal.SIGSTOP)
        async with screen_of(a.url, size=(160, 30)) as screen:
            await screen.shows(f"({silent}): instances may be missing or out of date", "3 monitors")
            c.process.send_signal(signal.SIGCONT)
            await screen.until(lambda: len(screen.app.fleet.rows) == N, "all instances")
            await screen.until(lambda: "may be missing" not in screen.text, "nothing is missing")

    try:
        run(main())
    finally:
        c.process.send_signal(signal.SIGCONT)


def test_top_says_that_redis_cannot_be_used(fleet):
    pytest.importorskip("textual")
    from tests.cli.top_screen import run, screen_of

    async def main():
        async with screen_of(fleet.monitors[0].url, size=(160, 30)) as screen:
            await screen.shows("3 monitors")
            with fleet.redis.stopped():
                await screen.shows("degraded, losses that need Redis are held: Redis at")
            await screen.until(lambda: "degraded" not in screen.text, "Redis is back")

    run(main())


def test_after_a_monitor_was_killed_the_other_one_lists_everything(tmp_path):
    fleet = WholeFleet(tmp_path, n=2)
    try:
        a, b = fleet.monitors
        for n in range(N):
            fleet.monitors[n % 2].beat("shop", f"i{n:02}", timeoutMs=600_000)
        until(lambda: len(names(a)) == N, "all")
        until(lambda: rows(fleet.redis) == N, "their rows")
        b.process.kill()
        until(lambda: len(a.json("/api/v1/stats")["monitors"]) == 1, "the end of its lease")
        until(lambda: len(names(a)) == N, "all are taken over")
        listed = run_command("ls", "--service", "shop", "--url", a.url)
        assert listed.stderr == "" and len(listed.stdout.splitlines()) == 1 + N
        until(lambda: sum(samples(a, "heartfelt_instances").values()) == N, "all are its own")
        assert sum(samples(a, "heartfelt_fleet_instances").values()) == N
        assert samples(a, "heartfelt_fleet_monitors") == {"": 1}
    finally:
        fleet.end()
