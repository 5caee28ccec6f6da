# SPDX-License-Identifier: MIT
"""hub.save and HeartHub.restore: what comes back, and when it is due."""

import threading

import pytest

from heartfelt import ConfigError, EventType, HeartHub, HubClosed, KeyNotWatched, SnapshotError, WatchState
from heartfelt.testing import ManualClock

EVERYTHING = list(EventType)
KEYS = ["", "svc/1", "\0", "é", "\U0001f493" * 9, "\ud800", "\udfff\ud800", b"", b"svc/1", b"\xff\0", "1", b"1", 1]
KEYS += [0, -1, 2**63 - 1, -(2**63), "k" * 70_000]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "hub.snapshot"


@pytest.fixture
def restore(path):
    """restore(**options): a hub from the file, on a manual clock of its own, `hub.clock`, at 1,000,000 s."""
    hubs = []

    def make(**options):
        clock = ManualClock()
        clock.advance(1_000_000)
        hub = HeartHub.restore(path, clock=clock, **options)
        hub.clock = clock
        hubs.append(hub)
        return hub

    yield make
    broken = [hub._check() for hub in hubs]
    for hub in hubs:
        hub.close()
    assert broken == [None] * len(hubs)


def told(hub):
    return [(str(event.type), event.key, event.missed) for event in hub.events.get_many(1 << 20, timeout=0)]


@pytest.mark.parametrize("parallelism", [1, 3])
def test_keys_of_every_kind_come_back(hub, path, restore, parallelism):
    hub.heartbeat_many(KEYS)
    hub.save(path)
    restored = restore(parallelism=parallelism)
    assert sorted(restored, key=repr) == sorted(KEYS, key=repr)
    assert all(type(key) in (str, bytes, int) for key in restored)


def test_terms_come_back(hub, path, restore):
    hub.heartbeat("short", timeout=1e-9)
    hub.heartbeat("long", timeout=100 * 366 * 86400)
    hub.heartbeat("stays", disposable=False)
    hub.save(path)
    restored = restore(timeout=3, disposable=False)
    assert {key: (restored[key].timeout, restored[key].disposable) for key in restored} == {
        "short": (1e-9, True),
        "long": (100 * 366 * 86400, True),
        "stays": (10, False),
    }


def test_an_empty_hub(hub, path, restore):
    hub.save(path)
    assert len(restore()) == 0


def test_the_deadline_is_a_timeout_away_by_default(hub, path, restore, clock):
    hub.heartbeat("key")
    clock.advance(9)
    hub.save(path)
    restored = restore()
    assert restored["key"].deadline == restored.clock.time() + 10
    restored.clock.advance(9.5)
    assert told(restored) == []
    restored.clock.advance(0.5)
    assert told(restored) == [("TIME_OUT", "key", 1)]


@pytest.mark.parametrize(("grace", "until"), [(0, 4), (1, 4), (4, 4), (6, 6), (10, 10), (60, 60)])
def test_the_deadline_is_the_remaining_time_or_the_grace(hub, path, restore, clock, grace, until):
    hub.heartbeat("key")
    clock.advance(6)
    hub.save(path)
    restored = restore(grace=grace)
    assert restored["key"].deadline == restored.clock.time() + until
    restored.clock.advance(until - 1e-9)
    assert told(restored) == []
    restored.clock.advance(1e-9)
    assert told(restored) == [("TIME_OUT", "key", 1)]


def hot(hub, key):
    hub.heartbeat(key)


def by_heart(hub, key):
    hub.heart(key).beat()


def by_many(hub, key):
    hub.heartbeat_many([key])


def by_id(hub, key):
    hub.heartbeat_ids(hub.ids([key]))


@pytest.mark.parametrize("beat", [hot, by_heart, by_many, by_id])
@pytest.mark.parametrize("grace", [0, 5, 10, 3600])
def test_after_its_first_beat_a_key_has_its_own_timeout(hub, path, restore, beat, grace):
    hub.heartbeat("key")
    hub.save(path)
    restored = restore(grace=grace)
    restored.clock.advance(1)
    beat(restored, "key")
    assert restored["key"].deadline == restored.clock.time() + 10
    restored.clock.advance(10)
    assert told(restored) == [("TIME_OUT", "key", 1)]


