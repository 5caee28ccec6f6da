# SPDX-License-Identifier: MIT
"""Shows the state of Redis: its servers, and what this monitor's work with them has come to."""

from __future__ import annotations

from collections.abc import Iterator
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


class RedisState:
    """Any thread."""

    def __init__(self, link: Link, leases: Leases) -> None:
        self._link, self._leases = link, leases

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
