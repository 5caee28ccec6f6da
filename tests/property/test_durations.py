# SPDX-License-Identifier: MIT
"""Durations: what is given is what is kept, to the nanosecond, and what cannot be is refused."""

from __future__ import annotations

from datetime import timedelta
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from heartfelt import ConfigError, HeartHub
from heartfelt._checks import LONGEST_S, duration_ns
from heartfelt.testing import ManualClock

S = 1_000_000_000


@given(st.integers(1, LONGEST_S))
def test_whole_seconds_are_exact(seconds):
    assert duration_ns(seconds, "it") == seconds * S


@given(st.timedeltas(timedelta(microseconds=1), timedelta(seconds=LONGEST_S)))
def test_a_timedelta_is_exact(delta):
    assert Fraction(duration_ns(delta, "it"), 1000) == delta // timedelta(microseconds=1)


@given(st.integers(1, 10_000_000 * S))
def test_the_float_nearest_to_a_number_of_ns_is_that_number(ns):
    assert duration_ns(ns / S, "it") == ns


@given(st.floats(1e-9, LONGEST_S))
def test_a_float_is_rounded_by_less_than_a_nanosecond_and_a_ulp(seconds):
    off = abs(Fraction(duration_ns(seconds, "it")) - Fraction(seconds) * S)
    assert off <= Fraction(1, 2) + Fraction(seconds) * S / 2**53


@given(st.floats(1e-9, LONGEST_S))
@example(2.5e-9)
def test_a_beat_and_a_hub_read_a_float_alike(seconds):
    hub = HeartHub(seconds, clock=ManualClock())
    hub.heartbeat("hub's")
    hub.heartbeat("own", timeout=seconds)
    assert hub["own"].timeout == hub["hub's"].timeout


@given(st.integers(1, 1_000_000_000).map(lambda ns: ns / S))
def test_a_timeout_is_shown_as_it_was_given(seconds):
    hub = HeartHub(seconds, clock=ManualClock())
    hub.heartbeat("key")
    assert hub["key"].timeout == seconds


@given(
    st.floats(max_value=0.0) | st.floats(min_value=LONGEST_S * (1 + 1e-15), exclude_min=True) | st.just(float("nan"))
)
def test_a_float_that_cannot_be_is_refused(seconds):
    with pytest.raises(ConfigError):
        duration_ns(seconds, "it")


@given(st.integers(max_value=0) | st.integers(min_value=LONGEST_S + 1))
def test_an_int_that_cannot_be_is_refused(seconds):
    with pytest.raises(ConfigError, match="it must be"):
        duration_ns(seconds, "it")


@given(st.timedeltas(max_value=timedelta(0)) | st.timedeltas(min_value=timedelta(seconds=LONGEST_S, microseconds=1)))
def test_a_timedelta_that_cannot_be_is_refused(delta):
    with pytest.raises(ConfigError):
        duration_ns(delta, "it")


@given(st.booleans() | st.text() | st.binary() | st.none() | st.complex_numbers() | st.fractions())
def test_another_type_is_refused(value):
    with pytest.raises(TypeError):
        duration_ns(value, "it")


@given(st.lists(st.integers(1, 50 * S), min_size=1, max_size=20))
def test_a_manual_clock_is_where_its_advances_sum_up_to(parts):
    clock = ManualClock()
    for ns in parts:
        clock.advance(ns / S)
    assert clock.time() == sum(parts) / S


@given(st.integers(1, 10_000_000_000), st.integers(1, 10_000))
def test_timeouts_nobody_reads_are_all_counted_and_none_drifts(microseconds, times):
    timeout = timedelta(microseconds=microseconds)
    clock = ManualClock()
    hub = HeartHub(timeout, disposable=False, clock=clock)
    hub.heartbeat("key")
    clock.advance(times * timeout)
    [event] = hub.events.get_many(10, timeout=0)
    assert event.missed == hub.stats().timeouts == times
    assert round(event.event_time * 1e6) == round(event.deadline * 1e6) == times * microseconds
