# SPDX-License-Identifier: MIT
"""A plain model of uptime: it writes down who went to which state when, and adds all of it up at the end."""

from __future__ import annotations

import itertools
from collections import defaultdict

from heartfelt.monitor.model import State

DAY_MS = 86_400_000
UP = {State.NEW, State.UP, State.LATE}
DOWN = {State.LOST, State.FAILED, State.STUCK}


class UptimeModel:
    """Times are whole ms of the monotonic clock."""

    def __init__(self, min_up):
        self.min_up = min_up
        self.entries = []  # (time, service, instance, state)
        self.clocks = []  # (time, ms that the wall clock is ahead)
        self.gaps = []  # (begin, end): the monitor did not run, or what it knew of that time was not stored

    def saw(self, time, service, instance, state):
        self.entries.append((time, service, instance, state))

    def set_clock(self, time, ahead):
        self.clocks.append((time, ahead))

    def not_watched(self, begin, end):
        self.gaps.append((begin, end))

    def days(self, until):
        """{(day, service): [watched, up, observed, available]} in ms."""
        found = defaultdict(lambda: [0, 0, 0, 0])
        for service in {service for _, service, _, _ in self.entries}:
            self._add(service, until, found)
        return {key: times for key, times in found.items() if any(times)}

    def _add(self, service, until, found):
        mine = [(time, instance, state) for time, its, instance, state in self.entries if its == service]
        cuts = {time for time, _, _ in mine} | {until}
        cuts |= {time for time, _ in self.clocks} | {time for gap in self.gaps for time in gap}
        for time, ahead in self.clocks:  # each midnight that this setting of the clock could show
            first = (time + ahead) // DAY_MS
            cuts |= {day * DAY_MS - ahead for day in range(first, (until + ahead) // DAY_MS + 1)}
        cuts = sorted(cut for cut in cuts if self.clocks[0][0] <= cut <= until)
        for begin, end in itertools.pairwise(cuts):
            if any(gap_begin <= begin < gap_end for gap_begin, gap_end in self.gaps):
                continue
            states = {instance: state for time, instance, state in mine if time <= begin}  # the last entry counts
            n_up = sum(state in UP for state in states.values())
            n_down = sum(state in DOWN for state in states.values())
            ahead = [ahead for time, ahead in self.clocks if time <= begin][-1]
            times = found[((begin + ahead) // DAY_MS, service)]
            times[0] += (end - begin) * (n_up + n_down)
            times[1] += (end - begin) * n_up
            if n_up + n_down:
                times[2] += end - begin
                times[3] += (end - begin) * (n_up >= self.min_up.get(service, 1))
