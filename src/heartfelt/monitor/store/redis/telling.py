# SPDX-License-Identifier: MIT
"""Tells the loop what the writer's thread has found."""

from __future__ import annotations

import asyncio
import logging
from collections import deque

from heartfelt.monitor.store.redis.outcomes import Listener, Outcome

MOST_EARLY = 1000


class Teller:
    """listener: without one, refusals are logged only. lost: gets the seqs of losses that are told by `recorded`."""

    def __init__(self, listener: Listener | None, lost: set[int], logger: logging.Logger) -> None:
        self._listener = listener
        self._lost = lost
        self._logger = logger
        self._loop: asyncio.AbstractEventLoop | None = None
        self._disowned = 0
        self._early: deque[Outcome] = deque(maxlen=MOST_EARLY)
        """Outcomes from before a loop was seen: between the opening of the store and the first call of a coroutine."""

    def see_loop(self) -> None:
        """Tells in the loop that runs, from now on. The loop's thread."""
        if self._loop is None or self._loop.is_closed():
            self._loop = asyncio.get_running_loop()
        while self._early and self._listener is not None:
            self._loop.call_soon(self._deliver, self._listener, self._early.popleft())

    def tell(self, outcome: Outcome) -> None:
        """Tells the listener what has come of a round. The writer's thread."""
        for one in outcome.refused:
            self._disowned += 1
            if self._listener is None and self._disowned & (self._disowned - 1) == 0:
                self._logger.error(
                    "%r of %r is not this monitor's: %d changes are dropped", one.instance_id, one.service, one.changes
                )
        if self._listener is None or not outcome.says_something():
            return
        if self._loop is None:
            self._early.append(outcome)
            return
        if self._loop.is_closed():
            return
        try:
            self._loop.call_soon_threadsafe(self._deliver, self._listener, outcome)
        except RuntimeError:  # it was closed meanwhile: nobody is left to be told
            return

    def _deliver(self, listener: Listener, outcome: Outcome) -> None:
        if outcome.accepted:
            listener.accepted(outcome.accepted)
        if outcome.recorded:
            self._lost.update(one.change.seq for one in outcome.recorded)
            listener.recorded(outcome.recorded)
        if outcome.refused:
            listener.refused(outcome.refused)
        for renewal in outcome.renewals:
            listener.renewed(renewal)
