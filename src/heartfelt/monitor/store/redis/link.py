# SPDX-License-Identifier: MIT
"""Executes commands on the Redis that has a shard. The rest of the store does not know how many servers there are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from heartfelt.errors import StoreError

FLEET = -1
"""In place of a shard: the keys of the whole fleet, with the tag {f}."""


class Unreachable(StoreError):
    """The server that has the shard cannot be reached, or refuses to write now (read-only, out of memory, a snapshot
    failed, loading). Whether the command was executed is not known, unless `refused`."""

    def __init__(self, text: str, *, refused: bool = False) -> None:
        super().__init__(text)
        self.refused = refused


class Script(NamedTuple):
    """A Lua script, by name. Called as a command: (script, keys, *arguments)."""

    name: str
    text: str


class Command(NamedTuple):
    """A command for one shard, or for FLEET: its words, the first of which may be a Script, with `keys` then."""

    shard: int
    words: Sequence[Any]
    keys: Sequence[str] = ()


class ServerState(NamedTuple):
    """A server, as people see it."""

    name: str
    """Its host and port."""
    up: bool
    since_s: float
    """For how long it has been up, or not."""
    error: str | None
    """Why it cannot be reached, or refuses commands."""
    connections: int
    round_trip_ms: float | None
    failures: int


class Link(Protocol):
    """Any thread may call it; each call uses a connection of its own to each server.

    Replies are those of RESP2, as they come: bytes, int, list or None; the fields of HGETALL are one flat list.
    """

    def execute(self, commands: Iterable[Command]) -> list[Any]:
        """Executes commands, in one pipeline for each server, and returns their replies in the order of the commands.

        Blocks, at most `timeout_s` and a retry. The reply of a command that failed is an exception: `Unreachable`, or
        redis.ResponseError. Commands of one shard are executed in their order, and not interleaved with a retry: after
        the first one of a shard that is Unreachable, the later ones of that shard are Unreachable, too: `refused` if
        they were not executed.

        No command may block for as long as `timeout_s`, and none be MULTI: a script does that.
        Raises TypeError or ValueError, and sends nothing, if a word is no bytes, str, int or float.
        """

    def call(self, shard: int, *words: Any, keys: Sequence[str] = ()) -> Any:
        """Executes one command. Raises Unreachable or redis.ResponseError."""

    def now_ms(self, shard: int) -> int:
        """Returns the time of the shard's primary, estimated by this process' monotonic clock; never falls.

        Raises Unreachable only if the primary's time has never been read, and cannot be read now.
        """

    def servers(self) -> list[ServerState]:
        """Returns the servers in use, from memory."""

    def trouble(self) -> str | None:
        """Returns what is wrong with Redis, for people, from memory. None: nothing is known to be."""

    def refuses_writes(self) -> str | None:
        """Returns which server refuses to write, and why, from memory. None: none is known to, or all write again. What
        needs no memory may be written nevertheless."""

    def stats(self) -> dict[str, int]:
        """Returns figures since the start."""

    def close(self) -> None:
        """Closes all connections. Idempotent."""
