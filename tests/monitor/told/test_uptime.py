# SPDX-License-Identifier: MIT
"""The uptime that a monitor tells: of those who have left, are paused, are stuck, or are down for a long time."""

from __future__ import annotations

import time

import pytest

from tests.monitor.serving import until

TIMES = ("watched_s", "up_s", "observed_s", "available_s")


@pytest.fixture
def serving(serve):
    """A monitor, and a service "clock" with one instance that is up all the time."""
    of_services = ("web.min_up=2", "nightly.timeout=1 s", "nightly.cache=1500 ms")
    one = serve(*(part for pair in of_services for part in ("--set", f"service.{pair}")))
    one.beat("clock", "hand", timeoutMs=600_000)
    return one


def times(serving, *services):
    """The times of each service at one moment, in the order of TIMES: of all days, since a test may run at midnight."""
    days = serving.json("/api/v1/uptime", service=services)["days"]
    return [[sum(day[name] for day in days if day["service"] == service) for name in TIMES] for service in services]


def added(serving, service, seconds=1.5):
    """The times that are added while the clock goes on by so much; and by how much it went on exactly."""
    before, clock = times(serving, service, "clock")

    def later():
        now = times(serving, service, "clock")
        return now if now[1][0] >= clock[0] + seconds else None

    after, clock_after = until(later, "the time")
    return [new - old for new, old in zip(after, before, strict=True)], clock_after[0] - clock[0]


def same(seconds):
    return pytest.approx(seconds, abs=0.005)  # each figure is rounded to ms


def test_replicas_that_said_goodbye_are_not_down(serving):
    serving.beats(10, "api")
    for n in range(9):
        serving.beat("api", f"api-{n}", goodbye=True)
    (watched_s, up_s, observed_s, available_s), clock_s = added(serving, "api")
    assert watched_s == same(observed_s) and watched_s == same(clock_s)  # one is watched, not ten
    assert up_s == same(watched_s) and available_s == same(observed_s)
    for day in serving.json("/api/v1/uptime", service="api")["days"]:
        assert (day["up_s"], day["available_s"]) == (day["watched_s"], day["observed_s"])
        assert (day["losses"], day["failures"]) == (0, 0)


def test_who_is_paused_is_not_watched_whether_it_beats_or_not(serving):
    serving.beat("batch")
    path = f"/api/v1/instances/{serving.find('one')['id']}"
    assert serving.post(f"{path}/pause", {"for_s": 600}).status == 200
    serving.beat("batch")
    assert added(serving, "batch")[0] == [0.0] * 4
    ((watched_s, up_s, *_),) = times(serving, "batch")
    assert watched_s == up_s
    assert serving.post(f"{path}/resume").status == 200
    (watched_s, up_s, *_), clock_s = added(serving, "batch")
    assert watched_s == same(up_s) and watched_s == same(clock_s)


def test_who_is_stuck_is_down(serving):
    serving.beat("worker", lagMs=0)
    serving.beat("worker", lagMs=60_000)
    assert serving.find("one")["state"] == "STUCK"
    (watched_s, up_s, observed_s, available_s), clock_s = added(serving, "worker")
    assert watched_s == same(observed_s) and watched_s == same(clock_s)
    assert (up_s, available_s) == (0.0, 0.0)


def test_a_job_that_failed_is_down_until_it_succeeds(serving):
    assert serving.post("/ping/report/fail", "disk full", timeout="10m").status == 200
    (watched_s, up_s, observed_s, available_s), clock_s = added(serving, "report")
    assert watched_s == same(observed_s) and watched_s == same(clock_s)
    assert (up_s, available_s) == (0.0, 0.0)
    days = serving.json("/api/v1/uptime", service="report")["days"]
    assert (sum(day["failures"] for day in days), sum(day["losses"] for day in days)) == (1, 0)
    assert serving.post("/ping/report/ok").status == 200
    (watched_s, up_s, *_), clock_s = added(serving, "report")
    assert watched_s == same(up_s) and watched_s == same(clock_s)


def test_an_outage_of_what_is_expected_counts_until_it_beats(serving):
    for _ in range(2):
        assert serving.get("/ping/nightly").status == 200
    until(lambda: serving.find("nightly")["state"] == "LOST", "its loss")
    added(serving, "nightly", 2.5)  # beyond its cache time
    (watched_s, up_s, observed_s, available_s), clock_s = added(serving, "nightly")
    assert watched_s == same(observed_s) and watched_s == same(clock_s)
    assert (up_s, available_s) == (0.0, 0.0)
    assert sum(day["losses"] for day in serving.json("/api/v1/uptime", service="nightly")["days"]) == 1
    assert serving.get("/ping/nightly", timeout="10m").status == 200
    (watched_s, up_s, *_), clock_s = added(serving, "nightly")
    assert watched_s == same(up_s) and watched_s == same(clock_s)


def test_a_service_is_available_if_enough_of_it_is_up(serving):
    serving.beat("web", "one")
    (watched_s, up_s, observed_s, available_s), clock_s = added(serving, "web")
    assert watched_s == same(up_s) and watched_s == same(observed_s) and watched_s == same(clock_s)
    assert available_s == 0.0
    serving.beat("web", "two")
    (watched_s, _, observed_s, available_s), clock_s = added(serving, "web")
    assert watched_s == same(2 * observed_s)
    assert available_s == same(observed_s) and available_s == same(clock_s)


def test_days_are_kept_over_a_restart_and_metrics_count_since_it(serving, serve):
    added(serving, "clock")
    ((before_s, *_),) = times(serving, "clock")
    begun_s = time.monotonic()
    assert serving.stop() == 0
    ended_s = time.monotonic()
    again = serve()
    asked_s = time.monotonic()
    metrics = again.get("/metrics").body.decode().splitlines()
    counted = {line.split("{")[0]: float(line.split()[-1]) for line in metrics if 'service="clock"' in line}
    names = [f"heartfelt_service_{name.removesuffix('_s')}_seconds_total" for name in TIMES]
    assert len({counted[name] for name in names}) == 1
    ((after_s, *_),) = times(again, "clock")
    uncounted_s = ended_s - begun_s + time.monotonic() - asked_s
    assert 0 < after_s - before_s - counted[names[0]] < uncounted_s
