# SPDX-License-Identifier: MIT
"""Counts what was received, accepted and refused, by transport."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from heartfelt.monitor.metric import Reading, counter

__all__ = ["TRANSPORTS", "Counters"]

TRANSPORTS = ("http", "ping", "sermant", "udp")
_BY_TRANSPORT = {
    "messages": counter("heartfelt_ingest_messages", "Requests, frames and datagrams", labels=("transport",)),
    "beats": counter("heartfelt_ingest_beats", "Heartbeats that were accepted", labels=("transport",)),
    "fast": counter(
        "heartfelt_ingest_fast",
        "Accepted heartbeats that were recognised without being parsed, since only their times had changed",
        labels=("transport",),
    ),
    "events": counter("heartfelt_ingest_events", "Events of agents and jobs that were accepted", labels=("transport",)),
    "goodbyes": counter("heartfelt_ingest_goodbyes", "Goodbyes that were accepted", labels=("transport",)),
}
_REFUSED = counter(
    "heartfelt_ingest_refused", "Messages, heartbeats and events that were refused", labels=("transport", "reason")
)


class Counters:
    """Shared by all ingests of a monitor. Transports and reasons are names from the code, so their number is bounded.

    `beats` counts the heartbeats that the registry accepted, `refused` everything that it or an ingest refused.
    """

    __slots__ = ("beats", "events", "fast", "goodbyes", "messages", "refused")

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        """Transport -> requests, messages in frames, datagrams."""
        self.beats: Counter[str] = Counter()
        self.fast: Counter[str] = Counter()
        """Heartbeats among `beats` that were recognised by their known metadata and not parsed."""
        self.events: Counter[str] = Counter()
        self.goodbyes: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        """(transport, reason) -> count."""

    def refuse(self, via: str, reason: str, n: int = 1) -> None:
        self.refused[(via, reason)] += n

    def readings(self) -> Iterator[Reading]:
        for name, metric in _BY_TRANSPORT.items():
            counts: Counter[str] = getattr(self, name)
            yield metric, {(via,): counts[via] for via in TRANSPORTS}
        yield _REFUSED, {(via, reason): n for (via, reason), n in self.refused.items()}

    def stats(self) -> dict[str, int | float]:
        """Returns a flat dict with keys such as `beats_http` and `refused_udp_rate`."""
        out: dict[str, int | float] = {}
        for name in ("messages", "beats", "fast", "events", "goodbyes"):
            for via, n in getattr(self, name).items():
                out[f"{name}_{via}"] = n
        for (via, reason), n in self.refused.items():
            out[f"refused_{via}_{reason}"] = n
        return out
