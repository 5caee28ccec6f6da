# SPDX-License-Identifier: MIT
"""The order of events of `heartfelt demo --cluster`, and its verdict.

Some instances fall silent while all monitors live. Then the monitor that leads is killed, and at that moment some of
the instances that beat to it fall silent, too: only those that take over can find these.
"""

from __future__ import annotations

import json
import signal
import threading
import time
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from heartfelt.cli import Failed
from heartfelt.cli._cluster.feed import ClusterFeed, ClusterInstance
from heartfelt.cli._cluster.processes import Processes
from heartfelt.cli._cluster.show import Screen
from heartfelt.cli._cluster.watching import Standing, Watching

MONITORS = 3
LOOK_S = 0.25
SILENT = 10
"""Instances that fall silent, each of the two times."""
GROUPS = 12
SPARE_S = 15.0
"""How much longer than computed a loss may take on a busy machine, before the demo ends without it."""
INTERRUPTED = 130


@dataclass(frozen=True)
class ClusterPlan:
    """Times are in seconds. lease_s: cluster.lease of the monitors; comeback is their default, 5 s."""

    services: int = 3000
    interval_s: float = 1.5
    timeout_s: float = 6.0
    duration_s: float = 36.0
    lease_s: float = 5.0
    silent: int = SILENT

    @property
    def silent_at_s(self) -> float:
        return max(self.duration_s * 0.14, 3 * self.interval_s)

    @property
    def kill_at_s(self) -> float:
        return self.silent_at_s + self.timeout_s + 2.0

    @property
    def longest_s(self) -> float:
        """The longest time from the kill to the last loss: stored deadlines are a quarter of a timeout late."""
        return self.timeout_s * 1.25 + 2 * self.lease_s + min(5.0, self.timeout_s) + SPARE_S


@dataclass
class ClusterOutcome:
    """Facts of a run."""

    silent: list[ClusterInstance] = field(default_factory=list)
    killed: int = 0
    owned_before: int = 0
    """Instances that the killed monitor owned."""
    taken: dict[int, int] = field(default_factory=dict)
    """Instances that were taken over from it, by the number of the monitor that has them."""
    taken_after_s: float | None = None
    """Time from the kill until the others owned all."""
    leader: int | None = None
    led_after_s: float | None = None
    lost: dict[str, float] = field(default_factory=dict)
    """Name of an instance that fell silent, and was reported -> time from its last answered beat to its loss."""
    repeated: list[str] = field(default_factory=list)
    falsely: list[str] = field(default_factory=list)
    """Instances that kept beating, and were reported."""
    late_feed: list[str] = field(default_factory=list)
    """Instances that were reported since this process did not let them beat in time."""
    owned_at_end: int = 0
    beats: int = 0
    retried: int = 0
    elapsed_s: float = 0.0
    interrupted: bool = False


def run(plan: ClusterPlan, *, as_json: bool) -> int:
    """Runs the demo, and prints its summary. Returns the exit status. Raises Failed if it cannot begin."""
    screen = Screen(as_json=as_json)
    outcome = ClusterOutcome()
    before = signal.getsignal(signal.SIGTERM)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _interrupt)
    try:
        screen.say(0.0, f"starting Redis and {MONITORS} monitors")
        with Processes() as processes:
            _play(plan, processes, screen, outcome)
    except KeyboardInterrupt:
        outcome.interrupted = True
    finally:
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
    wrong = complaints(plan, outcome)
    status = INTERRUPTED if outcome.interrupted else 1 if wrong else 0
    print(json.dumps(summary(plan, outcome, wrong, status)) if as_json else text(plan, outcome, wrong), flush=True)
    return status


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _play(plan: ClusterPlan, processes: Processes, screen: Screen, outcome: ClusterOutcome) -> None:
    processes.start(
        MONITORS, {"cluster.lease": f"{plan.lease_s} s", "redis.timeout": f"{min(2.0, plan.lease_s / 2)} s"}
    )
    urls = [one.url for one in processes.monitors]
    watching = Watching(processes.monitors)
    feed = ClusterFeed(urls, plan.services, plan.interval_s, plan.timeout_s, GROUPS)
    try:
        for one in processes.monitors:
            screen.say(0.0, f"monitor {one.number} is ready: {one.url}")
        screen.head(MONITORS)
        feed.start()
        _Play(plan, processes, watching, feed, screen, outcome).run()
    finally:
        feed.end()
        watching.close()
        fed = feed.fed()
        outcome.beats, outcome.retried = fed.beats, fed.failures


