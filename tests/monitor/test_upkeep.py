# SPDX-License-Identifier: MIT
"""Upkeep with fakes of the parts that it is handed."""

from __future__ import annotations

import asyncio
import logging

from heartfelt.monitor.history import RateHistory
from heartfelt.monitor.upkeep import MINUTE_MS, MOST_PUBLISHED_BEATS, Upkeep

HANG_S = 60


class FakeMeter:
    def __init__(self):
        self.now = {}
        self.published = []

    def counts(self):
        return self.now

    def publish(self, *, complete):
        self.published.append(complete)


class FakeRegistry:
    def __init__(self):
        self.dirty = {}
        self.uptime = FakeMeter()
        self.figures = {"beats": 0, "changes": 0}

    def dirty_beats(self):
        dirty, self.dirty = self.dirty, {}
        return dirty

    def stats(self):
        return self.figures


class FakeStore:
    def __init__(self):
        self.beats = []
        self.counts = []

    def put_beats(self, beats):
        self.beats.append(beats)

    def put_counts(self, minute_ms, counts):
        self.counts.append((minute_ms, counts))


class FakeStream:
    def __init__(self):
        self.watched = False
        self.published = []

    def publish(self, topic, value):
        self.published.append((topic, value))


class Parts:
    """An Upkeep, what it was handed, and its clocks."""

    def __init__(self, **options):
        self.registry, self.store, self.stream = FakeRegistry(), FakeStore(), FakeStream()
        self.rates = RateHistory(step_s=5)
        self.wall_ms = 100 * MINUTE_MS
        self.now_s = 0.0
        self.events = 0
        self.lags_s = []
        self.upkeep = Upkeep(
            registry=self.registry, store=self.store, stream=self.stream, rates=self.rates,
            events_taken=lambda: self.events, observe_lag_s=self.lags_s.append, wall_ms=lambda: self.wall_ms,
            now_s=lambda: self.now_s, **{"reload_tokens": self.reload} | options,
        )  # fmt: skip

    async def reload(self):
        pass


def test_last_beats_are_handed_to_the_store_once():
    parts = Parts()
    parts.registry.dirty = {1: 1000, 2: 2000}
    parts.upkeep.checkpoint()
    parts.upkeep.checkpoint()
    assert parts.store.beats == [{1: 1000, 2: 2000}]
    assert parts.stream.published == []  # nobody watches


def test_viewers_get_all_beats_in_messages_of_bounded_size():
    parts = Parts()
    parts.stream.watched = True
    parts.registry.dirty = {n: n for n in range(MOST_PUBLISHED_BEATS + 1)}
    parts.upkeep.checkpoint()
    assert [topic for topic, _ in parts.stream.published] == ["beats", "beats"]
    assert [len(beats) for _, beats in parts.stream.published] == [MOST_PUBLISHED_BEATS, 1]
    assert dict(beat for _, beats in parts.stream.published for beat in beats) == parts.store.beats[0]


def test_rates_count_beats_and_both_changes_and_events():
    parts = Parts()
    parts.upkeep.sample_rates()
    parts.registry.figures = {"beats": 50, "changes": 3}
    parts.events = 2
    parts.now_s = 4.9
    parts.upkeep.sample_rates()  # not due yet
    parts.now_s = 5.0
    parts.upkeep.sample_rates()
    rates = parts.rates.rates()
    assert (rates.beats_per_s, rates.events_per_s, rates.times_ms) == ([10.0], [1.0], [parts.wall_ms])


def test_each_minute_is_counted_once():
    parts = Parts()
    parts.registry.uptime.now = {"shop": (7, 4)}
    parts.wall_ms += MINUTE_MS - 1
    parts.upkeep.count_minute()
    assert parts.store.counts == []  # it started in this minute, and does not know all of it
    parts.wall_ms += 1
    parts.upkeep.count_minute()
    parts.upkeep.count_minute()
    assert parts.store.counts == [(101 * MINUTE_MS, {"shop": (7, 4)})]


def test_uptime_is_published_with_changes_and_that_of_all_services_each_minute_and_at_the_end():
    async def scenario():
        parts = Parts(checkpoint_s=0.001)
        parts.upkeep.start()
        published = parts.registry.uptime.published
        try:
            await asyncio.wait_for(reached(lambda: len(published) >= 2), HANG_S)
            assert not any(published)
            parts.wall_ms += MINUTE_MS
            await asyncio.wait_for(reached(lambda: True in published), HANG_S)
        finally:
            await parts.upkeep.stop()
        assert sum(published) == 2 and published[-1]

    asyncio.run(scenario())


def test_an_error_is_counted_and_logged_and_the_work_goes_on(caplog):
    async def scenario():
        reloads = []
        reloaded = asyncio.Event()

        async def reload():
            reloads.append(1)
            if len(reloads) == 1:
                raise ZeroDivisionError
            reloaded.set()

        parts = Parts(reload_tokens=reload, reload_s=0.001)
        parts.upkeep.start()
        try:
            await asyncio.wait_for(reloaded.wait(), HANG_S)
        finally:
            await parts.upkeep.stop()
        return parts.upkeep.faults

    with caplog.at_level(logging.ERROR, "heartfelt.monitor"):
        assert asyncio.run(scenario()) == 1
    assert "ZeroDivisionError" in caplog.text


async def reached(condition):
    while not condition():
        await asyncio.sleep(0.001)


def test_the_checkpoint_is_repeated_and_its_delay_is_measured():
    async def scenario():
        parts = Parts(checkpoint_s=0.001)
        parts.upkeep.start()
        try:
            for beat_ms in (1000, 2000):
                parts.registry.dirty = {1: beat_ms}
                await asyncio.wait_for(reached(lambda beats={1: beat_ms}: beats in parts.store.beats), HANG_S)
        finally:
            await parts.upkeep.stop()
        assert len(parts.lags_s) >= 2
        assert min(parts.lags_s) >= 0

    asyncio.run(scenario())


def test_stop_ends_the_tasks_and_writes_what_is_left():
    async def scenario():
        parts = Parts()
        parts.upkeep.start()
        parts.registry.dirty = {1: 1000}
        await parts.upkeep.stop()
        await parts.upkeep.stop()
        assert parts.store.beats == [{1: 1000}]
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(scenario())
