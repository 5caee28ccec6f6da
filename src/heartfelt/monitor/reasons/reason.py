# SPDX-License-Identifier: MIT
"""`Reason`: a code and the values of its arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache
from typing import Any, TypeAlias

import msgspec

from heartfelt.monitor.reasons.codes import CODES, TEXT_CODE, Arg, ArgKind

__all__ = ["MOST_DEPTH", "NO_REASON", "Reason", "make", "read", "text_reason"]

MOST_DEPTH = 8
"""The deepest nesting of reasons that is read. The monitor's own go to 4."""
_MOST_INTEGER = 1 << 63

Value: TypeAlias = "int | float | str | Reason | None"


class Reason(msgspec.Struct, frozen=True, gc=False):
    """Immutable and hashable. Make one by `make`, which checks the names, or by `read`, which checks everything."""

    code: str = ""
    values: tuple[int | float | str | Reason | None, ...] = ()
    """Values in the order of CODES; None for an optional argument that is missing."""

    @property
    def args(self) -> dict[str, Any]:
        """The arguments by name as JSON has them, without missing ones. A nested reason is
        `{"code": ..., "args": ...}`. Read it, do not write it: it may be shared."""
        return _args(self)

    def fields(self) -> dict[str, Any]:
        """Returns `reason_code` and `reason_args` for a document."""
        return {"reason_code": self.code, "reason_args": self.args}


@lru_cache(maxsize=1024)  # a change goes into several documents, one after the other
def _args(reason: Reason) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in zip(_NAMES[reason.code][0], reason.values, strict=True):
        if isinstance(value, Reason):
            found[name] = {"code": value.code, "args": _args(value)}
        elif value is not None:
            found[name] = value
    return found


NO_REASON = Reason()
_NAMES = {
    code: (tuple(arg.name for arg in args), tuple(arg.name for arg in args if not arg.optional))
    for code, args in CODES.items()
}
"""Names of all arguments and of the required ones, by code."""


def make(code: str, **args: Value) -> Reason:
    """Makes a reason. Raises TypeError for a name that does not belong to the code, or one that is missing."""
    names, needed = _NAMES[code]
    values = tuple(map(args.get, names))
    is_exact = len(args) == len(names) and None not in values  # then no name can be wrong
    if not is_exact and (not args.keys() <= set(names) or any(args.get(name) is None for name in needed)):
        raise TypeError(f"reason {code!r} takes {', '.join(names) or 'nothing'}; got {', '.join(args) or 'nothing'}")
    return Reason(code, values)


def text_reason(text: str) -> Reason:
    """Makes a reason of a sentence from elsewhere, kept as it is. No text: no reason."""
    return Reason(TEXT_CODE, (text,)) if text else NO_REASON


def read(code: Any, args: Any, depth: int = 0) -> Reason | None:
    """Reads a reason from decoded JSON. None unless it fits the table in every respect."""
    known = CODES.get(code) if isinstance(code, str) else None
    if known is None or not isinstance(args, Mapping) or depth >= MOST_DEPTH:
        return None
    if len(args) > len(known) or not args.keys() <= {arg.name for arg in known}:
        return None
    values: list[Value] = []
    for arg in known:
        value = args.get(arg.name)
        if value is None:
            if not arg.optional:
                return None
        elif arg.kind is ArgKind.REASON:
            value = read(value.get("code"), value.get("args"), depth + 1) if isinstance(value, Mapping) else None
            if value is None:
                return None
        elif not _fits(arg, value):
            return None
        values.append(value)
    return Reason(code, tuple(values))


def _fits(arg: Arg, value: Any) -> bool:
    if arg.kind is ArgKind.TEXT:
        return isinstance(value, str)
    if isinstance(value, bool):
        return False
    if arg.kind in (ArgKind.RATE, ArgKind.SHARE):
        return isinstance(value, (int, float)) and math.isfinite(value)
    return isinstance(value, int) and -_MOST_INTEGER <= value < _MOST_INTEGER
