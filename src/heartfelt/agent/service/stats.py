# SPDX-License-Identifier: MIT
"""Counters of an agent."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from heartfelt.agent.line import LineStats


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStats(LineStats):
    """A service's counters: those of its line (after a stop, of the last one), and of the work in Python around it."""

    life: str
    """ "new", "disabled" (by agent.service.heartbeat.enable), "running" or "stopped"; in a forked child "silent", or
    "restarting" until it starts as an instance of its own."""
    instance_id: str | None
    """The instanceId of the present run, otherwise of the last one."""
    refreshes: int
    """How often the refresh thread ran since the start."""
    heads: int
    """How often the content of beats changed."""
    provider_failures: int
    last_provider_failure: str | None
    """The plugin's name, and the reason."""
    providers_hanging: int
    """Providers that are still running, beyond their time limit; they are not called meanwhile."""
    lag_ms: float
    """Time since the refresh thread last ran."""
    max_lag_ms: float
    """The refresh thread's longest delay, which is how long Python was unresponsive."""
    failures_of_refresh: int
    """Refreshes that raised, of all services of the process; each is logged."""


NO_LINE = LineStats(
    sender="", state="idle", beats=0, missed=0, refused=0, connects=0, failures=0, last_error=None, reconnect_s=0.0,
    max_late_ms=0.0,
)  # fmt: skip


def with_line(line: LineStats, **own: object) -> AgentStats:
    return AgentStats(**asdict(line), **own)  # type: ignore[arg-type]
