# SPDX-License-Identifier: MIT
"""Leases in Redis: a join, a beat, a loss, the memory of a lease, a take-over. By Redis' own CPU clock.

python benchmarks/redis_leases.py [--leases N] [--taken N] [--shards N] [--short] [--json FILE]

Starts a redis-server of its own, on one core with this process if there are no more, and ends it. Names are a service
and a UUID, as of Sermant's agents; `--short`: 20 bytes. Rows have metadata of 200 bytes, and are counted apart.
"""

from __future__ import annotations

import random
import shutil
import socket
import subprocess
import tempfile
import time
import uuid
from collections.abc import Iterable

import redis
from _findings import Findings, parser

from heartfelt.monitor.model import Change, InstanceRow, Level, State
from heartfelt.monitor.reasons import NO_REASON
from heartfelt.monitor.store.redis.address import parse_address
from heartfelt.monitor.store.redis.changing import ITEMS_PER_CALL
from heartfelt.monitor.store.redis.keys import Entry, Keys, name_of, parts_of
from heartfelt.monitor.store.redis.leases import Accepted, Leases, Write
from heartfelt.monitor.store.redis.opening import make_link

BATCH = 10_000
META = {"ip": ["10.0.0.1"], "hostName": "host-7.example.com", "appName": "shop", "version": "2.2.0", "tags": "x" * 90}


class Server:
    def __init__(self, folder: str) -> None:
        found = shutil.which("redis-server") or shutil.which("valkey-server")
        if found is None:
            raise SystemExit("redis-server is not installed")
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            self.port = sock.getsockname()[1]
        options = [
            "--port",
            str(self.port),
            "--bind",
            "127.0.0.1",
            "--dir",
            folder,
            "--save",
            "",
            "--loglevel",
            "warning",
        ]
        self._process = subprocess.Popen([found, *options])
        self.client = redis.Redis(port=self.port, protocol=2)
        self.link = make_link(parse_address(f"redis://127.0.0.1:{self.port}"))
        ends_s = time.monotonic() + 30
        while True:
            try:
                self.client.ping()
                return
            except redis.ConnectionError:
                if time.monotonic() > ends_s:
                    raise
                time.sleep(0.01)

    def cpu_s(self) -> float:
        cpu = self.client.info("cpu")
        return float(cpu["used_cpu_user"] + cpu["used_cpu_sys"])

    def used(self) -> int:
        return int(self.client.info("memory")["used_memory"])

    def sizes(self, pattern: str) -> int:
        return sum(self.client.memory_usage(key, samples=0) for key in self.client.scan_iter(pattern, count=10_000))

    def end(self) -> None:
        self.link.close()
        self._process.kill()
        self._process.wait()


