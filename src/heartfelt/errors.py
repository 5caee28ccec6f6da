# SPDX-License-Identifier: MIT
"""Everything that heartfelt raises of its own."""

from __future__ import annotations

import queue

__all__ = ["ConfigError", "HeartfeltError", "HubClosed", "KeyNotWatched", "SnapshotError"]


class HeartfeltError(Exception):
    """The base of them all."""


class ConfigError(HeartfeltError, ValueError):
    """An option or a duration has a value that cannot be; the text names it."""


class SnapshotError(HeartfeltError, ValueError):
    """A file is no snapshot that can be restored, or something cannot be saved in one; the text says what and why."""


class KeyNotWatched(HeartfeltError, KeyError):
    """No such key is watched: it never joined, timed out for good, or was removed."""

    def __str__(self) -> str:  # KeyError would show the text's repr
        return str(self.args[0]) if self.args else ""


# Where Python has it, whoever handles the shutdown of a queue handles this one, too.
_queue_ended: tuple[type[Exception], ...] = (queue.ShutDown,) if hasattr(queue, "ShutDown") else ()


class HubClosed(HeartfeltError, *_queue_ended):  # type: ignore[misc]
    """The hub is closed; for its events: closed, and all that was left has been read."""
