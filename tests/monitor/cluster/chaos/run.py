# SPDX-License-Identifier: MIT
"""A fleet of monitor processes on a Redis, agents that beat to it, and a seeded plan of what goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import signal
import socket
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.monitor.cluster.chaos import story
from tests.monitor.cluster.chaos.agents import beating, make_groups, wall_ms
from tests.monitor.redis.partition import Partition
from tests.monitor.redis.servers import RedisServer
from tests.monitor.serving import Serving

TIMEOUT_S = 4.0
LEASE_S = 2.0
COMEBACK_S = 3.0
EVERY_S = 1.0
N = 3
"""Monitors."""
LATE_S = TIMEOUT_S / 4 + 2 * LEASE_S + 2 * COMEBACK_S + 5
"""A loss is told so long after its timeout at the latest, besides faults and a machine that is too busy."""
LATER_S = 60
TWICE_S = 3
TOLD_S = 150
"""A message that a monitor was sending when it was killed waits for the end of its claim (LEASE_MS)."""
SETTINGS = {
    "lease_timeout": f"{TIMEOUT_S} s", "cluster_lease": f"{LEASE_S} s", "redis_timeout": "1 s",
    "cluster_comeback": f"{COMEBACK_S} s", "webhooks_allow_private": "true", "tcp_enable": "false",
    "udp_enable": "false", "lease_cache": "1 h",
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

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def kept_port():
    """Returns a free port that no connection gets by chance while its monitor is down."""
    while True:
        with socket.socket() as one, contextlib.suppress(OSError):
            one.bind(("127.0.0.1", random.randrange(20_000, 32_000)))
            return one.getsockname()[1]


class ChaosFleet:
    """Use it as a context: whatever was started ends with it, and its logs are in the folder."""

    def __init__(self, folder, n=N, *, holds=False):
        self.folder = folder
        self.settings = SETTINGS | {"hold_enable": str(holds).lower()}
        self.ports = [kept_port() for _ in range(n)]
        self.monitors = [None] * n
        self.logs = []
        self._ends = contextlib.ExitStack()

    def __enter__(self):
        with contextlib.ExitStack() as ends:
            ends.callback(self._keep_logs)
            self.redis = RedisServer(self.folder / "redis", appendonly="yes", appendfsync="always")
            ends.callback(self.redis.end)
            self.partitions = []
            """Between each monitor and Redis."""
            for _ in self.ports:
                self.partitions.append(Partition(self.redis.port))
                ends.callback(self.partitions[-1].end)
            ends.callback(self._end_monitors)
            for k in range(len(self.ports)):
                self.start(k)
            self._ends = ends.pop_all()
        return self

    def __exit__(self, *error):
        self._ends.close()

    def start(self, k):
        self.monitors[k] = Serving(
            "--store", self.partitions[k].url, data=self.folder / f"m{k}", http_port=self.ports[k], **self.settings
        )
        self.monitors[k].wait_ready()

    def kill(self, k):
        self.monitors[k].process.kill()
        self.monitors[k].wait()
        self.logs.append(self.monitors[k].log)

    def signal(self, k, number):
        self.monitors[k].process.send_signal(number)

    def all_changes(self):
        """None: Redis could not be reached."""
        found, before = [], None
        while True:
            answer = self.monitors[0].get("/api/v1/changes", limit=1000, before=before)
            if answer.status != 200:
                return None
            found += answer.json["changes"]
            before = answer.json["before"]
            if before is None:
                return found

    def _end_monitors(self):
        for monitor in filter(None, self.monitors):
            with contextlib.suppress(ProcessLookupError):
                monitor.process.send_signal(signal.SIGCONT)
                monitor.process.terminate()
        for monitor in filter(None, self.monitors):
            monitor.end()
            self.logs.append(monitor.log)

    def _keep_logs(self):
        (self.folder / "logs").write_text("\n=====\n".join(self.logs))


def plan_of(seed, until_s, n=N, *, first_s=8.0, gaps_s=(4.0, 8.0), rest_s=20.0):
    """Returns what goes wrong: (at, what, monitor, for how long), one thing at a time, and nothing at the end."""
    rng = random.Random(seed)
    plan, at_s = [], first_s
    while at_s < until_s - rest_s:
        what = rng.choice(["kill", "stop", "short stop", "cut", "deaf", "redis kill", "redis stop"])
        lasts_s = {
            "kill": rng.uniform(1, 6), "stop": rng.uniform(1.5, 4) * LEASE_S, "short stop": 0.8,
            "cut": rng.uniform(0.5, 4) * LEASE_S, "deaf": rng.uniform(0.5, 4) * LEASE_S,
            "redis kill": rng.uniform(0, 3), "redis stop": rng.uniform(0.5, 3) * LEASE_S,
        }[what]  # fmt: skip
        plan.append((at_s, what, rng.randrange(n), lasts_s))
        at_s += lasts_s + rng.uniform(*gaps_s)
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
            fleet.redis.start()  # in this thread: it dies with the thread that has started it
        elif what == "redis stop":
            fleet.redis.process.send_signal(signal.SIGSTOP)
            await asyncio.sleep(lasts_s)
            fleet.redis.process.send_signal(signal.SIGCONT)
        else:
            fleet.signal(k, signal.SIGSTOP)
            await asyncio.sleep(lasts_s)
            fleet.signal(k, signal.SIGCONT)


def run(folder, seed, *, instances, seconds, per_group=50, holds=False, **plan_options):
    """Returns what must be empty, by name, and facts. holds: losses may be held, so silence need not be told."""
    with contextlib.closing(Receiver()) as receiver, ChaosFleet(folder, holds=holds) as fleet:
        body = {"kind": "generic", "url": receiver.url, "filter": {"states": ["LOST"]}}
        made = fleet.monitors[0].post("/api/v1/webhooks", body)
        assert made.status == 201, made.body
        ports = [lambda k=k: fleet.ports[k] for k in range(N)]
        groups = make_groups(instances, per_group, ports, seed, seconds, EVERY_S, TIMEOUT_S)
        everyone = [one for group in groups for one in group.instances]
        plan, log = plan_of(seed, seconds, **plan_options), []

        async def main():
            async with beating(groups, seconds) as began_s:
                await do(fleet, plan, began_s, log)

        asyncio.run(main())
        all_lost(
            fleet, [one.name for one in everyone if one.beats], seconds=0 if holds else TIMEOUT_S + LATE_S + LATER_S
        )
        changes, losses, told, seqs = all_told(fleet, receiver)
        silences = story.silences(changes, everyone, TIMEOUT_S * 1000, LATE_S * 1000, wall_ms())
        wrong = {
            "broken chains": story.broken_chains([one for some in changes.values() for one in some]),
            "false losses": story.false_losses(changes, everyone, TIMEOUT_S * 1000),
            "missed losses": [] if holds else silences.missed,
            "untold or told twice": [] if told == losses else [(told, losses)],
            "in two messages": [seq for seq, n in Counter(seqs).items() if n > 1],
            "unknown": [one.name for one in everyone if one.beats and one.name not in changes],
        }
        facts = {
            "plan": log, "losses": losses, "messages": len(receiver.messages),
            "late": len(silences.late), "agents' moves": sum(group.moves for group in groups),
            "beats": sum(len(one.beats) for one in everyone),
            "stats": [one.json("/api/v1/stats")["parts"]["ownership"] for one in fleet.monitors],
        }  # fmt: skip
        beats = {one.name: one.beats for one in everyone}
        history = {"changes": changes, "beats": beats, "messages": receiver.messages}
        (folder / "history.json").write_text(json.dumps(history))
        return wrong, facts


def changes_of(fleet):
    found = fleet.all_changes()
    return None if found is None else story.by_instance(found)


def all_lost(fleet, names, *, seconds):
    """Waits until all are LOST, now that none beats, at most so long."""
    ends_s = time.monotonic() + seconds
    while time.monotonic() < ends_s:
        changes = changes_of(fleet) or {}
        if all(name in changes and changes[name][-1]["new"] == "LOST" for name in names):
            return
        time.sleep(0.25)


def losses_in(message):
    """Events, as of addresses, are told to the same receiver, and are no losses."""
    if message["event"] == "mass":
        return message["counts"].get("LOST", 0)
    return message["event"] != "event"


def all_told(fleet, receiver):
    """Waits until each loss was told, at most TOLD_S, and then for what comes twice. Returns the changes by instance,
    how many are losses, how many the messages are about, and the seqs of those that have a message of their own."""
    ends_s, even_s = time.monotonic() + TOLD_S, None
    while True:
        changes, now_s = changes_of(fleet), time.monotonic()
        assert changes is not None or now_s < ends_s, "Redis cannot be reached"
        messages = list(receiver.messages.values())
        told = sum(map(losses_in, messages))
        losses = sum(change["new"] == "LOST" for some in (changes or {}).values() for change in some)
        even_s = None if told != losses else even_s or now_s
        if now_s > ends_s or (even_s and now_s > even_s + TWICE_S):
            return changes, losses, told, [one["seq"] for one in messages if "seq" in one]
        time.sleep(0.25)
