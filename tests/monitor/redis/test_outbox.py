# SPDX-License-Identifier: MIT
"""The outbox in Redis: the contract, and what only it has."""

from __future__ import annotations

import logging
import uuid

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("redis")

from heartfelt.monitor.store import LEASE_MS, Backlog
from heartfelt.monitor.store.redis.link import FLEET, Unreachable
from heartfelt.monitor.store.redis.outbox import BATCH
from tests.monitor.redis.outbox_store import OutboxStore, outboxes
from tests.monitor.store.outbox import OutboxContract
from tests.monitor.store.values import NOON_MS, Clock

ANY = ["a", "a:b", "{f}", "{x}y", "*?[a-z]", "new\nline", "\0\1\x7f", "ÄÖ 名前 🎉", "\ud800", "", "x" * 3000]


@pytest.fixture
def prefix():
    return f"t{uuid.uuid4().hex}"


@pytest.fixture
def outbox(redis_server, prefix):
    with outboxes(redis_server.port, prefix) as (one,):
        yield one


class TestRedisOutbox(OutboxContract):
    @pytest.fixture
    def wall(self):
        return Clock()

    @pytest.fixture
    def again(self, redis_server, prefix, wall):
        stores = []

        def reopen():
            if stores:
                stores[-1].close()
            stores.append(OutboxStore(redis_server.port, prefix, wall))
            return stores[-1], stores[-1].open()

        yield reopen
        if stores:
            stores[-1].close()

    @pytest.fixture
    def store(self, again):
        return again()[0]


def row(key, target="t", subject="", level=2, payload="0", created_ms=NOON_MS):
    return (target, key, payload, created_ms, subject, level)


def keys_of(found):
    return [one.key for one in found]


def fails_once(link, name, *, executed):
    """The next call of the script `name` gets no answer."""

    def fail(words):
        if getattr(words[0], "name", words[0]) == name:
            link.before = link.after = lambda words: None
            raise Unreachable("the connection was reset")

    if executed:
        link.after = fail
    else:
        link.before = fail


def test_names_of_any_bytes(outbox):
    for target in ANY:
        outbox.put_deliveries(
            [row(key, target, subject, payload='"p"') for key, subject in zip(ANY, ANY[::-1], strict=True)]
        )
        outbox.put_told(target, {(one, two): (one, two) for one, two in zip(ANY, ANY[::-1], strict=True)})
    found = []
    while some := outbox.next_deliveries(NOON_MS, BATCH):
        found += some
    assert sorted((one.target, one.key) for one in found) == sorted((target, key) for target in ANY for key in ANY)
    assert outbox.waiting_deliveries() == dict.fromkeys(ANY, Backlog(count=len(ANY), oldest_ms=NOON_MS))
    assert outbox.told() == {target: {(a, b): (a, b) for a, b in zip(ANY, ANY[::-1], strict=True)} for target in ANY}
    for target in ANY:
        assert outbox.delivery_states(target, ANY) == dict.fromkeys(ANY, "claimed")
        assert keys_of(outbox.deliveries(target, None, 99)) == ANY[::-1]
        assert outbox.drop_deliveries(target, "\ud800 名", forget=True) == len(ANY)
    assert {one.answer for one in outbox.deliveries(None, None, 999)} == {"\ud800 名"}
    assert outbox.waiting_deliveries() == outbox.told() == {}


def test_targets_and_keys_do_not_run_into_each_other(outbox):
    outbox.put_deliveries([row("b", "a", "s"), row("", "ab", "s"), row("ab", "", "s"), row("a", "b", "s")])
    assert len(outbox.next_deliveries(NOON_MS, 9)) == 4


def test_payloads_of_64_kb(outbox):
    payload = '"' + "x" * 65_534 + '"'
    assert outbox.put_deliveries(row(f"k{n}", subject=str(n), payload=payload) for n in range(150)) == 150
    assert outbox.put_deliveries(row(f"k{n}", subject=str(n), payload=payload) for n in range(150)) == 0
    found = outbox.next_deliveries(NOON_MS, 150)
    assert len(found) == BATCH and {len(one.payload) for one in found} == {65_534}
    assert len(outbox.deliveries("t", None, 150)) == 150


# -- answers that are lost


@pytest.mark.parametrize("executed", [True, False])
def test_a_put_without_an_answer_is_repeated(outbox, executed):
    fails_once(outbox._link, "outbox_put", executed=executed)
    rows = [row(f"k{n}") for n in range(5)]
    with pytest.raises(Unreachable):
        outbox.put_deliveries(rows)
    outbox.put_deliveries(rows)
    assert keys_of(outbox.deliveries("t", None, 9)) == ["k4", "k3", "k2", "k1", "k0"]
    assert outbox.waiting_deliveries()["t"].count == 5


