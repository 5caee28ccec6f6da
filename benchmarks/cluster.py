# SPDX-License-Identifier: MIT
"""Costs of many monitors beside one, and their speed: real monitor processes on a Redis of their own. Linux.

python benchmarks/cluster.py [--instances N] [--taken N] [--seconds S] [--json FILE]

1. The same beats go to a monitor with SQLite and to one with Redis, at the same time; each has its own CPU clock.
2. Three monitors: each agent keeps to one, or all go round robin, in turn, at several rates of beats. The CPU time of
   the three together, once each monitor knows the text of each agent's beats.
3. Instances fall silent; how long after their deadlines another monitor's stream says so.
4. One of the three is killed; how long after its lease the others own what it had.

From CPU times that of the same monitors without beats is subtracted. Forwarded beats go in batches, 10 a second between
two monitors, so what one costs depends on how many there are: the rate that was reached is printed. In 1. an instance
beats four times in its timeout, as often as its deadline is written to Redis. In 2. the timeout is longer, so that
nobody is lost on a machine that is too busy.
"""

from __future__ import annotations

import http.client
import json
import statistics
import threading
import time
import urllib.parse
from collections.abc import Callable, Sequence

from _findings import Findings, parser
from _quiet import OthersLoad
from memory_and_start import Client

from heartfelt.cli._cluster.processes import MonitorProcess, Processes
from heartfelt.cli._cluster.watching import Watching

IN_A_POST = 50
TIMEOUT_S = 8.0
INTERVAL_S = TIMEOUT_S / 4
LEASE_S = 5.0
SETTLE_MS = 200.0
IDLE_S = 6.0
WARM_S = 0.5
"""The interval while they join."""
BALANCED_TIMEOUT_S = 40.0
LEARNING = 4
"""Beats at each monitor until it knows the text of them."""
SETTINGS = {"hold.enable": "false", "lease.cache": "1 h", "cluster.lease": f"{LEASE_S:g} s"}
SHORT_S = 1.0
"""Timeout of the instances that fall silent."""
SILENT = 200
PATIENCE_S = 30.0
PLUGINS = {name: {"name": name, "version": "1.2.0"} for name in ("router", "template")}


def cpu_s(pids: Sequence[int]) -> float:
    """Returns the CPU time of processes, all threads, by their own clocks."""
    return sum(time.clock_gettime((~pid << 3) | 2) for pid in pids)


def pid_of(monitor: MonitorProcess) -> int:
    return monitor.process.pid


def address(monitor: MonitorProcess) -> tuple[str, int]:
    url = urllib.parse.urlsplit(monitor.url)
    assert url.hostname is not None
    assert url.port is not None
    return url.hostname, url.port


class Agents:
    """Instances that beat together, IN_A_POST in a request. names: the first part of their names."""

    def __init__(self, names: str, count: int, timeout_s: float) -> None:
        self.count = count
        self._numbers = 0
        heads = [self._head(names, n, timeout_s) for n in range(count)]
        self.groups = [heads[n : n + IN_A_POST] for n in range(0, count, IN_A_POST)]

    @staticmethod
    def _head(names: str, n: int, timeout_s: float) -> bytes:
        beat = {
            "hostName": f"host-{n % 500}",
            "ip": [f"10.0.{n // 250 % 250}.{n % 250}"],
            "service": f"service-{n % 20}",
            "version": "1.0.0",
            "instanceId": f"{names}-7814bc2a-2e88-4d94-{n:012d}",
            "appName": "shop",
            "processId": str(n),
            "pluginInfoMap": PLUGINS,
            "intervalMs": int(timeout_s * 250),
            "timeoutMs": int(timeout_s * 1000),
        }
        return json.dumps(beat, separators=(",", ":")).encode()[:-1]

    def bodies(self, group: int) -> list[bytes]:
        self._numbers += 1
        now = time.time_ns() // 1_000_000
        tail = b',"heartbeatTime":%d,"lastHeartbeatTime":%d,"lagMs":3,"beat":%d}' % (now, now - 2000, self._numbers)
        return [head + tail for head in self.groups[group]]


def beat(
    agents: Agents, seconds: float, to: Callable[[int, int], Sequence[Client]], interval_s: float = INTERVAL_S
) -> int:
    """Lets all beat, spread over the interval. to(group, round): where a group's beats go. Returns how many there
    were."""
    began = time.monotonic()
    sent = round_ = 0
    while time.monotonic() - began < seconds:
        for group in range(len(agents.groups)):
            due = began + (round_ + group / len(agents.groups)) * interval_s
            time.sleep(max(0.0, due - time.monotonic()))
            bodies = agents.bodies(group)
            for client in to(group, round_):
                client.post(bodies)
            sent += len(bodies)
        round_ += 1
    return sent


