# SPDX-License-Identifier: MIT
"""The agent: reports to a monitor, or to a Sermant backend, that this process is alive.

`HeartbeatService` sends heartbeats at an interval, with information about the process. `job` reports runs of a
function, a coroutine, or the body of a `with` statement. Both need the standard library only.
"""

from __future__ import annotations

from heartfelt.agent.config import AgentConfig
from heartfelt.agent.jobs import job
from heartfelt.agent.manager import ServiceManager, ServiceNotStarted
from heartfelt.agent.service import AgentStats, HeartbeatService

__all__ = ["AgentConfig", "AgentStats", "HeartbeatService", "ServiceManager", "ServiceNotStarted", "job"]
