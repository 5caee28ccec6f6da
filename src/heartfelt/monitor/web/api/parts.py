# SPDX-License-Identifier: MIT
"""The parts of the monitor that handlers may use. The monitor hands them to the API once, when it is made."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from heartfelt.monitor.config import MonitorConfig
from heartfelt.monitor.fleet.registry import Registry
from heartfelt.monitor.history import Lateness, RateHistory
from heartfelt.monitor.store import StoreReader
from heartfelt.monitor.web.api.sessions import Sessions
from heartfelt.monitor.web.auth import Auth
from heartfelt.monitor.web.metrics import Metrics
from heartfelt.monitor.web.stream import Stream
from heartfelt.monitor.webhooks import Webhooks

if TYPE_CHECKING:
    from heartfelt.monitor.web.api.endpoint import Call, Endpoint
    from heartfelt.monitor.web.api.federated import Federated, Streamed


class FleetAnswers(Protocol):
    async def answer(self, endpoint: Endpoint, federated: Federated, call: Call) -> Any:
        """Returns the answer to a call of a federated endpoint, merged from all monitors' parts. Raises what the
        handler raises, and Problem."""

    async def stream(self, endpoint: Endpoint, streamed: Streamed, call: Call) -> Any:
        """Returns the answer to a call of a streamed endpoint, which passes on all monitors' parts. Raises Problem."""

    async def answer_by_leader(self, endpoint: Endpoint, call: Call) -> Any:
        """Returns the answer of the monitor that leads. Raises what the handler raises, and Problem."""


class Ready(msgspec.Struct, kw_only=True, frozen=True):
    ready: bool
    """Whether beats may be sent here. One of many monitors takes them also while Redis cannot be written: see
    `degraded`. One on its own is not ready while its store cannot be written."""
    degraded: bool
    """The store cannot be written: beats are taken, and what is uncertain is held; `store` has the reason."""
    store: str
    """"ok", or the error that keeps the store from being written."""
    listeners: dict[str, bool]
    webhooks: str
    """"ok", or how many webhooks refuse messages. They do not make the monitor unready."""
    certificate: str
    """"ok", "none", or what is wrong with the certificate of the ports. It does not make the monitor unready."""
    fleet: str
    """"ok", "none" (it is on its own), or what is wrong with the fleet: settings that differ, monitors that do not
    answer. It does not make the monitor unready."""
    redis: str = "none"
    """"ok", "none", or what is wrong with a server of Redis, also with one that nothing needs at this moment. It does
    not make the monitor unready."""


class FleetMonitor(msgspec.Struct, kw_only=True, frozen=True):
    """A monitor of the fleet that lives."""

    id: str
    """New at each start."""
    host: str
    address: str
    """At which the other monitors reach it."""
    version: str
    started_ms: int
    leads: bool
    """Whether it runs the fleet's webhooks."""
    asked: bool
    """Whether it is the one that answers."""


@dataclass(slots=True, kw_only=True)
class ApiParts:
    """`Call.parts`. A handler that needs something else gets a field here, and the monitor fills it.

    The store is here for reading only: what changes goes through the registry, the webhooks or the tokens.
    """

    config: MonitorConfig
    """Replaced by a reload."""
    registry: Registry
    store: StoreReader
    stream: Stream
    webhooks: Webhooks
    auth: Auth
    sessions: Sessions
    metrics: Metrics
    rates: RateHistory
    lateness: Lateness
    started_ms: int
    wall_ms: Callable[[], int]
    uptime_s: Callable[[], float]
    store_uptime: Callable[[], Awaitable[None]]
    """Stores the uptime of services until now, if the store can be written."""
    stats: Callable[[], dict[str, dict[str, Any]]]
    """The counters of each part of the monitor."""
    readiness: Callable[[], Ready]
    monitors: Callable[[], list[FleetMonitor]] = list
    """The living monitors of the fleet; empty: this one is on its own."""
    warnings: Callable[[], list[str]] = list
    """Sentences about the settings, besides what the configuration warns of."""
    federation: FleetAnswers | None = None
    """Answers for all monitors that share a store; None: this one is on its own."""
    counts: Counter[str] = field(default_factory=Counter)
    """Refusals that no other part counts: "large_bodies"."""
