# SPDX-License-Identifier: MIT
"""One instance in memory and what its beats teach about it. Decisions are made elsewhere (lifecycle.py)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from heartfelt._known import Hot
from heartfelt.monitor.fleet.terms import Terms, TermsSource
from heartfelt.monitor.model import Beat, ExpectedBy, InstanceRow, State
from heartfelt.monitor.reasons import NO_REASON
from heartfelt.monitor.store.shared_meta import NOTHING, Packed

RING = 120
_BY_KEY = frozenset(("ping", "udp"))
"""The ways by which a key beats that may never beat again, as a check that somebody runs by hand."""
# Bounds within which an interval learned from an agent's clock is believed.
_SHORTEST_INTERVAL_MS = 50
_LONGEST_INTERVAL_MS = 3_600_000
_NO_TERMS = Terms(timeout_ms=0, source=TermsSource.DEFAULT, look_ms=0)


class Rhythm(msgspec.Struct, kw_only=True):
    """The learning of an instance's period; see periods.py. Times are by the registry's clock."""

    confirmed_ms: float
    """The last time that the period was seen, or that this began."""
    first_gap: int = 0
    """The times between beats before this one teach nothing."""
    lost_gap_ms: int = 0
    lost_at_ms: float = 0.0
    """The last time between beats that was a loss, and when that ended."""
    ends: tuple[float, ...] = ()
    """When the last runs of a job ended."""


class Instance(Hot):
    """The state of one instance. Read it from anywhere in the loop's thread; only the registry writes it."""

    __slots__ = (
        "ack",
        "addresses",
        "app",
        "before_pause",
        "counted_interval",
        "down_since_ms",
        "due",
        "every_ms",
        "expected",
        "expected_by",
        "failed",
        "goodbye_ms",
        "grace_ms",
        "held",
        "in_run",
        "instance_id",
        "interval_asked",
        "interval_ms",
        "interval_seen_ms",
        "is_job",
        "late_ms",
        "lease_ms",
        "max_duration_ms",
        "min_duration_ms",
        "packed",
        "paused_until_ms",
        "period_ms",
        "period_unknown",
        "reason",
        "reconnect_ms",
        "restored_ms",
        "rhythm",
        "service",
        "state",
        "terms",
        "timeout_ms",
        "waiting",
    )

    def __init__(self, row: InstanceRow) -> None:
        self.id = row.id
        self.service = row.service
        self.instance_id = row.instance_id
        self.state = row.state
        self.since_ms = row.since_ms
        self.reason = row.reason
        self.first_seen_ms = row.first_seen_ms
        self.last_beat_ms = row.last_beat_ms
        packed: Packed | dict[str, Any] = row.meta
        self.packed = packed
        """Its metadata; a dict until the roster packs it."""
        self.via = row.via
        self.peer = row.peer
        self.interval_ms = row.interval_ms
        self.timeout_ms = row.timeout_ms
        self.restore_times(row.skew_ms, row.lag_ms)
        self.paused_until_ms = row.paused_until_ms
        self.before_pause = row.before_pause
        self.ack = row.ack
        self.down_since_ms = row.down_since_ms
        self.expected = row.expected
        self.expected_by = row.expected_by
        self.every_ms = row.every_ms
        self.grace_ms = row.grace_ms
        self.period_ms = row.period_ms
        self.is_job = row.is_job
        self.min_duration_ms = row.min_duration_ms
        self.max_duration_ms = row.max_duration_ms

        self.app = packed.app or row.service if isinstance(packed, Packed) else app_name(packed, row.service)
        """The application it counts towards."""
        self.beats = 0
        """Beats since it joined, or since the monitor started."""
        self.plain = False
        """It is UP, and another plain beat changes nothing."""
        self.in_run = False
        """A run without an id is open, which a plain ping ends."""
        self.failed = State.FAILED in (row.state, row.before_pause)
        """Its last run failed, whatever its state is. A restart forgets that of a LOST one."""
        # `lease`, a Heart, is set by whoever makes the instance
        self.late = None
        self.terms: Terms = _NO_TERMS
        self.lease_ms = 0
        """The timeout in effect: that of the terms."""
        self.waiting = False
        """The default timeout has passed without a beat, but more time is due, by its period."""
        self.period_unknown = row.period_ms is None and row.via in _BY_KEY and (not packed or packed is NOTHING)
        """It beats by its key alone, as a cron job does, and too little was seen of it to know its period."""
        self.rhythm: Rhythm | None = None
        self.addresses: tuple[str, ...] = ()
        """The addresses that its beats come from, if they alternate; see addresses.py."""
        self.late_ms: int | None = None
        self.held = False
        """Its timeout has expired, but the loss is held: it counts as LOST, though its state is LATE or FAILED."""
        self.due = 0
        """LATE: the second of the registry's clock in which its timeout expires; otherwise 0."""
        self.counted_interval = 0
        """The kind of interval that it is counted under; 0: none."""
        self.restored_ms: int | None = None
        """The time the monitor started, until the first beat since then; 0 if it was taken over from another one."""
        self.reconnect_ms = 0
        """The time to reconnect, which is added to its timeout until then."""
        self.goodbye_ms: int | None = None
        """The time of the event that was its last goodbye, by its own clock. None: there was no such event."""
        self.interval_asked = row.interval_ms is not None
        self.interval_seen_ms: int | None = None

    @property
    def meta(self) -> dict[str, Any]:
        """Its metadata. Read it, do not write it: it may be a new dict, and parts of it are others', too."""
        packed = self.packed
        return packed.meta() if type(packed) is Packed else packed  # type: ignore[return-value]

    @property
    def counts_as(self) -> State:
        """The state in which people count it: LOST if its loss is held."""
        return State.LOST if self.held else self.state

    @property
    def is_regular(self) -> bool:
        """Whether a beat is due from it: not if it has beaten by its key once or twice, and its period is not known."""
        if self.beats > 2 or self.via not in _BY_KEY:
            return True
        return any(period is not None for period in (self.interval_ms, self.every_ms, self.period_ms))

    def gaps(self) -> Iterator[tuple[float, bool]]:
        """Yields the last times between beats, at most 120, oldest first: seconds (exact to a hundredth, or to 1/256 if
        that is longer), and whether a beat was missed in between."""
        for n in range(max(1, self.beats - RING), self.beats):
            hundredths, missed = self.gap_at(n)
            yield hundredths / 100.0, missed

    def mark_missed(self) -> None:
        """Marks the last gap as one with a missed beat."""
        if self.beats > 1:
            self.note_missed(self.beats - 1)

    def learn(self, beat: Beat, now_ms: int) -> bool:
        """Learns times from a beat. Returns whether its interval, or anything it asks for, has changed."""
        changed = False
        if beat.timeout_ms is not None or beat.every_ms is not None or beat.grace_ms is not None:
            changed = self._ask(beat)
        for name in ("min_duration_ms", "max_duration_ms"):
            asked = getattr(beat, name)
            if asked is not None and asked != getattr(self, name):
                setattr(self, name, asked)
                changed = True
        changed = self._learn_expected(beat) or changed
        if beat.interval_ms is not None:
            if beat.interval_ms > 0 and (not self.interval_asked or beat.interval_ms != self.interval_ms):
                self.interval_ms, self.interval_asked = beat.interval_ms, True
                changed = True
        elif not self.interval_asked and beat.agent_time_ms is not None and beat.agent_last_time_ms:
            changed = self._learn_interval(beat.agent_time_ms - beat.agent_last_time_ms) or changed
        self.note_times(beat.agent_time_ms, beat.agent_last_time_ms, beat.lag_ms, now_ms)
        if beat.number is not None:
            self.number = beat.number
        return changed

    def _learn_expected(self, beat: Beat) -> bool:
        if beat.expected is not None:
            changed = self.expected_by is not ExpectedBy.BEAT or beat.expected != self.expected
            self.expected, self.expected_by = beat.expected, ExpectedBy.BEAT
            return changed
        if beat.by_key and self.expected_by is ExpectedBy.SERVICE:
            self.expected_by = ExpectedBy.KEY
            return True
        return False

    def _ask(self, beat: Beat) -> bool:
        """Takes what a beat asks for, all of it: a period replaces a timeout that an earlier beat asked for."""
        asked = (beat.timeout_ms, beat.every_ms, beat.grace_ms)
        if beat.timeout_ms is None and beat.every_ms is None:
            asked = (self.timeout_ms, self.every_ms, beat.grace_ms)
        changed = asked != (self.timeout_ms, self.every_ms, self.grace_ms)
        self.timeout_ms, self.every_ms, self.grace_ms = asked
        return changed

    def _learn_interval(self, seen_ms: int) -> bool:
        # Two values must agree, so that a single late beat, or a clock that was set, changes nothing.
        if not _SHORTEST_INTERVAL_MS <= seen_ms <= _LONGEST_INTERVAL_MS:
            return False
        before, self.interval_seen_ms = self.interval_seen_ms, seen_ms
        if before is None or not alike(before, seen_ms):
            return False
        if self.interval_ms is not None and alike(self.interval_ms, seen_ms):
            return False
        self.interval_ms = seen_ms
        return True

    def row(self) -> InstanceRow:
        return InstanceRow(
            id=self.id,
            service=self.service,
            instance_id=self.instance_id,
            state=self.state,
            since_ms=self.since_ms,
            reason=self.reason,
            first_seen_ms=self.first_seen_ms,
            last_beat_ms=self.last_beat_ms,
            meta=self.packed,
            via=self.via,
            peer=self.peer,
            interval_ms=self.interval_ms,
            timeout_ms=self.timeout_ms,
            skew_ms=self.skew_ms,
            lag_ms=self.lag_ms,
            paused_until_ms=self.paused_until_ms,
            before_pause=self.before_pause,
            ack=self.ack,
            down_since_ms=self.down_since_ms,
            expected=self.expected,
            expected_by=self.expected_by,
            every_ms=self.every_ms,
            grace_ms=self.grace_ms,
            period_ms=self.period_ms,
            is_job=self.is_job,
            min_duration_ms=self.min_duration_ms,
            max_duration_ms=self.max_duration_ms,
        )

    def ip(self) -> str:
        """The address to show: the first one it reports itself, otherwise the sender's."""
        ips = self.meta.get("ip")
        if isinstance(ips, (list, tuple)) and ips and isinstance(ips[0], str):
            return ips[0]
        return self.peer

    def __repr__(self) -> str:
        return f"<Instance {self.id} {self.service!r} {self.instance_id!r} {self.state.value}>"


