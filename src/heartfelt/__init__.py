# SPDX-License-Identifier: MIT
"""heartfelt tells, at once and without mistakes, which of the many things you watch has stopped beating.

>>> from heartfelt import HeartHub
>>> with HeartHub(timeout=0.1) as hub:
...     hub.heartbeat("svc/1")
...     hub.events.get().key
'svc/1'
"""

from __future__ import annotations

from heartfelt import _hot  # noqa: F401  first: it refuses a subinterpreter before a generated module is bound to it
from heartfelt._event import Event
from heartfelt._heart import Heart
from heartfelt._stats import HubStats, ShardStats, Watch
from heartfelt._types import EventType, WatchState
from heartfelt._version import __version__
from heartfelt.errors import ConfigError, HeartfeltError, HubClosed, KeyNotWatched, SnapshotError
from heartfelt.events import Events
from heartfelt.hub import HeartHub

__all__ = [
    "ConfigError",
    "Event",
    "EventType",
    "Events",
    "Heart",
    "HeartHub",
    "HeartfeltError",
    "HubClosed",
    "HubStats",
    "KeyNotWatched",
    "ShardStats",
    "SnapshotError",
    "Watch",
    "WatchState",
    "__version__",
]
