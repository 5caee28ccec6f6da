# SPDX-License-Identifier: MIT
"""The timeout that applies: a beat's, its service's, or the default; and what is said about it."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet.policy import Policy, ServicePolicy
from heartfelt.monitor.fleet.terms import TermsSource
from heartfelt.monitor.model import State
from tests.monitor.fleet.world import NO_HOLD, World, saved

MINUTE = 60_000
DAY = 24 * 60 * MINUTE
SERVICES = {
    "timed": ServicePolicy(lease_timeout_ms=20_000, lease_every_ms=MINUTE),
    "every": ServicePolicy(lease_every_ms=10_000),
    "graced": ServicePolicy(lease_every_ms=10_000, lease_grace_ms=1000),
    "mild": ServicePolicy(lease_grace_ms=7000),
}


def shown(world, name):
    terms = world.of(name).terms
    assert world.of(name).lease_ms == terms.timeout_ms
    return terms.timeout_ms, terms.period_ms, terms.grace_ms, terms.source.value


@pytest.mark.parametrize(
    ("name", "asked", "timeout_ms", "period_ms", "grace_ms", "source"),
    [
        ("web/1", {}, 60_000, None, None, "default"),
        ("web/1", {"timeout_ms": 5000}, 5000, None, None, "beat"),
        ("web/1", {"timeout_ms": 5000, "every_ms": 60_000, "grace_ms": 30_000}, 5000, None, None, "beat"),
        ("web/1", {"every_ms": 4000}, 6000, 4000, 2000, "beat"),
        ("web/1", {"every_ms": 4000, "grace_ms": 500}, 4500, 4000, 500, "beat"),
        ("web/1", {"every_ms": 4000, "grace_ms": 0}, 4000, 4000, 0, "beat"),
        ("web/1", {"interval_ms": 3000}, 60_000, None, None, "default"),
        ("web/1", {"interval_ms": 120_000}, 180_000, 120_000, 60_000, "learned"),
        ("web/1", {"interval_ms": 120_000, "timeout_ms": 5000}, 5000, None, None, "beat"),
        ("timed/1", {}, 20_000, None, None, "service"),
        ("timed/1", {"every_ms": 4000}, 6000, 4000, 2000, "beat"),
        ("every/1", {}, 15_000, 10_000, 5000, "service"),
        ("every/1", {"grace_ms": 300}, 10_300, 10_000, 300, "service"),
        ("every/1", {"timeout_ms": 5000}, 5000, None, None, "beat"),
        ("graced/1", {}, 11_000, 10_000, 1000, "service"),
        ("graced/1", {"every_ms": 4000}, 5000, 4000, 1000, "beat"),
        ("mild/1", {"every_ms": 4000}, 11_000, 4000, 7000, "beat"),
        ("mild/1", {}, 60_000, None, None, "default"),
        ("web/1", {"every_ms": 31 * DAY, "grace_ms": 2 * DAY}, 33 * DAY, 31 * DAY, 2 * DAY, "beat"),
        ("web/1", {"timeout_ms": 92 * DAY}, 92 * DAY, None, None, "beat"),
        ("web/1", {"every_ms": 200, "grace_ms": 100}, 1000, None, None, "beat"),
    ],
)
def test_the_first_that_applies(make_world, name, asked, timeout_ms, period_ms, grace_ms, source):
    world = make_world(policy=Policy(services=SERVICES, hold=NO_HOLD))
    world.beat(name, **asked)
    world.beat(name)
    assert shown(world, name) == (timeout_ms, period_ms, grace_ms, source)
    assert world.registry.stats()["leases_bounded"] == (timeout_ms == 1000)
    world.advance(timeout_ms / 1000 - 0.01)
    assert world.state(name) is not State.LOST
    world.advance(0.01)
    assert world.state(name) is State.LOST


@pytest.mark.parametrize(
    ("policy", "terms", "job_terms"),
    [
        ({}, (60_000, None, None, "default"), (90_000_000, None, None, "default")),
        ({"lease_timeout_ms": 5000}, (5000, None, None, "all"), (90_000_000, None, None, "default")),
        ({"lease_job_timeout_ms": 7000}, (60_000, None, None, "default"), (7000, None, None, "all")),
        ({"lease_every_ms": 300_000}, (450_000, 300_000, 150_000, "all"), (90_000_000, None, None, "default")),
        (
            {"lease_every_ms": 300_000, "lease_grace_ms": 5000},
            (305_000, 300_000, 5000, "all"),
            (90_000_000, None, None, "default"),
        ),
        ({"lease_every_ms": 30_000}, (60_000, None, None, "default"), (90_000_000, None, None, "default")),
    ],
)
def test_what_is_set_for_all_is_a_default(make_world, policy, terms, job_terms):
    world = make_world(policy=Policy(hold=NO_HOLD, **policy))
    world.join("web/1", "etl/1")
    world.of("etl/1").is_job = True
    world.registry._life.set_terms(world.of("etl/1"))
    assert (shown(world, "web/1"), shown(world, "etl/1")) == (terms, job_terms)


def test_a_later_beat_that_asks_for_something_replaces_all_that_was_asked(world):
    world.beat(timeout_ms=3_600_000)
    world.beat(every_ms=MINUTE)
    assert shown(world, "web/1") == (90_000, MINUTE, 30_000, "beat")
    world.beat(grace_ms=1000)
    assert shown(world, "web/1") == (61_000, MINUTE, 1000, "beat")
    world.beat()
    assert shown(world, "web/1") == (61_000, MINUTE, 1000, "beat")
    world.beat(timeout_ms=5000)
    assert shown(world, "web/1") == (5000, None, None, "beat")


def test_one_with_a_period_is_late_by_it(world):
    world.join("web/1", every_ms=10_000, grace_ms=60_000)
    world.advance(15)
    assert world.state() is State.LATE
    assert world.why().startswith("no heartbeat for 15 s (interval 10 s, timeout 1 min 10 s)")
    world.advance(55)
    assert world.state() is State.LOST
    assert world.why().startswith("no heartbeat for 1 min 10 s (timeout 1 min 10 s: its period of 10 s and a grace")


def test_what_a_beat_asked_for_is_kept_over_a_restart(make_world):
    world = make_world()
    world.join("web/1", every_ms=10_000, grace_ms=2000)
    again = make_world(wall_ms=world.wall_ms())
    again.registry.restore(saved([world.rows[1]], next_id=2))
    assert shown(again, "web/1") == (12_000, 10_000, 2000, "beat")


def test_a_loss_by_a_timeout_about_as_long_as_the_period_says_so():
    world = World()
    for _ in range(3):
        world.beat(timeout_ms=2000)
        world.advance(2.03)
    assert world.lost() == ["web/1"] * 3
    assert "(timeout 2 s: too short for a heartbeat about every 2 s; set a longer one, or a period" in world.why()
    world.close()


def test_a_loss_by_a_timeout_that_is_long_enough_does_not(make_world):
    world = make_world(policy=Policy(lease_cache_ms=3_600_000, hold=NO_HOLD))
    world.beat(timeout_ms=9000)
    for _ in range(5):
        world.advance(3)
        world.beat()
    world.advance(9)
    assert "(timeout 9 s);" in world.why()
    world.advance(600)
    world.beat()
    world.advance(9)
    assert "(timeout 9 s);" in world.why()  # one outage is no period


def test_the_sources_are_what_the_interface_names():
    assert [one.value for one in TermsSource] == ["beat", "service", "all", "learned", "default"]
