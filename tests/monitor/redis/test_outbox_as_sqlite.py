# SPDX-License-Identifier: MIT
"""The outbox in Redis does what the one in SQLite does: the same random calls, the same answers."""

from __future__ import annotations

import logging
import random
import sqlite3
import uuid

import msgspec
import pytest

pytest.importorskip("redis")

from heartfelt.monitor.store import LEASE_MS, deliveries, rows, schema
from heartfelt.monitor.store.damage import Damage
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outbox import Trimmed
from tests.monitor.redis.outbox_store import outboxes
from tests.monitor.store.values import NOON_MS

TARGETS, SUBJECTS, CLAIMERS = ["a", "b", "c", "ü"], ["", "x", "y", "z"], 3


class Sqlite:
    def __init__(self, path):
        self.connection = sqlite3.connect(path, isolation_level=None)
        schema.prepare(self.connection)
        self.damage = Damage(path, logging.getLogger("test"))

    def put(self, *row):
        names, values = rows.PUT_COLUMNS, rows.put_row(row)
        marks = ",".join("?" * len(values))
        statement = f"INSERT INTO outbox ({names}) VALUES ({marks}) ON CONFLICT (target, key) DO NOTHING"
        return self.connection.execute(statement, values).rowcount

    def trim(self, before_ms, most):
        oldest = f"(SELECT number, created_ms, state FROM outbox ORDER BY number LIMIT {most}) WHERE created_ms < ?"
        (unsent,) = self.connection.execute(f"SELECT count(*) FROM {oldest} AND state < 2", (before_ms,)).fetchone()
        statement = f"DELETE FROM outbox WHERE number IN (SELECT number FROM {oldest})"
        removed = self.connection.execute(statement, (before_ms,)).rowcount
        return Trimmed(removed, unsent, removed >= most)


