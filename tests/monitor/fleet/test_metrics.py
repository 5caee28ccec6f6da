# SPDX-License-Identifier: MIT
"""Instances by state and service: bounded labels, and sums that are right whatever the services are called."""

from __future__ import annotations

from collections import Counter

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.metrics import OTHER_SERVICES, SERVICES, instances
from heartfelt.monitor.metric import LABEL_CHARS
from heartfelt.monitor.model import State


def counted(services):
    """`instances` of services that are given as {name: {state: n}}, as a Counter by (state, service)."""
    totals, counts = ServiceCounts(), {}
    for name, states in services.items():
        one = counts[name] = ServiceCounts()
        for state, n in states.items():
            for part in (one, totals):
                part.total += n
                part.add(state, n)
    metric, samples = instances(totals, counts)
    assert metric.labels == ("state", "service")
    return samples


def test_each_service_has_each_state_also_those_without_instances():
    samples = counted({"shop": {State.UP: 3, State.LOST: 1}, "pay": {State.NEW: 2}})
    assert len(samples) == 2 * (len(State) - 1)  # an instance is never counted as REMOVED
    assert samples[("UP", "shop")] == 3 and samples[("LOST", "shop")] == 1 and samples[("NEW", "pay")] == 2
    assert samples[("LOST", "pay")] == samples[("FAILED", "pay")] == 0
    assert not any(service == OTHER_SERVICES for _, service in samples)


def test_who_is_down_or_not_watched_is_not_up():
    counts = ServiceCounts(total=len(State) - 1, states={state: 1 for state in State if state is not State.REMOVED})
    assert counts.up == sum(map(counts.of, (State.NEW, State.UP, State.LATE)))


def test_of_many_services_the_largest_have_labels_of_their_own():
    services = {f"s{n:04}": {State.UP: n + 1, State.LOST: 1} for n in range(5000)}
    samples = counted(services)
    named = {service for _, service in samples}
    assert named == {f"s{n:04}" for n in range(5000 - SERVICES, 5000)} | {OTHER_SERVICES}
    assert samples[("LOST", OTHER_SERVICES)] == 5000 - SERVICES
    assert samples[("UP", OTHER_SERVICES)] == sum(range(5001 - SERVICES))
    by_state = Counter()
    for (state, _), n in samples.items():
        by_state[state] += n
    assert by_state["UP"] == sum(range(5001)) and by_state["LOST"] == 5000


def test_among_equally_large_services_the_choice_does_not_depend_on_their_order():
    names = [f"s{n:03}" for n in range(2 * SERVICES)]
    forth = counted({name: {State.UP: 1} for name in names})
    back = counted({name: {State.UP: 1} for name in reversed(names)})
    assert forth == back


def test_names_that_become_equal_are_added_up():
    long = "x" * LABEL_CHARS
    services = {f"{long}{n}": {State.UP: 1} for n in range(SERVICES - 1)}
    services[OTHER_SERVICES] = {State.UP: 50}  # a service may be called so
    services |= {"a": {State.UP: 1}, "b": {State.LATE: 1}}
    samples = counted(services)
    assert {service for _, service in samples} == {long[:-3] + "...", OTHER_SERVICES}
    assert samples[("UP", long[:-3] + "...")] == SERVICES - 1
    assert samples[("UP", OTHER_SERVICES)] == 51 and samples[("LATE", OTHER_SERVICES)] == 1


def test_the_services_that_have_no_label_of_their_own_are_counted(make_world):
    world = make_world()
    for n in range(SERVICES + 3):
        world.beat(f"s{n}/1")
        readings = {metric.name: samples for metric, samples in world.registry.readings()}
        assert readings["heartfelt_services_without_label"] == {(): max(0, n + 1 - SERVICES)}
    assert readings["heartfelt_instances"][("NEW", OTHER_SERVICES)] == 3
