# SPDX-License-Identifier: MIT
"""Fanout with fakes of the parts that it is handed."""

from __future__ import annotations

import asyncio
import types

import pytest

from heartfelt.monitor.fanout import COUNTS_S, Fanout, event_of
from heartfelt.monitor.fleet.counts import ServiceCounts
from heartfelt.monitor.fleet.instance import Instance
from heartfelt.monitor.model import Ack, AgentEvent, Change, Hold, InstanceRow, Level, Run, RunResult, State
from heartfelt.monitor.reasons import NO_REASON, text_reason
from heartfelt.monitor.web.api.view import change_view, hold_view


class Calls:
    """Records each call of each method, in order, as (name, *arguments)."""

    def __init__(self):
        self.made = []

    def __getattr__(self, name):
        return lambda *arguments: self.made.append((name, *arguments))


class FakeRegistry:
    def __init__(self):
        self.known = {}
        self.counts = {}
        for name in ("change", "detected", "hold", "held", "ack", "row", "event", "run", "uptime"):
            setattr(self, f"on_{name}", [])

    def get(self, id_):
        return self.known.get(id_)

    def services(self):
        return self.counts

    def totals(self):
        total = ServiceCounts()
        total.total = sum(one.total for one in self.counts.values())
        return total

    def applications(self):
        return dict.fromkeys(self.counts, 1)

    def report(self, name, value):
        for listener in getattr(self, f"on_{name}"):
            listener(value)


SILENT = text_reason("no heartbeat for 15 s")


class Parts:
    """A connected Fanout and what it was handed."""

    def __init__(self):
        self.registry, self.store, self.stream, self.webhooks = FakeRegistry(), Calls(), Calls(), Calls()
        self.late_ms = []
        self.fanout = Fanout(
            registry=self.registry, store=self.store, stream=self.stream, webhooks=self.webhooks,
            observe_late_ms=self.late_ms.append,
        )  # fmt: skip
        self.fanout.connect()

    def report(self, name, value):
        self.registry.report(name, value)

    def published(self):
        return [(topic, value) for _, topic, value in self.stream.made]


def change(new=State.LOST, **more):
    fields = {"seq": 7, "time_ms": 5000, "id": 3, "service": "shop", "instance_id": "one", "old": State.UP}
    return Change(**fields | {"new": new, "level": Level.EMERGENCY, "reason": SILENT} | more)


def instance(**more):
    fields = {
        "id": 3,
        "service": "shop",
        "instance_id": "one",
        "state": State.LOST,
        "since_ms": 25_000,
        "reason": NO_REASON,
    }
    made = Instance(InstanceRow(**fields, first_seen_ms=0, last_beat_ms=10_000, meta={}, via="http", peer="::1"))
    for name, value in more.items():
        setattr(made, name, value)
    return made


def counts_of(total):
    made = ServiceCounts()
    made.total = total
    return made


@pytest.fixture
def loop_calls(monkeypatch):
    """Stands for the event loop's timers: [(delay, function), ...], called by the test."""
    calls = []

    def call_later(delay, function):
        calls.append((delay, function))
        return types.SimpleNamespace(cancel=lambda: calls.remove((delay, function)))

    monkeypatch.setattr(asyncio, "get_running_loop", lambda: types.SimpleNamespace(call_later=call_later))
    return calls


def test_a_change_is_stored_with_its_event_published_and_offered_to_webhooks(loop_calls):
    parts = Parts()
    lost = change()
    parts.report("change", lost)
    assert parts.store.made == [("put_change", lost), ("put_event", event_of(lost))]
    assert parts.published() == [("change", change_view(lost))]
    assert parts.webhooks.made == [("offer", lost)]


def test_a_removed_instance_is_removed_from_the_store(loop_calls):
    parts = Parts()
    parts.report("change", change(State.REMOVED))
    assert ("remove_instance", 3) in parts.store.made