def app_name(meta: dict[str, Any], service: str) -> str:
    """The application it belongs to: its `appName`, reported by Sermant agents since 2.1, otherwise its service."""
    name = meta.get("appName")
    return name if isinstance(name, str) and name else service


def alike(a: float, b: float) -> bool:
    """Within 20 %."""
    return abs(a - b) * 5 <= max(a, b)


def new_instance(beat: Beat, now_ms: int, id: int) -> Instance:
    row = InstanceRow(
        id=id,
        service=beat.service,
        instance_id=beat.instance_id,
        state=State.NEW,
        since_ms=now_ms,
        reason=NO_REASON,
        first_seen_ms=now_ms,
        last_beat_ms=now_ms,
        meta={} if beat.meta is None else beat.meta,
        via=beat.via,
        peer=beat.peer,
    )
    return Instance(row)


def beat_of(instance: Instance) -> Beat:
    return Beat(
        service=instance.service,
        instance_id=instance.instance_id,
        via=instance.via,
        peer=instance.peer,
        meta=instance.meta,
        interval_ms=instance.interval_ms if instance.interval_asked else None,
        timeout_ms=instance.timeout_ms,
        every_ms=instance.every_ms,
        grace_ms=instance.grace_ms,
        expected=instance.expected if instance.expected_by is ExpectedBy.BEAT else None,
        by_key=instance.expected_by is ExpectedBy.KEY,
        min_duration_ms=instance.min_duration_ms,
        max_duration_ms=instance.max_duration_ms,
    )