@pytest.mark.parametrize("part", ["outbox_claim", "XRANGE"])
@pytest.mark.parametrize("executed", [True, False])
def test_a_claim_without_an_answer_is_no_claim_for_its_claimer(outbox, executed, part):
    outbox.put_deliveries([row("k1", subject="a", created_ms=NOON_MS - 5), row("k2", subject="b")])
    fails_once(outbox._link, part, executed=executed)
    with pytest.raises(Unreachable):
        outbox.next_deliveries(NOON_MS, 1)
    found = outbox.next_deliveries(NOON_MS + 1, 1)
    assert [(one.key, one.attempts) for one in found] == [("k1", 1)]
    assert keys_of(outbox.next_deliveries(NOON_MS + 1, 9)) == ["k2"]
    assert outbox.next_deliveries(NOON_MS + LEASE_MS, 9) == []


def test_what_another_has_claimed_since_stays_its_own(redis_server, prefix):
    with outboxes(redis_server.port, prefix, 2) as (one, two):
        one.put_deliveries([row("k")])
        fails_once(one._link, "outbox_claim", executed=True)
        with pytest.raises(Unreachable):
            one.next_deliveries(NOON_MS, 1)
        (claim,) = two.next_deliveries(NOON_MS + LEASE_MS, 1)
        assert one.next_deliveries(NOON_MS + LEASE_MS, 1) == []
        two.finish_delivery(claim.number, ok=True, retry_at_ms=None, answer="200")
        assert one.deliveries("t", None, 1)[0].state == "done"


@pytest.mark.parametrize("executed", [True, False])
@pytest.mark.parametrize(("ok", "retry_at_ms", "state"), [(True, None, "done"), (False, NOON_MS + 9, "waiting")])
def test_a_finish_without_an_answer_is_repeated(outbox, executed, ok, retry_at_ms, state):
    outbox.put_deliveries([row("k")])
    (one,) = outbox.next_deliveries(NOON_MS, 1)
    fails_once(outbox._link, "outbox_finish", executed=executed)
    with pytest.raises(Unreachable):
        outbox.finish_delivery(one.number, ok=ok, retry_at_ms=retry_at_ms, answer="a", tried=False)
    outbox.finish_delivery(one.number, ok=ok, retry_at_ms=retry_at_ms, answer="a", tried=False)
    (one,) = outbox.deliveries("t", None, 1)
    assert (one.state, one.answer, one.attempts) == (state, "a", 0)


# -- several monitors


def test_a_late_result_counts_only_if_it_was_delivered(redis_server, prefix):
    with outboxes(redis_server.port, prefix, 2) as (old, new):
        old.put_deliveries([row("k1", subject="a"), row("k2", subject="a"), row("k3", subject="b")])
        k1, k3 = old.next_deliveries(NOON_MS, 9)
        later = NOON_MS + LEASE_MS
        assert keys_of(new.next_deliveries(later, 9)) == ["k1", "k3"]
        old.finish_delivery(k1.number, ok=False, retry_at_ms=None, answer="500")
        old.finish_delivery(k3.number, ok=False, retry_at_ms=later, answer="500", tried=False)
        assert [(one.state, one.attempts, one.answer) for one in new.deliveries("t", None, 9)] == [
            ("claimed", 2, ""), ("waiting", 0, ""), ("claimed", 2, ""),
        ]  # fmt: skip
        old.finish_delivery(k1.number, ok=True, retry_at_ms=None, answer="200")
        new.finish_delivery(k1.number, ok=False, retry_at_ms=later, answer="timeout")
        assert new.delivery_states("t", ["k1"]) == {"k1": "done"}
        assert keys_of(new.next_deliveries(later, 9)) == ["k2"]
        new.finish_delivery(k3.number, ok=False, retry_at_ms=later + 1, answer="503")
        old.finish_delivery(k3.number, ok=True, retry_at_ms=None, answer="200")  # it waits again, and is not sent again
        assert new.delivery_states("t", ["k3"]) == {"k3": "done"}


def test_a_number_that_another_delivery_has_now(redis_server, prefix):
    """A replica that had not heard of the newest deliveries has taken over."""
    with outboxes(redis_server.port, prefix) as (outbox,):
        outbox.put_deliveries([row("k1")])
        (one,) = outbox.next_deliveries(NOON_MS, 1)
        outbox._link.call(FLEET, "DEL", *outbox._keys, *outbox._link.call(FLEET, "KEYS", f"{prefix}:*:of:*"))
        outbox.put_deliveries([row("k2")])
        (two,) = outbox.deliveries("t", None, 1)
        outbox._claims[two.number] = outbox._claims[one.number]
        outbox.finish_delivery(two.number, ok=True, retry_at_ms=None, answer="of another")
        assert outbox.delivery_states("t", ["k2"]) == {"k2": "waiting"}