class Clocks:
    """What Redis, this process and the wall clock have taken since the last call, in seconds."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._before = self._read()

    def _read(self) -> tuple[float, float, float]:
        return self._server.cpu_s(), time.process_time(), time.monotonic()

    def lap(self) -> tuple[float, float, float]:
        before, self._before = self._before, self._read()
        redis_s, own_s, wall_s = (now - then for now, then in zip(self._before, before, strict=True))
        return redis_s, own_s, wall_s


def monitor(server: Server, keys: Keys) -> Leases:
    return Leases(server.link, keys, uuid.uuid4().hex, lease_ms=600_000)


def write(name: bytes, entry: Entry, new: State, deadline_ms: int | None = None) -> Write:
    service, instance_id = parts_of(name)
    row = InstanceRow(
        id=entry.id, service=service, instance_id=instance_id, state=new, since_ms=1_800_000_000_000,
        reason=NO_REASON, first_seen_ms=1_800_000_000_000, last_beat_ms=1_800_000_000_000, meta=META, via="http",
        peer="10.0.0.1", interval_ms=30_000,
    )  # fmt: skip
    change = Change(
        seq=0, time_ms=1_800_000_000_000, id=entry.id, service=service, instance_id=instance_id, old=None, new=new,
        level=Level.NORMAL, reason=NO_REASON, ip="10.0.0.1",
    )  # fmt: skip
    return Write(name, entry, row, [change], deadline_ms)


def demand(answers: Iterable[object], kind: type) -> None:
    for answer in answers:
        if type(answer) is not kind:
            raise SystemExit(f"unexpected answer: {answer!r}")


def join(leases: Leases, names: list[bytes], deadline_ms: int) -> dict[bytes, Entry]:
    joined: dict[bytes, Entry] = {}
    for start in range(0, len(names), BATCH):
        some = names[start : start + BATCH]
        entries = leases.reserve(some)
        demand(entries, Entry)
        for entry in entries:
            leases.set_deadline(entry, deadline_ms)
        demand(leases.change([write(*one, State.NEW) for one in zip(some, entries, strict=True)]), Accepted)
        joined.update(zip(some, entries, strict=True))
    leases.flush()
    return joined


def beats(leases: Leases, entries: list[Entry], deadline_ms: int) -> None:
    for entry in entries:
        leases.set_deadline(entry, deadline_ms)


def names_of(n: int, short: bool) -> list[bytes]:
    rng = random.Random(1)
    if short:
        return [name_of(f"service-{k % 100}", f"i{k}") for k in range(n)]
    return [name_of(f"service-{k % 100}", str(uuid.UUID(int=rng.getrandbits(128)))) for k in range(n)]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--leases", type=int, default=1_000_000)
    options.add_argument("--taken", type=int, default=100_000)
    options.add_argument("--shards", type=int, default=64)
    options.add_argument("--short", action="store_true")
    given = options.parse_args()
    findings = Findings()
    with tempfile.TemporaryDirectory() as folder:
        server = Server(folder)
        try:
            measure(server, findings, given.leases, given.taken, given.shards, given.short)
        finally:
            server.end()
    findings.write(given.json)


def measure(server: Server, findings: Findings, n: int, n_taken: int, n_shards: int, short: bool) -> None:
    rng = random.Random(2)
    keys = Keys("b", n_shards)
    leases = monitor(server, keys)
    leases.start()
    names = names_of(n, short)
    before = server.used()
    clocks = Clocks(server)
    joined = join(leases, names, 1)
    redis_s, own_s, wall_s = clocks.lap()
    million = 1e6 / n
    findings.add("a join: RESERVE and CHANGE, Redis", redis_s / n * 1e6, "us")
    findings.add("a join, this process", own_s / n * 1e6, "us")
    findings.add("1 M joins, Redis' CPU", redis_s * million, "s", 60.0)
    findings.add("1 M joins, CPU of Redis and of this process", (redis_s + own_s) * million, "s", 60.0)
    findings.add("1 M joins, from the first to the last", wall_s * million, "s", 60.0)
    findings.add("a lease, with its row and the streams (used_memory)", (server.used() - before) / n, "bytes")
    parts = {kind: server.sizes(f"b:*:{kind}") / n for kind in ("slot", "own", "page:*", "rows:*", "ev")}
    for kind, size in parts.items():
        findings.add(f"   {kind} (MEMORY USAGE)", size, "bytes")
    entries = list(joined.values())
    for share in (0.1, 1.0):
        took = []
        for round_ in range(5):
            some = rng.sample(entries, int(n * share))
            beats(leases, some, 2 + round_)
            clocks.lap()
            leases.flush()
            took.append(clocks.lap())
        for side, name in enumerate(("Redis", "this process")):
            cost = sorted(one[side] for one in took)[2] / (n * share) * 1e6
            goal = 0.15 if share == 0.1 and side == 0 else None
            findings.add(f"a beat, {share:.0%} fresh at a flush, {name}", cost, "us", goal)
    lost = rng.sample(names, min(n // 10, 50_000))
    clocks.lap()
    for start in range(0, len(lost), 1000):
        some = lost[start : start + 1000]
        for one in some:
            leases.set_deadline(joined[one], 1)
        demand(leases.change([write(one, joined[one], State.LOST, 1) for one in some]), Accepted)
    redis_s, own_s, _ = clocks.lap()
    findings.add("a loss, 1,000 at once, Redis", redis_s / len(lost) * 1e6, "us")
    findings.add("a loss, this process", own_s / len(lost) * 1e6, "us")
    some = [one for one in names if keys.shard_of(one) == 0][:ITEMS_PER_CALL]
    for _ in range(50):
        demand(leases.change([write(one, joined[one], State.UP) for one in some]), Accepted)
    findings.add(f"a call of CHANGE with {len(some)} items, Redis", clocks.lap()[0] / 50 * 1e3, "ms", 5.0)
    for pattern in ("b:*:rows:*", "b:*:ev"):
        for key in server.client.scan_iter(pattern, count=10_000):
            server.client.delete(key)
    findings.add("a lease: entries and pages (used_memory)", (server.used() - before) / n, "bytes", 110.0)
    take_over(server, findings, n_taken, n_shards, short)


def take_over(server: Server, findings: Findings, n: int, n_shards: int, short: bool) -> None:
    keys = Keys("t", n_shards)
    dead, living = monitor(server, keys), monitor(server, keys)
    living.start()
    dead.start()
    join(dead, names_of(n, short), 1)
    living.adopt(living.orphans())
    dead.stop()
    clocks = Clocks(server)
    adopted = living.adopt(living.orphans())
    redis_s, own_s, wall_s = clocks.lap()
    if len(adopted) != n:
        raise SystemExit(f"{len(adopted)} instances were taken over")
    hundred = 100_000 / n
    findings.add("a take-over of 100,000, from finding them to their rows", wall_s * hundred, "s", 3.0)
    findings.add("a take-over of 100,000, Redis' CPU", redis_s * hundred, "s")
    findings.add("a take-over of 100,000, this process' CPU", own_s * hundred, "s")
    living.stop()


if __name__ == "__main__":
    main()
