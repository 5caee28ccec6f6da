# SPDX-License-Identifier: MIT
"""Simulated agents: they beat over HTTP from a thread of their own, until one is told to stop."""

from __future__ import annotations

import json
import threading
import time

EVERY_S = 0.25
SHORT_MS, LONG_MS = 1_500, 120_000
"""Leases: of one that is to be lost, and of one that must not be, however busy this machine is."""


def described(service, instance_id, **fields):
    """A heartbeat with everything that an agent tells."""
    return {
        "service": service,
        "instanceId": instance_id,
        "appName": f"{service}-app",
        "hostName": f"host-of-{instance_id}.example",
        "ip": ["10.0.0.7"],
        "version": "2.3.0",
        "artifact": f"{service}-1.0",
        "processId": "4711",
        "appType": "python",
        "dynamicInstall": False,
        "pluginInfoMap": {"flow-control": {"name": "flow-control", "version": "1.2.0", "extInfo": {"mode": "local"}}},
        "externalAgentInfoMap": {"other-agent": {"name": "other-agent", "version": "0.9"}},
        "intervalMs": int(EVERY_S * 1000),
        "timeoutMs": LONG_MS,
        **fields,
    }


class Fleet:
    """Agents of one monitor. All methods are for one thread; the beats come from another."""

    def __init__(self, monitor, token=None):
        self._monitor = monitor
        self._token = token
        self._agents = {}
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self.failures = []
        self._thread = threading.Thread(target=self._run, name="fleet")
        self._thread.start()

    def join(self, service, instance_id, **fields):
        """It beats from now on: two beats at once, so that it is UP when this returns."""
        beat = described(service, instance_id, **fields)
        for _ in range(2):
            self._send([beat])
        with self._lock:
            self._agents[service, instance_id] = beat

    def join_many(self, service, count, **fields):
        beats = [described(service, f"{service}-{n:04}", **fields) for n in range(count)]
        for _ in range(2):
            self._send(beats)
        with self._lock:
            self._agents.update({(service, beat["instanceId"]): beat for beat in beats})

    def stop(self, service, instance_id):
        """No beat any more, no goodbye."""
        with self._lock:
            self._agents.pop((service, instance_id))

    def leave(self, service, instance_id):
        """A goodbye."""
        self.stop(service, instance_id)
        self._send([{"service": service, "instanceId": instance_id, "goodbye": True}])

    def _run(self):
        while not self._ended.wait(EVERY_S):
            now_ms = time.time_ns() // 1_000_000
            with self._lock:
                beats = [beat | {"heartbeatTime": now_ms, "lagMs": 3} for beat in self._agents.values()]
                if not beats:
                    continue
                try:  # under the lock: after stop() has returned no beat is under way
                    self._send(beats)
                except (OSError, AssertionError) as error:
                    self.failures.append(error)  # a test may end its monitor

    def _send(self, beats):
        body = json.dumps(beats).encode()
        headers = {"Content-Type": "application/json"}
        answer = self._monitor.request("POST", "/api/v1/beats", body, token=self._token, headers=headers)
        assert answer.status in (200, 202), answer.body

    def end(self):
        self._ended.set()
        self._thread.join(30)
        assert not self._thread.is_alive()
