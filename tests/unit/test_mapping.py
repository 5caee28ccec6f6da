# SPDX-License-Identifier: MIT
"""The hub as a read-only Mapping of keys, its snapshot and its statistics."""

import dataclasses
from collections.abc import Mapping, MutableMapping

import pytest

import heartfelt
from heartfelt import HeartHub, KeyNotWatched, Watch, WatchState


def test_it_is_a_mapping_that_cannot_be_written(hub):
    assert isinstance(hub, Mapping)
    assert not isinstance(hub, MutableMapping)
    with pytest.raises(TypeError):
        hub["a"] = 1
    with pytest.raises(TypeError):
        del hub["a"]


@pytest.mark.parametrize("parallelism", [1, 5])
@pytest.mark.parametrize("n", [0, 1, 63, 64, 65, 128, 5000])
def test_it_lists_each_watched_key_once(make_hub, parallelism, n):
    hub = make_hub(parallelism=parallelism)
    hub.heartbeat_many(range(n))
    assert len(hub) == n
    assert sorted(hub) == list(range(n)) == sorted(hub.keys())
    assert sorted((key, watch.key) for key, watch in hub.items()) == [(key, key) for key in range(n)]
    assert len(list(hub.values())) == n
    assert len(hub.snapshot() if n < 100 else hub) == n


def test_what_is_removed_or_timed_out_is_not_listed(hub, clock):
    hub.heartbeat_many(range(100))
    hub.heartbeat_many(range(100, 200), timeout=1)
    for key in range(50):
        hub.remove(key)
    clock.advance(1)
    assert sorted(hub) == list(range(50, 100))
    assert 0 not in hub
    assert 150 not in hub
    assert hub.get(150) is None
    assert hub.get(150, "none") == "none"


def test_a_key_that_is_not_watched_is_a_key_error(hub):
    with pytest.raises(KeyError, match="'a' is not watched") as error:
        hub["a"]
    assert isinstance(error.value, KeyNotWatched)


def test_iterating_is_over_the_keys_of_the_start(hub):
    hub.heartbeat_many(range(200))
    for key in hub:
        hub.remove(key)
        hub.heartbeat(f"new {key}")
    assert len(hub) == 200


def test_hubs_are_equal_to_themselves_alone(make_hub):
    one, other = make_hub(), make_hub()
    assert one == one
    assert one != other
    assert one != {}
    assert len({one, other}) == 2


def test_an_empty_hub_is_falsy_as_any_mapping(hub):
    assert not hub
    hub.heartbeat("a")
    assert hub


def test_a_watch_tells_all_and_is_frozen(make_hub, clock):
    hub = make_hub(2, disposable=False)
    clock.advance(1)
    hub.heartbeat("a", extra="x")
    clock.advance(1)
    hub.heartbeat("a")
    assert hub["a"] == Watch("a", WatchState.ALIVE, 1, 2, 4, 2, False, "x", 0)
    clock.advance(3)
    assert hub["a"] == Watch("a", WatchState.LOST, 1, 2, 6, 2, False, "x", 1)
    with pytest.raises(dataclasses.FrozenInstanceError):
        hub["a"].missed = 3


def test_states_are_strings_too():
    assert (str(WatchState.LOST), WatchState.ALIVE) == ("LOST", "ALIVE")


def test_repr_tells_how_many_or_that_it_is_closed(hub):
    hub.heartbeat("a")
    assert repr(hub) == "<HeartHub watching 1 keys>"
    hub.close()
    assert repr(hub) == "<HeartHub closed>"


