# SPDX-License-Identifier: MIT
"""Simulated instances that beat to one of several monitors, and to another one once theirs does not answer."""

from __future__ import annotations

import random
import threading
import time
from dataclasses import dataclass
from typing import Any

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.cli._feed import TICK_S, BeatFeed, Fed
from heartfelt.cli._fleet import Simulated, make_fleet

ANSWER_S = 2.0
"""How long an agent waits for its monitor's answer before it goes to another one."""
JOIN_S = 10.0


@dataclass
class ClusterInstance(Simulated):
    """An instance that beats until it is told to fall silent. Times are in seconds since the start."""

    silent_s: float | None = None
    answered_s: float | None = None
    """When its last beat was answered."""
    gap_s: float = 0.0
    """The longest time between two answered beats."""

    @property
    def name(self) -> str:
        return str(self.head["instanceId"])

    def fate(self, now_s: float) -> str:
        return "stopped" if self.silent_s is not None and now_s >= self.silent_s else ""

    def note(self, now_s: float) -> None:
        """Notes that a beat was answered."""
        if self.answered_s is not None:
            self.gap_s = max(self.gap_s, now_s - self.answered_s)
        self.answered_s = now_s


class RovingFeed(BeatFeed):
    """Beats of the instances of one machine, say, all to the same monitor."""

    def __init__(self, urls: list[str], at: int, members: list[ClusterInstance]) -> None:
        super().__init__(ApiClient(urls[at], timeout_s=ANSWER_S), list(members), jobs=())
        self.members = members
        self.at = at
        """The number of its monitor, from 0."""
        self.moves = 0
        self._urls = urls
        self._random = random.Random(members[0].number)
        self._by_name = {one.name: one for one in members}

    def close(self) -> None:
        self._client.close()

    def _send(self, beats: list[dict[str, Any]], now_s: float) -> bool:
        began_s = time.monotonic()
        accepted = super()._send(beats, now_s)
        if accepted:
            now_s += time.monotonic() - began_s
            for beat in beats:
                self._by_name[beat["instanceId"]].note(now_s)
        return accepted

    def _try(self, path: str, body: bytes, now_s: float) -> bool:
        for _ in self._urls:
            if super()._try(path, body, now_s):
                return True
            self._move()
        return False

    def _move(self) -> None:
        self.moves += 1
        self.at = (self.at + self._random.randrange(1, len(self._urls))) % len(self._urls)
        self._client.close()
        self._client = ApiClient(self._urls[self.at], timeout_s=ANSWER_S)


class ClusterFeed:
    """All instances, in groups, each with a thread and a monitor to begin with."""

    def __init__(self, urls: list[str], count: int, interval_s: float, timeout_s: float, groups: int) -> None:
        fleet = make_fleet(count, interval_s, timeout_s, kind=ClusterInstance)
        groups = min(groups, count)
        self.feeds = [RovingFeed(urls, n % len(urls), fleet[n::groups]) for n in range(groups)]
        self.members = {one.name: one for one in fleet}
        self.failure = ""
        self._ended = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(one,), name="heartfelt-demo") for one in self.feeds]

    def start(self) -> None:
        self._began_s = time.monotonic()
        for one in self._threads:
            one.start()

    def now_s(self) -> float:
        return time.monotonic() - self._began_s

    def silence(self, count: int, at: int | None = None) -> list[ClusterInstance]:
        """Lets some instances fall silent from now on, if given, of those that beat to this monitor."""
        chosen = [one for feed in self.feeds if at in (None, feed.at) for one in feed.members if one.silent_s is None]
        some = random.Random(count).sample(chosen, min(count, len(chosen) // 2))
        for one in some:
            one.silent_s = self.now_s()
        return some

    def fed(self) -> Fed:
        """Returns the sums of all groups."""
        every = [feed.fed for feed in self.feeds]
        return Fed(
            beats=sum(one.beats for one in every),
            requests=sum(one.requests for one in every),
            missed=sum(one.missed for one in every),
            failures=sum(one.failures for one in every),
        )

    def end(self) -> None:
        self._ended.set()
        for one in self._threads:
            if one.ident is not None:
                one.join(JOIN_S)
        for feed in self.feeds:
            feed.close()

    def _run(self, feed: RovingFeed) -> None:
        try:
            while not self._ended.wait(TICK_S):
                feed.step(self.now_s())
        except Failed as error:
            self.failure = str(error)
