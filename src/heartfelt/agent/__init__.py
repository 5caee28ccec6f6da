# SPDX-License-Identifier: MIT
"""The reporter: tells a monitor, or a Sermant backend, that this process lives.

`HeartbeatService` beats at an interval, with what is to be known of the process. `job` reports runs: of a function, a
coroutine, or the body of a `with`. All of it needs the standard library only.
"""

from __future__ import annotations

from heartfelt.agent.config import AgentConfig
from heartfelt.agent.jobs import job
from heartfelt.agent.manager import ServiceManager, ServiceNotStarted
from heartfelt.agent.service import AgentStats, HeartbeatService

__all__ = ["AgentConfig", "AgentStats", "HeartbeatService", "ServiceManager", "ServiceNotStarted", "job"]
