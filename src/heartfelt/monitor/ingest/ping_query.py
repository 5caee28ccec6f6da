# SPDX-License-Identifier: MIT
"""The parameters of a ping's query: one table for the reader (ping_words.py) and for openapi.json."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

__all__ = ["DURATIONS", "EXIT", "KNOWN", "PARAMS", "STATUS", "TERMS", "WORDS", "PingParam"]

WORDS = ("start", "ok", "fail", "log")
"""Words for what happened, in the path or as event=."""
EXIT = "exit"
"""event=exit: the number at the end of the path is an exit status, whatever keys are known."""
STATUS = r"-?\d{1,10}"
MOST_STATUS = 9_999_999_999
MOST_RID = 100
TERMS = ("every", "grace", "max_duration", "min_duration")
DURATIONS = ("timeout", "duration", *TERMS)
"""Each is also known with _ms behind it."""
MOST_MS = 99_999_999_999
MAY_BE_ZERO = frozenset(("grace", "duration"))
_MEANINGS = {
    "timeout": "with /start or progress: the time in which the run must end or report again; otherwise the key's",
    "duration": "the run's length; left out: the time since its start",
    "every": "the period of the key's beats",
    "grace": "how much later than its period a beat may come",
    "max_duration": "a run that takes longer has failed",
    "min_duration": "a run that is shorter has failed",
}


class PingParam(NamedTuple):
    name: str
    meaning: str
    schema: Mapping[str, Any]


def _params() -> Iterator[PingParam]:
    yield PingParam(
        "key", "the key, for those with a / behind a proxy that decodes %2F", {"type": "string", "minLength": 1}
    )
    yield PingParam(
        "event",
        "what happened; left out: a heartbeat; exit: the number at the end of the path is an exit status, not part of "
        "the key",
        {"type": "string", "enum": [*WORDS, EXIT]},
    )
    yield PingParam(
        "exit",
        "the exit status with which a run has ended: 0 is a success, any other a failure",
        {"type": "integer", "minimum": -MOST_STATUS, "maximum": MOST_STATUS},
    )
    yield PingParam("rid", "the id of the run, of printable characters", {"type": "string", "maxLength": MOST_RID})
    for name in DURATIONS:
        yield PingParam(
            name, f"{_MEANINGS[name]}; as 90, which is seconds, 5m or 1d12h", {"type": "string", "minLength": 1}
        )
        least = 0 if name in MAY_BE_ZERO else 1
        schema = {"type": "integer", "minimum": least, "maximum": MOST_MS}
        yield PingParam(f"{name}_ms", f"{_MEANINGS[name]}; in ms, instead of {name}", schema)


PARAMS: Mapping[str, PingParam] = {param.name: param for param in _params()}
KNOWN = tuple(PARAMS)
