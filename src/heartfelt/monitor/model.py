# SPDX-License-Identifier: MIT
"""Values that the parts of the monitor pass to each other. They have no behaviour.

Times named `*_ms` are wall-clock times in ms since the epoch, by the monitor's own clock unless stated otherwise. They
are for display and storage only: timeouts run on the hub's monotonic clock.
"""

from __future__ import annotations

from enum import Enum
from typing import Any

import msgspec

from heartfelt.monitor.reasons import NO_REASON, Reason


class State(str, Enum):
    """The state of an instance.

    NEW: one beat so far. UP: beats regularly. LATE: missed a beat, but its timeout has not passed. LOST: its timeout
    has passed. FAILED: its last run failed, or a run did not end by its deadline. LEFT: said goodbye. STUCK: beats, but
    its interpreter is blocked. PAUSED: nobody is notified about it, whether it beats or not. REMOVED: forgotten after
    `max.cache.time`, or by hand; occurs in changes only.
    """

    NEW = "NEW"
    UP = "UP"
    LATE = "LATE"
    LOST = "LOST"
    FAILED = "FAILED"
    LEFT = "LEFT"
    STUCK = "STUCK"
    PAUSED = "PAUSED"
    REMOVED = "REMOVED"


WORST_FIRST = (
    State.FAILED, State.LOST, State.STUCK, State.LATE, State.NEW, State.UP, State.PAUSED, State.LEFT,
)  # fmt: skip
"""The order in which people want to see instances. REMOVED is left out: no instance has it."""
DOWN = frozenset((State.LOST, State.FAILED, State.STUCK))
"""States that count as down. LEFT and PAUSED count neither as up nor as down: such an instance is not watched."""
UNWATCHED = frozenset((State.LEFT, State.PAUSED))


class Level(str, Enum):
    """How important an event is: Sermant's three levels."""

    EMERGENCY = "EMERGENCY"
    IMPORTANT = "IMPORTANT"
    NORMAL = "NORMAL"


class ExpectedBy(str, Enum):
    """Decides whether an instance is expected; a later one comes first.

    SERVICE: its service's setting; without one it is not. KEY: the same, but without a setting it is, since it beats by
    its key alone. BEAT: a beat said it.
    """

    SERVICE = "SERVICE"
    KEY = "KEY"
    BEAT = "BEAT"


class Beat(msgspec.Struct, kw_only=True):
    """One heartbeat, decoded. Everything in it comes from the sender; only sizes have been checked."""

    service: str
    instance_id: str
    via: str
    """"sermant", "http", "udp" or "ping"."""
    peer: str
    """The sender's address, as text."""
    meta: dict[str, Any] | None = None
    """The heartbeat's JSON without the fields below. None: a plain beat, which changes no metadata."""
    agent_time_ms: int | None = None
    agent_last_time_ms: int | None = None
    interval_ms: int | None = None
    timeout_ms: int | None = None
    every_ms: int | None = None
    """The period in which it should beat; it is lost `grace_ms` after that."""
    grace_ms: int | None = None
    expected: bool | None = None
    """Whether it stays LOST until it beats or is removed by hand. None: by its service, or by how it beats."""
    by_key: bool = False
    """It names a key and nothing else, as a ping or a line of a datagram does."""
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None
    """Bounds on the duration of its runs; a run outside of them has failed."""
    lag_ms: int | None = None
    number: int | None = None
    goodbye: bool = False


