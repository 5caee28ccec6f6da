# SPDX-License-Identifier: MIT
"""Viewers learn whose loss is held: usually no change of state reports it, since the instances were LATE before."""

from __future__ import annotations

import json
import time

import pytest

from heartfelt.monitor.fleet.policy import HoldPolicy, Policy
from heartfelt.monitor.model import State
from tests.monitor.fleet.world import World
from tests.monitor.serving import PATIENCE_S, until

N = 12


def test_the_registry_tells_each_once():
    world = World(policy=Policy(hold=HoldPolicy()))
    told = []
    world.registry.on_held.append(lambda instance: told.append((instance.instance_id, instance.held)))
    names = [f"web/{n}" for n in range(N)]
    world.join(*names, interval_ms=3000)
    world.run(10, beating=names)
    world.run(66)
    assert sorted(told) == sorted((str(n), True) for n in range(N))
    assert not [change for change in world.changes if change.new is State.LOST]
    world.close()


@pytest.fixture
def monitor(serve):
    return serve(hold_window="20s", hold_longest="600s")


def told(answer):
    """Topic and data of each message, for as long as may be waited for one: the comments come all the time."""
    give_up = time.monotonic() + PATIENCE_S
    topic = ""
    while line := answer.readline().decode():
        assert time.monotonic() < give_up, "what was waited for was not told"
        name, _, value = line.strip().partition(": ")
        if name == "event":
            topic = value
        elif name == "data":
            yield topic, json.loads(value)


def test_viewers_are_told_whose_and_how_many(monitor):
    for _ in range(2):
        monitor.beats(N, timeoutMs=2000, intervalMs=500)
    connection, answer = monitor.open_stream(topics=("held", "counts"))
    held, counted = set(), 0
    for topic, data in told(answer):
        if topic == "held":
            held |= set(data)
        elif topic == "counts":
            counted = data["all"]["held"]
            assert data["services"]["shop"]["held"] == counted
        if len(held) == counted == N:
            break
    connection.close()
    rows = monitor.json("/api/v1/instances", limit=100)["instances"]
    assert {one["id"] for one in rows if one["held"]} == held
    fleet = monitor.json("/api/v1/fleet")
    assert set(fleet["held"]) == held
    newest = max(held)
    assert monitor.json("/api/v1/fleet", after=newest - 1)["held"] == [newest]

    monitor.beats(N, timeoutMs=120_000)
    until(lambda: not monitor.json("/api/v1/fleet")["held"], "all beat again")
