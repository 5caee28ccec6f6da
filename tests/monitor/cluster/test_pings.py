# SPDX-License-Identifier: MIT
"""Pings whose meaning depends on which keys there are, where the keys are of other monitors. ingest/foreign.py has the
table."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.model import State
from tests.monitor.cluster.test_owned import TIMEOUT
from tests.monitor.fleet.world import NO_HOLD


@pytest.fixture
def fleet(make_fleet):
    return make_fleet(3, policy=TIMEOUT)


@pytest.fixture
def nodes(fleet):
    return fleet.nodes


def keys(fleet):
    return sorted(key for _, key in fleet.truth.entries)


def results(fleet, key):
    service, _, _ = key.rpartition("/")
    return [run.result.value for run in fleet.truth.entries[service or key, key].runs.values()]


def settled(fleet, node, path, **options):
    status = node.ping(path, **options)
    fleet.settle()
    return status


def test_an_exit_status_of_a_new_job_is_one_whoever_hears_it(fleet, nodes):
    a, b, _ = nodes
    assert settled(fleet, a, "/ping/backup/0") == 200
    assert settled(fleet, b, "/ping/backup/3") == 200  # not known here: the fleet has no backup/3
    assert keys(fleet) == ["backup"]
    assert results(fleet, "backup") == ["OK", "FAILED"]
    assert a.find("backup").state is State.FAILED
    assert b.owners.asked == [(("backup", "backup/3"), False), (("backup", "backup"), True)]
    assert settled(fleet, b, "/ping/backup/0") == 200  # now it is known that backup is a job
    assert len(b.owners.asked) == 2
    assert results(fleet, "backup") == ["OK", "FAILED", "OK"]


@pytest.mark.parametrize("rid", ["", "?rid=r"])
def test_an_end_that_overtakes_the_start_at_another_monitor_ends_that_run(fleet, nodes, rid):
    """A run is shorter than the way of its start to the owner: it must not begin again, and be overdue later."""
    a, b, _ = nodes
    settled(fleet, a, "/ping/backup/0")
    settled(fleet, b, "/ping/backup/0")
    for _ in range(3):
        b.ping("/ping/backup/start", query=rid[1:].encode())
        fleet.truth.clock.advance(0.01)
        a.ping("/ping/backup/ok", query=rid[1:].encode())
        fleet.settle()
        runs = list(fleet.truth.entries["backup", "backup"].runs.values())
        assert {run.result.value for run in runs} == {"OK"}
        assert runs[-1].begin_ms is not None and 0 < runs[-1].duration_ms < 1000
    assert len(runs) == 5


@pytest.mark.parametrize("is_new", [True, False])
def test_a_plain_ping_that_overtakes_the_start_ends_that_run(fleet, nodes, is_new):
    """A short job behind a balancer: its run must not go on, and be overdue later."""
    a, b, _ = nodes
    if not is_new:
        settled(fleet, a, "/ping/backup/start")
        settled(fleet, a, "/ping/backup")
        settled(fleet, b, "/ping/backup")
        fleet.truth.clock.advance(5)
    for _ in range(3):
        b.ping("/ping/backup/start")
        fleet.truth.clock.advance(0.01)
        a.ping("/ping/backup")
        fleet.settle()
        runs = list(fleet.truth.entries["backup", "backup"].runs.values())
        assert {run.result.value for run in runs} == {"OK"}
        assert runs[-1].begin_ms is not None and 0 < runs[-1].duration_ms < 1000
        fleet.truth.clock.advance(1)
    assert len(runs) == 3 + (not is_new)


def test_an_end_that_comes_after_the_next_start_does_not_end_that_run(fleet, nodes):
    """The next run may hang, and must be found to be overdue."""
    a, b, _ = nodes
    settled(fleet, a, "/ping/backup/start")
    settled(fleet, a, "/ping/backup")
    settled(fleet, b, "/ping/backup")
    for end in ("/ping/backup", "/ping/backup/ok"):
        fleet.truth.clock.advance(5)
        settled(fleet, a, "/ping/backup/start")
        fleet.truth.clock.advance(5)
        b.ping(end)
        fleet.truth.clock.advance(0.05)
        a.ping("/ping/backup/start")
        fleet.settle()
        assert "RUNNING" in results(fleet, "backup")
        settled(fleet, a, "/ping/backup")
        assert "RUNNING" not in results(fleet, "backup")


def test_a_jobs_exit_status_waits_for_nobody_at_its_owner(fleet, nodes):
    a = nodes[0]
    settled(fleet, a, "/ping/backup/start")
    fleet.truth.reachable = False
    n = len(a.owners.asked)
    assert a.ping("/ping/backup/1") == 200
    assert a.find("backup").state is State.FAILED and len(a.owners.asked) == n


def test_a_numbered_key_of_another_monitor_is_beaten(fleet, nodes):
    a, b, _ = nodes
    a.udp("svc/1")
    fleet.settle()
    assert settled(fleet, b, "/ping/svc/1") == 200
    assert keys(fleet) == ["svc/1"]
    assert a.find("svc/1").beats == 2 and a.find("svc/1").via == "ping"
    assert settled(fleet, b, "/ping/svc/1") == 200  # by its shadow
    assert a.find("svc/1").beats == 3


def test_where_there_are_numbered_keys_a_new_number_is_refused_at_once(fleet, nodes):
    a, b, _ = nodes
    a.udp("svc/1")
    fleet.settle()
    assert settled(fleet, a, "/ping/svc/2") == 400
    assert settled(fleet, b, "/ping/svc/1") == 200
    assert settled(fleet, b, "/ping/svc/2") == 400  # b has a shadow of svc/1
    assert keys(fleet) == ["svc/1"]


def test_a_number_that_can_mean_either_is_refused_where_both_are_known(fleet, nodes):
    a, b, _ = nodes
    a.udp("svc/1")
    fleet.settle()
    settled(fleet, a, "/ping/svc/start")
    assert settled(fleet, a, "/ping/svc/1") == 400
    b.udp("svc/1")
    settled(fleet, b, "/ping/svc/ok")
    assert settled(fleet, b, "/ping/svc/1") == 400
    assert settled(fleet, b, "/ping/svc/1", query=b"event=exit") == 200  # it says which
    assert results(fleet, "svc")[-1] == "FAILED"


def test_a_word_that_does_not_exist_is_refused_after_the_fleet_was_asked(fleet, nodes):
    a, b, _ = nodes
    settled(fleet, a, "/ping/backup")
    assert settled(fleet, a, "/ping/backup/finished") == 200  # backup/finished may be another monitor's key
    assert a.intake.counters.refused["ping", "word"] == 1
    assert settled(fleet, b, "/ping/backup/finished") == 200  # nothing of it is known here: a new key
    assert keys(fleet) == ["backup", "backup/finished"]
    assert settled(fleet, a, "/ping/backup/finished") == 200
    assert a.intake.counters.refused["ping", "word"] == 1
    assert b.find("backup/finished").beats == 2


def test_a_key_with_a_word_in_it_is_refused_after_the_fleet_was_asked(fleet, nodes):
    a, b, _ = nodes
    assert settled(fleet, a, "/ping/jobs/fail/now") == 200
    assert a.intake.counters.refused["ping", "key"] == 1
    assert settled(fleet, a, "/ping", query=b"key=jobs/fail/now") == 200
    assert settled(fleet, b, "/ping/jobs/fail/now") == 200
    assert keys(fleet) == ["jobs/fail/now"] and a.find("jobs/fail/now").beats == 2


def test_what_is_wrong_in_itself_is_refused_at_once(fleet, nodes):
    for path, query in (
        ("/ping/", b""),
        ("/ping/a//b", b""),
        ("/ping/a", b"timeout=never"),
        ("/ping/a/log", b"duration=3"),
        ("/ping/" + "x" * 600, b""),
        ("/ping/a", b"nope=1"),
    ):
        assert nodes[0].ping(path, query=query) == 400, path
    fleet.settle()
    assert fleet.truth.entries == {} and nodes[0].owners.asked == []


def test_a_text_that_is_only_to_be_kept_asks_nobody(fleet, nodes):
    assert settled(fleet, nodes[0], "/ping/backup/log", body=b"hello") == 200
    assert nodes[0].owners.asked == [] and [one.info["text"] for one in nodes[0].events] == ["hello"]


def test_runs_move_with_their_instance(make_fleet):
    fleet = make_fleet(2, policy=Policy(services={"backup": ServicePolicy(lease_timeout_ms=6000)}, hold=NO_HOLD))
    a, b = fleet.nodes
    settled(fleet, a, "/ping/backup/start", query=b"rid=7&timeout=1h")
    for _ in range(8):
        settled(fleet, b, "/ping/backup", query=b"rid=7")
        fleet.advance(1.0)
    assert fleet.truth.entries["backup", "backup"].owner == "b"
    assert a.registry.stats()["runs_open"] == 0 and b.registry.stats()["runs_open"] == 1
    settled(fleet, b, "/ping/backup/ok", query=b"rid=7")
    assert results(fleet, "backup") == ["OK"]
