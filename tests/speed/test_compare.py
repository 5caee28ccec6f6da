# SPDX-License-Identifier: MIT
"""`make bench-compare`: what it calls slower, and that its two processes run every operation."""

from __future__ import annotations

from pathlib import Path

import compare
import pytest
from compare import FEWEST_ROUNDS, Found, Side, in_turn, judged, measure

import heartfelt


class Measured:
    """Stands for `measure`: gives the results one after the other, and knows what it was asked for."""

    def __init__(self, *results):
        self.results = list(results)
        self.asked = []

    def __call__(self, only):
        self.asked.append(only)
        return self.results.pop(0)


def test_what_is_within_the_room_is_measured_once():
    measured = Measured({"a": Found(head=119, base=100), "b": Found(head=50, base=100)})
    assert [slower for _, slower in judged(1000, measured)] == [False, False]
    assert measured.asked == [None]


def test_what_is_slower_twice_is_slower():
    measured = Measured({"a": Found(head=121, base=100), "b": Found(head=1, base=1)}, {"a": Found(head=130, base=100)})
    (line, slower), (_, other) = judged(1000, measured)
    assert (slower, other) == (True, False)
    assert measured.asked == [None, "a"]
    assert "1.21" in line and "measured again: 1.30, SLOWER" in line


def test_what_is_slower_once_is_not():
    measured = Measured({"a": Found(head=150, base=100)}, {"a": Found(head=101, base=100)})
    [(line, slower)] = judged(1000, measured)
    assert not slower
    assert line.endswith("measured again: 1.01")


def test_what_the_base_does_not_have_is_new_and_not_slower():
    measured = Measured({"a": Found(head=150, missing="AttributeError: no such method")})
    [(line, slower)] = judged(1000, measured)
    assert not slower
    assert " new " in line and "no such method" in line


class Fake:
    """Stands for a Side whose operation takes a number of ns that grows with each call."""

    n_keys = 1000

    def __init__(self, name, log, ns):
        self.name, self.log, self.next_ns = name, log, ns

    def ns(self, operation, passes):
        self.log.append(self.name)
        self.next_ns += 1
        return self.next_ns


def test_both_sides_run_in_turn_and_their_minima_count():
    log, found = [], Found(head=150)
    in_turn(Fake("base", log, 100), Fake("head", log, 200), "a", found)
    assert (found.base, found.head) == (102, 150)  # the first call warms up; what another pair found is kept
    assert len(log) >= 2 + 2 * FEWEST_ROUNDS
    assert all({*turn} == {"base", "head"} for turn in zip(log[::2], log[1::2], strict=True))


def test_only_the_head_runs_what_the_base_does_not_have():
    log, found = [], Found(missing="AttributeError")
    in_turn(Fake("base", log, 100), Fake("head", log, 200), "a", found)
    assert {*log} == {"head"}
    assert found.head == 202


@pytest.fixture
def installed():
    return Path(heartfelt.__file__).resolve().parents[1]


def test_every_operation_runs_on_both_sides(installed, monkeypatch):
    pytest.importorskip("numpy")
    monkeypatch.setattr(compare, "PAIRS", 1)
    monkeypatch.setattr(compare, "PAIR_NS", 1_000_000)
    found = measure(installed, installed, 100)
    assert len(found) == 8
    for operation, one in found.items():
        assert one.missing is None, operation
        assert 0 < one.base < float("inf") and 0 < one.head < float("inf"), operation


def test_a_side_that_has_another_build_is_refused(tmp_path, installed):
    with Side(tmp_path, 10, 0) as side, pytest.raises(RuntimeError, match="was imported, not what is in"):
        side.start()


def test_a_side_that_ends_is_noticed(installed):
    with Side(installed, 10, 0) as side:
        side.start()
        with pytest.raises(RuntimeError, match="ended with status 1"):
            side.ns("no such operation", 1)