def test_snapshot_is_a_row_a_key(make_hub, clock):
    numpy = pytest.importorskip("numpy")
    hub = make_hub(parallelism=3, disposable=False)
    extra = ["any", "object"]
    hub.heartbeat("a", timeout=1, extra=extra)
    hub.heartbeat_many([b"b", 3])
    clock.advance(2)
    table = hub.snapshot()
    assert [(name, table.dtype[name].str[1:]) for name in table.dtype.names] == [
        ("key", "O"), ("state", "U5"), ("join_time", "f8"), ("beat_time", "f8"), ("deadline", "f8"),
        ("timeout", "f8"), ("disposable", "b1"), ("extra", "O"), ("missed", "u4"), ("id", "i8"),
    ]  # fmt: skip
    assert table.shape == (3,)
    assert set(table["key"]) == {"a", b"b", 3}
    row = table[table["state"] == "LOST"][0]
    assert (row["key"], row["missed"], row["deadline"], row["timeout"], row["disposable"]) == ("a", 2, 3, 1, False)
    assert row["extra"] is extra
    clock.advance(1)
    hub.heartbeat_ids(numpy.ascontiguousarray(table["id"]))
    assert {watch.beat_time for watch in hub.values()} == {3}


def test_snapshot_of_nothing_has_the_same_columns(hub):
    pytest.importorskip("numpy")
    empty = hub.snapshot()
    hub.heartbeat("a")
    assert (empty.shape, empty.dtype) == ((0,), hub.snapshot().dtype)


def test_stats_count_what_happened(make_hub, clock, drained):
    hub = make_hub(1, parallelism=3)
    hub.heartbeat_many(range(10))
    hub.heartbeat_many(range(10, 15), disposable=False)
    hub.remove(0)
    clock.advance(1)
    hub.heartbeat(10)
    stats = hub.stats()
    assert (stats.keys, stats.lost, stats.waiting, stats.waiting_callbacks) == (5, 4, 14, 0)
    assert (stats.joins, stats.timeouts, stats.recoveries, stats.removals) == (15, 14, 1, 1)
    assert (stats.dropped, stats.overflows, stats.callback_errors, stats.max_lateness) == (0, 0, 0, 0)
    for name in ("keys", "lost", "waiting", "joins", "timeouts", "recoveries", "removals"):
        assert sum(getattr(shard, name) for shard in stats.shards) == getattr(stats, name)
    drained(hub)
    assert hub.stats().waiting == 0


def test_stats_are_frozen(hub):
    stats = hub.stats()
    for frozen, name in ((stats, "keys"), (stats.shards[0], "joins")):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(frozen, name, 1)


def test_a_worker_wakes_for_a_verdict_and_tells_how_late_it_was(eventually):
    lateness = []
    with HeartHub(0.005) as hub:

        def has_woken():  # not for the first one if its thread began only when that was due
            hub.heartbeat("a")
            lateness.append(hub.events.get(timeout=30).lateness)
            return hub.stats().wakeups >= 1

        eventually(has_woken)
        stats = hub.stats()
    assert stats.visits >= 1
    assert stats.max_lateness == pytest.approx(max(lateness), abs=1e-6)


def test_remove_tells_of_a_key_that_is_not_watched(hub):
    with pytest.raises(KeyNotWatched):
        hub.remove("a")
    assert hub.remove("a", missing_ok=True) is None
    hub.heartbeat("a")
    assert hub.remove("a") is None
    with pytest.raises(KeyNotWatched):
        hub.remove("a")


def test_importing_it_loads_no_numpy(run_python):
    assert run_python("import sys, heartfelt, heartfelt.testing; print('numpy' in sys.modules)").strip() == "False"


def test_without_numpy_only_ids_and_snapshot_are_missed_and_say_so(run_python):
    found = run_python("""
        import sys
        sys.modules["numpy"] = None
        from array import array
        from heartfelt import HeartHub
        with HeartHub(1) as hub:
            hub.heartbeat("a")
            for call in (lambda: hub.ids(["b"]), hub.snapshot):
                try:
                    call()
                except ImportError as error:
                    print(error)
            print(list(hub))
            hub.heartbeat_ids(array("q"))
    """)
    assert found.splitlines() == [
        "HeartHub.ids needs numpy: pip install 'heartfelt[numpy]'",
        "HeartHub.snapshot needs numpy: pip install 'heartfelt[numpy]'",
        "['a']",
    ]


def test_every_public_name_is_there_and_documented():
    for name in heartfelt.__all__:
        assert getattr(heartfelt, name) is not None
        assert name.startswith("__") or getattr(heartfelt, name).__doc__