class _Play:
    def __init__(
        self,
        plan: ClusterPlan,
        processes: Processes,
        watching: Watching,
        feed: ClusterFeed,
        screen: Screen,
        outcome: ClusterOutcome,
    ) -> None:
        self._plan, self._processes, self._watching = plan, processes, watching
        self._feed, self._screen, self._outcome = feed, screen, outcome
        self._killed_s: float | None = None
        self._taken_before: dict[int, int] = {}
        self._standings: dict[int, Standing] = {}

    def run(self) -> None:
        plan, outcome = self._plan, self._outcome
        self._until(plan.silent_at_s)
        outcome.silent = self._feed.silence(plan.silent)
        self._say(f"{len(outcome.silent)} instances fall silent")
        self._until(plan.kill_at_s)
        self._kill()
        self._until(plan.duration_s)
        assert self._killed_s is not None
        while not self._is_over() and self._feed.now_s() < self._killed_s + plan.longest_s:
            self._until(self._feed.now_s() + LOOK_S)
        self._judge()

    def _until(self, at_s: float) -> None:
        while (left_s := at_s - self._feed.now_s()) > 0:
            if self._feed.failure:
                raise Failed(f"the simulated instances cannot beat: {self._feed.failure}")
            self._look()
            time.sleep(min(LOOK_S, max(0.0, left_s)))

    def _say(self, text: str) -> None:
        self._screen.say(self._feed.now_s(), text)

    def _look(self) -> None:
        self._standings = self._watching.standings()
        try:
            lost = self._watching.lost()
        except Failed:
            lost = None  # shown as unknown
        self._screen.row(self._feed.now_s(), self._standings, lost)
        if self._killed_s is not None:
            self._look_after_kill(self._feed.now_s() - self._killed_s)

    def _look_after_kill(self, after_s: float) -> None:
        outcome = self._outcome
        leader = next((number for number, one in self._standings.items() if one.leads), None)
        if leader is not None and outcome.leader is None:
            outcome.leader, outcome.led_after_s = leader, after_s
            self._say(f"monitor {leader} leads, {after_s:.1f} s after the kill")
        if outcome.taken_after_s is None and self._owned() >= self._plan.services:
            outcome.taken_after_s = after_s
            outcome.taken = {n: one.taken - self._taken_before.get(n, 0) for n, one in self._standings.items()}
            shares = ", ".join(f"{taken:,} by monitor {n}" for n, taken in outcome.taken.items())
            self._say(f"all {self._plan.services:,} instances have an owner, {after_s:.1f} s after the kill: {shares}")

    def _kill(self) -> None:
        outcome, living = self._outcome, self._processes.living
        number = next((n for n, one in self._standings.items() if one.leads), living[0].number)
        monitor = next(one for one in living if one.number == number)
        self._taken_before = {n: one.taken for n, one in self._standings.items()}
        outcome.killed, outcome.owned_before = number, self._standings[number].owned
        some = self._feed.silence(self._plan.silent, at=number - 1)  # before the others go elsewhere
        outcome.silent += some
        monitor.kill()
        self._killed_s = self._feed.now_s()
        self._say(
            f"monitor {number}, which leads and owns {outcome.owned_before:,}, is killed (SIGKILL); {len(some)} of the "
            f"instances that beat to it fall silent"
        )

    def _owned(self) -> int:
        return sum(one.owned for one in self._standings.values())

    def _is_over(self) -> bool:
        if self._outcome.taken_after_s is None or self._outcome.leader is None:
            return False
        found = {one["instance_id"] for one in self._watching.losses()}
        return all(one.name in found for one in self._outcome.silent)

    def _judge(self) -> None:
        """Compares what was reported with what has happened."""
        outcome = self._outcome
        silent = {one.name: one for one in outcome.silent}
        began_ms = (time.time() - self._feed.now_s()) * 1000
        for loss in self._watching.losses():
            name = loss["instance_id"]
            member = self._feed.members[name]
            if name not in silent:
                late = member.gap_s >= self._plan.timeout_s or member.answered_s is None
                (outcome.late_feed if late else outcome.falsely).append(name)
            elif name in outcome.lost:
                outcome.repeated.append(name)
            else:
                outcome.lost[name] = (loss["time_ms"] - began_ms) / 1000 - (member.answered_s or 0.0)
        outcome.owned_at_end = self._owned()
        outcome.elapsed_s = self._feed.now_s()


