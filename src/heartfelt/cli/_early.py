# SPDX-License-Identifier: MIT
"""Signals that arrive while the monitor is still being imported, and while the process ends.

As process 1 of a container a process gets no signal that it does not handle, so SIGTERM would be lost; and SIGHUP would
end it.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["handle_early_signals", "ignore_late_signals"]


def handle_early_signals() -> None:
    """Makes SIGTERM end the process with status 0, and SIGHUP do nothing unless it is ignored already, as by nohup."""
    signal.signal(signal.SIGTERM, _end)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _nothing)


def ignore_late_signals() -> None:
    """Ignores SIGHUP from now on: Python drops its handlers before it ends, so a late reload would kill the process,
    whose exit status would be that of a failure."""
    if sys.platform != "win32":
        signal.signal(signal.SIGHUP, signal.SIG_IGN)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which child processes would inherit."""
