# SPDX-License-Identifier: MIT
"""The problem documents in openapi.json: which statuses an endpoint answers with, and what each means."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from heartfelt.monitor.problems import CONTENT_TYPE
from heartfelt.monitor.web.api.endpoint import Endpoint

__all__ = ["problem_answers", "problem_statuses", "reference"]

_RETRY = ("Retry-After", "seconds after which to try again", {"type": "integer", "minimum": 1})
_CHALLENGE = ("WWW-Authenticate", "how to authenticate", {"type": "string"})
_OTHER = "Problem"
_MEANINGS: dict[int, tuple[str, str, tuple[str, str, dict[str, Any]] | None]] = {
    400: ("BadRequest", "A parameter, a header or the body is not valid; `field` names it", None),
    401: ("Unauthorized", "A token is needed, or this one is unknown or was revoked", _CHALLENGE),
    403: ("Forbidden", "The token does not have the scope, or a page of another site sent the request", None),
    404: ("NotFound", "There is no such thing", None),
    408: ("RequestTimeout", "The body did not arrive in time", None),
    409: ("Conflict", "The present state does not allow it", None),
    413: ("ContentTooLarge", "The body is too large", None),
    415: ("UnsupportedMediaType", "The body's Content-Type or Content-Encoding is not supported", None),
    421: ("MisdirectedRequest", "The Host header is not one of the monitor's names (http.allowed_hosts)", None),
    429: ("TooManyRequests", "The client sends too many heartbeats", _RETRY),
    503: ("ServiceUnavailable", "It is not possible now; `code` says why", _RETRY),
}


def problem_answers(schema: Any) -> dict[str, Any]:
    """Returns all answers that are problem documents, for `components.responses`."""
    content = {CONTENT_TYPE: {"schema": schema}}
    answers: dict[str, Any] = {_OTHER: {"description": "Any other error and its remedy", "content": content}}
    for name, meaning, header in _MEANINGS.values():
        one = {"description": meaning, "content": content}
        if header is not None:
            header_name, about, kind = header
            one["headers"] = {header_name: {"description": about, "schema": kind}}
        answers[name] = one
    return answers


def reference(status: int | None) -> dict[str, str]:
    """Refers to the answer with this status. None: any other."""
    return {"$ref": f"#/components/responses/{_OTHER if status is None else _MEANINGS[status][0]}"}


def problem_statuses(one: Endpoint) -> list[int]:
    """Returns the statuses of the problem documents that an endpoint may answer with, in order."""
    return sorted(set(_statuses(one)))


def _statuses(one: Endpoint) -> Iterator[int]:
    yield from (400, 421)
    if one.scope is not None:
        yield from (401, 503)
        if not one.external:
            yield 403
    if one.method not in ("GET", "HEAD") or one.external:
        yield 403  # another site's page
    if "{" in one.path:
        yield 404
    if one.body is not None:
        yield from (408, 413, 415)
    yield from one.errors
