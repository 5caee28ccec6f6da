# SPDX-License-Identifier: MIT
"""The monitor: receives heartbeats, decides which instances are lost, stores that, and notifies.

Needs `pip install heartfelt[monitor]`. One process with one asyncio event loop. Every part belongs to the loop's
thread, except the threads of the store and of the hubs:

    ingest/     decodes beats and events from TCP, HTTP and UDP; limits     -> fleet.registry
    fleet/      all instances in memory, their states, timers and the hold  -> listeners of the registry
    fanout      passes each change on                                       -> store, web.stream, webhooks
    upkeep      periodic work: last beats, counts, tokens                   -> store, web.stream
    store/      SQLite, with threads of its own; writing never waits
    webhooks/   delivers notifications, with retries, from an outbox in the store
    web/        API, panel, event stream, metrics, tokens
    config/     settings: file, environment, flags
    monitor     makes, starts and stops the parts; app: the ASGI application; server: the process
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heartfelt.monitor.app import create_app
    from heartfelt.monitor.config import MonitorConfig

__all__ = ["MonitorConfig", "create_app"]


def __getattr__(name: str) -> Any:
    # Loaded on demand: each part of the monitor imports this package first.
    if name == "create_app":
        from heartfelt.monitor.app import create_app

        return create_app
    if name == "MonitorConfig":
        from heartfelt.monitor.config import MonitorConfig

        return MonitorConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