# -- the verdict


def complaints(plan: ClusterPlan, outcome: ClusterOutcome) -> list[str]:
    """Lists what was promised and did not hold."""
    found = []
    if missing := [one.name for one in outcome.silent if one.name not in outcome.lost]:
        found.append(f"fell silent and not reported: {_named(missing)}")
    if outcome.repeated:
        found.append(f"reported more than once: {_named(outcome.repeated)}")
    if outcome.falsely:
        found.append(f"reported although they kept beating: {_named(outcome.falsely)}")
    if outcome.late_feed:
        found.append(
            f"reported since this machine was too busy to let them beat in time: {_named(outcome.late_feed)}; give "
            f"fewer --services, or a longer --timeout"
        )
    if outcome.taken_after_s is None:
        found.append("not all instances of the killed monitor were taken over")
    elif outcome.owned_at_end != plan.services:
        found.append(f"the monitors own {outcome.owned_at_end:,} instances at the end, not {plan.services:,}")
    if outcome.leader is None:
        found.append("no other monitor leads")
    return found


def _named(names: list[str]) -> str:
    rest = len(names) - 5
    return f"{len(names):,} ({', '.join(names[:5])}{f' and {rest:,} more' if rest > 0 else ''})"


def text(plan: ClusterPlan, outcome: ClusterOutcome, wrong: list[str]) -> str:
    """The summary for people."""
    if outcome.interrupted:
        return "\ninterrupted; all processes were ended"
    kept = plan.services - len(outcome.silent)
    rows = {
        "fleet": f"{plan.services:,} instances, a beat every {plan.interval_s:g} s, timeout {plan.timeout_s:g} s; "
        f"{MONITORS} monitors, lease {plan.lease_s:g} s; {outcome.elapsed_s:.0f} s",
        "beats": f"{outcome.beats:,} answered; {outcome.retried:,} requests found no monitor and went to another one",
        "take-over": "not complete"
        if outcome.taken_after_s is None
        else f"{sum(outcome.taken.values()):,} instances, complete {outcome.taken_after_s:.1f} s after the kill",
        "leader": "none"
        if outcome.leader is None
        else f"monitor {outcome.leader}, {outcome.led_after_s:.1f} s after the kill of monitor {outcome.killed}",
        "losses": _losses(outcome),
        "verdict": "FAILED: " + "; ".join(wrong)
        if wrong
        else f"ok: each of the {len(outcome.silent)} that fell silent was reported once, and none of the {kept:,} "
        f"others",
    }
    return "\n".join(["", *(f"{name + ':':11}{row}" for name, row in rows.items())])


def _losses(outcome: ClusterOutcome) -> str:
    ages = sorted(outcome.lost.values())
    if not ages:
        return "none"
    return f"{len(ages)}, from {ages[0]:.1f} to {ages[-1]:.1f} s after the last beat"


def summary(plan: ClusterPlan, outcome: ClusterOutcome, wrong: list[str], status: int) -> dict[str, Any]:
    """The summary for programs."""
    plain = {name: value for name, value in vars(outcome).items() if name != "silent"}
    return {"summary": {**vars(plan), **plain, "fell_silent": len(outcome.silent), "wrong": wrong, "status": status}}
