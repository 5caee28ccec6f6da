# SPDX-License-Identifier: MIT
"""What came in, and what of it was not taken and why: by transport."""

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
    """Shared by all ingests of a monitor. Transports and reasons are the ingests' own words, so they are bounded.

    `beats` counts what the registry took; `refused` everything that it, or an ingest before it, did not.
    """

    __slots__ = ("beats", "events", "fast", "goodbyes", "messages", "refused")

    def __init__(self) -> None:
        self.messages: Counter[str] = Counter()
        """Transport -> requests, frames' messages, datagrams."""
        self.beats: Counter[str] = Counter()
        self.fast: Counter[str] = Counter()
        """Of the beats: those whose metadata was known already, and was not parsed."""
        self.events: Counter[str] = Counter()
        self.goodbyes: Counter[str] = Counter()
        self.refused: Counter[tuple[str, str]] = Counter()
        """(transport, reason) -> how many."""

    def refuse(self, via: str, reason: str, n: int = 1) -> None:
        self.refused[(via, reason)] += n

    def readings(self) -> Iterator[Reading]:
        for name, metric in _BY_TRANSPORT.items():
            counts: Counter[str] = getattr(self, name)
            yield metric, {(via,): counts[via] for via in TRANSPORTS}
        yield _REFUSED, {(via, reason): n for (via, reason), n in self.refused.items()}

    def stats(self) -> dict[str, int | float]:
        """Returns a flat dict: `beats_http`, `refused_udp_rate` ..."""
        out: dict[str, int | float] = {}
        for name in ("messages", "beats", "fast", "events", "goodbyes"):
            for via, n in getattr(self, name).items():
                out[f"{name}_{via}"] = n
        for (via, reason), n in self.refused.items():
            out[f"refused_{via}_{reason}"] = n
        return out
