# SPDX-License-Identifier: MIT
"""Heart: a handle on one key."""

import pytest

from heartfelt import EventType, Heart, HubClosed


@pytest.fixture(params=["beat", "call"])
def beat(request):
    return Heart.beat if request.param == "beat" else Heart.__call__


def test_a_heart_joins_its_key_when_it_is_made(hub):
    heart = hub.heart("a")
    assert "a" in hub
    assert (heart.key, heart.hub) == ("a", hub)
    assert repr(heart) == "<Heart of 'a'>"


def test_its_beat_is_a_beat_of_the_key(hub, clock, beat):
    heart = hub.heart("a")
    clock.advance(4)
    assert beat(heart) is None
    assert hub["a"].beat_time == 4


def test_making_one_leaves_a_watched_key_as_it_is(hub, clock):
    hub.heartbeat("a", timeout=5)
    clock.advance(1)
    hub.heart("a")
    assert (hub["a"].beat_time, hub["a"].timeout) == (0, 5)


def test_making_one_with_options_is_a_beat_with_them(hub, clock):
    hub.heartbeat("a")
    clock.advance(1)
    hub.heart("a", timeout=5, extra="x", disposable=False)
    watch = hub["a"]
    assert (watch.beat_time, watch.timeout, watch.extra, watch.disposable) == (1, 5, "x", False)


def test_its_options_hold_again_when_its_beat_joins_the_key_anew(hub, clock, beat, drained):
    heart = hub.heart("a", timeout=5, extra="x", disposable=True)
    clock.advance(5)
    assert len(drained(hub)) == 1
    beat(heart)
    watch = hub["a"]
    assert (watch.join_time, watch.timeout, watch.extra) == (5, 5, "x")


def test_its_options_do_not_change_a_key_that_lives(make_hub, clock, beat):
    hub = make_hub(subscribe=[EventType.HEART_BEAT])  # so that its beats go the long way
    heart = hub.heart("a", timeout=5, extra="x")
    hub.heartbeat("a", timeout=7, extra="y")
    beat(heart)
    assert (hub["a"].timeout, hub["a"].extra) == (7, "y")


def test_its_beat_recovers_a_lost_key(make_hub, clock, beat, drained):
    hub = make_hub(disposable=False, subscribe=list(EventType))
    heart = hub.heart("a")
    clock.advance(10)
    drained(hub)
    beat(heart)
    assert [event.type for event in drained(hub)] == [EventType.RECOVER, EventType.HEART_BEAT]


def test_after_a_remove_its_beat_joins_anew(loud, clock, beat, drained):
    heart = loud.heart("a", timeout=3)
    loud.remove("a")
    drained(loud)
    beat(heart)
    assert [event.type for event in drained(loud)] == [EventType.JOIN, EventType.HEART_BEAT]
    assert loud["a"].timeout == 3


def test_it_never_beats_another_key_that_took_the_place_of_its_own(hub, clock):
    heart = hub.heart("a")
    hub.remove("a")
    hub.heartbeat("b")
    clock.advance(1)
    heart.beat()
    assert (hub["a"].join_time, hub["b"].beat_time) == (1, 0)


def test_several_of_one_key_agree(hub, clock, drained):
    first, second = hub.heart("a", timeout=2), hub.heart("a", timeout=4)
    clock.advance(4)
    drained(hub)
    second.beat()
    clock.advance(1)
    first.beat()
    assert len(hub) == 1
    assert (hub["a"].beat_time, hub["a"].timeout) == (5, 4)


def test_after_close_its_beat_says_so(hub, beat):
    heart = hub.heart("a")
    hub.close()
    with pytest.raises(HubClosed):
        beat(heart)
    with pytest.raises(HubClosed):
        hub.heart("a")


@pytest.mark.parametrize("what", ["beat", "hub", "repr"])
def test_one_made_without_a_hub_does_not_crash(run_python, what):
    """Heart is public, so someone will call it."""
    call = {"beat": "heart.beat()", "hub": "heart.hub", "repr": "repr(heart)"}[what]
    run_python(f"""
        from heartfelt import Heart
        try:
            heart = Heart()
            {call}
        except (TypeError, RuntimeError, AttributeError):
            pass
    """)


@pytest.mark.parametrize("use", ["heart.beat()", "heart()", "repr(heart)"])
def test_a_heart_of_no_hub_does_not_crash(run_python, use):
    run_python(f"""
        from heartfelt import Heart
        heart = Heart.__new__(Heart)
        try:
            {use}
        except TypeError:
            pass
    """)
