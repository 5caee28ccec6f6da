# SPDX-License-Identifier: MIT
"""The exceptions that heartfelt raises."""

from __future__ import annotations

import queue

__all__ = ["ConfigError", "FrameError", "HeartfeltError", "HubClosed", "KeyNotWatched", "SnapshotError", "StoreError"]


class HeartfeltError(Exception):
    """The base class of heartfelt's exceptions."""


class ConfigError(HeartfeltError, ValueError):
    """An option or a duration has an invalid value; the text names it."""


class SnapshotError(HeartfeltError, ValueError):
    """A file cannot be restored, or something cannot be saved in one; the text says what and why."""


class StoreError(HeartfeltError):
    """The monitor's store cannot be opened, or an operation on it failed; the text says what to do about it."""


class FrameError(HeartfeltError, ValueError):
    """Data received over the wire cannot be decoded, or exceeds a limit.

    `reason` is a short name, suitable as a counter's label. "length", and "frame_limit" for a frame that is too large
    to be skipped: `fatal`, nothing after it can be decoded either, so close the connection. "frame_limit", "malformed",
    "messages": one frame is lost. "gzip", "gunzip_limit", "meta_size", "data_type": one message is lost.
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


# If Python has queue.ShutDown, code that handles it handles HubClosed, too.
_queue_ended: tuple[type[Exception], ...] = (queue.ShutDown,) if hasattr(queue, "ShutDown") else ()


class HubClosed(HeartfeltError, *_queue_ended):  # type: ignore[misc]
    """The hub is closed; for its events: closed, and all remaining events have been read."""
