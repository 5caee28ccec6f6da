# SPDX-License-Identifier: MIT
"""A plain model of a registry without hold: no timers, everything is computed again at each poll."""

from __future__ import annotations

from dataclasses import dataclass

from heartfelt.monitor.model import Level, State

BEATING = {State.NEW, State.UP, State.LATE, State.STUCK, State.FAILED}
GONE = {State.LOST, State.LEFT}
DOWN = {State.LOST, State.FAILED}
EMERGENCY, IMPORTANT, NORMAL = Level.EMERGENCY, Level.IMPORTANT, Level.NORMAL


@dataclass
class Thing:
    state: State
    last_ms: int  # of its last beat
    armed_ms: int | None  # since when its lease counts; None: it does not
    interval_ms: int | None = None
    timeout_ms: int | None = None
    lag_ms: int = 0
    forget_at: int | None = None
    pause_ends: int | None = None
    told_gone: State | None = None  # in a pause
    came_back: bool = False  # in a pause
    restored: bool = False
    failed: bool = False  # its last run did
    down_since: int | None = None
    failed_in_pause: bool = False  # for the first time
    by_ping: bool = False  # its last beat
    run: str = ""  # of its one run: "open" or "ended"
    said: bool | None = None  # by a beat: whether it is expected
    by_key: bool = False
    kept: bool = False  # beyond its cache time
    acked: bool = False
    ack_ends: int | None = None

    @property
    def expected(self):
        return self.by_key if self.said is None else self.said


def service_of(name):
    return name.rpartition("/")[0]


