# SPDX-License-Identifier: MIT
"""Reads the body of an ASGI request: with a bound on its size and on the time it may take, and decompressed."""

from __future__ import annotations

import asyncio
import sys
import zlib
from typing import Any

from heartfelt.errors import FrameError
from heartfelt.monitor.problems import Problem
from heartfelt.wire import unpack

__all__ = ["Deadlines", "Disconnected", "Receive", "Scope", "Send", "read_body"]

Scope = dict[str, Any]
Receive = Any
Send = Any
SWEEP_S = 1.0
_MOST_DIGITS = 18
"""Servers other than ours pass on lengths that `int` refuses to convert."""


class Disconnected(Exception):
    """The client closed the connection before its request was complete."""


class Deadlines:
    """Cancels requests whose body takes too long to arrive. One timer serves all of them, since they all have the same
    time: the request that began first is due first."""

    __slots__ = ("_open", "_seconds", "_timer", "ended")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._open: dict[asyncio.Task[Any], float] = {}
        self._timer: asyncio.TimerHandle | None = None
        self.ended: set[asyncio.Task[Any]] = set()

    def begin(self) -> asyncio.Task[Any]:
        loop = asyncio.get_running_loop()
        task = asyncio.current_task()
        assert task is not None
        self._open[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(min(SWEEP_S, self._seconds), self._sweep, loop)
        return task

    def end(self, task: asyncio.Task[Any]) -> None:
        self._open.pop(task, None)

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        now = loop.time()
        for task, end in list(self._open.items())[:1000]:
            if end > now:
                break
            del self._open[task]
            self.ended.add(task)
            task.cancel()
        if self._open:
            self._timer = loop.call_later(min(SWEEP_S, self._seconds), self._sweep, loop)


async def read_body(
    receive: Receive,
    deadlines: Deadlines,
    *,
    length: bytes | None,
    encoding: bytes | None,
    most: int,
    most_unpacked: int,
    most_single: int | None = None,
) -> bytes:
    """Returns the whole body. Raises Problem (400, 408, 413, 415) or Disconnected.

    most_unpacked: the limit for a gzip body that is a JSON list. most_single: for one that is not.
    """
    if length is not None and (len(length) > _MOST_DIGITS or not length.isdigit() or int(length) > most):
        raise too_large(f"{length[:20].decode('latin-1')} bytes", most)
    task = deadlines.begin()
    try:
        message = await receive()
        body: bytes = message.get("body", b"")
        if message.get("more_body") or message["type"] != "http.request":
            body = await _rest(receive, message, most)
    except asyncio.CancelledError:
        if task not in deadlines.ended:
            raise
        if sys.version_info >= (3, 11) and task.uncancel() > 0:  # ours ends here; another one came from outside
            raise
        raise Problem(
            408, "too_slow", "the body did not arrive in time; send it without a delay (http.request_timeout)", _CLOSE
        ) from None
    finally:
        deadlines.end(task)
        deadlines.ended.discard(task)
    if len(body) > most:
        raise too_large(f"{len(body)} bytes", most)
    if encoding is None or encoding == b"identity":
        return body
    if encoding.lower() not in (b"gzip", b"x-gzip"):
        shown = encoding[:40].decode("latin-1")
        raise Problem(
            415, "encoding", f"Content-Encoding {shown!r} is not supported; use gzip, or send the body as it is"
        )
    try:
        most_here = most_unpacked if most_single is None or _holds_list(body) else min(most_unpacked, most_single)
        return unpack(body, most_here)
    except FrameError as error:
        status = 413 if error.reason == "gunzip_limit" else 400
        raise Problem(status, error.reason, f"{error}; send smaller bodies, compressed with gzip") from None


def _holds_list(packed: bytes) -> bool:
    """Tells whether gzip holds a JSON list, from its first bytes."""
    try:
        return zlib.decompressobj(16 + zlib.MAX_WBITS).decompress(packed, 64).lstrip()[:1] in (b"[", b"")
    except zlib.error:
        return False


_CLOSE = {"Connection": "close"}


def too_large(size: str, most: int) -> Problem:
    text = f"the body has {size}; the limit is {most} bytes (limits.body_bytes): send less at a time"
    return Problem(413, "body_size", text, _CLOSE)


async def _rest(receive: Receive, message: Any, most: int) -> bytes:
    parts: list[bytes] = []
    size = 0
    while True:
        if message["type"] != "http.request":
            raise Disconnected
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise too_large(f"more than {most} bytes", most)
        parts.append(part)
        if not message.get("more_body"):
            return b"".join(parts)
        message = await receive()
