# SPDX-License-Identifier: MIT
"""What the parts of the monitor tell each other: values without behaviour.

Times called `*_ms` are wall clock, ms since the epoch, by the monitor's own clock unless named otherwise: to be shown
and stored. Nothing is decided by them: leases run on the hub's monotonic clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from heartfelt.monitor.reasons import NO_REASON, Reason


class State(str, Enum):
    """The state of an instance.

    NEW: one beat so far. UP: beats. LATE: an interval was missed, the lease has not run out. LOST: it has. LEFT: said
    goodbye. STUCK: beats, but its interpreter does not answer. PAUSED: beats or not, nobody is told. REMOVED: forgotten
    after `max.cache.time`, or by hand; it occurs in changes only.
    """

    NEW = "NEW"
    UP = "UP"
    LATE = "LATE"
    LOST = "LOST"
    LEFT = "LEFT"
    STUCK = "STUCK"
    PAUSED = "PAUSED"
    REMOVED = "REMOVED"


class Level(str, Enum):
    """How much an event matters: Sermant's three."""

    EMERGENCY = "EMERGENCY"
    IMPORTANT = "IMPORTANT"
    NORMAL = "NORMAL"


class Beat(msgspec.Struct, kw_only=True):
    """One heartbeat, as an ingest understood it. Everything in it is the sender's word, within the limits on sizes."""

    service: str
    instance_id: str
    via: str
    """"sermant", "http", "udp" or "ping"."""
    peer: str
    """Address of the sender, as text."""
    meta: dict[str, Any] | None = None
    """The heartbeat's JSON without the fields that stand below; None: a plain beat, which leaves what is known."""
    agent_time_ms: int | None = None
    agent_last_time_ms: int | None = None
    interval_ms: int | None = None
    timeout_ms: int | None = None
    lag_ms: int | None = None
    number: int | None = None
    goodbye: bool = False


class Change(msgspec.Struct, kw_only=True, frozen=True):
    """An instance went from one state to another."""

    seq: int
    """Grows by one with each change; also the cursor of whoever reads changes."""
    time_ms: int
    id: int
    """The instance's, given by the monitor, never used again."""
    service: str
    instance_id: str
    old: State | None
    """None: it was not known."""
    new: State
    level: Level
    reason: Reason
    outage_ms: int | None = None
    """With a recovery: from the last beat before to the first one after."""
    ip: str = ""


HOLD_TYPE = "HOLD"


class AgentEvent(msgspec.Struct, kw_only=True, frozen=True):
    """What an agent, a job or the monitor itself reports. Stored under a number that grows."""

    time_ms: int
    """By the clock of who reports it."""
    received_ms: int
    service: str
    instance_id: str
    ip: str
    scope: str
    level: Level
    type: str
    """Sermant's OPERATION, GOVERNANCE, LOG; STATE for changes of state; PING for those of jobs; HOLD_TYPE
    for the beginning and the end of a hold."""
    info: dict[str, Any]


class InstanceRow(msgspec.Struct, kw_only=True):
    """An instance, as it is stored and as it comes back after a start."""

    id: int
    service: str
    instance_id: str
    state: State
    since_ms: int
    reason: Reason
    first_seen_ms: int
    last_beat_ms: int
    meta: dict[str, Any]
    via: str
    peer: str
    interval_ms: int | None = None
    timeout_ms: int | None = None
    """The lease that its beats ask for; None: its service's, or the monitor's."""
    skew_ms: int | None = None
    lag_ms: int | None = None
    paused_until_ms: int | None = None
    """With PAUSED; None then means until it is resumed."""


class HoldState(str, Enum):
    NONE = "NONE"
    HOLDING = "HOLDING"
    RELEASING = "RELEASING"


class Hold(msgspec.Struct, kw_only=True, frozen=True):
    """Losses that are held back, and why."""

    state: HoldState = HoldState.NONE
    reason: Reason = NO_REASON
    scope: str = ""
    """A service's name; "" for all."""
    held: int = 0
    since_ms: int | None = None
    until_ms: int | None = None
    """The latest end."""


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """Bounds on what is taken from outside. Each that is passed is answered clearly and counted."""

    frame_bytes: int = 1 << 20
    gunzip_bytes: int = 4 << 20
    body_bytes: int = 4 << 20
    beats_in_body: int = 10_000
    key_bytes: int = 512
    meta_bytes: int = 64 << 10
    instances: int = 200_000
    instances_of_client: int = 50_000
    beats_of_client_per_s: int = 100_000
    event_bytes: int = 64 << 10
    connections: int = 20_000
    connection_idle_s: float = 60.0
    """`netty.wait.time`."""
