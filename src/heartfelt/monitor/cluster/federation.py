# SPDX-License-Identifier: MIT
"""Answers calls for the whole fleet: asks all living monitors for their parts, and merges them.

A monitor that does not answer in time, or cannot, is left out of a list, and named in the header `Heartfelt-Missing`:
what it owns is not in the answer. An action on all monitors is refused instead, after the others have done it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from heartfelt.errors import ConfigError, HeartfeltError, StoreError
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.problems import Problem
from heartfelt.monitor.tasks import within
from heartfelt.monitor.web.api.endpoint import JSON, Call, Endpoint, parsed, problem_of, response_of
from heartfelt.monitor.web.api.federated import Federated, Streamed
from heartfelt.monitor.web.api.parts import ApiParts

WHOLE_S = 40.0
"""How long the monitor that leads may take; the test of a webhook takes that long."""
PART_S = 3.0
"""How long another monitor may take to make its part."""
STREAM_S = 600.0
"""How long the pieces of another monitor's part may take; a client that reads slowly holds them up."""
PIECE_BYTES = 64 << 10
KIND = "part"
PIECES = "pieces"
WHOLE = "whole"
FIGURES: Figures = {
    "asked": counter("heartfelt_cluster_parts_asked", "Parts of answers that other monitors were asked for"),
    "missing": counter(
        "heartfelt_cluster_parts_missing", "Parts of answers that other monitors did not make in time, or could not"
    ),
    "served": counter("heartfelt_cluster_parts_served", "Parts of answers that were made for other monitors"),
}
_MISSES = (HeartfeltError, asyncio.TimeoutError, msgspec.MsgspecError, OSError)
_logger = logging.getLogger("heartfelt.monitor.cluster")


class FleetPeers(Protocol):
    """The connections to the other monitors."""

    def living(self) -> Mapping[str, str]:
        """Returns the names, for people, of the monitors to ask, by monitor id."""

    def leader(self) -> str | None:
        """Returns the id of the monitor that leads; "" for this one, None if none does."""

    async def ask(self, peer: str, kind: str, message: bytes, *, within_s: float) -> bytes:
        """Returns a monitor's answer. Raises a Problem that its handler raised, or a HeartfeltError."""

    def pieces(self, peer: str, kind: str, message: bytes, *, within_s: float) -> AsyncGenerator[bytes, None]:
        """Yields a monitor's answer. Raises as `ask` does."""


class PartCall(msgspec.Struct, array_like=True):
    """A call, as another monitor is asked for its part of it."""

    method: str
    path: str
    """The endpoint's, with the names of its parameters."""
    params: dict[str, Any]
    query: bytes
    body: bytes
    cookie: bytes = b""


