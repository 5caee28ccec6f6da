# SPDX-License-Identifier: MIT
"""Beats of one instance from several addresses: when that is told, and when it is over."""

from __future__ import annotations

import pytest

from heartfelt.monitor.fleet import addresses
from heartfelt.monitor.model import ADDRESSES_TYPE, Level, State

A, B, C = "10.0.0.1", "10.0.0.2", "10.0.0.3"


def beats(world, *peers, every=10, name="cron/1"):
    for peer in peers:
        world.beat(name, via="ping", peer=peer)
        world.advance(every)


def told(world):
    """Names and descriptions of the events about addresses."""
    events = [event for event in world.events if event.type == ADDRESSES_TYPE]
    assert all(event.level is Level.IMPORTANT and event.scope == "monitor" for event in events)
    return [(event.info["name"], event.info["description"]) for event in events]


def test_two_senders_of_one_key_are_told_once(world):
    beats(world, *[A, B] * 20)
    assert told(world) == [
        (
            "ADDRESSES_ALTERNATE",
            f"heartbeats come from 2 addresses: {A}, {B}; one of them can stop without a loss: give each its own key",
        )
    ]
    event = world.events[-1]
    assert (event.service, event.instance_id, event.ip) == ("cron", "1", A)
    assert event.info["reason_args"] == {"count": 2, "addresses": f"{A}, {B}"}
    assert world.of("cron/1").addresses == (A, B)
    assert world.registry.stats()["shared"] == 1


@pytest.mark.parametrize(
    "peers",
    [
        [A] * 9,
        [A, A, B, B, B, B],
        [A, B, C, C],
        [A, A] + [B] * 20 + [A] * 20,
        [A, f"::ffff:{A}", A, f"::ffff:{A}"],
        ["", A, "", A],
    ],
)
def test_a_move_is_no_sign(world, peers):
    beats(world, *peers, every=20)
    assert told(world) == []
    assert world.of("cron/1").addresses == ()


def test_a_beat_whose_sender_is_not_known_is_no_other_address(world):
    """As of another monitor, which says only that it has heard the instance."""
    beats(world, *[A, ""] * 8)
    assert told(world) == []
    assert (world.of("cron/1").addresses, world.of("cron/1").peer) == ((), A)


def test_a_laptop_that_moves_between_two_networks_is_no_sign(world):
    world.beat("cron/1", via="ping", peer=A, timeout_ms=86_400_000)
    for _ in range(3):
        beats(world, *[A] * 60, *[B] * 60, every=60)
    assert told(world) == []


def test_one_that_stops_while_the_other_goes_on_is_told(world):
    beats(world, *[A, B] * 5, *[A] * 20)
    assert [name for name, _ in told(world)] == ["ADDRESSES_ALTERNATE", "ADDRESS_STOPPED"]
    text = told(world)[1][1]
    assert text.startswith(f"no heartbeat from {B} for 2 min") and f"while {A} goes on" in text
    assert world.of("cron/1").addresses == ()
    assert world.registry.stats()["shared"] == 0
    assert world.state("cron/1") is State.UP


def test_one_of_three_that_stops_is_told_too(world):
    beats(world, *[A, B, C] * 5, *[A, B] * 10)
    assert [name for name, _ in told(world)] == ["ADDRESSES_ALTERNATE", "ADDRESS_STOPPED"]
    assert told(world)[1][1].startswith(f"no heartbeat from {C} for 2 min")
    assert sorted(world.of("cron/1").addresses) == [A, B]


def test_senders_that_stop_together_are_a_loss_and_nothing_else(world):
    beats(world, *[A, B] * 5)
    world.advance(500)
    assert [name for name, _ in told(world)] == ["ADDRESSES_ALTERNATE"]
    assert world.state("cron/1") is State.LOST
    assert world.of("cron/1").addresses == ()


def test_copies_of_a_crontab_at_the_same_second(world):
    for n in range(10):
        for peer in (A, B) if n % 2 else (B, A):
            world.beat(via="ping", peer=peer)
            world.advance(0.1)
        world.advance(59.9)
    assert [name for name, _ in told(world)] == ["ADDRESSES_ALTERNATE"]
    assert world.lost() == []


def test_copies_of_a_crontab_half_a_period_apart(world):
    beats(world, *[A, B] * 10, every=30.02)
    assert [name for name, _ in told(world)] == ["ADDRESSES_ALTERNATE"]


def test_many_addresses(world):
    peers = [f"10.1.0.{n}" for n in range(20)]
    beats(world, *peers, *peers[-4:] * 3, every=1)
    (name, text), *more = told(world)
    assert name == "ADDRESSES_ALTERNATE" and not more
    assert text.startswith("heartbeats come from more than 8 addresses, 10.1.0.")
    assert len(world.of("cron/1").addresses) == addresses.MOST


def test_an_instance_is_told_again_after_an_hour_at_most(world):
    for _ in range(5):
        beats(world, *[A, B] * 3, *[A] * 20)
    names = [name for name, _ in told(world)]
    assert names.count("ADDRESSES_ALTERNATE") == 1 and names.count("ADDRESS_STOPPED") == 5
    assert world.registry.stats()["address_events_left_out"] == 4
    beats(world, *[A] * 360)
    beats(world, *[A, B] * 3)
    assert [name for name, _ in told(world)].count("ADDRESSES_ALTERNATE") == 2


def test_a_whole_fleet_behind_two_addresses_is_not_told_one_by_one(world):
    names = [f"web/{n}" for n in range(200)]
    for peer in (A, B, A, B):
        for name in names:
            world.beat(name, peer=peer)
        world.advance(5)
    assert len(told(world)) == addresses.BURST
    assert world.registry.stats()["shared"] == 200
    assert world.registry.stats()["address_events_left_out"] == 200 - addresses.BURST
    for name in names:
        world.registry.remove(world.of(name).id)
    world.advance(1000)
    assert world.registry.stats()["shared"] == 0
    assert world.registry._life.addresses._heard == {}


def test_what_is_known_of_a_move_is_forgotten(world):
    world.join(*[f"web/{n}" for n in range(50)], peer=A)
    world.join(*[f"web/{n}" for n in range(50)], peer=B)
    assert len(world.registry._life.addresses._heard) == 50
    world.advance(121)
    assert world.registry._life.addresses._heard == {}
