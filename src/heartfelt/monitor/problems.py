# SPDX-License-Identifier: MIT
"""Errors of the HTTP interface: RFC 9457 problem documents. Each names the value and the remedy."""

from __future__ import annotations

import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

import msgspec

from heartfelt.errors import ConfigError

CONTENT_TYPE = "application/problem+json"
Answer = tuple[int, list[tuple[bytes, bytes]], bytes]
"""A whole answer: status, headers with names in lower case, body."""

NOSNIFF = (b"x-content-type-options", b"nosniff")
_TOKEN = re.compile(r"hf_([0-9a-f]{12})_[A-Za-z0-9_-]+")


def masked(text: str) -> str:
    """Returns the text without the secrets of tokens: hf_ID_…"""
    return _TOKEN.sub(r"hf_\1_…", text) if "hf_" in text else text


class ProblemDocument(msgspec.Struct, kw_only=True, frozen=True):
    """A problem document, RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    code: str
    """A short name of the error, for programs."""
    field: str | None
    """The parameter, or the field of the body, that is at fault: its name, with dots where it is nested, as in
    `filter.services`. null: no single one is."""


class Problem(Exception):
    """Raised by handlers: the request is answered with this problem document."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: dict[str, str] | None = None,
        *,
        field: str | None = None,
    ) -> None:
        detail = masked(detail)
        super().__init__(detail)
        self.status, self.code, self.detail = status, code, detail
        self.field = None if field is None else masked(field)
        self.headers = headers or {}

    def document(self) -> ProblemDocument:
        return ProblemDocument(
            title=HTTPStatus(self.status).phrase,
            status=self.status,
            detail=self.detail,
            code=self.code,
            field=None if self.field is None else self.field[:100],
        )

    def body(self) -> bytes:
        return msgspec.json.encode(self.document())


class FieldError(ConfigError):
    """A value that a user gave cannot be used. `field` names it, the text says what to write instead."""

    def __init__(self, field: str, text: str) -> None:
        super().__init__(text)
        self.field = field


def bad(name: str, value: object, remedy: str) -> Problem:
    """Makes the 400 for a parameter with a bad value. remedy: follows the name, as in "must be ..."."""
    text = str(value)
    shown = text if len(text) <= 100 else text[:100] + "..."
    return Problem(400, "bad_parameter", f"{name} {remedy}; got {shown!r}", field=name)


def no_such(what: str, name: object, remedy: str) -> Problem:
    return Problem(404, "not_found", f"there is no {what} {name!r}; {remedy}")


def field_at_fault(kind: Any, value: Any) -> str | None:
    """Names the field of `value` because of which it cannot be a `kind`, a msgspec.Struct. None: no single one.

    Tries each field by itself, since msgspec names it in a sentence only.
    """
    if not isinstance(value, Mapping) or not isinstance(kind, type) or not issubclass(kind, msgspec.Struct):
        return None
    fields = msgspec.structs.fields(kind)
    for field in fields:
        name = field.encode_name
        if name not in value:
            if field.required:
                return name
            continue
        try:
            msgspec.convert(value[name], field.type)
        except msgspec.ValidationError:
            inner = field_at_fault(field.type, value[name])
            return name if inner is None else f"{name}.{inner}"
    if kind.__struct_config__.forbid_unknown_fields:
        return next((str(name) for name in value if name not in {field.encode_name for field in fields}), None)
    return None


def as_answer(problem: Problem) -> Answer:
    """Returns the whole answer."""
    body = problem.body()
    headers = [(b"content-type", CONTENT_TYPE.encode()), NOSNIFF, (b"content-length", b"%d" % len(body))]
    headers += [(name.lower().encode(), value.encode()) for name, value in problem.headers.items()]
    return problem.status, headers, body


def to_asgi(answer: Answer) -> list[dict[str, Any]]:
    """Returns the two messages of an answer, for a plain ASGI callable."""
    status, headers, body = answer
    return [
        {"type": "http.response.start", "status": status, "headers": headers},
        {"type": "http.response.body", "body": body},
    ]


def as_asgi(problem: Problem) -> list[dict[str, Any]]:
    return to_asgi(as_answer(problem))
