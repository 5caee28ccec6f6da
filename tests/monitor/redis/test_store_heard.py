# SPDX-License-Identifier: MIT
"""Redis has something of an instance that the loop has not heard of: a loss, or the row with which it came. What the
loop puts meanwhile must not be written: it would be a change from a state that nobody has seen."""

from __future__ import annotations

import time

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")
from heartfelt.monitor.model import State
from heartfelt.monitor.store.redis.leases import Accepted, Entry, Refused
from heartfelt.monitor.store.redis.link import Unreachable
from heartfelt.monitor.store.redis.outcomes import AskedLoss
from tests.monitor.redis.storing import Told, a_prefix, all_changes, joined, make_store, put, run, until
from tests.monitor.redis.test_store_outages import Losing, flushed
from tests.monitor.store.values import change, instance

NAME = b"4:shopa"


@pytest.fixture
def opened(redis_server, link_to):
    """opened(): (store, link, what it was told) of one more monitor on the same Redis."""
    prefix, stores = a_prefix(), []

    def make(**options):
        link, told = Losing(link_to(redis_server.url)), Told()
        stores.append(make_store(link, prefix, listener=told, **options))
        stores[-1].open()
        return stores[-1], link, told

    yield make
    for one in stores:
        one.close()


def a_loss(row):
    lost = change(0, id=row.id, instance_id=row.instance_id, old=row.state, new=State.LOST)
    gone = instance(row.id, instance_id=row.instance_id, state=State.LOST)
    return AskedLoss(gone, lost, time.time_ns() // 1_000_000 - 1000)


def told_lost(store, row, seq):
    """Does what the loop does once it has heard of a loss."""
    assert store.heard([row.id]) == [row.id]
    store.put_change(change(seq, id=row.id, instance_id=row.instance_id, old=row.state, new=State.LOST))
    row.state = State.LOST
    store.put_instance(row)


async def history(store, row):
    """The states, oldest first; each change begins with the state in which the one before has ended."""
    found = [one for one in await all_changes(store) if one.id == row.id][::-1]
    assert [one.old for one in found] == [None, *[one.new for one in found[:-1]]]
    return [one.new.value for one in found]


def test_what_was_put_before_a_loss_was_heard_of_did_not_happen(opened):
    store, _, _ = opened()

    async def body():
        (row,) = await joined(store, "a")
        (accepted,) = await store.lose([a_loss(row)])
        assert isinstance(accepted, Accepted)
        put(store, row, State.NEW, State.UP)  # it beats, before the loop has the answer
        await store.flush()
        put(store, row, State.UP, State.LATE)
        told_lost(store, row, accepted.seqs[0])
        put(store, row, State.LOST, State.UP)
        await store.flush()
        assert await history(store, row) == ["NEW", "LOST", "UP"]

    run(body())


def test_a_loss_that_was_recorded_though_the_answer_was_lost_is_told(opened):
    store, link, told = opened()

    async def body():
        (row,) = await joined(store, "a")
        link.swallow = "change"
        loss = a_loss(row)
        (answer,) = await store.lose([loss])
        assert isinstance(answer, Unreachable)
        put(store, row, State.NEW, State.LATE)  # it is held
        link.swallow = ""
        await until(lambda: told.losses, "the loss")
        ((_, change),) = told.losses
        assert change.new is State.LOST
        (again,) = await store.lose([loss])  # the loop has not heard of it
        assert isinstance(again, Unreachable)
        assert again.refused
        put(store, row, State.LATE, State.UP)
        told_lost(store, row, change.seq)
        put(store, row, State.LOST, State.UP)
        await flushed(store)
        assert await history(store, row) == ["NEW", "LOST", "UP"]
        assert [one.new for one in told.changes] == [State.NEW, State.LOST, State.UP]

    run(body())


@pytest.mark.parametrize("is_late", [False, True], ids=["answered", "unanswered"])
def test_an_instance_that_was_removed_before_its_loss_was_heard_of_is_removed_from_lost(opened, is_late):
    store, link, _ = opened()

    async def body():
        (row,) = await joined(store, "a")
        link.swallow = "change" if is_late else ""
        await store.lose([a_loss(row)])
        put(store, row, State.NEW, State.UP)
        put(store, row, State.UP, State.REMOVED)
        link.swallow = ""
        await flushed(store)
        assert await history(store, row) == ["NEW", "LOST", "REMOVED"]
        (entry,) = await store.reserve([("shop", "a")])
        assert isinstance(entry, Entry)
        assert entry.id != row.id

    run(body())


def test_a_question_that_waited_while_the_instance_beat_is_not_asked(opened):
    store, _, _ = opened()

    async def body():
        (row,) = await joined(store, "a")
        loss = a_loss(row)._replace(stands=lambda: False)
        put(store, row, State.NEW, State.UP)  # it has beaten since
        (answer,) = await store.lose([loss])
        assert answer == Refused(early=True)
        await store.flush()
        assert await history(store, row) == ["NEW", "UP"]

    run(body())


async def taken(store, row):
    """MOVE with consent."""
    (owned,) = await store.reserve([("shop", "a")])
    (found,) = await store.move([(NAME, owned, True)])
    assert found.entry.id == row.id
    return found


def test_an_instance_that_comes_back_goes_on_from_its_row(opened):
    """It went to another monitor and came back, before the loop has heard that it was away."""
    one, _, told = opened(watch_s=1000.0)
    two, _, _ = opened()

    async def body():
        (row,) = await joined(one, "a")
        found = await taken(two, row)
        assert not found.is_kept
        assert two.heard([row.id]) == [row.id]
        put(two, found.row, State.NEW, State.UP)
        await two.flush()
        back = await taken(one, row)
        assert back.row.state is State.UP
        put(one, row, State.NEW, State.LATE)  # the loop has the former one still
        await one.flush()
        put(one, row, State.LATE, State.FAILED)
        assert one.heard([row.id]) == [row.id]
        put(one, back.row, State.UP, State.LATE)
        await one.flush()
        assert await history(one, row) == ["NEW", "UP", "LATE"]
        assert told.refusals == []
        (again,) = await one.move([(NAME, await one.lease_job(lambda leases: owned_by(leases, back)), True)])
        assert again.is_kept

    run(body())


def owned_by(leases, found):
    (owned,) = leases.reserve([NAME])
    assert owned.entry == found.entry
    return owned


def test_that_an_instance_went_is_told_before_it_comes_back(opened):
    one, _, told = opened(watch_s=1000.0)
    two, _, _ = opened()

    async def body():
        (row,) = await joined(one, "a")
        await taken(two, row)
        order = []
        told.renewed = lambda renewal: order.extend(("went", entry.id) for _, entry in renewal.moved)
        one._writer._renewing.renew_soon()
        back = await taken(one, row)
        order.append(("came", back.entry.id))
        assert order == [("went", row.id), ("came", row.id)]

    run(body())


def test_what_has_gone_again_is_not_taken(opened):
    one, _, _ = opened()
    two, _, told = opened()

    async def body():
        (row,) = await joined(one, "a")
        await taken(two, row)
        await taken(one, row)
        await until(lambda: any(renewal.moved for renewal in told.renewals), "that it went")
        assert two.heard([row.id]) == []
        assert one.heard([row.id]) == [row.id]

    run(body())