def test_the_event_of_a_change_has_all_that_the_change_says():
    event = event_of(change(State.UP, old=State.LOST, outage_ms=1500, ip="10.0.0.1"))
    assert (event.type, event.scope, event.level, event.ip) == ("STATE", "monitor", Level.EMERGENCY, "10.0.0.1")
    assert event.info == {
        "name": "INSTANCE_UP", "description": "no heartbeat for 15 s", **SILENT.fields(),
        "old": "LOST", "new": "UP", "seq": 7, "id": 3,
        "outageMs": 1500,
    }  # fmt: skip
    assert event_of(change(old=None)).info["old"] is None
    assert "outageMs" not in event_of(change()).info


def test_rows_holds_and_events_reach_those_who_need_them(loop_calls):
    parts = Parts()
    row = instance().row()
    hold = Hold(reason=text_reason("many at once"))
    event = AgentEvent(
        time_ms=1, received_ms=2, service="shop", instance_id="one", ip="", scope="x", level=Level.NORMAL, type="LOG",
        info={},
    )  # fmt: skip
    run = Run(number=1, id=3, rid="", begin_ms=1, end_ms=None, result=RunResult.RUNNING)
    for name, value in (("row", row), ("hold", hold), ("event", event), ("run", run)):
        parts.report(name, value)
    assert parts.store.made == [("put_instance", row), ("put_hold", hold), ("put_event", event), ("put_run", run)]
    assert parts.published() == [("hold", hold_view(hold)), ("event", event)]
    assert parts.webhooks.made == [("offer_event", event)]


def test_lateness_is_measured_from_the_end_of_the_timeout(loop_calls):
    parts = Parts()
    parts.report("detected", instance(lease_ms=14_960))
    parts.report("detected", instance(lease_ms=60_000))  # its timeout was shortened meanwhile: not early, but on time
    parts.report("detected", instance(lease_ms=1, restored_ms=9_000))  # its deadline is not known
    assert parts.late_ms == [40, 0]


def test_counts_are_published_once_for_all_changes_within_a_quarter_of_a_second(loop_calls):
    parts = Parts()
    parts.registry.counts = {"shop": counts_of(2), "mail": counts_of(5)}
    parts.report("change", change())
    parts.report("change", change(service="gone"))
    [(delay, publish)] = loop_calls
    assert delay == COUNTS_S
    publish()
    topic, counts = parts.published()[-1]
    assert topic == "counts"
    assert (counts["all"]["total"], counts["applications"]) == (7, 2)
    assert sorted(counts["services"]) == ["gone", "shop"]
    assert counts["services"]["gone"] is None
    assert counts["services"]["shop"] == {"total": 2, "up": 2, "held": 0, "states": counts_of(0).states}
    parts.report("change", change())
    assert len(loop_calls) == 2  # the next change starts the next timer


def test_held_instances_are_published_unless_the_hold_of_their_loss_has_ended(loop_calls):
    parts = Parts()
    still, changed, removed = instance(id=1, held=True), instance(id=2, held=True), instance(id=3, held=True)
    parts.registry.known = {1: still, 2: changed}
    for one in (still, changed, removed):
        parts.report("held", one)
    changed.held = False
    loop_calls[0][1]()
    assert parts.published()[-1] == ("held", [1])


def test_acknowledgements_are_published_together_and_so_are_their_ends(loop_calls):
    parts = Parts()
    ack = Ack(by="Ann", why="its disk is full", at_ms=1)
    first, second = instance(id=1, ack=ack), instance(id=2, ack=ack)
    for one in (first, second):
        parts.report("ack", one)
    second.ack = None
    parts.report("ack", second)
    [(delay, publish)] = loop_calls
    assert delay == COUNTS_S
    publish()
    assert parts.published() == [("acks", [{"id": 1, "ack": ack}, {"id": 2, "ack": None}])]


def test_after_close_no_timer_is_left(loop_calls):
    parts = Parts()
    parts.report("change", change())
    parts.fanout.close()
    parts.fanout.close()
    assert loop_calls == []
