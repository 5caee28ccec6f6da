# SPDX-License-Identifier: MIT
"""A line: one agent's way to one backend, which beats on its own; what all of them can do."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Line", "LineStats", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Where to beat, how, and how often; everything is checked already by AgentConfig. Times are in seconds."""

    transport: str
    """ "sermant", "http" or "udp"."""
    host: str
    port: int
    path: str = "/api/v1/beats"
    """Of http."""
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None
    """The name that the server's certificate must be for; `host` if None."""
    token: str | None = None
    interval_s: float
    connect_timeout_s: float = 5.0
    write_timeout_s: float = 5.0
    """Also how long an http answer may take."""
    first_reconnect_s: float = 5.0
    most_reconnect_s: float = 180.0
    """The waits after failures are 5, 10, 20 ... 180, each by a random share of 0.5 to 1 of it. They start over only
    after a connection that lasted at least as long as the wait at that time, and one interval."""
    jitter_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStats:
    """What a line has done."""

    sender: str
    """ "native" or "thread"."""
    state: str
    """ "idle", "resolving", "connecting", "connected", "waiting" or "closed"."""
    beats: int
    """Sent completely: handed to the kernel; by http: answered 2xx."""
    missed: int
    """Due and not sent: there was no connection, or it did not take them."""
    refused: int
    """By http: answered with another status."""
    connects: int
    failures: int
    last_error: str | None
    reconnect_s: float
    """The wait at present; 0 if connected."""
    max_late_ms: float
    """How late a beat went out at most against its schedule, while connected."""


class Line(Protocol):
    """One agent's way to one backend. No method blocks but `close`."""

    def start(self) -> None:
        """Beats as soon as there is a head and a connection, then at a fixed rate from the first beat due.

        It never bursts to catch up: a beat that could not be sent is counted, the newest state is sent on connect.
        """

    def set_head(self, head: bytes) -> None:
        """The beat's JSON from now on, without the closing brace and the volatile fields. Counts as a refresh, too."""

    def refreshed(self) -> None:
        """The interpreter ran: `lagMs` counts from now."""

    def beat_now(self) -> None:
        """One beat out of turn, as soon as possible."""

    def close(self, goodbye: bytes | None, wait_s: float) -> bool:
        """Sends the goodbye (its JSON), if there is one and it can, and ends; True if it went out.

        Idempotent; blocks at most `wait_s`.
        """

    def abandon(self) -> None:
        """In a forked child: frees the descriptors without telling anybody."""

    def stats(self) -> LineStats:
        """The counters, read at any time."""
