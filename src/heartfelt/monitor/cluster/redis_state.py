# SPDX-License-Identifier: MIT
"""Shows the state of Redis: its servers, and what this monitor's work with them has come to."""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from heartfelt.monitor.metric import Figures, Reading, counter, gauge, read
from heartfelt.monitor.store.redis.leases import Leases
from heartfelt.monitor.store.redis.link import Link

_COMMANDS = counter("heartfelt_redis_commands", "Commands for Redis, by what became of them", labels=("what",))
FIGURES: Figures = {
    "commands": _COMMANDS.of("all"),
    "refused": _COMMANDS.of("refused"),
    "unknown": _COMMANDS.of("unknown"),
    "repeated": _COMMANDS.of("repeated"),
    "pipelines": counter("heartfelt_redis_pipelines", "Groups of commands that were sent to a server at once"),
    "jumps_ahead": counter("heartfelt_redis_clock_jumps_ahead", "Times that a server's clock had jumped ahead"),
    "jumps_back": counter("heartfelt_redis_clock_jumps_back", "Times that a server's clock had jumped back"),
    "servers_up": gauge("heartfelt_redis_servers_up", "Servers of Redis that can be reached and take commands"),
    "servers_down": gauge(
        "heartfelt_redis_servers_down", "Servers of Redis that cannot be reached, or refuse commands"
    ),
    "pages": gauge("heartfelt_redis_pages", "Pages of deadlines that this monitor owns"),
    "unreadable": counter("heartfelt_redis_rows_unreadable", "Rows of instances that could not be read"),
    "lost_pages": counter("heartfelt_redis_pages_lost", "Pages that were adopted, and whose deadlines were gone"),
    "doubts": counter("heartfelt_redis_doubts", "Commands of which it was not known for a time if they were executed"),
    "ended": counter("heartfelt_redis_leases_ended", "Leases that had ended when they were renewed, by shards"),
    "dropped": counter("heartfelt_redis_pages_dropped", "Instances whose pages other monitors had adopted"),
    "emptied": counter(
        "heartfelt_redis_instances_emptied",
        "Instances of this monitor that Redis had lost: it was emptied, or a replica without the last writes took over",
    ),
    "restored": counter("heartfelt_redis_instances_restored", "Instances that Redis had lost, and were written again"),
    "swept": counter("heartfelt_redis_entries_swept", "Entries of monitors that died before they wrote a row"),
}


SAMPLE_S = 5.0
SAMPLES = 3
"""How many round trips in a row must be too long before that is told."""
_logger = logging.getLogger("heartfelt.monitor.cluster")


class RedisState:
    """Any thread, but for `slow`: the loop's."""

    def __init__(
        self, link: Link, leases: Leases, settle_s: float = 0.2, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._link, self._leases = link, leases
        self._settle_ms, self._clock = settle_s * 1000, clock
        self._trips: deque[float] = deque(maxlen=SAMPLES)
        self._sampled_s = float("-inf")
        self._was_slow = False

    def slow(self) -> str | None:
        """Says that Redis answers too late for cluster.settle. To be asked again and again."""
        now_s = self._clock()
        if now_s - self._sampled_s >= SAMPLE_S:
            self._sampled_s = now_s
            trips = [one.round_trip_ms for one in self._link.servers() if one.up and one.round_trip_ms is not None]
            if trips:
                self._trips.append(max(trips))
        least_ms = min(self._trips) if len(self._trips) == SAMPLES else 0.0
        if least_ms <= self._settle_ms / 2:
            self._was_slow = False
            return None
        text = (
            f"Redis takes {least_ms:.0f} ms to answer, which is too long for cluster.settle, {self._settle_ms:.0f} ms: "
            "while an instance moves, a loss may be told though another monitor hears it; set a settle of at least "
            f"{4 * least_ms / 1000:.1f} s at all monitors, or put Redis nearer"
        )
        if not self._was_slow:
            self._was_slow = True
            _logger.warning("%s", text)
        return text

    def trouble(self) -> str | None:
        """Returns what is wrong with the servers, also with one that nothing needs at this moment."""
        if (text := self._link.trouble()) is not None or not self._leases.is_emptied:
            return text
        left = self._leases.n_restoring
        return f"Redis has lost data: {left} instances of this monitor are still to be written again"

    def servers(self) -> list[dict[str, Any]]:
        return [one._asdict() for one in self._link.servers()]

    def _figures(self) -> dict[str, int]:
        servers = self._link.servers()
        well = sum(one.up and one.error is None for one in servers)
        counts: dict[str, int] = msgspec.structs.asdict(self._leases.counts)
        more = {"servers_up": well, "servers_down": len(servers) - well, "pages": self._leases.n_pages}
        return self._link.stats() | counts | more

    def stats(self) -> dict[str, Any]:
        return {**self._figures(), "trouble": self.trouble(), "servers": self.servers()}

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self._figures())
