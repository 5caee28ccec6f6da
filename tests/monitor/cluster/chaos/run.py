# SPDX-License-Identifier: MIT
"""A fleet of monitor processes on a Redis, agents that beat to it, and a seeded plan of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.monitor.cluster.chaos import story
from tests.monitor.cluster.chaos.agents import beating, make_groups, wall_ms
from tests.monitor.redis.partition import Partition
from tests.monitor.redis.servers import RedisServer, free_port
from tests.monitor.serving import Serving

TIMEOUT_S = 4.0
LEASE_S = 2.0
EVERY_S = 1.0
SETTINGS = {
    "lease_timeout": f"{TIMEOUT_S} s", "hold_enable": "false", "cluster_lease": f"{LEASE_S} s", "redis_timeout": "1 s",
    "cluster_comeback": "3 s", "webhooks_allow_private": "true", "tcp_enable": "false", "udp_enable": "false",
    "lease_cache": "1 h",
}  # fmt: skip


class Receiver:
    """A webhook's receiver: keeps each message once, by its idempotency key."""

    def __init__(self):
        self.messages = {}
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.messages.setdefault(self.headers["Idempotency-Key"], body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.server.server_port}/"

    def end(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


class ChaosFleet:
    def __init__(self, folder, n=3):
        self.folder = folder
        self.redis = RedisServer(folder / "redis", appendonly="yes", appendfsync="always")
        self.partitions = [Partition(self.redis.port) for _ in range(n)]
        """Between each monitor and Redis."""
        self.ports = [free_port() for _ in range(n)]
        self.monitors = [None] * n
        self.logs = []
        for k in range(n):
            self.start(k)

    def start(self, k):
        self.monitors[k] = Serving(
            "--store", self.partitions[k].url, data=self.folder / f"m{k}", http_port=self.ports[k], **SETTINGS
        )
        self.monitors[k].wait_ready()

    def kill(self, k):
        self.monitors[k].process.kill()
        self.monitors[k].wait()
        self.logs.append(self.monitors[k].log)

    def signal(self, k, number):
        self.monitors[k].process.send_signal(number)

    def all_changes(self):
        found, before = [], None
        while True:
            page = self.monitors[0].json("/api/v1/changes", limit=1000, before=before)
            found += page["changes"]
            before = page["before"]
            if before is None:
                return found

    def end(self):
        for monitor in self.monitors:
            with contextlib.suppress(Exception):
                monitor.process.send_signal(signal.SIGCONT)
                monitor.process.terminate()
        for monitor in self.monitors:
            monitor.end()
            self.logs.append(monitor.log)
        self.redis.end()
        for partition in self.partitions:
            partition.end()


def plan_of(seed, until_s, n):
    """Returns what goes wrong: (at, what, monitor, for how long), one thing at a time."""
    rng = random.Random(seed)
    plan, at_s = [], 8.0
    while at_s < until_s - 20:
        what = rng.choice(["kill", "stop", "short stop", "cut", "deaf", "redis kill", "redis stop"])
        lasts_s = {
            "kill": rng.uniform(1, 6), "stop": rng.uniform(1.5, 4) * LEASE_S, "short stop": 0.8,
            "cut": rng.uniform(0.5, 4) * LEASE_S, "deaf": rng.uniform(0.5, 4) * LEASE_S,
            "redis kill": rng.uniform(0, 3), "redis stop": rng.uniform(0.5, 3) * LEASE_S,
        }[what]  # fmt: skip
        plan.append((at_s, what, rng.randrange(n), lasts_s))
        at_s += lasts_s + rng.uniform(4, 8)
    return plan


async def do(fleet, plan, began_s, log):
    for at_s, what, k, lasts_s in plan:
        await asyncio.sleep(max(0.0, began_s + at_s - time.monotonic()))
        log.append((round(time.monotonic() - began_s, 1), what, k, round(lasts_s, 1)))
        if what == "kill":
            await asyncio.to_thread(fleet.kill, k)
            await asyncio.sleep(lasts_s)
            await asyncio.to_thread(fleet.start, k)
        elif what in ("cut", "deaf"):
            fleet.partitions[k].cut(answers=what == "deaf")
            await asyncio.sleep(lasts_s)
            fleet.partitions[k].heal()
        elif what == "redis kill":
            fleet.redis.process.kill()
            fleet.redis.process.wait()
            await asyncio.sleep(lasts_s)
            await asyncio.to_thread(fleet.redis.start)
        elif what == "redis stop":
            fleet.redis.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(lasts_s)
            fleet.redis.process.send_signal(signal.SIGCONT)
        else:
            fleet.signal(k, signal.SIGSTOP)
            await asyncio.sleep(lasts_s)
            fleet.signal(k, signal.SIGCONT)


def run(folder, seed, *, instances, seconds, per_group=50):
    """Returns what must be empty, by name, and facts."""
    fleet, receiver = ChaosFleet(folder), Receiver()
    try:
        body = {"kind": "generic", "url": receiver.url, "filter": {"states": ["LOST"]}}
        made = fleet.monitors[0].post("/api/v1/webhooks", body)
        assert made.status == 201, made.body
        ports = [lambda k=k: fleet.ports[k] for k in range(3)]
        groups = make_groups(instances, per_group, ports, seed, seconds, EVERY_S, TIMEOUT_S)
        everyone = [one for group in groups for one in group.instances]
        plan, log = plan_of(seed, seconds, 3), []

        async def main():
            async with beating(groups, seconds) as began_s:
                await do(fleet, plan, began_s, log)

        asyncio.run(main())
        late_ms = int((TIMEOUT_S / 4 + 2 * LEASE_S + 3 + 8) * 1000)
        end_ms = wall_ms()
        time.sleep(TIMEOUT_S + late_ms / 1000)
        changes = story.by_instance(fleet.all_changes())
        losses = sum(change["new"] == "LOST" for some in changes.values() for change in some)
        give_up = time.monotonic() + 30
        while True:
            told, seqs = told_in(list(receiver.messages.values()))
            if told >= losses or time.monotonic() > give_up:
                break
            time.sleep(0.5)
        wrong = {
            "broken chains": story.broken_chains([one for some in changes.values() for one in some]),
            "false losses": story.false_losses(changes, everyone, TIMEOUT_S * 1000),
            "missed losses": story.missed_losses(changes, everyone, TIMEOUT_S * 1000, late_ms, end_ms),
            "untold or told twice": [] if told == losses else [(told, losses)],
            "in two messages": [seq for seq in set(seqs) if seqs.count(seq) > 1],
        }
        facts = {
            "plan": log, "losses": losses, "beats": sum(len(one.beats) for one in everyone),
            "messages": len(receiver.messages),
            "unknown": [one.name for one in everyone if one.beats and one.name not in changes],
            "stats": [one.json("/api/v1/stats")["parts"]["ownership"] for one in fleet.monitors],
        }  # fmt: skip
        history = {"changes": changes, "beats": {one.name: one.beats for one in everyone}}
        (folder / "history.json").write_text(json.dumps(history))
        return wrong, facts
    finally:
        fleet.end()
        receiver.end()
        (folder / "logs").write_text("\n=====\n".join(fleet.logs))


def told_in(messages):
    """How many losses the messages are about, and the seqs of those that have a message of their own."""
    return sum(one.get("count") or 1 for one in messages), [one["seq"] for one in messages if "seq" in one]
