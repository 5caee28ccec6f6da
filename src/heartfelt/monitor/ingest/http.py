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
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import msgspec

from heartfelt._ingest import Scan
from heartfelt.monitor.credentials import BASIC_TOO, refusal, secret_in
from heartfelt.monitor.fleet.jobs import PING
from heartfelt.monitor.ingest.batch import Batch
from heartfelt.monitor.ingest.body import Deadlines, Disconnected, Receive, Scope, Send, read_body
from heartfelt.monitor.ingest.decode import most_of_beat
from heartfelt.monitor.ingest.intake import INGEST, REFUSALS, Auth, Intake
from heartfelt.monitor.ingest.pace import MOST_S, JoinPace, WriteState
from heartfelt.monitor.ingest.ping import Pings
from heartfelt.monitor.ingest.ping_secrets import masked_body, resolve
from heartfelt.monitor.ingest.ping_words import NO_SUCH_WORD, PATH
from heartfelt.monitor.metric import Figures, Reading, counter, read
from heartfelt.monitor.problems import NOSNIFF, Answer, Problem, as_answer, to_asgi

__all__ = ["OK", "TAKEN_ONE", "HttpIngest"]

Headers = Iterable[tuple[bytes, bytes]]
BEATS = "/api/v1/beats"
VIA = "http"
BODY_S = 20.0
FULL = frozenset(("instances", "instances_of_client"))
"""Reasons for which the heartbeat is not at fault."""
_PINGS = PATH + "/"
_STATUS_OF = {"meta_size": 413, "beats_in_body": 413, NO_SUCH_WORD: 404}
_TEXT = (b"content-type", b"text/plain; charset=utf-8")
_JSON = (b"content-type", b"application/json")
OK: Answer = (200, [_TEXT, NOSNIFF, (b"content-length", b"2")], b"OK")
"""The answer to a ping."""
TAKEN_ONE: Answer = (200, [_JSON, NOSNIFF, (b"content-length", b"11")], b'{"taken":1}')
"""The answer to a single heartbeat."""
_ANSWERS = counter("heartfelt_http_answers", "Responses to heartbeats and pings, by HTTP status", labels=("status",))
FIGURES: Figures = {
    "disconnected": counter(
        "heartfelt_http_disconnected", "Clients that closed the connection before their heartbeats were read"
    ),
    "joins_paced": counter(
        "heartfelt_http_joins_paced", "Times that a list of heartbeats waited since the store had many joins to write"
    ),
}


