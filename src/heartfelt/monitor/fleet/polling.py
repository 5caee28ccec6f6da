# SPDX-License-Identifier: MIT
"""Makes the event loop poll the registry: once per turn, however many of its descriptors are readable."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from heartfelt.monitor.fleet.registry import Registry

__all__ = ["Polling"]


class Polling:
    """Call `start()` in the loop's thread, and `stop()` before the registry is closed.

    A poll takes a few ms at most. If each descriptor's reader polled by itself, all of them would in the same turn of
    the loop, ahead of everything else; so readers only request a poll, which runs in the next turn.
    """

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._polled_s = 0.0
        self._loop: asyncio.AbstractEventLoop
        self._descriptors: list[int] = []
        self._handle: asyncio.Handle | None = None

    def start(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._polled_s = self._loop.time()
        self._descriptors = self._registry.filenos()
        for descriptor in self._descriptors:
            self._loop.add_reader(descriptor, self._wake)

    def stop(self) -> None:
        """Idempotent."""
        for descriptor in self._descriptors:
            self._loop.remove_reader(descriptor)
        self._descriptors = []
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None

    def _wake(self) -> None:
        if self._handle is None:
            self._handle = self._loop.call_soon(self._poll)

    def _poll(self) -> None:
        self._handle = None
        self._registry.poll()
        self._polled_s = self._loop.time()

    def silent_s(self) -> float:
        """Returns how long ago verdicts were read. The hubs' workers report a tick each second (`timers.TICK_S`), so
        with real clocks this stays small as long as workers, descriptors and polls work."""
        return self._loop.time() - self._polled_s
