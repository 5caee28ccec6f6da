# SPDX-License-Identifier: MIT
"""Several monitors race for the same names, lose leases and answers; what they were told is held against a model."""

from __future__ import annotations

import random
import threading
from collections import defaultdict

import pytest

from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.answers import Accepted, Adopted, Owned, Refused, Write
from heartfelt.monitor.store.redis.keys import Entry, name_of
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.packing import unpack_change
from tests.monitor.redis.leasing import Fleet, OneServer, change, join, name, row

NAMES = [name(n) for n in range(60)]
AFTER = {
    None: {State.NEW},
    State.NEW: {State.UP, State.LOST, State.REMOVED},
    State.UP: {State.UP, State.LOST, State.REMOVED},
    State.LOST: {State.UP, State.REMOVED},
}


class Unsteady(OneServer):
    """Loses an answer, or a command, now and then."""

    def __init__(self, port: int, rng: random.Random, often: float) -> None:
        super().__init__(port)
        self._rng = rng
        self._often = often

    def execute(self, commands):
        commands = list(commands)
        self.lose = (lambda command: command.shard == bad) if self._rng.random() < self._often else None
        self.before, bad = self._rng.random() < 0.5, self._rng.choice(commands).shard if commands else 0
        late, self.held = self.held, []
        if late and self._rng.random() < 0.5:  # what was lost on its way arrives now
            was, self.lose = self.lose, None
            super().execute(late)
            self.lose = was
        return super().execute(commands)