class HttpIngest:
    """`await ingest(scope, receive, send)` for the paths that it `serves`. No input makes it raise an exception.

    body_s: how long a request's body may take to arrive. auth: replaces the intake's check of tokens. store: returns
    the store's health, for which lists that make many instances join are slowed down.
    """

    def __init__(
        self,
        intake: Intake,
        *,
        auth: Auth | None = None,
        body_s: float = BODY_S,
        store: Callable[[], WriteState] | None = None,
    ) -> None:
        self.intake = intake
        self.auth = intake.auth if auth is None else auth
        self._deadlines = Deadlines(body_s)
        self._pings = Pings(intake)
        self._batch = Batch(intake, VIA)
        self._pace = JoinPace(store)
        self.disconnected = 0
        self.answers: dict[int, int] = {}

    @staticmethod
    def serves(path: str) -> bool:
        return path in (BEATS, PATH) or path.startswith(_PINGS)

    def stats(self) -> dict[str, int | float]:
        out: dict[str, int | float] = {f"answers_{status}": n for status, n in self.answers.items()}
        out["disconnected"] = self.disconnected
        out["joins_paced"] = self._pace.waits
        return out

    def readings(self) -> Iterator[Reading]:
        yield _ANSWERS, {(str(status),): n for status, n in self.answers.items()}
        yield from read(FIGURES, self.stats())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        method, path, peer = scope["method"], scope["path"], self._peer(scope)
        raw_path, query, headers = scope.get("raw_path"), scope["query_string"], scope["headers"]
        try:
            raw_path, query, _ = self._admit(method, path, raw_path, query, headers, peer)
            body = await self._body(path, headers, receive)
            if path == BEATS and is_list(body):
                answer = await self._take_list(body, peer)
            else:
                answer = self._take(path, raw_path, query, body, peer)
        except Problem as problem:
            answer = self._refused(problem, peer)
        except Disconnected:
            self.disconnected += 1
            return
        self._count(answer[0])
        for message in to_asgi(answer):
            await send(message)

    def _refused(self, problem: Problem, peer: str) -> Answer:
        if not isinstance(problem, _Counted):
            self.intake.refuse(VIA, _Refusal(problem), peer)
        return as_answer(problem)

    def _count(self, status: int) -> None:
        self.answers[status] = self.answers.get(status, 0) + 1

    @staticmethod
    def _peer(scope: Scope) -> str:
        client = scope.get("client")
        return str(client[0]) if client else ""

    # -- for a server that has the whole request, without ASGI: `web.http1.lane`

    def known_ping(self, key: bytes, peer: str) -> bool:
        """Renews the instance of a plain key, if it is a known one and nothing about it changes. O(1).

        False: nothing was done; `answer` has to decide. The caller has checked the token.
        """
        intake = self.intake
        instance = intake.known.names.get(key)
        if instance is None or instance.via != PING or instance.peer != peer or not intake.rates.charge(peer):
            return False
        intake.take_name(key, PING, peer)
        intake.counters.messages[PING] += 1
        self._count(200)
        return True

    def known_beat(self, text: bytes, peer: str) -> bool:
        """Like `known_ping`, for the JSON of one heartbeat."""
        intake = self.intake
        scan = Scan(text, intake.known.texts, False, 1)
        if not scan.n or not intake.rates.charge(peer):
            return False
        try:
            intake.renew_scanned(scan, 1, VIA, peer)
        except REFUSALS:
            return False
        intake.counters.messages[VIA] += 1
        self._count(200)
        return True

    def answer(
        self, method: str, path: str, raw_path: bytes, query: bytes, headers: Headers, body: bytes, peer: str
    ) -> tuple[Answer, bool]:
        """Serves a request that has arrived completely, and whose body is no list and not compressed.

        Returns the same answer as to ASGI, and whether its token may send any heartbeat and ping.
        """
        allowed = False
        try:
            admitted_path, query, allowed = self._admit(method, path, raw_path, query, headers, peer)
            answer = self._take(path, admitted_path, query, body, peer)
        except Problem as problem:
            answer = self._refused(problem, peer)
        self._count(answer[0])
        return answer, allowed

    # -- shared by heartbeats and pings

    def _admit(
        self, method: str, path: str, raw_path: bytes | None, query: bytes, headers: Headers, peer: str
    ) -> tuple[bytes | None, bytes, bool]:
        """Checks the method, the credentials and the client's rate. Raises Problem.

        Returns the path and the query, which a secret ping URL replaces by those that it stands for, and whether the
        credentials are those of the headers.
        """
        secret_url = None
        if path == BEATS:
            if method != "POST":
                text = f"{method} is not allowed here; use POST to send heartbeats"
                raise Problem(405, "method", text, {"Allow": "POST"})
            if query:
                name = query.decode("latin-1").partition("=")[0][:100]
                text = f"{BEATS} has no parameter {name!r}; it takes none: the body has it all"
                raise Problem(400, "unknown_parameter", text, field=name)
        elif method not in ("GET", "POST", "HEAD"):
            raise Problem(405, "method", f"{method} is not allowed here; use GET or POST", {"Allow": "GET, HEAD, POST"})
        else:
            secret_url = resolve(self.intake.tokens, raw_path, path, query)  # needs no other credentials
        if secret_url is not None:
            raw_path, query = secret_url
        else:
            secret = secret_in(headers, BASIC_TOO)
            if not self.auth(secret, INGEST):
                held = None if secret is None else self.intake.tokens.held(secret)
                raise refusal(secret, INGEST, held, BASIC_TOO)
        wait = self.intake.rates.wait_s(peer)
        if wait > 0:
            self.intake.rates.limited += 1
            raise _too_fast(peer, wait, self.intake.limits.beats_of_client_per_s)
        return raw_path, query, secret_url is None

    async def _body(self, path: str, headers: Headers, receive: Receive) -> bytes:
        """Reads the body. Raises Problem or Disconnected."""
        length = encoding = None
        for name, value in headers:
            if name == b"content-length":
                length = value
            elif name == b"content-encoding":
                encoding = value
        limits = self.intake.limits
        return await read_body(
            receive,
            self._deadlines,
            length=length,
            encoding=encoding,
            most=limits.body_bytes,
            most_unpacked=limits.gunzip_bytes,
            most_single=most_of_beat(limits.meta_bytes) if path == BEATS else None,
        )

    def _take(self, path: str, raw_path: bytes | None, query: bytes, body: bytes, peer: str) -> Answer:
        """Accepts one heartbeat, or a ping. Raises Problem."""
        via = VIA if path == BEATS else PING
        self.intake.counters.messages[via] += 1
        self.intake.rates.owe(peer, 1)
        try:
            if path == BEATS:
                self.intake.take(body, VIA, peer)
                return TAKEN_ONE
            self._pings.take(raw_path, path, query, masked_body(self.intake.tokens, body), peer)
        except REFUSALS as error:
            raise _problem(error) from None
        return OK

    async def _take_list(self, body: bytes, peer: str) -> Answer:
        """Accepts a list of heartbeats. Raises Problem."""
        self.intake.counters.messages[VIA] += 1
        try:
            texts = self._batch.split(body, peer)
        except REFUSALS as error:
            raise _problem(error) from None
        self.intake.rates.owe(peer, texts.n)
        left_s, more = MOST_S, True
        while more:
            n = len(self.intake.registry)
            more = self._batch.take_some(texts)
            if len(self.intake.registry) > n and left_s > 0.0:
                left_s -= await self._pace.wait(left_s)
            if more:
                await asyncio.sleep(0)
        return self._told(texts.taken, texts.refused, texts.refused_total, texts.first)

    def _told(self, taken: int, refused: list[dict[str, Any]], total: int, first: Exception | None) -> Answer:
        if first is not None and not taken:
            problem = _problem(first)
            raise _Counted(problem.status, problem.code, problem.detail, problem.headers, field=problem.field)
        answer: dict[str, Any] = {"taken": taken}
        if total:
            answer["refused"] = refused
            answer["refused_total"] = total
        text = msgspec.json.encode(answer)
        return 200, [_JSON, NOSNIFF, (b"content-length", b"%d" % len(text))], text


def is_list(body: bytes) -> bool:
    """Tells whether a body is meant as a list of heartbeats."""
    return body[:1] != b"{" and body.lstrip()[:1] == b"["


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
