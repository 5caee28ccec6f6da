# SPDX-License-Identifier: MIT
"""Counts kept up to date with each change, so that an overview costs O(services), not O(instances)."""

from __future__ import annotations

from collections import Counter

import msgspec

from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.model import State

_NOT_UP = (State.LOST, State.FAILED, State.LEFT, State.PAUSED)


class ServiceCounts(msgspec.Struct, kw_only=True):
    """How many instances of a service, or of all, are in each state. State.REMOVED never occurs."""

    total: int = 0
    states: dict[State, int] = {}
    held: int = 0
    """How many of the LATE and FAILED ones have a loss that is held."""

    def of(self, state: State) -> int:
        return self.states.get(state, 0)

    @property
    def up(self) -> int:
        """Instances that are well: all but LOST, FAILED, LEFT and PAUSED."""
        return self.total - sum(map(self.of, _NOT_UP))

    @property
    def beating(self) -> int:
        """Instances whose timeout runs: all but LOST, LEFT and PAUSED."""
        return self.up + self.of(State.FAILED)

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

    def join(self, instance: Instance) -> None:
        counts = self.services.get(instance.service)
        if counts is None:
            counts = self.services[instance.service] = ServiceCounts()
        for one in (counts, self.all):
            one.total += 1
            one.add(instance.state, 1)
        self.apps[instance.app] += 1
        self.clients[instance.peer] += 1

    def move(self, instance: Instance, new: State) -> None:
        for one in (self.services[instance.service], self.all):
            one.add(instance.state, -1)
            one.add(new, 1)

    def hold(self, instance: Instance, held: bool) -> None:
        if instance.held != held:
            instance.held = held
            for one in (self.services[instance.service], self.all):
                one.held += 1 if held else -1

    def rename(self, names: Counter[str], old: str, new: str) -> None:
        _less(names, old)
        names[new] += 1

    def leave(self, instance: Instance) -> None:
        self.hold(instance, False)
        counts = self.services[instance.service]
        for one in (counts, self.all):
            one.total -= 1
            one.add(instance.state, -1)
        if not counts.total:
            del self.services[instance.service]
        _less(self.apps, instance.app)
        _less(self.clients, instance.peer)


def _less(names: Counter[str], name: str) -> None:
    names[name] -= 1
    if not names[name]:
        del names[name]
