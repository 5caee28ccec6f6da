# SPDX-License-Identifier: MIT
"""The parts of the hold by themselves: how it listens, at what rate it releases, which settings it takes."""

from __future__ import annotations

import pytest

from heartfelt.errors import ConfigError
from heartfelt.monitor.fleet.hold import HoldMachine, Listening
from heartfelt.monitor.fleet.policy import HoldPolicy


def test_listening_knows_bursts_from_silence():
    listening = Listening()
    total = 0
    for second in range(600):  # a thousand beats in each minute's first second
        total += 1000 * (second % 60 == 0)
        listening.heard(second * 1000.0, total)
    assert 5 < listening.per_s < 500
    assert listening.gap_ms == 60_000
    assert listening.silent_ms(600_000.0) == 60_000


@pytest.mark.parametrize("rate", [0.5, 20.0, 997.0])
def test_the_rate_of_release(rate):
    machine = HoldMachine(HoldPolicy(release_per_s=rate), lambda scope: 1000)
    now_ms = 1_000_000.0
    machine.stalled(now_ms, 9000.0)
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
    machine.stalled(0.0, 9000.0)
    for id in range(1000):
        machine.lost(1.0, id, "web")
    machine.release(1.0, "")
    told = [len(machine.due(1000.0, 128)) for _ in range(9)]
    assert told == [128] * 7 + [104, 0]


@pytest.mark.parametrize(
    ("field", "value"),
    [("window_ms", 0), ("share", 0.0), ("share_of_all", 1.5), ("least", 1), ("release_per_s", 0)],
)
def test_settings_that_cannot_be(field, value):
    with pytest.raises(ConfigError, match=rf"hold\.{field} .*{value}"):
        HoldPolicy(**{field: value})
