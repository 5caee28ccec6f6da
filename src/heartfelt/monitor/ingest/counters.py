# SPDX-License-Identifier: MIT
"""What came in, and what of it was not taken and why: by transport."""

from __future__ import annotations

from collections import Counter

__all__ = ["Counters"]


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

    def stats(self) -> dict[str, int | float]:
        """Flat: `beats_http`, `refused_udp_rate` ..."""
        out: dict[str, int | float] = {}
        for name in ("messages", "beats", "fast", "events", "goodbyes"):
            for via, n in getattr(self, name).items():
                out[f"{name}_{via}"] = n
        for (via, reason), n in self.refused.items():
            out[f"refused_{via}_{reason}"] = n
        return out
