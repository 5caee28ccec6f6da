# SPDX-License-Identifier: MIT
"""Endpoints: the description of a route, the check of a request against it, and the answer from a handler's result."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from heartfelt.errors import ConfigError, StoreError
from heartfelt.monitor.credentials import BASIC_TOO, CHALLENGE, refusal, secret_in
from heartfelt.monitor.problems import CONTENT_TYPE, Problem, field_at_fault
from heartfelt.monitor.web.api.federated import Federated, Streamed
from heartfelt.monitor.web.api.parts import ApiParts
from heartfelt.monitor.web.auth import Auth, Scope

MOST_BODY = 256 << 10
MISSING = "Heartfelt-Missing"
_NO_ASCII = re.compile(r"[^ -~]")
"""Letters that a header cannot have: the names are those that other monitors give themselves."""
JSON = "application/json"
_T = TypeVar("_T")
_encode = msgspec.json.Encoder().encode


@dataclass(slots=True)
class Call:
    """One request, as a handler gets it. Its parameters have been checked."""

    parts: ApiParts
    request: Request
    values: Mapping[str, Any]
    path: Mapping[str, Any]
    stream_id: str
    """The newest message of the stream when the call came: an answer has at least what happened until then."""
    raw: bytes | None = None
    """The body, once it was read."""
    missing: list[str] = field(default_factory=list)
    """Monitors of the fleet that did not answer in time: what they own is not in the answer."""

    def __getitem__(self, name: str) -> Any:
        return self.values[name]

    async def body(self, kind: type[_T]) -> _T:
        """Decodes the body as `kind`. Raises Problem."""
        if (
            kind is not None
            and (declared := self.request.headers.get("content-type", JSON)).split(";")[0].strip() != JSON
        ):
            raise Problem(415, "content_type", f"the body must be {JSON}; got {declared[:100]!r}")
        data = await self.raw_body()
        field: str | None = None
        try:
            value = msgspec.json.decode(data or b"{}")
            field = field_at_fault(kind, value)
            return msgspec.convert(value, kind)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
            detail = f"the body does not match the schema: {error}; see /api/v1/openapi.json"
            raise Problem(400, "bad_body", detail, field=field) from None

    async def raw_body(self) -> bytes:
        """Reads the body, once. Raises Problem if it is too long."""
        if self.raw is None:
            data = bytearray()
            async for chunk in self.request.stream():
                data += chunk
                if len(data) > MOST_BODY:
                    self.parts.counts["large_bodies"] += 1
                    raise Problem(413, "body_limit", f"the body must be at most {MOST_BODY} bytes long; send less")
            self.raw = bytes(data)
        return self.raw


Handler = Callable[[Call], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Param:
    """A query parameter. `parse` raises Problem. many: it may be given more than once."""

    name: str
    parse: Callable[[str, str], Any]
    meaning: str
    default: Any = None
    many: bool = False
    schema: Mapping[str, Any] = field(default_factory=lambda: {"type": "string"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    method: str
    path: str
    scope: Scope | None
    """None: no token is needed."""
    handler: Handler | Federated | Streamed
    """Federated, Streamed: all monitors that share a store answer together."""
    summary: str
    params: tuple[Param, ...] = ()
    body: Any = None
    answer: Any = None
    """The type of the answer, for openapi.json; None: no body."""
    status: int = 200
    media: str = JSON
    external: bool = False
    """The ingest serves it; it is in the table for openapi.json only."""
    asks_basic: bool = False
    """Without a token, a password is asked for, too. Not for what the panel calls: the browser would ask for it."""
    about: str = ""
    """More than the summary says, for openapi.json."""
    body_media: tuple[str, ...] = (JSON,)
    other_media: tuple[str, ...] = ()
    """Further media types of the answer."""
    others: Mapping[int, Any] = field(default_factory=dict)
    """Further statuses with an answer that is no problem document: status -> its type."""
    errors: tuple[int, ...] = ()
    """Statuses of problem documents besides those that follow from scope, path and body."""
    examples: Mapping[str, Any] = field(default_factory=dict)
    """Example bodies by name."""
    headers: tuple[Param, ...] = ()
    """Headers of the request that matter."""
    by_leader: bool = False
    """Says that, of monitors that share a store, the one that leads answers: only it runs the webhooks."""


def check_scope(auth: Auth, request: Request, endpoint: Endpoint) -> None:
    """Raises Problem if the request's token does not allow the endpoint's scope."""
    scope = endpoint.scope
    if scope is None or not auth.needed:
        return
    challenge = BASIC_TOO if endpoint.asks_basic else CHALLENGE
    secret = secret_in(request.scope["headers"], challenge)
    if not auth.allows(secret, scope):
        raise refusal(secret, scope.value, None if secret is None else auth.held(secret), challenge)


def parsed(endpoint: Endpoint, request: Request) -> dict[str, Any]:
    """Returns the values of all parameters. Raises Problem for one that is unknown, given twice or invalid."""
    known = {param.name for param in endpoint.params}
    for name in request.query_params:
        if name not in known and not endpoint.path.startswith("/sermant/"):  # Sermant's backend ignores them
            hint = f"it takes {', '.join(sorted(known))}" if known else "it takes none"
            detail = f"{endpoint.path} has no parameter {name[:100]!r}; {hint}"
            raise Problem(400, "unknown_parameter", detail, field=name)
    values: dict[str, Any] = {}
    for param in endpoint.params:
        given = request.query_params.getlist(param.name)
        if param.many:
            values[param.name] = tuple(param.parse(param.name, text) for text in given)
        elif len(given) > 1:
            detail = f"{param.name} may be given only once; got it {len(given)} times"
            raise Problem(400, "bad_parameter", detail, field=param.name)
        else:
            values[param.name] = param.parse(param.name, given[0]) if given else param.default
    return values


async def _result(endpoint: Endpoint, call: Call) -> Any:
    handler, federation = endpoint.handler, call.parts.federation
    if isinstance(handler, Federated):
        return await (handler.alone(call) if federation is None else federation.answer(endpoint, handler, call))
    if isinstance(handler, Streamed):
        return await (handler.alone(call) if federation is None else federation.stream(endpoint, handler, call))
    if endpoint.by_leader and federation is not None:
        return await federation.answer_by_leader(endpoint, call)
    return await handler(call)


async def answer(endpoint: Endpoint, parts: ApiParts, request: Request) -> Response:
    """Calls the handler and encodes its result. Refusals become problem documents; only bugs raise."""
    try:
        check_scope(parts.auth, request, endpoint)
        call = Call(parts, request, parsed(endpoint, request), request.path_params, parts.stream.last_id)
        return response_of(endpoint, call, await _result(endpoint, call))
    except Problem as problem:
        return problem_response(problem)
    except (ConfigError, StoreError) as error:
        return problem_response(problem_of(error))
    except ClientDisconnect:
        return Response(status_code=499)  # the client has gone: nobody reads it


def problem_of(error: ConfigError | StoreError) -> Problem:
    if isinstance(error, StoreError):
        return Problem(503, "store", str(error), {"Retry-After": "5"})
    return Problem(400, "bad_value", str(error), field=getattr(error, "field", None))


def response_of(endpoint: Endpoint, call: Call, result: Any) -> Response:
    headers = {MISSING: _NO_ASCII.sub("?", ", ".join(call.missing))} if call.missing else {}
    if isinstance(result, Response):
        result.headers.update(headers)
        return result
    if endpoint.status == 204:
        return Response(status_code=204)
    headers["Cache-Control"] = "no-store"
    return Response(_encode(result), status_code=endpoint.status, media_type=endpoint.media, headers=headers)


def problem_response(problem: Problem) -> Response:
    return Response(problem.body(), status_code=problem.status, media_type=CONTENT_TYPE, headers=problem.headers)
