# SPDX-License-Identifier: MIT
"""Merges many changes into few messages. One Damper per target; it sees in order what the target wants.

Two stages. (1) An instance that changed more than `flap_changes` times within `flap_window_ms` is flapping. It is
muted: one entry stands for its further changes, "changed 14 times in 4 min, now UP". That entry comes when the
instance has been quiet for `flap_quiet_ms`, at the latest one window after the first muted change. (2) The entries of
one service are gathered for `gather_ms`. If there are more than `gather_singles`, one message gives their counts and
the first names. While that goes on, the service's entries are gathered for `gather_long_ms`.

No clock, no timer: a state machine driven by the times of the changes, so that the same changes always make the same
messages with the same keys. A monitor that was killed can therefore replay its last changes and still send each message
once. A call costs O(1), a timer O(log n). Memory: a record for each instance that changed within the window.
"""

from __future__ import annotations

import heapq
import itertools
from collections import deque
from collections.abc import Iterable

import msgspec

from heartfelt.monitor.model import HOLD_TYPE, State
from heartfelt.monitor.webhooks.notices import RECOVERED, Member, Notice, NoticeEntry, of_entry, worst
from heartfelt.monitor.webhooks.targets import ENDS

__all__ = ["NAMES", "Damper", "Damping", "told_until"]

NAMES = 10
"""How many instances a message of several names."""
_MEMBERS = 200_000
_END = 1 << 63
_ENDS = frozenset(state.value for state in ENDS)
_REMOVED = State.REMOVED.value


class Damping(msgspec.Struct, kw_only=True, frozen=True):
    flap_changes: int = 6
    flap_window_ms: int = 300_000
    flap_quiet_ms: int = 60_000
    gather_ms: int = 2_000
    gather_singles: int = 3
    gather_long_ms: int = 30_000

    @property
    def memory_ms(self) -> int:
        """Older changes have no influence any more."""
        return 3 * self.flap_window_ms + 2 * self.gather_long_ms


class _Instance:
    __slots__ = (
        "alarmed", "count", "due_ms", "first_ms", "first_seq", "flapping", "key", "last_ms", "muted", "times",
    )  # fmt: skip

    def __init__(self) -> None:
        self.times: list[int] = []  # few: more than flap_changes are not kept
        self.last_ms = 0
        self.flapping = False
        self.muted: NoticeEntry | None = None
        self.key = ""
        self.count = 0
        self.first_ms = 0
        self.first_seq = _END
        self.due_ms = 0
        self.alarmed = False


class _Group:
    __slots__ = (
        "busy_until_ms", "count", "counts", "entries", "first", "first_seq", "last_ms", "last_seq", "levels",
        "members", "now", "outage_ms", "until_ms",
    )  # fmt: skip

    def __init__(self) -> None:
        self.busy_until_ms = 0
        self.clear()

    def clear(self) -> None:
        self.first: NoticeEntry | None = None
        self.entries: list[NoticeEntry] = []
        self.members: dict[str, Member] = {}
        self.counts: dict[str, int] = {}
        self.levels: set[str] = set()
        self.count = self.until_ms = self.last_ms = 0
        self.first_seq = _END
        self.last_seq: int | None = None
        self.outage_ms: int | None = None
        self.now = ""
        """The new state of the last change."""


