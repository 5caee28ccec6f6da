# SPDX-License-Identifier: MIT
"""Events: as values, and the order in which a ring that drops gives what is left."""

from __future__ import annotations

import pickle
from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from heartfelt import EventType, HeartHub
from heartfelt._event import make_event
from heartfelt.testing import ManualClock

S = 1_000_000_000
since_epoch_ns = st.integers(0, 4_000_000_000 * S)
spans_ns = st.integers(0, 1_000_000 * S)
extras = st.recursive(st.none() | st.integers() | st.text() | st.binary(), st.lists, max_leaves=5)


@st.composite
def events(draw):
    join = draw(since_epoch_ns)
    beat = join + draw(spans_ns)
    timeout = draw(st.integers(1, 1_000_000 * S))
    deadline = beat + timeout
    key = draw(st.text() | st.binary() | st.integers(-(2**63), 2**63 - 1))
    kind, missed = draw(st.sampled_from(EventType)), draw(st.integers(0, 2**32 - 1))
    late = draw(spans_ns)
    return make_event(
        kind.value, key, draw(extras), draw(st.booleans()), missed, timeout, join, beat, deadline, deadline + late
    )


@given(events(), st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_pickle_gives_an_equal_event(event, protocol):
    again = pickle.loads(pickle.dumps(event, protocol))
    assert again == event
    assert hash(again) == hash(event)
    assert again.to_dict() == event.to_dict()
    assert again.lateness == event.lateness


@given(events(), events())
def test_events_are_equal_when_their_fields_are(one, other):
    assert (one == other) == (one.__reduce__()[1] == other.__reduce__()[1])


@given(events())
def test_to_dict_has_every_field_and_matches(event):
    fields = event.to_dict()
    assert list(fields) == list(event.__match_args__)
    assert fields["type"] == event.type == event.type.value
    assert all(fields[name] == getattr(event, name) for name in fields)


@given(since_epoch_ns, st.integers(-1_000_000 * S, 1_000_000 * S))
def test_differences_of_times_are_exact_to_the_microsecond(beat, span):
    event = make_event("TIME_OUT", "k", None, True, 1, 1, beat, beat, beat, beat + span)
    assert abs(Fraction(event.event_time) - Fraction(event.beat_time) - Fraction(span, S)) < Fraction(1, 1_000_000)
    assert abs(Fraction(event.lateness) - Fraction(span, S)) < Fraction(1, S)


@given(since_epoch_ns)
def test_a_time_is_the_float_nearest_to_it(ns):
    event = make_event("TIME_OUT", "k", None, True, 1, 1, ns, ns, ns, ns)
    assert event.event_time == float(Fraction(ns, S))


RING = {EventType.TIME_OUT, EventType.JOIN, EventType.REMOVE_KEY, EventType.HEART_BEAT}
ring_operations = st.lists(
    st.tuples(st.sampled_from(["beat", "beat", "remove", "advance", "read"]), st.sampled_from("abc")), max_size=60
)


class PlainRing:
    """Events other than TIME_OUT, at most `size` of them; what does not fit is counted."""

    def __init__(self, size: int, on_full: str) -> None:
        self.size, self.on_full, self.held, self.lost = size, on_full, [], 0

    def push(self, event) -> None:
        if len(self.held) < self.size or self.on_full == "block":
            self.held.append(event)
            return
        self.lost += 1
        if self.on_full == "drop_oldest":
            self.held = [*self.held[1:], event]


@given(
    ring_operations,
    st.integers(1, 5),
    st.sampled_from(["drop_oldest", "drop_newest", "block"]),
    st.sampled_from([1, 2]),
)
def test_a_full_ring_drops_what_it_says_counts_it_and_no_time_out(operations, size, on_full, shards):
    clock = ManualClock()
    hub = HeartHub(3, parallelism=shards, subscribe=RING, event_buffer=size, on_full=on_full, clock=clock)
    ring, due, time_outs, now = PlainRing(size, on_full), {}, [], 0

    def read():
        got = [(event.type.value, event.key, event.event_time) for event in hub.events.get_many(1000, timeout=0)]
        assert [one for one in got if one[0] != "TIME_OUT"] == ring.held
        assert sorted(one for one in got if one[0] == "TIME_OUT") == sorted(time_outs)
        assert [one[2] for one in got] == sorted(one[2] for one in got)
        assert hub.stats().dropped == ring.lost
        ring.held = []
        time_outs.clear()

    for operation, key in operations:
        if operation == "beat":
            hub.heartbeat(key)
            if key not in due:
                ring.push(("JOIN", key, now))
            ring.push(("HEART_BEAT", key, now))
            due[key] = now + 3
        elif operation == "remove":
            hub.remove(key, missing_ok=True)
            if due.pop(key, None) is not None:
                ring.push(("REMOVE_KEY", key, now))
        elif operation == "advance":
            clock.advance(1)
            now += 1
            for late in [one for one, when in due.items() if when == now]:
                time_outs[:] = [one for one in time_outs if one[1] != late]  # one waits for a key
                time_outs.append(("TIME_OUT", late, now))
                del due[late]
        else:
            read()
        assert hub.events.qsize() == len(ring.held) + len(time_outs)
        assert hub._check() is None
    read()


@given(ring_operations, st.integers(1, 5), st.sampled_from(["drop_oldest", "drop_newest"]))
@example([("beat", "a"), ("beat", "b"), ("advance", "a"), ("beat", "c")], 2, "drop_oldest")
def test_overflow_events_tell_every_loss_and_keep_the_order_of_each_key(operations, size, on_full):
    clock = ManualClock()
    wanted = {EventType.TIME_OUT, EventType.JOIN, EventType.OVERFLOW}
    hub = HeartHub(1, subscribe=wanted, event_buffer=size, on_full=on_full, clock=clock)
    last_times, told = {}, 0

    def read():
        nonlocal told
        for event in hub.events.get_many(1000, timeout=0):
            if event.type == EventType.OVERFLOW:
                told += event.missed
                continue
            assert last_times.get(event.key, 0) <= event.event_time, f"{event} comes after a later one of its key"
            last_times[event.key] = event.event_time
        assert told == hub.stats().dropped

    for operation, key in operations:
        if operation == "beat":
            hub.heartbeat(key)
        elif operation == "remove":
            hub.remove(key, missing_ok=True)
        elif operation == "advance":
            clock.advance(1)
        else:
            read()
    read()
