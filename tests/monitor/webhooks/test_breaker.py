# SPDX-License-Identifier: MIT
"""When a target may be called: the breaker and the pace."""

from __future__ import annotations

import pytest

pytest.importorskip("msgspec")

from heartfelt.monitor.webhooks.breaker import Breaker, BreakerSettings, Pace


def test_breaker():
    breaker, now = Breaker(BreakerSettings(failures=2, messages=2, open_ms=10, most_open_ms=35)), 100
    breaker.failed(now, 1)
    assert breaker.state(now) == "closed" and breaker.room(now) is None
    breaker.failed(now, 2)
    assert breaker.state(now) == "open" and breaker.wait_ms(now) == 10 and breaker.room(now) == 0
    breaker.failed(now, 3)  # a call that began before
    assert breaker.wait_ms(now) == 10
    assert breaker.state(now + 10) == "half-open" and breaker.room(now + 10) == 1
    for number, open_ms in enumerate((20, 35, 35)):
        now += 100
        breaker.began(number)
        assert breaker.room(now) == 0
        breaker.failed(now, number)
        breaker.ended(number)
        assert breaker.wait_ms(now) == open_ms
    assert breaker.wait_ms(now - 1_000_000) == 35  # a clock that was set back
    breaker.succeeded()
    assert breaker.state(now) == "closed"
    breaker.failed(now, 1)
    assert breaker.state(now) == "closed"


def test_a_message_that_fails_alone_does_not_open_the_breaker():
    breaker = Breaker(BreakerSettings(failures=2))
    for now in range(100):
        breaker.failed(now, now % 2)
    assert breaker.state(100) == "closed"
    breaker.failed(100, 2)
    assert breaker.state(100) == "open"


def test_pace():
    pace = Pace([(3, 60_000)])
    for now in (0, 10, 20):
        assert pace.wait_ms(now) == 0 and pace.room(now) == 3 - now // 10
        pace.called(now)
    assert pace.wait_ms(30) == 59_970 and pace.room(30) == 0
    assert pace.wait_ms(60_000) == 0 and pace.room(60_000) == 1
    assert pace.wait_ms(-1_000_000) == 0


def test_pace_in_two_spans():
    pace = Pace([(5, 60_000), (2, 1000)])
    pace.called(0)
    pace.called(0)
    assert (pace.wait_ms(400), pace.room(400)) == (600, 0)
    assert pace.room(1000) == 2
    for now in (1000, 1000, 2000):
        pace.called(now)
    assert (pace.wait_ms(2000), pace.room(2000)) == (58_000, 0)
    pace.not_called()
    assert pace.room(2000) == 1
    pace.hold(2000, 90_000)
    assert pace.wait_ms(62_000) == 30_000 and pace.room(92_000) == 2
