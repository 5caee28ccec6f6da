# SPDX-License-Identifier: MIT
"""One grammar of durations, at every place that takes one as text."""

from __future__ import annotations

import argparse
import importlib.util

import pytest

from heartfelt import ConfigError
from heartfelt._duration import format_duration, parse_duration_ns
from heartfelt.agent import AgentConfig
from heartfelt.cli._values import duration

MS = 1_000_000
S = 1000 * MS

WRITTEN = {
    "90s": 90 * S, "90 s": 90 * S, " 90s ": 90 * S, "90S": 90 * S, "90sec": 90 * S, "90 seconds": 90 * S,
    "500ms": 500 * MS, "250 milliseconds": 250 * MS, "0.25s": 250 * MS, "1500 ms": 1500 * MS,
    "5m": 300 * S, "5min": 300 * S, "5 mins": 300 * S, "5 minutes": 300 * S, "1 minute": 60 * S, "1.5min": 90 * S,
    "1h": 3600 * S, "1h30m": 5400 * S, "1h 30min": 5400 * S, "1 h 30 m": 5400 * S, "1.5 hours": 5400 * S,
    "7d": 7 * 86_400 * S, "7 days": 7 * 86_400 * S, "1d12h": 129_600 * S, "1 day": 86_400 * S,
    "1w": 604_800 * S, "1 week": 604_800 * S, "1w1d": 691_200 * S, "2 weeks": 1_209_600 * S,
}  # fmt: skip
NOT_DURATIONS = (
    "", " ", "s", "often", "1x", "5 fortnights", "1h30", "1 30", "-5s", "+5s", "1e3s", "1,5s", "1h1h", "1m1min", ".5s",
    "5.s", "nan", "inf", "P1D", "1:30", "5s;", "\u0665s", "1h" * 60,
)  # fmt: skip


def by_agent(text):
    return AgentConfig.load(environ={"heartfelt.write_timeout": text}).write_timeout


def by_agent_file(text, tmp_path):
    path = tmp_path / "agent.properties"
    path.write_text(f"heartfelt.write_timeout = {text}\n", "utf-8")
    return AgentConfig.load(path, environ={}).write_timeout


def by_monitor(text):
    from heartfelt.monitor.config import MonitorConfig

    return MonitorConfig.load(environ={"HEARTFELT_RETENTION_CHANGES": text}).retention_changes


def by_ping(text):
    from heartfelt.monitor.ingest.decode import BadInput, parse_duration_ms

    try:
        return parse_duration_ms("timeout", text) / 1000
    except BadInput as error:
        raise ConfigError(str(error)) from None


def by_option(text):
    try:
        return duration(text)
    except argparse.ArgumentTypeError as error:
        raise ConfigError(str(error)) from None


PLACES = {by_agent: (0.001, 600), by_option: (0, 1e9)}
if importlib.util.find_spec("msgspec"):
    PLACES |= {by_monitor: (60, 3660 * 86400), by_ping: (0.001, 366 * 86400)}


@pytest.mark.parametrize(("text", "ns"), WRITTEN.items())
def test_durations_mean_what_they_say(text, ns, tmp_path):
    assert parse_duration_ns(text) == ns
    assert parse_duration_ns(text.upper()) == ns
    for place, (least_s, most_s) in PLACES.items():
        if least_s <= ns / S <= most_s:
            assert place(text) == ns / S, place
    if 0.001 <= ns / S <= 600:
        assert by_agent_file(text, tmp_path) == ns / S


@pytest.mark.parametrize("text", NOT_DURATIONS)
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.__name__)
def test_other_texts_are_refused_with_the_value_and_an_example(place, text):
    with pytest.raises(ValueError):
        parse_duration_ns(text)
    with pytest.raises(ConfigError, match="duration") as raised:
        place(text)
    assert "1h30m" in str(raised.value)
    assert repr(text)[1:20] in str(raised.value)


def test_a_number_alone_needs_a_unit_given_by_its_place():
    with pytest.raises(ValueError, match="it has no unit"):
        parse_duration_ns("90")
    assert parse_duration_ns("90", "s") == 90 * S
    assert parse_duration_ns("90", "ms") == 90 * MS
    assert parse_duration_ns("1.5", "d") == 129_600 * S
    assert by_agent("90") == 0.09  # its key counts milliseconds, as Sermant's do
    assert by_option("90") == 90.0


def test_fractions_are_exact():
    assert parse_duration_ns("0.000000001 s") == 1
    assert parse_duration_ns("4.1s") == 4_100_000_000
    assert parse_duration_ns("999999999999999.999999999s") == 999_999_999_999_999_999_999_999


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(90, "90 s"), (300, "5 min"), (43_200, "12 h"), (604_800, "7 d"), (0.25, "250 ms"), (1.5, "1.5 s")],
)
def test_durations_are_written_in_the_largest_unit_that_divides_them(seconds, text):
    assert format_duration(seconds) == text
    assert parse_duration_ns(text) == seconds * S
