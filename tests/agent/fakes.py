# SPDX-License-Identifier: MIT
"""A line that sends nothing, and remembers what it was told."""

from __future__ import annotations

import json
import threading
import time

from heartfelt.agent.line import LineStats

LONG_S = 40.0


class FakeLine:
    def __init__(self, plan):
        self.plan = plan
        self.heads = []
        self.calls = []
        self.goodbye = None
        self.changed = threading.Condition()

    def _tell(self, call):
        with self.changed:
            self.calls.append(call)
            self.changed.notify_all()

    def start(self):
        self._tell("start")

    def set_head(self, head):
        with self.changed:
            self.heads.append(json.loads(head + b"}"))
            self.changed.notify_all()
        self._tell("set_head")

    def refreshed(self):
        self._tell("refreshed")

    def beat_now(self):
        self._tell("beat_now")

    def close(self, goodbye, wait_s):
        self.goodbye = goodbye and json.loads(goodbye)
        self._tell("close")
        return True

    def abandon(self):
        self._tell("abandon")

    def stats(self):
        return LineStats(
            sender="fake", state="connected", beats=7, missed=1, refused=2, connects=3, failures=4, last_error="e",
            reconnect_s=0.5, max_late_ms=0.25,
        )  # fmt: skip

    @property
    def head(self):
        return self.heads[-1]

    def wait_for(self, predicate):
        end = time.monotonic() + LONG_S
        with self.changed:
            while not (value := predicate()):
                left = end - time.monotonic()
                assert left > 0, f"it did not come about: {self.calls[-5:]}, {self.heads[-1:]}"
                self.changed.wait(min(left, 0.05))
            return value
