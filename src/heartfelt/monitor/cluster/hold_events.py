# SPDX-License-Identifier: MIT
"""Decides which events about a hold of the fleet are told to people: each monitor says when it begins to hold, releases
and ends, and all of that is one hold.

Told are the first that begins, or widens it, the first release, and the last end. All events are stored and shown.
What is remembered is the memory of the monitor that leads: another one that leads may tell a beginning again.
"""

from __future__ import annotations

from typing import NamedTuple

from heartfelt.monitor.model import HOLD_TYPE, MONITOR_SERVICE, AgentEvent

RELEASE_MS = 10_000
"""Monitors release a hold of the fleet within this time of each other."""
LATE_MS = 60_000
"""A monitor that has not said after this time that its hold has ended has stopped."""


class _Held(NamedTuple):
    scope: str
    until_ms: int
    holds: bool
    """It is not released yet."""


class FleetHolds:
    """Belongs to the loop's thread."""

    def __init__(self) -> None:
        self._held: dict[str, _Held] = {}
        """By monitor."""
        self._released_ms = -RELEASE_MS

    def tells(self, monitor: str, event: AgentEvent) -> bool:
        """Returns whether people are told of an event of a monitor. `note` says that it was handled."""
        if not _is_of_fleet(event):
            return True
        others = self._others(monitor, event)
        name = event.info.get("name")
        if name == "HOLD_ENDED":
            return not others
        if name == "HOLD_RELEASING":
            return event.time_ms - self._released_ms >= RELEASE_MS
        known = {one.scope for one in others.values() if one.holds}
        return not known & {event.service, MONITOR_SERVICE}

    def note(self, monitor: str, event: AgentEvent) -> None:
        """Notes an event of a monitor, in order, once it was told or left out."""
        if not _is_of_fleet(event):
            return
        self._held = self._others(monitor, event)
        name, until_ms = event.info.get("name"), event.info.get("untilMs")
        if name != "HOLD_ENDED":
            end_ms = until_ms if isinstance(until_ms, int) else event.time_ms
            self._held[monitor] = _Held(event.service, end_ms, name != "HOLD_RELEASING")
        if name == "HOLD_RELEASING":
            self._released_ms = event.time_ms

    def _others(self, monitor: str, event: AgentEvent) -> dict[str, _Held]:
        """Returns what the other monitors hold."""
        return {id: one for id, one in self._held.items() if id != monitor and one.until_ms + LATE_MS > event.time_ms}


def _is_of_fleet(event: AgentEvent) -> bool:
    return event.type == HOLD_TYPE and bool(event.info.get("fleet"))
