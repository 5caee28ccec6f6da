# SPDX-License-Identifier: MIT
"""The contract of every store: the tests of an implementation inherit StoreContract and say how to make one.

The event queries are in events.py, the outbox in outbox.py, runs in runs.py; StoreContract inherits all three.
"""

from __future__ import annotations

import asyncio
import itertools

import pytest

from heartfelt.errors import StoreError
from heartfelt.monitor.model import Hold, HoldState, Level, State
from heartfelt.monitor.reasons import text_reason
from heartfelt.monitor.store import HeatCell, UptimeDay, WatchedTime
from tests.monitor.store.events import EventContract
from tests.monitor.store.outbox import OutboxContract
from tests.monitor.store.runs import RunContract
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, Clock, change, instance, unnumbered

run = asyncio.run


class StoreContract(EventContract, OutboxContract, RunContract):
    stores_odd_values = False
    """It stores numbers of more than 64 bits as the nearest possible ones, and names with unpaired surrogates."""

    def make(self, place, wall_ms):
        """A store that is not open yet. `place`: a folder of the test's; stores made with the same know the same."""
        raise NotImplementedError

    @pytest.fixture
    def wall(self):
        return Clock()

    @pytest.fixture
    def again(self, tmp_path, wall):
        """again(): closes the store, if there is one, and opens another in its place: the store, and what it knew."""
        stores = []

        def reopen():
            if stores:
                stores[-1].close()
            stores.append(self.make(tmp_path, wall))
            return stores[-1], stores[-1].open()

        yield reopen
        if stores:
            stores[-1].close()

    @pytest.fixture
    def store(self, again):
        return again()[0]

    # -- what is known after a start

    def test_a_new_store_knows_nothing(self, again):
        _, saved = again()
        assert saved.instances == []
        assert saved.hold == Hold()
        assert saved.closed_cleanly
        assert saved.last_written_ms is None
        assert saved.next_id >= 1
        assert saved.next_seq >= 1

    def test_instances_come_back_as_they_were_put_last(self, again):
        store, saved = again()
        ids = range(saved.next_id, saved.next_id + 700)  # more than fits one statement, and a rest
        for id in ids:
            store.put_instance(instance(id, service=f"s{id % 7}", reason=text_reason("first")))
        rows = {id: instance(id, service=f"s{id % 7}", meta={"n": id, "ü": ["x", None, 1.5]}) for id in ids}
        for row in rows.values():
            store.put_instance(row)
        assert again()[1].instances == list(rows.values())

    def test_every_field_of_an_instance_comes_back(self, again):
        store, saved = again()
        full = instance(
            saved.next_id,
            state=State.PAUSED,
            interval_ms=3000,
            timeout_ms=9000,
            skew_ms=-5,
            lag_ms=7,
            paused_until_ms=NOON_MS + 5,
            service="\u00fc_%'\"\\ \x00\U0001f49a",
        )
        store.put_instance(full)
        assert again()[1].instances == [full]

    def test_the_later_of_beat_and_row_counts(self, again):
        store, saved = again()
        first, second, third = range(saved.next_id, saved.next_id + 3)
        for id in (first, second, third):
            store.put_instance(instance(id, last_beat_ms=NOON_MS))
        run(store.flush())
        store.put_beats({first: NOON_MS + 5, second: NOON_MS + 6})
        store.put_beats({first: NOON_MS + 7})
        run(store.flush())
        store.put_instance(instance(second, last_beat_ms=NOON_MS + 9))
        instances = {row.id: row.last_beat_ms for row in again()[1].instances}
        assert instances == {first: NOON_MS + 7, second: NOON_MS + 9, third: NOON_MS}

    @pytest.mark.parametrize("flushed", [True, False])
    def test_what_is_removed_does_not_come_back(self, again, flushed):
        store, saved = again()
        gone, kept = saved.next_id, saved.next_id + 1
        store.put_instance(instance(gone))
        store.put_instance(instance(kept))
        store.put_beats({gone: NOON_MS + 1})
        if flushed:
            run(store.flush())
        store.remove_instance(gone)
        store, saved = again()
        assert [row.id for row in saved.instances] == [kept]
        store.remove_instance(kept)
        assert again()[1].instances == []

    def test_ids_and_seqs_are_never_given_again(self, again):
        store, saved = again()
        id, seq = saved.next_id + 10, saved.next_seq + 20
        store.put_instance(instance(id))
        store.put_change(change(seq))
        run(store.flush())
        store.remove_instance(id)
        store, saved = again()
        assert saved.next_id > id
        assert saved.next_seq > seq
        last = again()[1]
        assert (last.next_id, last.next_seq) >= (saved.next_id, saved.next_seq)

    def test_the_hold_comes_back(self, again):
        store, _ = again()
        store.put_hold(
            Hold(state=HoldState.HOLDING, reason=text_reason("x"), scope="s", held=3, since_ms=1, until_ms=2)
        )
        latest = Hold(state=HoldState.RELEASING, reason=text_reason("412 of 500"), held=2, since_ms=1, until_ms=9)
        store.put_hold(latest)
        assert again()[1].hold == latest

    def test_a_start_tells_when_was_written_last(self, again, wall):
        store, _ = again()
        wall.ms += 5000
        store.put_hold(Hold(reason=text_reason("x")))
        run(store.flush())
        written = wall.ms
        assert store.health().last_written_ms == written
        wall.ms += 7000
        saved = again()[1]
        assert (saved.last_written_ms, saved.closed_cleanly) == (written, True)

    # -- changes

    def test_changes_newest_first_by_instance_and_service(self, again):
        store, saved = again()
        start, first = saved.next_seq, saved.next_id
        put = [
            change(
                start + n, id=first + n % 3, service=f"s_{n % 3 % 2}", instance_id=f"i-{n % 3}",
                old=None if n < 3 else State.UP, outage_ms=n or None,
            )
            for n in range(120)
        ]  # fmt: skip
        rows = {one.id: instance(one.id, service=one.service, instance_id=one.instance_id) for one in put}
        for row in rows.values():
            store.put_instance(row)
        for one in put:
            store.put_change(one)
            store.put_instance(rows[one.id])
        run(store.flush())
        stored = run(store.changes(id=None, service=None, before=None, limit=1000))
        assert len(stored) == len(put)
        assert all(newer.seq > older.seq for newer, older in itertools.pairwise(stored))
        for id in {one.id for one in put}:
            assert [unnumbered(c) for c in stored[::-1] if c.id == id] == [unnumbered(c) for c in put if c.id == id]

        def expected(id, service, before, limit):
            fits = [
                c
                for c in stored
                if (id is None or c.id == id)
                and (service is None or c.service == service)
                and (before is None or c.seq < before)
            ]
            return fits[:limit]

        for id in (None, first + 1, first + 99):
            for service in (None, "s_1", "s%1"):
                for before in (None, stored[100].seq, stored[-1].seq):
                    got = run(store.changes(id=id, service=service, before=before, limit=20))
                    assert got == expected(id, service, before, 20)

    # -- uptime and heat

    @pytest.mark.parametrize("flushed", [True, False])
    def test_times_of_days_are_added_up_beside_losses_and_failures(self, again, flushed):
        store, _ = again()
        day = NOON_MS // DAY_MS
        store.put_change(change(1, service="a_b"))
        store.put_uptime(
            {
                (day, "a_b"): WatchedTime(1200.0, 1140.001, 120.0, 60.0),
                (day - 1, "a_b"): WatchedTime(120.0, 120.0, 60.0, 60.0),
                (day, "axb"): WatchedTime(60.0, 0.0, 60.0, 0.0),
            }
        )
        if flushed:
            run(store.flush())
        store.put_change(change(2, service="a_b", new=State.UP, old=State.LOST))
        store.put_change(change(3, service="a_b", new=State.FAILED))
        for new in (State.LOST, State.FAILED):  # it goes on after a pause, and is no other one
            store.put_change(change(5, service="a_b", old=State.PAUSED, new=new, level=Level.NORMAL))
        store.put_change(change(4, service="a_b", time_ms=NOON_MS - DAY_MS))
        store.put_uptime({(day, "a_b"): WatchedTime(0.001, 0.0, 0.001, 0.0)})
        store, _ = again()
        today = UptimeDay(
            service="a_b", day="2025-11-22", watched_s=1200.001, up_s=1140.001, observed_s=120.001, available_s=60.0,
            losses=1, failures=1,
        )  # fmt: skip
        before = UptimeDay(
            service="a_b", day="2025-11-21", watched_s=120.0, up_s=120.0, observed_s=60.0, available_s=60.0,
            losses=1, failures=0,
        )  # fmt: skip
        other = UptimeDay(
            service="axb", day="2025-11-22", watched_s=60.0, up_s=0.0, observed_s=60.0, available_s=0.0,
            losses=0, failures=0,
        )  # fmt: skip
        assert run(store.uptime(("a_b",), 2)) == [today, before]
        assert run(store.uptime(("a_b",), 1)) == [today]
        assert run(store.uptime((), 2)) == [today, other, before]

    def test_heat_of_minutes(self, store):
        store.put_counts(NOON_MS, {"a_b": (10, 9), "axb": (1, 0)})
        store.put_counts(NOON_MS + MINUTE_MS, {"a_b": (10, 10)})
        store.put_counts(NOON_MS - DAY_MS, {"a_b": (2, 2)})
        run(store.flush())
        cells = run(store.heat((), NOON_MS, NOON_MS + MINUTE_MS))
        assert cells == [
            HeatCell(service="a_b", minute_ms=NOON_MS + MINUTE_MS, total=10, up=10),
            HeatCell(service="a_b", minute_ms=NOON_MS, total=10, up=9),
            HeatCell(service="axb", minute_ms=NOON_MS, total=1, up=0),
        ]
        assert run(store.heat(("axb",), 0, NOON_MS)) == cells[2:]

    @pytest.mark.parametrize("flushed", [True, False])
    def test_a_minute_told_twice_counts_once(self, store, flushed):
        store.put_counts(NOON_MS, {"s": (10, 9)})
        if flushed:
            run(store.flush())
        store.put_counts(NOON_MS, {"s": (12, 3)})
        store.put_counts(NOON_MS, {"s": (3, 4)})
        run(store.flush())
        assert run(store.heat(("s",), NOON_MS, NOON_MS)) == [HeatCell(service="s", minute_ms=NOON_MS, total=12, up=3)]

    # -- documents

    def test_documents(self, again):
        store, _ = again()
        run(store.put_document("token", "a", {"hash": "x", "n": [1, None]}))
        run(store.put_document("token", "a", {"hash": "y"}))
        run(store.put_document("token", "b%", "text"))
        run(store.put_document("webhook", "a", None))
        store, _ = again()
        assert run(store.documents("token")) == {"a": {"hash": "y"}, "b%": "text"}
        assert run(store.get_document("token", "b%")) == "text"
        assert run(store.get_document("token", "c")) is None
        assert run(store.delete_document("token", "a")) is True
        assert run(store.delete_document("token", "a")) is False
        assert run(store.documents("token")) == {"b%": "text"}
        assert run(store.documents("webhook")) == {"a": None}

    # -- how it behaves

    def test_flush_returns_when_all_can_be_read(self, store):
        async def many():
            for seq in range(1, 200):
                store.put_change(change(seq))
                await store.flush()
                found = await store.changes(id=None, service=None, before=None, limit=1000)
                assert sorted(c.id for c in found) == list(range(1, seq + 1))
                assert store.health().waiting == 0

        run(many())

    def test_health_counts_what_waits(self, store):
        assert store.health().ok
        run(store.flush())
        writes = store.health().writes
        store.put_change(change(1))
        assert store.health().waiting <= 2  # the change and the day of its loss, which may be written by now
        run(store.flush())
        health = store.health()
        assert (health.ok, health.error, health.waiting, health.writes) == (True, None, 0, writes + 1)
        assert health.bytes > 0

    def test_what_can_never_be_stored_is_counted_and_hurts_nothing_else(self, again):
        store, saved = again()
        store.put_instance(instance(saved.next_id))
        store.put_instance(instance(saved.next_id + 1, lag_ms=1 << 70))
        store.put_instance(instance(saved.next_id + 2, service="\ud800"))
        store.put_instance(instance(saved.next_id + 3, meta={"x": object()}))
        store.put_change(change(saved.next_seq, reason=text_reason("\udfff")))
        store.put_change(change(saved.next_seq + 1))
        store.put_delivery("t", "k", object())
        run(store.flush())
        health = store.health()
        assert health.ok
        changes = {c.id for c in run(store.changes(id=None, service=None, before=None, limit=9))}
        instances = {row.id for row in again()[1].instances}
        kept = {saved.next_seq + 1} <= changes and {saved.next_id} <= instances
        if self.stores_odd_values:
            assert (kept, health.refused, len(changes), len(instances)) == (True, 2, 2, 3)
        else:
            assert (kept, health.refused, len(changes), len(instances)) == (True, 5, 1, 1)

    def test_numbers_beyond_64_bits_in_what_agents_send(self, again):
        store, saved = again()
        store.put_instance(instance(saved.next_id, meta={"big": 1 << 80}))
        (row,) = again()[1].instances
        assert row.meta == {"big": 1 << 80}

    def test_closed(self, again):
        store, _ = again()
        store.close()
        store.close()
        health = store.health()
        assert not health.ok
        assert "not open" in health.error
        store.put_change(change(1))
        store.put_delivery("t", "k", 1)
        assert store.health().refused == 2
        for call in (
            store.flush(),
            store.documents("x"),
            store.put_document("x", "y", 1),
            store.next_deliveries(NOON_MS, 1),
            store.changes(id=None, service=None, before=None, limit=1),
        ):
            with pytest.raises(StoreError, match="closed"):
                run(call)

    def test_levels_come_back(self, store):
        for seq, level in enumerate(Level, 1):
            store.put_change(change(seq, level=level))
        run(store.flush())
        got = run(store.changes(id=None, service=None, before=None, limit=9))
        assert {c.id: c.level for c in got} == dict(enumerate(Level, 1))
