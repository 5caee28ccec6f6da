# SPDX-License-Identifier: MIT
"""One run of a service, from start to stop: a line, an instanceId, and the refreshes of what the line sends."""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable

from heartfelt.agent.config import AgentConfig
from heartfelt.agent.content import beat_json, host
from heartfelt.agent.content.identity import Identity
from heartfelt.agent.content.providers import Providers, reason_of
from heartfelt.agent.line import Line, LineStats
from heartfelt.agent.service.refresh import grid, the_refresher

FIRST_WAIT_S = 0.05  # how long the first beat waits for providers
MOST_TICK_S = 1.0
ADDRESSES_EVERY_S = 60.0
_logger = logging.getLogger("heartfelt.agent")


class ServiceRun:
    """Called by the refresh thread. `announced` returns the versions of plugins and of other agents, by name."""

    def __init__(
        self,
        config: AgentConfig,
        identity: Identity,
        line: Line,
        providers: Providers,
        announced: Callable[[], tuple[dict[str, str], dict[str, str]]],
    ) -> None:
        self.config = config
        self.identity = identity
        self.line = line
        self.refreshes = 0
        self.heads = 0
        self.max_lag_s = 0.0
        self._providers = providers
        self._announced = announced
        self._tick_s = min(MOST_TICK_S, config.interval / 4)
        self._lead_s = min(config.provider_timeout + 0.05, config.interval / 2)
        self._lock = threading.Lock()  # guards the head, and the end of the line
        self._ended = False
        self._head = b""
        self._dirty = threading.Event()
        self._addresses: list[str] = []
        self._addresses_due = -math.inf
        self._addresses_failure = ""
        self._round_due = math.inf
        self._tick_due = math.inf
        self._refreshed_at = time.monotonic()

    # -- called through the service

    def start(self) -> None:
        """Starts the line. Waits at most 50 ms for providers: results of quick ones are in the first beat."""
        self._providers.begin()
        give_up = time.monotonic() + FIRST_WAIT_S
        while True:
            self._dirty.clear()
            deadline, _ = self._providers.collect()
            left = give_up - time.monotonic()
            if deadline is None or left <= 0:
                break
            self._dirty.wait(min(left, deadline - time.monotonic() + 0.001))
        self._look_at_addresses(time.monotonic())
        self._put_head()
        began = self._refreshed_at = time.monotonic()
        self.line.start()
        self._round_due = began + self.config.interval - self._lead_s
        self._tick_due = grid(began, self._tick_s)
        the_refresher.add(self, began)

    def changed(self) -> None:
        """Notes that plugins or agents changed, or that a provider's call is over."""
        self._dirty.set()
        the_refresher.wake(self)

    def beat_now(self) -> None:
        self._put_head()
        self.line.beat_now()

    def stop(self, wait_s: float) -> bool:
        the_refresher.remove(self)
        with self._lock:
            self._ended = True
            head = self._head
        try:
            return self.line.close(beat_json.goodbye(self.config, self.identity.instance_id, head), wait_s)
        finally:
            self.identity.release()

    def abandon(self) -> None:
        """Lets go of everything in a forked child."""
        self._lock = threading.Lock()
        self._ended = True
        self.identity.release()
        self.line.abandon()

    def lag_s(self) -> float:
        return time.monotonic() - self._refreshed_at

    def line_stats(self) -> LineStats:
        return self.line.stats()

    # -- called by the refresh thread

    def tick(self, now: float) -> float:
        if now >= self._tick_due:
            self._tick_due = grid(now, self._tick_s)
            self._refresh()
        if now >= self._round_due:
            self._round_due += self.config.interval * (1 + (now - self._round_due) // self.config.interval)
            self._providers.begin()
        deadline, failed = self._providers.collect()
        addresses = now >= self._addresses_due and self._look_at_addresses(now)
        if self._dirty.is_set() or failed or addresses:
            self._dirty.clear()
            self._put_head()
        return min(self._tick_due, self._round_due, math.inf if deadline is None else deadline)

    def _refresh(self) -> None:
        now = time.monotonic()
        self.max_lag_s = max(self.max_lag_s, now - self._refreshed_at - self._tick_s)
        self._refreshed_at = now
        self.refreshes += 1
        with self._lock:
            if not self._ended:
                self.line.refreshed()

    def _look_at_addresses(self, now: float) -> bool:
        """Reads the host's addresses; returns whether they changed."""
        self._addresses_due = now + ADDRESSES_EVERY_S
        try:
            found = host.ipv4_addresses()
        except OSError as error:
            failure = reason_of(error)
            if failure != self._addresses_failure:
                _logger.warning("cannot read the host's addresses; beats keep the last known ones: %s", failure)
            self._addresses_failure = failure
            return False
        self._addresses_failure = ""
        before, self._addresses = self._addresses, found
        return found != before

    def _put_head(self) -> None:
        """Makes the head again, and passes it to the line if it changed."""
        with self._lock:
            if self._ended:
                return
            plugins, agents = self._announced()
            values, failures = self._providers.values()
            plugin_map = beat_json.plugin_map(
                plugins, {name: value for name, value in values.items() if name in plugins}
            )
            head = beat_json.head(
                self.config,
                self.identity.instance_id,
                host_name=host.host_name(),
                addresses=self._addresses,
                plugins=plugin_map,
                agents=agents,
                failures=failures,
            )
            if head != self._head:
                self.line.set_head(head)
                self._head = head
                self.heads += 1

    def __repr__(self) -> str:
        return f"<agent {self.config.service} {self.identity.instance_id}>"
