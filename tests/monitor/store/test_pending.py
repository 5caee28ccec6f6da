# SPDX-License-Identifier: MIT
"""Records waiting to be written: whenever they are taken and put back, none within the bounds is lost."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")
from hypothesis import given, settings
from hypothesis import strategies as st

from heartfelt.monitor.model import Hold, Level, State
from heartfelt.monitor.reasons import text_reason
from heartfelt.monitor.store import WatchedTime
from heartfelt.monitor.store.pending import Bounds, Dropped, Pending
from tests.monitor.store.values import DAY_MS, MINUTE_MS, NOON_MS, a_run, change, event, instance

BOUNDS = Bounds(changes=4, events=5, event_bytes=4000, deliveries=3, cells=5, runs=4)
DAY = NOON_MS // DAY_MS
STORED_ID = 3  # the file knows of instances 1 to 3

OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(
            [
                "instance",
                "beats",
                "remove",
                "change",
                "event",
                "minute",
                "uptime",
                "delivery",
                "told",
                "run",
                "hold",
                "take",
            ]
        ),
        st.integers(1, 6),
    ),
    max_size=80,
)


def note(pending, what, n, serial, taken_id):
    """`taken_id`: the highest that was taken away, of which the file may know by now."""
    if what == "instance":
        pending.instance(instance(n, reason=text_reason(str(serial))))
    elif what == "beats":  # there are none of an instance that was never put
        pending.some_beats({id: serial for id in (n, n + 1) if id <= max(STORED_ID, pending.highest_id)})
    elif what == "remove":
        pending.remove(n, is_stored=n <= max(STORED_ID, taken_id))
    elif what == "change":
        pending.change(change(serial, service=f"s{n}"))
    elif what == "event":
        pending.event(event(serial, info={"name": "x" * 300 * n}))
    elif what == "minute":
        pending.minute(NOON_MS + serial * MINUTE_MS, {f"s{k}": (1, 1) for k in range(n)})
    elif what == "uptime":
        pending.uptime({(DAY, f"s{k}"): WatchedTime(2.0, 1.0, 1.0, 0.5) for k in range(n)})
    elif what == "delivery":
        pending.delivery("t", str(serial), n, serial, f"s{n}", Level.NORMAL)
    elif what == "run":
        pending.run(a_run(serial, id=n))
    elif what == "told":
        pending.was_told(f"t{n % 2}", {("s", str(n)): None if serial % 3 == 0 else (str(serial),)})
    elif what == "hold":
        pending.hold = Hold(reason=text_reason(str(serial)))


def content(pending):
    beats = {}
    for some in pending.beats:
        beats.update(some)
    return (
        pending.instances,
        beats,
        set(pending.removed),
        list(pending.changes),
        pending.days,
        pending.hold,
        list(pending.deliveries),
        pending.told,
        pending.highest_id,
        pending.highest_seq,
    )


@given(OPERATIONS)
@settings(max_examples=400, deadline=None)
def test_kept_and_noted_are_together_as_if_never_taken(operations):
    dropped, kept_dropped, dropped_at_once = Dropped(), Dropped(), Dropped()
    at_once = Pending(BOUNDS, dropped_at_once, 0, 0)
    kept = Pending(BOUNDS, kept_dropped, 0, 0)
    noted = Pending(BOUNDS, dropped, 0, 0)

    taken_id = 0

    def take():
        nonlocal noted, taken_id
        taken_id = noted.highest_id
        taken, noted = noted, Pending(BOUNDS, dropped, noted.highest_id, noted.highest_seq)
        kept.absorb(taken, STORED_ID)

    gone = set()  # no instance that was removed comes back under its id
    for serial, (what, n) in enumerate(operations, 1):
        if what == "remove":
            gone.add(n)
        if what == "take":
            take()
        elif (what in ("instance", "run") and n in gone) or (what == "beats" and gone & {n, n + 1}):
            continue
        else:
            note(noted, what, n, serial, taken_id)
            note(at_once, what, n, serial, 0)
    take()
    assert content(kept) == content(at_once)
    for name in ("changes", "deliveries"):
        both = getattr(dropped, name) + getattr(kept_dropped, name)
        assert both == getattr(dropped_at_once, name), name
    # Those whose sizes differ: an older small one may stay though a large one after it was dropped.
    newest = list(at_once.events)
    assert list(kept.events)[len(kept.events) - len(newest) :] == newest
    assert len(kept.events) + dropped.events + kept_dropped.events == sum(what == "event" for what, _ in operations)
    newest = list(at_once.counts)
    assert list(kept.counts)[len(kept.counts) - len(newest) :] == newest
    assert kept.cells + dropped.cells + kept_dropped.cells == sum(n for what, n in operations if what == "minute")
    kept_runs = {run for mine in kept.runs.values() for run in mine.values()}
    assert kept.n_runs == len(kept_runs) <= BOUNDS.runs
    assert not gone & kept.runs.keys()
    assert noted.is_empty()
    assert kept.is_empty() == (kept.waiting() == 0)


def test_the_oldest_days_are_dropped_and_counted():
    dropped = Dropped()
    pending = Pending(Bounds(days=2), dropped, 0, 0)
    pending.change(change(1, service="a"))
    pending.uptime({(DAY, "a"): WatchedTime(2.0, 1.0, 1.0, 0.5), (DAY, "b"): WatchedTime(3.0, 3.0, 3.0, 3.0)})
    assert (pending.days[(DAY, "a")], dropped.days) == ((2.0, 1.0, 1.0, 0.5, 1, 0), 0)
    pending.change(change(2, service="c", new=State.FAILED))
    assert pending.days == {(DAY, "b"): (3.0, 3.0, 3.0, 3.0, 0, 0), (DAY, "c"): (0, 0, 0, 0, 0, 1)}
    assert dropped.days == 1


@given(OPERATIONS)
@settings(max_examples=200, deadline=None)
def test_it_keeps_to_its_bounds(operations):
    pending = Pending(BOUNDS, Dropped(), 0, 0)
    for serial, (what, n) in enumerate(operations, 1):
        note(pending, what, n, serial, 0)
        assert len(pending.changes) <= BOUNDS.changes
        assert len(pending.events) <= BOUNDS.events
        assert pending.event_bytes <= BOUNDS.event_bytes or len(pending.events) == 1
        assert pending.event_bytes == sum(size for _, size in pending.events)
        assert len(pending.deliveries) <= BOUNDS.deliveries
        assert pending.cells <= BOUNDS.cells or len(pending.counts) == 1
        assert pending.cells == sum(len(counts) for _, counts in pending.counts)
        assert pending.n_runs == sum(map(len, pending.runs.values())) <= BOUNDS.runs
        assert all(pending.runs.values())
        assert len(pending.beats) <= 8
        assert not pending.removed.keys() & pending.instances.keys()
