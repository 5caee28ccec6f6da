# SPDX-License-Identifier: MIT
"""Requests to another monitor: one answer, or an answer in pieces. Each has a deadline, and can be cancelled.

A problem that the other monitor's handler has raised is raised here as the same `Problem`. Everything else that goes
wrong is a `ChannelError`.
"""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from collections.abc import AsyncGenerator
from http import HTTPStatus
from typing import Annotated, Any, Protocol

import msgspec

from heartfelt.errors import FrameError, HeartfeltError
from heartfelt.monitor.cluster.channel.frames import (
    ANSWER,
    CANCEL,
    CREDIT,
    END,
    FRAME_BYTES,
    PIECE,
    PROBLEM,
    REQUEST,
    UNKNOWN,
    decode,
    frame,
)
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import TimedEvent

MOST_ASKED = 1024
"""How many requests to one monitor are under way at a time."""
CREDIT_BYTES = 256 * 1024
"""How many bytes of pieces the other side may send before the reader has taken some; the last piece may exceed it."""
BODY_BYTES = FRAME_BYTES - 4096
"""The longest body of a request, an answer or a piece."""


class ChannelError(HeartfeltError):
    """A request has no answer. `reason`: "disconnected", "deadline", "full", "large", "unknown" or "malformed"."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


class RequestBody(msgspec.Struct, array_like=True):
    """The body of REQUEST. Further fields of newer versions are ignored."""

    name: str
    deadline_ms: int
    credit: int
    body: msgspec.Raw


class ProblemBody(msgspec.Struct):
    """The body of PROBLEM."""

    status: int = 500
    code: str = "internal"
    detail: str = ""
    field: str | None = None
    headers: dict[str, str] = {}

    def raised(self) -> Problem:
        status = self.status if self.status in _STATUSES else 500
        return Problem(status, self.code, self.detail, self.headers, field=self.field)


_Count = Annotated[int, msgspec.Meta(ge=0, le=1 << 40)]
TOO_LATE = ProblemBody(504, "deadline")
_STATUSES = frozenset(int(status) for status in HTTPStatus if status >= 400)
_problem = msgspec.msgpack.Decoder(ProblemBody)
_credit = msgspec.msgpack.Decoder(_Count)


class Wire(Protocol):
    """What this file needs of a connection."""

    room: TimedEvent
    ending: bool
    peer: str

    def write(self, data: bytes) -> None: ...


class _Asked:
    """A request under way. `pieces` has what has arrived and was not taken."""

    __slots__ = ("bytes", "error", "is_ended", "is_stream", "news", "pieces")

    def __init__(self, is_stream: bool) -> None:
        self.is_stream = is_stream
        self.pieces: deque[bytes] = deque()
        self.bytes = 0
        self.news = TimedEvent()
        self.is_ended = False
        self.error: Exception | None = None

    def end(self, error: Exception | None = None) -> None:
        self.error = error
        self.is_ended = True
        self.news.set()


class Asks:
    """The requests under way on one connection."""

    def __init__(self, wire: Wire, counts: Counter[str]) -> None:
        self._wire, self._counts = wire, counts
        self._loop = asyncio.get_running_loop()
        self._under_way: dict[int, _Asked] = {}
        self._last = 0

    def __len__(self) -> int:
        return len(self._under_way)

    # -- asking

    async def ask(self, name: str, body: Any, seconds: float, kind: Any) -> Any:
        ends_s = self._loop.time() + seconds
        number, asked = await self._begin(name, body, ends_s, is_stream=False)
        try:
            await self._news(asked, name, ends_s)
            answer = asked.pieces.popleft()
        finally:
            self._finish(number, asked)
        return _decoded(answer, kind, name)

    async def stream(self, name: str, body: Any, seconds: float, kind: Any) -> AsyncGenerator[Any, None]:
        ends_s = self._loop.time() + seconds
        number, asked = await self._begin(name, body, ends_s, is_stream=True)
        taken = 0
        try:
            while True:
                while asked.pieces:
                    piece = asked.pieces.popleft()
                    asked.bytes -= len(piece)
                    taken += len(piece)
                    yield _decoded(piece, kind, name)
                    if taken >= CREDIT_BYTES // 2 and not asked.is_ended:
                        self._wire.write(frame(CREDIT, number, msgspec.msgpack.encode(taken)))
                        taken = 0
                if asked.is_ended and asked.error is None:
                    return
                await self._news(asked, name, ends_s)
        finally:
            self._finish(number, asked)

    async def _begin(self, name: str, body: Any, ends_s: float, *, is_stream: bool) -> tuple[int, _Asked]:
        encoded = msgspec.msgpack.encode(body)
        if len(encoded) > BODY_BYTES:
            raise self._error("large", f"the request {name!r} has {len(encoded)} bytes; at most {BODY_BYTES} are sent")
        if len(self._under_way) >= MOST_ASKED:
            raise self._error("full", f"{MOST_ASKED} requests to the monitor {self._wire.peer} are under way")
        self._last = number = self._last + 1
        asked = self._under_way[number] = _Asked(is_stream)
        try:
            if not self._wire.room.is_set() and not await self._wire.room.wait(ends_s - self._loop.time()):
                raise self._error("deadline", f"the monitor {self._wire.peer} does not read")
            if asked.error is not None:
                raise asked.error
            left_ms = max(1, int((ends_s - self._loop.time()) * 1000))
            request = RequestBody(name, left_ms, CREDIT_BYTES if is_stream else 0, msgspec.Raw(encoded))
            self._counts["asked"] += 1
            self._wire.write(frame(REQUEST, number, msgspec.msgpack.encode(request)))
        except BaseException:
            self._under_way.pop(number, None)
            raise
        return number, asked

    async def _news(self, asked: _Asked, name: str, ends_s: float) -> None:
        """Waits for a piece or the end. Raises its error, or that the deadline has passed."""
        if not asked.pieces and not asked.is_ended:
            asked.news.clear()
            if not await asked.news.wait(max(0.0, ends_s - self._loop.time())):
                raise self._error("deadline", f"the monitor {self._wire.peer} did not answer {name!r} in time")
        if not asked.pieces and asked.error is not None:
            raise asked.error

    def _finish(self, number: int, asked: _Asked) -> None:
        if self._under_way.pop(number, None) is not None and not asked.is_ended:
            self._counts["cancelled"] += 1
            self._wire.write(frame(CANCEL, number))

    def _error(self, reason: str, text: str) -> ChannelError:
        self._counts[f"unanswered_{reason}"] += 1
        return ChannelError(reason, text)

    # -- what arrives

    def handle(self, kind: int, number: int, body: bytes) -> bool:
        """Handles a frame that answers a request. Returns False if it is of another kind."""
        if kind not in (ANSWER, PIECE, END, PROBLEM, UNKNOWN):
            return False
        asked = self._under_way.get(number)
        if kind == UNKNOWN and not (body and body[0] == REQUEST and asked):
            return False
        if asked is None:  # cancelled meanwhile
            return True
        if kind == PROBLEM:
            problem = decode(_problem, body)
            self._under_way.pop(number)
            is_late = problem.status == TOO_LATE.status and problem.code == TOO_LATE.code
            asked.end(self._error("deadline", problem.detail) if is_late else problem.raised())
        elif kind == UNKNOWN:
            self._under_way.pop(number)
            asked.end(self._error("unknown", f"the monitor {self._wire.peer} does not know requests of this kind"))
        elif kind == END:
            self._under_way.pop(number)
            asked.end(None if asked.is_stream else self._error("malformed", "an end without an answer"))
        elif kind == ANSWER:
            self._under_way.pop(number)
            asked.pieces.append(body)
            asked.end()
        else:
            asked.pieces.append(body)
            asked.bytes += len(body)
            if not asked.is_stream:
                self._under_way.pop(number)
                asked.end()
                self._wire.write(frame(CANCEL, number))
                asked.pieces.clear()
                asked.error = self._error("malformed", "an answer in pieces; use `stream`")
            elif asked.bytes > CREDIT_BYTES + FRAME_BYTES:
                raise FrameError("credit", "it sends more pieces than were asked for", fatal=True)
            asked.news.set()
        return True

    def end(self, why: str) -> None:
        """Ends all requests: the connection has ended."""
        under_way, self._under_way = self._under_way, {}
        for asked in under_way.values():
            asked.end(self._error("disconnected", f"the connection to the monitor {self._wire.peer} has ended: {why}"))


def _decoded(body: bytes, kind: Any, name: str) -> Any:
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ChannelError("malformed", f"the answer to {name!r} has another form: {error}") from None


def read_credit(body: bytes) -> int:
    """Returns the number in a CREDIT."""
    return int(decode(_credit, body))
