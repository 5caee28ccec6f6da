# SPDX-License-Identifier: MIT
"""Few messages of many changes: the damper alone, driven by the times of the changes."""

from __future__ import annotations

import random

import pytest

pytest.importorskip("msgspec")
pytest.importorskip("aiohttp")

from heartfelt.monitor.webhooks.damping import Damper, Damping
from heartfelt.monitor.webhooks.notices import event_entry, of_change
from heartfelt.monitor.webhooks.targets import is_recovery
from heartfelt.monitor.webhooks.texts import title
from tests.monitor.webhooks.parts import START_MS, make_change, make_event


def entry(seq, after_s=0.0, **more):
    change = make_change(seq, time_ms=START_MS + int(after_s * 1000), **more)
    return of_change(change, is_recovery(change))


def at(seconds):
    return START_MS + int(seconds * 1000)


def flap(damper, number, every_s, first_seq=1, start_s=0.0, instance="i1"):
    found = []
    for n in range(number):
        old, new = ("UP", "LOST") if n % 2 == 0 else ("LOST", "UP")
        found += damper.offer(entry(first_seq + n, start_s + n * every_s, old=old, new=new, instance=instance))
    return found


def test_a_single_change_comes_after_the_gathering_time_and_not_before():
    damper = Damper(Damping())
    assert damper.offer(entry(1)) == []
    assert damper.next_ms == at(2)
    assert damper.advance(at(1.999)) == []
    [notice] = damper.advance(at(2))
    assert (notice.kind, notice.key, notice.service) == ("change", "change-1", "shop")
    assert damper.advance(at(1000)) == [] and damper.next_ms is None


def test_a_few_changes_of_a_service_are_told_one_by_one_and_in_order():
    damper = Damper(Damping())
    for seq in (1, 2, 3):
        damper.offer(entry(seq, seq * 0.1, instance=f"i{seq}"))
    assert [notice.key for notice in damper.advance(at(3))] == ["change-1", "change-2", "change-3"]


def test_mass_changes_of_a_service_are_one_message_with_counts_and_the_first_names():
    damper = Damper(Damping())
    for seq in range(1, 38):
        assert damper.offer(entry(seq, seq * 0.01, instance=f"i{seq}")) == []
    damper.offer(entry(38, 0.5, instance="i2", old="LOST", new="UP", outage_ms=192_000))
    damper.offer(entry(39, 0.5, service="other"))
    mass, other = damper.advance(at(3))
    assert (mass.kind, mass.key, mass.count, mass.instances, mass.last_seq) == ("mass", "mass-change-1", 38, 37, 38)
    assert mass.counts == {"LOST": 37, "RECOVERED": 1}
    assert mass.names == tuple(f"i{n}" for n in range(1, 11))
    assert title(mass, "en") == "[EMERGENCY] shop: 37 LOST, 1 recovered (longest outage 3 min 12 s)"
    assert title(mass, "zh") == "[紧急] shop: 37 失联, 1 已恢复 (最长中断 3分钟12秒)"
    assert other.key == "change-39"
    assert damper.merged == 38


def test_many_changes_of_one_instance_say_what_it_is_now():
    damper = Damper(Damping())
    flap(damper, 5, 0.01)
    [mass] = damper.advance(at(3))
    assert title(mass, "en") == "[EMERGENCY] shop: 3 LOST, 2 recovered, now LOST"
    assert title(mass, "zh") == "[紧急] shop: 3 失联, 2 已恢复, 现在失联"
    damper = Damper(Damping())
    flap(damper, 7, 0.01)  # the last one is muted
    [mass] = damper.advance(at(3))
    assert title(mass, "en") == "[EMERGENCY] shop: 3 LOST, 3 recovered, now LOST"


def test_a_service_that_goes_on_changing_is_told_of_less_often():
    damper = Damper(Damping())
    notices = []
    for n in range(600):  # one loss each 0.1 s for a minute
        notices += damper.offer(entry(n + 1, n * 0.1, instance=f"i{n}"))
    notices += damper.advance(at(200))
    assert [notice.kind for notice in notices] == ["mass"] * 3  # 2 s, then 30 s, then the rest
    assert sum(notice.count for notice in notices) == 600
    damper.offer(entry(601, 200, instance="late"))
    assert [notice.key for notice in damper.advance(at(202))] == ["change-601"]  # quiet since: quick again


def test_a_flapping_instance_is_summed_up_with_its_last_state():
    damper = Damper(Damping(flap_changes=4, gather_ms=0))
    notices = flap(damper, 14, 20)
    notices += damper.advance(at(10_000))
    assert [notice.key for notice in notices] == ["change-1", "change-2", "change-3", "change-4", "flapping-change-5"]
    summary = notices[-1]
    assert (summary.kind, summary.count, summary.entry.new) == ("flapping", 14, "UP")
    assert title(summary, "en").endswith("shop / i1: changed 14 times in 4 min 20 s, now UP")
    assert title(summary, "zh").endswith("shop / i1: 4分钟20秒内变化 14 次, 现在正常")
    assert damper.muted == 10


