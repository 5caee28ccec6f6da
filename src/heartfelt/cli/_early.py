# SPDX-License-Identifier: MIT
"""Signals that arrive while the monitor is still being imported.

As process 1 of a container a process gets no signal that it does not handle, so SIGTERM would be lost; and SIGHUP would
end it.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType

__all__ = ["handle_early_signals"]


def handle_early_signals() -> None:
    """Makes SIGTERM end the process with status 0, and SIGHUP do nothing unless it is ignored already, as by nohup."""
    signal.signal(signal.SIGTERM, _end)
    if sys.platform != "win32" and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        signal.signal(signal.SIGHUP, _nothing)


def _end(number: int, frame: FrameType | None) -> None:
    raise SystemExit(0)


def _nothing(number: int, frame: FrameType | None) -> None:
    """Not SIG_IGN, which child processes would inherit."""
