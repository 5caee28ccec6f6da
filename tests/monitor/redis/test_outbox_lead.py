# SPDX-License-Identifier: MIT
"""Only one may put into the outbox: the leader with the highest fence, as long as Redis has all that it has put."""

from __future__ import annotations

import logging
import uuid

import pytest

pytest.importorskip("redis")

from heartfelt.monitor.store import Superseded
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outbox import BATCH
from tests.monitor.redis.outbox_store import outboxes


def test_the_fence(redis_server, caplog):
    with outboxes(redis_server.port, uuid.uuid4().hex, 3) as (old, new, other):
        rows = [("t", "k", "1", 1, "", 2)]
        other.put_deliveries(rows)  # nobody leads
        assert old.lead(5) is None
        old.put_position({"seq": 7})
        old.lead(5)
        assert new.lead(6) == {"seq": 7}
        for lead in (lambda: old.put_position({"seq": 8}), lambda: old.lead(5)):
            with pytest.raises(Superseded):
                lead()
        with caplog.at_level(logging.ERROR):
            assert old.put_deliveries([("t", f"k{n}", "1", 1, "", 2) for n in range(300)]) == 0
            old.put_told("t", {("a", "b"): ("k",), ("c", "d"): None})
        assert old.refused == 302 and caplog.text.count("another one puts it") == 1
        assert other.put_deliveries(rows) == 0 and other.refused == 1
        (one,) = old.next_deliveries(1, 9)
        old.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="200")  # what it has sent is sent
        assert new.delivery_states("t", ["k", "k2"]) == {"k": "done"}
        assert new.told() == {} and new.lead(6) == {"seq": 7}


@pytest.mark.parametrize("lost", ["a message", "the position"])
def test_a_leader_finds_that_redis_has_lost_what_it_put(redis_server, lost):
    """A replica has taken over that did not have the last write."""
    with outboxes(redis_server.port, uuid.uuid4().hex) as (leader,):
        leader.lead(5)
        leader.put_position({"seq": 1})
        leader.put_deliveries([("t", "k1", "1", 1, "", 2)])
        before = {key: leader._link.call(-1, "DUMP", key) for key in leader._keys}
        if lost == "a message":
            leader.put_deliveries([("t", "k2", "1", 1, "", 2)])
        else:
            leader.put_position({"seq": 2})
        for key, dump in before.items():
            leader._link.call(-1, "DEL", key)
            if dump is not None:
                leader._link.call(-1, "RESTORE", key, 0, dump)
        leader.put_told("t", {("a", "b"): ("k",)})
        assert leader.refused == 1 and leader.told() == {}
        with pytest.raises(Superseded):
            leader.put_position({"seq": 3})
        assert leader.lead(5) == {"seq": 1}
        leader.put_position({"seq": 3})
        assert leader.lead(6) == {"seq": 3}


def test_a_leader_whose_answers_are_lost_has_lost_no_write(redis_server):
    with outboxes(redis_server.port, uuid.uuid4().hex) as (leader,):
        leader.lead(5)

        def fail(words):
            leader._link.after = lambda words: None
            raise Unreachable("lost")

        for call in (
            lambda: leader.put_deliveries([("t", "k", "1", 1, "", 2)]),
            lambda: leader.put_told("t", {("a", "b"): ("k",)}),
            lambda: leader.put_position({"seq": 3}),
        ):
            leader._link.after = fail
            with pytest.raises(Unreachable):
                call()
            call()
        assert leader.refused == 0 and leader.lead(5) == {"seq": 3}


def test_a_leader_frees_the_claims_of_monitors_that_are_gone(redis_server):
    """Also more than one script looks at, of any target and level, and nothing that waits for its next attempt."""
    with outboxes(redis_server.port, uuid.uuid4().hex, 3) as (dead, alive, leader):
        rows = [(f"t{n % 7}", f"k{n}", "1", 1, str(n), n % 3) for n in range(300)]
        leader.put_deliveries(rows)
        of_dead = [one for _ in range(2) for one in dead.next_deliveries(10, BATCH)]
        of_alive = alive.next_deliveries(10, 50)
        retried = of_dead.pop()
        dead.finish_delivery(retried.number, ok=False, retry_at_ms=5000, answer="500")
        leader.lead(5)
        living = [alive.claimer, leader.claimer]
        assert leader.free_claims([*living, dead.claimer], 20) == 0
        assert leader.free_claims(living, 20) == len(of_dead) == 2 * BATCH - 1
        assert leader.free_claims(living, 20) == 0
        again = [one for _ in range(4) for one in leader.next_deliveries(20, BATCH)]
        assert {one.number for one in again} >= {one.number for one in of_dead}
        assert not {one.number for one in again} & {retried.number, *(one.number for one in of_alive)}
        assert len(again) == 300 - len(of_alive) - 1
        of = {one.number: one for one in again}
        assert {of[one.number].attempts for one in of_dead} == {2}  # it may have been sent
        dead.finish_delivery(of_dead[0].number, ok=False, retry_at_ms=None, answer="late")  # it was only stopped
        dead.finish_delivery(of_dead[1].number, ok=True, retry_at_ms=None, answer="200")
        states = {one.number: one.state for one in leader.deliveries(None, None, 300)}
        assert [states[one.number] for one in of_dead[:2]] == ["claimed", "done"]
        leader.put_position({"seq": 1})  # its writes are counted as before


def test_only_the_leader_frees_claims(redis_server):
    with outboxes(redis_server.port, uuid.uuid4().hex, 2) as (old, new):
        old.lead(5)
        old.put_deliveries([("t", "k", "1", 1, "", 2)])
        new.lead(6)
        new.next_deliveries(10, 9)
        with pytest.raises(Superseded):
            old.free_claims([old.claimer], 20)
        assert [one.state for one in new.deliveries(None, None, 9)] == ["claimed"]
