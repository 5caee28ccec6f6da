# SPDX-License-Identifier: MIT
"""A simulated fleet for `heartfelt demo --monitor`: an instance's number decides what it is and what happens to it."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

SERVICES = (
    ("checkout", "shop", 14), ("catalog", "shop", 22), ("cart", "shop", 12), ("payment", "billing", 8),
    ("invoice", "billing", 4), ("ledger", "billing", 3), ("search", "shop", 10), ("recommend", "shop", 9),
    ("mailer", "notify", 5), ("push", "notify", 4), ("auth", "identity", 6), ("gateway", "edge", 3),
)  # fmt: skip
VERSIONS = ("2.2.0", "2.2.0", "2.2.1", "2.2.1", "2.3.0-rc1")
PLUGINS = ("flow-control", "service-registry", "router", "loadbalancer", "monitor")

# The fate of an instance, by its number modulo 100.
STOPPING, FLAPPING, LEAVING, STUCK, SLOW = (
    frozenset({7, 61}),
    frozenset({23}),
    frozenset({42}),
    frozenset({88}),
    frozenset({55}),
)
FIRST_S, EVERY_S = 20.0, 180.0
"""Incidents begin FIRST_S after the start, spread over EVERY_S, and repeat every EVERY_S."""


@dataclass
class Simulated:
    """One instance."""

    number: int
    service: str
    head: dict[str, Any]
    due_s: float
    interval_s: float
    beats: int = 0
    last_ms: int = 0
    gone: bool = False

    def fate(self, now_s: float) -> str:
        """Returns what happens at this time after the start: "stopped", "left", "stuck", or ""."""
        kind = self.number % 100
        since = now_s - FIRST_S - (self.number * 7919) % int(EVERY_S)
        if since < 0:
            return ""
        phase = since % EVERY_S
        if kind in STOPPING and phase < 75:
            return "stopped"
        if kind in FLAPPING and phase < 100 and int(phase / 12.5) % 2 == 0:
            return "stopped"
        if kind in LEAVING and phase < 45:
            return "left"
        if kind in STUCK and phase < 60:
            return "stuck"
        return ""

    def beat(self, now_s: float, now_ms: int) -> dict[str, Any] | None:
        """Returns the heartbeat that is due now; None if the instance sends none."""
        self.due_s += self.interval_s
        if self.due_s < now_s:  # the feed itself was delayed: no burst
            self.due_s = now_s + self.interval_s
        fate = self.fate(now_s)
        if fate == "stopped" or (fate == "left" and self.gone):
            return None
        if fate == "left":
            self.gone = True
            return self._json(now_ms, lag_ms=0) | {"goodbye": True}
        if self.gone:  # a restart: another instance in its place
            self.gone, self.beats, self.last_ms = False, 0, 0
            self.head = self.head | {"instanceId": str(uuid.uuid4())}
        lag_ms = 1000 + int((now_s * 1000) % 60_000) if fate == "stuck" else (self.number * 13) % 40
        if fate == "stuck":
            lag_ms = 20_000 + lag_ms
        return self._json(now_ms, lag_ms=lag_ms)

    def _json(self, now_ms: int, *, lag_ms: int) -> dict[str, Any]:
        self.beats += 1
        last_ms, self.last_ms = self.last_ms, now_ms
        times = {"heartbeatTime": now_ms, "lastHeartbeatTime": last_ms or now_ms, "lagMs": lag_ms, "beat": self.beats}
        return self.head | times


S = TypeVar("S", bound=Simulated)


def make_fleet(
    count: int,
    interval_s: float,
    timeout_s: float,
    random_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    kind: type[S] = Simulated,  # type: ignore[assignment]
) -> list[S]:
    """Makes `count` instances of a dozen services; their beats are spread over the interval."""
    names = [(name, app) for name, app, weight in SERVICES for _ in range(weight)]
    fleet: list[S] = []
    for number in range(count):
        service, app = names[number % len(names)]
        host = f"node-{number % 97:02}.{app}.example"
        version = VERSIONS[number % len(VERSIONS)]
        plugins: dict[str, dict[str, Any]] = {
            name: {"name": name, "version": version} for name in PLUGINS[: 2 + number % 4]
        }
        if number % 3 == 0:
            plugins["flow-control"] = plugins["flow-control"] | {
                "extInfo": {"rules": str(number % 17), "mode": "local"}
            }
        head = {
            "hostName": host,
            "ip": [f"10.{20 + number % 3}.{number // 250 % 250}.{number % 250 + 1}"],
            "service": service,
            "appType": "python",
            "version": version,
            "instanceId": random_id(),
            "appName": app,
            "artifact": f"{service}-{1 + number % 4}.{number % 10}",
            "processId": str(1000 + number),
            "dynamicInstall": number % 11 == 0,
            "pluginInfoMap": plugins,
            "intervalMs": int(interval_s * 1000),
            "timeoutMs": int(timeout_s * 1000),
        }
        pace = interval_s * (1.6 if number % 100 in SLOW else 1.0)  # late now and then, but never lost
        fleet.append(kind(number, service, head, interval_s * number / count, pace))
    return fleet


def encode(beats: list[dict[str, Any]]) -> bytes:
    return json.dumps(beats, separators=(",", ":")).encode()
