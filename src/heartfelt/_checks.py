# SPDX-License-Identifier: MIT
"""Checks of callers' arguments, and the texts of their errors."""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING

from heartfelt.errors import ConfigError, HubClosed, KeyNotWatched

if TYPE_CHECKING:
    import socket

LONGEST_S = 100 * 366 * 86400
LONGEST_NS = LONGEST_S * 1_000_000_000


def shown(value: object) -> str:
    """Returns the value's repr, truncated if it is long."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to convert very long ones
        return f"an int of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return text if len(text) <= 200 else f"{text[:180]}... ({len(text)} characters)"


def duration_ns(value: object, what: str) -> int:
    """Converts a duration, seconds (int, float) or a timedelta, to ns: at least 1, at most 100 years.

    Raises TypeError for another type (including bool), ConfigError for a value out of range.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, timedelta)):
        kind = type(value).__name__
        raise TypeError(f"{what} must be seconds (int, float) or a timedelta, not {kind}: {shown(value)}")
    if isinstance(value, timedelta):
        ns = ((value.days * 86400 + value.seconds) * 1_000_000 + value.microseconds) * 1000
    elif isinstance(value, int):
        ns = value * 1_000_000_000
    elif -LONGEST_S - 1 < value < LONGEST_S + 1:
        ns = round(value * 1e9)
    else:  # too large, infinite, or NaN
        raise ConfigError(f"{what} must be a finite number of seconds, at most 100 years; got {value!r}")
    if ns > LONGEST_NS:
        raise ConfigError(f"{what} must be at most 100 years; got {shown(value)}")
    if ns <= 0:
        raise ConfigError(f"{what} must be longer than zero (at least 1e-9 s); got {shown(value)}")
    return ns


def duration_or_zero_ns(value: object, what: str) -> int:
    """Like duration_ns, but allows zero."""
    if not isinstance(value, bool) and value in (0, timedelta(0)):
        return 0
    return duration_ns(value, what)


def check_ids(ids: object) -> None:
    """Refuses anything but a C-contiguous buffer of native int64."""
    try:
        view = memoryview(ids)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        kind = type(ids).__name__
        raise TypeError(f"ids must be a buffer of int64, from hub.ids or array('q', ...), not {kind}") from None
    native = "<" if sys.byteorder == "little" else ">"
    if view.itemsize != 8 or view.format.lstrip("@=" + native) not in ("q", "l"):
        raise TypeError(f"ids must be int64 in native byte order, not of format {view.format!r}: ids.astype('int64')")
    if not view.c_contiguous:
        raise ValueError("ids must be C-contiguous: numpy.ascontiguousarray(ids)")


def refusal(status: str, key: object) -> Exception:
    """Returns the exception to raise when the core refuses a key or an id."""
    if status == "closed":
        return HubClosed("the hub is closed: it accepts no beats and watches nothing")
    if status == "not_watched":
        return KeyNotWatched(f"{shown(key)} is not watched: it never joined, timed out or was removed")
    if status == "not_found":
        return KeyNotWatched(
            f"{shown(key)} is not watched: it never joined, timed out or was removed; hub.get(key) returns None "
            "instead, and dict(hub.items()) copies a hub whose keys come and go"
        )
    if status == "stale_id":
        return KeyNotWatched(
            f"id {key} is stale: its key was removed, or it never was an id; get it again by hub.ids([key])"
        )
    if status == "no_timeout":
        return ConfigError(
            f"{shown(key)} has no timeout: pass one with the beat (timeout=...), or give the hub a default"
        )
    if status == "full":
        return MemoryError("a shard is full; use a larger parallelism")
    return MemoryError("no memory for another key")


def refused_ids(status: str, first: int, position: int, n_refused: int) -> Exception:
    """Returns the error for a call by ids some of which were refused, the first for this reason."""
    if status != "stale_id":
        return refusal(status, first)
    return KeyNotWatched(
        f"id {first} at position {position} is stale (one of {n_refused}): its key was removed, or it never was an id "
        f"of this hub; the beats of all others were taken"
    )


def bell_sockets() -> tuple[socket.socket, socket.socket] | None:
    """Makes a socket pair for a bell on Windows, where it cannot make a descriptor that can be waited for."""
    if sys.platform != "win32":
        return None
    import socket

    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
    return pair


def plain_key(key: object) -> str | bytes | int:
    """Converts a key of a subclass of str, bytes or int to the plain type; TypeError for anything else."""
    if isinstance(key, str):
        return "".join(str.__iter__(key))
    if isinstance(key, bytes):
        return bytes(bytes.__iter__(key))
    if isinstance(key, int) and not isinstance(key, bool):
        return int.__add__(key, 0)
    raise TypeError(
        f"a key must be str, bytes or int (64-bit), not {type(key).__name__}: {shown(key)}; "
        f"convert it first, for example with str()"
    )
