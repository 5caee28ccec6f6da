# SPDX-License-Identifier: MIT
"""Checks of what a caller gives, and the words of each refusal."""

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
    """The value's repr, cut where it is long."""
    if isinstance(value, int) and value.bit_length() > 1000:  # Python refuses to write out the longest
        return f"an int of {value.bit_length()} bits"
    try:
        text = repr(value)
    except Exception as error:
        return f"a {type(value).__name__} whose repr raises {type(error).__name__}"
    return text if len(text) <= 200 else f"{text[:180]}... ({len(text)} characters)"


def duration_ns(value: object, what: str) -> int:
    """A duration, seconds (int, float) or a timedelta, as ns: at least 1, at most 100 years.

    Raises TypeError for another type (bool included), ConfigError for another value.
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
    """As duration_ns, with zero allowed."""
    if not isinstance(value, bool) and value in (0, timedelta(0)):
        return 0
    return duration_ns(value, what)


def check_ids(ids: object) -> None:
    """Refuses what is not a C-contiguous buffer of native int64."""
    try:
        view = memoryview(ids)  # type: ignore[arg-type]
    except (TypeError, ValueError, BufferError):
        kind = type(ids).__name__
        raise TypeError(f"ids must be a buffer of int64, as hub.ids gives it or array('q', ...), not {kind}") from None
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
            f"{shown(key)} is not watched: it never joined, timed out or was removed; hub.get(key) gives None instead, "
            "and dict(hub.items()) copies a hub whose keys come and go"
        )
    if status == "stale_id":
        return KeyNotWatched(
            f"id {key} is stale: its key was removed, or it never was one; get it anew by hub.ids([key])"
        )
    if status == "no_timeout":
        return ConfigError(f"{shown(key)} has no timeout: give the beat one (timeout=...), or the hub a default")
    if status == "full":
        return MemoryError("a shard holds as many keys as it can number; use a larger parallelism")
    return MemoryError("no memory for another key")


def refused_ids(status: str, first: int, position: int, n_refused: int) -> Exception:
    """The error for a call by ids of which some were refused, the first of them for this reason."""
    if status != "stale_id":
        return refusal(status, first)
    return KeyNotWatched(
        f"id {first} at position {position} is stale (one of {n_refused}): its key was removed, or it never was an id "
        f"of this hub; all others were beaten"
    )


def bell_sockets() -> tuple[socket.socket, socket.socket] | None:
    """A pair for a bell, where it cannot make descriptors that can be waited for itself: on Windows."""
    if sys.platform != "win32":
        return None
    import socket

    pair = socket.socketpair()
    for one in pair:
        one.setblocking(False)
    return pair


def plain_key(key: object) -> str | bytes | int:
    """A key whose type is a subclass of str, bytes or int as the plain one; TypeError for anything else."""
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
