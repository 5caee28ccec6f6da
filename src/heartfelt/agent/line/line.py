# SPDX-License-Identifier: MIT
"""A line connects one agent to one backend and beats on its own. This is the interface of the two kinds."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Protocol

__all__ = ["Line", "LineStats", "Plan"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The backend, the transport and the times of a line, checked already by AgentConfig. Times are in seconds."""

    transport: str
    """ "sermant", "http" or "udp"."""
    host: str
    port: int
    path: str = "/api/v1/beats"
    """Path of the request; http only."""
    tls: ssl.SSLContext | None = None
    server_hostname: str | None = None
    """Name that the server's certificate must be for; None means `host`."""
    token: str | None = None
    interval_s: float
    connect_timeout_s: float = 5.0
    write_timeout_s: float = 5.0
    """Also limits how long an http answer may take."""
    first_reconnect_s: float = 5.0
    most_reconnect_s: float = 180.0
    """The waits after failures are the first, twice that, and so on up to the longest, each multiplied by a random
    factor from 0.5 to 1. They start over after a connection that lasted at least one interval and as long as the wait
    before it."""
    jitter_seed: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LineStats:
    """Counters and state of a line."""

    sender: str
    """ "native" or "thread"."""
    state: str
    """ "idle", "resolving", "connecting", "connected", "waiting" or "closed"."""
    beats: int
    """Sent completely, that is, passed to the kernel; by http, answered with 2xx."""
    missed: int
    """Due but not sent: there was no connection, or it did not accept them."""
    refused: int
    """Answered with another status; http only."""
    connects: int
    failures: int
    last_error: str | None
    reconnect_s: float
    """The present wait before the next attempt; 0 if connected."""
    max_late_ms: float
    """The longest delay of a beat after its scheduled time, while connected."""


class Line(Protocol):
    """The connection of one agent to one backend. Only `close` blocks."""

    def start(self) -> None:
        """Starts to beat, as soon as there is a head and a connection, at a fixed rate from the first beat.

        It never sends a burst to catch up: beats that could not be sent are counted, and after connecting the newest
        state is sent.
        """

    def set_head(self, head: bytes) -> None:
        """Sets the beat's JSON, without the closing brace and the volatile fields. Also counts as a refresh."""

    def refreshed(self) -> None:
        """Notes that the interpreter ran: `lagMs` counts from now."""

    def beat_now(self) -> None:
        """Sends an additional beat as soon as possible."""

    def close(self, goodbye: bytes | None, wait_s: float) -> bool:
        """Sends the goodbye (its JSON), if there is one and a connection, and ends; True if it was sent.

        Idempotent; blocks for at most `wait_s`.
        """

    def abandon(self) -> None:
        """Closes the descriptors in a forked child, without sending anything."""

    def stats(self) -> LineStats:
        """Returns the counters, at any time."""
