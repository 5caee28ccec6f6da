# SPDX-License-Identifier: MIT
"""Simulated services: a plan of when each beats, and one thread that makes all of the beats.

The services are divided into groups of neighbours. The services of a group beat together, each group a little after
the one before, so that the load is even. The first beat of a service costs more than the others; with very many
services, the first beats are spread over several intervals.
"""

from __future__ import annotations

import heapq
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

from heartfelt import HeartHub, HubClosed

NS = 1_000_000_000
STEP_NS = 20_000_000  # time between two groups, approximately
MOST_STEPS = 25  # per interval
JOIN_NS = 4_000  # allowed for the first beat of a service, which takes about 1,000
FIRST_TURN = 32
PATIENCE_NS = 2 * NS  # how long to wait for overdue events


def _ns(value_s: float) -> int:
    return round(value_s * NS)


@dataclass(frozen=True)
class DemoPlan:
    """Services 1 to `services`, with the keys "1", "2", ... Times are relative to the start; durations are in seconds.

    A service in `stuck` stops after as many milliseconds as its number: it sends no beat after that. The first beat of
    each service is always sent.
    """

    services: int
    interval: float
    timeout: float
    parallelism: int
    duration: float
    stuck: tuple[int, ...]

    @property
    def duration_ns(self) -> int:
        return _ns(self.duration)

    @property
    def spread_ns(self) -> int:
        """The first beats are spread over a multiple of this time."""
        return min(_ns(self.interval), self.duration_ns)

    @property
    def steps(self) -> int:
        return min(MOST_STEPS, max(1, self.spread_ns // STEP_NS))

    @cached_property
    def step_ns(self) -> int:
        """The first beat of group g is at g * step_ns."""
        return max(1, self.spread_ns // self.steps)

    @cached_property
    def bounds(self) -> list[int]:
        """Group g consists of the services bounds[g] + 1 to bounds[g + 1]."""
        spreads = -(-self.services * JOIN_NS // self.spread_ns)
        groups = min(self.services, spreads * self.steps)
        return [group * self.services // groups for group in range(groups + 1)]

    def group(self, service: int) -> int:
        return bisect_right(self.bounds, service - 1) - 1

    def last_round(self, service: int) -> int:
        """The number of a stuck service's last beat, counted from 0."""
        return max(0, (service * 1_000_000 - self.group(service) * self.step_ns) // _ns(self.interval))

    @cached_property
    def stopping(self) -> tuple[int, ...]:
        """The stuck services that stop before the demo ends."""
        return tuple(service for service in self.stuck if service * 1_000_000 < self.duration_ns)

    @cached_property
    def due_ns(self) -> Mapping[str, int]:
        """The keys that must be reported, and their deadlines."""
        interval_ns, timeout_ns = _ns(self.interval), _ns(self.timeout)
        return {
            str(one): self.group(one) * self.step_ns + self.last_round(one) * interval_ns + timeout_ns
            for one in self.stopping
        }

    @cached_property
    def patience_ns(self) -> int:
        """When to stop waiting for overdue events."""
        return max(self.duration_ns + _ns(self.timeout), *self.due_ns.values(), 0) + PATIENCE_NS


class Beater:
    """Makes the beats of a plan on a thread of its own, until `stop` is called or the hub is closed.

    begun: services that have sent their first beat. beats: sent so far. late_ns: the longest delay of a beat.
    left_out: beats not sent because the next ones were due already. pause_ns: the longest time that a live service was
    without a beat. An error in the thread closes the hub, and `stop` raises it.
    """

    def __init__(self, hub: HeartHub, plan: DemoPlan) -> None:
        self.begun = self.beats = self.late_ns = self.left_out = self.pause_ns = 0
        self.hub = hub
        self._step_ns, self._interval_ns = plan.step_ns, _ns(plan.interval)
        keys = [str(service) for service in range(1, plan.services + 1)]
        self._groups = [keys[low:high] for low, high in pairwise(plan.bounds)]
        self._last_rounds: dict[int, dict[str, int]] = {}
        for service in plan.stopping:
            self._last_rounds.setdefault(plan.group(service), {})[str(service)] = plan.last_round(service)
        self._beaten_ns: dict[int, int] = {}  # when the last round of a group began
        self._error: BaseException | None = None
        self._stop = threading.Event()
        self._start_ns = 0
        self._thread = threading.Thread(target=self._run, name="heartfelt-services", daemon=True)

    def start(self) -> None:
        self._start_ns = time.monotonic_ns()
        self._thread.start()

    def elapsed_ns(self) -> int:
        """Time since the start, as the plan counts it."""
        return time.monotonic_ns() - self._start_ns

    def stop(self, ended_ns: int) -> None:
        """Ends the thread. `ended_ns` is when the hub was closed, in the plan's time."""
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error
        for began_ns in self._beaten_ns.values():
            self.pause_ns = max(self.pause_ns, ended_ns - began_ns)

    def _run(self) -> None:
        try:
            self._beat_all()
        except HubClosed:
            pass
        except BaseException as error:
            self._error = error
            self.hub.close()

    def _beat_all(self) -> None:
        # (due, group, round), earliest first. When time is short, beats of services that have begun go before first
        # beats, except in one turn of FIRST_TURN.
        first = deque((group * self._step_ns, group, 0) for group in range(len(self._groups)))
        later: list[tuple[int, int, int]] = []
        turn = 0
        while (first or later) and not self._stop.is_set():
            now_ns = self.elapsed_ns()
            turn += 1
            reserved = now_ns if turn % FIRST_TURN else 0
            queue = later if later and (not first or later[0][0] <= max(reserved, first[0][0])) else first
            due_ns, group, round_ = queue[0]
            if due_ns > now_ns:
                self._stop.wait((due_ns - now_ns) / 1e9)
                continue
            if queue is later:
                heapq.heappop(later)
            else:
                first.popleft()
            self._drop_stopped(group, round_)
            if self._groups[group]:
                self._beat(group, due_ns, now_ns)
                ahead = 1 + max(0, self.elapsed_ns() - due_ns) // self._interval_ns
                self.left_out += (ahead - 1) * len(self._groups[group])
                heapq.heappush(later, (due_ns + ahead * self._interval_ns, group, round_ + ahead))
            else:
                del self._beaten_ns[group]

    def _beat(self, group: int, due_ns: int, now_ns: int) -> None:
        self.hub.heartbeat_many(self._groups[group])
        end_ns = self.elapsed_ns()
        self.late_ns = max(self.late_ns, end_ns - due_ns)
        if group in self._beaten_ns:
            self.pause_ns = max(self.pause_ns, end_ns - self._beaten_ns[group])
        else:
            self.begun += len(self._groups[group])
        self._beaten_ns[group] = now_ns
        self.beats += len(self._groups[group])

    def _drop_stopped(self, group: int, round_: int) -> None:
        last_rounds = self._last_rounds.get(group)
        if last_rounds is None:
            return
        stopped = {key for key, last in last_rounds.items() if last < round_}
        if stopped:
            self._groups[group] = [key for key in self._groups[group] if key not in stopped]
            self._last_rounds[group] = {key: last for key, last in last_rounds.items() if key not in stopped}
