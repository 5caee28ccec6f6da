# SPDX-License-Identifier: MIT
"""Shares the process's file descriptors among its parts, so that no port can take those of the others.

A few are reserved for the store, the webhooks and whatever else opens files. Of the rest, agents' TCP gets at most
three quarters, and HTTP what TCP leaves: an agent that finds no place tries again, a ping that finds none is lost.
"""

from __future__ import annotations

import sys
from typing import NamedTuple

__all__ = ["RESERVE", "Shares", "available", "raise_limit", "shares"]

RESERVE = 64
"""Descriptors for everything but accepted connections: store, webhooks, listening sockets, the event loop, logs."""
LEAST = 16
"""Connections that each port gets in any case."""
_ENOUGH = 1 << 20


class Shares(NamedTuple):
    """The most connections of each port."""

    tcp: int
    http: int
    warning: str | None
    """Why they are fewer than limits.connections, and the remedy."""


def available() -> int:
    """Returns how many descriptors the process may have."""
    if sys.platform == "win32":
        return _ENOUGH
    import resource

    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def raise_limit() -> int:
    """Raises the soft limit to the hard one, where the system permits it. Returns how many the process may have."""
    if sys.platform != "win32":
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft != hard:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
            except (OSError, ValueError):  # macOS: an unlimited hard limit is not what it says
                return available()
    return available()


def shares(most: int, there: int, *, tcp: bool) -> Shares:
    """Divides `there` descriptors. most: limits.connections. tcp: whether agents' TCP is open."""
    left = max(there - RESERVE, 2 * LEAST)
    ports = 2 if tcp else 1
    if ports * most <= left:
        return Shares(most, most, None)
    for_tcp = min(most, max(LEAST, min(left * 3 // 4, left - LEAST))) if tcp else 0
    for_http = min(most, (left - for_tcp) * 8 // 9)  # the others are answered 503: `http1.connection`
    limited = f"{for_http} on HTTP" + (f", {for_tcp} on TCP" if tcp else "")
    warning = (
        f"limits.connections is {most} on each port, but the process may open only {there} files: connections are "
        f"limited to {limited}; raise the limit (ulimit -Hn, LimitNOFILE= of systemd) to {ports * most + RESERVE}, or "
        "lower limits.connections"
    )
    return Shares(for_tcp, for_http, warning)