class Meter:
    """CPU seconds of some processes between two calls of `lap`, less what they need without beats."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids
        self._before = cpu_s(pids), time.monotonic()
        self.idle = 0.0
        """CPU seconds a second, without beats."""

    def start(self) -> tuple[float, float]:
        now = cpu_s(self._pids), time.monotonic()
        cpu, wall = now[0] - self._before[0], now[1] - self._before[1]
        self._before = now
        return cpu, wall

    def lap(self) -> float:
        cpu, wall = self.start()
        return max(0.0, cpu - self.idle * wall)


def measure_idle(*meters: Meter) -> None:
    time.sleep(IDLE_S / 2)  # the end of the start
    for one in meters:
        one.start()
    time.sleep(IDLE_S)
    for one in meters:
        cpu, wall = one.start()
        one.idle = cpu / wall


def stores(processes: Processes, findings: Findings, count: int, seconds: float) -> None:
    """A beat's cost with both stores."""
    with_file = processes.start(1, SETTINGS, shared=False)[0]
    with_redis = processes.start(1, {**SETTINGS, "redis.prefix": "one"})[0]
    clients = [Client(address(one)) for one in (with_file, with_redis)]
    agents = Agents("stores", count, TIMEOUT_S)
    meters = [Meter([pid]) for pid in (pid_of(with_file), pid_of(with_redis), processes.redis_pid())]
    measure_idle(*meters)
    beat(agents, 1.0, lambda group, round_: clients, WARM_S)  # they join, and are UP
    beat(agents, INTERVAL_S, lambda group, round_: clients)  # rows are written
    for one in meters:
        one.start()
    n = beat(agents, seconds, lambda group, round_: clients)
    file_us, redis_us, server_us = (one.lap() / n * 1e6 for one in meters)
    findings.add("a beat, monitor with SQLite", file_us, "us")
    findings.add("a beat, monitor with Redis", redis_us, "us")
    findings.add("   with Redis : with SQLite", redis_us / file_us, "", 1.2)
    findings.add("   Redis itself", server_us, "us")
    findings.add("idle: monitor with SQLite, share of a core", 100 * meters[0].idle, "%")
    findings.add("idle: monitor with Redis, share of a core", 100 * meters[1].idle, "%", 1.0)
    for one in (with_file, with_redis):
        one.kill()


def balancers(
    fleet: list[MonitorProcess],
    clients: list[Client],
    findings: Findings,
    count: int,
    seconds: float,
    rates: Sequence[float],
) -> float:
    """Compares sticky agents with a balancer that goes round robin, in turn: A B B A. Returns the CPU seconds a second
    of a monitor without beats."""
    agents = Agents("balanced", count, BALANCED_TIMEOUT_S)
    meter = Meter([pid_of(one) for one in fleet])

    def sticky(group: int, round_: int) -> list[Client]:
        return [clients[group % len(clients)]]

    def round_robin(group: int, round_: int) -> list[Client]:
        return [clients[(group + round_) % len(clients)]]

    measure_idle(meter)
    for round_ in range(3 + 3 * LEARNING):
        for group in range(len(agents.groups)):
            for client in sticky(group, round_) if round_ < 3 else round_robin(group, round_):
                client.post(agents.bodies(group))
        time.sleep(WARM_S)  # the others learn whose an instance is
    moves = moves_of(fleet)
    for rate in rates:
        costs: dict[Callable[[int, int], list[Client]], list[float]] = {sticky: [], round_robin: []}
        reached = []
        for way in (sticky, round_robin, round_robin, sticky):
            meter.start()
            began = time.monotonic()
            n = beat(agents, seconds, way, count / rate)
            reached.append(n / (time.monotonic() - began))
            costs[way].append(meter.lap() / n * 1e6)
        one, other = statistics.mean(costs[sticky]), statistics.mean(costs[round_robin])
        findings.add("beats a second, to three monitors", statistics.mean(reached), "")
        findings.add("   a beat, three monitors together, sticky agents", one, "us")
        findings.add("   a beat, three monitors together, round robin", other, "us")
        findings.add("   round robin : sticky", other / one, "", 1.5)
    findings.add("   instances that changed their owner meanwhile", moves_of(fleet) - moves, "", 0)
    findings.add("idle: three monitors together, share of a core", 100 * meter.idle, "%")
    return meter.idle / len(fleet)


