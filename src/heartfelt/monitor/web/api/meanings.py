# SPDX-License-Identifier: MIT
"""Reads the meanings of structs' fields, the docstrings behind them, from the sources; in the words of JSON."""

from __future__ import annotations

import ast
import inspect
import sys
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from itertools import pairwise
from typing import Any, NamedTuple

import msgspec

SOURCE = "MEANINGS_OF"
"""Class attribute of a struct that was made at run time: the struct whose fields it has."""


class Meanings(NamedTuple):
    struct: type
    fields: dict[str, str]


def meanings_of(types: Sequence[Any]) -> dict[str, Meanings]:
    """Returns the meanings of the fields of all structs in these types, by the structs' names."""
    return {cls.__name__: Meanings(cls, _meanings(cls)) for cls in _structs(types)}


def _structs(types: Sequence[Any]) -> Iterator[type]:
    seen: set[type] = set()
    waiting: list[Any] = list(msgspec.inspect.multi_type_info(types))
    while waiting:
        one = waiting.pop()
        if isinstance(one, msgspec.inspect.StructType):
            if one.cls in seen:
                continue
            seen.add(one.cls)
            yield one.cls
        if isinstance(one, (msgspec.inspect.Type, msgspec.inspect.Field)):
            waiting += (getattr(one, name) for name in one.__struct_fields__)
        elif isinstance(one, tuple):
            waiting += one


def _meanings(cls: type) -> dict[str, str]:
    found: dict[str, str] = {}
    for one in reversed(cls.__mro__):
        source = one.__dict__.get(SOURCE, one)
        found |= _of_module(source.__module__).get(source.__name__, {})
    return found


@lru_cache
def _of_module(name: str) -> dict[str, dict[str, str]]:
    try:
        tree = ast.parse(inspect.getsource(sys.modules[name]))
    except (OSError, TypeError):  # an installation without sources, or a module in C
        return {}
    return {one.name: dict(_of_fields(one.body)) for one in tree.body if isinstance(one, ast.ClassDef)}


def _of_fields(body: Iterable[ast.stmt]) -> Iterator[tuple[str, str]]:
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            value = text.value
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield field.target.id, " ".join(value.value.replace("None", "null").split())
