# SPDX-License-Identifier: MIT
"""The backend: receives heartbeats, decides who is lost, remembers, and tells. Needs `pip install heartfelt[monitor]`.

Parts and owners. One process, one asyncio loop; unless it says otherwise a part belongs to the loop's thread:

    ingest/     bytes from outside -> Beat, AgentEvent; limits; answers            -> registry.beat(), registry.event()
    registry    all instances, in memory; the state machine; timers are keys of hubs (native workers, no scan)
                each change of state is a Change                                   -> listeners: store, stream, webhooks
    hold        decides whether losses are passed on now                           registry asks it
    store/      SQLite on a thread of its own; put_* never waits                   read by coroutines
    stream      server-sent events: one encoding for all viewers, bounded per viewer
    webhooks/   outbox in the store -> HTTP, with retries                          tasks of the loop
    api/        REST, Sermant's paths, metrics, health                             reads the registry and the store
    monitor     makes, starts, stops all of it; app: the ASGI app around it; serve: the process
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from heartfelt.monitor.app import create_app
    from heartfelt.monitor.config import MonitorConfig

__all__ = ["MonitorConfig", "create_app"]


def __getattr__(name: str) -> Any:
    # Loaded when it is asked for, since each part of the monitor imports this package first.
    if name == "create_app":
        from heartfelt.monitor.app import create_app

        return create_app
    if name == "MonitorConfig":
        from heartfelt.monitor.config import MonitorConfig

        return MonitorConfig
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
