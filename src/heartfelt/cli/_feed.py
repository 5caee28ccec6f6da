# SPDX-License-Identifier: MIT
"""`heartfelt demo --monitor URL`: feeds a monitor with a simulated fleet, over HTTP."""

from __future__ import annotations

import heapq
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from heartfelt.cli import Failed
from heartfelt.cli._client import ApiClient
from heartfelt.cli._fleet import Simulated, encode, make_fleet
from heartfelt.cli._progress import Progress

BATCH = 500  # beats in one request
TICK_S = 0.1
PATIENCE_S = 120.0  # a monitor that has not answered for this long ends the feed
JOBS = (("jobs/backup-db", 40.0, 3), ("jobs/rotate-logs", 25.0, 0), ("jobs/send-digests", 60.0, 4))
"""Key, period in seconds, n: every n-th run fails, with 0 none does."""


@dataclass
class Fed:
    """Counters of a feed."""

    beats: int = 0
    requests: int = 0
    goodbyes: int = 0
    pings: int = 0
    missed: int = 0
    """Beats that the monitor did not accept."""
    failures: int = 0
    last_failure: str = ""


class BeatFeed:
    """Sends the beats that are due, on one connection, from one thread."""

    def __init__(
        self, client: ApiClient, fleet: Sequence[Simulated], jobs: Sequence[tuple[str, float, int]] = JOBS
    ) -> None:
        self._client = client
        self._kinds = jobs
        self._due = [(one.due_s, one.number, one) for one in fleet]
        heapq.heapify(self._due)
        self._jobs = [[3.0 + 2 * n, 0] for n in range(len(jobs))]
        self._failing_since: float | None = None
        self.fed = Fed()

    def step(self, now_s: float) -> None:
        """Sends what is due `now_s` after the start. Raises Failed if the monitor refuses, or is away for long."""
        beats = []
        now_ms = time.time_ns() // 1_000_000
        while self._due and self._due[0][0] <= now_s:
            _, number, one = self._due[0]
            beat = one.beat(now_s, now_ms)
            heapq.heapreplace(self._due, (one.due_s, number, one))
            if beat is not None:
                beats.append(beat)
        for begin in range(0, len(beats), BATCH):
            self._send(beats[begin : begin + BATCH], now_s)
        for n, (key, period_s, fails) in enumerate(self._kinds):
            if self._jobs[n][0] <= now_s:
                self._jobs[n][0] = now_s + period_s
                self._jobs[n][1] += 1
                failed = fails and self._jobs[n][1] % fails == 0
                self._ping(key, "/start", b"", now_s)
                self._ping(key, "/fail" if failed else "/ok", b"disk full" if failed else b"done", now_s)

    def _send(self, beats: list[dict[str, Any]], now_s: float) -> bool:
        """Returns whether the monitor accepted them."""
        accepted = self._try("/api/v1/beats", encode(beats), now_s)
        if accepted:
            self.fed.requests += 1
            self.fed.beats += len(beats)
            self.fed.goodbyes += sum("goodbye" in beat for beat in beats)
        else:
            self.fed.missed += len(beats)
        return accepted

    def _ping(self, key: str, suffix: str, body: bytes, now_s: float) -> None:
        self.fed.pings += self._try(f"/ping/{quote(key, safe='')}{suffix}", body, now_s)

    def _try(self, path: str, body: bytes, now_s: float) -> bool:
        try:
            self._client.send("POST", path, None, body)
        except Failed as error:
            if error.status is not None and error.status not in (429, 500, 503):
                raise
            self.fed.failures += 1
            self.fed.last_failure = str(error)
            if self._failing_since is None:
                self._failing_since = now_s
            elif now_s - self._failing_since > PATIENCE_S:
                raise
            return False
        self._failing_since = None
        return True


def run(
    url: str, *, instances: int, interval_s: float, timeout_s: float, duration_s: float | None, as_json: bool,
    token_file: str | None = None, token_env: str | None = None, ca: str | None = None,
) -> int:  # fmt: skip
    """Feeds the monitor for `duration_s`, or until interrupted. Returns 0 if the monitor accepted beats."""
    fleet: list[Simulated] = make_fleet(instances, interval_s, timeout_s)
    progress = Progress()
    began = time.monotonic()
    with ApiClient(url, token_file=token_file, token_env=token_env, ca=ca, timeout_s=10) as client:
        feed = BeatFeed(client, fleet)
        if not as_json:
            print(
                f"feeding {url} with {instances:,} simulated instances, a beat every {interval_s:g} s; Ctrl-C ends it"
            )
        try:
            while duration_s is None or time.monotonic() - began < duration_s:
                feed.step(time.monotonic() - began)
                _show(progress, feed.fed, time.monotonic() - began)
                time.sleep(TICK_S)
        except KeyboardInterrupt:
            pass  # the usual end of a feed without a duration
        finally:
            progress.clear()
    fed = feed.fed
    summary = {"instances": instances, "elapsed": time.monotonic() - began, **vars(fed)}
    if as_json:
        print(json.dumps({"summary": summary}))
    else:
        print(f"sent {fed.beats:,} beats in {fed.requests:,} requests, {fed.goodbyes:,} goodbyes, {fed.pings:,} pings")
        if fed.failures:
            print(
                f"not accepted: {fed.missed:,} beats, in {fed.failures:,} failed requests; the last: {fed.last_failure}"
            )
    return 0 if fed.beats else 1


def _show(progress: Progress, fed: Fed, elapsed_s: float) -> None:
    if progress.live:
        failing = f"   not accepted {fed.missed:,}" if fed.missed else ""
        progress.show(f"{elapsed_s:6.1f} s   beats {fed.beats:,}   goodbyes {fed.goodbyes:,}{failing}")
