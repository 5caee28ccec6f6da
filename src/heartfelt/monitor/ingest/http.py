# SPDX-License-Identifier: MIT
"""Heartbeats over HTTP: `POST /api/v1/beats`, `/ping/<key>` and `/ping?key=`, as a plain ASGI callable.

`/api/v1/beats` accepts one heartbeat's JSON or a list of them, plain or gzip. 200 reports how many were accepted:
`{"taken":100}`. If some were refused it also says which and why: `"refused":[{"index":3,"reason":"field","detail":
"..."}]` (at most 20), `"refused_total"`. If none was accepted the response is an error: 400, or 503 if the monitor has
no room for another instance. Other errors: 401 (token), 408, 413, 415, and 429 with Retry-After if the client beats too
fast, in which case nothing was accepted.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Any

import msgspec

from heartfelt.monitor.credentials import BASIC_TOO, refusal, secret_in
from heartfelt.monitor.ingest.batch import Batch
from heartfelt.monitor.ingest.body import Deadlines, Disconnected, Receive, Scope, Send, read_body
from heartfelt.monitor.ingest.decode import most_of_beat
from heartfelt.monitor.ingest.intake import INGEST, REFUSALS, Auth, Intake
from heartfelt.monitor.ingest.ping import Pings
from heartfelt.monitor.ingest.ping_secrets import masked_body, resolve
from heartfelt.monitor.ingest.ping_words import NO_SUCH_WORD, PATH
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.problems import NOSNIFF, Problem, as_asgi

__all__ = ["HttpIngest"]

BEATS = "/api/v1/beats"
VIA = "http"
BODY_S = 20.0
FULL = frozenset(("instances", "instances_of_client"))
"""Reasons for which the heartbeat is not at fault."""
_PINGS = PATH + "/"
_STATUS_OF = {"meta_size": 413, "beats_in_body": 413, NO_SUCH_WORD: 404}
_BODY = "http.response.body"
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_JSON = (b"content-type", b"application/json")
_OK = {"type": "http.response.start", "status": 200, "headers": [_TEXT, (b"content-length", b"2"), NOSNIFF]}
_OK_BODY = {"type": _BODY, "body": b"OK"}
_ONE = b'{"taken":1}'
_ONE_START = {"type": "http.response.start", "status": 200, "headers": [_JSON, (b"content-length", b"11"), NOSNIFF]}
_ONE_BODY = {"type": _BODY, "body": _ONE}
_ANSWERS = counter("heartfelt_http_answers", "Responses to heartbeats and pings, by HTTP status", labels=("status",))
FIGURES: Figures = {
    "disconnected": counter(
        "heartfelt_http_disconnected", "Clients that closed the connection before their heartbeats were read"
    ),
}


class HttpIngest:
    """`await ingest(scope, receive, send)` for the paths that it `serves`. No input makes it raise an exception.

    body_s: how long a request's body may take to arrive. auth: replaces the intake's check of tokens.
    """

    def __init__(self, intake: Intake, *, auth: Auth | None = None, body_s: float = BODY_S) -> None:
        self.intake = intake
        self.auth = intake.auth if auth is None else auth
        self._deadlines = Deadlines(body_s)
        self._pings = Pings(intake)
        self._batch = Batch(intake, VIA)
        self.disconnected = 0
        self.answers: dict[int, int] = {}

    @staticmethod
    def serves(path: str) -> bool:
        return path in (BEATS, PATH) or path.startswith(_PINGS)

    def stats(self) -> dict[str, int | float]:
        out: dict[str, int | float] = {f"answers_{status}": n for status, n in self.answers.items()}
        out["disconnected"] = self.disconnected
        return out

    def readings(self) -> Iterator[Reading]:
        yield _ANSWERS, {(str(status),): n for status, n in self.answers.items()}
        yield from read(FIGURES, self.stats())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            if scope["path"] == BEATS:
                start, body = await self._beats(scope, receive)
            else:
                await self._ping(scope, receive)
                start, body = _OK, _OK_BODY
        except Problem as problem:
            if not isinstance(problem, _Counted):
                self.intake.refuse(VIA, _Refusal(problem), self._peer(scope))
            self._count(problem.status)
            for message in as_asgi(problem):
                await send(message)
            return
        except Disconnected:
            self.disconnected += 1
            return
        self._count(200)
        await send(start)
        await send(body)

    def _count(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1

    @staticmethod
    def _peer(scope: Scope) -> str:
        client = scope.get("client")
        return str(client[0]) if client else ""

    # -- shared by heartbeats and pings

    async def _body(
        self, scope: Scope, receive: Receive, peer: str, *, needs_token: bool = True, single: int | None = None
    ) -> bytes:
        """Checks the token and the client's rate, then reads the body. Raises Problem or Disconnected."""
        length = encoding = None
        for name, value in scope["headers"]:
            if name == b"content-length":
                length = value
            elif name == b"content-encoding":
                encoding = value
        if needs_token:
            self._check_token(scope)
        wait = self.intake.rates.wait_s(peer)
        if wait > 0:
            self.intake.rates.limited += 1
            raise _too_fast(peer, wait, self.intake.limits.beats_of_client_per_s)
        limits = self.intake.limits
        return await read_body(
            receive,
            self._deadlines,
            length=length,
            encoding=encoding,
            most=limits.body_bytes,
            most_unpacked=limits.gunzip_bytes,
            most_single=single,
        )

    def _check_token(self, scope: Scope) -> None:
        """Raises Problem if the request has no token for the scope ingest."""
        secret = secret_in(scope["headers"], BASIC_TOO)
        if not self.auth(secret, INGEST):
            raise refusal(secret, INGEST, None if secret is None else self.intake.tokens.held(secret), BASIC_TOO)

    # -- heartbeats

    async def _beats(self, scope: Scope, receive: Receive) -> tuple[dict[str, Any], dict[str, Any]]:
        if scope["method"] != "POST":
            raise Problem(
                405, "method", f"{scope['method']} is not allowed here; use POST to send heartbeats", {"Allow": "POST"}
            )
        if scope["query_string"]:
            name = scope["query_string"].decode("latin-1").partition("=")[0][:100]
            text = f"{BEATS} has no parameter {name!r}; it takes none: the body has it all"
            raise Problem(400, "unknown_parameter", text, field=name)
        peer = self._peer(scope)
        body = await self._body(scope, receive, peer, single=most_of_beat(self.intake.limits.meta_bytes))
        self.intake.counters.messages[VIA] += 1
        if body[:1] == b"{" or body.lstrip()[:1] != b"[":
            self.intake.rates.owe(peer, 1)
            try:
                self.intake.take(body, VIA, peer)
            except REFUSALS as error:
                raise _problem(error) from None
            return _ONE_START, _ONE_BODY
        try:
            texts = self._batch.split(body, peer)
        except REFUSALS as error:
            raise _problem(error) from None
        self.intake.rates.owe(peer, texts.n)
        while self._batch.take_some(texts):
            await asyncio.sleep(0)
        return self._answer(texts.taken, texts.refused, texts.refused_total, texts.first)

    def _answer(
        self, taken: int, refused: list[dict[str, Any]], total: int, first: Exception | None
    ) -> tuple[dict[str, Any], dict[str, Any]]:
        if first is not None and not taken:
            problem = _problem(first)
            raise _Counted(problem.status, problem.code, problem.detail, problem.headers, field=problem.field)
        answer: dict[str, Any] = {"taken": taken}
        if total:
            answer["refused"] = refused
            answer["refused_total"] = total
        text = msgspec.json.encode(answer)
        headers = [_JSON, (b"content-length", b"%d" % len(text)), NOSNIFF]
        return {"type": "http.response.start", "status": 200, "headers": headers}, {"type": _BODY, "body": text}

    # -- pings

    async def _ping(self, scope: Scope, receive: Receive) -> None:
        method = scope["method"]
        if method not in ("GET", "POST", "HEAD"):
            raise Problem(405, "method", f"{method} is not allowed here; use GET or POST", {"Allow": "GET, HEAD, POST"})
        peer = self._peer(scope)
        raw_path, query = scope.get("raw_path"), scope["query_string"]
        tokens = self.intake.tokens
        secret_url = resolve(tokens, raw_path, scope["path"], query)  # needs no other credentials
        if secret_url is not None:
            raw_path, query = secret_url
        body = await self._body(scope, receive, peer, needs_token=secret_url is None)
        self.intake.counters.messages["ping"] += 1
        self.intake.rates.owe(peer, 1)
        try:
            self._pings.take(raw_path, scope["path"], query, masked_body(tokens, body), peer)
        except REFUSALS as error:
            raise _problem(error) from None


class _Counted(Problem):
    """A problem whose heartbeats were already counted and logged one by one."""


class _Refusal(Exception):
    """A problem in the form that `Intake.refuse` counts and logs."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.detail)
        self.reason = problem.code


def _problem(error: Exception) -> Problem:
    reason: str = getattr(error, "reason", "error")
    field: str | None = getattr(error, "field", None)
    if reason in FULL:
        return Problem(503, reason, str(error), {"Retry-After": "60"}, field=field)
    return Problem(_STATUS_OF.get(reason, 400), reason, str(error), field=field)


def _too_fast(peer: str, wait_s: float, rate: int) -> Problem:
    seconds = max(1, math.ceil(wait_s))
    text = (
        f"{peer or 'this client'} sends more than {rate} heartbeats a second (limits.beats_of_client_per_s); "
        f"wait {seconds} s"
    )
    return Problem(429, "rate", text, {"Retry-After": str(seconds)})