@pytest.mark.parametrize("grace", [None, 3600])
def test_a_restored_key_s_beats_are_events_only_if_wanted(hub, path, restore, grace):
    hub.heartbeat("key")
    hub.save(path)
    quiet, loud = restore(grace=grace, subscribe=["JOIN"]), restore(grace=grace, subscribe=["HEART_BEAT"])
    for restored in quiet, loud:
        restored.heartbeat("key")
        restored.heartbeat("key")
    assert told(quiet) == [("JOIN", "key", 0)]
    assert told(loud) == [("HEART_BEAT", "key", 0)] * 2


def test_a_new_callback_does_not_end_a_grace_that_no_beat_has_ended(hub, path, restore):
    hub.heartbeat("key")
    hub.save(path)
    restored = restore(grace=3600)
    restored.on(EventType.JOIN)(print)
    restored.heartbeat("key")
    restored.clock.advance(10)
    assert told(restored) == [("TIME_OUT", "key", 1)]


def test_an_overdue_key_of_a_hub_that_is_closed_gets_its_grace(make_hub, path, restore, clock):
    hub = make_hub(10)
    hub.heartbeat("key")
    hub.close()
    clock.advance(1000)
    hub.save(path)
    assert restore()["key"].deadline == 1_000_010
    assert restore(grace=2)["key"].deadline == 1_000_002
    at_once = restore(grace=0)
    assert at_once["key"].deadline == 1_000_000
    at_once.clock.advance(0)
    assert told(at_once) == [("TIME_OUT", "key", 1)]


def test_a_lost_key_stays_lost_and_recovers(hub, path, restore, clock):
    hub.heartbeat("key", disposable=False)
    clock.advance(35)
    hub.save(path)
    restored = restore(subscribe=EVERYTHING)
    assert (restored["key"].state, restored["key"].missed) == (WatchState.LOST, 3)
    assert restored.stats().lost == 1
    restored.clock.advance(10)
    assert told(restored) == [("JOIN", "key", 3), ("TIME_OUT", "key", 4)]
    restored.heartbeat("key")
    assert told(restored) == [("RECOVER", "key", 4), ("HEART_BEAT", "key", 0)]
    assert (restored["key"].missed, restored.stats().lost) == (0, 0)


def test_what_ended_is_not_saved(hub, path, restore, clock):
    hub.heartbeat("timed out", timeout=1)
    hub.heartbeat("removed")
    hub.remove("removed")
    [held] = hub.ids(["held"])
    clock.advance(10)
    hub.heartbeat("alive")
    hub.save(path)
    restored = restore()
    assert list(restored) == ["alive"]
    with pytest.raises(KeyNotWatched):
        restored.remove("held")
    assert held


def test_times_stand_still_meanwhile(hub, path, restore, clock):
    hub.heartbeat("key")
    clock.advance(5)
    hub.heartbeat("key")
    clock.advance(3)
    hub.save(path)
    watch = restore()["key"]
    assert (watch.join_time, watch.beat_time) == (1_000_000 - 8, 1_000_000 - 3)


def test_a_restored_hub_can_be_saved_before_any_beat(hub, path, restore, clock):
    hub.heartbeat("key")
    clock.advance(4)
    hub.save(path)
    restored = restore(grace=60)
    restored.clock.advance(1)
    restored.save(path)
    again = restore(grace=0)
    assert again["key"].deadline == again.clock.time() + 59
    assert again["key"].beat_time == again.clock.time() - 5


def test_a_restored_key_is_removed_as_any(hub, path, restore):
    hub.heartbeat_many(["a", "b"])
    hub.heartbeat("c", disposable=False, timeout=1)
    hub.save(path)
    restored = restore(grace=50, subscribe=["REMOVE_KEY"])
    for key in "abc":
        restored.remove(key)
    restored.heartbeat_many(["a", "b"], timeout=7)
    assert len(restored) == 2
    assert [key for _, key, _ in told(restored)] == ["a", "b", "c"]


def test_a_real_clock(path):
    with HeartHub(30, parallelism=2) as hub:
        hub.heartbeat_many(range(1000))
        hub.heartbeat("soon", timeout=0.001, disposable=False)
        hub.save(path)
    with HeartHub.restore(path, parallelism=4) as restored:
        assert restored.events.get(timeout=30).key == "soon"
        assert len(restored) == 1001
        assert restored._check() is None


