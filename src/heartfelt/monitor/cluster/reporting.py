# SPDX-License-Identifier: MIT
"""Carries events to the monitor that leads, which runs the webhooks.

Events wait until the leader has said that it has them, at most MOST_EVENTS; those beyond are dropped and counted. They
are sent in order, and have numbers, so that a leader leaves out what comes twice since its answer was lost. If another
monitor leads by then, the outbox leaves it out: the key of a message is made of its event.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from itertools import islice

from heartfelt.errors import HeartfeltError
from heartfelt.monitor.cluster.channel.service import Channel
from heartfelt.monitor.cluster.hold_events import FleetHolds
from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.model import AgentEvent
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import TimedEvent, end_tasks

EVENTS = "events"
"""The request that events be taken."""
MOST_EVENTS = 10_000
IN_REQUEST = 100
ANSWER_S = 2.0
RETRY_S = 0.5
END_S = 1.0
MOST_REMEMBERED = 1024
FIGURES: Figures = {
    "events_waiting": gauge("heartfelt_cluster_events_waiting", "Events that the leader has not taken yet"),
    "events_sent": counter("heartfelt_cluster_events_sent", "Events that another monitor, which leads, has taken"),
    "events_taken": counter("heartfelt_cluster_events_taken", "Events that were taken from other monitors"),
    "events_again": counter("heartfelt_cluster_events_again", "Events of other monitors that came twice"),
    "events_untold": counter(
        "heartfelt_cluster_events_untold", "Events of a hold of the fleet of which another monitor's event was told"
    ),
    "events_dropped": counter(
        "heartfelt_cluster_events_dropped", "Events that reached no webhook, since no monitor led for too long"
    ),
}
_logger = logging.getLogger("heartfelt.monitor.cluster")


class EventReports:
    """Belongs to the loop's thread. leader: returns the id of the monitor that leads, if one does. take: takes an event
    if this monitor leads; returns whether it does."""

    def __init__(self, channel: Channel, leader: Callable[[], str | None], take: Callable[[AgentEvent], bool]) -> None:
        self._channel, self._leader, self._take = channel, leader, take
        self._waiting: deque[tuple[int, AgentEvent]] = deque()
        self._last = 0
        self._taken: OrderedDict[str, int] = OrderedDict()
        """Monitor -> the number of the last event that was taken from it."""
        self._wake = TimedEvent()
        self._running = False
        self._task: asyncio.Task[None] | None = None
        self.counts = dict.fromkeys(FIGURES, 0)
        self._holds = FleetHolds()
        channel.on(EVENTS, self._serve, list[tuple[int, AgentEvent]])

    def put(self, event: AgentEvent) -> None:
        """Never waits."""
        self._last += 1
        self._waiting.append((self._last, event))
        if len(self._waiting) > MOST_EVENTS:
            self._waiting.popleft()
            self.counts["events_dropped"] += 1
        self._wake.set()

    def start(self) -> None:
        self._running = True
        self._task = asyncio.create_task(self._send(), name="events for the leader")

    async def stop(self, seconds: float = END_S) -> None:
        """Waits for what is on its way, `seconds` at most. Idempotent."""
        self._running = False
        self._wake.set()
        task, self._task = self._task, None
        if task is not None:
            await asyncio.wait({task}, timeout=seconds)
            await end_tasks([task], seconds=END_S)
        if self._waiting:
            _logger.warning("%d events have reached no monitor that leads", len(self._waiting))
            self.counts["events_dropped"] += len(self._waiting)
            self._waiting.clear()

    async def _send(self) -> None:
        while self._running or self._waiting:
            if not self._waiting:
                await self._wake.wait()
                self._wake.clear()
                continue
            try:
                is_done = await self._send_some()
            except Problem as problem:
                is_done = False
                _logger.debug("events were not taken: %s", problem.detail)
            except (HeartfeltError, OSError, asyncio.TimeoutError) as error:
                is_done = False
                _logger.debug("events were not taken: %s", error)
            except Exception:
                is_done = False
                _logger.exception("events could not be sent; it is tried again")
            if not is_done:
                if not self._running:
                    return
                await asyncio.sleep(RETRY_S)

    async def _send_some(self) -> bool:
        some = list(islice(self._waiting, IN_REQUEST))
        leader = self._leader()
        if leader is None:
            return False
        if leader == self._channel.own:
            for _, event in some:
                if not self._offer(leader, event):
                    return False
                self._waiting.popleft()
            return True
        if leader not in self._channel.peers:
            return False
        if not await self._channel.peers.ask(leader, EVENTS, some, seconds=ANSWER_S, kind=bool):
            return False
        last = some[-1][0]
        while self._waiting and self._waiting[0][0] <= last:
            self._waiting.popleft()
            self.counts["events_sent"] += 1
        return True

    def _serve(self, peer: str, events: list[tuple[int, AgentEvent]]) -> bool:
        for number, event in events:
            if number <= self._taken.get(peer, 0):
                self.counts["events_again"] += 1
                continue
            if not self._offer(peer, event):
                return False
            self._taken[peer] = number
            self._taken.move_to_end(peer)
            self.counts["events_taken"] += 1
        while len(self._taken) > MOST_REMEMBERED:
            self._taken.popitem(last=False)
        return True

    def _offer(self, monitor: str, event: AgentEvent) -> bool:
        """Takes an event of a monitor, unless it is told already that the fleet holds losses. Returns False if this
        monitor cannot take it at this moment; then it comes again."""
        if self._leader() == self._channel.own and not self._holds.tells(monitor, event):
            self.counts["events_untold"] += 1
        elif not self._take(event):
            return False
        self._holds.note(monitor, event)
        return True

    def stats(self) -> dict[str, int]:
        return self.counts | {"events_waiting": len(self._waiting)}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())
