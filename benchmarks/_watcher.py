# SPDX-License-Identifier: MIT
"""What every way to watch keys offers to the benchmarks: heartfelt's own (_ours.py) and the others (_peers.py)."""

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
    """One way to watch keys. Loops stand in it as a user would write them, so that no call of ours is in the figure.

    name: in tables. package: what has to be installed. note: what its user has to know, in a few words.
    most_keys: with more it is not measured. sample: beats in one pass, of all keys one after the other.
    slow_to_join: too slow for questions that join all keys again and again. in_one_thread: a beat is the work of the
    thread that beats alone. tells: by itself, at the deadline; else somebody has to ask.
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
        """The first beat of each key, which all have the timeout TIMEOUT_S."""
        self.beat_each(keys)

    def ready(self, keys: Keys) -> Any:
        """Keys that have joined, in the form in which beat_each takes them."""
        return keys

    def beat_each(self, keys: Any) -> None:
        """One beat of each, in this order."""
        raise NotImplementedError

    def settle(self) -> None:
        """What its watcher would do between two passes of beats, if beats leave work behind. Not timed."""

    def arm(self, keys: Keys) -> float:
        """Watches all keys, from nothing, so that they are due together; returns that instant of time.monotonic()."""
        raise NotImplementedError

    def drain(self) -> list[object]:
        """After arm: waits for the instant, and returns once it has what timed out, one item a key."""
        raise NotImplementedError

    def close(self) -> None:
        """Ends it."""

    def __enter__(self) -> Watcher:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    @classmethod
    def missing(cls) -> str | None:
        """Why it cannot be measured here, or None."""
        if cls.package is None or importlib.util.find_spec(cls.package) is not None:
            return None
        return f"{cls.package} is not installed: pip install --group bench"

    @classmethod
    def too_many(cls, n_keys: int) -> str | None:
        """Why it is not measured with so many keys, or None."""
        if cls.most_keys is None or n_keys <= cls.most_keys:
            return None
        return f"not with more than {cls.most_keys:,} keys"

    @classmethod
    def version(cls) -> str | None:
        return importlib.metadata.version(cls.package) if cls.package is not None else None


def wait_until(instant: float) -> float:
    """Sleeps until then; returns it."""
    while (left := instant - time.monotonic()) > 0:
        time.sleep(left)
    return instant


_pace: dict[str, float] = {}  # seconds a key that the last due_at_once of that name took


def due_at_once(name: str, n_keys: int, guess_s: float, watch: Callable[[float], None]) -> float:
    """watch(at) watches the keys so that they are due at `at`, which is returned. It is tried until it is in time.

    guess_s: how long watch may take for a key, the first time.
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
