# SPDX-License-Identifier: MIT
"""A fleet of `heartfelt serve` processes on one redis-server, as a user sees it."""

from __future__ import annotations

import contextlib
import json
import threading
import time

from tests.monitor.redis.servers import RedisServer
from tests.monitor.serving import Serving, until

SETTINGS = {
    "tcp_enable": "false", "udp_enable": "false", "hold_enable": "false", "lease_cache": "1 h", "cluster_lease": "2 s",
    "cluster_comeback": "2 s", "redis_timeout": "1 s", "webhooks_allow_private": "true",
}  # fmt: skip


class WholeFleet:
    """settings: of all monitors. each: more settings for each of them."""

    def __init__(self, folder, n=3, each=(), redis=None, token=None, **settings):
        self.folder, self.token = folder, token
        self.redis = RedisServer(folder / "redis") if redis is None else redis
        self.settings = SETTINGS | settings
        self.monitors = []
        try:
            for k in range(n):
                more = each[k] if k < len(each) else {}
                data = folder / f"m{k}"
                one = Serving("--store", self.redis.url, data=data, **{**self.settings, **more})
                self.monitors.append(one)
            for one in self.monitors:
                one.wait_ready()
            until(self.is_whole, "a whole fleet")
        except BaseException:
            self.end()
            raise

    def is_whole(self):
        n = len(self.monitors)
        return all(self.part(one, "channel", self.token)["outgoing"] == n - 1 for one in self.monitors)

    @staticmethod
    def part(monitor, name, token=None):
        return monitor.json("/api/v1/stats", token=token)["parts"][name]

    def end(self):
        for one in self.monitors:
            with contextlib.suppress(OSError):
                one.process.terminate()
        for one in self.monitors:
            one.end()
        self.redis.end()


class Viewer:
    """Reads a monitor's stream in a thread."""

    def __init__(self, monitor, *, token=None, topics=()):
        self.messages = []
        self.ended = threading.Event()
        self._connection, self._answer = monitor.open_stream(token=token, topics=topics)
        self.status = self._answer.status
        self._thread = threading.Thread(target=self._read)
        self._thread.start()

    def _read(self):
        name = None
        with contextlib.suppress(Exception):
            for line in self._answer:
                what, _, value = line.decode().rstrip("\r\n").partition(":")
                if what == "event":
                    name = value.strip()
                elif what == "data":
                    self.messages.append((name, json.loads(value)))
        self.ended.set()

    def of(self, topic):
        return [data for name, data in list(self.messages) if name == topic]

    def end(self):
        with contextlib.suppress(Exception):
            self._connection.sock.shutdown(2)
        self._connection.close()
        self._thread.join(30)


class Beating:
    """Beats for instances of `service`, each at the monitor that `place` gives, and measures how long answers take."""

    def __init__(self, monitors, names, *, service="shop", every_s=0.3, timeout_ms=4000, place=lambda n, k: n, **more):
        self.monitors, self.names, self.service = monitors, names, service
        self.every_s, self.timeout_ms, self.place, self.more = every_s, timeout_ms, place, more
        self.took = []
        """(when, how long it took, status)"""
        self.gap_s = 0.0
        """The longest time between two beats of an instance: on a busy machine, longer than it should be."""
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self):
        k, last_s = 0, {}
        while not self._ends.is_set():
            for n, name in enumerate(self.names):
                monitor = self.monitors[self.place(n, k) % len(self.monitors)]
                began_s = time.monotonic()
                body = {"service": self.service, "instanceId": name, "timeoutMs": self.timeout_ms, **self.more}
                with contextlib.suppress(OSError):
                    answer = monitor.post("/api/v1/beats", body)
                    now_s = time.monotonic()
                    self.took.append((began_s, now_s - began_s, answer.status))
                    self.gap_s = max(self.gap_s, now_s - last_s.get(name, now_s))
                    last_s[name] = now_s
            k += 1
            self._ends.wait(self.every_s)

    def end(self):
        self._ends.set()
        self._thread.join(60)
