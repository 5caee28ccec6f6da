# SPDX-License-Identifier: MIT
"""Names that both the compiled core and the Python around it use."""

from __future__ import annotations

from enum import Enum
from typing import Final


class EventType(str, Enum):
    """The type of an event. Values equal their names, so members compare equal to plain strings."""

    TIME_OUT = "TIME_OUT"
    HEART_BEAT = "HEART_BEAT"
    REMOVE_KEY = "REMOVE_KEY"
    JOIN = "JOIN"
    RECOVER = "RECOVER"
    OVERFLOW = "OVERFLOW"
    STALL = "STALL"

    def __str__(self) -> str:
        return self.value


class WatchState(str, Enum):
    """The state of a watched key. A disposable key that timed out is no longer watched."""

    ALIVE = "ALIVE"
    LOST = "LOST"

    def __str__(self) -> str:
        return self.value


class Unset(Enum):
    """The type of UNSET."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""Means that no `extra` was given; None is a valid extra."""