class Twins:
    """One outbox in SQLite and one in Redis with several claimers, and who may finish what."""

    def __init__(self, seed, path, found):
        self.rng = random.Random(seed)
        self.sqlite, self.redis = Sqlite(path), found
        self.now_ms, self.n_keys = NOON_MS, 0
        self.claims = []
        """(number of SQLite, number of Redis, claimer, attempt), also of claims that have ended."""
        self.newest = {}
        """Number of SQLite -> the newest attempt."""
        self.numbers = {}
        """Number of Redis -> number of SQLite."""

    @property
    def any(self):
        return self.rng.choice(self.redis)

    def call(self, *call):
        """Calls Redis, now and then with an answer that is lost; it is repeated then."""
        link, name, *arguments = call
        lost = self.rng.random() < 0.1
        if lost:
            executed = self.rng.random() < 0.7

            def fail(words):
                if not isinstance(words[0], str):
                    link._link.before = link._link.after = lambda words: None
                    raise Unreachable("lost")

            if executed:
                link._link.after = fail
            else:
                link._link.before = fail
        try:
            return getattr(link, name)(*arguments)
        except Unreachable:
            return getattr(link, name)(*arguments)
        finally:
            link._link.before = link._link.after = lambda words: None

    def compared(self, delivery):
        number = self.numbers.get(delivery.number, delivery.number)
        return msgspec.structs.replace(delivery, number=number)

    def put(self):
        for _ in range(self.rng.randrange(1, 6)):
            target, key = self.rng.choice(TARGETS), f"k{self.rng.randrange(self.n_keys + 1)}"
            self.n_keys += 1
            row = (target, key, '{"n":1}', self.now_ms - self.rng.randrange(3), self.rng.choice(SUBJECTS),
                   self.rng.randrange(3))  # fmt: skip
            self.sqlite.put(*row)
            self.call(self.any, "put_deliveries", [row])

    def claim(self):
        limit = self.rng.randrange(1, 6)
        room = {target: self.rng.randrange(4) for target in TARGETS if self.rng.random() < 0.3}
        claimer = self.any
        expected = deliveries.claim(self.sqlite.connection, self.sqlite.damage, self.now_ms, limit, room)
        found = self.call(claimer, "next_deliveries", self.now_ms, limit, room)
        assert len(found) == len(expected)
        for theirs, ours in zip(expected, found, strict=True):
            assert self.numbers.setdefault(ours.number, theirs.number) == theirs.number
            assert self.compared(ours) == theirs
            self.claims.append((theirs.number, ours.number, claimer, theirs.attempts))
            self.newest[theirs.number] = len(self.claims)

    def finish(self):
        if not self.claims:
            return
        at = self.rng.randrange(max(0, len(self.claims) - 12), len(self.claims))
        theirs, ours, claimer, _ = self.claims[at]
        result = deliveries.Result(
            ok=self.rng.random() < 0.4,
            retry_at_ms=self.rng.choice([None, self.now_ms, self.now_ms + self.rng.randrange(9000)]),
            answer=self.rng.choice(["200", "500", "né"]),
            tried=self.rng.random() < 0.8,
        )
        # The claims of one claimer are the same to it: it remembers its last one.
        mine = [n for n, claim in enumerate(self.claims) if claim[0] == theirs and claim[2] is claimer]
        newest = self.newest.get(theirs)
        is_current = newest is not None and mine[-1] == newest - 1
        if result.ok or is_current:
            deliveries.finish(self.sqlite.connection, theirs, result)
        if is_current:
            del self.newest[theirs]  # the claim is over
        claimer_call = lambda: claimer.finish_delivery(ours, **result._asdict())  # noqa: E731
        claimer_call()
        if self.rng.random() < 0.2:
            claimer_call()  # again, as after a lost answer

    def drop(self):
        if self.rng.random() < 0.2:
            target = self.rng.choice(TARGETS)
            expected = deliveries.drop(self.sqlite.connection, target, "dropped", False)
            assert self.any.drop_deliveries(target, "dropped") == expected

    def hasten(self):
        target = self.rng.choice(TARGETS)
        deliveries.hasten(self.sqlite.connection, target, self.now_ms)
        self.call(self.any, "hasten_deliveries", target, self.now_ms)

    def trim(self):
        if self.rng.random() < 0.3:
            before_ms, most = self.now_ms - self.rng.randrange(2 * LEASE_MS), self.rng.choice([3, 10, 100])
            assert self.any.trim(before_ms, most) == self.sqlite.trim(before_ms, most)

    def later(self):
        self.now_ms += self.rng.choice([1, 1000, 5000, LEASE_MS])

    def check(self):
        theirs = deliveries.deliveries(self.sqlite.connection, self.sqlite.damage, None, None, 500)
        ours = self.any.deliveries(None, None, 500)
        for one, other in zip(theirs, ours, strict=True):
            self.numbers[other.number] = one.number
        assert [self.compared(one) for one in ours] == theirs
        target = self.rng.choice(TARGETS)
        mine = [one for one in ours if one.target == target]
        before = self.rng.choice(ours).number if ours else None
        expected = [one for one in mine if before is None or one.number < before][:7]
        assert self.any.deliveries(target, before, 7) == expected
        assert (
            self.any.deliveries(None, before, 7) == [one for one in ours if before is None or one.number < before][:7]
        )
        keys = [f"k{self.rng.randrange(self.n_keys + 1)}" for _ in range(9)]
        assert self.any.delivery_states(target, keys) == deliveries.states(self.sqlite.connection, target, keys)
        queued = [("a", "new", "1", 5, "", 2)]
        expected = deliveries.waiting(self.sqlite.connection, self.sqlite.damage, lambda: queued)
        assert self.any.waiting_deliveries(lambda: queued) == expected

    def end(self):
        """Delivers all, and looks whether an index still leads somewhere."""
        self.now_ms += 10 * LEASE_MS
        claimer = self.redis[0]
        while found := claimer.next_deliveries(self.now_ms, 100):
            for one in found:
                claimer.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="")
        assert claimer.waiting_deliveries() == {}
        left = claimer._link.call(-1, "EXISTS", *claimer._keys[4:9])
        assert left == 0
        while claimer.trim(self.now_ms).removed:
            pass
        assert claimer._link.call(-1, "EXISTS", *claimer._keys[1:3], *claimer._keys[4:]) == 0


@pytest.mark.parametrize("seed", range(6))
def test_the_same_calls_have_the_same_answers(redis_server, tmp_path, seed):
    with outboxes(redis_server.port, uuid.uuid4().hex, CLAIMERS) as found:
        twins = Twins(seed, tmp_path / "some.db", found)
        steps = [twins.put, twins.put, twins.claim, twins.claim, twins.claim, twins.finish, twins.finish, twins.finish,
                 twins.hasten, twins.drop, twins.trim, twins.later]  # fmt: skip
        for n in range(250):
            twins.rng.choice(steps)()
            if n % 5 == 0:
                twins.check()
        twins.end()
        twins.sqlite.connection.close()
