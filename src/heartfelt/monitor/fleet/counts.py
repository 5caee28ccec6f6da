# SPDX-License-Identifier: MIT
"""Counts kept up to date with each change, so that an overview costs O(services), not O(instances)."""

from __future__ import annotations

from collections import Counter
from operator import attrgetter

import msgspec

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.fleet.listening import Intervals
from heartfelt.monitor.model import DOWN, UNWATCHED, State

_NOT_BEATING = UNWATCHED | {State.LOST, State.REMOVED}
_NOT_UP = DOWN | UNWATCHED


class ServiceCounts(msgspec.Struct, kw_only=True):
    """How many instances of a service, or of all, are in each state, as people count them: one whose loss is held
    counts as LOST. State.REMOVED never occurs."""

    total: int = 0
    states: dict[State, int] = {}
    held: int = 0
    """How many of the LOST ones have a loss that is held, so that nobody was notified."""

    def of(self, state: State) -> int:
        return self.states.get(state, 0)

    @property
    def up(self) -> int:
        """Instances that are well: all but LOST, FAILED, STUCK, LEFT and PAUSED."""
        return self.total - sum(map(self.of, _NOT_UP))

    @property
    def beating(self) -> int:
        """Instances that may yet be lost: their timeout runs, or their loss is held."""
        return self.total - self.of(State.LOST) + self.held - self.of(State.LEFT) - self.of(State.PAUSED)

    @property
    def watched(self) -> int:
        """All but those that have left, or are paused."""
        return self.total - sum(map(self.of, UNWATCHED))

    def add(self, state: State, by: int) -> None:
        left = self.states.get(state, 0) + by
        if left:
            self.states[state] = left
        else:
            del self.states[state]


class Counts:
    """Counts of all instances. A service, application or client is forgotten with its last instance."""

    def __init__(self) -> None:
        self.all = ServiceCounts()
        self.services: dict[str, ServiceCounts] = {}
        self.apps: Counter[str] = Counter()
        self.clients: Counter[str] = Counter()
        self.intervals = Intervals()
        self._names: dict[str, str] = {}
        """The names of services and applications, each as the object that all instances have."""

    def join(self, instance: Instance) -> None:
        instance.service = self._names.setdefault(instance.service, instance.service)
        self._add(instance.service, instance.counts_as, 1)
        instance.app = self._names.setdefault(instance.app, instance.app)
        self.apps[instance.app] += 1
        self.clients[instance.peer] += 1
        self.count_interval(instance, instance.state)

    def join_alike(self, like: Instance, others: list[Instance]) -> list[tuple[State, int]]:
        """Counts others that join, all with the service and the terms of one that has joined, and in states in which
        they beat. Returns how many are in each state. O(others)."""
        states = [one.state for one in others]
        by_state = [(state, n) for state in State if (n := states.count(state))]
        for state, n in by_state:
            self._add(like.service, state, n)
        for one in others:
            one.app = self._names.setdefault(one.app, one.app)
            one.counted_interval = like.counted_interval
        self.apps.update(map(attrgetter("app"), others))
        self.clients.update(map(attrgetter("peer"), others))
        self.intervals.add(like.counted_interval, len(others))
        return by_state

    def _add(self, service: str, state: State, n: int) -> None:
        counts = self.services.get(service)
        if counts is None:
            counts = self.services[service] = ServiceCounts()
        for one in (counts, self.all):
            one.total += n
            one.add(state, n)

    def move(self, instance: Instance, new: State) -> None:
        self.count_interval(instance, new)
        if instance.held:
            return  # it counts as LOST, whatever its state
        for one in (self.services[instance.service], self.all):
            one.add(instance.state, -1)
            one.add(new, 1)

    def hold(self, instance: Instance, held: bool) -> None:
        if instance.held != held:
            before, instance.held = instance.counts_as, held
            for one in (self.services[instance.service], self.all):
                one.held += 1 if held else -1
                one.add(before, -1)
                one.add(instance.counts_as, 1)

    def count_interval(self, instance: Instance, state: State) -> None:
        """Counts its interval, or its period if no interval is known, if it beats in this state."""
        late, interval_ms = instance.late_ms is not None, None
        if state not in _NOT_BEATING:
            interval_ms = instance.terms.interval_ms or instance.terms.period_ms
        instance.counted_interval = self.intervals.count(instance.counted_interval, interval_ms, late=late)

    def set_app(self, instance: Instance, app: str) -> None:
        before, instance.app = instance.app, self._names.setdefault(app, app)
        self.rename(self.apps, before, app)
        if before not in self.services and before not in self.apps:
            self._names.pop(before, None)

    def rename(self, names: Counter[str], old: str, new: str) -> None:
        _less(names, old)
        names[new] += 1

    def leave(self, instance: Instance) -> None:
        self.hold(instance, False)
        self.count_interval(instance, State.REMOVED)
        counts = self.services[instance.service]
        for one in (counts, self.all):
            one.total -= 1
            one.add(instance.state, -1)
        if not counts.total:
            del self.services[instance.service]
        _less(self.apps, instance.app)
        for name in {instance.service, instance.app}:
            if name not in self.services and name not in self.apps:
                self._names.pop(name, None)
        _less(self.clients, instance.peer)


def _less(names: Counter[str], name: str) -> None:
    names[name] -= 1
    if not names[name]:
        del names[name]
