# SPDX-License-Identifier: MIT
"""The body of a generic webhook as a user writes it: JSON with `$name` or `${name}` in it; `$$` is a dollar sign.

A value is inserted as the escaped content of a JSON string, so it belongs between quotes: `{"msg": "$title"}`. Numbers
may stand without quotes. Values are never searched for names, and nothing is ever executed.
"""

from __future__ import annotations

import json
import re
import string
from collections.abc import Mapping

__all__ = ["NAMES", "TemplateError", "check_template", "render"]

TEXTS = ("event", "key", "level", "title", "text", "service", "instance_id", "ip", "old", "new", "reason",
         "reason_code", "outage", "url")  # fmt: skip
NUMBERS = ("time_ms", "count", "outage_ms")
NAMES = frozenset(TEXTS + NUMBERS)
_MAX = 16_384
# Values that reveal misplaced names: each of them breaks JSON outside of quotes, and its first characters break JSON
# behind a backslash.
_SAMPLES: tuple[tuple[str, int], ...] = (('"quoted" \\ text\n', 12), ("xyz, [", 0), ("9z}", 1234567890123))


class TemplateError(ValueError):
    """The template cannot be used; the text says where and why."""


class _Template(string.Template):
    idpattern = r"(?a:[a-z_]+)"
    flags = re.RegexFlag(0)  # names have lower-case letters only


def check_template(template: str) -> None:
    """Raises TemplateError unless the template makes JSON of every message."""
    if len(template) > _MAX:
        raise TemplateError(f"is longer than {_MAX} characters")
    for match in _Template.pattern.finditer(template):
        name = match["named"] or match["braced"]
        line = template.count("\n", 0, match.start()) + 1
        if match["invalid"] is not None:
            raise TemplateError(f"line {line}: a $ without a name after it; write $$ for a dollar sign")
        if name is not None and name not in NAMES:
            raise TemplateError(f"line {line}: unknown name ${name}; known are {', '.join(sorted(NAMES))}")
    for text, number in _SAMPLES:
        values: dict[str, str | int | None] = {**dict.fromkeys(TEXTS, text), **dict.fromkeys(NUMBERS, number)}
        try:
            render(template, values)
        except TemplateError as error:
            raise TemplateError(f"{error}; texts such as $title must stand between double quotes") from None


def render(template: str, values: Mapping[str, str | int | None]) -> bytes:
    """Makes the body. Raises TemplateError if it is not JSON, which a checked template rules out."""
    body = _Template(template).substitute({name: _inside(value) for name, value in values.items()})
    try:
        json.loads(body)
    except ValueError as error:
        raise TemplateError(f"does not make JSON: {error}") from None
    return body.encode()


def _inside(value: str | int | None) -> str:
    return json.dumps(value)[1:-1] if isinstance(value, str) else json.dumps(value)