def test_flapping_that_goes_on_is_told_once_a_window_and_the_end_when_it_is_quiet():
    settings = Damping(flap_changes=4, gather_ms=0)
    damper = Damper(settings)
    notices = flap(damper, 181, 10)  # half an hour
    told = [notice for notice in notices if notice.kind == "flapping"]
    assert 5 <= len(told) <= 6
    assert damper.next_ms <= at(1800) + settings.flap_quiet_ms
    [last] = damper.advance(at(1860))
    assert last.entry.new == "LOST" and last.last_seq == 181
    assert sum(notice.count for notice in [*told, last]) == 181  # those told before it flapped count in its first sum
    assert damper.advance(at(3600)) == []
    damper.offer(entry(182, 3600))
    assert [notice.key for notice in damper.advance(at(3600))] == ["change-182"]


def test_one_that_flaps_does_not_hold_up_others():
    damper = Damper(Damping(flap_changes=2, gather_ms=0))
    flap(damper, 9, 1)
    damper.offer(entry(10, 9, instance="i2"))
    assert [notice.key for notice in damper.advance(at(9))] == ["change-10"]


def test_events_are_gathered_but_not_taken_for_changes():
    damper = Damper(Damping())
    for n in range(50):
        damper.offer(event_entry(make_event(time_ms=START_MS + n)))
    damper.offer(entry(1))
    kinds = {notice.kind: notice for notice in damper.advance(at(5))}
    assert kinds["mass"].counts == {"LOG": 50} and kinds["mass"].last_seq is None
    assert kinds["change"].key == "change-1"


def test_that_losses_are_held_is_told_at_once_and_by_itself():
    damper = Damper(Damping())
    for n in range(5):
        assert damper.offer(event_entry(make_event(time_ms=at(0) + n, received_ms=at(0)))) == []
    hold = event_entry(make_event(type="HOLD", time_ms=at(0.5), received_ms=at(0.5)))
    (told,) = damper.offer(hold)
    assert (told.kind, told.entry) == ("event", hold)
    (others,) = damper.advance(at(2))
    assert (others.kind, others.count) == ("mass", 5)


def test_the_same_event_has_the_same_key_and_another_has_not():
    keys = {event_entry(make_event(received_ms=n)).key for n in range(3)}
    assert len(keys) == 1
    assert event_entry(make_event(info={"name": "other"})).key not in keys


@pytest.mark.parametrize("seed", range(5))
def test_the_same_changes_make_the_same_messages_however_often_the_clock_is_read(seed):
    rng = random.Random(seed)
    entries, seconds = [], 0.0
    for seq in range(1, 800):
        seconds += rng.choice((0.05, 0.5, 5, 60) if seq % 100 > 30 else (0.01, 0.05))
        old, new = rng.choice((("UP", "LOST"), ("LOST", "UP")))
        instance, service = f"i{rng.randrange(12)}", rng.choice("ab")
        entries.append(entry(seq, seconds, old=old, new=new, instance=instance, service=service))

    def run(ticks):
        damper, found, now_s = Damper(Damping()), [], 0.0
        for one in entries:
            while ticks and now_s + 0.7 < (one.time_ms - START_MS) / 1000:
                now_s += 0.7
                found += damper.advance(at(now_s))
            found += damper.offer(one)
            assert damper.first_open_seq() is not None
        found += damper.advance(at(seconds + 1000))
        assert damper.first_open_seq() is None
        return found

    often, seldom = run(True), run(False)
    assert often == seldom
    assert len({notice.key for notice in often}) == len(often) < len(entries)
    assert {notice.kind for notice in often} == {"change", "flapping", "mass"}
    changes = sum(1 if notice.kind == "change" else 0 for notice in often)
    assert changes + sum(notice.count for notice in often if notice.kind != "change") >= len(entries) * 0.9


def test_flush_tells_all_that_is_held_and_settle_forgets_it():
    damper = Damper(Damping(flap_changes=2))
    flap(damper, 6, 0.1)
    damper.offer(entry(7, 0.7, service="other"))
    assert damper.first_open_seq() == 1
    assert sorted(notice.key for notice in damper.flush()) == ["change-1", "change-2", "change-7", "flapping-change-3"]
    assert damper.first_open_seq() is None and damper.advance(at(1000)) == []

    damper = Damper(Damping(flap_changes=2))
    flap(damper, 6, 0.1)
    damper.settle()
    assert damper.advance(at(100)) == [] and damper.first_open_seq() is None
    damper.offer(entry(7, 101))  # still known to flap
    assert [notice.key for notice in damper.advance(at(200))] == ["flapping-change-7"]


def test_a_clock_that_is_set_back_does_not_hold_messages_for_ever():
    damper = Damper(Damping())
    damper.offer(entry(1, 7200))
    assert [notice.key for notice in damper.advance(at(0))] == ["change-1"]
    damper.offer(entry(2, 1))
    assert [notice.key for notice in damper.advance(at(3))] == ["change-2"]


def test_memory_is_given_back():
    damper = Damper(Damping())
    for n in range(5000):
        damper.offer(entry(n + 1, n, instance=f"i{n}"))
    assert len(damper._instances) < 1000
    damper.offer(entry(6000, 10_000, instance="x"))
    for n in range(400):
        damper.advance(at(10_010 + n))
    assert len(damper._instances) <= 2 and len(damper._groups) == 0 and len(damper._timers) == 0
