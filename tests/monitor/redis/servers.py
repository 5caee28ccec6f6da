# SPDX-License-Identifier: MIT
"""Real redis-servers for tests: each in a folder of its own, on a free port of the loopback."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
START_S = 30
DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()
"""Ends a server whose test process was killed."""
NODE_TIMEOUT_MS = 1000
"""How long the servers of a Cluster, and Sentinels, wait before they take a server for dead."""
_given: set[int] = set()


def free_port() -> int:
    """Returns a port that is free now, and is returned only once."""
    while True:
        with socket.socket() as sock:
            sock.bind(("127.0.0.1", 0))
            port = int(sock.getsockname()[1])
        if port not in _given:
            _given.add(port)
            return port


def wait(what: Callable[[], Any], text: str, seconds: float = START_S) -> Any:
    """Returns the first true answer. An exception of redis counts as none."""
    import redis

    ends_s = time.monotonic() + seconds
    while True:
        with contextlib.suppress(redis.RedisError, OSError):
            if answer := what():
                return answer
        assert time.monotonic() < ends_s, text
        time.sleep(0.01)


def _facts(text: bytes) -> dict[str, str]:
    """Returns what INFO says."""
    pairs = (line.partition(":") for line in text.decode().splitlines() if ":" in line)
    return {name: value for name, _, value in pairs}


class RedisServer:
    """One server. Options as in redis.conf: `RedisServer(folder, maxmemory="10mb")`; "" is an empty value."""

    def __init__(self, folder: Path, port: int | None = None, **options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options = folder, options
        self.port = free_port() if port is None else port
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def command(self) -> list[str]:
        assert REDIS is not None
        options = {"port": str(self.port), "bind": "127.0.0.1", "dir": str(self.folder), "save": "", "appendonly": "no"}
        command = [*DIES_WITH_US, REDIS]
        for name, value in {**options, "daemonize": "no", **self.options}.items():
            command += ["--" + name.replace("_", "-"), *(value.split() or [""])]
        return command

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(self.command(), stdout=log, stderr=log)
        port = int(self.options.get("tls_port", self.port))
        ends_s = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.01)
            if self.process.poll() is not None or time.monotonic() > ends_s:
                self.end()
                raise AssertionError(f"redis-server did not start: {(self.folder / 'log').read_text()[-2000:]}")

    def ask(self, *words: Any) -> Any:
        """Executes a command over a connection of its own. Returns the reply as it comes: bytes, int, list or None."""
        from redis import connection

        kind: Any = connection.Connection
        options: dict[str, Any] = {"host": "127.0.0.1", "port": self.port, "socket_timeout": START_S, "protocol": 2}
        if "unixsocket" in self.options and not self.port:
            kind = connection.UnixDomainSocketConnection
            options = {"path": self.options["unixsocket"], "socket_timeout": START_S, "protocol": 2}
        made = kind(**options)
        try:
            made.connect()
            made.send_command(*words)
            return made.read_response()
        finally:
            made.disconnect()

    def info(self, section: str) -> dict[str, str]:
        return _facts(self.ask("INFO", section))

    def stop(self) -> None:
        """Stops it as a whole, until `cont`: it keeps its connections, and answers nothing."""
        self.process.send_signal(signal.SIGSTOP)

    def cont(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        self.stop()
        try:
            yield
        finally:
            self.cont()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()

    def restart(self) -> None:
        """Kills it, and starts it anew: empty, unless its options have it save its data."""
        self.end()
        self.start()


class SentinelServer(RedisServer):
    def __init__(self, folder: Path, primary: int, service: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._lines = (
            f"sentinel monitor {service} 127.0.0.1 {primary} 2",
            f"sentinel down-after-milliseconds {service} {NODE_TIMEOUT_MS}",
            f"sentinel failover-timeout {service} 3000",
        )
        super().__init__(folder)
        for name in ("INFO-PERIOD", "PUBLISH-PERIOD"):  # otherwise 10 s and 2 s
            self.ask("SENTINEL", "DEBUG", name, 200)

    def command(self) -> list[str]:
        assert REDIS is not None
        file = self.folder / "sentinel.conf"
        if not file.exists():  # a Sentinel keeps in it what it learns
            lines = (f"port {self.port}", "bind 127.0.0.1", f"dir {self.folder}", *self._lines)
            file.write_text("\n".join(lines) + "\n", "utf-8")
        return [*DIES_WITH_US, REDIS, str(file), "--sentinel"]


class SentinelTrio:
    """A primary, its replica, and three Sentinels. Two votes make the replica the primary."""

    def __init__(self, folder: Path, service: str = "beats") -> None:
        self.service = service
        self.servers: list[RedisServer] = []
        self.sentinels: list[RedisServer] = []
        try:
            self._start(folder)
        except BaseException:
            self.end()
            raise

    def _start(self, folder: Path) -> None:
        first = RedisServer(folder / "0", repl_diskless_sync_delay="0")
        self.servers.append(first)
        second = RedisServer(folder / "1", repl_diskless_sync_delay="0", replicaof=f"127.0.0.1 {first.port}")
        self.servers.append(second)
        wait(lambda: second.info("replication")["master_link_status"] == "up", "the replica did not connect")
        for n in range(3):
            self.sentinels.append(SentinelServer(folder / f"sentinel{n}", first.port, self.service))
        self.settle()

    @property
    def url(self) -> str:
        return f"redis+sentinel://{','.join(f'127.0.0.1:{one.port}' for one in self.sentinels)}/{self.service}"

    @property
    def primary(self) -> RedisServer:
        return next(one for one in self.servers if one.port == self._named(self.sentinels[0]))

    @property
    def replica(self) -> RedisServer:
        return next(one for one in self.servers if one is not self.primary)

    def settle(self) -> None:
        """Waits until all are well, and agree."""
        for one in self.servers:
            if one.process.poll() is not None:  # as a replica at once: Sentinels would take 8 s to make it one
                one.options["replicaof"] = f"127.0.0.1 {self._named(self.sentinels[0])}"
                one.start()
        wait(self._is_settled, "the Sentinels do not agree")

    def fail_over(self, sentinel: RedisServer) -> None:
        """Has a Sentinel begin a failover; refused until it knows how well the replica is."""
        wait(lambda: sentinel.ask("SENTINEL", "FAILOVER", self.service), "the Sentinel does not begin a failover")

    def _is_settled(self) -> bool:
        if len({self._named(one) for one in self.sentinels}) != 1:
            return False
        for one in self.sentinels:
            words = [word.decode() for word in one.ask("SENTINEL", "MASTER", self.service)]
            told = dict(zip(words[::2], words[1::2], strict=True))
            if (told["num-other-sentinels"], told["num-slaves"], told["flags"]) != ("2", "1", "master"):
                return False
        told = self.replica.info("replication")
        return told["role"] == "slave" and told["master_link_status"] == "up"

    def _named(self, sentinel: RedisServer) -> int:
        reply = sentinel.ask("SENTINEL", "GET-MASTER-ADDR-BY-NAME", self.service)
        return int(reply[1])

    def end(self) -> None:
        for one in (*self.sentinels, *self.servers):
            one.end()


class ClusterServer(RedisServer):
    def __init__(self, folder: Path) -> None:
        self.bus = free_port()
        super().__init__(
            folder,
            cluster_enabled="yes",
            cluster_port=str(self.bus),
            cluster_node_timeout=str(NODE_TIMEOUT_MS),
            repl_diskless_sync_delay="0",
            cluster_allow_replica_migration="no",
        )

    @property
    def id(self) -> str:
        return str(self.ask("CLUSTER", "MYID").decode())


class RedisCluster:
    """Six servers: three primaries, each with a replica."""

    def __init__(self, folder: Path) -> None:
        self.servers: list[ClusterServer] = []
        try:
            self._start(folder)
        except BaseException:
            self.end()
            raise

    def _start(self, folder: Path) -> None:
        for n in range(6):
            self.servers.append(ClusterServer(folder / str(n)))
        for n, one in enumerate(self.servers):
            one.ask("CLUSTER", "SET-CONFIG-EPOCH", n + 1)
            one.ask("CLUSTER", "MEET", "127.0.0.1", self.servers[0].port, self.servers[0].bus)
        ranges = ((0, 5460), (5461, 10922), (10923, 16383))
        for one, (first, last) in zip(self.servers, ranges, strict=False):
            one.ask("CLUSTER", "ADDSLOTSRANGE", first, last)
        wait(lambda: all(self._knows(one) == 6 for one in self.servers), "the servers did not meet")
        for n in range(3):
            self.servers[3 + n].ask("CLUSTER", "REPLICATE", self.servers[n].id)
        self.settle()

    @property
    def url(self) -> str:
        return f"redis+cluster://{','.join(f'127.0.0.1:{one.port}' for one in self.servers[:2])}"

    def server_of(self, slot: int) -> ClusterServer:
        """Returns the primary that has a slot, as most servers see it."""
        for one in self.servers:
            if one.process.poll() is None:
                for row in self._slots(one):
                    if row[0] <= slot <= row[1]:
                        return next(other for other in self.servers if other.port == row[2])
        raise AssertionError(f"nobody has the slot {slot}")

    def primaries(self) -> list[ClusterServer]:
        return [one for one in self.servers if one.info("replication")["role"] == "master"]

    def settle(self) -> None:
        """Waits until all are well, and agree."""
        for one in self.servers:
            if one.process.poll() is not None:
                one.start()
        wait(self._is_settled, "the cluster does not work")

    def _is_settled(self) -> bool:
        maps = set()
        for one in self.servers:
            told = one.info("replication")
            if told["role"] == "slave" and told["master_link_status"] != "up":
                return False
            if _facts(one.ask("CLUSTER", "INFO"))["cluster_state"] != "ok":
                return False
            maps.add(tuple(sorted(self._slots(one))))
        return len(maps) == 1 and len(self.primaries()) == 3

    @staticmethod
    def _slots(one: RedisServer) -> list[tuple[int, int, int]]:
        return [(first, last, primary[1]) for first, last, primary, *_ in one.ask("CLUSTER", "SLOTS")]

    @staticmethod
    def _knows(one: RedisServer) -> int:
        return int(_facts(one.ask("CLUSTER", "INFO"))["cluster_known_nodes"])

    def end(self) -> None:
        for one in self.servers:
            one.end()
