# SPDX-License-Identifier: MIT
"""A process for test_stalls.py to stop, starve and deceive.

stalled.py GUARD N_KEYS TIMEOUTS... [hold_gil=SECONDS]: one hub for each TIMEOUTS, a comma-separated list of seconds,
with N_KEYS of each timeout. A thread for each timeout beats its keys every quarter of it. "begin" tells that they do.
From "end" on stdin on, ten keys of each are beaten no more; when these are found, it prints what happened and ends.
"""

from __future__ import annotations

import ctypes
import json
import select
import sys
import threading
import time

from heartfelt import EventType, HeartHub

GUARDS = {"on": True, "gil": "gil", "off": False}
SHARE = 4  # of a timeout: how often a key is beaten


def sleep(seconds):
    """Not time.sleep, which fails where libfaketime steps the clock."""
    select.select([], [], [], seconds)


class Group:
    """The keys of one timeout."""

    def __init__(self, hub, timeout, n_keys):
        self.hub, self.timeout = hub, timeout
        self.keys = [f"{timeout}/{n}" for n in range(n_keys)]
        self.dying = self.keys[:: max(1, n_keys // 10)]
        self.last_beat = time.monotonic()
        self.longest_gap = 0.0  # at most: from before one pass until after the next
        self.passes = 0
        hub.heartbeat_many(self.keys, timeout=timeout)

    def beat(self, stop, dead):
        while not stop.is_set():
            sleep(self.timeout / SHARE)
            if dead.is_set():
                self.keys = [key for key in self.keys if key not in set(self.dying)] if self.dying else self.keys
            before = time.monotonic()
            self.hub.heartbeat_many(self.keys)
            self.longest_gap = max(self.longest_gap, time.monotonic() - self.last_beat)
            self.last_beat = before
            self.passes += 1


def inconsistent(event, stalled_s):
    """Checks whether a TIME_OUT's times do not fit each other, to the microsecond. `stalled_s`: the time that stalls of
    its hub may have added to the deadline."""
    return (
        not -1e-6 <= event.deadline - event.beat_time - event.timeout <= stalled_s + 1e-6
        or not event.join_time <= event.beat_time <= event.event_time
        or not 0 <= event.lateness < 60
    )  # fmt: skip


def main():
    guard, n_keys, *lists = sys.argv[1:]
    hold_s = next((float(word.split("=")[1]) for word in lists if word.startswith("hold_gil=")), 0.0)
    hubs, groups = [], []
    for timeouts in (word for word in lists if "=" not in word):
        hubs.append(HeartHub(60, subscribe={EventType.TIME_OUT, EventType.STALL}, stall_guard=GUARDS[guard]))
        groups += [Group(hubs[-1], float(timeout), int(n_keys)) for timeout in timeouts.split(",")]
    stop, dead = threading.Event(), threading.Event()
    offset_s = time.time() - time.monotonic()
    beaters = [threading.Thread(target=group.beat, args=(stop, dead)) for group in groups]
    for thread in beaters:
        thread.start()
    while not all(group.passes >= 2 for group in groups):
        sleep(0.001)
    print("begin", flush=True)
    if hold_s:
        ctypes.PyDLL(None).usleep(int(hold_s * 1e6))
        sleep(0.2)
    sys.stdin.readline()
    wall_stepped_s = time.time() - time.monotonic() - offset_s
    # Whatever is said of the beaten keys was said by now, or will be before any of the dying ones can be found.
    events = [[] for _ in hubs]
    dying = {key for group in groups for key in group.dying}
    false = sum(1 for hub, got in zip(hubs, events, strict=True) for event in hub.events.get_many(1 << 30, timeout=0)
                if not got.append(event) and event.type is EventType.TIME_OUT)  # fmt: skip
    if false:  # they have joined anew meanwhile, with other terms; what was asked is answered
        dying = set()
    dead.set()
    found, worst_s = {}, 0.0
    give_up = time.monotonic() + 20
    while not dying <= found.keys() and time.monotonic() < give_up:
        for hub, got in zip(hubs, events, strict=True):
            for event in hub.events.get_many(1 << 30, timeout=0.01):
                got.append(event)
                if event.type is not EventType.TIME_OUT:
                    continue
                if event.key in dying:
                    found[event.key] = event
                    worst_s = max(worst_s, event.lateness)
                else:
                    false += 1
    stop.set()
    for thread in beaters:
        thread.join()
    stalled_s = [sum(e.timeout for e in got if e.type is EventType.STALL) for got in events]
    print(json.dumps({
        "false": false,
        "unbeaten": [group.timeout for group in groups if group.longest_gap >= group.timeout],
        "stalls": [[[round(e.timeout, 6), e.missed] for e in got if e.type is EventType.STALL] for got in events],
        "dead": len(dying),
        "dead_found": len(found),
        "worst_s_after_due": worst_s,
        "wall_stepped_s": wall_stepped_s,
        "inconsistent": sum(
            inconsistent(e, most_s)
            for got, most_s in zip(events, stalled_s, strict=True)
            for e in got
            if e.type is EventType.TIME_OUT
        ),
    }), flush=True)  # fmt: skip
    for hub in hubs:
        hub.close()


if __name__ == "__main__":
    main()
