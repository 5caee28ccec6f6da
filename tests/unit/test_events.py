# SPDX-License-Identifier: MIT
"""Event: its fields, and their meaning for each type."""

import copy
import pickle
import queue
import types
from datetime import timedelta

import pytest

from heartfelt import Event, EventType, HubClosed
from heartfelt._event import make_event

FIELDS = ("type", "key", "extra", "timeout", "disposable", "missed", "join_time", "beat_time", "deadline", "event_time")


def fields(event):
    return tuple(getattr(event, name) for name in FIELDS)


@pytest.fixture
def event(hub, clock):
    hub.heartbeat("a", timeout=2, extra={"v": 1})
    clock.advance(2)
    return hub.events.get_nowait()


def test_every_type_with_its_fields(make_hub, clock, drained):
    hub = make_hub(subscribe=list(EventType))
    clock.advance(1)
    hub.heartbeat("a", timeout=2, extra="x", disposable=False)
    clock.advance(1)
    hub.heartbeat("a")
    clock.advance(2)
    told = drained(hub)
    clock.advance(0.5)
    hub.heartbeat("a", extra="y")
    hub.remove("a")
    told += drained(hub)
    a = EventType
    assert [fields(event) for event in told] == [
        (a.JOIN, "a", "x", 2, False, 0, 1, 1, 3, 1),
        (a.HEART_BEAT, "a", "x", 2, False, 0, 1, 1, 3, 1),
        (a.HEART_BEAT, "a", "x", 2, False, 0, 1, 2, 4, 2),
        (a.TIME_OUT, "a", "x", 2, False, 1, 1, 2, 4, 4),
        (a.RECOVER, "a", "y", 2, False, 1, 1, 4.5, 6.5, 4.5),
        (a.HEART_BEAT, "a", "y", 2, False, 0, 1, 4.5, 6.5, 4.5),
        (a.REMOVE_KEY, "a", "y", 2, False, 0, 1, 4.5, 6.5, 4.5),
    ]


def test_only_what_is_subscribed_is_told(make_hub, clock, drained):
    for wanted in (EventType.JOIN, EventType.HEART_BEAT, EventType.REMOVE_KEY, EventType.TIME_OUT, EventType.RECOVER):
        hub = make_hub(1, subscribe=[wanted], disposable=False)
        hub.heartbeat("a")
        clock.advance(1)
        hub.heartbeat("a")
        hub.remove("a")
        assert {event.type for event in drained(hub)} == {wanted}


def test_the_types_are_strings_too():
    assert EventType.TIME_OUT == "TIME_OUT"
    assert [str(one) for one in EventType] == [one.value for one in EventType] == list(EventType.__members__)
    assert set(EventType.__members__) == {
        "TIME_OUT", "HEART_BEAT", "REMOVE_KEY", "JOIN", "RECOVER", "OVERFLOW", "STALL",
    }  # fmt: skip


@pytest.mark.parametrize("name", [*FIELDS, "lateness", "anything"])
def test_it_cannot_be_changed(event, name):
    with pytest.raises(AttributeError):
        setattr(event, name, 1)
    with pytest.raises(AttributeError):
        delattr(event, name)


def test_it_is_equal_to_its_like_and_hashes_alike(event):
    like = copy.copy(event)
    assert event == like
    assert hash(event) == hash(like)
    assert {event: 1}[like] == 1
    assert event != "TIME_OUT"
    assert event != fields(event)


PARTS = {
    "type": "TIME_OUT", "key": "a", "extra": None, "disposable": True, "missed": 1, "timeout_ns": 2, "join_ns": 3,
    "beat_ns": 4, "deadline_ns": 6, "event_ns": 7,
}  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"type": "JOIN"}, {"key": b"a"}, {"extra": 1}, {"disposable": False}, {"missed": 2}, {"timeout_ns": 3},
        {"join_ns": 4}, {"beat_ns": 5}, {"deadline_ns": 7}, {"event_ns": 8},
    ],
    ids=lambda change: next(iter(change)),
)  # fmt: skip
def test_it_differs_when_one_field_does(change):
    assert make_event(**PARTS) == make_event(**PARTS)
    assert make_event(**PARTS) != make_event(**{**PARTS, **change})


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_can_be_pickled(event, protocol):
    again = pickle.loads(pickle.dumps(event, protocol))
    assert (type(again), again) == (Event, event)
    assert fields(again) == fields(event)
    assert again.type is EventType.TIME_OUT


def test_it_can_be_copied(event):
    assert copy.copy(event).extra is event.extra
    deep = copy.deepcopy(event)
    assert deep == event
    assert deep.extra is not event.extra


def test_it_works_with_match(event):
    match event:
        case Event(EventType.TIME_OUT, key, {"v": v}, timeout=timeout, event_time=when):
            assert (key, v, timeout, when) == ("a", 1, 2, 2)
        case _:
            pytest.fail("it does not match")
    assert Event.__match_args__ == FIELDS


