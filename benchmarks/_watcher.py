# SPDX-License-Identifier: MIT
"""The interface of every way to watch keys: heartfelt's own (_ours.py) and the others (_peers.py)."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from _keys import Keys

TIMEOUT_S = 3600.0  # of beats: nothing expires, however slow a run is


class Watcher:
    """One way to watch keys. Its loops are those that a user would write, so that the figure contains no call of ours.

    name: in tables. package: must be installed. note: a remark for its users, in a few words.
    most_keys: it is not measured with more. sample: beats in one pass, of all keys one after the other.
    slow_to_join: too slow for questions that join all keys again and again. in_one_thread: the thread that beats does
    all the work of a beat. tells: reports by itself, at the deadline; otherwise somebody has to ask.
    """

    name = ""
    package: str | None = None
    note = ""
    most_keys: int | None = None
    sample = 100_000
    slow_to_join = False
    in_one_thread = True
    tells = True

    def join(self, keys: Keys) -> None:
        """Makes the first beat of each key, all with the timeout TIMEOUT_S."""
        self.beat_each(keys)

    def ready(self, keys: Keys) -> Any:
        """Converts keys that have joined into the form that beat_each takes."""
        return keys

    def beat_each(self, keys: Any) -> None:
        """Beats each key once, in this order."""
        raise NotImplementedError

    def settle(self) -> None:
        """Does the work that beats leave to the watcher. Called between two passes of beats; not timed."""

    def arm(self, keys: Keys) -> float:
        """Watches all keys from the beginning, so that they are due together; returns that time.monotonic()."""
        raise NotImplementedError

    def drain(self) -> list[object]:
        """Waits for the instant that arm returned, and returns one item for each key, once all have timed out."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends the watch."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @classmethod
    def missing(cls) -> str | None:
        """The reason why it cannot be measured here, or None."""
        if cls.package is None or importlib.util.find_spec(cls.package) is not None:
            return None
        return f"{cls.package} is not installed: pip install --group bench"

    @classmethod
    def too_many(cls, n_keys: int) -> str | None:
        """The reason why it is not measured with this many keys, or None."""
        if cls.most_keys is None or n_keys <= cls.most_keys:
            return None
        return f"not with more than {cls.most_keys:,} keys"

    @classmethod
    def version(cls) -> str | None:
        return importlib.metadata.version(cls.package) if cls.package is not None else None


def wait_until(instant: float) -> float:
    """Sleeps until the instant, and returns it."""
    while (left := instant - time.monotonic()) > 0:
        time.sleep(left)
    return instant


_pace: dict[str, float] = {}  # seconds for a key in the last due_at_once of that name


def due_at_once(name: str, n_keys: int, guess_s: float, watch: Callable[[float], None]) -> float:
    """Calls watch(at), which makes all keys due at `at`, with later instants until it is in time; returns the instant.

    guess_s: an estimate of the time that watch takes for a key, for the first call.
    """
    lead_s = 0.03 + 1.3 * n_keys * _pace.get(name, guess_s)
    while True:
        start = time.monotonic()
        at = start + lead_s
        watch(at)
        end = time.monotonic()
        if end < at:
            _pace[name] = (end - start) / n_keys
            return at
        lead_s *= 2
