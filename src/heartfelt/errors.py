# SPDX-License-Identifier: MIT
"""Everything that heartfelt raises of its own."""

from __future__ import annotations

import queue

__all__ = ["ConfigError", "FrameError", "HeartfeltError", "HubClosed", "KeyNotWatched", "SnapshotError", "StoreError"]


class HeartfeltError(Exception):
    """The base of them all."""


class ConfigError(HeartfeltError, ValueError):
    """An option or a duration has a value that cannot be; the text names it."""


class SnapshotError(HeartfeltError, ValueError):
    """A file is no snapshot that can be restored, or something cannot be saved in one; the text says what and why."""


class StoreError(HeartfeltError):
    """The monitor's store cannot be opened, or could not do what was asked; the text says what to do about it."""


class FrameError(HeartfeltError, ValueError):
    """Data received over the wire cannot be decoded, or exceeds a limit.

    `reason` is a short name, suitable as a counter's label. "length", "frame_limit": `fatal`, nothing after it can be
    decoded either, so close the connection. "malformed", "messages": one frame is lost. "gzip", "gunzip_limit",
    "data_type": one message is lost.
    """

    def __init__(self, reason: str, text: str, fatal: bool = False) -> None:
        super().__init__(reason, text, fatal)
        self.reason = reason
        self.fatal = fatal

    def __str__(self) -> str:
        return str(self.args[1])


class KeyNotWatched(HeartfeltError, KeyError):
    """No such key is watched: it never joined, timed out for good, or was removed."""

    def __str__(self) -> str:  # KeyError would show the text's repr
        return str(self.args[0]) if self.args else ""


# Where Python has it, whoever handles the shutdown of a queue handles this one, too.
_queue_ended: tuple[type[Exception], ...] = (queue.ShutDown,) if hasattr(queue, "ShutDown") else ()


class HubClosed(HeartfeltError, *_queue_ended):  # type: ignore[misc]
    """The hub is closed; for its events: closed, and all that was left has been read."""
