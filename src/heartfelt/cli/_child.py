# SPDX-License-Identifier: MIT
"""Runs a command as a child: forwards signals, waits for its end, keeps the last lines of its stderr.

It can be the first process of a container: it reaps processes that have lost their parent.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Sequence

FORWARDED = ("SIGTERM", "SIGINT", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2")
FROM_TERMINAL = ("SIGINT", "SIGQUIT")
NOT_FOUND, NOT_STARTED = 127, 126  # as a shell reports it
MOST_TAIL = 8000  # bytes
MOST_LINES = 50
DRAIN_S = 1.0  # how long processes that the command left behind may keep its stderr open


class NotStarted(Exception):
    """The command cannot be started."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class Child:
    """Starts the command. It inherits stdin and stdout; its stderr is passed on. For the main thread only.

    Raises NotStarted.
    """

    def __init__(self, command: Sequence[str]) -> None:
        self._early: list[int] = []  # signals that came before the command had started
        self._ended = False
        self._process: subprocess.Popen[bytes] | None = None
        self._wake_reader, self._wake_writer = os.pipe()
        if sys.platform != "win32":
            os.set_blocking(self._wake_reader, False)
            os.set_blocking(self._wake_writer, False)
            self._wakeup_fd_before = signal.set_wakeup_fd(self._wake_writer, warn_on_full_buffer=False)
        self._handlers = self._forward()
        try:
            self._process = subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0)
        except (OSError, ValueError) as error:
            self.close()
            status = NOT_FOUND if isinstance(error, FileNotFoundError) else NOT_STARTED
            raise NotStarted(f"cannot start {command[0]}: {error}", status) from None
        for number in self._early:
            self._send(number)
        self._stderr = Stderr(self._process)

    def close(self) -> None:
        """Restores the signal handlers. Until then, signals that come after the command's end are ignored."""
        for number, handler in self._handlers.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)  # type: ignore[arg-type]
        if sys.platform != "win32":
            signal.set_wakeup_fd(self._wakeup_fd_before)
        os.close(self._wake_writer)
        os.close(self._wake_reader)

    def wait(self) -> int:
        """Blocks until the command ends. Returns its exit status; 128 + n if signal n ended it."""
        assert self._process is not None
        status = self._reap()
        self._stderr.finish()
        return status if status >= 0 else 128 - status

    def tail(self) -> str:
        """Returns the last lines of its stderr."""
        return self._stderr.tail()

    def _forward(self) -> dict[int, object]:
        handlers: dict[int, object] = {}
        for number in (getattr(signal, name) for name in FORWARDED if hasattr(signal, name)):
            handlers[number] = before = signal.getsignal(number)
            if before is not signal.SIG_IGN:  # what is ignored, as under nohup, stays ignored, by the command too
                signal.signal(number, self._on_signal)
        if hasattr(signal, "SIGCHLD"):
            handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)  # writes to the pipe
        return handlers

    def _on_signal(self, number: int, frame: object) -> None:
        if self._process is None:
            self._early.append(number)
        elif not self._ended and not (signal.Signals(number).name in FROM_TERMINAL and in_foreground()):
            self._send(number)

    def _send(self, number: int) -> None:
        assert self._process is not None
        try:
            os.kill(self._process.pid, number)
        except OSError as error:
            print(f"heartfelt run: could not forward signal {number} to the command: {error}", file=sys.stderr)

    def _reap(self) -> int:
        """Reaps each child that ends, until the command does: in a container this process is the parent of all orphans.

        It waits for the pipe to which every signal writes a byte. A plain wait for the children would go on sleeping
        if a signal came just before it, or to another thread, and the signal would not be forwarded.
        """
        assert self._process is not None
        if sys.platform == "win32":
            return self._process.wait()
        while not self._command_ended():
            select.select([self._wake_reader], [], [])
            os.read(self._wake_reader, 4096)
        return self._process.wait()

    def _command_ended(self) -> bool:
        assert self._process is not None
        if not hasattr(os, "waitid"):  # Python before 3.13 on macOS
            return self._process.poll() is not None
        while (found := os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOWAIT | os.WNOHANG)) is not None:
            if found.si_pid == self._process.pid:  # not reaped yet, so that its pid cannot be another process's
                self._ended = True
                return True
            os.waitpid(found.si_pid, 0)
        return False


def in_foreground() -> bool:
    """True if a terminal's Ctrl-C reaches this process and thereby the command, which is in the same group."""
    try:
        terminal = os.open("/dev/tty", os.O_RDONLY | os.O_NOCTTY)
    except (OSError, AttributeError):  # no terminal; Windows
        return False
    try:
        return os.tcgetpgrp(terminal) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(terminal)


class Stderr:
    """Passes the command's stderr on as it comes, and keeps its last lines."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        assert process.stderr is not None
        self._pipe = process.stderr
        self._kept: deque[bytes] = deque()
        self._size = 0
        self._lock = threading.Lock()
        self._problem = ""
        self._thread = threading.Thread(target=self._pass_on, name="heartfelt-stderr", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Waits until everything is passed on, but not long if a process that the command left behind keeps it open."""
        self._thread.join(DRAIN_S)

    def tail(self) -> str:
        with self._lock:
            raw = b"".join(self._kept)
        lines = raw[-MOST_TAIL:].decode("utf-8", "replace").splitlines()[-MOST_LINES:]
        return "\n".join([*lines, self._problem] if self._problem else lines)

    def _pass_on(self) -> None:
        with self._pipe as pipe:
            while data := pipe.read(1 << 16):
                with self._lock:
                    self._kept.append(data)
                    self._size += len(data)
                    while self._size - len(self._kept[0]) >= MOST_TAIL:
                        self._size -= len(self._kept.popleft())
                self._show(data)

    def _show(self, data: bytes) -> None:
        """Writes to this process's stderr. The command goes on even if that fails."""
        view = memoryview(data)
        try:
            while view and not self._problem:
                try:
                    view = view[os.write(2, view) :]
                except BlockingIOError:
                    select.select([], [2], [])
        except OSError as error:
            self._problem = f"(heartfelt run could not pass on the rest of stderr: {error})"
