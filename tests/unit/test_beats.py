# SPDX-License-Identifier: MIT
"""Beats and what they may say: by key and by the many."""

import pytest

from heartfelt import ConfigError, HeartHub


def test_a_beat_returns_none_and_moves_the_deadline(hub, clock):
    assert hub.heartbeat("a") is None
    clock.advance(4)
    assert hub.heartbeat("a") is None
    assert (hub["a"].join_time, hub["a"].beat_time, hub["a"].deadline) == (0, 4, 14)


def test_a_beat_without_any_timeout_says_so_and_watches_nothing(make_hub):
    hub = make_hub(None)
    with pytest.raises(ConfigError, match="'a' has no timeout"):
        hub.heartbeat("a")
    assert len(hub) == 0
    hub.heartbeat("a", timeout=1)
    hub.heartbeat("a")
    assert hub["a"].timeout == 1


@pytest.mark.parametrize("seconds", [2, 50], ids=["shorter", "longer"])
def test_a_changed_timeout_holds_from_that_beat_on(hub, clock, drained, seconds):
    hub.heartbeat("a")
    clock.advance(1)
    hub.heartbeat("a", timeout=seconds)
    clock.advance(seconds - 0.5)
    assert drained(hub) == []
    clock.advance(0.5)
    (event,) = drained(hub)
    assert (event.event_time, event.timeout) == (1 + seconds, seconds)


def test_what_a_beat_does_not_say_is_kept(hub, clock):
    hub.heartbeat("a", timeout=3, extra="x", disposable=False)
    clock.advance(1)
    hub.heartbeat("a")
    watch = hub["a"]
    assert (watch.timeout, watch.extra, watch.disposable) == (3, "x", False)
    hub.heartbeat("a", extra="y")
    watch = hub["a"]
    assert (watch.timeout, watch.extra, watch.disposable) == (3, "y", False)
    hub.heartbeat("a", timeout=4)
    watch = hub["a"]
    assert (watch.timeout, watch.extra, watch.disposable) == (4, "y", False)
    hub.heartbeat("a", disposable=True)
    watch = hub["a"]
    assert (watch.timeout, watch.extra, watch.disposable) == (4, "y", True)


def test_extra_none_is_a_value(hub):
    hub.heartbeat("a", extra="x")
    hub.heartbeat("a", extra=None)
    assert hub["a"].extra is None


def test_disposable_may_be_changed_by_a_beat(hub, clock, drained):
    hub.heartbeat("a", disposable=False)
    hub.heartbeat("b")
    hub.heartbeat("a", disposable=True)
    hub.heartbeat("b", disposable=False)
    clock.advance(10)
    assert {(event.key, event.disposable) for event in drained(hub)} == {("a", True), ("b", False)}
    assert set(hub) == {"b"}


@pytest.mark.parametrize("read_before", [True, False], ids=["read", "unread"])
def test_a_rejoin_after_a_timeout_starts_from_the_hubs_defaults(hub, clock, drained, read_before):
    hub.heartbeat("a", timeout=3, extra="x", disposable=True)
    clock.advance(3)
    if read_before:
        drained(hub)
    hub.heartbeat("a")
    watch = hub["a"]
    assert (watch.join_time, watch.timeout, watch.extra, watch.disposable) == (3, 10, None, True)


def test_a_rejoin_after_a_remove_starts_from_the_hubs_defaults(hub):
    hub.heartbeat("a", timeout=3, extra="x", disposable=False)
    hub.remove("a")
    hub.heartbeat("a")
    watch = hub["a"]
    assert (watch.timeout, watch.extra, watch.disposable) == (10, None, True)


@pytest.mark.parametrize("value", [0, 1, "yes", [], 1.0], ids=repr)
def test_disposable_must_be_a_bool(hub, value):
    with pytest.raises(TypeError, match="disposable must be True or False"):
        hub.heartbeat("a", disposable=value)
    assert len(hub) == 0


@pytest.mark.parametrize("value, kind", [(0, ConfigError), (-1.0, ConfigError), (True, TypeError), ("1", TypeError)])
def test_a_beat_with_a_bad_timeout_changes_nothing(hub, clock, value, kind):
    hub.heartbeat("a")
    clock.advance(1)
    with pytest.raises(kind, match="timeout"):
        hub.heartbeat("a", timeout=value)
    assert (hub["a"].beat_time, hub["a"].timeout) == (0, 10)


