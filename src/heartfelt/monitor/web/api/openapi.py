# SPDX-License-Identifier: MIT
"""The OpenAPI 3.1 description, generated from the table of routes, so that both always agree."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import msgspec

from heartfelt._version import __version__
from heartfelt.monitor.problems import CONTENT_TYPE, ProblemDocument
from heartfelt.monitor.reasons import CODES, LANGUAGES, template
from heartfelt.monitor.web.api.endpoint import JSON, Endpoint
from heartfelt.monitor.web.api.meanings import meanings_of

_PATH_PARAM = re.compile(r"\{(\w+)(?::(\w+))?\}")
_OF_PATH = {"id": "the id, as in the list", "key": "the key, percent-encoded", "status": "the exit status"}


def plain_path(path: str) -> str:
    """Converts a path of the table to OpenAPI's notation."""
    return _PATH_PARAM.sub(r"{\1}", path)


def document(endpoints: Sequence[Endpoint], server: str = "/") -> bytes:
    """Returns the description of these endpoints as JSON. server: the URL or the path below which they are served."""
    types = [kind for one in endpoints for kind in (one.body, one.answer) if kind is not None] + [ProblemDocument]
    schemas, components = msgspec.json.schema_components(types, ref_template="#/components/schemas/{name}")
    _describe(components, types)
    problem = {"description": "The error and its remedy", "content": {CONTENT_TYPE: {"schema": schemas[-1]}}}
    found = iter(schemas)
    paths: dict[str, dict[str, Any]] = {}
    for one in endpoints:
        body = next(found) if one.body is not None else None
        answer = next(found) if one.answer is not None else None
        paths.setdefault(plain_path(one.path), {})[one.method.lower()] = _operation(one, body, answer, problem)
    return msgspec.json.encode(
        {
            "openapi": "3.1.0",
            "info": {"title": "heartfelt's monitor", "version": __version__, "license": {"name": "MIT"}},
            "servers": [{"url": server}],
            "x-heartfelt-reasons": reasons(),
            "paths": paths,
            "components": {
                "schemas": components,
                "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            },
        }
    )


def _describe(components: dict[str, Any], types: Sequence[Any]) -> None:
    """Adds the meanings of fields."""
    for name, meanings in meanings_of(types).items():
        for field, meaning in meanings.items():
            schema = components[name]["properties"].get(field)
            if schema is not None:
                schema.setdefault("description", meaning)


def reasons() -> dict[str, Any]:
    """Every `reason_code`, with the kinds of its arguments and its sentence in each language."""
    return {
        code: {
            "args": {arg.name: {"kind": arg.kind.value, "optional": arg.optional} for arg in args},
            "text": {language: template(code, language) for language in LANGUAGES},
        }
        for code, args in CODES.items()
    }


def _operation(one: Endpoint, body: Any, answer: Any, problem: dict[str, Any]) -> dict[str, Any]:
    parameters: list[dict[str, Any]] = [
        {
            "name": name, "in": "path", "required": True, "description": _OF_PATH[name],
            "schema": {"type": "integer" if kind == "int" else "string"},
        }
        for name, kind in _PATH_PARAM.findall(one.path)
    ]  # fmt: skip
    for param in one.params:
        schema = {**param.schema, **({} if param.default is None else {"default": param.default})}
        if param.many:
            schema = {"type": "array", "items": schema}
        parameters.append({"name": param.name, "in": "query", "description": param.meaning, "schema": schema})
    done: dict[str, Any] = {"description": one.summary}
    if one.status != 204:
        done["content"] = {one.media: {} if answer is None else {"schema": answer}}
    operation: dict[str, Any] = {
        "summary": one.summary,
        "operationId": f"{one.method.lower()}{re.sub(r'[^A-Za-z0-9]+', '_', one.path).rstrip('_')}",
        "tags": [one.path.split("/")[1]],
        "parameters": parameters,
        "responses": {str(one.status): done, "default": problem},
        "security": [] if one.scope is None else [{"token": []}],
        "x-heartfelt-scope": None if one.scope is None else one.scope.value,
    }
    if body is not None:
        operation["requestBody"] = {"content": {JSON: {"schema": body}}}
    return operation
