# SPDX-License-Identifier: MIT
"""Many instances, and a monitor that could not run: nobody is lost who beat, and who stops is found.

HEARTFELT_FULL=1: 10,000 instances for 60 s, and a stall of 5 s.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

import pytest

from heartfelt.cli._client import ApiClient
from heartfelt.cli._fleet import encode, make_fleet
from tests.monitor.serving import until

FULL = os.environ.get("HEARTFELT_FULL") == "1"
INSTANCES, DURATION_S = (10_000, 60.0) if FULL else (2000, 6.0)
INTERVAL_S, LEASE_S = 3.0, 9.0
STALL_S = 5.0 if FULL else 2.5
posix_only = pytest.mark.skipif(sys.platform == "win32", reason="SIGSTOP")


class Beating:
    """Sends every instance's beats at its interval, from a thread, to the end; `silent` ones say nothing."""

    def __init__(self, url, count, interval_s, lease_s):
        self._fleet = make_fleet(count, interval_s, lease_s)
        self._client = ApiClient(url, timeout_s=60)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.silent = set()
        self.beats = 0
        self.longest_pause_s = 0.0
        self._began = time.monotonic()
        self._interval_s = interval_s

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._stop.set()
        self._thread.join()
        self._client.close()

    def name(self, number):
        return self._fleet[number].head["instanceId"]

    def _run(self):
        before = time.monotonic()
        while not self._stop.is_set():
            now_s = time.monotonic() - self._began
            due = [one for one in self._fleet if one.due_s <= now_s]
            for one in due:
                one.due_s = max(one.due_s + self._interval_s, now_s)
            beats = [one.head for one in due if one.number not in self.silent]
            for begin in range(0, len(beats), 200):
                self._client.send("POST", "/api/v1/beats", None, encode(beats[begin : begin + 200]))
            self.beats += len(beats)
            now = time.monotonic()
            self.longest_pause_s = max(self.longest_pause_s, now - before)
            before = now
            self._stop.wait(0.02)


def changes_to_lost(serving):
    found = serving.json("/api/v1/events", name="INSTANCE_LOST", limit=1000)["events"]
    return {one["instance_id"] for one in found}


def test_nobody_is_lost_who_beats_and_who_stops_is_found(serve):
    serving = serve()
    connection, _ = serving.open_stream()
    with Beating(serving.url, INSTANCES, INTERVAL_S, LEASE_S) as beating:
        until(lambda: serving.json("/api/v1/services")["all"]["total"] == INSTANCES, "all instances")
        end = time.monotonic() + DURATION_S
        until(lambda: time.monotonic() > end, "the end")
        assert beating.longest_pause_s < LEASE_S - INTERVAL_S, "the test itself could not beat"
        assert changes_to_lost(serving) == set()
        silent = {7, 77, 777}
        beating.silent = silent
        wanted = {beating.name(number) for number in silent}
        until(lambda: changes_to_lost(serving) == wanted, "the loss of those that stopped")
        assert beating.longest_pause_s < LEASE_S - INTERVAL_S, "the test itself could not beat"
        stats = serving.json("/api/v1/stats")["parts"]
        assert stats["registry"]["losses"] == len(silent)
        assert stats["store"]["dropped_changes"] == 0
    connection.close()


@posix_only
def test_who_beats_again_after_the_monitor_was_stopped_is_not_lost(serve):
    serving = serve()
    with Beating(serving.url, 200, 0.3, 1.5) as beating:
        until(lambda: serving.json("/api/v1/services")["all"]["total"] == 200, "all instances")
        serving.process.send_signal(signal.SIGSTOP)
        time.sleep(STALL_S)  # what is tested is this time
        serving.process.send_signal(signal.SIGCONT)
        seen = beating.beats
        until(lambda: beating.beats > seen + 2000, "beats")
        registry = serving.json("/api/v1/stats")["parts"]["registry"]
        assert registry["stalls"] >= 1
        assert changes_to_lost(serving) == set()
        assert registry["losses"] == 0
