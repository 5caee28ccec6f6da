# SPDX-License-Identifier: MIT
"""Asks the monitors about themselves and about the fleet."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.cli._cluster.processes import MonitorProcess

PAGE = 1000
ANSWER_S = 10.0


@dataclass(frozen=True)
class Standing:
    """One monitor at one moment."""

    owned: int
    """Instances that it owns."""
    taken: int
    """Instances that it has taken over since its start."""
    leads: bool


class Watching:
    """Asks the living monitors. A monitor that does not answer counts as owning nothing."""

    def __init__(self, monitors: list[MonitorProcess]) -> None:
        self._monitors = monitors
        self._clients = {one.number: ApiClient(one.url, timeout_s=ANSWER_S) for one in monitors}

    def close(self) -> None:
        for one in self._clients.values():
            one.close()

    def standings(self) -> dict[int, Standing]:
        """Returns what each living monitor owns, by its number."""
        found = {}
        for one in self._monitors:
            if not one.is_killed:
                try:
                    parts = self._clients[one.number].json("GET", "/api/v1/stats")["parts"]
                except Failed:
                    continue
                ownership = parts["ownership"]
                found[one.number] = Standing(
                    owned=parts["registry"]["instances"],
                    taken=ownership["adopted"] + ownership["moves"],
                    leads=bool(parts["leading"]["leads"]),
                )
        return found

    def lost(self) -> int:
        """Returns how many instances of the whole fleet are LOST, as any one of the monitors says."""
        return int(self._ask("/api/v1/instances", {"state": "LOST", "limit": 1})["matched"])

    def losses(self) -> list[dict[str, Any]]:
        """Returns all changes to LOST of the fleet, oldest first."""
        found: list[dict[str, Any]] = []
        before = None
        while True:
            page = self._ask("/api/v1/changes", {"limit": PAGE, "before": before})
            found += [one for one in page["changes"] if one["new"] == "LOST"]
            before = page["before"]
            if before is None:
                return found[::-1]

    def _ask(self, path: str, query: dict[str, Any]) -> Any:
        living = next(one for one in self._monitors if not one.is_killed)
        return self._clients[living.number].json("GET", path, query)
