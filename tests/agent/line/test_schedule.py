# SPDX-License-Identifier: MIT
"""When beats are due, and how long a line waits after failures, in virtual time."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from heartfelt.agent.line.schedule import Backoff, Schedule


def test_slots_at_a_fixed_rate():
    schedule = Schedule(3)
    assert (schedule.begun, schedule.look(100), schedule.due()) == (False, False, float("inf"))
    schedule.begin(100)
    assert schedule.look(100)
    schedule.served()
    assert (schedule.look(102.999), schedule.due()) == (False, 103)
    assert schedule.look(104.5)  # late, but within its slot
    schedule.served()
    assert (schedule.due(), schedule.missed(104.5)) == (106, 0)


def test_a_stall_is_one_beat_and_its_missed_ones():
    schedule = Schedule(3)
    schedule.begin(0)
    assert schedule.missed(2.9) == 0
    assert schedule.missed(9.1) == 3  # seen before anybody looks
    assert schedule.look(9.1)
    assert (schedule.due(), schedule.missed(9.1)) == (9, 3)
    schedule.skipped()
    assert (schedule.due(), schedule.missed(9.1)) == (12, 4)


@given(
    st.floats(0.001, 100),
    st.floats(0, 1e6),
    st.lists(st.tuples(st.floats(0, 500), st.booleans()), max_size=50),
)
def test_every_slot_that_ended_is_served_or_missed(interval, first, looks):
    schedule = Schedule(interval)
    schedule.begin(first)
    now, served = first, 0
    for step, serve in looks:
        now += step
        if schedule.look(now) and serve:
            assert schedule.due() <= now
            schedule.served()
            served += 1
        ended = (now - first) / interval
        assert -1 - 1e-6 <= served + schedule.missed(now) - ended <= 1 + 1e-6


def waits(backoff, times):
    return [backoff.failed(now) for now in times]


def test_waits_double_up_to_the_most():
    backoff = Backoff(5, 180, 3, 1)
    for base, wait in zip((5, 10, 20, 40, 80, 160, 180, 180), waits(backoff, [0] * 8), strict=True):
        assert base / 2 <= wait <= base


def test_agents_do_not_reconnect_in_step():
    assert len({Backoff(5, 180, 3, seed).failed(0) for seed in range(20)} | {Backoff(5, 180, 3, None).failed(0)}) == 21


@pytest.mark.parametrize(
    ("lasted", "interval", "starts_over"), [(19.9, 3, False), (20, 3, True), (25, 30, False), (30, 30, True)]
)
def test_it_starts_over_only_after_a_connection_that_lasted(lasted, interval, starts_over):
    backoff = Backoff(5, 180, interval, 1)
    waits(backoff, [0] * 3)  # the last wait is of 20 s
    backoff.connected(100)
    wait = backoff.failed(100 + lasted)
    assert (2.5 <= wait <= 5) if starts_over else (20 <= wait <= 40)


def test_a_connection_that_took_anothers_place_lasts_from_the_first():
    backoff = Backoff(5, 180, 1, 1)
    waits(backoff, [0] * 4)
    backoff.connected(100)
    backoff.connected(150)
    assert backoff.failed(151) <= 5