def test_a_subclass_is_restored_as_itself(hub, path):
    class Mine(HeartHub):
        pass

    hub.save(path)
    with Mine.restore(path) as restored:
        assert type(restored) is Mine


def test_callbacks_get_the_joins(hub, path):
    hub.heartbeat_many(["a", "b"])
    hub.save(path)
    seen = []
    with HeartHub.restore(path, on_event=seen.append, subscribe=["JOIN"]):
        pass
    assert sorted(event.key for event in seen) == ["a", "b"]


def test_keys_that_come_and_go_while_it_is_saved(path, restore):
    """Those that stay are all in it; a key that is found twice is restored once."""
    going = threading.Event()
    with HeartHub(3600) as hub:
        stay = [f"stay/{n}" for n in range(20_000)]
        hub.heartbeat_many(stay)

        def churn():
            n = 0
            while not going.is_set():
                hub.heartbeat(f"churn/{n % 50}")
                hub.remove(f"churn/{(n + 25) % 50}", missing_ok=True)
                n += 1

        thread = threading.Thread(target=churn)
        thread.start()
        try:
            for _ in range(5):
                hub.save(path)
                assert set(restore()).issuperset(stay)
        finally:
            going.set()
            thread.join()


def test_bad_options(hub, path):
    hub.save(path)
    for grace in -1, float("nan"), float("inf"):
        with pytest.raises(ConfigError, match="grace"):
            HeartHub.restore(path, grace=grace)
    with pytest.raises(TypeError, match="grace"):
        HeartHub.restore(path, grace="1")
    with pytest.raises(TypeError, match="extras"):
        HeartHub.restore(path, extras=1)
    with pytest.raises(TypeError, match="extras"):
        hub.save(path, extras=None)
    with pytest.raises(ConfigError, match="parallelism"):
        HeartHub.restore(path, parallelism=0)


def test_a_hub_that_has_no_keys_of_its_own_overwrites_nothing(path):
    path.write_bytes(b"old")
    with pytest.raises(HubClosed, match="never opened"):
        HeartHub.__new__(HeartHub).save(path)
    assert path.read_bytes() == b"old"


EXTRA = {"rack": 7, "tags": ["a", None]}


class TestExtras:
    def test_are_left_out_unless_asked_for(self, hub, path, restore):
        hub.heartbeat("key", extra=EXTRA)
        hub.save(path)
        assert restore()["key"].extra is None
        assert restore(extras=True)["key"].extra is None

    def test_come_back_if_asked_for(self, hub, path, restore):
        shared = [1]
        hub.heartbeat("a", extra=EXTRA)
        hub.heartbeat("none")
        hub.heartbeat("b", extra=shared)
        hub.heartbeat("c", extra=shared)
        hub.save(path, extras=True)
        restored = restore(extras=True)
        assert {key: restored[key].extra for key in restored} == {"a": EXTRA, "none": None, "b": [1], "c": [1]}
        assert restored["b"].extra is restored["c"].extra

    def test_nobody_unpickles_what_he_did_not_ask_for(self, hub, path, restore):
        hub.heartbeat("key", extra=Armed())
        hub.save(path, extras=True)
        Armed.fired = 0
        with pytest.raises(SnapshotError, match=r"extras=True.*any code.*extras=False"):
            restore()
        assert restore(extras=False)["key"].extra is None
        assert Armed.fired == 0
        restore(extras=True)
        assert Armed.fired == 1

    def test_one_that_cannot_be_pickled_is_named_and_the_old_file_stays(self, hub, path):
        hub.save(path)
        old = path.read_bytes()
        hub.heartbeat("good", extra=1)
        hub.heartbeat("bad", extra={"lock": threading.Lock()})
        with pytest.raises(SnapshotError, match=r"hub\.snapshot was not saved: the extra \{'lock'"):
            hub.save(path, extras=True)
        assert [path] == list(path.parent.iterdir())
        assert path.read_bytes() == old

    def test_what_cannot_be_unpickled(self, hub, path, restore, monkeypatch):
        hub.heartbeat("key", extra=Armed())
        hub.save(path, extras=True)
        monkeypatch.setattr(Armed, "fire", None)
        with pytest.raises(SnapshotError, match="cannot be unpickled: TypeError"):
            restore(extras=True)


class Armed:
    """Its unpickling is seen."""

    fired = 0

    @staticmethod
    def fire():
        Armed.fired += 1

    def __reduce__(self):
        return Armed.fire, ()
