# SPDX-License-Identifier: MIT
"""What an agent has done."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from heartfelt.agent.line import LineStats


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentStats(LineStats):
    """A service's counters: those of its line (of the last one, after a stop), and of the work in Python around it."""

    life: str
    """ "new", "disabled" (by agent.service.heartbeat.enable), "running", "stopped"; in a forked child "silent", or
    "restarting" until it beats as an instance of its own."""
    instance_id: str | None
    """The present, or else the last one."""
    refreshes: int
    """How often Python ran for the beats since the start."""
    heads: int
    """How often the content changed."""
    provider_failures: int
    last_provider_failure: str | None
    """The plugin's name, and why."""
    providers_hanging: int
    """Those that run still, beyond their time limit; they are not called meanwhile."""
    lag_ms: float
    """Since Python last ran for the beats."""
    max_lag_ms: float
    """By how much it was late at most: how long Python was unresponsive."""
    failures_of_refresh: int
    """Refreshes of all services of the process that raised: each is logged."""


NO_LINE = LineStats(
    sender="", state="idle", beats=0, missed=0, refused=0, connects=0, failures=0, last_error=None, reconnect_s=0.0,
    max_late_ms=0.0,
)  # fmt: skip


def with_line(line: LineStats, **own: object) -> AgentStats:
    return AgentStats(**asdict(line), **own)  # type: ignore[arg-type]