class Change(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """An instance went from one state to another."""

    seq: int
    """Grows by one with each change; also the cursor for reading changes."""
    time_ms: int
    id: int
    """The instance's id, assigned by the monitor and never reused."""
    service: str
    instance_id: str
    old: State | None
    """None: the instance was not known before."""
    new: State
    level: Level
    reason: Reason
    outage_ms: int | None = None
    """For a recovery: from the last beat before the loss to the first one after it."""
    ip: str = ""


HOLD_TYPE = "HOLD"
ADDRESSES_TYPE = "ADDRESSES"
TOLD_TYPES = frozenset((HOLD_TYPE, ADDRESSES_TYPE))
"""Types of the monitor's own events that are sent to each webhook that is sent losses."""
MONITOR_SERVICE = "heartfelt-monitor"
"""The service of events that the monitor reports about itself, unless they are about one service."""


class AgentEvent(msgspec.Struct, kw_only=True, frozen=True):
    """An event of an agent, a job or the monitor itself. The store numbers them in order."""

    time_ms: int
    """The sender's clock."""
    received_ms: int
    service: str
    instance_id: str
    ip: str
    scope: str | None
    """None: a Sermant agent gave none, as for its logs."""
    level: Level
    type: str
    """Sermant's OPERATION, GOVERNANCE, LOG; STATE for changes of state; PING for events of jobs; HOLD for the
    beginning and the end of a hold; ADDRESSES for beats of one instance from several addresses."""
    info: dict[str, Any]

    @property
    def at_ms(self) -> int:
        """Its place among others: its time, or when it was received if the sender's clock is ahead of that."""
        return min(self.time_ms, self.received_ms)

    @property
    def name(self) -> Any:
        """The name that it is found by: that of a log is its level."""
        level = self.info.get("logLevel") if self.type == "LOG" else None
        return self.info.get("name", "") if level is None else level


class RunResult(str, Enum):
    """How a run of a job ended, or stands."""

    RUNNING = "RUNNING"
    OK = "OK"
    FAILED = "FAILED"
    """It said that it failed, or its exit status was not 0."""
    TOO_LONG = "TOO_LONG"
    TOO_SHORT = "TOO_SHORT"
    """It ended well, but outside of the bounds on its duration."""
    OVERDUE = "OVERDUE"
    """It has not ended by its deadline."""


class Run(msgspec.Struct, kw_only=True, frozen=True):
    """One run of a job."""

    number: int
    """Assigned by the monitor, growing with each run of any key."""
    id: int
    """The instance's."""
    rid: str
    """The id that the job gave to the run; "" if it gave none."""
    begin_ms: int | None
    """None: only its end was reported."""
    end_ms: int | None
    result: RunResult
    status: int | None = None
    """The exit status, if it was reported."""
    duration_ms: int | None = None
    text: str = ""
    """The last text that it reported."""
    deadline_ms: int | None = None
    """If it has not ended by then, it is OVERDUE. None: no deadline."""
    liveness_ms: int | None = None
    """How long it may be without progress, as its last ping with progress said. None: its deadline does not move."""


class Ack(msgspec.Struct, kw_only=True, frozen=True):
    """Somebody knows of a loss or a failure: nobody is notified about it again."""

    by: str
    """The person or program that knows of it."""
    why: str
    at_ms: int
    until_ms: int | None = None
    """None: until the instance recovers."""


class InstanceRow(msgspec.Struct, kw_only=True, gc=False):
    """An instance as it is stored, and restored after a restart."""

    id: int
    service: str
    instance_id: str
    state: State
    since_ms: int
    reason: Reason
    first_seen_ms: int
    last_beat_ms: int
    meta: Any
    """A dict, or the same as a `store.shared_meta.Packed`."""
    via: str
    peer: str
    interval_ms: int | None = None
    timeout_ms: int | None = None
    """The timeout that its beats ask for; None: the timeout of its service, or the monitor's."""
    skew_ms: int | None = None
    lag_ms: int | None = None
    paused_until_ms: int | None = None
    """For PAUSED: the end of the pause. None: it lasts until it is resumed."""
    before_pause: State | None = None
    """For PAUSED: LOST, FAILED or LEFT if that was its state before, or is since, so that it is not notified twice; UP
    if it was one of these and has beaten since."""
    ack: Ack | None = None
    down_since_ms: int | None = None
    """For LOST and FAILED: when the outage began, which is the last beat before a loss, or the end of the run that
    failed. It is kept from LOST to FAILED and back, until the recovery."""
    expected: bool = False
    """It stays LOST until it beats or is removed by hand."""
    expected_by: ExpectedBy = ExpectedBy.SERVICE
    every_ms: int | None = None
    grace_ms: int | None = None
    """The period and the grace that its beats ask for."""
    period_ms: int | None = None
    """The period that was learned from its beats."""
    is_job: bool = False
    """It has reported runs."""
    min_duration_ms: int | None = None
    max_duration_ms: int | None = None


class HoldState(str, Enum):
    NONE = "NONE"
    HOLDING = "HOLDING"
    RELEASING = "RELEASING"


class Hold(msgspec.Struct, kw_only=True, frozen=True):
    """The hold: whether losses are held back, and why."""

    state: HoldState = HoldState.NONE
    reason: Reason = NO_REASON
    scope: str = ""
    """A service's name; "" for all services."""
    held: int = 0
    since_ms: int | None = None
    until_ms: int | None = None
    """The hold ends at this time at the latest."""


class Limits(msgspec.Struct, kw_only=True, frozen=True):
    """Bounds on input from outside. Input that exceeds one is refused with a clear answer, and counted."""

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
    connection_idle: float = 60.0
    """`netty.wait.time`."""
