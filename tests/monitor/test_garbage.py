# SPDX-License-Identifier: MIT
"""The garbage collector does not visit instances, collects cycles as always, and its runs are measured."""

from __future__ import annotations

import gc
import weakref

from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.garbage import FIGURES, Garbage
from heartfelt.monitor.model import Beat
from heartfelt.testing import ManualClock


def test_the_collector_visits_neither_instances_nor_their_timers():
    registry = Registry(clock=ManualClock())
    try:
        beat = Beat(service="s", instance_id="i", via="http", peer="p", meta={"ip": ["10.0.0.1"]}, interval_ms=1000)
        instance = registry.beat(beat)
        gc.collect()
        before = len(gc.get_objects())
        for n in range(1000):
            registry.beat(
                Beat(service="s", instance_id=f"i-{n}", via="http", peer="p", meta={"ip": ["1"]}, interval_ms=1000)
            )
        gc.collect()
        assert len(gc.get_objects()) - before < 100
        assert not any(map(gc.is_tracked, (instance, instance.lease, instance.late, instance.packed, instance.reason)))
    finally:
        registry.close()


def test_an_instance_that_is_removed_is_freed_though_the_collector_does_not_know_it():
    freed = []

    class Meta(str):
        def __del__(self):
            freed.append(1)

    registry = Registry(clock=ManualClock())
    try:
        instance = registry.beat(Beat(service="s", instance_id=Meta("i"), via="http", peer="p", interval_ms=1000))
        id = instance.id
        del instance
        registry.dirty_beats()
        registry.remove(id, "by hand")
        assert freed == [1]
    finally:
        registry.close()


def test_a_cycle_is_collected_and_the_run_measured():
    class Node:
        pass

    times = iter((10.0, 10.25, 20.0, 20.5, 30.0, 30.125))
    garbage = Garbage(clock=lambda: next(times))
    gc.collect()
    gc.disable()
    garbage.start()
    try:
        one = Node()
        one.other, gone = one, weakref.ref(one)
        del one
        for _ in range(3):
            gc.collect()
        assert gone() is None
    finally:
        garbage.stop()
        garbage.stop()
        gc.enable()
    assert garbage.stats() == {"collections": 3, "seconds": 0.875, "longest_s": 0.5}
    gc.collect()
    assert garbage.collections == 3  # it no longer listens
    assert [metric.name for metric, _ in garbage.readings()] == [figure.name for figure in FIGURES.values()]