def test_its_repr_tells_all(event):
    assert repr(event) == (
        "Event(TIME_OUT, key='a', extra={'v': 1}, timeout=2.0, disposable=True, missed=1, "
        "join_time=0.0, beat_time=0.0, deadline=2.0, event_time=2.0)"
    )


def test_to_dict_has_every_field_and_a_plain_type(event):
    found = event.to_dict()
    assert found == dict(zip(FIELDS, fields(event), strict=True))
    assert type(found["type"]) is str


def test_one_made_by_hand_does_not_crash():
    blank = Event.__new__(Event)
    assert "Event" in repr(blank)


def test_lateness_is_how_far_behind_the_deadline():
    assert make_event(**{**PARTS, "deadline_ns": 10**18, "event_ns": 10**18 + 250_000_000}).lateness == 0.25
    assert make_event(**{**PARTS, "deadline_ns": 10**18 + 250_000_000, "event_ns": 10**18}).lateness == -0.25


def test_differences_of_times_are_exact_to_the_microsecond():
    for n in range(2000):
        start = 1_700_000_000 * 10**9 + n * 7_654_321_987
        event = make_event(**{**PARTS, "beat_ns": start, "deadline_ns": start + n * 1_000_000})
        assert abs(event.deadline - event.beat_time - n / 1000) < 1e-6


def test_a_time_before_the_epoch():
    assert make_event(**{**PARTS, "beat_ns": -1_500_000_000}).beat_time == -1.5


# Reading
def test_get_takes_the_oldest_and_raises_empty(hub, clock):
    hub.heartbeat("b", timeout=2)
    hub.heartbeat("a", timeout=1)
    clock.advance(2)
    assert [hub.events.get().key, hub.events.get(timeout=1).key] == ["a", "b"]
    for get in (hub.events.get_nowait, lambda: hub.events.get(False), lambda: hub.events.get(timeout=0.001)):
        with pytest.raises(queue.Empty):
            get()


def test_get_without_waiting_ignores_the_timeout(hub):
    with pytest.raises(queue.Empty):
        hub.events.get(block=False, timeout=1000)


@pytest.mark.parametrize("make_zero", [int, float, timedelta], ids=lambda kind: kind.__name__)
def test_a_timeout_of_zero_does_not_wait(hub, make_zero):
    with pytest.raises(queue.Empty):
        hub.events.get(timeout=make_zero(0))
    assert hub.events.get_many(1, timeout=make_zero(0)) == []


@pytest.mark.parametrize("value, kind", [(-1, ValueError), (True, TypeError), ("1", TypeError)])
def test_a_bad_timeout_is_refused(hub, value, kind):
    for call in (lambda: hub.events.get(timeout=value), lambda: hub.events.get_many(1, timeout=value)):
        with pytest.raises(kind, match="timeout"):
            call()


def test_get_many_takes_up_to_so_many(hub, clock):
    hub.heartbeat_many(range(1000))
    clock.advance(10)
    assert (hub.events.qsize(), hub.events.empty()) == (1000, False)
    assert len(hub.events.get_many(999)) == 999
    assert len(hub.events.get_many(999)) == 1
    assert hub.events.get_many(999, timeout=0.001) == []
    assert (hub.events.qsize(), hub.events.empty()) == (0, True)


@pytest.mark.parametrize("most, kind", [(0, ValueError), (-1, ValueError), (True, TypeError), (1.0, TypeError)])
def test_get_many_wants_a_count(hub, most, kind):
    with pytest.raises(kind, match="max"):
        hub.events.get_many(most, timeout=0)


def test_iteration_ends_when_the_hub_is_closed_and_all_is_read(hub, clock):
    hub.heartbeat_many(range(300))
    clock.advance(10)
    hub.close()
    assert isinstance(iter(hub.events), types.GeneratorType)
    assert sum(1 for _ in hub.events) == 300
    assert list(hub.events) == []


def test_after_the_last_event_of_a_closed_hub_it_raises_hub_closed(hub, clock):
    hub.heartbeat_many(["a", "b"])
    clock.advance(10)
    hub.close()
    assert hub.events.get_nowait().key == "a"
    assert len(hub.events.get_many(9)) == 1
    for call in (hub.events.get, hub.events.get_nowait, lambda: hub.events.get_many(1, timeout=1)):
        with pytest.raises(HubClosed):
            call()
    assert hub.events.empty()


def test_hub_closed_is_a_shut_down_queue_where_python_has_that():
    assert issubclass(HubClosed, getattr(queue, "ShutDown", HubClosed))


def test_the_events_of_a_hub_are_one_object(hub):
    events = hub.events
    assert hub.events is events


def test_of_several_readers_each_event_goes_to_one(hub, clock):
    first, second = iter(hub.events), iter(hub.events)
    hub.heartbeat_many(range(10))
    clock.advance(10)
    assert sorted(next(reader).key for reader in (first, second) for _ in range(5)) == list(range(10))