class Damper:
    """is_wall: its times are those of a wall clock, which may be set back."""

    def __init__(self, settings: Damping, *, is_wall: bool = True) -> None:
        self._settings = settings
        self._is_wall = is_wall
        self._instances: dict[tuple[str, str], _Instance] = {}
        self._muted: dict[tuple[str, str], _Instance] = {}
        self._groups: dict[tuple[str, bool], _Group] = {}
        self._timers: list[tuple[int, int, str, tuple[str, str] | tuple[str, bool]]] = []
        self._timer = 0
        self._quiet: deque[tuple[int, tuple[str, str]]] = deque()
        self._now_ms = 0
        self.muted = 0
        """Changes of flapping instances, which got no message of their own."""
        self.merged = 0
        """Entries that were merged into a message of several."""

    @property
    def next_ms(self) -> int | None:
        """When `advance` next has something to do."""
        return self._timers[0][0] if self._timers else None

    def first_open_seq(self) -> int | None:
        """Returns the first change that is muted or gathered; None: all are in messages. O(muted)."""
        first = min((instance.first_seq for instance in self._muted.values()), default=_END)
        first = min([first, *(group.first_seq for group in self._groups.values())])
        return None if first == _END else first

    def offer(self, entry: NoticeEntry, now_ms: int | None = None) -> list[Notice]:
        """Takes an entry of `now_ms`, by default of its own time. Returns the messages that are due before it."""
        now_ms = entry.time_ms if now_ms is None else now_ms
        notices = self.advance(now_ms)
        if entry.event_type == HOLD_TYPE:  # it stands for many messages already
            return [*notices, of_entry(entry)]
        if entry.event_type is not None:
            self._gather(entry, now_ms)
            return notices
        key = (entry.service, entry.instance_id)
        instance = self._instances.get(key)
        if instance is None:
            instance = self._instances[key] = _Instance()
            self._quiet.append((now_ms, key))
        self._note(instance, key, entry, now_ms)
        return notices

    def advance(self, now_ms: int) -> list[Notice]:
        """Returns the messages that are due. If the clock was set back by more than the window, all of them are."""
        if self._is_wall and now_ms < self._now_ms - self._settings.flap_window_ms:
            notices = self.flush()
            self._now_ms = now_ms
            return notices
        self._now_ms = max(self._now_ms, now_ms)
        notices = []
        while self._timers and self._timers[0][0] <= now_ms:
            due_ms, _, kind, key = heapq.heappop(self._timers)
            if kind == "instance":
                self._flap_due(key, due_ms)  # type: ignore[arg-type]
            else:
                notices += self._close(key, due_ms)  # type: ignore[arg-type]
        self._forget(now_ms)
        return notices

    def settle(self) -> list[Notice]:
        """Returns messages for all that is muted or gathered; remembers which instances flap."""
        for instance in self._muted.values():
            self._gather(self._summary(instance), instance.last_ms)
            instance.muted = None
        notices = [notice for key in list(self._groups) for notice in self._close(key, _END)]
        self._muted.clear()
        self._groups.clear()
        return sorted(notices, key=lambda notice: notice.time_ms)

    def flush(self) -> list[Notice]:
        """Returns messages for all that is muted or gathered, and forgets what was known."""
        notices = self.settle()
        self._instances.clear()
        self._timers.clear()
        self._quiet.clear()
        return notices

    # -- stage 1: instances that flap

    def _note(self, instance: _Instance, key: tuple[str, str], entry: NoticeEntry, now_ms: int) -> None:
        settings = self._settings
        while instance.times and instance.times[0] <= now_ms - settings.flap_window_ms:
            del instance.times[0]
        if instance.flapping and instance.muted is None and now_ms - instance.last_ms >= settings.flap_window_ms:
            instance.flapping = False
        instance.times.append(now_ms)
        instance.last_ms = now_ms
        if not instance.flapping and len(instance.times) <= settings.flap_changes:
            self._gather(entry, now_ms)
            return
        if instance.muted is None:
            instance.key = f"flapping-{entry.key}"
            instance.count = 0 if instance.flapping else len(instance.times) - 1  # those sent just before count too
            instance.first_ms = now_ms if instance.flapping else instance.times[0]
            instance.first_seq = _END if entry.seq is None else entry.seq
            instance.due_ms = now_ms + settings.flap_window_ms
            instance.alarmed = False
            self._muted[key] = instance
            self._set_timer(min(instance.due_ms, now_ms + settings.flap_quiet_ms), "instance", key)
        instance.flapping = True
        instance.times.clear()
        instance.muted = entry
        instance.alarmed = instance.alarmed or not entry.recovery
        instance.count += 1
        self.muted += 1

    def _flap_due(self, key: tuple[str, str], now_ms: int) -> None:
        instance = self._instances.get(key)
        if instance is None or instance.muted is None:
            return
        due_ms = min(instance.due_ms, instance.last_ms + self._settings.flap_quiet_ms)
        if due_ms > now_ms:
            self._set_timer(due_ms, "instance", key)
            return
        self._gather(self._summary(instance), now_ms)
        instance.muted = None
        del self._muted[key]

    def _summary(self, instance: _Instance) -> NoticeEntry:
        last = instance.muted
        assert last is not None
        return NoticeEntry(
            **{field: getattr(last, field) for field in last.__struct_fields__ if field not in _OF_SUMMARY},
            key=instance.key,
            first_seq=instance.first_seq,
            alarmed=instance.alarmed,
            count=instance.count,
            span_ms=instance.last_ms - instance.first_ms,
        )

    def _forget(self, now_ms: int) -> None:
        """Forgets at most two records per call, oldest first: those without a change within the window."""
        for _ in range(2):
            if not self._quiet or self._quiet[0][0] > now_ms - self._settings.flap_window_ms:
                return
            _, key = self._quiet.popleft()
            instance = self._instances[key]
            if instance.muted is None and instance.last_ms <= now_ms - self._settings.flap_window_ms:
                del self._instances[key]
            else:
                self._quiet.append((max(instance.last_ms, now_ms), key))

    # -- stage 2: many changes of a service at once

    def _gather(self, entry: NoticeEntry, now_ms: int) -> None:
        key = (entry.service, entry.event_type is not None)
        group = self._groups.get(key)
        if group is None:
            group = self._groups[key] = _Group()
        if group.first is None:
            settings = self._settings
            group.first = entry
            group.until_ms = now_ms + (settings.gather_long_ms if now_ms < group.busy_until_ms else settings.gather_ms)
            self._set_timer(group.until_ms, "group", key)
        if len(group.entries) <= self._settings.gather_singles:
            group.entries.append(entry)
        member = group.members.get(entry.instance_id)
        if member is None:
            member = Member(recovered_first=entry.recovery and not entry.alarmed)
            if len(group.members) < _MEMBERS:
                group.members[entry.instance_id] = member
        member.changes += 1
        if entry.recovery or entry.new == _REMOVED:
            member.is_down = False
        elif entry.new in _ENDS:
            member.is_down = True
        group.now = entry.new or ""
        of = RECOVERED if entry.recovery else entry.new or entry.event_type or ""
        group.counts[of] = group.counts.get(of, 0) + 1
        group.levels.add(entry.level.value)
        group.count += 1
        group.last_ms = max(group.last_ms, entry.time_ms)
        if entry.seq is not None:
            group.first_seq = min(group.first_seq, entry.seq if entry.first_seq is None else entry.first_seq)
            group.last_seq = max(group.last_seq or 0, entry.seq)
        if entry.recovery and entry.outage_ms is not None:
            group.outage_ms = max(group.outage_ms or 0, entry.outage_ms)
            member.outage_ms = max(member.outage_ms or 0, entry.outage_ms)

    def _close(self, key: tuple[str, bool], due_ms: int) -> list[Notice]:
        group = self._groups.get(key)
        if group is None or due_ms < (group.busy_until_ms if group.first is None else group.until_ms):
            return []  # an outdated timer
        first = group.first
        if first is None:  # it was busy and has been quiet since
            del self._groups[key]
            return []
        if group.count <= self._settings.gather_singles:
            del self._groups[key]
            return [of_entry(entry) for entry in group.entries]
        notice = Notice(
            kind="mass",
            key=f"mass-{first.key}",
            time_ms=first.time_ms,
            level=worst([type(first.level)(level) for level in group.levels]),
            service=first.service,
            count=group.count,
            counts=group.counts,
            instances=len(group.members),
            names=tuple(itertools.islice(group.members, NAMES)),
            now=self._now(group, first.service),
            outage_ms=group.outage_ms,
            until_ms=group.last_ms,
            last_seq=group.last_seq,
            members={} if key[1] else group.members,
        )
        self.merged += group.count
        group.busy_until_ms = group.until_ms + self._settings.gather_long_ms
        busy_until_ms = group.busy_until_ms
        group.clear()
        self._set_timer(busy_until_ms, "group", key)
        return [notice]

    def _now(self, group: _Group, service: str) -> str:
        """Returns the state of a group's only instance, also if it has changed since and is muted; "": of several."""
        if len(group.members) != 1 or not group.now:  # events have no state
            return ""
        instance = self._instances.get((service, next(iter(group.members))))
        muted = None if instance is None else instance.muted
        return group.now if muted is None else muted.new or ""

    def _set_timer(self, at_ms: int, kind: str, key: tuple[str, str] | tuple[str, bool]) -> None:
        self._timer += 1
        heapq.heappush(self._timers, (at_ms, self._timer, kind, key))


def told_until(dampers: Iterable[Damper], last_seq: int) -> int:
    """Returns up to which change everything is in messages, of those up to the last one that was offered."""
    first_seqs = (damper.first_open_seq() for damper in dampers)
    return min([last_seq, *(seq - 1 for seq in first_seqs if seq is not None)])


_OF_SUMMARY = frozenset({"key", "first_seq", "count", "span_ms", "alarmed"})
