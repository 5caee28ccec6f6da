# SPDX-License-Identifier: MIT
"""Real redis-servers for tests: each in a folder of its own, on a free port of the loopback."""

from __future__ import annotations

import shutil
import socket
import subprocess
import time
from pathlib import Path

REDIS = shutil.which("redis-server") or shutil.which("valkey-server")
START_S = 30


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class RedisServer:
    """One server. Options as in redis.conf: `RedisServer(folder, maxmemory="10mb")`."""

    def __init__(self, folder: Path, port: int | None = None, **options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.options = folder, options
        self.port = free_port() if port is None else port
        self.start()

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def start(self) -> None:
        assert REDIS is not None
        command = [REDIS, "--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder), "--save", "",
                   "--appendonly", "no", "--daemonize", "no"]  # fmt: skip
        for name, value in self.options.items():
            command += ["--" + name.replace("_", "-"), *value.split()]
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        ends_s = time.monotonic() + START_S
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                assert self.process.poll() is None, (self.folder / "log").read_text()[-2000:]
                assert time.monotonic() < ends_s, "redis-server did not start"
                time.sleep(0.01)

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
