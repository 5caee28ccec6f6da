# SPDX-License-Identifier: MIT
"""Answers to forwarded beats, and notices, to monitors that are not connected at this moment."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from heartfelt.monitor.cluster import forwarding as module
from heartfelt.monitor.cluster.channel.frames import BeatBatch
from heartfelt.monitor.cluster.forwarding import Forwarding
from heartfelt.monitor.cluster.ownership import Ownership
from heartfelt.monitor.fleet.owners import Reply
from heartfelt.monitor.tasks import TimedEvent


class World:
    """The rest of a monitor, as its forwarding sees it."""

    def __init__(self):
        self.unwritten, self.known, self.connected, self.sent = set(), {"b"}, set(), []
        self.room = True
        self.reply = Reply(take=[], gone=[])
        self.own = "a"
        self.peers = self
        self.forwarding = Forwarding(self, SimpleNamespace(attach=lambda *_: None))
        foreign = SimpleNamespace(forwarded=lambda forward, sender: self.reply, take_forwards=list)
        registry = SimpleNamespace(owned=SimpleNamespace(asking=SimpleNamespace()))
        self.forwarding.attach(registry, foreign, self)

    # -- the channel
    def on_beats(self, handler):
        self.beats = handler

    def on_inputs(self, handler):
        pass

    def on_notice(self, *_):
        pass

    def __contains__(self, peer):
        return peer in self.known

    def is_connected(self, peer):
        return peer in self.connected

    def notify(self, peer, name, body):
        if peer in self.connected and self.room:
            self.sent.append((peer, name, [body.take, body.gone] if name == module.REPLY else body))
            return True
        return False

    # -- the ownership
    def is_unwritten(self, id):
        return id in self.unwritten

    def answers(self, take, gone):
        self.reply = Reply(take=take, gone=gone)
        self.beats("b", BeatBatch([], [], 0))


@pytest.fixture
def world():
    return World()


def test_only_what_is_new_and_could_not_be_sent_asks_for_another_round(world):
    asked = []
    world.forwarding.on_unsaid = lambda: asked.append(world.forwarding.has_unsaid)
    world.answers([1], [])
    for _ in range(3):
        world.forwarding.send()
    assert asked == [True], "a round that asks for the next one at once would never end"
    world.connected.add("b")
    world.forwarding.send()
    world.answers([2], [])
    assert asked == [True]


def test_work_that_asks_for_its_next_round_leaves_time_to_others():
    async def scenario():
        at_once, rounds = TimedEvent(), []
        owner = SimpleNamespace(_running=True, counts={"faults": 0})

        async def work():
            rounds.append(1)
            at_once.set()
            owner._running = owner._running and len(rounds) < 10_000

        repeating = asyncio.ensure_future(Ownership._repeat(owner, lambda: 60.0, work, at_once))
        at_once.set()
        await asyncio.sleep(0.05)
        owner._running = False
        await repeating
        return len(rounds)

    assert 2 <= asyncio.run(scenario()) < 10_000


def test_an_answer_that_could_not_be_sent_is_sent_later(world):
    world.answers([1, 2], [3])
    world.answers([2], [4])
    assert not world.sent
    world.connected.add("b")
    world.room = False
    world.forwarding.send()
    assert not world.sent
    world.room = True
    world.forwarding.send()
    assert world.sent == [("b", module.REPLY, [[1, 2], [3, 4]])]
    world.forwarding.send()
    assert len(world.sent) == 1


def test_no_instance_is_given_away_while_a_change_of_it_waits(world):
    world.connected.add("b")
    world.unwritten = {1}
    world.answers([1, 2], [])
    assert world.sent == [("b", module.REPLY, [[2], []])]
    world.sent.clear()
    world.connected.clear()
    world.answers([3], [])
    world.unwritten = {3}  # meanwhile
    world.connected.add("b")
    world.forwarding.send()
    assert world.sent == []


def test_a_move_is_told_once_there_is_a_connection_and_forgotten_with_the_monitor(world):
    world.forwarding.tell_moved("b", [b"x" * 14])
    world.connected.add("b")
    world.forwarding.send()
    assert world.sent == [("b", module.MOVED, [b"x" * 14])]
    world.connected.clear()
    world.forwarding.tell_moved("b", [b"y" * 14])
    world.known.clear()
    world.forwarding.send()
    assert world.forwarding.counts["unsaid_dropped"] == 1
    world.known.add("b")
    world.connected.add("b")
    world.forwarding.send()
    assert len(world.sent) == 1


def test_what_waits_for_a_connection_hurries_the_next_turn_once(world):
    """A turn that asked for the next one at once, while a monitor is not connected, would never let the loop go on."""
    asked = []
    world.forwarding.on_unsaid = lambda: asked.append(world.forwarding.has_unsaid)
    world.forwarding.tell_moved("b", [b"x" * 14])
    world.answers([1], [])
    assert asked == [True, True]
    world.forwarding.send()
    assert world.forwarding.has_unsaid and len(asked) == 2


def test_what_waits_for_a_connection_is_bounded(world, monkeypatch):
    monkeypatch.setattr(module, "MOST_UNSAID", 5)
    world.answers([], list(range(6)))
    assert world.forwarding.counts["unsaid_dropped"] == 6
