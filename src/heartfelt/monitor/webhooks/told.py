# SPDX-License-Identifier: MIT
"""Keeps what each target was told to be down, so that it is never told of a recovery without the loss.

An instance counts as told once a message of its loss is put into the outbox. When it is UP again, that is its recovery,
whatever came between. It no longer counts as told when that message is given up, when its recovery is put, when it
recovers without this target being told, or when it is removed. At most one entry per target for each instance that
exists. The store keeps all of it.
"""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from heartfelt.monitor.model import Change, State
from heartfelt.monitor.store import Keys, Store, Who
from heartfelt.monitor.webhooks.damping import NAMES
from heartfelt.monitor.webhooks.notices import RECOVERED, Notice, NoticeEntry
from heartfelt.monitor.webhooks.targets import ENDS

__all__ = ["Told"]

_MOST_KEYS = 8
"""An instance that stays down is told again now and then. Only the newest of these messages matter."""
_MOST_ALARMS = 100
_ENDS = frozenset(state.value for state in ENDS)


class Told:
    def __init__(self, store: Store) -> None:
        self._store = store
        self._targets: dict[str, dict[Who, Keys]] = {}
        self._offered: dict[str, set[Who]] = {}
        """Those whose loss is not in the outbox yet."""

    async def load(self) -> None:
        """Raises what the store raises."""
        self._targets = await self._store.told()

    def all(self) -> dict[str, dict[Who, Keys]]:
        """Returns a copy of what each target was told to be down."""
        return {target: dict(instances) for target, instances in self._targets.items()}

    def _of(self, target: str) -> dict[Who, Keys]:
        return self._targets.setdefault(target, {})

    def ends(self, target: str, change: Change) -> bool:
        """Tells whether the target was told of the outage that ends with this change, or soon will be."""
        who = (change.service, change.instance_id)
        return change.new is State.UP and (who in self._of(target) or who in self._offered.get(target, ()))

    def offered(self, target: str, change: Change) -> None:
        """Notes that a change will be told."""
        if change.new in ENDS:
            self._offered.setdefault(target, set()).add((change.service, change.instance_id))

    # -- messages: `check` before one is put into the outbox, `note` after

    def check(self, target: str, notice: Notice) -> Notice | None:
        """Returns the message without the recoveries of what the target was not told to be down, and with the messages
        that told it (`alarms`). None: nothing remains."""
        if notice.kind == "mass":
            return self._check_mass(target, notice)
        entry = notice.entry
        if entry is None or not entry.recovery or entry.alarmed:
            return notice
        keys = self._of(target).get(_who(entry))
        return None if keys is None else msgspec.structs.replace(notice, alarms=keys)

    def _check_mass(self, target: str, notice: Notice) -> Notice | None:
        told = self._of(target)
        members = dict(notice.members)
        untold = 0
        alarms: dict[str, None] = {}
        for instance_id, member in notice.members.items():
            if not member.recovered_first:
                continue
            keys = told.get((notice.service, instance_id))
            if keys is not None:
                if len(alarms) < _MOST_ALARMS:
                    alarms.update(dict.fromkeys(keys))
                continue
            untold += 1
            if member.changes == 1:
                del members[instance_id]
        if untold:
            counts = {**notice.counts, RECOVERED: notice.counts.get(RECOVERED, 0) - untold}
            counts = {what: number for what, number in counts.items() if number > 0}
            if not counts:
                return None
            outages = [member.outage_ms for member in members.values() if member.outage_ms is not None]
            notice = msgspec.structs.replace(
                notice,
                counts=counts,
                count=notice.count - untold,
                instances=len(members),
                names=tuple(list(members)[:NAMES]),
                outage_ms=max(outages, default=None),
                members=members,
            )
        return msgspec.structs.replace(notice, alarms=tuple(alarms)[:_MOST_ALARMS])

    def note(self, target: str, notice: Notice) -> None:
        """Records what a message told, which is in the outbox now."""
        told = self._of(target)
        changed: dict[Who, Keys | None] = {}
        offered = self._offered.get(target, set())
        for who, is_down in _states(notice):
            offered.discard(who)
            if is_down:
                told[who] = changed[who] = (*told.get(who, ()), notice.key)[-_MOST_KEYS:]
            elif told.pop(who, None) is not None:
                changed[who] = None
        if changed:
            self._store.put_told(target, changed)

    # -- what happens besides messages

    def over(self, target: str, change: Change) -> None:
        """Forgets that the target was told: it is not told how the outage ended."""
        who = (change.service, change.instance_id)
        if self._of(target).pop(who, None) is not None:
            self._store.put_told(target, {who: None})

    def given_up(self, target: str, notice: Notice) -> None:
        """Takes back what a message told: it did not arrive."""
        told = self._of(target)
        entry = notice.entry
        if entry is not None and entry.event_type is None:
            found = [_who(entry)]
        else:
            found = [who for who, keys in told.items() if who[0] == notice.service and notice.key in keys]
        changed: dict[Who, Keys | None] = {}
        for who in found:
            if notice.key in told.get(who, ()):
                left = tuple(key for key in told[who] if key != notice.key)
                changed[who] = left or None
                if left:
                    told[who] = left
                else:
                    del told[who]
        if changed:
            self._store.put_told(target, changed)

    def forget(self, target: str) -> None:
        """Forgets a target that is deleted. The store forgets it with its deliveries."""
        self._targets.pop(target, None)
        self._offered.pop(target, None)


def _who(entry: NoticeEntry) -> Who:
    return entry.service, entry.instance_id


def _states(notice: Notice) -> Iterable[tuple[Who, bool]]:
    """The instances in a message whose outage began or ended, and whether they are down now."""
    entry = notice.entry
    if notice.kind == "mass":
        states = ((id, member.is_down) for id, member in notice.members.items())
        return [((notice.service, id), is_down) for id, is_down in states if is_down is not None]
    if entry is None or entry.event_type is not None:
        return []
    over = entry.recovery or entry.new == State.REMOVED.value
    return [(_who(entry), not over)] if over or entry.new in _ENDS else []