def moves_of(fleet: list[MonitorProcess]) -> int:
    watching = Watching(fleet)
    try:
        return sum(one.taken for one in watching.standings().values())
    finally:
        watching.close()


class Listener:
    """Reads a monitor's stream, and notes how long after its deadline each loss came."""

    def __init__(self, monitor: MonitorProcess) -> None:
        self.late_ms: list[float] = []
        self._connection = http.client.HTTPConnection(*address(monitor), timeout=PATIENCE_S)
        self._connection.request("GET", "/api/v1/stream?topic=change")
        self._answer = self._connection.getresponse()
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def _read(self) -> None:
        while line := self._answer.readline():
            came_ms = time.time() * 1000
            if line.startswith(b"data:") and b'"LOST"' in line:
                change = json.loads(line[5:])
                if change.get("new") == "LOST":
                    args = change["reason_args"]
                    self.late_ms.append(came_ms - args["last_beat_ms"] - args["timeout_ms"])


def deadlines(fleet: list[MonitorProcess], clients: list[Client], findings: Findings) -> None:
    """From a deadline to the event in the stream of another monitor."""
    listener = Listener(fleet[1])
    agents = Agents("silent", SILENT, SHORT_S)
    agents.groups = [[head] for group in agents.groups for head in group]
    for round_ in range(3):
        for group in range(SILENT):
            clients[0].post(agents.bodies(group))
            time.sleep(SHORT_S / 4 / SILENT if round_ < 2 else 3.0 / SILENT)  # then they stop, one after the other
    wait(lambda: len(listener.late_ms) >= SILENT, "the losses")
    late_ms = sorted(listener.late_ms)
    findings.add("deadline to event at another monitor, p50", late_ms[len(late_ms) // 2], "ms", SETTLE_MS + 100)
    findings.add("deadline to event at another monitor, p99", late_ms[int(len(late_ms) * 0.99)], "ms", SETTLE_MS + 100)


def take_over(fleet: list[MonitorProcess], clients: list[Client], findings: Findings, count: int, idle: float) -> None:
    """Kills one monitor, and waits until the others own what it had; nobody beats meanwhile."""
    agents = Agents("taken", count, 600.0)
    for group in range(len(agents.groups)):
        clients[2].post(agents.bodies(group))
    watching = Watching(fleet)
    try:
        total = sum(one.owned for one in settled(watching, count).values())
        survivors = [pid_of(one) for one in fleet[:2]]
        meter = Meter(survivors)
        meter.idle = idle
        began = time.monotonic()
        fleet[2].kill()
        meter.start()
        wait(lambda: sum(one.owned for one in watching.standings().values()) >= total, "the take-over")
        took_s = time.monotonic() - began
        spent_s = meter.lap()
    finally:
        watching.close()
    findings.add(f"kill to the take-over of {count:,}, and of what else it had", took_s, "s")
    findings.add("   less the lease", took_s - LEASE_S, "s")
    findings.add("   CPU of both survivors, an instance", spent_s / count * 1e6, "us")


def settled(watching: Watching, count: int) -> dict[int, object]:
    wait(lambda: watching.standings()[max(watching.standings())].owned >= count, "the joins")
    time.sleep(1.5)  # rows and deadlines reach Redis
    return watching.standings()  # type: ignore[return-value]


def wait(what: Callable[[], bool], name: str) -> None:
    ends = time.monotonic() + PATIENCE_S
    while not what():
        if time.monotonic() > ends:
            raise SystemExit(f"{name} did not come about within {PATIENCE_S:g} s")
        time.sleep(0.02)


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--instances", type=int, default=6000)
    options.add_argument("--rates", type=float, nargs="*", default=[1500, 3000, 5000], help="beats a second, for 2.")
    options.add_argument("--taken", type=int, default=10_000)
    options.add_argument("--seconds", type=float, default=4.0, help="of each measurement of beats")
    given = options.parse_args()
    findings = Findings()
    others = OthersLoad()
    with Processes() as processes:
        stores(processes, findings, given.instances, given.seconds)
        fleet = processes.start(3, {**SETTINGS, "redis.prefix": "three"})
        clients = [Client(address(one)) for one in fleet]
        idle = balancers(fleet, clients, findings, given.instances, given.seconds, given.rates)
        deadlines(fleet, clients, findings)
        take_over(fleet, clients, findings, given.taken, 2 * idle)
    findings.add("load of this machine, all processes but this", others.percent(), "%")
    findings.write(given.json)


if __name__ == "__main__":
    main()