def test_a_drop_of_many_leaves_what_is_put_meanwhile(redis_server, prefix):
    with outboxes(redis_server.port, prefix, 2) as (one, two):
        n = 3 * BATCH + 5
        one.put_deliveries(row(f"k{n}", subject=str(n % 7)) for n in range(n))
        one.put_deliveries([row("of another", target="u")])
        calls = []

        def put(words):
            if getattr(words[0], "name", "") == "outbox_drop":
                calls.append(words)
                two.put_deliveries([row(f"new{len(calls)}", subject="1")])

        one._link.after = put
        assert one.drop_deliveries("t", "deleted") == n
        assert one.waiting_deliveries()["t"].count == len(calls)
        assert sorted(keys_of(one.next_deliveries(NOON_MS, 9))) == ["new1", "of another"]


def test_many_are_hastened(outbox):
    n = 2 * BATCH + 9
    outbox.put_deliveries(row(f"k{n}", subject=str(n), level=n % 3) for n in range(n))
    while some := outbox.next_deliveries(NOON_MS, BATCH):
        for one in some[1:]:
            outbox.finish_delivery(one.number, ok=False, retry_at_ms=NOON_MS + 9999, answer="")
    outbox.hasten_deliveries("t", NOON_MS + 1)
    found = []
    while some := outbox.next_deliveries(NOON_MS + 1, BATCH):
        found += some
    assert len(found) == n - 3  # three are claimed


def test_many_targets_without_room_are_passed_over(outbox):
    outbox.put_deliveries(row("k", f"t{n}", created_ms=NOON_MS - 1000 + n) for n in range(700))
    room = {f"t{n}": 0 for n in range(699)}
    assert [one.target for one in outbox.next_deliveries(NOON_MS, 9, room)] == ["t699"]
    room.update(t5=1, t300=1)
    assert [one.target for one in outbox.next_deliveries(NOON_MS, 9, room)] == ["t5", "t300"]


# -- retention


def test_old_ones_are_deleted_with_all_that_leads_to_them(outbox):
    outbox.put_deliveries(row(f"k{n}", f"t{n % 3}", str(n % 5), created_ms=NOON_MS + n) for n in range(30))
    for one in outbox.next_deliveries(NOON_MS + 99, 2):
        outbox.finish_delivery(one.number, ok=True, retry_at_ms=None, answer="200")
    assert outbox.trim(NOON_MS) == (0, 0, False)
    assert outbox.trim(NOON_MS + 10, 4) == (4, 2, True)
    assert outbox.trim(NOON_MS + 10) == (6, 6, False)
    assert keys_of(outbox.deliveries(None, None, 99)) == [f"k{n}" for n in range(29, 9, -1)]
    assert outbox.put_deliveries([row("k0", "t0", created_ms=NOON_MS + 50)]) == 1  # its key may be put again
    first = outbox.next_deliveries(NOON_MS + 99, 1)
    assert keys_of(first) == ["k10"]
    assert outbox.trim(NOON_MS + 99) == (21, 21, False)
    left = outbox._link.call(FLEET, "EXISTS", *outbox._keys[1:], outbox._claimed_by)
    assert left == 2  # the empty stream, and the last claim, which ends
    assert outbox._link.call(FLEET, "XLEN", outbox._keys[3]) == 0


def test_one_from_the_future_does_not_keep_the_others(outbox):
    outbox.put_deliveries([row("ahead", created_ms=NOON_MS * 2)])
    outbox.put_deliveries(row(f"k{n}") for n in range(500))
    while outbox.trim(NOON_MS + 1).removed:
        pass
    assert keys_of(outbox.deliveries("t", None, 9)) == ["ahead"]


# -- damage, which only other programs do


def test_a_delivery_that_cannot_be_read_is_given_up(outbox, caplog):
    with caplog.at_level(logging.ERROR):
        outbox.put_deliveries([row("bad", payload="{")])
        outbox.put_deliveries([row("good", subject="x")])
        assert keys_of(outbox.next_deliveries(NOON_MS, 9)) == ["good"]
        assert outbox.delivery_states("t", ["bad"]) == {"bad": "failed"}
        assert keys_of(outbox.deliveries("t", None, 9)) == ["good"]
        outbox._link.call(FLEET, "HSET", outbox._fleet("told"), b"\0" * 12, "t")
        outbox._link.call(FLEET, "HSET", outbox._fleet("told", (b"\0" * 12).hex()), "1:ab", "[1]", "ab", "[]")
        assert outbox.told() == {}
    assert outbox.damaged == 4
    assert "cannot be read" in caplog.text


def test_rows_that_are_gone_hold_nothing_up(outbox, caplog):
    outbox.put_deliveries(row(f"k{n}", f"t{n}") for n in range(50))
    outbox._link.call(FLEET, "DEL", outbox._rows)
    with caplog.at_level(logging.ERROR):
        assert outbox.next_deliveries(NOON_MS, 9) == []
        assert outbox.waiting_deliveries() == {}
        outbox.put_deliveries([row("new", f"t{n}") for n in range(50)])
        found = []
        for _ in range(20):
            found += outbox.next_deliveries(NOON_MS, 9)
        assert keys_of(found) == ["new"] * 50
    assert outbox.damaged == 50