class Racer:
    """A monitor that does random things, and remembers what it was told."""

    def __init__(self, fleet: Fleet, seed: int, often: float) -> None:
        self.rng = random.Random(seed)
        self.fleet = fleet
        self.often = often
        self.accepted: list[tuple[int, bytes]] = []
        self.repeats: list[Write] = []
        self.tokens = 0
        self.begin()

    def begin(self) -> None:
        self.link = Unsteady(self.fleet.port, self.rng, 0.0)
        self.fleet.links.append(self.link)
        self.leases = self.fleet.make(link=self.link)
        self.known: dict[bytes, Entry] = {}
        self.states: dict[bytes, State | None] = {}
        self.take(self.leases.start())
        self.link._often = self.often

    def take(self, adopted: list[Adopted]) -> None:
        for one in adopted:
            mine = name_of(one.row.service, one.row.instance_id)
            assert one.row.id == one.entry.id or one.row.state is State.NEW
            self.known[mine], self.states[mine] = one.entry, one.row.state

    def forget(self, gone) -> None:
        for mine, entry in gone:
            if mine in self.known and self.known[mine].id == entry.id:
                del self.known[mine]

    def change(self, writes: list[Write]) -> None:
        for write, answer in zip(writes, self.leases.change(writes), strict=True):
            if isinstance(answer, Unreachable):
                is_join = write.row is not None and write.row.state is State.NEW
                if is_join or not answer.refused:
                    self.repeats.append(write)
                continue
            if isinstance(answer, Accepted):
                self.accepted += [(seq, write.name) for seq in answer.seqs]
                self.states[write.name] = None if write.row is None else write.row.state
                if write.row is None:
                    self.forget([(write.name, write.entry)])
            elif not answer.early:
                self.forget([(write.name, write.entry)])

    def write(self, mine: bytes, new: State) -> Write:
        entry = self.known[mine]
        self.tokens += 1
        if new is State.LOST:
            deadline = self.fleet.past_ms() - 5
            self.leases.set_deadline(entry, deadline)
        else:
            deadline = None
            self.leases.set_deadline(entry, self.fleet.past_ms() + self.rng.randrange(10**6))
        changes = [change(mine, entry, new, self.states.get(mine))]
        stored = None if new is State.REMOVED else row(mine, entry, new)
        return Write(mine, entry, stored, changes, deadline, self.tokens)

    def step(self) -> None:
        if self.repeats:  # before anything newer
            self.renew()
            writes, self.repeats = self.repeats, []
            self.change(writes)
            return
        draw = self.rng.random()
        if draw < 0.3:
            self.join()
        elif draw < 0.6:
            mine = self.rng.sample(sorted(self.known), min(len(self.known), 6))
            free = [one for one in mine if self.states.get(one)]
            self.change([self.write(one, self.rng.choice(sorted(AFTER[self.states[one]]))) for one in free])
        elif draw < 0.75:
            self.renew()
        elif draw < 0.85:
            try:
                self.forget(self.leases.flush())
            except Unreachable:
                self.renew()
        elif draw < 0.95:
            self.take(self.leases.adopt(self.leases.orphans()))
        else:
            n = self.fleet.keys.shards
            self.fleet.end_lease(self.leases, self.rng.sample(range(n), -(-n // 8)))  # others see it before it does

    def join(self) -> None:
        unknown = [one for one in NAMES if one not in self.known]
        unknown = self.rng.sample(unknown, min(5, len(unknown)))
        wanted = []
        new = []
        for mine, answer in zip(unknown, self.leases.reserve(unknown), strict=True):
            if isinstance(answer, Owned):
                wanted.append((mine, answer, self.rng.random() < 0.5))
            elif type(answer) is Entry:
                new.append((mine, answer))
        for (mine, _, _), answer in zip(wanted, self.leases.move(wanted), strict=True):
            if isinstance(answer, Adopted):
                self.take([answer])
            elif type(answer) is Entry:
                new.append((mine, answer))
            else:
                assert isinstance(answer, (Refused, Unreachable))
        writes = []
        for mine, entry in new:
            self.known[mine], self.states[mine] = entry, None
            self.tokens += 1
            writes.append(join(mine, entry, self.tokens))
        self.change(writes)

    def renew(self) -> None:
        try:
            renewal = self.leases.renew()
        except Unreachable:
            return
        self.forget([*renewal.moved, *renewal.dropped])

    def settle(self) -> None:
        """Ends with all answers there."""
        self.link._often = 0.0
        self.renew()
        for _ in range(3):
            writes, self.repeats = self.repeats, []
            self.change(writes)
            self.renew()
        assert self.repeats == []
        self.forget(self.leases.flush())


def run(fleet: Fleet, seed: int, steps: int, often: float) -> list[Racer]:
    racers = [Racer(fleet, seed * 10 + n, often) for n in range(3)]
    failures: list[BaseException] = []

    def race(racer: Racer) -> None:
        try:
            for _ in range(steps):
                racer.step()
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=race, args=(racer,)) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
    for racer in racers:
        racer.settle()
    for racer in racers:
        racer.renew()  # what the others have moved while they settled
    return racers


@pytest.mark.parametrize(
    ("shards", "seed", "often"), [(2, 1, 0.0), (64, 2, 0.0), (2, 3, 0.1), (2, 4, 0.2), (64, 5, 0.1)]
)
def test_race(redis_server, shards, seed, often):
    fleet = Fleet(redis_server.port, shards)
    racers = run(fleet, seed, 300 if shards == 2 else 80, often)
    stored = fleet.check()
    events = {seq: unpack_change(seq, fields[b"c"]) for seq, fields in fleet.events()}
    accepted = [one for racer in racers for one in racer.accepted]
    assert len(accepted) == len({seq for seq, _ in accepted})
    assert {seq for seq, _ in accepted} == set(events)  # each once, and none of which nobody was told
    lives: dict[bytes, list[int]] = defaultdict(list)
    states: dict[bytes, State | None] = {}
    for seq in sorted(events):
        event = events[seq]
        one = name_of(event.service, event.instance_id)
        assert event.new in AFTER[states.get(one)], (one, states.get(one), event)
        if event.new is State.NEW:
            assert event.id not in lives[one]
            lives[one].append(event.id)
        assert event.id == lives[one][-1]
        states[one] = None if event.new is State.REMOVED else event.new
    alive = {one for one, state in states.items() if state is not None}
    assert alive == {one for one, (_, _, data) in stored.items() if data is not None}
    owners = {racer.leases.monitor_id: racer for racer in racers}
    for one in alive:
        entry, owner, _ = stored[one]
        found = owners[owner].known.get(one)
        assert found is None or found.id == entry.id
        assert all(one not in racer.known for racer in racers if racer.leases.monitor_id != owner)
    for racer in racers:
        for entry in racer.known.values():
            assert racer.leases.set_deadline(entry, 1)
    assert sum(racer.leases.counts.doubts for racer in racers) > 5 or not often
    assert len(events) > 150
    calls = {call for racer in racers for call in racer.link.calls}
    assert {"renew", "reserve", "move", "change", "adopt", "claim_page", "SET"} <= calls
    fleet.close()
