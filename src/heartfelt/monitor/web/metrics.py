# SPDX-License-Identifier: MIT
"""Metrics for Prometheus. Read from the parts' own counters when they are asked for: nothing is counted twice, and no
beat pays for it. No label is ever an instance, a service or a client: their number is not bounded by the monitor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from heartfelt._version import __version__
from heartfelt.monitor.ingest import Counters

LATENESS_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 60.0)
LAG_BUCKETS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 5.0)

Parts = Mapping[str, Mapping[str, Any]]


class Metrics:
    """A registry of its own, so that several monitors in one process do not meet."""

    def __init__(self, parts: Callable[[], Parts], states: Callable[[], Mapping[str, int]], ingested: Counters) -> None:
        self._registry = CollectorRegistry(auto_describe=False)
        self._registry.register(_Collector(parts, states, ingested))
        self.lateness = Histogram(
            "heartfelt_detection_lateness_seconds",
            "From an instance's deadline to when its loss was told; losses that were held are not in it",
            buckets=LATENESS_BUCKETS,
            registry=self._registry,
        )
        self.loop_lag = Histogram(
            "heartfelt_loop_lag_seconds",
            "How late the event loop came to a timer that is due twice a second",
            buckets=LAG_BUCKETS,
            registry=self._registry,
        )

    def text(self) -> tuple[bytes, str]:
        """The exposition, and its content type."""
        return generate_latest(self._registry), CONTENT_TYPE_LATEST


# Levels, which may fall; every other number of a part's stats is a counter.
_GAUGES = frozenset(
    {
        "applications", "bytes", "clients", "connections", "held", "instances", "kept", "ok", "open", "queued",
        "services", "targets", "tokens", "viewers", "waiting", "timers_waiting", "beats_per_s", "held_back",
    }
)  # fmt: skip


class _Collector:
    def __init__(self, parts: Callable[[], Parts], states: Callable[[], Mapping[str, int]], ingested: Counters) -> None:
        self._parts, self._states, self._ingested = parts, states, ingested

    def describe(self) -> Iterator[Metric]:
        return iter(())

    def collect(self) -> Iterator[Metric]:
        yield InfoMetricFamily("heartfelt", "The monitor", {"version": __version__})
        states = GaugeMetricFamily("heartfelt_instances", "Instances by state", labels=["state"])
        for state, count in self._states().items():
            states.add_metric([state], count)
        yield states
        yield from _of_ingest(self._ingested)
        for part, stats in self._parts().items():
            if part != "intake":  # which is told above, with labels
                yield from _of_part(part, stats)


def _of_ingest(counters: Counters) -> Iterator[Metric]:
    for name, words in (
        ("messages", "Requests, messages in frames, datagrams"),
        ("beats", "Heartbeats that were taken"),
        ("fast", "Of these, whose metadata was known already"),
        ("events", "Events of agents and jobs"),
        ("goodbyes", "Goodbyes"),
    ):
        family = CounterMetricFamily(f"heartfelt_ingest_{name}", words, labels=["transport"])
        for via, count in getattr(counters, name).items():
            family.add_metric([via], count)
        yield family
    refused = CounterMetricFamily("heartfelt_ingest_refused", "What was not taken", labels=["transport", "reason"])
    for (via, reason), count in counters.refused.items():
        refused.add_metric([via, reason], count)
    yield refused


def _of_part(part: str, stats: Mapping[str, Any]) -> Iterator[Metric]:
    """Each number as heartfelt_<part>_<name>; each mapping of numbers as one metric with its keys as label."""
    for name, value in stats.items():
        full = f"heartfelt_{part}_{name}"
        gauge = name in _GAUGES or name.endswith(("_ms", "_s"))
        if isinstance(value, Mapping):
            family: Any = (GaugeMetricFamily if gauge else CounterMetricFamily)(
                full, _words(part, name), labels=["kind"]
            )
            for key, one in value.items():
                if isinstance(one, (int, float)):
                    family.add_metric([str(getattr(key, "value", key))], one)
            yield family
        elif isinstance(value, (int, float)):
            made = (GaugeMetricFamily if gauge else CounterMetricFamily)(full, _words(part, name), value=value)
            yield made


def _words(part: str, name: str) -> str:
    return f"{part}: {name.replace('_', ' ')}"
