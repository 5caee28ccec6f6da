# SPDX-License-Identifier: MIT
"""Words of the monitors of a fleet about one another: figures, who leads, differing settings, who is silent."""

from __future__ import annotations

import signal

import pytest

pytest.importorskip("redis")

from tests.monitor.cluster.whole import WholeFleet
from tests.monitor.redis.servers import REDIS
from tests.monitor.serving import Serving, until

pytestmark = pytest.mark.skipif(REDIS is None, reason="redis-server is not installed")


@pytest.fixture(scope="module")
def fleet(tmp_path_factory):
    each = ({}, {"lease_timeout": "77 s"})
    made = WholeFleet(tmp_path_factory.mktemp("status"), each=each, cluster_lease="5 s")
    yield made
    made.end()


def sample(monitor, name):
    for line in monitor.get("/metrics").body.decode().splitlines():
        if line.startswith(name + " "):
            return float(line.split()[1])
    return None


def test_metrics_have_own_figures_and_those_of_the_fleet(fleet):
    for k in range(7):
        fleet.monitors[k % 3].beat("figures", f"f{k}", timeoutMs=60_000)
    for monitor in fleet.monitors:
        until(lambda one=monitor: sample(one, 'heartfelt_fleet_instances{state="NEW"}') == 7, "the fleet's gauge")
    own = [sample(one, 'heartfelt_instances{service="figures",state="NEW"}') for one in fleet.monitors]
    assert sum(own) == 7 and max(own) < 7
    assert {sample(one, "heartfelt_fleet_monitors") for one in fleet.monitors} == {3}
    assert sum(sample(one, "heartfelt_membership_leads") for one in fleet.monitors) == 1
    shown = [one.json("/api/v1/stats")["monitors"] for one in fleet.monitors]
    assert all(len(rows) == 3 and sum(row["leads"] for row in rows) == 1 for rows in shown)
    assert len({row["id"] for rows in shown for row in rows if row["asked"]}) == 3


def test_settings_that_differ_are_named_with_both_values(fleet):
    a, b, c = fleet.monitors
    for monitor in (a, c):
        text = until(lambda one=monitor: _about(one, "lease.timeout"), "a warning")
        assert "60" in text and "77" in text, text
        assert "lease.timeout" in monitor.json("/readyz")["fleet"]
        assert "lease.timeout is" in monitor.log
    assert "http.port" not in b.log.split("lease.timeout is")[1]
    assert sample(b, "heartfelt_fleet_settings_differing") == 1


def _about(monitor, name):
    return next((one for one in monitor.json("/api/v1/settings")["warnings"] if one.startswith(name)), None)


def test_a_monitor_that_does_not_answer_is_named(fleet):
    a, b, c = fleet.monitors
    for k in range(6):
        fleet.monitors[k % 3].beat("silent", f"s{k}", timeoutMs=60_000)
    until(lambda: len(a.json("/api/v1/instances", service="silent")["instances"]) == 6, "all")
    c.process.send_signal(signal.SIGSTOP)
    try:
        answer = a.get("/api/v1/instances", service="silent")
        assert answer.status == 200 and answer.headers["heartfelt-missing"]
        assert len(answer.json["instances"]) == 4
        assert b.get("/sermant/getPluginsInfo").headers["heartfelt-missing"] == answer.headers["heartfelt-missing"]
    finally:
        c.process.send_signal(signal.SIGCONT)
    until(lambda: "heartfelt-missing" not in a.get("/api/v1/instances").headers, "an answer of all")
    until(lambda: len(a.json("/api/v1/instances", service="silent")["instances"]) == 6, "all again")


@pytest.mark.parametrize(
    ("field", "value", "says"),
    [("version", "99", "version 99 of their layout"), ("page", "256", "pages of 256 slots"), ("shards", "3", "shards")],
)
def test_a_monitor_with_another_layout_is_refused(fleet, tmp_path, field, value, says):
    before = fleet.redis.ask("HGET", "hf:{f}:cfg", field)
    fleet.redis.ask("HSET", "hf:{f}:cfg", field, value)
    other = Serving("--store", fleet.redis.url, data=tmp_path, tcp_enable="false", udp_enable="false")
    try:
        assert other.wait() != 0
        assert says in other.log and "Traceback" not in other.log, other.log
    finally:
        other.end()
        fleet.redis.ask("HSET", "hf:{f}:cfg", field, before)
