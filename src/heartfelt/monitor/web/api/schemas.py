# SPDX-License-Identifier: MIT
"""JSON schemas of the structs that the monitor itself decodes and encodes, with the meanings of their fields."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from heartfelt.monitor.web.api.meanings import meanings_of

__all__ = ["Schemas"]

_NULL = {"type": "null"}


class Schemas:
    """components: the named schemas. `of` returns the schema of one of the types, which refers to them."""

    def __init__(self, types: Sequence[Any]) -> None:
        unique = list(dict.fromkeys(types))
        schemas, self.components = msgspec.json.schema_components(unique, ref_template="#/components/schemas/{name}")
        self._of = dict(zip(unique, schemas, strict=True))
        for name, found in meanings_of(unique).items():
            self._describe(self.components[name]["properties"], found.fields)
            _require(self.components[name], getattr(found.struct, "REQUIRED", ()))
            if getattr(found.struct, "KEEPS_OTHERS", False):
                self.components[name]["additionalProperties"] = True
        for schema in self.components.values():
            _simplify(schema)

    def of(self, kind: Any) -> Any:
        return self._of[kind]

    @staticmethod
    def _describe(properties: dict[str, Any], meanings: dict[str, str]) -> None:
        for name, meaning in meanings.items():
            if name in properties:
                properties[name].setdefault("description", meaning)


def _simplify(schema: Any) -> None:
    """Leaves out what says nothing more, and what generators of clients do not take: `items: false` behind maxItems."""
    for one in schema.values() if isinstance(schema, dict) else schema:
        if isinstance(one, (dict, list)):
            _simplify(one)
    if isinstance(schema, dict):
        if schema.get("items") is False and "maxItems" in schema:
            del schema["items"]
        if schema.get("required") == []:
            del schema["required"]


def _require(schema: dict[str, Any], names: Iterable[str]) -> None:
    """Marks fields as required that the decoder reads as optional, so as to refuse their absence in its own words."""
    for name in names:
        kinds = [kind for kind in schema["properties"][name].pop("anyOf") if kind != _NULL]
        schema["properties"][name].pop("default", None)
        (only,) = kinds
        schema["properties"][name] |= only
    if names:
        schema["required"] = sorted({*schema.get("required", ()), *names}, key=list(schema["properties"]).index)
