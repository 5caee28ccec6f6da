# SPDX-License-Identifier: MIT
"""Rates of clients, and of log lines: by a clock that is moved by hand."""

from __future__ import annotations

import logging

import pytest

from heartfelt.monitor.ingest.limits import ClientRates
from heartfelt.monitor.ingest.log_rate import RateLog


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


def test_a_client_that_keeps_to_its_rate_never_waits(clock):
    rates = ClientRates(10, clock=clock)
    for _ in range(100):
        assert rates.take("a", 5) == 0.0
        clock.now += 0.5
    assert rates.limited == 0


def test_a_debt_is_paid_before_more_is_taken(clock):
    rates = ClientRates(10, clock=clock)
    assert rates.take("a", 25) == 0.0  # 15 more than there were
    assert rates.wait_s("a") == pytest.approx(1.6)
    assert rates.take("a") == pytest.approx(1.6)
    assert rates.limited == 1
    assert rates.take("b") == 0.0
    clock.now += 1.4
    assert rates.take("a") > 0
    clock.now += 0.21
    assert rates.take("a") == 0.0


def test_what_was_read_is_owed(clock):
    rates = ClientRates(10, clock=clock)
    assert rates.owe("a", 5) == 0.0
    assert rates.owe("a", 25) == pytest.approx(2.1)
    assert rates.owe("a", 10) == pytest.approx(3.1)
    clock.now += 3.2
    assert rates.wait_s("a") == 0.0


def test_a_bucket_holds_a_second_and_no_more(clock):
    rates = ClientRates(10, clock=clock)
    rates.take("a")
    clock.now += 1000
    rates.take("a", 10)
    assert rates.take("a") > 0


def test_the_number_of_clients_is_bounded_and_the_limited_are_remembered(clock):
    rates = ClientRates(1, most_clients=10, clock=clock)
    rates.take("greedy", 100)
    for n in range(1000):
        rates.take(f"c-{n}")
        assert rates.take("greedy") > 0
    assert len(rates) == 10
    assert rates.forgotten == 991


@pytest.mark.parametrize("options", [{"rate": 0}, {"rate": 1, "most_clients": 0}])
def test_limits_that_cannot_be(options):
    with pytest.raises(ValueError, match="above 0"):
        ClientRates(**options)


def test_log_lines_are_limited_for_each_kind(clock, caplog):
    log = RateLog(most=2, per_s=60, clock=clock)
    for n in range(5):
        log.warn("one", f"text {n}")
    log.warn("other", "of its own")
    assert [record.getMessage() for record in caplog.records] == ["text 0", "text 1", "of its own"]
    assert log.left_out == 3
    clock.now += 61
    log.warn("one", "again")
    assert caplog.records[-1].getMessage() == "again (3 more of this kind were suppressed)"


def test_nobody_writes_lines_of_his_own(clock, caplog):
    caplog.set_level(logging.WARNING)
    RateLog(clock=clock).warn("kind", "a\nWARNING: all is lost\x1b[31m" + "x" * 1000)
    (record,) = caplog.records
    assert "\n" not in record.getMessage() and "\x1b" not in record.getMessage()
    assert len(record.getMessage()) < 400
