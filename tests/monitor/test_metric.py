# SPDX-License-Identifier: MIT
"""Declarations of metrics: what they refuse, and how a part's figures become samples."""

from __future__ import annotations

import pytest

from heartfelt.monitor.metric import LABEL_CHARS, clean_label, counter, gauge, histogram, read


@pytest.mark.parametrize(
    ("name", "help", "options", "why"),
    [
        ("beats", "Beats", {}, "a name is heartfelt_"),
        ("heartfelt_Beats", "Beats", {}, "a name is heartfelt_"),
        ("heartfelt__beats", "Beats", {}, "a name is heartfelt_"),
        ("heartfelt_beats_total", "Beats", {}, "must not end with _total"),
        ("heartfelt_beats_count", "Beats", {}, "must not end with _count"),
        ("heartfelt_stalled_ms", "Time", {}, "not abbreviations"),
        ("heartfelt_beats_per_s", "Beats", {}, "not abbreviations"),
        ("heartfelt_stalled_milliseconds", "Time", {"unit": "milliseconds"}, "the unit must be one of seconds, bytes"),
        ("heartfelt_stalled", "Time", {"unit": "seconds"}, "must end with its unit, _seconds"),
        ("heartfelt_stalled_seconds", "Time", {}, "the unit must be 'seconds'"),
        ("heartfelt_beats", "Beats.", {}, "no period"),
        ("heartfelt_beats", "beats", {}, "capital letter"),
        ("heartfelt_beats", "", {}, "capital letter"),
        ("heartfelt_beats", "Beats", {"labels": ("le:x",)}, "labels are words"),
    ],
)
def test_a_declaration_that_breaks_a_rule_is_refused_with_its_name(name, help, options, why):
    for declare in (counter, gauge):
        with pytest.raises(ValueError, match=why) as caught:
            declare(name, help, **options)
        assert repr(name) in str(caught.value)


def test_a_histogram_has_buckets_and_nothing_else_has():
    histogram("heartfelt_lag_seconds", "Lag", unit="seconds", buckets=(0.1, 1.0))
    with pytest.raises(ValueError, match="a histogram has buckets"):
        histogram("heartfelt_lag_seconds", "Lag", unit="seconds", buckets=())


def test_the_values_of_labels_must_fit_their_names():
    metric = counter("heartfelt_dropped", "Dropped", labels=("kind",))
    assert metric.of("event").labels == ("event",)
    for wrong in ((), ("a", "b")):
        with pytest.raises(ValueError, match=r"has the labels \('kind',\)"):
            metric.of(*wrong)


def test_figures_become_samples():
    dropped = counter("heartfelt_dropped", "Dropped", labels=("kind",))
    stalled = counter("heartfelt_stalled_seconds", "Time", unit="seconds")
    written = gauge("heartfelt_written_seconds", "Time", unit="seconds")
    open_ = gauge("heartfelt_open", "Open")
    figures = {
        "dropped_a": dropped.of("a"),
        "dropped_b": dropped.of("b"),
        "stalled_ms": stalled.from_ms(),
        "written_ms": written.from_ms(),
        "open": open_,
        "text": None,
    }
    stats = {"dropped_b": 3, "stalled_ms": 1500.0, "written_ms": None, "text": "words"}
    assert dict(read(figures, stats)) == {
        dropped: {("a",): 0, ("b",): 3},  # a counter that has not counted yet is 0
        stalled: {(): 1.5},
    }  # a gauge without a value is left out
    assert dict(read(figures, {"open": 2}))[open_] == {(): 2}


def test_labels_from_peers_are_bounded_and_valid_text():
    assert clean_label("shop") == "shop"
    assert clean_label("é" * 1000) == "é" * (LABEL_CHARS - 3) + "..."
    assert len(clean_label("x" * LABEL_CHARS)) == LABEL_CHARS
    assert clean_label("a\ud800b").encode() == b"a?b"
