# SPDX-License-Identifier: MIT
"""The parts of the hold by themselves: how it listens, at what rate it releases, which settings it takes."""

from __future__ import annotations

import pytest

from heartfelt.errors import ConfigError
from heartfelt.monitor.fleet.hold import HoldMachine
from heartfelt.monitor.fleet.listening import Intervals, Listening, Misses
from heartfelt.monitor.fleet.policy import HoldPolicy


def test_listening_measures_rate_and_silence():
    listening = Listening()
    total = 0
    for second in range(600):  # a thousand beats in each minute's first second
        total += 1000 * (second % 60 == 0)
        listening.overdue.add(second)
        assert listening.heard(second * 1000.0, total) is (second % 60 == 0 and second > 0)
    assert 5 < listening.per_s < 500
    assert listening.gap_ms == 60_000
    assert listening.silent_ms(600_000.0) == 60_000
    assert listening.overdue == set(range(541, 600))
    assert listening.heard(700_000.0, total + 1, usual=False)
    assert listening.gap_ms == 54_000


def test_how_many_would_be_late_in_a_silence():
    intervals = Intervals()
    kinds = [intervals.count(0, 10_000) for _ in range(100)] + [intervals.count(0, 3_600_000)]
    assert intervals.known == 101
    assert [round(intervals.late_after(ms), -1) for ms in (0, 4_000, 10_000, 16_000, 60_000)] == [0, 0, 50, 100, 100]
    assert round(intervals.late_after(2 * 3_600_000)) == 101
    for kind in kinds:
        intervals.count(kind, None)
    assert intervals.known == intervals.late_after(60_000) == 0


def test_how_many_that_are_never_late_have_missed_a_beat_in_a_silence():
    intervals = Intervals()
    kinds = [intervals.count(0, 100_000, late=False) for _ in range(100)]
    assert (intervals.known, intervals.late_after(1_000_000)) == (0, 0)
    on_average = [intervals.missed_in(ms, 10_000) for ms in (20_000, 75_000, 130_000)]
    assert [round(n, -1) for n in on_average] == [0, 50, 100]
    assert [intervals.missed_in(ms, 90_000) for ms in (75_000, 130_000)] == [0, 100]  # they beat in bursts
    assert [round(intervals.longest_ms(ms), -4) for ms in (90_000, 110_000)] == [0, 100_000]
    for kind in kinds:
        intervals.count(kind, 5_000)
    assert (intervals.known, intervals.missed_in(1_000_000, 0)) == (100, 0)
    assert round(intervals.longest_ms(6_000), -3) == 5_000


def heard(misses, seconds, per_s, of=()):
    """Each second so many beats; each instance of `of` beats again after it missed one."""
    for second, id in zip(range(*seconds), of or [None] * 10_000, strict=False):
        if id is not None:
            misses.missed(second * 1000.0, id, 20_000, 10_000)
        misses.tick(second * 1000.0, (second + 1) * per_s)


def test_the_share_of_beats_that_get_lost():
    misses = Misses(60_000)
    heard(misses, (0, 61), 9, of=range(61))
    assert misses.share(100, 5) == pytest.approx(0.1, abs=0.01)
    assert misses.share(100, 100) == 0  # too few miss beats
    heard(misses, (61, 130), 9)
    assert misses.share(100, 5) == 0  # it is over


def test_beats_that_a_few_miss_are_their_own_fault():
    misses = Misses(60_000)
    heard(misses, (0, 61), 9, of=[n % 6 for n in range(61)])
    assert misses.share(100, 5) == 0
    assert misses.share(10, 5) > 0


def test_what_was_missed_before_is_ignored():
    misses = Misses(60_000)
    misses.ignore_before(30_000.0)
    heard(misses, (0, 50), 9, of=range(50))
    assert misses.share(100, 5) == 0


@pytest.mark.parametrize("rate", [0.5, 20.0, 997.0])
def test_the_rate_of_release(rate):
    machine = HoldMachine(HoldPolicy(release_per_s=rate), lambda scope: 1000)
    now_ms = 1_000_000.0
    machine.outages.stalled(now_ms, 9000.0)
    for id in range(1000):
        assert machine.lost(now_ms, id, "web")
    machine.release(now_ms, "")
    told = []
    for _ in range(100):
        now_ms += 73.0
        told += machine.due(now_ms, 1000)
        assert len(told) <= (now_ms - 1_000_000.0) * rate / 1000 + 1
    assert len(told) == min(1000, int(7300 * rate / 1000 + 1e-6))
    assert told == list(range(len(told)))


def test_a_slice_at_a_time_keeps_the_rate():
    machine = HoldMachine(HoldPolicy(release_per_s=1e6), lambda scope: 1000)
    machine.outages.stalled(0.0, 9000.0)
    for id in range(1000):
        machine.lost(1.0, id, "web")
    machine.release(1.0, "")
    told = [len(machine.due(1000.0, 128)) for _ in range(9)]
    assert told == [128] * 7 + [104, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("window_ms", 0),
        ("share", 0.0),
        ("share_of_all", 1.5),
        ("leak", 0.0),
        ("reconnect_ms", -1),
        ("least", 1),
        ("release_per_s", 0),
    ],
)
def test_settings_that_cannot_be(field, value):
    with pytest.raises(ConfigError, match=rf"hold\.{field} .*{value}"):
        HoldPolicy(**{field: value})
