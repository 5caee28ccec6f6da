# SPDX-License-Identifier: MIT
"""Errors of the HTTP interface: RFC 9457 problem documents. Each names the value and the remedy."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

CONTENT_TYPE = "application/problem+json"


class ProblemDocument(msgspec.Struct, kw_only=True, frozen=True):
    """A problem document, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    """A short name of the error, for programs."""


class Problem(Exception):
    """Raised by handlers: the request is answered with this problem document."""

    def __init__(self, status: int, code: str, detail: str, headers: dict[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.headers = headers or {}

    def document(self) -> ProblemDocument:
        return ProblemDocument(
            title=HTTPStatus(self.status).phrase, status=self.status, detail=self.detail, code=self.code
        )

    def body(self) -> bytes:
        return msgspec.json.encode(self.document())


def bad(name: str, value: object, remedy: str) -> Problem:
    """Makes the 400 for a parameter with a bad value. remedy: follows the name, as in "must be ..."."""
    text = str(value)
    shown = text if len(text) <= 100 else text[:100] + "..."
    return Problem(400, "bad_parameter", f"{name} {remedy}; got {shown!r}")


def no_such(what: str, name: object, remedy: str) -> Problem:
    return Problem(404, "not_found", f"there is no {what} {name!r}; {remedy}")


def as_asgi(problem: Problem) -> list[dict[str, Any]]:
    """Returns the two messages of the answer, for a plain ASGI callable."""
    body = problem.body()
    headers = [(b"content-type", CONTENT_TYPE.encode()), (b"content-length", str(len(body)).encode())]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return [
        {"type": "http.response.start", "status": problem.status, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]
