# SPDX-License-Identifier: MIT
"""A redis-server and monitors as child processes, in a temporary folder. All of them end with the `with` block."""

from __future__ import annotations

import importlib.util
import json
import os
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

from heartfelt.cli import Failed

START_S = 60.0
END_S = 20.0
TAIL = 2000  # characters of a log
SOCKET = "redis.sock"
MOST_SOCKET_BYTES = 100
"""A path of a Unix socket may have 107 bytes, on macOS 103; that of the temporary folder may be longer."""
_DIES_WITH_US = ("setpriv", "--pdeathsig", "KILL")
"""Ends a child whose parent was killed, where there is setpriv."""


def redis_program() -> str:
    """Returns the path of a Redis or Valkey. Raises Failed if one of the demo's needs is missing."""
    if importlib.util.find_spec("redis") is None:
        raise Failed(f"redis-py is not installed: {sys.executable} -m pip install 'heartfelt[monitor,redis]'")
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise Failed("there is neither redis-server nor valkey-server; install one: apt-get install redis-server")
    if not hasattr(socket, "AF_UNIX"):
        raise Failed("this system has no Unix sockets, over which the demo's monitors reach their Redis")
    return found


class MonitorProcess:
    """A `heartfelt serve`. `url` is set once it is ready."""

    def __init__(self, number: int, folder: Path, store: str | None, settings: dict[str, str]) -> None:
        self.number = number
        self.url = ""
        self.is_killed = False
        self._log = folder / f"monitor-{number}.log"
        given = {"http.port": "0", "tcp.enable": "false", "udp.enable": "false", "log.level": "warning", **settings}
        command = [
            sys.executable,
            "-m",
            "heartfelt",
            "serve",
            "--ready-json",
            "--data",
            str(folder / f"monitor-{number}"),
        ]
        if store is not None:
            command += ["--store", store]
        for name, value in given.items():
            command += ["--set", f"{name}={value}"]
        self.process = _start(command, self._log, stdout=subprocess.PIPE)

    def wait_ready(self) -> None:
        """Raises Failed if it does not start in time."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], START_S)[0]:
            raise Failed(f"monitor {self.number} did not start within {START_S:g} s: {_tail(self._log)}")
        line = self.process.stdout.readline()
        if not line:
            self.process.wait()
            raise Failed(f"monitor {self.number} did not start: {_tail(self._log)}")
        self.url = json.loads(line)["url"]

    def kill(self) -> None:
        """Ends it as a power cut would."""
        self.is_killed = True
        self.process.kill()
        self.process.wait()


class Processes:
    """Starts a Redis at once; `start` starts monitors."""

    def __init__(self) -> None:
        program = redis_program()
        self.monitors: list[MonitorProcess] = []
        self._folder = Path(tempfile.mkdtemp(prefix="heartfelt-demo-"))
        self._socket_folder = self._folder
        if len(os.fsencode(self._folder / SOCKET)) > MOST_SOCKET_BYTES:
            self._socket_folder = Path(tempfile.mkdtemp(prefix=f"heartfelt-demo-{os.getpid()}-", dir="/tmp"))
        sock, log = self._socket_folder / SOCKET, self._folder / "redis.log"
        options = {"port": "0", "unixsocket": str(sock), "dir": str(self._folder), "save": "", "appendonly": "no"}
        command = [program, *(part for name, value in options.items() for part in (f"--{name}", value))]
        self.store = f"unix://{quote(str(sock))}"
        self._redis: subprocess.Popen[bytes] | None = None
        try:
            self._redis = _start(command, log)
            _wait_for_socket(self._redis, sock, log)
        except BaseException:
            self.end()
            raise

    @property
    def living(self) -> list[MonitorProcess]:
        return [one for one in self.monitors if not one.is_killed]

    def start(self, count: int, settings: dict[str, str], *, shared: bool = True) -> list[MonitorProcess]:
        """Starts monitors, and waits until they are ready; without `shared` each has a store of its own. Raises
        Failed."""
        begin = len(self.monitors)
        for number in range(begin + 1, begin + count + 1):
            store = self.store if shared else None
            self.monitors.append(MonitorProcess(number, self._folder, store, settings))
        for one in self.monitors[begin:]:
            one.wait_ready()
        return self.monitors[begin:]

    def redis_pid(self) -> int:
        assert self._redis is not None
        return self._redis.pid

    def end(self) -> None:
        """Ends all processes, and deletes their folder."""
        for one in self.living:
            one.process.terminate()
        ends_s = time.monotonic() + END_S
        for one in self.monitors:
            _end(one.process, ends_s)
        if self._redis is not None:
            self._redis.terminate()
            _end(self._redis, time.monotonic() + END_S)
        for folder in (self._folder, self._socket_folder):
            shutil.rmtree(folder, ignore_errors=True)

    def __enter__(self) -> Processes:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.end()


def _start(command: list[str], log: Path, stdout: int | None = None) -> subprocess.Popen[bytes]:
    """Starts a child in a session of its own, so that Ctrl-C reaches only this process, which ends the child."""
    if shutil.which(_DIES_WITH_US[0]):
        command = [*_DIES_WITH_US, *command]
    environ = {name: value for name, value in os.environ.items() if not name.startswith("HEARTFELT_")}
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file if stdout is None else stdout,
            stderr=file,
            env=environ,
            start_new_session=True,
        )


def _wait_for_socket(process: subprocess.Popen[bytes], path: Path, log: Path) -> None:
    ends_s = time.monotonic() + START_S
    while True:
        try:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(path))
            return
        except OSError:
            time.sleep(0.01)
        if process.poll() is not None or time.monotonic() > ends_s:
            raise Failed(f"Redis did not start: {_tail(log)}")


def _end(process: subprocess.Popen[bytes], ends_s: float) -> None:
    try:
        process.wait(max(0.0, ends_s - time.monotonic()))
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


def _tail(log: Path) -> str:
    return log.read_text("utf-8", "replace")[-TAIL:].strip() or "it said nothing"
