# SPDX-License-Identifier: MIT
"""Several monitors claim, die, come back late and lose answers, at once. What each got is held against a model."""

from __future__ import annotations

import itertools
import random
import threading
import time
import uuid
from typing import NamedTuple

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.store import LEASE_MS
from heartfelt.monitor.store.redis.link import FLEET, Unreachable
from tests.monitor.redis.outbox_store import outboxes
from tests.monitor.redis.servers import RedisServer
from tests.monitor.store.values import LONG_S, NOON_MS

TARGETS, SUBJECTS, EACH, CLAIMERS = 4, 5, 6, 5


class Claim(NamedTuple):
    attempt: int
    claimer: int
    now_ms: int
    seen: int
    """The moment after its answer."""


class Finish(NamedTuple):
    claimer: int
    ok: bool
    retry_at_ms: int | None
    begun: int
    """The moment before it was sent."""
    ended: int
    """The moment after its answer."""


class Fleet:
    """Threads that claim and finish until all is settled. Each has dice of its own; the clock goes on as they roll."""

    def __init__(self, seed, found, lossy):
        self.found, self.lossy, self.seed = found, lossy, seed
        self.lock = threading.Lock()
        self.moments = itertools.count()
        self.now_ms = NOON_MS
        self.claims, self.finishes = {}, {}
        self.errors = []

    def put_all(self):
        rows = [
            (f"t{target}", f"{target}-{subject}-{n}", f'["s{subject}",{n}]', NOON_MS, f"s{subject}", n % 3)
            for n in range(EACH)
            for subject in range(SUBJECTS)
            for target in range(TARGETS)
        ]
        self.found[0].put_deliveries(rows)
        return rows

    def run(self):
        threads = [threading.Thread(target=self._guarded, args=(n,)) for n in range(CLAIMERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert self.errors == []

    def _guarded(self, n):
        try:
            self._claimer(n, random.Random(self.seed * 100 + n))
        except BaseException as error:
            self.errors.append(error)
            raise

    def _call(self, rng, outbox, name, *arguments, **more):
        """Repeats a call until it has an answer."""
        link = outbox._link
        while True:
            if self.lossy and rng.random() < 0.15:

                def fail(words):
                    raise Unreachable("lost")

                if rng.random() < 0.6:
                    link.after = fail
                else:
                    link.before = fail
            try:
                return getattr(outbox, name)(*arguments, **more)
            except Unreachable:
                pass
            finally:
                link.before = link.after = lambda words: None

    def _claimer(self, n, rng):
        outbox, held = self.found[n], []
        give_up_s = time.monotonic() + LONG_S
        while True:
            assert time.monotonic() < give_up_s
            with self.lock:
                self.now_ms += rng.choice((0, 1, 50, 50, 5000, LEASE_MS // 3))
                now_ms = self.now_ms
            room = {f"t{target}": rng.randrange(4) for target in range(TARGETS) if rng.random() < 0.3}
            some = self._call(rng, outbox, "next_deliveries", now_ms, rng.randrange(1, 8), room)
            moment = next(self.moments)
            for one in some:
                with self.lock:
                    self.claims.setdefault(one.key, []).append(Claim(one.attempts, n, now_ms, moment))
                held.append(one)
            rng.shuffle(held)
            while held and rng.random() < 0.6:  # the others later, perhaps after their claim has ended
                one = held.pop()
                if rng.random() < 0.1:
                    continue  # it dies with it
                ok, retry = rng.random() < 0.5, rng.choice((None, now_ms, now_ms + rng.randrange(100)))
                begun = next(self.moments)
                self._call(rng, outbox, "finish_delivery", one.number, ok=ok, retry_at_ms=retry, answer=f"{n}")
                with self.lock:
                    self.finishes.setdefault(one.key, []).append(Finish(n, ok, retry, begun, next(self.moments)))
            if not some and not self._call(rng, outbox, "waiting_deliveries"):
                return


def check(fleet, rows, stored):
    """`stored`: the deliveries at the end."""
    assert sorted(one.key for one in stored) == sorted(row[1] for row in rows)  # nothing is lost, nothing twice
    assert {one.state for one in stored} <= {"done", "failed"}
    for one in stored:
        claims = sorted(fleet.claims[one.key])
        finishes = fleet.finishes.get(one.key, [])
        assert len({claim.attempt for claim in claims}) == len(claims)  # each claim is another attempt
        assert any(end.ok for end in finishes) or one.state == "failed"
        # It was given up, if so, before anyone said that it is done.
        given_up = [end for end in finishes if not end.ok and end.retry_at_ms is None]
        oks = [end for end in finishes if end.ok]
        if one.state == "failed":
            assert given_up and all(any(end.begun < ok.ended for end in given_up) for ok in oks)
        for before, after in itertools.pairwise(claims):
            # A result is of its claimer's newest claim, also if it has had the delivery since an earlier one.
            retries = [end for end in finishes if end.claimer == before.claimer and not end.ok]
            told_to_retry = any(
                end.retry_at_ms is not None and end.retry_at_ms <= after.now_ms and end.begun < after.seen
                and end.ended > before.seen
                for end in retries
            )  # fmt: skip
            assert told_to_retry or after.now_ms >= before.now_ms + LEASE_MS
    # In order: a later one of a subject is claimed only after the earlier one's end was sent.
    for target, subject, n in itertools.product(range(TARGETS), range(SUBJECTS), range(1, EACH)):
        first = min(claim.seen for claim in fleet.claims[f"{target}-{subject}-{n}"])
        ends = fleet.finishes[f"{target}-{subject}-{n - 1}"]
        assert min(end.begun for end in ends if end.ok or end.retry_at_ms is None) < first


@pytest.mark.parametrize("lossy", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_exactly_one_has_a_delivery_at_a_time(redis_server, seed, lossy):
    with outboxes(redis_server.port, uuid.uuid4().hex, CLAIMERS) as found:
        fleet = Fleet(seed, found, lossy)
        rows = fleet.put_all()
        fleet.run()
        check(fleet, rows, found[0].deliveries(None, None, 1000))
        assert found[0].damaged == 0


def test_the_same_is_put_by_all_at_once(redis_server):
    with outboxes(redis_server.port, uuid.uuid4().hex, CLAIMERS) as found:
        rows = [("t", f"k{n}", "1", NOON_MS, f"s{n % 9}", 2) for n in range(300)]
        new, threads = [], []
        for outbox in found:
            threads.append(threading.Thread(target=lambda one=outbox: new.append(one.put_deliveries(rows))))
            threads[-1].start()
        for thread in threads:
            thread.join()
        assert sum(new) == len(rows) == found[0].waiting_deliveries()["t"].count
        assert len(found[0].deliveries("t", None, 999)) == len(rows)


def test_a_redis_that_is_emptied_in_the_middle(tmp_path):
    server = RedisServer(tmp_path)
    try:
        with outboxes(server.port, "hf", 2) as (one, two):
            rows = [("t", f"k{n}", "1", NOON_MS, f"s{n}", 2) for n in range(9)]
            one.put_deliveries(rows)
            one.put_told("t", {("shop", "a"): ("k1",)})
            before = one.next_deliveries(NOON_MS, 4)
            emptied_at = _time_ms(one)
            one._link.call(FLEET, "FLUSHALL")
            assert one.finish_delivery(before[0].number, ok=True, retry_at_ms=None, answer="") is None
            assert two.waiting_deliveries() == two.told() == two.delivery_states("t", ["k1"]) == {}
            assert (
                two.deliveries(None, None, 9) == two.deliveries("t", None, 9) == two.next_deliveries(NOON_MS, 9) == []
            )
            assert two.drop_deliveries("t", "") == 0 and not two.trim(NOON_MS).more
            two.hasten_deliveries("t", NOON_MS)
            while _time_ms(one) <= emptied_at:
                pass
            two.put_deliveries(rows)
            after = two.next_deliveries(NOON_MS, 9)
            assert len(after) == 9
            assert min(delivery.number for delivery in after) > max(delivery.number for delivery in before)
            for delivery in before:  # of before: they are not those of now
                one.finish_delivery(delivery.number, ok=True, retry_at_ms=None, answer="")
            assert two.waiting_deliveries()["t"].count == 9
    finally:
        server.end()


def test_a_redis_that_is_emptied_while_all_work(tmp_path):
    server = RedisServer(tmp_path)
    try:
        with outboxes(server.port, "hf", CLAIMERS + 1) as (*found, last):
            fleet = Fleet(7, found, True)
            fleet.put_all()
            worker = threading.Thread(target=fleet.run)
            worker.start()
            while worker.is_alive():
                last._link.call(FLEET, "FLUSHALL")
                last.put_deliveries([("t0", f"new{next(fleet.moments)}", "1", NOON_MS, "s", 2)])
                worker.join(0.05)
                if len(fleet.claims) > 20:
                    last._link.call(FLEET, "FLUSHALL")
                    break
            worker.join()
            assert fleet.errors == []
            last.put_deliveries([("t", "k", "1", NOON_MS, "", 2)])
            assert [one.key for one in last.next_deliveries(NOON_MS, 9)] == ["k"]
            assert last.damaged == 0
    finally:
        server.end()


def _time_ms(outbox):
    seconds, micros = outbox._link.call(FLEET, "TIME")
    return int(seconds) * 1000 + int(micros) // 1000