@pytest.mark.parametrize("kind", [list, tuple, set, frozenset, iter, dict.fromkeys, lambda keys: (k for k in keys)])
def test_heartbeat_many_takes_any_iterable(hub, clock, kind):
    keys = ["a", b"a", 1, *range(100, 300)]
    hub.heartbeat_many(kind(keys))
    clock.advance(1)
    assert hub.heartbeat_many(kind(keys)) is None
    assert {hub[key].beat_time for key in keys} == {1}
    assert len(hub) == len(keys)


def test_heartbeat_many_gives_its_options_to_every_key(hub):
    hub.heartbeat("a")
    hub.heartbeat_many(["a", "b"], timeout=2, extra="x", disposable=False)
    assert {(hub[key].timeout, hub[key].extra, hub[key].disposable) for key in "ab"} == {(2, "x", False)}


@pytest.mark.parametrize("options", [{}, {"timeout": 5}], ids=["plain", "with options"])
@pytest.mark.parametrize("bad", [None, 1.5, 2**63])
def test_a_bad_key_among_many_costs_the_others_nothing(hub, clock, bad, options):
    keys = [str(n) for n in range(200)]
    hub.heartbeat_many(keys)
    clock.advance(1)
    with pytest.raises(TypeError) as error:
        hub.heartbeat_many([*keys[:100], bad, *keys[100:]], **options)
    assert repr(bad) in str(error.value)
    assert {hub[key].beat_time for key in keys} == {1}


def test_the_first_of_several_bad_keys_is_named(hub):
    with pytest.raises(TypeError, match="first"):
        hub.heartbeat_many([("first",), ("second",)])


def test_without_a_timeout_the_watched_among_many_are_beaten(make_hub, clock):
    hub = make_hub(None)
    hub.heartbeat_many(["a", "c"], timeout=5)
    clock.advance(1)
    with pytest.raises(ConfigError, match="'b'"):
        hub.heartbeat_many(["a", "b", "c"])
    assert {watch.beat_time for watch in hub.values()} == {1}


@pytest.mark.parametrize("value", ["abc", b"abc"])
def test_one_key_is_not_an_iterable_of_keys(hub, value):
    with pytest.raises(TypeError, match="is one key: use heartbeat"):
        hub.heartbeat_many(value)
    assert len(hub) == 0


def test_what_the_iterable_raises_comes_out(hub):
    def keys():
        yield "a"
        raise LookupError("mine")

    with pytest.raises(LookupError, match="mine"):
        hub.heartbeat_many(keys())
    assert set(hub) == {"a"}


def test_each_key_of_a_slow_generator_beats_when_it_comes(hub, clock):
    hub.heartbeat_many(["a", "b"])

    def keys():
        yield "a"
        clock.advance(5)
        yield "b"

    hub.heartbeat_many(keys())
    assert hub["b"].beat_time == 5


def test_no_beat_by_the_many_makes_an_earlier_one_undone(hub, clock, drained):
    hub.heartbeat_many(["a", "b"])

    def keys():
        yield "a"
        clock.advance(5)
        hub.heartbeat("b")
        yield "b"

    hub.heartbeat_many(keys())
    clock.advance(9)  # b beat 9 s ago, its timeout is 10 s
    assert "b" not in [event.key for event in drained(hub)]


def test_keys_may_be_beaten_while_the_iterable_removes_them(hub):
    def keys():
        for n in range(500):
            yield n
            hub.remove(n)

    hub.heartbeat_many(keys())
    assert len(hub) == 0


def test_on_the_real_clock_a_beat_has_the_time_it_was_made_at():
    with HeartHub(100) as hub:
        hub.heartbeat("a")
        first = hub["a"]
        hub.heartbeat("a")
        second = hub["a"]
    assert first.join_time == pytest.approx(second.join_time, abs=1)
    assert second.beat_time - second.join_time >= first.beat_time - first.join_time - 1e-6
    assert second.deadline - second.beat_time == pytest.approx(100, abs=1e-6)
