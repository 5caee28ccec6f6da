# SPDX-License-Identifier: MIT
"""Values to put into a store, with what matters to a test given and the rest made up."""

from __future__ import annotations

import time

from msgspec import structs

from heartfelt.monitor.model import AgentEvent, Change, InstanceRow, Level, Run, RunResult, State
from heartfelt.monitor.reasons import make

NOON_MS = 1_763_812_800_000  # 2025-11-22 12:00 UTC
MINUTE_MS = 60_000
DAY_MS = 86_400_000
LOST = make("lost", silent_ms=60_000, timeout_ms=60_000, peer="10.0.0.1", last_beat_ms=NOON_MS)
LONG_S = 40  # a wait that ends at once if nothing is wrong


class Clock:
    """A wall clock that stands still until it is moved."""

    def __init__(self, ms: int = NOON_MS) -> None:
        self.ms = ms

    def __call__(self) -> int:
        return self.ms


def instance(id: int, **values: object) -> InstanceRow:
    given = {
        "service": "shop",
        "instance_id": f"i-{id}",
        "state": State.UP,
        "since_ms": NOON_MS,
        "reason": make("alive"),
        "first_seen_ms": NOON_MS - 1000,
        "last_beat_ms": NOON_MS,
        "meta": {"hostName": "h", "pluginInfoMap": {"p": {"name": "p", "version": "1"}}},
        "via": "sermant",
        "peer": "10.0.0.1:5000",
    }
    return InstanceRow(id=id, **{**given, **values})


def change(seq: int, **values: object) -> Change:
    given = {
        "time_ms": NOON_MS + seq,
        "id": seq,
        "service": "shop",
        "instance_id": f"i-{seq}",
        "old": State.UP,
        "new": State.LOST,
        "level": Level.IMPORTANT,
        "reason": LOST,
        "ip": "10.0.0.1",
    }
    return Change(seq=seq, **{**given, **values})


def unnumbered(one: Change) -> Change:
    """The change without its seq, which some stores give."""
    return structs.replace(one, seq=0)


def a_run(number: int, **values: object) -> Run:
    given = {"id": 1, "rid": "", "begin_ms": NOON_MS, "end_ms": NOON_MS + 5, "result": RunResult.OK}
    return Run(number=number, **{**given, **values})


def event(n: int, **values: object) -> AgentEvent:
    given = {
        "time_ms": NOON_MS + n,
        "received_ms": NOON_MS + n,
        "service": "shop",
        "instance_id": "i-1",
        "ip": "10.0.0.1",
        "scope": "framework",
        "level": Level.NORMAL,
        "type": "OPERATION",
        "info": {"name": "SERMANT_START", "description": f"event {n}"},
    }
    return AgentEvent(**{**given, **values})


def until(condition, what: str) -> None:
    """Polls until it holds, for at most LONG_S."""
    end = time.monotonic() + LONG_S
    while not condition():
        assert time.monotonic() < end, f"waited {LONG_S} s for: {what}"
        time.sleep(0.005)
