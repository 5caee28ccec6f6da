# SPDX-License-Identifier: MIT
"""The OpenAPI 3.1 description, generated from the table of routes, so that both always agree."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec

from heartfelt._version import __version__
from heartfelt.monitor.ingest.ping_query import MOST_STATUS
from heartfelt.monitor.problems import ProblemDocument
from heartfelt.monitor.reasons import CODES, LANGUAGES, template
from heartfelt.monitor.web.api.endpoint import Endpoint, Param
from heartfelt.monitor.web.api.openapi_problems import problem_answers, problem_statuses, reference
from heartfelt.monitor.web.api.params import MOST_IN_PATH
from heartfelt.monitor.web.api.schemas import Schemas

_PATH_PARAM = re.compile(r"\{(\w+)(?::(\w+))?\}")
_OF_PATH = {"id": "the id, as in the list", "key": "the key, percent-encoded", "status": "the exit status"}
_OF_KIND = {
    "": {"type": "string", "minLength": 1},
    "number": {"type": "integer", "minimum": 0, "maximum": MOST_IN_PATH},
    "status": {"type": "integer", "minimum": -MOST_STATUS, "maximum": MOST_STATUS},
}
ROOT = "../.."
"""The monitor's root, relative to this description: right below any base path."""
_ABOUT = (
    "Times are in ms since the epoch, durations in the unit of their name. HEAD is answered as GET is, without the "
    "body. Errors are problem documents (RFC 9457)."
)
_SCHEMES = {
    "bearer": {"type": "http", "scheme": "bearer", "description": "A token of `heartfelt token create`."},
    "basic": {"type": "http", "scheme": "basic", "description": "The same token as password; the user may be any."},
}


def plain_path(path: str) -> str:
    """Converts a path of the table to OpenAPI's notation."""
    return _PATH_PARAM.sub(r"{\1}", path)


def document(endpoints: Sequence[Endpoint], *, needs_tokens: bool = True) -> bytes:
    """Returns the description of these endpoints as JSON. needs_tokens: whether this monitor asks for tokens."""
    schemas = Schemas([*_types(endpoints), ProblemDocument])
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        paths.setdefault(plain_path(one.path), {})[one.method.lower()] = _operation(one, schemas, needs_tokens)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {
                "title": "heartfelt's monitor",
                "version": __version__,
                "description": _ABOUT,
                "license": {"name": "MIT", "identifier": "MIT"},
            },
            "servers": [{"url": ROOT, "description": "The monitor that serves this description"}],
            "x-heartfelt-reasons": reasons(),
            "paths": paths,
            "components": {
                "schemas": schemas.components,
                "responses": problem_answers(schemas.of(ProblemDocument)),
                "securitySchemes": _SCHEMES,
            },
        }
    )


def _types(endpoints: Sequence[Endpoint]) -> Iterator[Any]:
    for one in endpoints:
        yield from (kind for kind in (one.body, one.answer, *one.others.values()) if kind is not None)


def reasons() -> dict[str, Any]:
    """Every `reason_code`, with the kinds of its arguments and its sentence in each language."""
    return {
        code: {
            "args": {arg.name: {"kind": arg.kind.value, "optional": arg.optional} for arg in args},
            "text": {language: template(code, language) for language in LANGUAGES},
        }
        for code, args in CODES.items()
    }


def _operation(one: Endpoint, schemas: Schemas, needs_tokens: bool) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "summary": one.summary,
        "operationId": f"{one.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', plain_path(one.path)).rstrip('_')}",
        "tags": [_tag(one.path)],
        "parameters": list(_parameters(one)),
        "responses": _responses(one, schemas),
        "security": _security(one, needs_tokens),
        "x-heartfelt-scope": None if one.scope is None else one.scope.value,
    }
    if one.about:
        operation["description"] = one.about
    if one.body is not None:
        operation["requestBody"] = _body(one, schemas.of(one.body))
    return operation


def _tag(path: str) -> str:
    parts = path.split("/")
    return parts[3].removesuffix(".json") if parts[1] == "api" else parts[1]


def _parameters(one: Endpoint) -> Iterator[dict[str, Any]]:
    for name, kind in _PATH_PARAM.findall(one.path):
        schema = _OF_KIND[kind]
        yield {"name": name, "in": "path", "required": True, "description": _OF_PATH[name], "schema": schema}
    for param in one.params:
        needed = {"required": True} if param.name == "key" else {}
        yield {"name": param.name, "in": "query", "description": param.meaning, **needed, "schema": _schema(param)}
    for param in one.headers:
        yield {"name": param.name, "in": "header", "description": param.meaning, "schema": _schema(param)}


def _schema(param: Param) -> dict[str, Any]:
    schema = {**param.schema, **({} if param.default is None else {"default": param.default})}
    return {"type": "array", "items": schema} if param.many else schema


def _responses(one: Endpoint, schemas: Schemas) -> dict[str, Any]:
    done: dict[str, Any] = {"description": one.summary}
    if one.status != 204 and one.method != "HEAD":
        schema = {} if one.answer is None else {"schema": schemas.of(one.answer)}
        done["content"] = dict.fromkeys((one.media, *one.other_media), schema)
    answers: dict[str, Any] = {str(one.status): done}
    if any(header.name == "If-None-Match" for header in one.headers):
        answers["304"] = {"description": "It is the one that is known already"}
    for status, kind in one.others.items():
        answers[str(status)] = {"description": one.summary, "content": {one.media: {"schema": schemas.of(kind)}}}
    for status in problem_statuses(one):
        answers.setdefault(str(status), reference(status))
    answers["default"] = reference(None)
    return answers


def _security(one: Endpoint, needs_tokens: bool) -> list[dict[str, list[str]]]:
    """No scheme: no token is ever needed. An empty one: none is needed by this monitor."""
    if one.scope is None:
        return []
    schemes: list[dict[str, list[str]]] = [{name: []} for name in _SCHEMES]
    return schemes if needs_tokens else [{}, *schemes]


def _body(one: Endpoint, schema: dict[str, Any]) -> dict[str, Any]:
    content: dict[str, Any] = {media: {"schema": schema} for media in one.body_media}
    if "application/octet-stream" in content:
        content["application/octet-stream"] = {"schema": {"type": "string", "format": "binary"}}
    if one.examples:
        content[one.body_media[0]]["examples"] = {name: {"value": value} for name, value in one.examples.items()}
    return {"required": _is_needed(one), "content": content}


def _is_needed(one: Endpoint) -> bool:
    if one.external:
        return one.body is not str
    try:
        msgspec.convert({}, one.body)
    except msgspec.ValidationError:
        return True
    return False
