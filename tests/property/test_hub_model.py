# SPDX-License-Identifier: MIT
"""A real hub on a manual clock and the model of it, driven by the same random operations, compared after each."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from heartfelt import ConfigError, Event, EventType, HeartHub, HubClosed, KeyNotWatched
from heartfelt._types import UNSET
from heartfelt.testing import ManualClock
from tests.property.hub_model import Happening, Model, NoTimeoutError, NotWatchedError, Terms, ident

S = 1_000_000_000
ALL = frozenset(EventType) - {EventType.OVERFLOW, EventType.STALL}
# Few keys, so that they meet their own past; of each type, so that "1", b"1" and 1 could be mixed up.
KEYS = ["1", b"1", 1, "k\u00e9y", b""]

keys = st.sampled_from(KEYS)
timeouts = st.sampled_from([None, None, S, 2 * S, S // 2, 7 * S, 3 * S + 1, 1])
extras = st.sampled_from([UNSET, UNSET, None, "new", 7])
kinds = st.sampled_from([None, None, True, False])
terms = st.builds(Terms, timeouts, extras, kinds)
steps = st.sampled_from([0, 1, S // 2, S, S + 1, 2 * S, 3 * S, 10 * S]) | st.integers(0, 8 * S)


def ns(seconds: float) -> int:
    return round(seconds * S)


def options(said: Terms) -> dict[str, object]:
    found: dict[str, object] = {"disposable": said.disposable}
    if said.timeout is not None:
        found["timeout"] = said.timeout / S
    if said.extra is not UNSET:
        found["extra"] = said.extra
    return found


def told(event: Event) -> Happening:
    times = (event.join_time, event.beat_time, event.deadline, event.event_time)
    return Happening(
        event.type.value, event.key, event.extra, ns(event.timeout), event.disposable, event.missed, *map(ns, times)
    )


class HubMachine(RuleBasedStateMachine):
    """All event types. What others subscribe to is in their own classes."""

    subscriptions = st.just(ALL)

    @initialize(
        data=st.data(),
        shards=st.sampled_from([1, 2, 5]),
        timeout=st.sampled_from([None, S, 2 * S, 5 * S]),
        disposable=st.booleans(),
    )
    def open(self, data: st.DataObject, shards: int, timeout: int | None, disposable: bool) -> None:
        wanted = data.draw(self.subscriptions)
        self.clock = ManualClock()
        self.hub = HeartHub(
            None if timeout is None else timeout / S,
            parallelism=shards,
            disposable=disposable,
            subscribe=wanted,
            clock=self.clock,
        )
        self.model = Model(timeout, disposable, wanted)
        self.hearts: list[tuple[object, object, Terms]] = []
        self.all_ids: list[int] = []
        # Another hub, whose deadlines the same advance has to stop at, and whose keys are its own.
        self.other = HeartHub(1.5, disposable=False, clock=self.clock)
        self.other_model = Model(3 * S // 2, False, [EventType.TIME_OUT])

    def both(self, real: object, model: object) -> bool:
        """Does it to both; True if they did it, False if both refused."""
        try:
            model()
        except NoTimeoutError:
            with pytest.raises(ConfigError, match="no timeout"):
                real()
        except NotWatchedError:
            with pytest.raises(KeyNotWatched):
                real()
        else:
            real()
            return True
        return False

    @rule(key=keys)
    def beat(self, key: object) -> None:
        self.both(lambda: self.hub.heartbeat(key), lambda: self.model.beat(key))

    @rule(key=keys, said=terms)
    def beat_with_terms(self, key: object, said: Terms) -> None:
        self.both(lambda: self.hub.heartbeat(key, **options(said)), lambda: self.model.beat(key, said))

    @rule(some=st.lists(keys, max_size=6), said=st.just(Terms()) | terms, kind=st.sampled_from([list, tuple, iter]))
    def beat_many(self, some: list[object], said: Terms, kind: type) -> None:
        failed = False
        for key in some:  # one that is refused costs the others nothing
            try:
                self.model.beat(key, said)
            except NoTimeoutError:
                failed = True
        if failed:
            with pytest.raises(ConfigError, match="no timeout"):
                self.hub.heartbeat_many(kind(some), **options(said))
        else:
            self.hub.heartbeat_many(kind(some), **options(said))

    @rule(key=keys, said=st.just(Terms()) | terms)
    def make_heart(self, key: object, said: Terms) -> None:
        def real() -> None:
            self.hearts.append((self.hub.heart(key, **options(said)), key, said))

        def model() -> None:
            self.model.watch(key) if said == Terms() else self.model.beat(key, said)

        self.both(real, model)
        del self.hearts[:-4]

    @precondition(lambda self: self.hearts)
    @rule(data=st.data())
    def beat_heart(self, data: st.DataObject) -> None:
        heart, key, said = data.draw(st.sampled_from(self.hearts))
        self.both(heart.beat, lambda: self.model.beat(key, to_join=said))

    @rule(some=st.lists(keys, min_size=1, max_size=4, unique_by=ident))
    def make_ids(self, some: list[object]) -> None:
        refused = False
        for key in some:
            try:
                self.model.watch(key)
            except NoTimeoutError:
                refused = True
                break
        if refused:
            with pytest.raises(ConfigError, match="no timeout"):
                self.hub.ids(some)
            # Which keys before the refused one are held by an id now nobody can see: let go of all of them.
            for key in some:
                self.remove(key, True)
            return
        got = self.hub.ids(some).tolist()
        self.model.ids.update(zip(got, map(ident, some), strict=True))
        self.all_ids = [*{*self.all_ids, *got}][-12:]

    @precondition(lambda self: self.all_ids)
    @rule(data=st.data())
    def beat_ids(self, data: st.DataObject) -> None:
        numbers = data.draw(st.lists(st.sampled_from(sorted(self.all_ids)), max_size=4))
        stale = False
        for number in numbers:
            try:
                self.model.beat_id(number)
            except NotWatchedError:
                stale = True
        if stale:
            with pytest.raises(KeyNotWatched, match="stale"):
                self.hub.heartbeat_ids(array("q", numbers))
        else:
            self.hub.heartbeat_ids(array("q", numbers))

    @rule(key=keys, missing_ok=st.booleans())
    def remove(self, key: object, missing_ok: bool) -> None:
        def model() -> None:
            try:
                self.model.remove(key)
            except NotWatchedError:
                if not missing_ok:
                    raise

        self.both(lambda: self.hub.remove(key, missing_ok=missing_ok), model)

    @rule(key=keys)
    def beat_other_hub(self, key: object) -> None:
        self.other.heartbeat(key)
        self.other_model.beat(key)

    def move(self, by: int) -> None:
        self.clock.advance(by / S)
        self.model.advance(by)
        self.other_model.advance(by)

    @rule(by=steps)
    def advance(self, by: int) -> None:
        # A timeout of 1 ns would take the model a billion steps: the core is shown such ones with small advances only.
        small = any(not life.disposable and life.timeout < S // 2 for life in self.model.keys.values())
        self.move(min(by, 50) if small else by)

    @precondition(lambda self: self.model.keys)
    @rule(data=st.data(), off=st.sampled_from([0, 0, -1, 1]))
    def advance_to_a_deadline(self, data: st.DataObject, off: int) -> None:
        due = data.draw(st.sampled_from(sorted({life.due for life in self.model.keys.values()})))
        self.advance(max(0, due + off - self.model.now))

    def expect(self, event: Event) -> None:
        got = told(event)
        assert self.model.read(got), f"got {got}, but next is one of {self.model.unread[:3]}"

    @rule()
    def get(self) -> None:
        if self.model.unread:
            self.expect(self.hub.events.get(timeout=10))
        else:
            assert self.hub.events.empty()

    @rule(most=st.sampled_from([1, 2, 5, 1000]))
    def get_many(self, most: int) -> None:
        expected = min(most, len(self.model.unread))
        events = self.hub.events.get_many(most, timeout=0)
        assert len(events) == expected
        for event in events:
            self.expect(event)

    @rule()
    def read_other_hub(self) -> None:
        for event in self.other.events.get_many(1000, timeout=0):
            assert self.other_model.read(told(event))
        assert not self.other_model.unread

    @invariant()
    def same_keys(self) -> None:
        if not hasattr(self, "hub"):
            return
        watched = {ident(key) for key in self.hub}
        assert watched == set(self.model.keys)
        assert len(self.hub) == len(self.model.keys)
        for key in KEYS:
            assert (key in self.hub) == (ident(key) in self.model.keys)

    @invariant()
    def same_watch_of_each_key(self) -> None:
        for key in KEYS if hasattr(self, "hub") else ():
            life = self.model.keys.get(ident(key))
            if life is None:
                with pytest.raises(KeyNotWatched):
                    self.hub[key]
                continue
            watch = self.hub[key]
            assert ident(watch.key) == ident(key)
            assert (watch.extra, watch.disposable, watch.missed) == (life.extra, life.disposable, life.missed)
            assert watch.state == ("LOST" if life.lost else "ALIVE")
            times = (watch.timeout, watch.join_time, watch.beat_time, watch.deadline)
            assert tuple(map(ns, times)) == (life.timeout, life.join, life.beat, life.due)

    @invariant()
    def same_counts(self) -> None:
        if not hasattr(self, "hub"):
            return
        assert self.hub.events.qsize() == len(self.model.unread)
        assert self.other.events.qsize() == len(self.other_model.unread)
        stats = self.hub.stats()
        assert (stats.keys, stats.lost) == (
            len(self.model.keys),
            sum(life.lost for life in self.model.keys.values()),
        )
        for name, count in self.model.counts.items():
            assert (name, getattr(stats, name)) == (name, count)

    @invariant()
    def core_is_sound(self) -> None:
        if hasattr(self, "hub"):
            assert self.hub._check() is None
            assert self.other._check() is None

    def teardown(self) -> None:
        if not hasattr(self, "hub"):
            return
        self.hub.close()
        self.other.close()
        self.clock.advance(1000)  # no verdict is taken any more
        for refused in (
            lambda: self.hub.heartbeat("1"),
            lambda: self.hub.heartbeat_many(["1"]),
            lambda: self.hub.remove("1", missing_ok=True),
            lambda: self.hub.heart("1"),
            *(heart.beat for heart, _, _ in self.hearts),
        ):
            with pytest.raises(HubClosed):
                refused()
        for event in self.hub.events:
            self.expect(event)
        assert not self.model.unread
        with pytest.raises(HubClosed):
            self.hub.events.get_many(1, timeout=0)
        assert self.hub._check() is None


class TimeOutMachine(HubMachine):
    """The default: so beats of living keys are one store."""

    subscriptions = st.just(frozenset({EventType.TIME_OUT}))


class SubsetMachine(HubMachine):
    """Any subset, none included."""

    subscriptions = st.frozensets(st.sampled_from(sorted(ALL)), max_size=4)


TestAllTypes = HubMachine.TestCase
TestTimeOutOnly = TimeOutMachine.TestCase
TestSubsets = SubsetMachine.TestCase
_STEPS = settings(stateful_step_count=50)
TestAllTypes.settings = TestTimeOutOnly.settings = TestSubsets.settings = _STEPS