class Federation:
    """Belongs to the loop. endpoints: the table of all endpoints. gone: returns the names of monitors that have died,
    and still own something, which nobody has taken over."""

    def __init__(
        self,
        peers: FleetPeers,
        parts: ApiParts,
        endpoints: Sequence[Endpoint],
        gone: Callable[[], Iterable[str]] = tuple,
    ) -> None:
        self._peers = peers
        self._gone = gone
        self._parts = parts
        self._endpoints = {(one.method, one.path): one for one in endpoints}
        self._counts = dict.fromkeys(FIGURES, 0)

    async def answer(self, endpoint: Endpoint, federated: Federated, call: Call) -> Any:
        """Raises what the part raises here or at another monitor, and Problem if an action did not reach all."""
        message = await _message(endpoint, call)
        living = self._peers.living()
        call.missing.extend(self._gone())
        tasks = {
            id: asyncio.create_task(self._ask(id, message, federated.kind), name=f"part of {name}")
            for id, name in living.items()
        }
        try:
            parts = [await federated.part(call)]
            for id, task in tasks.items():
                try:
                    parts.append(await task)
                except (*_MISSES, Problem) as error:
                    self._missed(call, endpoint, living[id], error)
        finally:
            for task in tasks.values():
                task.cancel()
        if federated.on_all and call.missing:
            names = ", ".join(call.missing)
            text = f"it was done, but not to what {names} owns, which did not answer; try again"
            raise Problem(503, "monitors_missing", text, {"Retry-After": "5"})
        return await federated.merge(call, parts)

    def _missed(self, call: Call, endpoint: Endpoint, name: str, error: Exception) -> None:
        """Raises the error if it is what the client did wrong, which all monitors say."""
        if isinstance(error, Problem) and error.status < 500:
            raise error
        self._counts["missing"] += 1
        call.missing.append(name)
        _logger.debug("monitor %s did not make its part of %s: %s", name, endpoint.path, error)

    async def _ask(self, id: str, message: bytes, kind: Any) -> Any:
        self._counts["asked"] += 1
        return msgspec.msgpack.decode(await self._peers.ask(id, KIND, message, within_s=PART_S), type=kind)

    async def serve(self, peer: str, message: bytes) -> bytes:
        """Makes this monitor's part for another one. Raises Problem."""
        endpoint, call = self._call(message)
        if not isinstance(endpoint.handler, Federated):
            raise _unknown(endpoint.method, endpoint.path)
        try:
            return msgspec.msgpack.encode(await endpoint.handler.part(call))
        except (ConfigError, StoreError) as error:
            raise problem_of(error) from None

    # -- in pieces

    async def stream(self, endpoint: Endpoint, streamed: Streamed, call: Call) -> Response:
        """Raises Problem. A monitor that fails after its first piece ends the answer: it is cut off, not short."""
        message = await _message(endpoint, call)
        living = self._peers.living()
        call.missing.extend(self._gone())
        begun = await asyncio.gather(*(self._begin(id, message) for id in living), return_exceptions=True)
        parts = [streamed.part(call)]
        for name, one in zip(living.values(), begun, strict=True):
            if isinstance(one, (*_MISSES, Problem)):
                self._missed(call, endpoint, name, one)
            elif isinstance(one, BaseException):
                raise one
            else:
                parts.append(one)
        return streamed.merge(call, parts)

    async def _begin(self, id: str, message: bytes) -> AsyncGenerator[bytes, None]:
        """Returns a monitor's part, once its first piece is there."""
        self._counts["asked"] += 1
        pieces = self._peers.pieces(id, PIECES, message, within_s=STREAM_S)
        return _continued(await within(PART_S, anext(pieces, b"")), pieces)

    async def serve_pieces(self, peer: str, message: bytes) -> AsyncIterator[bytes]:
        """Makes this monitor's part of a streamed answer. The first piece is empty: it says that the rest will come.
        Raises Problem."""
        endpoint, call = self._call(message)
        if not isinstance(endpoint.handler, Streamed):
            raise _unknown(endpoint.method, endpoint.path)
        yield b""
        async for some in endpoint.handler.part(call):
            for begin in range(0, len(some), PIECE_BYTES):
                yield some[begin : begin + PIECE_BYTES]

    def _call(self, message: bytes) -> tuple[Endpoint, Call]:
        asked = msgspec.msgpack.decode(message, type=PartCall)
        endpoint = self._endpoints.get((asked.method, asked.path))
        if endpoint is None:
            raise _unknown(asked.method, asked.path)
        self._counts["served"] += 1
        request = _request(asked)
        return endpoint, Call(self._parts, request, parsed(endpoint, request), asked.params, "", raw=asked.body)

    # -- by the monitor that leads

    async def answer_by_leader(self, endpoint: Endpoint, call: Call) -> Any:
        """Raises Problem if no monitor leads at this moment, or the one that does cannot be reached."""
        leader = self._peers.leader()
        if leader == "":
            assert not isinstance(endpoint.handler, (Federated, Streamed))
            return await endpoint.handler(call)
        if leader is None:
            raise Problem(
                503, "no_leader", "no monitor leads the fleet at this moment; try again", {"Retry-After": "2"}
            )
        self._counts["asked"] += 1
        try:
            data = await self._peers.ask(leader, WHOLE, await _message(endpoint, call), within_s=WHOLE_S)
        except Problem:
            raise
        except (HeartfeltError, asyncio.TimeoutError, OSError) as error:
            self._counts["missing"] += 1
            raise _no_leader(f"the monitor that leads the fleet does not answer ({error}); try again") from None
        status, media, body = msgspec.msgpack.decode(data, type=tuple[int, str, bytes])
        return Response(body, status_code=status, media_type=media or None, headers={"Cache-Control": "no-store"})

    async def serve_whole(self, peer: str, message: bytes) -> bytes:
        """Answers a whole call for another monitor, as the one that leads. Raises Problem."""
        endpoint, call = self._call(message)
        if not endpoint.by_leader or isinstance(endpoint.handler, (Federated, Streamed)):
            raise _unknown(endpoint.method, endpoint.path)
        if self._peers.leader() != "":
            raise _no_leader("another monitor leads the fleet by now; try again")
        try:
            response = response_of(endpoint, call, await endpoint.handler(call))
        except (ConfigError, StoreError) as error:
            raise problem_of(error) from None
        return msgspec.msgpack.encode((response.status_code, response.media_type or "", bytes(response.body)))

    def stats(self) -> dict[str, int]:
        return dict(self._counts)

    def readings(self) -> Iterator[Reading]:
        yield from read(FIGURES, self.stats())


def _no_leader(text: str) -> Problem:
    return Problem(503, "no_leader", text, {"Retry-After": "2"})


def _unknown(method: str, path: str) -> Problem:
    return Problem(501, "unknown_part", f"{method} {path} is not known to this version")


async def _message(endpoint: Endpoint, call: Call) -> bytes:
    body = b"" if endpoint.body is None else await call.raw_body()
    query = call.request.scope["query_string"]
    cookie = call.request.headers.get("cookie", "").encode("latin-1")
    return msgspec.msgpack.encode(PartCall(endpoint.method, endpoint.path, dict(call.path), query, body, cookie))


async def _continued(first: bytes, rest: AsyncGenerator[bytes, None]) -> AsyncGenerator[bytes, None]:
    try:
        if first:
            yield first
        async for some in rest:
            yield some
    finally:
        await rest.aclose()


def _request(asked: PartCall) -> Request:
    return Request({
        "type": "http", "method": asked.method, "path": asked.path, "raw_path": asked.path.encode(),
        "query_string": asked.query, "path_params": asked.params,
        "headers": [(b"content-type", JSON.encode()), (b"cookie", asked.cookie)],
        "root_path": "", "scheme": "http", "server": None, "client": None,
    })  # fmt: skip
