# SPDX-License-Identifier: MIT
"""A long random life of hubs beside the plain model of the property tests, by seed alone.

HEARTFELT_SEED=... replays a failure; HEARTFELT_SIMULATE_S=600 goes on for longer than the few seconds of each run.
"""

from __future__ import annotations

import contextlib
import os
import random
import time
from array import array

import pytest

from heartfelt import EventType, HeartHub, KeyNotWatched
from heartfelt.testing import ManualClock
from tests.property.hub_model import Happening, Model, NotWatchedError, Terms, ident

S = 1_000_000_000
STEPS = 1500
KEYS = [*range(8), *map(str, range(8)), *(str(n).encode() for n in range(8))]
OTHERS = [EventType.JOIN, EventType.HEART_BEAT, EventType.RECOVER, EventType.REMOVE_KEY]


def ns(seconds):
    return round(seconds * S)


class Life:
    """One hub from its beginning to its end."""

    def __init__(self, seed):
        self.rng = rng = random.Random(seed)
        timeout, disposable = rng.choice([1, 2, 5]), rng.random() < 0.5
        types = {EventType.TIME_OUT, *(one for one in OTHERS if rng.random() < 0.4)}
        self.clock = ManualClock()
        self.hub = HeartHub(
            timeout, disposable=disposable, subscribe=types, parallelism=rng.choice([1, 2, 7]), clock=self.clock
        )
        self.model = Model(timeout * S, disposable, types)
        self.hearts, self.ids = [], []
        self.patience = rng.choice([0.02, 0.1, 0.5])  # of the reader

    def run(self):
        steps = [self.beat, self.beat, self.terms, self.many, self.heart, self.by_id, self.remove, self.advance]
        for _ in range(STEPS):
            self.rng.choice(steps)()
            if self.rng.random() < self.patience:
                self.read(self.rng.choice([1, 3, 1000]))
            if self.rng.random() < 0.05:
                self.compare()
        self.hub.close()
        self.read(1 << 30)
        self.compare()

    def key(self):
        return self.rng.choice(KEYS)

    def beat(self):
        key = self.key()
        self.hub.heartbeat(key)
        self.model.beat(key)

    def terms(self):
        key, timeout, extra = self.key(), self.rng.choice([1, 3 * S // 10, 2 * S, 9 * S]), self.rng.random()
        disposable = timeout == 1 or self.rng.random() < 0.5
        self.hub.heartbeat(key, timeout=timeout / S, extra=extra, disposable=disposable)
        self.model.beat(key, Terms(timeout, extra, disposable))

    def many(self):
        keys = self.rng.choices(KEYS, k=self.rng.randrange(10))
        self.hub.heartbeat_many(keys)
        for key in keys:
            self.model.beat(key)

    def heart(self):
        if not self.hearts or self.rng.random() < 0.2:
            key = self.key()
            self.hearts = [*self.hearts[-5:], (self.hub.heart(key), key)]
            self.model.watch(key)
        heart, key = self.rng.choice(self.hearts)
        heart.beat()
        self.model.beat(key)

    def by_id(self):
        if not self.ids or self.rng.random() < 0.2:
            keys = self.rng.sample(KEYS, 2)
            for key in keys:
                self.model.watch(key)
            ids = self.hub.ids(keys).tolist()
            self.model.ids.update(zip(ids, map(ident, keys), strict=True))
            self.ids = [*self.ids[-8:], *ids]
        number = self.rng.choice(self.ids)
        try:
            self.model.beat_id(number)
        except NotWatchedError:
            with pytest.raises(KeyNotWatched):
                self.hub.heartbeat_ids(array("q", [number]))
        else:
            self.hub.heartbeat_ids(array("q", [number]))

    def remove(self):
        key = self.key()
        self.hub.remove(key, missing_ok=True)
        with contextlib.suppress(NotWatchedError):
            self.model.remove(key)

    def advance(self):
        by = self.rng.choice([0, 1, S // 10, S // 2, S, 3 * S, 20 * S])
        self.clock.advance(by / S)
        self.model.advance(by)

    def read(self, most):
        for event in self.hub.events.get_many(most, timeout=0) if self.model.unread else []:
            times = map(ns, (event.join_time, event.beat_time, event.deadline, event.event_time))
            timeout = ns(event.timeout)
            got = Happening(event.type.value, event.key, event.extra, timeout, event.disposable, event.missed, *times)
            assert self.model.read(got), f"got {got}, but next is one of {self.model.unread[:3]}"

    def compare(self):
        assert self.hub._check() is None
        assert self.hub.events.qsize() == len(self.model.unread)
        real = {
            ident(key): (watch.missed, watch.state == "LOST", ns(watch.deadline), watch.extra)
            for key in self.hub
            for watch in [self.hub[key]]
        }
        assert real == {key: (life.missed, life.lost, life.due, life.extra) for key, life in self.model.keys.items()}
        stats = self.hub.stats()
        assert {name: getattr(stats, name) for name in self.model.counts} == self.model.counts


def test_a_hub_lives_as_the_model_says():
    given = os.environ.get("HEARTFELT_SEED")
    end = time.monotonic() + float(os.environ.get("HEARTFELT_SIMULATE_S", "4"))
    seeds = iter([int(given)]) if given else iter(lambda: random.SystemRandom().randrange(2**32), -1)
    for n, seed in enumerate(seeds):
        if n and time.monotonic() > end:
            break
        try:
            Life(seed).run()
        except BaseException as error:
            raise AssertionError(f"replay with HEARTFELT_SEED={seed}") from error
