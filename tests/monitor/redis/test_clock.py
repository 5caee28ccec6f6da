# SPDX-License-Identifier: MIT
"""The estimate of a primary's clock."""

from __future__ import annotations

import random

import pytest

from heartfelt.monitor.store.redis.clock import PrimaryClock

T = 1_800_000_000_000.0


def test_it_is_never_wrong_by_more_than_half_a_round_trip():
    chance = random.Random(5)
    clock = PrimaryClock()
    now_s, offset_ms = 100.0, T
    for _ in range(2000):
        trip_s = chance.choice([0.0002, 0.001, 0.5])
        read_s = now_s + chance.random() * trip_s
        assert clock.feed(offset_ms + read_s * 1000, now_s, now_s + trip_s) == 0
        now_s += trip_s
        assert abs(clock.now_ms(now_s) - (offset_ms + now_s * 1000)) <= trip_s * 500 + 1
        step_s = chance.random()
        now_s += step_s
        offset_ms += step_s * 1000 * 400e-6 * chance.choice([-1, 1])  # as NTP would slew it


def test_a_slow_reply_does_not_spoil_a_good_estimate():
    clock = PrimaryClock()
    clock.feed(T + 1000, 1.0, 1.001)
    clock.feed(T + 2000, 2.0, 12.0)  # read at 2.0, but the reply came late
    assert abs(clock.now_ms(12.0) - (T + 12_000)) < 20


def test_a_jump_ahead_is_measured_and_taken():
    clock = PrimaryClock()
    clock.feed(T + 1000, 1.0, 1.001)
    assert clock.feed(T + 2000 + 5000, 2.0, 2.001) == pytest.approx(5000, abs=5)
    assert abs(clock.now_ms(2.001) - (T + 7000)) < 5
    assert clock.feed(T + 8000, 3.0, 3.001) == 0


def test_after_a_jump_back_it_stands_still_until_it_is_right_again():
    clock = PrimaryClock()
    clock.feed(T + 1000, 1.0, 1.0)
    assert clock.now_ms(2.0) == T + 2000
    assert clock.feed(T, 2.0, 2.0) == pytest.approx(-2000, abs=5)
    assert clock.now_ms(2.0) == clock.now_ms(3.0) == clock.now_ms(3.9) == T + 2000
    assert clock.now_ms(4.5) == T + 2500
    assert clock.now_ms(0.0) == T + 2500  # whatever the caller's clock does
