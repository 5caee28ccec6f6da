# SPDX-License-Identifier: MIT
"""Renders the metrics that the monitor's parts declare, for Prometheus: text, or OpenMetrics if the scraper accepts it.

The values are read from the parts' own counters when they are asked for: nothing is counted twice, and no beat pays
for it. The number of labels is bounded, whatever peers send.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from copy import copy

import prometheus_client.core as families
from prometheus_client import CollectorRegistry, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from heartfelt._version import __version__
from heartfelt.monitor.history import DETECTION_LATENESS, LOOP_LAG
from heartfelt.monitor.metric import Metric, MetricKind, Reading

__all__ = ["Metrics"]

SLICE = 100
"""Samples whose text is made before others have their turn, about 8 us each."""
_EOF = b"# EOF\n"


class Metrics:
    """Has a registry of its own, so that several monitors in one process do not share metrics.

    readings: the parts' metrics as they are now. refresh: called before, for what `readings` cannot know at once; it
    must take a bounded time and must not raise.
    """

    def __init__(self, readings: Callable[[], Iterable[Reading]], *, refresh: Callable[[], Awaitable[None]]) -> None:
        self._readings = readings
        self._refresh = refresh
        self._observed = CollectorRegistry(auto_describe=False)
        self.lateness = self._histogram(DETECTION_LATENESS)
        self.loop_lag = self._histogram(LOOP_LAG)
        ProcessCollector(registry=self._observed)

    def _histogram(self, metric: Metric) -> Histogram:
        return Histogram(metric.name, metric.help, buckets=metric.buckets, unit=metric.unit, registry=self._observed)

    async def text(self, accept: str = "") -> tuple[bytes, str]:
        """Returns the exposition and its content type. `accept`: the request's header of this name.

        The values are those of one moment. Their text is made in slices, and others have their turn between them.
        """
        await self._refresh()
        encode, content_type = choose_encoder(accept)
        families_ = [*_families(self._readings()), *self._observed.collect()]
        parts: list[bytes] = []
        end = b""
        for some, is_continued in _slices(families_):
            text = encode(_Collected(some))
            if text.endswith(_EOF):
                text, end = text[: -len(_EOF)], _EOF
            parts.append(_without_comments(text) if is_continued else text)
            await asyncio.sleep(0)
        return b"".join(parts) + end, content_type


class _Collected:
    """Families in the form that prometheus_client's encoders expect of a registry."""

    def __init__(self, ready: Sequence[families.Metric]) -> None:
        self._ready = ready

    def collect(self) -> Iterable[families.Metric]:
        return self._ready


def _slices(all_: Iterable[families.Metric]) -> Iterator[tuple[list[families.Metric], bool]]:
    """Yields families with some SLICE samples together. A larger family is divided: True for all its parts but the
    first."""
    some: list[families.Metric] = []
    n = 0
    for family in all_:
        if len(family.samples) > SLICE:
            for start in range(0, len(family.samples), SLICE):
                part = copy(family)
                part.samples = family.samples[start : start + SLICE]
                yield [part], start > 0
            continue
        some.append(family)
        n += len(family.samples) + 1
        if n >= SLICE:
            yield some, False
            some, n = [], 0
    yield some, False


def _without_comments(text: bytes) -> bytes:
    return b"".join(line for line in text.splitlines(keepends=True) if not line.startswith(b"#"))


def _families(readings: Iterable[Reading]) -> list[families.Metric]:
    merged: dict[Metric, dict[tuple[str, ...], float]] = {}
    for metric, samples in readings:
        merged.setdefault(metric, {}).update(samples)  # several parts may have samples of one metric
    about = families.InfoMetricFamily("heartfelt", "Version of the monitor", {"version": __version__})
    return [about, *(_family(metric, samples) for metric, samples in merged.items())]


def _family(metric: Metric, samples: Mapping[tuple[str, ...], float]) -> families.Metric:
    kind = families.CounterMetricFamily if metric.kind is MetricKind.COUNTER else families.GaugeMetricFamily
    family = kind(metric.name, metric.help, labels=metric.labels, unit=metric.unit)
    for values, value in samples.items():
        family.add_metric(values, value)
    return family
