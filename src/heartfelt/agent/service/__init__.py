# SPDX-License-Identifier: MIT
"""HeartbeatService and what runs it: one run from start to stop, the refresh thread, forks, counters."""

from __future__ import annotations

from heartfelt.agent.service.heartbeat_service import STOP_WAIT_S, HeartbeatService, configured
from heartfelt.agent.service.stats import AgentStats

__all__ = ["STOP_WAIT_S", "AgentStats", "HeartbeatService", "configured"]
