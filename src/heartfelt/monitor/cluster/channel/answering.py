# SPDX-License-Identifier: MIT
"""Answers the requests that come over one connection, with the handlers of the channel."""

from __future__ import annotations

import asyncio
import inspect
from collections import Counter
from collections.abc import AsyncIterator, Callable
from typing import Any, NamedTuple

import msgspec

from heartfelt.errors import FrameError
from heartfelt.monitor.cluster.channel.asking import BODY_BYTES, TOO_LATE, ProblemBody, RequestBody, Wire, read_credit
from heartfelt.monitor.cluster.channel.frames import ANSWER, END, PIECE, PROBLEM, BeatBatch, Input, decode, frame
from heartfelt.monitor.cluster.channel.wire import logger
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import TimedEvent

MOST_SERVED = 64
"""How many requests of one monitor are served at a time."""
MOST_S = 3600.0
"""The longest time for which a request is served."""
MOST_DETAIL = 4000
"""The longest text of a problem."""
_requests = msgspec.msgpack.Decoder(RequestBody)


class Handler(NamedTuple):
    """call: function(monitor id, message). kind: the type of the message."""

    call: Callable[[str, Any], Any]
    kind: Any


class Handlers:
    """What the channel does with what other monitors send. See Channel.on."""

    def __init__(self) -> None:
        self.requests: dict[str, Handler] = {}
        self.notices: dict[str, Handler] = {}
        self.beats: Callable[[str, BeatBatch], object] | None = None
        self.inputs: Callable[[str, list[Input]], object] | None = None
        self.serving: set[asyncio.Task[None]] = set()
        """The tasks that serve requests, of all connections, also of those that have ended."""


class _Served:
    """A request that is served by a task."""

    __slots__ = ("credit", "is_late", "more", "task", "timer")

    def __init__(self, credit: int) -> None:
        self.credit = credit
        self.more = TimedEvent()
        self.is_late = False
        self.task: asyncio.Task[None]
        self.timer: asyncio.TimerHandle


class Answers:
    """The requests of one monitor that are served. Belongs to the loop's thread."""

    def __init__(self, wire: Wire, handlers: Handlers, counts: Counter[str]) -> None:
        self._wire, self._handlers, self._counts = wire, handlers, counts
        self._loop = asyncio.get_running_loop()
        self._served: dict[int, _Served] = {}

    def __len__(self) -> int:
        return len(self._served)

    def request(self, number: int, body: bytes) -> None:
        """Begins to serve a request. Raises FrameError if it is not one."""
        request = decode(_requests, body)
        self._counts["served"] += 1
        if number in self._served:
            raise FrameError("malformed", f"two requests with the number {number}", fatal=True)
        try:
            handler = self._handlers.requests.get(request.name)
            if handler is None:
                raise Problem(501, "unknown", f"this monitor does not know the request {request.name[:100]!r}")
            if len(self._served) >= MOST_SERVED:
                raise Problem(503, "busy", f"{MOST_SERVED} requests of this monitor are served; ask again later")
            result = handler.call(self._wire.peer, message_of(request.body, handler.kind))
        except Exception as error:
            self._refuse(number, request.name, error)
            return
        if not (inspect.isawaitable(result) or hasattr(result, "__aiter__")):
            self._finish(number, request.name, result)
            return
        served = self._served[number] = _Served(request.credit)
        served.task = self._loop.create_task(self._serve(number, request.name, result, served), name="channel answer")
        served.timer = self._loop.call_later(min(request.deadline_ms / 1000, MOST_S), self._too_late, served)

        def ended(_: asyncio.Task[None]) -> None:
            served.timer.cancel()
            del self._served[number]
            if inspect.iscoroutine(result):
                result.close()  # if the task was cancelled before it began

        served.task.add_done_callback(ended)
        self._handlers.serving.add(served.task)
        served.task.add_done_callback(self._handlers.serving.discard)

    async def _serve(self, number: int, name: str, result: Any, served: _Served) -> None:
        try:
            if inspect.isawaitable(result):
                result = await result
            if hasattr(result, "__aiter__"):
                if not served.credit:
                    raise Problem(400, "in_pieces", f"{name!r} is answered in pieces; use `stream`")
                await self._send_pieces(number, result, served)
            else:
                await self._wire.room.wait()
                self._finish(number, name, result)
        except asyncio.CancelledError:
            if not served.is_late:
                raise
            self._refuse(number, name, Problem(TOO_LATE.status, TOO_LATE.code, f"{name!r} was not answered in time"))
        except Exception as error:
            self._refuse(number, name, error)

    async def _send_pieces(self, number: int, pieces: AsyncIterator[Any], served: _Served) -> None:
        try:
            async for piece in pieces:
                encoded = _encoded(piece)
                while served.credit <= 0:
                    served.more.clear()
                    await served.more.wait()
                await self._wire.room.wait()
                served.credit -= len(encoded)
                self._counts["pieces_sent"] += 1
                self._wire.write(frame(PIECE, number, encoded))
        finally:
            if (close := getattr(pieces, "aclose", None)) is not None:
                await close()
        self._wire.write(frame(END, number))

    def _finish(self, number: int, name: str, result: Any) -> None:
        try:
            answer = frame(ANSWER, number, _encoded(result))
        except Exception as error:
            self._refuse(number, name, error)
        else:
            self._wire.write(answer)

    def _refuse(self, number: int, name: str, error: Exception) -> None:
        if not isinstance(error, Problem):
            self._counts["handler_errors"] += 1
            logger.error("the request %.100r of the monitor %s failed", name, self._wire.peer, exc_info=error)
            error = Problem(500, "internal", "the other monitor could not answer; its log says why")
        self._counts["problems"] += 1
        detail = error.detail[:MOST_DETAIL].encode("utf-8", "replace").decode()
        body = ProblemBody(error.status, error.code, detail, error.field, error.headers)
        self._wire.write(frame(PROBLEM, number, msgspec.msgpack.encode(body)))

    def _too_late(self, served: _Served) -> None:
        served.is_late = True
        served.task.cancel()

    def cancel(self, number: int) -> None:
        """Ends a request whose answer nobody waits for."""
        if (served := self._served.get(number)) is not None:
            served.task.cancel()

    def credit(self, number: int, body: bytes) -> None:
        """Lets a streamed answer go on."""
        count = read_credit(body)
        if (served := self._served.get(number)) is not None:
            served.credit += count
            served.more.set()

    def end(self) -> None:
        """Cancels all: the connection has ended."""
        for served in self._served.values():
            served.task.cancel()


def message_of(body: msgspec.Raw, kind: Any) -> Any:
    """Decodes a message for its handler. Raises Problem."""
    try:
        return msgspec.msgpack.decode(body, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Problem(400, "bad_request", f"the message has another form: {error}") from None


def _encoded(value: Any) -> bytes:
    encoded = msgspec.msgpack.encode(value)
    if len(encoded) > BODY_BYTES:
        raise Problem(500, "large", f"an answer of {len(encoded)} bytes; at most {BODY_BYTES} are sent at once")
    return encoded