class RegistryModel:
    def __init__(self, lease_timeout_ms, lease_cache_ms, least_ms, factor):
        self.lease_timeout_ms, self.lease_cache_ms, self.least_ms, self.factor = (
            lease_timeout_ms,
            lease_cache_ms,
            least_ms,
            factor,
        )
        self.now = 0
        self.things = {}
        self.changes = []

    def lease(self, thing):
        return self.lease_timeout_ms if thing.timeout_ms is None else max(thing.timeout_ms, self.least_ms)

    def late_after(self, thing):
        if thing.interval_ms is None:
            return None
        late = int(thing.interval_ms * self.factor)
        return late if late < self.lease(thing) else None

    def alive(self, thing):
        return thing.armed_ms is not None and self.now - thing.armed_ms < self.lease(thing)

    def is_late(self, thing):
        late = self.late_after(thing)
        return late is not None and (thing.armed_ms is None or self.now - thing.armed_ms >= late)

    def beating(self, thing):
        return State.STUCK if thing.lag_ms > max(10_000, 2 * (thing.interval_ms or 0)) else State.UP

    def move(self, name, new, level, outage_ms=None):
        thing = self.things[name]
        if new is not thing.state:
            if thing.acked and new in DOWN:
                level = NORMAL
            thing.acked &= new in DOWN or new is State.PAUSED
            self.changes.append((name, thing.state, new, level, outage_ms))
            thing.state = new
            thing.kept = False

    def report(self, name, says):
        """`says`: True or False, its run has succeeded or failed; None: it makes progress."""
        self.beat(name, says=says, by_ping=True)
        thing = self.things[name]
        if says is not None:
            thing.run = "ended"
        elif thing.run != "ended":
            thing.run = "open"

    def renew(self, name):
        self.beat(name, by_ping=self.things[name].by_ping)

    def came(self, name):
        for other, thing in list(self.things.items()):
            if thing.kept and other != name and service_of(other) == service_of(name):
                self.remove(other)

    def beat(self, name, interval_ms=None, timeout_ms=None, lag_ms=None, says=True, by_ping=False, **how):
        thing = self.things.get(name)
        if thing is not None:
            if not by_ping and thing.run == "open":
                says = None
            thing.by_ping = by_ping
        joins = thing is None
        if joins:
            thing = self.things[name] = Thing(State.NEW, self.now, self.now, by_ping=by_ping)
            self.changes.append((name, None, State.NEW, NORMAL, None))
        thing.interval_ms = interval_ms or thing.interval_ms
        thing.timeout_ms = timeout_ms or thing.timeout_ms
        thing.lag_ms = thing.lag_ms if lag_ms is None else lag_ms
        thing.said = thing.said if how.get("expected") is None else how["expected"]
        thing.by_key |= how.get("by_key", False)
        gap_ms, thing.last_ms, thing.armed_ms, thing.restored = self.now - thing.last_ms, self.now, self.now, False
        new, old = self.beating(thing), thing.state
        thing.failed = thing.failed if says is None else not says
        if old is State.PAUSED:
            self.beaten_in_pause(thing, says)
            thing.acked &= thing.failed
        elif thing.failed and (says is False or old is not State.FAILED):
            if thing.down_since is None:
                thing.down_since = self.now
            thing.forget_at = None
            self.move(name, State.FAILED, EMERGENCY if says is False else IMPORTANT)
            self.came(name)
        elif thing.failed:
            pass
        elif joins:
            self.came(name)
            if new is State.STUCK:
                self.move(name, new, IMPORTANT)
        else:
            down = old in GONE or old is State.FAILED
            outage_ms = None
            if down:
                thing.forget_at = None
                outage_ms = gap_ms if thing.down_since is None else self.now - thing.down_since
                thing.down_since = None
            self.move(name, new, IMPORTANT if down or State.STUCK in (old, new) else NORMAL, outage_ms)
            self.came(name)

    def beaten_in_pause(self, thing, says):
        was_down = thing.told_gone in (State.LOST, State.FAILED) and not thing.came_back
        if says is False:
            if not was_down and not thing.failed_in_pause:
                thing.failed_in_pause, thing.down_since = True, self.now
            elif was_down:
                thing.told_gone = State.FAILED
        elif not thing.failed:
            if not thing.failed_in_pause or thing.told_gone is not None:
                thing.came_back |= thing.told_gone is not None
            thing.failed_in_pause = False

    def goodbye(self, name):
        thing = self.things.get(name)
        if thing is None or thing.state is State.LEFT:
            return
        thing.armed_ms, thing.failed, thing.down_since, thing.failed_in_pause = None, False, None, False
        if thing.state is State.PAUSED:
            thing.told_gone, thing.came_back = State.LEFT, False
            thing.acked = False
        else:
            thing.forget_at = self.now + self.lease_cache_ms
            self.move(name, State.LEFT, NORMAL)

    def pause(self, name, for_ms):
        thing = self.things[name]
        if thing.state is not State.PAUSED:
            told = thing.state in GONE or thing.state is State.FAILED
            thing.told_gone, thing.came_back, thing.failed_in_pause = (thing.state if told else None), False, False
        thing.forget_at = None
        thing.pause_ends = None if for_ms is None else self.now + for_ms
        self.move(name, State.PAUSED, NORMAL)

    def resume(self, name):
        thing = self.things[name]
        if thing.state is not State.PAUSED:
            return
        thing.pause_ends = None
        gone, thing.told_gone = thing.told_gone, None
        came_back, thing.came_back = thing.came_back, False
        if not self.alive(thing):
            if gone is State.LEFT and not came_back:
                thing.forget_at = self.now + self.lease_cache_ms
                self.move(name, State.LEFT, NORMAL)
            else:
                over = self.is_ack_over(thing)
                self.lose(name, NORMAL if gone is State.LOST and not came_back and not over else EMERGENCY)
        elif thing.failed:
            over = self.is_ack_over(thing)
            self.move(name, State.FAILED, EMERGENCY if thing.failed_in_pause or over else NORMAL)
        elif thing.restored or self.is_late(thing):
            self.move(name, State.LATE, IMPORTANT if came_back else NORMAL)
        else:
            new = self.beating(thing)
            self.move(name, new, IMPORTANT if came_back or new is State.STUCK else NORMAL)
        if thing.state in BEATING:
            self.came(name)

    def lose(self, name, level=EMERGENCY):
        thing = self.things[name]
        lease = self.lease(thing)
        if thing.down_since is None:
            thing.down_since = thing.last_ms
        after = max(self.lease_cache_ms - lease, min(lease, self.lease_cache_ms))
        thing.forget_at = None if thing.expected else self.now + after
        self.move(name, State.LOST, level)

    def remove(self, name):
        self.move(name, State.REMOVED, NORMAL)
        del self.things[name]

    def ack(self, name, for_ms):
        thing = self.things[name]
        if thing.state in DOWN:
            thing.acked, thing.ack_ends = True, None if for_ms is None else self.now + for_ms

    def withdraw(self, name):
        self.things[name].acked = False

    def due(self, known):
        """Timers that have ended, in their order: (time, whether it is among `known` after it, name, what follows)."""
        found = []
        for name, thing in self.things.items():
            if thing.state is State.PAUSED and thing.pause_ends is not None:
                found.append((thing.pause_ends, name in known, name, self.resume))
            if thing.state in GONE and thing.forget_at is not None:
                found.append((thing.forget_at, name in known, name, self.forget))
            if thing.state in DOWN and thing.acked and thing.ack_ends is not None:
                found.append((thing.ack_ends, name in known, name, self.tell_again))
        return sorted((one for one in found if one[0] <= self.now), key=lambda one: one[:3])

    def forget(self, name):
        thing = self.things[name]
        others = [
            one for other, one in self.things.items() if service_of(other) == service_of(name) and one is not thing
        ]
        if thing.state is State.LOST and all(one.state is State.LEFT for one in others):
            thing.kept, thing.forget_at = True, None
        else:
            self.remove(name)

    def tell_again(self, name):
        thing = self.things[name]
        thing.acked = False
        self.changes.append((name, thing.state, thing.state, EMERGENCY, None))

    def poll(self, known):
        for _, _, name, ended in self.due(known):
            if name in self.things:
                ended(name)
        for name, thing in list(self.things.items()):
            if thing.state in BEATING:
                if thing.state not in (State.LATE, State.FAILED) and self.is_late(thing):
                    self.move(name, State.LATE, NORMAL)
                if not self.alive(thing):
                    self.lose(name)

    @staticmethod
    def gone_in_pause(thing):
        """Its state in a pause, if people know that and it is true still."""
        known = thing.state is State.PAUSED and not thing.came_back and not thing.failed_in_pause
        return thing.told_gone if known else None

    def is_ack_over(self, thing):
        over = thing.acked and thing.ack_ends is not None and thing.ack_ends <= self.now
        thing.acked &= not over
        return over

    def restart(self):
        for thing in self.things.values():
            thing.restored, thing.kept = True, False
            if thing.acked and thing.ack_ends is not None:
                thing.ack_ends = max(thing.ack_ends, self.now + 1)
            thing.run = thing.run.replace("ended", "")
            if State.LOST in (thing.state, self.gone_in_pause(thing)):
                thing.failed = False
            if thing.state is State.LOST and thing.expected:
                continue
            if thing.state in GONE:
                left_ms = self.lease_cache_ms - (self.now - thing.last_ms)
                thing.forget_at = self.now + min(max(left_ms, self.lease(thing), 1), self.lease_cache_ms)
            else:
                thing.armed_ms = None if self.gone_in_pause(thing) in GONE else self.now
                if thing.pause_ends is not None:
                    thing.pause_ends = max(thing.pause_ends, self.now + 1)
