# SPDX-License-Identifier: MIT
"""Checks of a hub's options: an error names the option, its value and the remedy."""

from __future__ import annotations

from collections.abc import Iterable

from heartfelt import _numbers
from heartfelt._checks import duration_ns, shown
from heartfelt._core import ManualClockBase
from heartfelt._types import EventType
from heartfelt.errors import ConfigError

ON_FULL = _numbers.ON_FULL
GUARD_GIL = _numbers.GUARDS.index("gil")
MOST_SHARDS = _numbers.MOST_SHARDS
LARGEST_RING = 2**31 - 1
_BITS = {event_type: 1 << n for n, event_type in enumerate(_numbers.EVENT_TYPES)}


def mask(types: Iterable[EventType]) -> int:
    """Returns the core's bits for event types."""
    return sum(_BITS[event_type] for event_type in types)


def timeout_ns(timeout: object) -> int:
    """Converts a default timeout to ns; 0 for None."""
    return 0 if timeout is None else duration_ns(timeout, "timeout")


def whole(value: object, what: str, most: int) -> int:
    """Checks that a value is an int from 1 to `most`."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} must be an int, not {type(value).__name__}: {shown(value)}")
    if not 1 <= value <= most:
        raise ConfigError(f"{what} must be from 1 to {most}; got {shown(value)}")
    return value


def yes_or_no(value: object, what: str) -> bool:
    if not isinstance(value, bool):
        raise TypeError(f"{what} must be True or False, not {shown(value)}")
    return value


def event_types(types: object, what: str) -> frozenset[EventType]:
    """Converts EventTypes or their names to a set of event types."""
    if isinstance(types, str) or not isinstance(types, Iterable):
        raise TypeError(f"{what} must be event types, for example {{EventType.TIME_OUT}}; got {shown(types)}")
    found = set()
    for one in types:
        try:
            found.add(EventType(one))
        except ValueError:
            names = ", ".join(EventType.__members__)
            raise ConfigError(f"{what}: {shown(one)} is not an event type; event types are {names}") from None
    return frozenset(found)


def on_full_number(on_full: object) -> int:
    if not isinstance(on_full, str):
        raise TypeError(f"on_full must be one of {', '.join(ON_FULL)}, not {shown(on_full)}")
    if on_full not in ON_FULL:
        raise ConfigError(f"on_full must be one of {', '.join(ON_FULL)}; got {on_full!r}")
    return ON_FULL.index(on_full)


def stall_guard(value: object) -> int:
    """Returns the core's number for a value of stall_guard."""
    if value is True or value is False:
        return _numbers.GUARDS.index(value)
    if not isinstance(value, str):
        raise TypeError(f'stall_guard must be True, False or "gil", not {shown(value)}')
    if value != "gil":
        raise ConfigError(f'stall_guard must be True, False or "gil"; got {value!r}')
    return GUARD_GIL


def clock(value: object) -> str | ManualClockBase:
    if isinstance(value, ManualClockBase):
        return value
    if not isinstance(value, str):
        raise TypeError(f'clock must be "monotonic", "boottime" or a ManualClock, not {shown(value)}')
    if value not in ("monotonic", "boottime"):
        raise ConfigError(f'clock must be "monotonic", "boottime" or a ManualClock; got {value!r}')
    return value
