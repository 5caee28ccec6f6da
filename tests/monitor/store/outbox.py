# SPDX-License-Identifier: MIT
"""The outbox: once a key, in order per subject, the urgent first, claimed by one."""

from __future__ import annotations

import asyncio

from heartfelt.monitor.model import Level
from heartfelt.monitor.store import LEASE_MS, Backlog
from tests.monitor.store.values import NOON_MS

run = asyncio.run


def claimed(store, now_ms=NOON_MS, limit=100, room=None):
    return run(store.next_deliveries(now_ms, limit, room))


def finished(store, one, *, ok=False, retry_at_ms=None, answer="", **more):
    run(store.finish_delivery(one.number, ok=ok, retry_at_ms=retry_at_ms, answer=answer, **more))


def put(store, *keys, target="t", **more):
    for key in keys:
        store.put_delivery(target, key, key, **more)
    run(store.flush())


def payloads(found):
    return [one.payload for one in found]


class OutboxContract:
    def test_a_key_is_delivered_once_to_each_target(self, again):
        store, _ = again()
        for n in range(3):
            store.put_delivery("one", "change-1", {"n": n})
        run(store.flush())
        store.put_delivery("one", "change-1", {"n": 3})
        store.put_delivery("two", "change-1", {"n": 4})
        run(store.flush())
        got = claimed(store)
        assert [(d.target, d.payload, d.attempts, d.state) for d in got] == [
            ("one", {"n": 0}, 1, "claimed"),
            ("two", {"n": 4}, 1, "claimed"),
        ]
        run(store.finish_delivery(got[0].number, ok=True, retry_at_ms=None, answer="200"))
        store, _ = again()
        store.put_delivery("one", "change-1", {"n": 5})
        run(store.flush())
        assert claimed(store) == []
        assert store.health().refused == 0  # it is no fault to put it again

    def test_order_of_a_target(self, store):
        for n in range(4):
            store.put_delivery("slow", f"k{n}", n)
        store.put_delivery("other", "k", "x")
        run(store.flush())
        first, other = claimed(store)
        assert (first.payload, other.payload) == (0, "x")
        assert claimed(store) == []
        run(store.finish_delivery(first.number, ok=False, retry_at_ms=NOON_MS + 1000, answer="500"))
        assert claimed(store, NOON_MS + 999) == []  # the ones behind it wait as well
        (again,) = claimed(store, NOON_MS + 1000)
        assert (again.number, again.attempts, again.answer) == (first.number, 2, "500")
        run(store.finish_delivery(again.number, ok=False, retry_at_ms=None, answer="410"))
        (second,) = claimed(store, NOON_MS + 1000)
        assert second.payload == 1
        run(store.finish_delivery(second.number, ok=True, retry_at_ms=None, answer="200"))
        assert [d.payload for d in claimed(store)] == [2]
        waiting = run(store.waiting_deliveries())
        assert {target: one.count for target, one in waiting.items()} == {"other": 1, "slow": 2}

    def test_order_holds_within_a_subject_and_none_waits_for_another(self, store):
        put(store, "a1", "a2", "a3", subject="a")
        put(store, "b1", "b2", subject="b")
        a1, b1 = claimed(store)
        assert payloads((a1, b1)) == ["a1", "b1"]
        finished(store, a1, retry_at_ms=NOON_MS + 9000)
        finished(store, b1, ok=True)
        (b2,) = claimed(store)
        assert b2.payload == "b2"
        finished(store, b2, ok=True)
        put(store, "b3", subject="b")
        assert payloads(claimed(store)) == ["b3"]
        waits = {one.payload: one.next_ms for one in run(store.deliveries("t", None, 9))}
        assert (waits["a1"], waits["a2"], waits["a3"]) == (NOON_MS + 9000, None, None)
        (a1,) = claimed(store, NOON_MS + 9000)
        finished(store, a1)  # given up
        assert payloads(claimed(store)) == ["a2"]

    def test_the_more_urgent_come_first_and_those_before_them_of_their_subject(self, store, wall):
        put(store, "n1", subject="n", level=Level.NORMAL)
        put(store, "i1", subject="i", level=Level.IMPORTANT)
        wall.ms += 1000
        put(store, "e1", subject="e", level=Level.EMERGENCY)
        put(store, "n2", subject="n", level=Level.EMERGENCY)
        found = [claimed(store, wall.ms, limit=1)[0] for _ in range(3)]
        assert payloads(found) == ["n1", "e1", "i1"]  # n2 waits for n1
        finished(store, found[0], ok=True)
        assert payloads(claimed(store, wall.ms)) == ["n2"]

    def test_a_target_gets_no_more_than_there_is_room_for(self, store):
        for n in range(4):
            put(store, f"f{n}", target="full", subject=str(n), level=Level.EMERGENCY)
            put(store, f"r{n}", target="roomy", subject=str(n))
            put(store, f"u{n}", target="unnamed", subject=str(n))
        room = {"full": 0, "roomy": 2}
        assert payloads(claimed(store, limit=5, room=room)) == ["r0", "u0", "r1", "u1", "u2"]
        assert payloads(claimed(store, limit=5, room={"full": 1, "roomy": 0, "unnamed": 0})) == ["f0"]
        assert claimed(store, limit=5, room=dict.fromkeys(("full", "roomy", "unnamed"), 0)) == []

    def test_a_claim_without_a_call_is_no_attempt(self, store):
        put(store, "k")
        (one,) = claimed(store)
        finished(store, one, retry_at_ms=NOON_MS, tried=False)
        assert [one.attempts for one in claimed(store)] == [1]

    def test_what_waits_for_a_target_can_be_dropped_or_made_due(self, again):
        store, _ = again()
        put(store, "a1", "a2", subject="a")
        put(store, "b1", subject="b")
        put(store, "c1", target="other")
        a1, b1, _ = claimed(store)
        finished(store, a1, retry_at_ms=NOON_MS + 600_000)
        run(store.hasten_deliveries("t", NOON_MS + 5))
        assert payloads(claimed(store, NOON_MS + 5)) == ["a1"]
        store.put_delivery("t", "a3", 1, subject="a")  # not written yet
        assert run(store.drop_deliveries("t", "deleted")) == 4
        finished(store, b1, ok=True)  # too late: it is settled
        assert {(one.state, one.answer) for one in run(store.deliveries("t", None, 9))} == {("failed", "deleted")}
        assert run(store.waiting_deliveries()).keys() == {"other"}
        put(store, "a4", subject="a")
        assert payloads(claimed(store)) == ["a4"]

    def test_states_of_deliveries_by_key(self, store):
        put(store, "k1", "k2", "k3", "k4", subject="s")
        (one,) = claimed(store)
        finished(store, one, ok=True)
        (two,) = claimed(store)
        finished(store, two)
        claimed(store)
        assert run(store.delivery_states("t", ["k1", "k2", "k3", "k4", "k5"])) == {
            "k1": "done", "k2": "failed", "k3": "claimed", "k4": "waiting",
        }  # fmt: skip
        assert run(store.delivery_states("u", ["k1"])) == {}

    def test_what_targets_were_told_outlives_a_restart(self, again):
        store, _ = again()
        store.put_told("t", {("shop", "a"): ("change-1",), ("shop", "b"): ("mass-change-1", "change-9")})
        store.put_told("u", {("shop", "a"): ()})
        store.put_told("t", {("shop", "a"): None, ("mail", "c"): ("change-3",)})
        run(store.flush())
        store.put_told("u", {("shop", "b"): ("change-2",)})
        store, _ = again()
        assert run(store.told()) == {
            "t": {("mail", "c"): ("change-3",), ("shop", "b"): ("mass-change-1", "change-9")},
            "u": {("shop", "a"): (), ("shop", "b"): ("change-2",)},
        }
        run(store.drop_deliveries("t", "deleted", forget=True))
        assert run(store.told()).keys() == {"u"}

    def test_the_oldest_that_waits_of_each_target(self, store, wall):
        store.put_delivery("a", "k1", 1)
        wall.ms += 1000
        store.put_delivery("a", "k2", 2)
        store.put_delivery("b", "k1", 1)
        run(store.flush())
        wall.ms += 1000
        assert run(store.waiting_deliveries()) == {
            "a": Backlog(count=2, oldest_ms=NOON_MS),
            "b": Backlog(count=1, oldest_ms=NOON_MS + 1000),
        }
        (first,) = claimed(store, wall.ms, limit=1)
        run(store.finish_delivery(first.number, ok=True, retry_at_ms=None, answer="200"))
        assert run(store.waiting_deliveries())["a"] == Backlog(count=1, oldest_ms=NOON_MS + 1000)

    def test_limit_and_many_targets(self, store):
        for n in range(25):
            store.put_delivery(f"t{n:02}", "k", n)
        run(store.flush())
        got = [claimed(store, limit=10) for _ in range(4)]
        assert [len(some) for some in got] == [10, 10, 5, 0]
        assert {d.payload for some in got for d in some} == set(range(25))

    def test_a_claim_ends(self, again):
        store, _ = again()
        store.put_delivery("t", "k", 1)
        run(store.flush())
        (first,) = claimed(store)
        assert first.next_ms == NOON_MS + LEASE_MS
        store, _ = again()
        assert claimed(store, NOON_MS + LEASE_MS - 1) == []
        (second,) = claimed(store, NOON_MS + LEASE_MS)
        assert (second.number, second.attempts) == (first.number, 2)

    def test_what_is_settled_stays_so(self, store):
        store.put_delivery("t", "k", 1)
        run(store.flush())
        (one,) = claimed(store)
        run(store.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="200"))
        run(store.finish_delivery(one.number, ok=False, retry_at_ms=NOON_MS, answer="500"))
        run(store.finish_delivery(one.number + 1000, ok=True, retry_at_ms=None, answer="of nothing"))
        (got,) = run(store.deliveries("t", None, 9))
        assert (got.state, got.answer, got.next_ms) == ("done", "200", None)
        assert claimed(store, NOON_MS + 10 * LEASE_MS) == []

    def test_two_who_claim_at_once_get_different_ones(self, store):
        for n in range(40):
            store.put_delivery(f"t{n}", "k", n)

        async def both():
            await store.flush()
            return await asyncio.gather(*(store.next_deliveries(NOON_MS, 10) for _ in range(8)))

        numbers = [d.number for some in run(both()) for d in some]
        assert len(numbers) == len(set(numbers)) == 40

    def test_deliveries_newest_first(self, store, wall):
        for n in range(30):
            wall.ms += 1
            store.put_delivery("ab"[n % 2], f"k{n}", n)
        run(store.flush())
        page = run(store.deliveries(None, None, 10))
        assert [d.payload for d in page] == list(range(29, 19, -1))
        assert [d.payload for d in run(store.deliveries(None, page[-1].number, 2))] == [19, 18]
        of_b = run(store.deliveries("b", None, 2))
        assert [(d.payload, d.created_ms, d.state, d.attempts) for d in of_b] == [
            (29, NOON_MS + 30, "waiting", 0),
            (27, NOON_MS + 28, "waiting", 0),
        ]
